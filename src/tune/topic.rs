//! The newest records of the input topics. No group is joined and nothing is committed: the workers do not
//! notice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::error::TopicError;
use super::texts::{MOST_BYTES, MOST_RECORDS, Sample};
use crate::config::Subscription;
use crate::config::settings::Kafka;
use crate::fate::Fate;
use crate::kafka::entry::{Entry, NotIn};
use crate::kafka::onlooker::{Onlooker, POLL};
use crate::kafka::tokens::Tokens;
use crate::kafka::{client, consumer_fate, source};
use crate::record::{NextOffset, Offset, Record};
use crate::shutdown::Shutdown;

/// How long the brokers may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a topic may take; what has come by then is enough.
const LONGEST: Duration = Duration::from_secs(30);
/// Offsets have holes (compaction, transaction markers): where too little lies at the end, so many times
/// as many are looked at.
const FURTHER: usize = 32;

/// The last records of every partition that the pipeline reads, as many of each.
pub(super) fn newest(kafka: &Kafka, entries: &[String]) -> Result<Sample, TopicError> {
    let (config, tokens) = (client::reader_config(kafka), Tokens::of(kafka));
    let topics = topics(kafka, tokens.clone(), entries)?;
    let partitions: usize = topics.values().sum();
    let share = (MOST_RECORDS / partitions.max(1)).max(1);
    let mut records = Vec::new();
    for (topic, partitions) in &topics {
        let bytes = MOST_BYTES / topics.len();
        let read =
            Reading { config: &config, tokens: tokens.clone(), topic, partitions: *partitions, share, bytes };
        let mut found = read.last(1)?;
        if found.len() < share * partitions / 4 {
            found = read.last(FURTHER)?;
        }
        records.extend(found);
    }
    let names: Vec<&str> = topics.keys().map(String::as_str).collect();
    Ok(Sample { from: names.join(", "), records })
}

/// Those that `entries` name and that there are, with their numbers of partitions.
fn topics(
    kafka: &Kafka,
    tokens: Option<Arc<Tokens>>,
    entries: &[String],
) -> Result<BTreeMap<String, usize>, TopicError> {
    // By who can tell why not.
    let entry = Entry::open(kafka, tokens).map_err(TopicError::Client)?;
    let all = entry.knock(None, PATIENCE, &Shutdown::new()).map_err(|not_in| match not_in {
        NotIn::Refused(why) => TopicError::Entry(why),
        NotIn::Silent(_, reason) => TopicError::NoBroker { servers: kafka.bootstrap_servers.clone(), reason },
    })?;
    let no_topic = || TopicError::NoTopic(entries.join(", "));
    let all = all.ok_or_else(no_topic)?;
    // The configuration has seen to it that they can be parsed.
    let wanted: Vec<Subscription<'_>> = entries.iter().filter_map(|e| Subscription::parse(e).ok()).collect();
    let topics: BTreeMap<String, usize> = all
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none() && wanted.iter().any(|w| w.reads(topic.name())))
        .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
        .collect();
    if topics.is_empty() { Err(no_topic()) } else { Ok(topics) }
}

/// Of one topic: a partition's end is told without its topic's name, so topics are read one by one.
struct Reading<'a> {
    config: &'a ClientConfig,
    tokens: Option<Arc<Tokens>>,
    topic: &'a str,
    partitions: usize,
    /// Records of each partition.
    share: usize,
    /// Of all their values together.
    bytes: usize,
}

/// One partition: where it ended when we began, and the last records so far.
struct Lane {
    end: NextOffset,
    last: VecDeque<Record>,
}

impl Reading<'_> {
    /// Looks at `times` as many offsets as records are wanted.
    fn last(&self, times: usize) -> Result<Vec<Record>, TopicError> {
        let onlooker = Onlooker::open(self.config, self.tokens.clone()).map_err(TopicError::Client)?;
        let call = |source| TopicError::Call { topic: self.topic.to_owned(), source };
        let (mut list, mut open) = (TopicPartitionList::new(), BTreeMap::new());
        for partition in 0..i32::try_from(self.partitions).unwrap_or(i32::MAX) {
            let ends = onlooker.fetch_watermarks(self.topic, partition, PATIENCE);
            let (low, high) = ends.map_err(|e| self.silent(&onlooker, &e))?;
            let back = i64::try_from(self.share.saturating_mul(times)).unwrap_or(i64::MAX);
            let start = high.saturating_sub(back).max(low);
            if start < high {
                list.add_partition_offset(self.topic, partition, KafkaOffset::Offset(start)).map_err(call)?;
                open.insert(partition, Lane { end: NextOffset::new(high), last: VecDeque::new() });
            }
        }
        onlooker.assign(&list).map_err(call)?;
        self.read(&onlooker, open)
    }

    fn read(&self, onlooker: &Onlooker, mut open: BTreeMap<i32, Lane>) -> Result<Vec<Record>, TopicError> {
        let (began, name): (_, Arc<str>) = (Instant::now(), self.topic.into());
        let (mut ended, mut bytes, mut heard) = (Vec::new(), 0, false);
        while !open.is_empty() && began.elapsed() < LONGEST {
            match onlooker.poll(POLL) {
                Some(Ok(message)) => {
                    heard = true;
                    let partition = message.partition();
                    let Some(lane) = open.get_mut(&partition) else { continue };
                    let offset = Offset::new(message.offset());
                    if NextOffset::new(offset.raw()) < lane.end {
                        let record = source::record(&message, name.clone());
                        bytes += record.size();
                        lane.last.push_back(record);
                        while lane.last.len() > self.share || bytes > self.bytes {
                            let Some(oldest) = lane.last.pop_front() else { break };
                            bytes -= oldest.size();
                        }
                    }
                    if offset.next() >= lane.end {
                        ended.extend(open.remove(&partition));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = true;
                    ended.extend(open.remove(&partition));
                }
                Some(Err(error)) => self.heed(&error)?,
                None => {}
            }
        }
        if !heard && !open.is_empty() {
            let (topic, seconds) = (self.topic.to_owned(), LONGEST.as_secs());
            return Err(TopicError::Silent { topic, seconds, reason: onlooker.context().reason() });
        }
        Ok(ended.into_iter().chain(open.into_values()).flat_map(|lane| lane.last).collect())
    }

    fn heed(&self, error: &KafkaError) -> Result<(), TopicError> {
        match error.rdkafka_error_code() {
            // librdkafka looks for the group's coordinator, though nobody asks for the group.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) | None => Ok(()),
            Some(code) if consumer_fate(code) == Fate::Fatal => Err(self.refused(code)),
            // librdkafka tries again.
            Some(_) => Ok(()),
        }
    }

    fn silent(&self, onlooker: &Onlooker, error: &KafkaError) -> TopicError {
        match error.rdkafka_error_code() {
            Some(code) if consumer_fate(code) == Fate::Fatal => self.refused(code),
            _ => {
                let (topic, seconds) = (self.topic.to_owned(), PATIENCE.as_secs());
                TopicError::Silent { topic, seconds, reason: onlooker.context().reason() }
            }
        }
    }

    fn refused(&self, code: RDKafkaErrorCode) -> TopicError {
        TopicError::Refused { topic: self.topic.to_owned(), code }
    }
}
