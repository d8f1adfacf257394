//! Workers that end, and workers that are thought dead.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::observer::read_all;
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};

const LONG: Duration = Duration::from_secs(120);

#[test]
fn sigterm_in_the_stream_leaves_neither_a_gap_nor_a_repetition() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "drain", 6, 6);
    let output = scene.observer();
    let feeder = scene.feeder(Stream::new(100), &output);
    feeder.allow(12_000);
    let mut worker = scene.pipeline.start_ready();
    output.wait(4_000, PATIENCE);
    worker.signal(libc::SIGTERM);
    let asked = Instant::now();
    assert_eq!(worker.wait().code(), Some(0));
    // The drain's deadline, leaving the group, and a busy machine.
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());

    // No holes in the input: what is committed is how many came out.
    let committed: i64 = scene.client.committed(&scene.name, &scene.input()).values().sum();
    let outputs = read_all(&scene.client, &[&scene.output(), &scene.dead()]).len();
    assert_eq!(committed, outputs as i64);
    assert!((4_000..12_000).contains(&outputs), "in the middle: {outputs}");

    let second = scene.pipeline.start_ready();
    output.wait_distinct(12_000, LONG);
    second.terminate();
    drop(feeder);
    assert_eq!(scene.verdict().exactly_once().enriched, 12_000);
    scene.assert_committed_to_the_end();
}

#[test]
fn a_worker_that_was_thought_dead_neither_loses_records_nor_commits_over_its_successor() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "frozen", 6, 6);
    let output = scene.observer();
    let feeder = scene.feeder(Stream::new(100), &output);
    // Exactly once: `chaos`, scenario 3.
    let pipeline = scene.pipeline.clone().set("delivery", "at-least-once");
    let mut furthest = BTreeMap::new();
    let mut never_back = || {
        for (partition, offset) in scene.client.committed(&scene.name, &scene.input()) {
            let before = furthest.insert(partition, offset).unwrap_or(0);
            assert!(before <= offset, "the commit of {partition} went back from {before} to {offset}");
        }
    };
    feeder.allow(20_000);
    let first = pipeline.start_ready();
    output.wait(3_000, PATIENCE);
    first.signal(libc::SIGSTOP);
    never_back();
    let second = pipeline.start();
    until("the second to take over what the first is too dead to give", PATIENCE, || {
        never_back();
        second.partitions() == Some(6)
    });
    output.wait(output.count() + 2_000, PATIENCE);
    never_back();
    first.signal(libc::SIGCONT);
    until("both to share the partitions", PATIENCE, || {
        never_back();
        first.partitions() == Some(3) && second.partitions() == Some(3)
    });
    assert!(first.metric("squeezeflow_rebalances_total", "kind=\"lost\"").unwrap_or(0.0) >= 1.0);
    feeder.allow(30_000);
    until("the whole stream", LONG, || {
        never_back();
        output.count() >= 30_000 && output.distinct() >= 30_000
    });
    first.terminate();
    second.terminate();
    never_back();
    drop(feeder);
    let verdict = scene.verdict();
    eprintln!("{} duplicates after a lost assignment", verdict.duplicates.len());
    verdict.at_least_once();
    scene.assert_committed_to_the_end();
}
