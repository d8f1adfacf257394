//! Keeps a stream going while workers and brokers come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::{Client, Sender};
use super::observer::Observer;
use super::records::Stream;

/// So many records may be in the input and not in the output yet.
pub const AHEAD: usize = 4000;

/// Sends in a thread of its own: as far as the test allows, and never far ahead of the output, so
/// that whatever the test does next happens in the middle of the stream, on any machine.
pub struct Feeder {
    limit: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    pub fn start(client: &Client, topic: &str, mut stream: Stream, output: &Observer) -> Self {
        let (limit, stop) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (allowed, stopped, done) = (limit.clone(), stop.clone(), output.counter());
        let mut sender = Sender::new(client, topic, &[]);
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let until = allowed.load(Ordering::Relaxed).min(done.load(Ordering::Relaxed) + AHEAD);
                if sent < until {
                    stream.take((until - sent).min(500)).iter().for_each(|message| sender.send(message));
                    sent += (until - sent).min(500);
                } else {
                    sender.poll();
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            sender.flush();
        });
        Self { limit, stop, thread: Some(thread) }
    }

    /// From now on it may send so many in all.
    pub fn allow(&self, total: usize) {
        self.limit.store(total, Ordering::Relaxed);
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the feeder failed");
    }
}
