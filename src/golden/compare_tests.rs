//! What is told of a case that ends otherwise than expected.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::CaseFile;
use crate::config::settings::{Output, OutputMode};
use crate::record::{DeadLetter, Emit, Header, LabelOf, Offset, Outcome, Reason, Record, Stage, Timestamp};
use crate::text::TokenCount;

const VALUE: &str = "\u{feff}{\"text\":\"żółw\",\"n\":1.10,\"big\":12345678901234567890,\"nlp\":{\"label\":\"a\",\"label\":\"positive\",\"tags\":[1,2]}}";

fn record() -> Record {
    Record {
        topic: "reviews".into(),
        partition: 0,
        offset: Offset::new(0),
        key: None,
        value: Some(b"in".to_vec()),
        headers: vec![
            Header::new("lang", "de"),
            Header::new("lang", "en"),
            Header { name: b"nil".to_vec(), value: None },
        ],
        timestamp: Timestamp(None),
    }
}

fn output() -> Output {
    Output { topic: Some("tagged".to_owned()), ..Output::new(OutputMode::Splice) }
}

fn tagged() -> Seen {
    let emit = Emit {
        topic: None,
        value: Some(VALUE.as_bytes().to_vec()),
        headers: vec![Header::new("nlp.label", "positive")],
        timestamp: Timestamp(None),
        labels: vec![LabelOf { result: None, label: "positive".to_owned(), score: 0.995_372_4 }],
        tokens: TokenCount { used: 5, seen: 5 },
    };
    Seen::of(Outcome::Enriched { record: record(), emit }, &output())
}

fn passed(output: &Output) -> Seen {
    Seen::of(Outcome::PassThrough { record: record(), why: PassThrough::NotSelected }, output)
}

fn dead() -> Seen {
    let letter = DeadLetter {
        reason: Reason::InvalidJson,
        message: "expected value at line 1 column 1".to_owned(),
        stage: Stage::Decode,
    };
    Seen::of(Outcome::DeadLetter { record: record(), letter }, &output())
}

/// `key: expected / was` of each difference.
fn told(expect: &str, seen: &Seen) -> Vec<String> {
    let text = format!("tests:\n- {{ name: a, input: x, expect: {{ {expect} }} }}\n");
    let file = CaseFile::of_text(&text).unwrap_or_else(|e| panic!("{e}"));
    match judge(&file.cases[0], seen) {
        Verdict::Passed => Vec::new(),
        Verdict::Silent => vec!["silent".to_owned()],
        Verdict::Failed(differences) => {
            let told = |d: Difference| format!("{}: {} / {}", d.key, d.expected, d.was);
            differences.into_iter().map(told).collect()
        }
    }
}

#[test]
fn what_holds_is_not_told() {
    for expect in [
        "label: positive",
        "score: 0.9953",
        "score: 0.9963723",
        "fields: { /nlp/label: positive, /n: 1.1, /big: 12345678901234567890, /nlp/tags: [1, 2], /nlp/tags/1: 2.0 }",
        "headers: { lang: en, nil: null, nlp.label: positive }",
        "topic: tagged",
    ] {
        assert_eq!(told(expect, &tagged()), [""; 0], "{expect}");
    }
    let value = serde_json::Value::from(VALUE);
    assert_eq!(
        told(&format!("value: {}", value.to_string().replace('\u{feff}', "\\ufeff")), &tagged()),
        [""; 0]
    );
    assert_eq!(told("passed: not_selected, value: in, topic: tagged", &passed(&output())), [""; 0]);
    assert_eq!(told("dead_letter: invalid_json", &dead()), [""; 0]);
    assert_eq!(told("", &tagged()), ["silent"]);
}

#[test]
fn what_passes_has_its_source_if_the_pipeline_says_so() {
    let output = Output { source_headers: true, ..output() };
    assert_eq!(told("headers: { squeezeflow.source.topic: reviews }", &passed(&output)), [""; 0]);
}

