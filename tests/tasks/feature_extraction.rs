//! Vectors, and the examples that are nearest.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::golden::{
    Answer, Line, Table, Text, apart, ask, ask_of, corpus, forms, groups, is_blank, leads, lines, ranked,
    refusal,
};

const TASK: &str = "feature-extraction";

/// sentence-transformers' options as ours.
fn task(options: &Value) -> Value {
    let mut ours = json!({ "pooling": options["pooling"], "normalize": options["normalize"] });
    if !options["truncate_dim"].is_null() {
        ours["dimensions"] = options["truncate_dim"].clone();
    }
    json!({ TASK: ours })
}

fn name(options: &Value) -> String {
    let mut name = format!("`pooling: {}`", options["pooling"].as_str().unwrap());
    if options["normalize"] == true {
        name += ", `normalize: true`";
    }
    if !options["truncate_dim"].is_null() {
        name += &format!(", `dimensions: {}`", options["truncate_dim"]);
    }
    name
}

#[track_caller]
fn compare(ours: &Value, theirs: &Value) -> f64 {
    let (ours, theirs) = (ours.as_array().unwrap(), theirs.as_array().unwrap());
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(ours, theirs)| apart(ours, theirs)).fold(0.0, f64::max)
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let mut table = Table::new(TASK);
    let (mut nothing, mut tokens) = (0, 0);
    let corpus = corpus();
    for group in groups(lines(TASK)) {
        let (package, options) = (group[0].package.clone(), group[0].options.clone());
        // A vector a token is no result for a stream.
        if options["pooling"] == "none" {
            tokens += group.len();
            continue;
        }
        for package in forms(&package) {
            let ours =
                ask(&package, &task(&options), &json!({}), group.iter().map(|line| line.input.as_str()));
            for line in &group {
                let ours = &ours[&line.input];
                if line.nothing || is_blank(&corpus[&line.input]) {
                    assert!(matches!(ours, Answer::Refused(_)), "{line:?} {ours:?}");
                    nothing += 1;
                    continue;
                }
                let difference = compare(&ours.given()["embedding"], line.answer.as_ref().unwrap());
                table.saw(&name(&options), &package, difference);
            }
            if options == json!({ "pooling": "mean", "normalize": false, "truncate_dim": null }) {
                nearest(&mut table, &package, &group);
            }
        }
    }
    assert!(nothing > 90 && tokens == 9, "{nothing} {tokens}");
    table.check();
}

