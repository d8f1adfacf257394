//! What the topics' own settings refuse, read at start: so that the producer never puts healthy records
//! into one batch that the broker refuses because of its size, and so that one record that a broker
//! would refuse for ever is a dead letter instead of the end of the worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;

use super::tokens::{self, Tokens};
use crate::record::{Record, Timestamp};
use crate::shutdown::Shutdown;

const PATIENCE: Duration = Duration::from_secs(5);
/// librdkafka's own default for `batch.size`, below Kafka's default limit of 1,048,588 bytes.
const DEFAULT: usize = 1_000_000;

/// By topic; of a topic that is not there yet, or that we may not ask about, nothing is known.
pub(super) struct TopicLimits(HashMap<String, Limits>);

/// One topic's. `None`: no limit is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The largest message.
    pub(crate) message_bytes: Option<usize>,
    /// How long a record is kept, counted from the record's own timestamp; `None`: for ever, or
    /// counted from its arrival.
    pub(crate) keeps: Option<Duration>,
    /// Milliseconds that a timestamp may be behind the broker's clock, and ahead of it.
    pub(crate) behind: Option<i64>,
    pub(crate) ahead: Option<i64>,
    /// Then a record needs a key.
    pub(crate) compacted: bool,
}

impl TopicLimits {
    /// Asks the cluster. It needs the right DescribeConfigs on the topics.
    /// `None`: asked to stop before there was an answer.
    pub(super) fn ask(
        config: &ClientConfig,
        tokens: Option<&Arc<Tokens>>,
        topics: &[&str],
        shutdown: &Shutdown,
    ) -> Option<Self> {
        let asked = async {
            tokio::select! {
                limits = describe(config, tokens, topics) => Some(limits),
                () = shutdown.requested() => None,
            }
        };
        let limits = tokio::runtime::Handle::current().block_on(asked)?.unwrap_or_else(|error| {
            tracing::warn!(%error, "the cluster was asked for its topics' settings in vain");
            HashMap::new()
        });
        for topic in topics.iter().filter(|topic| !limits.contains_key(**topic)) {
            tracing::warn!(
                topic,
                "the cluster does not tell this topic's settings (it needs the right DescribeConfigs); assuming the defaults"
            );
        }
        Some(Self(limits))
    }

    /// A batch size that no topic refuses: nine tenths of the smallest `max.message.bytes` (the rest
    /// is for the batch's own frame); librdkafka's default where nothing is known.
    pub(super) fn batch_size(&self) -> usize {
        batch_size_within(self.0.values())
    }

    /// Does it keep only the last record of each key?
    pub(super) fn is_compacted(&self, topic: &str) -> bool {
        self.0.get(topic).is_some_and(|limits| limits.compacted)
    }

    /// Why the topic would refuse this record whenever it is sent; in words for a dead letter. `now`
    /// in milliseconds since the Unix epoch. The clocks of broker and worker may differ a little: what
    /// the broker refuses all the same stops the worker, and time passes until it starts again.
    pub(super) fn refusal(&self, topic: &str, record: &Record, now: i64) -> Option<String> {
        self.0.get(topic)?.refusal(topic, record, record.timestamp, now)
    }
}

impl Limits {
    /// Why the topic, of this name, would refuse this record, sent with this timestamp; in words.
    /// `now` in milliseconds since the Unix epoch.
    pub(crate) fn refusal(
        &self,
        topic: &str,
        record: &Record,
        timestamp: Timestamp,
        now: i64,
    ) -> Option<String> {
        // librdkafka writes the time of writing in place of 0.
        let timestamp = timestamp.0.filter(|t| *t != 0).unwrap_or(now);
        let beyond = |limit: Option<i64>, distance: i64| limit.is_some_and(|limit| distance > limit);
        if beyond(self.ahead, timestamp.saturating_sub(now)) {
            Some(format!(
                "the record's timestamp is further ahead than topic `{topic}` takes (`message.timestamp.after.max.ms`)"
            ))
        } else if beyond(self.behind, now.saturating_sub(timestamp)) {
            Some(format!(
                "the record's timestamp is further back than topic `{topic}` takes (`message.timestamp.before.max.ms`)"
            ))
        } else if self.compacted && record.key.is_none() {
            Some(format!("the record has no key, and topic `{topic}` is compacted"))
        } else {
            None
        }
    }
}

