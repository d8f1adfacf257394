//! What librdkafka says beside its answers: an answer is often only "timed out", while the reason
//! (a refused password, an unknown authority, a connection that broke) is said here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Statistics};

use super::tokens::{self, Tokens};
use super::trouble::Trouble;

/// Events served in one turn.
const MOST_EVENTS: usize = 10_000;

/// The context of a client that asks: remembers the last error, and the last word on not being let in.
#[derive(Default)]
pub(crate) struct Ears {
    tokens: Option<Arc<Tokens>>,
    last: Mutex<Option<String>>,
    trouble: Mutex<Option<Trouble>>,
    troubled: AtomicBool,
    /// Callbacks so far.
    heard: AtomicU64,
}

impl Ears {
    /// Of a client that shows these tokens.
    pub(crate) fn new(tokens: Option<Arc<Tokens>>) -> Self {
        Self { tokens, ..Self::default() }
    }

    /// For whoever wraps these.
    pub(crate) fn token(&self) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        tokens::give(self.tokens.as_ref())
    }

    /// librdkafka's last word on why it does not get on.
    pub(crate) fn reason(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().unwrap_or_else(|| "no answer".to_owned())
    }

    /// Why a broker does not let us in, if one has said so.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Was there an error since this was last asked?
    pub(crate) fn take_trouble(&self) -> bool {
        self.troubled.swap(false, Ordering::AcqRel)
    }

    /// For whoever wraps these.
    pub(crate) fn hear(&self, error: &KafkaError, reason: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        self.troubled.store(true, Ordering::Release);
        let Some(code) = error.rdkafka_error_code() else { return };
        // That all brokers are down says less than why the first one was.
        if code != RDKafkaErrorCode::AllBrokersDown {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
        if let Some(trouble) = Trouble::told(code, reason) {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        }
    }
}

impl ClientContext for Ears {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.token()
    }
    fn stats(&self, _: Statistics) {}
    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(&error, reason);
    }
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        aside(facility, message);
    }
}

impl ConsumerContext for Ears {}

/// A consumer with ears, and with its token: its first question would not serve the wish for one.
pub(crate) fn consumer(
    config: &ClientConfig,
    tokens: Option<Arc<Tokens>>,
) -> KafkaResult<BaseConsumer<Ears>> {
    let consumer: BaseConsumer<Ears> = config.create_with_context(Ears::new(tokens))?;
    listen(&consumer);
    Ok(consumer)
}

/// Serves all that a client has to say. A poll serves one event, and each line of a log is one; where
/// there was no callback, nothing is left.
pub(crate) fn listen(consumer: &BaseConsumer<Ears>) {
    for _ in 0..MOST_EVENTS {
        let before = consumer.context().heard.load(Ordering::Relaxed);
        let gave = consumer.poll(Duration::ZERO).is_some();
        if !gave && consumer.context().heard.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

/// librdkafka's lines, for whoever asks for them (`log.level: debug`): what of them matters is in
/// the error that ends the command.
pub(crate) fn aside(facility: &str, message: &str) {
    tracing::debug!(target: "librdkafka", facility, "{message}");
}
