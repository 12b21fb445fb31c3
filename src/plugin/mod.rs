//! The plugin: what a CI system says in its environment, as an order that the
//! command line's own save, restore and flush carry out.
//!
//! ```text
//! environment ── table of the system ── settings ── order ── cli::plugin
//! ```
//!
//! Each system is one file with one table of its settings. Nothing here does
//! anything, prints or asks a store.

mod assets;
mod drone;
mod environment;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod invalid;
mod order;
mod server;
mod setting;
mod settings;
#[cfg(test)]
mod testing;
mod values;
mod vela;

use larder::ids::Scope;
use larder::store::{CredentialSource, InvalidLocation, S3Config};

pub(crate) use assets::{AssetsSettings, read as read_assets};
pub(crate) use environment::Environment;
pub(crate) use invalid::InvalidSetting;
pub(crate) use order::{Bounds, Log, Order, Saved, Task};
use setting::Value;
pub(crate) use values::boolean;

/// The prefix in the bucket below which the store lies. Buckets that another
/// plugin used have that one's objects at their root.
pub(crate) const PREFIX: &str = "larder";

/// A system that calls the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Drone, and Woodpecker, which sets `CI_*` beside `DRONE_*`.
    Drone,
    Vela,
    /// The asset manager's container, in any system.
    Assets,
}

impl System {
    const ALL: [Self; 3] = [Self::Drone, Self::Vela, Self::Assets];

    /// What `LARDER_PLUGIN` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Drone => "drone",
            Self::Vela => "vela",
            Self::Assets => "assets",
        }
    }

    /// The system that an environment is of.
    ///
    /// # Errors
    /// [`InvalidSetting`] if it is none's or several's.
    pub(crate) fn detect(environment: &Environment) -> Result<Self, InvalidSetting> {
        if let Some(named) = Self::named(environment)? {
            return Ok(named);
        }
        let mut found = vec![];
        for system in Self::ALL {
            if system.is_in(environment)? {
                found.push(system);
            }
        }
        match found.as_slice() {
            [] => Err(InvalidSetting::NoSystem),
            [system] => Ok(*system),
            several => {
                Err(InvalidSetting::SeveralSystems(several.iter().map(|s| s.name()).collect()))
            }
        }
    }

    /// The system that `LARDER_PLUGIN` names, if it is set.
    ///
    /// # Errors
    /// [`InvalidSetting`] if there is no such system.
    pub(crate) fn named(environment: &Environment) -> Result<Option<Self>, InvalidSetting> {
        let Some(name) = environment.variable("LARDER_PLUGIN") else { return Ok(None) };
        let named = Self::ALL.into_iter().find(|system| system.name() == name);
        named.map(Some).ok_or_else(|| InvalidSetting::System(name.to_owned()))
    }

    fn is_in(self, environment: &Environment) -> Result<bool, InvalidSetting> {
        let has = |prefix| environment.names(prefix).next().is_some();
        Ok(match self {
            Self::Drone => has(drone::PREFIX),
            Self::Vela => {
                has(vela::PREFIX)
                    || environment.variable("S3_CACHE_ACTION").is_some()
                    || environment.file("parameters/s3-cache/action")?.is_some()
            }
            Self::Assets => environment.variable("PACKAGE_ASSETS_BUCKET").is_some(),
        })
    }
}

/// What is said elsewhere than in a system's settings, which are then not needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// A store is named.
    pub(crate) store: bool,
    /// The scope.
    pub(crate) scope: Option<Scope>,
}

/// What Drone or Vela ask for.
///
/// # Errors
/// [`InvalidSetting`], naming the setting.
pub(crate) fn read(
    system: System,
    environment: &Environment,
    given: Given,
) -> Result<Order, InvalidSetting> {
    match system {
        System::Drone => drone::read(environment, given),
        System::Vela => vela::read(environment, given),
        System::Assets => Err(InvalidSetting::NoStep),
    }
}