/// A batch size that none of these topics refuses.
pub(crate) fn batch_size_within<'a>(limits: impl Iterator<Item = &'a Limits>) -> usize {
    let smallest = limits.filter_map(|limits| limits.message_bytes).min();
    smallest.map_or(DEFAULT, |limit| (limit / 10 * 9).min(DEFAULT))
}

/// Asks the cluster, inside a tokio runtime. Topics that it does not tell about are left out.
///
/// # Errors
/// When nobody answers.
pub(crate) fn ask(
    config: &ClientConfig,
    tokens: Option<&Arc<Tokens>>,
    topics: &[&str],
) -> KafkaResult<HashMap<String, Limits>> {
    tokio::runtime::Handle::current().block_on(describe(config, tokens, topics))
}

async fn describe(
    config: &ClientConfig,
    tokens: Option<&Arc<Tokens>>,
    topics: &[&str],
) -> KafkaResult<HashMap<String, Limits>> {
    let mut config = config.clone();
    // Who only asks has no part in transactions.
    for property in ["transactional.id", "transaction.timeout.ms", "debug"] {
        config.remove(property);
    }
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    if let Some(tokens) = tokens {
        tokens::show(tokens, admin.inner());
    }
    let resources: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let described = admin.describe_configs(&resources, &options).await?;
    Ok(described.into_iter().flatten().filter_map(limits).collect())
}

fn limits(resource: ConfigResource) -> Option<(String, Limits)> {
    let OwnedResourceSpecifier::Topic(topic) = &resource.specifier else { return None };
    // So rdkafka shows that the topic is not there, or that it is not for us to ask.
    if resource.entries.is_empty() {
        return None;
    }
    let text = |name| resource.get(name).and_then(|entry| entry.value.as_deref());
    // The broker's own time is within any limit.
    let by_record = text("message.timestamp.type") != Some("LogAppendTime");
    let time = |name| text(name).and_then(|value| value.parse().ok()).filter(|_| by_record);
    let policies = text("cleanup.policy").unwrap_or_default();
    // -1: for ever.
    let retention = text("retention.ms").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let limits = Limits {
        keeps: retention.filter(|_| by_record && policies.contains("delete")),
        message_bytes: text("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
        behind: time("message.timestamp.before.max.ms"),
        ahead: time("message.timestamp.after.max.ms"),
        compacted: policies.contains("compact"),
    };
    Some((topic.clone(), limits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Offset;

    #[test]
    fn what_a_topic_refuses() {
        let limits = Limits { behind: Some(1000), ahead: Some(50), compacted: true, ..Limits::default() };
        let limits = TopicLimits(HashMap::from([("t".to_owned(), limits)]));
        let record = |key: Option<&str>, timestamp| Record {
            topic: "in".into(),
            partition: 0,
            offset: Offset::new(0),
            key: key.map(|k| k.as_bytes().to_vec()),
            value: None,
            headers: Vec::new(),
            timestamp: Timestamp(timestamp),
        };
        let now = 10_000;
        let refused = |record: &Record| limits.refusal("t", record, now).unwrap_or_default();
        for timestamp in [None, Some(0), Some(9_000), Some(10_050)] {
            assert_eq!(refused(&record(Some(""), timestamp)), "", "{timestamp:?}");
        }
        assert!(refused(&record(Some("k"), Some(8_999))).contains("further back"));
        assert!(refused(&record(Some("k"), Some(10_051))).contains("further ahead"));
        assert!(refused(&record(Some("k"), Some(i64::MAX))).contains("further ahead"));
        assert!(refused(&record(None, None)).contains("no key"));
        assert_eq!(limits.refusal("of which nothing is known", &record(None, Some(1)), now), None);
    }

    #[test]
    fn a_batch_that_no_topic_refuses() {
        let of = |bytes: &[usize]| {
            let limits = |bytes: &usize| Limits { message_bytes: Some(*bytes), ..Limits::default() };
            let all = bytes.iter().map(|b| (b.to_string(), limits(b)));
            TopicLimits(all.collect()).batch_size()
        };
        assert_eq!(of(&[]), DEFAULT);
        assert_eq!(of(&[30_000, 1_048_588]), 27_000);
        assert_eq!(of(&[10_000_000]), DEFAULT);
    }
}
