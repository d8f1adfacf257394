//! `squeezeflow test` from outside: the shipped pipelines and their cases, what is told of a case that
//! fails, and files that are brought up to date.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use squeezeflow::config::{self, Case, Overrides};
use squeezeflow::golden::{self, Seen, Sent};
use squeezeflow::results;
use tempfile::TempDir;

const SHIPPED: [&str; 4] = ["sentiment", "tickets", "logs", "chat"];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn squeezeflow(arguments: &[&str], color: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squeezeflow"));
    command.current_dir(repository()).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    if color {
        command.env("CLICOLOR_FORCE", "1").env("TERM", "xterm");
    }
    command.args(arguments).output().unwrap()
}

/// Exit code and standard output of `test` on this pipeline.
fn test(pipeline: &Path, arguments: &[&str]) -> (i32, String) {
    let output = squeezeflow(&[&["test", pipeline.to_str().unwrap()], arguments].concat(), false);
    let errors = String::from_utf8(output.stderr).unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), if shown.is_empty() { errors } else { shown })
}

/// A pipeline of its own, with the bundled model, and cases in it or beside it.
struct Scratch(TempDir);

impl Scratch {
    fn new(cases: &str, beside: &str) -> Self {
        let scratch = Self(TempDir::new().unwrap());
        let model = repository().join("models/sentiment");
        let pipeline = format!(
            "# ours\ninput: {{ topics: [reviews] }}\nmodel: {{ path: {} }}\noutput: {{ topic: tagged }}\nlog: {{ level: warn }}\n{cases}",
            model.display()
        );
        std::fs::write(scratch.pipeline(), pipeline).unwrap();
        if !beside.is_empty() {
            std::fs::write(scratch.beside(), beside).unwrap();
        }
        scratch
    }
    fn pipeline(&self) -> PathBuf {
        self.0.path().join("p.yaml")
    }
    fn beside(&self) -> PathBuf {
        self.0.path().join("p.tests.yaml")
    }
    fn test(&self, arguments: &[&str]) -> (i32, String) {
        let (code, shown) = test(&self.pipeline(), arguments);
        (code, shown.replace(&format!("{}/", self.0.path().display()), ""))
    }
    fn cases(&self) -> String {
        std::fs::read_to_string(self.beside()).unwrap()
    }
}

#[test]
fn the_shipped_pipelines_pass_their_cases() {
    let mut seen = 0;
    for entry in std::fs::read_dir(repository().join("pipelines")).unwrap() {
        let pipeline = entry.unwrap().path();
        if config::is_beside(&pipeline) {
            continue;
        }
        let cases: usize = config::cases(&pipeline).unwrap().iter().map(|file| file.cases.len()).sum();
        assert!(cases >= 8, "{} has {cases} cases", pipeline.display());
        let (code, shown) = test(&pipeline, &[]);
        assert_eq!(code, 0, "{shown}");
        assert!(shown.ends_with(&format!("\n{cases} passed, 0 failed\n")), "{shown}");
        assert!(!shown.contains('\u{1b}'), "no colours where nobody sees them: {shown:?}");
        seen += 1;
    }
    assert_eq!(seen, SHIPPED.len());
}

