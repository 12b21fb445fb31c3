//! From the body of a request to the contents of an object.
//!
//! While one block is cut and hashed on threads that may block, the next is received, and
//! no more than that: so a body takes the memory of two blocks, however long it is, and
//! neither the network nor the processors wait for each other.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join;
use http::Extensions;
use larder::error::Error;
use larder::ids::Scope;
use larder::objects::{Contents, ObjectError, Writer};
use s3s::dto::StreamingBlob;
use s3s::{S3Request, S3Result, s3_error};
use tokio::task::JoinHandle;

use super::super::blocking;
use super::super::exchange::Exchange;
use super::checksums::{Algorithm, Declared, Hasher, Sums};
use super::{Service, failure};

/// Bytes that are cut at a time. Longer blocks are cut on more processors at once, and
/// take more memory.
const BLOCK_LEN: usize = 2 << 20;

/// What one body takes in memory: the block that is being cut, the one that is received,
/// and what of them lies in chunks.
const BODY_MEMORY: u64 = 3 * BLOCK_LEN as u64;

/// Below this, hashing is not worth another thread.
const SMALL: usize = 128 << 10;

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

/// A block that is being cut, and its hashing beside.
type Work = JoinHandle<(Result<Writer, Error>, Hasher)>;

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
        self.check_len(expected.len.unwrap_or(0))?;
        let memory = expected.len.unwrap_or(BODY_MEMORY).min(BODY_MEMORY);
        let _share = self.budget.take(memory).await;
        let algorithms = expected.declared.algorithms();
        let (writer, hasher, len) = match body {
            Some(body) => self.cut(body, scope, &algorithms, &request.extensions).await?,
            None => (self.writer(scope).await?, Hasher::new(&algorithms), 0),
        };
        if expected.len.is_some_and(|expected| expected != len) {
            return Err(s3_error!(
                IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length header."
            ));
        }
        expected.declared.add_trailers(&trailers(request));
        let sums = hasher.finish();
        expected.declared.check(&sums)?;
        let finished = blocking(move || writer.finish()).await;
        let contents = finished.map_err(|error| self.failed(&ObjectError::Failed(error)))?;
        Ok(Whole { contents, sums })
    }

    fn check_len(&self, len: u64) -> S3Result<()> {
        if len > self.max_body {
            return Err(s3_error!(
                EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size: {} bytes.",
                self.max_body
            ));
        }
        Ok(())
    }

    async fn cut(
        &self,
        mut body: StreamingBlob,
        scope: Scope,
        algorithms: &[Algorithm],
        extensions: &Extensions,
    ) -> S3Result<(Writer, Hasher, u64)> {
        let mut idle = Some((self.writer(scope).await?, Hasher::new(algorithms)));
        let mut work: Option<Work> = None;
        let mut len = 0;
        loop {
            let block = next_block(&mut body, extensions).await?;
            if let Some(work) = work.take() {
                idle = Some(self.done(work).await?);
            }
            len += block.iter().map(|piece| piece.len() as u64).sum::<u64>();
            self.check_len(len)?;
            let (writer, hasher) = idle.take().expect("what worked is idle again");
            if block.is_empty() {
                return Ok((writer, hasher, len));
            }
            work = Some(tokio::spawn(cut_block(writer, hasher, block)));
        }
    }

    async fn writer(&self, scope: Scope) -> S3Result<Writer> {
        self.ask(move |objects| Ok(objects.writer(&scope)?)).await
    }

    async fn done(&self, work: Work) -> S3Result<(Writer, Hasher)> {
        let (written, hasher) = match work.await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let writer = written.map_err(|error| self.failed(&ObjectError::Failed(error)))?;
        Ok((writer, hasher))
    }
}

/// Cuts a block, and hashes it beside.
async fn cut_block(
    mut writer: Writer,
    mut hasher: Hasher,
    pieces: Vec<Bytes>,
) -> (Result<Writer, Error>, Hasher) {
    let block = joined(&pieces);
    drop(pieces);
    let (to_hash, is_small) = (block.clone(), block.len() <= SMALL);
    let hash = move || {
        hasher.update(&to_hash);
        hasher
    };
    let write = move || writer.write(&block).map(|()| writer);
    if is_small {
        return blocking(move || (write(), hash())).await;
    }
    join(blocking(write), blocking(hash)).await
}

/// The pieces as one; of one alone, nothing is copied.
fn joined(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [one] => one.clone(),
        pieces => pieces.concat().into(),
    }
}

/// The pieces of the next block; none at the end.
async fn next_block(body: &mut StreamingBlob, extensions: &Extensions) -> S3Result<Vec<Bytes>> {
    let (mut pieces, mut len) = (vec![], 0);
    while len < BLOCK_LEN {
        let Some(piece) = body.next().await else { break };
        let piece = piece.map_err(|error| failure::of_body(&error, extensions))?;
        len += piece.len();
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    Ok(pieces)
}

/// What came after the body: by s3s, if it decoded it, or else by the server.
fn trailers<T>(request: &S3Request<T>) -> http::HeaderMap {
    let by_s3s = request.trailing_headers.as_ref().and_then(s3s::TrailingHeaders::take);
    by_s3s.unwrap_or_else(|| {
        let exchange = request.extensions.get::<std::sync::Arc<Exchange>>();
        exchange.and_then(|exchange| exchange.trailers()).cloned().unwrap_or_default()
    })
}
