//! A consumer that keeps nobody waiting when it is dropped.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;

use super::error::LettersError;
use crate::kafka::ears::{self, Ears};
use crate::kafka::tokens::Tokens;

/// How long one poll waits.
pub(super) const POLL: Duration = Duration::from_millis(100);
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A consumer.
pub(super) struct Client(Option<BaseConsumer<Ears>>);

impl Client {
    pub(super) fn open(config: &ClientConfig, tokens: Option<Arc<Tokens>>) -> Result<Self, LettersError> {
        Ok(Self(Some(ears::consumer(config, tokens).map_err(LettersError::Client)?)))
    }
}

impl Deref for Client {
    type Target = BaseConsumer<Ears>;
    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Some(consumer) => consumer,
            None => unreachable!("taken when this is dropped, and not before"),
        }
    }
}

impl Drop for Client {
    /// librdkafka's close can wait without bound, so it gets a thread and a deadline.
    fn drop(&mut self) {
        let Some(consumer) = self.0.take() else { return };
        let (left, wait) = bounded::<()>(0);
        let closing = std::thread::Builder::new().name("close".to_owned()).spawn(move || {
            drop(consumer);
            drop(left);
        });
        if closing.is_ok() {
            let _ = wait.recv_timeout(CLOSE_PATIENCE);
        }
    }
}
