//! Puts a new expectation into the text of a file, and changes nothing else in it. Pure.
//!
//! The places are those that the YAML parser names; it says where a value begins, and where it ends
//! is found here. Whoever is not sure refuses; and `update` reads the result before it is written.

use std::ops::Range;

use super::change::{Change, NotUpdated};
use super::compare::Key;
use crate::config::yaml::{self, Node, Place, Scalars, Style, What};

/// How much deeper than `expect` its keys stand.
const STEP: usize = 2;

/// The text with the change in the case of that index.
pub(super) fn edit(text: &str, case: usize, change: &Change) -> Result<String, NotUpdated> {
    let document = yaml::parse(text, Scalars::Typed).map_err(|_| NotUpdated::Unsafe)?;
    let tests = document.root.as_ref().and_then(|root| root.get("tests"));
    let case = tests.and_then(|tests| tests.items().get(case)).ok_or(NotUpdated::Unsafe)?;
    let source = Source::new(text);
    let mut edits = source.edits(case, change).ok_or(NotUpdated::Unsafe)??;
    edits.sort_by_key(|(range, _)| range.start);
    let (mut out, mut done) = (String::with_capacity(text.len() + 64), 0);
    for (range, new) in edits {
        out.extend(source.chars.get(done..range.start).ok_or(NotUpdated::Unsafe)?);
        out += &new;
        done = range.end;
    }
    out.extend(source.chars.get(done..).ok_or(NotUpdated::Unsafe)?);
    Ok(out)
}

/// What stands in front of others, in characters, and what comes there instead.
type Edit = (Range<usize>, String);

struct Source {
    chars: Vec<char>,
    /// Where each line begins.
    lines: Vec<usize>,
    line_end: &'static str,
}

impl Source {
    fn new(text: &str) -> Self {
        let mut source = Self { chars: text.chars().collect(), lines: vec![0], line_end: "\n" };
        let mut at = 0;
        while let Some(next) = source.next_line(source.end_of_line(at)) {
            source.lines.push(next);
            at = next;
        }
        // Lines that are added end as the first one does.
        let end = source.end_of_line(0);
        if source.chars.get(end) == Some(&'\r') {
            source.line_end = if source.chars.get(end + 1) == Some(&'\n') { "\r\n" } else { "\r" };
        }
        source
    }

    fn at(&self, place: Place) -> Option<usize> {
        Some(self.lines.get(place.line.checked_sub(1)?)? + place.column)
    }

