//! Why a configuration file cannot be gone by, as a person is told: what is wrong, in
//! which line, and what to write.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use larder::code::Code;
use larder::ids::Key;
use larder::store::nearest;

use super::FILE_NAME;
use crate::excerpt::Excerpt;

/// What is wrong with a configuration file, or with what is asked of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file that was named is not there, or cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// Something in it means nothing.
    #[error("{0}")]
    Mistake(Box<Mistake>),
    /// A cache is asked for by a name that none has.
    #[error("there is no cache {name:?} in {}", path.display())]
    NoSuchCache { name: String, path: PathBuf, known: Vec<String> },
    /// Caches are asked for, and the file has none.
    #[error("{} has no caches", .0.display())]
    NoCaches(PathBuf),
    /// A path that would be the directory of the file itself.
    #[error("{}:{line}: paths: {template} gives nothing", path.display())]
    EmptyPath { path: PathBuf, line: usize, template: String },
    /// Two caches of which each save would replace the other.
    #[error("the caches {first:?} and {second:?} both have the key {key}")]
    SameKey { first: String, second: String, key: Key },
    /// Two caches that would be restored to the same place.
    #[error("the caches {first:?} and {second:?} both have {}", path.display())]
    SamePlace { first: String, second: String, path: PathBuf },
}

impl ConfigError {
    /// The code that it is looked up by.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::ConfigUnreadable,
            Self::Mistake(_) | Self::EmptyPath { .. } => Code::ConfigMistake,
            Self::NoSuchCache { .. } => Code::NoSuchCache,
            Self::NoCaches(_) => Code::NoCaches,
            Self::SamePlace { .. } => Code::SamePlace,
            Self::SameKey { .. } => Code::SameKey,
        }
    }

    /// What to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                Some("give --config or LARDER_CONFIG a file that is there, or leave it out".into())
            }
            Self::Unreadable { error, .. } => Some(match error.kind() {
                io::ErrorKind::IsADirectory => {
                    format!("name a file: it may be the {FILE_NAME} in this directory")
                }
                io::ErrorKind::InvalidData => "save it as UTF-8".to_owned(),
                _ => "make it readable for this user".to_owned(),
            }),
            Self::Mistake(mistake) => mistake.hint.clone(),
            Self::NoSuchCache { name, known, .. } => {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                Some(match nearest(name, &names) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!(
                        "it has {}; to name paths instead of caches, give --key",
                        names.join(", ")
                    ),
                })
            }
            Self::NoCaches(_) => Some(format!(
                "write a [cache.NAME] with key and paths, or give --key; `larder init` writes a \
                 {FILE_NAME} for what it finds"
            )),
            Self::EmptyPath { .. } => Some(
                "write . for all of the directory, or give env() a default that is a path".into(),
            ),
            Self::SameKey { second, .. } => {
                Some(format!("a key holds one cache: begin that of {second:?} with its name"))
            }
            Self::SamePlace { .. } => {
                Some("a place belongs to one cache: take it out of the other".into())
            }
        }
    }
}

/// Why a text is no value of a setting.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) why: String,
    pub(super) hint: Option<String>,
}

impl From<String> for Misfit {
    fn from(why: String) -> Self {
        Self { why, hint: None }
    }
}

/// What is wrong with a part of the file.
#[derive(Debug)]
pub(crate) struct Mistake {
    path: PathBuf,
    excerpt: Excerpt,
    why: String,
    hint: Option<String>,
}

impl Mistake {
    /// What is wrong with these bytes of the text.
    pub(super) fn new(
        path: PathBuf,
        text: &str,
        range: Range<usize>,
        why: impl Into<String>,
    ) -> Self {
        Self { path, excerpt: Excerpt::new(text, range), why: shown(&why.into()), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(shown(&hint.into())), ..self }
    }
}

/// A message as it may be printed: what it repeats of a file moves no cursor.
fn shown(text: &str) -> String {
    larder::relpath::display(text.as_bytes()).into_owned()
}

impl From<Mistake> for ConfigError {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(Box::new(mistake))
    }
}

impl fmt::Display for Mistake {
    /// What is wrong, and below it the line, with the place marked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Excerpt { number, line, mark } = &self.excerpt;
        let margin = " ".repeat(number.to_string().len());
        write!(f, "{}:{number}: {}", self.path.display(), self.why)?;
        write!(f, "\n  {number} | {line}\n  {margin} | {mark}")
    }
}
