//! Which records are recorded, and what their spans say.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use opentelemetry::Value;
use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;

use super::super::span_data::Common;
use super::super::{is_replaced, traceparent};
use super::*;
use crate::record::{DeadLetter, Offset, PassThrough, Reason, Record, Stage, Timestamp};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn spans(ratio: f64, parent_based: bool) -> (Spans, mpsc::Receiver<Finished>) {
    Spans::new(Sampling { ratio, parent_based }, NonZeroUsize::MIN, &Metrics::disabled())
}

fn record() -> Record {
    Record {
        topic: "reviews".into(),
        partition: 3,
        offset: Offset::new(42),
        key: Some(b"a key".to_vec()),
        value: Some(b"a text".to_vec()),
        headers: vec![Header::new("h", "a header")],
        timestamp: Timestamp(None),
    }
}

fn passed() -> Outcome {
    Outcome::PassThrough { record: record(), why: PassThrough::NotSelected }
}

fn dead() -> Outcome {
    let letter =
        DeadLetter { reason: Reason::InferenceFailed, message: "a message".into(), stage: Stage::Infer };
    Outcome::DeadLetter { record: record(), letter }
}

fn sampled(spans: &Spans, headers: &[Header]) -> bool {
    spans.admitted(headers).own.unwrap().sampled
}

#[test]
fn off_it_looks_at_nothing() {
    let trace = Spans::default().admitted(&[Header::new("traceparent", SAMPLED)]);
    assert!(trace.own.is_none() && !trace.parent.is_valid());
    assert!(trace.recorded(&dead()).is_none());
}

#[test]
fn a_parent_decides_and_a_root_by_its_ratio() {
    let header = |value: &str| [Header::new("traceparent", value)];
    for ratio in [0.0, 1.0] {
        let (spans, _queue) = spans(ratio, true);
        assert!(sampled(&spans, &header(SAMPLED)));
        assert!(!sampled(&spans, &header(UNSAMPLED)));
        assert_eq!(sampled(&spans, &[]), ratio > 0.0);
        assert_eq!(sampled(&spans, &header("nonsense")), ratio > 0.0);
    }
    let (always, _queue) = spans(1.0, false);
    assert!(sampled(&always, &header(UNSAMPLED)));
    let (tenth, _queue) = spans(0.1, true);
    let kept = (0..10_000).filter(|_| sampled(&tenth, &[])).count();
    assert!((800..1200).contains(&kept), "{kept}");
}

