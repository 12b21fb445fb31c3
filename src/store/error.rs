//! What goes wrong in a store, and what a person can do about it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

use super::InvalidLocation;
use crate::code::Code;
use crate::files::FileError;
use crate::harmless;

/// The kinds of request a store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Open the store itself.
    Open,
    /// Get an object or a range of it.
    Get,
    /// Put an object.
    Put,
    /// Ask for what is known of an object.
    Head,
    /// List keys.
    List,
    /// Delete objects.
    Delete,
    /// Ask for the store's time.
    Now,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Get => "get",
            Self::Put => "put",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Now => "tell the time of",
        })
    }
}

/// A request that failed: which one, on what, after how much trying, and why.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {kind}{}", tried(*attempts, *elapsed))]
pub struct StoreError {
    /// What was asked for.
    pub operation: Operation,
    /// The object's key, or the prefix of a listing, or the store's location.
    pub object: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How long that took in all.
    pub elapsed: Duration,
    /// Why it failed.
    #[source]
    pub kind: StoreErrorKind,
}

/// How much trying a failure took, where that was more than one try.
fn tried(attempts: u32, elapsed: Duration) -> String {
    if attempts < 2 {
        return String::new();
    }
    format!(" (tried {attempts} times in {:.1} s)", elapsed.as_secs_f64())
}