#[test]
fn what_differs_is_told_with_its_place() {
    let beside = "\
tests:
  - name: as it should be
    input: { text: a delight }
    expect: { label: positive }
  - name: not JSON
    input: plain words
    expect: { dead_letter: text_missing }
  - name: silent
    input: null
  - name: all of it
    input: { text: a delight, n: 1.10 }
    expect:
      label: negative
      topic: urgent
      fields: { /n: 1.2, /nlp/nothing: 1 }
      value: '{\"text\":\"a delight\",\"n\":1.1}'
      headers: { none: x }
";
    let scratch = Scratch::new("", beside);
    let (code, shown) = scratch.test(&[]);
    let expected = "\
ok       as it should be
FAIL     not JSON (p.tests.yaml:5)
           dead_letter  expected text_missing
                        was      invalid_json: the value is not JSON: expected value at line 1 column 1
FAIL     silent (p.tests.yaml:8)
           says nothing to expect: run with --update
           was passed through: tombstone
FAIL     all of it (p.tests.yaml:10)
           label         expected negative
                         was      positive
           topic         expected urgent
                         was      tagged
           /n            expected 1.2
                         was      1.10
           /nlp/nothing  expected 1
                         was      nothing is there
           header none   expected x
                         was      there is none of this name
           value         expected …ext\":\"a delight\",\"n\":1.1}  (at byte 27)
                         was      …ext\":\"a delight\",\"n\":1.10,\"nlp\":{\"label\":\"positive\",\"score\":0.99…
1 passed, 3 failed
";
    assert_eq!((code, shown.as_str()), (1, expected));
    let (code, shown) = scratch.test(&["--filter", "as it"]);
    assert_eq!((code, shown.as_str()), (0, "ok       as it should be\n1 passed, 0 failed\n"));
    let (code, shown) = scratch.test(&["--filter", "nobody"]);
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("there are: as it should be, not JSON, silent, all of it"), "{shown}");
    let colored = squeezeflow(&["test", scratch.pipeline().to_str().unwrap()], true).stdout;
    let colored = String::from_utf8(colored).unwrap();
    assert!(colored.starts_with("\u{1b}[32mok       \u{1b}[0mas it should be\n"), "{colored:?}");
}

/// Every expectation of the shipped cases, label or reason, is made wrong: an update puts back every
/// byte of the files.
#[test]
fn an_update_restores_the_shipped_cases() {
    // The packages are named anew, for the copy.
    let packages = [
        ("sentiment", vec![("model", "sentiment")]),
        ("tickets", vec![("results.intent.model", "encoder"), ("results.mood.model", "sentiment")]),
        ("logs", vec![("model", "severity")]),
    ];
    for (name, packages) in packages {
        let shipped = repository().join("pipelines").join(format!("{name}.yaml"));
        let right = std::fs::read_to_string(config::beside(&shipped)).unwrap();
        let mut wrong = String::new();
        let mut changed = 0;
        for line in right.split_inclusive('\n') {
            // Not what was given.
            let given = line.contains("input: {") || line.contains("mood: {");
            let line_wrong = line
                .replace("label: positive", "label: nobody's")
                .replace("label: negative", "label: \"nobody: \\\"s\\\"\"")
                .replace("label: uncertain", "label: sure")
                .replace("label: error", "label: fine")
                .replace("label: info", "label: warning")
                .replace("dead_letter: text_empty", "dead_letter: no_tokens")
                .replace("dead_letter: invalid_json", "dead_letter: text_empty")
                .replace("passed: tombstone", "passed: not_selected");
            let line_wrong = if given { line } else { &line_wrong };
            changed += usize::from(line_wrong != line);
            wrong += line_wrong;
        }
        assert!(changed >= 6, "{name}: {changed}");
        let scratch = TempDir::new().unwrap();
        let pipeline = scratch.path().join(format!("{name}.yaml"));
        std::fs::copy(&shipped, &pipeline).unwrap();
        std::fs::write(config::beside(&pipeline), &wrong).unwrap();
        let models = repository().join("models");
        let set = |(key, package): &(&str, &str)| format!("{key}.path={}", models.join(package).display());
        let set: Vec<String> = packages.iter().map(set).collect();
        let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        let (code, shown) = test(&pipeline, &set);
        assert_eq!(code, 1, "{shown}");
        let (code, shown) = test(&pipeline, &[&set[..], &["--update"]].concat());
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains(" updated, 0 failed\n"), "{shown}");
        assert_eq!(std::fs::read_to_string(config::beside(&pipeline)).unwrap(), right);
        assert_eq!(std::fs::read(&pipeline).unwrap(), std::fs::read(&shipped).unwrap());
    }
}

