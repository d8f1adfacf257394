//! What an expectation becomes when it is to say what was seen. Pure.

use super::compare::{Key, Verdict, judge};
use super::scalar;
use super::seen::{Seen, Sent};
use crate::config::{Case, Expect};

/// Values are YAML on one line.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// What is asked for stays; these values are new.
    Values(Vec<(Key, String)>),
    /// The record ended in another way, or nothing was asked for: this is all that is expected now.
    Whole(Vec<(Key, String)>),
}

/// Why a case was left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUpdated {
    /// What cannot be seen cannot be expected.
    #[error("`{0}` has nothing to expect any more")]
    Gone(Key),
    /// YAML holds text only.
    #[error("`{0}` is not text, and cannot be written in YAML")]
    NotText(Key),
    /// A change here would change others.
    #[error("its `expect` has an anchor or an alias in it, and what shares it would change too")]
    Shared,
    /// The text is not as we understand YAML, or would not say the same afterwards.
    #[error("it is written in a way that cannot be changed without touching more than its `expect`")]
    Unsafe,
}

/// What is to be changed; `None`: nothing, it is as expected.
pub(super) fn change(case: &Case, seen: &Seen) -> Result<Option<Change>, NotUpdated> {
    let differences = match judge(case, seen) {
        Verdict::Passed => return Ok(None),
        Verdict::Silent => return Ok(Some(Change::Whole(shortest(seen, case.tolerance)))),
        Verdict::Failed(differences) => differences,
    };
    if ended_otherwise(&case.expect, seen) {
        return Ok(Some(Change::Whole(shortest(seen, case.tolerance))));
    }
    let values = differences.into_iter().map(|difference| {
        let value = value(&difference.key, seen, case.tolerance)?;
        Ok((difference.key, value))
    });
    Ok(Some(Change::Values(values.collect::<Result<_, _>>()?)))
}

/// Tagged, passed through or a dead letter: is it another of the three?
fn ended_otherwise(expect: &Expect, seen: &Seen) -> bool {
    match (expect, seen) {
        (Expect::DeadLetter(_), Seen::DeadLetter(_)) | (Expect::Nothing, _) => false,
        (Expect::DeadLetter(_), Seen::Written(_)) | (Expect::Written(_), Seen::DeadLetter(_)) => true,
        (Expect::Written(written), Seen::Written(sent)) => match &sent.result {
            Ok(_) => written.passed.is_some(),
            Err(_) => written.label.is_some() || written.score.is_some(),
        },
    }
}

/// The least that says how it ended.
fn shortest(seen: &Seen, tolerance: f64) -> Vec<(Key, String)> {
    match seen {
        Seen::DeadLetter(letter) => vec![(Key::DeadLetter, letter.reason.as_str().to_owned())],
        Seen::Written(Sent { result: Err(why), .. }) => vec![(Key::Passed, why.as_str().to_owned())],
        Seen::Written(Sent { result: Ok(None), .. }) => Vec::new(),
        Seen::Written(Sent { result: Ok(Some((label, score))), .. }) => {
            vec![(Key::Label, scalar::text(label)), (Key::Score, scalar::score(*score, tolerance))]
        }
    }
}

/// What a key says now.
fn value(key: &Key, seen: &Seen, tolerance: f64) -> Result<String, NotUpdated> {
    let gone = || NotUpdated::Gone(key.clone());
    let not_text = || NotUpdated::NotText(key.clone());
    let text = |bytes: &[u8]| str::from_utf8(bytes).map(scalar::text).map_err(|_| not_text());
    let sent = match seen {
        Seen::Written(sent) => sent,
        Seen::DeadLetter(letter) if *key == Key::DeadLetter => return Ok(letter.reason.as_str().to_owned()),
        Seen::DeadLetter(_) => return Err(gone()),
    };
    match (key, &sent.result) {
        (Key::Label, Ok(Some((label, _)))) => Ok(scalar::text(label)),
        (Key::Score, Ok(Some((_, score)))) => Ok(scalar::score(*score, tolerance)),
        (Key::Passed, Err(why)) => Ok(why.as_str().to_owned()),
        (Key::Field(pointer), _) => scalar::json(sent.field(pointer).ok_or_else(gone)?).ok_or_else(not_text),
        (Key::Value, _) => text(sent.value.as_deref().ok_or_else(gone)?),
        (Key::Header(name), _) => match &sent.header(name).ok_or_else(gone)?.value {
            Some(value) => text(value),
            None => Ok("null".to_owned()),
        },
        (Key::Topic, _) => sent.topic.as_deref().map(scalar::text).ok_or_else(gone),
        (Key::Label | Key::Score | Key::Passed | Key::DeadLetter, _) => Err(gone()),
    }
}
