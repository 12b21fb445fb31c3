//! Every message of the front ends, as people read it: one example of each way to
//! fail and of each warning, in `snapshots/`. docs/errors.md takes its examples
//! from there. The library has the same of its errors.
//!
//! The examples of an enum lead from one to the next by a `match` that names all
//! variants: one that is added does not compile until it has its place here.

use std::io;
use std::iter::successors;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, UNIX_EPOCH};

use larder::code::Code;
use larder::error::Error;
use larder::ids::Scope;
use larder::progress::Warning;
use larder::secrets::SigningKey;
use larder::store::InvalidLocation;
use larder::tier::InvalidTier;

use super::exit::{Failure, exit_of};
use super::progress::describe;
use super::{args, misread};
use crate::assets::{AssetsFailure, Sources, Step};
use crate::config::{Config, ConfigError};
use crate::git::NotUsable;
use crate::keys::{self, KeyError};
use crate::plugin::InvalidSetting;
use crate::serve::{InvalidKeys, ServeFailure};

fn render(failure: &Failure) -> String {
    let hint = failure.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    format!("error[{}]: {failure}\n{hint}exit code: {}\n", failure.code(), failure.exit() as u8)
}

fn render_all(failures: impl IntoIterator<Item = Failure>) -> String {
    failures.into_iter().map(|failure| render(&failure)).collect::<Vec<_>>().join("\n")
}

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(2)
}

/// What a template with a mistake gives.
fn misread_template() -> KeyError {
    let engine = keys::Engine::new(keys::Surroundings {
        directory: "/nowhere".into(),
        variables: [].into(),
        now: UNIX_EPOCH,
        os: "linux",
        arch: "x86_64",
        stop: Arc::new(AtomicBool::new(false)),
    });
    engine.render("npm-{{ hsah('package-lock.json') }}").expect_err("there is no hsah()")
}

/// What a configuration file with a mistake gives.
fn misread_config() -> ConfigError {
    let place = tempfile::tempdir().expect("there is room for a file");
    let text = "[cache.npm]\nkye = \"npm-{{ os }}\"\npaths = [\"node_modules\"]\n";
    std::fs::write(place.path().join("larder.toml"), text).expect("it can be written");
    let read = Config::read(Path::new("larder.toml"), place.path(), None);
    read.expect_err("there is no setting kye")
}

fn next_config(error: &ConfigError) -> Option<ConfigError> {
    Some(match error {
        ConfigError::Unreadable { .. } => misread_config(),
        ConfigError::Mistake(_) => ConfigError::NoSuchCache {
            name: "nmp".into(),
            path: "larder.toml".into(),
            known: vec!["npm".into(), "pip".into()],
        },
        ConfigError::NoSuchCache { .. } => ConfigError::NoCaches("larder.toml".into()),
        ConfigError::NoCaches(_) => ConfigError::SamePlace {
            first: "npm".into(),
            second: "tools".into(),
            path: "node_modules".into(),
        },
        ConfigError::SamePlace { .. } => ConfigError::EmptyPath {
            path: "larder.toml".into(),
            line: 6,
            template: "{{ env(\"GOCACHE\", default=\"\") }}".into(),
        },
        ConfigError::EmptyPath { .. } => ConfigError::SameKey {
            first: "npm".into(),
            second: "tools".into(),
            key: "npm-linux-5f3e".parse().expect("it is a key"),
        },
        ConfigError::SameKey { .. } => return None,
    })
}

