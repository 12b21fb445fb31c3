//! Vela: `PARAMETER_*`, their older names, and files, as vela-s3-cache reads them.
//!
//! All mounts are one cache, whose key is the file name that the archive would
//! have had, in the scope `prefix/org/repo` or `path`.

use std::path::PathBuf;
use std::time::Duration;

use larder::compression;
use larder::ids::{Key, Scope};

use super::environment::Environment;
use super::order::{Bounds, Log, Order, Saved, Task};
use super::server::Server;
use super::setting::{Default, ROW, Setting, Value};
use super::settings::{Settings, check_unknown};
use super::values::{AGE, BOOLEAN, GO_DURATION, age, boolean, go_duration};
use super::{Given, InvalidSetting, System, clean, credentials, store};

/// What all variables of parameters begin with.
pub(super) const PREFIX: &str = "PARAMETER_";

/// A parameter's two files.
macro_rules! files {
    ($name:literal) => {
        &[concat!("parameters/s3-cache/", $name), concat!("secrets/s3-cache/", $name)]
    };
}

const ACTION: Setting = Setting {
    name: "action",
    variables: &["PARAMETER_ACTION", "S3_CACHE_ACTION"],
    files: files!("action"),
    default: Default::Required,
    takes: "restore, rebuild or flush",
    means: "what to do: `restore`, `rebuild` or `flush`",
    ..ROW
};
const LOG_LEVEL: Setting = Setting {
    name: "log_level",
    variables: &["PARAMETER_LOG_LEVEL", "S3_CACHE_LOG_LEVEL"],
    files: files!("log_level"),
    default: Default::Text("info"),
    takes: "trace, debug, info, warn, error, fatal or panic, or the first letter",
    means: "how much is told: `trace`, `debug`, `info`, `warn`; from `error` on only errors",
    ..ROW
};
const BUCKET: Setting = Setting {
    name: "bucket",
    variables: &["PARAMETER_BUCKET", "PARAMETER_ROOT", "S3_CACHE_BUCKET"],
    files: &[
        "parameters/s3-cache/bucket",
        "parameters/s3-cache/root",
        "secrets/s3-cache/bucket",
        "secrets/s3-cache/root",
    ],
    default: Default::Required,
    means: "the bucket (`root` before v0.4)",
    ..ROW
};
const PREFIX_SETTING: Setting = Setting {
    name: "prefix",
    variables: &["PARAMETER_PREFIX", "S3_CACHE_PREFIX"],
    files: files!("prefix"),
    default: Default::Text(""),
    means: "what the scope begins with",
    ..ROW
};
const PATH: Setting = Setting {
    name: "path",
    variables: &["PARAMETER_PATH", "S3_CACHE_PATH"],
    files: files!("path"),
    default: Default::Text(""),
    means: "the scope, instead of prefix, org and repo",
    ..ROW
};
const FILENAME: Setting = Setting {
    name: "filename",
    variables: &["PARAMETER_FILENAME", "S3_CACHE_FILENAME"],
    files: files!("filename"),
    default: Default::Text("archive.tgz"),
    takes: "a name that stays in the scope",
    means: "the key",
    ..ROW
};
const TIMEOUT: Setting = Setting {
    name: "timeout",
    variables: &["PARAMETER_TIMEOUT", "S3_CACHE_TIMEOUT"],
    files: files!("timeout"),
    default: Default::Text("10m"),
    takes: GO_DURATION,
    means: "how long all of it may take",
    ..ROW
};
const FLUSH_AGE: Setting = Setting {
    name: "age",
    variables: &["PARAMETER_AGE", "PARAMETER_FLUSH_AGE", "S3_CACHE_AGE"],
    files: files!("age"),
    default: Default::Text("336h"),
    takes: AGE,
    means: "flush: caches that were not used for this long go; also `14d`, or days",
    ..ROW
};
const COMPRESSION_LEVEL: Setting = Setting {
    name: "compression_level",
    variables: &[
        "PARAMETER_COMPRESSION_LEVEL",
        "S3_CACHE_COMPRESSION_LEVEL",
        "S3_COMPRESSION_LEVEL",
    ],
    files: files!("compression_level"),
    default: Default::Text("-1"),
    takes: "-1 for the default, or 0 (fast) to 9 (small)",
    means: "rebuild: gzip's levels, as zstd levels of about the same speed",
    ..ROW
};
const MOUNT: Setting = Setting {
    name: "mount",
    variables: &["PARAMETER_MOUNT", "S3_CACHE_MOUNT"],
    files: files!("mount"),
    default: Default::Unset("required for rebuild"),
    takes: "paths, separated by commas",
    means: "rebuild: files and directories, which must exist; restore: where it may write, by \
            default the workspace and the home directory",
    ..ROW
};
const PRESERVE_PATH: Setting = Setting {
    name: "preserve_path",
    variables: &["PARAMETER_PRESERVE_PATH", "S3_CACHE_PRESERVE_PATH", "S3_PRESERVE_PATH"],
    files: files!("preserve_path"),
    default: Default::Unset("`true`"),
    takes: BOOLEAN,
    means: "rebuild: `false` records each mount by its last name alone",
    ..ROW
};
const SERVER: Setting = Setting {
    name: "server",
    variables: &[
        "PARAMETER_SERVER",
        "CACHE_S3_SERVER",
        "S3_CACHE_SERVER",
        "PARAMETER_ENDPOINT",
        "S3_ENDPOINT",
    ],
    files: files!("server"),
    default: Default::Unset("Amazon S3"),
    takes: "a URL such as https://host or http://host:port",
    means: "the S3 server, with or without a scheme; Amazon's names also say the region",
    ..ROW
};
const ACCELERATED_ENDPOINT: Setting = Setting {
    name: "accelerated_endpoint",
    variables: &[
        "PARAMETER_ACCELERATED_ENDPOINT",
        "CACHE_S3_ACCELERATED_ENDPOINT",
        "S3_CACHE_ACCELERATED_ENDPOINT",
    ],
    files: files!("accelerated_endpoint"),
    default: Default::Unset("none"),
    takes: "s3-accelerate.amazonaws.com or s3-accelerate.dualstack.amazonaws.com",
    means: "go through Amazon's edge locations",
    ..ROW
};
const ACCESS_KEY: Setting = Setting {
    name: "access_key",
    variables: &[
        "PARAMETER_ACCESS_KEY",
        "S3_CACHE_ACCESS_KEY",
        "CACHE_S3_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
    ],
    files: files!("access_key"),
    default: Default::Unset("where AWS tools look"),
    is_secret: true,
    means: "the id of the access key",
    ..ROW
};
const SECRET_KEY: Setting = Setting {
    name: "secret_key",
    variables: &[
        "PARAMETER_SECRET_KEY",
        "S3_CACHE_SECRET_KEY",
        "CACHE_S3_SECRET_KEY",
        "AWS_SECRET_ACCESS_KEY",
    ],
    files: files!("secret_key"),
    default: Default::Unset("where AWS tools look"),
    is_secret: true,
    means: "its secret",
    ..ROW
};
const SESSION_TOKEN: Setting = Setting {
    name: "session_token",
    variables: &[
        "PARAMETER_SESSION_TOKEN",
        "S3_CACHE_SESSION_TOKEN",
        "CACHE_S3_SESSION_TOKEN",
        "AWS_SESSION_TOKEN",
    ],
    files: files!("session_token"),
    default: Default::Unset("none"),
    is_secret: true,
    means: "the token of temporary keys",
    ..ROW
};
const REGION: Setting = Setting {
    name: "region",
    variables: &["PARAMETER_REGION", "CACHE_S3_REGION", "S3_CACHE_REGION"],
    files: files!("region"),
    default: Default::Unset("the server's, or the bucket's"),
    means: "the bucket's region",
    ..ROW
};
const ORG: Setting = Setting {
    name: "org",
    variables: &["PARAMETER_ORG", "VELA_REPO_ORG"],
    files: files!("org"),
    default: Default::Unset("required without `path`"),
    means: "the repository's organisation; set by Vela",
    ..ROW
};
const REPO: Setting = Setting {
    name: "repo",
    variables: &["PARAMETER_REPO", "VELA_REPO_NAME"],
    files: files!("repo"),
    default: Default::Unset("required without `path`"),
    means: "the repository's name; set by Vela",
    ..ROW
};
const REPO_BRANCH: Setting = Setting {
    name: "repo_branch",
    variables: &["PARAMETER_REPO_BRANCH"],
    default: Default::Unset("none"),
    means: "taken, and without effect, as there",
    ..ROW
};
const BUILD_BRANCH: Setting = Setting {
    name: "build_branch",
    variables: &["PARAMETER_BUILD_BRANCH"],
    default: Default::Unset("none"),
    means: "taken, and without effect, as there",
    ..ROW
};

