//! Every message of the library, as people read it: one example of each way to
//! fail, in `snapshots/`. docs/errors.md takes its examples from there.
//!
//! The examples of an enum lead from one to the next by a `match` that names all
//! variants: one that is added does not compile until it has its place here.

use std::io;
use std::iter::successors;
use std::time::Duration;

use super::Error;
use crate::code::Code;
use crate::files::FileError;
use crate::format::{FormatError, Layout, LayoutError, MarkerError};
use crate::ids::{ChunkId, Key, Scope};
use crate::object_key::ObjectKey;
use crate::secrets::{Distrust, KeyId, PublicKey};
use crate::store::{
    InvalidLocation, Operation, RemoteError, RemoteErrorKind, StoreError, StoreErrorKind,
};
use crate::tier::InvalidTier;

/// What a terminal shows of it.
fn render(code: Code, error: &impl std::fmt::Display, hint: Option<&str>) -> String {
    let hint = hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    format!("error[{code}]: {error}\n{hint}")
}

fn render_all(errors: impl IntoIterator<Item = Error>) -> String {
    let texts =
        errors.into_iter().map(|error| render(error.code(), &error, error.hint().as_deref()));
    texts.collect::<Vec<_>>().join("\n")
}

fn os_error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

const EACCES: i32 = 13;
const EAGAIN: i32 = 11;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const ENOENT: i32 = 2;
const ENOTEMPTY: i32 = 39;

fn pack() -> ObjectKey {
    ObjectKey::new("packs/01/01KA4W6T9QXK7Z3N5B8M2C4D6F").expect("the key is sound")
}

fn manifest() -> ObjectKey {
    ObjectKey::new("manifests/org%2Frepo/npm-linux-5f3e").expect("the key is sound")
}

fn too_long() -> LayoutError {
    let scope: Scope = "%".repeat(512).parse().expect("the scope is sound");
    let key: Key = "npm".parse().expect("the key is sound");
    Layout::manifest(&scope, &key).expect_err("they are too long together")
}

fn denied() -> FileError {
    FileError::new("read", "node_modules/.cache/token", os_error(EACCES))
}

fn files() -> Vec<Error> {
    let failures = [
        denied(),
        FileError::new("write", "node_modules/a.js", os_error(ENOSPC)),
        FileError::new("create", "/proc/nowhere", os_error(ENOENT)),
    ];
    failures.into_iter().map(Error::from).collect()
}

/// What follows an error in the list of all.
fn next(error: &Error) -> Option<Error> {
    Some(match error {
        Error::Store(_) => Error::Marker {
            location: "/srv/larder".into(),
            source: MarkerError::OtherVersion { found: 2 },
        },
        Error::Marker { .. } => Error::NotAStore {
            location: "s3://ci-cache/builds".into(),
            example: ObjectKey::new("reports/index.html").expect("the key is sound"),
        },
        Error::NotAStore { .. } => {
            Error::Damaged { object: manifest(), source: FormatError::Checksum }
        }
        Error::Damaged { .. } => Error::Distrusted { object: manifest(), why: Distrust::NotSigned },
        Error::Distrusted { .. } => Error::Missing { object: pack(), needed_by: manifest() },
        Error::Missing { .. } => Error::DamagedChunk {
            chunk: ChunkId::of(b"a chunk"),
            object: pack(),
            why: "its contents have another hash",
        },
        Error::DamagedChunk { .. } => too_long().into(),
        Error::Name(_) => denied().into(),
        Error::File(_) => Error::NothingThere(vec!["node_modules".into(), "target".into()]),
        Error::NothingThere(_) => Error::Unreadable(vec![denied()]),
        Error::Unreadable(_) => Error::NotInCache {
            key: "npm-linux-5f3e".into(),
            paths: vec!["vendor".into()],
            mounts: vec!["node_modules".into(), "~/.npm".into()],
        },
        Error::NotInCache { .. } => Error::InTheWay {
            path: "node_modules".into(),
            why: "it is a symbolic link; larder restores through links only for paths that are \
                  named on the command line or in larder.toml",
        },
        Error::InTheWay { .. } => Error::OneName {
            first: "node_modules/README".into(),
            second: "node_modules/readme".into(),
        },
        Error::OneName { .. } => {
            Error::Disturbed { path: "node_modules".into(), source: os_error(ENOTEMPTY) }
        }
        Error::Disturbed { .. } => {
            Error::NoRoom { path: "/work/app".into(), needed: 1 << 50, free: 20_000_000_000 }
        }
        Error::NoRoom { .. } => Error::FlushOvertaken,
        Error::FlushOvertaken => Error::NotFenced,
        Error::NotFenced => Error::SaveOvertaken(5),
        Error::SaveOvertaken(_) => Error::NoThread(os_error(EAGAIN)),
        Error::NoThread(_) => Error::Interrupted,
        Error::Interrupted => return None,
    })
}

