//! Whatever a file with cases looks like: one expectation is changed, and no other byte of it.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use std::fs;

use super::*;
use crate::golden::compare::Key;
use crate::golden::seen::Sent;
use crate::record::{DeadLetter, Header, PassThrough, Reason, Stage};

fn tagged(value: &str) -> Seen {
    Seen::Written(Sent {
        result: Ok(Some(("positive".to_owned(), 0.987_654))),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![Header::new("lang", "en"), Header { name: b"none".to_vec(), value: None }],
        topic: Some("reviews.tagged".to_owned()),
    })
}

fn passed() -> Seen {
    let result = Err(PassThrough::Tombstone);
    Seen::Written(Sent { result, value: None, headers: Vec::new(), topic: None })
}

fn dead() -> Seen {
    let message = "the text is empty".to_owned();
    Seen::DeadLetter(DeadLetter { reason: Reason::TextEmpty, message, stage: Stage::Decode })
}

fn updated(text: &str, index: usize, seen: &Seen) -> Result<String, NotUpdated> {
    let file = CaseFile::of_text(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (new, mut answers) = rewrite(&file, &[(index, seen)]);
    answers.remove(0).map(|()| new)
}

/// How a record ends, and what `--update` says of that.
#[derive(Debug, Clone, Copy)]
enum End {
    Tagged,
    Passed,
    Dead,
}

impl End {
    fn seen(self) -> Seen {
        match self {
            Self::Tagged => tagged("{}"),
            Self::Passed => passed(),
            Self::Dead => dead(),
        }
    }
    fn lines(self) -> &'static [&'static str] {
        match self {
            Self::Tagged => &["label: positive", "score: 0.9877"],
            Self::Passed => &["passed: tombstone"],
            Self::Dead => &["dead_letter: text_empty"],
        }
    }
}

/// How an expectation may be written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Absent,
    Empty,
    /// `{}`, `~`, …
    Nothing(&'static str),
    Flow,
    FlowOnLines,
    Block,
    BlockWithComments,
}

/// How a case may be written.
#[derive(Debug, Clone)]
struct Written {
    form: Form,
    /// Spaces in front of the dash.
    margin: usize,
    dash_alone: bool,
    flow: bool,
    key_after: bool,
    comments: bool,
    literal: bool,
}

/// The case's text, and what it is to be after the update.
fn case(i: usize, how: &Written, end: End) -> (String, String) {
    let (margin, inner) = (" ".repeat(how.margin), " ".repeat(how.margin + 2));
    let note = if how.comments { "   # a note: {not, this}" } else { "" };
    let (absent, flow) = (matches!(how.form, Form::Absent), format!("{{ {} }}", end.lines().join(", ")));
    let old_and_new: (String, String) = match how.form {
        Form::Absent => (String::new(), String::new()),
        Form::Empty if how.flow => ("expect:".into(), format!("expect: {flow}")),
        Form::Empty => {
            let below: String = end.lines().iter().map(|line| format!("\n{inner}  {line}")).collect();
            (format!("expect:{note}"), format!("expect:{note}{below}"))
        }
        Form::Nothing(word) => (format!("expect: {word}"), format!("expect: {flow}")),
        Form::Flow | Form::FlowOnLines => {
            let line = if matches!(how.form, Form::FlowOnLines) { format!("\n{inner}") } else { " ".into() };
            let comma =
                if how.comments && !how.flow { format!(" ,{note}{line}# and more") } else { String::new() };
            let comma = if matches!(how.form, Form::FlowOnLines) { comma } else { String::new() };
            let text = |label: &str, score: &str| {
                format!("expect: {{{line}  label: {label} ,{line}\"score\": {score}{comma}{line}}}")
            };
            let new = match end {
                End::Tagged => text("positive", "0.9877"),
                _ => format!("expect: {flow}"),
            };
            (text("'not this'", "0.1"), new)
        }
        Form::Block | Form::BlockWithComments => {
            let notes = matches!(how.form, Form::BlockWithComments);
            let (note, alone) = match notes {
                true => ("  # sure", format!("{inner}    # by hand\n\n")),
                false => ("", String::new()),
            };
            let text = |label: &str, score: &str| {
                format!(
                    "expect:{note}\n{alone}{inner}  label: {label}{note}\n{alone}{inner}  score: {score}{note}"
                )
            };
            let new = match end {
                End::Tagged => text("positive", "0.9877"),
                _ => format!("expect:{note}\n{alone}{inner}  {}{note}", end.lines().join("\n")),
            };
            (text("\"not \\\"this\\\"\"", "0.1"), new)
        }
    };
    let whole = |expect: &str, is_new: bool| {
        if how.flow {
            let expect = match (absent, is_new) {
                (true, false) => String::new(),
                (true, true) => format!(", expect: {flow}"),
                (false, _) => format!(", {expect}"),
            };
            return format!("{margin}- {{ name: case {i}, input: [ 1.10, \"a # b\" ]{expect} }}{note}\n");
        }
        let dash = if how.dash_alone { format!("{margin}-{note}\n{inner}") } else { format!("{margin}- ") };
        let after = if how.key_after { format!("{inner}key: k{note}\n") } else { String::new() };
        let input = match how.literal {
            true => format!("|{note}\n{inner}  łódź, długi opis: # tu też\n\n{inner}  {{'\n"),
            false => "{ text: \"é # b\", n: 1.10 }\n".to_owned(),
        };
        let top = format!("{dash}name: case {i}{note}\n{inner}input: {input}");
        match absent {
            true => {
                let below: String = end.lines().iter().map(|line| format!("{inner}  {line}\n")).collect();
                let below = if is_new { format!("{inner}expect:\n{below}") } else { String::new() };
                format!("{top}{after}{below}")
            }
            false => format!("{top}{inner}{expect}\n{after}"),
        }
    };
    let trailing = if how.comments { format!("{margin}  # about the next\n\n") } else { String::new() };
    let (old, new) = old_and_new;
    (whole(&old, false) + &trailing, whole(&new, true) + &trailing)
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        Just(Form::Absent),
        Just(Form::Empty),
        prop::sample::select(vec!["{}", "~", "null", "{ }"]).prop_map(Form::Nothing),
        Just(Form::Flow),
        Just(Form::FlowOnLines),
        Just(Form::Block),
        Just(Form::BlockWithComments),
    ]
}

