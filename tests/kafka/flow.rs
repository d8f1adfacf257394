//! What a record looks like when it comes out: plain ones, odd ones, poisonous ones.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::murmur2;
use crate::support::client::Message;
use crate::support::cluster::Cluster;
use crate::support::here;
use crate::support::observer::{Seen, read_all, source_of};
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};
use crate::support::zoo::{FRAGILE, noise};

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Two thousand records, some with odd headers, some tombstones, some without a key or with an
/// empty one.
fn assorted() -> Vec<Message> {
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let (mut all, start) = (Stream::new(40).take(2000), now() - 3_600_000);
    for (i, message) in all.iter_mut().enumerate() {
        message.timestamp = Some(start + i as i64);
        message.partition = Some(i as i32 % 6);
        if i % 10 == 3 {
            message.headers = vec![
                header("a", Some(b"1")),
                header("a", Some(b"")),
                header("a", None),
                header("bytes", Some(&[0xff, 0, 0xfe])),
                header("squeezeflow.source.topic", Some(b"somebody else's")),
            ];
        }
        if i % 50 == 7 {
            message.value = None;
        }
        if i % 37 == 5 {
            message.key = None;
        } else if i % 41 == 5 {
            message.key = Some(Vec::new());
        } else {
            // By key and partition, so that the key's sequence stays in one partition.
            let key = format!("{}-{}", String::from_utf8_lossy(message.key.as_ref().unwrap()), i % 6);
            message.key = Some(key.into_bytes());
        }
    }
    all
}

#[test]
fn every_record_comes_out_once_in_order_and_otherwise_untouched() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "plain", 6, 4);
    let observer = scene.observer();
    let worker = scene.pipeline.start_ready();
    scene.client.produce(&scene.input(), assorted());
    observer.wait(2000, PATIENCE);
    worker.terminate();

    let verdict = scene.verdict();
    let verdict = verdict.exactly_once();
    assert_eq!((verdict.enriched, verdict.passed, verdict.dead), (1960, 40, 0));
    scene.assert_committed_to_the_end();
    for seen in observer.seen() {
        let partition = match &seen.key {
            Some(key) => murmur2::partition(key, 4),
            None => source_of(&seen).1 % 4,
        };
        assert_eq!(seen.partition, partition, "of key {:?}", seen.key);
        if seen.value.is_some() {
            assert_result(&seen.json()["nlp"]);
        }
    }
}

/// The result and its receipts.
fn assert_result(nlp: &serde_json::Value) {
    assert!(["negative", "neutral", "positive"].contains(&nlp["label"].as_str().unwrap()), "{nlp}");
    let score = nlp["score"].as_f64().unwrap();
    assert!((1.0 / 3.0 - 1e-6..=1.0).contains(&score), "{nlp}");
    assert!(nlp["model"].to_string().contains("tiny-squeezebert"), "{nlp}");
    assert_eq!((&nlp["precision"], &nlp["provider"]), (&"fp32".into(), &"cpu".into()));
    let tokens = |name: &str| nlp["tokens"][name].as_u64().unwrap();
    assert!(tokens("used") > 2 && tokens("used") <= tokens("seen"), "{nlp}");
}

