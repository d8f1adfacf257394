//! Which records are tagged, where they go, and when a worker rather stops.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::check::check;
use crate::support::client::Message;
use crate::support::cluster::Cluster;
use crate::support::observer::{Observer, read_all};
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;

#[test]
fn each_label_goes_to_its_own_topic_and_each_topic_is_in_order() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "routes", 4, 4);
    let (urgent, unsure) = ("routes.urgent", "routes.unsure");
    scene.client.create_topic(urgent, 3, &[]);
    scene.client.create_topic(unsure, 5, &[]);
    let mut messages = Stream::new(40).take(1200);
    for (i, message) in messages.iter_mut().enumerate() {
        let lang = if i % 4 == 0 { "de" } else { "en" };
        message.headers = vec![("lang".to_owned(), Some(lang.as_bytes().to_vec()))];
    }
    let topics = [&scene.output(), &scene.dead(), urgent, unsure];
    let observer = Observer::of(&scene.client, &topics);
    let pipeline = scene.pipeline.clone().set("input.when", json!({ "header": "lang", "equals": "en" }));
    let worker = pipeline
        .set("output.below", 0.5)
        .set("output.route", json!({ "negative": urgent, "uncertain": unsure }))
        .start_ready();
    scene.client.produce(&scene.input(), messages);
    observer.wait(1200, PATIENCE);
    assert_eq!(worker.metric("squeezeflow_records_out_total", "reason=\"not_selected\""), Some(300.0));
    worker.terminate();

    let (input, output) = (read_all(&scene.client, &[&scene.input()]), read_all(&scene.client, &topics));
    let verdict = check(&input, &output);
    let verdict = verdict.exactly_once();
    assert_eq!((verdict.enriched, verdict.passed, verdict.dead), (900, 300, 0));
    let mut by_topic: BTreeMap<&str, usize> = BTreeMap::new();
    for seen in &output {
        *by_topic.entry(&seen.topic).or_default() += 1;
        let nlp = &seen.json()["nlp"];
        let expected = match nlp["label"].as_str() {
            Some("negative") => urgent.to_owned(),
            Some("uncertain") => {
                assert!(nlp["score"].as_f64().unwrap() < 0.5 && nlp["best"].is_string(), "{nlp}");
                unsure.to_owned()
            }
            _ => scene.output(),
        };
        assert_eq!(seen.topic, expected, "{nlp}");
    }
    assert_eq!(by_topic.len(), 3, "the texts are varied enough to see each topic: {by_topic:?}");
}

/// Sentiment, intent and entities of each record, by packages of one encoder, exactly once and in order.
#[test]
fn three_results_of_each_record() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "three", 4, 4);
    let model = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
        json!({ "path": path, "sessions": 1 })
    };
    let nearest =
        json!({ "praise": ["I liked it a lot"], "complaint": ["This is broken, I want my money back"] });
    let results = json!({
        "entities": { "model": model("entities"), "task": "token-classification", "required": false },
        "intent": {
            "model": model("encoder"),
            "task": { "feature-extraction": { "pooling": "max", "nearest": nearest } }
        },
        "sentiment": { "model": model("sentiment") },
    });
    let pipeline =
        scene.pipeline.clone().set_top("model", serde_json::Value::Null).set_top("results", results);
    let observer = scene.observer();
    let worker = pipeline.start_ready();
    // Run as one graph or not, it is told of each what the receipts of its results say.
    let (_, ready) = worker.get("/ready").unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let others = ready["others"].as_array().unwrap().iter();
    let models: Vec<_> = std::iter::once(&ready).chain(others).collect();
    assert_eq!(models.iter().map(|m| &m["model"]).collect::<Vec<_>>(), ["entities", "encoder", "sentiment"]);
    scene.client.produce(&scene.input(), Stream::new(41).take(300));
    observer.wait(300, PATIENCE);
    let sequences = worker.metric("squeezeflow_cache_requests_total", "result=\"miss\"").unwrap();
    worker.terminate();

    let input = read_all(&scene.client, &[&scene.input()]);
    let output = read_all(&scene.client, &[&scene.output(), &scene.dead()]);
    let verdict = check(&input, &output);
    let verdict = verdict.exactly_once();
    assert_eq!((verdict.enriched, verdict.dead), (300, 0));
    assert!(sequences <= 300.0, "one encoder, one run of it a text: {sequences}");
    for seen in &output {
        let nlp = &seen.json()["nlp"];
        assert!(nlp["entities"]["entities"].is_array(), "{nlp}");
        assert!(["praise", "complaint"].contains(&nlp["intent"]["label"].as_str().unwrap()), "{nlp}");
        assert_eq!(nlp["sentiment"]["model"]["name"], "sentiment", "each says what it is itself: {nlp}");
        assert_eq!(nlp["intent"]["model"]["name"], "encoder");
        for (result, model) in ["entities", "intent", "sentiment"].into_iter().zip(&models) {
            // Cut, in a record.
            let digest = nlp[result]["model"]["digest"].as_str().unwrap();
            assert!(model["digest"].as_str().unwrap().starts_with(digest), "{result}: {digest}, {model}");
        }
    }
}

