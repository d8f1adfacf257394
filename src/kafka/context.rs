//! What librdkafka tells us through its callbacks, made into values that the worker takes up in
//! its own turn. A callback decides nothing: it hands over and returns.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Statistics, TopicPartitionList};

use super::handover::Named;
use super::retained::Write;
use super::tokens::{self, Tokens};
use super::trouble::will_pass;
use crate::record::{Header, Offset, Outcome, Stamps, Ticket, Trace};
use crate::telemetry::logs;

/// Something the group coordinator or a broker said.
pub(super) enum Event {
    /// These partitions are ours once we say so (`incremental_assign`).
    Assign(Named),
    /// These are to be given up; the group waits until we say so.
    Revoke(Named),
    /// These are somebody else's already: commit nothing.
    Lost(Named),
    /// An asynchronous commit's outcome.
    Committed(KafkaResult<()>),
    /// Figures from librdkafka, for the lag.
    Statistics(Box<Statistics>),
}

/// The consumer's context.
pub(super) struct ConsumerEvents {
    queue: Mutex<VecDeque<Event>>,
    /// The consumer is being closed: nobody takes events any more, so a revocation is
    /// acknowledged on the spot (else closing would wait for ever).
    closing: AtomicBool,
    heard: AtomicU64,
    tokens: Option<Arc<Tokens>>,
    /// See [`ConsumerEvents::take_passing`].
    passing: AtomicBool,
}

impl ConsumerEvents {
    pub(super) fn new(tokens: Option<Arc<Tokens>>) -> Self {
        let [closing, passing] = Default::default();
        Self { queue: Mutex::default(), closing, heard: AtomicU64::new(0), tokens, passing }
    }
    /// Was the last error one that passes, though its code is that of a refused password?
    pub(super) fn take_passing(&self) -> bool {
        self.passing.swap(false, Ordering::AcqRel)
    }
    /// How many callbacks there were. A poll that gives no record, and in which there was none, has
    /// found the client's queue empty. (A callback can end a poll early.)
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
    fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }
    /// The next event, in the order in which they came.
    pub(super) fn take(&self) -> Option<Event> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
    /// Is something waiting?
    pub(super) fn any(&self) -> bool {
        !self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
    fn push(&self, event: Event) {
        self.hear();
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}

impl ClientContext for ConsumerEvents {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.hear();
        tokens::give(self.tokens.as_ref())
    }
    fn stats(&self, statistics: Statistics) {
        self.push(Event::Statistics(Box::new(statistics)));
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.hear();
        self.passing.store(will_pass(reason), Ordering::Release);
        tracing::warn!(%error, reason, "kafka consumer");
    }
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.hear();
        logs::librdkafka(level, facility, message);
    }
}

impl ConsumerContext for ConsumerEvents {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assign = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let _ = if assign {
                take(consumer, &TopicPartitionList::new())
            } else {
                give_up(consumer, partitions)
            };
        } else {
            let named = partitions.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
            self.push(match assign {
                true => Event::Assign(named),
                false if consumer.assignment_lost() => Event::Lost(named),
                false => Event::Revoke(named),
            });
        }
    }
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        // librdkafka calls a commit well done if one partition of it was.
        let refused = offsets.elements().iter().find_map(|e| e.error().err());
        self.push(Event::Committed(refused.map_or(result, Err)));
    }
}

/// Tells the group that these partitions are ours now.
pub(super) fn take(
    consumer: &BaseConsumer<ConsumerEvents>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        _ => consumer.assign(partitions),
    }
}

/// Tells the group that these partitions are no longer ours.
pub(super) fn give_up(
    consumer: &BaseConsumer<ConsumerEvents>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        _ => consumer.unassign(),
    }
}

/// One write on its way to the broker. The outcome stays with it until the broker has it: a write
/// that proves too large needs the record again.
#[derive(Clone)]
pub(super) struct InFlight {
    pub(super) ticket: Ticket,
    pub(super) outcome: Outcome,
    pub(super) trace: Trace,
    pub(super) stamps: Stamps,
    pub(super) settled: Instant,
    /// Its turn in its partition's line had come.
    pub(super) released: Instant,
    /// Of a dead letter that had to be cut: what tells of the whole.
    pub(super) cut: Vec<Header>,
}

