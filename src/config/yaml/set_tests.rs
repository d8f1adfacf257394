//! Keys that are set: what a text is then, and what is left alone.

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn size(text: &str) -> Option<String> {
    set(text, &["batch", "max_batch_size"], "16", &["model", "results"])
}

const DEEP: [&str; 4] = ["results", "intent", "model", "sessions"];

fn sessions(text: &str) -> Option<String> {
    set(text, &DEEP, "2", &["model", "results"])
}

#[test]
fn wherever_it_stands() {
    for (text, expected) in [
        // Replaced, with its comment behind it.
        ("batch:\n  max_batch_size: 64 # as it was\n", "batch:\n  max_batch_size: 16 # as it was\n"),
        ("batch: { max_batch_size: \"64\", timeout: 1m }\n", "batch: { max_batch_size: 16, timeout: 1m }\n"),
        ("batch:\n  max_batch_size:\n  timeout: 1m\n", "batch:\n  max_batch_size: 16\n  timeout: 1m\n"),
        // Added to its section.
        (
            "batch:\n    timeout: 1m # long\n\n# end\n",
            "batch:\n    timeout: 1m # long\n    max_batch_size: 16\n\n# end\n",
        ),
        ("batch: { timeout: 1m }\nlog: {}\n", "batch: { timeout: 1m, max_batch_size: 16 }\nlog: {}\n"),
        ("batch: {}\n", "batch: { max_batch_size: 16 }\n"),
        ("batch:\n  # timeout: 1m\nlog: {}\n", "batch:\n  max_batch_size: 16\n  # timeout: 1m\nlog: {}\n"),
        // With its section.
        (
            "model: { path: x } # here\noutput:\n  topic: a\n",
            "model: { path: x } # here\nbatch:\n  max_batch_size: 16\noutput:\n  topic: a\n",
        ),
        ("model:\r\n  path: x", "model:\r\n  path: x\r\nbatch:\r\n  max_batch_size: 16"),
        (
            "{\"model\":{\"path\":\"x\"},\"input\":{}}",
            "{\"model\":{\"path\":\"x\"}, \"batch\": { \"max_batch_size\": 16 },\"input\":{}}",
        ),
    ] {
        assert_eq!(size(text).as_deref(), Some(expected), "{text}");
        assert_eq!(size(expected).as_deref(), Some(expected), "again: {text}");
    }
}

#[test]
fn what_is_shared_or_no_section_is_left_alone() {
    for text in [
        "batch: &b { max_batch_size: 64 }\nother: *b\n",
        "x: &n 64\nbatch: { max_batch_size: *n }\n",
        "x: &b { max_batch_size: 64 }\nbatch: *b\n",
        "batch: [1]\n",
        "batch: 5\n",
        "nothing: to put it behind\n",
        "",
    ] {
        assert_eq!(size(text), None, "{text}");
    }
}

#[test]
fn wherever_it_stands_below_others() {
    for (text, expected) in [
        // Replaced, or added; in block style with comments between.
        (
            "results:\n  # the first\n  intent:   # why\n    model:\n      path: x # here\n      sessions: auto # all\n  mood: { model: { path: y } }\n",
            "results:\n  # the first\n  intent:   # why\n    model:\n      path: x # here\n      sessions: 2 # all\n  mood: { model: { path: y } }\n",
        ),
        (
            "results:\n  mood:\n    model:\n      sessions: 9\n      path: y\n  intent:\n    model:\n      path: x # here\n      # sessions: 4\n    required: false\n",
            "results:\n  mood:\n    model:\n      sessions: 9\n      path: y\n  intent:\n    model:\n      path: x # here\n      sessions: 2\n      # sessions: 4\n    required: false\n",
        ),
        // A model on one line.
        (
            "results:\n  intent:\n    model: { path: x } # here\n    required: false\n",
            "results:\n  intent:\n    model: { path: x, sessions: 2 } # here\n    required: false\n",
        ),
        (
            "results:\n  intent: { model: { sessions: latency, path: x }, required: false }\n",
            "results:\n  intent: { model: { sessions: 2, path: x }, required: false }\n",
        ),
        (
            "results: { mood: { model: { path: y } }, intent: { model: { path: x } } }\n",
            "results: { mood: { model: { path: y } }, intent: { model: { path: x, sessions: 2 } } }\n",
        ),
        // Over several lines, with a comma at the end.
        (
            "results: {\n  intent: {\n    model: {\n      path: x,\n    },\n  },\n}\n",
            "results: {\n  intent: {\n    model: {\n      path: x, sessions: 2,\n    },\n  },\n}\n",
        ),
        // Keys in quotes.
        (
            "results:\n  'intent':\n    \"model\":\n      path: x\n",
            "results:\n  'intent':\n    \"model\":\n      path: x\n      sessions: 2\n",
        ),
        (
            "{\"results\": {\"intent\": {\"model\": {\"path\": \"x\"}}}}",
            "{\"results\": {\"intent\": {\"model\": {\"path\": \"x\", \"sessions\": 2}}}}",
        ),
        (
            "results:\r\n  intent:\r\n    model:\r\n      path: x",
            "results:\r\n  intent:\r\n    model:\r\n      path: x\r\n      sessions: 2",
        ),
        // An anchor on a neighbour is none of our affair.
        (
            "results:\n  intent: { model: { path: &p x } }\n  mood: { model: { path: *p } }\n",
            "results:\n  intent: { model: { path: &p x, sessions: 2 } }\n  mood: { model: { path: *p } }\n",
        ),
    ] {
        assert_eq!(sessions(text).as_deref(), Some(expected), "{text}");
        assert_eq!(sessions(expected).as_deref(), Some(expected), "again: {text}");
    }
    // Where `batch` is not there, it comes behind the results.
    let text = "results:\n  intent:\n    model: { path: x } # here\noutput: {}\n";
    let expected =
        "results:\n  intent:\n    model: { path: x } # here\nbatch:\n  max_batch_size: 16\noutput: {}\n";
    assert_eq!(size(text).as_deref(), Some(expected));
    // A last section that is missing, below others.
    let text = "results:\n  intent:\n    results: 1 # one\n    other: 2\n";
    let expected = "results:\n  intent:\n    results: 1 # one\n    model:\n      sessions: 2\n    other: 2\n";
    assert_eq!(sessions(text).as_deref(), Some(expected));
}