impl StoreError {
    /// An error of a request that was tried once.
    pub fn new(operation: Operation, object: impl fmt::Display, kind: StoreErrorKind) -> Self {
        Self { operation, object: object.to_string(), attempts: 1, elapsed: Duration::ZERO, kind }
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, StoreErrorKind::NotFound)
    }

    /// Whether a conditional put or delete found another state than it asked
    /// for.
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind, StoreErrorKind::AlreadyExists | StoreErrorKind::VersionMismatch)
    }

    /// Whether the object is longer than whoever asked would read.
    pub fn is_too_long(&self) -> bool {
        matches!(self.kind, StoreErrorKind::TooLong { .. })
    }

    /// Whether this user may not do it.
    pub fn is_denied(&self) -> bool {
        match &self.kind {
            StoreErrorKind::Denied(_) => true,
            StoreErrorKind::Remote(error) => error.kind == RemoteErrorKind::Denied,
            _ => false,
        }
    }

    /// The code that it is looked up by.
    pub fn code(&self) -> Code {
        match &self.kind {
            StoreErrorKind::NotFound => Code::ObjectGone,
            StoreErrorKind::AlreadyExists | StoreErrorKind::VersionMismatch => Code::ObjectChanged,
            StoreErrorKind::TooLong { .. } | StoreErrorKind::RangeOutside { .. } => {
                Code::ObjectLength
            }
            StoreErrorKind::Denied(_) => Code::StoreDenied,
            StoreErrorKind::NoSpace(_) => Code::StoreFull,
            StoreErrorKind::Location(error) => error.code(),
            StoreErrorKind::Remote(error) => error.code(),
            StoreErrorKind::File(error) => error.code(),
            StoreErrorKind::Io(_) => Code::StoreFailed,
        }
    }

    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match &self.kind {
            StoreErrorKind::NotFound => {
                Some("another process may have deleted it meanwhile; try again".into())
            }
            StoreErrorKind::AlreadyExists | StoreErrorKind::VersionMismatch => {
                Some("another process was at it at the same time; try again".into())
            }
            StoreErrorKind::TooLong { .. } | StoreErrorKind::RangeOutside { .. } => {
                Some("`larder verify` tells whether the store is damaged".into())
            }
            StoreErrorKind::NoSpace(_) => Some(
                "free space on the store's file system, or choose another place for the store".into(),
            ),
            StoreErrorKind::Denied(_) => Some(
                "check that this user may read and write there, or choose another place for the store"
                    .into(),
            ),
            StoreErrorKind::Location(error) => error.hint(),
            StoreErrorKind::Remote(error) => error.hint(),
            StoreErrorKind::File(error) => error.hint().map(Cow::Borrowed),
            StoreErrorKind::Io(_) => {
                Some("check that the store's directory is there, and its disk or mount sound".into())
            }
        }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreErrorKind {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// A create-only put found an object.
    #[error("the object already exists")]
    AlreadyExists,
    /// A conditional put or delete found another version, or no object.
    #[error("the object was changed meanwhile")]
    VersionMismatch,
    /// The object is longer than the caller takes.
    #[error("the object has {len} bytes, more than the {max_len} allowed")]
    TooLong {
        /// The object's length in bytes.
        len: u64,
        /// The most bytes the caller takes.
        max_len: u64,
    },
    /// The object ends before the range does.
    #[error("bytes {start}..{end} are outside the object of {len} bytes")]
    RangeOutside {
        /// First byte wanted.
        start: u64,
        /// One past the last byte wanted.
        end: u64,
        /// The object's length in bytes.
        len: u64,
    },
    /// The store does not let this user do it.
    #[error("permission denied: {0}")]
    Denied(#[source] io::Error),
    /// The store is full, or a quota is used up.
    #[error("no space left in the store: {0}")]
    NoSpace(#[source] io::Error),
    /// The text does not say where the store is.
    #[error("{0}")]
    Location(#[from] InvalidLocation),
    /// A service over the network failed, or did not let this user do it.
    #[error(transparent)]
    Remote(RemoteError),
    /// A file of this machine that was to be put cannot be read.
    #[error("{0}")]
    File(#[source] FileError),
    /// Any other failure of the file system.
    #[error("{0}")]
    Io(#[source] io::Error),
}

/// What went wrong between here and a service over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteErrorKind {
    /// There is no such bucket.
    NoBucket,
    /// These credentials may not do this.
    Denied,
    /// No credentials were found, or their source failed.
    NoCredentials,
    /// The role that the location names could not be taken on.
    RoleRefused,
    /// The service does not know the credentials.
    BadCredentials,
    /// The credentials were good once.
    Expired,
    /// This machine's clock and the service's differ too much.
    ClockSkew,
    /// The bucket is in another region.
    WrongRegion,
    /// The service wants fewer requests.
    Throttled,
    /// No answer came in time.
    TimedOut,
    /// The service cannot be reached, or the connection broke.
    Network,
    /// Whatever answers there is not S3.
    NotS3,
    /// The service does not have this ability.
    Unsupported,
    /// Something else, in the service's own words.
    Other,
}

/// A failure of a service over the network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", kind.prefix())]
pub struct RemoteError {
    /// What it means.
    pub kind: RemoteErrorKind,
    /// What the service or the network said of it.
    pub detail: String,
    /// The region that the bucket is in, if the service told.
    pub region: Option<String>,
}

impl RemoteErrorKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::NoBucket => "there is no such bucket: ",
            Self::Denied => "permission denied: ",
            Self::NoCredentials | Self::WrongRegion | Self::NotS3 | Self::TimedOut => "",
            Self::RoleRefused => "cannot take on the role ",
            Self::BadCredentials => "the credentials are refused: ",
            Self::Expired => "the credentials have expired: ",
            Self::ClockSkew => "the clocks differ: ",
            Self::Throttled => "the service is overloaded: ",
            Self::Network => "the connection failed: ",
            Self::Unsupported => "the service cannot do this: ",
            Self::Other => "the service refused: ",
        }
    }

    /// Whether it holds for the whole bucket, whatever object was asked for.
    pub(super) fn is_of_the_bucket(self) -> bool {
        matches!(
            self,
            Self::NoBucket
                | Self::NoCredentials
                | Self::RoleRefused
                | Self::BadCredentials
                | Self::Expired
                | Self::WrongRegion
                | Self::NotS3
        )
    }

    /// What this is called in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoBucket => "no_bucket",
            Self::Denied => "denied",
            Self::NoCredentials => "no_credentials",
            Self::RoleRefused => "role_refused",
            Self::BadCredentials => "bad_credentials",
            Self::Expired => "expired",
            Self::ClockSkew => "clock_skew",
            Self::WrongRegion => "wrong_region",
            Self::Throttled => "throttled",
            Self::TimedOut => "timed_out",
            Self::Network => "network",
            Self::NotS3 => "not_s3",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        }
    }
}

impl RemoteError {
    /// A failure that says nothing of regions.
    pub fn new(kind: RemoteErrorKind, detail: impl Into<String>) -> Self {
        // A server's own words: one line, that does no harm.
        let detail = harmless::name(detail.into().as_bytes()).into_owned();
        Self { kind, detail, region: None }
    }

