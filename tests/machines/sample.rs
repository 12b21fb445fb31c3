//! Many tries of one kind: all of them, or a sample; what came of them.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

/// What came of a try that showed nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Yes,
    /// It did not come to what was to be tried.
    Nothing,
}

/// What came of many tries.
#[derive(Debug, Default)]
pub(crate) struct Results {
    tried: u64,
    failures: Vec<String>,
}

impl Results {
    /// Tells how many tries there were, and fails if any showed something wrong.
    #[track_caller]
    pub(crate) fn report(&self, what: &str) {
        eprintln!("{}: {what}", self.tried);
        let Self { tried, failures, .. } = self;
        let count = failures.len();
        assert!(failures.is_empty(), "{count} went wrong:\n\n{}", failures.join("\n\n"));
        assert!(*tried > 0 || only().is_some(), "nothing was tried");
    }
}

/// Whether a test shall take its time: all of it, or as many tries as are given.
pub(crate) fn wanted(variable: &str) -> Option<usize> {
    let value = std::env::var(variable).ok()?;
    Some(if value == "all" { usize::MAX } else { value.parse().unwrap() })
}

/// A part of a name, if only tries with such names are wanted.
fn only() -> Option<String> {
    std::env::var("LARDER_ONLY").ok()
}

/// So many of all, spread evenly; more, if a variable says so.
pub(crate) fn pick<'i, T>(all: &'i [T], variable: &str, sampled: usize) -> Vec<&'i T> {
    let wanted = wanted(variable).unwrap_or(sampled).clamp(1, all.len().max(1));
    // The middle of each part: the first calls of all commands are the same.
    (0..wanted).filter_map(|part| all.get((2 * part + 1) * all.len() / (2 * wanted))).collect()
}

/// Tries each, two at once. A try gives its name and what came of it.
pub(crate) fn try_each<T: Sync + Display>(
    items: Vec<&T>,
    results: &mut Results,
    attempt: impl Fn(&T) -> (String, Result<Tried, String>) + Sync,
) {
    let only = only();
    let queue = Mutex::new(items.into_iter());
    let shared = Mutex::new(results);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                loop {
                    let Some(item) = queue.lock().unwrap().next() else { break };
                    if only.as_ref().is_some_and(|only| !item.to_string().contains(only.as_str())) {
                        continue;
                    }
                    // A try that hangs must not hide the others.
                    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| attempt(item)));
                    let (name, outcome) = outcome
                        .unwrap_or_else(|_| (item.to_string(), Err("it panicked".to_owned())));
                    let mut results = shared.lock().unwrap();
                    match outcome {
                        Ok(Tried::Yes) => {
                            results.tried += 1;
                            if results.tried.is_multiple_of(500) {
                                eprintln!("{} tries", results.tried);
                            }
                        }
                        Ok(Tried::Nothing) => {}
                        Err(why) => {
                            let failure = format!("{name}: {why}");
                            // A long run that is ended early has told it by then.
                            eprintln!("{failure}\n");
                            results.failures.push(failure);
                        }
                    }
                }
            });
        }
    });
}
