//! larder as a process of its own, which is left alone, killed, or paused.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::ledger::Moment;

/// No run takes longer unless it hangs; what it was paused for is on top.
const TIMEOUT: Duration = Duration::from_secs(180);

/// What is done to a process, each after some time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) kill: Option<Duration>,
    /// When, and for how long.
    pub(crate) pause: Option<(Duration, Duration)>,
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    /// What it exited with, unless it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) was_paused: bool,
    pub(crate) hung: bool,
    /// What it printed, if that was JSON.
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

impl Ended {
    /// How long it took.
    pub(crate) fn span(&self) -> (Moment, Moment) {
        (self.began, self.ended)
    }

    /// A number of its result.
    pub(crate) fn number(&self, pointer: &str) -> u64 {
        self.json.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    pub(crate) fn is(&self, pointer: &str) -> bool {
        self.json.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.json.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.json.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> Moment {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Runs a command to its end, or to that which the plan has for it.
pub(crate) fn run(command: &mut Command, plan: &Plan) -> Ended {
    let mut out = tempfile::tempfile().unwrap();
    let mut err = tempfile::tempfile().unwrap();
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let began = now();
    let mut child = command.spawn().unwrap();
    let (status, was_paused, hung) = attend(&mut child, plan);
    let ended = now();
    let (stdout, stderr) = (text(&mut out), text(&mut err));
    Ended {
        began,
        ended,
        code: status.code(),
        was_paused,
        hung,
        json: serde_json::from_str(&stdout).unwrap_or_default(),
        stderr,
    }
}

/// Waits for a process and does what the plan says.
fn attend(child: &mut Child, plan: &Plan) -> (ExitStatus, bool, bool) {
    let began = Instant::now();
    let (mut pause, mut was_paused) = (plan.pause, false);
    let mut deadline = TIMEOUT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, was_paused, false);
        }
        let so_far = began.elapsed();
        let hung = so_far > deadline;
        if hung || plan.kill.is_some_and(|after| so_far > after) {
            child.kill().unwrap();
            return (child.wait().unwrap(), was_paused, hung);
        }
        if let Some((_, time)) = pause.take_if(|(after, _)| so_far > *after) {
            // It is not waited for yet, so the number is still its own.
            let id = Pid::from_child(child);
            kill_process(id, Signal::STOP).unwrap();
            std::thread::sleep(time);
            kill_process(id, Signal::CONT).unwrap();
            was_paused = true;
            deadline += time;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = vec![];
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
