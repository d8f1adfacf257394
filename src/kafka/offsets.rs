//! Offsets into the open transaction, on a thread of their own.
//!
//! librdkafka takes a time-out for this call, and does not keep it. If the coordinator of the group
//! dies while the request is under way, and the brokers still name the dead one when they are asked
//! again, librdkafka 2.12 waits until *any* broker comes or goes (`rd_kafka_coord_req_fsm`; its
//! `creq_ts_timeout` is never looked at). With a broker that stays away that is for ever, and the
//! thread that polls would stand still with it. So another thread waits; after
//! [`PATIENCE`] the producer is left to it and a new one is made, which fences whatever the old one
//! may still send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, Producer};

use super::context::ProducerEvents;
use super::error::RunError;

/// Given up, it costs the producer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The call under way.
pub(super) struct Sending {
    answer: Receiver<Sent>,
    since: Instant,
}

/// librdkafka's answer, and how long it took.
type Sent = (KafkaResult<()>, Duration);

/// How far it is.
pub(super) enum Progress {
    /// Not answered yet.
    Waiting,
    /// Answered.
    Done(Sent),
    /// Not answered in time, and perhaps never.
    Lost,
}

impl Sending {
    /// Sends these offsets (each the next one to read) in the name of the group's member.
    pub(super) fn start(
        producer: Arc<BaseProducer<ProducerEvents>>,
        offsets: TopicPartitionList,
        group: ConsumerGroupMetadata,
    ) -> Result<Self, RunError> {
        let (to, answer) = bounded(1);
        let since = Instant::now();
        let thread = std::thread::Builder::new().name("offsets".to_owned());
        let call = move || {
            let result = producer.send_offsets_to_transaction(&offsets, &group, PATIENCE);
            // Nobody waits any more where it took too long; then this thread has the last hand on
            // the producer, and closes it.
            let _ = to.send((result, since.elapsed()));
        };
        thread.spawn(call).map_err(RunError::Thread)?;
        Ok(Self { answer, since })
    }

    pub(super) fn progress(&self) -> Progress {
        match self.answer.try_recv() {
            Ok(sent) => Progress::Done(sent),
            Err(TryRecvError::Empty) if self.since.elapsed() < PATIENCE => Progress::Waiting,
            Err(_) => Progress::Lost,
        }
    }
}
