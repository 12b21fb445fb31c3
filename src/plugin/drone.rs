//! Drone and Woodpecker: `PLUGIN_*`, as drone-s3cache and its relatives read them.
//!
//! Every listed path is a cache of its own, with the path for its key, in the
//! repository's scope: a step may rebuild one path and another step restore two.

use std::path::PathBuf;
use std::time::Duration;

use larder::ids::{Key, Scope};

use super::environment::Environment;
use super::order::{Bounds, Log, Order, Saved, Task};
use super::server::Server;
use super::setting::{Default, ROW, Setting, Value};
use super::settings::{Settings, check_unknown};
use super::values::{AGE, BOOLEAN, age};
use super::{Given, InvalidSetting, System, clean, credentials, store};

/// What all variables of settings begin with.
pub(super) const PREFIX: &str = "PLUGIN_";

/// Said in a commit's message, no cache is used.
const NO_CACHE: &str = "[NO CACHE]";

/// Said in a commit's message, the repository's caches are removed.
const CLEAR_CACHE: &str = "[CLEAR CACHE]";

const BUCKET: Setting = Setting {
    name: "bucket",
    variables: &["PLUGIN_BUCKET"],
    default: Default::Required,
    means: "the bucket",
    ..ROW
};
const CACHE: Setting = Setting {
    name: "cache",
    variables: &["PLUGIN_CACHE", "PLUGIN_MOUNT"],
    default: Default::Required,
    takes: "paths, separated by commas",
    means: "the directories to restore or rebuild, each a cache of its own",
    ..ROW
};
const RESTORE: Setting = Setting {
    name: "restore",
    variables: &["PLUGIN_RESTORE"],
    default: Default::Text("false"),
    takes: BOOLEAN,
    means: "restore the directories; wins over `rebuild`",
    ..ROW
};
const REBUILD: Setting = Setting {
    name: "rebuild",
    variables: &["PLUGIN_REBUILD"],
    default: Default::Text("false"),
    takes: BOOLEAN,
    means: "save the directories",
    ..ROW
};
const FLUSH: Setting = Setting {
    name: "flush",
    variables: &["PLUGIN_FLUSH"],
    default: Default::Text("false"),
    takes: BOOLEAN,
    means: "then remove the repository's caches that were not used for long",
    ..ROW
};
const FLUSH_AGE: Setting = Setting {
    name: "flush_age",
    variables: &["PLUGIN_FLUSH_AGE"],
    // drone-s3-cache's.
    default: Default::Text("30"),
    takes: AGE,
    means: "for how long, in days",
    ..ROW
};
const ACCESS_KEY: Setting = Setting {
    name: "aws_access_key_id",
    variables: &["PLUGIN_AWS_ACCESS_KEY_ID"],
    default: Default::Unset("where AWS tools look"),
    is_secret: true,
    means: "the id of the access key",
    ..ROW
};
const SECRET_KEY: Setting = Setting {
    name: "aws_secret_access_key",
    variables: &["PLUGIN_AWS_SECRET_ACCESS_KEY"],
    default: Default::Unset("where AWS tools look"),
    is_secret: true,
    means: "its secret",
    ..ROW
};
const SESSION_TOKEN: Setting = Setting {
    name: "aws_session_token",
    variables: &["PLUGIN_AWS_SESSION_TOKEN"],
    default: Default::Unset("none"),
    is_secret: true,
    means: "the token of temporary keys",
    ..ROW
};
const REGION: Setting = Setting {
    name: "region",
    variables: &["PLUGIN_REGION"],
    default: Default::Unset("the bucket's"),
    means: "the bucket's region",
    ..ROW
};
const ENDPOINT: Setting = Setting {
    name: "endpoint",
    variables: &["PLUGIN_ENDPOINT"],
    default: Default::Unset("Amazon S3"),
    takes: "a URL such as https://host or http://host:port",
    means: "another S3 server, such as MinIO or Ceph",
    ..ROW
};
const PATH_STYLE: Setting = Setting {
    name: "path_style",
    variables: &["PLUGIN_PATH_STYLE"],
    default: Default::Unset("by the endpoint"),
    takes: BOOLEAN,
    means: "the bucket is in the URL's path, not in the host's name",
    ..ROW
};
const REPO: Setting = Setting {
    name: "repository",
    variables: &["DRONE_REPO", "CI_REPO"],
    default: Default::Unset("owner and name"),
    takes: "owner/name",
    means: "the scope of the caches; set by the system",
    ..ROW
};
const REPO_OWNER: Setting = Setting {
    name: "its owner",
    variables: &["DRONE_REPO_OWNER", "CI_REPO_OWNER"],
    default: Default::Unset("none"),
    means: "where the repository's full name is not set",
    ..ROW
};
const REPO_NAME: Setting = Setting {
    name: "its name",
    variables: &["DRONE_REPO_NAME", "CI_REPO_NAME"],
    default: Default::Unset("none"),
    means: "where the repository's full name is not set",
    ..ROW
};
const MESSAGE: Setting = Setting {
    name: "commit message",
    variables: &["DRONE_COMMIT_MESSAGE", "CI_COMMIT_MESSAGE"],
    default: Default::Text(""),
    means: "may say `[NO CACHE]` or `[CLEAR CACHE]`; set by the system",
    ..ROW
};
const OUTPUT: Setting = Setting {
    name: "output file",
    variables: &["DRONE_OUTPUT"],
    default: Default::Unset("none"),
    means: "gets `cache-hit` and `key` after a restore; set by the system",
    ..ROW
};