fn next_marker(error: &MarkerError) -> Option<MarkerError> {
    Some(match error {
        MarkerError::Unreadable(_) => MarkerError::OtherVersion { found: 2 },
        MarkerError::OtherVersion { .. } => {
            MarkerError::OtherChunking { found: "{…}".into(), ours: "{…}".into() }
        }
        MarkerError::OtherChunking { .. } => return None,
    })
}

fn next_distrust(why: &Distrust) -> Option<Distrust> {
    Some(match why {
        Distrust::NotSigned => Distrust::Signer(PublicKey::from_bytes([9; 32])),
        Distrust::Signer(_) => Distrust::Signature,
        Distrust::Signature => Distrust::NotEncrypted,
        Distrust::NotEncrypted => Distrust::NoKey(KeyId::from_bytes([9; 8])),
        Distrust::NoKey(_) => Distrust::Forged,
        Distrust::Forged => return None,
    })
}

fn next_format(error: &FormatError) -> Option<FormatError> {
    Some(match error {
        FormatError::Truncated => FormatError::WrongKind("manifest"),
        FormatError::WrongKind(_) => FormatError::NewerVersion { found: 2, known: 1 },
        FormatError::NewerVersion { .. } => FormatError::Checksum,
        FormatError::Checksum => FormatError::TooLong { claimed: 1 << 40, allowed: 1 << 30 },
        FormatError::TooLong { .. } => FormatError::Compression,
        FormatError::Compression => FormatError::Encoding("missing field `stream`".into()),
        FormatError::Encoding(_) => FormatError::Inconsistent("an entry lies in no directory"),
        FormatError::Inconsistent(_) => return None,
    })
}

fn next_kind(kind: &StoreErrorKind) -> Option<StoreErrorKind> {
    Some(match kind {
        StoreErrorKind::NotFound => StoreErrorKind::AlreadyExists,
        StoreErrorKind::AlreadyExists => StoreErrorKind::VersionMismatch,
        StoreErrorKind::VersionMismatch => StoreErrorKind::TooLong { len: 70_000, max_len: 65_536 },
        StoreErrorKind::TooLong { .. } => {
            StoreErrorKind::RangeOutside { start: 0, end: 32, len: 7 }
        }
        StoreErrorKind::RangeOutside { .. } => StoreErrorKind::Denied(os_error(EACCES)),
        StoreErrorKind::Denied(_) => StoreErrorKind::NoSpace(os_error(ENOSPC)),
        StoreErrorKind::NoSpace(_) => InvalidLocation::Empty.into(),
        StoreErrorKind::Location(_) => StoreErrorKind::Remote(remote(RemoteErrorKind::Throttled)),
        StoreErrorKind::Remote(_) => StoreErrorKind::File(denied()),
        StoreErrorKind::File(_) => StoreErrorKind::Io(os_error(EIO)),
        StoreErrorKind::Io(_) => return None,
    })
}

/// A failure as services tell it.
fn remote(kind: RemoteErrorKind) -> RemoteError {
    let detail = match kind {
        RemoteErrorKind::NoBucket => "NoSuchBucket: The specified bucket does not exist (HTTP 404)",
        RemoteErrorKind::Denied => "AccessDenied: Access Denied (HTTP 403)",
        RemoteErrorKind::NoCredentials => "no credentials were found",
        RemoteErrorKind::RoleRefused => {
            "arn:aws:iam::123456789012:role/ci: AccessDenied: User is not authorized to perform: \
             sts:AssumeRole"
        }
        RemoteErrorKind::BadCredentials => {
            "InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our \
             records. (HTTP 403)"
        }
        RemoteErrorKind::Expired => "ExpiredToken: The provided token has expired. (HTTP 400)",
        RemoteErrorKind::ClockSkew => {
            "RequestTimeTooSkewed: The difference between the request time and the current time \
             is too large. (HTTP 403)"
        }
        RemoteErrorKind::WrongRegion => {
            let region = "eu-west-1";
            let detail = format!("the bucket is in the region {region}");
            return RemoteError::in_region(detail, Some(region));
        }
        RemoteErrorKind::Throttled => "SlowDown: Please reduce your request rate. (HTTP 503)",
        RemoteErrorKind::TimedOut => "the server did not answer in time",
        RemoteErrorKind::Network => "Connection refused (os error 111)",
        RemoteErrorKind::NotS3 => "the endpoint answers with a web page (HTTP 200)",
        RemoteErrorKind::Unsupported => {
            "NotImplemented: A header you provided implies functionality that is not \
             implemented. (HTTP 501)"
        }
        RemoteErrorKind::Other => "InvalidRequest: Missing required header (HTTP 400)",
    };
    RemoteError::new(kind, detail)
}