#[test]
fn an_update_writes_what_is_missing_and_leaves_what_it_cannot_write() {
    let beside = "\
# by hand
tests:
- name: new        # tomorrow's
  input: { text: a delight }
- { name: gone, input: null, expect: { topic: tagged, headers: { a: b } } }
- name: shared
  input: { text: awful }
  expect: &e { label: positive }
";
    let scratch = Scratch::new("tests: [{ name: inside, input: '', expect: {} }]\n", beside);
    let before = std::fs::read_to_string(scratch.pipeline()).unwrap();
    let (code, shown) = scratch.test(&["--update"]);
    let expected = "\
updated  inside (p.yaml:6)
           was a dead letter: invalid_json: the value is not JSON: EOF while parsing a value at line 1 column 0
updated  new (p.tests.yaml:3)
           was tagged: positive, SCORE
FAIL     gone (p.tests.yaml:5)
           header a  expected b
                     was      there is none of this name
           not updated: `header a` has nothing to expect any more; change it by hand
FAIL     shared (p.tests.yaml:6)
           label  expected positive
                  was      negative
           not updated: its `expect` has an anchor or an alias in it, and what shares it would change too; change it by hand
0 passed, 2 updated, 2 failed
";
    let score = shown.split_once("tagged: positive, ").unwrap().1.split_once('\n').unwrap().0;
    assert_eq!((code, shown.clone()), (1, expected.replace("SCORE", score)));
    let short: f64 = score.parse().unwrap();
    let new = beside.replace(
        "  input: { text: a delight }\n",
        &format!("  input: {{ text: a delight }}\n  expect:\n    label: positive\n    score: {short:.4}\n"),
    );
    assert_eq!(scratch.cases(), new);
    let after = std::fs::read_to_string(scratch.pipeline()).unwrap();
    assert_eq!(after, before.replace("expect: {}", "expect: { dead_letter: invalid_json }"));
    assert_eq!(scratch.test(&["--filter", "n"]).1.lines().last(), Some("2 passed, 1 failed"));
}

#[test]
fn a_pipeline_without_cases_gets_a_first_one_to_paste() {
    let scratch = Scratch::new("", "");
    let (code, shown) = scratch.test(&[]);
    assert_eq!(code, 2);
    assert!(shown.contains("p.yaml has no cases, and there is no p.tests.yaml"), "{shown}");
    let case = format!("tests:{}", shown.split_once("tests:").unwrap().1);
    std::fs::write(scratch.beside(), case).unwrap();
    let (code, shown) = scratch.test(&["--update"]);
    assert_eq!((code, shown.lines().last()), (0, Some("0 passed, 1 updated, 0 failed")), "{shown}");
    let (code, shown) = scratch.test(&[]);
    assert_eq!((code, shown.as_str()), (0, "ok       praise\n1 passed, 0 failed\n"));
}

#[test]
fn what_cannot_be_tested_has_an_exit_code_of_its_own() {
    let wrong = "tests:\n- { name: a, inptu: x }\n- { name: a, input: x, expect: { label: x, dead_letter: text_empty } }\n";
    let scratch = Scratch::new("", wrong);
    let (code, shown) = scratch.test(&[]);
    assert_eq!(code, 2);
    for told in [
        "tests[0].inptu: unknown key\n  --> p.tests.yaml:2\n  help: did you mean `input`?",
        "tests[1].expect.label: cannot stand beside `dead_letter`",
    ] {
        assert!(shown.contains(told), "{shown}");
    }
    let (code, shown) = test(&scratch.beside(), &[]);
    assert!(code == 2 && shown.contains("name the pipeline"), "{shown}");
    let (code, _) = test(Path::new("no/such.yaml"), &[]);
    assert_eq!(code, 2);
    let scratch = Scratch::new("", "tests: [{ name: a, input: x }]\n");
    let (code, shown) = scratch.test(&["--set", "model.path=/no/such/package"]);
    assert_eq!(code, 3, "{shown}");
}