fn written(margin: usize) -> impl Strategy<Value = Written> {
    (form(), any::<[bool; 5]>()).prop_map(move |(form, [dash_alone, flow, key_after, comments, literal])| {
        let block = matches!(form, Form::Block | Form::BlockWithComments | Form::FlowOnLines);
        Written { form, margin, dash_alone, flow: flow && !block, key_after, comments, literal }
    })
}

fn file() -> impl Strategy<Value = Vec<Written>> {
    prop::sample::select(vec![0usize, 2, 5])
        .prop_flat_map(|margin| prop::collection::vec(written(margin), 1..5))
}

fn end() -> impl Strategy<Value = End> {
    prop::sample::select(vec![End::Tagged, End::Passed, End::Dead])
}

/// Lines and files end as they like.
fn ends(text: &str, line_end: &str, last: bool) -> String {
    let text = if last { text } else { text.trim_end_matches('\n') };
    text.replace('\n', line_end)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn one_expectation_is_changed_and_no_other_byte(
        cases in file(), which in any::<prop::sample::Index>(), end in end(),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]), last: bool,
    ) {
        let which = which.index(cases.len());
        let (mut old, mut new) = (String::from("# top\ntests:   # here\n"), String::from("# top\ntests:   # here\n"));
        for (i, how) in cases.iter().enumerate() {
            let (before, after) = case(i, how, end);
            new += if i == which { &after } else { &before };
            old += &before;
        }
        let got = updated(&ends(&old, line_end, last), which, &end.seen());
        prop_assert_eq!(got, Ok(ends(&new, line_end, last)));
    }

    /// Damage a file anywhere: if it can still be read, an update says what was seen or is refused,
    /// and says nothing else of anything else. `rewrite` itself makes sure of that; here it is that it
    /// neither panics nor passes anything unseen.
    #[test]
    fn a_file_that_is_written_oddly_is_changed_well_or_not_at_all(
        cases in file(), noise in prop::collection::vec((any::<prop::sample::Index>(), "[ \n\t#{}\\[\\],:'\"&*|>~a-]{0,3}"), 1..3), end in end(),
    ) {
        let mut text: Vec<char> = "tests:\n".chars().collect();
        for (i, how) in cases.iter().enumerate() {
            text.extend(case(i, how, end).0.chars());
        }
        for (at, noise) in noise {
            let at = at.index(text.len());
            text.splice(at..at, noise.chars());
        }
        let text: String = text.into_iter().collect();
        if let Ok(file) = CaseFile::of_text(&text) {
            for index in 0..file.cases.len() {
                let (new, answers) = rewrite(&file, &[(index, &end.seen())]);
                if answers == [Ok(())] {
                    let cases = file.with(new).unwrap().cases;
                    prop_assert_eq!(judge(&cases[index], &end.seen()), Verdict::Passed);
                    prop_assert_eq!(cases.len(), file.cases.len());
                } else {
                    prop_assert_eq!(new, text.as_str());
                }
            }
        }
    }
}

