//! A stream at a pace that eyes can follow, as long as a test looks at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::client::{Client, Message, Sender};

/// Between two sips.
const PAUSE: Duration = Duration::from_millis(100);

/// Sends in a thread of its own until it is dropped.
pub struct Drip {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drip {
    /// The messages that `make` makes of 0, 1, 2, …; a few more and a few less from time to time.
    pub fn start(client: &Client, topic: &str, make: impl Fn(usize) -> Message + Send + 'static) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let mut sender = Sender::new(client, topic, &[]);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            for sip in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let swell = 6.0 + 4.0 * (f64::from(sip) / 60.0).sin() + 2.0 * (f64::from(sip) / 11.0).sin();
                for _ in 0..swell as usize {
                    sender.send(&make(number));
                    number += 1;
                }
                sender.poll();
                std::thread::sleep(PAUSE);
            }
            sender.flush();
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Drip {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the drip failed");
    }
}
