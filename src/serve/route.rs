//! Which protocol a request speaks.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Method};

use super::caches;

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Whether the server is well.
    Health,
    /// What it counts.
    Metrics,
    /// The caches beside S3.
    Caches,
    /// The S3 protocol: all that is nothing else.
    S3,
    /// A form of S3 that is not spoken here, and why not.
    Refused(&'static str),
    /// Nothing: on a listener that has only the server's own pages.
    Nowhere,
}

/// Which pages a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// S3, the caches, and the server's own.
    All,
    /// S3 and the caches: the own ones are elsewhere.
    S3,
    /// The server's own alone.
    Own,
}

/// Tells who answers. The server's own pages have names that buckets can have, too; what
/// is signed is about the bucket.
pub(super) fn route(parts: &Parts, pages: Pages) -> Route {
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    let own = match parts.uri.path() {
        "/healthz" => Some(Route::Health),
        "/metrics" => Some(Route::Metrics),
        _ => None,
    };
    match (pages, own.filter(|_| is_read)) {
        (Pages::Own, own) => own.unwrap_or(Route::Nowhere),
        (Pages::All, Some(own)) if !is_signed(parts) => own,
        _ if caches::are_at(parts.uri.path()) => Route::Caches,
        _ => refusal(parts).map_or(Route::S3, Route::Refused),
    }
}

fn is_signed(parts: &Parts) -> bool {
    parts.headers.contains_key(AUTHORIZATION) || has_query(parts, "x-amz-signature")
}

fn has_query(parts: &Parts, wanted: &str) -> bool {
    let pairs = parts.uri.query().unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split('=').next()).any(|name| name.eq_ignore_ascii_case(wanted))
}

/// Why a request is refused that s3s would take.
fn refusal(parts: &Parts) -> Option<&'static str> {
    let text = |headers: &HeaderMap, name| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    // It would be read into memory whole, and browsers send it.
    let kind = text(&parts.headers, CONTENT_TYPE).trim_start().to_ascii_lowercase();
    if kind.starts_with("multipart/form-data") {
        return Some("uploads by HTML forms are not supported");
    }
    // It covers less of a request than its successor, and is long out of use.
    let is_old = text(&parts.headers, AUTHORIZATION).starts_with("AWS ")
        || (has_query(parts, "signature") && has_query(parts, "awsaccesskeyid"));
    is_old.then_some("the request is signed in version 2: use AWS4-HMAC-SHA256")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: Method, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_own_pages_shadow_no_bucket() {
        let get = |uri: &str, pages| route(&parts(Method::GET, uri, &[]), pages);
        assert_eq!(get("/healthz", Pages::All), Route::Health);
        assert_eq!(get("/metrics", Pages::All), Route::Metrics);
        assert_eq!(get("/metrics", Pages::S3), Route::S3);
        assert_eq!(get("/metrics", Pages::Own), Route::Metrics);
        assert_eq!(get("/metrics/a", Pages::Own), Route::Nowhere);
        for uri in ["/metrics/", "/metrics/a", "/metrics?list-type=2&X-Amz-Signature=0", "/", "/b"]
        {
            assert_eq!(get(uri, Pages::All), Route::S3, "{uri}");
        }
        let signed = [("authorization", "AWS4-HMAC-SHA256 Credential=…")];
        assert_eq!(route(&parts(Method::GET, "/healthz", &signed), Pages::All), Route::S3);
        assert_eq!(route(&parts(Method::PUT, "/healthz", &[]), Pages::All), Route::S3);
    }

    #[test]
    fn caches_have_paths_that_no_bucket_has() {
        let to = |uri: &str, pages| route(&parts(Method::PUT, uri, &[]), pages);
        for uri in ["/-/", "/-/cache/abc/k", "/-/turbo/v8/artifacts/0a?slug=a", "/-/anything"] {
            assert_eq!(to(uri, Pages::All), Route::Caches, "{uri}");
            assert_eq!(to(uri, Pages::S3), Route::Caches, "{uri}");
            assert_eq!(to(uri, Pages::Own), Route::Nowhere, "{uri}");
        }
        for uri in ["/-", "/-a/k", "/a/-/cache/abc/k"] {
            assert_eq!(to(uri, Pages::All), Route::S3, "{uri}");
        }
    }

    #[test]
    fn what_is_unsafe_or_outdated_is_refused() {
        let is_refused = |parts: &Parts| matches!(route(parts, Pages::All), Route::Refused(_));
        for form in ["multipart/form-data; boundary=x", "Multipart/Form-Data;boundary=x"] {
            assert!(is_refused(&parts(Method::POST, "/b", &[("content-type", form)])), "{form}");
        }
        assert!(is_refused(&parts(Method::GET, "/b/k", &[("authorization", "AWS key:signature")])));
        assert!(is_refused(&parts(
            Method::GET,
            "/b/k?AWSAccessKeyId=a&Signature=b&Expires=1",
            &[]
        )));
        assert!(!is_refused(&parts(Method::GET, "/b/k?signature=b", &[])));
    }
}
