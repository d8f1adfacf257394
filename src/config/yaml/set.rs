//! One key of a pipeline set to another value in the text of its file; comments, order and all other
//! values stay as they are. Pure.

use serde_json::{Map, Value};

use super::{Document, Edit, Node, Scalars, Source, Style, What, parse, shared};

/// How much deeper than their section its keys stand, where none shows it.
const STEP: usize = 2;

/// The text with `value` (YAML on one line) at `section.key`. A section that is not there comes behind the
/// one named `behind`. `None`: it is written in a way that cannot be changed without touching more, as
/// where something is shared by an anchor.
pub(crate) fn set(text: &str, (section, key): (&str, &str), value: &str, behind: &str) -> Option<String> {
    let old = parse(text, Scalars::Typed).ok()?;
    let source = Source::new(text);
    let new = source.with(vec![edit(&source, old.root.as_ref()?, (section, key), value, behind)?])?;
    let read = parse(&new, Scalars::Typed).ok()?;
    says(old, read, (section, key), value).then_some(new)
}

fn edit(source: &Source, root: &Node, at: (&str, &str), value: &str, behind: &str) -> Option<Edit> {
    let (section, key) = at;
    let Some((name, node)) = entry(root, section) else {
        let (before, last) = entry(root, behind)?;
        let end = source.end(Some(before), last)?;
        if source.is_flow(root) {
            let (section, written) = (like(before, section), pair(before, key, value));
            return Some((end..end, format!(", {section}: {{ {written} }}")));
        }
        let (end, column) = (source.end_of_line(end), before.place.column);
        let head = source.below(&[format!("{section}:")], column);
        return Some((end..end, head + &source.below(&[pair(before, key, value)], column + STEP)));
    };
    if name.anchor || node.anchor || node.alias {
        return None;
    }
    match &node.what {
        What::Map { entries, .. } => match (entry(node, key), entries.last()) {
            (Some((name, old)), _) if name.anchor || shared(old) => None,
            (Some((name, old)), _) if is_nothing(old) => {
                let after = source.after_colon(name)?;
                Some((after..after, format!(" {}", like(name, value))))
            }
            (Some((name, old)), _) => Some((source.value(name, old)?, like(name, value))),
            (None, Some((name, last))) => {
                let end = source.end(Some(name), last)?;
                let written = pair(name, key, value);
                if source.is_flow(node) {
                    return Some((end..end, format!(", {written}")));
                }
                let end = source.end_of_line(end);
                Some((end..end, source.below(&[written], node.place.column)))
            }
            (None, None) => {
                let range = source.at(node.place)?..source.end(None, node)?;
                Some((range, format!("{{ {} }}", pair(name, key, value))))
            }
        },
        What::Scalar { .. } if is_nothing(node) => {
            let (after, written) = (source.after_colon(name)?, pair(name, key, value));
            if source.is_flow(root) {
                return Some((after..after, format!(" {{ {written} }}")));
            }
            let end = source.end_of_line(after);
            Some((end..end, source.below(&[written], name.place.column + STEP)))
        }
        What::Scalar { .. } | What::List { .. } => None,
    }
}

fn entry<'n>(node: &'n Node, name: &str) -> Option<&'n (Node, Node)> {
    node.entries().iter().find(|(key, _)| key.text() == name)
}

/// `key:` without a value.
fn is_nothing(node: &Node) -> bool {
    matches!(&node.what, What::Scalar { text, style: Style::Plain } if text.is_empty())
}

fn pair(neighbour: &Node, key: &str, value: &str) -> String {
    format!("{}: {}", like(neighbour, key), like(neighbour, value))
}

/// In quotes where a neighbouring key is: a file of JSON stays one.
fn like(key: &Node, text: &str) -> String {
    let quoted = matches!(&key.what, What::Scalar { style: Style::DoubleQuoted, .. });
    if quoted && text.parse::<i64>().is_err() { Value::from(text).to_string() } else { text.to_owned() }
}

/// Is the value there now, and everything else as it was?
fn says(old: Document, new: Document, (section, key): (&str, &str), value: &str) -> bool {
    let Ok(Value::Object(wanted)) = parse(&format!("v: {value}"), Scalars::Typed).map(|d| d.value) else {
        return false;
    };
    let mut expected = old.value;
    let Some(sections) = expected.as_object_mut() else { return false };
    let keys = sections.entry(section).or_insert(Value::Null);
    if keys.is_null() {
        *keys = Value::Object(Map::new());
    }
    let Some(keys) = keys.as_object_mut() else { return false };
    keys.insert(key.to_owned(), wanted.get("v").cloned().unwrap_or_default());
    expected == new.value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn size(text: &str) -> Option<String> {
        set(text, ("batch", "max_batch_size"), "16", "model")
    }

    #[test]
    fn wherever_it_stands() {
        for (text, expected) in [
            // Replaced, with its comment behind it.
            ("batch:\n  max_batch_size: 64 # as it was\n", "batch:\n  max_batch_size: 16 # as it was\n"),
            (
                "batch: { max_batch_size: \"64\", timeout: 1m }\n",
                "batch: { max_batch_size: 16, timeout: 1m }\n",
            ),
            ("batch:\n  max_batch_size:\n  timeout: 1m\n", "batch:\n  max_batch_size: 16\n  timeout: 1m\n"),
            // Added to its section.
            (
                "batch:\n    timeout: 1m # long\n\n# end\n",
                "batch:\n    timeout: 1m # long\n    max_batch_size: 16\n\n# end\n",
            ),
            ("batch: { timeout: 1m }\nlog: {}\n", "batch: { timeout: 1m, max_batch_size: 16 }\nlog: {}\n"),
            ("batch: {}\n", "batch: { max_batch_size: 16 }\n"),
            (
                "batch:\n  # timeout: 1m\nlog: {}\n",
                "batch:\n  max_batch_size: 16\n  # timeout: 1m\nlog: {}\n",
            ),
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
    }
}