#[test]
fn every_difference_is_told() {
    assert_eq!(
        told("label: negative, score: 0.9, topic: urgent, headers: { lang: de, nil: x, no: y }", &tagged()),
        [
            "label: negative / positive",
            "score: 0.9 ± 0.001 / 0.9953724",
            "topic: urgent / tagged",
            "header lang: de / en",
            "header nil: x / null",
            "header no: y / there is none of this name",
        ]
    );
    assert_eq!(
        told(
            "fields: { /nlp/label: negative, /big: 12345678901234567891, /nlp/no: 1, /nlp/tags: [2, 1] }",
            &tagged()
        ),
        [
            "/nlp/label: \"negative\" / \"positive\"",
            "/big: 12345678901234567891 / 12345678901234567890",
            "/nlp/no: 1 / nothing is there",
            "/nlp/tags: [2,1] / [1,2]",
        ]
    );
    let nowhere = Output { topic: None, ..output() };
    assert_eq!(
        told("topic: tagged", &passed(&nowhere)),
        ["topic: tagged / none: the pipeline has no `output.topic`"]
    );
}

#[test]
fn another_end_is_told_once_for_each_thing_that_only_the_other_has() {
    let letter = "a dead letter: invalid_json: expected value at line 1 column 1";
    assert_eq!(
        told("label: positive, score: 1, topic: tagged", &dead()),
        [format!("label: positive / {letter}")]
    );
    assert_eq!(told("value: x", &dead()), [format!("value: x / {letter}")]);
    assert_eq!(
        told("dead_letter: text_missing", &dead()),
        ["dead_letter: text_missing / invalid_json: expected value at line 1 column 1"]
    );
    assert_eq!(
        told("dead_letter: text_missing", &tagged()),
        ["dead_letter: text_missing / tagged: positive, 0.9953724"]
    );
    assert_eq!(
        told("dead_letter: text_missing", &passed(&output())),
        ["dead_letter: text_missing / passed through: not_selected"]
    );
    assert_eq!(told("label: a", &passed(&output())), ["label: a / passed through: not_selected"]);
    assert_eq!(told("passed: tombstone", &passed(&output())), ["passed: tombstone / not_selected"]);
    assert_eq!(told("passed: tombstone", &tagged()), ["passed: tombstone / tagged: positive, 0.9953724"]);
}

#[test]
fn long_values_are_shown_where_they_part() {
    let wrong = VALUE.replace("żółw", "żołw").replace('"', "\\\"").replace('\u{feff}', "\\ufeff");
    assert_eq!(
        told(&format!("value: \"{wrong}\""), &tagged()),
        [concat!(
            "value: \u{feff}{\"text\":\"żołw\",\"n\":1.10,\"big\":1234567890123456789…  (at byte 14) / ",
            "\u{feff}{\"text\":\"żółw\",\"n\":1.10,\"big\":123456789012345678…"
        )]
    );
    assert_eq!(told("value: x", &passed(&output())), ["value: x  (at byte 0) / in"]);
    assert_eq!(told("value: in\\n", &passed(&output())).len(), 1);
}

#[test]
fn a_terminal_obeys_nothing_of_a_value() {
    let seen = Seen::Written(Sent {
        result: Ok(Some(("a\u{1b}[31mb\n".to_owned(), 1.0))),
        value: Some(b"\"\\u001b[0m\x1b\"".to_vec()),
        headers: Vec::new(),
        topic: None,
    });
    assert_eq!(told("label: x", &seen), ["label: x / a\\u{1b}[31mb\\n"]);
    let tolerance = |score: &str, tolerance: &str| {
        let text =
            format!("tests: [{{ name: a, input: x, tolerance: {tolerance}, expect: {{ score: {score} }} }}]");
        judge(&CaseFile::of_text(&text).unwrap().cases[0], &tagged()) == Verdict::Passed
    };
    assert!(tolerance("0.9953724", "0"), "a decimal is what it says");
    assert!(!tolerance("0.9953725", "0"));
    assert!(tolerance("0.9943724", "0.001") && !tolerance("0.9943723", "0.001"));
}
