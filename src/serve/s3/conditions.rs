//! Conditions of requests: whether an object is what a client takes it for.
//!
//! The order is that of RFC 9110, section 13.2.2: what is said of tags counts more than
//! what is said of times.

use http::{HeaderMap, StatusCode};
use larder::objects::{Condition, Info};
use larder::store_time::StoreTime;
use s3s::dto::{ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// The conditions of one read, or of the source of a copy.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) matches: Option<ETagCondition>,
    pub(super) matches_none: Option<ETagCondition>,
    pub(super) modified_since: Option<Timestamp>,
    pub(super) unmodified_since: Option<Timestamp>,
}

/// What comes of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    /// The client has what there is.
    NotModified,
    Failed,
}

impl Conditions {
    fn verdict(&self, etag: &str, modified: StoreTime) -> Verdict {
        let is_after = |time: &Timestamp| modified > unix(time);
        match (&self.matches, &self.unmodified_since) {
            (Some(wanted), _) if !names(wanted, etag) => return Verdict::Failed,
            (None, Some(time)) if is_after(time) => return Verdict::Failed,
            _ => {}
        }
        match (&self.matches_none, &self.modified_since) {
            (Some(known), _) if names(known, etag) => Verdict::NotModified,
            (None, Some(time)) if !is_after(time) => Verdict::NotModified,
            _ => Verdict::Met,
        }
    }

    /// Whether an object may be read.
    ///
    /// # Errors
    /// `NotModified`, with what the client may compare, or `PreconditionFailed`.
    pub(super) fn check_read(&self, info: &Info) -> S3Result<()> {
        match self.verdict(&info.details.etag, info.modified) {
            Verdict::Met => Ok(()),
            Verdict::NotModified => {
                let mut error = S3Error::new(S3ErrorCode::NotModified);
                error.set_status_code(StatusCode::NOT_MODIFIED);
                error.set_headers(validators(info));
                Err(error)
            }
            Verdict::Failed => Err(failed()),
        }
    }

    /// Whether an object may be copied.
    ///
    /// # Errors
    /// `PreconditionFailed`, whatever is not met.
    pub(super) fn check_copy(&self, info: &Info) -> S3Result<()> {
        match self.verdict(&info.details.etag, info.modified) {
            Verdict::Met => Ok(()),
            _ => Err(failed()),
        }
    }
}

fn failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the preconditions you specified did not hold.")
}

fn validators(info: &Info) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut time = vec![];
    let formatted = Timestamp::from(info.modified.to_system())
        .format(TimestampFormat::HttpDate, &mut time)
        .is_ok();
    if let Ok(etag) = format!("\"{}\"", info.details.etag).parse() {
        headers.insert(http::header::ETAG, etag);
    }
    if let (true, Ok(time)) = (formatted, time.try_into()) {
        headers.insert(http::header::LAST_MODIFIED, time);
    }
    headers
}

/// The second that a time is in: what times of HTTP can tell.
fn unix(time: &Timestamp) -> StoreTime {
    let mut text = vec![];
    let _ = time.format(TimestampFormat::EpochSeconds, &mut text);
    let text = String::from_utf8(text).unwrap_or_default();
    let seconds = text.split('.').next().and_then(|seconds| seconds.parse().ok());
    StoreTime::from_unix(seconds.unwrap_or(0))
}

/// Whether a condition names this tag: as the only one, in a list, or as any.
fn names(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        // s3s takes a list for one tag with quotes in it.
        ETagCondition::ETag(given) => given
            .value()
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/").trim_matches('"') == etag),
    }
}

/// The condition of a put.
///
/// # Errors
/// `NotImplemented` for what S3 does not know either.
pub(super) fn of_put(
    matches: Option<&ETagCondition>,
    matches_none: Option<&ETagCondition>,
) -> S3Result<Condition> {
    match (matches, matches_none) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Etag(etag.value().to_owned())),
        _ => Err(s3_error!(
            NotImplemented,
            "If-Match with an entity tag, or If-None-Match: *, and not both"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> Option<Timestamp> {
        Some(Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    fn tag(text: &str) -> Option<ETagCondition> {
        Some(ETagCondition::parse_http_header(text.as_bytes()).unwrap())
    }

    #[test]
    fn tags_count_more_than_times() {
        let check = |conditions: Conditions, expected: Verdict| {
            let found = conditions.verdict("a", StoreTime::from_unix(100));
            assert_eq!(found, expected, "{conditions:?}");
        };
        let none = Conditions::default;
        check(none(), Verdict::Met);
        check(Conditions { matches: tag("\"a\""), ..none() }, Verdict::Met);
        check(Conditions { matches: tag("*"), ..none() }, Verdict::Met);
        check(Conditions { matches: tag("\"b\""), ..none() }, Verdict::Failed);
        check(Conditions { matches: tag("\"b\", \"a\""), ..none() }, Verdict::Met);
        check(Conditions { unmodified_since: at(99), ..none() }, Verdict::Failed);
        check(Conditions { unmodified_since: at(100), ..none() }, Verdict::Met);
        let both = Conditions { matches: tag("\"a\""), unmodified_since: at(99), ..none() };
        check(both, Verdict::Met);
        check(Conditions { matches_none: tag("W/\"a\""), ..none() }, Verdict::NotModified);
        check(Conditions { matches_none: tag("\"b\""), ..none() }, Verdict::Met);
        check(Conditions { modified_since: at(100), ..none() }, Verdict::NotModified);
        check(Conditions { modified_since: at(99), ..none() }, Verdict::Met);
        let both = Conditions { matches_none: tag("\"b\""), modified_since: at(100), ..none() };
        check(both, Verdict::Met);
    }

    #[test]
    fn puts_have_the_conditions_of_s3() {
        let check = |matches: Option<&str>, none: Option<&str>| {
            let (matches, none) = (matches.and_then(tag), none.and_then(tag));
            of_put(matches.as_ref(), none.as_ref()).map_err(|error| error.code().clone())
        };
        assert_eq!(check(None, None), Ok(Condition::None));
        assert_eq!(check(None, Some("*")), Ok(Condition::Absent));
        assert_eq!(check(Some("\"a\""), None), Ok(Condition::Etag("a".to_owned())));
        assert_eq!(check(Some("*"), None), Err(S3ErrorCode::NotImplemented));
        assert_eq!(check(None, Some("\"a\"")), Err(S3ErrorCode::NotImplemented));
    }
}
