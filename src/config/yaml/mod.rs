//! Reads one YAML document and remembers where everything in it stands. Pure.
//!
//! The `config` crate reads YAML too, but forgets the lines; so the file is parsed here, once, and
//! handed to it as a ready tree.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::{Marker, ScanError};

use super::path;

mod node;
mod set;
mod source;

pub(crate) use node::{Node, Place, Style, What};
pub(crate) use set::set;
pub(crate) use source::{Edit, Source, shared};

/// A document with the places of its keys.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// As it is written; `None` for an empty one.
    pub(crate) root: Option<Node>,
    /// What it says; `Null` for an empty one.
    pub(super) value: Value,
    /// Where it begins, comments left out.
    pub(super) line: usize,
    /// Line of each key and list item, by its path.
    pub(super) lines: BTreeMap<String, usize>,
    /// Keys that are written twice in one place, with the line of the second.
    pub(super) duplicates: Vec<(String, usize)>,
}

/// YAML that cannot be read.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) what: String,
}

/// How plain scalars are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalars {
    /// As YAML does: `12` is a number.
    Typed,
    /// As written; the schema will say what they are.
    AsText,
}

/// Deeper than any pipeline; keeps the recursion bounded.
const MAX_DEPTH: usize = 32;
/// More than any pipeline; keeps aliases of aliases from growing without bound.
const MAX_NODES: usize = 20_000;

/// The one document in `text`.
pub(crate) fn parse(text: &str, scalars: Scalars) -> Result<Document, SyntaxError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    loop {
        let (event, mark) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root.map_or_else(Document::default, |r| document(r, scalars))),
            Event::DocumentStart | Event::DocumentEnd | Event::StreamStart | Event::Nothing => {}
            _ if root.is_some() => {
                return Err(refuse(mark, "there is more than one YAML document in the file"));
            }
            first => root = Some(reader.node(first, mark, 0)?),
        }
    }
}

fn document(root: Node, scalars: Scalars) -> Document {
    let (value, line) = (root.value(scalars), root.place.line);
    let mut document = Document { value, line, ..Document::default() };
    document.look(&root, "");
    Document { root: Some(root), ..document }
}

impl Document {
    /// Notes the lines of what is below `node`, and the keys that are there twice.
    fn look(&mut self, node: &Node, at: &str) {
        match &node.what {
            // Below an alias everything stands somewhere else.
            _ if node.alias => {}
            What::Scalar { .. } => {}
            What::List { items, .. } => {
                for (i, item) in items.iter().enumerate() {
                    let at = path::index(at, i);
                    self.look(item, &at);
                    self.lines.insert(at, item.place.line);
                }
            }
            What::Map { entries, .. } => {
                let mut seen = HashSet::new();
                for (key, value) in entries {
                    let at = path::key(at, key.text());
                    self.look(value, &at);
                    if seen.insert(key.text()) {
                        self.lines.insert(at, key.place.line);
                    } else {
                        self.duplicates.push((at, key.place.line));
                    }
                }
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<std::str::Chars<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<(Event, Marker), SyntaxError> {
        self.parser.next_token().map_err(|e: ScanError| refuse(*e.marker(), e.info()))
    }

    fn node(&mut self, event: Event, mark: Marker, depth: usize) -> Result<Node, SyntaxError> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(refuse(mark, "the document is too deep or too large for a pipeline"));
        }
        let (what, anchor) = match event {
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| refuse(mark, "this alias has no anchor before it"))?;
                self.nodes += node.size();
                return Ok(Node { place: mark.into(), what: node.what, anchor: false, alias: true });
            }
            Event::Scalar(text, style, anchor, _) => (What::Scalar { text, style }, anchor),
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            _ => return Err(refuse(mark, "a value is missing here")),
        };
        let node = Node { anchor: anchor > 0, ..Node::at(mark, what) };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<What, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (event, mark) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(What::List { items, end: mark.into() });
            }
            items.push(self.node(event, mark, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<What, SyntaxError> {
        let mut entries = Vec::new();
        loop {
            let (event, mark) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(What::Map { entries, end: mark.into() }),
                Event::Scalar(text, style, anchor, _) => {
                    Node { anchor: anchor > 0, ..Node::at(mark, What::Scalar { text, style }) }
                }
                _ => return Err(refuse(mark, "a key must be plain text")),
            };
            let (event, mark) = self.next()?;
            let value = self.node(event, mark, depth + 1)?;
            entries.push((key, value));
        }
    }
}

fn refuse(mark: Marker, what: impl Into<String>) -> SyntaxError {
    SyntaxError { line: mark.line(), column: mark.col() + 1, what: what.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Document {
        parse(text, Scalars::Typed).unwrap()
    }

    #[test]
    fn values_and_lines() {
        let d = read("# top\na: 1\nb:\n  c: [x, \"2\"]\n  d.e: true\nf:\n");
        assert_eq!(d.value, json!({"a": 1, "b": {"c": ["x", "2"], "d.e": true}, "f": null}));
        assert_eq!(d.lines["b.c"], 4);
        assert_eq!(d.lines["b.c[1]"], 4);
        assert_eq!(d.lines["f"], 6);
        assert!(read("").value.is_null());
        assert!(read("# only a comment\n").value.is_null());
    }

    #[test]
    fn duplicates_are_found() {
        assert_eq!(read("a: 1\nb: {c: 1,\n c: 2}\na: 2\n").duplicates, [("b.c".into(), 3), ("a".into(), 4)]);
    }

    #[test]
    fn anchors() {
        assert_eq!(read("a: &x {b: 1}\nc: *x\n").value, json!({"a": {"b": 1}, "c": {"b": 1}}));
    }

    #[test]
    fn errors_have_a_place() {
        let e = parse("a: 1\nb: [1, 2\nc: 3\n", Scalars::Typed).unwrap_err();
        assert!((2..=4).contains(&e.line), "{e:?}");
        let e = parse("a: 1\nb: @x\n", Scalars::Typed).unwrap_err();
        assert_eq!((e.line, e.column), (2, 4), "{e:?}");
        assert!(parse("a: 1\n---\nb: 2\n", Scalars::Typed).is_err());
    }

    #[test]
    fn bombs_are_refused() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            text += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","));
        }
        assert!(parse(&text, Scalars::Typed).is_err());
        assert!(parse(&"[".repeat(5000), Scalars::Typed).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a-c:{}\\[\\],\\-&*#\"' \\n\\t|>0-9.]{0,60}") {
            let _ = parse(&text, Scalars::Typed);
        }
    }
}
