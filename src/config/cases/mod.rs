//! The cases of `squeezeflow test`: read from a pipeline file and from the file beside it, checked
//! against the schema and by rules of their own. A worker does not look at them; so nothing that is
//! wrong with them stops one.

use std::path::{Path, PathBuf};

use super::load::{self, Places};
use super::path;
use super::problem::{ConfigError, Problem, suggest};
use super::settings::Settings;
use super::topics::Subscription;
use crate::record::{PassThrough, Reason};

mod judge;

/// How the name of a file with cases ends.
const BESIDE: &str = ".tests.yaml";

/// A file with cases.
#[derive(Debug)]
pub struct CaseFile {
    /// The pipeline file, or the one beside it.
    pub path: PathBuf,
    /// All of it, as it was read.
    pub text: String,
    /// At least one, in order.
    pub cases: Vec<Case>,
    kind: Kind,
    places: Places,
}

/// What else may stand in a file with cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A pipeline.
    Pipeline,
    /// Nothing.
    Beside,
}

/// A record, and what must become of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Unlike that of any other case of the pipeline.
    pub name: String,
    /// Where it begins, counted from 1.
    pub line: usize,
    /// The record.
    pub given: Given,
    /// How far the score may be from the expected one.
    pub tolerance: f64,
    /// What must become of it.
    pub expect: Expect,
}

/// The record of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// `None`: without a key.
    pub key: Option<Vec<u8>>,
    /// In order.
    pub headers: Vec<(String, Option<String>)>,
    /// Where it is read from; `None`: from a topic of the pipeline.
    pub topic: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

/// What must become of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    /// Nobody has said it yet.
    Nothing,
    /// It becomes a dead letter.
    DeadLetter(Reason),
    /// It goes to an output topic.
    Written(Written),
}

/// What a record that goes to an output topic must be. Only what is said is compared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Written {
    /// It passed through as it is, for this reason.
    pub passed: Option<PassThrough>,
    /// The result's label.
    pub label: Option<String>,
    /// The result's score.
    pub score: Option<f64>,
    /// JSON pointers into the value, and what is there, as JSON.
    pub fields: Vec<(String, String)>,
    /// The whole value.
    pub value: Option<String>,
    /// The last header of each name.
    pub headers: Vec<(String, Option<String>)>,
    /// The output topic.
    pub topic: Option<String>,
}

/// Where the cases of a pipeline stand, if not in its own file.
pub fn beside(pipeline: &Path) -> PathBuf {
    let stem = pipeline.file_stem().unwrap_or_default().to_string_lossy();
    pipeline.with_file_name(format!("{stem}{BESIDE}"))
}

/// Does this file hold cases and nothing else, to go by its name?
pub fn is_beside(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().ends_with(BESIDE))
}

/// All cases of a pipeline: those in its file, then those beside it. None is no error.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn cases(pipeline: &Path) -> Result<Vec<CaseFile>, ConfigError> {
    let mut files = vec![CaseFile::read(pipeline, Kind::Pipeline)];
    let beside = beside(pipeline);
    if beside.exists() && beside != pipeline {
        files.push(CaseFile::read(&beside, Kind::Beside));
    }
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        match file {
            Ok(file) => good.push(file),
            Err(error) => problems.extend(error.problems),
        }
    }
    problems.extend(twice(&good));
    good.retain(|file| !file.cases.is_empty());
    if problems.is_empty() { Ok(good) } else { Err(ConfigError { problems }) }
}

/// The cases of a file that [`is_beside`] a pipeline.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn cases_beside(file: &Path) -> Result<CaseFile, ConfigError> {
    CaseFile::read(file, Kind::Beside)
}

/// A name in two files; within one file each is compared with those before it.
fn twice(files: &[CaseFile]) -> Vec<Problem> {
    let [first, second] = files else { return Vec::new() };
    let mut found = Vec::new();
    for (i, case) in second.cases.iter().enumerate() {
        if let Some(other) = first.cases.iter().find(|other| other.name == case.name) {
            let place = format!("see {}:{}", first.path.display(), other.line);
            let problem = second.problem(i, "name", "is the name of another case");
            found.push(problem.hint(place));
        }
    }
    found
}

impl CaseFile {
    fn read(path: &Path, kind: Kind) -> Result<Self, ConfigError> {
        Self::of(path, kind, load::read(path)?)
    }

    fn of(path: &Path, kind: Kind, text: String) -> Result<Self, ConfigError> {
        let document = load::parse(path, &text)?;
        let places = Places::in_file(path, document.lines.clone());
        let cases = judge::judge(kind, document, &places)?;
        Ok(Self { path: path.to_owned(), text, cases, kind, places })
    }

    /// The same file if it had this text.
    ///
    /// # Errors
    /// As when a file is read.
    pub fn with(&self, text: String) -> Result<Self, ConfigError> {
        Self::of(&self.path, self.kind, text)
    }

    /// A file of no more than this text, which stands beside a pipeline.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Result<Self, ConfigError> {
        Self::of(Path::new("p.tests.yaml"), Kind::Beside, text.to_owned())
    }

    /// Cases that cannot hold, whatever the model says: labels that it does not have, topics that
    /// the pipeline neither reads nor writes.
    pub fn impossible(&self, settings: &Settings, labels: &[String]) -> Vec<Problem> {
        let uncertain = settings.output.uncertain.as_ref().map(|uncertain| &uncertain.label);
        let written = settings.output.topics();
        let reads = |topic: &str| {
            let mut subscriptions = settings.input.topics.iter().filter_map(|t| Subscription::parse(t).ok());
            subscriptions.any(|subscription| subscription.reads(topic))
        };
        let mut found = Vec::new();
        for (i, case) in self.cases.iter().enumerate() {
            if let Some(topic) = case.given.topic.as_deref().filter(|topic| !reads(topic)) {
                let known = settings.input.topics.iter().map(String::as_str);
                let problem = self.problem(i, "topic", "is a topic that the pipeline does not read");
                found.push(problem.hint(suggest(topic, known)));
            }
            let Expect::Written(Written { label, topic, .. }) = &case.expect else { continue };
            if let Some(label) = label.as_ref().filter(|l| !labels.contains(l) && uncertain != Some(*l)) {
                let known = labels.iter().chain(uncertain).map(String::as_str);
                let problem = self.problem(i, "expect.label", "is a label that no result can have");
                found.push(problem.hint(suggest(label, known)));
            }
            if let Some(topic) = topic.as_deref().filter(|topic| !written.contains(topic)) {
                let known = written.iter().copied();
                let problem = self.problem(i, "expect.topic", "is a topic that the pipeline does not write");
                found.push(problem.hint(suggest(topic, known)));
            }
        }
        found
    }

    fn problem(&self, case: usize, key: &str, what: &str) -> Problem {
        let problem = Problem::error(path::key(&path::index("tests", case), key), what);
        self.places.locate(problem)
    }
}

#[cfg(test)]
mod tests;
