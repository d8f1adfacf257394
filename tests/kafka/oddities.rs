//! Records whose oddity is not their value: times, header names and sizes that hardly any client sends.

use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::support::client::Message;
use crate::support::cluster::Cluster;
use crate::support::observer::{Seen, read_all, source_of};
use crate::support::raw::{Raw, send};
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;
use crate::support::zoo::noise;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn by_offset(mut all: Vec<Seen>) -> Vec<Seen> {
    all.sort_by_key(|seen| source_of(seen).2);
    all
}

#[test]
fn odd_times_and_header_names_neither_stop_the_worker_nor_get_lost() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "oddities");
    for topic in [scene.input(), scene.output(), scene.dead()] {
        scene.client.create_topic(&topic, 1, &[("retention.ms", "-1")]);
    }
    let text = |timestamp| Raw {
        key: Some(b"k".to_vec()),
        value: Some(b"{\"text\":\"a good film\"}".to_vec()),
        headers: vec![],
        timestamp,
    };
    let broken = |timestamp| Raw { value: Some(b"{".to_vec()), ..text(timestamp) };
    let headers = vec![
        (b"\xff\xfe".to_vec(), Some(b"not text".to_vec())),
        (b"cut\0here".to_vec(), Some(b"a\0b".to_vec())),
        (Vec::new(), None),
        (b"n".to_vec(), Some(Vec::new())),
    ];
    let named = Raw { headers, ..text(1) };
    let tombstone = Raw { value: None, ..text(-1) };
    let sent = [text(0), text(-1), text(1), broken(0), broken(-1), named, tombstone];
    let start = now();
    for record in &sent {
        send(&scene.client.bootstrap, &scene.input(), 0, record);
    }
    let read: Vec<_> = read_all(&scene.client, &[&scene.input()]).iter().map(|s| s.timestamp).collect();
    let there = [Some(0), None, Some(1), Some(0), None, Some(1), None];
    assert_eq!(read, there, "they lie in the topic as they were sent");

    let observer = scene.observer();
    let worker = scene.pipeline.start_ready();
    observer.wait(sent.len(), PATIENCE);
    worker.terminate();
    let out = by_offset(read_all(&scene.client, &[&scene.output()]));
    let times: Vec<_> = out.iter().map(|seen| (source_of(seen).2, seen.timestamp)).collect();
    // librdkafka takes 0 for "now": docs/DELIVERY.md, "What is kept".
    assert!(times[0].1.is_some_and(|t| t >= start), "{times:?}");
    assert_eq!(times[1..], [(1, None), (2, Some(1)), (5, Some(1)), (6, None)]);
    assert!(out[..4].iter().all(|seen| seen.json()["nlp"]["label"].is_string()));
    assert_eq!(out[4].value, None);
    let names: Vec<_> = out[3].headers[..4].iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
    // A name is a C string to librdkafka; read back, what is not UTF-8 is shown as U+FFFD.
    let expected: [(&str, Option<&[u8]>); 4] =
        [("\u{fffd}\u{fffd}", Some(b"not text")), ("cut", Some(b"a\0b")), ("", None), ("n", Some(b""))];
    assert_eq!(names, expected);
    let dead = by_offset(read_all(&scene.client, &[&scene.dead()]));
    let told: Vec<_> = dead.iter().map(|seen| seen.header("__squeezeflow.errors.timestamp")).collect();
    assert_eq!(told, [Some("0"), Some("-1")]);
    scene.assert_committed_to_the_end();
}

fn mark<'a>(letter: &'a Seen, name: &str) -> Option<&'a str> {
    letter.header(&format!("__squeezeflow.errors.cut.{name}"))
}

