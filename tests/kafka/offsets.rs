//! Offsets with holes, offsets that are gone, and partitions that were not there before.

use std::time::Duration;

use crate::support::check::check;
use crate::support::client::Sender;
use crate::support::cluster::Cluster;
use crate::support::observer::{Observer, read_all};
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};

#[test]
fn a_compacted_topic_is_read_to_its_end() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "compacted");
    let cleaning = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "100"),
    ];
    scene.client.create_topic(&scene.input(), 1, &cleaning);
    scene.client.create_topic(&scene.output(), 1, &[]);
    scene.client.create_topic(&scene.dead(), 1, &[]);
    let mut stream = Stream::new(30);
    scene.client.produce(&scene.input(), stream.take(1_000));
    // Only closed segments are cleaned, and a segment closes with the first write after its time.
    until("the cleaner to make holes", PATIENCE, || {
        scene.client.produce(&scene.input(), stream.take(1));
        let left = read_all(&scene.client, &[&scene.input()]);
        let span = left.last().unwrap().offset + 1;
        (left.len() as i64) < span / 2
    });
    let output = scene.observer();
    let worker = scene.pipeline.start_ready();
    let (_, end) = scene.client.ends(&scene.input())[&0];
    // The cleaner may go on, so what was there at the start is not what was read. The end is.
    until("the commit to reach the end", PATIENCE, || {
        scene.client.committed(&scene.name, &scene.input()).get(&0) == Some(&end)
    });
    worker.terminate();
    let left = read_all(&scene.client, &[&scene.input()]);
    let outputs = output.seen();
    let verdict = check(&left, &outputs);
    assert_eq!((verdict.lost, verdict.duplicates, verdict.disorder), (vec![], vec![], vec![]));
    assert!(outputs.len() < 1_000, "it read the holes too");
}

#[test]
fn transaction_markers_and_aborted_records_are_passed_over() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "markers", 2, 2);
    let (mut stream, mut sender) = (Stream::new(30), Sender::transactional(&scene.client, &scene.input()));
    for round in 0..10 {
        let records = stream.take(50);
        sender.transaction(&records, round % 3 != 1);
    }
    drop(sender);
    // Plain ones at the end of both partitions.
    scene.client.produce(&scene.input(), stream.take(50));
    let output = scene.observer();
    let worker = scene.pipeline.start_ready();
    output.wait(400, PATIENCE);
    worker.terminate();
    assert_eq!(scene.verdict().exactly_once().enriched, 400);
    scene.assert_committed_to_the_end();
}

/// A group that has committed offset 10, in a topic that begins with 60 and ends with 100.
fn gap(name: &str) -> Scene {
    let scene = Scene::new(Cluster::shared(), name, 1, 1);
    scene.client.produce(&scene.input(), Stream::new(9).take(100));
    scene.client.commit(name, &scene.input(), 0, 10);
    scene.client.delete_records(&scene.input(), 0, 60);
    scene
}

#[test]
fn an_offset_that_is_gone_stops_the_worker() {
    crate::require_kafka!();
    let scene = gap("gapfail");
    let mut worker = scene.pipeline.start();
    assert_eq!(worker.wait().code(), Some(1));
    let log = worker.log();
    let said =
        log.lines().find(|l| l.contains("gapfail.in")).unwrap_or_else(|| panic!("not named in: {log}"));
    for part in ["gapfail.in[0]", "10", "60", "100", "on_gap"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert_eq!(scene.client.committed(&scene.name, &scene.input())[&0], 10, "nothing is committed");
    assert!(read_all(&scene.client, &[&scene.output()]).is_empty());
}

#[test]
fn an_offset_that_is_gone_is_passed_over_and_counted_where_that_is_wanted() {
    crate::require_kafka!();
    let scene = gap("gapskip");
    let output = scene.observer();
    let worker = scene.pipeline.clone().set("input.on_gap", "earliest").start_ready();
    output.wait(40, PATIENCE);
    assert_eq!(worker.metric("squeezeflow_offset_gap_records_total", "gapskip.in"), Some(50.0));
    worker.terminate();
    assert_eq!(scene.verdict().exactly_once().enriched, 40);
    scene.assert_committed_to_the_end();
}

#[test]
fn a_topic_created_later_is_read_from_its_beginning() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "regex");
    for topic in ["regex.in.a", "regex.out", "regex.dead"] {
        scene.client.create_topic(topic, 2, &[]);
    }
    let output = Observer::of(&scene.client, &["regex.out", "regex.dead"]);
    let mut stream = Stream::new(10);
    scene.client.produce("regex.in.a", stream.take(100));
    let pipeline = scene.pipeline.clone().set("input.topics", serde_json::json!(["^regex\\.in\\..*"]));
    let refresh = serde_json::json!({ "topic.metadata.refresh.interval.ms": 1000 });
    let worker = pipeline.set("kafka.librdkafka", refresh).start_ready();
    output.wait(100, PATIENCE);
    scene.client.create_topic("regex.in.b", 3, &[]);
    scene.client.produce("regex.in.b", stream.take(100));
    output.wait(200, PATIENCE);
    worker.wait_partitions(5);
    worker.terminate();
    // Keys are spread over both topics, each with an order of its own; so the partitions say it.
    for topic in ["regex.in.a", "regex.in.b"] {
        let input = read_all(&scene.client, &[topic]);
        let of_it = |s: &&_| crate::support::observer::source_of(s).0 == topic;
        let seen = output.seen();
        let outputs: Vec<_> = seen.iter().filter(of_it).cloned().collect();
        check(&input, &outputs).exactly_once();
    }
}

