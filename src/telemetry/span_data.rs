//! What is handed over by `spans`, made into OpenTelemetry spans: names, kinds and attributes by the
//! semantic conventions for messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/kafka/>). Pure.
//!
//! A record is one `process` span with a child for each stage. Children, not events: a stage has a
//! length, which every viewer of traces draws and searches for; an event has none. The last child,
//! `send`, is what the outcome's `traceparent` names.
//!
//! No payload, no key and no header is in a span: ids, times, sizes, names of topics, and our own codes.

use std::borrow::Cow;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::spans::{BatchSpan, Finished, RecordSpans};
use super::trace::context;

/// What all spans of one worker have in common.
pub(super) struct Common {
    scope: InstrumentationScope,
    group: String,
    client: String,
}

impl Common {
    pub(super) fn new(group: &str, client: &str) -> Self {
        let scope =
            InstrumentationScope::builder("squeezeflow").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { scope, group: group.to_owned(), client: client.to_owned() }
    }

    /// The spans, parents first. Calls for the ids of children.
    pub(super) fn spans(&self, finished: Finished, mut id: impl FnMut() -> SpanId, to: &mut Vec<SpanData>) {
        match finished {
            Finished::Record(record) => self.record(&record, &mut id, to),
            Finished::Batch(batch) => to.push(self.batch(*batch)),
        }
    }

    fn record(&self, record: &RecordSpans, id: &mut impl FnMut() -> SpanId, to: &mut Vec<SpanData>) {
        let RecordSpans { own, parent, delivered, .. } = record;
        let wall = |at| delivered.wall(at);
        let mut attributes = messaging("process", &record.topic);
        attributes.extend([
            KeyValue::new("messaging.destination.partition.id", record.partition.to_string()),
            KeyValue::new("messaging.kafka.offset", record.offset),
            KeyValue::new("messaging.consumer.group.name", self.group.clone()),
            KeyValue::new("messaging.client.id", self.client.clone()),
            KeyValue::new("squeezeflow.outcome", record.outcome),
        ]);
        attributes.push(match record.body {
            Some(bytes) => KeyValue::new("messaging.message.body.size", bytes as i64),
            None => KeyValue::new("messaging.kafka.message.tombstone", true),
        });
        attributes.extend(record.reason.map(|reason| KeyValue::new("squeezeflow.reason", reason)));
        let mut status = Status::Unset;
        if let (Some(reason), Some(stage)) = (record.reason, record.failed_at) {
            attributes.push(KeyValue::new("error.type", reason));
            attributes.push(KeyValue::new("squeezeflow.stage", stage));
            status = Status::error(reason);
        }
        to.push(SpanData {
            parent_span_id: if parent.is_valid() { parent.span_id() } else { SpanId::INVALID },
            parent_span_is_remote: parent.is_valid(),
            span_kind: SpanKind::Consumer,
            name: format!("process {}", record.topic).into(),
            start_time: wall(record.stamps.admitted),
            end_time: wall(delivered.0),
            attributes,
            status,
            ..self.blank(context(own.trace, own.id, parent))
        });
        for (stage, began, ended) in record.stages() {
            let (id, name, kind, attributes) = match stage {
                "send" => {
                    let mut attributes = messaging("send", &record.to);
                    attributes.push(KeyValue::new("messaging.client.id", self.client.clone()));
                    let name = Cow::from(format!("send {}", record.to));
                    (own.send, name, SpanKind::Producer, attributes)
                }
                stage => (id(), Cow::from(stage), SpanKind::Internal, Vec::new()),
            };
            let mut links = SpanLinks::default();
            if let ("infer", Some((trace, batch))) = (stage, own.batch) {
                links.links.push(link(context(trace, batch, &SpanContext::NONE)));
            }
            to.push(SpanData {
                parent_span_id: own.id,
                span_kind: kind,
                name,
                start_time: wall(began),
                end_time: wall(ended),
                attributes,
                links,
                ..self.blank(context(own.trace, id, parent))
            });
        }
    }

    /// In a trace of its own, because its records are of many.
    fn batch(&self, batch: BatchSpan) -> SpanData {
        let BatchSpan { trace, id, records, sequences, failed, tokens, computed, began, ended } = batch;
        let context = SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE);
        let mut links = SpanLinks::default();
        links.links.extend(records.into_iter().map(link));
        let number = |name, value: usize| KeyValue::new(name, value as i64);
        let attributes = vec![
            number("squeezeflow.batch.sequences", sequences),
            number("squeezeflow.batch.failed", failed),
            number("squeezeflow.batch.tokens", tokens),
            number("squeezeflow.batch.computed_tokens", computed),
        ];
        SpanData {
            name: "infer batch".into(),
            start_time: ended.wall(began),
            end_time: ended.1,
            attributes,
            links,
            status: if failed == 0 { Status::Unset } else { Status::error("inference_failed") },
            ..self.blank(context)
        }
    }

    fn blank(&self, span_context: SpanContext) -> SpanData {
        SpanData {
            span_context,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "".into(),
            start_time: std::time::UNIX_EPOCH,
            end_time: std::time::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn messaging(operation: &'static str, topic: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
        KeyValue::new("messaging.destination.name", topic.to_owned()),
    ]
}

fn link(to: SpanContext) -> Link {
    Link::new(to, Vec::new(), 0)
}
