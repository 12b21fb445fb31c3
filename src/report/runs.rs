//! Runs: what restores and saves told of themselves, as lines of JSON that a CI kept.
//!
//! The store has no record of restores; these lines are the only one. Lines that are
//! something else are counted, and lines that cannot be read are named.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead};

use larder::store_time::StoreTime;
use serde::Deserialize;

/// Lines that are named one by one; the others are only counted.
const NAMED: usize = 20;

/// All that lines told, in sum.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(super) restores: Restores,
    pub(super) saves: Saves,
    /// Restores by scope and what the cache is called.
    pub(super) groups: BTreeMap<(String, Group), Restores>,
    /// Restores by their day, in days since 1970.
    pub(super) days: BTreeMap<i64, Restores>,
    /// Restores whose lines tell no time.
    pub(super) timeless: u64,
    /// Runs that ended with an error.
    pub(super) failed: u64,
    /// Lines of other commands.
    pub(super) others: u64,
    /// Lines that could not be read.
    pub(crate) unread: u64,
    /// The first of them.
    pub(crate) bad_lines: Vec<BadLine>,
}

/// A line that could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    source: String,
    /// Its number, from 1.
    line: u64,
    why: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: {}", self.source, self.line, self.why)
    }
}

/// What restores are counted together by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// The name that a config file gives.
    Cache(String),
    /// Keys that differ in hashes and numbers alone.
    Family(String),
    /// A miss names no key.
    Unnamed,
}

/// What restores came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Restores {
    pub(super) exact: u64,
    pub(super) prefix: u64,
    pub(super) miss: u64,
    pub(super) raw_bytes: u64,
    pub(super) fetched_bytes: u64,
    pub(super) local_bytes: u64,
    pub(super) seconds: f64,
}

/// What saves came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Saves {
    pub(super) runs: u64,
    /// Those that uploaded nothing, since nothing had changed or the key was there.
    pub(super) idle: u64,
    pub(super) raw_bytes: u64,
    pub(super) uploaded_bytes: u64,
    pub(super) seconds: f64,
}

/// What a line may say. All but `hit` of a restore may be absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    command: Option<String>,
    error: Option<String>,
    time: Option<f64>,
    cache: Option<String>,
    scope: Option<String>,
    key: Option<String>,
    hit: Option<String>,
    raw_bytes: u64,
    fetched_bytes: Option<u64>,
    local_cache_bytes: u64,
    uploaded_bytes: Option<u64>,
    unchanged: bool,
    already_there: bool,
    dry_run: bool,
    seconds: f64,
}

