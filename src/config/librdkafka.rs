//! Which properties of librdkafka the `kafka.librdkafka` map may not hold, and why. Pure.

/// What to do instead, by property. A name that ends with `.` or `*` stands for all that begin so.
const OWNED: &[(&str, &str)] = &[
    // Settings of the pipeline under another name: one place for each.
    ("bootstrap.servers", "write `kafka.bootstrap_servers`"),
    ("metadata.broker.list", "write `kafka.bootstrap_servers`"),
    ("group.id", "write `kafka.group_id`"),
    ("group.instance.id", "write `kafka.group_instance_id`"),
    ("client.id", "write `kafka.client_id`"),
    ("session.timeout.ms", "write `kafka.session_timeout`: the drain deadline is checked against it"),
    ("security.protocol", "write `kafka.tls` and `kafka.sasl`: it follows from them"),
    ("sasl.", "write `kafka.sasl`: it keeps secrets out of logs"),
    ("ssl.ca.location", "write `kafka.tls.ca_file`"),
    ("ssl.certificate.location", "write `kafka.tls.certificate_file`"),
    ("ssl.key.location", "write `kafka.tls.key_file`"),
    ("ssl.key.password", "write `kafka.tls.key_password`: it keeps secrets out of logs"),
    ("ssl.endpoint.identification.algorithm", "write `kafka.tls.verify_hostname`"),
    ("ssl.ca.pem", "write `kafka.tls.ca_file`"),
    ("ssl.certificate.pem", "write `kafka.tls.certificate_file`"),
    ("ssl.key.pem", "write `kafka.tls.key_file`: a key in the pipeline would show in logs"),
    ("ssl.keystore.", "write `kafka.tls.certificate_file` and `kafka.tls.key_file`, in PEM"),
    ("ssl_*", "write `kafka.tls`"),
    (
        "enable.ssl.certificate.verification",
        "a broker that anybody may play is none: write its authority into `kafka.tls.ca_file`",
    ),
    ("enable.sasl.oauthbearer.unsecure.jwt", "write `kafka.sasl.oauth`"),
    ("oauthbearer_token_refresh_cb", "it belongs to the program"),
    // Where reading begins, and what is committed.
    ("auto.offset.reset", "write `input.start` and `input.on_gap`: an offset is never reset in silence"),
    ("enable.auto.commit", "offsets are committed by the worker, once their results are delivered"),
    ("auto.commit.*", "offsets are committed by the worker: write `kafka.commit_interval`"),
    ("enable.auto.offset.store", "offsets are stored by the worker, once their results are delivered"),
    ("offset.store.*", "offsets are kept by the group, on the brokers"),
    ("enable.partition.eof", "the worker reads the end of a partition from its lag"),
    ("group.protocol*", "the worker's rebalance is written for the classic protocol"),
    ("group.remote.assignor", "the worker's rebalance is written for the classic protocol"),
    // Every record is written, in order, and known to be written.
    ("enable.idempotence", "it is always on: without it a reconnect changes the order of records"),
    ("enable.gapless.guarantee", "a failed write is handled by the worker"),
    ("acks", "it is always `all`: an offset is committed only after its result is safe"),
    ("request.required.acks", "it is always `all`: an offset is committed only after its result is safe"),
    ("max.in.flight*", "the idempotent producer keeps records in order by it"),
    ("retries", "a write is retried until it is delivered"),
    ("message.send.max.retries", "a write is retried until it is delivered"),
    (
        "message.max.bytes",
        "whether a message is too large is for the broker to say: what it refuses becomes a dead letter",
    ),
    ("message.timeout.ms", "there is no time-out: a write that is given up would be lost or out of order"),
    ("delivery.timeout.ms", "there is no time-out: a write that is given up would be lost or out of order"),
    ("delivery.report.*", "every delivery is reported to the worker"),
    ("dr_*", "every delivery is reported to the worker"),
    ("transactional.id", "transactions are the worker's"),
    ("transaction.timeout.ms", "transactions are the worker's"),
    ("partitioner*", "write `output.partition`"),
    ("msg_order_cmp", "records of a partition are written in their order"),
    ("queuing.strategy", "records of a partition are written in their order"),
    // What holds code or callbacks of another program.
    ("opaque", "it belongs to the program"),
    ("enabled_events", "it belongs to the program"),
    ("plugin.library.paths", "code is not loaded by a pipeline"),
    ("ssl.engine.*", "code is not loaded by a pipeline"),
    ("ssl.providers", "code is not loaded by a pipeline"),
];

/// Why this property is refused, or `None` where it may stand.
pub(super) fn owned(property: &str) -> Option<&'static str> {
    OWNED.iter().find(|(name, _)| matches(name, property)).map(|(_, reason)| *reason)
}

/// Why this value of a property that may stand is refused all the same.
pub(super) fn unfit(property: &str, value: &str) -> Option<&'static str> {
    let is_timely = || value.parse::<u32>().is_ok_and(|ms| (1..=10_000).contains(&ms));
    (property == "statistics.interval.ms" && !is_timely()).then_some(
        "from 1 to 10000: the lag, and whether a partition is read at all, are told from these figures",
    )
}

fn matches(name: &str, property: &str) -> bool {
    match name.strip_suffix('*') {
        Some(prefix) => property.starts_with(prefix),
        None if name.ends_with('.') => property.starts_with(name),
        None => property == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_and_free() {
        for property in [
            "group.id",
            "enable.auto.commit",
            "sasl.password",
            "sasl.oauthbearer.config",
            "ssl.key.pem",
            "enable.ssl.certificate.verification",
            "enable.sasl.oauthbearer.unsecure.jwt",
            "ssl.engine.location",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "partitioner",
            "acks",
            "retries",
            "message.timeout.ms",
            "message.max.bytes",
            "queuing.strategy",
            "group.protocol",
        ] {
            assert!(owned(property).is_some(), "{property}");
        }
        for property in [
            "linger.ms",
            "compression.type",
            "socket.keepalive.enable",
            "fetch.min.bytes",
            "ssl.cipher.suites",
            "retry.backoff.ms",
            "debug",
        ] {
            assert_eq!(owned(property), None, "{property}");
        }
        assert_eq!(unfit("linger.ms", "0"), None);
        for (value, fits) in [("0", false), ("1", true), ("10000", true), ("60000", false)] {
            assert_eq!(unfit("statistics.interval.ms", value).is_none(), fits, "{value}");
        }
    }
}