/// The store that these words of a location describe, below [`PREFIX`].
fn store(words: &[(&'static str, Value)]) -> Result<S3Config, InvalidSetting> {
    let given = words.iter().map(|(word, value)| (*word, value.text.as_str()));
    S3Config::from_words(given.chain([("prefix", PREFIX)])).map_err(|source| {
        let from = |word: &str| {
            let named = words.iter().find(|(given, _)| *given == word);
            named.map_or_else(|| "the store".to_owned(), |(_, value)| value.from.clone())
        };
        match source {
            InvalidLocation::HalfOfKeys(lacking) => {
                let there = match lacking {
                    "access_key_id" => "secret_access_key",
                    _ => "access_key_id",
                };
                let text = format!("{} is given, and no {lacking} to it", from(there));
                InvalidSetting::Contradiction(text)
            }
            InvalidLocation::Value { parameter, .. } => {
                InvalidSetting::Store { from: from(parameter), source }
            }
            _ => InvalidSetting::Store { from: "the store".to_owned(), source },
        }
    })
}

/// The keys among these words.
fn credentials(words: &[(&'static str, Value)]) -> Result<CredentialSource, InvalidSetting> {
    let is_key =
        |word: &str| ["access_key_id", "secret_access_key", "session_token"].contains(&word);
    let mut keys: Vec<(&'static str, Value)> =
        words.iter().filter(|(word, _)| is_key(word)).cloned().collect();
    // Keys alone are no store, and any bucket makes them one.
    keys.push(("bucket", Value { from: String::new(), text: "any-bucket".to_owned() }));
    Ok(store(&keys)?.credentials)
}

/// A path by its names alone: `./a//b/../c/` is `a/c`, as Go's `path.Clean` has
/// it.
fn clean(text: &str) -> String {
    let mut names: Vec<&str> = vec![];
    let root = if text.starts_with('/') { "/" } else { "" };
    for name in text.split('/').filter(|name| !matches!(*name, "" | ".")) {
        match (name, names.last()) {
            ("..", Some(&last)) if last != ".." => {
                names.pop();
            }
            ("..", None) if !root.is_empty() => {}
            _ => names.push(name),
        }
    }
    let cleaned = format!("{root}{}", names.join("/"));
    if cleaned.is_empty() { ".".to_owned() } else { cleaned }
}

#[cfg(test)]
mod tests {
    use super::testing::environment;
    use super::*;

    fn detected(variables: &[(&str, &str)]) -> Result<&'static str, String> {
        let system = System::detect(&environment(variables));
        system.map(System::name).map_err(|error| error.to_string())
    }

    #[test]
    fn the_system_shows_in_the_environment() {
        assert_eq!(detected(&[("PLUGIN_BUCKET", "b")]), Ok("drone"));
        assert_eq!(detected(&[("PARAMETER_ACTION", "flush")]), Ok("vela"));
        assert_eq!(detected(&[("S3_CACHE_ACTION", "flush")]), Ok("vela"));
        assert_eq!(detected(&[("PACKAGE_ASSETS_BUCKET", "b")]), Ok("assets"));
    }

    #[test]
    fn it_can_be_forced() {
        let both = [("PLUGIN_BUCKET", "b"), ("PARAMETER_ACTION", "flush")];
        let several = "the environment has settings of several systems: drone, vela";
        assert_eq!(detected(&both), Err(several.to_owned()));
        for name in ["drone", "vela", "assets"] {
            let forced: Vec<_> = both.into_iter().chain([("LARDER_PLUGIN", name)]).collect();
            assert_eq!(detected(&forced), Ok(name));
        }
        let wrong = detected(&[("LARDER_PLUGIN", "jenkins")]);
        assert_eq!(wrong, Err("LARDER_PLUGIN is \"jenkins\", which is no system".to_owned()));
    }

    #[test]
    fn one_path_has_one_name() {
        let check = |path: &str, cleaned: &str| assert_eq!(clean(path), cleaned);
        check("vendor/bundle", "vendor/bundle");
        check("./vendor//bundle/", "vendor/bundle");
        check("a/../b/./c", "b/c");
        check("../a/../../b", "../../b");
        check("/../a", "/a");
        check("~/.m2", "~/.m2");
        check(".", ".");
        check("/", "/");
    }

    #[test]
    fn an_empty_environment_is_none_of_them() {
        let none = Err("no settings of a CI system are in the environment".to_owned());
        assert_eq!(detected(&[]), none);
        assert_eq!(detected(&[("PLUGIN_BUCKET", "")]), none);
    }
}
