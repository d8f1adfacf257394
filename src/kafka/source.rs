//! librdkafka's message to our [`Record`]: the one place where bytes are copied out of its memory.

use std::sync::Arc;

use rdkafka::message::{BorrowedMessage, Message};

use super::headers;
use crate::record::{Offset, Record, Timestamp};

/// The whole record, owned.
pub(crate) fn record(message: &BorrowedMessage<'_>, topic: Arc<str>) -> Record {
    Record {
        topic,
        partition: message.partition(),
        offset: Offset::new(message.offset()),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(headers::read).unwrap_or_default(),
        timestamp: Timestamp(message.timestamp().to_millis()),
    }
}
