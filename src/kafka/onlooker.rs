//! A consumer for looking at topics beside the workers: it keeps nobody waiting when it is dropped. Made
//! with [`super::client::reader_config`] it joins no group and commits nothing.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;

use super::ears::{self, Ears};
use super::tokens::Tokens;

/// How long one poll waits.
pub(crate) const POLL: Duration = Duration::from_millis(100);
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A consumer.
pub(crate) struct Onlooker(Option<BaseConsumer<Ears>>);

impl Onlooker {
    pub(crate) fn open(config: &ClientConfig, tokens: Option<Arc<Tokens>>) -> KafkaResult<Self> {
        Ok(Self(Some(ears::consumer(config, tokens)?)))
    }
}

impl Deref for Onlooker {
    type Target = BaseConsumer<Ears>;
    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Some(consumer) => consumer,
            None => unreachable!("taken when this is dropped, and not before"),
        }
    }
}

impl Drop for Onlooker {
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
