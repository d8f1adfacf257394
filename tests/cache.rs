//! The cache with a real model, over standard input and output: what is inferred, and that nobody sees a
//! difference.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::Cursor;
use std::path::Path;

use serde_json::Value;
use squeezeflow::config::{Overrides, load};
use squeezeflow::results;
use squeezeflow::stdio::{Streams, tag};
use squeezeflow::telemetry::{Health, Metrics};

/// Lines out, and the metrics at the end, of the pipeline for sentiment.
fn tagged(set: &[&str], input: &str) -> (Vec<Value>, String) {
    tagged_by(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/sentiment.yaml"), set, input)
}

fn tagged_by(pipeline: &Path, set: &[&str], input: &str) -> (Vec<Value>, String) {
    let set = set.iter().map(|s| (*s).to_owned()).collect();
    let settings = load(pipeline, &Overrides { set, ..Overrides::default() }).unwrap().settings;
    let loaded = results::load(&settings).expect("make onnxruntime");
    let (metrics, registry) = Metrics::new(&Health::new()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let mut output = Vec::new();
    let streams = Streams { input: Cursor::new(input.to_owned()), output: &mut output, letters: Vec::new() };
    tag(&settings, loaded, &metrics, streams, |_| {}).unwrap();
    let lines =
        String::from_utf8(output).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    (lines, prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap())
}

fn metric(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(series) && line[series.len()..].starts_with(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{metrics}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_text_is_inferred_once_however_often_it_comes() {
    let texts = ["a fine film", "no plot, no end", "a fine film!", "what a waste of an evening"];
    let line = |n: usize| format!("{{\"id\":{n},\"text\":\"{}\"}}\n", texts[n % texts.len()]);
    let input: String = (0..1_000).map(line).collect();
    let (kept, metrics) = tagged(&["cache.max_bytes=1MiB"], &input);
    let (inferred, all) = tagged(&["cache.max_bytes=0"], &input);

    assert_eq!((kept.len(), inferred.len()), (1_000, 1_000));
    for (n, (kept, inferred)) in kept.iter().zip(&inferred).enumerate() {
        assert_eq!(kept["id"], n);
        assert_eq!(kept["nlp"]["label"], inferred["nlp"]["label"]);
        let score = |line: &Value| line["nlp"]["score"].as_f64().unwrap();
        assert!((score(kept) - score(inferred)).abs() < 1e-5, "{kept} {inferred}");
        for receipt in ["model", "provider", "precision", "tokens", "truncated"] {
            assert_eq!(kept["nlp"][receipt], inferred["nlp"][receipt]);
        }
    }
    let requests =
        |result| metric(&metrics, &format!(r#"squeezeflow_cache_requests_total{{result="{result}"}}"#));
    assert_eq!(requests("miss"), 4.0);
    assert_eq!(requests("hit") + requests("joined"), 996.0);
    assert_eq!(metric(&metrics, "squeezeflow_batch_size_sum"), 4.0, "texts in all batches");
    assert_eq!(metric(&metrics, "squeezeflow_cache_entries"), 4.0);
    assert!(metric(&metrics, "squeezeflow_cache_bytes") > 4.0 * 300.0);
    assert_eq!(
        metric(&metrics, r#"squeezeflow_records_out_total{outcome="enriched",reason="none"}"#),
        1_000.0
    );
    assert_eq!(metric(&all, "squeezeflow_batch_size_sum"), 1_000.0);
}

/// Room for a handful of answers: they go round, and the bound holds.
#[test]
fn what_has_no_room_makes_room() {
    let line = |n: usize| format!("{{\"text\":\"number {} of many\"}}\n", n % 40);
    let (lines, metrics) = tagged(&["cache.max_bytes=2048"], &(0..400).map(line).collect::<String>());
    assert_eq!(lines.len(), 400);
    assert!(metric(&metrics, "squeezeflow_cache_bytes") <= 2048.0);
    assert!(metric(&metrics, "squeezeflow_cache_evictions_total") > 30.0);
}

/// Three models that have nothing in common, one of them asked questions: each answers as it does alone, also out of
/// the cache, of which there is one.
#[test]
fn models_side_by_side_share_one_cache() {
    let dir = tempfile::tempdir().unwrap();
    let tagged = |results: &[&str], set: &[&str], input: &str| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages");
        let results = results.join("").replace("PACKAGES", here.to_str().unwrap());
        let pipeline = dir.path().join("pipeline.yaml");
        std::fs::write(&pipeline, format!("input: {{topics: [t]}}\nresults:\n{results}")).unwrap();
        tagged_by(&pipeline, set, input)
    };
    let all = [
        "  a: {model: {path: PACKAGES/tiny-bert}}\n",
        "  b: {model: {path: PACKAGES/tiny-distilbert}}\n",
        "  c: {model: {path: PACKAGES/tasks/bert-answers}, task: {question-answering: {questions: {who: Who came?}}}}\n",
    ];
    let texts = ["a good film", "Maria came to Berlin", "not a bad one"];
    let input: String = (0..60).map(|n| format!("{{\"text\":\"{}\"}}\n", texts[n % 3])).collect();
    let (together, metrics) = tagged(&all, &[], &input);
    for (name, result) in ["a", "b", "c"].into_iter().zip(all) {
        let (alone, _) = tagged(&[result], &["cache.max_bytes=0"], &input);
        assert_eq!(alone.len(), 60);
        for (alone, together) in alone.iter().zip(&together) {
            let (alone, together) = (&alone["nlp"][name], &together["nlp"][name]);
            let score = |of: &Value| of["score"].as_f64().or(of["answers"]["who"]["score"].as_f64()).unwrap();
            assert!((score(alone) - score(together)).abs() < 1e-5, "{alone} {together}");
            assert_eq!((&alone["label"], &alone["model"]), (&together["label"], &together["model"]));
            let answer = |of: &Value| of["answers"]["who"]["answer"].clone();
            assert_eq!(answer(alone), answer(together));
        }
    }
    assert_eq!(metric(&metrics, "squeezeflow_cache_entries"), 9.0, "of all three");
    assert_eq!(metric(&metrics, "squeezeflow_batch_size_sum"), 9.0);
    let (_, metrics) = tagged(&all, &["cache.max_bytes=2000"], &input);
    assert!(metric(&metrics, "squeezeflow_cache_bytes") <= 2000.0, "together");
}