#[test]
fn one_percent_of_every_poison_is_dead_lettered_whole_and_its_neighbours_are_enriched() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "poison", 4, 4);
    let kinds: [(&str, &[u8]); 8] = [
        ("invalid_json", b"{\"text\": \"a good film\", SECRET"),
        ("not_an_object", b"[\"a good film\", \"SECRET\"]"),
        ("schema_registry_framed", b"\0\0\0\0\x07\x02SECRET"),
        ("text_missing", b"{\"txt\": \"SECRET\"}"),
        ("text_not_a_string", b"{\"text\": {\"SECRET\": 1}}"),
        ("text_empty", b"{\"text\": \" \\t \", \"other\": \"SECRET\"}"),
        ("field_exists", b"{\"text\": \"a good film\", \"nlp\": \"SECRET\"}"),
        ("inference_failed", b"{\"text\": \"a good mandragora\", \"other\": \"SECRET\"}"),
    ];
    let (mut messages, long_ago, start) = (Stream::new(40).take(1000), now() - 86_400_000, now());
    for (i, message) in messages.iter_mut().enumerate() {
        message.timestamp = Some(long_ago);
        message.headers = vec![("h".to_owned(), None), ("h".to_owned(), Some(vec![0xff]))];
        if let Some((_, value)) = kinds.get(i % 100 / 9).filter(|_| i % 9 == 4) {
            message.value = Some(value.to_vec());
        }
    }
    let poisoned = |reason: &str| {
        let (_, value) = kinds.iter().find(|(name, _)| *name == reason).unwrap();
        messages.iter().filter(|m| m.value.as_deref() == Some(value)).count()
    };
    let expected: BTreeMap<String, usize> =
        kinds.iter().map(|(reason, _)| ((*reason).to_owned(), poisoned(reason))).collect();
    assert!(expected.values().all(|n| *n >= 10), "{expected:?}");
    let dead: usize = expected.values().sum();

    let observer = scene.observer();
    // Large batches, so that poison has neighbours.
    let pipeline = scene.pipeline.clone().set("model.path", FRAGILE.to_str().unwrap());
    scene.client.produce(&scene.input(), messages.clone());
    let worker = pipeline.set("output.on_existing", "error").start_ready();
    observer.wait(1000, PATIENCE);
    assert!(worker.metric("squeezeflow_batch_splits_total", "").unwrap() >= 1.0);
    for (reason, count) in &expected {
        // Counted when the worker is told of the delivery, a moment after a reader can see it.
        let labels = format!("reason=\"{reason}\"");
        until(&format!("{count} times {reason}"), PATIENCE, || {
            worker.metric("squeezeflow_records_out_total", &labels) == Some(*count as f64)
        });
    }
    let log = worker.log();
    worker.terminate();

    let verdict = scene.verdict();
    let verdict = verdict.exactly_once();
    assert_eq!((verdict.enriched, verdict.dead), (1000 - dead, dead));
    scene.assert_committed_to_the_end();
    let letters = read_all(&scene.client, &[&scene.dead()]);
    let mut reasons = BTreeMap::new();
    for letter in &letters {
        let reason = letter.header("__squeezeflow.errors.reason").unwrap();
        *reasons.entry(reason.to_owned()).or_default() += 1;
        assert_letter(letter, long_ago, start);
    }
    assert_eq!(reasons, expected);
    assert!(!log.contains("SECRET") && !log.contains("mandragora"), "payload in the log");
}

fn assert_letter(letter: &Seen, original: i64, start: i64) {
    let header = |name: &str| {
        letter.header(&format!("__squeezeflow.errors.{name}")).unwrap_or_else(|| panic!("no {name}"))
    };
    let (reason, value) = (header("reason"), letter.value.as_deref().unwrap());
    let stage = match reason {
        "inference_failed" => "infer",
        _ => "decode",
    };
    assert_eq!(header("stage"), stage, "{reason}");
    assert_eq!(header("timestamp"), original.to_string());
    assert_eq!(header("version"), env!("CARGO_PKG_VERSION"));
    let message = header("message");
    assert!(
        !message.is_empty() && !message.contains("SECRET") && !message.contains("mandragora"),
        "{message}"
    );
    assert!(letter.timestamp.unwrap() >= start, "a dead letter is as old as its writing");
    assert!(value.windows(6).any(|w| w == b"SECRET"), "the value is whole");
    assert_eq!(letter.headers[..2], [("h".to_owned(), None), ("h".to_owned(), Some(vec![0xff]))]);
}

