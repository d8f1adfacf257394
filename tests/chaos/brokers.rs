//! Brokers that die, and one that is slow.

use std::time::Duration;

use crate::report::size;
use crate::scenario::{Promise, Scenario};
use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::proxy::{Api, Side};
use crate::support::wait::{PATIENCE, stays, until};
use crate::support::worker::Worker;

#[test]
fn s07_brokers_killed_and_restarted() {
    crate::require_kafka!();
    let mut s = Scenario::new("7 brokers killed", Promise::ExactlyOnce, "s07", 12);
    let rounds = size(1, 10);
    let mut crew = s.crew();
    crew.start_all(0..2);
    for round in 0..rounds {
        s.flow(3_000);
        let (client, name) = (&s.scene.client, &s.scene.name);
        let victim = match round % 3 {
            0 => client.group_coordinator(name),
            1 => client.transaction_coordinator(&crew.name(0)),
            _ => client.leaders(&s.scene.output())[&(round as i32 % 12)],
        };
        s.cluster.kill(victim);
        // It stays away: the stream goes on without it.
        s.flow(3_000);
        s.cluster.up(victim);
        s.scene.client.wait_whole(3);
    }
    let victims = ["the group's coordinator", "the transactions' coordinator", "a leader of the output"];
    let victims = victims[..rounds.min(3)].join(", ");
    s.report.state(format!("2 workers, {rounds} times kill -9: {victims}"));
    s.finish(crew);
}

/// Every write to the output takes half a second, for longer than two session time-outs.
#[test]
#[ignore = "only in `make chaos`"]
fn s14_slow_output_broker() {
    crate::require_kafka!();
    let cluster = Cluster::three();
    let coordinator = Client::new(&cluster.bootstrap).group_coordinator("s14");
    let sink = cluster.ids().find(|id| *id != coordinator).unwrap();
    let client = Client::new(&cluster.bootstrap);
    client.create_topic_on("s14.in", 8, coordinator);
    client.create_topic_on("s14.out", 8, sink);
    client.create_topic("s14.dead", 1, &[]);
    let mut s = Scenario::in_topics("14 slow output broker", Promise::ExactlyOnce, cluster, "s14");
    let seconds = size(13, 40);
    let mut crew = s.crew();
    crew.set("limits.max_in_flight_records", 500);
    crew.start_all(0..2);
    s.flow(2_000);
    let members = s.scene.client.members("s14");
    let slow = s.cluster.proxy.on(Api::Produce, Side::Request).at(sink).delay(Duration::from_millis(500));
    s.feed(8_000);
    let in_flight = |worker: &Worker| worker.metric("squeezeflow_in_flight_records", "");
    let mut looks = 0;
    for member in [0, 1] {
        let paused = || crew.get(member).metric("squeezeflow_paused_partitions", "").unwrap_or(0.0) > 0.0;
        until("back-pressure", PATIENCE, paused);
    }
    stays("bounded, and in the group", Duration::from_secs(seconds as u64), || {
        [0, 1].iter().all(|member| {
            let now = in_flight(crew.get(*member));
            looks += usize::from(now.is_some());
            now.is_none_or(|records| records <= 500.0)
        })
    });
    assert!(looks >= 2 * seconds, "its own word was heard {looks} times only");
    assert_eq!(s.scene.client.members("s14"), members, "nobody was evicted");
    for member in [0, 1] {
        let of = |kind| crew.get(member).metric("squeezeflow_rebalances_total", kind);
        assert!(of("kind=\"assigned\"").unwrap() >= 1.0);
        assert_eq!(of("kind=\"lost\"").unwrap_or(0.0), 0.0);
    }
    assert!(slow.hits() > 20, "{} writes were slow", slow.hits());
    s.report.state(format!("2 workers, {} writes slowed by 500 ms over {seconds} s", slow.hits()));
    drop(slow);
    s.finish(crew);
}