impl Runs {
    /// Adds what the lines of a file say, which is named `source` to people.
    ///
    /// # Errors
    /// Those of reading; a line that says nothing sensible is none.
    pub(crate) fn read(&mut self, source: &str, mut lines: impl BufRead) -> io::Result<()> {
        let mut bytes = vec![];
        for line in 1.. {
            bytes.clear();
            if lines.read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let text = bytes.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let read = serde_json::from_slice::<Line>(text).map_err(|error| said(&error));
            if let Err(why) = read.and_then(|line| self.add(&line)) {
                self.unread += 1;
                if self.bad_lines.len() < NAMED {
                    self.bad_lines.push(BadLine { source: source.to_owned(), line, why });
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, line: &Line) -> Result<(), String> {
        let is_restore = match &line.command {
            Some(command) => command == "restore",
            None => line.hit.is_some() && line.fetched_bytes.is_some(),
        };
        let is_save = match &line.command {
            Some(command) => command == "save",
            None => line.uploaded_bytes.is_some(),
        };
        if line.error.is_some() {
            self.failed += 1;
            Ok(())
        } else if is_restore {
            self.add_restore(line)
        } else if is_save && !line.dry_run {
            self.saves.add(line);
            Ok(())
        } else {
            self.others += 1;
            Ok(())
        }
    }

    fn add_restore(&mut self, line: &Line) -> Result<(), String> {
        let restore = Restores::of(line)?;
        self.restores.add(restore);
        let group = match (&line.cache, &line.key) {
            (Some(cache), _) => Group::Cache(cache.clone()),
            (None, Some(key)) => Group::Family(family(key)),
            (None, None) => Group::Unnamed,
        };
        let scope = line.scope.clone().unwrap_or_default();
        self.groups.entry((scope, group)).or_default().add(restore);
        match line.time {
            #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
            Some(time) => {
                let day = StoreTime::from_unix(time as i64).unix().div_euclid(86_400);
                self.days.entry(day).or_default().add(restore);
            }
            None => self.timeless += 1,
        }
        Ok(())
    }
}

impl Restores {
    fn of(line: &Line) -> Result<Self, String> {
        let mut one = Self {
            raw_bytes: line.raw_bytes,
            fetched_bytes: line.fetched_bytes.unwrap_or(0),
            local_bytes: line.local_cache_bytes,
            seconds: line.seconds.max(0.0),
            ..Self::default()
        };
        match line.hit.as_deref() {
            Some("exact") => one.exact = 1,
            Some("prefix") => one.prefix = 1,
            Some("miss") => one.miss = 1,
            Some(hit) => return Err(format!("there is no hit {hit:?}")),
            None => return Err("a restore without hit".to_owned()),
        }
        Ok(one)
    }

    /// How many there are.
    pub(super) fn runs(&self) -> u64 {
        self.exact + self.prefix + self.miss
    }

    fn add(&mut self, other: Self) {
        self.exact += other.exact;
        self.prefix += other.prefix;
        self.miss += other.miss;
        self.raw_bytes = self.raw_bytes.saturating_add(other.raw_bytes);
        self.fetched_bytes = self.fetched_bytes.saturating_add(other.fetched_bytes);
        self.local_bytes = self.local_bytes.saturating_add(other.local_bytes);
        self.seconds += other.seconds;
    }
}

impl Saves {
    fn add(&mut self, line: &Line) {
        self.runs += 1;
        self.idle += u64::from(line.unchanged || line.already_there);
        self.raw_bytes = self.raw_bytes.saturating_add(line.raw_bytes);
        self.uploaded_bytes = self.uploaded_bytes.saturating_add(line.uploaded_bytes.unwrap_or(0));
        self.seconds += line.seconds.max(0.0);
    }
}

/// What is wrong with a line, less its place in it: every line is its first.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("{what} (column {})", error.column())
}

/// What divides a key into words.
const BETWEEN: [char; 5] = ['-', '_', '/', ':', '.'];

/// A key with its hashes and numbers left out: `npm-linux-*` for `npm-linux-5f3e91c0`.
fn family(key: &str) -> String {
    let mut family = String::new();
    for part in key.split_inclusive(BETWEEN) {
        let word = part.trim_end_matches(BETWEEN);
        if !is_drawn(word) {
            family.push_str(part);
            continue;
        }
        // Several in a row are one.
        let before = family.trim_end_matches(BETWEEN).len();
        if family[..before].ends_with('*') {
            family.truncate(before);
        } else {
            family.push('*');
        }
        family.push_str(&part[word.len()..]);
    }
    family
}

/// Whether a word of a key is a hash or a number, which the next key has another of.
fn is_drawn(word: &str) -> bool {
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `deadbeef` is one, `facade` is a name.
    let is_hash = is_hex
        && (word.len() >= 12 || (word.len() >= 4 && word.bytes().any(|b| b.is_ascii_digit())));
    is_number || is_hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Runs {
        let mut runs = Runs::default();
        runs.read("runs.jsonl", text.as_bytes()).unwrap();
        runs
    }

    #[test]
    fn restores_and_saves_are_told_apart() {
        let runs = read(
            r#"
{"hit":"exact","key":"npm-1a2b3c4d","scope":"o/r","raw_bytes":100,"fetched_bytes":40,"seconds":1.5}
{"command":"restore","hit":"prefix","key":"npm-0000ffff","scope":"o/r","time":86400,"fetched_bytes":2,"local_cache_bytes":3,"seconds":0.5}
{"command":"restore","hit":"miss","key":null,"scope":"o/r","cache":"deps","time":86399,"fetched_bytes":0,"seconds":0}
{"hit":"miss","key":null,"scope":"o/r","fetched_bytes":0,"seconds":0}
{"key":"npm-1","scope":"o/r","raw_bytes":50,"uploaded_bytes":5,"unchanged":false,"seconds":2}
{"command":"save","key":"npm-1","raw_bytes":50,"uploaded_bytes":0,"unchanged":true,"seconds":1}
{"command":"save","key":"npm-1","raw_bytes":50,"uploaded_bytes":50,"dry_run":true,"seconds":1}
{"hit":"exact","key":"looked-up"}
{"error":"the store does not answer","hint":null,"reason":null,"exit_code":5}
"#,
        );
        let restores = runs.restores;
        assert_eq!((restores.exact, restores.prefix, restores.miss), (1, 1, 2));
        assert_eq!((restores.fetched_bytes, restores.local_bytes), (42, 3));
        assert_eq!(restores.seconds, 2.0);
        assert_eq!(
            runs.saves,
            Saves { runs: 2, idle: 1, raw_bytes: 100, uploaded_bytes: 5, seconds: 3.0 }
        );
        let groups: Vec<_> =
            runs.groups.iter().map(|((_, group), of)| (group.clone(), of.runs())).collect();
        let expected = [
            (Group::Cache("deps".to_owned()), 1),
            (Group::Family("npm-*".to_owned()), 2),
            (Group::Unnamed, 1),
        ];
        assert_eq!(groups, expected);
        let days: Vec<_> = runs.days.iter().map(|(day, of)| (*day, of.runs())).collect();
        assert_eq!(days, [(0, 1), (1, 1)]);
        assert_eq!((runs.timeless, runs.failed, runs.others, runs.unread), (2, 1, 2, 0));
    }

    #[test]
    fn bad_lines_are_named() {
        let runs = read(concat!(
            "{\"hit\":\"exact\",\n\n[1]\n{\"command\":\"restore\"}\n",
            "{\"hit\":\"no\",\"fetched_bytes\":1}\n\"\n"
        ));
        let said: Vec<_> = runs.bad_lines.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        runs.jsonl, line 1: EOF while parsing a value (column 15)
        runs.jsonl, line 3: invalid type: integer `1`, expected a string (column 2)
        runs.jsonl, line 4: a restore without hit
        runs.jsonl, line 5: there is no hit "no"
        runs.jsonl, line 6: EOF while parsing a string (column 1)
        "#);
        assert_eq!(runs.unread, 5);
        assert_eq!(read(&"x\n".repeat(50)).bad_lines.len(), NAMED);
        let mut bytes = Runs::default();
        bytes.read("-", &b"{\"key\":\"\xff\"}\n{}\n"[..]).unwrap();
        assert_eq!((bytes.unread, bytes.others), (1, 1));
    }

    #[test]
    fn families_have_no_hashes() {
        let check = |key: &str, expected: &str| assert_eq!(family(key), expected, "{key}");
        check("npm-linux-5f3e", "npm-linux-*");
        check("npm-linux", "npm-linux");
        check("cargo-1.94.0-0123456789ab-main", "cargo-*-main");
        check("facade-deadbeef-beefdeadbeef", "facade-deadbeef-*");
        check("pr-17/deps", "pr-*/deps");
        check("2026", "*");
        check("v2-", "v2-");
    }
}
