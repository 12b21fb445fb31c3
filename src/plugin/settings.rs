//! The settings of one system, as an environment has them: read by the rows of its
//! table, and checked for such as are in none.

use super::environment::Environment;
use super::invalid::InvalidSetting;
use super::setting::{Default, Setting, Value, without_userinfo};
use super::values::boolean;

/// The settings of one system in an environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    table: &'static [&'static Setting],
    environment: &'a Environment,
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
        let settings: Vec<&'static str> =
            known.iter().copied().filter(|name| name.starts_with(prefix)).collect();
        let meant = larder::store::nearest(variable, &settings);
        let setting =
            table.iter().find(|row| meant.is_some_and(|name| row.variables.contains(&name)));
        let value = environment.variable(variable).unwrap_or_default();
        let value = match setting {
            Some(setting) if !setting.is_secret => format!("{:?}", without_userinfo(value)),
            // A secret, or who knows what.
            _ => "***".to_owned(),
        };
        // Names of variables can be anything, too.
        let variable = larder::relpath::display(variable.as_bytes()).into_owned();
        let unknown = InvalidSetting::Unknown { variable, value, known: settings };
        if environment.variable("LARDER_PLUGIN_UNKNOWN") != Some("warn") {
            return Err(unknown);
        }
        warnings.push(unknown.to_string());
    }
    Ok(warnings)
}
