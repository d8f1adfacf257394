//! Counts letters: how many, of what, and what can become of them. Holds tallies and samples, of
//! which there are only so many, however many letters there are. Pure.

use std::collections::BTreeMap;

use super::letter::Letter;
use super::ranges::Ranges;
use super::samples::{Collection, Samples};
use super::selection::Selection;
use super::targets::{Left, Targets};
use crate::record::Offset;

/// Pairs of topic and reason that are counted apart. Headers are written by others, so there may
/// be any number; what is beyond is counted as [`MORE`].
pub(super) const MAX_ROWS: usize = 1000;
const MORE: &str = "(more)";

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// The dead-letter topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// The chosen letters, counted.
    pub rows: BTreeMap<Row, Count>,
    /// Some of each reason.
    pub samples: BTreeMap<String, Samples>,
    /// Records in the topic that are neither letters nor markers of ours.
    pub others: u64,
}

/// What letters are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Where the records were read.
    pub topic: String,
    /// Why they are here.
    pub reason: String,
}

/// Letters of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// All.
    pub letters: u64,
    /// Those of them that a replay would not send, and why.
    pub left: BTreeMap<Left, u64>,
    /// When the first was written, in milliseconds since the Unix epoch.
    pub first: Option<i64>,
    /// And the last.
    pub last: Option<i64>,
}

/// Which letters were replayed, by partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Replayed(BTreeMap<i32, Ranges>);

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) selection: &'a Selection,
    /// Where they could go; `None`: nobody wants to know.
    pub(super) targets: Option<&'a Targets<'a>>,
    /// Replays that began before then are not counted: milliseconds since the Unix epoch.
    pub(super) replays_since: i64,
    /// How many of each reason.
    pub(super) samples: usize,
    /// With key, value and headers' values.
    pub(super) payload: bool,
}

impl Replayed {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, partition: i32, offsets: &Ranges) {
        let known = self.0.entry(partition).or_default();
        offsets.iter().for_each(|range| known.insert(range));
    }

    pub(super) fn insert_one(&mut self, partition: i32, offset: Offset) {
        self.0.entry(partition).or_default().insert((offset, offset));
    }

    pub(super) fn contains(&self, partition: i32, offset: Offset) -> bool {
        self.0.get(&partition).is_some_and(|ranges| ranges.contains(offset))
    }
}

impl Row {
    fn of(letter: &Letter) -> Self {
        Self { topic: letter.original.topic.to_string(), reason: letter.reason.clone() }
    }

    /// The row to count it by: its own, or, where there are [`MAX_ROWS`] others, that of all the rest.
    pub(super) fn within<T>(rows: &BTreeMap<Self, T>, letter: &Letter) -> Self {
        let own = Self::of(letter);
        if rows.len() < MAX_ROWS || rows.contains_key(&own) {
            return own;
        }
        Self { topic: MORE.to_owned(), reason: MORE.to_owned() }
    }
}

impl Count {
    fn add(&mut self, letter: &Letter, left: Option<Left>) {
        self.letters += 1;
        if let Some(left) = left {
            *self.left.entry(left).or_default() += 1;
        }
        if let Some(time) = letter.written.0 {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
    }

    /// The sum of both.
    pub fn merge(&mut self, other: &Self) {
        self.letters += other.letters;
        for (left, count) in &other.left {
            *self.left.entry(left.clone()).or_default() += count;
        }
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.max(other.last);
    }

    /// Of these, replayed before.
    pub fn replayed(&self) -> u64 {
        self.left.get(&Left::Replayed).copied().unwrap_or(0)
    }

    /// Of these, cut.
    pub fn cut(&self) -> u64 {
        self.left.get(&Left::Cut).copied().unwrap_or(0)
    }

    /// Those that a replay would send.
    pub fn open(&self) -> u64 {
        self.letters - self.left.values().sum::<u64>()
    }
}

impl Survey {
    /// All rows together.
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        self.rows.values().for_each(|count| total.merge(count));
        total
    }

    fn count(&mut self, letter: &Letter, left: Option<Left>) {
        let row = Row::within(&self.rows, letter);
        self.rows.entry(row).or_default().add(letter, left);
    }
}

