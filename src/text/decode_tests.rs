//! Each way a value can be, and what no value may do.
#![allow(clippy::unwrap_used, clippy::result_large_err)]

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::config::settings::{Subject, Test, When};
use crate::record::{Header, Offset, Timestamp};

fn input(format: Format, max_text_bytes: usize) -> Input {
    Input { max_text_bytes: NonZeroUsize::new(max_text_bytes).unwrap(), ..Input::new(&[], format) }
}

fn output(mode: OutputMode, on_existing: OnExisting) -> Output {
    Output { on_existing, ..Output::new(mode) }
}

fn pointer(p: &str) -> Format {
    Format::Json(TextSelector::Pointer(p.to_owned()))
}

fn decoder(format: Format, mode: OutputMode) -> Decoder {
    Decoder::new(&input(format, 1000), &output(mode, OnExisting::Replace))
}

fn splice(p: &str) -> Decoder {
    decoder(pointer(p), OutputMode::Splice)
}

fn record(value: &[u8]) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset: Offset::new(0),
        key: None,
        value: Some(value.to_vec()),
        headers: vec![],
        timestamp: Timestamp(None),
    }
}

fn document(d: &Decoder, value: impl AsRef<[u8]>) -> Document {
    match d.decode(record(value.as_ref())) {
        Ok(Decoded::Document(document)) => document,
        other => panic!("{other:?}"),
    }
}

fn reason(d: &Decoder, value: impl AsRef<[u8]>) -> Reason {
    let (record, error) = d.decode(record(value.as_ref())).unwrap_err();
    assert_eq!(record.value.as_deref(), Some(value.as_ref()), "comes back whole");
    assert_eq!(error.fate(), Fate::Poison);
    let letter = error.letter();
    assert_eq!(letter.stage, Stage::Decode);
    assert!(!letter.message.contains("secret"), "{}", letter.message);
    letter.reason
}

fn letter(d: &Decoder, value: &str) -> String {
    d.decode(record(value.as_bytes())).unwrap_err().1.to_string()
}

