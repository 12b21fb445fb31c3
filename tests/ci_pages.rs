//! The pages on CI systems: that what they tell people to paste is right.
//!
//! Every command of larder has flags that there are, all YAML parses, and the
//! scripts of the pipelines run as their system would run them, one job after
//! the other, on a store in a directory and with an `npm` that only leaves files.

// Helpers of tests panic like the tests that call them.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
#![cfg(unix)]

#[path = "it/support.rs"]
#[allow(dead_code)]
mod sandbox;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::{Run, Sandbox, chmod, run, write};
use saphyr::{LoadableYamlNode, Yaml};

/// A fenced block: its language and its text.
#[derive(Clone, Debug)]
struct Block {
    language: String,
    text: String,
}

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names of the pages.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(repository("docs/ci")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 6, "{names:?}");
    names
}

/// The fenced blocks of a page, less the indentation of lists.
fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(repository("docs/ci").join(page)).unwrap();
    let mut blocks: Vec<Block> = vec![];
    let mut open: Option<&str> = None;
    for line in text.lines() {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        match (open, rest.strip_prefix("```")) {
            (None, Some(language)) => {
                assert!(!language.is_empty(), "{page}: a block without a language");
                blocks.push(Block { language: language.to_owned(), text: String::new() });
                open = Some(indent);
            }
            (Some(_), Some(_)) => open = None,
            (Some(indent), None) => {
                let block = blocks.last_mut().unwrap();
                block.text += line.strip_prefix(indent).unwrap_or(line);
                block.text += "\n";
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none() && !blocks.is_empty(), "{page}");
    blocks
}

/// The documents of a block of YAML, which has to parse.
fn yaml<'a>(page: &str, block: &'a Block) -> Vec<Yaml<'a>> {
    let parsed = Yaml::load_from_str(&block.text);
    parsed.unwrap_or_else(|error| panic!("{page}: {error}:\n{}", block.text))
}

/// Scripts and variables in a pipeline, in the order of the page.
#[derive(Debug, Default)]
struct Pipeline {
    scripts: Vec<String>,
    variables: BTreeMap<String, String>,
    /// What actions get, by the name of the action.
    with: Vec<(String, BTreeSet<String>)>,
}

impl Pipeline {
    fn of(page: &str) -> Self {
        let mut pipeline = Self::default();
        for block in &blocks(page) {
            match block.language.as_str() {
                "yaml" => yaml(page, block).iter().for_each(|document| pipeline.visit(document)),
                "sh" => pipeline.scripts.push(block.text.clone()),
                "groovy" => pipeline.groovy(&block.text),
                "dockerfile" => {}
                other => panic!("{page}: nothing checks {other}"),
            }
        }
        pipeline
    }

    fn visit(&mut self, node: &Yaml) {
        for element in node.as_sequence().into_iter().flatten() {
            self.visit(element);
        }
        for (name, value) in node.as_mapping().into_iter().flatten() {
            match name.as_str().unwrap() {
                "run" | "script" | "before_script" | "command" if !value.is_mapping() => {
                    self.scripts.push(script(value));
                }
                "variables" | "env" | "environment" => {
                    for (name, value) in value.as_mapping().unwrap() {
                        let entry = (name.as_str().unwrap(), value.as_str().unwrap());
                        self.variables.insert(entry.0.to_owned(), entry.1.to_owned());
                    }
                }
                "with" => {
                    let uses = node.as_mapping_get("uses").unwrap().as_str().unwrap();
                    let names = value.as_mapping().unwrap().iter();
                    let names = names.map(|(name, _)| name.as_str().unwrap().to_owned());
                    self.with.push((uses.to_owned(), names.collect()));
                }
                _ => self.visit(value),
            }
        }
    }

    /// Scripts are between `'''`, or short and between `'`.
    fn groovy(&mut self, text: &str) {
        for rest in text.split("sh '").skip(1) {
            let script = match rest.strip_prefix("''") {
                Some(long) => long.split_once("'''").unwrap().0,
                None => rest.split_once('\'').unwrap().0,
            };
            self.scripts.push(script.to_owned());
        }
        let environment = text.split("environment {").nth(1);
        for line in
            environment.and_then(|rest| rest.split('}').next()).into_iter().flat_map(str::lines)
        {
            if let Some((name, value)) = line.split_once(" = ") {
                self.variables.insert(name.trim().to_owned(), value.trim_matches('\'').to_owned());
            }
        }
    }
}

/// A script as text: lines of a list are lines of the script.
fn script(value: &Yaml) -> String {
    match value.as_sequence() {
        Some(lines) => lines.iter().map(|line| line.as_str().unwrap().trim_end()).fold(
            String::new(),
            |mut text, line| {
                text += line;
                text += "\n";
                text
            },
        ),
        None => value.as_str().unwrap().to_owned(),
    }
}

