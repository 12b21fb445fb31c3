//! What logs of CI systems can do beyond plain text: groups of lines that are
//! folded, and errors that are shown on the page of the run.
//!
//! Progress is folded, and nothing else: results, warnings and errors come after the
//! end of its group.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

/// What `--ci-log` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CiLog {
    /// As the environment says
    #[default]
    Auto,
    /// Plain lines only
    Never,
    /// GitHub Actions, Gitea and Forgejo
    Github,
    /// GitLab CI
    Gitlab,
    /// Buildkite
    Buildkite,
    /// Azure Pipelines
    Azure,
    /// Travis CI
    Travis,
    /// TeamCity
    Teamcity,
}

/// A CI system whose logs have groups.
#[derive(Debug, PartialEq)]
pub(super) struct System {
    name: CiLog,
    /// What it sets in the environment of every job.
    variable: &'static str,
    open: &'static str,
    close: &'static str,
    /// The line of an error and that of a warning, before their text.
    annotations: Option<(&'static str, &'static str)>,
}

/// In the lines, `ID` is a name that no other group of the job has, and `NOW` the
/// time in seconds since 1970.
static SYSTEMS: [System; 6] = [
    System {
        name: CiLog::Github,
        variable: "GITHUB_ACTIONS",
        open: "::group::larder: progress\n",
        close: "::endgroup::\n",
        annotations: Some(("::error title=larder::", "::warning title=larder::")),
    },
    System {
        name: CiLog::Gitlab,
        variable: "GITLAB_CI",
        open: "\x1b[0Ksection_start:NOW:ID[collapsed=true]\r\x1b[0Klarder: progress\n",
        close: "\x1b[0Ksection_end:NOW:ID\r\x1b[0K\n",
        annotations: None,
    },
    // It knows no end of a group, only the begin of another: one that is not folded.
    System {
        name: CiLog::Buildkite,
        variable: "BUILDKITE",
        open: "~~~ larder: progress\n",
        close: "+++ larder\n",
        annotations: None,
    },
    System {
        name: CiLog::Azure,
        variable: "TF_BUILD",
        open: "##[group]larder: progress\n",
        close: "##[endgroup]\n",
        annotations: None,
    },
    System {
        name: CiLog::Travis,
        variable: "TRAVIS",
        open: "travis_fold:start:ID\r\x1b[0Klarder: progress\n",
        close: "travis_fold:end:ID\r\x1b[0K\n",
        annotations: None,
    },
    System {
        name: CiLog::Teamcity,
        variable: "TEAMCITY_VERSION",
        open: "##teamcity[blockOpened name='larder: progress']\n",
        close: "##teamcity[blockClosed name='larder: progress']\n",
        annotations: None,
    },
];

impl CiLog {
    /// The system that is meant, or that the environment speaks of.
    pub(super) fn system(
        self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<&'static System> {
        SYSTEMS.iter().find(|system| match self {
            Self::Auto => is_set(&variable, system.variable),
            named => system.name == named,
        })
    }
}

/// Whether a variable says that this is a job of its system.
pub(super) fn is_set(variable: impl Fn(&str) -> Option<String>, name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case("false"))
}

impl System {
    /// An error or warning as the system shows it on the page of the run, if it does.
    pub(super) fn annotation(&self, is_error: bool, text: &str) -> Option<String> {
        let (error, warning) = self.annotations?;
        let escaped = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        Some(format!("{}{escaped}", if is_error { error } else { warning }))
    }
}

/// The group of a log that lines of progress go into. It begins with the first line,
/// so that short runs have none.
#[derive(Debug)]
pub(super) struct Groups {
    system: Option<&'static System>,
    is_open: bool,
    number: u32,
    write: fn(&str),
}

impl Groups {
    /// Groups as the system has them; none without one.
    pub(super) fn of(system: Option<&'static System>) -> Self {
        Self { system, is_open: false, number: 0, write: to_stderr }
    }

