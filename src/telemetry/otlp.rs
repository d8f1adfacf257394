//! Spans and metrics to an OpenTelemetry collector, over gRPC or HTTP.
//!
//! Two tasks of the runtime, which the pipeline never waits for: what they have no room for, or what the
//! collector does not take, is dropped, counted, and told of once a minute at most.
//!
//! Not the SDK's own batch processor: it makes the caller build every span, says once in a lifetime that
//! it drops some, and counts them nowhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, Temporality};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanExporter as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Metrics;
use super::span_data::Common;
use super::spans::Finished;
use crate::config::settings::{Otlp, OtlpProtocol, OtlpSignal, Settings};

/// Spans in one export: the SDK's default.
const BATCH: usize = 512;
/// How long a span waits for company.
const LINGER: Duration = Duration::from_secs(1);
/// The exporters keep to their own time-out; this is for the case that one does not.
const GRACE: Duration = Duration::from_secs(1);
/// Between two lines in the log about one thing.
const SELDOM: Duration = Duration::from_secs(60);

/// The tasks.
pub struct Export {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Export {
    /// Nothing is exported yet.
    pub(super) fn new() -> Self {
        Self { stop: watch::Sender::new(false), tasks: Vec::new() }
    }

    /// Exports what is left, and ends. What the collector has not taken within `patience` is lost; the
    /// process ends either way.
    pub async fn finish(self, patience: Duration) {
        let _ = self.stop.send(true);
        let until = tokio::time::Instant::now() + patience;
        for mut task in self.tasks {
            if tokio::time::timeout_at(until, &mut task).await.is_err() {
                task.abort();
                tracing::warn!(
                    seconds = patience.as_secs_f64(),
                    "the collector did not take the last spans or metrics in time; they are lost"
                );
            }
        }
    }

    pub(super) fn spans(
        &mut self,
        otlp: &Otlp,
        signal: &OtlpSignal,
        resource: &Resource,
        common: Common,
        queue: mpsc::Receiver<Finished>,
        metrics: Metrics,
    ) -> Result<(), ExporterBuildError> {
        let builder = SpanExporter::builder();
        let mut exporter = match signal.protocol {
            OtlpProtocol::Grpc => builder
                .with_tonic()
                .with_endpoint(&signal.endpoint)
                .with_timeout(otlp.timeout)
                .with_metadata(MetadataMap::from_headers(headers(otlp)))
                .build()?,
            OtlpProtocol::HttpProtobuf => builder
                .with_http()
                .with_endpoint(&signal.endpoint)
                .with_protocol(Protocol::HttpBinary)
                .with_timeout(otlp.timeout)
                .with_headers(plain_headers(otlp))
                .build()?,
        };
        exporter.set_resource(resource);
        let sender = SpanSender {
            exporter,
            common,
            metrics,
            patience: otlp.timeout + GRACE,
            seldom: Seldom::default(),
        };
        self.tasks.push(tokio::spawn(sender.run(queue, self.stop.subscribe())));
        Ok(())
    }

    pub(super) fn metrics(
        &mut self,
        otlp: &Otlp,
        signal: &OtlpSignal,
        reader: Reader,
        metrics: Metrics,
    ) -> Result<(), ExporterBuildError> {
        let builder = MetricExporter::builder();
        let exporter = match signal.protocol {
            OtlpProtocol::Grpc => builder
                .with_tonic()
                .with_endpoint(&signal.endpoint)
                .with_timeout(otlp.timeout)
                .with_metadata(MetadataMap::from_headers(headers(otlp)))
                .build()?,
            OtlpProtocol::HttpProtobuf => builder
                .with_http()
                .with_endpoint(&signal.endpoint)
                .with_protocol(Protocol::HttpBinary)
                .with_timeout(otlp.timeout)
                .with_headers(plain_headers(otlp))
                .build()?,
        };
        let (interval, patience) = (otlp.metrics_interval, otlp.timeout + GRACE);
        let mut stop = self.stop.subscribe();
        self.tasks.push(tokio::spawn(async move {
            let mut seldom = Seldom::default();
            let mut figures = ResourceMetrics::default();
            loop {
                let last = tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => true,
                    () = sleep(interval) => false,
                };
                let collected = reader.collect(&mut figures);
                let sent = match collected {
                    Ok(()) => within(patience, exporter.export(&figures)).await,
                    Err(error) => Err(error.to_string()),
                };
                metrics.metric_export(sent.is_ok());
                if let Err(error) = sent {
                    seldom.tell(1, |times| {
                        tracing::warn!(times, error, "metrics were not exported; the next export has them");
                    });
                }
                if last {
                    return;
                }
            }
        }));
        Ok(())
    }
}

