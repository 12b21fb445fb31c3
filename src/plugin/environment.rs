//! What a CI system tells a plugin: environment variables and, on Vela, files.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::setting::InvalidSetting;

/// Where Vela puts parameters and secrets that it does not put into variables.
const VELA_FILES: &str = "/vela";

/// Variables and files, read once.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    files: PathBuf,
}

impl Environment {
    /// That of this process. `LARDER_PLUGIN_FILES` stands for `/vela`, where
    /// another directory has its files.
    pub(crate) fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self::new(variables)
    }

    /// One of these variables.
    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        // A setting that is there and empty is how CI systems say "none".
        let variables: BTreeMap<String, String> =
            variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let files = variables.get("LARDER_PLUGIN_FILES").map_or(VELA_FILES, String::as_str).into();
        Self { variables, files }
    }

    /// A variable that is set, and not to nothing.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
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
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
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