/// What became of a write.
pub(super) struct Delivery {
    pub(super) write: Arc<InFlight>,
    pub(super) result: Result<(), RDKafkaErrorCode>,
}

impl Write for Arc<InFlight> {
    fn ticket(&self) -> Ticket {
        self.ticket
    }
    fn offset(&self) -> Offset {
        self.outcome.record().offset
    }
    fn size(&self) -> usize {
        self.outcome.record().size()
    }
}

/// The producer's context.
pub(super) struct ProducerEvents {
    deliveries: Sender<Delivery>,
    tokens: Option<Arc<Tokens>>,
    /// See [`ProducerEvents::has_doubts`].
    doubts: AtomicBool,
    /// See [`ProducerEvents::is_id_in_doubt`].
    id_in_doubt: AtomicBool,
    /// The coordinator was asked to take partitions into the transaction, and has not answered.
    adding: AtomicBool,
    /// See [`ProducerEvents::is_refused`].
    refused: AtomicBool,
}

impl ProducerEvents {
    pub(super) fn new(deliveries: Sender<Delivery>, tokens: Option<Arc<Tokens>>) -> Self {
        let [doubts, id_in_doubt, adding, refused] = Default::default();
        Self { deliveries, tokens, doubts, id_in_doubt, adding, refused }
    }

    /// Was the end of a transaction, or a partition's or the group's part in it, asked for more than once
    /// since [`ProducerEvents::forget`]? librdkafka repeats a request that a broken connection may have
    /// delivered, and tells nobody; the first one could then arrive late, and end a *later*
    /// transaction, or begin one that nobody ends. The one place where it says so is a line of its
    /// debug log (context `eos`), written before the call returns.
    pub(super) fn has_doubts(&self) -> bool {
        self.doubts.load(Ordering::Acquire)
    }

    pub(super) fn forget(&self) {
        self.doubts.store(false, Ordering::Release);
        self.adding.store(false, Ordering::Release);
    }

    /// May this user not write a topic that the transaction should write? The transaction fails by
    /// that, and its writes are told as purged, like those of any other failed one.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// The lines of the requests that take partitions into a transaction. There is never more than one
    /// of them under way, and an answer is told by a line for each of its partitions; the lack of one is
    /// not told at all (`rd_kafka_txn_handle_AddPartitionsToTxn`), nor does a connection that breaks under
    /// a request make an error event. So two requests without an answer in between are one that was sent
    /// twice.
    fn hear_of_partitions(&self, facility: &str, message: &str) {
        if facility != "ADDPARTS" {
            return;
        }
        if message.contains("Registering partitions with transaction") {
            if self.adding.swap(true, Ordering::AcqRel) {
                self.doubts.store(true, Ordering::Release);
            }
        } else if !message.contains("Not registering partitions: ") {
            self.adding.store(false, Ordering::Release);
        }
        if message.contains("Failed to add partition ") && message.contains("authorization failed") {
            self.refused.store(true, Ordering::Release);
        }
    }

    /// Did this producer ask for its id more than once, for the same reason? The coordinator gives
    /// each request an epoch of its own: one that arrives late fences us, and nobody else is there.
    pub(super) fn is_id_in_doubt(&self) -> bool {
        self.id_in_doubt.load(Ordering::Acquire)
    }
}

/// The lines that librdkafka 2.12 writes for each answer to EndTxn and AddOffsetsToTxn, or the lack of
/// one (`rd_kafka_txn_handle_EndTxn`, `rd_kafka_txn_handle_AddOffsetsToTxn`).
fn is_answer_in_doubt(facility: &str, message: &str) -> bool {
    match facility {
        "ENDTXN" => message.contains("EndTxn returned ") && !message.contains("returned NO_ERROR "),
        "ADDOFFSETS" => {
            message.contains("AddOffsetsToTxn response from ")
                && [": _TRANSPORT (", ": _TIMED_OUT ("].iter().any(|lack| message.contains(lack))
        }
        _ => false,
    }
}

