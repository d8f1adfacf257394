//! The way from candidates to figures: all are looked at once, the better ones then take turns.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::candidate::{self, Candidate, Ground};
use super::change;
use super::choice::{self, Measured};
use super::figures::{Figure, Rate};
use super::measure::{self, Latency};
use super::{Job, LOAD, Progress, TuneError};
use crate::config::{self, Loaded, Settings};
use crate::record::Record;

/// So many take turns after the first look.
const FINALISTS: usize = 6;
const ROUNDS: usize = 3;
/// Of the time, for the first look.
const FIRST_LOOK: u32 = 3;

type Shape = (NonZeroUsize, NonZeroUsize);

fn shape(candidate: &Candidate) -> Shape {
    (candidate.sessions, candidate.threads)
}

/// A candidate with the settings that it makes of the pipeline.
pub(super) struct Runner {
    candidate: Candidate,
    settings: Settings,
}

/// What a candidate did, round by round.
#[derive(Default)]
struct Seen {
    rates: Vec<Rate>,
    latencies: Vec<Latency>,
}

pub(super) struct Course<'a, 'w> {
    job: &'a Job<'a>,
    records: &'a [Record],
    /// Loaded once each.
    benches: Vec<(Shape, Bench)>,
    watch: &'w mut dyn FnMut(Progress),
}

impl<'a, 'w> Course<'a, 'w> {
    /// With the models as they are `now`.
    pub(super) fn new(
        job: &'a Job<'a>,
        records: &'a [Record],
        (now, bench): (&Candidate, Bench),
        watch: &'w mut dyn FnMut(Progress),
    ) -> Self {
        Self { job, records, benches: vec![(shape(now), bench)], watch }
    }

    /// Every candidate that the pipeline's rules allow, and the sessions that it needs.
    pub(super) fn load(&mut self, ground: &Ground) -> Result<Vec<Runner>, TuneError> {
        let mut runners = Vec::new();
        for candidate in candidate::candidates(ground) {
            let names = self.job.pipeline.settings.results.iter().map(|result| result.name.as_deref());
            let changes = change::written(names, &candidate.changes(&ground.now));
            let changes = changes.iter().map(|change| (change.at.as_slice(), change.value.as_str()));
            let loaded = config::load_with(self.job.file, self.job.overrides, changes);
            // More in flight than the pipeline allows, say.
            let Ok(Loaded { settings, .. }) = loaded else { continue };
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
    pub(super) fn run(&mut self, runners: &[Runner]) -> Result<(Vec<Measured>, usize), TuneError> {
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
