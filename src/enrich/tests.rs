//! What is added, and that nothing else changes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::batch::StreamHead;
use crate::config::settings::{
    Combine, Format, Input, Mask, OnExisting, TemplatePart, TextSelector, Uncertain,
};
use crate::model::tasks::{Activation, Quote, TextClassification};
use crate::model::{InferError, Output as Logits, Receipt};
use crate::record::{Offset, Timestamp};
use crate::text::{Decoded, Decoder, Document, Note, TokenCount};

fn labels() -> [String; 3] {
    ["negative", "neutral", "positive"].map(str::to_owned)
}

fn receipt(batch_invariant: bool) -> Receipt {
    Receipt {
        model: "our \"model\"".to_owned(),
        digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        precision: "fp32".to_owned(),
        provider: "cpu",
        batch_invariant,
    }
}

fn output(mode: OutputMode) -> Output {
    Output { on_existing: OnExisting::Replace, ..Output::new(mode) }
}

fn enricher(output: &Output, batch_invariant: bool) -> Enricher {
    Enricher::new(vec![sentiment(output, Combine::First, receipt(batch_invariant))], output)
}

fn sentiment(output: &Output, combine: Combine, receipt: Receipt) -> ResultTask {
    let task = TextClassification {
        labels: labels().to_vec(),
        activation: Activation::Softmax,
        combine,
        scores: output.scores,
        uncertain: output.uncertain.clone(),
        top: None,
        thresholds: None,
    };
    ResultTask {
        name: None,
        task: Arc::new(task),
        required: true,
        stream: 0,
        before: Vec::new(),
        receipt,
        max_length: 128,
    }
}

