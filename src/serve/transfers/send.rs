//! From a stored object to the body of an answer.
//!
//! An object is fetched in pieces. A few are fetched ahead of what the client takes, so
//! that the store and the network to the client work at the same time.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use larder::objects::{Fetch, Found, ObjectError, Objects};
use s3s::StdError;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::task::{JoinHandle, spawn_blocking};

use super::super::limits::Share;
use super::Transfers;

/// The most bytes that are being fetched, or wait to be taken, at one time: what one body
/// takes in memory.
const BODY_MEMORY: u64 = 16 << 20;

/// The most pieces that are being fetched at one time, however small they are.
const MAX_FETCHES: usize = 8;

impl Transfers {
    /// The bytes of an object in a range, as a body. When the last was taken, the object
    /// counts as used.
    pub(in crate::serve) async fn send(&self, found: Found, range: Range<u64>) -> StreamingBlob {
        let len = range.end - range.start;
        let share = self.budget.take(len.min(BODY_MEMORY)).await;
        let waiting = match len {
            0 => VecDeque::new(),
            _ => found.fetches(range).into(),
        };
        StreamingBlob::new(Pieces {
            transfers: self.clone(),
            found,
            waiting,
            fetched: VecDeque::new(),
            ready: VecDeque::new(),
            ahead: 0,
            left: len,
            is_used: false,
            _share: share,
        })
    }
}

type Fetched = JoinHandle<Result<Vec<Bytes>, ObjectError>>;

struct Pieces {
    transfers: Transfers,
    found: Found,
    /// Not asked for yet.
    waiting: VecDeque<Fetch>,
    /// Asked for, in order.
    fetched: VecDeque<Fetched>,
    /// There.
    ready: VecDeque<Bytes>,
    /// Bytes of these two.
    ahead: u64,
    /// Bytes that were not taken yet.
    left: u64,
    is_used: bool,
    _share: Share,
}

impl Pieces {
    fn fetch_ahead(&mut self) {
        while self.fetched.len() < MAX_FETCHES
            && let Some(next) = self.waiting.front()
            && (self.fetched.is_empty() || self.ahead + next.len() <= BODY_MEMORY)
            && let Some(piece) = self.waiting.pop_front()
        {
            self.ahead += piece.len();
            let (objects, found) = (Objects::clone(&self.transfers.objects), self.found.clone());
            self.fetched.push_back(spawn_blocking(move || objects.fetch(&found, &piece)));
        }
    }

    /// Nobody waits for it: it only has to be done some day.
    fn note_use(&mut self) {
        if !std::mem::replace(&mut self.is_used, true) {
            let (objects, found) = (Objects::clone(&self.transfers.objects), self.found.clone());
            drop(spawn_blocking(move || objects.used(&found)));
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        let Some(first) = self.fetched.front_mut() else {
            return Poll::Ready(Err("the object is shorter than it is said to be".into()));
        };
        let fetched = ready!(Pin::new(first).poll(context));
        self.fetched.pop_front();
        Poll::Ready(match fetched {
            Ok(Ok(bytes)) => {
                self.ready.extend(bytes.into_iter().filter(|run| !run.is_empty()));
                Ok(())
            }
            // The status is out: all that is left is to end before the end, which the
            // client notices.
            Ok(Err(error)) => {
                self.transfers.tell(&error);
                Err(Box::new(error))
            }
            Err(error) => Err(Box::new(error)),
        })
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, StdError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if this.left == 0 {
                this.note_use();
                return Poll::Ready(None);
            }
            if let Some(run) = this.ready.pop_front() {
                this.left = this.left.saturating_sub(run.len() as u64);
                this.ahead = this.ahead.saturating_sub(run.len() as u64);
                if this.left == 0 {
                    // Whoever knows the length does not ask for the end.
                    this.note_use();
                }
                return Poll::Ready(Some(Ok(run)));
            }
            this.fetch_ahead();
            if let Err(error) = ready!(this.poll_piece(context)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl ByteStream for Pieces {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.left)
            .map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}
