//! Labels that the pipeline brings along.

use serde_json::{Value, json};

use super::golden::{
    Answer, Line, Table, ask, corpus, forms, groups, is_blank, leads, lines, ranked, refusal,
};

const TASK: &str = "zero-shot-classification";

/// Hugging Face's options as ours.
fn task(options: &Value) -> Value {
    let mut ours = json!({
        "labels": options["candidate_labels"], "multi_label": options["multi_label"], "top_k": 1_000
    });
    if let Some(template) = options.get("hypothesis_template") {
        ours["template"] = template.clone();
    }
    json!({ TASK: ours })
}

fn name(options: &Value) -> String {
    let labels = match options["candidate_labels"].as_array().map(Vec::len) {
        Some(1) => "one label",
        Some(3) => "three labels",
        _ => "odd labels",
    };
    let several = if options["multi_label"] == true { ", `multi_label: true`" } else { "" };
    let template = match options.get("hypothesis_template") {
        Some(template) => format!(", `template: {}`", template.as_str().unwrap()),
        None => String::new(),
    };
    format!("{labels}{several}{template}")
}

/// What ours says where it does not take the options: (its words, does Hugging Face refuse them too?).
fn not_taken(options: &Value) -> Option<(&'static str, bool)> {
    let labels = &options["candidate_labels"];
    Some(match options.get("hypothesis_template").and_then(Value::as_str) {
        Some("no place for it") => ("template: has no place for the label", true),
        Some("{} and {}") => ("template: has two places", true),
        _ if labels.is_string() => ("labels: expected", false),
        _ if *labels == json!([]) => ("labels: needs at least 1", true),
        _ if *labels == json!(["work", "work"]) => ("labels[1]: is there twice", false),
        _ if labels[0] == "" => ("labels[0]: must not be empty", false),
        _ if labels[0].as_str().is_some_and(|label| label.len() > 200) => {
            ("leaves no room for the text", true)
        }
        _ => return None,
    })
}

/// Without Hugging Face's fault, where it is at fault.
fn theirs(line: &Line) -> Vec<(String, f64)> {
    let answer = line.meant.as_ref().or(line.answer.as_ref()).unwrap_or_else(|| panic!("{line:?}"));
    let labels = answer["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap().to_owned());
    labels.zip(answer["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap())).collect()
}

#[test]
fn labels_are_those_of_hugging_face() {
    let mut table = Table::new(TASK);
    let (mut nothing, mut meant, mut refused) = (0, 0, 0);
    let corpus = corpus();
    for group in groups(lines(TASK)) {
        let (package, options) = (group[0].package.clone(), group[0].options.clone());
        if let Some((words, theirs_too)) = not_taken(&options) {
            let error = refusal(&package, &task(&options), &json!({}));
            assert!(error.contains(words), "{error}");
            assert!(group.iter().all(|line| line.raises.is_some() == theirs_too), "{group:?}");
            refused += 1;
            continue;
        }
        for package in forms(&package) {
            let ours =
                ask(&package, &task(&options), &json!({}), group.iter().map(|line| line.input.as_str()));
            for line in &group {
                assert!(!line.close, "{line:?}");
                let ours = &ours[&line.input];
                if line.nothing || is_blank(&corpus[&line.input]) {
                    assert!(matches!(ours, Answer::Refused(_)), "{line:?} {ours:?}");
                    nothing += 1;
                    continue;
                }
                let at_fault = line.fault.as_deref() == Some("contradiction-by-place");
                assert_eq!(line.meant.is_some(), at_fault, "{line:?}");
                meant += usize::from(at_fault);
                leads(ours.given(), "top");
                table.saw(&name(&options), &package, ranked(&ours.given()["top"], &theirs(line)));
            }
        }
    }
    assert!(nothing > 50 && meant > 40 && refused == 28, "{nothing} {meant} {refused}");
    table.check();
}

/// Scores stay scores, whatever the labels' lengths make of the windows.
#[test]
fn long_texts_are_read_in_windows() {
    let task =
        json!({ TASK: { "labels": ["work", "a train to Paris and the bad coffee"], "multi_label": true } });
    let said = |combine: &str| {
        let more = json!({
            "input": { "long_text": "windows", "stride": 8, "combine": combine }, "output": { "scores": true }
        });
        ask("bert-nli", &task, &more, ["long-01"])["long-01"].given().clone()
    };
    let [mean, max, first] = ["mean", "max", "first"].map(said);
    assert!(mean["windows"]["used"].as_u64().unwrap() > 2, "{mean}");
    for label in ["work", "a train to Paris and the bad coffee"] {
        let of = |result: &Value| result["scores"][label].as_f64().unwrap();
        assert!(of(&max) > of(&mean) && of(&max) >= of(&first), "{mean} {max} {first}");
    }
}

#[test]
fn a_threshold_and_names_for_the_sides() {
    let of = |options: Value| {
        ask("bert-nli", &json!({ TASK: options }), &json!({}), ["plain-01"])["plain-01"].given().clone()
    };
    let labels = json!(["politics", "travel", "work"]);
    let all = of(json!({ "labels": labels, "multi_label": true, "threshold": 0 }));
    assert_eq!(all["labels"].as_array().unwrap().len(), 3);
    let highest = all["score"].as_f64().unwrap();
    let none = of(json!({ "labels": labels, "multi_label": true, "threshold": highest * 0.5 + 0.5 }));
    assert_eq!((&none["labels"], &none["label"]), (&json!([]), &all["label"]));
    let named = of(json!({ "labels": labels, "multi_label": true, "threshold": 0,
        "entailment": "entailment", "contradiction": "contradiction" }));
    assert_eq!(named["labels"], all["labels"]);
    let neutral =
        of(json!({ "labels": labels, "multi_label": true, "threshold": 0, "contradiction": "neutral" }));
    assert_ne!(neutral["labels"], all["labels"]);
}
