//! Settings of the systems: one table a system, from which they are read, checked
//! for unknown ones, and documented.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use larder::ids::InvalidName;
use larder::store::InvalidLocation;

use super::environment::Environment;

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

/// Settings that no request can be made of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidSetting {
    /// Nothing tells which system this is.
    #[error("no settings of a CI system are in the environment")]
    NoSystem,
    /// `LARDER_PLUGIN` names none.
    #[error("LARDER_PLUGIN is {0:?}, which is no system")]
    System(String),
    /// Two systems at once.
    #[error("the environment has settings of several systems: {}", .0.join(", "))]
    SeveralSystems(Vec<&'static str>),
    /// Said which step of the asset manager to do, but this is another system.
    #[error("the step {step:?} is one of the asset manager, but these are settings of {system}")]
    ForeignStep { step: &'static str, system: &'static str },
    /// Not said which step of the asset manager to do.
    #[error("say which step of the asset manager this is")]
    NoStep,
    /// A setting that has to be given was not.
    #[error("the setting {name} is missing")]
    Missing { name: &'static str, from: String },
    /// A variable looks like a setting and is none.
    #[error("unknown setting {variable} (it is {value})")]
    Unknown { variable: String, value: String, known: Vec<&'static str> },
    /// A value means nothing.
    #[error("{value} is no value of {from}")]
    Value { from: String, value: String, takes: &'static str },
    /// A value that is no text.
    #[error("the value of {0} is no UTF-8")]
    NoText(String),
    /// A value that the store's location does not take.
    #[error("{from}: {source}")]
    Store { from: String, source: InvalidLocation },
    /// A name that is none.
    #[error("{from}: {source}")]
    Name { from: String, source: InvalidName },
    /// Settings that do not go together.
    #[error("{0}")]
    Contradiction(String),
    /// A file of settings cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
}

impl InvalidSetting {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSystem => "Drone and Woodpecker set PLUGIN_*, Vela PARAMETER_*, and the asset \
                               manager PACKAGE_ASSETS_BUCKET; LARDER_PLUGIN=drone, vela or assets \
                               says which"
                .to_owned(),
            Self::System(_) => "it is one of drone, vela, assets".to_owned(),
            Self::SeveralSystems(_) => {
                "say which with LARDER_PLUGIN=drone, vela or assets".to_owned()
            }
            Self::ForeignStep { .. } => "leave it out, or set LARDER_PLUGIN=assets".to_owned(),
            Self::NoStep => "run `larder plugin check` or `larder plugin upload`".to_owned(),
            Self::Missing { from, .. } => format!("it is read from {from}"),
            Self::Unknown { variable, known, .. } => {
                match larder::store::nearest(variable, known) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!(
                        "the settings are {}; LARDER_PLUGIN_UNKNOWN=warn lets others pass",
                        known.join(", ")
                    ),
                }
            }
            Self::Value { takes, .. } => format!("it takes {takes}"),
            Self::Store { source, .. } => return source.hint().map(String::from),
            Self::Name { .. } => "names have 1 to 512 bytes without control characters".to_owned(),
            Self::NoText(_) => {
                "larder takes settings as UTF-8 only; `larder save` takes any path".to_owned()
            }
            Self::Contradiction(_) | Self::File { .. } => return None,
        })
    }
}

/// The settings of one system in an environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    table: &'static [&'static Setting],
    environment: &'a Environment,
}

/// Variables that CI systems set in every step beside the settings: Harness's
/// lite-engine has these.
const AMBIENT: [&str; 5] = [
    "PLUGIN_ARTIFACT_FILE",
    "PLUGIN_BUILD_TOOL_FILE",
    "PLUGIN_CACHE_INTEL_METRICS_FILE",
    "PLUGIN_CACHE_METRICS_FILE",
    "PLUGIN_METADATA_FILE",
];

/// Looks for variables that begin with `prefix` and are no settings. Gives what is
/// to be told of them, if `LARDER_PLUGIN_UNKNOWN` lets them pass.
///
/// # Errors
/// [`InvalidSetting::Unknown`] if it does not.
pub(crate) fn check_unknown(
    table: &[&'static Setting],
    prefix: &str,
    environment: &Environment,
) -> Result<Vec<String>, InvalidSetting> {
    let known: Vec<&'static str> =
        table.iter().flat_map(|setting| setting.variables.iter().copied()).collect();
    let mut warnings = vec![];
    for variable in environment.names(prefix) {
        if known.contains(&variable) || AMBIENT.contains(&variable) {
            continue;
        }
        let unknown = InvalidSetting::Unknown {
            variable: variable.to_owned(),
            value: shown(variable, environment.variable(variable).unwrap_or_default()),
            known: known.iter().copied().filter(|name| name.starts_with(prefix)).collect(),
        };
        if environment.variable("LARDER_PLUGIN_UNKNOWN") != Some("warn") {
            return Err(unknown);
        }
        warnings.push(unknown.to_string());
    }
    Ok(warnings)
}

/// The value of a setting that nobody knows, unless its name says that it is a
/// secret.
fn shown(variable: &str, value: &str) -> String {
    let is_secret = ["KEY", "SECRET", "TOKEN", "PASS", "CREDENTIAL", "AUTH"];
    if is_secret.iter().any(|word| variable.contains(word)) {
        return "***".to_owned();
    }
    format!("{:?}", without_userinfo(value))
}

/// A text that may be a URL, less the password in it.
fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) if text.contains(':') => format!("***@{rest}"),
        _ => text.to_owned(),
    }
}

