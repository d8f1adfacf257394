//! Sends letters back, a transaction at a time: the records, and the markers that say which.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::ears::SenderEars;
use super::error::LettersError;
use super::letter::Letter;
use super::marker::{Marker, REPLAYED};
use super::ranges::Ranges;
use super::targets::Timestamps;
use super::verdict::{Failure, Verdict, culprit, is_of_the_record, is_purge, judge, refusal};
use crate::kafka::ears::Ears;
use crate::kafka::headers;
use crate::record::Header;
use crate::shutdown::Shutdown;

/// A transaction that its replay left open (`kill -9`) holds up the readers of the input for at
/// most this long, or until the next replay begins.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the brokers may take to begin, and to commit.
const PATIENCE: Duration = Duration::from_secs(60);
/// One blocking call of it.
const SLICE: Duration = Duration::from_secs(1);
const ABORT_PATIENCE: Duration = Duration::from_secs(5);
/// Delivery reports are polled for in short steps: committing with some on their way waits 100 ms.
/// (Not shorter: rdkafka spins in the last millisecond of each.)
const STEP: Duration = Duration::from_millis(5);
/// Long enough to serve all events that are there; a poll of no time serves one.
const SERVE: Duration = Duration::from_millis(1);

/// The one producer that may replay letters of a topic: by its transactional id, whoever comes
/// later takes over from whoever was there before.
pub(super) struct Sender {
    producer: BaseProducer<SenderEars>,
    failures: Receiver<Failure>,
    /// The dead-letter topic.
    dead: String,
    id: String,
    batch_bytes: usize,
    timestamps: Timestamps,
    /// For the markers.
    run: i64,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// All of it is there, for good; else nothing of it: the one letter in it is larger than its
    /// topic takes.
    pub(super) committed: bool,
    /// This producer must not begin another transaction: something of this one may still be on its
    /// way, or a record was refused, and librdkafka would go on with the wrong sequence numbers.
    pub(super) spent: bool,
}

/// The transactional id for a dead-letter topic.
pub(super) fn transactional_id(dead: &str) -> String {
    format!("squeezeflow.replay.{dead}")
}

impl Sender {
    /// Makes the producer. When this returns, no other replay of this topic can commit anything
    /// any more, and what one had left open is given up. `None`: it was asked to stop.
    pub(super) fn open(
        (config, ears): (&ClientConfig, Ears),
        dead: &str,
        (timestamps, run): (Timestamps, i64),
        stop: &Shutdown,
    ) -> Result<Option<Self>, LettersError> {
        // Filled by `poll` on this very thread: a bound would be a dead lock, and there are never
        // more failures than records in one transaction.
        let (sender, failures) = unbounded();
        let context = SenderEars::new(ears, sender);
        let producer = config.create_with_context(context).map_err(LettersError::Client)?;
        let batch_bytes = config.get("batch.size").and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        let (dead, id) = (dead.to_owned(), transactional_id(dead));
        let sender = Self { producer, failures, dead, id, batch_bytes, timestamps, run };
        Ok(sender.begin_epoch(stop)?.then_some(sender))
    }

    /// `false`: it was asked to stop.
    fn begin_epoch(&self, stop: &Shutdown) -> Result<bool, LettersError> {
        const DOING: &str = "beginning the replay";
        let until = Instant::now() + PATIENCE;
        loop {
            // Serves the wish for a token, and the callback that brings a reason.
            self.producer.poll(SERVE);
            let Err(error) = self.producer.init_transactions(SLICE) else { return Ok(true) };
            self.producer.poll(SERVE);
            if stop.is_requested() {
                return Ok(false);
            }
            match judge(&error) {
                Verdict::Retry if Instant::now() < until => {}
                Verdict::Retry => return Err(self.silent(DOING, &format!("{error}, "))),
                Verdict::Abort | Verdict::Stop => {
                    let known = self.refusal(error.rdkafka_error_code());
                    return Err(known.unwrap_or(LettersError::Call { what: DOING, source: error }));
                }
            }
        }
    }

