//! A job of a runner, as far as an action can tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};

use crate::sandbox::{Run, Sandbox, run, write};

/// A file of the repository.
pub(crate) fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What `action.yml` says of one of the three actions.
#[derive(Debug)]
pub(crate) struct Definition {
    /// The inputs and their defaults.
    pub(crate) inputs: BTreeMap<String, String>,
    pub(crate) outputs: Vec<String>,
    /// `main`, `post` and their conditions.
    pub(crate) runs: BTreeMap<String, String>,
}

/// The definition in a directory of the repository.
pub(crate) fn definition(directory: &str) -> Definition {
    let path = repository(directory).join("action.yml");
    let text = fs::read_to_string(&path).unwrap();
    let document = &Yaml::load_from_str(&text).unwrap()[0];
    let entries = |name: &str| {
        let found = document.as_mapping_get(name).and_then(Yaml::as_mapping);
        let entries = found.into_iter().flatten();
        entries.map(|(name, value)| (name.as_str().unwrap().to_owned(), value))
    };
    let default = |input: &Yaml| {
        let text = input.as_mapping_get("default").map(|value| value.as_str().unwrap());
        text.unwrap_or_default().to_owned()
    };
    Definition {
        inputs: entries("inputs").map(|(name, input)| (name, default(input))).collect(),
        outputs: entries("outputs").map(|(name, _)| name).collect(),
        runs: entries("runs")
            .map(|(name, value)| (name, value.as_str().unwrap().to_owned()))
            .collect(),
    }
}

/// A step that uses the action, from its main script to its post script.
pub(crate) struct Job {
    pub(crate) sandbox: Sandbox,
    directory: &'static str,
    variables: BTreeMap<String, String>,
}

/// What a script did.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) run: Run,
    pub(crate) outputs: BTreeMap<String, String>,
    /// What the runner obeyed: names and texts.
    pub(crate) commands: Vec<(String, String)>,
    pub(crate) paths: String,
    /// The tables in the summary.
    pub(crate) summary: String,
}

impl Job {
    /// A job with a tree to save, and the inputs that are required.
    pub(crate) fn new() -> Self {
        Self::of("")
    }

    /// A job that uses the action in a directory of the repository.
    pub(crate) fn of(directory: &'static str) -> Self {
        let sandbox = Sandbox::new();
        let store = sandbox.store();
        let mut job = Self { sandbox, directory, variables: BTreeMap::new() };
        job.plant();
        for (name, default) in definition(directory).inputs {
            job = job.input(&name, &default);
        }
        job.input("path", "tree")
            .input("key", "npm-1")
            .input("larder", env!("CARGO_BIN_EXE_larder"))
            .input("store", &format!("file://{}?sync=never", store.display()))
    }

    /// What the steps between the action's first and its last make.
    pub(crate) fn plant(&self) {
        for name in ["a.txt", "sub/b.txt", "sub/c.log"] {
            write(self.sandbox.work("tree").join(name), name);
        }
    }

