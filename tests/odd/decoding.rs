//! The body of a fuzz target: any bytes through decoder and enricher, by every setting that changes
//! how a value is read. Shared by `fuzz/` and by `make test`, so it uses the crate from outside and
//! judges by means of its own: serde_json, and bytes compared with bytes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use squeezeflow::batch::{Head, StreamHead};
use squeezeflow::config::settings::{
    Combine, Format, OnExisting, OutputMode, Settings, TemplatePart, TextSelector,
};
use squeezeflow::config::{Overrides, load};
use squeezeflow::enrich::Enricher;
use squeezeflow::join::Joined;
use squeezeflow::model::tasks::{Activation, TextClassification};
use squeezeflow::model::{Output, Receipt};
use squeezeflow::record::{Header, Offset, Outcome, Record, Timestamp};
use squeezeflow::results::ResultTask;
use squeezeflow::text::{Amount, Decoded, Decoder, Masker, Note, TokenCount};

/// `input:` and `output:` of each way to read and write. The first byte of a case says which.
const WAYS: [&str; 19] = [
    "input: {topics: [t]}",
    "input: {topics: [t]}\noutput: {on_existing: replace}",
    "input: {topics: [t]}\noutput: {on_existing: keep}",
    "input: {topics: [t], text: /a/0/text}\noutput: {on_existing: replace, scores: true}",
    "input: {topics: [t], text: '{/title}. {/text}'}\noutput: {on_existing: replace}",
    "input: {topics: [t], max_text_bytes: 20}\noutput: {mode: envelope}",
    "input: {topics: [t], text: /0, max_text_bytes: 5}\noutput: {mode: headers}",
    "input: {topics: [t], format: text}\noutput: {mode: envelope}",
    "input: {topics: [t], format: text, max_text_bytes: 5}\noutput: {mode: headers, on_existing: replace}",
    "input: {topics: [t], text: /nlp, max_text_bytes: 7}\noutput: {on_existing: replace}",
    "input: {topics: [t], on_empty: pass-through, on_missing_text: pass-through}",
    "input: {topics: [t], long_text: dead-letter, max_text_bytes: 9, when: {field: /a, not_in: [1, x]}}",
    "input: {topics: [t], when: {header: h, exists: true}, text: /text/0}\noutput: {below: 0.9}",
    "input: {topics: [t]}\noutput: {on_existing: replace, redact: [numbers, ips]}",
    "input: {topics: [t], text: /nlp}\noutput: {on_existing: replace, redact: [numbers]}",
    "input: {topics: [t], text: '{/text} {/nlp/text}', pair: /text}\noutput: {on_existing: replace, redact: [numbers]}",
    "input: {topics: [t], text: '{/title}. {/text} {/title}', max_text_bytes: 9}\noutput: {mode: headers, redact: [numbers, paths]}",
    "input: {topics: [t], format: text, max_text_bytes: 7}\noutput: {mode: envelope, redact: [numbers, hex]}",
    "input: {topics: [t], format: text}\noutput: {mode: headers, redact: [numbers, uuids]}",
];

/// One way, ready to be used.
pub struct Way {
    settings: Settings,
    pub decoder: Decoder,
    enricher: Enricher,
}

/// All of [`WAYS`].
pub static ALL: LazyLock<Vec<Way>> = LazyLock::new(|| WAYS.map(Way::new).into());

impl Way {
    pub fn new(sections: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.yaml");
        std::fs::write(&file, format!("{sections}\nmodel: {{path: x}}\n")).unwrap();
        let settings = load(&file, &Overrides::default()).unwrap_or_else(|e| panic!("{e}")).settings;
        let labels = ["negative", "positive"].map(str::to_owned);
        let task = TextClassification {
            labels: labels.to_vec(),
            activation: Activation::Softmax,
            combine: Combine::First,
            scores: settings.output.scores,
            uncertain: settings.output.uncertain.clone(),
            top: None,
            thresholds: None,
        };
        let receipt = Receipt {
            model: "m".to_owned(),
            digest: format!("sha256:{}", "0".repeat(64)),
            precision: "fp32".to_owned(),
            provider: "cpu",
            batch_invariant: true,
        };
        let result = ResultTask {
            name: None,
            task: Arc::new(task),
            required: true,
            stream: 0,
            before: Vec::new(),
            receipt,
            max_length: 9,
        };
        Self {
            decoder: Decoder::new(&settings.input, &settings.output)
                .keeping_sources(!settings.output.redact.is_empty()),
            enricher: Enricher::new(vec![result], &settings.output),
            settings,
        }
    }
}

