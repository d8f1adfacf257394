#![allow(clippy::unwrap_used)]
use std::num::NonZeroUsize;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::settings::{Combine, LongText, Windows};
use crate::text::{Plan, Sequences};

const LABELS: [&str; 5] = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];

/// Of a package with WordPiece, and of one with byte-level BPE.
fn tokenizer(package: &str, max_length: usize, long_text: LongText) -> TextTokenizer {
    let path = format!("tests/packages/tasks/{package}/tokenizer.json");
    TextTokenizer::from_json(&std::fs::read(path).unwrap(), max_length, long_text).unwrap()
}

fn task(package: &str, options: Value) -> TokenClassification {
    TokenClassification {
        options: serde_json::from_value(options).unwrap(),
        labels: LABELS.map(str::to_owned).into(),
        tokenizer: tokenizer(package, 10_000, LongText::Truncate),
    }
}

fn sequences(tokenizer: &TextTokenizer, text: &str) -> Sequences {
    let encoded = tokenizer.encode(text, true).unwrap();
    tokenizer.sequences(encoded, None, &Plan::Text, true).unwrap()
}

/// What the task makes of a text if each token has the label at its place (of those that are text), with a
/// score that depends on that place too. Whatever the windows, so it is the same model.
fn predicted(task: &TokenClassification, by: &TextTokenizer, text: &str, labels: &[usize]) -> Prediction {
    let sequences = sequences(by, text);
    let logits = |note: &crate::text::Note| {
        let mut place = note.first;
        let of = |span: &crate::text::Span| {
            let mut logits = [0.0_f32; LABELS.len()];
            if span.is_text {
                let label = labels.get(place % labels.len()).copied().unwrap_or(0);
                logits[label % LABELS.len()] = 3.0 + (place % 7) as f32 / 4.0;
                place += 1;
            }
            logits
        };
        note.spans.iter().flat_map(of).collect::<Vec<f32>>()
    };
    let answers: Vec<Vec<f32>> = sequences.notes.iter().map(logits).collect();
    let answers: Vec<&[f32]> = answers.iter().map(Vec::as_slice).collect();
    task.predict(&Seen { text, notes: &sequences.notes }, &answers).unwrap()
}

fn entities(prediction: &Prediction) -> Vec<Value> {
    let value: Value = serde_json::from_str(&format!("{{{}}}", prediction.json)).unwrap();
    value["entities"].as_array().unwrap().clone()
}

/// The text with its redactions.
fn hidden(text: &str, prediction: &Prediction) -> String {
    let mut out = String::new();
    let mut done = 0;
    for (at, with) in &prediction.redactions {
        out = out + &text[done..at.start] + with;
        done = at.end;
    }
    out + &text[done..]
}

