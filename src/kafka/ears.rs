//! What librdkafka says beside its answers: an answer is often only "timed out", while the reason
//! (a refused password, a connection that broke) is said here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::Sender;
use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

/// A client's context: remembers the last error.
#[derive(Default)]
pub(crate) struct Ears {
    last: Mutex<Option<String>>,
    troubled: AtomicBool,
}

impl Ears {
    /// librdkafka's last word on why it does not get on.
    pub(crate) fn reason(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().unwrap_or_else(|| "no answer".to_owned())
    }

    /// Was there an error since this was last asked?
    pub(crate) fn take_trouble(&self) -> bool {
        self.troubled.swap(false, Ordering::AcqRel)
    }

    fn hear(&self, error: &KafkaError, reason: &str) {
        self.troubled.store(true, Ordering::Release);
        // That all brokers are down says less than why the first one was.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ClientContext for Ears {
    fn stats(&self, _: Statistics) {}
    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(&error, reason);
    }
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        aside(facility, message);
    }
}

impl ConsumerContext for Ears {}

/// librdkafka's lines, for whoever asks for them (`log.level: debug`): what of them matters is in
/// the error that ends the command.
fn aside(facility: &str, message: &str) {
    tracing::debug!(target: "librdkafka", facility, "{message}");
}

/// The producer's: hands the failed deliveries over, by the number that each record was sent with.
pub(crate) struct SenderEars {
    pub(crate) ears: Ears,
    failures: Sender<(usize, RDKafkaErrorCode)>,
}

impl SenderEars {
    pub(crate) fn new(failures: Sender<(usize, RDKafkaErrorCode)>) -> Self {
        Self { ears: Ears::default(), failures }
    }
}

impl ClientContext for SenderEars {
    fn stats(&self, _: Statistics) {}
    fn error(&self, error: KafkaError, reason: &str) {
        self.ears.hear(&error, reason);
    }
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        aside(facility, message);
    }
}

impl ProducerContext for SenderEars {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            // Closed only when the sender is gone, and then nobody counts failures any more.
            let _ = self.failures.send((number, code));
        }
    }
}
