//! `squeezeflow tune`: which sessions, threads and batches serve a pipeline best on this machine, measured
//! with its own texts.
//!
//! | file | what |
//! |---|---|
//! | `candidate` | the settings that are tried (pure) |
//! | `choice` | which of them is the best one (pure) |
//! | `figures` | percentiles, rates, medians (pure) |
//! | `measure` | one candidate through the real stages |
//! | `texts` | the texts, from a file; `topic`: from the input topics, unnoticed by the workers |
//! | `machine` | what it was measured on |
//! | `error` | what can go wrong |
//!
//! Every candidate is looked at once; the better ones then take turns for some rounds, so that whatever else
//! the machine does falls on all of them.

mod candidate;
mod choice;
mod error;
mod figures;
mod machine;
mod measure;
mod texts;
mod topic;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

pub use candidate::{Candidate, Change};
pub use choice::{Choice, Measured};
pub use error::{TopicError, TuneError};
pub use figures::Figure;
pub use machine::Machine;
pub use texts::Texts;

use crate::config::{self, Loaded, Origin, Overrides, Settings};
use crate::model::Receipt;
use crate::pipeline;
use crate::record::Record;
use crate::results;
use candidate::Ground;
use figures::Rate;
use measure::{Bench, Latency};

/// The load at which latency is looked at, where no rate is named: a share of what the setting can do.
pub const LOAD: f64 = 0.7;
/// So many take turns after the first look.
const FINALISTS: usize = 6;
const ROUNDS: usize = 3;
/// Of the time, for the first look.
const FIRST_LOOK: u32 = 3;

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
    /// With which model, on what.
    pub receipt: Receipt,
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
            Choice::Best(_) => self.best().map_or_else(Vec::new, |best| best.candidate.changes(&self.now)),
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

/// Refuses a pipeline whose tuned keys are set by the environment or by `--set`.
///
/// # Errors
/// [`TuneError::Overridden`].
pub fn check(pipeline: &Loaded) -> Result<(), TuneError> {
    if pipeline.settings.results.first.name.is_some() {
        return Err(TuneError::Several);
    }
    for ((section, key), _) in Candidate::of(&pipeline.settings).keys() {
        let key = format!("{section}.{key}");
        let by = match pipeline.places.origin(&key) {
            Origin::Environment(name) => format!("the environment variable {name}"),
            Origin::Set => "`--set`".to_owned(),
            Origin::File | Origin::Unwritten => continue,
        };
        return Err(TuneError::Overridden { key, by });
    }
    Ok(())
}

/// The text of a pipeline file with these changes. `None`: it is written in a way that cannot be changed
/// without touching more.
pub fn rewrite(text: &str, changes: &[Change]) -> Option<String> {
    changes
        .iter()
        .try_fold(text.to_owned(), |text, (at, value)| config::yaml::set(&text, *at, value, "model"))
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
    let asked = settings.results.first.model.provider.kind.as_str();
    if first.receipt().provider != asked {
        return Err(TuneError::Fallback { asked, got: first.receipt().provider });
    }
    watch(Progress::Step);
    let streams = first.streams(settings)?;
    let (texts, records) = texts::survey(sample, &pipeline::reader(settings, streams, false))?;
    let machine = Machine::here();
    let ground = Ground {
        now: Candidate::of(settings),
        provider: settings.results.first.model.provider.kind,
        cores: machine.cores,
        longest: results::longest(&settings.results.first.model, first.package()),
        mean: (texts.mean.ceil() as usize).max(1),
        p99: job.goal.p99,
    };
    let receipt = first.receipt().clone();
    let mut course = Course { job, records: &records, benches: vec![(shape(&ground.now), first)], watch };
    let runners = course.load(&ground)?;
    let (measured, finalists) = course.run(&runners)?;
    let choice = measured.get(..finalists).and_then(|finalists| choice::choose(finalists, job.goal.p99));
    if job.goal.p99.is_some() && measured.iter().take(finalists).all(|m| m.p99.is_none()) {
        return Err(TuneError::TooFew);
    }
    let too_slow = runners.len() - measured.len();
    let choice = choice.ok_or(TuneError::TooSlow)?;
    Ok(Report { machine, receipt, texts, now: ground.now, measured, finalists, too_slow, choice })
}

