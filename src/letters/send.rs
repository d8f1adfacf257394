//! Sends letters back, a transaction at a time: the records, and the markers that say which.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::ears::SenderEars;
use super::error::LettersError;
use super::letter::Letter;
use super::marker::{Marker, REPLAYED};
use super::ranges::Ranges;
use super::targets::Timestamps;
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
const STEP: Duration = Duration::from_millis(1);

/// The one producer that may replay letters of a topic: by its transactional id, whoever comes
/// later takes over from whoever was there before.
pub(super) struct Sender {
    producer: BaseProducer<SenderEars>,
    failures: Receiver<(usize, RDKafkaErrorCode)>,
    config: ClientConfig,
    /// The dead-letter topic.
    dead: String,
    id: String,
    batch_bytes: usize,
    timestamps: Timestamps,
    /// For the markers.
    run: i64,
    /// A commit went well, but not smoothly: a part of it may still be on its way, and must not
    /// meet another transaction.
    stale: bool,
}

/// How a transaction ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// All of it is there, for good.
    Committed,
    /// Nothing of it: these are larger than their topics take. In order.
    TooLarge(Vec<usize>),
    /// Nothing of it: it was asked to stop.
    Stopped,
}

/// The transactional id for a dead-letter topic.
pub(super) fn transactional_id(dead: &str) -> String {
    format!("squeezeflow.replay.{dead}")
}

impl Sender {
    /// Makes the producer. When this returns, no other replay of this topic can commit anything
    /// any more, and what one had left open is given up. `None`: it was asked to stop.
    pub(super) fn open(
        config: &ClientConfig,
        dead: &str,
        (timestamps, run): (Timestamps, i64),
        stop: &Shutdown,
    ) -> Result<Option<Self>, LettersError> {
        let batch_bytes = config.get("batch.size").and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        let (producer, failures) = producer(config)?;
        let (dead, id) = (dead.to_owned(), transactional_id(dead));
        let config = config.clone();
        let sender =
            Self { producer, failures, config, dead, id, batch_bytes, timestamps, run, stale: false };
        Ok(sender.begin_epoch(stop)?.then_some(sender))
    }

