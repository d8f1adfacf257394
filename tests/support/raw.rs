//! A producer without a client library: sends what librdkafka would not, such as a timestamp of 0 or
//! a header whose name is no text. One record a request (Produce, version 3), as Kafka's protocol
//! guide has it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A record, byte for byte.
#[derive(Clone, Default)]
pub struct Raw {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// As it is on the wire: -1 is none.
    pub timestamp: i64,
}

/// Appends the record to a partition whose leader is `broker`.
#[track_caller]
pub fn send(broker: &str, topic: &str, partition: i32, record: &Raw) {
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = request(topic, partition, &batch(record));
    stream.write_all(&sized(&request)).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, one topic with its name, one partition with its number; then the error.
    let error = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[error..error + 2], [0, 0], "the broker refused: {answer:?}");
}

fn request(topic: &str, partition: i32, batch: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // Produce, version 3; correlation 1; client `raw`.
    out.extend([0, 0, 0, 3, 0, 0, 0, 1, 0, 3]);
    out.extend(b"raw");
    // No transaction; acks from all; 30 s; one topic.
    out.extend((-1_i16).to_be_bytes());
    out.extend((-1_i16).to_be_bytes());
    out.extend(30_000_i32.to_be_bytes());
    out.extend(1_i32.to_be_bytes());
    out.extend((topic.len() as i16).to_be_bytes());
    out.extend(topic.as_bytes());
    out.extend(1_i32.to_be_bytes());
    out.extend(partition.to_be_bytes());
    out.extend(sized(batch));
    out
}

/// With its length in front.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as i32).to_be_bytes(), bytes].concat()
}

/// A record batch (magic 2) of one record, without compression, producer or transaction.
fn batch(record: &Raw) -> Vec<u8> {
    let mut body = vec![0]; // attributes
    body.extend(varint(0)); // its time after the batch's
    body.extend(varint(0)); // its offset after the batch's
    body.extend(bytes(record.key.as_deref()));
    body.extend(bytes(record.value.as_deref()));
    body.extend(varint(record.headers.len() as i64));
    for (name, value) in &record.headers {
        body.extend(bytes(Some(name)));
        body.extend(bytes(value.as_deref()));
    }
    let mut checked = vec![0; 6]; // attributes, last offset's distance
    checked.extend(record.timestamp.to_be_bytes());
    checked.extend(record.timestamp.to_be_bytes());
    checked.extend([0xff; 14]); // no producer: id, epoch, sequence
    checked.extend(1_i32.to_be_bytes());
    checked.extend(varint(body.len() as i64));
    checked.extend(body);
    let mut rest = (-1_i32).to_be_bytes().to_vec(); // leader's epoch
    rest.push(2);
    rest.extend(crc32c(&checked).to_be_bytes());
    rest.extend(checked);
    [&[0; 8], sized(&rest).as_slice()].concat()
}

/// Zigzag, seven bits a byte.
fn varint(number: i64) -> Vec<u8> {
    let mut left = ((number << 1) ^ (number >> 63)) as u64;
    let mut out = Vec::new();
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out
}

fn bytes(bytes: Option<&[u8]>) -> Vec<u8> {
    match bytes {
        None => varint(-1),
        Some(bytes) => [varint(bytes.len() as i64).as_slice(), bytes].concat(),
    }
}

/// Castagnoli's polynomial, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}
