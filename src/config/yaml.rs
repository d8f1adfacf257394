//! Reads one YAML document and remembers on which line each key stands. Pure.
//!
//! The `config` crate reads YAML too, but forgets the lines; so the file is parsed here, once, and
//! handed to it as a ready tree.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Number, Value};
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::{Marker, ScanError, TScalarStyle};
use yaml_rust2::yaml::Yaml;

use super::path;

/// A document with the places of its keys.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// `Null` for an empty one.
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
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) what: String,
}

/// How plain scalars are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalars {
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
pub(super) fn parse(text: &str, scalars: Scalars) -> Result<Document, SyntaxError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        scalars,
        anchors: HashMap::new(),
        nodes: 0,
        document: Document::default(),
    };
    let mut documents = 0;
    loop {
        let (event, mark) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(reader.document),
            Event::DocumentStart | Event::DocumentEnd | Event::StreamStart | Event::Nothing => {}
            first => {
                documents += 1;
                if documents > 1 {
                    return Err(refuse(mark, "there is more than one YAML document in the file"));
                }
                reader.document.line = mark.line();
                reader.document.value = reader.node(first, mark, "", 0)?;
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<std::str::Chars<'a>>,
    scalars: Scalars,
    anchors: HashMap<usize, Value>,
    nodes: usize,
    document: Document,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<(Event, Marker), SyntaxError> {
        self.parser.next_token().map_err(|e: ScanError| refuse(*e.marker(), e.info()))
    }

    fn node(&mut self, event: Event, mark: Marker, at: &str, depth: usize) -> Result<Value, SyntaxError> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(refuse(mark, "the document is too deep or too large for a pipeline"));
        }
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned();
                let value = value.ok_or_else(|| refuse(mark, "this alias has no anchor before it"))?;
                self.nodes += size(&value);
                (value, 0)
            }
            Event::Scalar(text, style, anchor, _) => (self.scalar(text, style), anchor),
            Event::SequenceStart(anchor, _) => (self.sequence(at, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(at, depth)?, anchor),
            _ => return Err(refuse(mark, "a value is missing here")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, at: &str, depth: usize) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (event, mark) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            let at = path::index(at, items.len());
            self.document.lines.insert(at.clone(), mark.line());
            items.push(self.node(event, mark, &at, depth + 1)?);
        }
    }

    fn mapping(&mut self, at: &str, depth: usize) -> Result<Value, SyntaxError> {
        let mut map = Map::new();
        loop {
            let (event, mark) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Object(map)),
                Event::Scalar(key, ..) => key,
                _ => return Err(refuse(mark, "a key must be plain text")),
            };
            let at = path::key(at, &key);
            if map.contains_key(&key) {
                self.document.duplicates.push((at.clone(), mark.line()));
            } else {
                self.document.lines.insert(at.clone(), mark.line());
            }
            let (event, mark) = self.next()?;
            let value = self.node(event, mark, &at, depth + 1)?;
            map.insert(key, value);
        }
    }

    fn scalar(&self, text: String, style: TScalarStyle) -> Value {
        if style != TScalarStyle::Plain || self.scalars == Scalars::AsText {
            return Value::String(text);
        }
        match Yaml::from_str(&text) {
            Yaml::Null => Value::Null,
            Yaml::Boolean(b) => Value::Bool(b),
            Yaml::Integer(i) => Value::Number(i.into()),
            // What no JSON number can say (infinity) stays text, and the schema refuses it.
            Yaml::Real(r) => {
                r.parse().ok().and_then(Number::from_f64).map_or(Value::String(text), Value::Number)
            }
            _ => Value::String(text),
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
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
