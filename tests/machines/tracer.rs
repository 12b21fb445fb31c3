//! larder under the tracer: its system calls counted, failed, written down, or its end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Run, run_whatever_it_does};

/// Where the tracer steps in: at which of the calls of these names, all counted together.
#[derive(Clone, Debug)]
pub(crate) struct At {
    /// Names of system calls, with commas between.
    pub(crate) calls: String,
    /// The first one, from 1 on.
    pub(crate) first: u64,
    /// The last one; 0 if there is none.
    pub(crate) last: u64,
}

/// What the tracer does.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Count,
    Log,
    /// The calls fail with an error, by its name, and do nothing.
    Fail(At, &'static str),
    /// The process gets a signal, by its name, before the call is made.
    Kill(At, &'static str),
}

/// A run of larder, and what the tracer has to report of it.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) run: Run,
    pub(crate) report: Vec<u8>,
}

impl Traced {
    /// How often each system call was made.
    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        let text = String::from_utf8(self.report.clone()).unwrap();
        let pair = |line: &str| {
            let (name, count) = line.split_once('\t').unwrap();
            (name.to_owned(), count.parse().unwrap())
        };
        text.lines().map(pair).collect()
    }

    /// The calls that failed or killed: their names, and the paths that they were about.
    pub(crate) fn hits(&self) -> Vec<(String, Vec<PathBuf>)> {
        let text = String::from_utf8_lossy(&self.report).into_owned();
        let hit = |line: &str| {
            let mut words = line.strip_prefix("hit\t")?.split('\t').map(str::to_owned);
            let name = words.next()?;
            Some((name, words.filter(|path| !path.is_empty()).map(PathBuf::from).collect()))
        };
        text.lines().filter_map(hit).collect()
    }
}

/// The tracer, compiled once.
fn tracer() -> &'static Path {
    static TRACER: OnceLock<PathBuf> = OnceLock::new();
    TRACER.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::create_dir_all(directory).unwrap();
        let built = directory.join(format!("tracer-{}", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines/tracer.c");
        let mut cc = Command::new("cc");
        let output = cc.args(["-O1", "-Wall", "-Wextra", "-o"]).arg(&built).arg(source).output();
        let output = output.expect("a C compiler is needed: install gcc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // One name, whoever was first: tests may run in several processes.
        let tracer = directory.join("tracer");
        std::fs::rename(built, &tracer).unwrap();
        tracer
    })
}

/// Runs a command under the tracer, for which only calls below a directory count.
#[track_caller]
pub(crate) fn traced(below: &Path, command: &Command, plan: &Plan) -> Traced {
    let report = below.join("tracer-report");
    let mut traced = Command::new(tracer());
    traced.arg(below).arg(&report);
    match plan {
        Plan::Count => traced.arg("count"),
        Plan::Log => traced.arg("log"),
        Plan::Fail(at, what) | Plan::Kill(at, what) => {
            let (first, last) = (at.first.to_string(), at.last.to_string());
            traced.arg(if matches!(plan, Plan::Fail(..)) { "fail" } else { "kill" });
            traced.args([&at.calls, *what, &first, &last])
        }
    };
    traced.arg("--").arg(command.get_program()).args(command.get_args());
    traced.env_clear();
    for (name, value) in command.get_envs() {
        traced.envs(value.map(|value| (name, value)));
    }
    traced.current_dir(command.get_current_dir().unwrap());
    let run = run_whatever_it_does(&mut traced);
    assert_ne!(run.code, Some(125), "the tracer does not work here: {}", run.stderr);
    let bytes = std::fs::read(&report).unwrap();
    std::fs::remove_file(report).unwrap();
    Traced { run, report: bytes }
}