#[test]
fn the_admin_address_tells_what_the_worker_does() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "admin", 3, 3);
    let observer = scene.observer();
    let worker = scene.pipeline.start_ready();
    scene.client.produce(&scene.input(), Stream::new(9).take(100));
    observer.wait(100, PATIENCE);
    worker.wait_partitions(3);

    assert_eq!(worker.get("/live").unwrap().0, 200);
    let (status, body) = worker.get("/ready").unwrap();
    let ready: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &ready["ready"], &ready["provider"]), (200, &true.into(), &"cpu".into()));
    // What docs/OPERATIONS.md promises is there, by its first column.
    let documented = std::fs::read_to_string(here("docs/OPERATIONS.md")).unwrap();
    let names: Vec<&str> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `squeezeflow_")?.split('`').next())
        // There from its first event on, and that is not in this test.
        .filter(|name| !["offset_gap_records_total", "stalled_partitions_total"].contains(name))
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        // Some are only looked at every few seconds.
        until(&format!("squeezeflow_{name}"), PATIENCE, || {
            worker.get("/metrics").unwrap().1.contains(&format!("# TYPE squeezeflow_{name} "))
        });
    }
    assert_eq!(worker.metric("squeezeflow_records_in_total", ""), Some(100.0));
    assert_eq!(worker.metric("squeezeflow_records_out_total", "outcome=\"enriched\""), Some(100.0));
    worker.terminate();
}

#[test]
fn a_missing_output_topic_is_named_and_nothing_is_committed() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "absent");
    scene.client.create_topic(&scene.input(), 1, &[]);
    scene.client.create_topic(&scene.dead(), 1, &[]);
    scene.client.produce(&scene.input(), Stream::new(3).take(10));
    let mut worker = scene.pipeline.start();
    let code = worker.wait().code();
    assert_eq!(code, Some(1), "a failure, not {code:?}");
    let log = worker.log();
    assert!(log.contains("absent.out") && log.contains("create it"), "{log}");
    assert!(scene.client.committed(&scene.name, &scene.input()).is_empty());
}

#[test]
fn what_is_too_large_is_a_dead_letter_and_cut_only_where_that_is_too_large_too() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "large");
    scene.client.create_topic(&scene.input(), 2, &[]);
    scene.client.create_topic(&scene.output(), 2, &[("max.message.bytes", "4000")]);
    scene.client.create_topic(&scene.dead(), 1, &[("max.message.bytes", "20000")]);
    let mut messages = Stream::new(20).take(300);
    for (i, size) in [(20, 6_000), (21, 6_000), (150, 6_000), (200, 100_000), (299, 6_000)] {
        let value = messages[i].value.as_mut().unwrap();
        assert_eq!(value.pop(), Some(b'}'));
        value.extend(format!(",\"pad\":\"{}\"}}", noise(size, i)).into_bytes());
    }
    let cut = messages[200].value.clone().unwrap();
    scene.client.produce(&scene.input(), messages.clone());
    let observer = scene.observer();
    let worker = scene.pipeline.start_ready();
    observer.wait(300, PATIENCE);
    worker.terminate();

    assert_eq!(read_all(&scene.client, &[&scene.output()]).len(), 295, "neighbours are enriched");
    let letters = read_all(&scene.client, &[&scene.dead()]);
    assert_eq!(letters.len(), 5);
    for letter in &letters {
        assert_eq!(letter.header("__squeezeflow.errors.reason"), Some("output_too_large"));
        let value = letter.value.as_ref().unwrap();
        match letter.header("__squeezeflow.errors.cut.value_length") {
            None => assert!(messages.iter().any(|m| m.value.as_ref() == Some(value)), "whole"),
            Some(length) => {
                assert_eq!(length, cut.len().to_string());
                assert!(value.len() > 10_000 && cut.starts_with(value));
                assert_eq!(letter.header("__squeezeflow.errors.cut.value_sha256").unwrap().len(), 64);
            }
        }
    }
    let cuts = letters.iter().filter(|l| l.header("__squeezeflow.errors.cut.value_length").is_some());
    assert_eq!(cuts.count(), 1);
    scene.assert_committed_to_the_end();
}
