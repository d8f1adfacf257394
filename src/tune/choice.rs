//! Which of the measured settings is the best one. Pure.
//!
//! Among those that keep the goal, the one with the most throughput; but what differs by no more than the
//! measurements themselves do is equal, and then less memory and shorter waiting decide.

use std::time::Duration;

use super::candidate::Candidate;
use super::figures::Figure;

/// Two rates this near to each other are equal, however steady the machine is.
const LEAST_TOLERANCE: f64 = 0.02;
/// And a noisy machine does not excuse more than this.
const MOST_TOLERANCE: f64 = 0.10;
/// At a first look a goal that is missed by so much may still be kept: one round is noisy.
const BENEFIT_OF_DOUBT: f64 = 1.5;

/// A candidate and what it did.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Which.
    pub candidate: Candidate,
    /// Rounds that gave a figure.
    pub rounds: usize,
    /// At saturation, all stages together.
    pub texts_per_second: Figure,
    /// Likewise.
    pub tokens_per_second: Figure,
    /// At the load that was asked for, in seconds; `None`: not looked at.
    pub p50: Option<Figure>,
    /// Likewise.
    pub p99: Option<Figure>,
}

/// How it ends. Indices of what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This is to be used.
    Best(usize),
    /// None keeps the goal; this one comes nearest.
    Missed(usize),
}

/// `None`: nothing was measured.
pub(super) fn choose(measured: &[Measured], goal: Option<Duration>) -> Option<Choice> {
    let all = || measured.iter().enumerate();
    let kept = || all().filter(|(_, m)| keeps(m, goal));
    let rate = |m: &Measured| m.texts_per_second.median;
    let Some((_, best)) = kept().max_by(|(_, a), (_, b)| rate(a).total_cmp(&rate(b))) else {
        let nearest = all().min_by(|(_, a), (_, b)| p99(a).total_cmp(&p99(b)));
        return nearest.map(|(i, _)| Choice::Missed(i));
    };
    let equals = kept().filter(|(_, m)| equal(m, best));
    let leanest = equals.min_by(|(_, a), (_, b)| {
        a.candidate.leanness().cmp(&b.candidate.leanness()).then(p99(a).total_cmp(&p99(b)))
    });
    leanest.map(|(i, _)| Choice::Best(i))
}

/// Which are worth a closer look after the first one: the fastest that may keep the goal, then those that
/// come nearest to it.
pub(super) fn shortlist(measured: &[Measured], goal: Option<Duration>, most: usize) -> Vec<usize> {
    let doubtful = goal.map(|goal| goal.mul_f64(BENEFIT_OF_DOUBT));
    let mut order: Vec<(usize, &Measured)> = measured.iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| {
        let hopeful = keeps(b, doubtful).cmp(&keeps(a, doubtful));
        hopeful.then_with(|| match keeps(a, doubtful) {
            true => b.texts_per_second.median.total_cmp(&a.texts_per_second.median),
            false => p99(a).total_cmp(&p99(b)),
        })
    });
    order.into_iter().take(most).map(|(i, _)| i).collect()
}

fn keeps(measured: &Measured, goal: Option<Duration>) -> bool {
    goal.is_none_or(|goal| p99(measured) <= goal.as_secs_f64())
}

/// What was not looked at keeps nothing.
fn p99(measured: &Measured) -> f64 {
    measured.p99.map_or(f64::INFINITY, |p99| p99.median)
}