/// All settings.
const TABLE: &[&Setting] = &[
    &ACTION,
    &LOG_LEVEL,
    &BUCKET,
    &PREFIX_SETTING,
    &PATH,
    &FILENAME,
    &TIMEOUT,
    &FLUSH_AGE,
    &COMPRESSION_LEVEL,
    &MOUNT,
    &PRESERVE_PATH,
    &SERVER,
    &ACCELERATED_ENDPOINT,
    &ACCESS_KEY,
    &SECRET_KEY,
    &SESSION_TOKEN,
    &REGION,
    &ORG,
    &REPO,
    &REPO_BRANCH,
    &BUILD_BRANCH,
];

/// What a pipeline can ask for.
#[derive(Clone, Copy)]
enum Action {
    Restore,
    Rebuild,
    Flush,
}

/// What the settings ask for.
pub(super) fn read(environment: &Environment, given: Given) -> Result<Order, InvalidSetting> {
    let warnings = check_unknown(TABLE, PREFIX, environment)?;
    let settings = Settings::of(TABLE, environment);
    let task = task(&settings)?;
    let mut words = keys(&settings)?;
    let credentials = credentials(&words)?;
    if !given.store {
        words.extend(location(&settings)?);
    }
    Ok(Order {
        system: System::Vela,
        store: if given.store { None } else { Some(store(&words)?) },
        credentials,
        scope: given.scope.map_or_else(|| scope(&settings), Ok)?,
        timeout: settings.parse(&TIMEOUT, go_duration)?,
        log: settings.parse(&LOG_LEVEL, log_level)?.unwrap_or_default(),
        output: None,
        warnings,
        tasks: vec![task],
    })
}

