//! The tests' own Kafka client: topics, producing, and what a group has committed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::Offset;

use super::wait::{PATIENCE, until, until_some};

/// A record to be sent.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: Option<i64>,
    /// `None`: by the key, as Java's clients do.
    pub partition: Option<i32>,
}

/// One cluster, seen from outside.
#[derive(Clone)]
pub struct Client {
    pub bootstrap: String,
}

impl Client {
    pub fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned() }
    }

    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("topic.metadata.refresh.interval.ms", "2000");
        config
    }

    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        self.create(config.iter().fold(topic, |topic, (key, value)| topic.set(key, value)));
    }

    /// Its only copy on one broker: whoever freezes that broker freezes this topic.
    pub fn create_topic_on(&self, name: &str, partitions: usize, broker: i32) {
        let replicas = [broker];
        let assignment = vec![replicas.as_slice(); partitions];
        self.create(NewTopic::new(name, partitions as i32, TopicReplication::Variable(&assignment)));
    }

    fn create(&self, topic: NewTopic<'_>) {
        let name = topic.name.to_owned();
        block(self.admin().create_topics([&topic], &options())).unwrap().remove(0).unwrap();
        // Created in the controller's log; each broker hears of it a moment later.
        let consumer = self.consumer("nobody");
        until_some("a created topic to have leaders", PATIENCE, || {
            let metadata = consumer.fetch_metadata(Some(&name), Duration::from_secs(5)).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            let led = partitions.len() == topic.num_partitions as usize
                && partitions.iter().all(|p| p.leader() >= 0);
            led.then_some(())
        });
    }

    /// Gone, as every broker sees it, when this returns.
    pub fn delete_topic(&self, name: &str) {
        block(self.admin().delete_topics(&[name], &options())).unwrap().remove(0).unwrap();
        let consumer = self.consumer("nobody");
        until("a deleted topic to be gone", PATIENCE, || {
            let Ok(metadata) = consumer.fetch_metadata(None, Duration::from_secs(5)) else { return false };
            metadata.topics().iter().all(|topic| topic.name() != name)
        });
    }

    pub fn add_partitions(&self, topic: &str, count: usize) {
        let more = NewPartitions::new(topic, count);
        block(self.admin().create_partitions([&more], &options())).unwrap().remove(0).unwrap();
        until_some("new partitions", PATIENCE, || (self.partitions(topic) == count as i32).then_some(()));
    }

    /// Deletes everything before `offset`, as retention would.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        block(self.admin().delete_records(&list, &options())).unwrap().elements()[0].error().unwrap();
    }

    /// Sends all of them in order and returns when the brokers have them.
    pub fn produce(&self, topic: &str, messages: impl IntoIterator<Item = Message>) {
        let mut sender = Sender::new(self, topic, &[]);
        messages.into_iter().for_each(|message| sender.send(&message));
        sender.flush();
    }

    pub fn partitions(&self, topic: &str) -> i32 {
        let consumer = self.consumer("nobody");
        until_some("metadata", PATIENCE, || {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            Some(metadata.topics().first()?.partitions().len() as i32)
        })
    }

    /// Broker ids of the partitions' leaders.
    pub fn leaders(&self, topic: &str) -> BTreeMap<i32, i32> {
        let consumer = self.consumer("nobody");
        until_some("metadata", PATIENCE, || {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            Some(metadata.topics().first()?.partitions().iter().map(|p| (p.id(), p.leader())).collect())
        })
    }

    /// The broker that keeps a group.
    pub fn group_coordinator(&self, group: &str) -> i32 {
        // Asking makes the offsets' topic, if this is the first group.
        let _ = self.consumer(group).committed_offsets(TopicPartitionList::new(), SLICE);
        let _ = self.members(group);
        self.leaders("__consumer_offsets")[&keeper(group)]
    }

    /// The broker that keeps a transactional id. Somebody must have used one already.
    pub fn transaction_coordinator(&self, id: &str) -> i32 {
        self.leaders("__transaction_state")[&keeper(id)]
    }

    /// Waits until so many brokers are there and every partition's copies are in sync.
    pub fn wait_whole(&self, brokers: usize) {
        let consumer = self.consumer("nobody");
        until("a whole cluster", PATIENCE * 2, || {
            let Ok(metadata) = consumer.fetch_metadata(None, Duration::from_secs(5)) else { return false };
            let mut partitions = metadata.topics().iter().flat_map(|t| t.partitions());
            let in_sync = partitions.all(|p| p.leader() >= 0 && p.isr().len() == p.replicas().len());
            metadata.brokers().len() == brokers && in_sync
        });
    }

    /// First offset and the one after the last (transaction markers count), by partition.
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let consumer = self.consumer("nobody");
        let ends = |p| until_some("watermarks", PATIENCE, || consumer.fetch_watermarks(topic, p, SLICE).ok());
        (0..self.partitions(topic)).map(|p| (p, ends(p))).collect()
    }

    /// Waits until no transaction is open in these topics: a reader then sees all there will ever be.
    #[track_caller]
    pub fn wait_settled(&self, topics: &[&str]) {
        let mut config = self.config();
        let all: BaseConsumer =
            config.set("group.id", "nobody").set("isolation.level", "read_uncommitted").create().unwrap();
        let stable = self.consumer("nobody");
        for topic in topics {
            for partition in 0..self.partitions(topic) {
                let end =
                    |reader: &BaseConsumer| Some(reader.fetch_watermarks(topic, partition, SLICE).ok()?.1);
                until(&format!("the last transaction in {topic}[{partition}] to end"), PATIENCE, || {
                    end(&all).is_some_and(|end_of_all| end(&stable) == Some(end_of_all))
                });
            }
        }
    }

    /// What the group has committed, by partition. Partitions without a commit are left out.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let consumer = self.consumer(group);
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, self.partitions(topic) - 1);
        let known = until_some("committed offsets", PATIENCE, || {
            consumer.committed_offsets(list.clone(), SLICE).ok()
        });
        let offset = |o| if let Offset::Offset(o) = o { Some(o) } else { None };
        known.elements().iter().filter_map(|e| Some((e.partition(), offset(e.offset())?))).collect()
    }

    /// Commits in the name of a group that has no members.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.consumer(group).commit(&list, CommitMode::Sync).unwrap();
    }

    /// The ids of a group's members, as its coordinator sees them.
    pub fn members(&self, group: &str) -> Vec<String> {
        let consumer = self.consumer("nobody");
        until_some("the group's members", PATIENCE, || {
            let list = consumer.fetch_group_list(Some(group), SLICE).ok()?;
            let members =
                list.groups().first().map(|g| g.members().iter().map(|m| m.id().to_owned()).collect());
            Some(members.unwrap_or_default())
        })
    }

    pub fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false");
        config.create().unwrap()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }
}