impl<'a> Settings<'a> {
    /// Those of a table.
    pub(crate) fn of(table: &'static [&'static Setting], environment: &'a Environment) -> Self {
        Self { table, environment }
    }

    /// A setting that was given.
    pub(crate) fn given(&self, setting: &Setting) -> Result<Option<Value>, InvalidSetting> {
        debug_assert!(self.table.contains(&setting), "{} is in no table", setting.name);
        for &variable in setting.variables {
            if self.environment.is_unreadable(variable) {
                return Err(InvalidSetting::NoText(variable.to_owned()));
            }
            if let Some(text) = self.environment.variable(variable) {
                return Ok(Some(Value { from: variable.to_owned(), text: text.to_owned() }));
            }
        }
        for file in setting.files {
            if let Some((path, text)) = self.environment.file(file)? {
                return Ok(Some(Value { from: path.display().to_string(), text }));
            }
        }
        Ok(None)
    }

    /// A setting that was given, or its default.
    pub(crate) fn value(&self, setting: &Setting) -> Result<Option<Value>, InvalidSetting> {
        if let Some(value) = self.given(setting)? {
            return Ok(Some(value));
        }
        let from = || setting.variables.first().copied().unwrap_or_default().to_owned();
        match setting.default {
            Default::Text(text) => Ok(Some(Value { from: from(), text: text.to_owned() })),
            Default::Unset(_) => Ok(None),
            Default::Required => Err(setting.missing()),
        }
    }

    /// A setting that has to be given, or has a default.
    pub(crate) fn required(&self, setting: &Setting) -> Result<Value, InvalidSetting> {
        self.value(setting)?.ok_or_else(|| setting.missing())
    }

    /// A truth value; without one, it is not so.
    pub(crate) fn flag(&self, setting: &Setting) -> Result<bool, InvalidSetting> {
        Ok(self.parse(setting, boolean)?.unwrap_or(false))
    }

    /// The parts of a list, as CI systems join them.
    pub(crate) fn list(&self, setting: &Setting) -> Result<Vec<String>, InvalidSetting> {
        let text = self.value(setting)?.map(|value| value.text).unwrap_or_default();
        // As some systems write lists that are not of plain words alone.
        if text.starts_with('[')
            && let Ok(parts) = serde_json::from_str::<Vec<String>>(&text)
        {
            return Ok(parts);
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Ok(parts.map(str::to_owned).collect())
    }

    /// A setting as `parse` reads it.
    pub(crate) fn parse<T>(
        &self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, InvalidSetting> {
        let Some(value) = self.value(setting)? else { return Ok(None) };
        parse(value.text.trim()).map(Some).ok_or_else(|| setting.invalid(&value))
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

/// `true` or `false`, in the spellings that pipelines have.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// What [`boolean`] takes.
pub(crate) const BOOLEAN: &str = "true, false, 1, 0, yes or no";

/// A duration as Go writes it: `10m`, `1h30m`, `1.5h`. Not nothing.
///
/// The grammar is that of Go's `time.ParseDuration`, less signs.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3_600.0),
    ];
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * length;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

/// What [`go_duration`] takes.
pub(crate) const GO_DURATION: &str = "a duration above 0, such as 90s, 10m or 1h30m";

/// An age: a duration, or days, with or without a `d`. At least a second, for a
/// store's clock knows no parts of them.
pub(crate) fn age(text: &str) -> Option<Duration> {
    let days = text.strip_suffix('d').unwrap_or(text).parse::<u64>().ok();
    let age = match days {
        Some(days) => Duration::from_secs(days.checked_mul(86_400)?),
        None => go_duration(text)?,
    };
    (age >= Duration::from_secs(1)).then_some(age)
}

/// What [`age`] takes.
pub(crate) const AGE: &str = "days, such as 14 or 14d, or a duration, such as 336h";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let check = |text: &str, millis: u64| {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        };
        check("10m", 600_000);
        check("1h30m", 5_400_000);
        check("1.5h", 5_400_000);
        check("336h", 1_209_600_000);
        check("2s500ms", 2_500);
        check("2000us", 2);
        for wrong in ["", "0", "0s", "10", "m", "-1h", "10 m", "1d", "1.2.3s", "1h30", "∞h"] {
            assert_eq!(go_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages_are_days_or_durations() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!([age("14"), age("14d"), age("336h")], [days(14); 3]);
        for wrong in ["0", "0d", "-3", "d", "1.5d", "999999999999999999", "5ms", "soon"] {
            assert_eq!(age(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_truth_values_are_true_or_false() {
        for text in ["true", "True", "1", "yes", "YES"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["false", "False", "0", "no"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", "on", "2", "maybe", "t"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }
}
