//! The program from outside, without a Kafka of its own: exit codes, filters, the demo.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squeezeflow"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn tag(pipeline: &str, input: &str) -> Output {
    let mut child = program()
        .args(["tag", pipeline])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn lines(output: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(output).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn scratch(name: &str, content: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn plain_reviews_get_the_label_that_a_person_would_give() {
    let reviews = [
        ("positive", "A wonderful film, warm and funny from start to finish."),
        ("positive", "I love this phone, the camera is excellent."),
        ("positive", "Great service, friendly staff, we will come back."),
        ("positive", "Beautifully shot and quietly powerful."),
        ("negative", "A boring, stupid waste of time."),
        ("negative", "The screen arrived cracked and nobody answers. Awful."),
        ("negative", "Terrible food, rude waiters, never again."),
        ("negative", "Dull, predictable and far too long."),
    ];
    let input: String =
        reviews.iter().map(|(_, text)| serde_json::json!({ "text": text }).to_string() + "\n").collect();
    let output = tag("pipelines/sentiment.yaml", &input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tagged = lines(&output.stdout);
    assert_eq!(tagged.len(), reviews.len());
    for (line, (label, text)) in tagged.iter().zip(reviews) {
        assert_eq!(line["text"], text, "in order");
        assert_eq!(line["nlp"]["label"], label, "{text}");
    }
}

/// Between this line of a page and the next fence, as it is.
fn block<'p>(page: &'p str, kind: &str) -> (usize, &'p str) {
    let fence = page.lines().find(|line| line.starts_with("```") && line.ends_with(kind)).unwrap();
    let start = page.find(fence).unwrap() + fence.len() + 1;
    let end = start + page[start..].find("```").unwrap();
    (start, &page[start..end])
}

/// What docs/pipelines shows is what comes out; `UPDATE=1` writes it there.
#[test]
fn each_shipped_pipeline_has_a_page_that_shows_what_comes_out() {
    let pages = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/pipelines");
    let mut names = Vec::new();
    for entry in std::fs::read_dir("pipelines").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        names.extend(name.strip_suffix(".yaml").filter(|name| !name.ends_with(".tests")).map(str::to_owned));
    }
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let (page, pipeline) = (pages.join(format!("{name}.md")), format!("pipelines/{name}.yaml"));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        let (_, input) = block(&text, " in");
        let output = tag(&pipeline, input);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{pipeline}: {errors}");
        let tagged = String::from_utf8(output.stdout).unwrap();
        assert_eq!(tagged.lines().count(), input.lines().count(), "{pipeline}: {errors}");
        let (start, shown) = block(&text, " out");
        if std::env::var_os("UPDATE").is_some() {
            let new = format!("{}{tagged}{}", &text[..start], &text[start + shown.len()..]);
            std::fs::write(&page, new).unwrap();
        } else {
            assert_eq!(shown, tagged, "{} is not what comes out: UPDATE=1 rewrites it", page.display());
        }
        let checked = run(&["check", &pipeline]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn the_demo_accounts_for_every_text() {
    let output = run(&["demo", "--plain", "--records", "150"]);
    let (shown, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}{errors}");
    assert!(shown.contains("150 of 150"), "{shown}");
    for part in ["p50", "p95", "p99", "dead letters", "invalid_json", "real", "with padding", "on cpu"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn exit_codes_are_those_of_the_help() {
    assert_eq!(run(&["run"]).status.code(), Some(2), "usage");
    assert_eq!(run(&["run", "no/such.yaml"]).status.code(), Some(2), "no such file");
    let refused =
        scratch("refused.yaml", "input: { topics: [a] }\nmodel: { path: x }\noutput: { topic: a }\n");
    let output = run(&["check", refused.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "feeds itself");
    let modelless = scratch(
        "modelless.yaml",
        "input: { topics: [a], text: /text }\nmodel: { path: no/such/package }\noutput: { topic: b }\n",
    );
    let output = run(&["tag", modelless.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    // Nobody listens on port 1: the worker says so and stops, it does not wait for ever.
    let output = run(&[
        "check",
        "--connect",
        "--set",
        "kafka.bootstrap_servers=127.0.0.1:1",
        "pipelines/sentiment.yaml",
    ]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1:1"));
}

#[test]
fn dead_letters_say_what_is_wrong_with_the_question_and_with_the_brokers() {
    let ask = |options: &[&str]| {
        let output = run(&[&["dead-letters"], options, &["pipelines/sentiment.yaml"]].concat());
        assert!(output.stdout.is_empty(), "{output:?}");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, errors) = ask(&["replay", "--reason", "text_mising"]);
    assert!(code == Some(2) && errors.contains("a similar value exists: 'text_missing'"), "{errors}");
    let (code, errors) = ask(&["list", "--since", "last week"]);
    assert!(code == Some(2) && errors.contains("2026-01-31T08:00:00Z"), "{errors}");
    let (code, errors) = ask(&["list", "--from-offset", "5"]);
    assert!(code == Some(2) && errors.contains("--partition"), "{errors}");
    // Nobody listens on port 1.
    let (code, errors) = ask(&["replay", "--set", "kafka.bootstrap_servers=127.0.0.1:1"]);
    assert!(code == Some(1) && errors.contains("no broker of `127.0.0.1:1` answers"), "{errors}");
}

#[test]
fn a_provider_that_is_not_there_is_refused_and_a_fallback_is_loud() {
    let portable =
        format!("model.path={}", concat!(env!("CARGO_MANIFEST_DIR"), "/models/sentiment-portable"));
    let cuda = ["--set", "model.provider=cuda", "--set", &portable, "pipelines/sentiment.yaml"];
    let output = run(&[&["tag"], &cuda[..]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("cuda") && errors.contains("CUDA execution provider is not enabled"), "{errors}");
    let output = run(&[&["check", "--set", "model.fallback=[cpu]"], &cuda[..]].concat());
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("provider   cpu"), "{shown}");
}

#[test]
fn schema_completions_and_inspection_print_what_they_promise() {
    let schema: Value = serde_json::from_slice(&run(&["schema"]).stdout).unwrap();
    assert!(schema["properties"]["batch"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(script.contains("squeezeflow") && script.contains("output_too_large"), "{shell}");
    }
    let package: Value =
        serde_json::from_slice(&run(&["model", "inspect", "--json", "models/sentiment"]).stdout).unwrap();
    assert_eq!(package["labels"], serde_json::json!(["negative", "positive"]));
    assert!(run(&["model", "verify", "models/sentiment"]).status.success());
    assert!(!run(&["model", "verify", "models"]).status.success());
}