/// All settings.
const TABLE: &[&Setting] = &[
    &BUCKET,
    &CACHE,
    &RESTORE,
    &REBUILD,
    &FLUSH,
    &FLUSH_AGE,
    &ACCESS_KEY,
    &SECRET_KEY,
    &SESSION_TOKEN,
    &REGION,
    &ENDPOINT,
    &PATH_STYLE,
    &REPO,
    &REPO_OWNER,
    &REPO_NAME,
    &MESSAGE,
    &OUTPUT,
];

/// The settings that are words of a store's location.
const STORE: &[(&Setting, &str)] = &[
    (&BUCKET, "bucket"),
    (&ACCESS_KEY, "access_key_id"),
    (&SECRET_KEY, "secret_access_key"),
    (&SESSION_TOKEN, "session_token"),
    (&REGION, "region"),
    (&PATH_STYLE, "use_path_style"),
];

/// What the settings ask for.
pub(super) fn read(environment: &Environment, given: Given) -> Result<Order, InvalidSetting> {
    let warnings = check_unknown(TABLE, PREFIX, environment)?;
    let settings = Settings::of(TABLE, environment);
    let words = words(&settings, given.store)?;
    let output = settings.value(&OUTPUT)?.map(|value| PathBuf::from(value.text));
    Ok(Order {
        system: System::Drone,
        store: if given.store { None } else { Some(store(&words)?) },
        credentials: credentials(&words)?,
        scope: given.scope.map_or_else(|| scope(&settings), Ok)?,
        timeout: None,
        log: Log::Normal,
        output,
        warnings,
        tasks: tasks(&settings)?,
    })
}

/// The words of the store's location that the settings give.
fn words(
    settings: &Settings<'_>,
    has_store: bool,
) -> Result<Vec<(&'static str, Value)>, InvalidSetting> {
    let mut words = vec![];
    for (setting, word) in STORE {
        let value = if has_store { settings.given(setting)? } else { settings.value(setting)? };
        words.extend(value.map(|value| (*word, value)));
    }
    if let Some(value) = settings.value(&ENDPOINT)? {
        Server::parse(&value.text).add_to(&mut words, &value);
    }
    Ok(words)
}

fn scope(settings: &Settings<'_>) -> Result<Scope, InvalidSetting> {
    let full = settings.value(&REPO)?;
    let value = match full.filter(|value| value.text.contains('/')) {
        Some(value) => value,
        None => {
            let (owner, name) = (settings.value(&REPO_OWNER)?, settings.value(&REPO_NAME)?);
            let (Some(owner), Some(name)) = (owner, name) else {
                let from = "DRONE_REPO or CI_REPO (as owner/name), which the CI system sets; \
                            LARDER_SCOPE stands for it";
                return Err(InvalidSetting::Missing { name: REPO.name, from: from.to_owned() });
            };
            Value { from: name.from, text: format!("{}/{}", owner.text, name.text) }
        }
    };
    let from = value.from;
    value.text.parse().map_err(|source| InvalidSetting::Name { from, source })
}