#[test]
fn what_is_shared_or_missing_on_the_way_is_left_alone() {
    for text in [
        "results: &r { intent: { model: { path: x } } }\nother: *r\n",
        "results:\n  intent: &i { model: { path: x } }\n  mood: *i\n",
        "results:\n  mood: &i { model: { path: x } }\n  intent: *i\n",
        "results:\n  intent: { model: &m { path: x } }\n  mood: { model: *m }\n",
        "results:\n  mood: { model: &m { path: x } }\n  intent: { model: *m }\n",
        "results:\n  intent: { model: { path: x, sessions: &n 4 } }\n  mood: { model: { path: y, sessions: *n } }\n",
        // A key that is written twice: which one holds is not ours to say.
        "results:\n  intent: { model: { path: x } }\n  intent: { model: { path: y } }\n",
        "results:\n  mood: { model: { path: x } }\n",
        "results: [{ intent: { model: { path: x } } }]\n",
        "results:\n  intent: { required: false }\n",
        "results:\n  intent: { model: x }\n",
        "results:\n  intent:\n",
        "results:\n",
        "model: { path: x }\n",
    ] {
        assert_eq!(sessions(text), None, "{text}");
    }
    assert_eq!(set("a: 1\n", &["a"], "2", &[]), None, "a key without a section");
    assert_eq!(set("a: 1\n", &[], "2", &[]), None);
}

proptest! {
    /// Whatever is written: either it says exactly that, or it is left alone; never a panic.
    #[test]
    fn nothing_else_changes(rest in "[a-c:{}\\[\\],\\-&*#\"' \\n|>0-9.]{0,40}", flow in any::<bool>()) {
        let text = match flow {
            true => format!("model: {{ path: x, {rest} }}\nbatch: {{ timeout: 1m, {rest} }}\n"),
            false => format!("model:\n  path: x\n  {rest}\nbatch:\n  timeout: 1m\n  {rest}\n"),
        };
        if let Some(new) = size(&text) {
            let value = parse(&new, Scalars::Typed).unwrap().value;
            prop_assert_eq!(&value["batch"]["max_batch_size"], &Value::from(16));
            prop_assert_eq!(&value["model"], &parse(&text, Scalars::Typed).unwrap().value["model"]);
        }
    }

    /// The same below others: one value is another one, and that is all.
    #[test]
    fn nothing_else_changes_below_others(rest in "[a-c:{}\\[\\],\\-&*#\"' \\n|>0-9.]{0,40}", flow in any::<bool>()) {
        let text = match flow {
            true => format!("results: {{ a: {{ model: {{ path: x, {rest} }} }}, intent: {{ model: {{ path: x, {rest} }} }} }}\n"),
            false => format!(
                "results:\n  a:\n    model:\n      path: x\n      {rest}\n  intent:\n    model:\n      path: x\n      {rest}\n"
            ),
        };
        if let Some(new) = sessions(&text) {
            let mut value = parse(&new, Scalars::Typed).unwrap().value;
            let mut old = parse(&text, Scalars::Typed).unwrap().value;
            prop_assert_eq!(&value["results"]["intent"]["model"]["sessions"], &Value::from(2));
            for value in [&mut value, &mut old] {
                value["results"]["intent"]["model"].as_object_mut().unwrap().remove("sessions");
            }
            prop_assert_eq!(value, old);
        }
    }
}
