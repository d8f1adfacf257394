//! Parts of a text written otherwise, wherever the output has them: in the record's value, in an envelope, in
//! a result that quotes them. Pure.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::tasks::{Prediction, quoted};
use crate::text::{Document, Masker, Place, json};

/// Bytes, and what stands there instead.
pub(super) type Redaction = (Range<usize>, String);

/// What is hidden of one record. No two overlap.
pub(super) struct Hidden {
    /// In order: of the text that was found in it, were that not cut.
    pub of_text: Vec<Redaction>,
    /// Of its value: of JSON each string that a piece of the text came from, of plain text the parts themselves.
    pub of_value: Vec<Redaction>,
}

impl Hidden {
    /// `redactions`: of the text, what its results hide. `forms`: what is hidden whatever they say.
    pub fn new(document: &Document, redactions: Vec<Redaction>, forms: Option<&Masker>) -> Self {
        if redactions.is_empty() && forms.is_none() {
            return Self { of_text: Vec::new(), of_value: Vec::new() };
        }
        let pieces = pieces(document);
        let mut of_value = Vec::new();
        for (place, piece) in pieces.iter().enumerate() {
            // A template may name a string twice: it is written once, without what is hidden in either.
            let same = |other: &&Piece<'_>| other.value == piece.value;
            if pieces.iter().take(place).any(|other| same(&other)) {
                continue;
            }
            let of_results = pieces.iter().filter(same).flat_map(|same| same.inside(&redactions));
            let inside = of_results.chain(found(&piece.content, forms)).collect();
            of_value.extend(piece.edits(in_order(inside)));
        }
        let text = match &document.place {
            Place::Envelope { whole: Some(whole) } => whole,
            _ => &document.text,
        };
        let mut of_text = redactions;
        of_text.extend(found(text, forms));
        // A form may be one by itself only, or only as a whole: not where a template joined it to something, or
        // where the text was cut.
        of_text.extend(pieces.iter().flat_map(|piece| piece.outside(found(&piece.content, forms))));
        Self { of_text: in_order(of_text), of_value }
    }

    /// A result's JSON, telling of the text what is not hidden.
    pub fn said<'p>(&self, prediction: &'p Prediction, text: &str) -> Cow<'p, str> {
        let edits = prediction.quotes.iter().filter_map(|quote| {
            let told = self.told(text, &quote.text)?;
            Some((quote.json.clone(), quoted(&told)))
        });
        let edits: Vec<Redaction> = edits.collect();
        match edits.is_empty() {
            true => Cow::Borrowed(&prediction.json),
            false => Cow::Owned(written(&prediction.json, &edits)),
        }
    }

    /// These bytes of the text as they are written; `None`: as they are.
    fn told(&self, text: &str, of: &Range<usize>) -> Option<String> {
        let (mut out, mut done, mut any) = (String::new(), of.start, false);
        for (at, with) in self.of_text.iter().filter(|(at, _)| at.start < of.end && of.start < at.end) {
            out += text.get(done..at.start).unwrap_or_default();
            out += with;
            (done, any) = (at.end, true);
        }
        out += text.get(done..of.end).unwrap_or_default();
        any.then_some(out)
    }
}

/// A string of the record's value that is written anew if anything in it is hidden. It is looked at whole, also
/// where only its beginning was read.
struct Piece<'a> {
    content: Cow<'a, str>,
    /// Bytes of the text that it became.
    text: Range<usize>,
    /// Bytes of the value.
    value: Range<usize>,
    is_json: bool,
}

fn pieces(document: &Document) -> Vec<Piece<'_>> {
    let value = document.record.value.as_deref().unwrap_or_default();
    let Ok(value) = std::str::from_utf8(value) else { return Vec::new() };
    if document.sources.is_empty() {
        // The whole value is the text, but perhaps for a mark before it.
        let before = value.len().saturating_sub(document.text_bytes_seen);
        let content = Cow::Borrowed(value.get(before..).unwrap_or_default());
        let (text, value) = (0..document.text_bytes_seen, before..value.len());
        return vec![Piece { content, text, value, is_json: false }];
    }
    let of_source = |source: &crate::text::Source| {
        let content = value.get(source.value.clone()).and_then(json::string)?;
        Some(Piece { content, text: source.text.clone(), value: source.value.clone(), is_json: true })
    };
    document.sources.iter().filter_map(of_source).collect()
}

impl Piece<'_> {
    /// What of these, which are of the text, is of the piece.
    fn inside(&self, redactions: &[Redaction]) -> Vec<Redaction> {
        let of = |(at, with): &Redaction| {
            let (start, end) = (at.start.max(self.text.start), at.end.min(self.text.end));
            (start < end).then(|| (start - self.text.start..end - self.text.start, with.clone()))
        };
        redactions.iter().filter_map(of).collect()
    }

    /// What of these, which are of the piece, is of the text.
    fn outside(&self, redactions: Vec<Redaction>) -> Vec<Redaction> {
        let of = |(at, with): Redaction| {
            let (start, end) = (at.start + self.text.start, (at.end + self.text.start).min(self.text.end));
            (start < end).then_some((start..end, with))
        };
        redactions.into_iter().filter_map(of).collect()
    }

    /// What is to be changed of the value, for these.
    fn edits(&self, redactions: Vec<Redaction>) -> Vec<Redaction> {
        if !self.is_json {
            let moved =
                |(at, with): Redaction| (at.start + self.value.start..at.end + self.value.start, with);
            return redactions.into_iter().map(moved).collect();
        }
        let new = written(&self.content, &redactions);
        // What needs no change keeps its own escapes.
        match *new == *self.content {
            true => Vec::new(),
            false => vec![(self.value.clone(), quoted(&new))],
        }
    }
}

/// What is hidden by its form.
fn found(text: &str, forms: Option<&Masker>) -> Vec<Redaction> {
    let mut found = Vec::new();
    if let Some(forms) = forms {
        forms.each(text, |at, word| found.push((at, format!("[{word}]"))));
    }
    found
}

/// In order, none overlapping: what two of them hide is hidden by one, under the name of the first.
fn in_order(mut redactions: Vec<Redaction>) -> Vec<Redaction> {
    redactions.sort_by_key(|(at, _)| (at.start, std::cmp::Reverse(at.end)));
    let mut all: Vec<Redaction> = Vec::with_capacity(redactions.len());
    for (at, with) in redactions {
        match all.last_mut() {
            Some((last, _)) if at.start < last.end => last.end = last.end.max(at.end),
            _ => all.push((at, with)),
        }
    }
    all
}

/// A text with these in it, in order, none overlapping.
pub(super) fn written(text: &str, redactions: &[Redaction]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, with) in redactions {
        out += text.get(done..at.start).unwrap_or_default();
        out += with;
        done = at.end;
    }
    out += text.get(done..).unwrap_or_default();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_hidden_once() {
        let given = vec![(4..9, "[B]".to_owned()), (0..5, "[A]".to_owned()), (12..14, "[C]".to_owned())];
        let in_order = in_order(given);
        assert_eq!(in_order, [(0..9, "[A]".to_owned()), (12..14, "[C]".to_owned())]);
        assert_eq!(written("Ann Lee at Rome.", &in_order), "[A]t R[C]e.");
    }
}
