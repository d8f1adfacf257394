//! At least once: what the brokers have confirmed is counted, and its offsets are committed now and
//! then. The idempotent producer keeps the order; a write is never given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::commit;
use super::context::{Delivery, InFlight};
use super::error::{RunError, consumer_fate};
use super::publish::Refusal;
use super::worker::{RETRY_AFTER, Worker, list};
use crate::fate::Fate;

/// Released outcomes that librdkafka's queue had no room for yet, in order.
pub(super) type Waiting = VecDeque<Arc<InFlight>>;

impl Worker {
    /// Writes what was released, and counts what is confirmed.
    pub(super) fn deliver(&mut self) -> Result<(), RunError> {
        self.publisher.poll();
        self.push()?;
        while let Some(Delivery { write, result }) = self.publisher.next_report() {
            match result {
                Ok(()) => self.count(&write),
                Err(code) => self.refused(write, code)?,
            }
        }
        Ok(())
    }

    fn push(&mut self) -> Result<(), RunError> {
        while let Some(write) = self.waiting.front() {
            match self.publisher.send(write) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(RDKafkaErrorCode::QueueFull) => break,
                Err(code) => {
                    if let Some(write) = self.waiting.pop_front() {
                        self.refused(write, code)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A write that failed for another reason than its size is not sent again: that could reorder.
    fn refused(&mut self, write: Arc<InFlight>, code: RDKafkaErrorCode) -> Result<(), RunError> {
        if let Some((code, detail)) = self.publisher.is_beyond_use() {
            return Err(RunError::ClientFatal { code, detail });
        }
        match self.publisher.refusal(&write, code) {
            Refusal::TooLarge => {
                let write = self.publisher.smaller(write, self.surge.as_mut())?;
                self.waiting.push_back(write);
                self.push()
            }
            Refusal::ForNow => Err(self.publisher.given_up(&write, code)),
            Refusal::ForGood(error) => Err(error),
        }
    }

    /// Tells the group how far we are. One commit at a time. (Under exactly-once everything that is
    /// delivered is committed, and there is nothing to tell.)
    pub(super) fn commit(&mut self) -> Result<(), RunError> {
        if self.commit_under_way || Instant::now() < self.commit_again_at {
            return Ok(());
        }
        self.last_commit = Instant::now();
        // Under another name than theirs it would be taken for ours, and go back behind our successor's.
        if self.assignment.uncommitted() == 0 || !self.check_membership()? {
            return Ok(());
        }
        let offsets = self.assignment.begin_commit();
        let list = list(offsets.iter().map(|(t, p, next)| (t.as_ref(), *p, Some(*next))))?;
        match commit::send(&self.consumer, &list) {
            Ok(()) => self.commit_under_way = true,
            Err(error) => self.on_committed(Err(error))?,
        }
        Ok(())
    }

    pub(super) fn on_committed(&mut self, result: KafkaResult<()>) -> Result<(), RunError> {
        self.commit_under_way = false;
        let code = result.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        let ok = result.is_ok();
        self.assignment.committed(ok);
        self.metrics.commit(ok);
        match code {
            Some(code) if consumer_fate(code) == Fate::Fatal => Err(RunError::of_consumer(code)),
            Some(code) => {
                tracing::warn!(%code, "offsets were not committed; they will be with the next commit");
                self.commit_again_at = Instant::now() + RETRY_AFTER;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
