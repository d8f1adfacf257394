#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::config::settings::{OnExisting, OutputPartition};
use crate::record::{Offset, Reason, Stage, Timestamp};

fn output(mode: OutputMode, scores: bool, source_headers: bool) -> Output {
    Output {
        topic: None,
        mode,
        field: "nlp".into(),
        on_existing: OnExisting::Replace,
        scores,
        partition: OutputPartition::Key,
        source_headers,
    }
}

fn enricher(output: &Output, batch_invariant: bool) -> Enricher {
    let receipt = Receipt {
        model: "senti\"ment".into(),
        digest: format!("sha256:{}", "ab".repeat(32)),
        precision: "fp32".into(),
        provider: "cpu",
        batch_invariant,
    };
    Enricher::new(output, &["negative".to_owned(), "posi\"tive".to_owned()], &receipt)
}

fn record(value: &[u8]) -> Record {
    Record {
        topic: "in".into(),
        partition: 3,
        offset: Offset::new(41),
        key: Some(vec![1]),
        value: Some(value.to_vec()),
        headers: Vec::new(),
        timestamp: Timestamp(Some(7)),
    }
}

fn emit(output: &Output, value: &[u8], text: &str, seen: usize, place: Place) -> Emit {
    let document = Document { record: record(value), text: text.into(), text_bytes_seen: seen, place };
    let prediction = Prediction { best: 1, scores: vec![0.25, 0.75] };
    match enricher(output, true).enrich(document, TokenCount { used: 4, seen: 9 }, &prediction) {
        Outcome::Enriched { emit, .. } => emit,
        other => panic!("not enriched: {other:?}"),
    }
}

const RESULT: &str = r#"{"label":"posi\"tive","score":0.75,"model":{"name":"senti\"ment","digest":"sha256:abababababababab"},"precision":"fp32","provider":"cpu","tokens":{"used":4,"seen":9}}"#;

#[test]
fn a_result_is_spliced_in_front_of_the_closing_brace() {
    let value = b" { \"n\" : 1.10, \"text\":\"a\" } \r\n";
    let emit =
        emit(&output(OutputMode::Splice, false, false), value, "a", 1, Place::Insert { at: 26, comma: true });
    let spliced = String::from_utf8(emit.value.unwrap()).unwrap();
    assert_eq!(spliced, format!(" {{ \"n\" : 1.10, \"text\":\"a\" ,\"nlp\":{RESULT}}} \r\n"));
    assert_eq!((emit.label.as_str(), emit.score, emit.timestamp), ("posi\"tive", 0.75, Timestamp(Some(7))));
}

#[test]
fn envelope_headers_scores_and_cut_texts() {
    let envelope = emit(&output(OutputMode::Envelope, true, false), b"x", "a\"\n", 30, Place::Outside);
    let json: Value = serde_json::from_slice(&envelope.value.unwrap()).unwrap();
    assert_eq!(json["text"], "a\"\n");
    assert_eq!(json["nlp"]["scores"], serde_json::json!({"negative": 0.25, "posi\"tive": 0.75}));
    assert_eq!(json["nlp"]["text_bytes"], serde_json::json!({"used": 3, "seen": 30}));

    let headers = emit(&output(OutputMode::Headers, false, true), b"x", "a", 1, Place::Outside);
    assert_eq!(headers.value, None, "the value stays as it was");
    let expected = [
        ("nlp", RESULT),
        ("nlp.label", "posi\"tive"),
        ("nlp.score", "0.75"),
        ("squeezeflow.source.topic", "in"),
        ("squeezeflow.source.partition", "3"),
        ("squeezeflow.source.offset", "41"),
    ];
    assert_eq!(headers.headers, expected.map(|(n, v)| Header::new(n, v)));
}