fn next_remote(kind: RemoteErrorKind) -> Option<RemoteErrorKind> {
    Some(match kind {
        RemoteErrorKind::NoBucket => RemoteErrorKind::Denied,
        RemoteErrorKind::Denied => RemoteErrorKind::NoCredentials,
        RemoteErrorKind::NoCredentials => RemoteErrorKind::RoleRefused,
        RemoteErrorKind::RoleRefused => RemoteErrorKind::BadCredentials,
        RemoteErrorKind::BadCredentials => RemoteErrorKind::Expired,
        RemoteErrorKind::Expired => RemoteErrorKind::ClockSkew,
        RemoteErrorKind::ClockSkew => RemoteErrorKind::WrongRegion,
        RemoteErrorKind::WrongRegion => RemoteErrorKind::Throttled,
        RemoteErrorKind::Throttled => RemoteErrorKind::TimedOut,
        RemoteErrorKind::TimedOut => RemoteErrorKind::Network,
        RemoteErrorKind::Network => RemoteErrorKind::NotS3,
        RemoteErrorKind::NotS3 => RemoteErrorKind::Unsupported,
        RemoteErrorKind::Unsupported => RemoteErrorKind::Other,
        RemoteErrorKind::Other => return None,
    })
}

fn next_location(error: &InvalidLocation) -> Option<InvalidLocation> {
    use InvalidLocation::*;
    Some(match error {
        Empty => NoBucket,
        NoBucket => Word("bukcet".into()),
        Word(_) => Twice("region"),
        Twice(_) => Field("eu-west-1".into()),
        Field(_) => HalfOfKeys("secret_access_key"),
        HalfOfKeys(_) => Scheme("ftp".into()),
        Scheme(_) => Type("gcs".into()),
        Type(_) => Host("srv".into()),
        Host(_) => Parameter("synch".into()),
        Parameter(_) => InvalidLocation::value("touch_refresh", "soon"),
        Value { .. } => Encoding("/srv/100%".into()),
        Encoding(_) => Home("~deploy/larder".into()),
        Home(_) => return None,
    })
}

fn next_tier(error: &InvalidTier) -> Option<InvalidTier> {
    Some(match error {
        InvalidTier::NoDirectory(_) => InvalidTier::Size("20XB".into()),
        InvalidTier::Size(_) => InvalidTier::Zero("0GB".into()),
        InvalidTier::Zero(_) => InvalidTier::Home("~deploy/chunks".into()),
        InvalidTier::Home(_) => return None,
    })
}

fn of_store(kind: StoreErrorKind) -> Error {
    let operation = match kind {
        StoreErrorKind::AlreadyExists
        | StoreErrorKind::VersionMismatch
        | StoreErrorKind::NoSpace(_)
        | StoreErrorKind::File(_) => Operation::Put,
        _ => Operation::Get,
    };
    StoreError::new(operation, pack(), kind).into()
}

#[test]
fn commands() {
    let first = of_store(StoreErrorKind::NotFound);
    insta::assert_snapshot!(render_all(successors(Some(first), next)));
}

#[test]
fn files_of_this_machine() {
    insta::assert_snapshot!(render_all(files()));
}

#[test]
fn stores() {
    let kinds = successors(Some(StoreErrorKind::NotFound), next_kind);
    insta::assert_snapshot!(render_all(kinds.map(of_store)));
}

#[test]
fn services() {
    let kinds = successors(Some(RemoteErrorKind::NoBucket), |kind| next_remote(*kind));
    let failures = kinds.map(remote).chain([
        RemoteError::in_region("the bucket is in another region", None),
        RemoteError::new(RemoteErrorKind::Network, "invalid peer certificate: UnknownIssuer"),
    ]);
    let errors = failures.map(|failure| {
        let may_pass = matches!(failure.code(), Code::Throttled | Code::NoAnswer | Code::Network);
        let kind = StoreErrorKind::Remote(failure);
        let mut error = StoreError::new(Operation::Put, manifest(), kind);
        if may_pass {
            (error.attempts, error.elapsed) = (4, Duration::from_millis(6_300));
        }
        error.into()
    });
    insta::assert_snapshot!(render_all(errors));
}

#[test]
fn contents_of_stores() {
    let markers = successors(Some(MarkerError::Unreadable("EOF at line 1".into())), next_marker);
    let markers =
        markers.map(|source| Error::Marker { location: "s3://ci-cache/larder".into(), source });
    let formats = successors(Some(FormatError::Truncated), next_format);
    let formats = formats.map(|source| Error::Damaged { object: manifest(), source });
    let state = Error::Damaged { object: Layout::gc_state(), source: FormatError::Checksum };
    let distrust = successors(Some(Distrust::NotSigned), next_distrust);
    let distrust = distrust.map(|why| Error::Distrusted { object: manifest(), why });
    let all = markers.chain(formats).chain([state]).chain(distrust);
    insta::assert_snapshot!(render_all(all));
}

#[test]
fn locations() {
    let errors = successors(Some(InvalidLocation::Empty), next_location);
    let texts = errors.map(|error| render(error.code(), &error, error.hint().as_deref()));
    insta::assert_snapshot!(texts.collect::<Vec<_>>().join("\n"));
}

#[test]
fn local_caches() {
    let errors = successors(Some(InvalidTier::NoDirectory(":5GB".into())), next_tier);
    let texts = errors.map(|error| render(error.code(), &error, Some(error.hint())));
    insta::assert_snapshot!(texts.collect::<Vec<_>>().join("\n"));
}
