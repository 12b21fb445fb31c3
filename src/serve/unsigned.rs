//! Requests to a server without keys.
//!
//! Clients sign them all the same: most cannot be told not to. There is nothing to check
//! a signature by, and s3s refuses what it cannot check; so signatures are taken off
//! before, from headers and from presigned URLs, and so is the framing that carries
//! signatures of the body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use http_body::{Body, Frame};

use super::chunked::{Decoder, Malformed};
use super::exchange::{Exchange, Fault, Received};

/// The length of a body without its framing.
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

/// The hash of the body, or words for what is told in its place.
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Takes off what only a server with keys can use.
pub(super) fn strip(parts: &mut Parts, body: Received, exchange: &Arc<Exchange>) -> s3s::Body {
    parts.headers.remove(AUTHORIZATION);
    if let Some(uri) = without_signature(&parts.uri) {
        parts.uri = uri;
    }
    if !is_framed(&parts.headers) {
        parts.headers.remove(CONTENT_SHA256);
        return s3s::Body::http_body(body);
    }
    take_off_framing(&mut parts.headers);
    s3s::Body::http_body(Unframed::new(body, Arc::clone(exchange)))
}

fn is_framed(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    text(CONTENT_SHA256).starts_with("STREAMING-")
        || text(CONTENT_ENCODING.as_str()).split(',').any(is_aws_chunked)
}

fn is_aws_chunked(coding: &str) -> bool {
    coding.trim().eq_ignore_ascii_case("aws-chunked")
}

/// The codings of an object that was sent in `aws-chunked`; `None` if there is no other.
pub(super) fn other_codings(codings: &str) -> Option<String> {
    let others = codings.split(',').map(str::trim);
    let others: Vec<&str> = others.filter(|one| !one.is_empty() && !is_aws_chunked(one)).collect();
    (!others.is_empty()).then(|| others.join(","))
}

/// Has the headers speak of the body without its framing.
fn take_off_framing(headers: &mut HeaderMap) {
    headers.remove(CONTENT_SHA256);
    let codings = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    match codings.and_then(other_codings).map(HeaderValue::try_from) {
        Some(Ok(codings)) => drop(headers.insert(CONTENT_ENCODING, codings)),
        _ => drop(headers.remove(CONTENT_ENCODING)),
    }
    match headers.remove(DECODED_LENGTH) {
        Some(len) => {
            headers.insert(CONTENT_LENGTH, len);
            headers.remove(TRANSFER_ENCODING);
        }
        None => drop(headers.remove(CONTENT_LENGTH)),
    }
}

/// The URL without what a presigned one has more; `None` if it has nothing of that.
fn without_signature(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    let is_signature = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
        matches!(
            name.as_str(),
            "x-amz-algorithm"
                | "x-amz-credential"
                | "x-amz-date"
                | "x-amz-expires"
                | "x-amz-signedheaders"
                | "x-amz-signature"
                | "x-amz-security-token"
                | "x-amz-content-sha256"
                | "signature"
                | "awsaccesskeyid"
                | "expires"
        )
    };
    let all: Vec<&str> = query.split('&').collect();
    let kept: Vec<&str> = all.iter().copied().filter(|pair| !is_signature(pair)).collect();
    if kept.len() == all.len() {
        return None;
    }
    let text = match kept.as_slice() {
        [] => uri.path().to_owned(),
        kept => format!("{}?{}", uri.path(), kept.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

/// A body whose framing is taken off.
struct Unframed {
    inner: Received,
    /// `None` once it has come to its end.
    decoder: Option<Decoder>,
    input: Bytes,
    exchange: Arc<Exchange>,
}

impl Unframed {
    fn new(inner: Received, exchange: Arc<Exchange>) -> Self {
        Self { inner, decoder: Some(Decoder::new()), input: Bytes::new(), exchange }
    }

    fn malformed(&self, why: Malformed) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        Poll::Ready(Some(Err(self.exchange.set_fault(Fault::Malformed(why.0)))))
    }
}

impl Body for Unframed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        loop {
            let Some(decoder) = &mut this.decoder else { return Poll::Ready(None) };
            match decoder.decode(&mut this.input) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(why) => return this.malformed(why),
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => this.input = frame.into_data().unwrap_or_default(),
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                None => match this.decoder.take().map(Decoder::finish) {
                    Some(Ok(trailers)) => this.exchange.set_trailers(trailers),
                    Some(Err(why)) => return this.malformed(why),
                    None => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_taken_off_urls() {
        let check = |given: &str, expected: &str| {
            let uri: Uri = given.parse().unwrap();
            let shown = without_signature(&uri).unwrap_or(uri).to_string();
            assert_eq!(shown, expected);
        };
        check("/b/k", "/b/k");
        check("/b/k?x-id=GetObject", "/b/k?x-id=GetObject");
        check(
            "/b/k%20?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb&X-Amz-Date=1\
             &X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Signature=00",
            "/b/k%20",
        );
        check("/b/k?partNumber=1&X-Amz-Signature=0&uploadId=A", "/b/k?partNumber=1&uploadId=A");
        check("http://h:1/b?X-Amz-Signature=0", "http://h:1/b");
    }

    #[test]
    fn headers_speak_of_the_body_within() {
        let mut headers = HeaderMap::new();
        assert!(!is_framed(&headers));
        headers.insert(CONTENT_SHA256, "STREAMING-UNSIGNED-PAYLOAD-TRAILER".parse().unwrap());
        headers.insert(CONTENT_ENCODING, "aws-chunked, gzip".parse().unwrap());
        headers.insert(CONTENT_LENGTH, "100".parse().unwrap());
        headers.insert(DECODED_LENGTH, "60".parse().unwrap());
        assert!(is_framed(&headers));
        take_off_framing(&mut headers);
        assert_eq!(headers[CONTENT_LENGTH], "60");
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert!(!is_framed(&headers));
        headers.insert(CONTENT_ENCODING, "aws-chunked".parse().unwrap());
        assert!(is_framed(&headers));
        take_off_framing(&mut headers);
        assert!(headers.get(CONTENT_ENCODING).is_none() && headers.get(CONTENT_LENGTH).is_none());
    }
}
