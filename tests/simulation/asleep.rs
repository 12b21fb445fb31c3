//! Whether all threads of an actor wait for something.
//!
//! larder's own threads are not the scheduler's to know: it only sees what they
//! ask the store. But which requests of an actor are waiting must not depend on
//! how fast its threads are, or a seed would not be a run. So before a turn is
//! given, all threads of the actor must sleep, and rayon's too. Threads that an
//! actor starts inherit its name, by which they are found.

use std::collections::HashMap;
use std::fs;

/// The name of rayon's threads.
const RAYON: &str = "sim-rayon";

/// Lets rayon's threads be found.
pub(crate) fn name_rayon() {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(2);
    let built = builder.thread_name(|_| RAYON.to_owned()).build_global();
    built.expect("nobody has used rayon before");
}

/// The threads of one actor.
#[derive(Debug)]
pub(crate) struct Threads {
    name: String,
    /// For each thread of the process, whether it counts.
    known: HashMap<u32, bool>,
}

impl Threads {
    /// The threads with this name: at most 15 bytes, as the kernel keeps them.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), known: HashMap::new() }
    }

    /// Whether all of them sleep, at one instant of this call.
    ///
    /// Looked at one by one, the first may be woken by the last. So they are
    /// looked at twice: who slept both times and asked for nothing in between
    /// (which the caller can tell) was asleep all the time.
    pub(crate) fn all_sleep(&mut self) -> bool {
        // Finding new ones takes longer than looking at these.
        self.known_sleep() && self.look() && self.look()
    }

    fn look(&mut self) -> bool {
        let Ok(entries) = fs::read_dir("/proc/self/task") else {
            // No Linux: what takes longer than this makes a run another one.
            std::thread::sleep(std::time::Duration::from_millis(1));
            return true;
        };
        let before = std::mem::take(&mut self.known);
        for entry in entries {
            let Some(id) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok())
            else {
                continue;
            };
            // Ids come back, but not at once.
            let counts = match before.get(&id) {
                Some(counts) => *counts,
                None => self.counts(id),
            };
            self.known.insert(id, counts);
        }
        self.known_sleep()
    }

    fn known_sleep(&self) -> bool {
        self.known.iter().filter(|(_, counts)| **counts).all(|(id, _)| sleeps(*id))
    }

    fn counts(&self, id: u32) -> bool {
        let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
        let name = name.trim_end();
        name == self.name || name == RAYON
    }
}

fn sleeps(id: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/self/task/{id}/stat")) else {
        // It has ended.
        return true;
    };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('S' | 'Z' | 'X') | None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_that_runs_is_seen() {
        let (began, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut threads = Threads::named("sim-test");
        std::thread::scope(|scope| {
            let parent = std::thread::Builder::new().name("sim-test".to_owned());
            let (began, stop) = (&began, &stop);
            let busy = move || {
                began.store(true, Ordering::Relaxed);
                while !stop.load(Ordering::Relaxed) {}
            };
            parent.spawn_scoped(scope, move || scope.spawn(busy)).unwrap();
            // On a busy machine it takes its time to begin; until then, all do sleep.
            while !began.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let mut was_seen = true;
            for _ in 0..20 {
                std::thread::sleep(std::time::Duration::from_millis(1));
                was_seen &= !threads.all_sleep();
            }
            // Before anything is said of it: nobody would ever end it.
            stop.store(true, Ordering::Relaxed);
            assert!(was_seen);
        });
        // Those of other runs may be busy.
        while !threads.all_sleep() {}
    }
}