/// Of spans.
struct SpanSender {
    exporter: SpanExporter,
    common: Common,
    metrics: Metrics,
    patience: Duration,
    seldom: Seldom,
}

impl SpanSender {
    async fn run(mut self, mut queue: mpsc::Receiver<Finished>, mut stop: watch::Receiver<bool>) {
        let ids = RandomIdGenerator::default();
        let (mut spans, mut taken) = (Vec::with_capacity(BATCH), Vec::new());
        let mut due = tokio::time::Instant::now();
        let mut stopping = false;
        loop {
            if spans.is_empty() {
                due = tokio::time::Instant::now() + LINGER;
            }
            let room = BATCH.saturating_sub(spans.len());
            let full = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    // Nobody hands over any more; what is there is taken, and nothing waited for.
                    stopping = true;
                    queue.close();
                    continue;
                }
                n = queue.recv_many(&mut taken, room), if room > 0 => {
                    for finished in taken.drain(..) {
                        self.common.spans(finished, || ids.new_span_id(), &mut spans);
                    }
                    match n {
                        0 if spans.is_empty() => return,
                        0 => true,
                        _ => spans.len() >= BATCH,
                    }
                }
                () = tokio::time::sleep_until(due), if !spans.is_empty() => true,
            };
            if full {
                self.send(std::mem::replace(&mut spans, Vec::with_capacity(BATCH))).await;
            }
        }
    }

    async fn send(&mut self, spans: Vec<SpanData>) {
        let count = spans.len();
        match within(self.patience, self.exporter.export(spans)).await {
            Ok(()) => self.metrics.spans("exported", count),
            Err(error) => {
                self.metrics.spans("failed", count);
                self.seldom.tell(count as u64, |spans| {
                    tracing::warn!(spans, error, "the collector did not take spans; they are dropped");
                });
            }
        }
    }
}

async fn within(patience: Duration, export: impl Future<Output = OTelSdkResult>) -> Result<(), String> {
    match timeout(patience, export).await {
        Ok(exported) => exported.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", patience.as_secs_f64())),
    }
}

/// Tells the first time at once, and then what has come together since, now and then.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    since: u64,
}

impl Seldom {
    pub(super) fn tell(&mut self, times: u64, tell: impl FnOnce(u64)) {
        self.since += times;
        if self.last.is_none_or(|last| last.elapsed() >= SELDOM) {
            self.last = Some(Instant::now());
            tell(std::mem::take(&mut self.since));
        }
    }
}

/// Names and values were checked with the settings.
fn headers(otlp: &Otlp) -> HeaderMap {
    let pairs = otlp.headers.iter().filter_map(|(name, value)| {
        let mut value = HeaderValue::from_str(value.reveal()).ok()?;
        value.set_sensitive(true);
        Some((name.parse::<HeaderName>().ok()?, value))
    });
    pairs.collect()
}

/// The same, as the exporter over HTTP wants them.
fn plain_headers(otlp: &Otlp) -> HashMap<String, String> {
    otlp.headers.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect()
}

/// Who we are, for the collector: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word.
/// Two workers need different names, or their metrics would be taken for one's.
pub(super) fn resource(settings: &Settings) -> Resource {
    let told = Resource::builder().build();
    let lacks = |name: &'static str| told.get(&Key::new(name)).is_none();
    let named =
        told.get(&Key::new("service.name")).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut builder = Resource::builder();
    if !named {
        builder = builder.with_service_name("squeezeflow");
    }
    if lacks("service.version") {
        builder = builder.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    if lacks("service.instance.id") {
        let member = settings.kafka.as_ref().and_then(|kafka| kafka.group_instance_id.clone());
        let id = member.unwrap_or_else(|| RandomIdGenerator::default().new_trace_id().to_string());
        builder = builder.with_attribute(KeyValue::new("service.instance.id", id));
    }
    builder.build()
}

/// A reader of all instruments that is asked when an export is due. Shared between the provider, which
/// wants to own it, and the task.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: std::sync::Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }
    fn collect(&self, figures: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(figures)
    }
    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_seldom_and_added_up() {
        let (mut seldom, mut told) = (Seldom::default(), Vec::new());
        seldom.tell(3, |n| told.push(n));
        seldom.tell(4, |n| told.push(n));
        seldom.last = seldom.last.and_then(|last| last.checked_sub(SELDOM));
        seldom.tell(5, |n| told.push(n));
        assert_eq!(told, [3, 9]);
    }
}
