//! Client settings of librdkafka: what the pipeline says, what the delivery guarantee needs, and
//! the user's pass-through map. Pure; nothing here connects.
//!
//! A [`ClientConfig`] holds passwords in the clear, and rdkafka's `Debug` hides only some of them:
//! never print one.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::access::Resource;
use crate::config::settings::{Kafka, Sasl, Tls};

/// Properties of the pass-through map that only a consumer has: all that begin so. librdkafka would
/// warn about them on a producer. What is in neither list goes to both clients.
const CONSUMER_ONLY: &[&str] = &[
    "allow.auto.create.topics",
    "auto.",
    "check.crcs",
    "consume.",
    "coordinator.query.",
    "fetch.",
    "group.",
    "heartbeat.",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.",
    "partition.assignment.",
    "queued.",
];

/// And those that only a producer has.
const PRODUCER_ONLY: &[&str] = &[
    "batch.",
    "compression.",
    "linger.ms",
    "queue.buffering.",
    "request.timeout.ms",
    "sticky.partitioning.",
];

/// Address, name, TLS and SASL; what every client of the cluster has.
pub fn base_config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    // rdkafka would ask the `log` crate, where nobody listens; `log.level` decides what is shown.
    let debug = kafka.librdkafka.contains_key("debug");
    config.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
    config.set("bootstrap.servers", &kafka.bootstrap_servers).set("client.id", &kafka.client_id);
    config.set(
        "security.protocol",
        match (&kafka.tls, &kafka.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        },
    );
    if let Some(tls) = &kafka.tls {
        set_tls(&mut config, tls);
    }
    if let Some(sasl) = &kafka.sasl {
        set_sasl(&mut config, sasl);
    }
    config
}

/// For the one consumer: offsets are the worker's, never reset and never committed by the client.
pub fn consumer_config(kafka: &Kafka) -> ClientConfig {
    let mut config = base_config(kafka);
    // Bounded prefetch: the default of 64 MB is overshot when there are many partitions.
    config
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "20")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("heartbeat.interval.ms", heartbeat_interval(kafka).as_millis().to_string())
        .set("max.poll.interval.ms", poll_interval(kafka).as_millis().to_string());
    pass_through(&mut config, kafka, PRODUCER_ONLY);
    config
        .set("group.id", &kafka.group_id)
        .set("group.protocol", "classic")
        .set("session.timeout.ms", kafka.session_timeout.as_millis().to_string())
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "false");
    if let Some(instance) = &kafka.group_instance_id {
        config.set("group.instance.id", instance);
    }
    config
}

/// The loop polls all the time, so this is not about us: librdkafka waits as long for the answer to a
/// JoinGroup. One that was lost would keep a worker out of its group for the default of five minutes.
fn poll_interval(kafka: &Kafka) -> Duration {
    (kafka.session_timeout * 2).max(Duration::from_secs(60))
}

/// A late heartbeat or two must not cost the assignment, however short the session.
pub(super) fn heartbeat_interval(kafka: &Kafka) -> Duration {
    (kafka.session_timeout / 4).min(Duration::from_secs(3))
}

/// Who we are among the producers with transactions. For what is written it need not be stable: a
/// worker that was thought dead is fenced by its generation of the group. But one that starts again
/// under the same id ends at once what it left open; under a new one readers wait for it until
/// `transaction_timeout`.
pub fn transactional_id(kafka: &Kafka) -> String {
    match (&kafka.transactional_id, &kafka.group_instance_id) {
        (Some(id), _) => id.clone(),
        (None, Some(instance)) => format!("squeezeflow.{}.{instance}", kafka.group_id),
        (None, None) => format!("{}{}", made_id(kafka), unique()),
    }
}

/// How each transactional id begins that is made for one start.
fn made_id(kafka: &Kafka) -> String {
    format!("squeezeflow.{}.", kafka.group_id)
}

/// What a user must be allowed to write for [`transactional_id`].
pub(super) fn transactional_resource(kafka: &Kafka) -> Resource {
    match (&kafka.transactional_id, &kafka.group_instance_id) {
        (None, None) => Resource::TransactionalIds(made_id(kafka)),
        _ => Resource::TransactionalId(transactional_id(kafka)),
    }
}

