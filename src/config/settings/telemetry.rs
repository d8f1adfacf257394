//! The way to an OpenTelemetry collector.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Secret;

/// An OpenTelemetry collector, and what it is told.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// Where traces go; `None`: nowhere.
    pub traces: Option<OtlpSignal>,
    /// Where metrics go; `None`: nowhere.
    pub metrics: Option<OtlpSignal>,
    /// Which records are traced.
    pub sampling: Sampling,
    /// Between two exports of metrics.
    pub metrics_interval: Duration,
    /// Sent with each export; lower-case names.
    pub headers: BTreeMap<String, Secret>,
    /// For one export.
    pub timeout: Duration,
}

/// Where one kind of telemetry goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSignal {
    /// A URL, whole: what OTLP over HTTP adds to it is in it.
    pub endpoint: String,
    /// How to speak there.
    pub protocol: OtlpProtocol,
}

/// A transport of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// Protobuf over HTTP.
    HttpProtobuf,
}

/// Which records are traced. Those that fail always are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Of the records that decide for themselves, from 0 to 1.
    pub ratio: f64,
    /// A producer that sent a context has decided.
    pub parent_based: bool,
}
