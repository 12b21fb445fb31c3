//! The crate whose target directory the benchmark saves: it only pulls its dependencies in.

fn main() {
    println!("nothing to do");
}