/// No two processes have the same.
fn unique() -> String {
    use std::hash::{BuildHasher, Hasher};
    // Seeded by the operating system's randomness, once a process.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:x}-{random:016x}", std::process::id())
}

/// For the one producer: idempotent, so that a reconnect cannot change the order, and without a
/// time-out, so that no write is given up; or with one, that of the transaction that it belongs to.
pub fn producer_config(kafka: &Kafka, transactional_id: Option<&str>) -> ClientConfig {
    let mut config = base_config(kafka);
    config.set("linger.ms", "5").set("compression.type", "lz4");
    pass_through(&mut config, kafka, CONSUMER_ONLY);
    config.set("enable.idempotence", "true").set("acks", "all").set("partitioner", "murmur2_random");
    match transactional_id {
        None => config.set("message.timeout.ms", "0"),
        Some(id) => {
            let timeout = kafka.transaction_timeout.as_millis().to_string();
            // The debug context tells what no call tells: see `ProducerEvents::has_doubts`.
            let debug = kafka.librdkafka.get("debug").map_or("eos".to_owned(), |d| format!("{d},eos"));
            config
                .set("transactional.id", id)
                .set("transaction.timeout.ms", &timeout)
                .set("message.timeout.ms", timeout)
                .set("debug", debug)
                .set_log_level(RDKafkaLogLevel::Debug)
        }
    };
    config
}

/// For questions: no group, and so nothing to leave at the end.
pub fn asking_config(kafka: &Kafka) -> ClientConfig {
    let mut config = consumer_config(kafka);
    for property in ["group.id", "group.instance.id"] {
        config.remove(property);
    }
    config.set("allow.auto.create.topics", "false");
    config
}

/// For reading a topic from end to end beside the workers: no group is joined, nothing committed;
/// where a partition ends is told; what was never committed by its writer is not seen.
pub fn reader_config(kafka: &Kafka) -> ClientConfig {
    let mut config = consumer_config(kafka);
    // librdkafka wants a group's name to assign partitions by hand; the pipeline's own needs no
    // further permission.
    config.remove("group.instance.id");
    config
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        // The end of a partition is told by an answer without records, which the broker holds back
        // for this long.
        .set("fetch.wait.max.ms", "50")
        // Fetched batches are unpacked whole: what is fetched of one partition at a time, and not how
        // large the topic is, says how much memory a reading takes.
        .set("fetch.message.max.bytes", "262144")
        .set("queued.max.messages.kbytes", "4096")
        .set("allow.auto.create.topics", "false")
        // Retention may be faster than the reader: what is gone is gone.
        .set("auto.offset.reset", "earliest");
    config
}

/// For writing in transactions. An open one that its writer left behind (by `kill -9`) holds up
/// readers for at most `timeout`.
pub fn transactional_config(kafka: &Kafka, id: &str, timeout: Duration) -> ClientConfig {
    let mut config = producer_config(kafka, None);
    // Bounded by the transaction's: librdkafka sees to it, and refuses longer ones.
    config.remove("message.timeout.ms");
    config.remove("socket.timeout.ms");
    config
        .set("transactional.id", id)
        .set("transaction.timeout.ms", timeout.as_millis().to_string())
        // Whether one message is too large is for the broker to say.
        .set("message.max.bytes", "1000000000");
    config
}

/// Why librdkafka does not take a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// It has none of that name, or was built without it.
    #[error("librdkafka has no such property")]
    Unknown,
    /// It has it, but not with that value. The value is not repeated: it may be a secret.
    #[error("librdkafka does not take this value")]
    Value,
}

/// Does librdkafka have this property, and take this value? Asks the library itself.
pub fn accepts(property: &str, value: &str) -> Result<(), PropertyError> {
    use rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN;
    match ClientConfig::new().set(property, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, ..)) => Err(PropertyError::Unknown),
        Err(_) => Err(PropertyError::Value),
    }
}

fn set_tls(config: &mut ClientConfig, tls: &Tls) {
    let files = [
        ("ssl.ca.location", &tls.ca_file),
        ("ssl.certificate.location", &tls.certificate_file),
        ("ssl.key.location", &tls.key_file),
    ];
    for (property, file) in files {
        if let Some(file) = file {
            config.set(property, file.to_string_lossy());
        }
    }
    if let Some(password) = &tls.key_password {
        config.set("ssl.key.password", password.reveal());
    }
    config.set("ssl.endpoint.identification.algorithm", if tls.verify_hostname { "https" } else { "none" });
}

