//! What is wrong with settings, and what to do about it.

use std::io;
use std::path::PathBuf;

use larder::code::Code;
use larder::ids::InvalidName;
use larder::store::InvalidLocation;

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
    /// The code that it is looked up by.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NoSystem => Code::NoSystem,
            Self::System(_) => Code::UnknownSystem,
            Self::SeveralSystems(_) => Code::SeveralSystems,
            Self::ForeignStep { .. } => Code::ForeignStep,
            Self::NoStep => Code::NoStep,
            Self::Missing { .. } => Code::MissingSetting,
            Self::Unknown { .. } => Code::UnknownSetting,
            Self::Value { .. } | Self::NoText(_) | Self::Store { .. } => Code::InvalidSetting,
            Self::Name { .. } => Code::InvalidName,
            Self::Contradiction(_) => Code::SettingConflict,
            Self::File { .. } => Code::SettingsFile,
        }
    }

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
            Self::Contradiction(_) => "correct the setting, or leave it out".to_owned(),
            Self::File { .. } => "make it readable for this user, or remove it".to_owned(),
        })
    }
}
