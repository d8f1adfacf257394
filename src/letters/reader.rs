//! One reading of the dead-letter topic, or of some spans of it. Holds nothing but the record in
//! hand and what librdkafka has fetched.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::error::LettersError;
use super::source::Source;
use crate::fate::Fate;
use crate::kafka::onlooker::{Onlooker, POLL};
use crate::kafka::{consumer_fate, source};
use crate::record::{NextOffset, Offset, Record};
use crate::shutdown::Shutdown;

/// How long the brokers may give neither a record nor the end of a partition.
const SILENCE: Duration = Duration::from_secs(30);

/// What of a partition is read: `start` to in front of `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: NextOffset,
    pub(super) end: NextOffset,
}

/// Of every partition that has something to read.
pub(super) type Spans = BTreeMap<i32, Span>;

/// One partition being read.
struct Lane {
    next: NextOffset,
    span: Span,
}

/// One reading, from end to end.
pub(super) struct Reader<'a> {
    source: &'a Source,
    client: Onlooker,
    /// Not read to their ends yet.
    lanes: BTreeMap<i32, Lane>,
    /// Offsets in lanes that are.
    ended: u64,
    all: u64,
    stop: &'a Shutdown,
}

impl<'a> Reader<'a> {
    /// With a client of its own.
    pub(super) fn begin(
        source: &'a Source,
        client: Onlooker,
        spans: &Spans,
        stop: &'a Shutdown,
    ) -> Result<Self, LettersError> {
        let what = "beginning to read the dead-letter topic";
        let call = |source| LettersError::Call { what, source };
        let mut list = TopicPartitionList::new();
        for (partition, span) in spans {
            let start = KafkaOffset::Offset(span.start.raw());
            list.add_partition_offset(&source.topic, *partition, start).map_err(call)?;
        }
        client.assign(&list).map_err(call)?;
        let lanes: BTreeMap<_, _> =
            spans.iter().map(|(p, span)| (*p, Lane { next: span.start, span: *span })).collect();
        let all = spans.values().map(|span| span.end.raw().abs_diff(span.start.raw())).sum();
        Ok(Self { source, client, lanes, ended: 0, all, stop })
    }

    /// The next record; of a partition, in order. `None`: that was all, or it was asked to stop.
    pub(super) fn next(&mut self) -> Result<Option<Record>, LettersError> {
        let mut heard = Instant::now();
        while !self.lanes.is_empty() && !self.stop.is_requested() {
            match self.client.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let (partition, offset) = (message.partition(), Offset::new(message.offset()));
                    // Of a lane that has ended, or of the reading before this one.
                    let Some(lane) = self.lanes.get_mut(&partition) else { continue };
                    let place = NextOffset::new(offset.raw());
                    // Behind the end: offsets have holes, so this may be the first sign of it.
                    let within = place < lane.span.end;
                    // In front of it only if the log was set back.
                    let fresh = place >= lane.next;
                    let record = source::record(&message, self.source.topic.clone());
                    drop(message);
                    if fresh {
                        lane.next = offset.next();
                    }
                    if lane.next >= lane.span.end {
                        self.end(partition);
                    }
                    if within && fresh {
                        return Ok(Some(record));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    self.end(partition);
                }
                Some(Err(error)) => self.heed(&error)?,
                None if heard.elapsed() > SILENCE => {
                    let (doing, seconds) = ("reading the dead-letter topic", SILENCE.as_secs());
                    let reason = self.client.context().reason();
                    return Err(LettersError::Silent { doing, seconds, reason });
                }
                None => {}
            }
        }
        Ok(None)
    }

    /// How many offsets lie behind the reading, and how many there are.
    pub(super) fn progress(&self) -> (u64, u64) {
        let open = self.lanes.values().map(|lane| lane.next.raw().abs_diff(lane.span.start.raw()));
        (self.ended + open.sum::<u64>(), self.all)
    }

    /// What lies in front of it.
    pub(super) fn rest(&self) -> Spans {
        let rest = |lane: &Lane| Span { start: lane.next, ..lane.span };
        self.lanes.iter().map(|(partition, lane)| (*partition, rest(lane))).collect()
    }

    fn end(&mut self, partition: i32) {
        let Some(lane) = self.lanes.remove(&partition) else { return };
        self.ended += lane.span.end.raw().abs_diff(lane.span.start.raw());
        // Only to spare the brokers: what still comes is not looked at.
        let pause = |list: &mut TopicPartitionList| -> KafkaResult<()> {
            list.add_partition(&self.source.topic, partition);
            self.client.pause(list)
        };
        let _ = pause(&mut TopicPartitionList::new());
    }

    fn heed(&self, error: &KafkaError) -> Result<(), LettersError> {
        match error.rdkafka_error_code() {
            // librdkafka looks for the group's coordinator, though nobody asks for the group.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => Ok(()),
            Some(code) if consumer_fate(code) == Fate::Fatal => Err(self.source.refused(code)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(LettersError::NoTopic { topic: self.source.topic.to_string() })
            }
            _ => {
                tracing::debug!(%error, "reading the dead-letter topic; librdkafka tries again");
                Ok(())
            }
        }
    }
}

/// What has come to `before` since.
pub(super) fn since(before: &Spans, now: &Spans) -> Spans {
    let newer = |(partition, span): (&i32, &Span)| {
        let start = before.get(partition).map_or(span.start, |b| b.end.max(span.start));
        (start < span.end).then_some((*partition, Span { start, ..*span }))
    };
    now.iter().filter_map(newer).collect()
}

/// The same spans, but not past `last`.
pub(super) fn up_to(spans: &Spans, last: Option<Offset>) -> Spans {
    let Some(last) = last else { return spans.clone() };
    let shorter = |span: &Span| Span { end: span.end.min(last.next()), ..*span };
    let all = spans.iter().map(|(partition, span)| (*partition, shorter(span)));
    all.filter(|(_, span)| span.start < span.end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(all: &[(i32, i64, i64)]) -> Spans {
        let span = |start, end| Span { start: NextOffset::new(start), end: NextOffset::new(end) };
        all.iter().map(|(partition, start, end)| (*partition, span(*start, *end))).collect()
    }

    #[test]
    fn up_to_an_offset_and_with_it() {
        let all = spans(&[(0, 5, 20), (1, 10, 30)]);
        assert_eq!(up_to(&all, None), all);
        assert_eq!(up_to(&all, Some(Offset::new(9))), spans(&[(0, 5, 10)]));
        assert_eq!(up_to(&all, Some(Offset::new(25))), spans(&[(0, 5, 20), (1, 10, 26)]));
    }

    #[test]
    fn what_has_come_since() {
        let before = spans(&[(0, 5, 20), (1, 10, 30)]);
        let now = spans(&[(0, 5, 20), (1, 12, 33), (2, 0, 4)]);
        assert_eq!(since(&before, &now), spans(&[(1, 30, 33), (2, 0, 4)]));
        // Retention was faster.
        assert_eq!(since(&before, &spans(&[(0, 25, 40)])), spans(&[(0, 25, 40)]));
    }
}
