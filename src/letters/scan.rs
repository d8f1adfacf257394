//! Reads the dead-letter topic: as it is when the first reading begins, from end to end, as often
//! as asked. No group is joined, nothing is committed, and nothing is held but the record in hand.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::ears::Ears;
use super::error::LettersError;
use super::selection::Selection;
use crate::config::settings::Kafka;
use crate::fate::Fate;
use crate::kafka::{client, consumer_fate, source};
use crate::record::{NextOffset, Offset, Record};
use crate::shutdown::Shutdown;

/// How long the brokers may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long they may give neither a record nor the end of a partition.
const SILENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The dead-letter topic, and the cluster around it.
pub(super) struct Source {
    config: ClientConfig,
    /// For questions. Each reading has one of its own, so that nothing of one is taken for a part
    /// of the next.
    client: Client,
    topic: Arc<str>,
    group: String,
    /// Every topic that this user may see, with its number of partitions.
    pub(super) topics: BTreeMap<String, i32>,
}

/// What of a partition is read: `start` to in front of `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: NextOffset,
    pub(super) end: NextOffset,
}

/// Of every partition that has something to read.
pub(super) type Spans = BTreeMap<i32, Span>;

impl Source {
    /// Connects, and asks what topics there are.
    pub(super) fn connect(kafka: &Kafka, topic: &str) -> Result<Self, LettersError> {
        let config = client::reader_config(kafka);
        let mut source = Self {
            client: Client::open(&config)?,
            config,
            topic: topic.into(),
            group: kafka.group_id.clone(),
            topics: BTreeMap::new(),
        };
        let all = source.client.fetch_metadata(None, PATIENCE).map_err(|_| {
            // Serves the callback that brings the reason.
            let _ = source.client.poll(POLL);
            let servers = kafka.bootstrap_servers.clone();
            LettersError::NoBroker { servers, reason: source.client.context().reason() }
        })?;
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

    fn refused(&self, code: RDKafkaErrorCode) -> LettersError {
        LettersError::Refused { topic: self.topic.to_string(), group: self.group.clone(), code }
    }

    /// The dead-letter topic.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Number of its partitions.
    pub(super) fn partitions(&self) -> i32 {
        self.topics.get(&*self.topic).copied().unwrap_or(0)
    }

    /// From where letters may be chosen, to where the topic ends now. (Markers lie behind their
    /// letters, so they are in there too.)
    pub(super) fn spans(&self, selection: &Selection) -> Result<Spans, LettersError> {
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
        let client = Client::open(&self.config)?;
        let what = "beginning to read the dead-letter topic";
        let call = |source| LettersError::Call { what, source };
        let mut list = TopicPartitionList::new();
        for (partition, span) in spans {
            let start = KafkaOffset::Offset(span.start.raw());
            list.add_partition_offset(&self.topic, *partition, start).map_err(call)?;
        }
        client.assign(&list).map_err(call)?;
        let lanes: BTreeMap<_, _> =
            spans.iter().map(|(p, span)| (*p, Lane { next: span.start, span: *span })).collect();
        let all = spans.values().map(|span| span.end.raw().abs_diff(span.start.raw())).sum();
        Ok(Reader { source: self, client, lanes, ended: 0, all, stop })
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

/// A consumer that does not keep anybody waiting when it is dropped.
struct Client(Option<BaseConsumer<Ears>>);

impl Client {
    fn open(config: &ClientConfig) -> Result<Self, LettersError> {
        let consumer = BaseConsumer::from_config_and_context(config, Ears::default());
        Ok(Self(Some(consumer.map_err(LettersError::Client)?)))
    }
}

impl Deref for Client {
    type Target = BaseConsumer<Ears>;
    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Some(consumer) => consumer,
            None => unreachable!("taken when this is dropped, and not before"),
        }
    }
}

impl Drop for Client {
    /// librdkafka's close can wait without bound, so it gets a thread and a deadline.
    fn drop(&mut self) {
        let Some(consumer) = self.0.take() else { return };
        let (left, wait) = bounded::<()>(0);
        let closing = std::thread::Builder::new().name("close".to_owned()).spawn(move || {
            drop(consumer);
            drop(left);
        });
        if closing.is_ok() {
            let _ = wait.recv_timeout(CLOSE_PATIENCE);
        }
    }
}

/// One partition being read.
struct Lane {
    next: NextOffset,
    span: Span,
}

/// One reading, from end to end.
pub(super) struct Reader<'a> {
    source: &'a Source,
    client: Client,
    /// Not read to their ends yet.
    lanes: BTreeMap<i32, Lane>,
    /// Offsets in lanes that are.
    ended: u64,
    all: u64,
    stop: &'a Shutdown,
}

impl Reader<'_> {
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
