//! Answers to questions, and where they stand.

use serde_json::{Value, json};

use super::golden::{Answer, Line, Table, Text, apart, ask, ask_of, corpus, forms, groups, lines, refusal};

const TASK: &str = "question-answering";

/// Ours have the better name for one option, and no `max_question_len`: nor does Hugging Face look at it.
fn task(options: &Value, questions: &[&str]) -> Value {
    let mut ours = options.clone();
    let map = ours.as_object_mut().unwrap();
    map.remove("max_question_len");
    if let Some(impossible) = map.remove("handle_impossible_answer") {
        map.insert("handle_impossible".to_owned(), impossible);
    }
    let named = questions.iter().enumerate().map(|(n, question)| (format!("q{n}"), json!(question)));
    map.insert("questions".to_owned(), Value::Object(named.collect()));
    json!({ TASK: ours })
}

fn name(options: &Value) -> String {
    let options = options.as_object().unwrap();
    let names: Vec<String> = options.iter().map(|(name, value)| format!("`{name}: {value}`")).collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

/// The differences of scores; all else is the same.
#[track_caller]
fn compare(line: &Line, ours: &Value, theirs: &Value) -> f64 {
    if theirs["answer"] == "" && theirs["start"] == theirs["end"] && theirs["start"] == 0 && ours.is_null() {
        return 0.0;
    }
    assert!(ours.is_object(), "{line:?} {ours}");
    for key in ["answer", "start", "end"] {
        assert_eq!(ours[key], theirs[key], "{key} of {ours}: {line:?}");
    }
    let text = &corpus()[&line.input].text;
    let at = |key: &str| ours[key].as_u64().unwrap() as usize;
    assert_eq!(text[at("start_byte")..at("end_byte")], *ours["answer"].as_str().unwrap());
    apart(&ours["score"], &theirs["score"])
}

#[test]
fn answers_are_those_of_hugging_face() {
    let mut table = Table::new(TASK);
    let (mut unmerged, mut refused, mut nothing) = (0, 0, 0);
    for group in groups(lines(TASK)) {
        let (package, options) = (group[0].package.clone(), group[0].options.clone());
        // One answer a question; and what Hugging Face refuses of options, by tests of their own.
        if options.get("top_k").is_some() || options["max_answer_len"] == 0 || options["doc_stride"] == 24 {
            continue;
        }
        let mut questions: Vec<&str> = group.iter().filter_map(|line| line.question.as_deref()).collect();
        questions.sort_unstable();
        questions.dedup();
        // Those that are none, or leave no room: refused before the first record.
        // Byte-level BPE keeps a blank.
        let none = |question: &str| match package.starts_with("roberta") {
            true => question.is_empty(),
            false => question.trim().is_empty(),
        };
        let (asked, not): (Vec<&str>, Vec<&str>) =
            questions.iter().partition(|question| !none(question) && question.len() < 200);
        for question in not {
            let error = refusal(&package, &task(&options, &[question]), &json!({}));
            assert!(error.contains("questions.q0"), "{error}");
            refused += 1;
        }
        for package in forms(&package) {
            let ids = group.iter().map(|line| line.input.as_str());
            let ours = ask(&package, &task(&options, &asked), &json!({}), ids);
            for line in &group {
                assert!(!line.close, "{line:?}");
                let Some(place) =
                    asked.iter().position(|question| Some(*question) == line.question.as_deref())
                else {
                    continue;
                };
                let theirs = line.unmerged.as_ref().or(line.answer.as_ref());
                let answers = match (&ours[&line.input], theirs) {
                    (Answer::Refused(_), None) => continue,
                    (Answer::Refused(_), Some(theirs)) => {
                        // Blank, or the tokenizer keeps nothing of it.
                        let blank = corpus()[&line.input].text.trim().is_empty();
                        assert!(blank || theirs["answer"] == "", "{line:?}");
                        nothing += 1;
                        continue;
                    }
                    (Answer::Given(value), _) => &value["answers"],
                };
                unmerged += usize::from(line.unmerged.is_some());
                let theirs = theirs.unwrap_or_else(|| panic!("{line:?}"));
                table.saw(&name(&options), &package, compare(line, &answers[format!("q{place}")], theirs));
            }
        }
    }
    assert!(unmerged > 300 && refused > 20 && nothing > 20, "{unmerged} {refused} {nothing}");
    table.check();
}

#[test]
fn an_answer_below_the_threshold_is_none() {
    let asked = |threshold: f64| {
        let options = json!({ TASK: { "questions": { "who": "Who moved?" }, "threshold": threshold } });
        ask("bert-answers", &options, &json!({}), ["plain-01"])["plain-01"].given()["answers"]["who"].clone()
    };
    let all = asked(0.0);
    let score = all["score"].as_f64().unwrap();
    assert_eq!(asked(score * 0.9), all);
    assert_eq!(asked(score * 1.1), Value::Null);
}

/// An answer is a part of the text: what is hidden there is hidden here, and stands where it stood.
#[test]
fn an_answer_does_not_tell_what_is_hidden() {
    let options = json!({ TASK: { "questions": { "where": "Where?" }, "max_answer_len": 40 } });
    let asked = |more: &Value| {
        let text = Text { id: "a".to_owned(), text: "10.0.0.7:443".to_owned(), text_pair: None };
        ask_of("bert-answers", &options, more, &[text])["a"].given()["answers"]["where"].clone()
    };
    let open = asked(&json!({}));
    let mut hidden = asked(&json!({ "output": { "redact": ["ips"] } }));
    // A part of the address, if only its dot.
    assert!("10.0.0.7:443".contains(open["answer"].as_str().unwrap()), "{open}");
    assert_eq!(hidden["answer"], "[ip]");
    hidden["answer"] = open["answer"].clone();
    assert_eq!(hidden, open, "nothing else changes");
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let who = json!({ "who": "Who moved?" });
    for (options, says) in [
        (json!({}), "questions: there is none"),
        (json!({ "questions": who, "max_seq_len": 61 }), "max_seq_len: is more than the 60 tokens"),
        (json!({ "questions": who, "doc_stride": 59 }), "doc_stride: is as much as a window can hold"),
        (json!({ "questions": who, "max_answer_len": 0 }), "max_answer_len"),
        (json!({ "questions": who, "threshold": 1.5 }), "threshold"),
        (json!({ "questions": { "who": "\u{200b}" } }), "questions.who"),
    ] {
        let error = refusal("bert-answers", &json!({ TASK: options }), &json!({}));
        assert!(error.contains(says), "{error}");
    }
    let error = refusal("bert-nli", &json!({ TASK: { "questions": who } }), &json!({}));
    assert!(error.contains("the package's head is sequence classification"), "{error}");
}
