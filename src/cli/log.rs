//! What is told on stderr: as text for people, or one JSON object a line for
//! programs. How is settled once for the process, as colours are.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use larder::code::Code;
use larder::harmless;
use serde::Serialize;

use super::ci::System;
use super::exit::Exit;
use super::output::RequestsJson;
use super::progress;
use crate::serve::Served;

/// What `--log-format` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug)]
struct Settings {
    format: LogFormat,
    ci: Option<&'static System>,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Settles how messages are told; the first one counts.
pub(super) fn settle(format: LogFormat, ci: Option<&'static System>) {
    let _ = SETTINGS.set(Settings { format, ci });
}

/// How messages are told.
pub(super) fn format() -> LogFormat {
    SETTINGS.get().map_or(LogFormat::Text, |settings| settings.format)
}

/// The CI system whose log this is, if it has a say in how it looks.
pub(super) fn ci() -> Option<&'static System> {
    let settings = SETTINGS.get()?;
    settings.ci.filter(|_| settings.format == LogFormat::Text && !anstream::stderr().is_terminal())
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Info,
    Warning,
    Error,
}

/// What programs get beside the text.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Fields<'a> {
    /// Nothing more.
    Note,
    /// How far the work is.
    Progress(progress::Json),
    /// What the store was asked for.
    Requests { requests: RequestsJson },
    /// What a server was asked for.
    Request {
        #[serde(flatten)]
        request: &'a Served,
    },
    /// Why a command failed; also, if that is ignored.
    Error {
        #[serde(flatten)]
        fields: &'a serde_json::Value,
    },
    /// What is wrong with the command line.
    Usage { code: Option<String>, hint: Option<String>, usage: Option<String>, exit_code: u8 },
}

/// One line of JSON.
#[derive(Serialize)]
struct Record<'a, F> {
    /// RFC 3339, in UTC.
    time: String,
    level: Level,
    /// What it is about, if several caches are carried at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    message: String,
    /// `kind` is one of them.
    #[serde(flatten)]
    fields: F,
}

fn json(level: Level, cache: Option<&str>, message: String, fields: &impl Serialize) {
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let record = Record { time, level, cache, message, fields };
    let text = serde_json::to_string(&record).expect("messages are plain data");
    print(&harmless::json(&text));
}