/// Labels by the cosines of Hugging Face's vectors.
fn nearest(table: &mut Table, package: &str, group: &[Line]) {
    let examples = BTreeMap::from([
        ("film", vec!["plain-04", "cjk-03"]),
        ("log", vec!["log-01", "address-01", "control-01"]),
        ("names", vec!["names-01"]),
    ]);
    let corpus = corpus();
    let vectors: BTreeMap<&str, Vec<f64>> = group
        .iter()
        .map(|line| (line.input.as_str(), serde_json::from_value(line.answer.clone().unwrap()).unwrap()))
        .collect();
    let texts: BTreeMap<&str, Vec<&str>> = examples
        .iter()
        .map(|(label, ids)| (*label, ids.iter().map(|id| corpus[*id].text.as_str()).collect()))
        .collect();
    let options = json!({ TASK: { "pooling": "mean", "nearest": texts, "top_k": 3 } });
    let ours = ask(package, &options, &json!({}), group.iter().map(|line| line.input.as_str()));
    for (id, ours) in &ours {
        let Answer::Given(ours) = ours else { continue };
        let near = |example: &&str| cosine(&vectors[id.as_str()], &vectors[example]);
        let nearest = |ids: &Vec<&str>| ids.iter().map(near).fold(-1.0, f64::max);
        let mut theirs: Vec<(String, f64)> =
            examples.iter().map(|(label, ids)| ((*label).to_owned(), nearest(ids))).collect();
        theirs.sort_by(|a, b| b.1.total_cmp(&a.1));
        leads(ours, "top");
        assert!(ours.get("embedding").is_none(), "{ours}");
        table.saw("`nearest`", package, ranked(&ours["top"], &theirs));
        if let Some((label, _)) = examples.iter().find(|(_, ids)| ids.contains(&id.as_str())) {
            assert_eq!(ours["label"], *label, "an example is nearest to itself");
            assert!((ours["score"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{ours}");
        }
    }
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

#[test]
fn what_the_package_says_holds_unless_the_pipeline_says_otherwise() {
    let vector = |options: Value| {
        let ours = ask("minilm-encoder", &json!({ TASK: options }), &json!({}), ["plain-01"]);
        ours["plain-01"].given()["embedding"].clone()
    };
    let said = vector(json!({}));
    assert_eq!(said, vector(json!({ "pooling": "mean", "normalize": true })), "modules.json says so");
    assert_ne!(said, vector(json!({ "normalize": false })));
    assert_ne!(said, vector(json!({ "pooling": "cls" })));
    // Nothing is said by this one.
    let of =
        |options: Value| ask("modernbert-encoder", &options, &json!({}), ["plain-01"])["plain-01"].clone();
    let plain = of(json!({ TASK: { "pooling": "mean", "normalize": false } }));
    assert_eq!(of(json!(TASK)).given()["embedding"], plain.given()["embedding"]);
}

/// An example is read as a record with the same text is.
#[test]
fn examples_are_masked_as_texts_are() {
    let options =
        json!({ TASK: { "nearest": { "net": ["refused by 10.0.0.1"], "other": ["all is well"] } } });
    let near = |text: &str| {
        let text = Text { id: "a".to_owned(), text: text.to_owned(), text_pair: None };
        let more = json!({ "input": { "mask": ["ips"] } });
        ask_of("minilm-encoder", &options, &more, &[text])["a"].given().clone()
    };
    for text in ["refused by 10.0.0.1", "refused by 192.168.7.9:80"] {
        let result = near(text);
        assert_eq!((&result["label"], &result["masked"]), (&json!("net"), &json!(1)), "{result}");
        assert!((result["score"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{result}");
    }
}

#[test]
fn a_text_far_from_every_example_is_uncertain() {
    let options =
        json!({ TASK: { "nearest": { "a": ["Paris"], "b": ["London is not"] }, "embedding": true } });
    let more = json!({ "output": { "below": 0.999, "scores": true } });
    let result = ask("minilm-encoder", &options, &more, ["log-01"])["log-01"].given().clone();
    assert_eq!(result["label"], "uncertain");
    assert!(result["best"] == "a" || result["best"] == "b", "{result}");
    assert_eq!(result["scores"].as_object().unwrap().len(), 2);
    assert_eq!(result["embedding"].as_array().unwrap().len(), 28);
}

#[test]
fn long_texts_are_read_in_windows() {
    let windows = json!({ "input": { "long_text": "windows", "stride": 8 } });
    for pooling in ["mean", "cls", "max"] {
        let task = json!({ TASK: { "pooling": pooling, "normalize": true } });
        let whole = ask("minilm-encoder", &task, &windows, ["long-01"])["long-01"].given().clone();
        assert!(whole["windows"]["used"].as_u64().unwrap() > 2, "{whole}");
        let squares = whole["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap().powi(2));
        assert!((squares.sum::<f64>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    for (package, options, says) in [
        (
            "minilm-encoder",
            json!({ "dimensions": 29 }),
            "dimensions: is more than the package's vectors have, 28",
        ),
        ("minilm-encoder", json!({ "embedding": false }), "nothing would be given"),
        ("minilm-encoder", json!({ "top_k": 2 }), "top_k: is for labels"),
        ("minilm-encoder", json!({ "nearest": { "a": [] } }), "nearest.a: needs at least 1"),
        (
            "minilm-encoder",
            json!({ "nearest": { "a": ["x", "\u{200b}"] } }),
            "nearest.a[1]: the tokenizer keeps nothing",
        ),
        ("minilm-encoder", json!({ "pooling": "sum" }), "must be one of mean, cls, max"),
        (
            "bert-nli",
            json!({}),
            "the package's head is sequence classification, and it gives no hidden states",
        ),
    ] {
        let error = refusal(package, &json!({ TASK: options }), &json!({}));
        assert!(error.contains(says), "{error}");
    }
}
