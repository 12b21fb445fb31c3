//! README's transcript, run as it stands there: what larder prints for each command is
//! what README says, so that it cannot go stale.
//!
//! Sizes, times and ratios may differ from run to run; keys, counts and all other words
//! may not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

const SECTION: &str = "\n## From nothing to a cached repository\n";

/// What stands before each command's output when all are run by one shell.
const MARK: &str = "@@ next command";

/// A command, and what is printed for it.
struct Step {
    command: String,
    output: String,
}

/// The commands of a section's `console` blocks: `$ ` begins one, `> ` goes on with it.
fn steps(section: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![];
    let blocks = section.split("```console\n").skip(1);
    for line in blocks.filter_map(|rest| rest.split("```").next()).flat_map(str::lines) {
        let last = steps.last_mut();
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: String::new() });
        } else if let Some(more) = line.strip_prefix("> ") {
            let last = last.expect("a command goes on");
            last.command = format!("{}\n{more}", last.command);
        } else {
            let last = last.expect("a block begins with a command");
            last.output.push_str(line);
            last.output.push('\n');
        }
    }
    steps
}

/// What a shell prints for the commands, one after the other, in a home of its own.
fn printed(steps: &[Step]) -> Vec<String> {
    let place = tempfile::tempdir().expect("there is room");
    let at = |name: &str| place.path().join(name);
    for name in ["bin", "home", "tmp"] {
        fs::create_dir(at(name)).expect("a new directory can be made");
    }
    symlink(env!("CARGO_BIN_EXE_larder"), at("bin/larder")).expect("a link can be made");
    let commands = steps.iter().map(|step| {
        format!(
            "echo '{MARK}'\n{}\nended=$?; test $ended = 0 || echo exit code $ended\n",
            step.command
        )
    });
    let path = std::env::var("PATH").unwrap_or_default();
    let run = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{}", commands.collect::<String>())])
        .current_dir(at("tmp"))
        .env_clear()
        .env("PATH", format!("{}:{path}", at("bin").display()))
        .env("HOME", at("home"))
        .env("TMPDIR", at("tmp"))
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell");
    let output = String::from_utf8(run.stdout).expect("the output is text");
    output.split(&format!("{MARK}\n")).skip(1).map(str::to_owned).collect()
}

/// A text without what may differ: numbers with a decimal point or a unit, and this
/// machine's architecture. Columns are as wide as the numbers in them.
fn steady(text: &str) -> String {
    let text = text.replace(&format!("-{}-", std::env::consts::ARCH), "-x86_64-");
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let steady = words.iter().enumerate().map(|(at, word)| {
            let unit = words.get(at + 1).map_or("", |next| next.trim_end_matches(['.', ',', ')']));
            let number = word.trim_start_matches('(').trim_end_matches([',', ';']);
            let is_number =
                number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok();
            let may_vary =
                number.contains('.') || ["B", "kB", "MB", "s", "second", "seconds"].contains(&unit);
            match is_number && may_vary {
                true => word.replace(number, "#"),
                false => (*word).replace("kB", "B").replace("MB", "B").replace("seconds", "second"),
            }
        });
        steady.collect::<Vec<String>>().join(" ")
    });
    lines.collect::<Vec<String>>().join("\n")
}

#[test]
fn larder_prints_what_readme_says() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("there is a README.md");
    let section = readme.split(SECTION).nth(1).expect("README.md has the section");
    let steps = steps(section.split("\n## ").next().expect("a split has a first part"));
    for verb in ["init", "save", "restore", "lookup --explain", "stats"] {
        let command = format!("larder {verb}");
        assert!(steps.iter().any(|step| step.command.starts_with(&command)), "{command}");
    }
    let printed = printed(&steps);
    assert_eq!(printed.len(), steps.len(), "the shell ended early, after {:?}", printed.last());
    for (Step { command, output }, printed) in steps.iter().zip(&printed) {
        let is_same = steady(output) == steady(printed);
        assert!(is_same, "$ {command}\nprints\n{printed}\nand README.md says\n{output}");
    }
}

#[test]
fn what_may_vary_is_no_difference_and_all_else_is() {
    let says = |text: &str| steady(text);
    assert_eq!(says("(2 new chunks of 3.38 MB), 0.28 s"), says("(2 new chunks of 938 kB), 1.05 s"));
    assert_eq!(says("saved 1 second ago:"), says("saved 0 seconds ago:"));
    assert_eq!(says("   13.44 MB    0 B   5  k"), says("9.1 kB  12 B  5  k"));
    assert_ne!(says("2 new chunks"), says("3 new chunks"));
    assert_ne!(says("npm: exact npm-5f3e"), says("npm: exact npm-91c0"));
    let found = steps("```console\n$ a\n> b\nx\n$ c\n```\ntext\n```console\n$ d\ny\n```\n");
    let found: Vec<(&str, &str)> =
        found.iter().map(|step| (step.command.as_str(), step.output.as_str())).collect();
    assert_eq!(found, [("a\nb", "x\n"), ("c", ""), ("d", "y\n")]);
}
