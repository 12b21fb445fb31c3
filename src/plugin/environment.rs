//! What a CI system tells a plugin: environment variables and, on Vela, files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::InvalidSetting;

/// Where Vela puts parameters and secrets that it does not put into variables.
const VELA_FILES: &str = "/vela";

/// Variables and files, read once.
#[derive(Clone)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    /// Variables whose values are no text.
    unreadable: BTreeSet<String>,
    files: PathBuf,
}

/// Names only: some values are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// That of this process. `LARDER_PLUGIN_FILES` stands for `/vela`, where
    /// another directory has its files.
    pub(crate) fn of_process() -> Self {
        let mut unreadable = BTreeSet::new();
        let mut variables = vec![];
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => variables.push((name, value)),
                Err(_) => {
                    unreadable.insert(name);
                }
            }
        }
        Self { unreadable, ..Self::new(variables) }
    }

    /// One of these variables.
    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        // A setting that is there and empty is how CI systems say "none".
        // A line end comes from `echo` into a secret; it is in no value.
        let trimmed = |(name, value): (String, String)| (name, value.trim().to_owned());
        let variables: BTreeMap<String, String> =
            variables.into_iter().map(trimmed).filter(|(_, value)| !value.is_empty()).collect();
        let files = variables.get("LARDER_PLUGIN_FILES").map_or(VELA_FILES, String::as_str).into();
        Self { variables, unreadable: BTreeSet::new(), files }
    }

    /// A variable that is set, and not to nothing.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether a variable is set to bytes that are no text.
    pub(crate) fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(name)
    }

    /// The names of all variables that begin with `prefix`.
    pub(crate) fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.variables.keys().map(String::as_str);
        names.filter(move |name| name.starts_with(prefix))
    }

    /// What a file below Vela's directory holds, and its path; `None` if there is
    /// no such file, or nothing in it.
    pub(crate) fn file(&self, name: &str) -> Result<Option<(PathBuf, String)>, InvalidSetting> {
        let path = self.files.join(name);
        match std::fs::read_to_string(&path) {
            // Whoever writes such a file by hand ends the line.
            Ok(text) => {
                let text = text.trim().to_owned();
                Ok((!text.is_empty()).then_some((path, text)))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(InvalidSetting::File { path, error }),
        }
    }
}