    /// A bucket that is in another region, of which the service may have told
    /// the name.
    pub fn in_region(detail: impl Into<String>, region: Option<&str>) -> Self {
        let region = region.map(str::to_owned);
        Self { kind: RemoteErrorKind::WrongRegion, detail: detail.into(), region }
    }

    /// Whether this machine does not believe that the service is who it says.
    pub(super) fn is_of_certificates(&self) -> bool {
        self.kind == RemoteErrorKind::Network && self.detail.contains("certificate")
    }

    /// The code that it is looked up by.
    pub fn code(&self) -> Code {
        match self.kind {
            RemoteErrorKind::NoBucket => Code::NoBucket,
            RemoteErrorKind::Denied => Code::RemoteDenied,
            RemoteErrorKind::NoCredentials => Code::NoCredentials,
            RemoteErrorKind::RoleRefused => Code::RoleRefused,
            RemoteErrorKind::BadCredentials => Code::BadCredentials,
            RemoteErrorKind::Expired => Code::ExpiredCredentials,
            RemoteErrorKind::ClockSkew => Code::ClockSkew,
            RemoteErrorKind::WrongRegion => Code::WrongRegion,
            RemoteErrorKind::Throttled => Code::Throttled,
            RemoteErrorKind::TimedOut => Code::NoAnswer,
            RemoteErrorKind::Network if self.is_of_certificates() => Code::Certificate,
            RemoteErrorKind::Network => Code::Network,
            RemoteErrorKind::NotS3 => Code::NotS3,
            RemoteErrorKind::Unsupported => Code::Unsupported,
            RemoteErrorKind::Other => Code::RemoteRefused,
        }
    }

    fn hint(&self) -> Option<Cow<'static, str>> {
        Some(match self.kind {
            RemoteErrorKind::NoBucket => {
                "check the bucket's name, the region and the endpoint_url, or create the bucket"
                    .into()
            }
            RemoteErrorKind::Denied => "larder needs s3:GetObject, s3:PutObject, s3:DeleteObject \
                 and s3:ListBucket there (without the last, S3 answers so to what is not there); \
                 `larder doctor` tells which are missing"
                .into(),
            RemoteErrorKind::NoCredentials => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the job \
                 a role; for a public bucket write anonymous=true in the store's \
                 location"
                    .into()
            }
            RemoteErrorKind::RoleRefused => {
                "check the role's ARN, that its trust policy names who \
                 asks, and that this job has credentials or an identity to ask with"
                    .into()
            }
            RemoteErrorKind::BadCredentials => {
                "check the access key, its secret, and that they belong to this endpoint".into()
            }
            RemoteErrorKind::Expired => {
                "get new credentials (such as by `aws sso login`), or let larder take on the role \
                 itself with role_arn in the store's location: then it renews them"
                    .into()
            }
            RemoteErrorKind::ClockSkew => "set this machine's clock".into(),
            RemoteErrorKind::WrongRegion => match &self.region {
                Some(region) => format!(
                    "the store's location or the plugin's settings must say region={region}"
                )
                .into(),
                None => "say the bucket's region in the store's location or the plugin's settings"
                    .into(),
            },
            RemoteErrorKind::Throttled => {
                "try again later, or lower upload_parallelism in the store's location".into()
            }
            RemoteErrorKind::Network if self.is_of_certificates() => {
                "name a file with the certificate to trust by AWS_CA_BUNDLE, or by ca_file in the \
                 store's location"
                    .into()
            }
            RemoteErrorKind::TimedOut | RemoteErrorKind::Network => {
                "check the endpoint_url, the network and the proxy variables".into()
            }
            RemoteErrorKind::NotS3 => "check the endpoint_url: it must be that of the S3 service, \
                 not of its console or of a proxy's login page"
                .into(),
            RemoteErrorKind::Unsupported => {
                "`larder doctor` tells what the service lacks and what that costs".into()
            }
            RemoteErrorKind::Other => "`larder doctor` tries out what the service can do".into(),
        })
    }
}

impl From<io::Error> for StoreErrorKind {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied(error)
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace(error),
            _ => Self::Io(error),
        }
    }
}
