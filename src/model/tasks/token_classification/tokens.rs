//! The tokens of a text, each once, however many windows it was read in. Pure.
//!
//! Where two windows share tokens, the text goes over from one to the other at a seam: in the middle of what
//! they share, where a token stands as far from the end of the one as from the beginning of the other, and
//! then back to the beginning of the word there (or else on to its end). So a token is taken from the window
//! that sees most around it, a word from one window, and an entity goes on across a seam as it would without.

use std::ops::Range;

use crate::model::tasks::NoAnswer;
use crate::text::{Note, Span};

/// One token of the text, and what the model says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token<'a> {
    pub span: Span,
    /// Its place in the sequence that the whole text would be, special tokens included.
    pub index: usize,
    /// `[labels]`.
    pub logits: &'a [f32],
}

/// The tokens of text of all windows, in order. `answers`: `[tokens, labels]` of each window.
pub(super) fn tokens<'a>(
    notes: &[Note],
    answers: &[&'a [f32]],
    labels: usize,
) -> Result<Vec<Token<'a>>, NoAnswer> {
    let mut windows = Vec::with_capacity(notes.len());
    for (note, answer) in notes.iter().zip(answers) {
        windows.push(window(note, answer, labels)?);
    }
    let borders: Vec<usize> = windows.windows(2).map(|pair| seam(&pair[0], &pair[1])).collect();
    let mut all: Vec<Token<'a>> = Vec::with_capacity(windows.iter().map(|w| w.tokens.len()).sum());
    let mut begin = 0;
    for (place, window) in windows.iter().enumerate() {
        // Of very short windows three may share a token: what is taken is taken.
        let end = borders.get(place).map_or(window.places().end, |border| (*border).max(begin));
        let own = begin.saturating_sub(window.first)..end.saturating_sub(window.first);
        all.extend(window.tokens.get(own).unwrap_or_default());
        begin = end;
    }
    if all.iter().any(|token| token.logits.iter().any(|x| !x.is_finite())) {
        return Err(NoAnswer::NotFinite);
    }
    Ok(all)
}

/// The tokens of text of one window.
struct Window<'a> {
    /// The first one's place among all of the text.
    first: usize,
    tokens: Vec<Token<'a>>,
}

impl Window<'_> {
    /// Of its tokens, among all of the text.
    fn places(&self) -> Range<usize> {
        self.first..self.first + self.tokens.len()
    }

    /// Does a word begin at this place, or end before it?
    fn is_border(&self, place: usize) -> bool {
        let word = |place: Option<usize>| {
            let place = place?.checked_sub(self.first)?;
            self.tokens.get(place).and_then(|token| token.span.word)
        };
        let (before, after) = (word(place.checked_sub(1)), word(Some(place)));
        before.is_none() || before != after
    }
}

fn window<'a>(note: &Note, answer: &'a [f32], labels: usize) -> Result<Window<'a>, NoAnswer> {
    let (found, expected) = (answer.len(), note.spans.len() * labels);
    if found != expected || labels == 0 {
        return Err(NoAnswer::Shape { found, expected });
    }
    let before = note.spans.iter().take_while(|span| !span.is_text).count();
    let of_text = note.spans.iter().zip(answer.chunks_exact(labels)).filter(|(span, _)| span.is_text);
    let token = |(place, (span, logits)): (usize, (&Span, &'a [f32]))| Token {
        span: *span,
        index: before + note.first + place,
        logits,
    };
    Ok(Window { first: note.first, tokens: of_text.enumerate().map(token).collect() })
}

/// The place of the first token that is taken from `next`.
fn seam(window: &Window<'_>, next: &Window<'_>) -> usize {
    let shared = next.first..window.places().end;
    let middle = shared.start + shared.len() / 2;
    let back = (shared.start + 1..=middle).rev().find(|place| window.is_border(*place));
    let on = || (middle..shared.end).find(|place| next.is_border(*place));
    back.or_else(on).unwrap_or(middle)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Windows over a text of words of so many tokens each, with special tokens around; each token's logits
    /// are its place and the window's.
    fn windows(words: &[usize], room: usize, stride: usize) -> (Vec<Note>, Vec<Vec<f32>>) {
        let of: Vec<u32> = (0..).zip(words).flat_map(|(word, n)| std::iter::repeat_n(word, *n)).collect();
        let special = Span { id: 1, start: 0, end: 0, word: None, is_text: false };
        let (mut notes, mut answers, mut first) = (Vec::new(), Vec::new(), 0);
        loop {
            let end = of.len().min(first + room);
            let own = (first..end).map(|place| Span {
                id: 9,
                start: place as u32,
                end: place as u32 + 1,
                word: Some(of[place]),
                is_text: true,
            });
            let spans: Vec<Span> = std::iter::once(special).chain(own).chain([special]).collect();
            let number = notes.len() as f32;
            answers.push((0..spans.len()).flat_map(|i| [(first + i) as f32 - 1.0, number]).collect());
            notes.push(Note { length: spans.len(), of_text: end - first, first, beside: 0, spans });
            if end == of.len() {
                return (notes, answers);
            }
            first += room - stride;
        }
    }

    proptest! {
        #[test]
        fn each_token_is_there_once_and_a_word_is_of_one_window(
            words in prop::collection::vec(1usize..4, 1..40), room in 2usize..20, stride in 0usize..19,
        ) {
            let stride = stride.min(room - 1);
            let (notes, answers) = windows(&words, room, stride);
            let answers: Vec<&[f32]> = answers.iter().map(Vec::as_slice).collect();
            let tokens = tokens(&notes, &answers, 2).unwrap();
            let total: usize = words.iter().sum();
            let places: Vec<usize> = tokens.iter().map(|token| token.span.start as usize).collect();
            prop_assert_eq!(places, (0..total).collect::<Vec<_>>());
            for (place, token) in tokens.iter().enumerate() {
                prop_assert_eq!(token.index, place + 1);
                prop_assert_eq!(token.logits[0], place as f32, "its own answer");
            }
            let of = |token: &Token<'_>| token.logits[1];
            prop_assert!(tokens.windows(2).all(|pair| of(&pair[0]) <= of(&pair[1])), "windows in order");
            // Where neighbours share more than the longest word has, one of its borders is among that.
            if stride > 6 && stride <= room / 2 {
                for pair in tokens.windows(2).filter(|pair| pair[0].span.word == pair[1].span.word) {
                    prop_assert_eq!(of(&pair[0]), of(&pair[1]));
                }
                for token in &tokens {
                    let (first, last) = (notes[of(token) as usize].first, &notes[of(token) as usize]);
                    let (place, end) = (token.span.start as usize, last.first + last.of_text);
                    let near = stride / 2 - 3;
                    prop_assert!(first == 0 || place >= first + near, "{place} {first}");
                    prop_assert!(end == total || place + near < end, "{place} {end}");
                }
            }
        }
    }

    #[test]
    fn an_answer_of_another_shape_or_of_no_numbers_is_none() {
        let (notes, answers) = windows(&[1, 2], 5, 0);
        let short = &answers[0][1..];
        assert_eq!(tokens(&notes, &[short], 2), Err(NoAnswer::Shape { found: 9, expected: 10 }));
        let mut broken = answers[0].clone();
        broken[4] = f32::NAN;
        assert_eq!(tokens(&notes, &[&broken], 2), Err(NoAnswer::NotFinite));
    }
}