    /// `false`: it was asked to stop.
    fn begin_epoch(&self, stop: &Shutdown) -> Result<bool, LettersError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let error = match self.producer.init_transactions(SLICE) {
                Ok(()) => return Ok(true),
                Err(error) => error,
            };
            // Serves the callback that brings the reason.
            self.producer.poll(Duration::ZERO);
            if stop.is_requested() {
                return Ok(false);
            }
            match judge(&error) {
                Verdict::Retry if Instant::now() < until => {}
                Verdict::Retry => {
                    let (doing, seconds) = ("beginning the replay", PATIENCE.as_secs());
                    let reason = format!("{error}, {}", self.producer.context().ears.reason());
                    return Err(LettersError::Silent { doing, seconds, reason });
                }
                Verdict::Abort | Verdict::Other => {
                    return Err(self
                        .refused(&error)
                        .unwrap_or(LettersError::Call { what: "beginning the replay", source: error }));
                }
            }
        }
    }

    /// All of these letters and their markers, or nothing.
    pub(super) fn send(&mut self, letters: &[Letter], stop: &Shutdown) -> Result<Sent, LettersError> {
        if self.stale {
            (self.producer, self.failures) = producer(&self.config)?;
            if !self.begin_epoch(stop)? {
                return Ok(Sent::Stopped);
            }
            self.stale = false;
        }
        self.producer.begin_transaction().map_err(|source| {
            let known = self.fenced().or_else(|| self.refused(&source));
            known.unwrap_or(LettersError::Call { what: "beginning a transaction", source })
        })?;
        self.produce(letters)?;
        let failures = self.drain()?;
        let mut large: Vec<usize> = failures
            .iter()
            .filter(|(_, code)| *code == RDKafkaErrorCode::MessageSizeTooLarge)
            .map(|(number, _)| *number)
            .collect();
        if !large.is_empty() {
            self.abort();
            large.sort_unstable();
            return self.too_large(letters, large);
        }
        self.commit(letters.len(), failures.first().map(|(_, code)| *code))
    }

    fn produce(&self, letters: &[Letter]) -> Result<(), LettersError> {
        let mut marked: BTreeMap<i32, Ranges> = BTreeMap::new();
        for (number, letter) in letters.iter().enumerate() {
            marked.entry(letter.partition).or_default().insert((letter.offset, letter.offset));
            self.produce_one(self.record(letter, number))?;
        }
        for (number, (partition, offsets)) in (letters.len()..).zip(marked) {
            let marker = Marker { partition, run: self.run, offsets };
            let (key, value, header) = (marker.key(), marker.value(), Marker::header());
            let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.dead, number);
            record.partition = Some(partition);
            record.key = Some(&key);
            record.payload = Some(&value);
            record.headers = Some(headers::write([&header].into_iter()));
            self.produce_one(record)?;
        }
        Ok(())
    }

    /// The record as it was read, and where its letter is.
    fn record<'a>(&self, letter: &'a Letter, number: usize) -> BaseRecord<'a, [u8], [u8], usize> {
        let original = &letter.original;
        let place = format!("{}/{}/{}", self.dead, letter.partition, letter.offset.raw());
        let replayed = Header::new(REPLAYED, place);
        let all: Vec<&Header> = original.headers.iter().chain([&replayed]).collect();
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&original.topic, number);
        record.partition = Some(original.partition);
        record.key = original.key.as_deref();
        record.payload = original.value.as_deref();
        record.timestamp = original.timestamp.0.filter(|_| self.timestamps != Timestamps::Renew);
        record.headers = Some(headers::write(all.into_iter()));
        record
    }

    fn produce_one(&self, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), LettersError> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                // The queue may be smaller than a transaction.
                Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    self.producer.poll(STEP);
                    record = back;
                }
                Err((error, _)) => {
                    self.abort();
                    return Err(self.aborted(error.rdkafka_error_code()));
                }
            }
        }
    }

    /// Until the fate of every record is known: the failed ones. librdkafka gives up what takes
    /// longer than the transaction may.
    fn drain(&self) -> Result<Vec<(usize, RDKafkaErrorCode)>, LettersError> {
        let until = Instant::now() + PATIENCE;
        while self.producer.in_flight_count() > 0 {
            if Instant::now() > until {
                self.abort();
                let (doing, seconds) = ("sending records", PATIENCE.as_secs());
                let reason = self.producer.context().ears.reason();
                return Err(LettersError::Silent { doing, seconds, reason });
            }
            self.producer.poll(STEP);
        }
        Ok(self.failures.try_iter().collect())
    }

    fn commit(&mut self, letters: usize, failed: Option<RDKafkaErrorCode>) -> Result<Sent, LettersError> {
        let until = Instant::now() + PATIENCE;
        self.producer.context().ears.take_trouble();
        loop {
            let error = match self.producer.commit_transaction(SLICE) {
                // Of what failed librdkafka commits nothing; if it did, nobody could tell what is there.
                Ok(()) if failed.is_some() => {
                    let reason = "it was committed with records that had failed".to_owned();
                    return Err(LettersError::InDoubt { letters, reason });
                }
                Ok(()) => {
                    self.producer.poll(Duration::ZERO);
                    self.stale = self.producer.context().ears.take_trouble();
                    return Ok(Sent::Committed);
                }
                Err(error) => error,
            };
            match judge(&error) {
                Verdict::Retry if Instant::now() < until => {}
                Verdict::Abort => {
                    self.abort();
                    let code = failed.filter(|code| !is_purge(*code)).or(error.rdkafka_error_code());
                    return Err(self.aborted(code));
                }
                // Never aborted: it may be committed already.
                Verdict::Retry | Verdict::Other => {
                    let known = self.fenced().or_else(|| self.refused(&error));
                    let reason = format!("{error}, {}", self.producer.context().ears.reason());
                    return Err(known.unwrap_or(LettersError::InDoubt { letters, reason }));
                }
            }
        }
    }

    /// Best effort: what is not given up here is given up by the brokers, or by the next replay.
    fn abort(&self) {
        let until = Instant::now() + ABORT_PATIENCE;
        while let Err(error) = self.producer.abort_transaction(SLICE) {
            if judge(&error) != Verdict::Retry || Instant::now() > until {
                tracing::debug!(%error, "giving up a transaction");
                break;
            }
            // It waits for the reports of what it took back.
            while self.producer.in_flight_count() > 0 && Instant::now() < until {
                self.producer.poll(STEP);
            }
        }
        self.failures.try_iter().for_each(drop);
    }

    fn too_large(&self, letters: &[Letter], large: Vec<usize>) -> Result<Sent, LettersError> {
        let batch_bytes = self.batch_bytes;
        for number in &large {
            // A marker is small; so is a record that was refused for the company it was sent in.
            let Some(letter) = letters.get(*number) else {
                return Err(LettersError::BatchTooLarge { topic: self.dead.clone(), batch_bytes });
            };
            if wire_size(letter) < batch_bytes {
                let topic = letter.original.topic.to_string();
                return Err(LettersError::BatchTooLarge { topic, batch_bytes });
            }
        }
        Ok(Sent::TooLarge(large))
    }

    fn fenced(&self) -> Option<LettersError> {
        let (code, _) = self.producer.client().fatal_error()?;
        is_fenced(code).then(|| LettersError::Fenced { dead: self.dead.clone() })
    }

    /// Fenced or not permitted, if it is that.
    fn refused(&self, error: &KafkaError) -> Option<LettersError> {
        use RDKafkaErrorCode as E;
        let code = error.rdkafka_error_code()?;
        if is_fenced(code) {
            return Some(LettersError::Fenced { dead: self.dead.clone() });
        }
        let not_permitted = matches!(
            code,
            E::TransactionalIdAuthorizationFailed
                | E::TopicAuthorizationFailed
                | E::ClusterAuthorizationFailed
                | E::SaslAuthenticationFailed
                | E::Authentication
        );
        let (dead, id) = (self.dead.clone(), self.id.clone());
        not_permitted.then_some(LettersError::RefusedWrite { dead, id, code })
    }

    /// Why a transaction was given up.
    fn aborted(&self, code: Option<RDKafkaErrorCode>) -> LettersError {
        let code = code.unwrap_or(RDKafkaErrorCode::Unknown);
        let known = self.fenced().or_else(|| self.refused(&KafkaError::MessageProduction(code)));
        known.unwrap_or(LettersError::Aborted { code })
    }
}