/// Decimals that every processor agrees upon.
fn rounded(text: &str) -> String {
    let mut decimals = None;
    let keep = |c: &char| {
        decimals = match (c, decimals) {
            ('.', _) => Some(0),
            (c, Some(n)) if c.is_ascii_digit() => Some(n + 1),
            _ => None,
        };
        decimals.is_none_or(|n| n <= 4)
    };
    text.chars().filter(keep).collect()
}

#[test]
fn the_page_shows_what_is_printed() {
    let page = std::fs::read_to_string(repository().join("docs/PIPELINE_TESTS.md")).unwrap();
    let block =
        |from: &str| page.split_once(from).unwrap().1.split_once("\n```").unwrap().0.to_owned() + "\n";
    let scratch = TempDir::new().unwrap();
    let pipelines = scratch.path().join("pipelines");
    std::fs::create_dir(&pipelines).unwrap();
    let pipeline = pipelines.join("sentiment.yaml");
    std::fs::copy(repository().join("pipelines/sentiment.yaml"), &pipeline).unwrap();
    std::fs::write(config::beside(&pipeline), block("```yaml\n")).unwrap();
    let model = format!("model.path={}", repository().join("models/sentiment").display());
    let (code, shown) = test(&pipeline, &["--set", &model]);
    let shown = shown.replace(&format!("{}/", scratch.path().display()), "");
    assert_eq!(code, 1);
    assert_eq!(rounded(&shown), rounded(&block("$ squeezeflow test pipelines/sentiment.yaml\n")));
}

#[test]
fn results_in_headers_are_seen_too() {
    let cases = "\
tests:
- name: raw
  input: a delight
  headers: { lang: en }
  expect: { label: positive, value: a delight, headers: { nlp.label: positive, lang: en } }
- name: json
  input: '{\"text\":\"a delight\"}'
  expect: { headers: { nlp.label: negative } }
";
    let scratch = Scratch::new("", cases);
    let (code, shown) = scratch.test(&["--set", "input.format=text", "--set", "output.mode=headers"]);
    let expected = "\
ok       raw
FAIL     json (p.tests.yaml:6)
           header nlp.label  expected negative
                             was      positive
1 passed, 1 failed
";
    assert_eq!((code, shown.as_str()), (1, expected));
}

/// Several results have headers of their own: what was tagged before has one of them.
#[test]
fn what_has_a_results_header_is_not_tagged_again() {
    let cases = "\
tests:
- name: tagged before
  input: a delight
  headers: { nlp.mood: '{}' }
  expect: { passed: field_exists }
- name: not yet
  input: a delight
  headers: { nlp: '{}', nlp.other: '{}' }
  expect: { label: positive, headers: { nlp.mood.label: positive } }
";
    let scratch = Scratch::new("", cases);
    let model = repository().join("models/sentiment");
    let text = format!(
        "input: {{ topics: [reviews], format: text }}\nresults: {{ mood: {{ model: {{ path: {} }} }} }}\noutput: {{ topic: tagged, mode: headers, on_existing: keep }}\n",
        model.display()
    );
    std::fs::write(scratch.pipeline(), text).unwrap();
    let (code, shown) = scratch.test(&[]);
    assert_eq!((code, shown.as_str()), (0, "ok       tagged before\nok       not yet\n2 passed, 0 failed\n"));
    let (code, shown) = scratch.test(&["--set", "output.on_existing=error", "--filter", "tagged"]);
    assert!(code == 1 && shown.contains("field_exists: the record has `nlp.mood` already"), "{shown}");
}