const SLICE: Duration = Duration::from_secs(10);

/// Which partition of Kafka's own topics keeps a name: Java's `String.hashCode` modulo their number,
/// which is that of `cluster.rs`.
fn keeper(name: &str) -> i32 {
    let hash = name.encode_utf16().fold(0_i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)));
    (hash & 0x7fff_ffff) % 8
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(Duration::from_secs(30)))
        .request_timeout(Some(Duration::from_secs(30)))
}

fn block<T>(future: impl Future<Output = Result<T, KafkaError>>) -> Result<T, KafkaError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// An idempotent producer (one that is not reorders by itself), optionally transactional.
pub struct Sender {
    producer: BaseProducer<Strict>,
    topic: String,
}

/// The tests' input must arrive, or the test says nothing: keeps the first failure.
#[derive(Default)]
struct Strict(Mutex<Option<KafkaError>>);
impl rdkafka::ClientContext for Strict {}
impl ProducerContext for Strict {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // A purge is what an aborted transaction does to what was not sent yet.
        if let Err((error, _)) = result
            && !matches!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
            )
        {
            self.0.lock().unwrap().get_or_insert(error.clone());
        }
    }
}

impl Sender {
    pub fn new(client: &Client, topic: &str, settings: &[(&str, &str)]) -> Self {
        let mut config = client.config();
        config.set("enable.idempotence", "true").set("partitioner", "murmur2_random").set("linger.ms", "5");
        config.set("queue.buffering.max.messages", "0").set("message.timeout.ms", "120000");
        // What is too large is for the brokers to say.
        config.set("message.max.bytes", "100000000").set("batch.size", "900000");
        settings.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        Self { producer: config.create_with_context(Strict::default()).unwrap(), topic: topic.to_owned() }
    }

    pub fn transactional(client: &Client, topic: &str) -> Self {
        let sender =
            Self::new(client, topic, &[("transactional.id", topic), ("message.timeout.ms", "60000")]);
        sender.producer.init_transactions(PATIENCE).unwrap();
        sender
    }

    pub fn send(&mut self, message: &Message) {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
        record.key = message.key.as_deref();
        record.payload = message.value.as_deref();
        record.partition = message.partition;
        record.timestamp = message.timestamp;
        if !message.headers.is_empty() {
            let all = message.headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: value.as_ref() })
            });
            record.headers = Some(all);
        }
        while let Err((error, back)) = self.producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
            self.producer.poll(Duration::from_millis(10));
            record = back;
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Takes up what the brokers answered.
    pub fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(120)).unwrap();
        let failed = self.producer.context().0.lock().unwrap().take();
        assert!(failed.is_none(), "the test's own producer failed: {failed:?}");
    }

    /// Sends these in one transaction, and commits or aborts it.
    pub fn transaction(&mut self, messages: &[Message], commit: bool) {
        self.begin();
        messages.iter().for_each(|message| self.send(message));
        self.flush();
        if commit { self.commit() } else { self.abort() }
    }

    pub fn begin(&self) {
        self.producer.begin_transaction().unwrap();
    }

    pub fn commit(&self) {
        self.producer.commit_transaction(PATIENCE).unwrap();
    }

    pub fn abort(&self) {
        self.producer.abort_transaction(PATIENCE).unwrap();
    }
}
