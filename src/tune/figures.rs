//! Figures out of single observations: percentiles, rates, medians with their spreads. Pure.

use std::time::Instant;

/// The median of some rounds, and how far they lay apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Of the rounds.
    pub median: f64,
    /// Half the way from the least to the most.
    pub spread: f64,
}

impl Figure {
    /// `None`: of nothing.
    pub(super) fn of(mut rounds: Vec<f64>) -> Option<Self> {
        rounds.sort_by(f64::total_cmp);
        let (least, most) = (rounds.first()?, rounds.last()?);
        let (low, high) = (rounds.get((rounds.len() - 1) / 2)?, rounds.get(rounds.len() / 2)?);
        Some(Self { median: (low + high) / 2.0, spread: (most - least) / 2.0 })
    }
}

/// The nearest rank, of sorted values: the smallest one that so much of them does not exceed.
pub(super) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// One text that came back: when, and how many tokens of it were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) at: Instant,
    pub(super) tokens: usize,
}

/// How much was done in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) texts: f64,
    pub(super) tokens: f64,
}

/// Texts come back a batch at a time, so time is counted from batch to batch: from the `sessions`-th (by
/// then each session was at work) to the last one. `None`: there were not twice as many.
pub(super) fn rate(mut done: Vec<Done>, sessions: usize) -> Option<Rate> {
    done.sort_by_key(|done| done.at);
    let batches: Vec<&[Done]> = done.chunk_by(|a, b| a.at == b.at).collect();
    if batches.len() < sessions * 2 {
        return None;
    }
    let (begin, rest) = batches.split_at_checked(sessions)?;
    let from = begin.last()?.first()?.at;
    let seconds = rest.last()?.first()?.at.duration_since(from).as_secs_f64();
    let counted = rest.iter().copied().flatten();
    let (texts, tokens) = counted.fold((0, 0), |(n, tokens), done| (n + 1, tokens + done.tokens));
    (seconds > 0.0).then(|| Rate { texts: f64::from(texts) / seconds, tokens: tokens as f64 / seconds })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(Figure::of(vec![]), None);
        assert_eq!(Figure::of(vec![3.0]), Some(Figure { median: 3.0, spread: 0.0 }));
        assert_eq!(Figure::of(vec![9.0, 1.0, 2.0]), Some(Figure { median: 2.0, spread: 4.0 }));
        assert_eq!(Figure::of(vec![1.0, 2.0]), Some(Figure { median: 1.5, spread: 0.5 }));
    }

    #[test]
    fn nearest_ranks() {
        let all: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&all, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&all, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&all[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile::<Duration>(&[], 99), None);
    }

    proptest! {
        /// Sessions that each answer `size` texts every `every` milliseconds, in whatever order they began:
        /// the rate is what they do together, give or take the one batch that was about to come.
        #[test]
        fn a_steady_rate_is_found(sessions in 1usize..9, size in 1usize..50, every in 5u64..500, batches in 6usize..20) {
            let start = Instant::now();
            let done: Vec<Done> = (0..sessions)
                .flat_map(|session| (1..=batches).map(move |n| (session as u64, n as u64)))
                .flat_map(|(session, n)| {
                    // Apart from each other, so that no two batches end at one time.
                    let at = start + Duration::from_micros(n * every * 1_000 + session * every * 1_000 / sessions as u64);
                    std::iter::repeat_n(Done { at, tokens: 7 }, size)
                })
                .collect();
            let rate = rate(done, sessions).unwrap();
            let expected = (sessions * size) as f64 * 1_000.0 / every as f64;
            prop_assert!((rate.texts / expected - 1.0).abs() < 0.01, "{} for {}", rate.texts, expected);
            prop_assert!((rate.tokens / rate.texts - 7.0).abs() < 1e-9);
        }

        #[test]
        fn of_too_little_there_is_no_rate(sessions in 1usize..9, batches in 0usize..18) {
            let start = Instant::now();
            let done = (0..batches).map(|n| Done { at: start + Duration::from_millis(n as u64), tokens: 1 });
            prop_assert_eq!(rate(done.collect(), sessions).is_some(), batches >= 2 * sessions);
        }
    }
}
