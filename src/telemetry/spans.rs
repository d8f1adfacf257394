//! Which records get spans, and what is kept of them until the exporter builds these.
//!
//! Nothing is open while a record travels: it carries ids ([`Trace`]) and times ([`Stamps`]), and only
//! when it is delivered (under exactly-once: committed) are they handed over, to a bounded queue that
//! nobody waits for. The one export of a record that was tried several times is the one that counted.
//! `span_data` makes spans of what is handed over, `otlp` sends them.
//!
//! Under exactly-once a whole transaction is handed over at once. So the queue holds all that may be in
//! flight, and its last places are for what failed: nobody looks for one good record among thousands.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanKind, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample};
use tokio::sync::mpsc;

use super::otlp::Seldom;
use super::{Metrics, trace};
use crate::config::settings::Sampling;
use crate::record::{Header, Outcome, OwnSpan, Stamps, Trace};

/// Records and batches that wait to be exported: no fewer, so that a slow collector is not felt at once,
/// and no more, whatever may be in flight. A place costs memory while it is taken only.
const LEAST: usize = 2_048;
const MOST: usize = 65_536;
/// Of all places, one in so many is for what failed.
const KEPT: usize = 4;

/// Cheap to clone; all clones are one. The default one is off, and costs nothing.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Inner>>);

struct Inner {
    sampling: Sampling,
    roots: Sampler,
    ids: RandomIdGenerator,
    queue: mpsc::Sender<Finished>,
    metrics: Metrics,
    /// Of what is dropped.
    told: Mutex<Seldom>,
}

/// What became of a record, for its spans.
pub struct Delivered<'a> {
    /// Its ids.
    pub trace: &'a Trace,
    /// With the record.
    pub outcome: &'a Outcome,
    /// Its times in the stages.
    pub stamps: &'a Stamps,
    /// When its turn in its partition's line had come.
    pub released: Instant,
    /// The topic that its outcome is in.
    pub to: &'a str,
}

/// On its way to the exporter.
pub(super) enum Finished {
    Record(Box<RecordSpans>),
    Batch(Box<BatchSpan>),
}

/// Everything that a record's spans are made of.
pub(super) struct RecordSpans {
    pub(super) own: OwnSpan,
    pub(super) parent: SpanContext,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Of the value; `None`: a tombstone.
    pub(super) body: Option<usize>,
    pub(super) outcome: &'static str,
    /// Of passing through, or of a dead letter.
    pub(super) reason: Option<&'static str>,
    /// Of a dead letter: where it failed.
    pub(super) failed_at: Option<&'static str>,
    pub(super) to: String,
    pub(super) stamps: Stamps,
    pub(super) released: Instant,
    pub(super) delivered: Moment,
}

/// Everything that a batch's span is made of.
pub(super) struct BatchSpan {
    pub(super) trace: TraceId,
    pub(super) id: opentelemetry::trace::SpanId,
    /// The spans of its records that are recorded.
    pub(super) records: Vec<SpanContext>,
    pub(super) sequences: usize,
    pub(super) failed: usize,
    pub(super) tokens: usize,
    pub(super) computed: usize,
    pub(super) began: Instant,
    pub(super) ended: Moment,
}

/// One moment by both clocks: what other instants were by the wall clock is reckoned from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(pub(super) Instant, pub(super) SystemTime);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    pub(super) fn wall(&self, at: Instant) -> SystemTime {
        match self.0.checked_duration_since(at) {
            Some(before) => self.1 - before,
            None => self.1 + at.saturating_duration_since(self.0),
        }
    }
}

impl Spans {
    /// Spans, and the end of the queue at which they come out. `in_flight` is how many records may be;
    /// `metrics` counts what is dropped.
    pub(super) fn new(
        sampling: Sampling,
        in_flight: NonZeroUsize,
        metrics: &Metrics,
    ) -> (Self, mpsc::Receiver<Finished>) {
        let (queue, finished) = mpsc::channel(in_flight.get().clamp(LEAST, MOST));
        let roots = Sampler::TraceIdRatioBased(sampling.ratio);
        let (ids, metrics) = (RandomIdGenerator::default(), metrics.clone());
        (
            Self(Some(Arc::new(Inner { sampling, roots, ids, queue, metrics, told: Mutex::default() }))),
            finished,
        )
    }

    /// A record was admitted: reads the producer's context, and decides whether it is sampled.
    pub fn admitted(&self, headers: &[Header]) -> Trace {
        let Some(inner) = self.0.as_deref() else { return Trace::NONE };
        let parent = trace::extract(headers);
        let trace = if parent.is_valid() { parent.trace_id() } else { inner.ids.new_trace_id() };
        let sampled = match parent.is_valid() && inner.sampling.parent_based {
            true => parent.is_sampled(),
            false => {
                let decided = inner.roots.should_sample(None, trace, "", &SpanKind::Consumer, &[], &[]);
                decided.decision == SamplingDecision::RecordAndSample
            }
        };
        let (id, send) = (inner.ids.new_span_id(), inner.ids.new_span_id());
        Trace { parent, own: Some(OwnSpan { trace, id, send, sampled, batch: None }) }
    }

