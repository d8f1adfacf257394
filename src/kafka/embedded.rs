//! A Kafka broker inside this process, for the demo and for tests: librdkafka's mock cluster.
//!
//! Real consumer groups, in memory only: at most 100,000 records or 5 MB a partition, no
//! retention settings, transactions only in name. It proves nothing about delivery guarantees.

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use crate::fate::Fate;
use crate::telemetry::logs;

/// The embedded broker cannot do what was asked of it.
#[derive(Debug, thiserror::Error)]
#[error("the embedded broker cannot {what}: {source}")]
pub struct EmbeddedError {
    what: &'static str,
    #[source]
    source: KafkaError,
}

impl EmbeddedError {
    /// Nothing works without it.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// One broker on a free port of the loopback interface. Dropped, it is gone, with all records.
pub struct EmbeddedBroker {
    /// Owns the cluster; produces nothing itself.
    owner: BaseProducer<Quiet>,
}

/// The context of clients that ask nothing but success: librdkafka's words go where all others go.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        logs::librdkafka(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client of the demo");
    }
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl EmbeddedBroker {
    /// Starts it.
    ///
    /// # Errors
    /// When librdkafka gets no socket or no thread.
    pub fn start() -> Result<Self, EmbeddedError> {
        let owner = ClientConfig::new()
            .set("client.id", "embedded-broker")
            .set("test.mock.num.brokers", "1")
            .create_with_context(Quiet)
            .map_err(|source| EmbeddedError { what: "start", source })?;
        let broker = Self { owner };
        broker.join_at_once();
        Ok(broker)
    }

    /// A mock group waits 3 s for more members before the first of them gets its partitions.
    /// Nobody else comes here.
    #[allow(unsafe_code)] // In rdkafka-sys only; rdkafka's safe wrapper lacks this one setting.
    fn join_at_once(&self) {
        // SAFETY: `owner` is alive, so its handle is valid, and so is the cluster that it owns and
        // destroys with itself (the pointer is not kept). The call takes the cluster's own lock.
        unsafe {
            let cluster = rdkafka_sys::rd_kafka_handle_mock_cluster(self.owner.client().native_ptr());
            if !cluster.is_null() {
                rdkafka_sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            }
        }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// When it exists, or its name or number of partitions is impossible.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), EmbeddedError> {
        let what = "create a topic";
        let missing = KafkaError::MockCluster(rdkafka::error::RDKafkaErrorCode::Fail);
        let cluster = self.owner.client().mock_cluster().ok_or(EmbeddedError { what, source: missing })?;
        cluster.create_topic(topic, partitions, 1).map_err(|source| EmbeddedError { what, source })
    }

    /// `host:port`, for `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        self.owner.client().mock_cluster().map(|cluster| cluster.bootstrap_servers()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::{Duration, Instant};

    use rdkafka::Message;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::producer::BaseRecord;

    use super::*;

    fn client(broker: &EmbeddedBroker) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap_servers());
        config
    }

    #[test]
    fn a_group_member_reads_what_was_written_soon_after_it_joins() {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("words", 3).unwrap();
        let producer: BaseProducer = client(&broker).set("enable.idempotence", "true").create().unwrap();
        for n in 0..30_u8 {
            let partition = i32::from(n % 3);
            producer
                .send(BaseRecord::<[u8], [u8]>::to("words").partition(partition).payload(&[n]))
                .map_err(|(error, _)| error)
                .unwrap();
        }
        producer.flush(Duration::from_secs(5)).unwrap();

        let start = Instant::now();
        let consumer: BaseConsumer = client(&broker)
            .set("group.id", "readers")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .create()
            .unwrap();
        consumer.subscribe(&["words"]).unwrap();
        let (mut seen, mut first) = (Vec::new(), None);
        while seen.len() < 30 && start.elapsed() < Duration::from_secs(10) {
            if let Some(message) = consumer.poll(Duration::from_millis(50)) {
                first.get_or_insert_with(|| start.elapsed());
                seen.push(message.unwrap().payload().unwrap()[0]);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..30).collect::<Vec<u8>>());
        let first = first.unwrap();
        assert!(first < Duration::from_millis(1_500), "the first join took {first:?}");
    }

    #[test]
    fn two_brokers_do_not_know_each_other_and_a_topic_is_created_once() {
        let (one, two) = (EmbeddedBroker::start().unwrap(), EmbeddedBroker::start().unwrap());
        assert_ne!(one.bootstrap_servers(), two.bootstrap_servers());
        one.create_topic("words", 1).unwrap();
        two.create_topic("words", 1).unwrap();
        let error = one.create_topic("words", 1).unwrap_err();
        assert!(error.to_string().contains("create a topic"), "{error}");
    }
}