type Shape = (NonZeroUsize, NonZeroUsize);

fn shape(candidate: &Candidate) -> Shape {
    (candidate.sessions, candidate.threads)
}

/// A candidate with the settings that it makes of the pipeline.
struct Runner {
    candidate: Candidate,
    settings: Settings,
}

/// What a candidate did, round by round.
#[derive(Default)]
struct Seen {
    rates: Vec<Rate>,
    latencies: Vec<Latency>,
}

struct Course<'a, 'w> {
    job: &'a Job<'a>,
    records: &'a [Record],
    /// Loaded once each.
    benches: Vec<(Shape, Bench)>,
    watch: &'w mut dyn FnMut(Progress),
}

impl Course<'_, '_> {
    /// Every candidate that the pipeline's rules allow, and the sessions that it needs.
    fn load(&mut self, ground: &Ground) -> Result<Vec<Runner>, TuneError> {
        let mut runners = Vec::new();
        for candidate in candidate::candidates(ground) {
            let changes = candidate.changes(&ground.now);
            let sets = changes.into_iter().map(|((section, key), value)| format!("{section}.{key}={value}"));
            let mut overrides = self.job.overrides.clone();
            overrides.set.extend(sets);
            // More in flight than the pipeline allows, say.
            let Ok(Loaded { settings, .. }) = config::load(self.job.file, &overrides) else { continue };
            runners.push(Runner { candidate, settings });
        }
        let mut missing: Vec<&Runner> = Vec::new();
        for runner in &runners {
            let known = self.benches.iter().map(|(shape, _)| *shape);
            let mut known = known.chain(missing.iter().map(|r| shape(&r.candidate)));
            if !known.any(|known| known == shape(&runner.candidate)) {
                missing.push(runner);
            }
        }
        (self.watch)(Progress::Begin("loading the model", missing.len()));
        for runner in missing {
            self.benches.push((shape(&runner.candidate), Bench::load(&runner.settings)?));
            (self.watch)(Progress::Step);
        }
        Ok(runners)
    }

    /// All once, then the better ones in turns. Those come first in the result; how many there are.
    fn run(&mut self, runners: &[Runner]) -> Result<(Vec<Measured>, usize), TuneError> {
        let goal = self.job.goal;
        let began = Instant::now();
        let all: Vec<usize> = (0..runners.len()).collect();
        // Latency is looked at here only where it decides who goes on.
        let looks = if goal.p99.is_some() { 2 } else { 1 };
        (self.watch)(Progress::Begin("warming up", self.benches.len()));
        let short = self.job.time / 50;
        for (shape, _) in &self.benches {
            if let Some(runner) = runners.iter().find(|r| self::shape(&r.candidate) == *shape) {
                measure::saturate(&runner.settings, self.bench(runner)?, self.records, short)?;
            }
            (self.watch)(Progress::Step);
        }
        let mut seen: Vec<Seen> = runners.iter().map(|_| Seen::default()).collect();
        (self.watch)(Progress::Begin("a first look", all.len() * looks));
        let clock = Clock { end: Instant::now() + self.job.time / FIRST_LOOK, runs: all.len() * looks };
        self.round(runners, &all, &mut seen, clock, looks)?;
        let first: Vec<(usize, Measured)> = measured(runners, &seen, &all);
        let figures: Vec<Measured> = first.iter().map(|(_, m)| *m).collect();
        let listed = choice::shortlist(&figures, goal.p99, FINALISTS);
        let mut finalists: Vec<usize> =
            listed.iter().filter_map(|i| first.get(*i).map(|(i, _)| *i)).collect();
        // The one of now, to compare with.
        if !finalists.contains(&0) {
            finalists.push(0);
        }

        let mut again: Vec<Seen> = runners.iter().map(|_| Seen::default()).collect();
        let runs = finalists.len() * ROUNDS * 2;
        (self.watch)(Progress::Begin("measuring", runs));
        // Where the first look took longer than it should have, the rest is not squeezed into nothing.
        let end = (began + self.job.time).max(Instant::now() + self.job.time / 2);
        for round in 0..ROUNDS {
            let clock = Clock { end, runs: runs - round * finalists.len() * 2 };
            self.round(runners, &finalists, &mut again, clock, 2)?;
        }
        let mut last = measured(runners, &again, &finalists);
        last.sort_by(|(_, a), (_, b)| b.texts_per_second.median.total_cmp(&a.texts_per_second.median));
        let mut result: Vec<Measured> = last.iter().map(|(_, m)| *m).collect();
        let count = result.len();
        result.extend(first.iter().filter(|(i, _)| last.iter().all(|(l, _)| l != i)).map(|(_, m)| *m));
        Ok((result, count))
    }