fn texts() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-zA-Z]{1,12}",
        prop::sample::select(vec!["Maria", "Zoë", "Zoe\u{308}", "北京", "😍", "👩🏿‍💻", ".", "O'Neill", "x-y"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec((word, "[ \n]{0,2}"), 1..40)
        .prop_map(|words| words.into_iter().map(|(word, space)| word + &space).collect())
}

#[test]
fn characters_and_bytes_are_both_told() {
    let task = task("bert-entities", json!({}));
    let text = "Zoë met Maria 😍 Maria";
    let found = predicted(&task, &task.tokenizer, text, &[0, 1, 3]);
    for entity in entities(&found) {
        let of = |key: &str| entity[key].as_u64().unwrap() as usize;
        let by_characters: String = text.chars().skip(of("start")).take(of("end") - of("start")).collect();
        assert_eq!(text[of("start_byte")..of("end_byte")], by_characters, "{entity}");
    }
    assert!(!entities(&found).is_empty());
}

#[test]
fn what_is_hidden_is_told_no_other_way() {
    let text = "Maria Maria met Zoë Maria.";
    let labels = |tokenizer: &TextTokenizer, of: &dyn Fn(&str) -> usize| {
        let sequences = sequences(tokenizer, text);
        let texts = sequences.notes[0].spans.iter().filter(|span| span.is_text);
        texts.map(|span| of(&text[span.start as usize..span.end as usize])).collect::<Vec<_>>()
    };
    for (options, expected) in [
        (json!({ "redact": "all" }), "[PER] met Zoë [PER]."),
        (json!({ "redact": ["PER"], "aggregation": "none" }), "[PER][PER] met Zoë [PER]."),
        (json!({ "redact": { "PER": "" } }), " met Zoë ."),
        (json!({ "redact": ["LOC"] }), text),
        (json!({ "redact": "all", "min_score": 1 }), text),
    ] {
        let expected = match options["aggregation"].is_null() {
            true => expected.to_owned(),
            // Each token by itself, and a blank between the two.
            false => expected.replace("[PER][PER]", "[PER] [PER]"),
        };
        let task = task("bert-entities", options.clone());
        let labels = labels(&task.tokenizer, &|word| usize::from("Maria".contains(word)) * 2);
        let found = predicted(&task, &task.tokenizer, text, &labels);
        assert_eq!(hidden(text, &found), expected, "{options}");
        assert_eq!(
            found.json.contains("aria"),
            expected == text && options["min_score"].is_null(),
            "{found:?}"
        );
    }
}

#[test]
fn a_group_that_the_package_does_not_have_is_refused() {
    let labels = LABELS.map(str::to_owned);
    for (redact, good) in [
        (json!("all"), true),
        (json!(["PER", "LOC"]), true),
        (json!({ "O": "" }), true),
        (json!(["B-PER"]), false),
        (json!({ "ORG": "x" }), false),
    ] {
        let redact: Redact = serde_json::from_value(redact.clone()).unwrap();
        let checked = redact.check(&labels, |_| None);
        assert_eq!(checked.is_ok(), good, "{redact:?}");
        if let Err(error) = checked {
            assert!(error.to_string().ends_with("its groups: LOC, O, PER"), "{error}");
        }
    }
    assert!(serde_json::from_value::<Redact>(json!("some")).is_err());
}

#[test]
fn a_group_that_is_ignored_cannot_be_hidden() {
    let labels = LABELS.map(str::to_owned);
    for (options, told) in [
        (json!({ "redact": "all" }), None),
        (json!({ "redact": ["PER"], "ignore_labels": ["O", "LOC"] }), None),
        (json!({ "redact": ["O"], "ignore_labels": [] }), None),
        (json!({ "redact": "all", "ignore_labels": ["O", "PER"] }), None),
        // Ignored are groups, and this is none.
        (json!({ "redact": ["PER"], "ignore_labels": ["B-PER"] }), None),
        (json!({ "redact": ["PER"], "ignore_labels": ["PER"], "aggregation": "none" }), None),
        (json!({ "redact": ["O"] }), Some("O would not be hidden: `ignore_labels` has O")),
        (json!({ "redact": { "LOC": "", "O": "" } }), Some("O would not be hidden")),
        (
            json!({ "redact": ["PER"], "ignore_labels": ["O", "PER"] }),
            Some("PER would not be hidden: `ignore_labels` has PER"),
        ),
        (
            json!({ "redact": ["PER"], "ignore_labels": ["PER"], "aggregation": "first" }),
            Some("PER would not"),
        ),
        (
            json!({ "redact": ["LOC", "PER"], "ignore_labels": ["I-PER"], "aggregation": "none" }),
            Some("PER would not be hidden: `ignore_labels` has I-PER"),
        ),
        (json!({ "redact": "all", "ignore_labels": ["O", "PER", "LOC"] }), Some("hides nothing")),
    ] {
        let of: Options = serde_json::from_value(options.clone()).unwrap();
        let checked = of.redact.as_ref().unwrap().check(&labels, |label| of.ignored(label));
        match (checked, told) {
            (Ok(()), None) => {}
            (Err(error), Some(told)) => assert!(error.to_string().contains(told), "{options}: {error}"),
            (checked, _) => panic!("{options}: {checked:?}"),
        }
    }
}

proptest! {
    /// A model that looks at a token's place alone says the same of windows as of the whole.
    #[test]
    fn no_entity_is_lost_at_a_seam(
        text in texts(), labels in prop::collection::vec(0usize..5, 1..60), room in 4usize..30, stride in 0usize..15,
        aggregation in prop::sample::select(vec!["none", "simple", "first", "average", "max"]),
    ) {
        for package in ["bert-entities", "roberta-entities"] {
            let task = task(package, json!({ "aggregation": aggregation }));
            if task.tokenizer.encode(&text, false).is_err() {
                continue;
            }
            let most = NonZeroUsize::new(10_000).unwrap();
            let long_text = LongText::Windows(Windows { stride: stride.min(room / 2), most, combine: Combine::Mean });
            let windows = tokenizer(package, room + 2, long_text);
            let whole = predicted(&task, &task.tokenizer, &text, &labels);
            prop_assert_eq!(predicted(&task, &windows, &text, &labels), whole);
        }
    }

    /// What is hidden is whole characters, in order, all of each entity, and said nowhere.
    #[test]
    fn redactions_hold_what_was_found(
        text in texts(), labels in prop::collection::vec(0usize..5, 1..60),
        aggregation in prop::sample::select(vec!["none", "simple", "first"]),
    ) {
        for package in ["bert-entities", "roberta-entities"] {
            let task = task(package, json!({ "aggregation": aggregation, "redact": "all" }));
            if task.tokenizer.encode(&text, false).is_err() {
                continue;
            }
            let found = predicted(&task, &task.tokenizer, &text, &labels);
            let mut done = 0;
            for (at, with) in &found.redactions {
                prop_assert!(done <= at.start && at.start < at.end, "{:?}", &found.redactions);
                prop_assert!(text.is_char_boundary(at.start) && text.is_char_boundary(at.end));
                prop_assert!(with == "[PER]" || with == "[LOC]");
                done = at.end;
            }
            for entity in entities(&found) {
                let of = |key: &str| entity[key].as_u64().unwrap() as usize;
                let inside = |(at, _): &(Range<usize>, String)| at.start <= of("start_byte") && of("end_byte") <= at.end;
                if of("start_byte") < of("end_byte") {
                    prop_assert!(found.redactions.iter().any(inside), "{entity} {:?}", &found.redactions);
                    prop_assert!(entity.get("word").is_none());
                    prop_assert!(entity["redacted"].is_string());
                }
            }
        }
    }
}
