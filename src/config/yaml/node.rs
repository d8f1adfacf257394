//! A YAML value as it is written, and what it says: to the configuration as a JSON value, to tests
//! of a pipeline as JSON text in which numbers stand as they were written. Pure.

use serde_json::{Map, Number, Value};
use yaml_rust2::scanner::Marker;
pub(crate) use yaml_rust2::scanner::TScalarStyle as Style;
use yaml_rust2::yaml::Yaml;

use super::Scalars;

/// Where something begins. (The parser counts characters, too, but wrongly after a block scalar that
/// is not ASCII.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Characters in front of it on its line.
    pub(crate) column: usize,
}

impl From<Marker> for Place {
    fn from(mark: Marker) -> Self {
        Self { line: mark.line(), column: mark.col() }
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Of a block scalar: where its text begins, not its `|`.
    pub(crate) place: Place,
    /// What stands there.
    pub(crate) what: What,
    /// Others may refer to it.
    pub(crate) anchor: bool,
    /// It stands somewhere else, and is only referred to.
    pub(crate) alias: bool,
}

/// What a value is made of.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// One word or text.
    Scalar { text: String, style: Style },
    /// `end`: in flow style its closing bracket, or the comma in front of that.
    List { items: Vec<Node>, end: Place },
    /// Keys are scalars; of one that is there twice, the second value counts.
    Map { entries: Vec<(Node, Node)>, end: Place },
}

impl Node {
    pub(super) fn at(mark: Marker, what: What) -> Self {
        // The parser sees a mapping in block style only at its first colon.
        let first = match &what {
            What::Map { entries, .. } => entries.first().map(|(key, _)| key.place),
            _ => None,
        };
        let place = first.map_or(mark.into(), |first| first.min(mark.into()));
        Self { place, what, anchor: false, alias: false }
    }

    /// A scalar as it is written, quotes and escapes undone; of anything else, nothing.
    pub(crate) fn text(&self) -> &str {
        match &self.what {
            What::Scalar { text, .. } => text,
            _ => "",
        }
    }

    /// The value of a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().rev().find(|(k, _)| k.text() == key).map(|(_, value)| value)
    }

    /// Of a mapping; of anything else, none.
    pub(crate) fn entries(&self) -> &[(Node, Node)] {
        match &self.what {
            What::Map { entries, .. } => entries,
            _ => &[],
        }
    }

    /// Of a list; of anything else, none.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.what {
            What::List { items, .. } => items,
            _ => &[],
        }
    }

    /// How many values it is made of.
    pub(super) fn size(&self) -> usize {
        let each = |nodes: &[Node]| nodes.iter().map(Node::size).sum::<usize>();
        match &self.what {
            What::Scalar { .. } => 1,
            What::List { items, .. } => 1 + each(items),
            What::Map { entries, .. } => 1 + entries.iter().map(|(_, v)| v.size()).sum::<usize>(),
        }
    }

    /// As the configuration reads it.
    pub(super) fn value(&self, scalars: Scalars) -> Value {
        match &self.what {
            What::Scalar { text, style } => match scalar(text, *style) {
                _ if scalars == Scalars::AsText => Value::String(text.clone()),
                Yaml::Null => Value::Null,
                Yaml::Boolean(b) => Value::Bool(b),
                Yaml::Integer(i) => Value::Number(i.into()),
                // What no JSON number can say (infinity) stays text, and the schema refuses it.
                Yaml::Real(r) => match r.parse().ok().and_then(Number::from_f64) {
                    Some(number) => Value::Number(number),
                    None => Value::String(text.clone()),
                },
                _ => Value::String(text.clone()),
            },
            What::List { items, .. } => items.iter().map(|item| item.value(scalars)).collect(),
            What::Map { entries, .. } => {
                let mut map = Map::new();
                for (key, value) in entries {
                    map.insert(key.text().to_owned(), value.value(scalars));
                }
                Value::Object(map)
            }
        }
    }

    /// As JSON, in which a number that JSON can spell stands as it is written: `1.10`,
    /// `12345678901234567890`. Keys stay in order.
    pub(crate) fn json(&self) -> String {
        match &self.what {
            What::Scalar { text, style } if *style == Style::Plain && is_json_number(text) => text.clone(),
            What::Scalar { .. } => self.value(Scalars::Typed).to_string(),
            What::List { items, .. } => {
                format!("[{}]", items.iter().map(Self::json).collect::<Vec<_>>().join(","))
            }
            What::Map { entries, .. } => {
                let each = entries.iter().map(|(k, v)| format!("{}:{}", Value::from(k.text()), v.json()));
                format!("{{{}}}", each.collect::<Vec<_>>().join(","))
            }
        }
    }
}

fn scalar(text: &str, style: Style) -> Yaml {
    if style == Style::Plain { Yaml::from_str(text) } else { Yaml::String(text.to_owned()) }
}

fn is_json_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|raw| raw.get() == text)
}
