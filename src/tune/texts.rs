//! The texts to measure with: records of the pipeline's own, of which those are kept that its model would
//! read, and how long they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::TuneError;
use super::figures;
use crate::record::{Offset, Outcome, Record, Timestamp};
use crate::stdio::lines;
use crate::text::{Reader, Sequences};

/// More records tell no more.
pub(super) const MOST_RECORDS: usize = 5_000;
/// Their values together, or one alone.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// Records as they came.
pub(super) struct Sample {
    /// Where from, for people.
    pub(super) from: String,
    pub(super) records: Vec<Record>,
}

/// What the texts are like.
#[derive(Debug, Clone)]
pub struct Texts {
    /// Where from, for people.
    pub from: String,
    /// Records looked at.
    pub records: usize,
    /// Of these, with a text that the model reads.
    pub texts: usize,
    /// Why the others are not read, and how often.
    pub not_read: Vec<(&'static str, usize)>,
    /// Tokens of a text in the mean, all its windows together; of several models, as the one has it that reads
    /// most.
    pub mean: f64,
    /// Half of the texts have no more.
    pub median: usize,
    /// 95 % of the texts have no more.
    pub p95: usize,
    /// The longest.
    pub most: usize,
}

/// The first lines of a file (`-`: of standard input), each a record's value.
pub(super) fn of_file(path: &Path) -> Result<Sample, TuneError> {
    let cannot = |e: io::Error| TuneError::File(path.to_owned(), e);
    let stdin = path == Path::new("-");
    let input: Box<dyn Read> = match stdin {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(cannot)?),
    };
    let (mut records, mut bytes, mut error) = (Vec::new(), 0, None);
    lines::read(input, MOST_BYTES, |chunk| match chunk {
        Ok(lines) => {
            for line in lines {
                bytes += line.len();
                if records.len() < MOST_RECORDS && bytes <= MOST_BYTES {
                    records.push(record(records.len(), line));
                }
            }
            records.len() < MOST_RECORDS && bytes <= MOST_BYTES
        }
        Err(e) => {
            error = Some(e);
            false
        }
    });
    match error {
        Some(lines::ReadError::Io(e)) => return Err(cannot(e)),
        Some(error) => return Err(TuneError::Line(path.to_owned(), error)),
        None => {}
    }
    let from = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    Ok(Sample { from, records })
}

fn record(number: usize, line: Vec<u8>) -> Record {
    Record {
        topic: "texts".into(),
        partition: 0,
        offset: Offset::new(i64::try_from(number).unwrap_or(i64::MAX)),
        key: None,
        value: Some(line),
        headers: Vec::new(),
        timestamp: Timestamp(None),
    }
}

/// The records whose text the model would read, and what is to be said of all.
pub(super) fn survey(sample: Sample, reader: &Reader) -> Result<(Texts, Vec<Record>), TuneError> {
    let Sample { from, records } = sample;
    let of = records.len();
    let mut not_read: BTreeMap<&'static str, usize> = BTreeMap::new();
    let (mut kept, mut lengths) = (Vec::with_capacity(of), Vec::with_capacity(of));
    for record in records {
        match reader.read(record) {
            Ok(reading) => {
                // By the model that reads most of it, as results count it, too.
                let read =
                    |stream: &Sequences| stream.tokens.iter().map(|tokens| tokens.ids.len()).sum::<usize>();
                lengths.push(reading.streams.iter().flatten().map(read).max().unwrap_or(0));
                kept.push(reading.document.record);
            }
            Err(Outcome::DeadLetter { letter, .. }) => {
                *not_read.entry(letter.reason.as_str()).or_default() += 1
            }
            Err(Outcome::PassThrough { why, .. }) => *not_read.entry(why.as_str()).or_default() += 1,
            // It has not met the model.
            Err(Outcome::Enriched { .. }) => {}
        }
    }
    let not_read: Vec<_> = not_read.into_iter().collect();
    if kept.is_empty() {
        return Err(TuneError::NoText { from, records: of, not_read });
    }
    lengths.sort_unstable();
    let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
    let at = |percent| figures::percentile(&lengths, percent).unwrap_or_default();
    let (median, p95, most) = (at(50), at(95), at(100));
    Ok((Texts { from, records: of, texts: kept.len(), not_read, mean, median, p95, most }, kept))
}
