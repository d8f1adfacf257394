//! Accounts for every record of the demo. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{End, Expect, Kind, Sample, Seen};

/// What came out so far, against what was fed.
pub struct Tally {
    samples: Arc<[Sample]>,
    /// How often each came out.
    times: Vec<u32>,
    latencies: Vec<Duration>,
    /// Texts by label.
    pub labels: BTreeMap<String, usize>,
    /// Dead letters by reason.
    pub reasons: BTreeMap<String, usize>,
    /// Records that came out as they went in.
    pub passed: usize,
    /// Records that came out again (at-least-once allows it).
    pub repeated: usize,
    /// Records that somebody else produced.
    pub strangers: usize,
    /// Reviews whose label is what their author meant.
    pub agreed: usize,
    /// Reviews that have a label.
    pub reviews: usize,
    /// Records that ended otherwise than they were to.
    pub surprises: Vec<usize>,
}

/// Of latencies, by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// The median.
    pub p50: Duration,
    /// 95 %.
    pub p95: Duration,
    /// 99 %.
    pub p99: Duration,
}

impl Tally {
    /// Nothing has come out yet.
    pub fn new(samples: Arc<[Sample]>) -> Self {
        Self {
            times: vec![0; samples.len()],
            samples,
            latencies: Vec::new(),
            labels: BTreeMap::new(),
            reasons: BTreeMap::new(),
            passed: 0,
            repeated: 0,
            strangers: 0,
            agreed: 0,
            reviews: 0,
            surprises: Vec::new(),
        }
    }

    /// A record came out.
    pub fn note(&mut self, seen: &Seen) {
        let known = seen.id.and_then(|id| Some((id, self.samples.get(id)?, self.times.get_mut(id)?)));
        let Some((id, sample, times)) = known else {
            self.strangers += 1;
            return;
        };
        *times += 1;
        if *times > 1 {
            self.repeated += 1;
            return;
        }
        self.latencies.extend(seen.latency);
        let as_expected = match (&seen.end, sample.expect) {
            (End::Tagged { .. }, Expect::Tagged) | (End::Passed, Expect::Passed) => true,
            (End::Dead { reason }, Expect::Dead(expected)) => reason == expected.as_str(),
            _ => false,
        };
        if !as_expected {
            self.surprises.push(id);
        }
        match &seen.end {
            End::Tagged { label, .. } => {
                *self.labels.entry(label.clone()).or_default() += 1;
                let meant = match sample.kind {
                    Kind::Praise => "positive",
                    Kind::Blame => "negative",
                    Kind::Ticket | Kind::LogLine | Kind::Odd => return,
                };
                self.reviews += 1;
                self.agreed += usize::from(label.eq_ignore_ascii_case(meant));
            }
            End::Passed => self.passed += 1,
            End::Dead { reason } => *self.reasons.entry(reason.clone()).or_default() += 1,
        }
    }

    /// Records fed.
    pub fn all(&self) -> usize {
        self.samples.len()
    }

    /// Records that have come out, each counted once.
    pub fn out(&self) -> usize {
        self.times.iter().filter(|times| **times > 0).count()
    }

    /// Records that have not.
    pub fn missing(&self) -> usize {
        self.all() - self.out()
    }

    /// `None` while nothing has come out.
    pub fn latency(&self) -> Option<Percentiles> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank =
            |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Percentiles { p50: rank(50)?, p95: rank(95)?, p99: rank(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    fn seen(id: usize, end: End) -> Seen {
        Seen { id: Some(id), text: String::new(), latency: Some(Duration::from_millis(id as u64 + 1)), end }
    }

    fn tagged(label: &str) -> End {
        End::Tagged { label: label.to_owned(), score: 0.9 }
    }

    #[test]
    fn every_record_is_accounted_for_once() {
        let samples: Arc<[Sample]> = stream(100).into();
        let mut tally = Tally::new(samples.clone());
        assert_eq!((tally.missing(), tally.latency()), (100, None));
        for (id, sample) in samples.iter().enumerate() {
            let end = match sample.expect {
                Expect::Tagged => tagged(if sample.kind == Kind::Praise { "POSITIVE" } else { "negative" }),
                Expect::Passed => End::Passed,
                Expect::Dead(reason) => End::Dead { reason: reason.to_string() },
            };
            tally.note(&seen(id, end));
        }
        assert_eq!((tally.missing(), tally.repeated, tally.surprises.len()), (0, 0, 0));
        let counted = tally.labels.values().chain(tally.reasons.values()).sum::<usize>() + tally.passed;
        assert_eq!(counted, 100);
        assert!(tally.reviews > 30 && tally.agreed == tally.reviews);
        let ms = Duration::from_millis;
        assert_eq!(tally.latency(), Some(Percentiles { p50: ms(50), p95: ms(95), p99: ms(99) }));
    }

    #[test]
    fn repeats_strangers_and_surprises_are_told_apart() {
        let mut tally = Tally::new(stream(3).into());
        tally.note(&seen(1, tagged("positive")));
        tally.note(&seen(1, tagged("positive")));
        tally.note(&seen(99, tagged("positive")));
        tally.note(&Seen { id: None, ..seen(0, End::Passed) });
        tally.note(&seen(2, End::Dead { reason: "text_empty".to_owned() }));
        assert_eq!((tally.out(), tally.missing(), tally.repeated, tally.strangers), (2, 1, 1, 2));
        assert_eq!(tally.surprises, [2]);
        assert_eq!(tally.labels.values().sum::<usize>(), 1);
    }
}
