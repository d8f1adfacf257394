//! One candidate measured: the pipeline's own stages with its real sessions, fed with its own texts. First as
//! fast as they go, then as records come in earnest: at moments of their own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::TuneError;
use super::bench::Bench;
use super::figures::{self, Done, Rate};
use crate::config::Settings;
use crate::pipeline::{PipelineError, Stages};
use crate::record::{Admission, Epoch, Outcome, PartitionId, Record, Stamps, Ticket, Trace, Tracked};
use crate::telemetry::Telemetry;

/// A stage that is gone is seen after this long at the latest.
const LOOK: Duration = Duration::from_millis(50);
/// A run goes on for so many times its slice where too few batches have come back.
const PATIENCE: u32 = 4;
/// Or for so long, where a slice is so short that a hiccup of the machine takes all of it.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
/// So many texts make a percentile at least.
const FEWEST: usize = 20;
/// What is fed in the first part of a run with moments is not looked at: the line is empty there.
const RAMP: u32 = 5;

/// How long texts took from the batcher's line to their answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// A record that is in flight.
struct Open {
    /// When it was to be sent: it may have found no room.
    due: Instant,
    bytes: usize,
}

/// One run of the stages. Must be made inside a tokio runtime.
struct Run<'a> {
    stages: Stages,
    texts: &'a [Record],
    /// Most records and bytes in flight, as the pipeline has it.
    most: (usize, usize),
    /// Those in flight.
    open: HashMap<u64, Open>,
    bytes: usize,
    sent: u64,
}

impl<'a> Run<'a> {
    fn start(settings: &Settings, bench: &Bench, texts: &'a [Record]) -> Result<Self, TuneError> {
        let mut settings = settings.clone();
        // What the cache answers costs nothing; the model is what is measured.
        settings.cache.max_bytes = 0;
        let stages = Stages::start(&settings, bench.lend(), &Telemetry::default())?;
        let limits = &settings.limits;
        let most = (limits.max_in_flight_records.get(), limits.max_in_flight_bytes.get());
        Ok(Self { stages, texts, most, open: HashMap::new(), bytes: 0, sent: 0 })
    }

    fn has_room(&self) -> bool {
        self.open.len() < self.most.0 && (self.bytes < self.most.1 || self.open.is_empty())
    }

    /// The next text, round and round.
    fn send(&mut self, due: Instant) -> Result<(), PipelineError> {
        let next = usize::try_from(self.sent).unwrap_or(0) % self.texts.len().max(1);
        let Some(record) = self.texts.get(next).cloned() else { return Ok(()) };
        let ticket = Ticket { partition: PartitionId(0), epoch: Epoch(0), admission: Admission(self.sent) };
        self.open.insert(self.sent, Open { due, bytes: record.size() });
        self.bytes += record.size();
        self.sent += 1;
        self.stages.submit(Tracked::new(ticket, Trace::NONE, record))
    }

    /// What comes back within so long, if anything does, and when it was to be sent.
    fn receive(&mut self, wait: Duration) -> Result<Option<(Tracked<Outcome>, Instant)>, PipelineError> {
        if let Some(fault) = self.stages.take_fault() {
            return Err(fault);
        }
        match self.stages.outcomes.recv_timeout(wait.min(LOOK)) {
            Ok(outcome) => {
                let Some(Open { due, bytes }) = self.open.remove(&outcome.ticket.admission.0) else {
                    return Ok(None); // Each comes back once.
                };
                self.bytes -= bytes;
                Ok(Some((outcome, due)))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(self.stages.take_fault().unwrap_or(PipelineError::Closed))
            }
        }
    }
}

/// As fast as the stages go, for about `slice`. `None`: too few batches came back in several slices.
pub(super) fn saturate(
    settings: &Settings,
    bench: &Bench,
    texts: &[Record],
    slice: Duration,
) -> Result<Option<Rate>, TuneError> {
    let mut run = Run::start(settings, bench, texts)?;
    let (began, sessions) = (Instant::now(), bench.sessions());
    let (mut done, mut batches, mut last) = (Vec::new(), 0, None);
    let longest = (slice * PATIENCE).max(LEAST_PATIENCE);
    while began.elapsed() < slice || (batches < sessions * 3 && began.elapsed() < longest) {
        while run.has_room() {
            run.send(Instant::now())?;
        }
        let Some((outcome, _)) = run.receive(LOOK)? else { continue };
        if let (Outcome::Enriched { emit, .. }, Some(at)) = (&outcome.item, outcome.stamps.inferred) {
            done.push(Done { at, tokens: emit.tokens.used });
            batches += usize::from(last.replace(at) != Some(at));
        }
    }
    run.stages.join()?;
    Ok(figures::rate(done, sessions))
}