#[test]
fn a_failed_record_is_kept_whatever_its_parent_says() {
    let (spans, mut queue) = spans(0.0, true);
    let trace = spans.admitted(&[Header::new("traceparent", UNSAMPLED)]);
    let stamps = Stamps::admitted(Instant::now());
    let deliver = |outcome: &Outcome| {
        let (trace, stamps, released) = (&trace, &stamps, Instant::now());
        spans.delivered(&Delivered { trace, outcome, stamps, released, to: "out" });
    };
    deliver(&passed());
    assert!(queue.try_recv().is_err());
    deliver(&dead());
    let mut built = Vec::new();
    Common::new("g", "c").spans(queue.try_recv().unwrap(), || SpanId::from(7), &mut built);
    assert!(built.iter().all(|s| s.span_context.is_sampled()), "it is recorded, so it is sampled");
    assert_eq!(built[0].parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(built[0].status, Status::error("inference_failed"));
}

/// So many records of this outcome at once, as a transaction hands them over.
fn burst(spans: &Spans, records: usize, outcome: &Outcome) {
    let (trace, stamps, released) = (spans.admitted(&[]), Stamps::admitted(Instant::now()), Instant::now());
    for _ in 0..records {
        spans.delivered(&Delivered { trace: &trace, outcome, stamps: &stamps, released, to: "out" });
    }
}

fn come_out(queue: &mut mpsc::Receiver<Finished>) -> (usize, usize) {
    let all: Vec<bool> = std::iter::from_fn(|| queue.try_recv().ok()).map(|one| one.failed()).collect();
    let failed = all.iter().filter(|failed| **failed).count();
    (all.len() - failed, failed)
}

#[test]
fn what_has_no_room_is_dropped_and_what_failed_has_some_left() {
    let (spans, mut queue) = spans(1.0, true);
    let (most, kept) = (LEAST, LEAST / KEPT);
    burst(&spans, most + 10, &passed());
    let mut trace = spans.admitted(&[]);
    let now = Instant::now();
    spans.batch([(&mut trace, false)].into_iter(), (1, 1), (now, now));
    spans.batch([(&mut trace, true)].into_iter(), (1, 1), (now, now));
    burst(&spans, kept + 10, &dead());
    assert_eq!(come_out(&mut queue), (most - kept, kept));
    // There is room again, for everybody.
    burst(&spans, 1, &passed());
    assert_eq!(come_out(&mut queue), (1, 0));
}

#[test]
fn all_that_may_be_in_flight_may_fail_at_once() {
    let of = |in_flight| {
        let sampling = Sampling { ratio: 0.0, parent_based: true };
        Spans::new(sampling, NonZeroUsize::new(in_flight).unwrap(), &Metrics::disabled())
    };
    let (spans, mut queue) = of(10_000);
    burst(&spans, 10_000, &dead());
    assert_eq!(come_out(&mut queue), (0, 10_000));
    let (spans, mut queue) = of(usize::MAX);
    burst(&spans, MOST + 1, &dead());
    assert_eq!(come_out(&mut queue), (0, MOST), "but there is an end to it");
}

fn attribute(span: &SpanData, name: &str) -> Option<Value> {
    span.attributes.iter().find(|a| a.key.as_str() == name).map(|a| a.value.clone())
}

#[test]
fn a_record_is_one_span_with_a_child_for_each_stage() {
    let (spans, mut queue) = spans(0.0, true);
    let mut trace =
        spans.admitted(&[Header::new("traceparent", SAMPLED), Header::new("tracestate", "vendor=x")]);
    let start = Instant::now() - Duration::from_millis(100);
    let at = |ms| start + Duration::from_millis(ms);
    spans.batch([(&mut trace, false)].into_iter(), (5, 8), (at(10), at(40)));
    let mut stamps = Stamps::admitted(start);
    (stamps.taken, stamps.tokenized) = (Some(at(1)), Some(at(3)));
    (stamps.batched, stamps.inferred) = (Some(at(10)), Some(at(40)));
    spans.delivered(&Delivered {
        trace: &trace,
        outcome: &passed(),
        stamps: &stamps,
        released: at(45),
        to: "out",
    });
    let (mut built, mut next) = (Vec::new(), 0);
    let common = Common::new("the group", "the client");
    for _ in 0..2 {
        let id = || {
            next += 1;
            SpanId::from(next)
        };
        common.spans(queue.try_recv().unwrap(), id, &mut built);
    }
    let [batch, record, stages @ ..] = built.as_slice() else { panic!() };

    assert_eq!((&*record.name, &record.span_kind), ("process reviews", &SpanKind::Consumer));
    assert_eq!(record.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(record.parent_span_is_remote);
    assert_eq!(record.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(record.span_context.trace_state().get("vendor"), Some("x"));
    for (name, value) in [
        ("messaging.system", Value::from("kafka")),
        ("messaging.operation.type", "process".into()),
        ("messaging.operation.name", "process".into()),
        ("messaging.destination.name", "reviews".into()),
        ("messaging.destination.partition.id", "3".into()),
        ("messaging.kafka.offset", 42.into()),
        ("messaging.consumer.group.name", "the group".into()),
        ("messaging.client.id", "the client".into()),
        ("messaging.message.body.size", 6.into()),
        ("squeezeflow.outcome", "passed".into()),
        ("squeezeflow.reason", "not_selected".into()),
    ] {
        assert_eq!(attribute(record, name), Some(value), "{name}");
    }
    let names: Vec<&str> = stages.iter().map(|s| &*s.name).collect();
    assert_eq!(names, ["admission", "tokenize", "queue", "infer", "settle", "send out"]);
    let mut from = record.start_time;
    for stage in stages {
        assert_eq!(stage.parent_span_id, record.span_context.span_id());
        assert_eq!(stage.span_context.trace_id(), record.span_context.trace_id());
        assert_eq!(stage.start_time, from, "one after the other");
        from = stage.end_time;
    }
    assert_eq!(from, record.end_time);
    assert_eq!(stages[3].end_time.duration_since(stages[3].start_time).unwrap(), Duration::from_millis(30));
    let send = &stages[5];
    assert_eq!(send.span_kind, SpanKind::Producer);
    assert_eq!(attribute(send, "messaging.destination.name"), Some("out".into()));
    let header = traceparent(&trace, trace.own.unwrap());
    let told = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", send.span_context.span_id());
    assert_eq!(header, Header::new("traceparent", told), "a reader of the outcome is its child");

    assert_eq!(&*batch.name, "infer batch");
    assert_ne!(batch.span_context.trace_id(), record.span_context.trace_id());
    assert_eq!(batch.links.len(), 1);
    assert_eq!(batch.links[0].span_context.span_id(), record.span_context.span_id());
    assert_eq!(batch.links[0].span_context.trace_id(), record.span_context.trace_id());
    assert_eq!(attribute(batch, "squeezeflow.batch.computed_tokens"), Some(8.into()));
    assert_eq!(stages[3].links[0].span_context.span_id(), batch.span_context.span_id());
    assert_eq!(stages[3].links[0].span_context.trace_id(), batch.span_context.trace_id());

    let all = format!("{built:?}");
    for payload in ["a text", "a key", "a header"] {
        assert!(!all.contains(payload), "{payload} is in {all}");
    }
}

#[test]
fn a_batch_links_what_is_sampled_and_what_failed_each_once() {
    let (spans, mut queue) = spans(0.0, true);
    let trace = |header| spans.admitted(&[Header::new("traceparent", header)]);
    let mut traces = [trace(SAMPLED), trace(UNSAMPLED), trace(UNSAMPLED), trace(SAMPLED)];
    traces[3] = traces[0].clone(); // two windows of one text
    let failed = [false, false, true, false];
    let began = Instant::now();
    spans.batch(traces.iter_mut().zip(failed), (0, 0), (began, began));
    let Finished::Batch(batch) = queue.try_recv().unwrap() else { panic!() };
    let linked: Vec<SpanId> = batch.records.iter().map(SpanContext::span_id).collect();
    assert_eq!(linked, [traces[0].own.unwrap().id, traces[2].own.unwrap().id]);
    assert_eq!((batch.sequences, batch.failed), (4, 1));
    let knows = traces.map(|t| t.own.unwrap().batch == Some((batch.trace, batch.id)));
    assert_eq!(knows, [true, false, true, true]);

    spans.batch([(&mut trace(UNSAMPLED), false)].into_iter(), (0, 0), (began, began));
    assert!(queue.try_recv().is_err(), "nobody would look for it");
}

#[test]
fn ours_takes_the_place_of_a_context_and_of_nothing_else() {
    let (spans, _queue) = spans(1.0, true);
    let headers = ["traceparent", "Traceparent", "tracestate", "baggage", "x"].map(|n| Header::new(n, ""));
    let with = |parent: &[Header]| {
        let trace = spans.admitted(parent);
        headers.each_ref().map(|header| is_replaced(header, &trace))
    };
    assert_eq!(with(&[Header::new("traceparent", SAMPLED)]), [true, true, false, false, false]);
    assert_eq!(with(&[]), [true, true, true, false, false], "a state of no trace");
}

proptest! {
    /// Whatever the clocks do, stages follow one another and none is of negative length.
    #[test]
    fn stages_are_in_order(offsets in prop::array::uniform5(prop::option::of(0u64..100)), end in 0u64..100) {
        let start = Instant::now();
        let at = |ms: Option<u64>| ms.map(|ms| start + Duration::from_millis(ms));
        let mut stamps = Stamps::admitted(start);
        (stamps.taken, stamps.tokenized) = (at(offsets[0]), at(offsets[1]));
        (stamps.batched, stamps.inferred) = (at(offsets[2]), at(offsets[3]));
        let (spans, mut queue) = spans(1.0, true);
        let trace = spans.admitted(&[]);
        let released = at(offsets[4]).unwrap_or(start);
        spans.delivered(&Delivered { trace: &trace, outcome: &passed(), stamps: &stamps, released, to: "o" });
        let Ok(Finished::Record(mut record)) = queue.try_recv() else { panic!() };
        record.delivered.0 = start + Duration::from_millis(end);
        let mut from = start;
        for (_, began, ended) in record.stages() {
            prop_assert_eq!(began, from);
            prop_assert!(ended >= began);
            from = ended;
        }
    }
}
