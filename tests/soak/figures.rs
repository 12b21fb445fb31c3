//! What a soak counts, and how it is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::process::Ended;

/// Processes of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kind {
    pub(crate) run: u64,
    pub(crate) ok: u64,
    pub(crate) killed: u64,
    pub(crate) paused: u64,
    /// Other exit codes, and how often.
    pub(crate) failed: BTreeMap<i32, u64>,
    pub(crate) seconds: f64,
    pub(crate) longest: f64,
}

/// All counts of a soak.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) kinds: BTreeMap<&'static str, Kind>,
    counts: BTreeMap<&'static str, u64>,
}

/// Requests, as results have them.
const REQUESTS: [(&str, &str); 7] = [
    ("/requests/get", "requests: get"),
    ("/requests/put", "requests: put"),
    ("/requests/head", "requests: head"),
    ("/requests/list", "requests: list"),
    ("/requests/delete", "requests: delete"),
    ("/requests/bytes_read", "bytes down"),
    ("/requests/bytes_written", "bytes up"),
];

impl Figures {
    pub(crate) fn add(&mut self, what: &'static str, number: u64) {
        *self.counts.entry(what).or_default() += number;
    }

    pub(crate) fn get(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Counts a process.
    pub(crate) fn ended(&mut self, kind: &'static str, ended: &Ended) {
        let entry = self.kinds.entry(kind).or_default();
        let took = ended.ended - ended.began;
        entry.run += 1;
        entry.paused += u64::from(ended.was_paused);
        entry.seconds += took;
        match ended.code {
            None => entry.killed += 1,
            Some(0) => entry.ok += 1,
            Some(code) => *entry.failed.entry(code).or_default() += 1,
        }
        if !ended.was_paused {
            entry.longest = entry.longest.max(took);
        }
        for (pointer, what) in REQUESTS {
            self.add(what, ended.number(pointer));
        }
    }

    /// How long a process of a kind takes, about.
    pub(crate) fn mean(&self, kind: &str) -> f64 {
        match self.kinds.get(kind) {
            Some(kind) if kind.run > 0 => kind.seconds / kind.run as f64,
            _ => 0.5,
        }
    }

    /// One line, while it goes on.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        for (name, kind) in &self.kinds {
            let failed: u64 = kind.failed.values().sum();
            let _ = write!(line, "{} {name} ({} killed, {failed} failed), ", kind.run, kind.killed);
        }
        let (restored, removed) = (self.get("restores compared"), self.get("caches removed"));
        let deleted = self.get("packs deleted");
        let _ = write!(
            line,
            "{restored} restores compared, {removed} caches removed, {deleted} packs deleted"
        );
        line
    }

    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| processes | run | ok | killed | paused | failed: code × times | mean, longest |\n\
             | --- | ---: | ---: | ---: | ---: | --- | --- |\n",
        );
        for (name, kind) in &self.kinds {
            let Kind { run, ok, killed, paused, longest, .. } = kind;
            let failed = kind.failed.iter().map(|(code, times)| format!("{code} × {times}"));
            let failed = failed.collect::<Vec<_>>().join(", ");
            let mean = self.mean(name);
            let _ = writeln!(
                table,
                "| {name} | {run} | {ok} | {killed} | {paused} | {failed} | {mean:.2} s, {longest:.1} s |"
            );
        }
        table.push_str("\n| figure | |\n| --- | ---: |\n");
        for (what, number) in &self.counts {
            let _ = writeln!(table, "| {what} | {number} |");
        }
        table
    }

    pub(crate) fn json(&self) -> Value {
        let kinds = self.kinds.iter().map(|(name, kind)| {
            let Kind { run, ok, killed, paused, failed, longest, .. } = kind;
            let value = json!({
                "run": run, "ok": ok, "killed": killed, "paused": paused, "failed": failed,
                "mean_seconds": self.mean(name), "longest_seconds": longest,
            });
            ((*name).to_owned(), value)
        });
        json!({
            "processes": kinds.collect::<serde_json::Map<_, _>>(),
            "counts": self.counts,
        })
    }
}
