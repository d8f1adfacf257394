//! What the reader of a whole pipeline does: of a pair both texts are masked, and nothing passes by what hides.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::config::settings::LongText;
use crate::config::{Overrides, load};
use crate::record::{Offset, Timestamp};

fn reader(input: &str) -> Reader {
    writing(input, "{}")
}

fn writing(input: &str, output: &str) -> Reader {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.yaml");
    std::fs::write(&file, format!("input: {{topics: [t], {input}}}\nmodel: {{path: x}}\noutput: {output}\n"))
        .unwrap();
    let settings = load(&file, &Overrides::default()).unwrap_or_else(|e| panic!("{e}")).settings;
    let json = std::fs::read("tests/packages/tiny-squeezebert/tokenizer.json").unwrap();
    let tokenizer = TextTokenizer::from_json(&json, 64, LongText::Truncate).unwrap();
    let stream = Stream { tokenizer, plan: Plan::Text, with_spans: false, required: true };
    crate::pipeline::reader(&settings, vec![stream], false)
}

fn record(json: &str) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset: Offset::new(0),
        key: None,
        value: Some(json.into()),
        headers: Vec::new(),
        timestamp: Timestamp(None),
    }
}

fn read(reader: &Reader, json: &str) -> Sequences {
    reader.read(record(json)).unwrap_or_else(|e| panic!("{e:?}")).streams.swap_remove(0).unwrap()
}

/// Else two records that differ in a number of their second texts are two for the model, and the first's
/// count is told as if it were all.
#[test]
fn both_texts_of_a_pair_are_masked_and_counted() {
    let masked = reader("text: /a, pair: /b, mask: [numbers]");
    let found = read(&masked, r#"{"a": "took 35 s", "b": "not 17 or 18"}"#);
    let same = read(&masked, r#"{"a": "took 99 s", "b": "not 5 or 6"}"#);
    let plain = read(&reader("text: /a, pair: /b"), r#"{"a": "took 0 s", "b": "not 0 or 0"}"#);
    assert_eq!((&found.tokens, &same.tokens), (&plain.tokens, &plain.tokens));
    assert_eq!((found.amount.masked, plain.amount.masked), (3, 0));
    assert!(found.tokens.iter().any(|tokens| tokens.types.contains(&1)), "a pair it is");
}

/// Another result, or a form, might have found in it what must not get out.
#[test]
fn what_a_tokenizer_drops_does_not_pass_by_what_hides() {
    let (dropped, input) = ("{\"text\": \"\u{200b}\u{200d}\"}", "on_empty: pass-through");
    let passed = reader(input).read(record(dropped)).unwrap_err();
    assert!(matches!(passed, Outcome::PassThrough { why: PassThrough::NoTokens, .. }), "{passed:?}");
    match writing(input, "{redact: [ips]}").read(record(dropped)).unwrap_err() {
        Outcome::DeadLetter { letter, .. } => assert_eq!(letter.reason, crate::record::Reason::NoTokens),
        other => panic!("{other:?}"),
    }
}