/// What becomes of a letter that is meant.
pub(super) fn left(letter: &Letter, replayed: &Replayed, targets: Option<&Targets<'_>>) -> Option<Left> {
    if replayed.contains(letter.partition, letter.offset) {
        return Some(Left::Replayed);
    }
    match targets {
        Some(targets) => targets.refuse(letter),
        None => letter.cut.then_some(Left::Cut),
    }
}

/// One counting.
pub(super) struct Tally<'a> {
    question: &'a Question<'a>,
    replayed: &'a Replayed,
    survey: Survey,
    samples: Collection,
}

impl<'a> Tally<'a> {
    pub(super) fn new(question: &'a Question<'a>, replayed: &'a Replayed) -> Self {
        let samples = Collection::new(question.samples, question.payload);
        Self { question, replayed, survey: Survey::default(), samples }
    }

    pub(super) fn see(&mut self, letter: Letter) {
        if !self.question.selection.takes(&letter) {
            return;
        }
        let left = left(&letter, self.replayed, self.question.targets);
        let replayed = left == Some(Left::Replayed);
        self.survey.count(&letter, left);
        self.samples.see(letter, replayed);
    }

    pub(super) fn survey(self) -> Survey {
        Survey { samples: self.samples.finish(), ..self.survey }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Header, Record, Timestamp};

    fn letter(topic: &str, reason: &str, offset: i64) -> Letter {
        Letter {
            partition: 0,
            offset: Offset::new(offset),
            written: Timestamp(Some(1000 + offset)),
            reason: reason.into(),
            stage: "decode".into(),
            message: String::new(),
            version: "1".into(),
            cut: false,
            original: Record {
                topic: topic.into(),
                partition: 0,
                offset: Offset::new(7),
                key: Some(b"key".to_vec()),
                value: Some(b"SECRET".to_vec()),
                headers: vec![Header::new("name", "SECRET")],
                timestamp: Timestamp(Some(1)),
            },
        }
    }

    fn tally(samples: usize, payload: bool, replayed: &Replayed, letters: Vec<Letter>) -> Survey {
        let selection = Selection::default();
        let question =
            Question { selection: &selection, targets: None, replays_since: i64::MIN, samples, payload };
        let mut tally = Tally::new(&question, replayed);
        letters.into_iter().for_each(|letter| tally.see(letter));
        tally.survey()
    }

    #[test]
    fn letters_are_counted_by_topic_and_reason() {
        let mut replayed = Replayed::default();
        replayed.insert(0, &[3, 4].into_iter().map(Offset::new).collect());
        let cut = Letter { cut: true, ..letter("a", "text_empty", 5) };
        let letters = (0..5).map(|i| letter(if i < 4 { "a" } else { "b" }, "text_empty", i));
        let survey = tally(0, false, &replayed, letters.chain([cut]).collect());
        let rows: Vec<_> = survey
            .rows
            .iter()
            .map(|(row, c)| (row.topic.as_str(), c.letters, c.replayed(), c.cut(), c.open(), c.first, c.last))
            .collect();
        assert_eq!(
            rows,
            [("a", 5, 1, 1, 3, Some(1000), Some(1005)), ("b", 1, 1, 0, 0, Some(1004), Some(1004))]
        );
        let total = survey.total();
        assert_eq!((total.letters, total.open(), total.first, total.last), (6, 3, Some(1000), Some(1005)));
        assert!(survey.samples.is_empty());
    }

    #[test]
    fn any_number_of_topics_in_headers_takes_so_much_memory_and_no_more() {
        let letters: Vec<_> = (0..3000).map(|i| letter(&format!("t{i}"), "text_empty", i)).collect();
        let mut sent: BTreeMap<Row, u64> = BTreeMap::new();
        for letter in letters.iter().chain(&letters) {
            *sent.entry(Row::within(&sent, letter)).or_default() += 1;
        }
        assert_eq!((sent.len(), sent.values().sum()), (MAX_ROWS + 1, 6000), "what a replay counts, too");
        let survey = tally(0, false, &Replayed::default(), letters);
        assert_eq!(survey.rows.len(), MAX_ROWS + 1);
        let more = Row { topic: MORE.into(), reason: MORE.into() };
        assert_eq!(survey.rows[&more].letters, 2000);
        assert_eq!(survey.total().letters, 3000);
    }
}
