//! What travels through the house: a Kafka record in our own words, the ticket it was admitted
//! with, and the one outcome that every record ends as. Plain data, no I/O.

mod outcome;
mod ticket;
mod trace;

pub use outcome::{DeadLetter, Emit, LabelOf, Outcome, PassThrough, Reason, Stage};
pub use ticket::{Admission, Epoch, NextOffset, Offset, PartitionId, Stamps, Ticket, Tracked};
pub use trace::{OwnSpan, Trace};

use std::sync::Arc;

/// One Kafka record, whole and owned. Nothing of it is ever rewritten in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Topic it was read from.
    pub topic: Arc<str>,
    /// Partition it was read from.
    pub partition: i32,
    /// Where it stands in that partition.
    pub offset: Offset,
    /// `None` is a null key; `Some(empty)` is an empty one. They are different.
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// In order, with duplicates, null values, and names that need not be UTF-8.
    pub headers: Vec<Header>,
    /// As the broker gave it.
    pub timestamp: Timestamp,
}

/// One record header, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Not necessarily UTF-8.
    pub name: Vec<u8>,
    /// `None` is a null value.
    pub value: Option<Vec<u8>>,
}

impl Header {
    /// A header of our own making.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into().into_bytes(), value: Some(value.into()) }
    }
}

/// A record's timestamp in milliseconds since the Unix epoch, or none (`-1` on the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub Option<i64>);

impl Record {
    /// Bytes this record holds in memory: what the in-flight budget counts.
    /// A constant stands for the struct itself, so that many tiny records are counted too.
    pub fn size(&self) -> usize {
        const OVERHEAD: usize = 256;
        let bytes = |b: &Option<Vec<u8>>| b.as_ref().map_or(0, Vec::len);
        OVERHEAD
            + bytes(&self.key)
            + bytes(&self.value)
            + self.headers.iter().map(|h| 48 + h.name.len() + bytes(&h.value)).sum::<usize>()
    }

    /// Bytes of key, value and headers as they are sent, with these headers added; at least those.
    pub fn wire_size<'a>(&'a self, added: impl IntoIterator<Item = &'a Header>) -> usize {
        let bytes = |b: &Option<Vec<u8>>| b.as_ref().map_or(0, Vec::len);
        // Each header with two lengths, of a byte or more: of 400,000 headers they are the larger part.
        let headers = self.headers.iter().chain(added).map(|h| 2 + h.name.len() + bytes(&h.value));
        bytes(&self.key) + bytes(&self.value) + headers.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_counts_the_frames_of_headers_and_the_headers_that_are_added() {
        let record = |headers: Vec<Header>| Record {
            topic: "t".into(),
            partition: 0,
            offset: Offset::new(0),
            key: Some(b"key".to_vec()),
            value: None,
            headers,
            timestamp: Timestamp(None),
        };
        assert_eq!(record(vec![]).wire_size([]), 3);
        let null = Header { name: b"n".to_vec(), value: None };
        let added = Header::new("added", "1234");
        assert_eq!(record(vec![null.clone()]).wire_size(&[added]), 3 + (2 + 1) + (2 + 5 + 4));
        let many = record(vec![Header { name: vec![], value: None }; 400_000]);
        assert_eq!(many.wire_size([]), 3 + 800_000);
    }
}
