//! Brokers that stop, die or freeze under a running worker.

use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, Three};
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, stays, until};

const LONG: Duration = Duration::from_secs(120);

#[test]
fn the_only_broker_is_stopped_and_started_under_a_stream() {
    crate::require_kafka!();
    let cluster = Cluster::start(1);
    let scene = Scene::new(&cluster, "restart", 4, 4);
    let output = scene.observer();
    let feeder = scene.feeder(Stream::new(100), &output);
    feeder.allow(15_000);
    // Exactly once: `chaos`, scenario 7.
    let worker = scene.pipeline.clone().set("delivery", "at-least-once").start_ready();
    output.wait(5_000, PATIENCE);
    cluster.stop(1);
    assert!(output.count() < 15_000, "the stream was over before the broker stopped");
    cluster.up(1);
    output.wait_distinct(15_000, LONG);
    worker.terminate();
    drop(feeder);
    assert!(scene.verdict().at_least_once().enriched >= 15_000);
    scene.assert_committed_to_the_end();
}

#[test]
fn the_leader_of_the_output_is_killed_under_a_stream() {
    crate::require_kafka!();
    let cluster = Cluster::three();
    let scene = Scene::new(&cluster, "leader", 6, 6);
    let output = scene.observer();
    let feeder = scene.feeder(Stream::new(100), &output);
    feeder.allow(15_000);
    // Exactly once: `chaos`, scenario 7.
    let worker = scene.pipeline.clone().set("delivery", "at-least-once").start_ready();
    output.wait(4_000, PATIENCE);
    let leader = scene.client.leaders(&scene.output())[&0];
    cluster.kill(leader);
    output.wait(output.count() + 4_000, LONG);
    cluster.up(leader);
    output.wait_distinct(15_000, LONG);
    worker.terminate();
    drop(feeder);
    let verdict = scene.verdict();
    eprintln!("{} duplicates after a broker's death", verdict.duplicates.len());
    verdict.at_least_once();
    scene.assert_committed_to_the_end();
}

/// A scene whose outputs lie on one broker, while the group's coordinator and the input are on
/// another: whoever freezes the one makes a slow sink, and nothing else.
fn slow_sink<'a>(cluster: &'a Three, name: &str) -> (Scene, impl Fn(bool) + use<'a>) {
    let scene = Scene::without_topics(cluster, name);
    scene.client.create_topic(&scene.dead(), 1, &[]);
    let coordinator = scene.client.group_coordinator(name);
    scene.client.create_topic_on(&scene.input(), 4, coordinator);
    let sink = cluster.ids().find(|id| *id != coordinator).unwrap();
    scene.client.create_topic_on(&scene.output(), 4, sink);
    let freeze = move |frozen: bool| if frozen { cluster.freeze(sink) } else { cluster.thaw(sink) };
    (scene, freeze)
}

#[test]
fn a_slow_sink_pauses_the_worker_and_nothing_else() {
    crate::require_kafka!();
    let cluster = Cluster::three();
    let (scene, freeze) = slow_sink(&cluster, "slow");
    let output = scene.observer();
    let pipeline = scene.pipeline.clone().set("limits.max_in_flight_records", 500);
    let (mut worker, mut stream) = (pipeline.start_ready(), Stream::new(100));
    scene.client.produce(&scene.input(), stream.take(2_000));
    output.wait(2_000, PATIENCE);
    let members = scene.client.members(&scene.name);
    assert_eq!(members.len(), 1);

    freeze(true);
    scene.client.produce(&scene.input(), stream.take(6_000));
    let paused = || worker.metric("squeezeflow_paused_partitions", "");
    until("all partitions to be paused", PATIENCE, || paused() == Some(4.0));
    let memory = worker.peak_memory();
    // Longer than the session time-out: whoever stopped polling is out of the group by then.
    stays("paused, within its bounds", Duration::from_secs(9), || {
        let in_flight = worker.metric("squeezeflow_in_flight_records", "").unwrap();
        (1.0..=500.0).contains(&in_flight) && paused() == Some(4.0)
    });
    assert_eq!(scene.client.members(&scene.name), members, "it stayed in the group");
    assert_eq!(worker.metric("squeezeflow_rebalances_total", "kind=\"lost\"").unwrap_or(0.0), 0.0);
    assert!(worker.runs());
    let grown = worker.peak_memory() - memory;
    assert!(grown < 32 << 20, "{} KiB more memory while it was paused", grown >> 10);

    freeze(false);
    output.wait_distinct(8_000, LONG);
    worker.terminate();
    scene.verdict().exactly_once();
    scene.assert_committed_to_the_end();
}

#[test]
fn a_frozen_sink_ends_the_drain_at_its_deadline_and_nothing_is_lost() {
    crate::require_kafka!();
    let cluster = Cluster::three();
    let (scene, freeze) = slow_sink(&cluster, "deadline");
    let output = scene.observer();
    let pipeline = scene.pipeline.clone().set("limits.drain_timeout", "2s");
    let (mut worker, mut stream) = (pipeline.start_ready(), Stream::new(100));
    scene.client.produce(&scene.input(), stream.take(2_000));
    output.wait(2_000, PATIENCE);
    freeze(true);
    scene.client.produce(&scene.input(), stream.take(5_000));
    until("records to wait for the sink", PATIENCE, || {
        worker.metric("squeezeflow_in_flight_records", "").is_some_and(|n| n >= 1_000.0)
    });
    worker.signal(libc::SIGTERM);
    let asked = Instant::now();
    assert_eq!(worker.wait().code(), Some(4), "drain deadline exceeded");
    // The deadline, leaving the group (5 s at most), and a busy machine.
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    worker.wait_log("drain deadline");

    freeze(false);
    let second = pipeline.start_ready();
    output.wait_distinct(7_000, LONG);
    second.terminate();
    scene.verdict().at_least_once();
    scene.assert_committed_to_the_end();
}