fn task(settings: &Settings<'_>) -> Result<Task, InvalidSetting> {
    let action = settings.parse(&ACTION, |text| match text {
        "restore" => Some(Action::Restore),
        "rebuild" => Some(Action::Rebuild),
        "flush" => Some(Action::Flush),
        _ => None,
    })?;
    // All of them are read, so that a wrong value is told whatever is done.
    let key = key(settings)?;
    let age = settings.parse(&FLUSH_AGE, age)?.unwrap_or(Duration::ZERO);
    let level = settings.parse(&COMPRESSION_LEVEL, level)?.flatten();
    let preserve_path = settings.parse(&PRESERVE_PATH, boolean)?;
    let paths: Vec<PathBuf> = settings.list(&MOUNT)?.into_iter().map(PathBuf::from).collect();
    match action {
        Some(Action::Restore) => Ok(Task::Restore { key, bounds: bounds(&paths) }),
        Some(Action::Flush) => Ok(Task::Flush { age }),
        Some(Action::Rebuild) if paths.is_empty() => Err(MOUNT.missing()),
        Some(Action::Rebuild) => {
            let flatten = preserve_path == Some(false);
            Ok(Task::Save(Saved { key, paths, allow_missing: false, flatten, level }))
        }
        None => Err(ACTION.missing()),
    }
}

/// Where a restore may write: to the mounts that it names, whichever way they were
/// recorded, or to where pipelines without any had their caches.
fn bounds(mounts: &[PathBuf]) -> Bounds {
    let mut paths = mounts.to_vec();
    // A rebuild with `preserve_path: false` has recorded these.
    paths.extend(mounts.iter().filter_map(|mount| mount.file_name().map(PathBuf::from)));
    if paths.is_empty() {
        paths.extend([".", "~"].map(PathBuf::from));
    }
    Bounds { paths, follow: false }
}

/// Where the store is.
fn location(settings: &Settings<'_>) -> Result<Vec<(&'static str, Value)>, InvalidSetting> {
    let bucket = settings.required(&BUCKET)?;
    let mut words = vec![("bucket", bucket.clone())];
    words.extend(settings.value(&REGION)?.map(|region| ("region", region)));
    if let Some(value) = settings.value(&ACCELERATED_ENDPOINT)? {
        let server = Server::parse(&value.text);
        if !server.accelerate {
            return Err(ACCELERATED_ENDPOINT.invalid(&value));
        }
        server.add_to(&mut words, &value);
    }
    if let Some(value) = settings.value(&SERVER)? {
        let server = Server::parse(&value.text);
        if let Some(other) = server.bucket.as_ref().filter(|other| **other != bucket.text) {
            return Err(InvalidSetting::Contradiction(format!(
                "{} names the bucket {other:?}, and {} names {:?}",
                value.from, bucket.from, bucket.text
            )));
        }
        server.add_to(&mut words, &value);
    }
    Ok(words)
}

/// The access key, if one is given.
fn keys(settings: &Settings<'_>) -> Result<Vec<(&'static str, Value)>, InvalidSetting> {
    let access_key = settings.value(&ACCESS_KEY)?;
    let mut token = settings.value(&SESSION_TOKEN)?;
    // A token is part of its key: the runner's own does not go with another.
    let is_ambient =
        |value: &Option<Value>| value.as_ref().is_some_and(|value| value.from.starts_with("AWS_"));
    if is_ambient(&token) && !is_ambient(&access_key) {
        token = None;
    }
    let words = [
        ("access_key_id", access_key),
        ("secret_access_key", settings.value(&SECRET_KEY)?),
        ("session_token", token),
    ];
    Ok(words.into_iter().filter_map(|(word, value)| Some((word, value?))).collect())
}

