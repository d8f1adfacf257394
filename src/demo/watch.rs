//! The demo's consumer: reads both ends of the pipeline and says what became of each record.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::feed::{ID, SENT};
use super::{DEAD, DemoError, OUTPUT, PARTITIONS};
use crate::kafka::embedded::Quiet;

/// Header of a dead letter: its reason code.
const REASON: &str = "__squeezeflow.errors.reason";

/// What became of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The sample's number; `None` where somebody else produced it.
    pub id: Option<usize>,
    /// Its text, or its value as far as it can be read. As it came: not fit for a terminal yet.
    pub text: String,
    /// From its sending to now.
    pub latency: Option<Duration>,
    /// How it ended.
    pub end: End,
}

/// How a record ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// With a label.
    Tagged {
        /// Which.
        label: String,
        /// Of that label.
        score: f64,
    },
    /// As it came.
    Passed,
    /// As a dead letter.
    Dead {
        /// Its code.
        reason: String,
    },
}

/// A consumer of both topics, from their beginning, without a group.
pub struct Watch {
    consumer: BaseConsumer<Quiet>,
    epoch: Instant,
}

impl Watch {
    /// Begins to read. `epoch` is the feed's.
    ///
    /// # Errors
    /// When there is no client.
    pub fn start(bootstrap_servers: &str, epoch: Instant) -> Result<Self, DemoError> {
        let error = |source| DemoError::Client { what: "start its consumer", source };
        let consumer: BaseConsumer<Quiet> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("client.id", "demo-watch")
            .set("group.id", "demo-watch")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .create_with_context(Quiet)
            .map_err(error)?;
        let mut from = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            from.add_partition_offset(OUTPUT, partition, Offset::Beginning).map_err(error)?;
        }
        from.add_partition_offset(DEAD, 0, Offset::Beginning).map_err(error)?;
        consumer.assign(&from).map_err(error)?;
        Ok(Self { consumer, epoch })
    }

    /// The next record that came out, if one does within `wait`.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn next(&self, wait: Duration) -> Result<Option<Seen>, DemoError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(self.read(&message))),
            Some(Err(error)) if is_passing(&error) => Ok(None),
            Some(Err(source)) => Err(DemoError::Client { what: "read what came out", source }),
        }
    }

    fn read(&self, message: &BorrowedMessage<'_>) -> Seen {
        let sent = header(message, SENT).and_then(|us| us.parse().ok()).map(Duration::from_micros);
        let latency = match sent {
            Some(sent) => Some(self.epoch.elapsed().saturating_sub(sent)),
            None => message.timestamp().to_millis().and_then(since),
        };
        let end = if message.topic() == DEAD {
            End::Dead { reason: header(message, REASON).unwrap_or_else(|| "no reason".to_owned()) }
        } else {
            end(message.payload())
        };
        let id = header(message, ID).and_then(|id| id.parse().ok());
        Seen { id, text: text(message.payload()), latency, end }
    }
}

/// The client tries again by itself.
fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, PartitionEOF, Resolve};
    let code = error.rdkafka_error_code();
    matches!(code, Some(AllBrokersDown | BrokerTransportFailure | PartitionEOF | Resolve))
}

/// The last header of that name, if it is text.
fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let last = headers.iter().filter(|header| header.key == name).last()?;
    String::from_utf8(last.value?.to_vec()).ok()
}

fn since(millis: i64) -> Option<Duration> {
    let then = Duration::from_millis(u64::try_from(millis).ok()?);
    Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.saturating_sub(then))
}

fn json(value: Option<&[u8]>) -> Option<serde_json::Value> {
    serde_json::from_slice(value?).ok()
}

/// What the worker said of a record in the output topic.
fn end(value: Option<&[u8]>) -> End {
    let said = json(value).and_then(|mut value| value.get_mut("nlp").map(serde_json::Value::take));
    let label = said.as_ref().and_then(|nlp| nlp.get("label")?.as_str().map(str::to_owned));
    let score = said.as_ref().and_then(|nlp| nlp.get("score")?.as_f64());
    match label.zip(score) {
        Some((label, score)) => End::Tagged { label, score },
        None => End::Passed,
    }
}

/// What to show of a value.
fn text(value: Option<&[u8]>) -> String {
    let Some(bytes) = value else { return "(no value: a tombstone)".to_owned() };
    match json(value).as_ref().and_then(|value| value.get("text")?.as_str()) {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_far_as_it_can_be() {
        let tagged = br#"{"text": "Nice.", "nlp": {"label": "positive", "score": 0.75}}"#;
        assert_eq!(end(Some(tagged)), End::Tagged { label: "positive".to_owned(), score: 0.75 });
        assert_eq!(text(Some(tagged)), "Nice.");
        assert_eq!(end(Some(br#"{"text": "Nice."}"#)), End::Passed);
        assert_eq!(end(None), End::Passed);
        assert_eq!(text(Some(b"{\"text\": ")), "{\"text\": ");
        assert_eq!(text(Some(b"[1]")), "[1]");
        assert_eq!(text(Some(b"\0\xff")), "\0\u{fffd}");
        assert_eq!(text(None), "(no value: a tombstone)");
    }
}
