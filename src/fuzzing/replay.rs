//! What fuzzing has found, run again without a fuzzer: for each target the inputs that
//! between them reach all that was ever reached, and all that ever failed.

use std::fs;
use std::path::Path;

/// Runs a target's body on what is kept for it.
#[track_caller]
pub(crate) fn replay(target: &str, body: fn(&[u8])) {
    // The program's main thread has as much, and templates are nested up to 150 times.
    let thread = std::thread::Builder::new().stack_size(8 << 20);
    let (target, place) = (target.to_owned(), std::panic::Location::caller());
    let replayed = thread.spawn(move || replay_all(&target, body)).unwrap().join();
    assert!(replayed.is_ok(), "{place}: see above");
}

fn replay_all(target: &str, body: fn(&[u8])) {
    let mut inputs = 0;
    for kind in ["corpus", "regressions"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(kind);
        let Ok(found) = fs::read_dir(directory.join(target)) else { continue };
        for entry in found {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| body(&input)).is_err() {
                panic!("{target} fails on {}", path.display());
            }
            inputs += 1;
        }
    }
    assert!(inputs > 0, "there are no inputs for {target}");
}
