//! Store locations: what a person writes after `--store`.
//!
//! ```text
//! /srv/larder    caches    ~/caches            a directory
//! file:///srv/larder?sync=never                a directory, with options
//! s3://bucket/prefix?region=eu-west-1          a bucket
//! type=s3,bucket=b,prefix=p,region=eu-west-1   the same, as buildx writes it
//! ```
//!
//! A text that begins with letters and a colon is taken for a URL; a directory
//! of such a name is written `./name:of-it`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::s3::words;
use super::{Fsync, LocalStore, Operation, Patience, S3Config, S3Store, Store, StoreError};
use crate::code::Code;

/// Where a store is and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreLocation {
    /// A directory of a file system.
    Directory {
        /// The directory, as given.
        root: PathBuf,
        /// Whether puts wait for the disk.
        fsync: Fsync,
    },
    /// A bucket of S3 or of a server that speaks its protocol.
    S3(Box<S3Config>),
}

/// A text that names no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    /// There is no text.
    #[error("the store's location is empty")]
    Empty,
    /// A store in S3 without a bucket.
    #[error("the store's location names no bucket")]
    NoBucket,
    /// A part of a location in S3 that has no meaning.
    #[error("unknown word {0:?} in the store's location")]
    Word(String),
    /// A word that was given twice.
    #[error("the store's location says {0} twice")]
    Twice(&'static str),
    /// A field of a list that has no `=`.
    #[error("{0:?} in the store's location is no word=value")]
    Field(String),
    /// One half of a pair of keys.
    #[error("the store's location has keys without {0}")]
    HalfOfKeys(&'static str),
    /// A URL of a scheme that no store has.
    #[error("unknown scheme {0:?} of a store")]
    Scheme(String),
    /// A `type=` that no store has.
    #[error("unknown type {0:?} of a store")]
    Type(String),
    /// A URL with a host where only this machine's files can be meant.
    #[error("a file URL cannot name the host {0:?}")]
    Host(String),
    /// A part of a URL that this scheme does not have.
    #[error("unknown parameter {0:?} of a file URL")]
    Parameter(String),
    /// A parameter's value that means nothing.
    #[error("{value:?} is no value of the parameter {parameter:?}")]
    Value {
        /// The parameter's name.
        parameter: &'static str,
        /// What was given.
        value: String,
    },
    /// A `%` without two digits after it, or bytes that are not UTF-8, or NUL.
    #[error("the URL's part {0:?} is wrongly encoded")]
    Encoding(String),
    /// `~` where the home directory is not known, or another user's.
    #[error("cannot tell which directory {0:?} begins with")]
    Home(String),
}

const SCHEMES: [&str; 2] = ["file", "s3"];
const TYPES: [&str; 1] = ["s3"];
const PARAMETERS: [&str; 1] = ["sync"];
const SYNC_VALUES: [(&str, Fsync); 2] = [("always", Fsync::Always), ("never", Fsync::Never)];

/// Opens the store at a location for writing; see
/// [`StoreLocation::open_for_writing`].
///
/// # Errors
/// If the text names no store, or the store cannot be opened.
pub fn open(location: &str) -> Result<Arc<dyn Store>, StoreError> {
    let parsed: StoreLocation = location.parse().map_err(|error: InvalidLocation| {
        StoreError::new(Operation::Open, location, error.into())
    })?;
    parsed.open_for_writing(&Patience::default())
}

impl StoreLocation {
    /// The store in a directory that is given as a path and nothing else.
    pub fn directory(root: PathBuf) -> Self {
        Self::Directory { root, fsync: Fsync::Always }
    }

    /// Opens the store for saving: what is missing of it is created.
    ///
    /// # Errors
    /// If that fails.
    pub fn open_for_writing(&self, patience: &Patience) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Directory { root, fsync } => Ok(Arc::new(LocalStore::open(root, *fsync)?)),
            Self::S3(config) => Self::open_s3(config, patience),
        }
    }

    /// Opens the store for restoring: nothing is created, and a store that is
    /// absent has no objects. One that is there takes puts all the same.
    ///
    /// # Errors
    /// If what is there is no store.
    pub fn open_for_reading(&self, patience: &Patience) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Directory { root, fsync } => {
                Ok(Arc::new(LocalStore::open_existing(root, *fsync)?))
            }
            Self::S3(config) => Self::open_s3(config, patience),
        }
    }

    fn open_s3(config: &S3Config, patience: &Patience) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(S3Store::open(config.clone(), patience.clone())?))
    }

    /// Reads a location, `~` standing for `home`.
    ///
    /// # Errors
    /// [`InvalidLocation`], saying what part of it means nothing.
    pub fn parse(text: &str, home: Option<&Path>) -> Result<Self, InvalidLocation> {
        if text.is_empty() {
            return Err(InvalidLocation::Empty);
        }
        if let Some(fields) = text.strip_prefix("type=") {
            return match fields.split(',').next().unwrap_or_default() {
                "s3" => S3Config::parse_csv(text).map(|config| Self::S3(Box::new(config))),
                other => Err(InvalidLocation::Type(other.to_owned())),
            };
        }
        match scheme(text) {
            None => Ok(Self::Directory { root: expand_home(text, home)?, fsync: Fsync::default() }),
            Some(("file", rest)) => parse_file_url(rest),
            Some(("s3", rest)) => {
                S3Config::parse_url(rest).map(|config| Self::S3(Box::new(config)))
            }
            Some((other, _)) => Err(InvalidLocation::Scheme(other.to_owned())),
        }
    }
}

