//! Bodies of S3 requests: received, and compared with what is said of them.

use http::Extensions;
use larder::ids::Scope;
use larder::objects::Contents;
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Error, S3Request, S3Result, StdError, s3_error};

use super::super::exchange::Exchange;
use super::super::transfers::{Digest, NotReceived};
use super::checksums::{Algorithm, Declared, Hasher, Sums};
use super::{Service, failure};

/// What is said of a body before it comes.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) len: Option<u64>,
    pub(super) declared: Declared,
}

impl Expected {
    /// What the fields that all calls with bodies have say, and the headers of trailers.
    pub(super) fn new<T>(
        request: &S3Request<T>,
        len: Option<i64>,
        md5: Option<String>,
        checksums: [(Algorithm, Option<String>); 5],
        asked: Option<&str>,
    ) -> Self {
        let given = checksums.into_iter();
        let given = given.filter_map(|(one, value)| Some((one.name().to_owned(), value?)));
        let mut declared = Declared { md5, checksums: given.collect(), announced: Vec::new() };
        declared.announce(&request.headers);
        declared.announced.extend(asked.and_then(Algorithm::of_name));
        Self { len: len.and_then(|len| u64::try_from(len).ok()), declared }
    }
}

/// A body that came whole, and is what it was said to be.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) contents: Contents,
    pub(super) sums: Sums,
}

impl Digest for Hasher {
    fn update(&mut self, block: &[u8]) {
        Hasher::update(self, block);
    }
}

impl Service {
    /// Receives a body, to be put in this scope.
    ///
    /// # Errors
    /// If it does not come whole, is longer than it may be, or not what was said of it.
    pub(super) async fn receive<T>(
        &self,
        body: Option<StreamingBlob>,
        scope: Scope,
        mut expected: Expected,
        request: &S3Request<T>,
    ) -> S3Result<Whole> {
        let mut body = body.unwrap_or_else(|| Body::empty().into());
        let hasher = Hasher::new(&expected.declared.algorithms());
        let received = self.transfers.receive(&mut body, scope, expected.len, hasher).await;
        let (whole, hasher) =
            received.map_err(|why| self.not_received(&why, &request.extensions))?;
        expected.declared.add_trailers(&trailers(request));
        let sums = hasher.finish();
        expected.declared.check(&sums)?;
        let contents = whole.finish().await.map_err(|error| failure::of(&error))?;
        Ok(Whole { contents, sums })
    }

    fn not_received(&self, why: &NotReceived<StdError>, extensions: &Extensions) -> S3Error {
        match why {
            NotReceived::TooLong => s3_error!(
                EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size: {} bytes.",
                self.transfers.max_body()
            ),
            NotReceived::OtherLength => s3_error!(
                IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length header."
            ),
            NotReceived::Body(error) => failure::of_body(error, extensions),
            NotReceived::Store(error) => failure::of(error),
        }
    }
}

/// What came after the body: by s3s, if it decoded it, or else by the server.
fn trailers<T>(request: &S3Request<T>) -> http::HeaderMap {
    let by_s3s = request.trailing_headers.as_ref().and_then(s3s::TrailingHeaders::take);
    by_s3s.unwrap_or_else(|| {
        let exchange = request.extensions.get::<std::sync::Arc<Exchange>>();
        exchange.and_then(|exchange| exchange.trailers()).cloned().unwrap_or_default()
    })
}
