//! Entities and their places. Over windows ours are not Hugging Face's (docs/TASKS.md says why); there each is
//! compared that lies where only one window sees it.

use std::num::NonZeroUsize;

use serde_json::{Value, json};
use squeezeflow::config::settings::{Combine, LongText, Windows};
use squeezeflow::model::Package;
use squeezeflow::text::{Plan, TextTokenizer};

use super::golden::{
    Answer, Line, Table, Text, apart, ask, ask_of, corpus, forms, groups, here, lines, records, refusal,
};

const TASK: &str = "token-classification";

/// Hugging Face's options as ours.
fn task(options: &Value) -> Value {
    let mut ours = json!({ "aggregation": options["aggregation_strategy"] });
    if let Some(ignored) = options.get("ignore_labels") {
        ours["ignore_labels"] = ignored.clone();
    }
    json!({ TASK: ours })
}

fn name(options: &Value) -> String {
    let aggregation = options["aggregation_strategy"].as_str().unwrap();
    match (options.get("ignore_labels"), options.get("stride")) {
        (Some(_), _) => format!("`{aggregation}`, other `ignore_labels`"),
        (None, Some(_)) => format!("`{aggregation}`, windows, away from seams"),
        (None, None) => format!("`{aggregation}`"),
    }
}

/// Hugging Face's entity has our members, but where it cuts a label at its first hyphen.
fn expected(entity: &Value) -> Value {
    let mut entity = entity.clone();
    if entity.get("entity_group").is_some_and(|group| group == "time") {
        entity["entity_group"] = "date-time".into();
    }
    entity
}

/// The largest difference of two entities' scores; all else is the same.
#[track_caller]
fn compare(line: &Line, ours: &Value, theirs: &Value) -> f64 {
    let theirs = expected(theirs);
    for (key, value) in theirs.as_object().unwrap().iter().filter(|(key, _)| *key != "score") {
        assert_eq!(&ours[key], value, "{key} of {ours}, not {theirs}: {line:?}");
    }
    let text = corpus()[&line.input].text.clone();
    let at = |key: &str| ours[key].as_u64().unwrap() as usize;
    let by_characters: String = text.chars().skip(at("start")).take(at("end") - at("start")).collect();
    assert_eq!(text[at("start_byte")..at("end_byte")], by_characters, "bytes and characters");
    apart(&ours["score"], &theirs["score"])
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap().clone()
}

#[test]
fn entities_are_those_of_hugging_face() {
    let mut table = Table::new(TASK);
    let (mut meant, mut nothing, mut away) = (0, 0, 0);
    for group in groups(lines(TASK)) {
        let (package, options) = (group[0].package.clone(), group[0].options.clone());
        let none = options["aggregation_strategy"] == "none";
        let stride = options.get("stride").map(|stride| stride.as_u64().unwrap() as usize);
        if stride.is_some() && none {
            // Refused there; ours takes it, and `no_entity_is_lost_at_a_seam` holds it to the whole text.
            assert!(group.iter().all(|line| line.raises.is_some()));
            continue;
        }
        let more = match stride {
            Some(stride) => {
                json!({ "input": { "long_text": "windows", "stride": stride, "max_windows": 10_000 } })
            }
            None => json!({}),
        };
        for package in forms(&package) {
            let ours = ask(&package, &task(&options), &more, group.iter().map(|line| line.input.as_str()));
            for line in &group {
                assert!(!line.close && line.raises.is_none(), "{line:?}");
                let answer = &ours[&line.input];
                // Of blanks a byte-level tokenizer keeps tokens; ours are refused before that.
                if line.nothing || corpus()[&line.input].text.trim().is_empty() {
                    assert!(matches!(answer, Answer::Refused(_)), "{line:?} {answer:?}");
                    nothing += 1;
                    continue;
                }
                let ours = list(&answer.given()["entities"]);
                meant += usize::from(line.meant.is_some());
                let mut theirs = list(line.meant.as_ref().or(line.answer.as_ref()).unwrap());
                let ours = match stride {
                    Some(stride) => {
                        let apart = Alone::new(&line.package, &line.input, stride);
                        let mut ours = ours;
                        (ours, theirs) = unshared(ours, theirs);
                        ours.retain(|entity| apart.has(entity));
                        theirs.retain(|entity| apart.has(entity));
                        away += ours.len();
                        ours
                    }
                    None => ours,
                };
                assert_eq!(ours.len(), theirs.len(), "{line:?}\n{ours:?}");
                let differences = ours.iter().zip(&theirs).map(|(ours, theirs)| compare(line, ours, theirs));
                let difference = differences.fold(0.0, f64::max);
                table.saw(&name(&options), &package, difference);
            }
        }
    }
    assert!(meant >= 12 && nothing > 50 && away > 500, "{meant} {nothing} {away}");
    table.check();
}

