//! Fifty thousand records, twelve partitions, three brokers, and workers that come and go in the
//! middle of it.

use std::time::Duration;

use crate::support::cluster::Cluster;
use crate::support::observer::Observer;
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::until;
use crate::support::worker::Worker;

/// For the whole stream, on two cores that also carry three brokers.
const LONG: Duration = Duration::from_secs(180);

/// One worker, then three, then one: each leaves in the middle of the stream, as `leave` has it.
fn come_and_go(name: &str, delivery: &str, leave: impl Fn(Worker)) -> Scene {
    let cluster = Cluster::three();
    let scene = Scene::new(&cluster, name, 12, 12);
    let pipeline = scene.pipeline.clone().set("delivery", delivery);
    let output = scene.observer();
    let feeder = scene.feeder(Stream::new(300), &output);
    let more = |output: &Observer, count| output.wait(output.count() + count, LONG);

    feeder.allow(12_000);
    let first = pipeline.start_ready();
    more(&output, 3_000);
    feeder.allow(27_000);
    let (second, third) = (pipeline.start(), pipeline.start());
    for worker in [&first, &second, &third] {
        worker.wait_partitions(4);
    }
    feeder.allow(40_000);
    more(&output, 2_000);
    leave(second);
    until("two workers to share twelve partitions", LONG, || owned(&[&first, &third]) == 12);
    feeder.allow(50_000);
    more(&output, 2_000);
    leave(first);
    third.wait_partitions(12);
    output.wait_distinct(50_000, LONG);
    third.terminate();
    drop(feeder);
    scene
}

fn owned(workers: &[&Worker]) -> usize {
    workers.iter().filter_map(|w| w.partitions()).sum()
}

#[test]
fn fifty_thousand_records_while_workers_come_and_go_by_sigterm() {
    crate::require_kafka!();
    let scene = come_and_go("sigterm", "exactly-once", Worker::terminate);
    assert_eq!(scene.verdict().exactly_once().enriched, 50_000);
    scene.assert_committed_to_the_end();
}

#[test]
fn fifty_thousand_records_while_workers_are_killed() {
    crate::require_kafka!();
    // Exactly once: `chaos`, scenario 1.
    let scene = come_and_go("killed", "at-least-once", |mut worker| worker.kill());
    let verdict = scene.verdict();
    let verdict = verdict.at_least_once();
    // Twice at most what one worker may have in flight, and what it delivered since its last commit.
    eprintln!("{} duplicates after two kill -9", verdict.duplicates.len());
    assert_eq!(verdict.enriched, 50_000 + verdict.duplicates.len());
    scene.assert_committed_to_the_end();
}