/// Bytes of key, value and headers as they are sent; at least those.
fn wire_size(letter: &Letter) -> usize {
    let original = &letter.original;
    let bytes = |b: &Option<Vec<u8>>| b.as_ref().map_or(0, Vec::len);
    let headers = original.headers.iter().map(|h| h.name.len() + bytes(&h.value));
    bytes(&original.key) + bytes(&original.value) + headers.sum::<usize>()
}

type Failures = Receiver<(usize, RDKafkaErrorCode)>;

fn producer(config: &ClientConfig) -> Result<(BaseProducer<SenderEars>, Failures), LettersError> {
    // Filled by `poll` on this very thread: a bound would be a dead lock, and there are never more
    // failures than records in one transaction.
    let (sender, failures) = unbounded();
    let producer = config.create_with_context(SenderEars::new(sender)).map_err(LettersError::Client)?;
    Ok((producer, failures))
}

/// What an error of a transaction asks for, in librdkafka's own words.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The same call again.
    Retry,
    /// The transaction is lost, the producer is not.
    Abort,
    Other,
}

fn judge(error: &KafkaError) -> Verdict {
    match error {
        KafkaError::Transaction(e) if e.is_fatal() => Verdict::Other,
        KafkaError::Transaction(e) if e.txn_requires_abort() => Verdict::Abort,
        KafkaError::Transaction(e) if e.is_retriable() => Verdict::Retry,
        // `commit_transaction` waits for delivery reports first.
        KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut) => Verdict::Retry,
        _ => Verdict::Other,
    }
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(code, E::Fenced | E::ProducerFenced | E::InvalidProducerEpoch)
}

/// What became of records that were taken back with their transaction.
fn is_purge(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
}