#[test]
fn values_are_changed_where_they_stand() {
    let text = "\
tests:
  - name: all
    input: x
    expect:
      label: positive          # as it should be
      fields:
        /label: \"negative\"    # not this
        /tokens:               # nor this
          used: 1
          seen: 2
        /n: 1.1                # this
        \"/big\": 1e3
      headers: { lang: 'de', none: x, }
      topic: nowhere           # far off
      value: |                 # of old
        # not a comment

        {\"label\": \"negative\"}

      # the end
";
    let value =
        r#"{"label": "positive", "tokens": {"used":8,"seen":9}, "n": 1.10, "big": 12345678901234567890}"#;
    let expected = "\
tests:
  - name: all
    input: x
    expect:
      label: positive          # as it should be
      fields:
        /label: positive    # not this
        /tokens:               # nor this
          { used: 8, seen: 9 }
        /n: 1.1                # this
        \"/big\": 12345678901234567890
      headers: { lang: en, none: null, }
      topic: reviews.tagged           # far off
      value: VALUE

      # the end
";
    let expected = expected.replace("VALUE", &format!("'{value}'"));
    assert_eq!(updated(text, 0, &tagged(value)).unwrap(), expected);
    let of = |from: &str, to: &str, seen: &Seen| {
        let text = |expect| format!("tests: [{{ name: a, input: x, expect: {{ {expect} }} }}]");
        assert_eq!(updated(&text(from), 0, seen).unwrap(), text(to));
    };
    of("dead_letter: invalid_json", "dead_letter: text_empty", &dead());
    of("passed: field_exists", "passed: tombstone", &passed());
    of("score: 0.9870, label: x", "score: 0.9870, label: positive", &tagged("{}"));
    of("topic: \"x\"", "topic: reviews.tagged", &tagged("{}"));
}

#[test]
fn what_cannot_be_changed_alone_is_left_alone() {
    let refused = |expect: &str, seen: &Seen| {
        let text = format!("tests:\n  - name: a\n    input: x\n    expect:\n      {expect}\n");
        updated(&text, 0, seen).unwrap_err()
    };
    assert_eq!(refused("label: &x other", &tagged("{}")), NotUpdated::Shared);
    assert_eq!(refused("{ label: other, headers: &x { lang: de } }", &tagged("{}")), NotUpdated::Shared);
    let aliased = "tests:\n  - &a { name: a, input: &t { text: x }, expect: { label: x } }\n  - { name: b, input: *t }\n";
    // An anchor elsewhere in the case is no hindrance.
    assert!(updated(aliased, 0, &tagged("{}")).unwrap().contains("expect: { label: positive } }"));
    assert!(
        updated(aliased, 1, &dead()).unwrap().contains("input: *t, expect: { dead_letter: text_empty } }")
    );
    let alias = "tests:\n  - { name: &n a, input: x, expect: &e { label: x } }\n  - { name: b, input: x, expect: *e }\n";
    assert_eq!(updated(alias, 1, &tagged("{}")).unwrap_err(), NotUpdated::Shared);
    assert_eq!(refused("fields: { /a: 1 }", &tagged("{}")), NotUpdated::Gone(Key::Field("/a".into())));
    assert_eq!(refused("headers: { a: b }", &tagged("{}")), NotUpdated::Gone(Key::Header("a".into())));
    assert_eq!(refused("topic: t", &passed()), NotUpdated::Gone(Key::Topic));
    assert_eq!(refused("value: t", &passed()), NotUpdated::Gone(Key::Value));
    let half = tagged("{\"a\":\"\\ud83d\"}");
    assert_eq!(refused("fields: { /a: x }", &half), NotUpdated::NotText(Key::Field("/a".into())));
}

#[test]
fn a_file_is_replaced_as_it_was_and_only_if_nobody_else_has() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real.yaml"), dir.path().join("p.yaml"));
    let text = "# a pipeline\ninput: { topics: [a] } # n\ntests:\n- { name: a, input: x }\n- name: b\n  input: y\n  \
                expect: { label: x }\nmodel: { path: x }\n";
    fs::write(&real, text).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&real, &link).unwrap();
    let files = crate::config::cases(&link).unwrap();
    let (one, two) = (tagged("{}"), dead());
    let answers = update(&files[0], &[(0, &one), (1, &two)]).unwrap();
    assert_eq!(answers, [Ok(()), Ok(())]);
    let new = text
        .replace("input: x }", "input: x, expect: { label: positive, score: 0.9877 } }")
        .replace("{ label: x }", "{ dead_letter: text_empty }");
    assert_eq!(fs::read_to_string(&real).unwrap(), new);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
    // It is not what was read any more.
    let error = update(&files[0], &[(0, &two)]).unwrap_err();
    assert!(matches!(error, WriteError::Changed(_)), "{error}");
    assert_eq!(fs::read_to_string(&real).unwrap(), new);
    fs::remove_file(&real).unwrap();
    let error = update(&files[0], &[(0, &two)]).unwrap_err();
    assert!(matches!(error, WriteError::Io(..)), "{error}");
}
