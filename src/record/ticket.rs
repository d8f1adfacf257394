//! A record's ticket: which place in which partition's line it holds, and what rides along with it.

use std::time::Instant;

use super::Trace;

/// The offset of a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

/// The offset to read next: what Kafka calls a committed offset. Made from an [`Offset`] in one
/// place only, so that the "+1" can be neither forgotten nor done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(i64);

impl Offset {
    /// From the wire.
    pub fn new(raw: i64) -> Self {
        Self(raw)
    }
    /// To the wire.
    pub fn raw(self) -> i64 {
        self.0
    }
    /// The position after this record. The only "+1" of the code base.
    pub fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

impl NextOffset {
    /// A position that a broker or an operator named.
    pub fn new(raw: i64) -> Self {
        Self(raw)
    }
    /// To the wire.
    pub fn raw(self) -> i64 {
        self.0
    }
}

/// A dense number for one (topic, partition) while this process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

/// Counts the assignments of one partition to this worker. A result that carries an older epoch
/// belongs to an assignment that is gone, and is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A record's number in its partition's line, counted from 0 in each epoch, without holes
/// (offsets have holes: compaction, transaction markers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Admission(pub u64);

/// Proof of admission. Whoever holds a record's value holds its ticket, errors included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Whose line it stands in.
    pub partition: PartitionId,
    /// In which assignment.
    pub epoch: Epoch,
    /// At which place.
    pub admission: Admission,
}

/// When a record passed each stage. Spans and histograms are made of these at settling; nothing
/// is kept open across threads.
#[derive(Debug, Clone, Copy)]
pub struct Stamps {
    /// Taken from Kafka (or standard input).
    pub admitted: Instant,
    /// A text worker took it up.
    pub taken: Option<Instant>,
    /// Decoded and tokenized.
    pub tokenized: Option<Instant>,
    /// Left the batcher, in a batch.
    pub batched: Option<Instant>,
    /// Its batch came back from the model.
    pub inferred: Option<Instant>,
}

impl Stamps {
    /// Nothing has happened to it yet.
    pub fn admitted(admitted: Instant) -> Self {
        Self { admitted, taken: None, tokenized: None, batched: None, inferred: None }
    }
}

/// A value on its way through the stages, with what must never be parted from it.
#[derive(Debug)]
pub struct Tracked<T> {
    /// The place to settle.
    pub ticket: Ticket,
    /// Its place in a trace.
    pub trace: Trace,
    /// Times, for metrics and spans.
    pub stamps: Stamps,
    /// The value itself.
    pub item: T,
}

impl<T> Tracked<T> {
    /// At admission.
    pub fn new(ticket: Ticket, trace: Trace, item: T) -> Self {
        Self { ticket, trace, stamps: Stamps::admitted(Instant::now()), item }
    }

    /// The same journey, another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Tracked<U> {
        let Self { ticket, trace, stamps, item } = self;
        Tracked { ticket, trace, stamps, item: f(item) }
    }
}
