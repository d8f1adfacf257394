//! What a case expects against what became of its record. Pure.

use std::fmt;

use super::same::same;
use super::seen::{Seen, Sent, shown};
use crate::config::{Case, Expect, Written};
use crate::record::PassThrough;

/// How a case ended.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// As expected.
    Passed,
    /// It expects nothing, so nothing can be said.
    Silent,
    /// Otherwise than expected; at least one difference.
    Failed(Vec<Difference>),
}

/// One thing that is not as expected, in words for a terminal.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// What was compared.
    pub key: Key,
    /// What it should have been.
    pub expected: String,
    /// What it was.
    pub was: String,
}

/// What can be expected: the keys of `expect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `label`
    Label,
    /// `score`
    Score,
    /// A member of `fields`: its JSON pointer.
    Field(String),
    /// `value`
    Value,
    /// A member of `headers`: its name.
    Header(String),
    /// `topic`
    Topic,
    /// `passed`
    Passed,
    /// `dead_letter`
    DeadLetter,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label => f.write_str("label"),
            Self::Score => f.write_str("score"),
            Self::Field(pointer) => f.write_str(&shown(pointer)),
            Self::Value => f.write_str("value"),
            Self::Header(name) => write!(f, "header {}", shown(name)),
            Self::Topic => f.write_str("topic"),
            Self::Passed => f.write_str("passed"),
            Self::DeadLetter => f.write_str("dead_letter"),
        }
    }
}

/// Is it what the case expects?
pub fn judge(case: &Case, seen: &Seen) -> Verdict {
    let differences = match (&case.expect, seen) {
        (Expect::Nothing, _) => return Verdict::Silent,
        (Expect::DeadLetter(reason), Seen::DeadLetter(letter)) if *reason == letter.reason => Vec::new(),
        (Expect::DeadLetter(reason), seen) => {
            let was = match seen {
                Seen::DeadLetter(letter) => format!("{}: {}", letter.reason, shown(&letter.message)),
                Seen::Written(_) => seen.to_string(),
            };
            vec![Difference { key: Key::DeadLetter, expected: reason.to_string(), was }]
        }
        (Expect::Written(written), Seen::Written(sent)) => {
            let wants = wants(written).into_iter();
            wants.filter_map(|want| want.differs(case.tolerance, seen, sent)).collect()
        }
        // One word for all: it is in no output topic.
        (Expect::Written(written), Seen::DeadLetter(_)) => {
            let first = wants(written).into_iter().take(1);
            let differs = |want: Want<'_>| Difference {
                key: want.key(),
                expected: want.shown(case.tolerance),
                was: seen.to_string(),
            };
            first.map(differs).collect()
        }
    };
    if differences.is_empty() { Verdict::Passed } else { Verdict::Failed(differences) }
}