#[test]
fn a_surge_of_dead_letters_stops_the_worker_and_nothing_is_skipped() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "surge", 1, 1);
    let mut messages = Stream::new(5).take(400);
    // Somebody renamed the field.
    for message in &mut messages[100..] {
        let value = String::from_utf8(message.value.take().unwrap()).unwrap();
        message.value = Some(value.replace("\"text\":", "\"body\":").into_bytes());
    }
    scene.client.produce(&scene.input(), messages);
    let pipeline = scene.pipeline.clone().set("dead_letter.max_ratio", 0.5).set("dead_letter.window", 50);
    let mut worker = pipeline.start();
    assert_eq!(worker.wait().code(), Some(5));
    let told = worker.log();
    for part in ["26 of the last 50 records are dead letters", "26 of them for `text_missing`"] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
    let dead = read_all(&scene.client, &[&scene.dead()]).len();
    assert_eq!(dead, 25, "the one that was too many is not written");
    assert_eq!(scene.client.committed("surge", &scene.input())[&0], 125);

    // Mended, it goes on where it stopped.
    let observer = scene.observer();
    let worker = pipeline.set("input.text", "/body").start_ready();
    observer.wait(400, PATIENCE);
    worker.terminate();
    let verdict = scene.verdict();
    let verdict = verdict.exactly_once();
    assert_eq!((verdict.enriched, verdict.dead), (375, 25));
}

/// Ten thousand windows in one record, and the other partition does not wait for them.
#[test]
fn a_long_document_holds_up_its_own_partition_only() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "long", 2, 2);
    scene.client.create_topic("long.big", 2, &[("max.message.bytes", "20000000")]);
    scene.client.create_topic("long.big.out", 2, &[("max.message.bytes", "20000000")]);
    let text = "the story was good but not very long and I loved it again ".repeat(25_000);
    let mut stream = Stream::new(10);
    let long = Message { partition: Some(0), key: None, ..stream.message(Some(&text)) };
    let after = Message { partition: Some(0), key: None, ..stream.message(None) };
    let mut messages = vec![long, after];
    messages.extend(stream.take(500).into_iter().map(|m| Message { partition: Some(1), ..m }));

    let observer = Observer::of(&scene.client, &["long.big.out"]);
    let pipeline = scene.pipeline.clone().set("input.topics", json!(["long.big"]));
    let worker = pipeline
        .set("output.topic", "long.big.out")
        .set("output.partition", "input")
        .set("input.max_text_bytes", "10MB")
        .set("input.long_text", "windows")
        .set("input.max_windows", 10_000)
        .set("limits.max_in_flight_bytes", "32MiB")
        // What is done is to be seen soon.
        .set("kafka.commit_interval", "50ms")
        .start_ready();
    scene.client.produce("long.big", messages);
    observer.wait(500, PATIENCE);
    assert!(
        observer.seen().iter().all(|seen| seen.partition == 1),
        "the short ones do not wait for the long"
    );
    observer.wait(502, PATIENCE);
    worker.terminate();
    let verdict = check(&read_all(&scene.client, &["long.big"]), &read_all(&scene.client, &["long.big.out"]));
    assert_eq!(verdict.exactly_once().enriched, 502);
    let seen = observer.seen();
    let nlp = seen.iter().find(|s| s.partition == 0).unwrap().json()["nlp"].clone();
    assert!(nlp["windows"]["used"].as_u64().unwrap() > 2000, "{nlp}");
    assert_eq!((&nlp["truncated"], &nlp["windows"]["used"]), (&json!(false), &nlp["windows"]["seen"]));
}
