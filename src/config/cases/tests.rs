//! What is read of a file with cases, and what is said of a wrong one.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{Overrides, load};

fn read(text: &str) -> Vec<Case> {
    CaseFile::of_text(text).unwrap_or_else(|e| panic!("{e}")).cases
}

/// `line path: what` of each problem.
fn refused(text: &str) -> Vec<String> {
    let Err(error) = CaseFile::of_text(text) else { panic!("should be refused: {text}") };
    let told = |p: &Problem| format!("{} {}: {}", p.line.unwrap_or(0), p.path, p.what);
    error.problems.iter().map(told).collect()
}

fn value(input: &str) -> Option<String> {
    let case = read(&format!("tests: [{{ name: a, {input} }}]")).remove(0);
    case.given.value.map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn values_are_written_as_they_stand() {
    for (input, expected) in [
        (
            "input: { z: 1.10, a: 12345678901234567890, b: [1e999, -0, yes, true, null, \"5\", 5] }",
            r#"{"z":1.10,"a":12345678901234567890,"b":[1e999,-0,"yes",true,null,"5",5]}"#,
        ),
        ("input: {text: it's, \"a.b\": 0x1F, /c: 007}", r#"{"text":"it's","a.b":31,"/c":7}"#),
        ("input: [a, {}]", r#"["a",{}]"#),
        ("input: \"{\\\"n\\\": 1.10\"", "{\"n\": 1.10"),
        ("input: ''", ""),
        ("input: plain words", "plain words"),
        ("input: \"5\"", "5"),
        ("value_base64: aGk=", "hi"),
    ] {
        assert_eq!(value(input).as_deref(), Some(expected), "{input}");
    }
    assert_eq!(value("input: null"), None);
    assert_eq!(value("input: "), None);
    assert_eq!(read("tests: [{ name: a, value_base64: '/w==' }]")[0].given.value, Some(vec![255]));
    let shared = read("tests:\n- { name: a, input: &i { n: 1.10 } }\n- { name: b, input: *i }\n");
    assert_eq!(shared[1].given.value.as_deref(), Some(b"{\"n\":1.10}".as_slice()));
}

#[test]
fn the_rest_of_a_record() {
    let case = &read(
        "tests:\n- name: a\n  input: x\n  key: k\n  headers: { z: '1.10', a: null, m: text }\n  topic: reviews\n  \
         timestamp: 2026-01-31T08:00:00Z\n",
    )[0];
    let Given { key, headers, topic, timestamp, .. } = &case.given;
    assert_eq!(key.as_deref(), Some(b"k".as_slice()));
    let expected = [("z", Some("1.10")), ("a", None), ("m", Some("text"))];
    assert_eq!(*headers, expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))));
    assert_eq!((topic.as_deref(), *timestamp), (Some("reviews"), Some(1_769_846_400_000)));
    assert_eq!((case.tolerance, &case.expect, case.line), (0.001, &Expect::Nothing, 2));
}

#[test]
fn expectations() {
    let expect =
        |text: &str| read(&format!("tests: [{{ name: a, input: x, expect: {text} }}]")).remove(0).expect;
    assert_eq!(expect("{}"), Expect::Nothing);
    assert_eq!(expect("{ label: , fields: {} }"), Expect::Nothing, "a key without a value is not written");
    assert_eq!(expect("{ dead_letter: text_empty }"), Expect::DeadLetter(Reason::TextEmpty));
    let written = Written {
        passed: Some(PassThrough::FieldExists),
        fields: vec![("/b".into(), "1.10".into()), ("/a".into(), "null".into())],
        value: Some("v".into()),
        headers: vec![("h".into(), Some("x".into()))],
        topic: Some("t".into()),
        ..Written::default()
    };
    let text =
        "{ passed: field_exists, fields: { /b: 1.10, /a: null }, value: v, headers: { h: x }, topic: t }";
    assert_eq!(expect(text), Expect::Written(written));
    let written = Written { label: Some("l".into()), score: Some(1.0), ..Written::default() };
    assert_eq!(expect("{ label: l, score: 1 }"), Expect::Written(written));
}

#[test]
fn everything_that_is_wrong_at_once_with_its_line() {
    let text = "\
tests:
  - name: a
    input: 5
  - name: b
    inptu: x
    input: x
  - name: c
    input: x
    value_base64: aGk=
  - name: d
    value_base64: '?'
  - name: e
  - name: a
    input: x
    headers: { a: [1] }
    topic: a b
    timestamp: 2026-02-30T08:00:00Z
    expect:
      label: x
      dead_letter: text_empty
      passed: tombstone
  - name: f
    input: x
    expect:
      passed: tombstone
      score: 1
      fields: { label: x }
  - name: g
    input: x
    tolerance: -1
    expect:
      dead_letter: text_emtpy
      score: high
  - name: h
    input: x
    input: y
";
    assert_eq!(
        refused(text),
        [
            "3 tests[0].input: is neither text nor a map, a list or `null`",
            "5 tests[1].inptu: unknown key",
            "9 tests[2].value_base64: stands beside `input`",
            "11 tests[3].value_base64: is not Base64",
            "12 tests[4].input: is missing",
            "13 tests[5].name: is the name of another case",
            "15 tests[5].headers.a: is not text",
            "16 tests[5].topic: is not a topic name: only a-z, A-Z, 0-9, `.`, `_` and `-` may be in one",
            "17 tests[5].timestamp: is a day or an hour that does not exist",
            "19 tests[5].expect.label: cannot stand beside `dead_letter`: that record is in no output topic",
            "21 tests[5].expect.passed: cannot stand beside `dead_letter`: that record is in no output topic",
            "26 tests[6].expect.score: cannot stand beside `passed`: what passes through has no result",
            "27 tests[6].expect.fields.label: a JSON pointer must begin with `/`",
            "30 tests[7].tolerance: must be at least 0",
            "32 tests[7].expect.dead_letter: must be one of invalid_json, not_an_object, invalid_utf8, \
             schema_registry_framed, text_missing, text_not_a_string, text_empty, text_too_long, no_tokens, \
             field_exists, tokenize_failed, inference_failed, non_finite_output",
            "33 tests[7].expect.score: expected a number, found text",
            "36 tests[8].input: is written twice",
        ]
    );
    let error = CaseFile::of_text(text).unwrap_err();
    let hint = |path: &str| error.problems.iter().find(|p| p.path == path).unwrap().hint.clone().unwrap();
    assert_eq!(hint("tests[0].input"), "put it in quotes");
    assert_eq!(hint("tests[1].inptu"), "did you mean `input`?");
    assert_eq!(hint("tests[7].expect.dead_letter"), "did you mean `text_empty`?");
}

