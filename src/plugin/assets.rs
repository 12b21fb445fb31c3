//! The asset manager: `PACKAGE_ASSETS_BUCKET` and the few variables beside it.

use std::path::PathBuf;

use larder::store::S3Config;

use super::environment::Environment;
use super::setting::{Default, ROW, Setting, Value};
use super::settings::Settings;
use super::values::{BOOLEAN, boolean};
use super::{InvalidSetting, store};

const BUCKET: Setting = Setting {
    name: "bucket",
    variables: &["PACKAGE_ASSETS_BUCKET"],
    default: Default::Unset("required without `--store`"),
    means: "the bucket",
    ..ROW
};
const REPOSITORY: Setting = Setting {
    name: "repository",
    variables: &["GIT_REPO_PATH"],
    default: Default::Text("./repo"),
    means: "check: where the git repository is",
    ..ROW
};
const PACKAGES: Setting = Setting {
    name: "packages",
    variables: &["PACKAGE_DIRECTORY"],
    default: Default::Text("./packages"),
    means: "the directory of the packages",
    ..ROW
};
const FILTER: Setting = Setting {
    name: "code hash",
    variables: &["CODE_HASH_FIND_FILTER"],
    default: Default::Unset("no code hash"),
    takes: "globs, separated by spaces, relative to the repository",
    means: "check: the files that the packages are made of, as globs separated by spaces",
    ..ROW
};
const ROLE: Setting = Setting {
    name: "role",
    variables: &["AWS_ROLE"],
    default: Default::Unset("none"),
    means: "the ARN of a role to assume, for 20 minutes at a time",
    ..ROW
};
const PLAIN: Setting = Setting {
    name: "plain objects",
    variables: &["LARDER_ASSETS_PLAIN"],
    default: Default::Unset("`true` for the plugin, else `false`"),
    takes: BOOLEAN,
    means: "also write each file as an object of its own",
    ..ROW
};

/// All settings.
const TABLE: &[&Setting] = &[&BUCKET, &REPOSITORY, &PACKAGES, &FILTER, &ROLE, &PLAIN];

/// What the variables say.
#[derive(Debug)]
pub(crate) struct AssetsSettings {
    /// The store in the bucket, if one is named.
    pub(crate) store: Option<S3Config>,
    pub(crate) repository: PathBuf,
    pub(crate) packages: PathBuf,
    /// Globs of the files that packages are made of.
    pub(crate) filter: Vec<String>,
    pub(crate) plain: Option<bool>,
}

/// Reads the variables.
///
/// # Errors
/// [`InvalidSetting`], naming the variable.
pub(crate) fn read(environment: &Environment) -> Result<AssetsSettings, InvalidSetting> {
    let settings = Settings::of(TABLE, environment);
    let filter = settings.value(&FILTER)?.map(|value| value.text).unwrap_or_default();
    Ok(AssetsSettings {
        store: location(&settings)?,
        repository: settings.required(&REPOSITORY)?.text.into(),
        packages: settings.required(&PACKAGES)?.text.into(),
        filter: filter.split_whitespace().map(str::to_owned).collect(),
        plain: settings.parse(&PLAIN, boolean)?,
    })
}

fn location(settings: &Settings<'_>) -> Result<Option<S3Config>, InvalidSetting> {
    let Some(bucket) = settings.value(&BUCKET)? else { return Ok(None) };
    let mut words = vec![("bucket", bucket)];
    if let Some(role) = settings.value(&ROLE)? {
        let say = |text: &str| Value { from: role.from.clone(), text: text.to_owned() };
        words.push(("role_session_name", say("larder-assets")));
        words.push(("role_session_duration", say("1200s")));
        words.push(("role_arn", role));
    }
    store(&words).map(Some)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{check_page, environment};
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> AssetsSettings {
        read(&environment(variables)).unwrap()
    }

    #[test]
    fn bucket() {
        assert_eq!(settings(&[]).store, None);
        let store = settings(&[("PACKAGE_ASSETS_BUCKET", "assets")]).store.unwrap();
        assert_eq!(store.to_string(), "s3://assets/larder");
        let wrong = read(&environment(&[("PACKAGE_ASSETS_BUCKET", "a b")])).unwrap_err();
        assert!(wrong.to_string().starts_with("PACKAGE_ASSETS_BUCKET: \"a b\""), "{wrong}");
    }

    #[test]
    fn directories() {
        let defaults = settings(&[]);
        assert_eq!(defaults.repository, PathBuf::from("./repo"));
        assert_eq!(defaults.packages, PathBuf::from("./packages"));
        let given = settings(&[("GIT_REPO_PATH", "/src"), ("PACKAGE_DIRECTORY", "out")]);
        assert_eq!((given.repository, given.packages), ("/src".into(), "out".into()));
    }

    #[test]
    fn filter() {
        assert!(settings(&[]).filter.is_empty());
        let given = settings(&[("CODE_HASH_FIND_FILTER", " lambdas/**  shared/*.js ")]);
        assert_eq!(given.filter, ["lambdas/**", "shared/*.js"]);
    }

    #[test]
    fn role() {
        let bucket = ("PACKAGE_ASSETS_BUCKET", "assets");
        let role = |given: &[(&str, &str)]| settings(given).store.unwrap().role;
        assert_eq!(role(&[bucket]), None);
        let role = role(&[bucket, ("AWS_ROLE", "arn:aws:iam::1:role/ci")]).unwrap();
        assert_eq!(role.arn, "arn:aws:iam::1:role/ci");
        assert_eq!(role.session_length, Some(Duration::from_secs(1_200)));
    }

    #[test]
    fn plain() {
        let plain = |given: &[(&str, &str)]| settings(given).plain;
        assert_eq!(plain(&[]), None);
        assert_eq!(plain(&[("LARDER_ASSETS_PLAIN", "true")]), Some(true));
        assert_eq!(plain(&[("LARDER_ASSETS_PLAIN", "no")]), Some(false));
        let wrong = read(&environment(&[("LARDER_ASSETS_PLAIN", "maybe")])).unwrap_err();
        assert_eq!(wrong.to_string(), "\"maybe\" is no value of LARDER_ASSETS_PLAIN");
    }

    #[test]
    fn every_row_is_documented() {
        check_page(include_str!("../../docs/migrating/assets.md"), TABLE);
    }
}
