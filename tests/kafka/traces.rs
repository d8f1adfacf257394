//! A record is followed from its producer to its outcome, by the spans that a collector gets and by the
//! headers of what is written.

use std::net::TcpListener;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;

use crate::collector::{Collector, attribute, hex};
use crate::support::client::Message;
use crate::support::cluster::Cluster;
use crate::support::letters::replay;
use crate::support::observer::{Seen, read_all, source_of};
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn told(trace: &str, sampled: bool) -> Vec<(String, Option<Vec<u8>>)> {
    let traceparent = format!("00-{trace}-{PARENT}-0{}", u8::from(sampled));
    [("before", "1"), ("traceparent", &traceparent), ("tracestate", "vendor=x"), ("baggage", "tenant=7")]
        .map(|(name, value)| (name.to_owned(), Some(value.as_bytes().to_vec())))
        .to_vec()
}

/// One with a text that the model takes, and one in which there is none.
fn record(text: Option<&str>, headers: Vec<(String, Option<Vec<u8>>)>) -> Message {
    let value = match text {
        Some(text) => json!({ "text": text }).to_string(),
        None => "{}".to_owned(),
    };
    Message {
        key: Some(b"planted key".to_vec()),
        value: Some(value.into_bytes()),
        headers,
        ..Message::default()
    }
}

fn traced(scene: &Scene, collector: &Collector, ratio: f64) -> crate::support::worker::Pipeline {
    let otlp = json!({
        "endpoint": collector.endpoint, "protocol": collector.protocol, "sampling_ratio": ratio,
        "metrics_interval": "200ms",
    });
    scene.pipeline.clone().set_top("telemetry", json!({ "otlp": otlp }))
}

fn own(seen: &Seen, name: &str) -> Vec<String> {
    let all = seen.headers.iter().filter(|(n, _)| n == name);
    all.map(|(_, value)| String::from_utf8(value.clone().unwrap()).unwrap()).collect()
}

fn children<'a>(spans: &'a [Span], of: &Span) -> Vec<&'a Span> {
    let mut all: Vec<&Span> = spans.iter().filter(|s| s.parent_span_id == of.span_id).collect();
    all.sort_by_key(|s| s.start_time_unix_nano);
    all
}

#[test]
fn a_record_is_found_by_its_trace_in_the_spans_and_in_its_output() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "traced", 3, 3);
    let collector = Collector::grpc();
    let observer = scene.observer();
    let worker = traced(&scene, &collector, 0.0).start_ready();
    // In the company of others, which are not traced: they have no parent, and of roots none is.
    let mut messages = Stream::new(7).take(200);
    messages.insert(100, record(Some("a planted text"), told(TRACE, true)));
    scene.client.produce(&scene.input(), messages);
    observer.wait(201, PATIENCE);

    let output = observer.seen().into_iter().find(|s| !own(s, "traceparent").is_empty()).unwrap();
    let (_, partition, offset) = source_of(&output);
    let is = |name: &'static str| move |s: &Span| hex(&s.trace_id) == TRACE && s.name == name;
    let send = collector.wait_span("of the output", is("send traced.out"));
    let process = collector.wait_span("of the record", is("process traced.in"));
    let batch = collector.wait_span("of its batch", |s| s.name == "infer batch");
    worker.terminate();

    // The producer's span, ours, the output's.
    assert_eq!(hex(&process.parent_span_id), PARENT);
    assert_eq!(process.kind, SpanKind::Consumer as i32);
    assert_eq!(process.trace_state, "vendor=x");
    assert_eq!(send.kind, SpanKind::Producer as i32);
    assert_eq!(send.parent_span_id, process.span_id);
    assert_eq!(own(&output, "traceparent"), [format!("00-{TRACE}-{}-01", hex(&send.span_id))]);
    assert_eq!(own(&output, "tracestate"), ["vendor=x"]);
    assert_eq!(own(&output, "baggage"), ["tenant=7"]);
    assert_eq!(own(&output, "before"), ["1"]);
    for (name, value) in [
        ("messaging.system", "kafka".to_owned()),
        ("messaging.operation.type", "process".to_owned()),
        ("messaging.destination.name", scene.input()),
        ("messaging.destination.partition.id", partition.to_string()),
        ("messaging.kafka.offset", offset.to_string()),
        ("messaging.consumer.group.name", scene.name.clone()),
        ("squeezeflow.outcome", "enriched".to_owned()),
    ] {
        assert_eq!(attribute(&process, name), Some(value), "{name}");
    }
    let spans = collector.spans();
    let stages = children(&spans, &process);
    let names: Vec<&str> = stages.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["admission", "tokenize", "queue", "infer", "settle", "send traced.out"]);
    assert_eq!(stages[0].start_time_unix_nano, process.start_time_unix_nano);
    assert_eq!(stages[5].end_time_unix_nano, process.end_time_unix_nano);

    // The batch and the record know each other, from trace to trace.
    assert_ne!(batch.trace_id, process.trace_id);
    let linked: Vec<_> = batch.links.iter().map(|l| (&l.trace_id, &l.span_id)).collect();
    assert_eq!(linked, [(&process.trace_id, &process.span_id)]);
    let linked: Vec<_> = stages[3].links.iter().map(|l| (&l.trace_id, &l.span_id)).collect();
    assert_eq!(linked, [(&batch.trace_id, &batch.span_id)]);
    assert!(attribute(&batch, "squeezeflow.batch.sequences").unwrap().parse::<usize>().unwrap() >= 1);

    assert_eq!(spans.len(), 8, "one record of 201, and its batch: {spans:#?}");
    let all = format!("{spans:?}");
    for payload in ["planted text", "planted key", "tenant"] {
        assert!(!all.contains(payload), "{payload} is in {all}");
    }
}