#[test]
fn what_would_pass_by_unhidden_is_refused() {
    let scratch = Scratch::new("", "tests: [{ name: a, input: { a: 10.0.0.7 } }]\n");
    let text = "input: { topics: [t], text: '{/a}. {/b}', on_missing_text: pass-through }\nmodel: { path: nowhere }\noutput: { redact: [ips] }\n";
    std::fs::write(scratch.pipeline(), text).unwrap();
    let (code, shown) = scratch.test(&[]);
    assert_eq!(code, 2, "{shown}");
    assert!(
        shown.contains("input.on_missing_text: is `pass-through`, and the text has several parts"),
        "{shown}"
    );
    assert!(shown.contains("help: `dead-letter`"), "{shown}");
}

#[test]
fn check_looks_at_the_cases_too() {
    let scratch =
        Scratch::new("", "tests: [{ name: a, input: x, expect: { label: postive, topic: tagegd } }]\n");
    let check = |file: &Path| {
        let output = squeezeflow(&["check", file.to_str().unwrap()], false);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, _, errors) = check(&scratch.pipeline());
    assert_eq!(code, 2, "{errors}");
    for told in ["tests[0].expect.label: ", "did you mean `positive`?", "did you mean `tagged`?"] {
        assert!(errors.contains(told), "{told}: {errors}");
    }
    let (code, shown, errors) = check(&repository().join("pipelines/logs.tests.yaml"));
    assert!(code == 0 && shown.contains("tests      13 cases"), "{shown}{errors}");
    let (code, shown, errors) = check(&repository().join("pipelines/logs.yaml"));
    assert!(code == 0 && shown.contains("tests      13 cases"), "{shown}{errors}");
    let schema = squeezeflow(&["schema", "--tests"], false).stdout;
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    assert_eq!(schema["properties"]["tests"], config::schema()["properties"]["tests"]);
}