/// Those that share no character with others of ours, and are not empty: over windows Hugging Face makes one of the
/// first kind, and two of the second.
fn unshared(ours: Vec<Value>, theirs: Vec<Value>) -> (Vec<Value>, Vec<Value>) {
    let at = |entity: &Value| (entity["start"].as_u64().unwrap(), entity["end"].as_u64().unwrap());
    let meet = |a: (u64, u64), b: (u64, u64)| a.0 < b.1 && b.0 < a.1;
    let shared = |place: usize, entity: &Value| {
        ours.iter().enumerate().any(|(other, of)| other != place && meet(at(of), at(entity)))
    };
    let of_several: Vec<(u64, u64)> = ours
        .iter()
        .enumerate()
        .filter(|(place, entity)| shared(*place, entity))
        .map(|(_, entity)| at(entity))
        .collect();
    let alone = |entity: &Value| {
        let (start, end) = at(entity);
        start < end && !of_several.iter().any(|other| meet(*other, (start, end)))
    };
    let keep = |all: &[Value]| all.iter().filter(|entity| alone(entity)).cloned().collect();
    (keep(&ours), keep(&theirs))
}

/// The characters of a text that only one window sees, and its neighbours too.
struct Alone(Vec<std::ops::Range<usize>>);

impl Alone {
    fn new(package: &str, input: &str, stride: usize) -> Self {
        let package = Package::open(&here("tests/packages/tasks").join(package)).unwrap();
        let most = NonZeroUsize::new(10_000).unwrap();
        let windows = LongText::Windows(Windows { stride, most, combine: Combine::Mean });
        let tokenizer = TextTokenizer::new(&package, package.max_length, windows).unwrap();
        let text = &corpus()[input].text;
        let encoded = tokenizer.encode(text, true).unwrap();
        let sequences = tokenizer.sequences(encoded, None, &Plan::Text, true).unwrap();
        let characters = |byte: u32| text[..byte as usize].chars().count();
        let mut alone = Vec::new();
        let of_text: Vec<Vec<_>> = sequences
            .notes
            .iter()
            .map(|note| note.spans.iter().filter(|span| span.is_text).collect())
            .collect();
        for (place, tokens) in of_text.iter().enumerate() {
            // Two more than are shared: an entity next to a seam may go on across it.
            let begin = if place == 0 { 0 } else { stride + 2 };
            let end = if place + 1 == of_text.len() {
                tokens.len()
            } else {
                tokens.len().saturating_sub(stride + 2)
            };
            if let Some(own) = tokens.get(begin..end).filter(|own| !own.is_empty()) {
                alone.push(characters(own[0].start)..characters(own[own.len() - 1].end));
            }
        }
        Self(alone)
    }

    fn has(&self, entity: &Value) -> bool {
        let (start, end) =
            (entity["start"].as_u64().unwrap() as usize, entity["end"].as_u64().unwrap() as usize);
        self.0.iter().any(|range| range.start < start && end < range.end)
    }
}

