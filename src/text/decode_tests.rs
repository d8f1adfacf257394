#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::config::settings::{OnGap, OutputPartition, Start};
use crate::record::{Offset, Timestamp};

fn decoder(format: Format, mode: OutputMode, on_existing: OnExisting, max_text_bytes: usize) -> Decoder {
    let input = Input {
        topics: vec!["t".into()],
        format,
        start: Start::Earliest,
        on_gap: OnGap::Fail,
        max_text_bytes: NonZeroUsize::new(max_text_bytes).unwrap(),
    };
    let output = Output {
        topic: None,
        mode,
        field: "nlp".into(),
        on_existing,
        scores: false,
        partition: OutputPartition::Key,
        source_headers: false,
    };
    Decoder::new(&input, &output)
}

fn json_at(pointer: &str) -> Format {
    Format::Json(TextSelector::Pointer(pointer.into()))
}

fn splicing() -> Decoder {
    decoder(json_at("/text"), OutputMode::Splice, OnExisting::Replace, 1 << 20)
}

fn record(value: Option<&[u8]>) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset: Offset::new(0),
        key: None,
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
        timestamp: Timestamp(None),
    }
}

fn decode(decoder: &Decoder, value: &[u8]) -> Result<Decoded, DecodeError> {
    decoder.decode(record(Some(value))).map_err(|(back, error)| {
        assert_eq!(back, record(Some(value)), "the record comes back whole");
        error
    })
}

fn document(decoder: &Decoder, value: &[u8]) -> Document {
    match decode(decoder, value) {
        Ok(Decoded::Document(document)) => document,
        other => panic!("not a document: {other:?}"),
    }
}

fn reason(decoder: &Decoder, value: &[u8]) -> Reason {
    decode(decoder, value).expect_err("should be refused").letter().reason
}

#[test]
fn bad_values_have_their_own_reasons() {
    let d = splicing();
    let deep = "[".repeat(100_000);
    let deep_text = format!(r#"{{"text":"ok","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let cases: [(&[u8], Reason); 17] = [
        (b"", Reason::InvalidJson),
        (b"{\"text\":\"a\"", Reason::InvalidJson),
        (b"{\"text\":\"a\"} x", Reason::InvalidJson),
        (b"{\"text\":\"a\",\"n\":NaN}", Reason::InvalidJson),
        (deep.as_bytes(), Reason::InvalidJson),
        (b"{\"text\":\"\\ud800\"}", Reason::InvalidJson),
        (b"{\"text\":\"\xff\"}", Reason::InvalidUtf8),
        (b"[\"text\"]", Reason::NotAnObject),
        (b"\"text\"", Reason::NotAnObject),
        (b"{}", Reason::TextMissing),
        (b"{\"text\":null}", Reason::TextNotAString),
        (b"{\"text\":7}", Reason::TextNotAString),
        (b"{\"text\":[\"a\"]}", Reason::TextNotAString),
        (b"{\"text\":\"\"}", Reason::TextEmpty),
        (b"{\"text\":\" \\n\\u3000\"}", Reason::TextEmpty),
        (b"\0\0\0\0\x01{\"text\":\"a\"}", Reason::SchemaRegistryFramed),
        (b"\0\0", Reason::InvalidJson),
    ];
    for (value, expected) in cases {
        assert_eq!(
            reason(&d, value),
            expected,
            "{:?}",
            String::from_utf8_lossy(&value[..value.len().min(60)])
        );
    }
    assert_eq!(document(&d, deep_text.as_bytes()).text, "ok");
    assert_eq!(document(&d, b"{\"text\":\"a\",\"n\":1e999}").text, "a");
}

#[test]
fn messages_hold_no_payload() {
    let d = splicing();
    for value in
        [r#"{"text":"s3cret"} s3cret"#, r#"{"s3cret":1}"#, r#"{"text":{"s3cret":1}}"#, r#"{"text":s3cret}"#]
    {
        let error = decode(&d, value.as_bytes()).expect_err("should be refused");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
}

#[test]
fn tombstones_pass() {
    let passed = splicing().decode(record(None));
    assert!(matches!(passed, Ok(Decoded::PassThrough(_, PassThrough::Tombstone))));
}

#[test]
fn pointers_lead_through_objects_arrays_and_escapes() {
    let value = br#"{"a":{"b/c":["x",{"~":"deep"}]},"a":{"b/c":["y",{"~":"last"}]}}"#;
    let at = |p: &str| document(&decoder(json_at(p), OutputMode::Splice, OnExisting::Error, 100), value).text;
    assert_eq!(at("/a/b~1c/1/~0"), "last", "of duplicates the last one counts");
    assert_eq!(at("/a/b~1c/0"), "y");
    for nowhere in ["/a/b~1c/2", "/a/b~1c/01", "/a/b~1c/-", "/a/x", "/a/b~1c/0/x"] {
        let d = decoder(json_at(nowhere), OutputMode::Splice, OnExisting::Error, 100);
        assert_eq!(reason(&d, value), Reason::TextMissing, "{nowhere}");
    }
}

#[test]
fn an_array_at_the_root_works_where_nothing_is_spliced() {
    let d = decoder(json_at("/0"), OutputMode::Envelope, OnExisting::Error, 100);
    assert_eq!(document(&d, br#"["hello"]"#).text, "hello");
}

#[test]
fn templates_join_and_name_what_is_missing() {
    let parts = vec![
        TemplatePart::Pointer("/title".into()),
        TemplatePart::Literal(": ".into()),
        TemplatePart::Pointer("/body".into()),
    ];
    let d = decoder(Format::Json(TextSelector::Template(parts)), OutputMode::Splice, OnExisting::Error, 100);
    assert_eq!(document(&d, br#"{"body":"b","title":"t"}"#).text, "t: b");
    let error = decode(&d, br#"{"title":"t"}"#).expect_err("no body");
    assert_eq!(error, DecodeError::TextMissing("/body".into()));
}

#[test]
fn an_existing_field_is_replaced_kept_or_refused() {
    let value = br#"{"nlp":1,"text":"a","nlp": {"x":[2]} }"#;
    let with = |on_existing| decoder(json_at("/text"), OutputMode::Splice, on_existing, 100);
    assert_eq!(document(&with(OnExisting::Replace), value).place, Place::Replace(vec![7..8, 27..36]));
    let kept = decode(&with(OnExisting::Keep), value);
    assert!(matches!(kept, Ok(Decoded::PassThrough(_, PassThrough::FieldExists))));
    assert_eq!(reason(&with(OnExisting::Error), value), Reason::FieldExists);
}

#[test]
fn long_texts_are_cut_between_characters_and_say_so() {
    let d = decoder(Format::Text, OutputMode::Envelope, OnExisting::Error, 4);
    let cut = document(&d, "aéé€".as_bytes());
    assert_eq!((cut.text.as_str(), cut.text_bytes_seen), ("aé", 8));
    assert_eq!(document(&d, "\u{feff}abc".as_bytes()).text, "abc");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&splicing(), &bytes);
        let _ = decode(&decoder(Format::Text, OutputMode::Envelope, OnExisting::Keep, 3), &bytes);
    }

    #[test]
    fn almost_json_never_panics(bytes in r#"[\[\]{}:,"\\ u0d8antrefls0-9.eE+-]{0,80}"#) {
        let _ = decode(&splicing(), bytes.as_bytes());
    }
}
