//! Documents that cannot go stale unseen: every file they name exists, and the
//! page of the command line names every flag that the program has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder::code::Code;

const COMMANDS: [&str; 22] = [
    "save",
    "restore",
    "lookup",
    "list",
    "show",
    "diff",
    "du",
    "delete",
    "flush",
    "verify",
    "stats",
    "report",
    "key",
    "init",
    "keygen",
    "config",
    "plugin",
    "assets",
    "serve",
    "doctor",
    "completions",
    "man",
];

/// Commands that have commands.
const STEPS: [(&str, &[&str]); 1] = [("assets", &["check", "upload"])];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents, relative to the repository.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    let mut directories = vec![PathBuf::from("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(repository().join(&directory)).expect("there are documents") {
            let entry = entry.expect("the directory can be read");
            let path = directory.join(entry.file_name());
            if entry.path().is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    documents.sort();
    documents
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(repository().join(path));
    text.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The text less its fenced blocks, which show what programs print.
fn prose(text: &str) -> String {
    let mut is_fenced = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fenced && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every `](target)`.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// Every piece of code in backticks.
fn code(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// Whether a piece of code names a file of the repository: a path below one of
/// its directories.
fn names_a_file(code: &str) -> bool {
    const DIRECTORIES: [&str; 7] =
        ["src/", "tests/", "benches/", "docs/", "action/", "packaging/", ".ci/"];
    DIRECTORIES.iter().any(|directory| code.starts_with(directory))
        && !code.contains(|c: char| c.is_whitespace() || "<>*{}…".contains(c))
}

#[test]
fn every_link_leads_somewhere() {
    for document in documents() {
        let text = prose(&read(&document));
        for link in links(&text).filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().expect("a split has a first part");
            let path = repository().join(&document).with_file_name("").join(file);
            assert!(path.exists(), "{} links to {link}, which is not there", document.display());
        }
    }
}

/// A promise whose test was renamed or removed is none.
#[test]
fn every_promise_has_its_test() {
    let page = read(Path::new("docs/security.md"));
    let promises =
        page.lines().filter_map(|line| line.rsplit_once(" | ")).filter_map(|(promise, tests)| {
            tests.starts_with('`').then_some((promise, tests.trim_end_matches(" |")))
        });
    let mut sources = String::new();
    let mut directories = vec![repository().join("src"), repository().join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the directory can be read") {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&fs::read_to_string(path).expect("sources are text"));
            }
        }
    }
    let mut count = 0;
    for (promise, tests) in promises {
        for test in code(tests) {
            let is_there = sources.contains(&format!("#[test]\nfn {test}()"))
                || sources.contains(&format!("#[test]\n    fn {test}()"));
            assert!(is_there, "no test {test}: {promise}");
            count += 1;
        }
    }
    assert!(count > 30, "the page has lost its promises: {count}");
}

#[test]
fn every_link_to_a_section_finds_it() {
    for document in documents() {
        for link in links(&prose(&read(&document))).filter(|link| !link.contains("://")) {
            let Some((file, section)) = link.split_once('#') else { continue };
            let target =
                if file.is_empty() { document.clone() } else { document.with_file_name(file) };
            let text = prose(&read(&target));
            let sections = text.lines().filter_map(|line| {
                let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
                let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
                Some(
                    title.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-"),
                )
            });
            let found = sections.collect::<Vec<_>>().iter().any(|known| known == section);
            assert!(found, "{} links to {link}, which has no such section", document.display());
        }
    }
}

#[test]
fn every_file_that_is_named_exists() {
    for document in documents() {
        for named in code(&prose(&read(&document))).filter(|code| names_a_file(code)) {
            let exists = repository().join(named).exists();
            assert!(exists, "{} names {named}, which is not there", document.display());
        }
    }
}

#[test]
fn every_module_is_on_the_map() {
    let map = read(Path::new("docs/architecture.md"));
    for entry in fs::read_dir(repository().join("src")).expect("there are sources") {
        let name = entry.expect("the directory can be read").file_name();
        let name = name.to_str().expect("modules have plain names");
        let shown = if name.ends_with(".rs") { name.to_owned() } else { format!("{name}/") };
        let is_there = map.contains(&format!("`src/{shown}`"));
        assert!(is_there, "docs/architecture.md does not name src/{shown}");
    }
}

/// The modules of each layer, the lowest first, as docs/architecture.md has them.
const LAYERS: [&[&str]; 5] = [
    &["ids", "relpath", "object_key", "store_time", "size", "sync", "code", "trust", "harmless"],
    &["format", "chunking", "secrets"],
    &["files", "store", "mounts", "records", "tier"],
    &[
        "error",
        "progress",
        "budget",
        "compression",
        "workers",
        "threads",
        "repository",
        "index",
        "reuse",
        "upload",
    ],
    &["save", "restore", "objects", "flush", "verify", "stats", "diff", "usage", "doctor"],
];

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|modules| modules.contains(&module));
    found.unwrap_or_else(|| panic!("{module} is in no layer: put it in this test and the map"))
}

/// The sources of a module: its file, or all files of its directory.
fn sources(module: &str) -> Vec<PathBuf> {
    let mut sources = vec![];
    let mut directories = vec![repository().join("src").join(module)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() { directories.push(path) } else { sources.push(path) }
        }
    }
    let file = repository().join("src").join(format!("{module}.rs"));
    if file.exists() {
        sources.push(file);
    }
    assert!(!sources.is_empty(), "there is no module {module}");
    sources
}

