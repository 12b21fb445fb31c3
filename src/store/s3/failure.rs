//! Why a request to S3 failed: what that means, and whether asking again helps.

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::display::DisplayErrorContext;

use crate::store::error::{RemoteError, RemoteErrorKind as Kind, StoreErrorKind};

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It will not.
    No,
    /// It may.
    Yes,
    /// It may, if fewer come at once.
    Slower,
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: StoreErrorKind,
    pub(super) again: Again,
    /// How long the server asked to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// Where the server says that the bucket is.
    pub(super) region: Option<String>,
    /// The HTTP status, if there was an answer.
    pub(super) status: Option<u16>,
    /// S3's name of the error, if it gave one.
    pub(super) code: Option<String>,
}

impl Failure {
    /// A failure that S3 did not report: of the network, or of an answer that
    /// is not what was asked for.
    pub(super) fn local(kind: Kind, detail: impl Into<String>, again: Again) -> Self {
        StoreErrorKind::Remote(RemoteError::new(kind, detail)).into_failure(again)
    }

    /// An answer that ended early, or came too slowly.
    pub(super) fn broken_body(detail: impl Into<String>) -> Self {
        Self::local(Kind::Network, detail, Again::Yes)
    }

    pub(super) fn is(&self, status: u16) -> bool {
        self.status == Some(status)
    }

    pub(super) fn has_code(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}

impl StoreErrorKind {
    pub(super) fn into_failure(self, again: Again) -> Failure {
        Failure { kind: self, again, retry_after: None, region: None, status: None, code: None }
    }
}

/// What the SDK's error means.
pub(super) fn classify<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => of_credentials(error).unwrap_or_else(|| {
            Failure::local(Kind::Other, DisplayErrorContext(error).to_string(), Again::No)
        }),
        SdkError::TimeoutError(_) => {
            Failure::local(Kind::TimedOut, "the server did not answer in time", Again::Yes)
        }
        SdkError::DispatchFailure(failure) => of_credentials(error).unwrap_or_else(|| {
            let error = RemoteError::new(Kind::Network, causes(error));
            let lasting = failure.is_user() || error.is_of_certificates();
            let again = if lasting { Again::No } else { Again::Yes };
            StoreErrorKind::Remote(error).into_failure(again)
        }),
        SdkError::ResponseError(_) | SdkError::ServiceError(_) => of_response(error),
        _ => Failure::local(Kind::Other, DisplayErrorContext(error).to_string(), Again::No),
    }
}

/// Credentials are resolved before a request is sent: an error of theirs hides
/// among the causes.
fn of_credentials<E>(error: &SdkError<E, HttpResponse>) -> Option<Failure>
where
    E: StdError + Send + Sync + 'static,
{
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(at) = cause {
        if let Some(found) = at.downcast_ref::<CredentialsError>() {
            let detail = causes(found);
            return Some(match found {
                CredentialsError::CredentialsNotLoaded(_) => {
                    Failure::local(Kind::NoCredentials, "no credentials were found", Again::No)
                }
                CredentialsError::ProviderTimedOut(_) => {
                    Failure::local(Kind::NoCredentials, detail, Again::Yes)
                }
                _ => Failure::local(Kind::NoCredentials, detail, Again::No),
            });
        }
        cause = at.source();
    }
    None
}

