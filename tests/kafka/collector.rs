//! An OpenTelemetry collector made for the tests: takes spans and metrics over gRPC and over HTTP, with
//! OpenTelemetry's own protobuf types, and keeps them to be looked at.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, async_trait};

use crate::support::wait::{PATIENCE, until_some};

/// What came in so far.
#[derive(Debug, Default)]
struct Taken {
    spans: Vec<Span>,
    /// Names, with the sum of all points of the newest export.
    metrics: BTreeMap<String, f64>,
    resource: BTreeMap<String, String>,
    /// Values of the header `authorization`.
    authorization: Vec<String>,
    /// All of it, in words.
    said: String,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Taken>>);

/// A running collector. Dropped, it is gone.
#[allow(dead_code)] // Each test binary uses its own part.
pub struct Collector {
    pub endpoint: String,
    /// As `telemetry.otlp.protocol` has it.
    pub protocol: &'static str,
    taken: Shared,
    _runtime: Runtime,
}

#[allow(dead_code)]
impl Collector {
    pub fn grpc() -> Self {
        Self::start("grpc", |runtime, taken| {
            let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let address = incoming.local_addr().unwrap();
            let server = tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(taken.clone()))
                .add_service(MetricsServiceServer::new(taken));
            runtime.spawn(server.serve_with_incoming(incoming));
            address
        })
    }

    pub fn http() -> Self {
        Self::start("http/protobuf", |runtime, taken| {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap();
            let routes = axum::Router::new()
                .route("/v1/traces", post(http_traces))
                .route("/v1/metrics", post(http_metrics))
                .with_state(taken);
            runtime.spawn(async move { axum::serve(listener, routes).await });
            address
        })
    }

    fn start(protocol: &'static str, serve: impl FnOnce(&Runtime, Shared) -> SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let taken = Shared::default();
        // In the runtime's context: listening needs it.
        let address = {
            let _inside = runtime.enter();
            serve(&runtime, taken.clone())
        };
        Self { endpoint: format!("http://{address}"), protocol, taken, _runtime: runtime }
    }

    /// All spans so far, in the order in which they came.
    pub fn spans(&self) -> Vec<Span> {
        self.taken.0.lock().unwrap().spans.clone()
    }

    /// Waits for a span that this is true of.
    #[track_caller]
    pub fn wait_span(&self, what: &str, is: impl Fn(&Span) -> bool) -> Span {
        until_some(&format!("a span: {what}"), PATIENCE, || self.spans().into_iter().find(&is))
    }

    /// Sum of the points of a metric in the newest export that had it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.taken.0.lock().unwrap().metrics.get(name).copied()
    }

    pub fn resource(&self) -> BTreeMap<String, String> {
        self.taken.0.lock().unwrap().resource.clone()
    }

    /// All that came in, in words.
    pub fn said(&self) -> String {
        self.taken.0.lock().unwrap().said.clone()
    }

    pub fn authorization(&self) -> Vec<String> {
        self.taken.0.lock().unwrap().authorization.clone()
    }
}

impl Shared {
    fn spans(&self, request: ExportTraceServiceRequest) {
        let mut taken = self.0.lock().unwrap();
        taken.said += &format!("{request:?}\n");
        for of_resource in request.resource_spans {
            taken.remember(of_resource.resource.as_ref());
            taken.spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }

    fn metrics(&self, request: ExportMetricsServiceRequest) {
        let mut taken = self.0.lock().unwrap();
        taken.said += &format!("{request:?}\n");
        for of_resource in request.resource_metrics {
            taken.remember(of_resource.resource.as_ref());
            for metric in of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
                let number = |value: Option<Value>| match value {
                    Some(Value::AsInt(n)) => n as f64,
                    Some(Value::AsDouble(n)) => n,
                    None => f64::NAN,
                };
                let sum = match metric.data {
                    Some(Data::Gauge(gauge)) => gauge.data_points.into_iter().map(|p| number(p.value)).sum(),
                    Some(Data::Sum(sum)) => sum.data_points.into_iter().map(|p| number(p.value)).sum(),
                    Some(Data::Histogram(of)) => of.data_points.into_iter().map(|p| p.count as f64).sum(),
                    other => panic!("{other:?}"),
                };
                taken.metrics.insert(metric.name, sum);
            }
        }
    }

    fn authorization(&self, value: Option<&[u8]>) {
        let value = value.map(|v| String::from_utf8_lossy(v).into_owned());
        self.0.lock().unwrap().authorization.extend(value);
    }
}

impl Taken {
    fn remember(&mut self, resource: Option<&Resource>) {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        self.resource = attributes.iter().map(|a| (a.key.clone(), text(a))).collect();
    }
}

#[async_trait]
impl TraceService for Shared {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.authorization(request.metadata().get("authorization").map(|v| v.as_bytes()));
        self.spans(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[async_trait]
impl MetricsService for Shared {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.authorization(request.metadata().get("authorization").map(|v| v.as_bytes()));
        self.metrics(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn http_traces(State(taken): State<Shared>, headers: HeaderMap, body: Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    taken.authorization(headers.get("authorization").map(|v| v.as_bytes()));
    taken.spans(ExportTraceServiceRequest::decode(body).unwrap());
    ExportTraceServiceResponse::default().encode_to_vec()
}

async fn http_metrics(State(taken): State<Shared>, headers: HeaderMap, body: Bytes) -> Vec<u8> {
    taken.authorization(headers.get("authorization").map(|v| v.as_bytes()));
    taken.metrics(ExportMetricsServiceRequest::decode(body).unwrap());
    ExportMetricsServiceResponse::default().encode_to_vec()
}

/// An attribute's value, as text.
#[allow(dead_code)]
pub fn attribute(span: &Span, name: &str) -> Option<String> {
    span.attributes.iter().find(|a| a.key == name).map(text)
}

fn text(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(bool)) => bool.to_string(),
        other => panic!("{}: {other:?}", attribute.key),
    }
}

/// In hexadecimal, as in a `traceparent`.
#[allow(dead_code)]
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