    /// `None`: the text is not as it should be.
    fn edits(&self, case: &Node, change: &Change) -> Option<Result<Vec<Edit>, NotUpdated>> {
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
                .map(|(key, value)| Some((self.value(entry(expect, key)?)?, value.clone())))
                .collect::<Option<Vec<_>>>()?,
            (Change::Values(_), None) => return None,
            (Change::Whole(entries), Some((key, value))) => vec![self.anew(case, key, value, entries)?],
            (Change::Whole(entries), None) => vec![self.added(case, entries)?],
        };
        Some(Ok(edits))
    }

    /// From the first to the last character of a value.
    fn value(&self, (key, value): &(Node, Node)) -> Option<Range<usize>> {
        let start = match &value.what {
            // From its `|` on.
            What::Scalar { style: Style::Literal | Style::Folded, .. } => {
                let after = self.after_colon(key)?;
                after + self.blanks(after)
            }
            _ => self.at(value.place)?,
        };
        Some(start..self.end(Some(key), value)?)
    }

    /// All of an `expect` that is there.
    fn anew(&self, case: &Node, key: &Node, value: &Node, entries: &[(Key, String)]) -> Option<Edit> {
        let lines = lines(entries);
        match &value.what {
            What::Scalar { text, style: Style::Plain } if text.is_empty() => {
                let at = self.after_colon(key)?;
                if self.is_flow(case) {
                    return Some((at..at, format!(" {}", flow(&lines))));
                }
                let at = self.end_of_line(at);
                Some((at..at, self.below(&lines, key.place.column + STEP)))
            }
            What::Map { .. } if !self.is_flow(value) => {
                let margin = format!("{}{}", self.line_end, " ".repeat(value.place.column));
                Some((self.at(value.place)?..self.end(Some(key), value)?, lines.join(&margin)))
            }
            _ => Some((self.at(value.place)?..self.end(Some(key), value)?, flow(&lines))),
        }
    }

    /// An `expect` where there is none: the case's last key.
    fn added(&self, case: &Node, entries: &[(Key, String)]) -> Option<Edit> {
        let lines = lines(entries);
        let end = self.end(None, case)?;
        if self.is_flow(case) {
            let (key, last) = case.entries().last()?;
            let at = self.end(Some(key), last)?;
            return Some((at..at, format!(", expect: {}", flow(&lines))));
        }
        let at = self.end_of_line(end);
        let expect = self.below(&["expect:".to_owned()], case.place.column);
        Some((at..at, expect + &self.below(&lines, case.place.column + STEP)))
    }

    fn below(&self, lines: &[String], column: usize) -> String {
        lines.iter().map(|line| format!("{}{}{line}", self.line_end, " ".repeat(column))).collect()
    }

    fn is_flow(&self, node: &Node) -> bool {
        let first = self.at(node.place).and_then(|at| self.chars.get(at));
        matches!(first, Some('{' | '['))
    }

    /// Where a value ends; `key` is needed to find one that is not written at all.
    fn end(&self, key: Option<&Node>, node: &Node) -> Option<usize> {
        if node.alias {
            let start = self.at(node.place)?;
            let ends = |c: &char| c.is_whitespace() || ",]}".contains(*c);
            let name = self.chars.get(start..)?.iter().position(ends);
            return Some(name.map_or(self.chars.len(), |name| start + name));
        }
        match &node.what {
            What::Scalar { text, style: Style::Plain } if text.is_empty() => self.after_colon(key?),
            What::Scalar { text, style } => self.end_of_scalar(node, text, *style),
            What::List { end, .. } | What::Map { end, .. } if self.is_flow(node) => {
                self.closed(self.at(*end)?)
            }
            What::List { items, .. } => self.end(None, items.last()?),
            What::Map { entries, .. } => entries.last().and_then(|(key, value)| self.end(Some(key), value)),
        }
    }

    /// Behind the bracket that comes next, over a last comma and comments.
    fn closed(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.chars.get(at)? {
                ']' | '}' => return Some(at + 1),
                '#' => at = self.end_of_line(at),
                c if c.is_whitespace() || *c == ',' => at += 1,
                _ => return None,
            }
        }
    }

    fn end_of_scalar(&self, node: &Node, text: &str, style: Style) -> Option<usize> {
        let start = self.at(node.place)?;
        match style {
            Style::Plain => {
                // On however many lines: the same characters, but for white space.
                let mut at = start;
                for c in text.chars().filter(|c| !c.is_whitespace()) {
                    at += self.chars.get(at..)?.iter().position(|c| !c.is_whitespace())?;
                    (*self.chars.get(at)? == c).then_some(())?;
                    at += 1;
                }
                Some(at)
            }
            Style::SingleQuoted | Style::DoubleQuoted => {
                let quote = if style == Style::SingleQuoted { '\'' } else { '"' };
                (*self.chars.get(start)? == quote).then_some(())?;
                let mut at = start + 1;
                loop {
                    let next = self.chars.get(at + 1);
                    match self.chars.get(at)? {
                        '\\' if quote == '"' => at += 2,
                        '\'' if quote == '\'' && next == Some(&'\'') => at += 2,
                        c if *c == quote => return Some(at + 1),
                        _ => at += 1,
                    }
                }
            }
            // To the last line that is indented as far as the first.
            Style::Literal | Style::Folded => {
                let mut end = self.end_of_line(start);
                let mut seen = end;
                while let Some(line) = self.next_line(seen) {
                    seen = self.end_of_line(line);
                    let blanks = self.blanks(line);
                    if line + blanks == seen {
                        continue;
                    }
                    if blanks < node.place.column {
                        break;
                    }
                    end = seen;
                }
                (!text.trim().is_empty()).then_some(end)
            }
        }
    }

    fn after_colon(&self, key: &Node) -> Option<usize> {
        let end = self.end(None, key)?;
        let colon = end + self.chars.get(end..)?.iter().position(|c| !c.is_whitespace())?;
        (*self.chars.get(colon)? == ':').then_some(colon + 1)
    }

    /// How many spaces and tabs there are from here on.
    fn blanks(&self, at: usize) -> usize {
        let rest = self.chars.get(at..).unwrap_or_default();
        rest.iter().take_while(|c| matches!(c, ' ' | '\t')).count()
    }

    /// In front of the line's end.
    fn end_of_line(&self, at: usize) -> usize {
        let rest = self.chars.get(at..).unwrap_or_default();
        rest.iter().position(|c| matches!(c, '\n' | '\r')).map_or(self.chars.len(), |end| at + end)
    }

    /// Where the line after this end begins, if there is one.
    fn next_line(&self, end_of_line: usize) -> Option<usize> {
        match (self.chars.get(end_of_line)?, self.chars.get(end_of_line + 1)) {
            ('\r', Some('\n')) => Some(end_of_line + 2),
            _ => Some(end_of_line + 1),
        }
    }
}

/// Would a change in it be seen elsewhere, or does it stand elsewhere?
fn shared(node: &Node) -> bool {
    node.anchor
        || node.alias
        || node.items().iter().any(shared)
        || node.entries().iter().any(|(key, value)| key.anchor || shared(value))
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
