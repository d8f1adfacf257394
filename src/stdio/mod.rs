//! The same pipeline over standard input and output: a record a line in, a record a line out, in
//! the same order.
//!
//! One thread owns both edges, as the Kafka thread does there: it admits lines while there is room,
//! settles outcomes, and writes what is in order. Lines are read by a thread of their own
//! (`lines`), which waits while nobody takes them; so a backlog costs no memory.

mod letters;
pub(crate) mod lines;

pub use lines::ReadError;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufWriter, Read, Write};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};

use crate::config::Settings;
use crate::config::settings::{Limits, OutputMode};
use crate::fate::Fate;
use crate::pipeline::{PipelineError, Stages};
use crate::record::{Epoch, Offset, Outcome, PartitionId, Reason, Record, Timestamp, Trace, Tracked};
use crate::results::Results;
use crate::sequencer::{Ledger, TicketError};
use crate::telemetry::{Metrics, Telemetry};

/// A stage that is gone is seen after this long at the latest.
const LOOK: Duration = Duration::from_millis(100);

/// Why tagging did not start, or stopped. Lines before the fault were written, in order.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// A line has no headers.
    #[error("`output.mode: headers` needs Kafka, a line has no headers: use `splice` or `envelope`")]
    Headers,
    /// The stages.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The way in.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The way out. A reader who has left (`| head`) is no error.
    #[error("cannot write standard output: {0}")]
    Write(#[source] io::Error),
    /// The dead letters' way out.
    #[error("cannot write dead letters: {0}")]
    Letters(#[source] io::Error),
    /// No thread for reading.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// A defect of ours.
    #[error("a record's outcome came twice or for nobody: {0}")]
    Ticket(#[from] TicketError),
}

impl StdioError {
    /// Every one stops the program.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// Where lines come from and go to.
pub struct Streams<R, W, L> {
    /// Records, one a line.
    pub input: R,
    /// Enriched and passed-through values, one a line.
    pub output: W,
    /// Dead letters, a JSON object a line.
    pub letters: L,
}

/// What was done so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Lines whose outcome was written.
    pub records: u64,
    /// Their bytes, line ends not counted.
    pub bytes: u64,
    /// Enriched.
    pub tagged: u64,
    /// Written as they came (`on_existing: keep`).
    pub passed: u64,
    /// Dead letters by reason.
    pub dead: BTreeMap<Reason, u64>,
    /// Tokens that the model read of the tagged ones.
    pub tokens: u64,
    /// From the first look at the input.
    pub took: Duration,
    /// The reader of the output left before the end.
    pub cut_short: bool,
}

/// What a pipeline must be to be used here. Cheap: to be asked before a model is loaded.
///
/// # Errors
/// [`StdioError::Headers`].
pub fn check(settings: &Settings) -> Result<(), StdioError> {
    match settings.output.mode {
        OutputMode::Headers => Err(StdioError::Headers),
        OutputMode::Splice | OutputMode::Envelope => Ok(()),
    }
}

/// Tags all of `input`. Must be called inside a tokio runtime. `watch` sees the summary grow.
///
/// Dead letters are no error. A reader who leaves early ends it early, with success.
///
/// # Errors
/// See [`StdioError`]; what was read before a fault of the input is finished first.
pub fn tag<R, W, L>(
    settings: &Settings,
    results: Results,
    metrics: &Metrics,
    streams: Streams<R, W, L>,
    watch: impl FnMut(&Summary),
) -> Result<Summary, StdioError>
where
    R: Read + Send + 'static,
    W: Write,
    L: Write,
{
    check(settings)?;
    let stages = Stages::start(settings, results, &Telemetry::of(metrics))?;
    let lines = lines::start(streams.input, settings.limits.max_in_flight_bytes.get());
    let mut edge = Edge {
        stages,
        limits: &settings.limits,
        metrics,
        ledger: Ledger::new(PartitionId(0), Epoch(0)),
        waiting: VecDeque::new(),
        read: 0,
        output: BufWriter::new(streams.output),
        letters: BufWriter::new(streams.letters),
        summary: Summary::default(),
    };
    match edge.run(lines.map_err(StdioError::Thread)?, watch) {
        Ok(()) => edge.stages.join()?,
        Err(StdioError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            edge.summary.cut_short = true;
            edge.letters.flush().map_err(StdioError::Letters)?;
            // With nobody to take outcomes the stages end soon; the model must not be running when
            // the process exits.
            edge.stages.outcomes = never();
            edge.stages.join()?;
        }
        Err(error) => return Err(error),
    }
    Ok(edge.summary)
}

/// Both ends of the stages.
struct Edge<'a, W: Write, L: Write> {
    stages: Stages,
    limits: &'a Limits,
    metrics: &'a Metrics,
    ledger: Ledger<Outcome>,
    /// Read and not admitted: one chunk at most.
    waiting: VecDeque<Vec<u8>>,
    /// Lines admitted.
    read: i64,
    output: BufWriter<W>,
    letters: BufWriter<L>,
    summary: Summary,
}

impl<W: Write, L: Write> Edge<'_, W, L> {
    fn run(
        &mut self,
        lines: Receiver<lines::Chunk>,
        mut watch: impl FnMut(&Summary),
    ) -> Result<(), StdioError> {
        let started = Instant::now();
        let nothing = never();
        // How the input ended, once it has.
        let mut ended: Option<Result<(), ReadError>> = None;
        loop {
            self.admit()?;
            self.release()?;
            self.summary.took = started.elapsed();
            watch(&self.summary);
            if ended.is_some() && self.waiting.is_empty() && self.ledger.in_flight() == 0 {
                break;
            }
            if self.stages.outcomes.is_empty() {
                self.flush()?;
            }
            let more = if ended.is_none() && self.waiting.is_empty() { &lines } else { &nothing };
            select! {
                recv(more) -> chunk => match chunk {
                    Ok(Ok(lines)) => self.waiting.extend(lines),
                    Ok(Err(error)) => ended = Some(Err(error)),
                    Err(_) => ended = Some(Ok(())),
                },
                recv(self.stages.outcomes) -> outcome => match outcome {
                    Ok(outcome) => self.settle(outcome)?,
                    Err(_) => return Err(self.stages.take_fault().unwrap_or(PipelineError::Closed).into()),
                },
                default(LOOK) => {}
            }
            if let Some(fault) = self.stages.take_fault() {
                return Err(fault.into());
            }
        }
        self.flush()?;
        self.stages.close();
        Ok(ended.unwrap_or(Ok(()))?)
    }

    /// Takes lines in while there is room. A line that alone is too large for the budget waits
    /// until nothing else is in flight.
    fn admit(&mut self) -> Result<(), StdioError> {
        while let Some(line) = self.waiting.pop_front() {
            let record = record(self.read + 1, line);
            let full = self.ledger.in_flight() >= self.limits.max_in_flight_records.get()
                || self.ledger.bytes() + record.size() > self.limits.max_in_flight_bytes.get();
            if full && self.ledger.in_flight() > 0 {
                self.waiting.push_front(record.value.unwrap_or_default());
                break;
            }
            self.read += 1;
            self.metrics.admitted(&record);
            let ticket = self.ledger.admit(record.offset, record.size(), Instant::now());
            self.stages.submit(Tracked::new(ticket, Trace::NONE, record))?;
        }
        Ok(())
    }

    fn settle(&mut self, outcome: Tracked<Outcome>) -> Result<(), StdioError> {
        self.metrics.settled(&outcome.item, &outcome.stamps);
        Ok(self.ledger.settle(outcome.ticket, outcome.item)?)
    }

    /// Writes what is in order.
    fn release(&mut self) -> Result<(), StdioError> {
        while let Some((ticket, outcome)) = self.ledger.release() {
            let (Outcome::Enriched { record, .. }
            | Outcome::PassThrough { record, .. }
            | Outcome::DeadLetter { record, .. }) = &outcome;
            let original = record.value.as_deref().unwrap_or_default();
            match &outcome {
                Outcome::Enriched { emit, .. } => {
                    self.line(emit.value.as_deref().unwrap_or(original))?;
                    self.summary.tagged += 1;
                    self.summary.tokens += emit.tokens.used as u64;
                }
                Outcome::PassThrough { .. } => {
                    self.line(original)?;
                    self.summary.passed += 1;
                }
                Outcome::DeadLetter { record, letter } => {
                    letters::write(&mut self.letters, record, letter).map_err(StdioError::Letters)?;
                    *self.summary.dead.entry(letter.reason).or_default() += 1;
                }
            }
            self.summary.records += 1;
            self.summary.bytes += original.len() as u64;
            self.ledger.deliver(ticket)?;
        }
        Ok(())
    }

    fn line(&mut self, value: &[u8]) -> Result<(), StdioError> {
        self.output.write_all(value).and_then(|()| self.output.write_all(b"\n")).map_err(StdioError::Write)
    }

    fn flush(&mut self) -> Result<(), StdioError> {
        self.letters.flush().map_err(StdioError::Letters)?;
        self.output.flush().map_err(StdioError::Write)
    }
}

/// A line as a record: its offset is its number, from 1.
fn record(number: i64, line: Vec<u8>) -> Record {
    Record {
        topic: "stdin".into(),
        partition: 0,
        offset: Offset::new(number),
        key: None,
        value: Some(line),
        headers: Vec::new(),
        timestamp: Timestamp(None),
    }
}

#[cfg(test)]
mod tests;