fn of_response<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    let Some(response) = error.raw_response() else {
        return Failure::local(Kind::Network, causes(error), Again::Yes);
    };
    let status = response.status().as_u16();
    let service = error.as_service_error();
    let code = service.and_then(ProvideErrorMetadata::code).map(str::to_owned);
    let message = service.and_then(ProvideErrorMetadata::message).unwrap_or_default();
    let header = |name: &str| response.headers().get(name).map(str::to_owned);
    let region = header("x-amz-bucket-region").or_else(|| region_in(response));
    let kind = match (status, code.as_deref()) {
        (_, None) if is_html(response) => StoreErrorKind::Remote(RemoteError::new(
            Kind::NotS3,
            format!("the endpoint answers with a web page (HTTP {status})"),
        )),
        (200..300, None) => StoreErrorKind::Remote(RemoteError::new(
            Kind::Network,
            format!("the answer ended before it said what was done (HTTP {status})"),
        )),
        (_, code) => meaning(status, code, message, region.as_deref()),
    };
    let throttled = matches!(status, 429 | 503)
        || matches!(
            code.as_deref(),
            Some("SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded")
        );
    // Part of an answer may come with status 200 and end as no XML at all.
    let broken = status < 300 && code.is_none() && !is_html(response);
    let again = if throttled {
        Again::Slower
    } else if broken
        || matches!(status, 408 | 500 | 502 | 504)
        || matches!(
            code.as_deref(),
            // 409: another conditional put is under way, and who wins is open.
            Some(
                "ConditionalRequestConflict"
                    | "ConcurrentModification"
                    | "OperationAborted"
                    | "RequestTimeout"
                    | "InternalError"
                    | "BadDigest"
                    | "XAmzContentChecksumMismatch"
                    | "IncompleteBody"
            )
        )
        || (status == 409 && code.is_none())
    {
        Again::Yes
    } else {
        Again::No
    };
    let is_elsewhere = matches!(
        code.as_deref(),
        Some(
            "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "TemporaryRedirect"
                | "IllegalLocationConstraintException"
        )
    ) || matches!(status, 301 | 307 | 400) && code.is_none();
    Failure {
        kind,
        again,
        retry_after: header("retry-after")
            .and_then(|text| text.trim().parse().ok())
            .map(|seconds: u64| Duration::from_secs(seconds.min(60))),
        region: region.filter(|_| is_elsewhere),
        status: Some(status),
        code,
    }
}

/// What an answer's status and S3's name of the error mean.
fn meaning(status: u16, code: Option<&str>, message: &str, region: Option<&str>) -> StoreErrorKind {
    let told = match (code, message) {
        (Some(code), "") => format!("{code} (HTTP {status})"),
        (Some(code), message) => format!("{code}: {message} (HTTP {status})"),
        (None, _) => format!("HTTP {status}"),
    };
    let kind = match (code, status) {
        // HEAD has no body, and so no code of S3's: the SDK gives its own.
        (Some("NoSuchKey"), _) | (Some("NotFound"), 404) => return StoreErrorKind::NotFound,
        (Some("NoSuchBucket"), _) => Kind::NoBucket,
        (None, 404) => return StoreErrorKind::NotFound,
        (Some("ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException"), _) => {
            Kind::Expired
        }
        (Some("RequestTimeTooSkewed" | "RequestExpired"), _) => Kind::ClockSkew,
        (
            Some(
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "InvalidSecurity"
                | "AuthorizationQueryParametersError",
            ),
            _,
        ) => Kind::BadCredentials,
        (
            Some(
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ),
            _,
        )
        | (None, 301 | 307) => {
            let detail = match region {
                Some(region) => format!("the bucket is in the region {region}"),
                None => told,
            };
            return StoreErrorKind::Remote(RemoteError::in_region(detail, region));
        }
        (_, 401 | 403) => Kind::Denied,
        (Some("SlowDown" | "Throttling" | "ThrottlingException"), _) | (_, 429 | 503) => {
            Kind::Throttled
        }
        // Servers from before 2018 want a digest with a batch that SDKs do not send
        // any more.
        (Some("NotImplemented" | "MissingContentMD5"), _) | (_, 501) => Kind::Unsupported,
        (Some("QuotaExceeded" | "InsufficientCapacity"), _) | (_, 507) => {
            return StoreErrorKind::NoSpace(std::io::Error::other(told));
        }
        _ => Kind::Other,
    };
    StoreErrorKind::Remote(RemoteError::new(kind, told))
}

/// What S3's name of an error means where there is no answer of its own: in the
/// list of what a batch could not delete.
pub(super) fn of_code(code: &str, message: &str) -> StoreErrorKind {
    let status = match code {
        "AccessDenied" => 403,
        "SlowDown" => 503,
        _ => 500,
    };
    meaning(status, Some(code), message, None)
}

