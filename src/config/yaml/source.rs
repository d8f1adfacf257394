//! A YAML text and where the values of its document begin and end in it, for who changes one of them and
//! nothing else. The parser says where a value begins; where it ends is found here. Whoever is not sure
//! says so with `None`. Pure.

use std::ops::Range;

use super::{Node, Place, Style, What};

/// What stands in front of others, in characters, and what comes there instead.
pub(crate) type Edit = (Range<usize>, String);

/// A text by its characters.
pub(crate) struct Source {
    chars: Vec<char>,
    /// Where each line begins.
    lines: Vec<usize>,
    pub(crate) line_end: &'static str,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
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

    pub(crate) fn at(&self, place: Place) -> Option<usize> {
        Some(self.lines.get(place.line.checked_sub(1)?)? + place.column)
    }

    /// The text with these edits, which do not overlap.
    pub(crate) fn with(&self, mut edits: Vec<Edit>) -> Option<String> {
        edits.sort_by_key(|(range, _)| range.start);
        let (mut out, mut done) = (String::with_capacity(self.chars.len() + 64), 0);
        for (range, new) in edits {
            out.extend(self.chars.get(done..range.start)?);
            out += &new;
            done = range.end;
        }
        out.extend(self.chars.get(done..)?);
        Some(out)
    }

    /// From the first to the last character of a value.
    pub(crate) fn value(&self, key: &Node, value: &Node) -> Option<Range<usize>> {
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

    pub(crate) fn below(&self, lines: &[String], column: usize) -> String {
        lines.iter().map(|line| format!("{}{}{line}", self.line_end, " ".repeat(column))).collect()
    }

    pub(crate) fn is_flow(&self, node: &Node) -> bool {
        let first = self.at(node.place).and_then(|at| self.chars.get(at));
        matches!(first, Some('{' | '['))
    }

    /// Where a value ends; `key` is needed to find one that is not written at all.
    pub(crate) fn end(&self, key: Option<&Node>, node: &Node) -> Option<usize> {
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

    pub(crate) fn after_colon(&self, key: &Node) -> Option<usize> {
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
    pub(crate) fn end_of_line(&self, at: usize) -> usize {
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
pub(crate) fn shared(node: &Node) -> bool {
    node.anchor
        || node.alias
        || node.items().iter().any(shared)
        || node.entries().iter().any(|(key, value)| key.anchor || shared(value))
}
