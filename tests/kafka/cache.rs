//! Texts that come again and again, exactly once each: what the cache answers is a result like any other.

use std::collections::BTreeMap;

use crate::support::client::Message;
use crate::support::cluster::Cluster;
use crate::support::observer::read_all;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};
use crate::support::zoo::FRAGILE;

const TEXTS: usize = 25;
const RECORDS: usize = 6_000;

/// Poison among them.
fn text(number: usize) -> String {
    match number % TEXTS {
        24 => "a good mandragora".to_owned(),
        n => format!("text number {}", "again ".repeat(n)),
    }
}

fn messages() -> Vec<Message> {
    let message = |number: usize| Message {
        key: Some(format!("k{}", number % 101).into_bytes()),
        value: Some(
            format!("{{\"id\":{number},\"seq\":{},\"text\":\"{}\"}}", number / 101, text(number))
                .into_bytes(),
        ),
        ..Message::default()
    };
    (0..RECORDS).map(message).collect()
}

/// A worker is killed in the middle, partitions move to another one and back: each record is there once,
/// in order, with the result of its own text; and what a worker inferred is at most its distinct texts.
#[test]
fn repeated_texts_exactly_once_through_kills_and_rebalances() {
    crate::require_kafka!();
    let cluster = Cluster::shared();
    let scene = Scene::new(cluster, "cache", 6, 6);
    let pipeline = scene
        .pipeline
        .clone()
        .set_top("delivery", "exactly-once")
        .set("model.path", FRAGILE.to_str().unwrap());
    let output = scene.observer();
    let all = messages();
    let (first, rest) = all.split_at(RECORDS / 3);
    let mut one = pipeline.start_ready();
    scene.client.produce(&scene.input(), first.to_vec());
    output.wait(RECORDS / 10, PATIENCE);
    let two = pipeline.start();
    one.wait_partitions(3);
    scene.client.produce(&scene.input(), rest[..RECORDS / 3].to_vec());
    output.wait(RECORDS / 2, PATIENCE);
    one.kill();
    two.wait_partitions(6);
    scene.client.produce(&scene.input(), rest[RECORDS / 3..].to_vec());
    let input = read_all(&scene.client, &[&scene.input()]);
    scene.wait_caught_up(&input, PATIENCE);

    // Nothing new: everything is known by now.
    until("the counts to stand", PATIENCE, || two.metric("squeezeflow_in_flight_records", "") == Some(0.0));
    let of = |result: &str| two.metric("squeezeflow_cache_requests_total", &format!("\"{result}\"")).unwrap();
    let (hits, joined, misses) = (of("hit"), of("joined"), of("miss"));
    assert!(hits + joined > RECORDS as f64 / 3.0, "{hits} hits, {joined} joined, {misses} misses");
    // Poison is asked for each time that it comes alone.
    let sound = two.metric("squeezeflow_cache_entries", "").unwrap();
    assert_eq!(sound, (TEXTS - 1) as f64);
    assert!(misses <= (TEXTS - 1 + RECORDS / TEXTS) as f64, "{misses} misses");
    two.terminate();

    let verdict = scene.verdict();
    verdict.exactly_once();
    assert_eq!((verdict.enriched, verdict.dead), (RECORDS - RECORDS / TEXTS, RECORDS / TEXTS));
    let mut scores: BTreeMap<String, f64> = BTreeMap::new();
    for record in read_all(&scene.client, &[&scene.output()]) {
        let value = record.json();
        let (text, score) = (value["text"].as_str().unwrap(), value["nlp"]["score"].as_f64().unwrap());
        let known = *scores.entry(text.to_owned()).or_insert(score);
        assert!((known - score).abs() < 1e-5, "{text}: {known} and {score}");
    }
    assert_eq!(scores.len(), TEXTS - 1);
    scene.assert_committed_to_the_end();
}
