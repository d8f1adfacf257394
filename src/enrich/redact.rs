//! Parts of a text written otherwise, wherever the text is in the output. Pure.

use std::ops::Range;

use crate::model::tasks::quoted;
use crate::text::Document;

/// Bytes of the text, and what stands there instead.
pub(super) type Redaction = (Range<usize>, String);

/// In order, none overlapping: what two of them hide is hidden by one, under the name of the first.
pub(super) fn in_order(mut redactions: Vec<Redaction>) -> Vec<Redaction> {
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

/// The text with them.
pub(super) fn text(text: &str, redactions: &[Redaction]) -> String {
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

/// What they change in the record's value: of JSON each string that a piece of the text came from, of plain
/// text the parts themselves.
pub(super) fn edits(redactions: &[Redaction], document: &Document) -> Vec<Redaction> {
    if redactions.is_empty() {
        return Vec::new();
    }
    let value = document.record.value.as_deref().unwrap_or_default();
    if document.sources.is_empty() {
        // The whole value is the text, but perhaps for a mark before it.
        let before = value.len().saturating_sub(document.text.len());
        let moved = |(at, with): &Redaction| (at.start + before..at.end + before, with.clone());
        return redactions.iter().map(moved).collect();
    }
    let of_piece = |source: &crate::text::Source| {
        let inside = redactions.iter().filter_map(|(at, with)| {
            let (start, end) = (at.start.max(source.text.start), at.end.min(source.text.end));
            let here = start < end;
            here.then(|| (start - source.text.start..end - source.text.start, with.clone()))
        });
        let inside: Vec<Redaction> = inside.collect();
        let piece = document.text.get(source.text.clone()).unwrap_or_default();
        (!inside.is_empty()).then(|| (source.value.clone(), quoted(&text(piece, &inside))))
    };
    document.sources.iter().filter_map(of_piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_hidden_once() {
        let given = vec![(4..9, "[B]".to_owned()), (0..5, "[A]".to_owned()), (12..14, "[C]".to_owned())];
        let redactions = in_order(given);
        assert_eq!(redactions, [(0..9, "[A]".to_owned()), (12..14, "[C]".to_owned())]);
        assert_eq!(text("Ann Lee at Rome.", &redactions), "[A]t R[C]e.");
    }
}