fn scope(settings: &Settings<'_>) -> Result<Scope, InvalidSetting> {
    let value = match settings.given(&PATH)? {
        Some(path) => path,
        None => {
            let part = |setting: &'static Setting| {
                settings.value(setting)?.ok_or_else(|| setting.missing())
            };
            let prefix = settings.required(&PREFIX_SETTING)?;
            let (org, repo) = (part(&ORG)?, part(&REPO)?);
            let text = format!("{}/{}/{}", prefix.text, org.text, repo.text);
            Value { from: format!("{}, {}, {}", prefix.from, org.from, repo.from), text }
        }
    };
    let scope = inside(&value.text).ok_or_else(|| {
        let said = format!("{} is {:?}, which leaves the bucket", value.from, value.text);
        InvalidSetting::Contradiction(said)
    })?;
    scope.parse().map_err(|source| InvalidSetting::Name { from: value.from, source })
}

fn key(settings: &Settings<'_>) -> Result<Key, InvalidSetting> {
    let value = settings.required(&FILENAME)?;
    let key = inside(&value.text).ok_or_else(|| FILENAME.invalid(&value))?;
    key.parse().map_err(|source| InvalidSetting::Name { from: value.from, source })
}

/// A path by its names, if it stays below where it begins.
fn inside(text: &str) -> Option<String> {
    let path = clean(text);
    let path = path.trim_start_matches('/');
    let leaves = path.is_empty() || path == "." || path.split('/').any(|name| name == "..");
    (!leaves).then(|| path.to_owned())
}

/// The level of a log, by name or by letter.
fn log_level(text: &str) -> Option<Log> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "trace" => Some(Log::Trace),
        "d" | "debug" => Some(Log::Verbose),
        "i" | "info" => Some(Log::Normal),
        "w" | "warn" => Some(Log::Warnings),
        "e" | "error" | "f" | "fatal" | "p" | "panic" => Some(Log::Errors),
        _ => None,
    }
}

/// zstd's level for one of gzip's; `Some(None)` for the default.
///
/// By speed: zstd is faster than gzip at every ratio, so each level takes no
/// longer than the one it stands for, and makes smaller packs.
fn level(text: &str) -> Option<Option<i32>> {
    const LEVELS: [i32; 10] = [1, 1, 2, 3, 4, 5, 6, 7, 9, 12];
    match text.parse::<i32>().ok()? {
        -1 => Some(None),
        level => {
            let level = *LEVELS.get(usize::try_from(level).ok()?)?;
            debug_assert!(compression::LEVELS.contains(&level));
            Some(Some(level))
        }
    }
}

#[cfg(test)]
mod tests {
    use larder::store::{CredentialSource, S3Config, Secret};

    use super::super::testing::{check_page, environment, told};
    use super::*;

