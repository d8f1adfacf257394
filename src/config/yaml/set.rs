//! One key of a pipeline set to another value in the text of its file; comments, order and all other
//! values stay as they are. Pure.

use serde_json::{Map, Value};

use super::{Document, Edit, Node, Scalars, Source, Style, What, parse, shared};

/// How much deeper than their section its keys stand, where none shows it.
const STEP: usize = 2;

/// The text with `value` (YAML on one line) at a path of two keys or more: `["batch", "max_batch_size"]`. All
/// but the last section must be there; that one, if it is not, comes behind one of those named `behind`.
/// `None`: it is written in a way that cannot be changed without touching more, as where something is shared
/// by an anchor.
pub(crate) fn set(text: &str, at: &[&str], value: &str, behind: &[&str]) -> Option<String> {
    let old = parse(text, Scalars::Typed).ok()?;
    let source = Source::new(text);
    let new = source.with(vec![edit(&source, old.root.as_ref()?, at, value, behind)?])?;
    let read = parse(&new, Scalars::Typed).ok()?;
    says(old, read, at, value).then_some(new)
}

fn edit(source: &Source, root: &Node, at: &[&str], value: &str, behind: &[&str]) -> Option<Edit> {
    let (key, sections) = at.split_last()?;
    let (section, above) = sections.split_last()?;
    let mut parent = root;
    for name in above {
        let (name, node) = entry(parent, name)?;
        if name.anchor || node.anchor || node.alias {
            return None;
        }
        parent = node;
    }
    let Some((name, node)) = entry(parent, section) else {
        let (before, last) = behind.iter().find_map(|behind| entry(parent, behind))?;
        let end = source.end(Some(before), last)?;
        if source.is_flow(parent) {
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
            if source.is_flow(parent) {
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
fn says(old: Document, new: Document, at: &[&str], value: &str) -> bool {
    let Ok(Value::Object(wanted)) = parse(&format!("v: {value}"), Scalars::Typed).map(|d| d.value) else {
        return false;
    };
    let Some((key, sections)) = at.split_last() else { return false };
    let mut expected = old.value;
    let mut keys = expected.as_object_mut();
    for section in sections {
        let Some(map) = keys else { return false };
        let below = map.entry(*section).or_insert(Value::Null);
        if below.is_null() {
            *below = Value::Object(Map::new());
        }
        keys = below.as_object_mut();
    }
    let Some(keys) = keys else { return false };
    keys.insert((*key).to_owned(), wanted.get("v").cloned().unwrap_or_default());
    expected == new.value
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
