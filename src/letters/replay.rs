//! Replays: finds the letters that are meant, and sends them back, each once.
//!
//! First the transactional producer begins, so that no other replay can commit anything any more;
//! only then the topic is read, which therefore tells all that was ever replayed. What is sent is
//! marked in the same transaction. So a replay may end at any point, and the next one goes on.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use super::Progress;
use super::error::LettersError;
use super::letter::{Found, Letter, recognise};
use super::scan::{Source, Spans, up_to};
use super::selection::Selection;
use super::send::{Sender, Sent, TRANSACTION_TIMEOUT, transactional_id};
use super::survey::{Question, Replayed, Row, Survey, left, survey};
use super::targets::{Targets, Timestamps};
use crate::config::Settings;
use crate::kafka::{client, topic_limits};
use crate::record::Offset;
use crate::shutdown::Shutdown;

/// A transaction has at most so many letters, and so many bytes (one letter may have more).
const BATCH_LETTERS: usize = 500;
const BATCH_BYTES: usize = 4_000_000;
/// Places of letters that proved too large, to be named.
const MAX_NAMED: usize = 20;

/// What is to be replayed, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// Which letters.
    pub selection: Selection,
    /// Those too that were replayed before this time (milliseconds since the Unix epoch), and not
    /// since.
    pub again: Option<i64>,
    /// What becomes of the records' own timestamps.
    pub timestamps: Timestamps,
    /// In milliseconds since the Unix epoch.
    pub now: i64,
}

/// How a replay ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// What was found, and what was going to happen.
    pub survey: Survey,
    /// Letters that were sent back and marked.
    pub replayed: u64,
    /// The same, by where they went and why they were here.
    pub sent: BTreeMap<Row, u64>,
    /// Letters that their topic does not take any more.
    pub too_large: u64,
    /// The first of them: partition and offset in the dead-letter topic.
    pub too_large_at: Vec<(i32, Offset)>,
    /// The topics did not tell their limits, so a letter that its topic would delete for its age
    /// was sent like any other.
    pub limits_unknown: bool,
    /// It was asked to stop before its end.
    pub stopped: bool,
}

impl Order {
    /// Replays that began before then do not count. The markers of this one carry this time, so
    /// that the same order, given again, goes on.
    pub fn run(&self) -> i64 {
        self.again.unwrap_or(self.now)
    }

    fn question<'a>(&'a self, targets: &'a Targets<'a>) -> Question<'a> {
        Question {
            selection: &self.selection,
            targets: Some(targets),
            replays_since: self.again.unwrap_or(i64::MIN),
            samples: 0,
            payload: false,
        }
    }
}

/// Says what [`replay`] would do; sends nothing and holds up nobody.
///
/// # Errors
/// When the topic cannot be read. Must be called inside a tokio runtime.
pub fn plan(
    settings: &Settings,
    order: &Order,
    stop: &Shutdown,
    watch: &mut dyn FnMut(Progress),
) -> Result<Report, LettersError> {
    let (kafka, dead) = super::needed(settings)?;
    let source = Source::connect(kafka, dead)?;
    let (targets, limits_unknown) = targets(settings, &source, &client::base_config(kafka), order);
    let spans = source.spans(&order.selection)?;
    let (survey, _) = survey(&source, &spans, &order.question(&targets), stop, watch)?;
    Ok(Report { survey, limits_unknown, stopped: stop.is_requested(), ..Report::default() })
}

