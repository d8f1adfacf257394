//! Reads standard input on a thread of its own, a record a line. Holds at most two chunks: what is
//! being read and what waits to be taken.

use std::io::{self, BufRead, BufReader, Read};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

/// Lines are handed over in chunks of about this many bytes, or fewer where input comes slowly.
const CHUNK: usize = 64 * 1024;
/// What a line costs beside its bytes: so that a chunk of empty lines is bounded too.
const OVERHEAD: usize = 32;

/// Why reading ended before the end. What was read before is still good.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system's word.
    #[error("cannot read standard input: {0}")]
    Io(#[from] io::Error),
    /// More than may be in flight at all.
    #[error("line {line} is longer than {limit} bytes: raise `limits.max_in_flight_bytes`")]
    TooLong {
        /// From 1.
        line: u64,
        /// The setting.
        limit: usize,
    },
}

/// Lines without their ends, in order; an error is the last thing to come.
pub(crate) type Chunk = Result<Vec<Vec<u8>>, ReadError>;

/// Starts reading. The way out closes at the end of the input.
pub(super) fn start(input: impl Read + Send + 'static, longest: usize) -> io::Result<Receiver<Chunk>> {
    // No capacity: nobody reads ahead of who takes.
    let (chunks, out) = bounded(0);
    let reader = move || read(input, longest, |chunk| chunks.send(chunk).is_ok());
    thread::Builder::new().name("stdin".to_owned()).spawn(reader)?;
    Ok(out)
}

/// Hands the lines over in chunks, until the end or until nobody wants more.
pub(crate) fn read(input: impl Read, longest: usize, mut hand_over: impl FnMut(Chunk) -> bool) {
    let mut input = BufReader::with_capacity(CHUNK, input);
    let (mut chunk, mut size, mut number) = (Vec::new(), 0, 0);
    loop {
        number += 1;
        let end = match line(&mut input, longest, number) {
            Ok(Some(line)) => {
                size += line.len() + OVERHEAD;
                chunk.push(line);
                None
            }
            Ok(None) => Some(None),
            Err(error) => Some(Some(error)),
        };
        // Where no whole line is left to take, the next one may be long in coming.
        let wait = end.is_some() || size >= CHUNK || !input.buffer().contains(&b'\n');
        if wait && !chunk.is_empty() {
            size = 0;
            if !hand_over(Ok(std::mem::take(&mut chunk))) {
                return;
            }
        }
        if let Some(end) = end {
            if let Some(error) = end {
                hand_over(Err(error));
            }
            return;
        }
    }
}

/// The next line without its `\n` or `\r\n`; the last one need not have an end.
fn line(input: &mut impl BufRead, longest: usize, number: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut line = Vec::new();
    let most = (longest as u64).saturating_add(2);
    if input.take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    }
    match line.len() > longest {
        true => Err(ReadError::TooLong { line: number, limit: longest }),
        false => Ok(Some(line)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn lines(input: &[u8], longest: usize) -> (Vec<Vec<u8>>, Option<ReadError>) {
        let (mut lines, mut error) = (Vec::new(), None);
        read(input, longest, |chunk| {
            match chunk {
                Ok(chunk) => lines.extend(chunk),
                Err(e) => error = Some(e),
            }
            true
        });
        (lines, error)
    }

    #[test]
    fn every_kind_of_end() {
        let (got, error) = lines(b"a\nb\r\n\n\r\nc\rd\r\r\nlast\r", 99);
        assert!(error.is_none());
        assert_eq!(got, [&b"a"[..], b"b", b"", b"", b"c\rd\r", b"last\r"]);
        assert_eq!(lines(b"", 9).0.len(), 0);
        assert_eq!(lines(b"\n", 9).0, [b""]);
    }

    #[test]
    fn a_line_that_is_too_long_ends_it_by_name() {
        let (got, error) = lines(b"1234\r\n12345\nx\n", 4);
        assert_eq!(got, [b"1234"]);
        assert!(matches!(error, Some(ReadError::TooLong { line: 2, limit: 4 })), "{error:?}");
        let (_, error) = lines(&vec![b'x'; 1_000_000], 4);
        assert!(matches!(error, Some(ReadError::TooLong { line: 1, .. })));
    }

    /// A pipe into which somebody types.
    struct Typed(std::vec::IntoIter<&'static [u8]>);
    impl Read for Typed {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(typed) = self.0.next() else { return Ok(0) };
            buffer[..typed.len()].copy_from_slice(typed);
            Ok(typed.len())
        }
    }

    #[test]
    fn a_line_is_handed_over_before_the_next_is_waited_for() {
        let mut chunks = Vec::new();
        let typed: Vec<&'static [u8]> = vec![b"one\ntw", b"o\n", b"three\nfour\n"];
        read(Typed(typed.into_iter()), 99, |chunk| {
            chunks.push(chunk.unwrap());
            true
        });
        assert_eq!(
            chunks,
            [vec![b"one".to_vec()], vec![b"two".to_vec()], vec![b"three".to_vec(), b"four".to_vec()]]
        );
    }

    proptest! {
        #[test]
        fn chunks_together_are_the_lines(input in "[ab\\n]{0,60}", times in 1usize..3000) {
            let input = input.repeat(times);
            let mut expected: Vec<&str> = input.split('\n').collect();
            if expected.last() == Some(&"") {
                expected.pop();
            }
            let (got, error) = lines(input.as_bytes(), 1 << 20);
            prop_assert!(error.is_none());
            prop_assert_eq!(got, expected.iter().map(|l| l.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
