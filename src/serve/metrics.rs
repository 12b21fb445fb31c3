//! What a server counts, as Prometheus reads it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder::objects::Objects;
use larder::store::Metered;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::Backend;

/// How a request is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    operation: &'static str,
    /// `2xx` and so on.
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// The numbers of a server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Kind, Counter>,
    durations: Family<Operation, Histogram, fn() -> Histogram>,
    received: Counter,
    sent: Counter,
    pub(super) in_flight: Gauge,
    pub(super) connections: Gauge,
}

fn durations() -> Histogram {
    // From a millisecond to about four minutes.
    Histogram::new(exponential_buckets(0.001, 4.0, 10))
}

impl Metrics {
    pub(super) fn new(objects: &Objects, store: &Backend) -> Self {
        let mut registry = Registry::with_prefix("larder");
        let requests = Family::default();
        let durations = Family::new_with_constructor(durations as fn() -> Histogram);
        let (received, sent) = (Counter::default(), Counter::default());
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        registry.register("requests", "Requests answered", Family::clone(&requests));
        registry.register(
            "request_duration_seconds",
            "From a request's headers to the last byte of its answer",
            Family::clone(&durations),
        );
        registry.register("received_bytes", "Bytes of the bodies of requests", received.clone());
        registry.register("sent_bytes", "Bytes of the bodies of answers", sent.clone());
        registry.register("requests_in_flight", "Requests under way", in_flight.clone());
        registry.register("connections", "Connections that are open", connections.clone());
        registry.register_collector(Box::new(Core {
            objects: objects.clone(),
            store: Arc::clone(store),
        }));
        Self { registry, requests, durations, received, sent, in_flight, connections }
    }

    /// Counts a request that is over.
    pub(super) fn count(
        &self,
        operation: &'static str,
        status: u16,
        took: Duration,
        received: u64,
        sent: u64,
    ) {
        let kind = Kind { operation, status: class(status) };
        self.requests.get_or_create(&kind).inc();
        self.durations.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
        self.received.inc_by(received);
        self.sent.inc_by(sent);
    }

    /// The page.
    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}

fn class(status: u16) -> &'static str {
    match status {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// What is counted below: read when the page is asked for.
struct Core {
    objects: Objects,
    store: Arc<Metered<Arc<dyn larder::store::Store>>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

impl Collector for Core {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counts = self.objects.counts();
        let rows = [
            ("new", counts.new_chunks, counts.new_bytes),
            ("reused", counts.reused_chunks, counts.reused_bytes),
        ];
        let labelled = |state: &'static str| [("state", state)];
        family(
            &mut encoder,
            "chunks",
            "Chunks of objects that were put",
            &rows.map(|row| (labelled(row.0), row.1)),
        )?;
        family(
            &mut encoder,
            "chunk_bytes",
            "Bytes of objects that were put, before compression",
            &rows.map(|row| (labelled(row.0), row.2)),
        )?;
        let store = self.store.requests();
        let kinds = [
            ("get", store.get),
            ("put", store.put),
            ("head", store.head),
            ("list", store.list),
            ("delete", store.delete),
        ];
        let kinds = kinds.map(|(kind, count)| ([("kind", kind)], count));
        family(&mut encoder, "store_requests", "Requests made of the store", &kinds)?;
        let bytes = [("read", store.bytes_read), ("written", store.bytes_written)];
        let bytes = bytes.map(|(way, count)| ([("direction", way)], count));
        family(&mut encoder, "store_bytes", "Bytes of the store's objects", &bytes)
    }
}

type Row = ([(&'static str, &'static str); 1], u64);

fn family(encoder: &mut DescriptorEncoder, name: &str, help: &str, rows: &[Row]) -> fmt::Result {
    use prometheus_client::metrics::MetricType;
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in rows {
        ConstCounter::new(*count).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}
