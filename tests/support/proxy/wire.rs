//! As much of Kafka's protocol as the proxy needs: where a frame ends, and a request's header.
//! All versions of the request header begin alike, and every answer begins with the correlation id;
//! so no body and no version is ever parsed.

use std::io::{self, Read};

/// Requests that faults are aimed at, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Api {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    InitProducerId = 22,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    TxnOffsetCommit = 28,
}

/// A request's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub api: i16,
    pub correlation: i32,
    /// `client.id`: the tests give each worker its own.
    pub client: String,
}

/// One frame, its four bytes of length in front. `None` at the connection's end.
pub fn read_frame(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut frame = vec![0; 4];
    match from.read_exact(&mut frame) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
    let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..])?;
    Ok(Some(frame))
}

/// The header of a request frame.
pub fn header(frame: &[u8]) -> Option<Header> {
    let api = i16::from_be_bytes(bytes(frame, 4)?);
    let correlation = i32::from_be_bytes(bytes(frame, 8)?);
    // -1 is none.
    let length = usize::try_from(i16::from_be_bytes(bytes(frame, 12)?)).unwrap_or(0);
    let client = String::from_utf8_lossy(frame.get(14..14 + length)?).into_owned();
    Some(Header { api, correlation, client })
}

/// Which request an answer frame answers.
pub fn answered(frame: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(bytes(frame, 4)?))
}

fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}