/// How a value ended.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Enriched,
    /// Why: the code.
    Passed(&'static str),
    /// The reason's code.
    Dead(&'static str),
}

/// Panics where a promise is broken. The first byte picks the way, the rest is the value.
pub fn decode_and_splice(case: &[u8]) -> Option<End> {
    let (way, value) = case.split_first()?;
    let way = usize::from(way.wrapping_sub(b'a')) % ALL.len();
    Some(judge(&ALL[way], value))
}

/// One value, one way: whatever the bytes, what comes out is what was promised of it.
pub fn judge(way: &Way, value: &[u8]) -> End {
    let before = record(value);
    match way.decoder.decode(before.clone()) {
        Err((after, error)) => {
            assert_eq!(after, before, "a dead letter's record is the record");
            let letter = error.letter();
            assert_says_nothing_of_the_value(&letter.message, value.len());
            End::Dead(letter.reason.as_str())
        }
        Ok(Decoded::PassThrough(after, why)) => {
            assert_eq!(after, before, "what passes is as it came");
            End::Passed(why.as_str())
        }
        Ok(Decoded::Document(document)) => {
            assert_eq!(document.record, before, "a document's record is the record");
            assert_text(way, value, &document.text, document.text_bytes_seen);
            let (text, cut) = (document.text.clone(), document.text.len() < document.text_bytes_seen);
            let tokens = TokenCount { used: 4, seen: 4 };
            let amount = Amount { tokens, windows: 1, windows_read: 1, masked: 0 };
            let notes = vec![Note { length: 4, of_text: 2, ..Note::default() }];
            let head = Head { document, streams: vec![Ok(StreamHead { amount, notes })] };
            let joined = Joined { head, answers: vec![Ok(Output { logits: vec![0.0, 1.0] })] };
            let Outcome::Enriched { record, emit } = way.enricher.outcome(joined) else {
                panic!("a document with an answer is enriched");
            };
            assert_eq!(record, before, "the record stays with its enriched form");
            let added = match way.settings.output.mode {
                OutputMode::Splice => spliced(way, value, &emit.value.unwrap()),
                OutputMode::Envelope => enveloped(way, value, &text, cut, &emit.value.unwrap()),
                OutputMode::Headers => {
                    let whole = std::str::from_utf8(value).unwrap();
                    let there = written(whole, hidden(way, whole));
                    let changed = (there != whole).then(|| there.into_bytes());
                    assert_eq!(emit.value, changed, "the value is untouched, but for what is hidden");
                    in_headers(way, &emit.headers)
                }
            };
            let result: serde_json::Value = serde_json::from_str(&added).unwrap();
            let label = if way.settings.output.uncertain.is_some() { "uncertain" } else { "positive" };
            assert_eq!((&result["label"], &result["truncated"]), (&label.into(), &cut.into()), "{added}");
            assert_eq!(result.get("text_bytes").is_some(), cut, "a cut text says so: {added}");
            End::Enriched
        }
    }
}

pub fn record(value: &[u8]) -> Record {
    Record {
        topic: "t".into(),
        partition: 3,
        offset: Offset::new(7),
        key: Some(vec![0, 0xff]),
        value: Some(value.to_vec()),
        headers: vec![Header { name: b"h\xff".to_vec(), value: None }],
        timestamp: Timestamp(Some(0)),
    }
}

/// What a parser that knows nothing of us takes for the text.
fn assert_text(way: &Way, value: &[u8], text: &str, seen: usize) {
    let most = way.settings.input.max_text_bytes.get();
    assert!(!text.trim().is_empty() && text.len() <= most && text.len() <= seen);
    let value = std::str::from_utf8(value).unwrap();
    let value = value.strip_prefix('\u{feff}').unwrap_or(value);
    let whole = match &way.settings.input.format {
        Format::Text => value.to_owned(),
        Format::Json(TextSelector::Template(parts)) if !way.settings.output.redact.is_empty() => {
            let Ok(json) = serde_json::from_str::<serde_json::Value>(value) else { return };
            let piece = |part: &TemplatePart| match part {
                TemplatePart::Literal(literal) => literal.clone(),
                TemplatePart::Pointer(pointer) => json.pointer(pointer).unwrap().as_str().unwrap().to_owned(),
            };
            parts.iter().map(piece).collect()
        }
        Format::Json(TextSelector::Pointer(pointer)) => {
            // Too deep for it, or half of a surrogate pair where we do not look.
            let Ok(json) = serde_json::from_str::<serde_json::Value>(value) else { return };
            json.pointer(pointer).and_then(|text| text.as_str()).unwrap().to_owned()
        }
        Format::Json(TextSelector::Template(_)) => {
            let Ok(json) = serde_json::from_str::<serde_json::Value>(value) else { return };
            format!("{}. {}", json["title"].as_str().unwrap(), json["text"].as_str().unwrap())
        }
    };
    assert_eq!(seen, whole.len());
    assert_eq!(text, &whole[..whole.floor_char_boundary(most)]);
}

/// The new value is the old one and a result in it. Returns the result.
fn spliced(way: &Way, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (std::str::from_utf8(old).unwrap(), std::str::from_utf8(new).unwrap());
    let field = &way.settings.output.field;
    let (before, after) = (members(old), members(new));
    let is_ours = |(key, _): &&(&str, &str)| serde_json::from_str::<String>(key).is_ok_and(|k| k == *field);
    let there: Vec<Range<usize>> = before.iter().filter(is_ours).map(|(_, v)| range(old, v)).collect();
    let result = after.iter().rfind(is_ours).expect("the field is there").1;
    let mut edits = hidden(way, old);
    if there.is_empty() {
        let brace = old.rfind('}').unwrap();
        let comma = if before.is_empty() { "" } else { "," };
        edits.push((brace..brace, format!("{comma}{}:{result}", serde_json::json!(field))));
        assert_eq!(after.len(), before.len() + 1);
    } else {
        assert_eq!(way.settings.output.on_existing, OnExisting::Replace);
        // What was in the old result is gone with it.
        edits.retain(|(at, _)| !there.iter().any(|gone| gone.start <= at.start && at.end <= gone.end));
        edits.extend(there.into_iter().map(|at| (at, result.to_owned())));
        assert_eq!(after.len(), before.len());
    }
    assert_eq!(new, written(old, edits), "all else is as it was, byte for byte");
    result.to_owned()
}

fn written(old: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(at, _)| std::cmp::Reverse(at.start));
    let mut new = old.to_owned();
    edits.into_iter().for_each(|(at, with)| new.replace_range(at, &with));
    new
}

