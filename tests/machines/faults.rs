//! A system call fails, whichever it is: the exit code and the message are documented,
//! the old state or the new one is there, never a mixture, and the next run puts all
//! right. With `LARDER_FAULTS=all` every call of every command fails in every way.

use std::fmt;

use crate::calls::errors_of;
use crate::sample::{self, Tried};
use crate::tracer::{At, Plan, Traced, traced};
use crate::world::{Template, Trial};

/// One fault.
#[derive(Clone, Debug)]
struct Fault {
    trial: Trial,
    at: At,
    error: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trial, at, error } = self;
        write!(f, "{trial:?} {} {error} {}..{}", at.calls, at.first, at.last)
    }
}

/// All faults of a command, by what it does when nothing fails.
fn faults_of(trial: Trial, template: &Template) -> Vec<Fault> {
    let world = template.world();
    let counted = traced(&world.top(), &world.command(), &Plan::Count);
    let mut faults = vec![];
    for (call, count) in counted.counts() {
        for &error in errors_of(&call) {
            let mut fault = |first, last| {
                let at = At { calls: call.clone(), first, last };
                faults.push(Fault { trial, at, error });
            };
            (1..=count).for_each(|number| fault(number, number));
            // What fails once often goes on failing.
            if error != "EINTR" {
                fault(count.div_ceil(2), 0);
            }
        }
    }
    faults
}

/// Tries one fault; says what is wrong, and else whether it came to it.
fn try_fault(template: &Template, fault: &Fault) -> Result<Tried, String> {
    let world = template.world();
    let traced = traced(&world.top(), &world.command(), &Plan::Fail(fault.at.clone(), fault.error));
    let hits: Vec<_> = traced.hits().into_iter().take(3).collect();
    let run = &traced.run;
    let told = |why: String| format!("{why}\nhits {hits:?}, exit {:?}: {}", run.code, run.stderr);
    if hits.is_empty() {
        return Ok(Tried::Nothing);
    }
    if run.code == Some(134) && fault.at.calls == "mmap" {
        // Rust's own end, of whoever has no memory for a thread's stack or a byte more:
        // no worse than to be killed.
        world.age_what_is_left();
        return world.judge_state(false).map_err(told).map(|()| Tried::Yes);
    }
    if fault.at.calls.starts_with("unlink") {
        world.age_what_is_left();
    }
    let judged = judge_words(fault, &traced).and_then(|()| world.judge(run));
    judged.map_err(told).map(|()| Tried::Yes)
}

/// What failed must be told, with its place; what was only interrupted is done again.
fn judge_words(fault: &Fault, traced: &Traced) -> Result<(), String> {
    let (run, hits) = (&traced.run, traced.hits());
    if run.code == Some(0) {
        return Ok(());
    }
    if fault.error == "EINTR" {
        return Err("an interrupted call is an error".to_owned());
    }
    let mut paths = hits.iter().flat_map(|(_, paths)| paths).peekable();
    if paths.peek().is_none() {
        return Ok(());
    }
    let is_named = paths.any(|path| {
        let mut names = path.ancestors().take(3).filter_map(|path| path.file_name());
        names.any(|name| run.stderr.contains(&*name.to_string_lossy()))
    });
    if is_named { Ok(()) } else { Err("the message does not name the path".to_owned()) }
}

#[test]
fn whichever_call_fails_nothing_is_half_done() {
    let mut results = sample::Results::default();
    for trial in Trial::ALL {
        let template = Template::new(trial);
        let faults = faults_of(trial, &template);
        let picked = sample::pick(&faults, "LARDER_FAULTS", 2);
        sample::try_each(picked, &mut results, |fault| {
            (fault.to_string(), try_fault(&template, fault))
        });
    }
    results.report("faults injected");
}
