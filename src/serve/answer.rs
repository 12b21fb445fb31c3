//! One request, from its headers to the last byte of its answer.

use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use larder::objects::Objects;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode};
use tokio::time::{Instant, timeout_at};

use super::caches::{self, Caches};
use super::connection::Entry;
use super::exchange::{Exchange, Received, Sent};
use super::health::Health;
use super::limits::Limits;
use super::metrics::Metrics;
use super::route::{Route, route};
use super::transfers::Transfers;
use super::{Backend, Served, Settings, Watch, guard, s3, unsigned};

/// What is common to all requests.
pub(super) struct Server {
    limits: Limits,
    /// Whether there are keys to check requests by.
    has_keys: bool,
    s3: S3Service,
    caches: Caches,
    health: Health,
    pub(super) metrics: Metrics,
    watch: Arc<dyn Watch>,
}

impl Server {
    pub(super) fn new(
        settings: Settings,
        objects: &Objects,
        store: &Backend,
        watch: Arc<dyn Watch>,
    ) -> Self {
        let has_keys = !settings.keys.is_empty();
        let Settings { limits, keys, buckets, caches, .. } = settings;
        let keys = Arc::new(keys);
        let transfers = Transfers::new(objects.clone(), &limits, Arc::clone(&watch));
        Self {
            has_keys,
            s3: s3::service(buckets, Arc::clone(&keys), transfers.clone()),
            caches: Caches::new(caches, keys, transfers),
            health: Health::new(Backend::clone(store)),
            metrics: Metrics::new(objects, store),
            limits,
            watch,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers a request. What it came to is counted and told once its answer is out.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        entry: Entry,
    ) -> Response<Sent<Ending>> {
        let began = Instant::now();
        let deadline = self.limits.request_timeout.map(|time| began + time);
        let exchange = Arc::new(Exchange::default());
        let (mut parts, body) = request.into_parts();
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        let expects = parts.headers.contains_key(EXPECT);
        parts.extensions.insert(Arc::clone(&exchange));
        self.metrics.in_flight.inc();
        let server = Arc::clone(&self);
        let watched = Arc::clone(&exchange);
        let mut ending = Ending { server, exchange: watched, began, method, path, status: LEFT };
        let body = Received::new(body, Arc::clone(&exchange), self.limits.body_timeout);
        let answering = self.by_route(parts, body, entry, &exchange);
        let (mut answered, deadline) = match deadline {
            None => (answering.await, None),
            Some(at) => match timeout_at(at, answering).await {
                Ok(answered) => (answered, deadline),
                // To say so takes a moment more.
                Err(_) => (too_late(&ending.path), None),
            },
        };
        // It waits to be told to go on, and was not, for the body is empty or not wanted.
        // Clients differ in what they make of that (botocore takes the next answer for
        // another): a new connection is clear to all.
        if expects && exchange.received() == 0 {
            answered.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Ok(id) = HeaderValue::try_from(ulid::Ulid::generate().to_string()) {
            answered.headers_mut().insert("x-amz-request-id", id);
        }
        ending.status = answered.status().as_u16();
        answered.map(|body| Sent::new(body, exchange, deadline, ending))
    }

    async fn by_route(
        &self,
        mut parts: Parts,
        body: Received,
        entry: Entry,
        exchange: &Arc<Exchange>,
    ) -> Response<Body> {
        if let (false, Some(listened)) = (self.has_keys, entry.listened)
            && let Err(refusal) = guard::check(&parts.headers, listened)
        {
            return refused(parts.uri.path(), S3ErrorCode::AccessDenied, refusal.to_string());
        }
        match route(&parts, entry.pages) {
            Route::Health => {
                exchange.is_for("Health");
                self.tell_health().await
            }
            Route::Metrics => {
                exchange.is_for("Metrics");
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                page(StatusCode::OK, kind, self.metrics.page())
            }
            Route::Nowhere => page(StatusCode::NOT_FOUND, PLAIN, "there is no such page\n".into()),
            Route::Refused(why) => error(S3ErrorCode::NotImplemented, why.to_owned()),
            Route::Caches => self.caches.answer(&parts, body, exchange).await,
            Route::S3 => {
                let body = match self.has_keys {
                    true => Body::http_body(body),
                    false => unsigned::strip(&mut parts, body, exchange),
                };
                self.by_s3(Request::from_parts(parts, body)).await
            }
        }
    }

    async fn tell_health(&self) -> Response<Body> {
        match self.health.check().await {
            Ok(()) => page(StatusCode::OK, PLAIN, "ok\n".into()),
            Err(why) => page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
        }
    }

    async fn by_s3(&self, request: Request<Body>) -> Response<Body> {
        let answered = self.s3.call(request).await;
        answered.unwrap_or_else(|failure| {
            let why = s3s::StdError::from(failure).to_string();
            self.watch.failed(&why);
            error(S3ErrorCode::InternalError, why)
        })
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut page = Response::new(Body::from(text));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}

fn error(code: S3ErrorCode, why: String) -> Response<Body> {
    let answer = S3Error::with_message(code, why).to_http_response();
    answer.unwrap_or_else(|_| page(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, String::new()))
}

/// As [`error`], in the words of whoever asks for this path.
fn refused(path: &str, code: S3ErrorCode, why: String) -> Response<Body> {
    match code.status_code() {
        Some(status) if caches::are_at(path) => caches::refused(path, status, &why),
        _ => error(code, why),
    }
}

fn too_late(path: &str) -> Response<Body> {
    let why = "the time for the request is over".to_owned();
    refused(path, S3ErrorCode::RequestTimeout, why)
}

/// What is told as the status of a request whose client left before it was answered: no
/// such answer was given, and no other either.
const LEFT: u16 = 499;

/// Counts and tells of a request when it is over, however it ended.
pub(super) struct Ending {
    server: Arc<Server>,
    exchange: Arc<Exchange>,
    began: Instant,
    method: Method,
    path: String,
    status: u16,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let served = Served {
            method: self.method.to_string(),
            path: std::mem::take(&mut self.path),
            operation: self.exchange.operation(),
            status: self.status,
            received: self.exchange.received(),
            sent: self.exchange.sent(),
            took: self.began.elapsed(),
        };
        let metrics = &self.server.metrics;
        metrics.in_flight.dec();
        let Served { operation, status, took, received, sent, .. } = served;
        metrics.count(operation, status, took, received, sent);
        self.server.watch.served(&served);
    }
}