/// A text without what the way hides by its form.
fn without(way: &Way, text: &str) -> String {
    let mut edits = Vec::new();
    Masker::new(&way.settings.output.redact).each(text, |at, word| edits.push((at, format!("[{word}]"))));
    written(text, edits)
}

/// Where the value is written otherwise, and how: each string that was read, once.
fn hidden(way: &Way, value: &str) -> Vec<(Range<usize>, String)> {
    if way.settings.output.redact.is_empty() {
        return Vec::new();
    }
    let mut pointers: BTreeSet<&str> = way.settings.input.pair.iter().map(String::as_str).collect();
    match &way.settings.input.format {
        Format::Text => {
            let text = value.strip_prefix('\u{feff}').unwrap_or(value);
            return vec![(range(value, text), without(way, text))];
        }
        Format::Json(TextSelector::Pointer(pointer)) => drop(pointers.insert(pointer)),
        Format::Json(TextSelector::Template(parts)) => {
            pointers.extend(parts.iter().filter_map(|part| match part {
                TemplatePart::Pointer(pointer) => Some(pointer.as_str()),
                TemplatePart::Literal(_) => None,
            }));
        }
    }
    let new = |pointer: &str| {
        let raw = pointer.split('/').skip(1).fold(value, |within, key| {
            let is = |(name, _): &&(&str, &str)| serde_json::from_str::<String>(name).is_ok_and(|n| n == key);
            members(within).iter().rfind(is).expect("it was read").1
        });
        let text: String = serde_json::from_str(raw).unwrap();
        let new = without(way, &text);
        (new != text).then(|| (range(value, raw), serde_json::json!(new).to_string()))
    };
    pointers.into_iter().filter_map(new).collect()
}

