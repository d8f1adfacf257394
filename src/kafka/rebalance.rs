//! Partitions come and go. The group waits while we finish what is already published; polling
//! goes on meanwhile, so that we are not taken for dead.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::KafkaError;

use super::commit;
use super::context::{give_up, take};
use super::error::{RunError, consumer_fate};
use super::handover::{Named, Revocation};
use super::member;
use super::start::{self, Beginning, Gap, Places, Resolved};
use super::worker::{RETRY_AFTER, Worker, list};
use crate::config::settings::OnGap;
use crate::fate::Fate;
use crate::record::NextOffset;

impl Worker {
    /// Begins what the group assigned, as soon as the cluster says where. Asked again at every
    /// turn until it does: the group waits, and we keep polling.
    pub(super) fn begin_assigned(&mut self) -> Result<(), RunError> {
        if self.draining || Instant::now() < self.ask_again_at {
            return Ok(());
        }
        let Some(partitions) = self.handover.to_begin() else { return Ok(()) };
        let partitions =
            list(partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition, None)))?;
        let beginnings = match start::resolve(&self.consumer, &partitions, self.settings.input.start) {
            Ok(Resolved::Here(beginnings)) => beginnings,
            Ok(Resolved::Commit(places)) => return self.begin_group(places),
            Ok(Resolved::Wait) => {
                self.ask_again_at = Instant::now() + RETRY_AFTER;
                return Ok(());
            }
            Err(error) => return self.not_now(error),
        };
        self.check_membership()?;
        self.assign(&beginnings)
    }

    /// Commits where the group begins with a topic. Under exactly-once by a transaction: a request
    /// that comes late, or twice, would set back what others have committed since; that of an older
    /// producer is not heard.
    fn begin_group(&mut self, places: Places) -> Result<(), RunError> {
        self.ask_again_at = Instant::now() + RETRY_AFTER;
        if let Some(t) = &mut self.transactions {
            t.places = places;
            return Ok(());
        }
        // Without waiting (librdkafka would wait for a coordinator without bound): it is asked again
        // anyway what the group has.
        if self.commit_under_way {
            return Ok(());
        }
        let list = list(places.iter().map(|(topic, partition, at)| (topic.as_str(), *partition, Some(*at))))?;
        match commit::send(&self.consumer, &list) {
            Ok(()) => {
                self.commit_under_way = true;
                Ok(())
            }
            Err(error) => self.not_now(error),
        }
    }

    fn not_now(&mut self, error: KafkaError) -> Result<(), RunError> {
        match error.rdkafka_error_code() {
            Some(code) if consumer_fate(code) == Fate::Fatal => Err(RunError::of_consumer(code)),
            _ => {
                tracing::warn!(%error, "the cluster does not say where to begin; asking again");
                self.ask_again_at = Instant::now() + RETRY_AFTER;
                Ok(())
            }
        }
    }

    fn assign(&mut self, beginnings: &[Beginning]) -> Result<(), RunError> {
        for b in beginnings {
            self.publisher.check_partition(b.partition)?;
        }
        let list = list(beginnings.iter().map(|b| (b.topic.as_str(), b.partition, Some(b.position))))?;
        take(&self.consumer, &list)
            .map_err(|source| RunError::Call { what: "taking an assignment", source })?;
        for b in beginnings {
            self.assignment.add(&b.topic, b.partition, b.position, b.committed);
        }
        let begun: Named = beginnings.iter().map(|b| (b.topic.clone(), b.partition)).collect();
        self.handover.begun(&begun);
        tracing::info!(partitions = beginnings.len(), owned = self.assignment.len(), "assigned");
        self.metrics.rebalance("assigned", beginnings.len());
        self.health.joined(self.assignment.len());
        Ok(())
    }

    /// Are we the member to whom our partitions were assigned? Where we have become another one
    /// without being told that anything was lost (see [`member`]), they are begun anew, at what is
    /// committed now. `false`: nothing that was released until now may be committed (any more), or it
    /// is not known yet whether it may.
    pub(super) fn check_membership(&mut self) -> Result<bool, RunError> {
        let Some(now) = member::id(&self.consumer) else { return Ok(false) };
        if self.member.as_ref() == Some(&now) {
            return Ok(!self.handover.is_answered_unheard());
        }
        let unaware = self.assignment.names();
        self.member = Some(now);
        if unaware.is_empty() {
            return Ok(!self.handover.is_answered_unheard());
        }
        tracing::warn!("the group has given us a new name: our place in it was lost");
        self.lose(unaware.clone())?;
        self.handover.unassigned();
        // For the group, and for the client, they are ours.
        self.handover.assigned(unaware);
        Ok(false)
    }

    /// The group wants partitions back. Nothing more of them is admitted or released from now on;
    /// what was released is waited for, and committed; the rest was never published, so its next
    /// owner publishes it for the first time.
    pub(super) fn revoke(&mut self, partitions: Named) -> Result<(), RunError> {
        self.check_membership()?;
        for (topic, partition) in &partitions {
            if let Some(owned) = self.assignment.get_mut(topic, *partition) {
                owned.closing = true;
            }
        }
        self.handover.revoked(partitions, Instant::now() + self.settings.limits.drain_timeout);
        Ok(())
    }

    /// Gives revoked partitions up once nothing of theirs is unconfirmed or uncommitted.
    pub(super) fn advance_revocation(&mut self) -> Result<(), RunError> {
        let Some(revocation) = self.handover.giving_up() else { return Ok(()) };
        let in_time = Instant::now() < revocation.deadline;
        let closing = || self.assignment.iter().filter(|o| o.closing);
        let undelivered: usize = closing().map(|o| o.ledger.undelivered()).sum();
        let uncommitted = closing().any(|o| o.ledger.committable().is_some_and(|n| Some(n) != o.committed));
        if in_time && (undelivered > 0 || uncommitted || self.commit_under_way) {
            if undelivered == 0 && !self.commit_under_way {
                self.commit()?;
            }
            return Ok(());
        }
        if !in_time {
            tracing::warn!(
                undelivered,
                "the drain deadline passed while giving up partitions; their next owner repeats these records"
            );
        }
        if let Some(Revocation { partitions, .. }) = self.handover.take_giving_up() {
            self.part_with(&partitions, "revoked")?;
        }
        Ok(())
    }

    /// The partitions are somebody else's already: commit nothing, drop what comes back.
    pub(super) fn lose(&mut self, partitions: Named) -> Result<(), RunError> {
        let partitions = self.handover.lost(partitions);
        tracing::warn!(
            partitions = partitions.len(),
            "partitions were lost (no heartbeat in time?); what was in flight is dropped, their next owner repeats it"
        );
        self.part_with(&partitions, "lost")
    }

    /// Of these, those that were begun; the client knows of no others. The group waits for our
    /// answer, also where this is none.
    fn part_with(&mut self, partitions: &Named, how: &'static str) -> Result<(), RunError> {
        let (mut ours, mut paused) = (Vec::new(), Vec::new());
        for (topic, partition) in partitions {
            let Some(owned) = self.assignment.remove(topic, *partition) else { continue };
            if owned.paused {
                paused.push((owned.topic.clone(), owned.partition));
            }
            ours.push((owned.topic, owned.partition));
            self.metrics.forget_partition(topic, *partition);
        }
        // librdkafka keeps an application's pause over unassign and assign: a partition that comes
        // back would stand still for ever.
        self.resume(&paused)?;
        let list = list(ours.iter().map(|(topic, partition)| (topic.as_ref(), *partition, None)))?;
        give_up(&self.consumer, &list)
            .map_err(|source| RunError::Call { what: "giving up partitions", source })?;
        tracing::info!(partitions = ours.len(), owned = self.assignment.len(), "{how}");
        self.metrics.rebalance(how, ours.len());
        self.health.joined(self.assignment.len());
        Ok(())
    }

    /// librdkafka says that some offset is gone, not which, and stops reading that partition.
    /// `input.on_gap` decides what then. Tried again at every turn until the cluster answers.
    pub(super) fn close_gaps(&mut self) -> Result<(), RunError> {
        // Not while partitions are being given up: the client would take it for our answer.
        let busy = self.draining || self.handover.giving_up().is_some();
        if busy || Instant::now() < self.ask_again_at || !std::mem::take(&mut self.gap_reported) {
            return Ok(());
        }
        let looked: Result<Vec<_>, KafkaError> = self
            .assignment
            .iter()
            .filter(|owned| !owned.closing)
            .map(|owned| {
                let (topic, partition) = (owned.topic.clone(), owned.partition);
                let gap = start::gap(&self.consumer, &topic, partition, owned.position)?;
                Ok((topic, partition, owned.position, gap))
            })
            // One question unanswered is enough: each may wait for its whole time.
            .collect();
        let looked = match looked {
            Ok(looked) => looked,
            Err(error) => {
                self.gap_reported = true;
                return self.not_now(error);
            }
        };
        let mut positions = Vec::new();
        for (topic, partition, position, gap) in looked {
            let position = gap.map_or(Ok(position), |gap| self.past_gap(&topic, partition, &gap))?;
            positions.push((topic, partition, position));
        }
        // All of them, those without a gap too: which one was reported is not told, it no longer
        // reads by itself, and its gap may have been a leader that was behind for a moment.
        self.begin_again(&positions)
    }

    /// Takes partitions out of the client's assignment and puts them back at these positions: it
    /// refuses to seek in one that it has stopped reading. What is in flight stays in its line.
    pub(super) fn begin_again(&mut self, positions: &[(Arc<str>, i32, NextOffset)]) -> Result<(), RunError> {
        let call = |source| RunError::Call { what: "taking up a partition anew", source };
        let mut all = Vec::new();
        for (topic, partition, position) in positions {
            if let Some(owned) = self.assignment.get_mut(topic, *partition) {
                owned.position = *position;
                owned.paused = false;
                all.push((topic.clone(), *partition));
            }
        }
        // Those too that are not paused as far as we know: the client's own flag outlives an
        // assignment. What is read twice by that is told by its offset.
        self.resume(&all)?;
        self.handover.unassigned();
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                let list = list(positions.iter().map(|(t, p, at)| (t.as_ref(), *p, Some(*at))))?;
                self.consumer.incremental_unassign(&list).map_err(call)?;
                self.consumer.incremental_assign(&list).map_err(call)
            }
            _ => {
                let all = self.assignment.iter().map(|o| (o.topic.as_ref(), o.partition, Some(o.position)));
                self.consumer.assign(&list(all)?).map_err(call)
            }
        }
    }

    /// Resumes partitions that are paused. (To resume one that is not would read it again from
    /// where it was assigned.)
    fn resume(&self, paused: &[(Arc<str>, i32)]) -> Result<(), RunError> {
        if paused.is_empty() {
            return Ok(());
        }
        let list = list(paused.iter().map(|(t, p)| (t.as_ref(), *p, None)))?;
        self.consumer.resume(&list).map_err(|source| RunError::Call { what: "resuming partitions", source })
    }

    fn past_gap(&self, topic: &str, partition: i32, gap: &Gap) -> Result<NextOffset, RunError> {
        let Gap { position, low, high } = *gap;
        if self.settings.input.on_gap == OnGap::Fail {
            let topic = topic.to_owned();
            return Err(RunError::OffsetGap { topic, partition, position, low, high });
        }
        tracing::warn!(
            topic,
            partition,
            position,
            low,
            "records are gone; going on with the oldest there is"
        );
        self.metrics.gap(topic, partition, (low - position).max(0));
        Ok(NextOffset::new(low))
    }
}