/// The long flags in a text.
fn long_flags(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = text.split(|c| !is_part(c));
    words.filter(|word| word.len() > 2 && word.starts_with("--")).collect()
}

/// The command lines of larder in a text: from the word to the end of the command.
fn larder_commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let mut commands = vec![];
    for command in text.split(['\n', ';', '|', '&']) {
        let command = command.trim();
        let command = command.strip_prefix("then ").unwrap_or(command);
        if let Some(rest) = command.strip_prefix("larder ") {
            commands.push(rest.to_owned());
        }
    }
    commands
}

#[track_caller]
fn check_command(page: &str, command: &str) {
    let name = command.split_whitespace().next().unwrap();
    let help = Command::new(env!("CARGO_BIN_EXE_larder")).args([name, "--help"]).output().unwrap();
    assert!(help.status.success(), "{page}: there is no `larder {name}`: larder {command}");
    let help = String::from_utf8(help.stdout).unwrap();
    let known = long_flags(&help);
    for flag in long_flags(command) {
        assert!(known.contains(flag), "{page}: larder {name} has no {flag}: larder {command}");
    }
}

#[test]
fn every_command_has_flags_that_there_are() {
    for page in pages() {
        let mut commands: Vec<String> = vec![];
        for script in Pipeline::of(&page).scripts {
            commands.extend(larder_commands(&script));
        }
        assert!(!commands.is_empty(), "{page} shows no command");
        // The words of the text, too.
        let text = fs::read_to_string(repository("docs/ci").join(&page)).unwrap();
        commands.extend(text.split('`').skip(1).step_by(2).flat_map(larder_commands));
        for command in commands {
            check_command(&page, &command);
        }
    }
}

#[test]
fn every_command_was_found() {
    // One that the pipelines' reader overlooks would not be checked.
    for page in pages() {
        let of_blocks =
            |block: Block| larder_commands(&block.text.replace("command: larder", "larder"));
        let text: usize = blocks(&page)
            .into_iter()
            .map(|mut block| {
                block.text = block.text.lines().fold(String::new(), |text, line| {
                    let line = line.trim_start().trim_start_matches("- ");
                    text + line.strip_prefix("run: ").unwrap_or(line) + "\n"
                });
                of_blocks(block).len()
            })
            .sum();
        let scripts = Pipeline::of(&page).scripts;
        let found: usize = scripts.iter().map(|script| larder_commands(script).len()).sum();
        assert_eq!(found, text, "{page}");
    }
}

#[test]
fn actions_get_inputs_that_they_have() {
    let with = Pipeline::of("github-actions.md").with;
    assert_eq!(with.len(), 2);
    for (uses, names) in with {
        let path = uses.strip_prefix("your-org/larder").unwrap().split('@').next().unwrap();
        let file = repository(&format!(".{path}")).join("action.yml");
        let definition = fs::read_to_string(file).unwrap();
        let definition = &Yaml::load_from_str(&definition).unwrap()[0];
        let inputs = definition.as_mapping_get("inputs").unwrap();
        for name in names {
            assert!(inputs.contains_mapping_key(&name), "{uses} has no input {name}");
        }
    }
}

/// How a system runs the scripts of a job.
struct System {
    page: &'static str,
    /// All scripts of a job are one shell's.
    in_one_shell: bool,
    /// What the system says of a trusted branch, and of another.
    trusted: (&'static str, &'static str),
    untrusted: (&'static str, &'static str),
}

const GITLAB: System = System {
    page: "gitlab.md",
    in_one_shell: true,
    trusted: ("CI_COMMIT_REF_PROTECTED", "true"),
    untrusted: ("CI_COMMIT_REF_PROTECTED", "false"),
};

const CIRCLECI: System = System {
    page: "circleci.md",
    in_one_shell: false,
    trusted: ("CIRCLE_BRANCH", "main"),
    untrusted: ("CIRCLE_BRANCH", "topic"),
};

const BUILDKITE: System = System {
    page: "buildkite.md",
    in_one_shell: true,
    trusted: ("BUILDKITE_BRANCH", "main"),
    untrusted: ("BUILDKITE_BRANCH", "topic"),
};

const JENKINS: System = System {
    page: "jenkins.md",
    in_one_shell: false,
    trusted: ("BRANCH_NAME", "main"),
    untrusted: ("BRANCH_NAME", "topic"),
};

