//! How a worker tells a collector of itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::defaults;
use super::super::words::{Duration, Ratio, Secret};

/// What is told besides logs and `/metrics`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Telemetry {
    /// Traces and metrics to an OpenTelemetry collector.
    #[serde(default)]
    pub(in crate::config) otlp: Otlp,
}

/// Traces and metrics to an OpenTelemetry collector.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Otlp {
    /// The collector, as `http://host:port`. Absent: `OTEL_EXPORTER_OTLP_ENDPOINT`; without that one nothing is exported.
    #[schemars(length(min = 1), example = &"http://localhost:4317")]
    pub(in crate::config) endpoint: Option<String>,
    /// How to speak to it. Absent: `OTEL_EXPORTER_OTLP_PROTOCOL`, or else `grpc` on port 4317 and `http/protobuf` on any other.
    pub(in crate::config) protocol: Option<OtlpProtocol>,
    /// Headers to send with each export, such as `{authorization: {env: COLLECTOR_TOKEN}}`. Those of `OTEL_EXPORTER_OTLP_HEADERS` are sent too.
    #[serde(default)]
    pub(in crate::config) headers: BTreeMap<String, Secret>,
    /// How long one export may take. Absent: `OTEL_EXPORTER_OTLP_TIMEOUT`, or 10s.
    pub(in crate::config) timeout: Option<Duration>,
    /// Export traces?
    #[serde(default = "defaults::yes")]
    pub(in crate::config) traces: bool,
    /// Which share of the records whose producer sent no trace context is traced; with one, the producer decides. Records that fail are traced always. Absent: `OTEL_TRACES_SAMPLER`, or 0.01.
    pub(in crate::config) sampling_ratio: Option<Ratio>,
    /// Export metrics? (`/metrics` has them in any case.)
    #[serde(default = "defaults::yes")]
    pub(in crate::config) metrics: bool,
    /// Time between two exports of metrics. Absent: `OTEL_METRIC_EXPORT_INTERVAL`, or 60s.
    pub(in crate::config) metrics_interval: Option<Duration>,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: None,
            headers: BTreeMap::new(),
            timeout: None,
            traces: true,
            sampling_ratio: None,
            metrics: true,
            metrics_interval: None,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum OtlpProtocol {
    /// gRPC
    #[serde(rename = "grpc")]
    Grpc,
    /// protobuf over HTTP
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}
