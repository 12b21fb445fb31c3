//! Settings of the systems: rows of tables, one a system, from which they are read,
//! checked for unknown ones, and documented.

use std::fmt;

use super::invalid::InvalidSetting;

/// A row of a system's table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// What the system's documents call it.
    pub(crate) name: &'static str,
    /// The variables that give it; the first one that is set counts.
    pub(crate) variables: &'static [&'static str],
    /// The names of files that give it where no variable does; the first one
    /// that is there counts.
    pub(crate) files: &'static [&'static str],
    /// What it is if it is not given.
    pub(crate) default: Default,
    /// Its value is never shown.
    pub(crate) is_secret: bool,
    /// What values it takes, for messages.
    pub(crate) takes: &'static str,
    /// What it means, for the documents.
    pub(crate) means: &'static str,
}

/// What a setting is that was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// This text.
    Text(&'static str),
    /// Nothing, and that is fine; the documents say this of it.
    Unset(&'static str),
    /// It has to be given.
    Required,
}

/// The start of a row: all that most of them leave as it is.
pub(crate) const ROW: Setting = Setting {
    name: "",
    variables: &[],
    files: &[],
    default: Default::Unset(""),
    is_secret: false,
    takes: "text",
    means: "",
};

/// A setting that was given, and by what.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// The variable or the file's path.
    pub(crate) from: String,
    pub(crate) text: String,
}

/// Not the text: it may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.from)
    }
}

impl Setting {
    /// The error for a setting that has to be given, and was not.
    pub(crate) fn missing(&self) -> InvalidSetting {
        InvalidSetting::Missing { name: self.name, from: self.variables.join(", ") }
    }

    /// The error for a value that means nothing.
    pub(crate) fn invalid(&self, value: &Value) -> InvalidSetting {
        let text = without_userinfo(&value.text);
        let shown = if self.is_secret { "***".to_owned() } else { format!("{text:?}") };
        InvalidSetting::Value { from: value.from.clone(), value: shown, takes: self.takes }
    }
}

/// The row of a table in the documents.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<String> =
            self.variables.iter().map(|variable| format!("`{variable}`")).collect();
        let default = match self.default {
            Default::Text("") => "empty".to_owned(),
            Default::Text(text) => format!("`{text}`"),
            Default::Unset(text) => text.to_owned(),
            Default::Required => "required".to_owned(),
        };
        write!(f, "| {} | {} | {default} | {} |", self.name, variables.join(", "), self.means)
    }
}

/// A text that may be a URL, less the password in it.
pub(super) fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) if text.contains(':') => format!("***@{rest}"),
        _ => text.to_owned(),
    }
}