impl FromStr for StoreLocation {
    type Err = InvalidLocation;

    /// Reads a location, `~` standing for this process's home directory.
    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        Self::parse(text, home.as_deref().map(Path::new))
    }
}

impl fmt::Display for StoreLocation {
    /// A plain path where that means the same, else a URL; no secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (root, fsync) = match self {
            Self::Directory { root, fsync } => (root, fsync),
            Self::S3(config) => return config.fmt(f),
        };
        let path = root.to_string_lossy();
        if Self::parse(&path, None).as_ref() == Ok(self) {
            return f.write_str(&path);
        }
        f.write_str(if root.is_absolute() { "file://" } else { "file:" })?;
        for byte in path.bytes() {
            match byte {
                b if b.is_ascii_alphanumeric() || b"/-._~+=@!,".contains(&b) => {
                    f.write_char(char::from(b))?;
                }
                b => write!(f, "%{b:02X}")?,
            }
        }
        match fsync {
            Fsync::Always => Ok(()),
            Fsync::Never => f.write_str("?sync=never"),
        }
    }
}

impl InvalidLocation {
    /// A value that means nothing.
    pub fn value(parameter: &'static str, value: &str) -> Self {
        Self::Value { parameter, value: value.to_owned() }
    }

    /// The code that it is looked up by.
    pub fn code(&self) -> Code {
        match self {
            Self::Empty | Self::NoBucket | Self::HalfOfKeys(_) => Code::LocationIncomplete,
            Self::Word(_) | Self::Scheme(_) | Self::Type(_) | Self::Parameter(_) => {
                Code::LocationWord
            }
            Self::Field(_) | Self::Host(_) | Self::Value { .. } | Self::Encoding(_) => {
                Code::LocationValue
            }
            Self::Twice(_) => Code::LocationTwice,
            Self::Home(_) => Code::UnknownHome,
        }
    }

