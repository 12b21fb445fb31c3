//! How larder looks: in a terminal of 80 and of 40 columns, with colours and
//! without, and in the logs of programs and of CI systems.
//!
//! The terminal is tmux, which `tests/run.sh` installs: each test has a server of its
//! own, whose screens are read as a person would.

// Helpers of tests panic like the tests that call them.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
#![cfg(unix)]

#[path = "it/support.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Noise, Run, Sandbox, run, wait, write};

/// A tmux server with one screen.
struct Terminal<'a> {
    sandbox: &'a Sandbox,
}

impl<'a> Terminal<'a> {
    /// Runs a script in the working directory, on a screen of so many columns.
    fn run(sandbox: &'a Sandbox, columns: usize, script: &str) -> Self {
        let terminal = Self { sandbox };
        let script = format!("cd work; {script}\ntmux wait-for -S done; exec sleep 60");
        let size = columns.to_string();
        terminal.tmux(&["new-session", "-d", "-x", &size, "-y", "60", &script]);
        terminal
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // It is by its environment that larder is found and knows its store.
        let larder = self.sandbox.command([""; 0]);
        let mut command = Command::new("tmux");
        command
            .env_clear()
            .envs(larder.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
            .current_dir(self.sandbox.path(""))
            .env("TMUX_TMPDIR", self.sandbox.path(""))
            .env("LARDER", env!("CARGO_BIN_EXE_larder"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .args(["-u", "-f", "/dev/null"])
            .args(arguments);
        command
    }

    #[track_caller]
    fn tmux(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments)).ok().stdout
    }

    /// Waits for the end of the script.
    fn ended(self) -> Self {
        let mut waiting = self.command(&["wait-for", "done"]).spawn().unwrap();
        assert_eq!(wait(&mut waiting), Some(0));
        self
    }

    /// What is on the screen, without the empty lines at its end.
    fn seen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    /// The same, with lines whole that did not fit, and escape sequences as `<…>`.
    fn told(&self) -> String {
        let seen = self.tmux(&["capture-pane", "-p", "-J", "-e"]);
        let mut pieces = seen.trim_end().split("\x1b[");
        let first = pieces.next().unwrap().to_owned();
        pieces.fold(first, |seen, piece| {
            let (code, text) = piece.split_once('m').unwrap();
            format!("{seen}<{code}>{text}")
        })
    }

    /// Whether a line did not fit.
    fn has_wrapped(&self) -> bool {
        let lines = |how: &[&str]| self.tmux(how).lines().count();
        lines(&["capture-pane", "-p"]) != lines(&["capture-pane", "-p", "-J"])
    }

    /// What is on the screen as soon as a text is on it.
    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let seen = self.seen();
            if seen.contains(text) {
                return seen;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{text:?} is not in: {seen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // It ends what runs on it, too; there may be none if it did not start.
        let _ = self.command(&["kill-server"]).output();
    }
}

/// A text without what differs from run to run: times and sizes.
fn steady(sandbox: &Sandbox, text: &str) -> String {
    let text = text.replace(sandbox.path("").to_str().unwrap().trim_end_matches('/'), "TOP");
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        for at in 1..words.len() {
            let unit = words[at].trim_end_matches([',', ')']);
            if ["s", "B", "kB", "MB"].contains(&unit) {
                words[at - 1] = if words[at - 1].starts_with('(') { "(N" } else { "N" };
            }
        }
        words.join(" ").trim_end().to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/a.txt"), "text ".repeat(500));
    write(sandbox.work("tree/sub/b.bin"), Noise(1).bytes(200_000));
    sandbox
}

/// What a person does on the first day.
const FIRST_DAY: &str = r#"
$LARDER restore --key npm-linux-5f3e
$LARDER save --key npm-linux-5f3e tree
$LARDER save --key npm-linux-5f3e tree
$LARDER restore --key npm-linux-91c0 --restore-key npm-
$LARDER lookup --key npm-linux-5f3e
rm tree/a.txt; echo new > tree/c.txt
$LARDER save -q --key two tree
$LARDER diff npm-linux-5f3e two
$LARDER save --key npm-linux-5f3e nowhere
echo "exit $?""#;

#[test]
fn results_and_errors_in_80_columns() {
    let sandbox = sandbox();
    let terminal = Terminal::run(&sandbox, 80, FIRST_DAY).ended();
    insta::assert_snapshot!(steady(&sandbox, &terminal.told()), @"
    <33>there is no cache<39> for npm-linux-5f3e (N s)
    saved <32>npm-linux-5f3e<39>: 2 files, N kB
    uploaded N kB (3 new chunks of N kB), reused 0 of 3 chunks, N s
    <32>npm-linux-5f3e<39> is unchanged: 2 files, N kB
    nothing was uploaded, no file read, N s
    restored <33>npm-linux-5f3e<39> (the newest for a prefix; npm-linux-91c0 is not there): 2 files, N kB
    fetched N B, 2 in place already, N s
    <32>exact<39> npm-linux-5f3e
    <31>-<39>         2500 tree/a.txt
    <32>+<39>            4 tree/c.txt
    <1><31>error[L0401]:<0><39><49> there is nothing to save at TOP/work/nowhere
    <1><36>hint:<0><39><49> make it before the save; `larder save --allow-missing` saves what is there
    exit 1
    ");
}

#[test]
fn results_and_errors_in_40_columns_without_colours() {
    let sandbox = sandbox();
    let script = format!("export NO_COLOR=1{FIRST_DAY}");
    let terminal = Terminal::run(&sandbox, 40, &script).ended();
    insta::assert_snapshot!(steady(&sandbox, &terminal.told()), @"
    there is no cache for npm-linux-5f3e (N s)
    saved npm-linux-5f3e: 2 files, N kB
    uploaded N kB (3 new chunks of N kB), reused 0 of 3 chunks, N s
    npm-linux-5f3e is unchanged: 2 files, N kB
    nothing was uploaded, no file read, N s
    restored npm-linux-5f3e (the newest for a prefix; npm-linux-91c0 is not there): 2 files, N kB
    fetched N B, 2 in place already, N s
    exact npm-linux-5f3e
    -         2500 tree/a.txt
    +            4 tree/c.txt
    error[L0401]: there is nothing to save at TOP/work/nowhere
    hint: make it before the save; `larder save --allow-missing` saves what is there
    exit 1
    ");
}

#[test]
fn help_in_40_columns() {
    let sandbox = sandbox();
    let terminal = Terminal::run(&sandbox, 40, "$LARDER help du | sed -n 1,24p").ended();
    insta::assert_snapshot!(steady(&sandbox, &terminal.seen()), @"
    Tell what makes a cache big:
    directories, files or extensions, the
    largest first

    Usage: larder du [OPTIONS] <KEY>

    Arguments:
      <KEY>
              The key

    Options:
          --by <WHAT>
              What is counted together

              Possible values:
              - directory: Directories, each
                with all below it
              - file:      Each file for
                itself
              - extension: Files with equal
                extensions

              [default: directory]
    ");
}

/// Saves what takes a while, and gives what is seen when the bar is there.
fn bar(columns: usize, flags: &str) -> (String, String) {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/big.bin"), Noise(1).bytes(64 << 20));
    let script = format!("$LARDER {flags} --threads 1 save --key k --compression-level 19 tree");
    let terminal = Terminal::run(&sandbox, columns, &script);
    terminal.wait_for("░");
    // So many times it was drawn anew, in the same place.
    std::thread::sleep(Duration::from_millis(400));
    assert!(!terminal.has_wrapped(), "{}", terminal.seen());
    (terminal.seen(), terminal.told())
}

#[test]
fn a_bar_stays_on_one_line() {
    for columns in [80, 40] {
        let (seen, colored) = bar(columns, "");
        assert_eq!(seen.lines().count(), 1, "{seen}");
        assert!(seen.starts_with("saving █") || seen.starts_with("saving ░"), "{seen}");
        assert!(seen.contains("/ 67 MB"), "{seen}");
        assert!(colored.contains("<2>"), "{colored}");
    }
    let (seen, colored) = bar(80, "--color never");
    assert_eq!(seen.lines().count(), 1, "{seen}");
    assert!(!colored.contains('<'), "{colored}");
}

#[test]
fn variables_take_colours_out_of_a_terminal() {
    let sandbox = sandbox();
    let script = "for variable in NO_COLOR=1 CLICOLOR=0 TERM=dumb; do
        env $variable $LARDER lookup --key k
        env $variable $LARDER save --key k nowhere
        env $variable $LARDER save --kee
    done
    $LARDER lookup --key k";
    let terminal = Terminal::run(&sandbox, 80, script).ended();
    insta::assert_snapshot!(steady(&sandbox, &terminal.told()), @"
    miss
    error[L0401]: there is nothing to save at TOP/work/nowhere
    hint: make it before the save; `larder save --allow-missing` saves what is there
    error[L0102]: unexpected argument '--kee' found

      tip: a similar argument exists: '--key'

    Usage: larder save --key <KEY> [PATH|CACHE]...

    For more information, try '--help'.
    miss
    error[L0401]: there is nothing to save at TOP/work/nowhere
    hint: make it before the save; `larder save --allow-missing` saves what is there
    error[L0102]: unexpected argument '--kee' found

      tip: a similar argument exists: '--key'

    Usage: larder save --key <KEY> [PATH|CACHE]...

    For more information, try '--help'.
    miss
    error[L0401]: there is nothing to save at TOP/work/nowhere
    hint: make it before the save; `larder save --allow-missing` saves what is there
    error[L0102]: unexpected argument '--kee' found

      tip: a similar argument exists: '--key'

    Usage: larder save --key <KEY> [PATH|CACHE]...

    For more information, try '--help'.
    <33>miss
    ");
}

/// Whether text came with colours: of a result, of an error, of a mistake in the
/// command line, and of the help.
fn colors(sandbox: &Sandbox, flag: &[&str], variables: &[(&str, &str)]) -> [bool; 4] {
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(flag.iter().chain(arguments));
        run(command.envs(variables.iter().copied()))
    };
    let result = run(&["lookup", "--key", "k"]).stdout;
    let error = run(&["save", "--key", "k", "nowhere"]).stderr;
    let mistake = run(&["save", "--kee"]).stderr;
    let help = run(&["--help"]).stdout;
    [result, error, mistake, help].map(|text| {
        assert!(!text.is_empty());
        text.contains("\x1b[")
    })
}

#[test]
fn colours_are_where_they_are_wanted() {
    let sandbox = sandbox();
    let check = |flag: &[&str], variables: &[(&str, &str)], expected: bool| {
        assert_eq!(colors(&sandbox, flag, variables), [expected; 4], "{flag:?} {variables:?}");
    };
    check(&[], &[], false);
    check(&["--color", "always"], &[], true);
    check(&["--color=always"], &[("NO_COLOR", "1")], true);
    check(&[], &[("CLICOLOR_FORCE", "1")], true);
    check(&["--color=never"], &[("CLICOLOR_FORCE", "1")], false);
    check(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false);
    check(&[], &[("CLICOLOR", "1"), ("CI", "true"), ("TERM", "xterm")], false);
}

/// All of stderr, as JSON, without the time.
#[track_caller]
fn records(run: &Run) -> Vec<Value> {
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let time = record.as_object_mut().unwrap().remove("time").unwrap();
        humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
        record
    };
    run.stderr.lines().map(record).collect()
}

#[test]
fn a_log_for_programs_is_json() {
    let sandbox = sandbox();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        sandbox.work("tree/pipe"),
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    let log = |arguments: &[&str]| {
        let run = sandbox.larder(["--log-format", "json"].iter().chain(arguments));
        let lines: Vec<String> = records(&run).iter().map(Value::to_string).collect();
        steady(&sandbox, &lines.join("\n"))
    };
    insta::assert_snapshot!(log(&["save", "--key", "k", "tree"]), @r#"{"kind":"skipped_special","level":"warning","message":"TOP/work/tree/pipe is left out: it is a fifo","path":"TOP/work/tree/pipe","what":"fifo"}"#);
    insta::assert_snapshot!(log(&["save", "--key", "k", "nowhere"]), @r#"{"code":"L0401","exit_code":1,"hint":"make it before the save; `larder save --allow-missing` saves what is there","kind":"error","level":"error","message":"there is nothing to save at TOP/work/nowhere","reason":null}"#);
    insta::assert_snapshot!(log(&["save", "--key", "k", "nowhere", "--json", "-q"]), @r#"{"code":"L0401","exit_code":1,"hint":"make it before the save; `larder save --allow-missing` saves what is there","kind":"error","level":"error","message":"there is nothing to save at TOP/work/nowhere","reason":null}"#);
    insta::assert_snapshot!(log(&["show", "gone"]), @r#"{"kind":"note","level":"info","message":"there is no cache for gone"}"#);
    insta::assert_snapshot!(log(&["save", "--kee", "k"]), @r#"{"code":"L0102","exit_code":2,"hint":"a similar argument exists: '--key'","kind":"usage","level":"error","message":"unexpected argument '--kee' found","usage":"larder save --key <KEY> [PATH|CACHE]..."}"#);
    insta::assert_snapshot!(log(&[]), @r#"{"code":"L0104","exit_code":2,"hint":null,"kind":"usage","level":"error","message":"'larder' requires a subcommand but one was not provided [subcommands: save, rebuild, restore, lookup, list, show, diff, du, delete, flush, verify, stats, report, key, keygen, init, config, plugin, assets, serve, doctor, completions, man, help]","usage":"larder [OPTIONS] <COMMAND>"}"#);

    let mut command = sandbox.command(["-v", "lookup", "--key", "k"]);
    let found = run(command.env("LARDER_LOG_FORMAT", "json")).ok();
    assert_eq!((found.stdout.as_str(), found.stderr.as_str()), ("exact k\n", ""));
    let mut command = sandbox.command(["-v", "restore", "--key", "k"]);
    let restored = run(command.env("LARDER_LOG_FORMAT", "json")).ok();
    let [record] = &records(&restored)[..] else { panic!("{}", restored.stderr) };
    assert_eq!(record["kind"], "requests");
    assert!(record["requests"]["get"].as_u64().unwrap() > 0, "{record}");
}

#[test]
fn a_ci_system_is_told_of_failures_in_its_own_way() {
    let sandbox = sandbox();
    let on_github = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        let run = run(command.env("GITHUB_ACTIONS", "true"));
        steady(&sandbox, &run.stderr)
    };
    let arguments = ["save", "--key", "k", "nowhere"];
    insta::assert_snapshot!(on_github(&arguments), @"::error title=larder::L0401: there is nothing to save at TOP/work/nowhere%0Ahint: make it before the save; `larder save --allow-missing` saves what is there");
    let never = [&["--ci-log", "never"], &arguments[..]].concat();
    insta::assert_snapshot!(on_github(&never), @"
    error[L0401]: there is nothing to save at TOP/work/nowhere
    hint: make it before the save; `larder save --allow-missing` saves what is there
    ");
    write(sandbox.path("file"), "no store");
    let file = sandbox.path("file");
    let ignored = ["--ignore-error", "--store", file.to_str().unwrap(), "restore", "--key", "k"];
    insta::assert_snapshot!(on_github(&ignored), @"::warning title=larder::L0506: open TOP/file: TOP/file: not a directory (ignored)%0Ahint: check that the store's directory is there, and its disk or mount sound");
    // Nothing of progress in a short run, and warnings as everywhere.
    std::os::unix::fs::symlink("tree", sandbox.work("link")).unwrap();
    insta::assert_snapshot!(on_github(&["save", "--key", "k", "tree", "link"]), @"warning: TOP/work/link is a symbolic link, and saved as that: what it points to is not");
}