/// What follows a failure in the list of all.
fn next(failure: &Failure) -> Option<Failure> {
    Some(match failure {
        Failure::Larder(_) => InvalidLocation::Empty.into(),
        Failure::Location(_) => InvalidTier::Size("20XB".into()).into(),
        Failure::LocalCache(_) => Failure::Exclude {
            value: "[z-a]".into(),
            why: "error parsing glob '[z-a]': invalid range; 'z' > 'a'".into(),
        },
        Failure::Exclude { .. } => Failure::Secret {
            place: "LARDER_SIGNING_KEY".into(),
            why: "hunter2".parse::<SigningKey>().expect_err("it is no key"),
        },
        Failure::Secret { .. } => Failure::NoSecret { place: "ci.key".into() },
        Failure::NoSecret { .. } => Failure::SeveralSigningKeys,
        Failure::SeveralSigningKeys => {
            Failure::SecretFile { path: "ci.key".into(), error: io_error() }
        }
        Failure::SecretFile { .. } => Failure::NoKey,
        Failure::NoKey => Failure::NoPaths,
        Failure::NoPaths => Failure::KeyAndCaches,
        Failure::KeyAndCaches => ConfigError::NoCaches("larder.toml".into()).into(),
        Failure::Config(_) => Failure::ConfigExists("larder.toml".into()),
        Failure::ConfigExists(_) => Failure::InConfig {
            path: "larder.toml".into(),
            line: 2,
            setting: "key",
            error: Box::new(misread_template()),
        },
        Failure::InConfig { .. } => Failure::NoMount("node_modules".into()).of_cache("npm"),
        Failure::OfCache { .. } => InvalidSetting::NoSystem.into(),
        Failure::Setting(_) => Failure::Assets(AssetsFailure::NoPlain),
        Failure::Assets(_) => misread_template().into(),
        Failure::Template(_) => ServeFailure::NoKeys("http://0.0.0.0:9440".into()).into(),
        Failure::Serve(_) => Failure::NoMount("node_modules".into()),
        Failure::NoMount(_) => Failure::SameName {
            first: "/work/app/target".into(),
            second: "/work/lib/target".into(),
            name: "target".into(),
        },
        Failure::SameName { .. } => Failure::ShortGrace {
            grace: Duration::from_secs(3600),
            longest_save: Duration::from_secs(6 * 3600),
        },
        Failure::ShortGrace { .. } => Failure::TimedOut(Duration::from_secs(600)),
        Failure::TimedOut(_) => Failure::NoCacheDirectory,
        Failure::NoCacheDirectory => Failure::NoWorkingDirectory(io_error()),
        Failure::NoWorkingDirectory(_) => return None,
    })
}

fn next_serve(failure: &ServeFailure) -> Option<ServeFailure> {
    Some(match failure {
        ServeFailure::NoKeys(_) => {
            ServeFailure::Keys { place: "keys.toml".into(), why: InvalidKeys::Twice("ci".into()) }
        }
        ServeFailure::Keys { .. } => {
            ServeFailure::KeyFile { path: "keys.toml".into(), error: io_error() }
        }
        ServeFailure::KeyFile { .. } => ServeFailure::HalfKey {
            given: "LARDER_SERVE_ACCESS_KEY",
            missing: "LARDER_SERVE_SECRET_KEY",
        },
        ServeFailure::HalfKey { .. } => {
            ServeFailure::Listen { address: "http://127.0.0.1:9440".into(), error: io_error() }
        }
        ServeFailure::Listen { .. } => ServeFailure::NoThread(io_error()),
        ServeFailure::NoThread(_) => return None,
    })
}

fn next_setting(error: &InvalidSetting) -> Option<InvalidSetting> {
    use InvalidSetting::*;
    Some(match error {
        NoSystem => System("jenkins".into()),
        System(_) => SeveralSystems(vec!["drone", "vela"]),
        SeveralSystems(_) => ForeignStep { step: "check", system: "drone" },
        ForeignStep { .. } => NoStep,
        NoStep => Missing { name: "bucket", from: "PLUGIN_BUCKET".into() },
        Missing { .. } => Unknown {
            variable: "PLUGIN_BUKCET".into(),
            value: "\"ci-cache\"".into(),
            known: vec!["PLUGIN_BUCKET", "PLUGIN_REGION"],
        },
        Unknown { .. } => Value {
            from: "PLUGIN_REBUILD".into(),
            value: "\"sure\"".into(),
            takes: "true or false",
        },
        Value { .. } => NoText("PLUGIN_MOUNT".into()),
        NoText(_) => Store {
            from: "PLUGIN_ENDPOINT".into(),
            source: InvalidLocation::value("endpoint_url", "ftp://host"),
        },
        Store { .. } => Name {
            from: "DRONE_REPO".into(),
            source: "".parse::<Scope>().expect_err("it is empty"),
        },
        Name { .. } => {
            Contradiction("PLUGIN_ACCESS_KEY is given, and no secret_access_key to it".into())
        }
        Contradiction(_) => {
            File { path: "/vela/parameters/s3-cache/root".into(), error: io_error() }
        }
        File { .. } => return None,
    })
}

