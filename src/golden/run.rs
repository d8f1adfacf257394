//! Cases in, what became of them out. The stages are those of `run` and `tag`; this is their edge,
//! as the Kafka thread is there.

use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::seen::Seen;
use crate::config::settings::Input;
use crate::config::{Case, Settings};
use crate::fate::Fate;
use crate::pipeline::{PipelineError, Stages};
use crate::record::{Epoch, Header, Offset, Outcome, PartitionId, Record, Timestamp, Trace, Tracked};
use crate::results::Results;
use crate::sequencer::{Ledger, TicketError};
use crate::telemetry::Telemetry;

/// A stage that is gone is seen after this long at the latest.
const LOOK: Duration = Duration::from_millis(100);
/// Where a record comes from if neither the case nor the pipeline names a topic.
const TOPIC: &str = "tests";

/// Why there is no outcome for every case.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The stages.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A defect of ours.
    #[error("a record's outcome came twice or for nobody: {0}")]
    Ticket(#[from] TicketError),
}

impl RunError {
    /// Every one stops the program.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// What becomes of each case, in order. All are under way at the same time, so they share batches.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// A fault of the stages; then no case has an answer.
pub fn run(settings: &Settings, results: Results, cases: &[&Case]) -> Result<Vec<Seen>, RunError> {
    let mut stages = Stages::start(settings, results, &Telemetry::default())?;
    let most = settings.limits.max_in_flight_records.get();
    let mut ledger: Ledger<Outcome> = Ledger::new(PartitionId(0), Epoch(0));
    // Not by their bytes: a file with cases has no more than 1 MiB.
    let mut waiting = cases.iter();
    let mut seen = Vec::with_capacity(cases.len());
    while seen.len() < cases.len() {
        while ledger.in_flight() < most
            && let Some(case) = waiting.next()
        {
            let record = record(case, &settings.input);
            let ticket = ledger.admit(record.offset, record.size(), Instant::now());
            stages.submit(Tracked::new(ticket, Trace::NONE, record))?;
        }
        match stages.outcomes.recv_timeout(LOOK) {
            Ok(outcome) => ledger.settle(outcome.ticket, outcome.item)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(stages.take_fault().unwrap_or(PipelineError::Closed).into());
            }
        }
        if let Some(fault) = stages.take_fault() {
            return Err(fault.into());
        }
        while let Some((ticket, outcome)) = ledger.release() {
            ledger.deliver(ticket)?;
            seen.push(Seen::of(outcome, &settings.output));
        }
    }
    stages.close();
    stages.join()?;
    Ok(seen)
}

/// A case's record. All have the same offset, so that no case depends on its place in the file.
fn record(case: &Case, input: &Input) -> Record {
    let given = &case.given;
    let named = || input.topics.iter().find(|topic| !topic.starts_with('^'));
    let topic = given.topic.as_ref().or_else(named).map_or(TOPIC, String::as_str);
    let header = |(name, value): &(String, Option<String>)| Header {
        name: name.clone().into_bytes(),
        value: value.clone().map(String::into_bytes),
    };
    Record {
        topic: topic.into(),
        partition: 0,
        offset: Offset::new(0),
        key: given.key.clone(),
        value: given.value.clone(),
        headers: given.headers.iter().map(header).collect(),
        timestamp: Timestamp(given.timestamp),
    }
}