#[test]
fn the_record_is_written_without_what_is_hidden() {
    let hide = json!({ TASK: { "redact": { "PER": "[NAME]" }, "aggregation": "first" } });
    let open = json!({ TASK: { "aggregation": "first" } });
    let (hidden, seen) = ("squeezebert-g2-names", ["plain-01", "names-01", "emoji-01"]);
    let (ours, all) = (ask(hidden, &hide, &json!({}), seen), ask(hidden, &open, &json!({}), seen));
    for id in seen {
        let (ours, all) = (list(&ours[id].given()["entities"]), list(&all[id].given()["entities"]));
        assert!(!ours.is_empty() && ours.len() == all.len());
        for (ours, open) in ours.iter().zip(&all) {
            assert_eq!(ours["redacted"], "[NAME]");
            assert!(ours.get("word").is_none() && open["word"].is_string());
            assert_eq!((&ours["start"], &ours["end"]), (&open["start"], &open["end"]));
        }
    }
    // And the text itself, in each shape.
    for mode in ["splice", "envelope"] {
        let texts = seen.map(|id| corpus()[id].clone());
        let (written, letters) = records(hidden, &hide, &json!({ "output": { "mode": mode } }), &texts);
        assert!(written.len() == texts.len() && letters.is_empty());
        for (record, Text { id, text, .. }) in written.iter().zip(&texts) {
            let expected = named(text, &list(&all[id].given()["entities"]));
            assert!(record["text"] == *expected && expected != *text, "{mode}: {record}");
        }
    }
}

/// The text with `[NAME]` for each entity, and for those that touch.
fn named(text: &str, entities: &[Value]) -> String {
    let (mut out, mut done) = (String::new(), None);
    for entity in entities {
        let at = |key: &str| entity[key].as_u64().unwrap() as usize;
        let (start, end) = (at("start_byte"), at("end_byte"));
        if done != Some(start) {
            out = out + &text[done.unwrap_or(0)..start] + "[NAME]";
        }
        done = Some(end);
    }
    out + &text[done.unwrap_or(0)..]
}

/// The tokenizer's own words for it would tell it in spite of all.
#[test]
fn an_entity_does_not_tell_what_is_hidden() {
    let every_token = json!({ TASK: { "aggregation": "none", "ignore_labels": [] } });
    let text = "Ann is at 10.0.0.7:443 now";
    let hidden = 10..22;
    let found = |more: &Value| {
        let text = Text { id: "a".to_owned(), text: text.to_owned(), text_pair: None };
        list(&ask_of("bert-entities", &every_token, more, &[text])["a"].given()["entities"])
    };
    let (open, ours) = (found(&json!({})), found(&json!({ "output": { "redact": ["ips"] } })));
    assert_eq!(open.len(), ours.len());
    let mut told = 0;
    for (open, ours) in open.iter().zip(&ours) {
        let mut expected = open.clone();
        if hidden.contains(&(open["start_byte"].as_u64().unwrap() as usize)) {
            expected["word"] = "[ip]".into();
            told += 1;
        }
        assert_eq!(*ours, expected);
    }
    assert!(told > 3 && told < open.len(), "{open:?}");
}

/// What lies beyond what the model reads would be left as it is.
#[test]
fn a_text_that_is_not_read_whole_is_not_passed_on_half_hidden() {
    let redact = json!({ TASK: { "redact": "all" } });
    let ids = ["plain-01", "long-01"];
    let cut = ask("bert-entities", &redact, &json!({}), ids);
    assert!(matches!(cut["plain-01"], Answer::Given(_)));
    assert_eq!(cut["long-01"], Answer::Refused("text_too_long".to_owned()));
    let windows = json!({ "input": { "long_text": "windows", "stride": 10 } });
    let whole = ask("bert-entities", &redact, &windows, ids);
    assert!(matches!(whole["long-01"], Answer::Given(_)));
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let refused =
        |package: &str, options: Value, more: Value| refusal(package, &json!({ TASK: options }), &more);
    let error = refused("bert-entities", json!({ "redact": ["NAME"] }), json!({}));
    assert!(error.contains("task.redact: NAME is no group") || error.contains("NAME is no group"), "{error}");
    assert!(error.contains("its groups: LOC, MISC, O, ORG, PER"), "{error}");
    let error = refused("bert-nli", json!({}), json!({}));
    assert!(error.contains("the package's head is sequence classification"), "{error}");
    let error = refused("bert-entities", json!({}), json!({ "input": { "pair": "/text_pair" } }));
    assert!(error.contains("reads one text"), "{error}");
    for wrong in [
        json!({ "aggregation": "last" }),
        json!({ "min_score": 2 }),
        json!({ "redact": "some" }),
        json!({ "redact": [] }),
    ] {
        let error = refused("bert-entities", wrong, json!({}));
        assert!(error.contains("token-classification"), "{error}");
    }
}
