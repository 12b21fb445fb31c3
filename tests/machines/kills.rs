//! Killed or asked to stop at any system call, larder leaves a sound store and whole
//! files, and the next run clears up.
//!
//! Ends come at calls and not after times: so every place is reached, on a machine of
//! any speed. With `LARDER_KILLS=all` each call of each command is one.

use std::fmt;

use crate::sample::{self, Tried};
use crate::tracer::{At, Plan, traced};
use crate::world::{Template, Trial};

/// Calls between which something changes on the disk, or a lock is taken or seen.
const CALLS: &str = "openat,mkdir,mkdirat,unlink,unlinkat,rmdir,rename,renameat,renameat2,link,\
                     linkat,symlink,symlinkat,write,pwrite64,ftruncate,fsync,fdatasync,fchmod,\
                     fchmodat,utimensat,flock,getdents64,read,pread64,clone3,clone";

/// A signal that a run gets before it makes a call.
#[derive(Clone, Debug)]
struct End {
    trial: Trial,
    signal: &'static str,
    number: u64,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.trial, self.signal, self.number)
    }
}

/// How often a command makes such a call, when nothing happens to it.
fn count(template: &Template) -> u64 {
    let world = template.world();
    let counted = traced(&world.top(), &world.command(), &Plan::Count);
    let is_counted = |name: &str| CALLS.split(',').any(|call| call == name);
    counted.counts().iter().filter(|(name, _)| is_counted(name)).map(|(_, count)| count).sum()
}

/// Ends a run at a call; says what is wrong, and else whether it came to that.
fn end_at(template: &Template, end: &End) -> Result<Tried, String> {
    let world = template.world();
    let End { signal, number, .. } = *end;
    let at = At { calls: CALLS.to_owned(), first: number, last: number };
    let traced = traced(&world.top(), &world.command(), &Plan::Kill(at, signal));
    let told = |why: String| format!("{why}\nexit {:?}: {}", traced.run.code, traced.run.stderr);
    if traced.hits().is_empty() {
        return Ok(Tried::Nothing);
    }
    match (signal, traced.run.code) {
        ("SIGKILL", Some(137)) => world.age_what_is_left(),
        // Before it listens to signals, these end it as they end any program.
        ("SIGTERM", Some(143)) => world.age_what_is_left(),
        ("SIGTERM", Some(130)) => world.judge_litter().map_err(told)?,
        // It was done but for its last words.
        (_, Some(0)) => return world.judge_state(true).map_err(told).map(|()| Tried::Nothing),
        _ => return Err(told("it ended otherwise".to_owned())),
    }
    world.judge_state(false).map_err(told)?;
    Ok(Tried::Yes)
}

/// Ends all commands at all calls; or some at a few.
fn end_at_all(signal: &'static str, some: &[Trial], sampled: usize) {
    let mut all = sample::Results::default();
    for &trial in if sample::wanted("LARDER_KILLS").is_some() { &Trial::ALL } else { some } {
        let template = Template::new(trial);
        let ends: Vec<End> =
            (1..=count(&template)).map(|number| End { trial, signal, number }).collect();
        let picked = sample::pick(&ends, "LARDER_KILLS", sampled);
        sample::try_each(picked, &mut all, |end| (end.to_string(), end_at(&template, end)));
    }
    all.report(&format!("runs ended by {signal}"));
}

#[test]
fn killed_at_any_call() {
    end_at_all("SIGKILL", &[Trial::Save, Trial::Restore, Trial::Flush, Trial::Repair], 4);
}

#[test]
fn asked_to_stop_at_any_call() {
    end_at_all("SIGTERM", &[Trial::Save, Trial::RestoreAnew], 2);
}
