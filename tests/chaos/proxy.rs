//! The proxy does what it is told, and no more: shown with plain clients, before any worker is
//! judged by it.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use crate::support::client::{Client, Sender};
use crate::support::cluster::Cluster;
use crate::support::observer::read_all;
use crate::support::proxy::{Api, Side};
use crate::support::records::Stream;
use crate::support::wait::{PATIENCE, stays, until};

/// A client that goes through the proxy, and one that does not.
fn clients() -> (&'static Cluster, Client, Client) {
    let cluster = Cluster::shared();
    (cluster, Client::new(&cluster.proxy.bootstrap), Client::new(&cluster.bootstrap))
}

#[test]
fn who_begins_at_the_proxy_is_never_told_of_a_way_around() {
    crate::require_kafka!();
    let cluster = Cluster::three();
    let through = Client::new(&cluster.proxy.bootstrap);
    let metadata = through.consumer("nobody").fetch_metadata(None, PATIENCE).unwrap();
    assert_eq!(metadata.brokers().len(), 3);
    for broker in metadata.brokers() {
        assert_eq!(broker.port(), i32::from(cluster.proxy.port(broker.id())), "broker {}", broker.id());
    }
    through.create_topic("proxy.around", 3, &[]);
    let coordinators = cluster.proxy.on(Api::OffsetCommit, Side::Request).watch();
    through.produce("proxy.around", Stream::new(5).take(100));
    through.commit("proxy.around", "proxy.around", 0, 3);
    assert!(coordinators.hits() >= 1, "the group's coordinator is behind it too");
    assert_eq!(read_all(&through, &["proxy.around"]).len(), 100);
}

#[test]
fn what_is_cut_or_swallowed_is_sent_again_and_arrives_once() {
    crate::require_kafka!();
    let (cluster, through, direct) = clients();
    direct.create_topic("proxy.again", 1, &[]);
    let lost_requests = cluster.proxy.on(Api::Produce, Side::Request).times(2).cut();
    through.produce("proxy.again", Stream::new(5).take(100));
    assert_eq!(lost_requests.hits(), 2);
    let lost_answers = cluster.proxy.on(Api::Produce, Side::Answer).times(2).cut();
    through.produce("proxy.again", Stream::new(5).take(100));
    assert_eq!(lost_answers.hits(), 2);
    let swallowed = cluster.proxy.on(Api::Produce, Side::Answer).times(1).swallow();
    let mut sender =
        Sender::new(&through, "proxy.again", &[("request.timeout.ms", "500"), ("socket.timeout.ms", "1000")]);
    Stream::new(5).take(100).iter().for_each(|message| sender.send(message));
    sender.flush();
    assert_eq!(swallowed.hits(), 1);
    // Idempotence makes one of what was written twice.
    assert_eq!(read_all(&direct, &["proxy.again"]).len(), 300);
}

#[test]
fn a_trap_is_for_its_client_and_its_count_only() {
    crate::require_kafka!();
    let (cluster, through, direct) = clients();
    direct.create_topic("proxy.whose", 1, &[]);
    let theirs = cluster.proxy.on(Api::Produce, Side::Request).of("somebody else").cut();
    let second = cluster
        .proxy
        .on(Api::Produce, Side::Request)
        .of("me")
        .after(1)
        .times(1)
        .delay(Duration::from_secs(1));
    let mut sender = Sender::new(&through, "proxy.whose", &[("client.id", "me")]);
    let mut send = || {
        let started = Instant::now();
        sender.send(&Stream::new(1).message(None));
        sender.flush();
        started.elapsed()
    };
    let times = [send(), send(), send()];
    assert_eq!((theirs.hits(), second.hits()), (0, 1));
    assert!(times[1] >= Duration::from_secs(1), "{times:?}");
}

#[test]
fn a_held_answer_waits_for_the_test() {
    crate::require_kafka!();
    let (cluster, through, direct) = clients();
    direct.create_topic("proxy.held", 1, &[]);
    let holding = cluster.proxy.on(Api::Produce, Side::Answer).of("held").times(1).hold();
    let mut sender = Sender::new(&through, "proxy.held", &[("client.id", "held")]);
    sender.send(&Stream::new(1).message(None));
    let flushing = std::thread::spawn(move || sender.flush());
    let caught = holding.wait(PATIENCE);
    assert_eq!((caught.header.client.as_str(), caught.broker()), ("held", 1));
    assert_eq!(read_all(&direct, &["proxy.held"]).len(), 1, "the broker has it");
    assert!(!flushing.is_finished(), "the client does not know");
    caught.pass();
    flushing.join().unwrap();
}

#[test]
fn nothing_passes_a_wall_and_everything_passes_when_it_is_gone() {
    crate::require_kafka!();
    let (cluster, through, direct) = clients();
    direct.create_topic("proxy.wall", 1, &[]);
    let count = || read_all(&direct, &["proxy.wall"]).len();
    for (round, side) in [(1, None), (2, Some(Side::Request)), (3, Some(Side::Answer))] {
        let mut sender = Sender::new(&through, "proxy.wall", &[("client.id", "walled")]);
        sender.send(&Stream::new(1).message(None));
        sender.flush();
        let wall = cluster.proxy.part(Some("walled"), None, side);
        sender.send(&Stream::new(1).message(None));
        let flushing = std::thread::spawn(move || sender.flush());
        let arrived = if side == Some(Side::Answer) { 2 } else { 1 };
        let before = 2 * (round - 1);
        until("what may pass to have passed", PATIENCE, || count() == before + arrived);
        stays("the wall stands", Duration::from_secs(1), || {
            !flushing.is_finished() && count() == before + arrived
        });
        drop(wall);
        flushing.join().unwrap();
        assert_eq!(count(), before + 2, "{side:?}");
    }
}

/// Why a worker must not go on with a producer whose commit was in doubt: the commit that came
/// late ends the transaction after it, half done.
#[test]
fn a_late_commit_ends_a_later_transaction() {
    crate::require_kafka!();
    let (cluster, through, direct) = clients();
    direct.create_topic("proxy.late", 1, &[]);
    let mut stream = Stream::new(1);
    let (first, second) = (stream.take(10), stream.take(10));
    let mut sender = Sender::transactional(&through, "proxy.late");
    let holding = cluster.proxy.on(Api::EndTxn, Side::Request).times(1).hold();
    sender.begin();
    first.iter().for_each(|message| sender.send(message));
    sender.flush();
    let committing = std::thread::spawn(move || {
        sender.commit();
        sender
    });
    let caught = holding.wait(PATIENCE);
    caught.hang_up();
    // librdkafka sends it again by itself, and says nothing.
    let mut sender = committing.join().unwrap();
    sender.begin();
    second.iter().for_each(|message| sender.send(message));
    sender.flush();
    assert_eq!(read_all(&direct, &["proxy.late"]).len(), 10, "the second transaction is open");
    caught.pass();
    until("the late commit to end it", PATIENCE, || read_all(&direct, &["proxy.late"]).len() == 20);
}
