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
use super::reader::{Span, Spans, since, up_to};
use super::selection::Selection;
use super::send::{Sender, TRANSACTION_TIMEOUT, transactional_id};
use super::source::Source;
use super::survey::{markers, survey};
use super::tally::{Question, Replayed, Row, Survey, left};
use super::targets::{Targets, Timestamps};
use crate::config::Settings;
use crate::kafka::ears::Ears;
use crate::kafka::{client, topic_limits};
use crate::record::{NextOffset, Offset};
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
    /// The same, by where they went and why they were here; of at most so many rows as the survey.
    pub sent: BTreeMap<Row, u64>,
    /// Letters that their topic does not take any more.
    pub too_large: u64,
    /// The first of them: partition and offset in the dead-letter topic.
    pub too_large_at: Vec<(i32, Offset)>,
    /// Not all topics told their limits, so a letter that its topic would delete for its age, or
    /// refuse, was sent like any other.
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
        let replays_since = self.again.unwrap_or(i64::MIN);
        let (selection, targets) = (&self.selection, Some(targets));
        Question { selection, targets, replays_since, samples: 0, payload: false }
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
    let mut work = Work {
        source: &source,
        config: &config,
        order,
        targets: &targets,
        looked_at: None,
        ahead: Spans::new(),
        done: Replayed::default(),
        report: Report { limits_unknown, ..Report::default() },
        stop,
        watch,
    };
    match work.all() {
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
    let names: Vec<&str> = targets.names().chain([&*source.topic]).collect();
    let limits = topic_limits::ask(config, source.tokens.as_ref(), &names).unwrap_or_default();
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
    source: &'a Source,
    config: &'a ClientConfig,
    order: &'a Order,
    targets: &'a Targets<'a>,
    /// What was read of the topic, to its end as it was then. `None`: nothing yet.
    looked_at: Option<Spans>,
    /// Where letters to send may still lie. No further than where the topic ended at first, so that
    /// what fails again while this one works does not go round and round.
    ahead: Spans,
    /// Nothing more is to be done about these: replayed, or found too large.
    done: Replayed,
    report: Report,
    stop: &'a Shutdown,
    watch: &'a mut dyn FnMut(Progress),
}

/// Letters of one transaction.
#[derive(Default)]
struct Batch {
    letters: Vec<Letter>,
    bytes: usize,
}

/// What a transaction leaves of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    GoOn,
    Spent,
}

impl Work<'_> {
    /// Most often in one round. A producer that is spent is replaced by another, which has to look
    /// at the topic again: somebody else may have replayed in between.
    fn all(&mut self) -> Result<(), LettersError> {
        let how = (self.order.timestamps, self.order.run());
        while !self.stop.is_requested() {
            let ears = Ears::new(self.source.tokens.clone());
            let Some(sender) = Sender::open((self.config, ears), &self.source.topic, how, self.stop)? else {
                break;
            };
            self.look()?;
            let done = |work: &Self| work.left_to_do() == 0;
            if done(self) || self.send_all(&sender)? == After::GoOn || done(self) {
                break;
            }
        }
        Ok(())
    }

    /// At the whole topic first, later at what has come since.
    fn look(&mut self) -> Result<(), LettersError> {
        let spans = self.source.spans(&self.order.selection)?;
        let question = self.order.question(self.targets);
        if let Some(before) = &self.looked_at {
            let newer = since(before, &spans);
            markers(self.source, &newer, question.replays_since, self.stop, &mut self.done)?;
        } else {
            (self.report.survey, self.done) = survey(self.source, &spans, &question, self.stop, self.watch)?;
            self.ahead = up_to(&spans, self.order.selection.to);
        }
        self.looked_at = Some(spans);
        Ok(())
    }

    fn left_to_do(&self) -> u64 {
        let open = self.report.survey.total().open();
        open.saturating_sub(self.report.replayed + self.report.too_large)
    }

    fn send_all(&mut self, sender: &Sender) -> Result<After, LettersError> {
        let meant = std::mem::take(&mut self.ahead);
        let mut reader = self.source.read(&meant, self.stop)?;
        let mut batch = Batch::default();
        while let Some(record) = reader.next()? {
            let Found::Letter(letter) = recognise(record) else { continue };
            let goes = self.order.selection.takes(&letter)
                && left(&letter, &self.done, Some(self.targets)).is_none();
            if !goes {
                continue;
            }
            // In its turn, and by itself.
            let large = sender.is_large(&letter);
            if (large || batch.is_full()) && self.send(sender, &mut batch)? == After::Spent {
                self.ahead = with(reader.rest(), &letter, &meant);
                return Ok(After::Spent);
            }
            batch.push(*letter);
            if large && self.send(sender, &mut batch)? == After::Spent {
                self.ahead = reader.rest();
                return Ok(After::Spent);
            }
        }
        self.send(sender, &mut batch)
    }

    /// In one transaction.
    fn send(&mut self, sender: &Sender, batch: &mut Batch) -> Result<After, LettersError> {
        let Batch { letters, .. } = std::mem::take(batch);
        if letters.is_empty() || self.stop.is_requested() {
            return Ok(After::GoOn);
        }
        let sent = sender.send(&letters)?;
        for letter in &letters {
            self.done.insert_one(letter.partition, letter.offset);
            if sent.committed {
                let row = Row::within(&self.report.sent, letter);
                *self.report.sent.entry(row).or_default() += 1;
                self.report.replayed += 1;
            } else {
                self.report.too_large += 1;
                if self.report.too_large_at.len() < MAX_NAMED {
                    self.report.too_large_at.push((letter.partition, letter.offset));
                }
            }
        }
        let (done, of) = (self.report.replayed, self.report.survey.total().open());
        (self.watch)(Progress::Replaying { done, of });
        Ok(if sent.spent { After::Spent } else { After::GoOn })
    }
}

/// What is left to read, and this letter of `meant`, which was read already.
fn with(mut rest: Spans, letter: &Letter, meant: &Spans) -> Spans {
    if let Some(span) = meant.get(&letter.partition) {
        let start = NextOffset::new(letter.offset.raw());
        rest.insert(letter.partition, Span { start, ..*span });
    }
    rest
}

impl Batch {
    fn is_full(&self) -> bool {
        self.letters.len() >= BATCH_LETTERS || self.bytes >= BATCH_BYTES
    }

    fn push(&mut self, letter: Letter) {
        self.bytes += letter.original.size();
        self.letters.push(letter);
    }
}