/// The line for an InitProducerId that was not answered (`rd_kafka_idemp_request_pid_failed`); it is
/// sent again.
fn is_id_asked_again(facility: &str, message: &str) -> bool {
    facility == "GETPID"
        && message.contains("Failed to acquire PID: ")
        && ["Local: Broker transport failure", "Local: Timed out", "Broker: Request timed out"]
            .iter()
            .any(|lack| message.contains(lack))
}

impl ClientContext for ProducerEvents {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        tokens::give(self.tokens.as_ref())
    }
    fn stats(&self, _statistics: Statistics) {}
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka producer");
    }
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if is_answer_in_doubt(facility, message) {
            self.doubts.store(true, Ordering::Release);
        }
        self.hear_of_partitions(facility, message);
        if is_id_asked_again(facility, message) {
            self.id_in_doubt.store(true, Ordering::Release);
        }
        logs::librdkafka(level, facility, message);
    }
}

impl ProducerContext for ProducerEvents {
    type DeliveryOpaque = Arc<InFlight>;

    fn delivery(&self, result: &DeliveryResult<'_>, write: Arc<InFlight>) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        // Closed only when the worker is gone, and then nobody counts deliveries any more.
        let _ = self.deliveries.send(Delivery { write, result });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_were_added_twice_are_in_doubt_and_a_refusal_is_told() {
        let asks = "[thrd:main]: a:1/1: Registering partitions with transaction";
        let taken = "[thrd:main]: out [3] registered with transaction";
        let not_yet = "[thrd:main]: a:1/1: AddPartitionsToTxn response: partition \"out\": [3]: Broker: Producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing";
        let not_now = "[thrd:main]: Not registering partitions: coordinator is not available";
        let denied = "[thrd:main]: a:1/1: Failed to add partition \"out\" [3] to transaction: Broker: Topic authorization failed";
        let hear = |lines: &[&str]| {
            let events = ProducerEvents::new(crossbeam_channel::unbounded().0, None);
            lines.iter().for_each(|line| events.hear_of_partitions("ADDPARTS", line));
            (events.has_doubts(), events.is_refused())
        };
        assert_eq!(hear(&[asks, taken, asks, not_yet, asks, taken]), (false, false));
        assert_eq!(hear(&[asks, not_now, asks, taken]), (true, false));
        assert_eq!(hear(&[asks, denied]), (false, true));
    }

    /// As librdkafka 2.12 writes them.
    #[test]
    fn what_was_sent_twice_is_told_by_its_lines() {
        let in_doubt = [
            (
                "ENDTXN",
                "[thrd:main]: EndTxn returned _TRANSPORT in state CommittingTransaction (may_retry=true)",
            ),
            ("ADDOFFSETS", "[thrd:main]: AddOffsetsToTxn response from a:1/1: _TRANSPORT (Refresh,Retry)"),
            ("ADDOFFSETS", "[thrd:main]: AddOffsetsToTxn response from a:1/1: _TIMED_OUT (Refresh,Retry)"),
        ];
        let answered = [
            (
                "ENDTXN",
                "[thrd:main]: EndTxn returned NO_ERROR in state CommittingTransaction (may_retry=true)",
            ),
            ("ADDOFFSETS", "[thrd:main]: AddOffsetsToTxn response from a:1/1: NO_ERROR ()"),
            (
                "ADDOFFSETS",
                "[thrd:main]: AddOffsetsToTxn response from a:1/1: CONCURRENT_TRANSACTIONS (Retry)",
            ),
            ("GETPID", "[thrd:main]: EndTxn returned _TRANSPORT"),
        ];
        assert!(in_doubt.iter().all(|(facility, message)| is_answer_in_doubt(facility, message)));
        assert!(!answered.iter().any(|(facility, message)| is_answer_in_doubt(facility, message)));
        let again = "[thrd:main]: a:1/1: Failed to acquire PID: Local: Broker transport failure";
        assert!(is_id_asked_again("GETPID", again));
        let refused = "[thrd:main]: a:1/1: Failed to acquire PID: Broker: Not coordinator";
        assert!(!is_id_asked_again("GETPID", refused));
    }
}