#[test]
fn what_no_topic_takes_is_cut_step_by_step_and_says_what_the_whole_was() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "cut");
    scene.client.create_topic(&scene.input(), 1, &[]);
    scene.client.create_topic(&scene.output(), 1, &[("max.message.bytes", "30000")]);
    scene.client.create_topic(&scene.dead(), 1, &[("max.message.bytes", "30000")]);
    let value = |size| format!("{{\"text\":\"a good film\",\"pad\":\"{}\"}}", noise(size, 1)).into_bytes();
    let record = |key: usize, size: usize, header: usize| Message {
        key: Some(noise(key, 2).into_bytes()),
        value: Some(value(size)),
        headers: vec![("a".to_owned(), Some(noise(header, 3).into_bytes())), ("b".to_owned(), None)],
        ..Message::default()
    };
    let sent = [
        record(9, 9, 9),
        record(9, 100_000, 9),
        record(9, 9, 50_000),
        record(60_000, 9, 9),
        record(60_000, 100_000, 50_000),
    ];
    let observer = scene.observer();
    let plain = serde_json::json!({ "compression.type": "none" });
    let worker = scene.pipeline.clone().set("kafka.librdkafka", plain).start_ready();
    scene.client.produce(&scene.input(), sent.clone());
    // Hardly anything but the frames of headers.
    let headers = vec![("h".to_owned(), None); 12_000];
    scene.client.produce(&scene.input(), [Message { headers, ..record(9, 9, 9) }]);
    observer.wait(sent.len() + 1, PATIENCE);
    worker.terminate();

    assert_eq!(read_all(&scene.client, &[&scene.output()]).len(), 1);
    let letters = by_offset(read_all(&scene.client, &[&scene.dead()]));
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    for (letter, number) in letters[..4].iter().zip(1..) {
        let Message { key, value, headers, .. } = &sent[number];
        let (key, value) = (key.as_deref().unwrap(), value.as_deref().unwrap());
        assert_eq!(letter.header("__squeezeflow.errors.reason"), Some("output_too_large"));
        let (cut_value, cut_headers, cut_key) = match number {
            1 => (true, false, false),
            2 => (false, true, false),
            // Step by step: the headers go before the key does.
            3 => (false, true, true),
            _ => (true, true, true),
        };
        let got = letter.value.as_deref().unwrap();
        assert_eq!(got, &value[..if cut_value { 16 * 1024 } else { value.len() }]);
        assert_eq!(mark(letter, "value_length"), cut_value.then(|| value.len().to_string()).as_deref());
        assert_eq!(mark(letter, "value_sha256"), cut_value.then(|| hex(value)).as_deref());
        assert_eq!(letter.headers.starts_with(headers), !cut_headers);
        assert_eq!(mark(letter, "headers"), cut_headers.then_some("2"));
        let got = letter.key.as_deref().unwrap();
        assert_eq!(got, &key[..if cut_key { 1024 } else { key.len() }]);
        assert_eq!(mark(letter, "key_length"), cut_key.then(|| key.len().to_string()).as_deref());
        assert_eq!(mark(letter, "key_sha256"), cut_key.then(|| hex(key)).as_deref());
    }
    assert_eq!((letters.len(), mark(&letters[4], "headers")), (5, Some("12000")));
    scene.assert_committed_to_the_end();
}

/// One such record must not end the worker, start after start.
#[test]
fn what_the_output_topics_settings_refuse_is_a_dead_letter_in_its_turn() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "refused");
    let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
    scene.client.create_topic(&scene.input(), 1, &[any_time]);
    let settings = [("cleanup.policy", "compact"), ("message.timestamp.before.max.ms", "86400000")];
    scene.client.create_topic(&scene.output(), 1, &settings);
    scene.client.create_topic(&scene.dead(), 1, &[]);
    let (mut messages, minute) = (Stream::new(5).take(60), 60_000);
    messages.iter_mut().for_each(|message| message.timestamp = Some(now() - 10 * minute));
    messages[7].timestamp = Some(now() + 2 * 60 * minute);
    messages[20].timestamp = Some(now() - 25 * 60 * minute);
    messages[31].key = None;
    // A tombstone is no exception.
    messages[32] = Message { key: None, value: None, ..messages[32].clone() };
    messages[33].value = Some(b"broken".to_vec());
    let observer = scene.observer();
    let worker = scene.pipeline.start_ready();
    scene.client.produce(&scene.input(), messages);
    observer.wait(60, PATIENCE);
    let refused = worker.metric("squeezeflow_records_out_total", "reason=\"output_refused\"");
    assert_eq!(refused, Some(4.0));
    worker.terminate();
    let verdict = scene.verdict();
    let verdict = verdict.exactly_once();
    assert_eq!((verdict.enriched, verdict.passed, verdict.dead), (55, 0, 5));
    let letters = read_all(&scene.client, &[&scene.dead()]);
    let told: Vec<_> = letters
        .iter()
        .map(|letter| {
            let message = letter.header("__squeezeflow.errors.message").unwrap();
            (
                source_of(letter).2,
                message.rsplit(['(', ',']).next().unwrap().trim_matches([' ', ')', '`']).to_owned(),
            )
        })
        .collect();
    let expected = [
        (7, "message.timestamp.after.max.ms"),
        (20, "message.timestamp.before.max.ms"),
        (31, "and topic `refused.out` is compacted"),
        (32, "and topic `refused.out` is compacted"),
    ];
    assert_eq!(told[..4], expected.map(|(offset, why)| (offset, why.to_owned())));
    assert_eq!(told[4].0, 33, "in their turn");
    scene.assert_committed_to_the_end();
}
