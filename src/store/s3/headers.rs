//! What a location asks of requests whatever they are for: who pays, who must
//! own the bucket, how objects are encrypted, classed and tagged.
//!
//! All of that is headers. They are set here, by the name of the operation, so
//! that no request lacks one that its siblings have.

use std::fmt;

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::config::{CustomerKey, Encryption, S3Config};
use super::escape::escape;
use crate::store::error::StoreErrorKind;

/// Requests that a header belongs to, by the names of their operations.
type Of = &'static [&'static str];

/// What reads or writes contents needs the key, if the server does not keep it.
const CONTENTS: Of = &[
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "GetObject",
    "HeadObject",
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
];

/// What makes an object says what becomes of it.
const NEW_OBJECTS: Of = &["CopyObject", "CreateMultipartUpload", "PutObject"];

/// What names an object to read from beside the one that is written.
const COPIES: Of = &["CopyObject", "UploadPartCopy"];

/// What would take over an object's tags if it were not told to replace them.
const WHOLE_COPIES: Of = &["CopyObject"];

/// A header that a location asks for.
struct Header {
    /// The requests that have it; all, if there are none here.
    of: Of,
    name: &'static str,
    value: String,
}

/// The headers that a location asks for.
pub(super) struct Headers(Vec<Header>);

impl Headers {
    /// The headers of a store.
    ///
    /// # Errors
    /// [`StoreErrorKind::Io`] if a value cannot be in a header.
    pub(super) fn of(config: &S3Config) -> Result<Self, StoreErrorKind> {
        let mut headers = vec![];
        let mut add = |of, name, value: &str| {
            headers.push(Header { of, name, value: value.to_owned() });
        };
        if config.requester_pays {
            add(&[], "x-amz-request-payer", "requester");
        }
        if let Some(owner) = &config.expected_owner {
            add(&[], "x-amz-expected-bucket-owner", owner);
            add(COPIES, "x-amz-source-expected-bucket-owner", owner);
        }
        if let Some(class) = &config.storage_class {
            add(NEW_OBJECTS, "x-amz-storage-class", class);
        }
        if !config.tags.is_empty() {
            add(NEW_OBJECTS, "x-amz-tagging", &tagging(&config.tags));
            add(WHOLE_COPIES, "x-amz-tagging-directive", "REPLACE");
        }
        encrypt(&config.encryption, add);
        match headers.iter().find(|header| !is_value(&header.value)) {
            None => Ok(Self(headers)),
            Some(Header { name, value, .. }) => {
                let why = format!("{value:?} cannot be sent in the header {name}");
                Err(StoreErrorKind::Io(std::io::Error::new(std::io::ErrorKind::InvalidInput, why)))
            }
        }
    }
}

/// Says how the server encrypts.
fn encrypt(encryption: &Encryption, mut add: impl FnMut(Of, &'static str, &str)) {
    let mut of_server = |value| add(NEW_OBJECTS, "x-amz-server-side-encryption", value);
    match encryption {
        Encryption::BucketDefault => {}
        Encryption::S3 => of_server("AES256"),
        Encryption::Kms { dual_layer, key_id } => {
            of_server(if *dual_layer { "aws:kms:dsse" } else { "aws:kms" });
            if let Some(id) = key_id {
                add(NEW_OBJECTS, "x-amz-server-side-encryption-aws-kms-key-id", id);
            }
        }
        Encryption::Customer(CustomerKey(key)) => {
            use md5::Digest as _;
            let (digest, key) = (STANDARD.encode(md5::Md5::digest(key)), STANDARD.encode(key));
            add(CONTENTS, "x-amz-server-side-encryption-customer-algorithm", "AES256");
            add(CONTENTS, "x-amz-server-side-encryption-customer-key", &key);
            add(CONTENTS, "x-amz-server-side-encryption-customer-key-md5", &digest);
            // One store has one key: what is copied was put with it.
            let source = "x-amz-copy-source-server-side-encryption-customer-algorithm";
            add(COPIES, source, "AES256");
            add(COPIES, "x-amz-copy-source-server-side-encryption-customer-key", &key);
            add(COPIES, "x-amz-copy-source-server-side-encryption-customer-key-md5", &digest);
        }
    }
}

/// Tags as the header has them: like a URL's query.
fn tagging(tags: &[(String, String)]) -> String {
    let pairs =
        tags.iter().map(|(name, value)| format!("{}={}", escape(name, ""), escape(value, "")));
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether a header may have this value, as the SDK judges it.
pub(super) fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values stay out of it: a key may be among them.
        f.debug_list().entries(self.0.iter().map(|header| header.name)).finish()
    }
}

impl Intercept for Headers {
    fn name(&self) -> &'static str {
        "the headers of larder's location"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("", Metadata::name);
        let request = context.request_mut().headers_mut();
        for Header { of, name, value } in &self.0 {
            if of.is_empty() || of.contains(&operation) {
                request.try_insert(*name, value.clone())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(config: &S3Config, name: &str) -> Option<String> {
        let Headers(headers) = Headers::of(config).unwrap();
        headers.into_iter().find(|header| header.name == name).map(|header| header.value)
    }

    #[test]
    fn tags_are_encoded_as_a_query() {
        let mut config = S3Config::new("bucket", "");
        assert_eq!(value(&config, "x-amz-tagging"), None);
        config.tags = vec![("team".into(), "a&b".into()), ("ä".into(), String::new())];
        assert_eq!(value(&config, "x-amz-tagging").as_deref(), Some("team=a%26b&%C3%A4="));
    }

    #[test]
    fn what_no_header_takes_is_refused_before_it_is_sent() {
        let mut config = S3Config::new("bucket", "");
        config.storage_class = Some("COLD\n".into());
        let error = Headers::of(&config).unwrap_err().to_string();
        assert!(error.contains("x-amz-storage-class"), "{error}");
    }

    #[test]
    fn keys_are_not_shown() {
        let mut config = S3Config::new("bucket", "");
        config.encryption = Encryption::Customer(CustomerKey([0; 32]));
        let shown = format!("{:?}", Headers::of(&config).unwrap());
        assert!(shown.contains("customer-key") && !shown.contains("AAAA"), "{shown}");
    }
}
