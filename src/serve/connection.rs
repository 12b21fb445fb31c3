//! From listening to answers: accepting connections, and HTTP on each of them.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use larder::objects::Objects;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::Server;
use super::failure::ServeFailure;
use super::limits::Limits;
use super::listen::{Address, Listener, Stream, accept};
use super::patient::Patient;
use super::route::Pages;
use super::{Backend, Settings, Watch};

/// How long nobody is accepted after that failed: mostly there are no more descriptors,
/// and trying again at once would only use up the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What of a connection is read at once; there are many.
const BUFFER_LEN: usize = 128 << 10;

/// Where a connection came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) pages: Pages,
    /// The address that was listened on; none of a Unix socket.
    pub(super) listened: Option<IpAddr>,
}

/// Listens and serves until `stop`, and then until all requests under way are answered
/// or had their time.
pub(super) async fn run(
    settings: Settings,
    objects: &Objects,
    store: &Backend,
    watch: &Arc<dyn Watch>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeFailure> {
    let mut listeners = vec![];
    for address in &settings.listen {
        listeners.push(Listener::bind(address, false).await?);
    }
    if let Some(address) = &settings.admin {
        listeners.push(Listener::bind(address, true).await?);
    }
    let has_admin = settings.admin.is_some();
    let limits = settings.limits.clone();
    let server = Arc::new(Server::new(settings, objects, store, Arc::clone(watch)));
    tell(&listeners, watch.as_ref());
    let (graceful, stopping) = (GracefulShutdown::new(), watch::Sender::new(()));
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let mut stop = pin!(stop);
    let mut turn = 0;
    loop {
        let next = pin!(next(&listeners, &permits, &mut turn));
        let (index, accepted, permit) = match select(&mut stop, next).await {
            Either::Left(_) => break,
            Either::Right((next, _)) => next,
        };
        let listener = &listeners[index];
        let entry = Entry {
            pages: match (listener.is_admin, has_admin) {
                (true, _) => Pages::Own,
                (false, true) => Pages::S3,
                (false, false) => Pages::All,
            },
            listened: match &listener.address {
                Address::Tcp(address) => Some(address.ip()),
                Address::Unix(_) => None,
            },
        };
        match accepted {
            Ok(stream) => {
                let end = End { graceful: graceful.watcher(), stopping: stopping.subscribe() };
                start(stream, Arc::clone(&server), entry, end, permit);
            }
            Err(error) => {
                watch.failed(&format!("cannot accept a connection: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listeners);
    stopping.send_replace(());
    if tokio::time::timeout(limits.shutdown_timeout, graceful.shutdown()).await.is_err() {
        watch.failed("requests under way are cut off: the time for shutting down is over");
    }
    Ok(())
}

/// How a connection learns of the end.
struct End {
    /// Ends it between two requests.
    graceful: Watcher,
    /// The same for whoever has not asked for anything yet, whom hyper would wait for.
    stopping: watch::Receiver<()>,
}

fn tell(listeners: &[Listener], watch: &dyn Watch) {
    let of = |is_admin| {
        let those = listeners.iter().filter(move |listener| listener.is_admin == is_admin);
        those.map(|listener| &listener.address)
    };
    watch.listening(&of(false).collect::<Vec<_>>(), of(true).next());
}

/// The next connection, once there may be one more.
async fn next(
    listeners: &[Listener],
    permits: &Arc<Semaphore>,
    turn: &mut usize,
) -> (usize, std::io::Result<Stream>, Option<OwnedSemaphorePermit>) {
    // Nobody closes the semaphore.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    let (index, accepted) = accept(listeners, turn).await;
    (index, accepted, permit)
}

fn start(
    stream: Stream,
    server: Arc<Server>,
    entry: Entry,
    end: End,
    permit: Option<OwnedSemaphorePermit>,
) {
    tokio::spawn(async move {
        server.metrics.connections.inc();
        match stream {
            Stream::Tcp(stream) => {
                // Answers go out whole; waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                speak(stream, &server, entry, end).await;
            }
            Stream::Unix(stream) => speak(stream, &server, entry, end).await,
        }
        server.metrics.connections.dec();
        drop(permit);
    });
}

/// HTTP on one connection, to its end.
async fn speak<S>(stream: S, server: &Arc<Server>, entry: Entry, mut end: End)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = server.limits();
    let stream = TokioIo::new(Patient::new(stream, limits.body_timeout));
    let has_asked = AtomicBool::new(false);
    let answer = service_fn(|request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let server = Arc::clone(server);
        async move { Ok::<_, Infallible>(server.answer(request, entry).await) }
    });
    let connection = http(limits).serve_connection(stream, answer);
    let connection = pin!(end.graceful.watch(connection));
    // That a client left is its own affair; what that cost is told of its request.
    if let Either::Right((_, connection)) = select(connection, pin!(end.stopping.changed())).await
        && has_asked.load(Ordering::Relaxed)
    {
        let _ = connection.await;
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_header)
        .max_buf_size(limits.max_header.max(BUFFER_LEN));
    http
}
