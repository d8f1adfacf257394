//! Which settings are tried: sessions and threads that fill the cores, and batches of growing size. Pure.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::config::Settings;
use crate::config::settings::ProviderKind;

/// So many ways to part the cores at most.
const MOST_SHAPES: usize = 5;
/// Tokens in a batch, each step twice the one before.
const STEPS_ON_CPU: (usize, usize) = (256, 8_192);
const STEPS_ON_GPU: (usize, usize) = (1_024, 32_768);
/// More texts than that in a batch serve nobody.
const MOST_TEXTS: usize = 1_024;
/// Waiting for company may take this share of the goal.
const AGE_OF_GOAL: u32 = 10;
const SHORTEST_AGE: Duration = Duration::from_millis(1);

/// The settings that are tuned, by the names that they have in a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// `model.sessions`.
    pub sessions: NonZeroUsize,
    /// `model.threads`.
    pub threads: NonZeroUsize,
    /// `batch.max_batch_tokens`.
    pub max_tokens: NonZeroUsize,
    /// `batch.max_batch_size`.
    pub max_size: NonZeroUsize,
    /// `batch.max_batch_age`.
    pub max_age: Duration,
}

/// A setting by the names of its section and its key, and what it is: `("model", "sessions")`, `2`.
pub type Setting = ((&'static str, &'static str), String);

impl Candidate {
    /// What a pipeline says now; of several models, they are alike.
    pub fn of(settings: &Settings) -> Self {
        let (model, batch) = (&settings.results.first.model, &settings.batch);
        Self {
            sessions: model.sessions,
            threads: model.threads,
            max_tokens: batch.max_tokens,
            max_size: batch.max_size,
            max_age: batch.max_age,
        }
    }

    /// All that it says.
    pub fn settings(&self) -> [Setting; 5] {
        [
            (("model", "sessions"), self.sessions.to_string()),
            (("model", "threads"), self.threads.to_string()),
            (("batch", "max_batch_tokens"), self.max_tokens.to_string()),
            (("batch", "max_batch_size"), self.max_size.to_string()),
            (("batch", "max_batch_age"), age(self.max_age)),
        ]
    }

    /// What of it is otherwise `now`. Sessions and threads go together: `auto` counts by the threads.
    pub fn changes(&self, now: &Self) -> Vec<Setting> {
        let shape = (self.sessions, self.threads) != (now.sessions, now.threads);
        let both = self.settings().into_iter().zip(now.settings());
        both.filter(|((at, new), (_, old))| new != old || (shape && at.0 == "model"))
            .map(|(change, _)| change)
            .collect()
    }

    /// What needs less memory, and keeps texts for a shorter time, comes first.
    pub(super) fn leanness(&self) -> impl Ord {
        (self.sessions, self.max_tokens, self.max_size, self.max_age, self.threads)
    }
}

/// In milliseconds, as a pipeline has it.
fn age(age: Duration) -> String {
    let (millis, rest) = (age.as_millis(), age.subsec_micros() % 1_000);
    if rest == 0 { format!("{millis}ms") } else { format!("{millis}.{rest:03}ms") }
}

/// What is known of the pipeline before anything is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground {
    /// As it is now.
    pub(super) now: Candidate,
    pub(super) provider: ProviderKind,
    pub(super) cores: NonZeroUsize,
    /// Models that run side by side.
    pub(super) models: NonZeroUsize,
    /// Tokens of the longest sequence that there can be.
    pub(super) longest: usize,
    /// Tokens of a text in the mean; at least 1.
    pub(super) mean: usize,
    /// The goal, if there is one.
    pub(super) p99: Option<Duration>,
}

/// Every candidate once, that of now first.
pub(super) fn candidates(ground: &Ground) -> Vec<Candidate> {
    let now = ground.now;
    let mut all = vec![now];
    for (sessions, threads) in shapes(ground) {
        for (max_tokens, max_size) in batches(ground) {
            for max_age in ages(ground) {
                let candidate = Candidate { sessions, threads, max_tokens, max_size, max_age };
                if !all.contains(&candidate) {
                    all.push(candidate);
                }
            }
        }
    }
    all
}