fn enveloped(way: &Way, old: &[u8], text: &str, cut: bool, new: &[u8]) -> String {
    let members = members(std::str::from_utf8(new).unwrap());
    let [(first, whole), (second, result)] = members[..] else { panic!("two members, not {members:?}") };
    assert_eq!((first, second), ("\"text\"", &*serde_json::json!(way.settings.output.field).to_string()));
    let whole: String = serde_json::from_str(whole).unwrap();
    if way.settings.output.redact.is_empty() {
        assert!(whole.starts_with(text) && cut == (whole.len() > text.len()));
    } else {
        // Of raw text: it is the value.
        let old = std::str::from_utf8(old).unwrap();
        let old = old.strip_prefix('\u{feff}').unwrap_or(old);
        assert!(old.starts_with(text) && whole == without(way, old));
    }
    result.to_owned()
}

fn in_headers(way: &Way, added: &[Header]) -> String {
    let field = &way.settings.output.field;
    let names: Vec<&[u8]> = added.iter().map(|h| h.name.as_slice()).collect();
    let expected = [field.clone(), format!("{field}.label"), format!("{field}.score")];
    assert_eq!(names, expected.iter().map(String::as_bytes).collect::<Vec<_>>());
    String::from_utf8(added[0].value.clone().unwrap()).unwrap()
}

/// The root object's members as they stand there, keys in quotes.
fn members(json: &str) -> Vec<(&str, &str)> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(&'de str, &'de str)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                pairs.push((key.get(), value.get()));
            }
            Ok(pairs)
        }
    }
    let mut parser = serde_json::Deserializer::from_str(json.strip_prefix('\u{feff}').unwrap_or(json));
    let pairs = parser.deserialize_map(Pairs).unwrap();
    parser.end().unwrap();
    pairs
}

fn range(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// Everything that a message may consist of, besides positions and back-ticks: our words,
/// serde_json's, and the names that the pipeline file gave.
const WORDS: [&str; 47] = [
    "the value is not JSON: ",
    "EOF while parsing a list",
    "EOF while parsing an object",
    "EOF while parsing a string",
    "EOF while parsing a value",
    "expected :",
    "expected , or ]",
    "expected , or }",
    "expected ident",
    "expected value",
    "invalid escape",
    "invalid number",
    "number out of range",
    "invalid unicode code point",
    "control character (\\u-\\uF) found while parsing a string",
    "key must be a string",
    "lone leading surrogate in hex escape",
    "trailing comma",
    "trailing characters",
    "unexpected end of hex escape",
    "unexpected shape",
    " at line  column ",
    "the string at ",
    " (byte ) has an escape that is half of a surrogate pair",
    "the value is ",
    ", not an object: there is no place for a field",
    "the value is not UTF- from byte  on",
    "the value begins like a schema registry's frame (Avro, Protobuf or JSON Schema): unframe it upstream",
    "there is nothing at ",
    "at ",
    " is ",
    ", not a string",
    "the text is empty",
    "the first ",
    " of the text's ",
    " bytes (input.max_text_bytes) are white space only",
    "the text has ",
    " bytes, more than the ",
    " of input.max_text_bytes",
    "the value looks like UTF-, not UTF-: transcode it upstream",
    "the record has nlp already",
    "nlp occurs  times in one object",
    "/a//text",
    "/title",
    "/text",
    "/nlp",
    "/",
];
const KINDS: [&str; 6] = ["an object", "an array", "a string", "a number", "a boolean", "null"];

/// No payload: what is left of a message without our own words is nothing, and no number in it is
/// beyond the value's length.
fn assert_says_nothing_of_the_value(message: &str, length: usize) {
    // Lines, columns and bytes count from 1 or 0; the control characters' range is not a position.
    let positions = message.replace("\\u0000-\\u001F", "").replace("UTF-8", "").replace("UTF-16", "");
    let numbers = positions.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    for number in numbers {
        assert!(number.parse::<usize>().is_ok_and(|n| n <= length + 1), "{number} in: {message}");
    }
    let words: String = message.chars().filter(|c| !c.is_ascii_digit() && *c != '`').collect();
    let mut rest = words.as_str();
    while !rest.is_empty() {
        let known = WORDS.iter().chain(&KINDS).filter(|word| rest.starts_with(**word));
        let longest = known.max_by_key(|word| word.len()).unwrap_or_else(|| {
            panic!("not our words: `{rest}` in: {message}");
        });
        rest = &rest[longest.len()..];
    }
}
