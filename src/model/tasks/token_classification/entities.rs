//! Tokens to entities, as Hugging Face's token-classification pipeline does it (transformers 5.23,
//! `pipelines/token_classification.py`), but for the faults
//! that docs/TASKS.md names. Pure.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tokens::Token;
use crate::model::tasks::classification::{Activation, classify};
use crate::model::tasks::places::Characters;
use crate::text::TextTokenizer;

/// How tokens become entities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// each token by itself, under its own label
    None,
    /// neighbours of one group are one entity; a `B-` begins another. A word may fall apart
    #[default]
    Simple,
    /// the same of whole words, each under the label of its first token
    First,
    /// of whole words, each under the label that is best on average over its tokens
    Average,
    /// of whole words, each under the label of its surest token
    Max,
}

/// One entity, or one token where they are not put together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entity {
    /// The group; of a token its label.
    pub name: String,
    pub score: f32,
    /// Of a token.
    pub index: Option<usize>,
    /// As the tokenizer's decoder writes its tokens.
    pub word: String,
    /// Bytes of the text.
    pub at: Range<usize>,
}

/// A label with its score, and where it stands: a token, or a word of several.
#[derive(Debug, Clone)]
struct Piece<'a> {
    label: &'a str,
    score: f32,
    index: usize,
    word: String,
    at: Range<usize>,
}

/// Puts tokens together, by one package's labels and tokenizer.
pub(super) struct Aggregator<'a> {
    pub labels: &'a [String],
    pub tokenizer: &'a TextTokenizer,
    pub aggregation: Aggregation,
}

impl Aggregator<'_> {
    /// In the order of the text, those without a name of interest among them.
    pub fn entities(&self, tokens: &[Token<'_>], text: &Characters<'_>) -> Vec<Entity> {
        let prefix = self.tokenizer.subword_prefix();
        let unknown = self.tokenizer.unknown();
        // Of each token: does it go on with the word before it?
        let mut goes_on = Vec::with_capacity(tokens.len());
        let mut pieces = Vec::with_capacity(tokens.len());
        for token in tokens {
            let at = token.span.start as usize..token.span.end as usize;
            let mut word = self.tokenizer.token(token.span.id).unwrap_or_default();
            let stands = text.slice(&text.whole(at.clone()));
            let mut subword = match prefix {
                Some(prefix) => word.starts_with(prefix),
                None => !text.follows_space(at.start),
            };
            if Some(token.span.id) == unknown {
                word = stands.to_owned();
                subword = false;
            }
            goes_on.push(subword);
            let (label, score) = self.best(token.logits);
            pieces.push(Piece { label, score, index: token.index, word, at });
        }
        match self.aggregation {
            Aggregation::None => pieces.into_iter().map(Entity::of_token).collect(),
            Aggregation::Simple => self.groups(pieces),
            Aggregation::First | Aggregation::Average | Aggregation::Max => {
                let mut words: Vec<Range<usize>> = Vec::new();
                for (place, subword) in goes_on.into_iter().enumerate() {
                    match words.last_mut() {
                        Some(word) if subword => word.end = place + 1,
                        _ => words.push(place..place + 1),
                    }
                }
                let of = |word: Range<usize>| {
                    self.word(tokens.get(word.clone()).unwrap_or_default(), pieces.get(word)?)
                };
                self.groups(words.into_iter().filter_map(of).collect())
            }
        }
    }

    /// The best label and its score.
    fn best(&self, logits: &[f32]) -> (&str, f32) {
        let Some(classes) = classify(logits, Activation::Softmax) else { return ("", f32::NAN) };
        (self.label(classes.best), classes.scores.get(classes.best).copied().unwrap_or(f32::NAN))
    }

    fn label(&self, index: usize) -> &str {
        self.labels.get(index).map_or("", String::as_str)
    }

    /// Several tokens as one.
    fn word<'p>(&'p self, tokens: &[Token<'_>], pieces: &[Piece<'p>]) -> Option<Piece<'p>> {
        let (first, last) = (pieces.first()?, pieces.last()?);
        let (label, score) = match self.aggregation {
            Aggregation::Average => self.average(tokens),
            Aggregation::Max => {
                let piece = pieces.iter().reduce(|a, b| if b.score > a.score { b } else { a })?;
                (piece.label, piece.score)
            }
            _ => (first.label, first.score),
        };
        let word = self.tokenizer.join(pieces.iter().map(|piece| piece.word.clone()).collect());
        Some(Piece { label, score, index: first.index, word, at: first.at.start..last.at.end })
    }

    /// The label with the highest mean score.
    fn average(&self, tokens: &[Token<'_>]) -> (&str, f32) {
        let mut sums = vec![0.0_f64; self.labels.len()];
        for token in tokens {
            let scores = classify(token.logits, Activation::Softmax).map_or_else(Vec::new, |c| c.scores);
            sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += f64::from(score));
        }
        let all = sums.into_iter().enumerate();
        let best = all.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let (index, sum) = best.unwrap_or((0, f64::NAN));
        (self.label(index), (sum / tokens.len() as f64) as f32)
    }

    /// Neighbours of one group as one entity, but for a `B-`.
    fn groups(&self, pieces: Vec<Piece<'_>>) -> Vec<Entity> {
        let mut groups: Vec<Vec<Piece<'_>>> = Vec::new();
        for piece in pieces {
            let (begins, tag) = tag(piece.label);
            match groups.last_mut() {
                Some(group) if !begins && group.last().is_some_and(|last| self::tag(last.label).1 == tag) => {
                    group.push(piece);
                }
                _ => groups.push(vec![piece]),
            }
        }
        groups.into_iter().filter_map(|group| self.group(group)).collect()
    }

    fn group(&self, pieces: Vec<Piece<'_>>) -> Option<Entity> {
        let (first, last) = (pieces.first()?, pieces.last()?);
        let sum: f64 = pieces.iter().map(|piece| f64::from(piece.score)).sum();
        let (name, at) = (group_of(first.label).to_owned(), first.at.start..last.at.end);
        let score = (sum / pieces.len() as f64) as f32;
        // Words are decoded once more here, as there.
        let word = self.tokenizer.join(pieces.into_iter().map(|piece| piece.word).collect());
        Some(Entity { name, score, index: None, word, at })
    }
}

impl Entity {
    fn of_token(piece: Piece<'_>) -> Self {
        let Piece { label, score, index, word, at } = piece;
        Self { name: label.to_owned(), score, index: Some(index), word, at }
    }
}

/// Does an entity begin here, and of which kind is it? Without `B-` and `I-` it goes on.
fn tag(label: &str) -> (bool, &str) {
    match label.strip_prefix("B-") {
        Some(tag) => (true, tag),
        None => (false, label.strip_prefix("I-").unwrap_or(label)),
    }
}

/// What a label is a part of.
pub(super) fn group_of(label: &str) -> &str {
    tag(label).1
}