/// Sessions × threads of each model. Models that run side by side have all cores each, so that none is idle
/// while another one has less to do, or their share of them. On a GPU there is nothing to part.
fn shapes(ground: &Ground) -> Vec<(NonZeroUsize, NonZeroUsize)> {
    let now = (ground.now.sessions, ground.now.threads);
    if ground.provider != ProviderKind::Cpu {
        return vec![now];
    }
    let cores = ground.cores.get();
    let mut shares = vec![cores, (cores / ground.models).max(1)];
    shares.dedup();
    let most = MOST_SHAPES.div_ceil(shares.len());
    let mut shapes = Vec::with_capacity(MOST_SHAPES + 2);
    for shape in shares.into_iter().flat_map(|share| parted(share, most)).chain([now]) {
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    shapes
}

/// Sessions × threads, each using all of these cores: a session a core first, one session on all cores last.
fn parted(cores: usize, most: usize) -> Vec<(NonZeroUsize, NonZeroUsize)> {
    let threads: Vec<NonZeroUsize> =
        (1..=cores).filter(|n| cores.is_multiple_of(*n)).filter_map(NonZeroUsize::new).collect();
    let last = threads.len().saturating_sub(1);
    let most = most.min(threads.len());
    let spread = (0..most).filter_map(|i| threads.get(i * last / most.saturating_sub(1).max(1)));
    spread.filter_map(|threads| Some((NonZeroUsize::new(cores / threads.get())?, *threads))).collect()
}

/// Tokens and texts of a batch: as many texts as make up the tokens in the mean, so that neither limit
/// makes the other one idle. A budget below the longest sequence is not allowed; there the number of
/// texts is the limit.
fn batches(ground: &Ground) -> Vec<(NonZeroUsize, NonZeroUsize)> {
    let (first, last) = if ground.provider == ProviderKind::Cpu { STEPS_ON_CPU } else { STEPS_ON_GPU };
    let steps = std::iter::successors(Some(first), |step| Some(step * 2)).take_while(|step| *step <= last);
    let mut all = vec![(ground.now.max_tokens, ground.now.max_size)];
    for step in steps {
        let texts = step.div_ceil(ground.mean.max(1)).next_power_of_two().min(MOST_TEXTS);
        let batch = NonZeroUsize::new(step.max(ground.longest)).zip(NonZeroUsize::new(texts));
        all.extend(batch.filter(|batch| !all.contains(batch)));
    }
    all
}

/// Without a goal nothing speaks against waiting as long as now.
fn ages(ground: &Ground) -> Vec<Duration> {
    let now = ground.now.max_age;
    // Whole milliseconds: they are for people to read.
    let share = |goal: Duration| Duration::from_millis((goal / AGE_OF_GOAL).as_millis() as u64);
    let shorter = ground.p99.map(|goal| share(goal).max(SHORTEST_AGE)).filter(|age| *age < now);
    std::iter::once(now).chain(shorter).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn n(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).unwrap()
    }

    fn ground(cores: usize) -> Ground {
        let now = Candidate {
            sessions: n(cores),
            threads: n(1),
            max_tokens: n(4096),
            max_size: n(64),
            max_age: Duration::from_millis(20),
        };
        let (provider, models) = (ProviderKind::Cpu, n(1));
        Ground { now, provider, cores: n(cores), models, longest: 512, mean: 25, p99: None }
    }

    #[test]
    fn all_cores_are_used_in_a_few_ways() {
        let of = |cores: usize| -> Vec<(usize, usize)> {
            shapes(&ground(cores)).into_iter().map(|(s, t)| (s.get(), t.get())).collect()
        };
        assert_eq!(of(1), [(1, 1)]);
        assert_eq!(of(2), [(2, 1), (1, 2)]);
        assert_eq!(of(6), [(6, 1), (3, 2), (2, 3), (1, 6)]);
        assert_eq!(of(7), [(7, 1), (1, 7)]);
        assert_eq!(of(64), [(64, 1), (32, 2), (8, 8), (4, 16), (1, 64)]);
    }

    #[test]
    fn models_side_by_side_have_all_cores_or_their_share() {
        let of = |cores: usize, models: usize| -> Vec<(usize, usize)> {
            let ground = Ground { models: n(models), ..ground(cores) };
            shapes(&ground).into_iter().map(|(s, t)| (s.get(), t.get())).collect()
        };
        assert_eq!(of(1, 3), [(1, 1)]);
        assert_eq!(of(2, 2), [(2, 1), (1, 2), (1, 1)]);
        assert_eq!(of(2, 3), [(2, 1), (1, 2), (1, 1)]);
        assert_eq!(of(8, 2), [(8, 1), (4, 2), (1, 8), (4, 1), (2, 2), (1, 4)]);
        assert_eq!(of(8, 3), [(8, 1), (4, 2), (1, 8), (2, 1), (1, 2)]);
    }

    #[test]
    fn a_gpu_has_one_shape_and_larger_batches() {
        let mut ground = ground(8);
        ground.provider = ProviderKind::Cuda;
        assert_eq!(shapes(&ground), [(n(8), n(1))]);
        assert_eq!(batches(&ground).last(), Some(&(n(32_768), n(1024))));
    }

    #[test]
    fn batches_grow_and_hold_the_longest_sequence() {
        let of = |ground: &Ground| -> Vec<(usize, usize)> {
            batches(ground).into_iter().map(|(t, s)| (t.get(), s.get())).collect()
        };
        let short = of(&ground(2));
        assert_eq!(
            short,
            [(4096, 64), (512, 16), (512, 32), (1024, 64), (2048, 128), (4096, 256), (8192, 512)]
        );
    }

    #[test]
    fn with_a_goal_a_shorter_wait_is_tried() {
        let with = |p99| ages(&Ground { p99, ..ground(2) });
        let ms = Duration::from_millis;
        assert_eq!(with(None), [ms(20)]);
        assert_eq!(with(Some(ms(55))), [ms(20), ms(5)]);
        assert_eq!(with(Some(ms(200))), [ms(20)]);
        assert_eq!(with(Some(ms(1))), [ms(20), ms(1)]);
    }

    #[test]
    fn only_what_differs_is_written_and_sessions_go_with_threads() {
        let now = ground(4).now;
        assert_eq!(now.changes(&now), []);
        let other = Candidate { threads: n(2), max_age: Duration::from_micros(1500), ..now };
        let changes = other.changes(&now);
        let said: Vec<String> = changes.iter().map(|((s, k), v)| format!("{s}.{k}={v}")).collect();
        assert_eq!(said, ["model.sessions=4", "model.threads=2", "batch.max_batch_age=1.500ms"]);
    }

    proptest! {
        #[test]
        fn each_is_tried_once_and_could_be_written(
            cores in 1usize..300, models in 1usize..9, longest in 8usize..5000, mean in 1usize..2000,
            goal in prop::option::of(1u64..5000)
        ) {
            let p99 = goal.map(Duration::from_millis);
            let ground = Ground { models: n(models), longest, mean, p99, ..ground(cores) };
            let all = candidates(&ground);
            prop_assert_eq!(all[0], ground.now);
            prop_assert!(all.len() <= (MOST_SHAPES + 2) * 7 * 2 + 1);
            for (i, candidate) in all.iter().enumerate() {
                prop_assert!(!all[..i].contains(candidate));
                let used = candidate.sessions.get() * candidate.threads.get();
                prop_assert!(used == cores || used == (cores / models).max(1));
                if i > 0 && candidate.max_tokens != ground.now.max_tokens {
                    prop_assert!(candidate.max_tokens.get() >= longest);
                }
                for (_, value) in candidate.changes(&ground.now) {
                    let number = value.parse::<usize>().is_ok();
                    prop_assert!(number || crate::config::duration(&value).is_some(), "{}", value);
                }
            }
        }
    }
}
