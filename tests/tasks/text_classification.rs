//! Labels, several labels, numbers, and pairs of texts.

use serde_json::{Value, json};

use super::golden::{
    Answer, Line, Table, ask, corpus, forms, groups, is_blank, leads, lines, ranked, refusal,
};

const TASK: &str = "text-classification";
/// More than any package has labels.
const ALL: u64 = 1_000;

/// Hugging Face's options as ours: `top_k: null` is all.
fn task(options: &Value) -> Value {
    let mut ours = json!({ "top_k": options["top_k"].as_u64().unwrap_or(ALL) });
    if let Some(function) = options.get("function_to_apply") {
        ours["function_to_apply"] = function.clone();
    }
    json!({ TASK: ours })
}

fn name(options: &Value, pairs: bool) -> String {
    match (options.get("function_to_apply"), &options["top_k"]) {
        (Some(function), _) => format!("`function_to_apply: {}`", function.as_str().unwrap()),
        (None, _) if pairs => "`input.pair`".to_owned(),
        (None, Value::Null) => "`top_k`: all".to_owned(),
        (None, top) => format!("`top_k: {top}`"),
    }
}

fn theirs(line: &Line) -> Vec<(String, f64)> {
    let answer = line.answer.as_ref().unwrap_or_else(|| panic!("{line:?}")).as_array().unwrap();
    answer
        .iter()
        .map(|one| (one["label"].as_str().unwrap().to_owned(), one["score"].as_f64().unwrap()))
        .collect()
}

#[test]
fn labels_are_those_of_hugging_face() {
    let mut table = Table::new(TASK);
    let (mut refused, mut cut_otherwise, mut several) = (0, 0, 0);
    let corpus = corpus();
    // The pairs of a package have the options of its texts.
    let pair = |line: &Line| corpus[&line.input].text_pair.is_some();
    let (pairs, singles): (Vec<Line>, Vec<Line>) = lines(TASK).into_iter().partition(pair);
    for group in groups(singles).into_iter().chain(groups(pairs)) {
        let (package, options) = (group[0].package.clone(), group[0].options.clone());
        // Ours cuts texts always, and pairs as `true` does (`longest_first`).
        if options.get("truncation") != Some(&Value::Bool(true)) {
            cut_otherwise += group.len();
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
                    refused += 1;
                    continue;
                }
                let ours = ours.given();
                leads(ours, "top");
                let difference = ranked(&ours["top"], &theirs(line));
                table.saw(&name(&options, pair(line)), &package, difference);
            }
            if options["top_k"].is_null()
                && options.get("function_to_apply").is_none()
                && package.ends_with("-tags")
            {
                several += with_threshold(&mut table, &package, &group);
            }
        }
    }
    assert!(refused > 50 && cut_otherwise == 79 && several > 100, "{refused} {cut_otherwise} {several}");
    table.check();
}

/// Of a text's labels those that Hugging Face gives a score from the threshold on.
fn with_threshold(table: &mut Table, package: &str, group: &[Line]) -> usize {
    let thresholds =
        [("`threshold: 0.5`", json!(0.5)), ("`threshold`: a map", json!({ "login": 0.2, "bug": 0.8 }))];
    let mut compared = 0;
    for (name, threshold) in thresholds {
        let options = json!({ TASK: { "threshold": threshold } });
        let ours = ask(package, &options, &json!({}), group.iter().map(|line| line.input.as_str()));
        for line in group {
            let Answer::Given(ours) = &ours[&line.input] else { continue };
            let least = |label: &str| threshold.as_f64().or_else(|| threshold[label].as_f64()).unwrap_or(0.5);
            let mut theirs = theirs(line);
            if theirs.iter().any(|(label, score)| (score - least(label)).abs() < 1e-4) {
                continue;
            }
            theirs.retain(|(label, score)| *score >= least(label));
            table.saw(name, package, ranked(&ours["labels"], &theirs));
            compared += 1;
        }
    }
    compared
}

#[test]
fn a_number_is_no_share_and_has_its_name() {
    let of = |more: &Value| ask("squeezebert-g1-score", &json!(TASK), more, ["plain-01"])["plain-01"].clone();
    let result = of(&json!({})).given().clone();
    assert_eq!(result["label"], "score");
    assert!(result.get("top").is_none() && result.get("labels").is_none(), "{result}");
}

/// A regression over windows, several labels over windows: the mean of the windows' scores.
#[test]
fn long_texts_are_read_in_windows() {
    let windows = json!({ "input": { "long_text": "windows", "stride": 8 } });
    for package in ["squeezebert-g1-score", "squeezebert-g2-tags", "squeezebert-g4-sentiment"] {
        let task = json!({ TASK: { "top_k": ALL } });
        let whole = ask(package, &task, &windows, ["long-01"])["long-01"].clone();
        assert!(whole.given()["windows"]["used"].as_u64().unwrap() > 2, "{whole:?}");
        leads(whole.given(), "top");
        let beginning = ask(package, &task, &json!({}), ["long-01"])["long-01"].clone();
        assert_ne!(whole.given()["top"], beginning.given()["top"], "the rest of the text counts");
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    for (package, options, says) in [
        ("squeezebert-g4-sentiment", json!({ "threshold": 0.5 }), "write `multi_label: true`"),
        ("squeezebert-g2-tags", json!({ "threshold": { "x": 0.5 } }), "threshold.x: is no label"),
        ("squeezebert-g2-tags", json!({ "threshold": 1.5 }), "must be at most 1"),
        ("squeezebert-g2-tags", json!({ "top_k": 0 }), "must be at least 1"),
        (
            "squeezebert-g2-tags",
            json!({ "function_to_apply": "tanh" }),
            "must be one of softmax, sigmoid, none",
        ),
        ("bert-entities", json!({}), "the package's head is token classification"),
    ] {
        let error = refusal(package, &json!({ TASK: options }), &json!({}));
        assert!(error.contains(says), "{error}");
    }
}
