//! Puts a new expectation into the text of a file, and changes nothing else in it. Pure.
//!
//! The places are found by `config/yaml/source`. Whoever is not sure refuses; and `update` reads the
//! result before it is written.

use super::change::{Change, NotUpdated};
use super::compare::Key;
use crate::config::yaml::{self, Edit, Node, Scalars, Source, Style, What, shared};

/// How much deeper than `expect` its keys stand.
const STEP: usize = 2;

/// The text with the change in the case of that index.
pub(super) fn edit(text: &str, case: usize, change: &Change) -> Result<String, NotUpdated> {
    let document = yaml::parse(text, Scalars::Typed).map_err(|_| NotUpdated::Unsafe)?;
    let tests = document.root.as_ref().and_then(|root| root.get("tests"));
    let case = tests.and_then(|tests| tests.items().get(case)).ok_or(NotUpdated::Unsafe)?;
    let source = Source::new(text);
    let edits = edits(&source, case, change).ok_or(NotUpdated::Unsafe)??;
    source.with(edits).ok_or(NotUpdated::Unsafe)
}

/// `None`: the text is not as it should be.
fn edits(source: &Source, case: &Node, change: &Change) -> Option<Result<Vec<Edit>, NotUpdated>> {
    if case.alias {
        return Some(Err(NotUpdated::Shared));
    }
    let expect = case.entries().iter().find(|(key, _)| key.text() == "expect");
    if let Some((key, value)) = expect
        && (key.anchor || shared(value))
    {
        return Some(Err(NotUpdated::Shared));
    }
    let edits = match (change, expect) {
        (Change::Values(values), Some((_, expect))) => values
            .iter()
            .map(|(key, new)| {
                let (key, value) = entry(expect, key)?;
                Some((source.value(key, value)?, new.clone()))
            })
            .collect::<Option<Vec<_>>>()?,
        (Change::Values(_), None) => return None,
        (Change::Whole(entries), Some((key, value))) => vec![anew(source, case, key, value, entries)?],
        (Change::Whole(entries), None) => vec![added(source, case, entries)?],
    };
    Some(Ok(edits))
}

/// All of an `expect` that is there.
fn anew(source: &Source, case: &Node, key: &Node, value: &Node, entries: &[(Key, String)]) -> Option<Edit> {
    let lines = lines(entries);
    match &value.what {
        What::Scalar { text, style: Style::Plain } if text.is_empty() => {
            let at = source.after_colon(key)?;
            if source.is_flow(case) {
                return Some((at..at, format!(" {}", flow(&lines))));
            }
            let at = source.end_of_line(at);
            Some((at..at, source.below(&lines, key.place.column + STEP)))
        }
        What::Map { .. } if !source.is_flow(value) => {
            let margin = format!("{}{}", source.line_end, " ".repeat(value.place.column));
            Some((source.at(value.place)?..source.end(Some(key), value)?, lines.join(&margin)))
        }
        _ => Some((source.at(value.place)?..source.end(Some(key), value)?, flow(&lines))),
    }
}

/// An `expect` where there is none: the case's last key.
fn added(source: &Source, case: &Node, entries: &[(Key, String)]) -> Option<Edit> {
    let lines = lines(entries);
    let end = source.end(None, case)?;
    if source.is_flow(case) {
        let (key, last) = case.entries().last()?;
        let at = source.end(Some(key), last)?;
        return Some((at..at, format!(", expect: {}", flow(&lines))));
    }
    let at = source.end_of_line(end);
    let expect = source.below(&["expect:".to_owned()], case.place.column);
    Some((at..at, expect + &source.below(&lines, case.place.column + STEP)))
}

/// What a key of an expectation is called, and what is above it.
fn names(key: &Key) -> (Option<&'static str>, &str) {
    match key {
        Key::Label => (None, "label"),
        Key::Score => (None, "score"),
        Key::Field(pointer) => (Some("fields"), pointer),
        Key::Value => (None, "value"),
        Key::Header(name) => (Some("headers"), name),
        Key::Topic => (None, "topic"),
        Key::Passed => (None, "passed"),
        Key::DeadLetter => (None, "dead_letter"),
    }
}

fn entry<'a>(expect: &'a Node, key: &Key) -> Option<&'a (Node, Node)> {
    let (section, name) = names(key);
    let node = section.map_or(Some(expect), |section| expect.get(section))?;
    node.entries().iter().find(|(key, _)| key.text() == name)
}

/// Only keys without a section come here.
fn lines(entries: &[(Key, String)]) -> Vec<String> {
    entries.iter().map(|(key, value)| format!("{}: {value}", names(key).1)).collect()
}

fn flow(lines: &[String]) -> String {
    format!("{{ {} }}", lines.join(", "))
}
