//! What a port speaks: TLS or not, and whether it wants a user. Brokers that are asked in another
//! tongue than theirs just hang up, and librdkafka cannot tell that from a broker that is away.
//!
//! The question is Kafka's SaslHandshake (key 17, version 1; kafka.apache.org/protocol): who wants a user
//! answers with the mechanisms that it offers, who wants none with ILLEGAL_SASL_STATE.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

const PATIENCE: Duration = Duration::from_secs(2);
const ILLEGAL_SASL_STATE: i16 = 34;
/// No broker's answer to this question is that long.
const MOST_BYTES: u32 = 16 * 1024;

/// A port that speaks Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) tls: bool,
    /// The mechanisms that it offers; `None`: it wants no user, or does not say.
    pub(super) sasl: Option<Vec<String>>,
}

/// Asks `host:port`. `None`: nobody there, or nobody whom we understand.
pub(super) fn speaks(server: &str) -> Option<Port> {
    let mut plain = connect(server)?;
    if let Some(sasl) = ask(&mut plain) {
        return Some(Port { tls: false, sasl });
    }
    drop(plain);
    // Only what it speaks: no certificate is asked for or believed.
    let mut builder = SslConnector::builder(SslMethod::tls()).ok()?;
    builder.set_verify(SslVerifyMode::NONE);
    let configured = builder.build().configure().ok()?.verify_hostname(false);
    let (host, _) = server.rsplit_once(':')?;
    let mut stream = configured.connect(host.trim_matches(['[', ']']), connect(server)?).ok()?;
    Some(Port { tls: true, sasl: ask(&mut stream).flatten() })
}

fn connect(server: &str) -> Option<TcpStream> {
    let address = server.to_socket_addrs().ok()?.next()?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// `None`: no answer.
fn ask(stream: &mut (impl Read + Write)) -> Option<Option<Vec<String>>> {
    let mechanism = b"NONE";
    // Key, version, correlation id, no client id, mechanism.
    let mut request = vec![0, 17, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 4];
    request.extend(mechanism);
    let length = u32::try_from(request.len()).ok()?.to_be_bytes();
    stream.write_all(&[&length, request.as_slice()].concat()).ok()?;
    stream.flush().ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = u32::from_be_bytes(length);
    if !(10..=MOST_BYTES).contains(&length) {
        return None;
    }
    let mut answer = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut answer).ok()?;
    parse(&answer)
}

/// Correlation id, error, the mechanisms.
fn parse(answer: &[u8]) -> Option<Option<Vec<String>>> {
    let (correlation, rest) = answer.split_first_chunk::<4>()?;
    let (error, rest) = rest.split_first_chunk::<2>()?;
    if *correlation != [0, 0, 0, 7] {
        return None;
    }
    if i16::from_be_bytes(*error) == ILLEGAL_SASL_STATE {
        return Some(None);
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut mechanisms = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, text) = rest.split_first_chunk::<2>()?;
        let (name, more) = text.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        mechanisms.push(String::from_utf8_lossy(name).into_owned());
        rest = more;
    }
    Some(Some(mechanisms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_mechanisms_are_read_and_any_bytes_are_survived(
            names in prop::collection::vec("[A-Z0-9-]{0,20}", 0..6),
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut answer = vec![0, 0, 0, 7, 0, 33];
            answer.extend(i32::try_from(names.len()).unwrap_or(0).to_be_bytes());
            for name in &names {
                answer.extend(u16::try_from(name.len()).unwrap_or(0).to_be_bytes());
                answer.extend(name.as_bytes());
            }
            prop_assert_eq!(parse(&answer), Some(Some(names)));
            let _ = parse(&bytes);
            let _ = parse(&[&answer[..6], &bytes].concat());
        }
    }

    #[test]
    fn answers_are_read_and_nonsense_is_none() {
        let offers = [&[0, 0, 0, 7, 0, 33, 0, 0, 0, 1, 0, 5][..], b"PLAIN"].concat();
        assert_eq!(parse(&offers), Some(Some(vec!["PLAIN".to_owned()])));
        assert_eq!(parse(&[0, 0, 0, 7, 0, 34, 0, 0, 0, 0]), Some(None));
        for end in 0..offers.len() {
            assert_eq!(parse(&offers[..end]), None, "{end}");
        }
        assert_eq!(parse(b"HTTP/1.1 400 Bad Request"), None);
        assert_eq!(parse(&[0, 0, 0, 7, 0, 33, 0x7f, 0xff, 0xff, 0xff]), None);
    }
}
