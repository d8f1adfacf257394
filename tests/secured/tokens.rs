//! A worker that shows tokens, and what it does when they are over.

use std::time::Duration;

use super::broker::Broker;
use super::issuer::LIFE_SECONDS;
use super::support::observer::read_all;
use super::support::records::Stream;
use super::support::wait::{PATIENCE, until};

/// The broker breaks a connection whose token is over (`connections.max.reauth.ms`), so without new
/// tokens nothing would flow any more.
#[test]
fn tokens_are_renewed_while_records_flow() {
    crate::require_kafka!();
    let broker = Broker::shared();
    let name = "flow-token";
    broker.grant("user-of-token", name, &[]);
    let pipeline = broker.scene(name, "TOKENS").set("kafka.sasl", broker.oauth("token"));
    let mut worker = pipeline.start_with(&[("CLIENT_SECRET", super::issuer::SECRET)]);
    worker.wait_ready();
    let (mut stream, mut sent) = (Stream::new(20), 0);
    until("two tokens to be over", Duration::from_secs(LIFE_SECONDS * 6), || {
        broker.client.produce(&format!("{name}.in"), stream.take(20));
        sent += 20;
        until("what was sent to be committed", PATIENCE, || {
            assert!(worker.runs(), "{}", worker.log());
            broker.client.committed(name, &format!("{name}.in")).values().sum::<i64>() == sent
        });
        broker.issuer.issued("token").len() >= 3
    });
    worker.terminate();
    assert_eq!(read_all(&broker.client, &[&format!("{name}.out")]).len(), sent as usize);
}