/// Prints a line at once, whoever else prints. Who closed stderr has seen enough:
/// no error.
fn print(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Tells something that is neither wrong nor a result.
pub(super) fn info(cache: Option<&str>, text: impl Display, fields: &Fields) {
    match format() {
        LogFormat::Json => json(Level::Info, cache, text.to_string(), fields),
        LogFormat::Text => print(&harmless::text(&of(cache, text))),
    }
}

/// Tells of something that stops nothing. The fields have a `kind`.
pub(super) fn warning(cache: Option<&str>, text: impl Display, fields: &impl Serialize) {
    match format() {
        LogFormat::Json => json(Level::Warning, cache, text.to_string(), fields),
        LogFormat::Text => print(&harmless::text(&warning_line(cache, text))),
    }
}

/// Tells of something that went wrong, of which whoever runs this should know, but that
/// ends nothing.
pub(super) fn error(text: impl Display, fields: &Fields) {
    const ERROR: Style = AnsiColor::Red.on_default().bold();
    match format() {
        LogFormat::Json => json(Level::Error, None, text.to_string(), fields),
        LogFormat::Text => {
            print(&harmless::text(&format!("{ERROR}error:{ERROR:#} {text}")));
        }
    }
}

fn warning_line(cache: Option<&str>, text: impl Display) -> String {
    const WARNING: Style = AnsiColor::Yellow.on_default().bold();
    format!("{WARNING}warning:{WARNING:#} {}", of(cache, text))
}

/// What is said of a cache, with its name.
fn of(cache: Option<&str>, text: impl Display) -> String {
    match cache {
        Some(name) => format!("{name}: {text}"),
        None => text.to_string(),
    }
}

/// Tells why a command failed, where there is another form for that than plain text;
/// gives whether there is. An error that is ignored is a warning.
pub(super) fn failure(is_ignored: bool, text: &str, fields: &serde_json::Value) -> bool {
    if format() == LogFormat::Json {
        let level = if is_ignored { Level::Warning } else { Level::Error };
        json(level, None, text.to_owned(), &Fields::Error { fields });
        return true;
    }
    if fields["exit_code"] == Exit::Interrupted as u8 {
        // Whoever did that knows.
        return false;
    }
    let ignored = if is_ignored { " (ignored)" } else { "" };
    let code = fields["code"].as_str().map(|code| format!("{code}: ")).unwrap_or_default();
    let hint = fields["hint"].as_str().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let text = format!("{code}{text}{ignored}{hint}");
    let text = harmless::text(&text);
    let Some(line) = ci().and_then(|system| system.annotation(!is_ignored, &text)) else {
        return false;
    };
    print(&line);
    true
}

/// Tells what is wrong with the command line, if that is told as JSON; gives
/// whether it was. Help and version are nothing wrong.
pub(super) fn usage(error: &clap::Error, code: Option<Code>) -> bool {
    if format() == LogFormat::Text || !error.use_stderr() {
        return false;
    }
    let text = error.render().to_string();
    let Told { message, hint, usage } = told(&text);
    let code = code.map(|code| code.to_string());
    let exit_code = Exit::Usage as u8;
    json(Level::Error, None, message, &Fields::Usage { code, hint, usage, exit_code });
    true
}

/// The parts of a mistake in the command line, as clap's text has them.
#[derive(Debug, PartialEq)]
struct Told {
    message: String,
    hint: Option<String>,
    usage: Option<String>,
}

fn told(text: &str) -> Told {
    let joined = |lines: &str| lines.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let (mut tips, mut usage) = (vec![], None);
    for paragraph in paragraphs {
        if let Some(text) = paragraph.strip_prefix("Usage: ") {
            usage = Some(joined(text));
        }
        let lines = paragraph.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
        tips.extend(lines.map(str::to_owned));
    }
    Told {
        message: joined(first.strip_prefix("error: ").unwrap_or(first)),
        hint: (!tips.is_empty()).then(|| tips.join("; ")),
        usage,
    }
}

#[cfg(test)]
mod tests {
    use larder::progress::Warning;

    use super::*;

    fn record(level: Level, cache: Option<&str>, fields: &impl Serialize) -> String {
        let time = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH).to_string();
        let record = Record { time, level, cache, message: "said".into(), fields };
        serde_json::to_string(&record).unwrap()
    }

    #[test]
    fn every_kind_of_message_is_one_object() {
        let path = std::path::PathBuf::from("tree/pipe");
        let special = Warning::SkippedSpecial { path, what: "fifo" };
        let bad = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"a\xff").into();
        let shown = [
            record(Level::Info, None, &Fields::Note),
            record(Level::Warning, Some("npm"), &special),
            record(Level::Warning, None, &Warning::Vanished { path: bad }),
            record(Level::Warning, None, &Warning::NoConditionalWrites),
            record(
                Level::Error,
                None,
                &Fields::Error {
                    fields: &serde_json::json!({ "hint": "wait", "exit_code": 5, "reason": null }),
                },
            ),
            record(
                Level::Error,
                None,
                &Fields::Usage {
                    code: Some("L0102".into()),
                    hint: None,
                    usage: Some("larder".into()),
                    exit_code: 2,
                },
            ),
        ];
        insta::assert_snapshot!(shown.join("\n"), @r#"
        {"time":"1970-01-01T00:00:00Z","level":"info","message":"said","kind":"note"}
        {"time":"1970-01-01T00:00:00Z","level":"warning","cache":"npm","message":"said","kind":"skipped_special","path":"tree/pipe","what":"fifo"}
        {"time":"1970-01-01T00:00:00Z","level":"warning","message":"said","kind":"vanished","path":"a\\xff"}
        {"time":"1970-01-01T00:00:00Z","level":"warning","message":"said","kind":"no_conditional_writes"}
        {"time":"1970-01-01T00:00:00Z","level":"error","message":"said","kind":"error","exit_code":5,"hint":"wait","reason":null}
        {"time":"1970-01-01T00:00:00Z","level":"error","message":"said","kind":"usage","code":"L0102","hint":null,"usage":"larder","exit_code":2}
        "#);
    }

    #[test]
    fn a_warning_names_its_cache() {
        let told = |cache| anstream::adapter::strip_str(&warning_line(cache, "slow")).to_string();
        assert_eq!(told(None), "warning: slow");
        assert_eq!(told(Some("npm")), "warning: npm: slow");
    }

    #[test]
    fn mistakes_of_the_command_line_are_taken_apart() {
        let text = "error: unexpected argument '--kee' found\n\n  tip: a similar argument exists: \
                    '--key'\n\nUsage: larder save --key <KEY> <PATH>...\n\nFor more information, \
                    try '--help'.\n";
        let expected = Told {
            message: "unexpected argument '--kee' found".into(),
            hint: Some("a similar argument exists: '--key'".into()),
            usage: Some("larder save --key <KEY> <PATH>...".into()),
        };
        assert_eq!(told(text), expected);
        let text = "error: the following required arguments were not provided:\n  <PATH>...\n";
        let expected = Told {
            message: "the following required arguments were not provided: <PATH>...".into(),
            hint: None,
            usage: None,
        };
        assert_eq!(told(text), expected);
    }
}