impl System {
    /// The scripts of the job that restores, and of the one that flushes.
    fn jobs(&self, is_trusted: bool) -> (Vec<String>, Vec<String>) {
        let mut pipeline = Pipeline::of(self.page);
        // Steps that call a script of somebody's repository.
        pipeline.scripts.retain(|script| !script.starts_with(".ci/"));
        if self.page == BUILDKITE.page {
            for script in &mut pipeline.scripts {
                // What its agent makes of it when the pipeline is uploaded: single
                // ones would be filled in there.
                let parts: Vec<&str> = script.split("$$").collect();
                assert!(!parts.iter().any(|part| part.contains('$')), "a single $: {script}");
                *script = parts.join("$");
            }
        }
        if self.page == JENKINS.page && !is_trusted {
            // The stage's `when`, which is Groovy and not in the script.
            pipeline.scripts.retain(|script| !script.contains("larder save"));
        }
        // The last job is the flush: its script, and what it has before it.
        let is_flush = |script: &String| script.contains("larder flush");
        let (flush, test): (Vec<_>, Vec<_>) = pipeline.scripts.into_iter().partition(is_flush);
        assert!(!flush.is_empty() && !test.is_empty());
        match self.in_one_shell {
            true => (vec![test.join("\n")], flush),
            false => (test, flush),
        }
    }
}

/// One runner after the other, which only have the store in common.
struct World {
    system: &'static System,
    sandbox: Sandbox,
}

impl World {
    fn new(system: &'static System) -> Self {
        let sandbox = Sandbox::new();
        // The cache that was found is what npm finds.
        write(
            sandbox.path("bin/npm"),
            "#!/bin/sh\n[ \"$1\" = ci ] || exit 0\nmkdir -p ~/.npm\nls ~/.npm > ../found\n\
             cp package-lock.json ~/.npm/\"$(cat package-lock.json)\"\n",
        );
        chmod(sandbox.path("bin/npm"), 0o755);
        let larder = Path::new(env!("CARGO_BIN_EXE_larder"));
        std::os::unix::fs::symlink(larder, sandbox.path("bin/larder")).unwrap();
        Self { system, sandbox }
    }

    fn shell(&self, script: &str, is_trusted: bool) -> Run {
        let sandbox = &self.sandbox;
        let path = std::env::var("PATH").unwrap();
        let branch = if is_trusted { self.system.trusted } else { self.system.untrusted };
        let mut command = Command::new("bash");
        command
            .args(["-e", "-o", "pipefail", "-c", script])
            .current_dir(sandbox.path("work"))
            .env_clear()
            .envs(Pipeline::of(self.system.page).variables)
            .env("PATH", format!("{}:{path}", sandbox.path("bin").display()))
            .env("HOME", sandbox.path("home"))
            .env("BASH_ENV", sandbox.path("bash-env"))
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", sandbox.path("token"))
            .env("LARDER_ID_TOKEN", "token")
            .env("CIRCLE_OIDC_TOKEN_V2", "token")
            .env("LARDER_STORE", format!("file://{}?sync=never", sandbox.store().display()))
            .env("LARDER_LOCAL_CACHE", "")
            .env(branch.0, branch.1);
        if self.system.page == CIRCLECI.page {
            // Restores leave there what they found, and the pipeline goes by it.
            command.env("CIRCLECI", "true");
        }
        run(&mut command)
    }

    /// What npm found of earlier jobs, on a machine that has nothing of them.
    fn job(&self, lock: &str, is_trusted: bool) -> Vec<String> {
        for name in ["home", "work"] {
            fs::remove_dir_all(self.sandbox.path(name)).unwrap();
            fs::create_dir(self.sandbox.path(name)).unwrap();
        }
        fs::write(self.sandbox.path("bash-env"), "").unwrap();
        write(self.sandbox.work("package-lock.json"), lock);
        for script in self.system.jobs(is_trusted).0 {
            self.shell(&script, is_trusted).ok();
        }
        let found = fs::read_to_string(self.sandbox.path("found")).unwrap();
        found.lines().map(str::to_owned).collect()
    }

    fn keys(&self) -> usize {
        let list = self.sandbox.larder(["--json", "list", "--all-scopes"]).ok().json();
        list["caches"].as_array().unwrap().len()
    }
}

fn check_pipeline(system: &'static System) {
    let world = World::new(system);
    let nothing: [&str; 0] = [];
    assert_eq!(world.job("one", false), nothing);
    if world.sandbox.store().exists() {
        assert_eq!(world.keys(), 0, "a branch that is not trusted saves nothing");
    }
    assert_eq!(world.job("one", true), nothing);
    assert_eq!(world.keys(), 1);
    // The key itself, then another's by its prefix, and what that one left.
    assert_eq!(world.job("one", true), ["one"]);
    assert_eq!(world.keys(), 1);
    assert_eq!(world.job("two", true), ["one"]);
    assert_eq!(world.keys(), 2);
    assert_eq!(world.job("two", false), ["one", "two"]);
    for script in system.jobs(true).1 {
        world.shell(&script, true).ok();
    }
    assert_eq!(world.keys(), 2, "nothing is too old");
}

#[test]
fn gitlab() {
    check_pipeline(&GITLAB);
}

#[test]
fn circleci() {
    check_pipeline(&CIRCLECI);
}

#[test]
fn buildkite() {
    check_pipeline(&BUILDKITE);
}

#[test]
fn jenkins() {
    check_pipeline(&JENKINS);
}
