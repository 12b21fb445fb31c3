//! Why a template gives no key, as a person is told: what is wrong, where, and what
//! was meant.

use std::fmt;
use std::ops::Range;

use larder::code::Code;
use larder::error::Error;

use crate::excerpt::Excerpt;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The template means nothing, at least not here, or nothing that can be a key.
    #[error("invalid key template: {0}")]
    Template(Misread),
    /// A file that cannot be read, or an interruption.
    #[error(transparent)]
    Larder(#[from] Error),
}

impl KeyError {
    /// The code that it is looked up by.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Template(_) => Code::KeyTemplate,
            Self::Larder(error) => error.code(),
        }
    }

    /// What to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Template(misread) => misread.mistake.hint.clone(),
            Self::Larder(error) => error.hint(),
        }
    }
}

/// What is wrong with a part of a template.
#[derive(Debug)]
pub(super) struct Mistake {
    range: Range<usize>,
    why: String,
    hint: Option<String>,
}

impl Mistake {
    /// What is wrong with these bytes of the template.
    pub(super) fn new(range: Range<usize>, why: impl Into<String>) -> Self {
        Self { range, why: shown(&why.into()), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(shown(&hint.into())), ..self }
    }

    /// The error that it makes of this template.
    pub(super) fn of(self, template: &str) -> KeyError {
        KeyError::Template(Misread { template: template.to_owned(), mistake: self })
    }

    #[cfg(test)]
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    #[cfg(test)]
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

/// A message as it may be printed: what it repeats of a template moves no cursor.
fn shown(text: &str) -> String {
    larder::relpath::display(text.as_bytes()).into_owned()
}

/// A template with a mistake.
#[derive(Debug)]
pub(crate) struct Misread {
    template: String,
    mistake: Mistake,
}

impl fmt::Display for Misread {
    /// What is wrong, and below it the line where, with the place marked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { range, why, .. } = &self.mistake;
        let Excerpt { line, mark, .. } = Excerpt::new(&self.template, range.clone());
        if line.is_empty() {
            return f.write_str(why);
        }
        write!(f, "{why}\n  {line}\n  {mark}")
    }
}