#[test]
fn files_that_hold_no_cases() {
    assert_eq!(refused(""), ["0 : expected a section of keys, found nothing"]);
    assert_eq!(refused("- a\n"), ["0 : expected a section of keys, found a list"]);
    assert_eq!(refused("test: []\n"), ["0 tests: is missing", "1 test: unknown key"]);
    assert_eq!(refused("tests: { a: b }\n"), ["1 tests: expected a list, found a section of keys"]);
    assert_eq!(refused("tests: [a]\n"), ["1 tests[0]: expected a section of keys, found text"]);
    assert!(refused("tests: [\n")[0].contains("this is not YAML"));
    assert!(read("tests: []\n").is_empty());
}

#[test]
fn in_the_pipeline_file_and_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (pipeline, beside_it) = (dir.path().join("p.yaml"), dir.path().join("p.tests.yaml"));
    assert_eq!(beside(&pipeline), beside_it);
    assert!(is_beside(&beside_it) && !is_beside(&pipeline));
    let rest = "input: {topics: [a]}\nmodel: {path: x}\n";
    std::fs::write(&pipeline, rest).unwrap();
    assert!(cases(&pipeline).unwrap().is_empty());
    std::fs::write(&pipeline, format!("{rest}tests:\n- {{ name: a, input: x }}\n")).unwrap();
    std::fs::write(&beside_it, "tests:\n- { name: b, input: x }\n- { name: c, input: x }\n").unwrap();
    let files = cases(&pipeline).unwrap();
    let names: Vec<_> =
        files.iter().map(|f| f.cases.iter().map(|c| c.name.as_str()).collect::<Vec<_>>()).collect();
    assert_eq!(names, [vec!["a"], vec!["b", "c"]]);
    assert_eq!([&files[0].path, &files[1].path], [&pipeline, &beside_it]);
    std::fs::write(&beside_it, "tests:\n- { name: c, input: x }\n- { name: a, input: x }\n").unwrap();
    let error = cases(&pipeline).unwrap_err().to_string();
    let expected = format!(
        "error: tests[1].name: is the name of another case\n  --> {}:3\n  help: see {}:4",
        beside_it.display(),
        pipeline.display()
    );
    assert_eq!(error, expected);
}

#[test]
fn a_worker_does_not_look_at_them() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = dir.path().join("p.yaml");
    let text = "input: {topics: [a]}\nmodel: {path: x}\ntests:\n- {}\n- { nmae: 1, a: 1, a: 2 }\n";
    std::fs::write(&pipeline, text).unwrap();
    assert!(load(&pipeline, &Overrides::default()).unwrap().warnings.is_empty());
    assert!(cases(&pipeline).is_err());
    let set = Overrides { set: vec!["tests=[]".into()], ..Overrides::default() };
    let problems = load(&pipeline, &set).unwrap_err().problems;
    assert_eq!((problems.len(), problems[0].path.as_str()), (1, "tests"), "{problems:?}");
    assert!(problems[0].to_string().contains("--set tests"), "{}", problems[0]);
}

#[test]
fn what_no_model_can_make_true() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = dir.path().join("p.yaml");
    let text = "\
input: {topics: [reviews, '^logs[.].*$']}
model: {path: x}
output: {topic: tagged, below: 0.6, route: {negative: urgent}}
tests:
- { name: a, input: x, topic: logs.web, expect: { label: uncertain, topic: urgent } }
- { name: b, input: x, topic: review, expect: { label: postive, topic: reviews } }
";
    std::fs::write(&pipeline, text).unwrap();
    let settings = load(&pipeline, &Overrides::default()).unwrap().settings;
    let labels = ["negative".to_owned(), "positive".to_owned()];
    let found = cases(&pipeline).unwrap()[0].impossible(&settings, &labels);
    let told: Vec<_> = found
        .iter()
        .map(|p| format!("{} {}: {} ({})", p.line.unwrap(), p.path, p.what, p.hint.as_ref().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            "6 tests[1].topic: is a topic that the pipeline does not read (did you mean `reviews`?)",
            "6 tests[1].expect.label: is a label that no result can have (did you mean `positive`?)",
            "6 tests[1].expect.topic: is a topic that the pipeline does not write (known here: tagged, urgent)",
        ]
    );
}