    /// The parameters of a step that rebuilds.
    const STEP: [(&str, &str); 5] = [
        ("PARAMETER_ACTION", "rebuild"),
        ("PARAMETER_BUCKET", "mybucket"),
        ("PARAMETER_MOUNT", ".gradle"),
        ("VELA_REPO_ORG", "octo"),
        ("VELA_REPO_NAME", "app"),
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

    fn config(variables: &[(&str, &str)]) -> S3Config {
        order(variables).store.unwrap()
    }

    #[track_caller]
    fn does(variables: &[(&str, &str)], expected: &str) {
        let tasks: Vec<String> = order(variables).tasks.iter().map(ToString::to_string).collect();
        assert_eq!(tasks.join("\n"), expected);
    }

    #[track_caller]
    fn fails(variables: &[(&str, &str)], expected: &str) {
        assert_eq!(told(&with(variables).unwrap_err()), expected);
    }

    /// What a setting gives under each of its names, and that earlier names win.
    #[track_caller]
    fn names<T: PartialEq + std::fmt::Debug>(
        names: &[&str],
        (first, second): (&str, &str),
        own: Option<&str>,
        get: impl Fn(Order) -> T,
    ) {
        let none: Vec<(&str, &str)> = own.map(|name| (name, "")).into_iter().collect();
        let given = |variables: &[(&str, &str)]| {
            let all: Vec<_> = none.iter().chain(variables).copied().collect();
            get(order(&all))
        };
        let expected = given(&[(names[0], first)]);
        assert_ne!(given(&[(names[0], second)]), expected, "{} does nothing", names[0]);
        for (rank, name) in names.iter().enumerate() {
            assert_eq!(given(&[(name, first)]), expected, "{name}");
            for later in &names[rank + 1..] {
                let both = given(&[(later, second), (name, first)]);
                assert_eq!(both, expected, "{later} wins over {name}");
            }
        }
    }

    #[test]
    fn action() {
        does(&[], "save archive.tgz: .gradle");
        does(&[("PARAMETER_ACTION", "restore")], "restore archive.tgz");
        does(&[("PARAMETER_ACTION", "flush")], "flush what was not used for 14days");
        let actions = ["PARAMETER_ACTION", "S3_CACHE_ACTION"];
        names(&actions, ("flush", "restore"), Some("PARAMETER_ACTION"), |order| order.tasks);
        fails(
            &[("PARAMETER_ACTION", "upload")],
            "\"upload\" is no value of PARAMETER_ACTION; it takes restore, rebuild or flush",
        );
        fails(
            &[("PARAMETER_ACTION", "")],
            "the setting action is missing; it is read from PARAMETER_ACTION, S3_CACHE_ACTION",
        );
    }

    #[test]
    fn log_levels() {
        let levels = [
            ("trace", Log::Trace),
            ("T", Log::Trace),
            ("Debug", Log::Verbose),
            ("d", Log::Verbose),
            ("INFO", Log::Normal),
            ("i", Log::Normal),
            ("warn", Log::Warnings),
            ("w", Log::Warnings),
            ("error", Log::Errors),
            ("e", Log::Errors),
            ("fatal", Log::Errors),
            ("f", Log::Errors),
            ("panic", Log::Errors),
            ("p", Log::Errors),
        ];
        for (text, log) in levels {
            assert_eq!(order(&[("PARAMETER_LOG_LEVEL", text)]).log, log, "{text}");
        }
        assert_eq!(order(&[]).log, Log::Normal);
        let variables = ["PARAMETER_LOG_LEVEL", "S3_CACHE_LOG_LEVEL"];
        names(&variables, ("trace", "warn"), None, |order| order.log);
        fails(
            &[("PARAMETER_LOG_LEVEL", "loud")],
            "\"loud\" is no value of PARAMETER_LOG_LEVEL; it takes trace, debug, info, warn, \
             error, fatal or panic, or the first letter",
        );
    }

    #[test]
    fn bucket() {
        assert_eq!(config(&[]).to_string(), "s3://mybucket/larder");
        let variables = ["PARAMETER_BUCKET", "PARAMETER_ROOT", "S3_CACHE_BUCKET"];
        names(&variables, ("one", "two"), Some("PARAMETER_BUCKET"), |order| order.store);
        fails(
            &[("PARAMETER_BUCKET", "")],
            "the setting bucket is missing; it is read from PARAMETER_BUCKET, PARAMETER_ROOT, \
             S3_CACHE_BUCKET",
        );
    }

    /// Without the slash after the repository, `repo-2` was flushed with `repo`:
    /// scopes are compared whole.
    #[test]
    fn scope() {
        let scope = |variables: &[(&str, &str)]| order(variables).scope.to_string();
        assert_eq!(scope(&[]), "octo/app");
        assert_eq!(scope(&[("PARAMETER_PREFIX", "/ci//x/")]), "ci/x/octo/app");
        assert_eq!(scope(&[("PARAMETER_PATH", "shared/./gradle")]), "shared/gradle");
        let both = [("PARAMETER_PATH", "shared"), ("PARAMETER_PREFIX", "ci")];
        assert_eq!(scope(&both), "shared");
        for (variables, other) in [
            (["PARAMETER_PREFIX", "S3_CACHE_PREFIX"], None),
            (["PARAMETER_PATH", "S3_CACHE_PATH"], None),
            (["PARAMETER_ORG", "VELA_REPO_ORG"], Some("VELA_REPO_ORG")),
            (["PARAMETER_REPO", "VELA_REPO_NAME"], Some("VELA_REPO_NAME")),
        ] {
            names(&variables, ("a", "b"), other, |order| order.scope);
        }
        fails(
            &[("PARAMETER_PATH", "../..")],
            "PARAMETER_PATH is \"../..\", which leaves the bucket; correct the setting, or leave it out",
        );
    }

    #[test]
    fn org_and_repo_are_needed_without_a_path() {
        fails(
            &[("VELA_REPO_ORG", "")],
            "the setting org is missing; it is read from PARAMETER_ORG, VELA_REPO_ORG",
        );
        fails(
            &[("VELA_REPO_NAME", "")],
            "the setting repo is missing; it is read from PARAMETER_REPO, VELA_REPO_NAME",
        );
        let path = [("VELA_REPO_ORG", ""), ("VELA_REPO_NAME", ""), ("PARAMETER_PATH", "shared")];
        assert_eq!(order(&path).scope.to_string(), "shared");
    }

    #[test]
    fn filename() {
        does(&[("PARAMETER_FILENAME", "./deps//gradle.tgz")], "save deps/gradle.tgz: .gradle");
        let variables = ["PARAMETER_FILENAME", "S3_CACHE_FILENAME"];
        names(&variables, ("a", "b"), None, |order| order.tasks);
        fails(
            &[("PARAMETER_FILENAME", "../other/archive.tgz")],
            "\"../other/archive.tgz\" is no value of PARAMETER_FILENAME; it takes a name that \
             stays in the scope",
        );
    }

    #[test]
    fn timeout() {
        assert_eq!(order(&[]).timeout, Some(Duration::from_secs(600)));
        let variables = ["PARAMETER_TIMEOUT", "S3_CACHE_TIMEOUT"];
        names(&variables, ("1h30m", "5s"), None, |order| order.timeout);
        for wrong in ["0", "0s", "soon", "10"] {
            fails(
                &[("PARAMETER_TIMEOUT", wrong)],
                &format!(
                    "{wrong:?} is no value of PARAMETER_TIMEOUT; it takes a duration above 0, \
                     such as 90s, 10m or 1h30m"
                ),
            );
        }
    }

    #[test]
    fn ages() {
        let flush = |age: &str| {
            order(&[("PARAMETER_ACTION", "flush"), ("PARAMETER_AGE", age)]).tasks.pop().unwrap()
        };
        let days = |days: u64| Task::Flush { age: Duration::from_secs(days * 86_400) };
        assert_eq!([flush("14"), flush("14d"), flush("336h")], [days(14), days(14), days(14)]);
        assert_eq!(flush("3"), days(3));
        let variables = ["PARAMETER_AGE", "PARAMETER_FLUSH_AGE", "S3_CACHE_AGE"];
        for (rank, name) in variables.iter().enumerate() {
            let given = [("PARAMETER_ACTION", "flush"), (*name, "3d")];
            assert_eq!(order(&given).tasks, [days(3)], "{name}");
            for later in &variables[rank + 1..] {
                let both = [("PARAMETER_ACTION", "flush"), (*later, "9d"), (*name, "3d")];
                assert_eq!(order(&both).tasks, [days(3)], "{later} wins over {name}");
            }
        }
        fails(
            &[("PARAMETER_AGE", "-1h")],
            "\"-1h\" is no value of PARAMETER_AGE; it takes days, such as 14 or 14d, or a \
             duration, such as 336h",
        );
    }

    #[test]
    fn compression_levels() {
        let level = |text: &str| match order(&[("PARAMETER_COMPRESSION_LEVEL", text)]).tasks.pop() {
            Some(Task::Save(Saved { level, .. })) => level,
            other => panic!("{other:?}"),
        };
        assert_eq!(level("-1"), None);
        let levels: Vec<i32> = (0..=9).map(|gzip| level(&gzip.to_string()).unwrap()).collect();
        assert!(levels.is_sorted() && levels[0] == 1, "{levels:?}");
        assert!(levels.iter().all(|level| compression::LEVELS.contains(level)), "{levels:?}");
        let variables =
            ["PARAMETER_COMPRESSION_LEVEL", "S3_CACHE_COMPRESSION_LEVEL", "S3_COMPRESSION_LEVEL"];
        names(&variables, ("9", "1"), None, |order| order.tasks);
        for wrong in ["-2", "10", "best", "1.5"] {
            fails(
                &[("PARAMETER_COMPRESSION_LEVEL", wrong)],
                &format!(
                    "{wrong:?} is no value of PARAMETER_COMPRESSION_LEVEL; it takes -1 for the \
                     default, or 0 (fast) to 9 (small)"
                ),
            );
        }
    }

    #[test]
    fn mounts() {
        does(&[("PARAMETER_MOUNT", ".gradle, build/x")], "save archive.tgz: .gradle, build/x");
        let variables = ["PARAMETER_MOUNT", "S3_CACHE_MOUNT"];
        names(&variables, ("a", "b"), Some("PARAMETER_MOUNT"), |order| order.tasks);
        for none in ["", ","] {
            fails(
                &[("PARAMETER_MOUNT", none)],
                "the setting mount is missing; it is read from PARAMETER_MOUNT, S3_CACHE_MOUNT",
            );
        }
        // A restore and a flush have none.
        for action in ["restore", "flush"] {
            order(&[("PARAMETER_ACTION", action), ("PARAMETER_MOUNT", "")]);
        }
    }

    #[test]
    fn preserve_path() {
        let archive = "save archive.tgz: .gradle";
        does(&[("PARAMETER_PRESERVE_PATH", "true")], archive);
        does(&[("PARAMETER_PRESERVE_PATH", "false")], "save archive.tgz: .gradle, by last names");
        let variables = ["PARAMETER_PRESERVE_PATH", "S3_CACHE_PRESERVE_PATH", "S3_PRESERVE_PATH"];
        names(&variables, ("false", "true"), None, |order| order.tasks);
        fails(
            &[("PARAMETER_PRESERVE_PATH", "maybe")],
            "\"maybe\" is no value of PARAMETER_PRESERVE_PATH; it takes true, false, 1, 0, yes or \
             no",
        );
    }

    /// A server needed a scheme, which its own examples do not have, and Amazon's
    /// region was never read from it.
    #[test]
    fn server() {
        let store = |server: &str| config(&[("PARAMETER_SERVER", server)]);
        let amazon = store("mybucket.s3-us-west-2.amazonaws.com");
        assert_eq!((amazon.endpoint_url, amazon.region.as_deref()), (None, Some("us-west-2")));
        for (text, url) in [
            ("http://minio:9000", "http://minio:9000"),
            ("https://s3.example.org/", "https://s3.example.org"),
            ("s3.example.org", "https://s3.example.org"),
        ] {
            let other = store(text);
            assert_eq!((other.endpoint_url.as_deref(), other.path_style), (Some(url), Some(true)));
        }
        let variables = [
            "PARAMETER_SERVER",
            "CACHE_S3_SERVER",
            "S3_CACHE_SERVER",
            "PARAMETER_ENDPOINT",
            "S3_ENDPOINT",
        ];
        names(&variables, ("http://a", "http://b"), None, |order| order.store);
        fails(
            &[("PARAMETER_SERVER", "other.s3-us-west-2.amazonaws.com")],
            "PARAMETER_SERVER names the bucket \"other\", and PARAMETER_BUCKET names \
             \"mybucket\"; correct the setting, or leave it out",
        );
        let secret = ("PARAMETER_SERVER", "https://KEY:hush@mybucket.s3-us-west-2.amazonaws.com");
        let error = told(&with(&[secret]).unwrap_err());
        assert!(error.contains("PARAMETER_SERVER") && !error.contains("hush"), "{error}");
        fails(
            &[("PARAMETER_SERVER", "ftp://host")],
            "PARAMETER_SERVER: \"ftp://host\" is no value of the parameter \"endpoint_url\"; \
             write it as https://host or http://host:port",
        );
    }

    #[test]
    fn accelerated_endpoint() {
        let variables = [
            "PARAMETER_ACCELERATED_ENDPOINT",
            "CACHE_S3_ACCELERATED_ENDPOINT",
            "S3_CACHE_ACCELERATED_ENDPOINT",
        ];
        let (plain, dual) =
            ("s3-accelerate.amazonaws.com", "https://s3-accelerate.dualstack.amazonaws.com");
        names(&variables, (plain, dual), None, |order| order.store);
        let fast = config(&[(variables[0], plain)]);
        assert_eq!((fast.accelerate, fast.dual_stack), (true, false));
        let dual = config(&[(variables[0], dual)]);
        assert_eq!((dual.accelerate, dual.dual_stack), (true, true));
        assert!(!config(&[]).accelerate);
        let secret = (variables[0], "https://KEY:hush@fast.example.org");
        let error = told(&with(&[secret]).unwrap_err());
        assert!(!error.contains("hush"), "{error}");
        fails(
            &[(variables[0], "fast.example.org")],
            "\"fast.example.org\" is no value of PARAMETER_ACCELERATED_ENDPOINT; it takes \
             s3-accelerate.amazonaws.com or s3-accelerate.dualstack.amazonaws.com",
        );
    }

    #[test]
    fn region() {
        let variables = ["PARAMETER_REGION", "CACHE_S3_REGION", "S3_CACHE_REGION"];
        names(&variables, ("eu-west-1", "eu-west-2"), None, |order| order.store);
        let given = ("PARAMETER_REGION", "eu-west-1");
        let server = ("PARAMETER_SERVER", "s3-us-west-2.amazonaws.com");
        assert_eq!(config(&[given, server]).region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn credentials() {
        assert_eq!(config(&[]).credentials, CredentialSource::Chain);
        let key = ("PARAMETER_ACCESS_KEY", "key");
        let secret = ("PARAMETER_SECRET_KEY", "secret");
        let of = |session_token: Option<&str>| CredentialSource::Keys {
            access_key_id: Secret::new("key"),
            secret_access_key: Secret::new("secret"),
            session_token: session_token.map(Secret::new),
        };
        assert_eq!(config(&[key, secret]).credentials, of(None));
        let with_names = |names_of: &[&str], rest: [(&str, &str); 2]| {
            let given = |variables: &[(&str, &str)]| {
                let all: Vec<_> = rest.iter().chain(variables).copied().collect();
                config(&all).credentials
            };
            for (rank, name) in names_of.iter().enumerate() {
                let expected = given(&[(name, "one")]);
                assert_ne!(given(&[(name, "two")]), expected, "{name} does nothing");
                for later in &names_of[rank + 1..] {
                    assert_eq!(given(&[(later, "two"), (name, "one")]), expected, "{later}");
                }
            }
        };
        let unset = ("PARAMETER_ORG", "");
        with_names(
            &[
                "PARAMETER_ACCESS_KEY",
                "S3_CACHE_ACCESS_KEY",
                "CACHE_S3_ACCESS_KEY",
                "AWS_ACCESS_KEY_ID",
            ],
            [secret, unset],
        );
        with_names(
            &[
                "PARAMETER_SECRET_KEY",
                "S3_CACHE_SECRET_KEY",
                "CACHE_S3_SECRET_KEY",
                "AWS_SECRET_ACCESS_KEY",
            ],
            [key, unset],
        );
        with_names(
            &["PARAMETER_SESSION_TOKEN", "S3_CACHE_SESSION_TOKEN", "CACHE_S3_SESSION_TOKEN"],
            [key, secret],
        );
        with_names(&["AWS_SESSION_TOKEN"], [("AWS_ACCESS_KEY_ID", "key"), secret]);
        // The runner's own token is not of this key.
        let ambient = config(&[key, secret, ("AWS_SESSION_TOKEN", "token")]);
        assert_eq!(ambient.credentials, of(None));
        let half = told(&with(&[("PARAMETER_SECRET_KEY", "hush")]).unwrap_err());
        assert!(half.starts_with("PARAMETER_SECRET_KEY is given"), "{half}");
        assert!(!half.contains("hush"), "{half}");
    }

    #[test]
    fn files() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let given: Vec<(&str, &str)> = vec![
            ("LARDER_PLUGIN_FILES", root.path().to_str().unwrap()),
            ("VELA_REPO_ORG", "octo"),
            ("VELA_REPO_NAME", "app"),
        ];
        let read_with = |more: &[(&str, &str)]| {
            let all: Vec<_> = given.iter().chain(more).copied().collect();
            read(&environment(&all), Given::default())
        };
        put("parameters/s3-cache/action", "rebuild\n");
        put("secrets/s3-cache/root", "rootbucket\n");
        put("parameters/s3-cache/mount", "a,b");
        put("secrets/s3-cache/access_key", "key\n");
        put("secrets/s3-cache/secret_key", "secret\n");
        assert_eq!(System::detect(&environment(&given)).unwrap(), System::Vela);
        let order = read_with(&[]).unwrap();
        assert_eq!(order.tasks[0].to_string(), "save archive.tgz: a, b");
        let store = order.store.unwrap();
        assert_eq!(store.bucket, "rootbucket");
        assert!(matches!(store.credentials, CredentialSource::Keys { .. }));
        // Parameters win over secrets, and variables over both.
        put("parameters/s3-cache/bucket", "parambucket");
        assert_eq!(read_with(&[]).unwrap().store.unwrap().bucket, "parambucket");
        let variable = read_with(&[("S3_CACHE_BUCKET", "variable")]).unwrap();
        assert_eq!(variable.store.unwrap().bucket, "variable");
        // A wrong value in a file is told with the file.
        put("parameters/s3-cache/timeout", "0");
        let error = read_with(&[]).unwrap_err().to_string();
        assert!(error.ends_with("parameters/s3-cache/timeout"), "{error}");
    }

    /// Every setting can come from files of its name.
    #[test]
    fn every_setting_has_its_files() {
        for setting in TABLE.iter().filter(|setting| !setting.name.ends_with("_branch")) {
            for kind in ["parameters", "secrets"] {
                let file = format!("{kind}/s3-cache/{}", setting.name);
                assert!(setting.files.contains(&file.as_str()), "{file}");
            }
        }
    }

    #[test]
    fn unknown_parameters_are_told() {
        fails(
            &[("PARAMETER_MOUNTS", "x")],
            "unknown setting PARAMETER_MOUNTS (it is \"x\"); did you mean PARAMETER_MOUNT?",
        );
        // Vela's own plugin knows them, and does nothing with them.
        order(&[("PARAMETER_REPO_BRANCH", "main"), ("PARAMETER_BUILD_BRANCH", "x")]);
    }

    #[test]
    fn every_row_is_documented() {
        check_page(include_str!("../../docs/migrating/vela.md"), TABLE);
    }
}