    /// The same, without anything written.
    #[cfg(test)]
    pub(super) fn silent(system: Option<&'static System>) -> Self {
        Self { write: |_| (), ..Self::of(system) }
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// How many there were.
    #[cfg(test)]
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Begins a group, unless one is open.
    pub(super) fn open(&mut self) {
        if let Some(system) = self.system.filter(|_| !self.is_open) {
            self.is_open = true;
            self.number += 1;
            self.write(system.open);
        }
    }

    /// Ends the group that is open.
    pub(super) fn close(&mut self) {
        if let Some(system) = self.system.filter(|_| self.is_open) {
            self.is_open = false;
            self.write(system.close);
        }
    }

    fn write(&self, line: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        (self.write)(&self.line(line, std::process::id(), now));
    }

    fn line(&self, line: &str, process: u32, now: u64) -> String {
        let id = format!("larder_{process}_{}", self.number);
        line.replace("ID", &id).replace("NOW", &now.to_string())
    }
}

/// Writes a line as it is: its escape sequences are no colours, and meant for a log.
fn to_stderr(line: &str) {
    // Who closed stderr has seen enough.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(name: CiLog, variables: &[(&str, &str)]) -> Option<CiLog> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        name.system(variable).map(|system| system.name)
    }

    #[test]
    fn systems_are_told_by_their_variables() {
        let check = |variables: &[(&str, &str)], expected: Option<CiLog>| {
            assert_eq!(detected(CiLog::Auto, variables), expected, "{variables:?}");
            assert_eq!(detected(CiLog::Never, variables), None, "{variables:?}");
            assert_eq!(detected(CiLog::Azure, variables), Some(CiLog::Azure), "{variables:?}");
        };
        check(&[], None);
        check(&[("CI", "true")], None);
        check(&[("GITHUB_ACTIONS", "true"), ("CI", "true")], Some(CiLog::Github));
        check(&[("GITHUB_ACTIONS", "")], None);
        check(&[("GITHUB_ACTIONS", "false")], None);
        check(&[("GITLAB_CI", "true")], Some(CiLog::Gitlab));
        check(&[("BUILDKITE", "true")], Some(CiLog::Buildkite));
        check(&[("TF_BUILD", "True")], Some(CiLog::Azure));
        check(&[("TRAVIS", "true")], Some(CiLog::Travis));
        check(&[("TEAMCITY_VERSION", "2026.1 (build 1)")], Some(CiLog::Teamcity));
    }

    #[test]
    fn every_system_begins_and_ends_a_group() {
        let shown = SYSTEMS.iter().map(|system| {
            let groups = Groups { number: 2, ..Groups::of(Some(system)) };
            let line = |line| groups.line(line, 77, 1_800_000_000);
            format!("{:?} {:?}\n", line(system.open), line(system.close))
        });
        insta::assert_snapshot!(shown.collect::<String>(), @r###"
        "::group::larder: progress\n" "::endgroup::\n"
        "\u{1b}[0Ksection_start:1800000000:larder_77_2[collapsed=true]\r\u{1b}[0Klarder: progress\n" "\u{1b}[0Ksection_end:1800000000:larder_77_2\r\u{1b}[0K\n"
        "~~~ larder: progress\n" "+++ larder\n"
        "##[group]larder: progress\n" "##[endgroup]\n"
        "travis_fold:start:larder_77_2\r\u{1b}[0Klarder: progress\n" "travis_fold:end:larder_77_2\r\u{1b}[0K\n"
        "##teamcity[blockOpened name='larder: progress']\n" "##teamcity[blockClosed name='larder: progress']\n"
        "###);
    }

    #[test]
    fn a_group_begins_and_ends_once() {
        let mut groups = Groups::silent(Some(&SYSTEMS[0]));
        groups.close();
        assert_eq!((groups.is_open, groups.number), (false, 0));
        groups.open();
        groups.open();
        assert_eq!((groups.is_open, groups.number), (true, 1));
        groups.close();
        groups.open();
        assert_eq!((groups.is_open, groups.number), (true, 2));
        let mut none = Groups::of(None);
        none.open();
        assert!(!none.is_open);
    }

    #[test]
    fn annotations_are_one_line() {
        let [github, gitlab, ..] = &SYSTEMS;
        let line = github.annotation(true, "100% of\r\nit: a,b");
        assert_eq!(line.as_deref(), Some("::error title=larder::100%25 of%0D%0Ait: a,b"));
        let line = github.annotation(false, "slow");
        assert_eq!(line.as_deref(), Some("::warning title=larder::slow"));
        assert_eq!(gitlab.annotation(true, "gone"), None);
    }
}