/// Do two rates differ by no more than their rounds did?
fn equal(other: &Measured, best: &Measured) -> bool {
    let (a, b) = (other.texts_per_second, best.texts_per_second);
    let tolerance = a.spread.max(b.spread).clamp(b.median * LEAST_TOLERANCE, b.median * MOST_TOLERANCE);
    a.median >= b.median - tolerance
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;

    fn measured(sessions: usize, size: usize, rate: f64, spread: f64, p99: f64) -> Measured {
        let n = |n: usize| NonZeroUsize::new(n).unwrap();
        let steady = |median: f64| Figure { median, spread: 0.0 };
        Measured {
            candidate: Candidate {
                sessions: n(sessions),
                threads: n(8 / sessions),
                max_tokens: n(size * 32),
                max_size: n(size),
                max_age: Duration::from_millis(20),
            },
            rounds: 3,
            texts_per_second: Figure { median: rate, spread },
            tokens_per_second: steady(rate * 20.0),
            p50: Some(steady(p99 / 2.0)),
            p99: Some(steady(p99)),
        }
    }

    const GOAL: Option<Duration> = Some(Duration::from_millis(100));

    #[test]
    fn the_fastest_that_keeps_the_goal() {
        let all = [
            measured(8, 64, 1000.0, 5.0, 0.400),
            measured(8, 16, 900.0, 5.0, 0.090),
            measured(1, 16, 600.0, 5.0, 0.020),
        ];
        assert_eq!(choose(&all, None), Some(Choice::Best(0)));
        assert_eq!(choose(&all, GOAL), Some(Choice::Best(1)));
        assert_eq!(choose(&all, Some(Duration::from_millis(50))), Some(Choice::Best(2)));
        assert_eq!(choose(&all, Some(Duration::from_millis(5))), Some(Choice::Missed(2)));
        assert_eq!(choose(&[], None), None);
    }

    #[test]
    fn within_the_spread_less_memory_decides() {
        let all = [
            measured(8, 64, 1000.0, 40.0, 0.1),
            measured(4, 128, 970.0, 10.0, 0.1),
            measured(4, 64, 965.0, 10.0, 0.1),
            measured(1, 16, 950.0, 10.0, 0.1),
        ];
        assert_eq!(choose(&all, None), Some(Choice::Best(2)), "fewer sessions, smaller batches");
        let steady =
            all.map(|m| Measured { texts_per_second: Figure { spread: 0.0, ..m.texts_per_second }, ..m });
        assert_eq!(choose(&steady, None), Some(Choice::Best(0)));
        let noisy = [measured(8, 64, 1000.0, 900.0, 0.1), measured(1, 1, 200.0, 900.0, 0.1)];
        assert_eq!(choose(&noisy, None), Some(Choice::Best(0)), "noise excuses no more than a tenth");
    }

    #[test]
    fn what_was_not_looked_at_keeps_no_goal() {
        let blind = Measured { p99: None, p50: None, ..measured(8, 64, 1000.0, 0.0, 0.1) };
        assert_eq!(choose(&[blind], GOAL), Some(Choice::Missed(0)));
        assert_eq!(choose(&[blind], None), Some(Choice::Best(0)));
    }

    fn some() -> impl Strategy<Value = Vec<Measured>> {
        let one = (0u32..4, 0u32..5, 100.0..1000.0, 0.0..200.0, 0.001..0.3)
            .prop_map(|(s, b, rate, spread, p99)| measured(1 << s, 16 << b, rate, spread, p99));
        prop::collection::vec(one, 1..20)
    }

    fn rate(m: &Measured) -> f64 {
        m.texts_per_second.median
    }

    proptest! {
        #[test]
        fn it_keeps_the_goal_and_nothing_that_does_is_clearly_faster(all in some(), goal in prop::option::of(1u64..300)) {
            let goal = goal.map(Duration::from_millis);
            let kept: Vec<&Measured> = all.iter().filter(|m| keeps(m, goal)).collect();
            match choose(&all, goal).unwrap() {
                Choice::Best(i) => {
                    prop_assert!(keeps(&all[i], goal));
                    let most = kept.iter().map(|m| rate(m)).fold(0.0, f64::max);
                    prop_assert!(rate(&all[i]) >= most * (1.0 - MOST_TOLERANCE));
                    let lean = all[i].candidate.leanness();
                    for other in kept {
                        prop_assert!(rate(other) < most || other.candidate.leanness() >= lean, "the fastest is lean");
                    }
                }
                Choice::Missed(i) => {
                    prop_assert!(kept.is_empty());
                    prop_assert!(all.iter().all(|m| p99(m) >= p99(&all[i])));
                }
            }
        }

        /// Neither what misses the goal nor the order has a say.
        #[test]
        fn others_do_not_matter(all in some(), goal in 1u64..300) {
            let goal = Some(Duration::from_millis(goal));
            let kept: Vec<Measured> = all.iter().filter(|m| keeps(m, goal)).copied().collect();
            let chosen = |all: &[Measured]| match choose(all, goal) {
                Some(Choice::Best(i)) => Some((all[i].candidate, p99(&all[i]))),
                _ => None,
            };
            prop_assert_eq!(chosen(&all), chosen(&kept));
            let backwards: Vec<Measured> = all.iter().rev().copied().collect();
            prop_assert_eq!(chosen(&all), chosen(&backwards));
        }

        /// A wider goal never costs throughput beyond the tolerance.
        #[test]
        fn more_patience_is_not_slower(all in some(), goal in 1u64..300, more in 0u64..300) {
            let best = |goal: u64| match choose(&all, Some(Duration::from_millis(goal))) {
                Some(Choice::Best(i)) => rate(&all[i]),
                _ => 0.0,
            };
            prop_assert!(best(goal + more) >= best(goal) * (1.0 - MOST_TOLERANCE));
        }

        #[test]
        fn the_short_list_has_the_fastest_that_keeps_the_goal(all in some(), goal in prop::option::of(1u64..300), most in 1usize..8) {
            let goal = goal.map(Duration::from_millis);
            let list = shortlist(&all, goal, most);
            prop_assert_eq!(list.len(), most.min(all.len()));
            let doubtful = goal.map(|goal| goal.mul_f64(BENEFIT_OF_DOUBT));
            let fastest = all.iter().filter(|m| keeps(m, doubtful)).map(rate).fold(0.0, f64::max);
            let listed = list.iter().filter(|i| keeps(&all[**i], doubtful)).map(|i| rate(&all[*i])).fold(0.0, f64::max);
            prop_assert_eq!(fastest, listed);
            let distinct: std::collections::BTreeSet<_> = list.iter().collect();
            prop_assert_eq!(distinct.len(), list.len());
        }
    }
}
