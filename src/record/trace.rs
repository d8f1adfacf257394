//! Where a record stands in a trace: the producer's span, and ours. Ids only: no span is kept open on
//! the way, they are built when the record is delivered (`telemetry::spans`).

use opentelemetry::trace::{SpanContext, SpanId, TraceId};

use super::Outcome;

/// Of one record. Nothing in it is allocated, but for a `tracestate` that the producer sent.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The producer's span, from the W3C headers; invalid (all zero) where there was none, or where
    /// tracing is off.
    pub parent: SpanContext,
    /// Ours. `None`: tracing is off.
    pub own: Option<OwnSpan>,
}

/// The ids that a record's spans will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnSpan {
    /// The producer's trace, or a new one.
    pub trace: TraceId,
    /// The span of the record in this worker.
    pub id: SpanId,
    /// The span of its outcome's way to the broker: the parent of whoever reads that.
    pub send: SpanId,
    /// To be recorded whatever becomes of the record.
    pub sampled: bool,
    /// The span of the batch that it was in, if that one is recorded too.
    pub batch: Option<(TraceId, SpanId)>,
}

impl Trace {
    /// No producer's span, and tracing is off.
    pub const NONE: Self = Self { parent: SpanContext::NONE, own: None };

    /// Our span, if it is recorded: where it was sampled, and always where the record failed.
    pub fn recorded(&self, outcome: &Outcome) -> Option<OwnSpan> {
        self.own.filter(|own| own.sampled || matches!(outcome, Outcome::DeadLetter { .. }))
    }
}