fn document(output: &Output, format: Format, max_text_bytes: usize, value: &str) -> Document {
    let max_text_bytes = NonZeroUsize::new(max_text_bytes).unwrap();
    let input = Input { max_text_bytes, ..Input::new(&[], format) };
    let record = Record {
        topic: "reviews".into(),
        partition: 7,
        offset: Offset::new(42),
        key: Some(b"k".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![Header { name: b"h".to_vec(), value: None }],
        timestamp: Timestamp(Some(5)),
    };
    match Decoder::new(&input, output).decode(record) {
        Ok(Decoded::Document(document)) => document,
        other => panic!("{other:?}"),
    }
}

fn json(pointer: &str) -> Format {
    Format::Json(TextSelector::Pointer(pointer.to_owned()))
}

const AMOUNT: Amount =
    Amount { tokens: TokenCount { used: 8, seen: 9 }, windows: 1, windows_read: 1, masked: 0 };

/// Of logits that give these scores.
fn emit(enricher: &Enricher, document: Document) -> Emit {
    let answers = vec![logits([0.1_f32.ln(), 0.2_f32.ln(), 0.7_f32.ln()])];
    match enricher.outcome(Joined { head: head(document, AMOUNT, &[8]), answers }) {
        Outcome::Enriched { emit, .. } => emit,
        other => panic!("{other:?}"),
    }
}

fn enriched(output: &Output, format: Format, value: &str) -> String {
    let enricher = enricher(output, true);
    let emit = emit(&enricher, document(output, format, 1000, value));
    String::from_utf8(emit.value.unwrap()).unwrap()
}

const RESULT: &str = concat!(
    r#"{"label":"positive","score":0.7,"model":{"name":"our \"model\"","digest":"sha256:0123456789abcdef"},"#,
    r#""precision":"fp32","provider":"cpu","tokens":{"used":8,"seen":9},"truncated":true}"#
);

#[test]
fn spliced_in_before_the_last_brace() {
    let got = enriched(&output(OutputMode::Splice), json("/t"), "{ \"t\" : \"x\",\"n\":1.10 \n} \n");
    assert_eq!(got, format!("{{ \"t\" : \"x\",\"n\":1.10 \n,\"nlp\":{RESULT}}} \n"));
}

#[test]
fn into_an_object_without_members_there_is_no_comma() {
    // No text can come from an empty object today; the place is judged by itself.
    let document = Document {
        place: Place::Insert { brace: 2, comma: false },
        ..document(&output(OutputMode::Envelope), Format::Text, 9, "{ }")
    };
    let enricher = enricher(&output(OutputMode::Splice), true);
    let value = emit(&enricher, document).value.unwrap();
    assert_eq!(String::from_utf8(value).unwrap(), format!("{{ \"nlp\":{RESULT}}}"));
}

#[test]
fn replaced_in_its_place() {
    let got = enriched(&output(OutputMode::Splice), json("/t"), r#"{"nlp" : 1 ,"t":"x","nlp":{"a":[]}}"#);
    assert_eq!(got, format!(r#"{{"nlp" : {RESULT} ,"t":"x","nlp":{RESULT}}}"#));
}

#[test]
fn an_envelope_holds_the_whole_text() {
    let output = output(OutputMode::Envelope);
    assert_eq!(
        enriched(&output, Format::Text, "a \"b\"\n"),
        format!(r#"{{"text":"a \"b\"\n","nlp":{RESULT}}}"#)
    );
    let enricher = enricher(&output, true);
    let value = emit(&enricher, document(&output, json("/t"), 4, r#"{"t":"żółw"}"#)).value.unwrap();
    let value: Value = serde_json::from_slice(&value).unwrap();
    assert_eq!(value["text"], "żółw");
    assert_eq!(value["nlp"]["text_bytes"], serde_json::json!({"used": 4, "seen": 7}));
}

#[test]
fn headers_leave_the_value_alone() {
    let output = Output { source_headers: true, ..output(OutputMode::Headers) };
    let enricher = enricher(&output, true);
    let emit = emit(&enricher, document(&output, Format::Text, 99, "x"));
    assert_eq!(emit.value, None);
    let expected = [
        ("nlp", RESULT),
        ("nlp.label", "positive"),
        ("nlp.score", "0.7"),
        ("squeezeflow.source.topic", "reviews"),
        ("squeezeflow.source.partition", "7"),
        ("squeezeflow.source.offset", "42"),
    ];
    assert_eq!(emit.headers, expected.map(|(name, value)| Header::new(name, value)));
    let label = LabelOf { result: None, label: "positive".to_owned(), score: 0.7 };
    assert_eq!((emit.labels, emit.timestamp), (vec![label], Timestamp(Some(5))));
}

#[test]
fn all_scores_in_the_order_of_the_labels_and_no_quiet_promises() {
    let output = Output { scores: true, ..output(OutputMode::Splice) };
    let enricher = enricher(&output, false);
    let value = emit(&enricher, document(&output, json("/t"), 99, r#"{"t":"x"}"#)).value.unwrap();
    let value = String::from_utf8(value).unwrap();
    assert!(value.contains(r#""scores":{"negative":0.1,"neutral":0.2,"positive":0.7},"#), "{value}");
    assert!(value.contains(r#""batch_invariant":false,"#), "{value}");
    assert!(serde_json::from_str::<Value>(&value).is_ok(), "{value}");
}

fn head(document: Document, amount: Amount, of_text: &[usize]) -> Head {
    let note = |of_text: &usize| Note { length: of_text + 2, of_text: *of_text, ..Note::default() };
    Head { document, streams: vec![Ok(StreamHead { amount, notes: of_text.iter().map(note).collect() })] }
}

fn joined(answers: Vec<(Result<Logits, InferError>, usize)>, windows: usize) -> Joined {
    let document = document(&output(OutputMode::Splice), json("/t"), 99, r#"{"t":"x"}"#);
    let (answers, of_text): (Vec<_>, Vec<usize>) = answers.into_iter().unzip();
    let (tokens, windows_read) = (TokenCount { used: 40, seen: 90 }, answers.len());
    let amount = Amount { tokens, windows, windows_read, masked: 0 };
    Joined { head: head(document, amount, &of_text), answers }
}

fn logits(scores: [f32; 3]) -> Result<Logits, InferError> {
    Ok(Logits { logits: scores.to_vec() })
}

#[test]
fn windows_are_weighed_and_receipted() {
    let output = output(OutputMode::Splice);
    let enricher = Enricher::new(vec![sentiment(&output, Combine::Mean, receipt(true))], &output);
    let answers = vec![(logits([0.0, 0.0, 9.0]), 18), (logits([9.0, 0.0, 0.0]), 20)];
    let Outcome::Enriched { emit, .. } = enricher.outcome(joined(answers, 5)) else { panic!() };
    assert_eq!(emit.labels[0].label, "negative", "the longer one weighs more");
    let value: Value = serde_json::from_slice(&emit.value.unwrap()).unwrap();
    assert_eq!(value["nlp"]["windows"], serde_json::json!({"used": 2, "seen": 5}));
    assert_eq!(value["nlp"]["tokens"], serde_json::json!({"used": 40, "seen": 90}));
    assert_eq!(value["nlp"]["truncated"], true);
}

#[test]
fn one_window_that_fails_makes_a_dead_letter_of_the_whole() {
    let enricher = enricher(&output(OutputMode::Splice), true);
    let failed = || Err(InferError::Run("Gather".into()));
    for (answer, reason) in
        [(failed(), Reason::InferenceFailed), (logits([f32::NAN; 3]), Reason::NonFiniteOutput)]
    {
        let answers = vec![(logits([0.0; 3]), 1), (answer, 1)];
        match enricher.outcome(joined(answers, 2)) {
            Outcome::DeadLetter { letter, .. } => assert_eq!(letter.reason, reason),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_not_sure_is_called_so_and_each_label_goes_its_way() {
    let routed = Output {
        uncertain: Some(Uncertain { below: 0.6, label: "uncertain".to_owned() }),
        route: [("negative", "urgent"), ("uncertain", "unsure")]
            .map(|(label, topic)| (label.to_owned(), topic.to_owned()))
            .into(),
        ..output(OutputMode::Splice)
    };
    let enricher = enricher(&routed, true);
    for (scores, label, topic, best) in [
        ([9.0, 0.0, 0.0], "negative", Some("urgent"), None),
        ([0.0, 0.0, 9.0], "positive", None, None),
        ([0.0, 0.0, 0.1], "uncertain", Some("unsure"), Some("positive")),
    ] {
        let Outcome::Enriched { emit, .. } = enricher.outcome(joined(vec![(logits(scores), 1)], 1)) else {
            panic!()
        };
        assert_eq!((emit.labels[0].label.as_str(), emit.topic.as_deref()), (label, topic));
        let value: Value = serde_json::from_slice(&emit.value.unwrap()).unwrap();
        assert_eq!((value["nlp"]["label"].as_str(), value["nlp"]["best"].as_str()), (Some(label), best));
    }
}

/// White space that JSON allows.
fn space() -> impl Strategy<Value = String> {
    "[ \\t\\r\\n]{0,3}"
}

/// A JSON value as it may be written, not as a writer of ours would write it.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "12345678901234567890",
            "1.10",
            "1e999",
            "-0",
            "0.1E+5",
            "null",
            "true",
            "\"\"",
            "{}",
            "[ ]",
            r#""\ud800""#,
            r#""A\/""#,
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|s| quoted(&s)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let list = prop::collection::vec((inner.clone(), space()), 0..4)
            .prop_map(|items| items.into_iter().map(|(v, s)| s + &v).collect::<Vec<_>>().join(","));
        let map = prop::collection::vec(("[a-c]|nlp|t", inner, space()), 0..4).prop_map(|m| {
            m.into_iter().map(|(k, v, s)| format!("{s}\"{k}\"{s}:{v}")).collect::<Vec<_>>().join(",")
        });
        prop_oneof![
            (list, space()).prop_map(|(l, s)| format!("[{l}{s}]")),
            (map, space()).prop_map(|(m, s)| format!("{{{m}{s}}}")),
        ]
    })
}

/// Keys and values of an object, with a text at the end, as they are written.
fn object(key: &'static str) -> impl Strategy<Value = (String, Vec<(String, String)>)> {
    let member = (key, value(), space(), space());
    (prop::collection::vec(member, 0..6), space(), space(), space()).prop_map(|(mut members, a, b, c)| {
        members.push(("t".to_owned(), "\"some text\"".to_owned(), b.clone(), a.clone()));
        let inside: Vec<String> =
            members.iter().map(|(k, v, s, z)| format!("{s}{}{z}:{s}{v}{z}", quoted(k))).collect();
        let pairs = members.iter().map(|(k, v, ..)| (k.clone(), v.clone())).collect();
        (format!("{a}{{{}{b}}}{c}", inside.join(",")), pairs)
    })
}

/// The members of a written object, by a walk of its own.
fn members(json: &str) -> Vec<(String, String)> {
    use serde::de::{Deserializer, MapAccess, Visitor};
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some((k, v)) = map.next_entry::<String, Box<serde_json::value::RawValue>>()? {
                pairs.push((k, v.get().to_owned()));
            }
            Ok(pairs)
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_map(Pairs).unwrap()
}

proptest! {
    #[test]
    fn a_splice_changes_no_other_byte((old, mut pairs) in object("[a-d\\\\\"é]{0,2}")) {
        let new = enriched(&output(OutputMode::Splice), json("/t"), &old);
        let brace = old.rfind('}').unwrap();
        let added = new.len() - old.len();
        prop_assert_eq!(&new[..brace], &old[..brace]);
        prop_assert_eq!(&new[brace + added..], &old[brace..]);
        prop_assert_eq!(&new[brace..brace + added], format!(",\"nlp\":{RESULT}"));
        pairs.push(("nlp".to_owned(), RESULT.to_owned()));
        prop_assert_eq!(members(&new), pairs);
    }

    #[test]
    fn a_replacement_touches_the_values_of_its_field_only((old, pairs) in object("nlp|[a-d]")) {
        let new = enriched(&output(OutputMode::Splice), json("/t"), &old);
        let had = pairs.iter().any(|(k, _)| k == "nlp");
        let mut expected: Vec<(String, String)> = pairs
            .into_iter()
            .map(|(k, v)| if k == "nlp" { (k, RESULT.to_owned()) } else { (k, v) })
            .collect();
        if !had {
            expected.push(("nlp".to_owned(), RESULT.to_owned()));
        }
        prop_assert_eq!(members(&new), expected);
        // Between the values everything is as it was: put the old ones back and compare.
        if had {
            let mut back = new.clone();
            for (_, old_value) in members(&old).into_iter().filter(|(k, _)| k == "nlp") {
                back = back.replacen(RESULT, &old_value, 1);
            }
            prop_assert_eq!(back, old);
        }
    }

    #[test]
    fn scores_read_back_as_they_were(score in any::<f32>().prop_filter("finite", |s| s.is_finite())) {
        prop_assert_eq!(number(score).parse::<f32>().unwrap(), score);
        prop_assert!(number(score).len() <= 16, "{}", number(score));
    }
}

/// Hides the first word, or has no answer.
struct HidesFirst {
    fails: bool,
    needs_all: bool,
}

impl Task for HidesFirst {
    fn reads(&self) -> Reads {
        Reads::Logits { labels: 1 }
    }

    fn needs_all(&self) -> bool {
        self.needs_all
    }

    fn predict(&self, seen: &Seen<'_>, _: &[&[f32]]) -> Result<Prediction, NoAnswer> {
        if self.fails {
            return Err(NoAnswer::NotFinite);
        }
        let end = seen.text.find(' ').unwrap_or(seen.text.len());
        let redactions = vec![(0..end, "[NAME]".to_owned())];
        Ok(Prediction { json: r#""entities":[]"#.to_owned(), redactions, ..Prediction::default() })
    }
}

fn hides(name: Option<&str>, fails: bool, required: bool) -> ResultTask {
    ResultTask {
        name: name.map(str::to_owned),
        task: Arc::new(HidesFirst { fails, needs_all: false }),
        required,
        ..sentiment(&output(OutputMode::Splice), Combine::First, receipt(true))
    }
}

/// With where its text stands.
fn redactable(output: &Output, format: Format, value: &str) -> Document {
    let record =
        Record { value: Some(value.as_bytes().to_vec()), ..document(output, Format::Text, 99, "x").record };
    let input = Input::new(&[], format);
    match Decoder::new(&input, output).keeping_sources(true).decode(record) {
        Ok(Decoded::Document(document)) => document,
        other => panic!("{other:?}"),
    }
}

/// These pieces, and nothing between them.
fn template(pointers: &[&str]) -> Format {
    let parts = pointers.iter().map(|pointer| TemplatePart::Pointer((*pointer).to_owned()));
    Format::Json(TextSelector::Template(parts.collect()))
}

#[test]
fn what_is_hidden_is_hidden_wherever_the_text_is_written_and_nothing_else_changes() {
    let hidden = |mode: OutputMode, format: Format, value: &str| {
        let output = output(mode);
        let document = redactable(&output, format, value);
        let enricher = Enricher::new(vec![hides(None, false, true)], &output);
        let answers = vec![Ok(Logits { logits: vec![0.0] })];
        match enricher.outcome(Joined { head: head(document, AMOUNT, &[8]), answers }) {
            Outcome::Enriched { emit, .. } => String::from_utf8(emit.value.unwrap()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let value = hidden(OutputMode::Splice, json("/t"), r#"{"n":1.10,"t":"Zo\u00eb \"x\"" ,"u":"Zoe"}"#);
    assert!(
        value.starts_with(r#"{"n":1.10,"t":"[NAME] \"x\"" ,"u":"Zoe","nlp":{"entities":[],"model""#),
        "{value}"
    );
    let value = hidden(OutputMode::Splice, template(&["/a", "/b"]), r#"{"b":"n Lee","a":"An"}"#);
    assert!(value.starts_with(r#"{"b":"[NAME] Lee","a":"[NAME]","nlp""#), "{value}");
    assert_eq!(hidden(OutputMode::Headers, Format::Text, "\u{feff}Ann is in"), "\u{feff}[NAME] is in");
    assert!(
        hidden(OutputMode::Envelope, Format::Text, "Ann is in")
            .starts_with(r#"{"text":"[NAME] is in","nlp""#)
    );
}

/// What comes out of a pipeline that hides what has these forms.
fn without(forms: &[Mask], mode: OutputMode, input: &Input, value: &str) -> Emit {
    let output = Output { redact: forms.to_vec(), ..output(mode) };
    let decoder = Decoder::new(input, &output).keeping_sources(true);
    let record =
        Record { value: Some(value.as_bytes().to_vec()), ..document(&output, Format::Text, 99, "x").record };
    match decoder.decode(record) {
        Ok(Decoded::Document(document)) => emit(&enricher(&output, true), document),
        other => panic!("{other:?}"),
    }
}

fn value_of(emit: Emit) -> String {
    String::from_utf8(emit.value.unwrap()).unwrap()
}

#[test]
fn forms_are_hidden_in_each_mode() {
    let ips = |mode, input: &Input, value: &str| without(&[Mask::Ips], mode, input, value);
    let (raw, of_json) = (Input::new(&[], Format::Text), Input::new(&[], json("/t")));
    let given = r#"{"n":1.10,"t":"client:10.0.0.7 \u00e9" ,"u":"10.0.0.7"}"#;
    assert_eq!(
        value_of(ips(OutputMode::Splice, &of_json, given)),
        format!(r#"{{"n":1.10,"t":"client:[ip] é" ,"u":"10.0.0.7","nlp":{RESULT}}}"#)
    );
    assert_eq!(
        value_of(ips(OutputMode::Envelope, &of_json, given)),
        format!(r#"{{"text":"client:[ip] é","nlp":{RESULT}}}"#)
    );
    assert_eq!(
        value_of(ips(OutputMode::Headers, &of_json, given)),
        r#"{"n":1.10,"t":"client:[ip] é" ,"u":"10.0.0.7"}"#
    );
    let line = "\u{feff}from 10.0.0.7 to ::1";
    let enveloped = format!(r#"{{"text":"from [ip] to [ip]","nlp":{RESULT}}}"#);
    assert_eq!(value_of(ips(OutputMode::Envelope, &raw, line)), enveloped);
    let in_headers = ips(OutputMode::Headers, &raw, line);
    assert_eq!(in_headers.headers.first(), Some(&Header::new("nlp", RESULT)));
    assert_eq!(value_of(in_headers), "\u{feff}from [ip] to [ip]");
    // What has nothing to hide is not written anew.
    let escaped = r#"{"t":"\u0061"}"#;
    assert_eq!(ips(OutputMode::Headers, &of_json, escaped).value, None);
    // Nor is the beginning of a form a way out of it, where the text was cut within one.
    let cut = Input { max_text_bytes: NonZeroUsize::new(12).unwrap(), ..raw };
    let whole = value_of(ips(OutputMode::Envelope, &cut, "from 10.0.0.7 on"));
    assert!(whole.starts_with(r#"{"text":"from [ip] on","nlp""#), "{whole}");
}

#[test]
fn the_second_text_of_a_pair_is_hidden_too() {
    let pair = |second: &str, value: &str| {
        let input = Input { pair: Some(second.to_owned()), ..Input::new(&[], json("/q")) };
        value_of(without(&[Mask::Ips], OutputMode::Splice, &input, value))
    };
    assert_eq!(
        pair("/a", r#"{"a":"it is 10.0.0.7","q":"10.0.0.1?"}"#),
        format!(r#"{{"a":"it is [ip]","q":"[ip]?","nlp":{RESULT}}}"#)
    );
    assert_eq!(pair("/q", r#"{"q":"10.0.0.1?"}"#), format!(r#"{{"q":"[ip]?","nlp":{RESULT}}}"#));
    // What a result hides of the first is not looked for at the same place of the second.
    let output = output(OutputMode::Splice);
    let input = Input { pair: Some("/a".to_owned()), ..Input::new(&[], json("/q")) };
    let decoder = Decoder::new(&input, &output).keeping_sources(true);
    let record = document(&output, Format::Text, 99, r#"{"q":"Ann who?","a":"The one"}"#).record;
    let Ok(Decoded::Document(document)) = decoder.decode(record) else { panic!() };
    let enricher = Enricher::new(vec![hides(None, false, true)], &output);
    let answers = vec![Ok(Logits { logits: vec![0.0] })];
    let Outcome::Enriched { emit, .. } =
        enricher.outcome(Joined { head: head(document, AMOUNT, &[8]), answers })
    else {
        panic!()
    };
    let value = value_of(emit);
    assert!(value.starts_with(r#"{"q":"[NAME] who?","a":"The one","nlp""#), "{value}");
}

#[test]
fn a_text_in_the_old_result_goes_with_it() {
    let hidden = |pointer: &str, value: &str| {
        value_of(without(&[Mask::Ips], OutputMode::Splice, &Input::new(&[], json(pointer)), value))
    };
    assert_eq!(hidden("/nlp", r#"{"nlp":"at 10.0.0.7","n":1}"#), format!(r#"{{"nlp":{RESULT},"n":1}}"#));
    assert_eq!(
        hidden("/nlp/text", r#"{"nlp":{"text":"at 10.0.0.7","n":1}}"#),
        format!(r#"{{"nlp":{RESULT}}}"#)
    );
    assert_eq!(
        hidden("/t", r#"{"nlp":1,"t":"at 10.0.0.7","nlp":2}"#),
        format!(r#"{{"nlp":{RESULT},"t":"at [ip]","nlp":{RESULT}}}"#)
    );
}

#[test]
fn a_string_that_a_template_names_twice_is_written_once() {
    let input = Input::new(&[], template(&["/t", "/u", "/t"]));
    let value =
        value_of(without(&[Mask::Ips], OutputMode::Splice, &input, r#"{"t":"at 10.0.0.7 ","u":"::1"}"#));
    assert_eq!(value, format!(r#"{{"t":"at [ip] ","u":"[ip]","nlp":{RESULT}}}"#));
    // What is found in one of the two is hidden.
    let output = output(OutputMode::Headers);
    let document = redactable(&output, template(&["/t", "/u", "/t"]), r#"{"t":"Ann","u":" "}"#);
    let enricher = Enricher::new(vec![hides(None, false, true)], &output);
    let answers = vec![Ok(Logits { logits: vec![0.0] })];
    let outcome = enricher.outcome(Joined { head: head(document, AMOUNT, &[8]), answers });
    let Outcome::Enriched { emit, .. } = outcome else { panic!() };
    assert_eq!(value_of(emit), r#"{"t":"[NAME]","u":" "}"#);
}

/// Quotes some bytes of the text, as words of its own.
struct Tells(Vec<(Range<usize>, &'static str)>);

impl Task for Tells {
    fn reads(&self) -> Reads {
        Reads::Logits { labels: 1 }
    }

    fn predict(&self, _: &Seen<'_>, _: &[&[f32]]) -> Result<Prediction, NoAnswer> {
        let mut prediction = Prediction { json: r#""told":["#.to_owned(), ..Prediction::default() };
        for (place, (text, words)) in self.0.iter().enumerate() {
            prediction.json += if place > 0 { "," } else { "" };
            let start = prediction.json.len();
            prediction.json += &quoted(words);
            let json = start..prediction.json.len();
            prediction.quotes.push(Quote { json, text: text.clone() });
        }
        prediction.json.push(']');
        Ok(prediction)
    }
}

#[test]
fn no_result_tells_what_is_hidden_in_the_text() {
    let output = Output { redact: vec![Mask::Ips], ..output(OutputMode::Headers) };
    let text = "Ann: 10.0.0.7:80, \"é\" 10.0.0.8";
    let told = Tells(vec![
        (0..3, "ann"),
        (0..16, "ann : 10. 0. 0. 7 : 80"),
        (8..11, "0.0"),
        (16..22, ", \"é\""),
        (18..31, "\"é\" 10. 0. 0. 8"),
        (6..6, "0"),
    ]);
    let of = |name: &str, stream, task: Arc<dyn Task>| ResultTask {
        name: Some(name.to_owned()),
        task,
        stream,
        ..hides(None, false, true)
    };
    let tells = of("tells", 0, Arc::new(told));
    let first = of("first", 1, Arc::new(HidesFirst { fails: false, needs_all: false }));
    let enricher = Enricher::new(vec![tells, first], &output);
    let mut all = head(redactable(&output, Format::Text, text), AMOUNT, &[8]);
    all.streams.push(Ok(StreamHead { amount: AMOUNT, notes: vec![Note { length: 10, ..Note::default() }] }));
    let answers = vec![Ok(Logits { logits: vec![0.0] }), Ok(Logits { logits: vec![0.0] })];
    let Outcome::Enriched { emit, .. } = enricher.outcome(Joined { head: all, answers }) else { panic!() };
    let told: Value = serde_json::from_slice(emit.headers[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(
        told["told"],
        serde_json::json!(["[NAME]", "[NAME] [ip]", "[ip]", ", \"é\"", "\"é\" [ip]", "[ip]"]),
        "also what another result hides"
    );
    assert_eq!(value_of(emit), "[NAME] [ip], \"é\" [ip]");
}

proptest! {
    /// Whatever the object, and wherever in it the text is: what comes out is JSON, the strings that were read have
    /// no address any more, nor has the result, and every other member is as it was.
    #[test]
    fn hiding_breaks_nothing(
        members in prop::collection::vec(("[a-c]|nlp", "[a-z \\\\\"é]{0,9}", any::<bool>()), 1..6),
        named in prop::collection::vec(0usize..6, 1..4),
        pair in prop::option::of(0usize..6),
    ) {
        let members: BTreeMap<String, String> = members
            .into_iter()
            .map(|(key, words, has)| (key, format!("x{words}{}", if has { " 10.0.0.7 " } else { "" })))
            .collect();
        let old = serde_json::to_string(&members).unwrap();
        let keys: Vec<String> = members.keys().map(|key| format!("/{key}")).collect();
        let pointers: Vec<&str> = named.iter().map(|i| keys[i % keys.len()].as_str()).collect();
        let pair = pair.map(|i| keys[i % keys.len()].clone());
        let read = |key: &String| {
            let pointer = format!("/{key}");
            pointers.contains(&pointer.as_str()) || pair.as_ref() == Some(&pointer)
        };
        let input = Input { pair: pair.clone(), ..Input::new(&[], template(&pointers)) };
        let new = value_of(without(&[Mask::Ips], OutputMode::Splice, &input, &old));
        let after: BTreeMap<String, Value> = serde_json::from_str(&new).unwrap();
        prop_assert_eq!(&after["nlp"], &serde_json::from_str::<Value>(RESULT).unwrap());
        prop_assert_eq!(after.len(), members.len() + usize::from(!members.contains_key("nlp")));
        for (key, was) in members.iter().filter(|(key, _)| *key != "nlp") {
            let expected = if read(key) { was.replace("10.0.0.7", "[ip]") } else { was.clone() };
            prop_assert_eq!(&after[key], &Value::from(expected), "{}", &new);
        }
    }
}

#[test]
fn of_several_results_each_has_its_name_and_its_own_rule() {
    let output =
        Output { route: [("positive".to_owned(), "good".to_owned())].into(), ..output(OutputMode::Splice) };
    let outcome = |entities_fail: bool, required: bool| {
        let entities = ResultTask { stream: 1, ..hides(Some("entities"), entities_fail, required) };
        let mood =
            ResultTask { name: Some("mood".to_owned()), ..sentiment(&output, Combine::First, receipt(true)) };
        let enricher = Enricher::new(vec![entities, mood], &output);
        let document = redactable(&output, json("/t"), r#"{"t":"Ann is happy"}"#);
        let mut all = head(document, AMOUNT, &[8]);
        all.streams
            .push(Ok(StreamHead { amount: AMOUNT, notes: vec![Note { length: 10, ..Note::default() }] }));
        let answers = vec![logits([0.0, 0.0, 9.0]), Ok(Logits { logits: vec![0.0] })];
        enricher.outcome(Joined { head: all, answers })
    };
    let Outcome::Enriched { emit, .. } = outcome(false, true) else { panic!() };
    assert_eq!((emit.topic.as_deref(), emit.labels.len()), (Some("good"), 1));
    assert_eq!(emit.labels[0].result.as_deref(), Some("mood"));
    let value: Value = serde_json::from_slice(&emit.value.unwrap()).unwrap();
    assert_eq!(value["t"], "[NAME] is happy");
    assert_eq!(
        (&value["nlp"]["mood"]["label"], &value["nlp"]["entities"]["entities"]),
        (&"positive".into(), &serde_json::json!([]))
    );

    let Outcome::Enriched { emit, .. } = outcome(true, false) else { panic!("the others stand") };
    let value: Value = serde_json::from_slice(&emit.value.unwrap()).unwrap();
    assert_eq!(value["nlp"]["entities"]["error"]["reason"], "non_finite_output");
    assert_eq!(value["nlp"]["mood"]["label"], "positive");

    let Outcome::DeadLetter { letter, .. } = outcome(true, true) else { panic!("it is required") };
    assert_eq!(letter.reason, Reason::NonFiniteOutput);
}

/// Of two that read the same, the one that makes do with a part has it.
#[test]
fn what_needs_the_whole_text_fails_by_itself_where_it_is_not_read_whole() {
    let output = output(OutputMode::Splice);
    let outcome = |required: bool, most: usize, tokens: TokenCount| {
        let task = Arc::new(HidesFirst { fails: false, needs_all: true });
        let whole = ResultTask { task, ..hides(Some("whole"), false, required) };
        let enricher = Enricher::new(vec![whole, hides(Some("part"), false, true)], &output);
        let mut document = redactable(&output, json("/t"), r#"{"t":"Ann is in"}"#);
        document.text.truncate(most);
        let head = head(document, Amount { tokens, ..AMOUNT }, &[8]);
        enricher.outcome(Joined { head, answers: vec![Ok(Logits { logits: vec![0.0] })] })
    };
    let all = TokenCount { used: 9, seen: 9 };
    let reason = |outcome: Outcome| {
        let Outcome::Enriched { emit, .. } = outcome else { panic!("{outcome:?}") };
        let value: Value = serde_json::from_slice(&emit.value.unwrap()).unwrap();
        assert!(value["nlp"]["part"]["entities"].is_array(), "{value}");
        value["nlp"]["whole"]["error"]["reason"].as_str().map(str::to_owned)
    };
    assert_eq!(reason(outcome(false, 99, all)), None);
    let too_long = Some("text_too_long".to_owned());
    assert_eq!(reason(outcome(false, 99, AMOUNT.tokens)), too_long, "of its tokens");
    assert_eq!(reason(outcome(false, 3, all)), too_long, "of its bytes");
    let Outcome::DeadLetter { letter, .. } = outcome(true, 99, AMOUNT.tokens) else {
        panic!("it is required")
    };
    assert_eq!((letter.reason, letter.stage), (Reason::TextTooLong, Stage::Tokenize));
}

#[test]
fn the_topic_goes_by_the_result_that_is_named() {
    let routed = Output {
        route: [("positive", "good"), ("negative", "bad")]
            .map(|(label, topic)| (label.to_owned(), topic.to_owned()))
            .into(),
        ..output(OutputMode::Splice)
    };
    let topic = |route_by: Option<&str>| {
        let output = Output { route_by: route_by.map(str::to_owned), ..routed.clone() };
        let of = |name: &str, stream| ResultTask {
            name: Some(name.to_owned()),
            stream,
            ..sentiment(&output, Combine::First, receipt(true))
        };
        let enricher = Enricher::new(vec![of("a", 0), of("b", 1)], &output);
        let mut all = head(document(&output, json("/t"), 99, r#"{"t":"x"}"#), AMOUNT, &[8]);
        all.streams
            .push(Ok(StreamHead { amount: AMOUNT, notes: vec![Note { length: 10, ..Note::default() }] }));
        let answers = vec![logits([9.0, 0.0, 0.0]), logits([0.0, 0.0, 9.0])];
        match enricher.outcome(Joined { head: all, answers }) {
            Outcome::Enriched { emit, .. } => emit.topic.map(|topic| topic.to_string()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(topic(None).as_deref(), Some("bad"), "the first that has labels");
    assert_eq!(topic(Some("b")).as_deref(), Some("good"));
}
