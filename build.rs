//! Tells the program what it was built of: the commit, its date, the target.
//!
//! The commit is, in this order:
//!
//! 1. `LARDER_COMMIT`, for those who build from an archive; its day comes from
//!    `SOURCE_DATE_EPOCH`, if that is set, too;
//! 2. what `cargo package` left in `.cargo_vcs_info.json`;
//! 3. what git says, if this directory is the root of a work tree.
//!
//! Where there is none, nothing is told, and no build fails for it. Development
//! builds do not ask git: every commit would have all tests built anew.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["LARDER_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let target = env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo:rustc-env=LARDER_BUILD_TARGET={target}");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let Some((commit, date)) = given().or_else(|| packaged(&root)).or_else(|| checked_out(&root))
    else {
        return;
    };
    println!("cargo:rustc-env=LARDER_BUILD_COMMIT={commit}");
    if let Some(date) = date {
        println!("cargo:rustc-env=LARDER_BUILD_DATE={date}");
    }
}

/// A commit, and the day that it is of.
type Origin = (String, Option<String>);

/// What the environment says.
fn given() -> Option<Origin> {
    let commit = env::var("LARDER_COMMIT").ok().filter(|text| is_plain(text))?;
    let date = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).map(day);
    Some((commit, date))
}

/// What an archive of `cargo package` says.
fn packaged(root: &Path) -> Option<Origin> {
    let text = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let hash = text.split("\"sha1\"").nth(1)?.split('"').nth(1)?;
    is_plain(hash).then(|| (hash.to_owned(), None))
}

/// What is checked out here.
fn checked_out(root: &Path) -> Option<Origin> {
    // A source tree that was unpacked in another project's work tree is none of it.
    if env::var("PROFILE").as_deref() == Ok("debug") || !root.join(".git").exists() {
        return None;
    }
    let told = git(root, &["log", "-1", "--format=%H %cs"])?;
    let (commit, date) = told.split_once(' ')?;
    watch(root);
    let changed = git(root, &["status", "--porcelain", "--untracked-files=no"])?;
    let suffix = if changed.is_empty() { "" } else { ", with changes" };
    is_plain(commit).then(|| (format!("{commit}{suffix}"), Some(date.to_owned())))
}

/// Has this run again when another commit is checked out: HEAD names a branch, and
/// the branch's file, or the log of HEAD, changes with each commit.
fn watch(root: &Path) {
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let Some(path) = git(root, &["rev-parse", "--git-path", name]) else { continue };
        let path = root.join(path);
        // A file that is not there would have every build run this again.
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    // With this, changes of sources count, too, as they do without any of the above.
    for name in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(name).display());
    }
}

/// What git prints; `None` if it cannot be run or fails.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let run = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(run.stdout).ok()?;
    run.status.success().then(|| text.trim().to_owned())
}

/// Whether this can stand in a line for cargo.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_ascii_graphic())
}

/// The day of a time in seconds since 1970: years begin in March here, so that the
/// leap day is their last.
fn day(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