    /// The same with another value of an input.
    pub(crate) fn input(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(format!("INPUT_{}", name.to_uppercase()), value.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn main(&mut self) -> Step {
        self.step("main")
    }

    pub(crate) fn post(&mut self) -> Step {
        self.step("post")
    }

    /// `main` or `post`, with what the runner gives it.
    pub(crate) fn command(&self, which: &str) -> Command {
        let script = &definition(self.directory).runs[which];
        let script = repository(self.directory).join(script);
        let file = |name: &str| self.sandbox.path(name);
        for name in ["output", "state", "paths", "summary"] {
            fs::write(file(name), "").unwrap();
        }
        let mut command = Command::new("node");
        command
            .arg(script)
            .current_dir(self.sandbox.path("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", file("home"))
            .env("XDG_CACHE_HOME", file("cache"))
            .env("RUNNER_TOOL_CACHE", file("tools"))
            .env("RUNNER_OS", "Linux")
            .env("GITHUB_ACTIONS", "true")
            .env("LARDER_LOG_FORMAT", "json")
            .env("GITHUB_REPOSITORY", "org/repo")
            .env("GITHUB_OUTPUT", file("output"))
            .env("GITHUB_STATE", file("state"))
            .env("GITHUB_STEP_SUMMARY", file("summary"))
            .env("GITHUB_PATH", file("paths"))
            .envs(&self.variables);
        command
    }

    fn step(&mut self, which: &str) -> Step {
        let run = run(&mut self.command(which));
        let file = |name: &str| self.sandbox.path(name);
        assert_eq!(run.stderr, "", "all is said on one stream, in order");
        let step = Step {
            outputs: values(&fs::read_to_string(file("output")).unwrap()),
            commands: obeyed(&run.stdout),
            paths: fs::read_to_string(file("paths")).unwrap(),
            summary: fs::read_to_string(file("summary")).unwrap(),
            run,
        };
        for (name, value) in values(&fs::read_to_string(file("state")).unwrap()) {
            self.variables.insert(format!("STATE_{name}"), value);
        }
        step
    }

    /// The same machine with the tree gone, at the start of another job.
    pub(crate) fn next(mut self) -> Self {
        self.variables.retain(|name, _| !name.starts_with("STATE_"));
        let _ = fs::remove_dir_all(self.sandbox.work("tree"));
        self
    }

    /// The files of the tree that are in place.
    pub(crate) fn tree(&self) -> Vec<String> {
        let tree = self.sandbox.work("tree");
        let files = crate::sandbox::contents(&tree).into_keys();
        files.map(|path| path.strip_prefix(&tree).unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// The keys in the store, in whatever order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let list = self.sandbox.larder(["--json", "--scope", "org/repo", "list"]).ok().json();
        let mut keys: Vec<String> = list["caches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cache| cache["key"].as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys
    }

    /// The paths of all entries of a cache.
    pub(crate) fn saved(&self, key: &str) -> Vec<String> {
        let show = ["--json", "--scope", "org/repo", "show", "--files", "--", key];
        let show = self.sandbox.larder(show).ok().json();
        let entries = show["tree"].as_array().unwrap().iter();
        let files = entries.filter(|entry| entry["kind"] != "d");
        files.map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
    }
}

impl Step {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        Self { run: self.run.ok(), ..self }
    }

    /// `cache-hit` and `cache-matched-key`.
    pub(crate) fn hit(&self) -> (&str, &str) {
        (&self.outputs["cache-hit"], &self.outputs["cache-matched-key"])
    }

    /// The texts of all warnings, or all errors.
    pub(crate) fn told(&self, name: &str) -> Vec<&str> {
        let commands = self.commands.iter().filter(|(command, _)| command == name);
        commands.map(|(_, text)| text.as_str()).collect()
    }

    /// One warning that says so, and a job that goes on.
    #[track_caller]
    pub(crate) fn warns(self, text: &str) -> Self {
        let step = self.ok();
        let told = step.told("warning");
        assert!(told.len() == 1 && told[0].contains(text), "{text:?} is not in {told:?}");
        assert!(step.told("error").is_empty());
        step
    }

    /// One error that says so, and a job that fails.
    #[track_caller]
    pub(crate) fn fails(self, text: &str) -> Self {
        assert_eq!(self.run.code, Some(1), "{}", self.run.stdout);
        let told = self.told("error");
        assert!(told.len() == 1 && told[0].contains(text), "{text:?} is not in {told:?}");
        assert!(!told[0].contains("    at "), "a mistake of the scripts: {told:?}");
        self
    }
}

/// The values in a file of the runner's, by its rules: the text between a
/// delimiter of the writer's choice.
fn values(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").unwrap();
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        values.insert(name.to_owned(), value.join("\n"));
    }
    values
}

/// The commands that the runner obeys in a log: lines that begin with one, and
/// the older form wherever it stands, but nothing after `stop-commands` until
/// the token comes.
fn obeyed(log: &str) -> Vec<(String, String)> {
    let mut commands = vec![];
    let mut token: Option<String> = None;
    for line in log.lines() {
        let Some(rest) = line.trim_start().strip_prefix("::") else {
            assert!(token.is_some() || !line.contains("##["), "the runner obeys {line:?}");
            continue;
        };
        let (name, text) = rest.split_once("::").unwrap_or((rest, ""));
        match &token {
            Some(known) if known == name => token = None,
            Some(_) => {}
            None if name == "stop-commands" => token = Some(text.to_owned()),
            None => commands.push((name.to_owned(), text.to_owned())),
        }
    }
    assert!(token.is_none(), "the runner obeys nothing any more");
    commands
}
