//! Files hashed while they stream by: nothing is held in memory for the sake of its digest.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use prost::bytes::Buf;
use sha2::{Digest, Sha256};

/// Size in bytes and sha256 (hex) of a file.
pub(crate) fn hash(path: &Path) -> io::Result<(u64, String)> {
    HashingBuf::open(path)?.finish()
}

/// sha256 of bytes, in hex.
pub(crate) fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A file as prost reads it: one buffer's worth in memory, every byte hashed as it goes by.
pub(super) struct HashingBuf {
    file: BufReader<File>,
    left: u64,
    size: u64,
    hash: Sha256,
    /// `Buf` cannot fail: an error is kept, zeros are read, and [`HashingBuf::finish`] reports it.
    failed: Option<io::Error>,
}

impl HashingBuf {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        let (file, left) = (BufReader::with_capacity(1 << 18, file), meta.len());
        let mut this = Self { file, left, size: left, hash: Sha256::new(), failed: None };
        this.fill();
        Ok(this)
    }

    fn fill(&mut self) {
        let read = self.file.fill_buf().map(<[u8]>::is_empty);
        match read {
            Ok(true) if self.left > 0 => self.failed = Some(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(e) => self.failed = Some(e),
        }
    }

    /// Hashes the rest; size and digest of the whole.
    pub(super) fn finish(mut self) -> io::Result<(u64, String)> {
        while self.left > 0 && self.failed.is_none() {
            self.advance(self.chunk().len());
        }
        match self.failed {
            Some(e) => Err(e),
            None => Ok((self.size, hex(&self.hash.finalize()))),
        }
    }
}

impl Buf for HashingBuf {
    fn remaining(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    fn chunk(&self) -> &[u8] {
        const ZEROS: [u8; 64] = [0; 64];
        let buffer = if self.failed.is_some() { &ZEROS } else { self.file.buffer() };
        &buffer[..buffer.len().min(self.remaining())]
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 && self.left > 0 {
            let step = count.min(self.chunk().len());
            self.left -= step as u64;
            count -= step;
            if self.failed.is_none() {
                self.hash.update(&self.file.buffer()[..step]);
                self.file.consume(step);
                if self.file.buffer().is_empty() && self.left > 0 {
                    self.fill();
                }
            }
        }
    }
}
