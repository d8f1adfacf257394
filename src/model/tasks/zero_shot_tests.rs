#![allow(clippy::unwrap_used)]
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::settings::LongText;
use crate::model::Package;
use crate::text::{Note, TextTokenizer};

const LABELS: [&str; 3] = ["neutral", "contradiction", "entailment"];

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn options(json: Value) -> Options {
    serde_json::from_value(json).unwrap()
}

fn built(package: &str, said: Value, max_length: usize) -> Result<Box<dyn Task>, String> {
    let package = Package::open(&Path::new("tests/packages/tasks").join(package)).unwrap();
    let tokenizer = TextTokenizer::new(&package, max_length, LongText::Truncate).unwrap();
    let combine = Combine::Mean;
    let context =
        Context { package: &package, tokenizer: &tokenizer, scores: false, uncertain: None, combine };
    build(&options(said), &context).map_err(|e| e.to_string())
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_would_be_right() {
    for (package, said, max_length, expected) in [
        ("bert-nli", json!({}), 60, "labels: there is none"),
        ("bert-nli", json!({ "labels": ["a", "b", "a"] }), 60, "labels[2]: is there twice"),
        ("bert-nli", json!({ "labels": ["a"], "template": "x" }), 60, "template: has no place for the label"),
        ("bert-nli", json!({ "labels": ["a", "b"], "threshold": 0.5 }), 60, "write `multi_label: true`"),
        (
            "bert-nli",
            json!({ "labels": ["ab"], "template": "{} ab ab ab ab" }),
            7,
            "labels[0]: its hypothesis has ",
        ),
        (
            "bert-nli",
            json!({ "labels": ["a"], "entailment": "ENTAILMENT" }),
            60,
            "entailment: is no label of the package",
        ),
        (
            "bert-nli",
            json!({ "labels": ["\u{200b}"], "template": "{}" }),
            60,
            "labels[0]: the tokenizer keeps nothing",
        ),
        (
            "squeezebert-g4-sentiment",
            json!({ "labels": ["a"] }),
            60,
            "say which of negative, neutral, positive it is",
        ),
        ("bert-entities", json!({ "labels": ["a"] }), 60, "the package's head is token classification"),
    ] {
        let error = built(package, said.clone(), max_length)
            .err()
            .unwrap_or_else(|| panic!("{package} takes {said}"));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn each_label_is_read_beside_the_text() {
    let task = built("bert-nli", json!({ "labels": ["travel", "work"] }), 60).unwrap();
    let Plan::Beside(beside) = task.plan() else { panic!() };
    assert_eq!((beside.others.len(), beside.text, beside.windows), (2, Side::First, None));
    assert_eq!(
        (task.reads(), task.labels()),
        (Reads::Logits { labels: 3 }, &labels(&["travel", "work"])[..])
    );
}

#[test]
fn sides_are_found_by_name_and_then_by_place() {
    let sides = |names: &[&str]| options(json!({})).sides(&labels(names));
    assert_eq!(sides(&LABELS).unwrap(), (2, 1));
    assert_eq!(sides(&["ENTAILMENT", "NEUTRAL", "CONTRADICTION"]).unwrap(), (0, 2));
    assert_eq!(sides(&["entailment", "not_entailment"]).unwrap(), (0, 1));
    assert_eq!(sides(&["no", "maybe", "entails"]).unwrap(), (2, 0));
    assert!(sides(&["entailment"]).is_err());
    assert!(sides(&["LABEL_0", "LABEL_1"]).is_err());
    let said = options(json!({ "entailment": "LABEL_0", "contradiction": "LABEL_1" }));
    assert_eq!(said.sides(&labels(&["LABEL_0", "LABEL_1", "LABEL_2"])).unwrap(), (0, 1));
}

fn task(said: Value, combine: Combine) -> ZeroShot {
    let said = options(said);
    ZeroShot {
        thresholds: said.thresholds().unwrap(),
        alone: said.multi_label || said.labels.len() == 1,
        labels: said.labels,
        hypotheses: Arc::new([]),
        width: 3,
        entailment: 2,
        contradiction: 1,
        combine,
        scores: true,
        top: None,
        uncertain: None,
    }
}

/// `windows`: which label, which weight, and the logits.
fn said(task: &ZeroShot, windows: &[(usize, usize, [f32; 3])]) -> Result<Value, NoAnswer> {
    let notes: Vec<Note> = windows
        .iter()
        .map(|(beside, of_text, _)| Note { beside: *beside, of_text: *of_text, ..Note::default() })
        .collect();
    let answers: Vec<&[f32]> = windows.iter().map(|(_, _, logits)| &logits[..]).collect();
    let prediction = task.predict(&Seen { text: "", notes: &notes }, &answers)?;
    Ok(serde_json::from_str(&format!("{{{}}}", prediction.json)).unwrap())
}

fn close(value: &Value, expected: f64) {
    assert!((value.as_f64().unwrap() - expected).abs() < 1e-6, "{value} {expected}");
}

#[test]
fn one_label_of_many_or_each_by_itself() {
    let windows = [(0, 5, [9.0, 1.0, 1.0]), (1, 5, [-9.0, 3.0, 2.0])];
    let one = said(&task(json!({ "labels": ["a", "b"] }), Combine::Mean), &windows).unwrap();
    assert_eq!(one["label"], "b");
    close(&one["score"], 1.0 / (1.0 + (-1.0_f64).exp()));
    let each =
        said(&task(json!({ "labels": ["a", "b"], "multi_label": true }), Combine::Mean), &windows).unwrap();
    assert_eq!((&each["label"], &each["labels"]), (&json!("a"), &json!([{ "label": "a", "score": 0.5 }])));
    close(&each["scores"]["b"], 1.0 / (1.0 + 1.0_f64.exp()));
    // Of one label the share would be 1.
    close(&said(&task(json!({ "labels": ["a"] }), Combine::Mean), &windows[..1]).unwrap()["score"], 0.5);
}

#[test]
fn windows_of_a_long_text_are_put_together_label_by_label() {
    // The second label's hypothesis is longer: it has a window more.
    let windows = [
        (0, 30, [0.0, 0.0, 1.0]),
        (0, 10, [0.0, 0.0, 5.0]),
        (1, 20, [0.0, 0.0, 3.0]),
        (1, 20, [0.0, 0.0, 3.0]),
        (1, 10, [0.0, 0.0, 3.0]),
    ];
    let label = |combine| said(&task(json!({ "labels": ["a", "b"] }), combine), &windows).unwrap();
    let mean = label(Combine::Mean);
    assert_eq!(mean["label"], "b");
    close(&mean["score"], 1.0 / (1.0 + (-1.0_f64).exp()));
    let highest = label(Combine::Max);
    assert_eq!(highest["label"], "a");
    close(&highest["score"], 1.0 / (1.0 + (-2.0_f64).exp()));
}

#[test]
fn what_is_not_there_or_no_number_is_no_answer() {
    let task = task(json!({ "labels": ["a", "b"] }), Combine::Mean);
    assert_eq!(said(&task, &[(0, 5, [0.0; 3])]), Err(NoAnswer::Shape { found: 1, expected: 2 }));
    let broken = [(0, 5, [0.0; 3]), (1, 5, [f32::NAN, 0.0, 0.0])];
    assert_eq!(said(&task, &broken), Err(NoAnswer::NotFinite));
}

proptest! {
    #[test]
    fn scores_are_shares_and_the_label_has_the_highest(logits in prop::collection::vec(prop::array::uniform3(-90.0_f32..90.0), 2..6), several: bool) {
        let names: Vec<String> = (0..logits.len()).map(|i| format!("l{i}")).collect();
        let windows: Vec<_> = logits.iter().enumerate().map(|(i, logits)| (i, 1, *logits)).collect();
        let said = said(&task(json!({ "labels": names, "multi_label": several }), Combine::Mean), &windows).unwrap();
        let scores: Vec<f64> = names.iter().map(|name| said["scores"][name].as_f64().unwrap()).collect();
        prop_assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));
        prop_assert!(several || (scores.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        let highest = scores.iter().copied().fold(0.0, f64::max);
        prop_assert_eq!(said["score"].as_f64().unwrap(), highest);
        prop_assert_eq!(said["scores"][said["label"].as_str().unwrap()].as_f64().unwrap(), highest);
    }
}