#[test]
fn every_reason_in_splice_mode() {
    let d = splice("/a/text");
    for (value, expected) in [
        (&b"secret"[..], Reason::InvalidJson),
        (b"", Reason::InvalidJson),
        (br#"{"a":{"text":"secret"}"#, Reason::InvalidJson),
        (br#"{"a":{"text":"secret"}} x"#, Reason::InvalidJson),
        (br#"{"a":{"text":"secret \ud83d"}}"#, Reason::InvalidJson),
        (br#"{"a":{"text":"secret \ux"}}"#, Reason::InvalidJson),
        (b"{\"a\":{\"text\":\"secret\nline\"}}", Reason::InvalidJson),
        (b"\0\0\0\0", Reason::InvalidJson),
        (b"\0\0\0\0\x07secret", Reason::SchemaRegistryFramed),
        (b"{\"a\":{\"text\":\"secret \xff\"}}", Reason::InvalidUtf8),
        (br#"["secret"]"#, Reason::NotAnObject),
        (br#""secret""#, Reason::NotAnObject),
        (b" null ", Reason::NotAnObject),
        (br#"{"a":{"txt":"secret"}}"#, Reason::TextMissing),
        (br#"{"a":"secret"}"#, Reason::TextMissing),
        (b"{}", Reason::TextMissing),
        (br#"{"a":{"text":null}}"#, Reason::TextNotAString),
        (br#"{"a":{"text":12}}"#, Reason::TextNotAString),
        (br#"{"a":{"text":["secret"]}}"#, Reason::TextNotAString),
        (br#"{"a":{"text":""}}"#, Reason::TextEmpty),
        (br#"{"a":{"text":" \n\u00a0"}}"#, Reason::TextEmpty),
    ] {
        assert_eq!(reason(&d, value), expected, "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn raw_text() {
    let d = decoder(Format::Text, OutputMode::Envelope);
    let got = document(&d, "żółw 🐢\n");
    assert_eq!((got.text.as_str(), got.place), ("żółw 🐢\n", Place::Envelope { whole: None }));
    assert_eq!(document(&d, "\u{feff}abc").text, "abc", "without the byte order mark");
    assert_eq!(reason(&d, b""), Reason::TextEmpty);
    assert_eq!(reason(&d, "\u{feff}"), Reason::TextEmpty);
    assert_eq!(reason(&d, "\u{2003}\r\n"), Reason::TextEmpty);
    assert_eq!(reason(&d, b"secret \xc3"), Reason::InvalidUtf8);
    assert_eq!(reason(&d, b"\0\0\0\0\x01secret"), Reason::SchemaRegistryFramed);
}

#[test]
fn a_null_value_passes_through() {
    for d in [splice("/t"), decoder(Format::Text, OutputMode::Envelope)] {
        let tombstone = Record { value: None, key: Some(b"k".to_vec()), ..record(b"") };
        let Ok(Decoded::PassThrough(back, PassThrough::Tombstone)) = d.decode(tombstone.clone()) else {
            panic!("not passed through");
        };
        assert_eq!(back, tombstone);
    }
}

#[test]
fn messages_say_what_and_where() {
    assert_eq!(letter(&splice("/a/b"), r#"{"a":1}"#), "there is nothing at `/a/b`");
    assert_eq!(letter(&splice("/a"), r#"{"a":{}}"#), "at `/a` is an object, not a string");
    assert!(letter(&splice("/a"), "{\n\"a\" 1}").ends_with("at line 2 column 5"));
    assert_eq!(
        letter(&splice("/a"), r#"{"a":"\udc00"}"#),
        "the string at `/a` (byte 5) has an escape that is half of a surrogate pair"
    );
}

#[test]
fn the_place_is_before_the_last_brace() {
    let d = splice("/t");
    let value = "\u{feff} {\"t\":\"x\" } \r\n";
    let got = document(&d, value);
    assert_eq!(got.place, Place::Insert { brace: value.rfind('}').unwrap(), comma: true });
    assert_eq!(got.text, "x");
    let whole = decoder(pointer("/0"), OutputMode::Envelope);
    assert_eq!(
        document(&whole, r#"["first"]"#).text,
        "first",
        "an array is a place for a text, not for a field"
    );
}

#[test]
fn of_a_text_given_twice_the_last_counts() {
    let got = document(&splice("/a/t"), r#"{"a":{"t":"1"},"a":{"t":"2","\u0074":"3"}}"#);
    assert_eq!(got.text, "3");
}

#[test]
fn a_field_that_is_there() {
    let value = r#"{"nlp":1,"t":"x","\u006elp" : [2] ,"in":{"nlp":3}}"#;
    let with = |on_existing, value: &str| {
        Decoder::new(&input(pointer("/t"), 1000), &output(OutputMode::Splice, on_existing))
            .decode(record(value.as_bytes()))
    };
    let Ok(Decoded::Document(got)) = with(OnExisting::Replace, value) else { panic!() };
    let Place::Replace(ranges) = got.place else { panic!("{:?}", got.place) };
    assert_eq!(ranges.iter().map(|r| &value[r.clone()]).collect::<Vec<_>>(), ["1", "[2]"]);
    assert!(matches!(
        with(OnExisting::Keep, r#"{"nlp":null}"#),
        Ok(Decoded::PassThrough(_, PassThrough::FieldExists))
    ));
    let (_, error) = with(OnExisting::Error, value).unwrap_err();
    assert_eq!(error.letter().reason, Reason::FieldExists);
    for on_existing in [OnExisting::Keep, OnExisting::Error] {
        assert!(matches!(with(on_existing, r#"{"t":"x","in":{"nlp":1}}"#), Ok(Decoded::Document(_))));
    }
    let many = |n| format!("{{{}\"t\":\"x\"}}", "\"nlp\":0,".repeat(n));
    assert!(with(OnExisting::Replace, &many(MOST_REPLACED)).is_ok());
    let (_, error) = with(OnExisting::Replace, &many(MOST_REPLACED + 1)).unwrap_err();
    assert_eq!(error, DecodeError::FieldRepeated { field: "nlp".to_owned(), times: MOST_REPLACED + 1 });
}

#[test]
fn a_header_that_is_there() {
    let headers = vec![Header { name: b"nlp".to_vec(), value: None }];
    let with = |on_existing| {
        Decoder::new(&input(Format::Text, 1000), &output(OutputMode::Headers, on_existing))
            .decode(Record { headers: headers.clone(), ..record(b"text") })
    };
    assert!(matches!(with(OnExisting::Keep), Ok(Decoded::PassThrough(_, PassThrough::FieldExists))));
    assert!(matches!(with(OnExisting::Error), Err((_, DecodeError::FieldExists(_)))));
    let Ok(Decoded::Document(got)) = with(OnExisting::Replace) else { panic!() };
    assert_eq!(got.place, Place::Outside);
}

/// Each result among several has a header of its own.
#[test]
fn a_header_of_one_of_several_results_that_is_there() {
    let with = |on_existing, there: &str| {
        Decoder::new(&input(Format::Text, 1000), &output(OutputMode::Headers, on_existing))
            .writing(vec!["nlp.intent".to_owned(), "nlp.mood".to_owned()])
            .decode(Record { headers: vec![Header::new(there, "{}")], ..record(b"text") })
    };
    assert!(matches!(
        with(OnExisting::Keep, "nlp.mood"),
        Ok(Decoded::PassThrough(_, PassThrough::FieldExists))
    ));
    let (_, error) = with(OnExisting::Error, "nlp.mood").unwrap_err();
    assert_eq!(error, DecodeError::FieldExists("nlp.mood".to_owned()));
    assert!(matches!(with(OnExisting::Replace, "nlp.mood"), Ok(Decoded::Document(_))));
    for other in ["nlp", "nlp.mood.label", "nlp.other"] {
        assert!(matches!(with(OnExisting::Error, other), Ok(Decoded::Document(_))), "{other}");
    }
}

/// Where each text stands, for who writes it anew; of a pair the second one, too.
#[test]
fn sources_of_a_template_and_of_a_pair() {
    let parts = ["/b", "/a", "/b"].map(|p| TemplatePart::Pointer(p.to_owned()));
    let format = Format::Json(TextSelector::Template(parts.into()));
    let pair = Input { pair: Some("/c".to_owned()), ..input(format, 3) };
    let d = Decoder::new(&pair, &output(OutputMode::Splice, OnExisting::Replace));
    let value = r#"{"a":"ab","b":"\u0063","c":"d"}"#;
    assert_eq!(document(&d, value).sources, [], "nobody asked");
    let got = document(&d.keeping_sources(true), value);
    let told: Vec<_> = got.sources.iter().map(|s| (s.text.clone(), &value[s.value.clone()])).collect();
    let (a, b, c) = (r#""ab""#, r#""\u0063""#, r#""d""#);
    assert_eq!((got.text.as_str(), told), ("cab", vec![(0..1, b), (1..3, a), (3..4, b), (4..4, c)]));
}

#[test]
fn templates() {
    let parts = ["/title", "/body/0"].map(|p| TemplatePart::Pointer(p.to_owned()));
    let [title, body] = parts;
    let template = TextSelector::Template(vec![title, TemplatePart::Literal(". ".to_owned()), body]);
    let d = decoder(Format::Json(template), OutputMode::Splice);
    assert_eq!(document(&d, r#"{"body":["b\u0021"],"title":"T"}"#).text, "T. b!");
    assert_eq!(document(&d, r#"{"body":["b"],"title":""}"#).text, ". b");
    assert_eq!(reason(&d, r#"{"body":[" "],"title":""}"#), Reason::TextEmpty, "literals are no text");
    assert_eq!(letter(&d, r#"{"body":[],"title":"T"}"#), "there is nothing at `/body/0`");
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let cut = |mode, value: &str| {
        let d = Decoder::new(&input(pointer("/t"), 5), &output(mode, OnExisting::Replace));
        document(&d, value)
    };
    let got = cut(OutputMode::Splice, r#"{"t":"abc🐢def"}"#);
    assert_eq!((got.text.as_str(), got.text_bytes_seen), ("abc", 10));
    let got = cut(OutputMode::Envelope, r#"{"t":"abc\ud83d\udc22def"}"#);
    assert_eq!((got.text.as_str(), got.text_bytes_seen), ("abc", 10));
    assert_eq!(got.place, Place::Envelope { whole: Some("abc🐢def".to_owned()) });
    let d = Decoder::new(&input(pointer("/t"), 5), &output(OutputMode::Splice, OnExisting::Replace));
    assert_eq!(reason(&d, r#"{"t":"      x"}"#), Reason::TextEmpty, "nothing is left to read");
}

#[test]
fn depth_is_no_danger() {
    let open = format!(r#"{{"t":{}"#, "[".repeat(100_000));
    assert_eq!(reason(&splice("/t"), &open), Reason::InvalidJson);
    let whole = format!("{open}{}}}", "]".repeat(100_000));
    assert_eq!(reason(&splice("/t"), &whole), Reason::TextNotAString);
    assert_eq!(reason(&splice("/t/0/0/0"), &whole), Reason::TextNotAString);
    let objects = format!("{}1{}", "{\"t\":".repeat(100_000), "}".repeat(100_000));
    assert_eq!(reason(&splice("/t/t"), &objects), Reason::TextNotAString);
}

/// Bytes that look like JSON more often than chance has it.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"{"[..],
        b"{\"t\":\"x\"",
        b"\"t\":\"\\ud83d\\udc22 y\"",
        b"\"nlp\":[\"z\"]",
        b"\"\\ud800\":0",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"t\"",
        b"\"nlp\"",
        b"\"",
        b"\\u",
        b"\\ud800",
        b"d83d",
        b"1e9",
        b"-0",
        b"null",
        b"true",
        b" ",
        b"\n",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        "ż🐢".as_bytes(),
        b"x",
    ]);
    prop_oneof![prop::collection::vec(piece.clone(), 0..8), prop::collection::vec(piece, 0..40)]
        .prop_map(|pieces| pieces.concat())
}

fn any_decoder() -> impl Strategy<Value = Decoder> {
    let template = TextSelector::Template(vec![
        TemplatePart::Pointer("/t".to_owned()),
        TemplatePart::Literal("ż".to_owned()),
        TemplatePart::Pointer("/nlp/0".to_owned()),
    ]);
    let format = prop::sample::select(vec![
        Format::Text,
        pointer("/t"),
        pointer(""),
        pointer("/0/t"),
        Format::Json(template),
    ]);
    let mode = prop::sample::select(vec![OutputMode::Splice, OutputMode::Envelope, OutputMode::Headers]);
    let exists = prop::sample::select(vec![OnExisting::Replace, OnExisting::Keep, OnExisting::Error]);
    (format, mode, exists, 1..20usize)
        .prop_map(|(format, mode, exists, max)| Decoder::new(&input(format, max), &output(mode, exists)))
}

proptest! {
    #[test]
    fn no_bytes_are_a_danger(
        d in any_decoder(),
        value in prop_oneof![prop::collection::vec(any::<u8>(), 0..60), nearly_json()],
    ) {
        let before = record(&value);
        match d.decode(before.clone()) {
            Ok(Decoded::Document(got)) => {
                prop_assert_eq!(got.record, before);
                prop_assert!(!got.text.trim().is_empty());
                prop_assert!(got.text.len() <= d.max_text_bytes && got.text.len() <= got.text_bytes_seen);
                prop_assert!(got.text_bytes_seen <= value.len() + 2, "never longer than its source");
                match got.place {
                    Place::Insert { brace, .. } => prop_assert_eq!(value[brace], b'}'),
                    Place::Replace(ranges) => {
                        prop_assert!(ranges.windows(2).all(|w| w[0].end < w[1].start));
                        prop_assert!(ranges.iter().all(|r| !r.is_empty() && r.end < value.len()));
                    }
                    Place::Envelope { .. } | Place::Outside => {}
                }
            }
            Ok(Decoded::PassThrough(back, _)) | Err((back, _)) => prop_assert_eq!(back, before),
        }
    }

    /// The judge is serde_json itself: what it parses, we find; what it refuses, we refuse.
    #[test]
    fn finds_what_a_parser_finds(value in nearly_json()) {
        let ours = decoder(pointer("/t"), OutputMode::Headers).decode(record(&value));
        let text = std::str::from_utf8(&value).ok().map(|v| v.strip_prefix('\u{feff}').unwrap_or(v));
        let theirs = text.and_then(|t| serde_json::from_str::<serde_json::Value>(t).ok());
        let theirs = theirs.as_ref().and_then(|v| v.pointer("/t")).and_then(|t| t.as_str());
        match ours {
            Ok(Decoded::Document(got)) if theirs.is_some() => {
                prop_assert_eq!(Some(got.text.as_str()), theirs);
            }
            // A lone surrogate elsewhere is no business of ours: it stays as it is.
            Ok(Decoded::Document(_)) => prop_assert!(String::from_utf8_lossy(&value).contains("\\u")),
            _ => prop_assert!(theirs.is_none_or(|t| t.trim().is_empty())),
        }
    }
}

/// docs/RECORDS.md, "By example": each row is run.
#[test]
fn the_documentations_examples() {
    let d = Decoder::new(&input(pointer("/text"), 1000), &output(OutputMode::Splice, OnExisting::Error));
    let page = include_str!("../../docs/RECORDS.md");
    let table = page.split("\n## ").find(|s| s.starts_with("By example")).unwrap();
    let rows: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .collect();
    assert!(rows.len() >= 16, "{rows:?}");
    for (value, ends_as) in rows {
        match d.decode(record(value.as_bytes())) {
            Ok(Decoded::Document(_)) => assert_eq!(ends_as, "enriched", "{value}"),
            Ok(other) => panic!("{value}: {other:?}"),
            Err((_, error)) => assert_eq!(ends_as, format!("`{}`", error.letter().reason), "{value}"),
        }
    }
}

#[test]
fn utf16_is_told_from_a_frame_and_from_broken_json() {
    let json = r#"{"t":"plain words"}"#;
    let big: Vec<u8> = json.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let little: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for value in [&big, &little] {
        let (_, error) = splice("/t").decode(record(value)).unwrap_err();
        assert_eq!(error, DecodeError::Utf16);
    }
    for text in ["Привет мир", "Γειά σου Κόσμε", "สวัสดี", "café — no"] {
        for bytes in [u16::to_be_bytes, u16::to_le_bytes] {
            let value: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            let raw = decoder(Format::Text, OutputMode::Envelope);
            let told = raw.decode(record(&value)).unwrap_err().1;
            assert_eq!(told.letter().reason, Reason::InvalidUtf8, "{text}: {told}");
        }
    }
    let with_mark = [&[0xff, 0xfe][..], &little].concat();
    assert_eq!(reason(&splice("/t"), &with_mark), Reason::InvalidUtf8);
    assert_eq!(reason(&splice("/t"), b"\0\0\0\0\x05{\0}\0"), Reason::SchemaRegistryFramed);
}

/// What a pipeline would rather pass on than dead-letter.
#[test]
fn without_text_it_passes_where_the_pipeline_says_so() {
    let mut input = input(pointer("/t"), 1000);
    input.on_empty = WithoutText::PassThrough;
    let why = |input: &Input, value: &str| {
        let decoder = Decoder::new(input, &output(OutputMode::Splice, OnExisting::Error));
        match decoder.decode(record(value.as_bytes())) {
            Ok(Decoded::PassThrough(record, why)) => {
                assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
                Ok(why)
            }
            Err((_, error)) => Err(error.letter().reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(why(&input, r#"{"t":" "}"#), Ok(PassThrough::TextEmpty));
    assert_eq!(why(&input, "{}"), Err(Reason::TextMissing));
    input.on_missing_text = WithoutText::PassThrough;
    assert_eq!(why(&input, "{}"), Ok(PassThrough::TextMissing));
    assert_eq!(why(&input, r#"{"t":null}"#), Ok(PassThrough::TextMissing));
    assert_eq!(why(&input, r#"{"t":1}"#), Err(Reason::TextNotAString), "of the wrong type is a mistake");
    assert_eq!(why(&input, r#"{"t":"x","nlp":1}"#), Err(Reason::FieldExists));
    input.long_text = LongText::DeadLetter;
    let long = format!(r#"{{"t":"{}"}}"#, "x".repeat(1001));
    assert_eq!(why(&input, &long), Err(Reason::TextTooLong));
    let when = |subject, value: &str| Some(When { subject, test: Test::In(vec![value.into()]) });
    input.when = when(Subject::Field("/lang".into()), "en");
    assert_eq!(why(&input, r#"{"lang":"de","nlp":1}"#), Ok(PassThrough::NotSelected));
    assert_eq!(why(&input, r#"{"lang":"en","t":1}"#), Err(Reason::TextNotAString));
    assert_eq!(why(&input, r#"{"lang":"de""#), Err(Reason::InvalidJson), "nobody can tell");
    let late = format!(r#"{{"t":"{}late"}}"#, " ".repeat(2000));
    input.long_text = LongText::Truncate;
    input.when = None;
    assert_eq!(why(&input, &late), Err(Reason::TextEmpty), "what was not looked at does not pass");
    input.when = when(Subject::Header("lang".into()), "en");
    assert_eq!(why(&input, "not even JSON"), Ok(PassThrough::NotSelected), "its value is not looked at");
}