/// Sends the chosen letters back to the topics and partitions that their records were read from,
/// until all are sent or `stop` is requested; what is in an open transaction then is finished.
///
/// # Errors
/// When the topic cannot be read, or a transaction cannot be committed. What was committed before
/// is marked. Must be called inside a tokio runtime.
pub fn replay(
    settings: &Settings,
    order: &Order,
    stop: &Shutdown,
    watch: &mut dyn FnMut(Progress),
) -> Result<Report, LettersError> {
    let (kafka, dead) = super::needed(settings)?;
    let source = Source::connect(kafka, dead)?;
    let mut config = client::transactional_config(kafka, &transactional_id(dead), TRANSACTION_TIMEOUT);
    let (targets, limits_unknown) = targets(settings, &source, &client::base_config(kafka), order);
    set_batch_size(&mut config, &targets);
    let how = (order.timestamps, order.run());
    let Some(sender) = Sender::open(&config, dead, how, stop)? else {
        return Ok(Report { stopped: true, ..Report::default() });
    };
    let spans = source.spans(&order.selection)?;
    let (survey, replayed) = survey(&source, &spans, &order.question(&targets), stop, watch)?;
    let of = survey.total().open();
    let report = Report { survey, limits_unknown, ..Report::default() };
    let mut work = Work { sender, report, replayed, batch: Vec::new(), bytes: 0, of, stop, watch };
    match work.send_all(&source, &spans, &order.selection, &targets) {
        Ok(()) => Ok(Report { stopped: stop.is_requested(), ..work.report }),
        Err(error) => Err(error.after(work.report.replayed)),
    }
}

/// Where letters can go, and whether the topics did not tell their limits.
fn targets<'a>(
    settings: &'a Settings,
    source: &'a Source,
    config: &ClientConfig,
    order: &Order,
) -> (Targets<'a>, bool) {
    let targets = Targets::find(&settings.input.topics, &source.topics);
    let names: Vec<&str> = targets.names().chain([source.topic()]).collect();
    let limits = topic_limits::ask(config, &names).unwrap_or_default();
    let unknown = targets.names().any(|topic| !limits.contains_key(topic));
    (targets.within(limits, order.timestamps, order.now), unknown)
}

/// So that no healthy record is refused for the company it is sent in.
fn set_batch_size(config: &mut ClientConfig, targets: &Targets<'_>) {
    if config.get("batch.size").is_none() {
        config.set("batch.size", topic_limits::batch_size_within(targets.limits()).to_string());
    }
}

/// A replay under way.
struct Work<'a> {
    sender: Sender,
    report: Report,
    replayed: Replayed,
    batch: Vec<Letter>,
    bytes: usize,
    /// Letters to send.
    of: u64,
    stop: &'a Shutdown,
    watch: &'a mut dyn FnMut(Progress),
}

impl Work<'_> {
    fn send_all(
        &mut self,
        source: &Source,
        spans: &Spans,
        selection: &Selection,
        targets: &Targets<'_>,
    ) -> Result<(), LettersError> {
        if self.of == 0 {
            return Ok(());
        }
        let mut reader = source.read(&up_to(spans, selection.to), self.stop)?;
        while let Some(record) = reader.next()? {
            let Found::Letter(letter) = recognise(record) else { continue };
            if !selection.takes(&letter) || left(&letter, &self.replayed, Some(targets)).is_some() {
                continue;
            }
            self.bytes += letter.original.size();
            self.batch.push(*letter);
            if self.batch.len() >= BATCH_LETTERS || self.bytes >= BATCH_BYTES {
                self.send_batch()?;
            }
        }
        self.send_batch()
    }

    /// In one transaction; what is too large is left behind, and the others are sent without it.
    fn send_batch(&mut self) -> Result<(), LettersError> {
        while !self.batch.is_empty() && !self.stop.is_requested() {
            match self.sender.send(&self.batch, self.stop)? {
                Sent::Committed => {
                    for letter in self.batch.drain(..) {
                        self.replayed.insert_one(letter.partition, letter.offset);
                        *self.report.sent.entry(Row::of(&letter)).or_default() += 1;
                        self.report.replayed += 1;
                    }
                    (self.watch)(Progress::Replaying { done: self.report.replayed, of: self.of });
                }
                Sent::TooLarge(numbers) => {
                    // From the last on, so that the numbers in front of it stay right.
                    for number in numbers.into_iter().rev() {
                        let letter = self.batch.remove(number);
                        self.report.too_large += 1;
                        if self.report.too_large_at.len() < MAX_NAMED {
                            self.report.too_large_at.push((letter.partition, letter.offset));
                        }
                    }
                }
                Sent::Stopped => break,
            }
        }
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}