fn next_assets(failure: &AssetsFailure) -> Option<AssetsFailure> {
    use AssetsFailure::*;
    Some(match failure {
        NoBucket(Step::Check) => NoBucket(Step::Upload),
        NoBucket(Step::Upload) => NoRepository("./repo".into()),
        NoRepository(_) => {
            NoPackageDirectory { step: Step::Check, path: "./packages".into(), error: io_error() }
        }
        NoPackageDirectory { step: Step::Check, path, .. } => {
            NoPackageDirectory { step: Step::Upload, path: path.clone(), error: io_error() }
        }
        NoPackageDirectory { step: Step::Upload, .. } => {
            Repository { path: "./repo".into(), why: NotUsable::NoRepository }
        }
        Repository { path, why } => match next_not_usable(why) {
            Some(why) => Repository { path: path.clone(), why },
            None => NoPackages("./packages".into()),
        },
        NoPackages(_) => NoCommitHash("./packages/.commit-hash".into()),
        NoCommitHash(_) => {
            let sources = Sources::new(&["../lambdas/**".to_owned()]);
            sources.expect_err("it leaves the repository").into()
        }
        Glob(_) => NoPlain,
        NoPlain => NoPrefix,
        NoPrefix => PlainName("lambda\u{1}.zip".escape_debug().to_string()),
        PlainName(_) => Error::Interrupted.into(),
        Larder(_) => return None,
    })
}

fn next_not_usable(why: &NotUsable) -> Option<NotUsable> {
    Some(match why {
        NotUsable::NoRepository => NotUsable::Bare,
        NotUsable::Bare => NotUsable::NoCommit("refs/heads/main".into()),
        NotUsable::NoCommit(_) => NotUsable::Format("reftable".into()),
        NotUsable::Format(_) => {
            NotUsable::Unreadable { path: "./repo/.git/HEAD".into(), error: io_error() }
        }
        NotUsable::Unreadable { .. } => return None,
    })
}

fn next_warning(warning: &Warning) -> Option<Warning> {
    use Warning::*;
    let error = "cannot read node_modules/a.js: Permission denied (os error 13)".to_owned();
    let path = Path::new("node_modules/a.js").to_owned();
    Some(match warning {
        SkippedSpecial { .. } => SkippedUnreadable { error },
        SkippedUnreadable { .. } => Vanished { path },
        Vanished { .. } => NothingThere { path: "node_modules".into() },
        NothingThere { .. } => LinkAsMount { path: "node_modules".into() },
        LinkAsMount { .. } => OutOfBounds { path: "~/.bashrc".into(), more: 0 },
        OutOfBounds { more: 0, .. } => OutOfBounds { path: "~/.bashrc".into(), more: 20 },
        OutOfBounds { .. } => OtherRestore { path: "node_modules".into() },
        OtherRestore { .. } => WithoutPrivileges { bits: 3, attributes: 0 },
        WithoutPrivileges { attributes: 0, .. } => WithoutPrivileges { bits: 1, attributes: 2 },
        WithoutPrivileges { .. } => Distrusted {
            error: "the manifest manifests/default/npm is not to be trusted: it is not signed"
                .into(),
        },
        Distrusted { .. } => IgnoredDamage {
            error: "the object index/01KA4W6T9QXK7Z3N5B8M2C4D6F is damaged: it is truncated".into(),
        },
        IgnoredDamage { .. } => NotKept {
            error: "cannot write ~/chunks/0a: No space left on device (os error 28)".into(),
        },
        NotKept { .. } => WithoutEffect { word: "blobs_prefix" },
        WithoutEffect { .. } => NoConditionalWrites,
        NoConditionalWrites => NotRefreshed {
            error: "put manifests/default/npm: permission denied: AccessDenied (HTTP 403)".into(),
        },
        NotRefreshed { .. } => Broken { object: "manifests/default/npm".into() },
        Broken { .. } => NotDeleted {
            error: "delete packs/01/01KA4W6T9QXK7Z3N5B8M2C4D6F: the server did not answer in time"
                .into(),
        },
        NotDeleted { .. } => NotTold {
            error: "put index/deltas/0000000000/s3%3Aci/01KA4W6T9QXK7Z3N5B8M2C4D6F: the server \
                    did not answer in time"
                .into(),
        },
        NotTold { .. } => NoRecord {
            error: "cannot write ~/.cache/larder/records/0a: No space left on device (os error 28)"
                .into(),
        },
        NoRecord { .. } => return None,
    })
}

