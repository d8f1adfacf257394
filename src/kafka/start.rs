//! Where a partition begins: at the group's committed offset; without one, where `input.start`
//! says. And what to do where that offset is gone. Nothing is ever skipped unseen.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

use super::context::ConsumerEvents;
use crate::config::settings::Start;
use crate::record::NextOffset;

/// How long one question to the cluster may hold up the worker. It asks again at its next turn.
const SLICE: Duration = Duration::from_secs(2);

/// Its owner says where the group begins with a topic.
pub(super) const FIRST: i32 = 0;

/// Where one partition begins.
pub(super) struct Beginning {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) position: NextOffset,
    pub(super) committed: Option<NextOffset>,
}

/// A place for each partition of a topic.
pub(super) type Places = Vec<(String, i32, NextOffset)>;

/// Where to begin.
pub(super) enum Resolved {
    Here(Vec<Beginning>),
    /// The group has no place for this topic yet, and it is for us to say: to be committed, and
    /// asked for again.
    Commit(Places),
    /// It is for another member to say. To be asked for again.
    Wait,
}

/// Resolves newly assigned partitions. An error means: the cluster did not answer now.
///
/// With `start: latest` (or a time) the position found is committed at once for *all* partitions
/// of the topic: so a partition without a commit, in a topic that has commits, is one that was
/// added later, and begins at its beginning. Whoever has the topic's first partition does that, and
/// the others wait for it: two who did it would put the group past records that one of them had
/// begun to read, or back before what it had committed.
pub(super) fn resolve(
    consumer: &BaseConsumer<ConsumerEvents>,
    assigned: &TopicPartitionList,
    start: Start,
) -> KafkaResult<Resolved> {
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
        let known = match start {
            Start::Earliest => None,
            _ => Some(known(consumer, &topic)?),
        };
        if known.as_ref().is_some_and(|known| !has_commits(known)) {
            return Ok(match assigned.find_partition(&topic, FIRST) {
                Some(_) => Resolved::Commit(places(consumer, &topic, start)?),
                None => Resolved::Wait,
            });
        }
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
    Ok(Resolved::Here(beginnings))
}

fn has_commits(committed: &TopicPartitionList) -> bool {
    committed.elements().iter().any(|e| matches!(e.offset(), Offset::Offset(_)))
}

fn all(consumer: &BaseConsumer<ConsumerEvents>, topic: &str) -> KafkaResult<TopicPartitionList> {
    let metadata = consumer.fetch_metadata(Some(topic), SLICE)?;
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
        all.add_partition(topic, partition.id());
    }
    Ok(all)
}

/// What the group has committed for a topic.
fn known(consumer: &BaseConsumer<ConsumerEvents>, topic: &str) -> KafkaResult<TopicPartitionList> {
    let committed = consumer.committed_offsets(all(consumer, topic)?, SLICE)?;
    committed.elements().iter().try_for_each(|element| element.error())?;
    Ok(committed)
}

/// Where `start` says, for each partition of a topic.
fn places(consumer: &BaseConsumer<ConsumerEvents>, topic: &str, start: Start) -> KafkaResult<Places> {
    let mut all = all(consumer, topic)?;
    let mut places = BTreeMap::new();
    if let Start::Timestamp(millis) = start {
        all.set_all_offsets(Offset::Offset(millis))?;
        for element in consumer.offsets_for_times(all.clone(), SLICE)?.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                places.insert(element.partition(), offset);
            }
        }
    }
    for element in all.elements() {
        if let Entry::Vacant(place) = places.entry(element.partition()) {
            place.insert(consumer.fetch_watermarks(topic, element.partition(), SLICE)?.1);
        }
    }
    Ok(places.into_iter().map(|(partition, at)| (topic.to_owned(), partition, NextOffset::new(at))).collect())
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