    /// What to write instead, where that is known.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let known = |given: &str, known: &[&'static str]| match nearest(given, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known: {}", known.join(", ")),
        };
        Some(match self {
            Self::Empty => "give a directory, such as --store ~/larder".into(),
            Self::NoBucket => "write s3://bucket/prefix, or bucket=… after type=s3".into(),
            Self::Word(given) => known(given, words()).into(),
            Self::Twice(word) => format!("leave one {word} out").into(),
            Self::Field(_) => "write word=value, separated by commas, in double quotes if the \
                               value has commas"
                .into(),
            Self::HalfOfKeys(_) => {
                "give both access_key_id and secret_access_key, or neither".into()
            }
            Self::Scheme(scheme) => {
                let known = known(scheme, &SCHEMES);
                format!("{known} (a directory of this name is written ./{scheme}:…)").into()
            }
            Self::Type(given) => known(given, &TYPES).into(),
            Self::Host(_) => "write three slashes, as in file:///srv/larder".into(),
            Self::Parameter(given) => known(given, &PARAMETERS).into(),
            Self::Value { parameter, value } => match *parameter {
                "sync" => known(value, &SYNC_VALUES.map(|(name, _)| name)).into(),
                "mode" => known(value, &["min", "max"]).into(),
                "checksums" => known(value, &["when_supported", "when_required"]).into(),
                "sse" => known(value, &["AES256", "aws:kms", "aws:kms:dsse"]).into(),
                "name" => "write keys of at most 512 bytes, separated by semicolons".into(),
                "access_key_id" | "secret_access_key" | "session_token" => {
                    "give it as it was issued: letters, digits and signs, no spaces or line ends"
                        .into()
                }
                "sse_customer_key" => "give 32 bytes in base64".into(),
                "touch_refresh" | "connect_timeout" | "read_timeout" => {
                    "write a duration such as 90s, 24h or 1h30m".into()
                }
                "role_session_duration" => {
                    "write a duration from 15m to 12h, which is what S3 takes".into()
                }
                "upload_parallelism" => "give a whole number above 0".into(),
                "tags" => "write name=value pairs, separated by semicolons".into(),
                "bucket" => "give a bucket's name: letters, digits, dots and hyphens".into(),
                "prefix" => "use at most 512 bytes without control characters".into(),
                _ if value.contains(char::is_control) => {
                    "leave out line ends and other control characters".into()
                }
                "external_id" => "leave out line ends and other control characters".into(),
                "endpoint_url" => "write it as https://host or http://host:port".into(),
                _ => "write true or false".into(),
            },
            Self::Encoding(_) => "write a percent sign as %25, or give a plain path".into(),
            Self::Home(_) => "write the directory out, or put ./ before the ~".into(),
        })
    }
}

/// The scheme of a text that looks like a URL, and what follows the colon.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    // One letter is a drive of Windows.
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, rest))
}

fn expand_home(text: &str, home: Option<&Path>) -> Result<PathBuf, InvalidLocation> {
    let unknown = || InvalidLocation::Home(text.to_owned());
    match text.strip_prefix('~') {
        None => Ok(text.into()),
        Some("") => Ok(home.ok_or_else(unknown)?.to_owned()),
        Some(rest) => {
            let below = rest.strip_prefix('/').ok_or_else(unknown)?;
            Ok(home.ok_or_else(unknown)?.join(below.trim_start_matches('/')))
        }
    }
}

/// What follows `file:`. Without a slash it is a relative path, which no
/// standard knows, but which would otherwise have no way to carry parameters.
fn parse_file_url(rest: &str) -> Result<StoreLocation, InvalidLocation> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let path = match path.strip_prefix("//") {
        None => path,
        Some(path) => match path.find('/').map_or((path, ""), |slash| path.split_at(slash)) {
            ("" | "localhost", path) => path,
            (host, _) => return Err(InvalidLocation::Host(host.to_owned())),
        },
    };
    if path.is_empty() {
        return Err(InvalidLocation::Empty);
    }
    let mut fsync = Fsync::default();
    for parameter in query.unwrap_or_default().split('&').filter(|text| !text.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name != "sync" {
            return Err(InvalidLocation::Parameter(name.to_owned()));
        }
        let known = SYNC_VALUES.iter().find(|(text, _)| *text == value);
        fsync = known.map(|(_, fsync)| *fsync).ok_or_else(|| {
            let (parameter, value) = ("sync", value.to_owned());
            InvalidLocation::Value { parameter, value }
        })?;
    }
    let root = decode(path).ok_or_else(|| InvalidLocation::Encoding(path.to_owned()))?;
    Ok(StoreLocation::Directory { root: root.into(), fsync })
}

