//! A table of a configuration file, read by the names of its settings: what is not
//! known or not of the right kind is an error that shows its line.

use std::ops::Range;
use std::path::Path;

use larder::store::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::failure::{ConfigError, Misfit, Mistake};
use super::rows::Row;
use super::{CACHE, rows};

/// The text that is read, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn mistake(&self, range: Range<usize>, why: impl Into<String>) -> Mistake {
        Mistake::new(self.path.to_owned(), self.text, range, why)
    }

    fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

/// A value, and the line that it stands in, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

/// A table, and the settings that it can have.
#[derive(Debug)]
pub(super) struct Table<'a> {
    source: Source<'a>,
    table: &'a DeTable<'a>,
    /// The cache whose table it is; `None` for the file itself.
    cache: Option<&'a str>,
}

impl<'a> Table<'a> {
    /// Takes a table whose names are all known.
    pub(super) fn new(
        source: Source<'a>,
        table: &'a DeTable<'a>,
        cache: Option<&'a str>,
    ) -> Result<Self, ConfigError> {
        let table = Self { source, table, cache };
        for (name, value) in table.table {
            table.check_name(name, value)?;
        }
        Ok(table)
    }

    fn rows(&self) -> &'static [Row] {
        if self.cache.is_some() { &rows::OF_CACHES } else { &rows::OF_THE_FILE }
    }

    fn check_name(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let given = name.get_ref().as_ref();
        let is_known = |rows: &[Row]| rows.iter().any(|row| row.name == given);
        if is_known(self.rows()) || (self.cache.is_none() && given == CACHE) {
            return Ok(());
        }
        let place = self.cache.map(|cache| format!(" of [{CACHE}.{cache}]")).unwrap_or_default();
        let why = format!("unknown setting {given:?}{place}");
        let names: Vec<&str> = self.rows().iter().map(|row| row.name).collect();
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        let hint = match self.cache {
            Some(_) if is_known(&rows::OF_THE_FILE) => {
                format!("{given} is for all caches: write it above the first [{CACHE}.NAME]")
            }
            None if is_known(&rows::OF_CACHES) => {
                format!("{given} is a setting of one cache: write it below a [{CACHE}.NAME]")
            }
            None if is_table && nearest(given, &[CACHE]).is_some() => {
                format!("did you mean [{CACHE}.NAME]?")
            }
            None if is_table => format!("a cache is written [{CACHE}.{given}]"),
            _ => match nearest(given, &names) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("known are {}", names.join(", ")),
            },
        };
        Err(self.source.mistake(name.span(), why).hint(hint).into())
    }

    fn get(&self, row: &Row) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.rows().contains(row), "{} is no setting of this table", row.name);
        self.table.get(row.name)
    }

    fn is_no(&self, row: &Row, value: &Spanned<DeValue<'_>>, kind: &str) -> ConfigError {
        let why = format!("{} must be {kind}, and is {}", row.name, with_article(value.get_ref()));
        let hint = format!("write it as {} = {}", row.name, row.example);
        self.source.mistake(value.span(), why).hint(hint).into()
    }

    /// A setting that is a text, read by `parse`, which says why it means nothing and,
    /// if it knows, what to write.
    pub(super) fn text<T>(
        &self,
        row: &Row,
        parse: impl FnOnce(&str) -> Result<T, Misfit>,
    ) -> Result<Option<Written<T>>, ConfigError> {
        let Some(value) = self.get(row) else { return Ok(None) };
        let DeValue::String(text) = value.get_ref() else {
            return Err(self.is_no(row, value, "a text"));
        };
        Ok(Some(self.written(row, text, value.span(), parse)?))
    }

    /// A setting that is a list of texts; empty if it is not there.
    pub(super) fn texts<T>(
        &self,
        row: &Row,
        parse: impl Fn(&str) -> Result<T, Misfit>,
    ) -> Result<Vec<Written<T>>, ConfigError> {
        let Some(value) = self.get(row) else { return Ok(vec![]) };
        let DeValue::Array(list) = value.get_ref() else {
            return Err(self.is_no(row, value, "a list of texts"));
        };
        let texts = list.iter().map(|item| match item.get_ref() {
            DeValue::String(text) => self.written(row, text, item.span(), &parse),
            _ => Err(self.is_no(row, item, "a list of texts")),
        });
        texts.collect()
    }

    /// The same, as one value with the line that it begins in; `None` if it is not there.
    pub(super) fn list<T>(
        &self,
        row: &Row,
        parse: impl Fn(&str) -> Result<T, Misfit>,
    ) -> Result<Option<Written<Vec<T>>>, ConfigError> {
        let texts = self.texts(row, parse)?;
        let line = self.get(row).map(|value| self.source.line(value.span().start));
        let values = texts.into_iter().map(|text| text.value).collect();
        Ok(line.map(|line| Written { value: values, line }))
    }

    fn written<T>(
        &self,
        row: &Row,
        text: &str,
        range: Range<usize>,
        parse: impl FnOnce(&str) -> Result<T, Misfit>,
    ) -> Result<Written<T>, ConfigError> {
        let line = self.source.line(range.start);
        parse(text).map(|value| Written { value, line }).map_err(|misfit| {
            let why = format!("invalid value of {}: {}", row.name, misfit.why);
            let mistake = self.source.mistake(range, why);
            match misfit.hint {
                Some(hint) => mistake.hint(hint).into(),
                None => mistake.into(),
            }
        })
    }

    /// A setting that is true or false.
    pub(super) fn truth(&self, row: &Row) -> Result<Option<Written<bool>>, ConfigError> {
        let Some(value) = self.get(row) else { return Ok(None) };
        let line = self.source.line(value.span().start);
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(Some(Written { value: *value, line })),
            _ => Err(self.is_no(row, value, "true or false")),
        }
    }

    /// A setting that is a whole number within bounds.
    pub(super) fn number(
        &self,
        row: &Row,
        bounds: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<Written<u32>>, ConfigError> {
        let Some(value) = self.get(row) else { return Ok(None) };
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.is_no(row, value, "a whole number"));
        };
        let line = self.source.line(value.span().start);
        let parsed = u32::from_str_radix(number.as_str(), number.radix()).ok();
        parsed.filter(|number| bounds.contains(number)).map_or_else(
            || {
                let why = match (bounds.start(), bounds.end()) {
                    (least, &u32::MAX) => format!("{} must be {least} or more", row.name),
                    (least, most) => format!("{} must be from {least} to {most}", row.name),
                };
                Err(self.source.mistake(value.span(), why).into())
            },
            |value| Ok(Some(Written { value, line })),
        )
    }

    /// That a setting has to be there.
    pub(super) fn missing(&self, row: &Row, header: Range<usize>) -> ConfigError {
        let cache = self.cache.unwrap_or_default();
        let why = format!("[{CACHE}.{cache}] has no {}", row.name);
        let hint = format!("write {} = {}", row.name, row.example);
        self.source.mistake(header, why).hint(hint).into()
    }

    /// That something is wrong with a setting that is there.
    pub(super) fn wrong(&self, row: &Row, why: impl Into<String>) -> Mistake {
        let range = self.get(row).map_or(0..0, Spanned::span);
        self.source.mistake(range, why)
    }
}

/// A value's kind, as it is said after `is`.
fn with_article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
