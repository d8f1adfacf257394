//! The last few records that somebody who looks at the page wants to see: dead letters by place and
//! reason, and, only where the pipeline says `admin.show_text`, texts with their labels.
//!
//! Whoever tells never waits: a ring that is being looked at is not written to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::record::{DeadLetter, Record};

/// Dead letters that are remembered.
const LETTERS: usize = 20;
/// Texts that are remembered.
const TEXTS: usize = 12;
/// Characters of a text.
const TEXT_CHARS: usize = 200;
/// Between two texts.
const TEXT_EVERY: Duration = Duration::from_millis(700);

/// Cheap to clone; all clones are the same memory. The default one remembers nothing.
#[derive(Clone, Default)]
pub struct Recent {
    letters: Option<Ring<Letter>>,
    texts: Option<Ring<Sample>>,
    /// They may be shown, and are not.
    withheld: Arc<AtomicBool>,
}

/// A dead letter: where it was read, and why it is one. Nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Of the record that became it.
    pub topic: Arc<str>,
    /// Of that record.
    pub partition: i32,
    /// Of that record.
    pub offset: i64,
    /// As counted.
    pub reason: &'static str,
    /// Where it happened.
    pub stage: &'static str,
}

/// A text and what the model said of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// As the model read it (masked), and its beginning only.
    pub text: String,
    /// What was said.
    pub label: String,
    /// Of that label; `None` where it is no number.
    pub score: Option<f32>,
}

type Ring<T> = Arc<Mutex<VecDeque<T>>>;

impl Recent {
    /// Remembers dead letters; texts only if they may be shown.
    pub fn new(show_text: bool) -> Self {
        let texts = show_text.then(Ring::default);
        Self { letters: Some(Ring::default()), texts, withheld: Arc::default() }
    }

    /// The pipeline hides parts of its texts in the output: then none is shown here either.
    pub fn withhold_texts(&self) {
        self.withheld.store(true, Ordering::Relaxed);
    }

    /// Why none is shown although they may be.
    pub fn why_no_texts(&self) -> Option<&'static str> {
        let withheld = self.texts.is_some() && self.withheld.load(Ordering::Relaxed);
        withheld.then_some("The pipeline hides parts of its texts (`redact`), so none is shown here.")
    }

    /// A dead letter was delivered.
    pub fn letter(&self, record: &Record, letter: &DeadLetter) {
        let Some(letters) = &self.letters else { return };
        let told = || Letter {
            at: now(),
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset.raw(),
            reason: letter.reason.as_str(),
            stage: letter.stage.as_str(),
        };
        push(letters, LETTERS, told);
    }

    /// The one who picks texts; `None` where they are not to be shown.
    pub fn sampler(&self) -> Option<Sampler> {
        self.shown().cloned().map(|texts| Sampler { texts, next: Instant::now() })
    }

    /// Dead letters, the latest first.
    pub fn letters(&self) -> Vec<Letter> {
        self.letters.as_ref().map(latest_first).unwrap_or_default()
    }

    /// Texts, the latest first; `None` where they are not to be shown.
    pub fn texts(&self) -> Option<Vec<Sample>> {
        self.shown().map(latest_first)
    }

    fn shown(&self) -> Option<&Ring<Sample>> {
        self.texts.as_ref().filter(|_| !self.withheld.load(Ordering::Relaxed))
    }
}

/// Picks a text now and then.
pub struct Sampler {
    texts: Ring<Sample>,
    next: Instant,
}

impl Sampler {
    /// Is it time for another one?
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// The beginning of a text, as it is kept.
    pub fn beginning(text: &str) -> String {
        match text.char_indices().nth(TEXT_CHARS) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text.to_owned(),
        }
    }

    /// This one was picked.
    pub fn take(&mut self, now_is: Instant, text: String, label: &str, score: f32) {
        self.next = now_is + TEXT_EVERY;
        let score = Some(score).filter(|score| score.is_finite());
        push(&self.texts, TEXTS, || Sample { at: now(), text, label: label.to_owned(), score });
    }
}

fn push<T>(ring: &Ring<T>, most: usize, make: impl FnOnce() -> T) {
    let mut ring = match ring.try_lock() {
        Ok(ring) => ring,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        // Somebody looks: this one is not shown. It is counted all the same.
        Err(TryLockError::WouldBlock) => return,
    };
    ring.truncate(most - 1);
    ring.push_front(make());
}

fn latest_first<T: Clone>(ring: &Ring<T>) -> Vec<T> {
    ring.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Offset, Reason, Stage, Timestamp};

    fn record(offset: i64) -> Record {
        Record {
            topic: "t".into(),
            partition: 3,
            offset: Offset::new(offset),
            key: Some(b"planted".to_vec()),
            value: Some(b"planted".to_vec()),
            headers: Vec::new(),
            timestamp: Timestamp(None),
        }
    }

    fn letter() -> DeadLetter {
        DeadLetter { reason: Reason::InvalidJson, message: "no".to_owned(), stage: Stage::Decode }
    }

    #[test]
    fn the_latest_letters_are_kept_by_place_and_reason_without_what_is_in_them() {
        let recent = Recent::new(false);
        for offset in 0..100 {
            recent.letter(&record(offset), &letter());
        }
        let letters = recent.letters();
        assert_eq!(letters.len(), LETTERS);
        let first = letters.first().unwrap();
        assert_eq!(
            (first.offset, first.partition, first.reason, first.stage),
            (99, 3, "invalid_json", "decode")
        );
        assert!(!serde_json::to_string(&letters).unwrap().contains("planted"));
    }

    #[test]
    fn whoever_tells_does_not_wait_for_who_looks() {
        let recent = Recent::new(false);
        let looked_at = recent.letters.clone().unwrap();
        let looking = looked_at.lock().unwrap();
        recent.letter(&record(1), &letter()); // would hang
        drop(looking);
        assert_eq!(recent.letters(), []);
    }

    #[test]
    fn texts_are_picked_only_where_they_may_be_shown_and_not_often() {
        assert!(Recent::new(false).sampler().is_none() && Recent::new(false).texts().is_none());
        assert!(Recent::default().sampler().is_none());
        let recent = Recent::new(true);
        let mut sampler = recent.sampler().unwrap();
        let start = Instant::now();
        for tick in 0..3_000_u64 {
            let at = start + Duration::from_millis(tick);
            if sampler.is_due(at) {
                sampler.take(at, Sampler::beginning(&format!("{tick} {}", "ü".repeat(500))), "positive", 0.5);
            }
        }
        let texts = recent.texts().unwrap();
        assert_eq!(texts.len(), 5);
        let first = texts.first().unwrap();
        assert!(first.text.starts_with("2800 ü") && first.text.ends_with("ü…"), "{}", first.text);
        assert_eq!(first.text.chars().count(), TEXT_CHARS + 1);
        sampler.take(start, "short".to_owned(), "x", f32::NAN);
        assert_eq!(recent.texts().unwrap().first().unwrap().score, None);
        assert_eq!(Sampler::beginning("short"), "short");
    }

    #[test]
    fn where_the_output_hides_texts_none_is_shown_and_it_is_said_why() {
        let recent = Recent::new(true);
        assert_eq!(recent.why_no_texts(), None);
        recent.clone().withhold_texts();
        assert!(recent.sampler().is_none() && recent.texts().is_none());
        assert!(recent.why_no_texts().is_some_and(|why| why.contains("redact")));
        let off = Recent::new(false);
        off.withhold_texts();
        assert_eq!(off.why_no_texts(), None, "nobody asked for them");
    }
}
