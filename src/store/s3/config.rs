//! Where an S3 store is and how to speak to it. [`super::words`] reads it from
//! what a person writes.

use std::fmt::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::escape::escape;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever has to send or sign with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where credentials come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CredentialSource {
    /// Where every AWS tool looks: environment, profiles, single sign-on, web
    /// identity, containers, instances.
    #[default]
    Chain,
    /// These.
    Keys {
        /// The access key's id.
        access_key_id: Secret,
        /// The access key's secret.
        secret_access_key: Secret,
        /// The token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// None: requests are not signed, as public buckets take them.
    Anonymous,
}

/// A role to take on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role's ARN.
    pub arn: String,
    /// What the session is called in the account's logs.
    pub session_name: Option<String>,
    /// What the role's owner asks third parties to name.
    pub external_id: Option<Secret>,
    /// How long credentials last until the role is taken on again: 15 minutes to
    /// 12 hours, in whole seconds; an hour if absent.
    pub session_length: Option<Duration>,
}

/// How the server encrypts what is put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    BucketDefault,
    /// With keys of S3 (SSE-S3).
    S3,
    /// With a key of the key management service (SSE-KMS).
    Kms {
        /// Two layers of encryption (DSSE-KMS).
        dual_layer: bool,
        /// The key; without it the account's own for S3.
        key_id: Option<String>,
    },
    /// With this key, which the server does not keep (SSE-C): 32 bytes.
    Customer(CustomerKey),
}

/// A key of 256 bits that encrypts objects on the server.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerKey(pub(super) [u8; 32]);

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// When requests carry checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksums {
    /// Whenever the operation has one: CRC-32 on all that is put.
    #[default]
    Supported,
    /// Only where S3 demands one, for servers that do not know the newer ones.
    Required,
}

/// What buildx's word `mode` asks to be saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// The mounts' files.
    #[default]
    Min,
    /// Also what the local cache holds.
    Max,
}

/// Where an S3 store is and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// What all object keys of the store begin with, without slashes at its
    /// ends; empty for the whole bucket.
    pub prefix: String,
    /// The bucket's region; if absent it is looked for.
    pub region: Option<String>,
    /// Another server than Amazon's, or another way to Amazon's.
    pub endpoint_url: Option<String>,
    /// Whether the bucket is in the URL's path or in its host name; if absent,
    /// chosen by the endpoint.
    pub path_style: Option<bool>,
    /// Where credentials come from.
    pub credentials: CredentialSource,
    /// The profile of the shared configuration files.
    pub profile: Option<String>,
    /// A role to take on with these credentials.
    pub role: Option<AssumeRole>,
    /// Through Amazon's edge locations (S3 Transfer Acceleration).
    pub accelerate: bool,
    /// Over IPv6 too.
    pub dual_stack: bool,
    /// Through endpoints validated by FIPS 140.
    pub fips: bool,
    /// How the server encrypts.
    pub encryption: Encryption,
    /// The storage class of what is put.
    pub storage_class: Option<String>,
    /// Tags of what is put.
    pub tags: Vec<(String, String)>,
    /// Pay for requests to somebody else's bucket.
    pub requester_pays: bool,
    /// The account that must own the bucket.
    pub expected_owner: Option<String>,
    /// More certificates to trust, in PEM.
    pub ca_file: Option<PathBuf>,
    /// When requests carry checksums.
    pub checksums: Checksums,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long the server may send nothing, or next to nothing, while an
    /// answer is due.
    pub read_timeout: Duration,
    /// Requests at once.
    pub parallelism: Option<NonZeroUsize>,
    /// Whether the server honours conditional puts; if absent, it is believed
    /// until it says otherwise.
    pub conditional_writes: Option<bool>,
    /// Keys that stand for `--key` and `--restore-key` where those are not given.
    pub names: Vec<String>,
    /// A save or restore that fails is a warning.
    pub ignore_error: bool,
    /// What a save keeps.
    pub mode: CacheMode,
    /// How old a cache may be before its use is noted in the store again.
    pub touch_refresh: Option<Duration>,
    /// Words that were given and do nothing here.
    pub without_effect: Vec<&'static str>,
}

impl S3Config {
    /// A store in this bucket, below this prefix, with all else by default.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        let prefix: String = prefix.into();
        Self {
            bucket: bucket.into(),
            prefix: prefix.trim_matches('/').to_owned(),
            region: None,
            endpoint_url: None,
            path_style: None,
            credentials: CredentialSource::Chain,
            profile: None,
            role: None,
            accelerate: false,
            dual_stack: false,
            fips: false,
            encryption: Encryption::BucketDefault,
            storage_class: None,
            tags: vec![],
            requester_pays: false,
            expected_owner: None,
            ca_file: None,
            checksums: Checksums::Supported,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            parallelism: None,
            conditional_writes: None,
            names: vec![],
            ignore_error: false,
            mode: CacheMode::Min,
            touch_refresh: None,
            without_effect: vec![],
        }
    }

    /// Whether the bucket goes into the path: it must where the host is no name
    /// that another could stand before, or where the certificate for such
    /// names does not match. `endpoint` is what the environment says, where the
    /// location says nothing.
    pub(super) fn uses_path_style(&self, endpoint: Option<&str>) -> bool {
        self.path_style.unwrap_or_else(|| {
            let dotted = self.bucket.contains('.');
            let nameless = self.endpoint_url.as_deref().or(endpoint).is_some_and(|url| {
                let host = host(url);
                let is_address = host.starts_with('[')
                    || host.parse::<std::net::Ipv4Addr>().is_ok()
                    || !host.contains('.');
                is_address || host.ends_with(".localhost")
            });
            dotted || nameless
        })
    }
}

/// The host in a URL, an IPv6 address in its brackets.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.find(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// What stands in a location as it is: nothing that ends a part of it, or that a
/// terminal would act on.
const SHOWN: &str = ":=@!,+[] ";

/// The location as it may be shown to anyone: no secret is in it.
impl fmt::Display for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An access point's ARN has a slash.
        write!(f, "s3://{}", escape(&self.bucket, SHOWN))?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", escape(&self.prefix, &format!("/{SHOWN}")))?;
        }
        let mut before = '?';
        let mut word = |word: &str, value: &str| -> fmt::Result {
            f.write_char(before)?;
            before = '&';
            write!(f, "{word}={}", escape(value, &format!("/{SHOWN}")))
        };
        if let Some(region) = &self.region {
            word("region", region)?;
        }
        if let Some(url) = &self.endpoint_url {
            word("endpoint_url", url)?;
        }
        Ok(())
    }
}
