//! From the body of a request to the contents of an object.
//!
//! While one block is cut and hashed on threads that may block, the next is received, and
//! no more than that: so a body takes the memory of two blocks, however long it is, and
//! neither the network nor the processors wait for each other.

use bytes::Bytes;
use futures_util::future::join;
use futures_util::{Stream, StreamExt as _};
use larder::error::Error;
use larder::ids::Scope;
use larder::objects::{Contents, ObjectError, Writer};
use tokio::task::JoinHandle;

use super::super::blocking;
use super::super::limits::Share;
use super::Transfers;

/// Bytes that are cut at a time. Longer blocks are cut on more processors at once, and
/// take more memory.
const BLOCK_LEN: usize = 2 << 20;

/// What one body takes in memory: the block that is being cut, the one that is received,
/// and what of them lies in chunks.
const BODY_MEMORY: u64 = 3 * BLOCK_LEN as u64;

/// Below this, hashing is not worth another thread.
const SMALL: usize = 128 << 10;

/// What a protocol computes of a body while it comes in.
pub(in crate::serve) trait Digest: Send + 'static {
    /// Takes the next bytes.
    fn update(&mut self, block: &[u8]);
}

/// Why a body was not received.
#[derive(Debug)]
pub(in crate::serve) enum NotReceived<E> {
    /// It is longer than a body may be.
    TooLong,
    /// It has another length than was announced.
    OtherLength,
    /// It did not come to its end.
    Body(E),
    /// The store failed, which is told already.
    Store(ObjectError),
}

/// A body that came whole, and is not an object's contents yet: it may not be what it was
/// said to be.
pub(in crate::serve) struct Whole {
    writer: Writer,
    transfers: Transfers,
    _share: Share,
}

impl Whole {
    /// The contents, to be put.
    ///
    /// # Errors
    /// Those of the store, which are told already.
    pub(in crate::serve) async fn finish(self) -> Result<Contents, ObjectError> {
        let writer = self.writer;
        self.transfers.ask(move |_| Ok(writer.finish()?)).await
    }
}

/// A block that is being cut, and its hashing beside.
type Work<D> = JoinHandle<(Result<Writer, Error>, D)>;

impl Transfers {
    /// Receives a body, to be put in this scope; `len` is what was said of its length.
    ///
    /// # Errors
    /// [`NotReceived`]: nothing is stored then.
    pub(in crate::serve) async fn receive<E, D: Digest>(
        &self,
        body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
        scope: Scope,
        len: Option<u64>,
        digest: D,
    ) -> Result<(Whole, D), NotReceived<E>> {
        self.check_len(len.unwrap_or(0))?;
        let memory = len.unwrap_or(BODY_MEMORY).min(BODY_MEMORY);
        let share = self.budget.take(memory).await;
        let (writer, digest, received) = self.cut(body, scope, digest).await?;
        if len.is_some_and(|len| len != received) {
            return Err(NotReceived::OtherLength);
        }
        Ok((Whole { writer, transfers: self.clone(), _share: share }, digest))
    }

    fn check_len<E>(&self, len: u64) -> Result<(), NotReceived<E>> {
        if len > self.max_body { Err(NotReceived::TooLong) } else { Ok(()) }
    }

    async fn cut<E, D: Digest>(
        &self,
        body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
        scope: Scope,
        digest: D,
    ) -> Result<(Writer, D, u64), NotReceived<E>> {
        let writer = self.ask(move |objects| Ok(objects.writer(&scope)?)).await;
        let mut idle = Some((writer.map_err(NotReceived::Store)?, digest));
        let mut work: Option<Work<D>> = None;
        let mut len = 0;
        loop {
            let block = next_block(body).await.map_err(NotReceived::Body)?;
            if let Some(work) = work.take() {
                idle = Some(self.done(work).await.map_err(NotReceived::Store)?);
            }
            len += block.iter().map(|piece| piece.len() as u64).sum::<u64>();
            self.check_len(len)?;
            let (writer, digest) = idle.take().expect("what worked is idle again");
            if block.is_empty() {
                return Ok((writer, digest, len));
            }
            work = Some(tokio::spawn(cut_block(writer, digest, block)));
        }
    }

    async fn done<D>(&self, work: Work<D>) -> Result<(Writer, D), ObjectError> {
        let (written, digest) = match work.await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let written = written.map_err(ObjectError::Failed);
        Ok((written.inspect_err(|error| self.tell(error))?, digest))
    }
}

/// Cuts a block, and hashes it beside.
async fn cut_block<D: Digest>(
    mut writer: Writer,
    mut digest: D,
    pieces: Vec<Bytes>,
) -> (Result<Writer, Error>, D) {
    let block = joined(&pieces);
    drop(pieces);
    let (to_hash, is_small) = (block.clone(), block.len() <= SMALL);
    let hash = move || {
        digest.update(&to_hash);
        digest
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
async fn next_block<E>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Vec<Bytes>, E> {
    let (mut pieces, mut len) = (vec![], 0);
    while len < BLOCK_LEN {
        let Some(piece) = body.next().await.transpose()? else { break };
        len += piece.len();
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    Ok(pieces)
}
