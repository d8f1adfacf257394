//! A new producer in place of one that is beyond use, or whose last transaction ended nobody knows how,
//! or was aborted. It takes over the transactional id, so that nothing of the old one is heard any more;
//! then the group says what is committed, and the rest is written again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::Offset as KafkaOffset;

use super::context::InFlight;
use super::error::RunError;
use super::exactly_once::{Phase, SLICE, Transactions};
use super::publish::Publisher;
use super::verdict::{Beyond, Verdict, beyond_use, is_rebalance, is_refused, verdict};
use super::worker::{RETRY_AFTER, Worker};
use crate::record::{NextOffset, PartitionId};
use crate::shutdown::Shutdown;
use crate::telemetry::Pulse;

/// For the group's answer to what it has.
const ASK_PATIENCE: Duration = Duration::from_secs(2);
/// Producers beyond use in a row, without a commit in between, before the worker gives up.
const MOST_FAILURES: u32 = 5;
/// For the first `init_transactions`.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The old producer goes, a new one is made.
    Make,
    /// It takes over the transactional id.
    Init,
    /// What does the group have?
    Ask,
}

impl Worker {
    /// A call failed before there was anything to commit.
    pub(super) fn failed(
        &mut self,
        t: &mut Transactions,
        error: &KafkaError,
        verdict: Verdict,
    ) -> Result<(), RunError> {
        match verdict {
            Verdict::Again => Ok(()),
            Verdict::Abort => {
                tracing::warn!(%error, "a transaction cannot be committed; aborting it");
                self.metrics.commit(false);
                t.phase = Phase::Aborting(Instant::now());
                match error.rdkafka_error_code() {
                    Some(code) if is_refused(code) => Err(RunError::Refused(code)),
                    Some(code) if is_rebalance(code) => {
                        t.listen_until = Instant::now() + t.listen;
                        Ok(())
                    }
                    _ => {
                        t.aborts += 1;
                        Ok(())
                    }
                }
            }
            Verdict::Doubt => {
                t.phase = Phase::Renewing(Renewal::Make);
                Ok(())
            }
            Verdict::Fatal => {
                let told = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fatal);
                let (code, detail) =
                    self.publisher.is_beyond_use().unwrap_or_else(|| (told, error.to_string()));
                let age = t.begun.map(|begun| begun.elapsed());
                match beyond_use(code, age, t.timeout, self.publisher.is_id_in_doubt()) {
                    Beyond::Refused => return Err(RunError::Refused(code)),
                    Beyond::Taken => return Err(RunError::Fenced { id: t.id.clone() }),
                    Beyond::Ours if t.failures >= MOST_FAILURES => {
                        return Err(RunError::ClientFatal { code, detail });
                    }
                    Beyond::Ours => {}
                }
                t.failures += 1;
                // Where another one has our place in the group, it has our id too, and must keep it.
                t.listen_until = Instant::now() + t.listen;
                tracing::warn!(%code, detail, "the producer is beyond use; making a new one");
                t.phase = Phase::Renewing(Renewal::Make);
                Ok(())
            }
        }
    }

    /// A new producer in place of the old one: no request of the old one is heard any more, and its
    /// transaction is committed or aborted when the new one is ready. Then the group knows. Each
    /// step is tried again at the next turn until it is done.
    pub(super) fn renew(&mut self, t: &mut Transactions, step: Renewal) -> Result<(), RunError> {
        match step {
            Renewal::Make if Instant::now() < t.listen_until => Ok(()),
            Renewal::Make => {
                self.publisher.renew()?;
                t.places.clear();
                self.metrics.transaction("renewed");
                t.phase = Phase::Renewing(Renewal::Init);
                Ok(())
            }
            Renewal::Init => match self.publisher.producer().init_transactions(SLICE * 4) {
                Ok(()) => {
                    t.phase = Phase::Renewing(Renewal::Ask);
                    Ok(())
                }
                Err(error) => match verdict(&error) {
                    Verdict::Again => Ok(()),
                    Verdict::Fatal => self.failed(t, &error, Verdict::Fatal),
                    Verdict::Abort | Verdict::Doubt => {
                        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fatal);
                        if is_refused(code) { Err(RunError::Refused(code)) } else { Ok(()) }
                    }
                },
            },
            Renewal::Ask if Instant::now() < t.again_at => Ok(()),
            Renewal::Ask => match self.committed(t) {
                Ok(committed) => {
                    let done = t.retained.reconcile(|ticket| self.assignment.holds(ticket), &committed);
                    self.count_committed(&done);
                    if !done.is_empty() {
                        (t.failures, t.aborts) = (0, 0);
                    }
                    t.begun = None;
                    t.doubt = false;
                    t.phase = Phase::Idle;
                    tracing::info!(
                        committed = done.len(),
                        "a new producer; the group has told what is committed"
                    );
                    Ok(())
                }
                Err(error) => {
                    tracing::warn!(%error, "the group does not say what is committed; asking again");
                    t.again_at = Instant::now() + RETRY_AFTER;
                    Ok(())
                }
            },
        }
    }

    /// What the group has of the partitions that are retained. A transaction that is still open for
    /// them is waited for (`isolation.level` makes librdkafka ask for stable offsets). Those where it has
    /// what it had before are left out: nothing of ours was committed there since.
    fn committed(&self, t: &Transactions) -> KafkaResult<BTreeMap<PartitionId, NextOffset>> {
        let ids = self.assignment.names_of(t.retained.partitions());
        let mut partitions = TopicPartitionList::new();
        for (topic, partition) in ids.values() {
            partitions.add_partition(topic, *partition);
        }
        let mut committed = BTreeMap::new();
        if ids.is_empty() {
            return Ok(committed);
        }
        let told = self.consumer.committed_offsets(partitions, ASK_PATIENCE)?;
        for (id, (topic, partition)) in &ids {
            let Some(element) = told.find_partition(topic, *partition) else { continue };
            element.error()?;
            if let KafkaOffset::Offset(offset) = element.offset() {
                let next = NextOffset::new(offset);
                if self.assignment.has_news(*id, next) {
                    committed.insert(*id, next);
                }
            }
        }
        Ok(committed)
    }

    pub(super) fn count_committed(&mut self, done: &[Arc<InFlight>]) {
        for write in done {
            self.count(write);
        }
        self.assignment.all_committed();
    }

    /// At the start: fences whoever used this transactional id before, and ends what it left open.
    pub(super) fn init_transactions(
        publisher: &Publisher,
        servers: &str,
        shutdown: &Shutdown,
        pulse: &Pulse,
    ) -> Result<(), RunError> {
        let (started, mut told) = (Instant::now(), false);
        // Nothing is open yet: whoever is asked to stop just leaves.
        while !shutdown.is_requested() {
            pulse.moves();
            publisher.poll();
            let Err(error) = publisher.producer().init_transactions(SLICE * 4) else {
                return Ok(());
            };
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fatal);
            if verdict(&error) != Verdict::Again {
                return Err(match is_refused(code) {
                    true => RunError::Refused(code),
                    false => RunError::Call { what: "beginning with transactions", source: error },
                });
            }
            if started.elapsed() > START_PATIENCE {
                let (servers, seconds) = (servers.to_owned(), START_PATIENCE.as_secs());
                let reason = error.to_string();
                return Err(RunError::NoBroker { servers, seconds, reason });
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!(%error, "waiting for the transaction coordinator");
            }
        }
        Ok(())
    }
}
