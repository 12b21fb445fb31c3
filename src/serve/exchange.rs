//! One request and its answer, as the server watches them: what all layers that a request
//! passes tell about it, and its body and its answer's, which are counted and timed.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// Why a body did not come whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// No byte came for so long.
    #[error("no byte of the body came for {} s", .0.as_secs())]
    Idle(Duration),
    /// The connection ended, or what came was no HTTP.
    #[error("the body ended before its end: {0}")]
    Broken(String),
    /// What came is not what its headers announced.
    #[error("the body cannot be read: {0}")]
    Malformed(&'static str),
}

/// What is known of a request under way. It travels with the request, from the connection
/// to whoever answers, and lasts until the last byte of the answer is out.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    operation: OnceLock<&'static str>,
    /// Bytes of the request's body.
    received: AtomicU64,
    /// Bytes of the answer's body.
    sent: AtomicU64,
    fault: OnceLock<Fault>,
    trailers: OnceLock<HeaderMap>,
}

impl Exchange {
    /// Says what the request asks for; the first one counts.
    pub(super) fn is_for(&self, operation: &'static str) {
        let _ = self.operation.set(operation);
    }

    /// What the request asks for, as far as that was understood.
    pub(super) fn operation(&self) -> &'static str {
        self.operation.get().copied().unwrap_or("other")
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Why the body did not come whole, if it is the server that found out.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.get()
    }

    pub(super) fn set_fault(&self, fault: Fault) -> Fault {
        self.fault.get_or_init(|| fault).clone()
    }

    /// What came after the body, if it was decoded here.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.get()
    }

    pub(super) fn set_trailers(&self, trailers: HeaderMap) {
        let _ = self.trailers.set(trailers);
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Received {
    inner: Incoming,
    exchange: Arc<Exchange>,
    timeout: Duration,
    /// Runs while a byte is waited for, and no longer: whoever answers may take its time.
    waits: Option<Pin<Box<Sleep>>>,
}

impl Received {
    pub(super) fn new(inner: Incoming, exchange: Arc<Exchange>, timeout: Duration) -> Self {
        Self { inner, exchange, timeout, waits: None }
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        waits.as_mut().poll(context)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            ready!(this.poll_idle(context));
            return Poll::Ready(Some(Err(this.exchange.set_fault(Fault::Idle(this.timeout)))));
        };
        this.waits = None;
        Poll::Ready(match frame {
            None => None,
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.exchange.received.fetch_add(len, Ordering::Relaxed);
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                Some(Err(this.exchange.set_fault(Fault::Broken(error.to_string()))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer. Whatever becomes of it, what it carries is dropped when it is
/// over.
pub(super) struct Sent<E> {
    inner: s3s::Body,
    exchange: Arc<Exchange>,
    deadline: Option<Pin<Box<Sleep>>>,
    _ending: E,
}

impl<E> Sent<E> {
    pub(super) fn new(
        inner: s3s::Body,
        exchange: Arc<Exchange>,
        deadline: Option<Instant>,
        ending: E,
    ) -> Self {
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        Self { inner, exchange, deadline, _ending: ending }
    }
}

impl<E: Unpin> Body for Sent<E> {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        let this = self.get_mut();
        if this.deadline.as_mut().is_some_and(|at| at.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Some(Err("the time for the request is over".into())));
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let len = frame.data_ref().map_or(0, Bytes::len) as u64;
            this.exchange.sent.fetch_add(len, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
