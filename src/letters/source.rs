//! The dead-letter topic and the cluster around it: what topics there are, where the partitions
//! begin and end. It is read as often as asked; no group is joined, nothing is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::error::LettersError;
use super::reader::{Reader, Span, Spans};
use super::selection::Selection;
use crate::config::settings::Kafka;
use crate::fate::Fate;
use crate::kafka::entry::{Entry, NotIn};
use crate::kafka::onlooker::Onlooker;
use crate::kafka::tokens::Tokens;
use crate::kafka::{client, consumer_fate};
use crate::record::NextOffset;
use crate::shutdown::Shutdown;

/// How long the brokers may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The dead-letter topic, and the cluster around it.
pub(super) struct Source {
    config: ClientConfig,
    pub(super) tokens: Option<Arc<Tokens>>,
    /// For questions. Each reading has one of its own, so that nothing of one is taken for a part
    /// of the next.
    client: Onlooker,
    pub(super) topic: Arc<str>,
    /// Every topic that this user may see, with its number of partitions.
    pub(super) topics: BTreeMap<String, i32>,
}

impl Source {
    /// Connects, and asks what topics there are.
    pub(super) fn connect(kafka: &Kafka, topic: &str) -> Result<Self, LettersError> {
        let (config, tokens) = (client::reader_config(kafka), Tokens::of(kafka));
        let client = Onlooker::open(&config, tokens.clone()).map_err(LettersError::Client)?;
        let mut source = Self { client, config, tokens, topic: topic.into(), topics: BTreeMap::new() };
        // By who can tell why not.
        let entry = Entry::open(kafka, source.tokens.clone()).map_err(LettersError::Client)?;
        let all = entry.knock(None, PATIENCE, &Shutdown::new()).map_err(|not_in| match not_in {
            NotIn::Refused(why) => LettersError::Entry(why),
            NotIn::Silent(_, reason) => {
                LettersError::NoBroker { servers: kafka.bootstrap_servers.clone(), reason }
            }
        })?;
        let Some(all) = all else { return Err(source.why_not_there()) };
        let there = all.topics().iter().filter(|t| t.error().is_none());
        source.topics = there
            .map(|t| (t.name().to_owned(), i32::try_from(t.partitions().len()).unwrap_or(i32::MAX)))
            .collect();
        if !source.topics.contains_key(topic) {
            return Err(source.why_not_there());
        }
        Ok(source)
    }

    /// It is not in the list of topics: the brokers say why when they are asked for it by name.
    fn why_not_there(&self) -> LettersError {
        let no_topic = LettersError::NoTopic { topic: self.topic.to_string() };
        match self.client.fetch_metadata(Some(&self.topic), PATIENCE) {
            Ok(named) => match named.topics().iter().find_map(|t| t.error()).map(RDKafkaErrorCode::from) {
                Some(code) if consumer_fate(code) == Fate::Fatal => self.refused(code),
                _ => no_topic,
            },
            Err(_) => no_topic,
        }
    }

    pub(super) fn refused(&self, code: RDKafkaErrorCode) -> LettersError {
        LettersError::Refused { topic: self.topic.to_string(), code }
    }

    /// Number of its partitions.
    pub(super) fn partitions(&self) -> i32 {
        self.topics.get(&*self.topic).copied().unwrap_or(0)
    }

    /// From where letters may be chosen, to where the topic ends now. (Markers lie behind their
    /// letters, so they are in there too.)
    pub(super) fn spans(&self, selection: &Selection) -> Result<Spans, LettersError> {
        // Between two looks nobody polls: a token may have to be shown anew.
        crate::kafka::ears::listen(&self.client);
        let count = self.partitions();
        let wanted = match selection.partition {
            None => 0..count,
            Some(partition) if partition >= count => {
                let (topic, last) = (self.topic.to_string(), count - 1);
                return Err(LettersError::NoPartition { topic, partition, last });
            }
            Some(partition) => partition..partition.saturating_add(1),
        };
        let mut spans = Spans::new();
        for partition in wanted {
            let ends = self.client.fetch_watermarks(&self.topic, partition, PATIENCE);
            let (low, high) = ends.map_err(|e| self.silent("asking where the topic ends", &e))?;
            let start = selection.from.map_or(low, |from| from.raw().max(low));
            spans.insert(partition, Span { start: NextOffset::new(start), end: NextOffset::new(high) });
        }
        if let Some(since) = selection.since {
            self.begin_at(since, &mut spans)?;
        }
        spans.retain(|_, span| span.start < span.end);
        Ok(spans)
    }

    /// Nothing in front of a partition's first record of that time can be chosen.
    fn begin_at(&self, since: i64, spans: &mut Spans) -> Result<(), LettersError> {
        let failed = |e: KafkaError| self.silent("asking where that time begins", &e);
        let mut times = TopicPartitionList::new();
        for partition in spans.keys() {
            let time = KafkaOffset::Offset(since.max(0));
            times.add_partition_offset(&self.topic, *partition, time).map_err(failed)?;
        }
        let found = self.client.offsets_for_times(times, PATIENCE).map_err(failed)?;
        for element in found.elements() {
            element.error().map_err(failed)?;
            let Some(span) = spans.get_mut(&element.partition()) else { continue };
            span.start = match element.offset() {
                KafkaOffset::Offset(offset) => span.start.max(NextOffset::new(offset)),
                // No record of that time or later.
                _ => span.end,
            };
        }
        Ok(())
    }

    /// Reads these spans anew.
    pub(super) fn read<'a>(&'a self, spans: &Spans, stop: &'a Shutdown) -> Result<Reader<'a>, LettersError> {
        let client = Onlooker::open(&self.config, self.tokens.clone()).map_err(LettersError::Client)?;
        Reader::begin(self, client, spans, stop)
    }

    fn silent(&self, doing: &'static str, error: &KafkaError) -> LettersError {
        match error.rdkafka_error_code() {
            Some(code) if consumer_fate(code) == Fate::Fatal => self.refused(code),
            code => {
                let reason = code.map_or_else(String::new, |code| format!("{code}, "));
                let reason = reason + &self.client.context().reason();
                LettersError::Silent { doing, seconds: PATIENCE.as_secs(), reason }
            }
        }
    }
}
