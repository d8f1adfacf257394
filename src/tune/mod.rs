//! `squeezeflow tune`: which sessions, threads and batches serve a pipeline best on this machine, measured
//! with its own texts. Where it gives several results, all their models have the same sessions and threads.
//!
//! | file | what |
//! |---|---|
//! | `candidate` | the settings that are tried (pure) |
//! | `change` | where they stand in the pipeline file (pure) |
//! | `choice` | which of them is the best one (pure) |
//! | `figures` | percentiles, rates, medians (pure) |
//! | `course` | who is measured when, and for how long |
//! | `measure` | one candidate through the real stages; `bench`: with which sessions |
//! | `texts` | the texts, from a file; `topic`: from the input topics, unnoticed by the workers |
//! | `machine` | what it was measured on |
//! | `error` | what can go wrong |
//!
//! Every candidate is looked at once; the better ones then take turns for some rounds, so that whatever else
//! the machine does falls on all of them.

mod bench;
mod candidate;
mod change;
mod choice;
mod course;
mod error;
mod figures;
mod machine;
mod measure;
mod texts;
mod topic;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

pub use candidate::{Candidate, Setting};
pub use change::Change;
pub use choice::{Choice, Measured};
pub use error::{TopicError, TuneError};
pub use figures::Figure;
pub use machine::Machine;
pub use texts::Texts;

use crate::config::settings::ResultOf;
use crate::config::{self, Loaded, Origin, Overrides, Settings};
use crate::model::Receipt;
use crate::pipeline;
use crate::text::Stream;
use bench::Bench;
use candidate::Ground;
use course::Course;

/// The load at which latency is looked at, where no rate is named: a share of what the setting can do.
pub const LOAD: f64 = 0.7;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// 99 % of the texts get their answer within this, from the end of tokenizing on. `None`: throughput
    /// is all that counts.
    pub p99: Option<Duration>,
    /// Records that come in a second while latency is looked at; `None`: [`LOAD`] of what a setting can do.
    pub rate: Option<f64>,
}

/// What is to be tuned, and how.
pub struct Job<'a> {
    /// The pipeline's file.
    pub file: &'a Path,
    /// What speaks over it.
    pub overrides: &'a Overrides,
    /// And what it says.
    pub pipeline: &'a Loaded,
    /// A file with texts, a record a line (`-`: standard input); `None`: the input topics.
    pub texts: Option<&'a Path>,
    /// What is wanted.
    pub goal: Goal,
    /// How long measuring may take, about.
    pub time: Duration,
}

/// What was found.
pub struct Report {
    /// What it was measured on.
    pub machine: Machine,
    /// Each result by its name (`None`: the only one): with which model, on what.
    pub results: Vec<(Option<String>, Receipt)>,
    /// Models that run side by side, each with such sessions: fewer than there are results, where some have
    /// one in common.
    pub models: usize,
    /// With which texts.
    pub texts: Texts,
    /// As the pipeline is now.
    pub now: Candidate,
    /// Those that took turns, the fastest first, then those that were looked at once. The one of now is among
    /// the former, unless it was too slow to be measured.
    pub measured: Vec<Measured>,
    /// How many took turns.
    pub finalists: usize,
    /// Settings that did not answer enough batches in their time.
    pub too_slow: usize,
    /// An index into `measured`, of a finalist.
    pub choice: Choice,
}

impl Report {
    /// Those that took turns.
    pub fn finalists(&self) -> &[Measured] {
        self.measured.get(..self.finalists).unwrap_or_default()
    }

    /// The chosen one; where the goal was missed, the one that came nearest.
    pub fn best(&self) -> Option<&Measured> {
        let (Choice::Best(index) | Choice::Missed(index)) = self.choice;
        self.measured.get(index)
    }