#[test]
fn a_failed_record_is_kept_though_its_parent_is_not_sampled() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "unsampled", 1, 1);
    let collector = Collector::http();
    let observer = scene.observer();
    let worker = traced(&scene, &collector, 1.0).start_ready();
    let other = "11111111111111111111111111111111";
    scene.client.produce(
        &scene.input(),
        [
            record(Some("fine"), told(other, false)),
            record(None, told(TRACE, false)),
            // Of no trace: a new one, of which all are traced here.
            record(Some("fine too"), vec![("tracestate".to_owned(), Some(b"of=nothing".to_vec()))]),
        ],
    );
    observer.wait(3, PATIENCE);
    let send = collector.wait_span("of the letter", |s| s.name == "send unsampled.dead");
    let root = collector.wait_span("of the root", |s| {
        s.name == "process unsampled.in" && attribute(s, "messaging.kafka.offset").as_deref() == Some("2")
    });
    worker.terminate();

    let spans = collector.spans();
    let failed = spans.iter().find(|s| s.span_id == send.parent_span_id).unwrap();
    assert_eq!(hex(&failed.trace_id), TRACE);
    assert_eq!(hex(&failed.parent_span_id), PARENT);
    assert_eq!(failed.status.as_ref().unwrap().code, StatusCode::Error as i32);
    assert_eq!(attribute(failed, "error.type").as_deref(), Some("text_missing"));
    assert_eq!(attribute(failed, "squeezeflow.stage").as_deref(), Some("decode"));
    let names: Vec<&str> = children(&spans, failed).iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["admission", "tokenize", "settle", "send unsampled.dead"], "it never saw the model");

    let seen = observer.seen();
    let letter = seen.iter().find(|s| s.topic == scene.dead()).unwrap();
    assert_eq!(letter.headers[..4], told(TRACE, false), "its own headers are whole");
    let ours = format!("00-{TRACE}-{}-01", hex(&send.span_id));
    assert_eq!(own(letter, "traceparent").last(), Some(&ours), "of several the last one counts");
    assert_eq!(own(letter, "__squeezeflow.errors.trace_id"), [TRACE]);

    // What is not recorded passes its context on as it came.
    assert!(spans.iter().all(|s| hex(&s.trace_id) != other));
    let output =
        |offset| seen.iter().find(|s| s.topic == scene.output() && source_of(s).2 == offset).unwrap();
    assert_eq!(output(0).headers[..4], told(other, false));
    // A root has no parent, and passes its own trace on.
    assert!(root.parent_span_id.is_empty());
    let told_on = own(output(2), "traceparent");
    assert_eq!(told_on.len(), 1);
    assert!(told_on[0].contains(&hex(&root.trace_id)));
    assert!(own(output(2), "tracestate").is_empty(), "it belonged to no trace");

    // Replayed, the record has its own headers and no other.
    assert_eq!(replay(&scene.pipeline, &[]), 1);
    let again = read_all(&scene.client, &[&scene.input()]).pop().unwrap();
    assert_eq!(again.headers[..4], told(TRACE, false));
    assert_eq!(again.headers.len(), 5, "and the mark of a replay: {:?}", again.headers);
}