#[test]
fn with_start_latest_a_new_group_skips_the_past_but_new_partitions_begin_at_their_beginning() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "latest", 2, 4);
    let mut stream = Stream::new(10);
    scene.client.produce(&scene.input(), stream.take(100));
    let output = scene.observer();
    let refresh = serde_json::json!({ "topic.metadata.refresh.interval.ms": 1000 });
    let pipeline = scene.pipeline.clone().set("input.start", "latest").set("kafka.librdkafka", refresh);
    let worker = pipeline.start_ready();
    worker.wait_partitions(2);
    scene.client.produce(&scene.input(), stream.take(100));
    output.wait(100, PATIENCE);

    scene.client.add_partitions(&scene.input(), 4);
    let mut first = stream.take(40);
    first.iter_mut().enumerate().for_each(|(i, message)| message.partition = Some(2 + i as i32 % 2));
    // There before the worker knows of the partitions.
    scene.client.produce(&scene.input(), first);
    output.wait(140, PATIENCE);
    worker.wait_partitions(4);
    worker.terminate();
    let verdict = scene.verdict();
    assert_eq!(verdict.lost.len(), 100, "the past is skipped, and nothing else");
    assert!(verdict.lost.iter().all(|(_, partition, _)| *partition < 2));
    assert_eq!((verdict.enriched, verdict.duplicates.len()), (140, 0));
    scene.assert_committed_to_the_end();
}

/// Nobody commits over what another has begun: the group begins once, and goes on from there.
#[test]
fn with_start_latest_several_that_start_at_once_begin_at_one_place() {
    crate::require_kafka!();
    for delivery in ["exactly-once", "at-least-once"] {
        let scene = Scene::new(Cluster::shared(), &format!("latest-{delivery}"), 6, 6);
        let mut stream = Stream::new(50);
        scene.client.produce(&scene.input(), stream.take(300));
        let output = scene.observer();
        let pipeline = scene.pipeline.clone().set("input.start", "latest").set("delivery", delivery);
        let workers: Vec<_> = (0..3).map(|_| pipeline.start()).collect();
        until("all to share the partitions, in the middle of a stream", PATIENCE, || {
            scene.client.produce(&scene.input(), stream.take(10));
            workers.iter().all(|worker| worker.partitions() == Some(2))
        });
        scene.client.produce(&scene.input(), stream.take(300));
        let input = read_all(&scene.client, &[&scene.input()]);
        scene.wait_caught_up(&input, PATIENCE);
        workers.into_iter().for_each(|worker| worker.terminate());
        let verdict = check(&input, &read_all(&scene.client, &[&scene.output(), &scene.dead()]));
        drop(output);
        assert_eq!((verdict.duplicates.len(), verdict.disorder.len()), (0, 0), "{delivery}");
        assert!((300..input.len() - 300).contains(&verdict.lost.len()), "{}", verdict.lost.len());
        for (_, partition, offset) in &verdict.lost {
            let skipped = verdict.lost.iter().filter(|(_, p, o)| p == partition && o < offset).count();
            assert_eq!(skipped as i64, *offset, "only the past is skipped: {:?}", verdict.lost);
        }
    }
}

#[test]
fn a_backlog_far_larger_than_the_memory_bound_does_not_grow_the_worker() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "backlog", 4, 4);
    // 208 MB: thirteen thousand records of 16 KB, small texts in large documents.
    let mut stream = Stream::new(100);
    let padding = "x".repeat(16_000);
    let large = (0..13_000).map(|_| {
        let mut message = stream.message(None);
        let value = message.value.as_mut().unwrap();
        value.splice(1..1, format!("\"padding\":\"{padding}\",").into_bytes());
        message
    });
    // Not compressed: librdkafka unpacks a fetched batch as a whole, so what compresses a hundredfold
    // is outside of every bound that is counted in bytes of the wire.
    let mut sender = Sender::new(&scene.client, &scene.input(), &[]);
    large.for_each(|message| sender.send(&message));
    sender.flush();
    let pipeline = scene.pipeline.clone().set("limits.max_in_flight_bytes", "4MiB");
    let worker = pipeline.set("limits.max_in_flight_records", 100_000).start_ready();
    let base = worker.peak_memory();
    let delivered = || worker.metric("squeezeflow_records_out_total", "").unwrap_or(0.0);
    until("the backlog to be through", Duration::from_secs(180), || {
        let in_flight = worker.metric("squeezeflow_in_flight_bytes", "").unwrap_or(0.0);
        // One record over: the bound is looked at after each admission.
        assert!(in_flight <= f64::from((4 << 20) + (32 << 10)), "{in_flight} bytes in flight");
        delivered() == 13_000.0
    });
    let peak = worker.peak_memory();
    worker.terminate();
    eprintln!("{} MiB before the backlog, {} MiB at most", base >> 20, peak >> 20);
    // 4 MiB in flight (records, outputs and the producer's copy), 16 MiB of prefetch as received
    // and once more unpacked, and what the allocator keeps: 48 MiB when this was written.
    assert!(peak < base + (96 << 20), "{} MiB before, {} MiB at most", base >> 20, peak >> 20);
    scene.assert_committed_to_the_end();
}