/// The label of a case is that of the result whose label chooses the topic, where it has one.
#[test]
fn check_knows_whose_label_a_case_sees() {
    let check = |more: &str, label: &str| {
        let dir = TempDir::new().unwrap();
        let packages = repository().join("tests/packages");
        let packages = packages.to_str().unwrap();
        let file = dir.path().join("p.yaml");
        let pipeline = format!(
            "input: {{ topics: [t] }}\nresults:\n  a: {{ model: {{ path: {packages}/tiny-bert }} }}\n  b: {{ model: {{ path: {packages}/tiny-distilbert }}{more}\ntests: [{{ name: c, input: x, expect: {{ label: {label} }} }}]\n"
        );
        std::fs::write(&file, pipeline).unwrap();
        let output = squeezeflow(&["check", file.to_str().unwrap()], false);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let by_b = " }\noutput: { route_by: b }";
    let optional_b = ", required: false }\noutput: { route_by: b }";
    for (more, label, good) in [
        (" }", "billing", true),
        (" }", "POSITIVE", false),
        (by_b, "POSITIVE", true),
        (by_b, "billing", false),
        (optional_b, "POSITIVE", true),
        (optional_b, "billing", true),
        (optional_b, "nobody's", false),
    ] {
        let (code, errors) = check(more, label);
        assert_eq!(code == 0, good, "{more} {label}: {errors}");
        assert_eq!(
            errors.contains("tests[0].expect.label: is a label that no result can have"),
            !good,
            "{errors}"
        );
    }
}

/// What a pipeline with these results makes of one text.
fn seen_by(results: &str, more: &str, text: &str) -> Seen {
    let dir = TempDir::new().unwrap();
    let packages = repository().join("tests/packages");
    let results = results.replace("PACKAGES", packages.to_str().unwrap());
    let file = dir.path().join("p.yaml");
    let cases = format!("tests: [{{name: c, input: {{text: {text:?}}}}}]");
    std::fs::write(&file, format!("input: {{topics: [t], {more}}}\nresults: {results}\n{cases}\n")).unwrap();
    let settings = config::load(&file, &Overrides::default()).unwrap().settings;
    let files = config::cases(&file).unwrap();
    let cases: Vec<&Case> = files.iter().flat_map(|file| &file.cases).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    golden::run(&settings, results::load(&settings).unwrap(), &cases).unwrap().remove(0)
}

/// A record of which no model reads anything is written like any other, with the reasons.
#[test]
fn results_that_need_not_be_there_may_all_fail() {
    let results = "{a: {model: {path: PACKAGES/tiny-bert, max_length: 8}, required: false}, b: {model: {path: PACKAGES/tiny-distilbert, max_length: 8}, required: false}}";
    let long = "a good film a good film a good film";
    let Seen::Written(sent) = seen_by(results, "long_text: dead-letter", long) else {
        panic!("a dead letter")
    };
    assert_eq!(sent.result, Ok(None));
    assert_eq!(sent.field("/text"), Some(format!("{long:?}").as_str()));
    for name in ["a", "b"] {
        let reason = sent.field(&format!("/nlp/{name}/error/reason")).map(str::to_owned);
        assert_eq!(reason.as_deref(), Some("\"text_too_long\""), "{sent:?}");
    }
    // One of them reads it.
    let results = results.replacen(", max_length: 8", "", 1);
    let Seen::Written(sent) = seen_by(&results, "long_text: dead-letter", long) else {
        panic!("a dead letter")
    };
    assert!(sent.result.as_ref().is_ok_and(|label| label.is_some()) && sent.field("/nlp/a/label").is_some());
    assert_eq!(sent.field("/nlp/b/error/reason"), Some("\"text_too_long\""));
}

/// What one result hides of the text does not make another model, nor another reading, of it.
#[test]
fn hiding_names_costs_no_second_run_of_the_encoder() {
    let shape = |set: &[&str]| {
        let set = set.iter().map(|s| (*s).to_owned()).collect();
        let pipeline = repository().join("pipelines/chat.yaml");
        let settings = config::load(&pipeline, &Overrides { set, ..Overrides::default() }).unwrap().settings;
        let loaded = results::load(&settings).unwrap();
        (loaded.models.len(), loaded.streams.len())
    };
    assert_eq!(shape(&[]), (1, 1));
    let hides = "results.entities.task.token-classification.redact=all";
    assert_eq!(shape(&[hides, "results.entities.required=true"]), (1, 1));
}

/// All cases of a pipeline, with at most so many texts in a batch.
fn seen(name: &str, most: usize) -> Vec<(String, Seen)> {
    let pipeline = repository().join("pipelines").join(format!("{name}.yaml"));
    let mut settings = config::load(&pipeline, &Overrides::default()).unwrap().settings;
    settings.results.iter_mut().for_each(|result| result.model.sessions = NonZeroUsize::MIN);
    settings.batch.max_size = NonZeroUsize::new(most).unwrap();
    // Long enough for all of them to be there.
    settings.batch.max_age = Duration::from_secs(1);
    let files = config::cases(&pipeline).unwrap();
    let cases: Vec<&Case> = files.iter().flat_map(|file| &file.cases).collect();
    let model = results::load(&settings).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let seen = golden::run(&settings, model, &cases).unwrap();
    cases.iter().map(|case| case.name.clone()).zip(seen).collect()
}

#[test]
fn a_case_ends_the_same_alone_and_in_company() {
    for name in SHIPPED {
        let mut tagged = 0;
        for ((case, alone), (_, together)) in seen(name, 1).into_iter().zip(seen(name, 64)) {
            match (&alone, &together) {
                (
                    Seen::Written(Sent { result: Ok(Some((label, score))), topic, .. }),
                    Seen::Written(Sent {
                        result: Ok(Some((other_label, other_score))),
                        topic: other_topic,
                        ..
                    }),
                ) => {
                    assert_eq!((label, topic), (other_label, other_topic), "{name}: {case}");
                    assert!((score - other_score).abs() < 1e-5, "{name}: {case}: {score} {other_score}");
                    tagged += 1;
                }
                _ => assert_eq!(alone, together, "{name}: {case}"),
            }
        }
        assert!(tagged >= 5, "{name}: {tagged}");
    }
}