    /// A batch came back from the model, with the traces of what was in it, each with whether it failed
    /// there; real and computed tokens; from when to when. Its span is recorded if one of its records'
    /// is, as far as that can be known now, and those learn where it is.
    pub fn batch<'a>(
        &self,
        traces: impl ExactSizeIterator<Item = (&'a mut Trace, bool)>,
        (tokens, computed): (usize, usize),
        (began, ended): (Instant, Instant),
    ) {
        let Some(inner) = self.0.as_deref() else { return };
        let sequences = traces.len();
        let (mut ids, mut records, mut all_failed) = (None, Vec::new(), 0);
        for (trace, failed) in traces {
            all_failed += usize::from(failed);
            let Some(own) = trace.own.as_mut().filter(|own| own.sampled || failed) else { continue };
            own.batch = Some(*ids.get_or_insert_with(|| (inner.ids.new_trace_id(), inner.ids.new_span_id())));
            let context = trace::context(own.trace, own.id, &trace.parent);
            // Windows of one text are one record.
            if !records.contains(&context) {
                records.push(context);
            }
        }
        let Some((trace, id)) = ids else { return };
        let ended = Moment(ended, SystemTime::now());
        let failed = all_failed;
        inner.hand_over(Finished::Batch(Box::new(BatchSpan {
            trace,
            id,
            records,
            sequences,
            failed,
            tokens,
            computed,
            began,
            ended,
        })));
    }

    /// A record's outcome is delivered, and is not written again.
    pub fn delivered(&self, delivered: &Delivered<'_>) {
        let Some(inner) = self.0.as_deref() else { return };
        let Delivered { trace, outcome, stamps, released, to } = *delivered;
        let Some(own) = trace.recorded(outcome) else { return };
        let (outcome_name, reason, failed_at) = match outcome {
            Outcome::Enriched { .. } => ("enriched", None, None),
            Outcome::PassThrough { why, .. } => ("passed", Some(why.as_str()), None),
            Outcome::DeadLetter { letter, .. } => {
                ("dead_letter", Some(letter.reason.as_str()), Some(letter.stage.as_str()))
            }
        };
        let record = outcome.record();
        inner.hand_over(Finished::Record(Box::new(RecordSpans {
            own,
            parent: trace.parent.clone(),
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset.raw(),
            body: record.value.as_ref().map(Vec::len),
            outcome: outcome_name,
            reason,
            failed_at,
            to: to.to_owned(),
            stamps: *stamps,
            released,
            delivered: Moment::now(),
        })));
    }
}

impl Inner {
    fn hand_over(&self, finished: Finished) {
        let kept = self.queue.max_capacity() / KEPT;
        let dropped = if !finished.failed() && self.queue.capacity() <= kept {
            Some(finished)
        } else {
            self.queue.try_send(finished).err().map(mpsc::error::TrySendError::into_inner)
        };
        if let Some(dropped) = dropped {
            let spans = dropped.spans();
            self.metrics.spans("dropped", spans);
            self.told.lock().unwrap_or_else(PoisonError::into_inner).tell(spans as u64, |spans| {
                tracing::warn!(spans, "more spans than can be exported: they are dropped");
            });
        }
    }
}

impl Finished {
    /// Is there an error to be found in it?
    fn failed(&self) -> bool {
        match self {
            Self::Batch(batch) => batch.failed > 0,
            Self::Record(record) => record.failed_at.is_some(),
        }
    }

    /// How many spans it makes.
    pub(super) fn spans(&self) -> usize {
        match self {
            Self::Batch(_) => 1,
            Self::Record(record) => 1 + record.stages().len(),
        }
    }
}

impl RecordSpans {
    /// Name, begin and end of each stage that the record went through, one after the other. What the
    /// cache answered was in no batch, and what needs no model in no queue.
    pub(super) fn stages(&self) -> Vec<(&'static str, Instant, Instant)> {
        let Stamps { admitted, taken, tokenized, batched, inferred } = self.stamps;
        let ends = [
            ("admission", taken),
            ("tokenize", tokenized),
            ("queue", batched),
            ("infer", inferred),
            ("settle", Some(self.released)),
            ("send", Some(self.delivered.0)),
        ];
        let mut from = admitted;
        let went = ends.into_iter().filter_map(|(name, to)| {
            let to = to?.max(from);
            Some((name, std::mem::replace(&mut from, to), to))
        });
        went.collect()
    }
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