#[test]
fn a_package_that_depends_on_its_batch_says_so() {
    let json = enricher(&output(OutputMode::Splice, false, false), false).receipt;
    assert!(json.ends_with(r#","batch_invariant":false"#), "{json}");
}

#[test]
fn a_dead_letter_tells_its_story() {
    let letter = DeadLetter { reason: Reason::TextMissing, message: "there".into(), stage: Stage::Decode };
    let mut record = record(b"x");
    record.timestamp = Timestamp(None);
    let headers = dead_letter_headers(&record, &letter);
    let expected = [
        ("topic", "in"),
        ("partition", "3"),
        ("offset", "41"),
        ("timestamp", "-1"),
        ("reason", "text_missing"),
        ("message", "there"),
        ("stage", "decode"),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(headers, expected.map(|(n, v)| Header::new(format!("__squeezeflow.errors.{n}"), v)));
}

/// JSON as streams hold it: odd white space, numbers that no f64 holds, duplicate keys, depth.
fn json() -> impl Strategy<Value = String> {
    let space = "[ \t\r\n]{0,2}";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("12345678901234567890".to_owned()),
        Just("1.10".to_owned()),
        Just("-0e999".to_owned()),
        "\"[a-z\u{e9}]{0,4}\"",
        Just(r#""\ud83d\ude00\"}{""#.to_owned()),
    ];
    let value = leaf.prop_recursive(3, 20, 4, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space)
                .prop_map(|(v, s)| format!("[{s}{}{s}]", v.join(&format!("{s},")))),
            (prop::collection::vec(("[a-c]", inner), 0..4), space).prop_map(|(v, s)| object(&v, &s)),
        ]
    });
    let members = prop::collection::vec((prop_oneof!["[a-c]", Just("nlp".to_owned())], value), 0..5);
    (members, space, space, space).prop_map(|(mut m, s, before, after)| {
        m.push(("text".into(), "\"hello\"".into()));
        format!("{before}{}{after}", object(&m, &s))
    })
}

fn object(members: &[(String, String)], s: &str) -> String {
    let members: Vec<_> = members.iter().map(|(k, v)| format!("{s}\"{k}\"{s}:{s}{v}{s}")).collect();
    format!("{{{}{s}}}", members.join(","))
}

proptest! {
    /// Decode and splice: take what was written out again, and every byte of the original is
    /// there; and a JSON parser finds our result and everything else as it was.
    #[test]
    fn splicing_leaves_every_other_byte(value in json()) {
        let output = output(OutputMode::Splice, false, false);
        let input = crate::config::settings::Input {
            topics: vec!["t".into()],
            format: crate::config::settings::Format::Json(
                crate::config::settings::TextSelector::Pointer("/text".into()),
            ),
            start: crate::config::settings::Start::Earliest,
            on_gap: crate::config::settings::OnGap::Fail,
            max_text_bytes: std::num::NonZeroUsize::MAX,
        };
        let decoder = crate::text::Decoder::new(&input, &output);
        let Ok(crate::text::Decoded::Document(document)) = decoder.decode(record(value.as_bytes())) else {
            panic!("not decoded: {value}");
        };
        prop_assert_eq!(&document.text, "hello");
        let place = document.place.clone();
        let out = emit(&output, value.as_bytes(), "hello", 5, place.clone()).value.unwrap();
        let out = String::from_utf8(out).unwrap();

        let parsed: Value = serde_json::from_str(&out).unwrap();
        prop_assert_eq!(&parsed["nlp"], &serde_json::from_str::<Value>(RESULT).unwrap());
        let back = match &place {
            Place::Insert { comma, .. } => {
                let inserted = format!("{}\"nlp\":{RESULT}", if *comma { "," } else { "" });
                prop_assert_eq!(out.matches(&inserted).count(), 1);
                out.replacen(&inserted, "", 1)
            }
            Place::Replace(ranges) => {
                prop_assert_eq!(out.matches(RESULT).count(), ranges.len());
                let mut old = ranges.iter().map(|r| &value[r.clone()]);
                let mut pieces = out.split(RESULT);
                let first = pieces.next().unwrap_or_default().to_owned();
                pieces.fold(first, |acc, piece| acc + old.next().unwrap_or_default() + piece)
            }
            Place::Outside => panic!("nowhere to splice"),
        };
        prop_assert_eq!(back, value);
    }
}
