//! What librdkafka says to a replay's producer, beside its answers.

use crossbeam_channel::Sender;
use rdkafka::Statistics;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use crate::kafka::ears::{Ears, aside};

/// The producer's: hands the failed deliveries over, by the number that each record was sent with.
pub(super) struct SenderEars {
    pub(super) ears: Ears,
    failures: Sender<(usize, RDKafkaErrorCode)>,
}

impl SenderEars {
    pub(super) fn new(ears: Ears, failures: Sender<(usize, RDKafkaErrorCode)>) -> Self {
        Self { ears, failures }
    }
}

impl ClientContext for SenderEars {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.ears.token()
    }
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
