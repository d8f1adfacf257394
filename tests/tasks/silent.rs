//! Packages whose `config.json` does not say what they are for: the graph says it, or their labels, or the task.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::golden::{Text, ask_of, here, refusal};

/// The package without `architectures`; with `labels` only if told so.
fn silent(package: &str, labels: bool) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(here(package)).unwrap().map(Result::unwrap) {
        let to = dir.path().join(entry.file_name());
        match entry.file_name().to_str().unwrap() {
            // It names the digests.
            "manifest.json" => {}
            "config.json" => {
                let mut config: Value =
                    serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
                let config = config.as_object_mut().unwrap();
                config.remove("architectures").unwrap();
                if !labels {
                    config.remove("id2label").unwrap();
                }
                std::fs::write(to, serde_json::to_vec(config).unwrap()).unwrap();
            }
            _ => std::os::unix::fs::symlink(entry.path(), to).unwrap(),
        }
    }
    dir
}

/// What the task says of a text.
fn said(package: &str, task: &Value) -> Value {
    let text = "Maria Schmidt moved from Berlin to New York.";
    let text = Text { id: "a".to_owned(), text: text.to_owned(), text_pair: None };
    let mut given = ask_of(package, task, &json!({}), &[text])["a"].given().clone();
    // Its name and digest are others.
    given.as_object_mut().unwrap().remove("model").unwrap();
    given
}

fn whole(package: &str) -> String {
    here(package).to_str().unwrap().to_owned()
}

#[test]
fn what_it_is_for_shows_in_its_outputs_or_its_labels() {
    let tokens = json!({ "token-classification": {} });
    for (package, task) in [
        // Logits of three dimensions can only be those of tokens.
        ("tests/packages/tasks/bert-entities", Value::Null),
        ("tests/packages/tasks/bert-entities", tokens.clone()),
        // Where nothing is padded, they have two, as a classifier's have. The labels say it.
        ("models/entities", Value::Null),
        ("models/entities", tokens),
        ("models/sentiment", Value::Null),
        ("tests/packages/tasks/bert-flag", Value::Null),
        (
            "tests/packages/tasks/bert-answers",
            json!({ "question-answering": { "questions": { "a": "Who?" } } }),
        ),
        ("tests/packages/tasks/minilm-encoder", json!({ "feature-extraction": {} })),
    ] {
        let dir = silent(package, true);
        assert_eq!(
            said(dir.path().to_str().unwrap(), &task),
            said(&whole(package), &task),
            "{package} {task}"
        );
    }
}

#[test]
fn and_where_neither_shows_it_the_task_says() {
    // Each token, so that labels without names make no difference but in name.
    let task = json!({ "token-classification": { "aggregation": "none", "ignore_labels": [] } });
    for package in ["models/entities", "tests/packages/tasks/bert-entities"] {
        let dir = silent(package, false);
        let (ours, theirs) = (said(dir.path().to_str().unwrap(), &task), said(&whole(package), &task));
        let entities = |said: &Value| said["entities"].as_array().unwrap().clone();
        assert!(entities(&ours).len() > 5 && entities(&ours).len() == entities(&theirs).len());
        for (ours, theirs) in entities(&ours).iter().zip(entities(&theirs)) {
            assert!(ours["entity"].as_str().unwrap().starts_with("LABEL_"), "{ours}");
            for key in ["score", "index", "word", "start", "end"] {
                assert_eq!(ours[key], theirs[key], "{key} of {ours}, not {theirs}");
            }
        }
    }
}

#[test]
fn but_not_against_what_shows() {
    let (tokens, text) = (json!({ "token-classification": {} }), json!({ "text-classification": {} }));
    let questions = json!({ "question-answering": { "questions": { "a": "Who?" } } });
    for (package, task, told) in [
        ("tests/packages/tasks/bert-entities", &text, "the package's head is token classification"),
        ("tests/packages/tasks/bert-flag", &tokens, "the package's head is sequence classification"),
        ("models/entities", &questions, "the package's head is token classification"),
    ] {
        let dir = silent(package, true);
        let error = refusal(dir.path().to_str().unwrap(), task, &json!({}));
        assert!(error.contains(told), "{package} {task}: {error}");
    }
    // Where it says it, it says it.
    let error = refusal(&whole("models/sentiment"), &tokens, &json!({}));
    assert!(error.contains("the package's head is sequence classification"), "{error}");
}
