//! A cache of a configuration file: `[cache.NAME]`.

use larder::compression;
use larder::format::Lifetime;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::failure::{ConfigError, Misfit};
use super::table::{Source, Table, Written};
use super::{CACHE, rows};
use crate::values::seconds;

/// What is saved and restored under a name.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    pub(crate) name: String,
    /// A template.
    pub(crate) key: Written<String>,
    /// Templates of what keys may begin with instead.
    pub(crate) restore_keys: Vec<Written<String>>,
    /// Templates of paths, relative to the directory of the file.
    pub(crate) paths: Vec<Written<String>>,
    /// Globs, in gitignore syntax.
    pub(crate) exclude: Vec<Written<String>>,
    pub(crate) lifetime: Lifetime,
    pub(crate) compression_level: Option<i32>,
    pub(crate) if_absent: bool,
    pub(crate) allow_missing: bool,
    pub(crate) skip_unreadable: bool,
    pub(crate) check_packs: bool,
    pub(crate) owner: bool,
    pub(crate) xattrs: bool,
    pub(crate) setuid: bool,
    pub(crate) delete_extra: bool,
}

impl Cache {
    /// Its settings that are true or false, by their names in the file.
    pub(crate) fn flags(&self) -> [(&'static str, bool); 8] {
        [
            (rows::IF_ABSENT.name, self.if_absent),
            (rows::ALLOW_MISSING.name, self.allow_missing),
            (rows::SKIP_UNREADABLE.name, self.skip_unreadable),
            (rows::CHECK_PACKS.name, self.check_packs),
            (rows::OWNER.name, self.owner),
            (rows::XATTRS.name, self.xattrs),
            (rows::SETUID.name, self.setuid),
            (rows::DELETE_EXTRA.name, self.delete_extra),
        ]
    }

    /// Those of the table `[cache]`, in the order of the file.
    pub(super) fn all(
        source: Source<'_>,
        table: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<Self>, ConfigError> {
        let DeValue::Table(caches) = table.get_ref() else {
            let mistake = source.mistake(table.span(), format!("{CACHE} must be a table"));
            return Err(mistake
                .hint(format!("write [{CACHE}.NAME], and its settings below"))
                .into());
        };
        let mut caches: Vec<_> = caches.iter().collect();
        caches.sort_by_key(|(name, _)| name.span().start);
        caches.iter().map(|(name, value)| Self::read(source, name, value)).collect()
    }

    fn read(
        source: Source<'_>,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Self, ConfigError> {
        let DeValue::Table(settings) = value.get_ref() else {
            return Err(no_table(source, name, value));
        };
        let (header, name) = (name.span(), name.get_ref().as_ref());
        if !is_name(name) {
            let mistake = source.mistake(header, format!("{name:?} cannot name a cache"));
            return Err(mistake.hint("use letters, digits, `-`, `_` and `.`").into());
        }
        Self::of_table(&Table::new(source, settings, Some(name))?, name, &header, settings)
    }

    fn of_table(
        table: &Table<'_>,
        name: &str,
        header: &std::ops::Range<usize>,
        settings: &DeTable<'_>,
    ) -> Result<Self, ConfigError> {
        let present = |row: &rows::Row| settings.get(row.name).is_some();
        for row in [rows::KEY, rows::PATHS] {
            if !present(&row) {
                return Err(table.missing(&row, header.clone()));
            }
        }
        let key = table.text(&rows::KEY, not_empty)?;
        let key = key.ok_or_else(|| table.missing(&rows::KEY, header.clone()))?;
        let paths = table.texts(&rows::PATHS, not_empty)?;
        if paths.is_empty() {
            let hint = format!("write {} = {}", rows::PATHS.name, rows::PATHS.example);
            return Err(table.wrong(&rows::PATHS, "paths is empty").hint(hint).into());
        }
        let flag = |row| table.truth(row).map(|written| written.is_some_and(|it| it.value));
        let level = table.number(&rows::COMPRESSION_LEVEL, LEVELS)?;
        Ok(Self {
            name: name.to_owned(),
            key,
            restore_keys: table.texts(&rows::RESTORE_KEYS, not_empty)?,
            paths,
            exclude: table.texts(&rows::EXCLUDE, glob)?,
            lifetime: lifetime(table)?,
            compression_level: level.and_then(|level| i32::try_from(level.value).ok()),
            if_absent: flag(&rows::IF_ABSENT)?,
            allow_missing: flag(&rows::ALLOW_MISSING)?,
            skip_unreadable: flag(&rows::SKIP_UNREADABLE)?,
            check_packs: flag(&rows::CHECK_PACKS)?,
            owner: flag(&rows::OWNER)?,
            xattrs: flag(&rows::XATTRS)?,
            setuid: flag(&rows::SETUID)?,
            delete_extra: flag(&rows::DELETE_EXTRA)?,
        })
    }
}

/// As of `save --compression-level`.
#[allow(clippy::cast_sign_loss, reason = "both are above nothing")]
const LEVELS: std::ops::RangeInclusive<u32> =
    (*compression::LEVELS.start() as u32)..=(*compression::LEVELS.end() as u32);

/// That a setting of a cache stands in `[cache]` itself, without a name of a cache.
fn no_table(
    source: Source<'_>,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> ConfigError {
    let given = name.get_ref();
    let is_setting = rows::OF_CACHES.iter().any(|row| row.name == given.as_ref());
    let (range, why) = match is_setting {
        true => (name.span(), format!("{given} is a setting of one cache, and this has no name")),
        false => (value.span(), format!("{CACHE}.{given} must be a table")),
    };
    let example = if is_setting { "NAME" } else { given };
    source.mistake(range, why).hint(format!("write it below a [{CACHE}.{example}]")).into()
}

/// How long it lives, by two settings of which there can be one.
fn lifetime(table: &Table<'_>) -> Result<Lifetime, ConfigError> {
    let ttl = table.text(&rows::TTL, |text| Ok(seconds(text)?))?;
    let pin = table.truth(&rows::PIN)?.is_some_and(|pin| pin.value);
    match (pin, ttl) {
        (true, Some(_)) => {
            let why = "ttl says when the cache may be removed, and pin that it may not";
            Err(table.wrong(&rows::TTL, why).hint("leave one of them out").into())
        }
        (true, None) => Ok(Lifetime::Pinned),
        (false, Some(ttl)) => Ok(Lifetime::For(ttl.value)),
        (false, None) => Ok(Lifetime::ByPolicy),
    }
}

fn not_empty(text: &str) -> Result<String, Misfit> {
    if text.is_empty() { Err("it is empty".to_owned().into()) } else { Ok(text.to_owned()) }
}

fn glob(text: &str) -> Result<String, Misfit> {
    match larder::files::excludes([text]) {
        Ok(_) => not_empty(text),
        Err((_, why)) => Err(why.into()),
    }
}

/// Whether a cache can be named so: in one word of a command line, and in names of a
/// CI system's outputs.
fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_letter)
}
