//! Where a partition begins: at the group's committed offset; without one, where `input.start`
//! says. And what to do where that offset is gone. Nothing is ever skipped unseen.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

use super::context::ConsumerEvents;
use crate::config::settings::Start;
use crate::record::NextOffset;

/// How long one question to the cluster may hold up the worker. It asks again at its next turn.
const SLICE: Duration = Duration::from_secs(2);

/// Where one partition begins.
pub(super) struct Beginning {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) position: NextOffset,
    pub(super) committed: Option<NextOffset>,
}

/// Resolves newly assigned partitions. An error means: the cluster did not answer now.
///
/// With `start: latest` (or a time) the position found is committed at once for *all* partitions
/// of the topic: so a partition without a commit, in a topic that has commits, is one that was
/// added later, and begins at its beginning.
pub(super) fn resolve(
    consumer: &BaseConsumer<ConsumerEvents>,
    assigned: &TopicPartitionList,
    start: Start,
) -> KafkaResult<Vec<Beginning>> {
    let committed = consumer.committed_offsets(plain(assigned), SLICE)?;
    let mut fresh = BTreeSet::new();
    let mut beginnings = Vec::new();
    for element in committed.elements() {
        element.error()?;
        match element.offset() {
            Offset::Offset(offset) => beginnings.push(Beginning {
                topic: element.topic().to_owned(),
                partition: element.partition(),
                position: NextOffset::new(offset),
                committed: Some(NextOffset::new(offset)),
            }),
            _ => {
                fresh.insert(element.topic().to_owned());
            }
        }
    }
    for topic in fresh {
        let known = if start == Start::Earliest { None } else { Some(pin(consumer, &topic, start)?) };
        for element in committed.elements_for_topic(&topic) {
            if matches!(element.offset(), Offset::Offset(_)) {
                continue;
            }
            let partition = element.partition();
            let pinned = known.as_ref().and_then(|k| offset_of(k, &topic, partition));
            let position = match pinned {
                Some(position) => position,
                None => NextOffset::new(consumer.fetch_watermarks(&topic, partition, SLICE)?.0),
            };
            beginnings.push(Beginning { topic: topic.clone(), partition, position, committed: pinned });
        }
    }
    Ok(beginnings)
}

/// What the group has committed for a topic; for one that it has never committed anything for,
/// finds where `start` says, and commits that.
fn pin(
    consumer: &BaseConsumer<ConsumerEvents>,
    topic: &str,
    start: Start,
) -> KafkaResult<TopicPartitionList> {
    let metadata = consumer.fetch_metadata(Some(topic), SLICE)?;
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
        all.add_partition(topic, partition.id());
    }
    let committed = consumer.committed_offsets(all.clone(), SLICE)?;
    if committed.elements().iter().any(|e| matches!(e.offset(), Offset::Offset(_))) {
        // Another worker of the group was faster, perhaps this very moment: what it found holds.
        return Ok(committed);
    }
    let mut positions = TopicPartitionList::new();
    if let Start::Timestamp(millis) = start {
        all.set_all_offsets(Offset::Offset(millis))?;
        for element in consumer.offsets_for_times(all.clone(), SLICE)?.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                positions.add_partition_offset(topic, element.partition(), Offset::Offset(offset))?;
            }
        }
    }
    for element in all.elements() {
        if positions.find_partition(topic, element.partition()).is_none() {
            let (_, end) = consumer.fetch_watermarks(topic, element.partition(), SLICE)?;
            positions.add_partition_offset(topic, element.partition(), Offset::Offset(end))?;
        }
    }
    consumer.commit(&positions, CommitMode::Sync)?;
    tracing::info!(topic, "a new group: beginning where input.start says, and committing that place");
    Ok(positions)
}

/// A position that is outside of what its partition holds.
pub(super) struct Gap {
    pub(super) position: i64,
    pub(super) low: i64,
    pub(super) high: i64,
}

/// Is the record at `position` gone (or the whole log a younger one)?
pub(super) fn gap(
    consumer: &BaseConsumer<ConsumerEvents>,
    topic: &str,
    partition: i32,
    position: NextOffset,
) -> KafkaResult<Option<Gap>> {
    let (low, high) = consumer.fetch_watermarks(topic, partition, SLICE)?;
    let position = position.raw();
    Ok((position < low || position > high).then_some(Gap { position, low, high }))
}

/// Did librdkafka find an offset gone? (`auto.offset.reset=error` turns that into this error.)
pub(super) fn is_gap(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
}

/// The same partitions without offsets: a list from a rebalance may carry some.
fn plain(list: &TopicPartitionList) -> TopicPartitionList {
    let mut plain = TopicPartitionList::with_capacity(list.count());
    for element in list.elements() {
        plain.add_partition(element.topic(), element.partition());
    }
    plain
}

fn offset_of(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<NextOffset> {
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(NextOffset::new(offset)),
        _ => None,
    }
}
