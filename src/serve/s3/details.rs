//! What an object has beside its bytes: from the headers of a request to what the core
//! keeps, and back.

use larder::objects::Details;
use s3s::dto::{Metadata, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};

use super::super::unsigned::other_codings;

/// The content type of an object that was put without one: Amazon's.
pub(super) const DEFAULT_TYPE: &str = "binary/octet-stream";

/// The headers that are given back as they came.
#[derive(Debug, Default)]
pub(super) struct Headers {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<Timestamp>,
}

/// The [`Headers`] of anything that has these fields: inputs and outputs alike.
macro_rules! headers_of {
    ($from:expr) => {
        $crate::serve::s3::details::Headers {
            cache_control: $from.cache_control.clone(),
            content_disposition: $from.content_disposition.clone(),
            content_encoding: $from.content_encoding.clone(),
            content_language: $from.content_language.clone(),
            content_type: $from.content_type.clone(),
            expires: $from.expires.clone(),
        }
    };
}
pub(super) use headers_of;

/// Refuses what would be ignored otherwise, and must not be: whoever asks for encryption,
/// tags, locks or other readers relies on them.
macro_rules! refuse_unsupported {
    ($input:expr) => {
        $crate::serve::s3::details::refuse([
            ("x-amz-tagging", $input.tagging.is_some()),
            ("x-amz-website-redirect-location", $input.website_redirect_location.is_some()),
            ("x-amz-server-side-encryption", $input.server_side_encryption.is_some()),
            (
                "x-amz-server-side-encryption-customer-algorithm",
                $input.sse_customer_algorithm.is_some(),
            ),
            ("x-amz-object-lock-mode", $input.object_lock_mode.is_some()),
            ("x-amz-object-lock-legal-hold", $input.object_lock_legal_hold_status.is_some()),
            (
                "x-amz-grant-*",
                $input.grant_full_control.is_some()
                    || $input.grant_read.is_some()
                    || $input.grant_read_acp.is_some()
                    || $input.grant_write_acp.is_some(),
            ),
            (
                "x-amz-acl",
                $input.acl.as_ref().is_some_and(|acl| {
                    !matches!(
                        acl.as_str(),
                        "private" | "bucket-owner-full-control" | "bucket-owner-read"
                    )
                }),
            ),
        ])
    };
}
pub(super) use refuse_unsupported;

/// Refuses a request that has one of these headers.
pub(super) fn refuse<const N: usize>(headers: [(&'static str, bool); N]) -> S3Result<()> {
    match headers.into_iter().find(|(_, is_there)| *is_there) {
        None => Ok(()),
        Some((name, _)) => Err(s3_error!(
            NotImplemented,
            "A header you provided implies functionality that is not implemented: {name}"
        )),
    }
}

impl Headers {
    /// Those that an object was put with.
    pub(super) fn of(details: &Details) -> Self {
        let get = |name: &str| details.headers.get(name).cloned();
        Self {
            cache_control: get("cache-control"),
            content_disposition: get("content-disposition"),
            content_encoding: get("content-encoding"),
            content_language: get("content-language"),
            content_type: Some(get("content-type").unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
            expires: get("expires")
                .and_then(|text| Timestamp::parse(TimestampFormat::HttpDate, &text).ok()),
        }
    }

    /// What is kept of an object that is put with these.
    pub(super) fn to_details(&self, metadata: Option<Metadata>) -> Details {
        let expires = self.expires.as_ref().map(|time| {
            let mut text = vec![];
            // What was read from such a text can be written as one.
            let _ = time.format(TimestampFormat::HttpDate, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let rows = [
            ("cache-control", self.cache_control.clone()),
            ("content-disposition", self.content_disposition.clone()),
            // Not how the body came, but what it is.
            ("content-encoding", self.content_encoding.as_deref().and_then(other_codings)),
            ("content-language", self.content_language.clone()),
            ("content-type", self.content_type.clone().filter(|kind| kind != DEFAULT_TYPE)),
            ("expires", expires),
        ];
        let headers = rows.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let metadata = metadata.unwrap_or_default().into_iter();
        Details {
            headers: headers.collect(),
            metadata: metadata.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
            ..Details::default()
        }
    }
}

/// The metadata that an object was put with.
pub(super) fn metadata(details: &Details) -> Option<Metadata> {
    let all = details.metadata.clone();
    (!all.is_empty()).then(|| all.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        let time = "Thu, 01 Jan 2026 00:00:00 GMT";
        let given = Headers {
            cache_control: Some("no-cache".to_owned()),
            content_encoding: Some("aws-chunked,gzip".to_owned()),
            content_type: Some("text/plain".to_owned()),
            expires: Some(Timestamp::parse(TimestampFormat::HttpDate, time).unwrap()),
            ..Headers::default()
        };
        let metadata = [("Name".to_owned(), "värde".to_owned())].into_iter().collect();
        let details = given.to_details(Some(metadata));
        assert_eq!(details.headers["content-encoding"], "gzip");
        assert_eq!(details.headers["expires"], time);
        assert_eq!(details.metadata["name"], "värde");
        let back = Headers::of(&details);
        assert_eq!(back.cache_control, given.cache_control);
        assert_eq!(back.content_type, given.content_type);
        assert_eq!(back.expires, given.expires);
        let plain = Headers::default().to_details(None);
        assert!(plain.headers.is_empty());
        assert_eq!(Headers::of(&plain).content_type.as_deref(), Some(DEFAULT_TYPE));
    }
}