    /// Must it have a transaction of its own? It may prove too large, and nothing else shall be lost
    /// with it.
    pub(super) fn is_large(&self, letter: &Letter) -> bool {
        let replayed = replayed(&self.dead, letter);
        letter.original.wire_size([&replayed]) >= self.batch_bytes
    }

    /// All of these letters and their markers, or nothing.
    pub(super) fn send(&self, letters: &[Letter]) -> Result<Sent, LettersError> {
        self.producer.begin_transaction().map_err(|source| {
            let known = self.refusal(source.rdkafka_error_code());
            known.unwrap_or(LettersError::Call { what: "beginning a transaction", source })
        })?;
        for (number, letter) in letters.iter().enumerate() {
            self.produce(self.record(letter, number))?;
        }
        if let [letter] = letters
            && self.is_large(letter)
        {
            let failures = self.drain()?;
            if failures.iter().any(|(_, code)| *code == RDKafkaErrorCode::MessageSizeTooLarge) {
                self.abort();
                return Ok(Sent { committed: false, spent: true });
            }
            self.none(failures, letters)?;
        }
        self.produce_markers(letters)?;
        self.none(self.drain()?, letters)?;
        self.commit(letters.len())
    }

    /// The record as it was read, and where its letter is.
    fn record<'a>(&self, letter: &'a Letter, number: usize) -> BaseRecord<'a, [u8], [u8], usize> {
        let original = &letter.original;
        let replayed = replayed(&self.dead, letter);
        let all: Vec<&Header> = original.headers.iter().chain([&replayed]).collect();
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&original.topic, number);
        record.partition = Some(original.partition);
        record.key = original.key.as_deref();
        record.payload = original.value.as_deref();
        record.timestamp = original.timestamp.0.filter(|_| self.timestamps != Timestamps::Renew);
        record.headers = Some(headers::write(all.into_iter()));
        record
    }

    /// One for each partition of the dead-letter topic, behind its letters.
    fn produce_markers(&self, letters: &[Letter]) -> Result<(), LettersError> {
        let mut marked: BTreeMap<i32, Ranges> = BTreeMap::new();
        for letter in letters {
            marked.entry(letter.partition).or_default().insert((letter.offset, letter.offset));
        }
        for (number, (partition, offsets)) in (letters.len()..).zip(marked) {
            let marker = Marker { partition, run: self.run, offsets };
            let (key, value, header) = (marker.key(), marker.value(), Marker::header());
            let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.dead, number);
            record.partition = Some(partition);
            record.key = Some(&key);
            record.payload = Some(&value);
            record.headers = Some(headers::write([&header].into_iter()));
            self.produce(record)?;
        }
        Ok(())
    }

    fn produce(&self, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), LettersError> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                // The queue may be smaller than a transaction.
                Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    self.producer.poll(STEP);
                    record = back;
                }
                Err((error, _)) => return Err(self.give_up(error.rdkafka_error_code())),
            }
        }
    }

    /// Until every record is delivered, or one has failed: the failed ones. (Others are not waited
    /// for then: librdkafka may hold on to them until the transaction's time is over.)
    fn drain(&self) -> Result<Vec<Failure>, LettersError> {
        let until = Instant::now() + PATIENCE;
        while self.producer.in_flight_count() > 0 {
            if Instant::now() > until {
                self.abort();
                return Err(self.silent("sending records", ""));
            }
            self.producer.poll(STEP);
            let failures: Vec<_> = self.failures.try_iter().collect();
            if !failures.is_empty() {
                return Ok(failures);
            }
        }
        Ok(self.failures.try_iter().collect())
    }

    /// Nothing may have failed.
    fn none(&self, failures: Vec<Failure>, letters: &[Letter]) -> Result<(), LettersError> {
        let Some((number, code)) = culprit(&failures) else { return Ok(()) };
        let letter = letters.get(number);
        if code == RDKafkaErrorCode::MessageSizeTooLarge {
            self.abort();
            // Small as it is, it was refused for the company that it was sent in.
            let topic = letter.map_or(self.dead.as_str(), |letter| &letter.original.topic);
            let (topic, batch_bytes) = (topic.to_owned(), self.batch_bytes);
            return Err(LettersError::BatchTooLarge { topic, batch_bytes });
        }
        if let Some(letter) = letter.filter(|_| is_of_the_record(code)) {
            self.abort();
            let (topic, place) = (letter.original.topic.to_string(), place(&self.dead, letter));
            return Err(LettersError::RefusedRecord { topic, place, code });
        }
        let code = Some(code).filter(|code| !is_purge(*code)).or_else(|| self.why_lost());
        Err(self.give_up(code))
    }

    /// Why records were taken back: librdkafka tells it to whoever wants to commit. (It commits
    /// nothing of a transaction in which a record has failed.)
    fn why_lost(&self) -> Option<RDKafkaErrorCode> {
        self.producer.commit_transaction(SLICE).err()?.rdkafka_error_code()
    }

    fn commit(&self, letters: usize) -> Result<Sent, LettersError> {
        let until = Instant::now() + PATIENCE;
        self.producer.context().ears.take_trouble();
        loop {
            let Err(error) = self.producer.commit_transaction(SLICE) else {
                self.producer.poll(SERVE);
                let spent = self.producer.context().ears.take_trouble();
                return Ok(Sent { committed: true, spent });
            };
            match judge(&error) {
                Verdict::Retry if Instant::now() < until => {}
                Verdict::Abort => return Err(self.give_up(error.rdkafka_error_code())),
                // Never aborted: it may be committed already.
                Verdict::Retry | Verdict::Stop => {
                    let reason = format!("{error}, {}", self.producer.context().ears.reason());
                    let known = self.refusal(error.rdkafka_error_code());
                    return Err(known.unwrap_or(LettersError::InDoubt { letters, reason }));
                }
            }
        }
    }

    /// Aborts, and says why.
    fn give_up(&self, code: Option<RDKafkaErrorCode>) -> LettersError {
        self.abort();
        let aborted = LettersError::Aborted { code: code.unwrap_or(RDKafkaErrorCode::Unknown) };
        self.refusal(code).unwrap_or(aborted)
    }

    /// Best effort: what is not given up here is given up by the brokers in their own time, or when
    /// the next replay begins.
    fn abort(&self) {
        let until = Instant::now() + ABORT_PATIENCE;
        while let Err(error) = self.producer.abort_transaction(SLICE) {
            if judge(&error) != Verdict::Retry || Instant::now() > until {
                tracing::debug!(%error, "giving up a transaction");
                break;
            }
            // It waits for the reports of what it took back.
            self.producer.poll(STEP);
        }
    }

    fn silent(&self, doing: &'static str, first: &str) -> LettersError {
        let reason = format!("{first}{}", self.producer.context().ears.reason());
        LettersError::Silent { doing, seconds: PATIENCE.as_secs(), reason }
    }

    /// Who refuses us, if it is that. What made the producer unusable counts for more than what
    /// came of it.
    fn refusal(&self, code: Option<RDKafkaErrorCode>) -> Option<LettersError> {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let codes = fatal.into_iter().chain(code);
        codes.filter_map(|code| refusal(code, &self.dead, &self.id)).next()
    }
}

/// Says on the record where its letter is.
fn replayed(dead: &str, letter: &Letter) -> Header {
    Header::new(REPLAYED, place(dead, letter))
}

/// `TOPIC/PARTITION/OFFSET`.
fn place(dead: &str, letter: &Letter) -> String {
    format!("{dead}/{}/{}", letter.partition, letter.offset.raw())
}