    /// What the pipeline file is to say otherwise. Nothing, where the goal was missed.
    pub fn changes(&self) -> Vec<Change> {
        match self.choice {
            Choice::Best(_) => {
                let changed = self.best().map_or_else(Vec::new, |best| best.candidate.changes(&self.now));
                change::written(self.results.iter().map(|(name, _)| name.as_deref()), &changed)
            }
            Choice::Missed(_) => Vec::new(),
        }
    }
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Something begins that has so many steps.
    Begin(&'static str, usize),
    /// A step is done.
    Step,
}

/// Refuses a pipeline whose tuned keys are set by the environment or by `--set`, and one whose models are set
/// differently now.
///
/// # Errors
/// [`TuneError::Overridden`], [`TuneError::Unlike`].
pub fn check(pipeline: &Loaded) -> Result<(), TuneError> {
    for key in keys(&pipeline.settings).iter().map(Change::path) {
        let by = match pipeline.places.origin(&key) {
            Origin::Environment(name) => format!("the environment variable {name}"),
            Origin::Set => "`--set`".to_owned(),
            Origin::File | Origin::Unwritten => continue,
        };
        return Err(TuneError::Overridden { key, by });
    }
    let (first, others) = (&pipeline.settings.results.first, &pipeline.settings.results.others);
    let said = |of: &ResultOf| {
        [
            ("model.provider", of.model.provider.kind.as_str().to_owned()),
            ("model.threads", of.model.threads.to_string()),
            ("model.sessions", of.model.sessions.to_string()),
        ]
    };
    let pairs =
        others.iter().flat_map(|other| said(first).into_iter().zip(said(other)).map(move |p| (other, p)));
    for (other, ((key, is), (_, but))) in pairs {
        if is != but {
            return Err(TuneError::Unlike { one: first.at(key), is, other: other.at(key), but });
        }
    }
    Ok(())
}

/// What is tuned, as a pipeline says it now, everywhere in its file.
pub fn keys(settings: &Settings) -> Vec<Change> {
    let names = settings.results.iter().map(|result| result.name.as_deref());
    change::written(names, &Candidate::of(settings).settings())
}

/// The text of a pipeline file with these changes. `None`: it is written in a way that cannot be changed
/// without touching more.
pub fn rewrite(text: &str, changes: &[Change]) -> Option<String> {
    changes.iter().try_fold(text.to_owned(), |text, Change { at, value }| {
        let at: Vec<&str> = at.iter().map(String::as_str).collect();
        config::yaml::set(&text, &at, value, &["model", "results"])
    })
}

/// Measures, and chooses. Must be called inside a tokio runtime.
///
/// # Errors
/// See [`TuneError`]. A goal that cannot be kept is none: [`Choice::Missed`].
pub fn tune(job: &Job<'_>, watch: &mut dyn FnMut(Progress)) -> Result<Report, TuneError> {
    let settings = &job.pipeline.settings;
    check(job.pipeline)?;
    watch(Progress::Begin("reading texts", 1));
    let sample = match (job.texts, &settings.kafka) {
        (Some(file), _) => texts::of_file(file)?,
        (None, Some(kafka)) => topic::newest(kafka, &settings.input.topics)?,
        (None, None) => return Err(TuneError::NoSource),
    };
    watch(Progress::Step);
    watch(Progress::Begin("loading the model", 1));
    let first = Bench::load(settings)?;
    for (result, of) in first.results().iter().zip(settings.results.iter()) {
        let (asked, got) = (of.model.provider.kind.as_str(), result.receipt.provider);
        if !got.starts_with(asked) {
            return Err(TuneError::Fallback { key: of.at("model.provider"), asked, got });
        }
    }
    watch(Progress::Step);
    let streams: Vec<Stream> = first.streams().cloned().collect();
    let longest = streams.iter().map(|stream| stream.tokenizer.max_length()).max().unwrap_or(1);
    let (texts, records) = texts::survey(sample, &pipeline::reader(settings, streams, false))?;
    let (machine, models) = (Machine::here(), first.models());
    let ground = Ground {
        now: Candidate::of(settings),
        provider: settings.results.first.model.provider.kind,
        cores: machine.cores,
        models: NonZeroUsize::new(models).unwrap_or(NonZeroUsize::MIN),
        longest,
        mean: (texts.mean.ceil() as usize).max(1),
        p99: job.goal.p99,
    };
    let results =
        first.results().iter().map(|result| (result.name.clone(), result.receipt.clone())).collect();
    let mut course = Course::new(job, &records, (&ground.now, first), watch);
    let runners = course.load(&ground)?;
    let (measured, finalists) = course.run(&runners)?;
    let choice = measured.get(..finalists).and_then(|finalists| choice::choose(finalists, job.goal.p99));
    if job.goal.p99.is_some() && measured.iter().take(finalists).all(|m| m.p99.is_none()) {
        return Err(TuneError::TooFew);
    }
    let too_slow = runners.len() - measured.len();
    let choice = choice.ok_or(TuneError::TooSlow)?;
    Ok(Report { machine, results, models, texts, now: ground.now, measured, finalists, too_slow, choice })
}

#[cfg(test)]
mod tests;