fn tasks(settings: &Settings<'_>) -> Result<Vec<Task>, InvalidSetting> {
    // All of them are read, so that a wrong value is told whatever is done.
    let (restore, rebuild) = (settings.flag(&RESTORE)?, settings.flag(&REBUILD)?);
    let flush = settings.flag(&FLUSH)?;
    let age = settings.parse(&FLUSH_AGE, age)?.unwrap_or(Duration::ZERO);
    let message = settings.required(&MESSAGE)?.text;
    if !(restore || rebuild || flush) {
        let text = "neither restore, rebuild nor flush is set: nothing will be done";
        return Ok(vec![Task::Say(text.to_owned())]);
    }
    let mut tasks = if restore || rebuild { caches(settings, restore, &message)? } else { vec![] };
    if flush {
        tasks.push(Task::Flush { age });
    }
    Ok(tasks)
}

/// What to do with the caches, if the commit's message does not forbid it.
fn caches(
    settings: &Settings<'_>,
    restore: bool,
    message: &str,
) -> Result<Vec<Task>, InvalidSetting> {
    let paths = settings.list(&CACHE)?;
    if paths.is_empty() {
        return Err(CACHE.invalid(&settings.required(&CACHE)?));
    }
    if message.contains(NO_CACHE) {
        let text = format!("the commit's message says {NO_CACHE}: caches are left alone");
        return Ok(vec![Task::Say(text)]);
    }
    if restore && message.contains(CLEAR_CACHE) {
        let text = format!("the commit's message says {CLEAR_CACHE}: nothing is restored");
        return Ok(vec![Task::Clear, Task::Say(text)]);
    }
    let all: Vec<String> = paths.iter().map(|path| clean(path)).collect();
    // A link above it may be of a cache that is restored before.
    let is_below_another = |key: &Key| {
        let below = |other: &String| {
            key.as_str().strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        all.iter().any(below)
    };
    let task = |path: String| {
        let key = key(&path)?;
        let path = PathBuf::from(path);
        Ok(if restore {
            let bounds = Bounds { follow: !is_below_another(&key), paths: vec![path] };
            Task::Restore { key, bounds }
        } else {
            let paths = vec![path];
            Task::Save(Saved { key, paths, allow_missing: true, flatten: false, level: None })
        })
    };
    paths.into_iter().map(task).collect()
}

/// The path's key: the path as it is said, however often `.` and `/` are in it.
fn key(path: &str) -> Result<Key, InvalidSetting> {
    let from = CACHE.variables[0].to_owned();
    clean(path).parse().map_err(|source| InvalidSetting::Name { from, source })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use larder::store::S3Config;

    use super::super::testing::{check_page, environment, told};
    use super::*;

    /// The settings of a step that restores one path.
    const STEP: [(&str, &str); 4] = [
        ("PLUGIN_BUCKET", "drone-cache"),
        ("PLUGIN_CACHE", "vendor/bundle"),
        ("PLUGIN_RESTORE", "true"),
        ("DRONE_REPO", "octo/app"),
    ];

    /// [`STEP`] with these variables beside or instead of its own; empty ones are
    /// as if they were not there.
    fn with(variables: &[(&str, &str)]) -> Result<Order, InvalidSetting> {
        let all: Vec<_> = STEP.iter().chain(variables).copied().collect();
        read(&environment(&all), Given::default())
    }

    fn order(variables: &[(&str, &str)]) -> Order {
        with(variables).unwrap()
    }

    /// What is done, a task a line.
    #[track_caller]
    fn does(variables: &[(&str, &str)], expected: &[&str]) {
        let tasks: Vec<String> = order(variables).tasks.iter().map(ToString::to_string).collect();
        assert_eq!(tasks, expected);
    }

    #[track_caller]
    fn fails(variables: &[(&str, &str)], expected: &str) {
        assert_eq!(told(&with(variables).unwrap_err()), expected);
    }

    fn config(variables: &[(&str, &str)]) -> S3Config {
        order(variables).store.unwrap()
    }

    #[test]
    fn bucket() {
        assert_eq!(config(&[]).to_string(), "s3://drone-cache/larder");
        fails(
            &[("PLUGIN_BUCKET", "")],
            "the setting bucket is missing; it is read from PLUGIN_BUCKET",
        );
    }

    /// With a store of its own, none of theirs is looked for.
    #[test]
    fn bucket_with_a_store() {
        let all = STEP.iter().skip(1).copied().collect::<Vec<_>>();
        let order = read(&environment(&all), Given { store: true, scope: None }).unwrap();
        assert_eq!(order.store, None);
        assert_eq!(order.credentials, larder::store::CredentialSource::Chain);
        // Its keys are for that store, too.
        let keys = [("PLUGIN_AWS_ACCESS_KEY_ID", "k"), ("PLUGIN_AWS_SECRET_ACCESS_KEY", "s")];
        let with_keys: Vec<_> = all.iter().chain(&keys).copied().collect();
        let given = Given { store: true, scope: None };
        let order = read(&environment(&with_keys), given).unwrap();
        assert!(matches!(order.credentials, larder::store::CredentialSource::Keys { .. }));
    }

    #[test]
    fn cache() {
        does(
            &[("PLUGIN_CACHE", "vendor/bundle,./node_modules/, /root/.m2")],
            &["restore vendor/bundle", "restore node_modules", "restore /root/.m2"],
        );
        does(&[("PLUGIN_CACHE", ""), ("PLUGIN_MOUNT", "a,b")], &["restore a", "restore b"]);
        fails(
            &[("PLUGIN_CACHE", "")],
            "the setting cache is missing; it is read from PLUGIN_CACHE, PLUGIN_MOUNT",
        );
        // As some systems write a list.
        does(&[("PLUGIN_CACHE", r#"["a,b", "c"]"#)], &["restore a,b", "restore c"]);
        fails(
            &[("PLUGIN_CACHE", ",")],
            "\",\" is no value of PLUGIN_CACHE; it takes paths, separated by commas",
        );
    }

    /// Every path that was listed was uploaded, but one object kept only the last.
    #[test]
    fn rebuild_saves_every_path() {
        does(
            &[("PLUGIN_RESTORE", ""), ("PLUGIN_REBUILD", "true"), ("PLUGIN_CACHE", "a,b")],
            &["save a: a, what is there of it", "save b: b, what is there of it"],
        );
    }

    /// Any text that was not empty counted as true, "false" too.
    #[test]
    fn restore_and_rebuild_are_truth_values() {
        let nothing = ["neither restore, rebuild nor flush is set: nothing will be done"];
        for off in ["false", "0", "no", ""] {
            does(&[("PLUGIN_RESTORE", off), ("PLUGIN_REBUILD", off)], &nothing);
        }
        for on in ["true", "1", "yes"] {
            does(&[("PLUGIN_RESTORE", on)], &["restore vendor/bundle"]);
            does(
                &[("PLUGIN_RESTORE", "no"), ("PLUGIN_REBUILD", on)],
                &["save vendor/bundle: vendor/bundle, what is there of it"],
            );
        }
        for (variable, value) in [("PLUGIN_RESTORE", "maybe"), ("PLUGIN_REBUILD", "on")] {
            let takes = "it takes true, false, 1, 0, yes or no";
            fails(&[(variable, value)], &format!("{value:?} is no value of {variable}; {takes}"));
        }
    }

    #[test]
    fn restore_wins_over_rebuild() {
        does(&[("PLUGIN_REBUILD", "true")], &["restore vendor/bundle"]);
    }

    #[test]
    fn flush() {
        let only = [("PLUGIN_RESTORE", ""), ("PLUGIN_CACHE", ""), ("PLUGIN_FLUSH", "true")];
        does(&only, &["flush what was not used for 30days"]);
        does(&[("PLUGIN_FLUSH", "false")], &["restore vendor/bundle"]);
        fails(
            &[("PLUGIN_FLUSH", "daily")],
            "\"daily\" is no value of PLUGIN_FLUSH; it takes true, false, 1, 0, yes or no",
        );
    }

    #[test]
    fn flush_age() {
        let with_age = |age| {
            order(&[("PLUGIN_FLUSH", "true"), ("PLUGIN_FLUSH_AGE", age)]).tasks.pop().unwrap()
        };
        let days = |days: u64| Task::Flush { age: Duration::from_secs(days * 86_400) };
        assert_eq!([with_age("7"), with_age("7d"), with_age("168h")], [days(7), days(7), days(7)]);
        let takes = "it takes days, such as 14 or 14d, or a duration, such as 336h";
        fails(
            &[("PLUGIN_FLUSH_AGE", "old")],
            &format!("\"old\" is no value of PLUGIN_FLUSH_AGE; {takes}"),
        );
    }

    #[test]
    fn keys() {
        use larder::store::{CredentialSource, Secret};
        let key = ("PLUGIN_AWS_ACCESS_KEY_ID", "AKIA");
        let secret = ("PLUGIN_AWS_SECRET_ACCESS_KEY", "hush");
        let token = ("PLUGIN_AWS_SESSION_TOKEN", "token");
        let keys = |session_token| CredentialSource::Keys {
            access_key_id: Secret::new("AKIA"),
            secret_access_key: Secret::new("hush"),
            session_token,
        };
        assert_eq!(config(&[]).credentials, CredentialSource::Chain);
        assert_eq!(config(&[key, secret]).credentials, keys(None));
        let with_token = config(&[key, secret, token]).credentials;
        assert_eq!(with_token, keys(Some(Secret::new("token"))));
        fails(
            &[key],
            "PLUGIN_AWS_ACCESS_KEY_ID is given, and no secret_access_key to it; \
             correct the setting, or leave it out",
        );
        let shown = format!("{:?}", order(&[key, secret, ("PLUGIN_AWS_SESSION_TOKEN", "t0ken")]));
        for hidden in ["hush", "AKIA", "t0ken"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        // As `echo` puts it into a secret.
        let ended = [key, ("PLUGIN_AWS_SECRET_ACCESS_KEY", "hush\n")];
        assert_eq!(config(&ended).credentials, keys(None));
    }

    /// It was documented, and never read.
    #[test]
    fn region() {
        assert_eq!(config(&[]).region, None);
        assert_eq!(config(&[("PLUGIN_REGION", "eu-west-3")]).region.as_deref(), Some("eu-west-3"));
    }

    #[test]
    fn endpoint_and_path_style() {
        let url = |url| config(&[("PLUGIN_ENDPOINT", url)]).endpoint_url.unwrap();
        assert_eq!(url("http://minio:9000"), "http://minio:9000");
        assert_eq!(url("s3.example.org"), "https://s3.example.org");
        let amazon = config(&[("PLUGIN_ENDPOINT", "s3.eu-west-1.amazonaws.com")]);
        assert_eq!((amazon.endpoint_url, amazon.region.as_deref()), (None, Some("eu-west-1")));
        let both = [("PLUGIN_ENDPOINT", "http://minio:9000"), ("PLUGIN_PATH_STYLE", "false")];
        assert_eq!(config(&both).path_style, Some(false));
        assert_eq!(config(&[("PLUGIN_PATH_STYLE", "true")]).path_style, Some(true));
        assert_eq!(config(&[("PLUGIN_PATH_STYLE", "0")]).path_style, Some(false));
        assert_eq!(config(&[]).path_style, None);
        fails(
            &[("PLUGIN_PATH_STYLE", "maybe")],
            "PLUGIN_PATH_STYLE: \"maybe\" is no value of the parameter \"use_path_style\"; write \
             true or false",
        );
        fails(
            &[("PLUGIN_ENDPOINT", "ftp://host")],
            "PLUGIN_ENDPOINT: \"ftp://host\" is no value of the parameter \"endpoint_url\"; write \
             it as https://host or http://host:port",
        );
    }

    /// Caches were kept by the repository's name alone: all forks shared them.
    #[test]
    fn scope_is_owner_and_name() {
        let scope = |variables: &[(&str, &str)]| {
            let nothing = [("DRONE_REPO", "")];
            let all: Vec<_> = nothing.iter().chain(variables).copied().collect();
            with(&all).map(|order| order.scope.to_string()).map_err(|error| told(&error))
        };
        assert_eq!(scope(&[("DRONE_REPO", "octo/app")]).unwrap(), "octo/app");
        let parts = [("DRONE_REPO_OWNER", "octo"), ("DRONE_REPO_NAME", "app")];
        assert_eq!(scope(&parts).unwrap(), "octo/app");
        assert_eq!(scope(&[("CI_REPO", "wood/app")]).unwrap(), "wood/app");
        let parts = [("CI_REPO_OWNER", "wood"), ("CI_REPO_NAME", "app")];
        assert_eq!(scope(&parts).unwrap(), "wood/app");
        let full_name =
            [("DRONE_REPO", "app"), ("DRONE_REPO_OWNER", "o"), ("DRONE_REPO_NAME", "n")];
        assert_eq!(scope(&full_name).unwrap(), "o/n");
        assert_eq!(
            scope(&[]).unwrap_err(),
            "the setting repository is missing; it is read from DRONE_REPO or CI_REPO (as \
             owner/name), which the CI system sets; LARDER_SCOPE stands for it"
        );
        let given = Given { store: false, scope: Some("shared".parse().unwrap()) };
        assert_eq!(read(&environment(&STEP[..3]), given).unwrap().scope.as_str(), "shared");
    }

    #[test]
    fn no_cache() {
        let says = "the commit's message says [NO CACHE]: caches are left alone";
        for variable in ["DRONE_COMMIT_MESSAGE", "CI_COMMIT_MESSAGE"] {
            let message = (variable, "fix: x\n\n[NO CACHE] please");
            does(&[message], &[says]);
            does(&[message, ("PLUGIN_RESTORE", ""), ("PLUGIN_REBUILD", "true")], &[says]);
            // A flush uses none.
            let flush = "flush what was not used for 30days";
            does(&[message, ("PLUGIN_FLUSH", "true")], &[says, flush]);
        }
        does(&[("DRONE_COMMIT_MESSAGE", "no cache")], &["restore vendor/bundle"]);
    }

    #[test]
    fn clear_cache() {
        let says = "the commit's message says [CLEAR CACHE]: nothing is restored";
        for variable in ["DRONE_COMMIT_MESSAGE", "CI_COMMIT_MESSAGE"] {
            let message = (variable, "[CLEAR CACHE] start anew");
            does(&[message], &["remove all caches of the scope", says]);
            // What was cleared at the beginning is saved at the end.
            does(
                &[message, ("PLUGIN_RESTORE", ""), ("PLUGIN_REBUILD", "true")],
                &["save vendor/bundle: vendor/bundle, what is there of it"],
            );
        }
        let both = ("DRONE_COMMIT_MESSAGE", "[CLEAR CACHE] [NO CACHE]");
        does(&[both], &["the commit's message says [NO CACHE]: caches are left alone"]);
    }

    #[test]
    fn output() {
        assert_eq!(order(&[]).output, None);
        let output = order(&[("DRONE_OUTPUT", "/tmp/out")]).output;
        assert_eq!(output.as_deref(), Some(Path::new("/tmp/out")));
    }

    #[test]
    fn unknown_settings_are_told() {
        fails(
            &[("PLUGIN_BUKCET", "x")],
            "unknown setting PLUGIN_BUKCET (it is \"x\"); did you mean PLUGIN_BUCKET?",
        );
        let turbo = ("PLUGIN_TURBO", "https://me:hush@host");
        let error = told(&with(&[turbo]).unwrap_err());
        let text = "unknown setting PLUGIN_TURBO (it is ***); the settings are PLUGIN_BUCKET, ";
        assert!(error.starts_with(text), "{error}");
        let error = told(&with(&[("PLUGIN_AWS_SESION_TOKEN", "hush")]).unwrap_err());
        assert!(
            error.starts_with("unknown setting PLUGIN_AWS_SESION_TOKEN (it is ***)"),
            "{error}"
        );
        // What others have put into every step can be let pass.
        let order = order(&[turbo, ("LARDER_PLUGIN_UNKNOWN", "warn")]);
        assert_eq!(order.warnings, ["unknown setting PLUGIN_TURBO (it is ***)"]);
    }

    /// A link above a path may be of another cache, which anyone may have put there.
    #[test]
    fn links_above_are_the_users_unless_another_cache_could_have_them() {
        let paths = |cache: &str| -> Vec<bool> {
            let tasks = order(&[("PLUGIN_CACHE", cache)]).tasks;
            let is_trusted =
                |task: &Task| matches!(task, Task::Restore { bounds, .. } if bounds.follow);
            tasks.iter().map(is_trusted).collect()
        };
        assert_eq!(paths("a/b,ab"), [true, true]);
        assert_eq!(paths("./a,a//b/ssh"), [true, false]);
    }

    /// Harness sets these in every step.
    #[test]
    fn what_systems_set_beside_settings_is_none() {
        let order = order(&[("PLUGIN_ARTIFACT_FILE", "/tmp/x"), ("PLUGIN_METADATA_FILE", "y")]);
        assert_eq!(order.warnings, [""; 0]);
    }

    #[test]
    fn every_row_is_documented() {
        check_page(include_str!("../../docs/migrating/drone.md"), TABLE);
    }
}
