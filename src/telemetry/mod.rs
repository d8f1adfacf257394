//! Logs, metrics, health, and traces.
//!
//! | file | what |
//! |---|---|
//! | `instruments` | every instrument, named once |
//! | `metrics` | when each is touched |
//! | `health` | ready or not, alive or stuck, and why |
//! | `depths` | how many records are at each station of their way |
//! | `recent` | the last dead letters, and texts where they may be shown |
//! | `pulse` | does every part of the worker move? |
//! | `logs` | where log lines go, and in which shape |
//! | `trace` | W3C trace context from a record's headers, and into those of its outcome |
//! | `spans` | which records get spans; what is kept of them |
//! | `span_data` | what is kept, made into spans |
//! | `otlp` | spans and metrics to a collector |

mod depths;
mod health;
mod instruments;
pub mod logs;
mod metrics;
mod otlp;
mod pulse;
mod recent;
mod span_data;
mod spans;
mod trace;

pub use depths::Station;
pub use health::{Health, LoadedModel, Snapshot};
pub use instruments::PartitionFigure;
pub use metrics::{Metrics, MetricsError, age};
pub use otlp::Export;
pub use pulse::{Pulse, Stuck};
pub use recent::{Letter, Recent, Sample, Sampler};
pub use spans::{Delivered, Spans};
pub use trace::{extract, is_replaced, traceparent};

use opentelemetry_otlp::ExporterBuildError;
use prometheus::Registry;

use crate::config::Settings;
use crate::fate::Fate;

/// What the worker tells of itself while it runs. Cheap to clone; the default one tells nothing.
#[derive(Clone, Default)]
pub struct Telemetry {
    /// Figures.
    pub metrics: Metrics,
    /// Ready? Alive?
    pub health: Health,
    /// Traces.
    pub spans: Spans,
    /// What somebody who looks at the page sees of single records.
    pub recent: Recent,
}

impl Telemetry {
    /// Figures only.
    pub fn of(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), ..Self::default() }
    }
}

/// Telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A defect of ours.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The settings were checked; what is left are variables that the exporter reads by itself.
    #[error(
        "cannot set up the OpenTelemetry exporter: {0}; look at `telemetry.otlp` and at the environment's OTEL_EXPORTER_OTLP_* variables"
    )]
    Exporter(#[from] ExporterBuildError),
}

impl TelemetryError {
    /// A worker that cannot be watched as it was asked to be is not started.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// Sets up what the settings ask for: the instruments, the registry that `/metrics` is made of, and the
/// export to a collector. Must be called inside a tokio runtime.
///
/// # Errors
/// When an exporter refuses.
pub fn start(settings: &Settings, health: &Health) -> Result<(Telemetry, Registry, Export), TelemetryError> {
    let mut export = Export::new();
    // Nobody looks where no address is.
    let recent = settings.admin.map(|_| Recent::new(settings.show_text)).unwrap_or_default();
    let Some(otlp) = &settings.otlp else {
        let (metrics, registry) = Metrics::new(health)?;
        let telemetry = Telemetry { metrics, health: health.clone(), spans: Spans::default(), recent };
        return Ok((telemetry, registry, export));
    };
    let resource = otlp::resource(settings);
    let reader = otlp.metrics.is_some().then(otlp::Reader::default);
    let (metrics, registry) = Metrics::exported(health, resource.clone(), reader.clone())?;
    if let (Some(signal), Some(reader)) = (&otlp.metrics, reader) {
        export.metrics(otlp, signal, reader, metrics.clone())?;
    }
    let spans = match &otlp.traces {
        Some(signal) => {
            let (spans, queue) = Spans::new(otlp.sampling, settings.limits.max_in_flight_records, &metrics);
            let (group, client) =
                settings.kafka.as_ref().map_or(("", ""), |kafka| (&*kafka.group_id, &*kafka.client_id));
            let common = span_data::Common::new(group, client);
            export.spans(otlp, signal, &resource, common, queue, metrics.clone())?;
            spans
        }
        None => Spans::default(),
    };
    Ok((Telemetry { metrics, health: health.clone(), spans, recent }, registry, export))
}
