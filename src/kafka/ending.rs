//! How a run ends: a clean drain, what is saved after a failure, and leaving the group.

use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;

use super::context::{Event, give_up, take};
use super::error::RunError;
use super::exactly_once::{Phase, Transactions};
use super::handover::Named;
use super::pace::WAIT_BUSY;
use super::renewal::Renewal;
use super::worker::{Summary, Worker, list};

/// Of the drain deadline, the part that is left for delivery reports and the commit.
const CONFIRM_SHARE: u32 = 5;
const SALVAGE_PATIENCE: Duration = Duration::from_secs(2);
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

impl Worker {
    /// SIGTERM: nothing more is read; what is in flight is finished, published and committed.
    /// Near the deadline nothing more is published, so that what was can still be confirmed:
    /// what is left unpublished is simply read again by the next owner.
    pub(super) fn drain(&mut self) -> Result<(), RunError> {
        self.draining = true;
        let patience = self.settings.limits.drain_timeout;
        let started = Instant::now();
        let stop_publishing = patience - patience / CONFIRM_SHARE;
        tracing::info!(in_flight = self.assignment.in_flight().0, "draining");
        let all: Vec<_> = self.assignment.iter().map(|o| (o.topic.clone(), o.partition)).collect();
        if !all.is_empty() {
            // Only to spare the brokers; `read` is not called any more.
            let _ = self.consumer.pause(&list(all.iter().map(|(t, p)| (t.as_ref(), *p, None)))?);
        }
        loop {
            self.turn_closing()?;
            let left = self.assignment.in_flight().0;
            let closing = started.elapsed() >= stop_publishing;
            if closing {
                self.assignment.iter_mut().for_each(|o| o.closing = true);
            }
            if (left == 0 || closing) && self.assignment.undelivered() == 0 {
                self.commit()?;
                // Of partitions that are gone too: an abort takes its time.
                let closed = self.transactions.as_ref().is_none_or(Transactions::is_closed);
                if closed && !self.commit_under_way && self.assignment.uncommitted() == 0 {
                    if left > 0 {
                        tracing::info!(left, "left for the next owner; nothing of it was published");
                    }
                    return Ok(());
                }
            }
            if started.elapsed() >= patience {
                let unconfirmed = self.assignment.undelivered().max(self.assignment.uncommitted());
                if unconfirmed == 0 {
                    // Only an abort is not through.
                    self.finish_transaction(SALVAGE_PATIENCE, false);
                    return Ok(());
                }
                return Err(RunError::DrainDeadline { unconfirmed });
            }
        }
    }

    /// A turn in which nothing is read: polling goes on, for the group's and the commits' sake.
    fn turn_closing(&mut self) -> Result<(), RunError> {
        self.turn()?;
        let heard = self.consumer.context().heard();
        match self.consumer.poll(WAIT_BUSY) {
            Some(Err(error)) => tracing::debug!(%error, "kafka consumer, while draining"),
            None if self.consumer.context().heard() != heard => {}
            _ => self.handover.caught_up(),
        }
        Ok(())
    }

    /// After a failure: what the brokers have is worth a commit, so that it is not written twice.
    pub(super) fn salvage(&mut self, error: RunError) -> Result<(), RunError> {
        let refused = matches!(error, RunError::Refused(_) | RunError::Replaced);
        if self.transactions.is_some() {
            // What was refused for good stands in the way of everything after it: once more would fail
            // once more.
            let in_vain = matches!(
                error,
                RunError::Publish { .. } | RunError::BatchTooLarge { .. } | RunError::Fenced { .. }
            );
            self.finish_transaction(SALVAGE_PATIENCE, !refused && !in_vain);
            return Err(error);
        }
        if refused || matches!(error, RunError::DrainDeadline { .. }) {
            return Err(error);
        }
        let until = Instant::now() + SALVAGE_PATIENCE;
        while self.assignment.undelivered() > 0 && Instant::now() < until {
            if self.deliver().is_err() {
                break;
            }
            let _ = self.consumer.poll(WAIT_BUSY);
        }
        let _ = self.commit();
        while self.commit_under_way && Instant::now() < until {
            let _ = self.consumer.poll(WAIT_BUSY);
            while let Some(event) = self.consumer.context().take() {
                if let Event::Committed(result) = event {
                    let _ = self.on_committed(result);
                }
            }
        }
        Err(error)
    }

    /// Before the end: what was released is written and committed if that can be done in time (and
    /// is worth trying), else aborted, so that nobody downstream waits for the brokers to do it.
    fn finish_transaction(&mut self, patience: Duration, mut commit: bool) {
        let until = Instant::now() + patience;
        loop {
            let Some(t) = &mut self.transactions else { return };
            t.closing = true;
            commit &= Instant::now() < until;
            if t.is_closed() && (!commit || t.retained.is_empty()) || Instant::now() >= until + patience {
                return;
            }
            match t.phase {
                Phase::Open | Phase::Ending if !commit => t.phase = Phase::Aborting(Instant::now()),
                // librdkafka aborts nothing while it sends offsets; whoever takes over the id does.
                Phase::Sending if !commit => t.phase = Phase::Renewing(Renewal::Make),
                _ => {}
            }
            if self.transact().is_err() {
                // Once more would fail once more; what is open is still to be aborted.
                commit = false;
                if self.publisher.is_beyond_use().is_some() {
                    return;
                }
            }
            let _ = self.consumer.poll(WAIT_BUSY);
        }
    }

    /// Leaves the group. librdkafka's close can wait without bound, so it gets a thread and a
    /// deadline; the process ends either way.
    pub(super) fn leave(self) -> Summary {
        let Self { consumer, stages, summary, mut handover, assignment, .. } = self;
        let events = consumer.context().clone();
        events.close();
        // librdkafka does not close while a rebalance waits for an answer, and takes none about
        // partitions that it was never told to begin.
        let give_up = |partitions: Named| {
            let owned = assignment.names();
            let begun = partitions.intersection(&owned).map(|(topic, p)| (topic.as_str(), *p, None));
            list(begun).map(|list| give_up(&consumer, &list))
        };
        if handover.is_beginning() {
            let _ = take(&consumer, &TopicPartitionList::new());
        }
        if let Some(revocation) = handover.take_giving_up() {
            let _ = give_up(revocation.partitions);
        }
        while let Some(event) = events.take() {
            match event {
                Event::Assign(_) => drop(take(&consumer, &TopicPartitionList::new())),
                Event::Revoke(partitions) | Event::Lost(partitions) => drop(give_up(partitions)),
                Event::Committed(_) | Event::Statistics(_) => {}
            }
        }
        let (left, wait) = bounded::<()>(0);
        let closing = std::thread::Builder::new().name("close".to_owned()).spawn(move || {
            drop(consumer);
            // ONNX Runtime must not be torn down under a running session.
            let _ = stages.join();
            drop(left);
        });
        if closing.is_ok() && wait.recv_timeout(CLOSE_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                "leaving the group takes too long; its other members wait for the session time-out"
            );
        }
        summary
    }
}
