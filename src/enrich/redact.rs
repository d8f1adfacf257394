//! Parts of a text written otherwise, wherever the text is in the output. Pure.

use std::ops::Range;

use crate::model::tasks::quoted;
use crate::text::{Document, Masker, json};

/// Bytes of the text, and what stands there instead.
pub(super) type Redaction = (Range<usize>, String);

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

/// With those that are hidden by their form.
fn with_hidden(text: &str, mut redactions: Vec<Redaction>, hidden: Option<&Masker>) -> Vec<Redaction> {
    if let Some(hidden) = hidden {
        hidden.each(text, |at, word| redactions.push((at, format!("[{word}]"))));
    }
    in_order(redactions)
}

/// The text with them.
pub(super) fn text(text: &str, redactions: Vec<Redaction>, hidden: Option<&Masker>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, with) in with_hidden(text, redactions, hidden) {
        out += text.get(done..at.start).unwrap_or_default();
        out += &with;
        done = at.end;
    }
    out += text.get(done..).unwrap_or_default();
    out
}

/// What they change in the record's value: of JSON each string that a piece of the text came from, of plain
/// text the parts themselves. A string is looked at whole, also where only its beginning was read.
pub(super) fn edits(
    redactions: &[Redaction],
    hidden: Option<&Masker>,
    document: &Document,
) -> Vec<Redaction> {
    if redactions.is_empty() && hidden.is_none() {
        return Vec::new();
    }
    let value = document.record.value.as_deref().unwrap_or_default();
    let Ok(value) = std::str::from_utf8(value) else { return Vec::new() };
    if document.sources.is_empty() {
        // The whole value is the text, but perhaps for a mark before it.
        let before = value.len().saturating_sub(document.text_bytes_seen);
        let text = value.get(before..).unwrap_or_default();
        let moved = |(at, with): Redaction| (at.start + before..at.end + before, with);
        return with_hidden(text, redactions.to_vec(), hidden).into_iter().map(moved).collect();
    }
    let of_piece = |source: &crate::text::Source| {
        let piece = value.get(source.value.clone()).and_then(json::string)?;
        let inside = redactions.iter().filter_map(|(at, with)| {
            let (start, end) = (at.start.max(source.text.start), at.end.min(source.text.end));
            let here = start < end;
            here.then(|| (start - source.text.start..end - source.text.start, with.clone()))
        });
        let new = text(&piece, inside.collect(), hidden);
        // What needs no change keeps its own escapes.
        (*new != *piece).then(|| (source.value.clone(), quoted(&new)))
    };
    document.sources.iter().filter_map(of_piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_hidden_once() {
        let given = vec![(4..9, "[B]".to_owned()), (0..5, "[A]".to_owned()), (12..14, "[C]".to_owned())];
        assert_eq!(in_order(given.clone()), [(0..9, "[A]".to_owned()), (12..14, "[C]".to_owned())]);
        assert_eq!(text("Ann Lee at Rome.", given, None), "[A]t R[C]e.");
        let ips = Masker::new(&[crate::config::settings::Mask::Ips]);
        let ann = vec![(0..3, "[A]".to_owned())];
        assert_eq!(text("Ann at 10.0.0.7:80", ann, Some(&ips)), "[A] at [ip]");
    }
}
