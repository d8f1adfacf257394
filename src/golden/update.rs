//! `--update`: files that say what was seen. A file is changed in memory case by case, each change is
//! read back before it is kept, and the file is written at the end, in one step or not at all.

use super::change::{Change, NotUpdated, change};
use super::compare::{Key, Verdict, Want, judge, wants};
use super::edit::edit;
use super::seen::Seen;
use crate::config::yaml::{self, Scalars};
use crate::config::{Case, CaseFile, Expect, WriteError, replace};

/// Makes these cases, by index, expect what was seen. Of each it says whether that was possible.
///
/// # Errors
/// The file could not be written; then no case was changed.
pub fn update(file: &CaseFile, seen: &[(usize, &Seen)]) -> Result<Vec<Result<(), NotUpdated>>, WriteError> {
    let (text, answers) = rewrite(file, seen);
    if text != file.text {
        replace(&file.path, &file.text, &text)?;
    }
    Ok(answers)
}

/// The text of the file with all changes that could be made.
fn rewrite(file: &CaseFile, seen: &[(usize, &Seen)]) -> (String, Vec<Result<(), NotUpdated>>) {
    let mut changed: Option<CaseFile> = None;
    let mut answers = Vec::with_capacity(seen.len());
    for (index, seen) in seen {
        let answer = rewrite_one(changed.as_ref().unwrap_or(file), *index, seen);
        answers.push(answer.map(|new| changed = new.or(changed.take())));
    }
    (changed.map_or_else(|| file.text.clone(), |file| file.text), answers)
}

/// The file with one case changed; `None`: there was nothing to change.
fn rewrite_one(file: &CaseFile, index: usize, seen: &Seen) -> Result<Option<CaseFile>, NotUpdated> {
    let case = file.cases.get(index).ok_or(NotUpdated::Unsafe)?;
    let Some(change) = change(case, seen)? else { return Ok(None) };
    let new = edit(&file.text, index, &change)?;
    let new = file.with(new).map_err(|_| NotUpdated::Unsafe)?;
    if is_as_meant(file, &new, index, &change, seen) { Ok(Some(new)) } else { Err(NotUpdated::Unsafe) }
}

/// Does the new file say of this case what was seen, and of everything else what the old one says?
fn is_as_meant(old: &CaseFile, new: &CaseFile, index: usize, change: &Change, seen: &Seen) -> bool {
    let unchanged = |(i, (before, after)): (usize, (&Case, &Case))| {
        let expect = if i == index { &after.expect } else { &before.expect };
        *after == Case { line: after.line, expect: expect.clone(), ..before.clone() }
    };
    let same_keys = |before: &Case, after: &Case| match change {
        Change::Values(_) => keys(&before.expect) == keys(&after.expect),
        Change::Whole(_) => true,
    };
    old.cases.len() == new.cases.len()
        && old.cases.iter().zip(&new.cases).enumerate().all(unchanged)
        && old
            .cases
            .get(index)
            .zip(new.cases.get(index))
            .is_some_and(|(before, after)| judge(after, seen) == Verdict::Passed && same_keys(before, after))
        && rest(&old.text).is_some_and(|before| rest(&new.text) == Some(before))
}

/// What is asked for.
fn keys(expect: &Expect) -> Vec<Key> {
    match expect {
        Expect::Nothing => Vec::new(),
        Expect::DeadLetter(_) => vec![Key::DeadLetter],
        Expect::Written(written) => wants(written).iter().map(Want::key).collect(),
    }
}

/// All that a file says beside its cases.
fn rest(text: &str) -> Option<Vec<(String, String)>> {
    let root = yaml::parse(text, Scalars::Typed).ok()?.root?;
    let others = root.entries().iter().filter(|(key, _)| key.text() != "tests");
    Some(others.map(|(key, value)| (key.text().to_owned(), value.json())).collect())
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
