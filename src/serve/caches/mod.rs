//! The caches of build tools that speak HTTP without S3: whatever GETs and PUTs by path
//! (Bazel, Gradle, ccache), and Turborepo's remote cache.
//!
//! Both keep objects as S3 does, in scopes of their own: `http:NAME` and `turbo:TEAM`. All
//! their paths begin with `/-/`, which no bucket is called. A request is told by its path
//! ([`names`]), checked ([`access`]), and answered by [`object`] or [`turbo`].

mod access;
mod failure;
mod names;
mod object;
mod turbo;

use std::sync::Arc;

use futures_util::StreamExt as _;
use http::header::EXPECT;
use http::request::Parts;
use http::{Method, Response};
use http_body_util::BodyDataStream;
use larder::objects::ObjectName;
use s3s::Body;

pub(super) use failure::refused;
pub(super) use names::is_team;

use super::Keys;
use super::exchange::{Exchange, Received};
use super::transfers::Transfers;
use failure::Failure;
use names::{Place, Protocol};

/// What the paths of all caches begin with. Buckets begin with a letter or a digit.
const ROOT: &str = "/-/";

/// The most bytes of a body that are taken although the answer is known.
const MAX_DRAINED: usize = 8 << 20;

/// Which caches a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Enabled {
    /// GET and PUT by path.
    pub(crate) http: bool,
    pub(crate) turborepo: bool,
}

/// The caches of a server.
pub(super) struct Caches {
    enabled: Enabled,
    keys: Arc<Keys>,
    transfers: Transfers,
}

/// The body of a request, as it comes.
type Incoming = BodyDataStream<Received>;

/// Whether a path is one of the caches'.
pub(super) fn are_at(path: &str) -> bool {
    path.starts_with(ROOT)
}

impl Caches {
    pub(super) fn new(enabled: Enabled, keys: Arc<Keys>, transfers: Transfers) -> Self {
        Self { enabled, keys, transfers }
    }

    /// Answers a request whose path is one of the caches'.
    pub(super) async fn answer(
        &self,
        parts: &Parts,
        body: Received,
        exchange: &Exchange,
    ) -> Response<Body> {
        let mut body = Incoming::new(body);
        let answered = self.try_answer(parts, &mut body, exchange).await;
        let Err(failure) = answered else { return answered.unwrap_or_default() };
        // Who waits to be told to go on has not sent it.
        if !parts.headers.contains_key(EXPECT) && !matches!(failure, Failure::Body(_)) {
            drain(&mut body).await;
        }
        failure.to_response(Protocol::of_path(parts.uri.path()))
    }

    async fn try_answer(
        &self,
        parts: &Parts,
        body: &mut Incoming,
        exchange: &Exchange,
    ) -> Result<Response<Body>, Failure> {
        let place = Place::parse(&parts.uri)?;
        exchange.is_for(place.operation(&parts.method));
        self.check_enabled(place.namespace().protocol())?;
        let writes = place.writes(&parts.method);
        access::check(&self.keys, &parts.headers, place.namespace(), writes)?;
        match place {
            Place::Cache { namespace, key } => {
                let name = ObjectName { scope: namespace.scope(), key };
                self.by_key(parts, body, name).await
            }
            Place::Turbo { team, page } => self.turbo(parts, body, &team, page).await,
        }
    }

    fn check_enabled(&self, protocol: Protocol) -> Result<(), Failure> {
        let (is_enabled, flag) = match protocol {
            Protocol::Http => (self.enabled.http, "--http-cache"),
            Protocol::Turbo => (self.enabled.turborepo, "--turborepo"),
        };
        if is_enabled { Ok(()) } else { Err(Failure::Off(flag)) }
    }

    /// GET, HEAD, PUT and DELETE of an object by its path.
    async fn by_key(
        &self,
        parts: &Parts,
        body: &mut Incoming,
        name: ObjectName,
    ) -> Result<Response<Body>, Failure> {
        match parts.method {
            Method::GET | Method::HEAD => self.get(parts, name).await,
            Method::PUT => {
                let etag = self.put(parts, body, name, object::is_kept_by_path).await?;
                Ok(object::tagged(Response::default(), &etag))
            }
            Method::DELETE => self.delete(name).await,
            _ => Err(Failure::Method("GET, HEAD, PUT, DELETE")),
        }
    }
}

/// Takes what still comes of a body that is not used, up to a bound. A client that sends
/// while it should read finds its connection closed, and not the answer.
async fn drain(body: &mut Incoming) {
    let mut left = MAX_DRAINED;
    while let Some(Ok(piece)) = body.next().await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => break,
        }
    }
}
