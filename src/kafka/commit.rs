//! Committing without waiting, and being told how it ended.
//!
//! rdkafka 0.39's asynchronous `commit` never reports: it sets no reply queue, and librdkafka then
//! has nobody to tell (its synchronous one blocks without bound). librdkafka's own
//! `rd_kafka_commit_queue` takes the queue for its answer; given the consumer's, the answer
//! arrives as the ordinary event behind `ConsumerContext::commit_callback`. That one call is the
//! reason why unsafe code is allowed here.
#![allow(unsafe_code)]

use std::ptr;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as sys;

use super::context::ConsumerEvents;

/// Sends the offsets (each the next one to read) to the group. `Ok` means sent; the outcome comes
/// through `commit_callback`, exactly once.
pub(super) fn send(consumer: &BaseConsumer<ConsumerEvents>, offsets: &TopicPartitionList) -> KafkaResult<()> {
    let client = consumer.client().native_ptr();
    // SAFETY: `client` and `offsets` are alive for the whole call, which copies the list; the
    // queue reference is taken and given back here, and librdkafka holds one of its own until it
    // has answered.
    let code = unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(client);
        if queue.is_null() {
            return Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownGroup));
        }
        let code = sys::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, ptr::null_mut());
        sys::rd_kafka_queue_destroy(queue);
        code
    };
    match code {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(KafkaError::ConsumerCommit(code.into())),
    }
}
