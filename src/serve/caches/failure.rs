//! What clients of caches are told of failures: a status that they go by, and a line for
//! people.
//!
//! Turborepo reads the line from JSON, and goes by the code in it; for all others it is
//! plain text.

use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use larder::objects::ObjectError;
use s3s::Body;
use serde_json::json;

use super::super::exchange::Fault;
use super::super::s3;
use super::super::transfers::NotReceived;
use super::names::Protocol;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("there is no such page")]
    NoPage,
    #[error("larder serve was started without {0}")]
    Off(&'static str),
    /// A name that cannot be, or something else that the request should not say.
    #[error("{0}")]
    Name(String),
    #[error("the method is not one of these: {0}")]
    Method(&'static str),
    #[error("a key is needed: as user and password (basic), or its secret as a token (bearer)")]
    NoKey,
    #[error("the key is not for {0}")]
    OtherKey(String),
    #[error("the key is only for reading")]
    ReadOnly,
    #[error("bodies may have {0} bytes at most")]
    TooLong(u64),
    #[error("the body has another length than was announced")]
    OtherLength,
    #[error("the SHA-256 of the body is not what it is called")]
    OtherHash,
    #[error("of conditions, only If-None-Match is known; of a put, only If-None-Match: *")]
    UnknownCondition,
    #[error(transparent)]
    Body(Fault),
    #[error(transparent)]
    Core(#[from] ObjectError),
}

impl Failure {
    /// Why a body was not received that may have `max` bytes.
    pub(super) fn of_body(why: NotReceived<Fault>, max: u64) -> Self {
        match why {
            NotReceived::TooLong => Self::TooLong(max),
            NotReceived::OtherLength => Self::OtherLength,
            NotReceived::Body(fault) => Self::Body(fault),
            NotReceived::Store(error) => Self::Core(error),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoPage | Self::Off(_) => StatusCode::NOT_FOUND,
            Self::Name(_) | Self::OtherLength | Self::OtherHash => StatusCode::BAD_REQUEST,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoKey => StatusCode::UNAUTHORIZED,
            Self::OtherKey(_) | Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownCondition => StatusCode::NOT_IMPLEMENTED,
            Self::Body(Fault::Idle(_)) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(_) => StatusCode::BAD_REQUEST,
            // What may pass and what will not is decided for S3.
            Self::Core(error) => s3::status_of(error),
        }
    }

    pub(super) fn to_response(&self, protocol: Option<Protocol>) -> Response<Body> {
        let mut answer = refusal(protocol, self.status(), &self.to_string());
        let header = match (self, protocol) {
            (Self::NoKey, Some(Protocol::Turbo)) => {
                Some((WWW_AUTHENTICATE, "Bearer realm=\"larder\""))
            }
            (Self::NoKey, _) => Some((WWW_AUTHENTICATE, "Basic realm=\"larder\"")),
            (Self::Method(allowed), _) => Some((ALLOW, *allowed)),
            _ => None,
        };
        if let Some((name, value)) = header {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

/// The answer to a request for a path of the caches that the server itself refuses.
pub(in crate::serve) fn refused(path: &str, status: StatusCode, why: &str) -> Response<Body> {
    refusal(Protocol::of_path(path), status, why)
}

fn refusal(protocol: Option<Protocol>, status: StatusCode, why: &str) -> Response<Body> {
    let (kind, text) = match protocol {
        Some(Protocol::Turbo) => {
            // Not `remote_caching_…`, by which Turborepo gives the cache up altogether.
            let reason = status.canonical_reason().unwrap_or_default();
            let code = reason.to_ascii_lowercase().replace(' ', "_");
            ("application/json", json!({ "error": { "code": code, "message": why } }).to_string())
        }
        _ => ("text/plain; charset=utf-8", format!("{why}\n")),
    };
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use larder::error::Error;

    use super::*;

    fn text(answer: Response<Body>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(answer.into_body().collect()).unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_miss_is_no_error_and_what_may_pass_is_one() {
        let status = |error: ObjectError| Failure::Core(error).status().as_u16();
        assert_eq!(status(ObjectError::NotFound), 404);
        assert_eq!(status(ObjectError::Condition), 412);
        assert_eq!(status(ObjectError::DetailsTooLong), 400);
        assert_eq!(status(Error::Interrupted.into()), 503);
    }

    #[test]
    fn each_reads_failures_in_its_own_way() {
        let failure = Failure::OtherKey("my-team".to_owned());
        assert_eq!(text(failure.to_response(Some(Protocol::Http))), "the key is not for my-team\n");
        assert_eq!(
            text(failure.to_response(Some(Protocol::Turbo))),
            r#"{"error":{"code":"forbidden","message":"the key is not for my-team"}}"#
        );
        let asked =
            |protocol| Failure::NoKey.to_response(protocol).headers()[WWW_AUTHENTICATE].clone();
        assert_eq!(asked(Some(Protocol::Http)), "Basic realm=\"larder\"");
        assert_eq!(asked(Some(Protocol::Turbo)), "Bearer realm=\"larder\"");
        let answer = Failure::Method("GET").to_response(None);
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[ALLOW]),
            (405, &"GET".parse().unwrap())
        );
    }
}