    /// Each of them once. `looks`: throughput only, or latency too.
    fn round(
        &mut self,
        runners: &[Runner],
        which: &[usize],
        seen: &mut [Seen],
        mut clock: Clock,
        looks: usize,
    ) -> Result<(), TuneError> {
        for index in which {
            let (Some(runner), Some(seen)) = (runners.get(*index), seen.get_mut(*index)) else { continue };
            let rate = measure::saturate(&runner.settings, self.bench(runner)?, self.records, clock.slice())?;
            (self.watch)(Progress::Step);
            seen.rates.extend(rate);
            if looks == 1 {
                continue;
            }
            let slice = clock.slice();
            if let Some(rate) = rate {
                let rate = self.job.goal.rate.unwrap_or(rate.texts * LOAD);
                let load = (rate, slice);
                let latency = measure::paced(&runner.settings, self.bench(runner)?, self.records, load)?;
                seen.latencies.extend(latency);
            }
            (self.watch)(Progress::Step);
        }
        Ok(())
    }

    fn bench(&self, runner: &Runner) -> Result<&Bench, TuneError> {
        let found = self.benches.iter().find(|(shape, _)| *shape == self::shape(&runner.candidate));
        found.map(|(_, bench)| bench).ok_or(TuneError::TooSlow)
    }
}

/// Shares the time that is left among the runs that are left.
struct Clock {
    end: Instant,
    runs: usize,
}

impl Clock {
    const SHORTEST: Duration = Duration::from_millis(10);

    fn slice(&mut self) -> Duration {
        let left = self.end.saturating_duration_since(Instant::now());
        let slice = left / u32::try_from(self.runs.max(1)).unwrap_or(u32::MAX);
        self.runs = self.runs.saturating_sub(1);
        slice.max(Self::SHORTEST)
    }
}

/// Those of `which` that gave figures, with their indices.
fn measured(runners: &[Runner], seen: &[Seen], which: &[usize]) -> Vec<(usize, Measured)> {
    let figures = |index: &usize| {
        let (runner, Seen { rates, latencies }) = (runners.get(*index)?, seen.get(*index)?);
        let of =
            |f: fn(&Latency) -> Duration| Figure::of(latencies.iter().map(|l| f(l).as_secs_f64()).collect());
        let measured = Measured {
            candidate: runner.candidate,
            rounds: rates.len(),
            texts_per_second: Figure::of(rates.iter().map(|r| r.texts).collect())?,
            tokens_per_second: Figure::of(rates.iter().map(|r| r.tokens).collect())?,
            p50: of(|l| l.p50),
            p99: of(|l| l.p99),
        };
        Some((*index, measured))
    };
    which.iter().filter_map(figures).collect()
}