/// One thing that is expected of a record in an output topic.
pub(super) enum Want<'a> {
    Passed(PassThrough),
    Label(&'a str),
    Score(f64),
    /// JSON pointer and JSON.
    Field(&'a str, &'a str),
    Header(&'a str, Option<&'a str>),
    Value(&'a str),
    Topic(&'a str),
}

/// All of them.
pub(super) fn wants(written: &Written) -> Vec<Want<'_>> {
    let Written { passed, label, score, fields, value, headers, topic } = written;
    let mut wants: Vec<Want<'_>> = Vec::new();
    wants.extend(passed.map(Want::Passed));
    wants.extend(label.as_deref().map(Want::Label));
    wants.extend(score.map(Want::Score));
    wants.extend(topic.as_deref().map(Want::Topic));
    wants.extend(fields.iter().map(|(pointer, json)| Want::Field(pointer, json)));
    wants.extend(headers.iter().map(|(name, text)| Want::Header(name, text.as_deref())));
    wants.extend(value.as_deref().map(Want::Value));
    wants
}

impl Want<'_> {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Passed(_) => Key::Passed,
            Self::Label(_) => Key::Label,
            Self::Score(_) => Key::Score,
            Self::Field(pointer, _) => Key::Field((*pointer).to_owned()),
            Self::Header(name, _) => Key::Header((*name).to_owned()),
            Self::Value(_) => Key::Value,
            Self::Topic(_) => Key::Topic,
        }
    }

    fn shown(&self, tolerance: f64) -> String {
        match self {
            Self::Passed(why) => why.as_str().to_owned(),
            Self::Score(score) => format!("{score} ± {tolerance}"),
            Self::Header(_, None) => "null".to_owned(),
            Self::Label(text)
            | Self::Field(_, text)
            | Self::Header(_, Some(text))
            | Self::Value(text)
            | Self::Topic(text) => shown(text),
        }
    }

    fn differs(&self, tolerance: f64, seen: &Seen, sent: &Sent) -> Option<Difference> {
        let result = sent.result.as_ref();
        // Without a result, why it has none.
        let otherwise = || seen.to_string();
        let was = match self {
            Self::Passed(why) if result.err() == Some(why) => return None,
            Self::Passed(_) => result.err().map_or_else(otherwise, |why| why.as_str().to_owned()),
            Self::Label(label) => match result {
                Ok(Some((was, _))) if was == label => return None,
                Ok(Some((was, _))) => shown(was),
                _ => otherwise(),
            },
            Self::Score(score) => match result {
                Ok(Some((_, was))) if near(*score, *was, tolerance) => return None,
                Ok(Some((_, was))) => was.to_string(),
                _ => otherwise(),
            },
            Self::Field(pointer, json) => match sent.field(pointer) {
                Some(was) if same(json, was) => return None,
                Some(was) => shown(was),
                None => "nothing is there".to_owned(),
            },
            Self::Header(name, text) => match sent.header(name).map(|header| header.value.as_deref()) {
                Some(was) if was == text.map(str::as_bytes) => return None,
                Some(Some(was)) => shown(&String::from_utf8_lossy(was)),
                Some(None) => "null".to_owned(),
                None => "there is none of this name".to_owned(),
            },
            Self::Value(value) => match sent.value.as_deref() {
                Some(was) if was == value.as_bytes() => return None,
                Some(was) => {
                    let (expected, was) = where_they_part(value.as_bytes(), was);
                    return Some(Difference { key: Key::Value, expected, was });
                }
                None => "null: a tombstone".to_owned(),
            },
            Self::Topic(topic) => match sent.topic.as_deref() {
                Some(was) if was == *topic => return None,
                Some(was) => was.to_owned(),
                None => "none: the pipeline has no `output.topic`".to_owned(),
            },
        };
        Some(Difference { key: self.key(), expected: self.shown(tolerance), was })
    }
}

/// Scores are compared as decimals, as they stand in results: with a tolerance of 0 the very score
/// that is written there is equal.
fn near(expected: f64, was: f32, tolerance: f64) -> bool {
    /// What the subtraction of two decimals may be off by.
    const ROUNDING: f64 = 1e-12;
    was.to_string().parse::<f64>().is_ok_and(|was| (was - expected).abs() <= tolerance + ROUNDING)
}

/// Both values, around the first byte in which they differ.
fn where_they_part(expected: &[u8], was: &[u8]) -> (String, String) {
    const BEFORE: usize = 24;
    const AFTER: usize = 40;
    let at = expected.iter().zip(was).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        // Not in the middle of a character.
        let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        let from = (0..=at.saturating_sub(BEFORE)).rev().find(|from| !continues(*from)).unwrap_or(0);
        let to = (at + AFTER..bytes.len()).find(|to| !continues(*to)).unwrap_or(bytes.len());
        let part = shown(&String::from_utf8_lossy(bytes.get(from..to).unwrap_or_default()));
        let (before, after) = (if from > 0 { "…" } else { "" }, if to < bytes.len() { "…" } else { "" });
        format!("{before}{part}{after}")
    };
    (format!("{}  (at byte {at})", around(expected)), around(was))
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