/// As records come in earnest, at so many a second, for about `slice`. `None`: too few came in several
/// slices.
///
/// What is still under way a slice later counts with the time that it has taken so far: left out, the
/// slowest would be missing.
pub(super) fn paced(
    settings: &Settings,
    bench: &Bench,
    texts: &[Record],
    (rate, slice): (f64, Duration),
) -> Result<Option<Latency>, TuneError> {
    let mut run = Run::start(settings, bench, texts)?;
    let mut moments = Moments::of(rate);
    let (began, mut latencies) = (Instant::now(), Vec::new());
    let from = began + slice / RAMP;
    let mut next = began + moments.gap();
    while began.elapsed() < slice || (latencies.len() < FEWEST && began.elapsed() < slice * PATIENCE) {
        while next <= Instant::now() && run.has_room() {
            run.send(next)?;
            next += moments.gap();
        }
        let wait = next.saturating_duration_since(Instant::now());
        latencies.extend(run.receive(wait)?.and_then(|(outcome, due)| latency(outcome.stamps, due, from)));
    }
    let end = Instant::now();
    while !run.open.is_empty() && end.elapsed() < slice {
        latencies.extend(run.receive(LOOK)?.and_then(|(outcome, due)| latency(outcome.stamps, due, from)));
    }
    latencies.extend(run.open.values().filter(|open| open.due >= from).map(|open| open.due.elapsed()));
    run.stages.join()?;
    if latencies.len() < FEWEST {
        return Ok(None);
    }
    latencies.sort_unstable();
    let at = |percent| figures::percentile(&latencies, percent);
    Ok(at(50).zip(at(99)).map(|(p50, p99)| Latency { p50, p99 }))
}

/// From the end of tokenizing to the answer: the stages `queue` and `inference` of the worker's metrics. How
/// long a record found no room counts, too: else a setting that cannot keep up would look as if it did.
fn latency(stamps: Stamps, due: Instant, from: Instant) -> Option<Duration> {
    let (tokenized, inferred) = stamps.tokenized.zip(stamps.inferred)?;
    let held = stamps.admitted.saturating_duration_since(due);
    (due >= from).then(|| held + inferred.duration_since(tokenized))
}

/// Moments that know nothing of each other (a Poisson process), the same ones in every run: records come in
/// bursts, and even gaps would flatter every setting.
struct Moments {
    state: u64,
    mean: f64,
}

impl Moments {
    fn of(rate: f64) -> Self {
        Self { state: 1, mean: 1.0 / rate.max(f64::MIN_POSITIVE) }
    }

    fn gap(&mut self) -> Duration {
        // SplitMix64 (Steele, Lea and Flood 2014): its upper 53 bits as a number from 0 to 1.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let uniform = (z >> 11) as f64 / (1u64 << 53) as f64;
        // Never so long that it could not be added to a moment.
        Duration::from_secs_f64((-(1.0 - uniform).ln() * self.mean).min(3_600.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_found_no_room_has_waited() {
        let (from, ms) = (Instant::now(), Duration::from_millis);
        let stamps = Stamps {
            tokenized: Some(from + ms(510)),
            batched: Some(from + ms(520)),
            inferred: Some(from + ms(540)),
            ..Stamps::admitted(from + ms(500))
        };
        assert_eq!(latency(stamps, from + ms(500), from), Some(ms(30)), "queue and inference");
        assert_eq!(latency(stamps, from + ms(100), from), Some(ms(430)), "and 400 ms at the door");
        assert_eq!(latency(stamps, from, from + ms(1)), None, "due while the line was empty yet");
        assert_eq!(latency(Stamps { inferred: None, ..stamps }, from, from), None);
    }

    #[test]
    fn moments_come_at_their_rate_and_in_bursts() {
        let mut moments = Moments::of(200.0);
        let gaps: Vec<f64> = (0..20_000).map(|_| moments.gap().as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean * 200.0 - 1.0).abs() < 0.05, "{mean}");
        let short = gaps.iter().filter(|gap| **gap < mean).count() as f64 / gaps.len() as f64;
        assert!((short - 0.632).abs() < 0.02, "1 - 1/e of them are shorter than the mean: {short}");
        assert!(Moments::of(0.0).gap() <= Duration::from_secs(3_600));
    }
}