#[test]
fn metrics_and_names_reach_the_collector() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "exported", 2, 1);
    let collector = Collector::http();
    let mut pipeline = traced(&scene, &collector, 0.5);
    for (name, value) in [
        ("OTEL_SERVICE_NAME", "tagger"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=tests"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20planted"),
    ] {
        pipeline = pipeline.env(name, value);
    }
    let worker = pipeline.start_ready();
    scene.client.produce(&scene.input(), Stream::new(7).take(300));
    let metric = |name: &str| collector.metric(name).unwrap_or(0.0);
    until("the records in the exported metrics", PATIENCE, || {
        metric("squeezeflow_records_out_total") == 300.0 && metric("squeezeflow_spans_total") > 0.0
    });
    assert_eq!(metric("squeezeflow_records_in_total"), 300.0);
    assert_eq!(metric("squeezeflow_processing_duration_seconds"), 300.0);
    assert_eq!(metric("squeezeflow_assigned_partitions"), 2.0);
    let spans = worker.metric("squeezeflow_spans_total", "dropped").unwrap();
    assert_eq!(spans, 0.0);
    worker.terminate();
    let resource = collector.resource();
    assert_eq!(resource["service.name"], "tagger");
    assert_eq!(resource["deployment.environment.name"], "tests");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert!(!resource["service.instance.id"].is_empty());
    assert!(collector.authorization().iter().all(|value| value == "Bearer planted"));
    // About half of 300 records: whichever they were, each is whole.
    let spans = collector.spans();
    let records: Vec<&Span> = spans.iter().filter(|s| s.name == "process exported.in").collect();
    assert!((75..225).contains(&records.len()), "{}", records.len());
    for record in records {
        let sent = children(&spans, record).iter().filter(|s| s.name == "send exported.out").count();
        assert_eq!(sent, 1);
    }
}

/// Nobody listens; or somebody does, and never answers.
#[test]
fn a_collector_that_does_not_answer_costs_a_count_and_nothing_else() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "unheard", 2, 1);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let observer = scene.observer();
    let (mut sent, mut stream) = (0, Stream::new(7));
    for (address, protocol) in [
        (silent.local_addr().unwrap(), "grpc"),
        (silent.local_addr().unwrap(), "http/protobuf"),
        (closed, "grpc"),
    ] {
        let otlp = json!({
            "endpoint": format!("http://{address}"), "protocol": protocol, "sampling_ratio": 1.0,
            "timeout": "500ms", "metrics_interval": "100ms",
        });
        let worker = scene.pipeline.clone().set_top("telemetry", json!({ "otlp": otlp })).start_ready();
        sent += 3_000;
        scene.client.produce(&scene.input(), stream.take(3_000));
        observer.wait(sent, PATIENCE);
        let lost = |result| worker.metric("squeezeflow_spans_total", result).unwrap();
        until("lost spans to be counted", PATIENCE, || lost("failed") > 0.0);
        until("a lost export of metrics to be counted", PATIENCE, || {
            worker.metric("squeezeflow_metric_exports_total", "error").unwrap() > 0.0
        });
        assert_eq!(lost("exported"), 0.0);
        let lines = worker.log().lines().filter(|l| l.contains("collector did not take spans")).count();
        assert_eq!(lines, 1, "told seldom: {}", worker.log());
        worker.terminate();
    }
    // All that is altered is the header that names our span.
    let verdict = scene.verdict();
    let faults = [verdict.lost.len(), verdict.duplicates.len(), verdict.disorder.len()];
    assert_eq!(faults, [0; 3], "{verdict:?}");
    drop(silent);
}

/// With tracing off no header is touched.
#[test]
fn without_a_collector_every_header_passes_as_it_came() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "untraced", 1, 1);
    let observer = scene.observer();
    let worker = scene.pipeline.start_ready();
    scene
        .client
        .produce(&scene.input(), [record(Some("fine"), told(TRACE, true)), record(None, told(TRACE, true))]);
    observer.wait(2, PATIENCE);
    worker.terminate();
    for seen in observer.seen() {
        assert_eq!(seen.headers[..4], told(TRACE, true));
        assert_eq!(own(&seen, "traceparent").len(), 1);
    }
}
