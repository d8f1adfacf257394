//! How large a message the topics take, so that the producer never puts healthy records into one
//! batch that the broker refuses because of its size.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;

const PATIENCE: Duration = Duration::from_secs(5);
/// librdkafka's own default for `batch.size`, below Kafka's default limit of 1,048,588 bytes.
const DEFAULT: usize = 1_000_000;

/// A batch size that no topic refuses: nine tenths of the smallest `max.message.bytes` (the rest is
/// for the batch's own frame); librdkafka's default where the cluster does
/// not say (a topic that is not there yet, or no right to ask).
pub(super) fn batch_size(config: &ClientConfig, topics: &[&str]) -> usize {
    match ask(config, topics) {
        Ok(limits) => limits.into_iter().min().map_or(DEFAULT, |limit| (limit / 10 * 9).min(DEFAULT)),
        Err(error) => {
            tracing::warn!(%error, "the cluster does not tell its topics' message size (it needs the right DescribeConfigs on them); assuming the default");
            DEFAULT
        }
    }
}

fn ask(config: &ClientConfig, topics: &[&str]) -> KafkaResult<Vec<usize>> {
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let resources: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answer = admin.describe_configs(&resources, &options);
    let described = tokio::runtime::Handle::current().block_on(answer)?;
    Ok(described
        .into_iter()
        .flatten()
        .filter_map(|resource| resource.get("max.message.bytes")?.value.as_ref()?.parse().ok())
        .collect())
}