fn set_sasl(config: &mut ClientConfig, sasl: &Sasl) {
    config.set("sasl.mechanism", sasl.mechanism());
    // A token is shown by the clients' contexts: see `tokens`.
    if let Sasl::Password { username, password, .. } = sasl {
        config.set("sasl.username", username).set("sasl.password", password.reveal());
    }
}

/// All of the user's properties but those of the other client.
fn pass_through(config: &mut ClientConfig, kafka: &Kafka, of_the_other: &[&str]) {
    for (property, value) in &kafka.librdkafka {
        if !of_the_other.iter().any(|prefix| property.starts_with(prefix)) {
            config.set(property, value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Secret;
    use crate::config::settings::PasswordMechanism;

    fn kafka() -> Kafka {
        Kafka {
            bootstrap_servers: "localhost:9092".into(),
            group_id: "g".into(),
            group_instance_id: Some("one".into()),
            client_id: "c".into(),
            tls: None,
            sasl: None,
            session_timeout: Duration::from_secs(45),
            commit_interval: Duration::from_secs(1),
            transactional_id: None,
            transaction_timeout: Duration::from_secs(15),
            librdkafka: Default::default(),
        }
    }

    #[test]
    fn librdkafka_takes_every_property() {
        let mut kafka = kafka();
        kafka.tls = Some(Tls {
            ca_file: None,
            certificate_file: None,
            key_file: None,
            key_password: Some(Secret::new("p")),
            verify_hostname: true,
        });
        let mechanism = PasswordMechanism::ScramSha512;
        kafka.sasl =
            Some(Sasl::Password { mechanism, username: "u".into(), password: Secret::new("s3cret") });
        let (consumer, producer) = (consumer_config(&kafka), producer_config(&kafka, None));
        consumer.create_native_config().unwrap();
        producer.create_native_config().unwrap();
        assert_eq!(consumer.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
        assert_eq!(consumer.get("session.timeout.ms"), Some("45000"));
        assert_eq!(consumer.get("group.instance.id"), Some("one"));
        assert_eq!(producer.get("sasl.password"), Some("s3cret"));
        assert_eq!(producer.get("partitioner"), Some("murmur2_random"));
    }

    #[test]
    fn passed_through_properties_go_where_they_belong() {
        let mut kafka = kafka();
        let all = [("linger.ms", "50"), ("fetch.min.bytes", "2"), ("socket.keepalive.enable", "true")];
        kafka.librdkafka = all.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        let (consumer, producer) = (consumer_config(&kafka), producer_config(&kafka, None));
        assert_eq!((consumer.get("linger.ms"), producer.get("linger.ms")), (None, Some("50")));
        assert_eq!((consumer.get("fetch.min.bytes"), producer.get("fetch.min.bytes")), (Some("2"), None));
        assert_eq!(consumer.get("socket.keepalive.enable"), producer.get("socket.keepalive.enable"));
    }

    #[test]
    fn a_reader_joins_nothing_and_a_transaction_bounds_every_wait() {
        let mut kafka = kafka();
        let all = [("socket.timeout.ms", "60000"), ("isolation.level", "read_uncommitted")];
        kafka.librdkafka = all.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        let reader = reader_config(&kafka);
        reader.create_native_config().unwrap();
        assert_eq!(reader.get("group.instance.id"), None);
        assert_eq!(reader.get("isolation.level"), Some("read_committed"));
        assert_eq!(reader.get("socket.timeout.ms"), Some("60000"));
        let writer = transactional_config(&kafka, "id", Duration::from_secs(15));
        let client: Result<rdkafka::producer::BaseProducer, _> = writer.create();
        assert!(client.is_ok(), "librdkafka compares the time-outs when the client is made");
        assert_eq!(writer.get("enable.idempotence"), Some("true"));
    }

    #[test]
    fn librdkafka_is_asked() {
        assert_eq!(accepts("linger.ms", "10"), Ok(()));
        assert_eq!(accepts("linger.ms", "soon"), Err(PropertyError::Value));
        assert_eq!(accepts("lingre.ms", "10"), Err(PropertyError::Unknown));
        assert_eq!(accepts("a\0b", "10"), Err(PropertyError::Value));
    }
}