/// Undoes percent-encoding. `None` if it is wrong, or gives what no path has.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            // The rest of a URL after `#` is not for whoever opens it.
            b'#' => return None,
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// The known word that was most likely meant: at most two typing errors away,
/// and not so far that it shares nothing with what was given.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|word| (typing_errors(given, word), *word));
    let (errors, word) = distances.min()?;
    (errors <= 2 && errors < word.len()).then_some(word)
}

/// Letters to insert, delete or change to make one word of the other.
fn typing_errors(a: &str, b: &str) -> usize {
    let mut above: Vec<usize> = (0..=b.chars().count()).collect();
    for (row, x) in a.chars().enumerate() {
        let mut left = row + 1;
        let mut corner = row;
        above[0] = left;
        for (cell, y) in above[1..].iter_mut().zip(b.chars()) {
            left = (corner + usize::from(x != y)).min(left + 1).min(*cell + 1);
            corner = std::mem::replace(cell, left);
        }
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<StoreLocation, InvalidLocation> {
        StoreLocation::parse(text, Some(Path::new("/home/ci")))
    }

    #[test]
    fn directories() {
        let check = |text: &str, path: &str, fsync| {
            let root = PathBuf::from(path);
            assert_eq!(parse(text), Ok(StoreLocation::Directory { root, fsync }), "{text}");
        };
        check("/srv/larder", "/srv/larder", Fsync::Always);
        check("caches", "caches", Fsync::Always);
        check("./a:b?c#%41", "./a:b?c#%41", Fsync::Always);
        check("~/c", "/home/ci/c", Fsync::Always);
        check("~", "/home/ci", Fsync::Always);
        check("~//etc", "/home/ci/etc", Fsync::Always);
        check("file:///a%20b", "/a b", Fsync::Always);
        check("file://localhost/a?sync=always", "/a", Fsync::Always);
        check("file:/a?sync=never", "/a", Fsync::Never);
        check("file:a?sync=never", "a", Fsync::Never);
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_is_right() {
        let check = |text: &str, rendered: &str| {
            let error = parse(text).unwrap_err();
            let found = format!("{error}; {}", error.hint().unwrap());
            assert_eq!(found, rendered);
        };
        check("", "the store's location is empty; give a directory, such as --store ~/larder");
        check("type=s4", r#"unknown type "s4" of a store; did you mean "s3"?"#);
        check(
            "flie:///a",
            r#"unknown scheme "flie" of a store; did you mean "file"? (a directory of this name is written ./flie:…)"#,
        );
        check(
            "memory:",
            r#"unknown scheme "memory" of a store; known: file, s3 (a directory of this name is written ./memory:…)"#,
        );
        check(
            "file:///a?sink=never",
            r#"unknown parameter "sink" of a file URL; did you mean "sync"?"#,
        );
        check(
            "file:///a?sync=nevr",
            r#""nevr" is no value of the parameter "sync"; did you mean "never"?"#,
        );
        check(
            "file://host/a",
            r#"a file URL cannot name the host "host"; write three slashes, as in file:///srv/larder"#,
        );
        check(
            "file:///a%2",
            r#"the URL's part "/a%2" is wrongly encoded; write a percent sign as %25, or give a plain path"#,
        );
        check(
            "~ci/a",
            r#"cannot tell which directory "~ci/a" begins with; write the directory out, or put ./ before the ~"#,
        );
    }

    #[test]
    fn a_store_error_passes_the_hint_on() {
        let error = open("s4://bucket").unwrap_err();
        assert_eq!(error.to_string(), r#"open s4://bucket: unknown scheme "s4" of a store"#);
        assert!(error.hint().is_some());
    }

    proptest! {
        #[test]
        fn what_is_displayed_means_the_same(root in "[a-z~:/?#%= ä]{1,12}", never: bool) {
            let fsync = if never { Fsync::Never } else { Fsync::Always };
            let location = StoreLocation::Directory { root: root.into(), fsync };
            let text = location.to_string();
            prop_assert_eq!(StoreLocation::parse(&text, None), Ok(location), "{}", text);
        }
    }
}