#[test]
fn no_module_uses_a_higher_layer() {
    for module in LAYERS.iter().copied().flatten() {
        for source in sources(module) {
            let text = fs::read_to_string(&source).expect("sources are text");
            let program = text.split("\n#[cfg(test)]").next().expect("a split has a first part");
            for used in program.split("crate::").skip(1) {
                let name: String = used
                    .chars()
                    .take_while(|c| "_".contains(*c) || c.is_ascii_lowercase())
                    .collect();
                if name.is_empty() || name == *module {
                    continue;
                }
                let (own, other) = (layer(module), layer(&name));
                let is_allowed = other < own || (other == own && own != LAYERS.len() - 1);
                assert!(is_allowed, "{} uses {name}, which its layer must not", source.display());
            }
        }
    }
}

/// The long flags that a text names.
fn long_flags(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = text.split(|c| !is_part(c)).filter_map(|word| word.strip_prefix("--"));
    words.filter(|word| !word.is_empty()).map(|word| format!("--{word}")).collect()
}

fn help(arguments: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_larder")).args(arguments).arg("--help").output();
    let output = run.expect("the program runs");
    assert!(output.status.success(), "--help fails after {arguments:?}");
    String::from_utf8(output.stdout).expect("the help is text")
}

#[test]
fn the_command_line_page_names_every_flag() {
    let page = read(Path::new("docs/cli.md"));
    let sections: Vec<&str> = page.split("\n## ").collect();
    let all = sections.iter().find(|section| section.starts_with("Flags of every command"));
    let global = long_flags(all.expect("the page has the flags of every command"));
    for command in COMMANDS {
        let title = format!("`larder {command}`");
        let section = sections.iter().find(|section| section.starts_with(&title));
        let section = section.unwrap_or_else(|| panic!("docs/cli.md has no section {title}"));
        let mut documented = long_flags(section);
        documented.extend(global.iter().cloned());
        let mut flags = long_flags(&help(&[command]));
        for (_, steps) in STEPS.iter().filter(|(name, _)| *name == command) {
            flags.extend(steps.iter().flat_map(|step| long_flags(&help(&[command, step]))));
        }
        let missing: Vec<_> = flags.difference(&documented).cloned().collect();
        assert!(missing.is_empty(), "docs/cli.md does not name {missing:?} of {command}");
    }
}

#[test]
fn the_help_of_every_command_has_an_example() {
    let commands = COMMANDS.iter().map(|&command| vec![command]);
    let steps =
        STEPS.iter().flat_map(|&(name, steps)| steps.iter().map(move |step| vec![name, step]));
    for words in [vec![]].into_iter().chain(commands).chain(steps) {
        let text = help(&words);
        let example = text.split("\nExample:\n").nth(1).or(text.split("\nExamples:\n").nth(1));
        let example = example.unwrap_or_else(|| panic!("the help of {words:?} has no example"));
        let line = format!("larder {}", words.join(" "));
        let shown = example.lines().next().unwrap_or_default();
        assert!(shown.contains(line.trim_end()), "{words:?}: {shown}");
    }
}

#[test]
fn the_command_line_page_names_every_command() {
    let help = help(&[]);
    let list = help.split("Commands:").nth(1).expect("the help lists the commands");
    let listed: BTreeSet<&str> = list
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|&name| name != "help")
        .collect();
    assert_eq!(listed, COMMANDS.into_iter().collect(), "this test's list of commands is old");
}

#[test]
fn the_page_of_benches_names_every_bench() {
    let page = read(Path::new("docs/benchmarks.md"));
    for entry in fs::read_dir(repository().join("benches")).expect("there are benches") {
        let name = entry.expect("the directory can be read").file_name();
        let path = format!("benches/{}", name.to_string_lossy());
        let is_there = !path.ends_with(".rs") || page.contains(&format!("`{path}`"));
        assert!(is_there, "docs/benchmarks.md does not name {path}");
    }
}

/// The text of all snapshots of messages, as the program gives them.
fn messages() -> String {
    let mut messages = String::new();
    for directory in ["src/error/snapshots", "src/cli/snapshots"] {
        for entry in fs::read_dir(repository().join(directory)).expect("there are snapshots") {
            let path = entry.expect("the directory can be read").path();
            messages.push_str(&read(&path));
        }
    }
    messages
}

#[test]
fn the_page_of_errors_has_every_code_once() {
    let page = read(Path::new("docs/errors.md"));
    let titles: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let codes: Vec<String> =
        Code::ALL.iter().map(|code| format!("{code}: {}", code.title())).collect();
    assert_eq!(titles, codes);
    let messages = messages();
    for (section, code) in page.split("\n### ").skip(1).zip(Code::ALL) {
        assert!(page.contains(&format!("<a id=\"{code}\"></a>")), "{code} has no anchor");
        let example = section.split("```").nth(1).and_then(|block| block.strip_prefix("text\n"));
        let example = example.unwrap_or_else(|| panic!("{code} has no example"));
        assert!(example.starts_with(&format!("error[{code}]: ")), "{code} has another's example");
        assert!(messages.contains(example), "the program does not say this of {code}: {example}");
        for part in ["\nCause: ", "\nCure: ", "\nExit code: "] {
            assert_eq!(section.matches(part).count(), 1, "{code}: {part:?}");
        }
    }
}