/// Whether somebody else answered: a proxy, a login page, a wrong port.
fn is_html(response: &HttpResponse) -> bool {
    let typed = response.headers().get("content-type").is_some_and(|kind| kind.contains("html"));
    let body = response.body().bytes().unwrap_or_default();
    let start = body.trim_ascii_start();
    let start = &start[..start.len().min(14)].to_ascii_lowercase();
    typed || start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

/// The region that S3 names in the body of an error, if there is one.
fn region_in(response: &HttpResponse) -> Option<String> {
    let body = std::str::from_utf8(response.body().bytes()?).ok()?;
    let (_, rest) = body.split_once("<Region>")?;
    let (region, _) = rest.split_once("</Region>")?;
    Some(region.to_owned()).filter(|region| !region.is_empty() && region.len() < 64)
}

/// An error's causes in one line: the last ones say what happened.
pub(super) fn causes(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = vec![];
    let mut cause = error.source();
    while let Some(at) = cause {
        let text = at.to_string();
        // Wrappers repeat what they wrap.
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        cause = at.source();
    }
    match texts.as_slice() {
        [] => error.to_string(),
        texts => texts.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::operation::get_object::GetObjectError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn answered(status: u16, code: Option<&str>, headers: &[(&'static str, &str)]) -> Failure {
        let body = SdkBody::from("<Error/>");
        let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), body);
        for (name, value) in headers {
            response.headers_mut().insert(*name, (*value).to_owned());
        }
        let mut metadata = ErrorMetadata::builder().message("the server's words");
        if let Some(code) = code {
            metadata = metadata.code(code);
        }
        let error = GetObjectError::generic(metadata.build());
        classify(&SdkError::service_error(error, response))
    }

    fn kind(failure: &Failure) -> Option<Kind> {
        match &failure.kind {
            StoreErrorKind::Remote(error) => Some(error.kind),
            _ => None,
        }
    }

    #[test]
    fn answers_mean_what_s3_documents() {
        let cases = [
            (404, Some("NoSuchBucket"), Some(Kind::NoBucket), Again::No),
            (404, Some("NoSuchKey"), None, Again::No),
            (403, Some("AccessDenied"), Some(Kind::Denied), Again::No),
            (403, Some("InvalidAccessKeyId"), Some(Kind::BadCredentials), Again::No),
            (403, Some("SignatureDoesNotMatch"), Some(Kind::BadCredentials), Again::No),
            (400, Some("ExpiredToken"), Some(Kind::Expired), Again::No),
            (403, Some("RequestTimeTooSkewed"), Some(Kind::ClockSkew), Again::No),
            (503, Some("SlowDown"), Some(Kind::Throttled), Again::Slower),
            (429, None, Some(Kind::Throttled), Again::Slower),
            (500, Some("InternalError"), Some(Kind::Other), Again::Yes),
            (502, None, Some(Kind::Other), Again::Yes),
            // The name that RGW has for it.
            (409, Some("ConcurrentModification"), Some(Kind::Other), Again::Yes),
            (409, Some("ConditionalRequestConflict"), Some(Kind::Other), Again::Yes),
            (409, None, Some(Kind::Other), Again::Yes),
            (409, Some("BucketAlreadyExists"), Some(Kind::Other), Again::No),
            (501, Some("NotImplemented"), Some(Kind::Unsupported), Again::No),
            (301, Some("PermanentRedirect"), Some(Kind::WrongRegion), Again::No),
        ];
        for (status, code, expected, again) in cases {
            let failure = answered(status, code, &[]);
            assert_eq!((kind(&failure), failure.again), (expected, again), "{status} {code:?}");
        }
    }

    #[test]
    fn a_server_says_where_the_bucket_is_and_how_long_to_wait() {
        let elsewhere =
            answered(301, Some("PermanentRedirect"), &[("x-amz-bucket-region", "eu-west-1")]);
        assert_eq!(elsewhere.region.as_deref(), Some("eu-west-1"));
        assert!(elsewhere.kind.to_string().contains("eu-west-1"));
        let denied = answered(403, Some("AccessDenied"), &[("x-amz-bucket-region", "eu-west-1")]);
        assert_eq!(denied.region, None, "that is no reason to go elsewhere");
        let busy = answered(503, Some("SlowDown"), &[("retry-after", "7")]);
        assert_eq!(busy.retry_after, Some(Duration::from_secs(7)));
        let for_ever = answered(503, Some("SlowDown"), &[("retry-after", "86400")]);
        assert_eq!(for_ever.retry_after, Some(Duration::from_secs(60)));
    }

    /// Copies, and objects made of parts, are answered before they are done.
    #[test]
    fn success_that_says_nothing_more_is_a_broken_answer() {
        let broken = answered(200, None, &[]);
        assert_eq!((kind(&broken), broken.again), (Some(Kind::Network), Again::Yes));
        let refused = answered(200, Some("AccessDenied"), &[]);
        assert_eq!(refused.again, Again::No);
        let page = answered(200, None, &[("content-type", "text/html")]);
        assert_eq!((kind(&page), page.again), (Some(Kind::NotS3), Again::No));
    }

    #[test]
    fn web_pages_are_not_s3() {
        let page = answered(403, None, &[("content-type", "text/html; charset=utf-8")]);
        assert_eq!(kind(&page), Some(Kind::NotS3));
    }
}