/// Command lines that cannot be read, one of each kind.
const MISREAD: [&str; 8] = [
    "larder svae",
    "larder save --kye npm-linux node_modules",
    "larder save --key npm-linux --compression-level 99 node_modules",
    "larder flush --age soon",
    "larder diff npm-linux",
    "larder save --key npm-linux --ttl 3d --pin node_modules",
    "larder list --scope=",
    "larder list \u{1}",
];

/// The arguments of a line; U+0001 stands for bytes that are no text.
fn arguments(line: &str) -> Vec<std::ffi::OsString> {
    use std::os::unix::ffi::OsStringExt as _;
    let words = line.split(' ').map(|word| word.bytes());
    let bytes = words.map(|word| word.map(|byte| if byte == 1 { 0xff } else { byte }).collect());
    bytes.map(std::ffi::OsString::from_vec).collect()
}

#[test]
fn command_lines() {
    let texts = MISREAD.map(|line| {
        let error = args::parse(&arguments(line)).expect_err("the line has a mistake");
        let code = misread::code(&error).expect("mistakes have codes");
        let text = misread::with_code(&error.render().to_string(), code);
        format!("{}\nexit code: {}\n", text.trim_end(), exit_of(code) as u8)
    });
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn commands() {
    insta::assert_snapshot!(render_all(successors(Some(Error::Interrupted.into()), next)));
}

#[test]
fn configuration_files() {
    let first = ConfigError::Unreadable { path: "larder.tml".into(), error: io_error() };
    insta::assert_snapshot!(render_all(successors(Some(first), next_config).map(Failure::from)));
}

#[test]
fn settings() {
    let errors = successors(Some(InvalidSetting::NoSystem), next_setting);
    insta::assert_snapshot!(render_all(errors.map(Failure::from)));
}

#[test]
fn servers() {
    let first = ServeFailure::NoKeys("http://0.0.0.0:9440".into());
    insta::assert_snapshot!(render_all(successors(Some(first), next_serve).map(Failure::from)));
}

#[test]
fn steps_of_the_asset_manager() {
    let failures = successors(Some(AssetsFailure::NoBucket(Step::Check)), next_assets);
    insta::assert_snapshot!(render_all(failures.map(Failure::from)));
}

#[test]
fn warnings() {
    let first = Warning::SkippedSpecial { path: "run/agent.sock".into(), what: "socket" };
    let texts = successors(Some(first), next_warning);
    let texts = texts.map(|warning| format!("warning: {}\n", describe(&warning)));
    insta::assert_snapshot!(texts.collect::<String>());
}

/// The codes that the page has, with the exit codes that it says of each.
fn documented() -> Vec<(String, Vec<u8>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let sections = page.split("\n### ").skip(1).map(|section| {
        let code = section.split(':').next().unwrap_or_default().to_owned();
        let line = section.lines().find_map(|line| line.strip_prefix("Exit code: "));
        let line = line.unwrap_or_else(|| panic!("{code} has no exit code"));
        let words = line.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
        (code, words.map(|word| word.parse().expect("an exit code")).collect())
    });
    sections.collect()
}

#[test]
fn the_page_of_errors_has_the_exit_codes() {
    let failures = successors(Some(AssetsFailure::NoBucket(Step::Check)), next_assets);
    let of_steps: Vec<(Code, u8)> =
        failures.map(Failure::from).map(|failure| (failure.code(), failure.exit() as u8)).collect();
    let documented = documented();
    for code in Code::ALL {
        let mut exits: Vec<u8> =
            of_steps.iter().filter(|(of, _)| of == code).map(|(_, exit)| *exit).collect();
        exits.dedup();
        if exits.is_empty() {
            exits.push(exit_of(*code) as u8);
        }
        let said = documented.iter().find(|(of, _)| *of == code.to_string());
        assert_eq!(said.map(|(_, said)| said), Some(&exits), "{code}");
    }
}
