//! Values of flags, as people write them.

use std::time::Duration;

use clap::builder::TypedValueParser;
use globset::GlobMatcher;
use larder::ids::Key;
use larder::size;

use crate::keys::is_template;
use crate::values::seconds;

/// What a flag's variable takes: `true`, `1`, `yes`, `on` and their contraries.
pub(super) fn truth() -> impl TypedValueParser<Value = bool> {
    clap::builder::BoolishValueParser::new()
}

/// A key, or a template of one.
#[derive(Clone, Debug)]
pub(crate) struct KeyText(pub(crate) String);

pub(super) fn key_text(text: &str) -> Result<KeyText, String> {
    if !is_template(text) {
        text.parse::<Key>().map_err(|error| error.to_string())?;
    }
    Ok(KeyText(text.to_owned()))
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    match size::parse(text) {
        None => Err("write it as 500GB, 20GiB or 900MB".into()),
        Some(0) => {
            Err("it must be more than nothing; to delete all caches use `larder delete`".into())
        }
        Some(size) => Ok(size),
    }
}

pub(super) fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = globset::GlobBuilder::new(text).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

/// An age for the keys that a pattern matches.
#[derive(Clone, Debug)]
pub(crate) struct KeyAge {
    pub(crate) pattern: GlobMatcher,
    pub(crate) age: Duration,
}

pub(super) fn key_age(text: &str) -> Result<KeyAge, String> {
    let (pattern, age) =
        text.rsplit_once('=').ok_or("write it as PATTERN=AGE, such as 'pr-*=3d'")?;
    Ok(KeyAge { pattern: glob(pattern)?, age: seconds(age)? })
}
