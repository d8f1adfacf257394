//! What the topics' own settings allow: how large a message they take, so that the producer never
//! puts healthy records into one batch that the broker refuses because of its size; and how old a
//! record may be that they keep.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;

const PATIENCE: Duration = Duration::from_secs(5);
/// librdkafka's own default for `batch.size`, below Kafka's default limit of 1,048,588 bytes.
const DEFAULT: usize = 1_000_000;

/// What one topic's settings say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TopicLimits {
    /// The largest message; `None`: it is not told.
    pub(crate) max_message_bytes: Option<usize>,
    /// How long a record is kept, counted from the record's own timestamp; `None`: for ever, or
    /// counted from its arrival.
    pub(crate) keeps: Option<Duration>,
}

/// A batch size that no topic refuses: nine tenths of the smallest `max.message.bytes` (the rest is
/// for the batch's own frame); librdkafka's default where the cluster does
/// not say (a topic that is not there yet, or no right to ask).
pub(super) fn batch_size(config: &ClientConfig, topics: &[&str]) -> usize {
    let limits = ask(config, topics).unwrap_or_else(|error| {
        tracing::warn!(%error, "the cluster was asked for its topics' limits in vain");
        BTreeMap::new()
    });
    for topic in topics.iter().filter(|topic| !limits.contains_key(**topic)) {
        tracing::warn!(
            topic,
            "the cluster does not tell this topic's message size (it needs the right DescribeConfigs); assuming the default"
        );
    }
    batch_size_within(limits.values())
}

/// The same, for limits that are known already.
pub(crate) fn batch_size_within<'a>(limits: impl Iterator<Item = &'a TopicLimits>) -> usize {
    let smallest = limits.filter_map(|limits| limits.max_message_bytes).min();
    smallest.map_or(DEFAULT, |limit| (limit / 10 * 9).min(DEFAULT))
}

/// Asks the cluster, inside a tokio runtime. Topics that it does not tell about are left out.
///
/// # Errors
/// When nobody answers.
pub(crate) fn ask(config: &ClientConfig, topics: &[&str]) -> KafkaResult<BTreeMap<String, TopicLimits>> {
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let resources: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answer = admin.describe_configs(&resources, &options);
    let described = tokio::runtime::Handle::current().block_on(answer)?;
    Ok(described.iter().flatten().filter_map(limits).collect())
}

fn limits(resource: &ConfigResource) -> Option<(String, TopicLimits)> {
    let OwnedResourceSpecifier::Topic(topic) = &resource.specifier else { return None };
    // So rdkafka shows that the topic is not there, or that it is not for us to ask.
    if resource.entries.is_empty() {
        return None;
    }
    let value = |name: &str| resource.get(name)?.value.as_deref();
    let deletes = value("cleanup.policy").is_some_and(|policy| policy.contains("delete"));
    let own_time = value("message.timestamp.type") == Some("CreateTime");
    // -1: for ever.
    let retention = value("retention.ms").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let limits = TopicLimits {
        max_message_bytes: value("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
        keeps: retention.filter(|_| deletes && own_time),
    };
    Some((topic.clone(), limits))
}
