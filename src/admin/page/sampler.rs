//! Takes a scrape every two seconds, whoever looks or not, and tells those who do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::Registry;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::figures::Scrape;
use super::history::{EVERY, Figures, History, Point};
use crate::config::InForce;
use crate::telemetry::{Health, Letter, Recent, Sample, Snapshot, Stuck};

/// Browsers at a time: of all connections, and of those from one address, enough are left for scrapes and probes.
const WATCHERS: usize = 8;

/// What the page shows beside the metrics.
#[derive(Clone, Default)]
pub struct Shown {
    /// Ready? Alive?
    pub health: Health,
    /// Dead letters, texts.
    pub recent: Recent,
    /// The settings in force.
    pub settings: Vec<InForce>,
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub(in crate::admin) struct Sampler(Arc<Inner>);

struct Inner {
    registry: Registry,
    shown: Shown,
    history: Mutex<History>,
    latest: watch::Sender<Arc<str>>,
    free: Arc<Semaphore>,
}

/// One browser's view. Of several texts that it was too slow for it gets the last.
pub(super) struct Watcher {
    latest: watch::Receiver<Arc<str>>,
    _free: OwnedSemaphorePermit,
}

/// What a browser is told first.
#[derive(Serialize)]
struct Past<'a> {
    version: &'static str,
    /// Between two events.
    every_ms: u128,
    settings: &'a [InForce],
    points: Vec<Point>,
    now: Now<'a>,
}

/// What it is told every two seconds.
#[derive(Serialize)]
struct Now<'a> {
    at: u64,
    #[serde(flatten)]
    ready: Snapshot,
    stuck: Vec<Stuck>,
    #[serde(flatten)]
    figures: Figures<'a>,
    letters: Vec<Letter>,
    /// `None`: they are not to be shown.
    texts: Option<Vec<Sample>>,
    /// Why not, where they are to be shown and are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_no_texts: Option<&'static str>,
}

impl Sampler {
    /// Begins to take scrapes. Must be called inside a tokio runtime; ends when the task is aborted.
    pub(in crate::admin) fn start(registry: Registry, shown: Shown) -> (Self, JoinHandle<()>) {
        let sampler = Self(Arc::new(Inner {
            registry,
            shown,
            history: Mutex::default(),
            latest: watch::Sender::new("".into()),
            free: Arc::new(Semaphore::new(WATCHERS)),
        }));
        let own = sampler.clone();
        let task = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                own.tick();
            }
        });
        (sampler, task)
    }

    /// One scrape. Without a browser that is all.
    pub(super) fn tick(&self) {
        let scrape = Scrape::of(&self.0.registry.gather());
        let mut history = self.history();
        history.push(Instant::now(), now(), scrape);
        if self.0.latest.receiver_count() > 0 {
            let text = json(&self.now(&history));
            drop(history);
            self.0.latest.send_replace(text.into());
        }
    }

    /// `None`: so many look already.
    pub(super) fn watch(&self) -> Option<Watcher> {
        let free = self.0.free.clone().try_acquire_owned().ok()?;
        Some(Watcher { latest: self.0.latest.subscribe(), _free: free })
    }

    /// All that is known.
    pub(super) fn past(&self) -> String {
        let history = self.history();
        json(&Past {
            version: env!("CARGO_PKG_VERSION"),
            every_ms: EVERY.as_millis(),
            settings: &self.0.shown.settings,
            points: history.points(),
            now: self.now(&history),
        })
    }

    fn now<'a>(&self, history: &'a History) -> Now<'a> {
        let Shown { health, recent, .. } = &self.0.shown;
        Now {
            at: now(),
            ready: health.snapshot(),
            stuck: health.stuck(),
            figures: history.figures(),
            letters: recent.letters(),
            texts: recent.texts(),
            why_no_texts: recent.why_no_texts(),
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// The next text; `None`: there are no more.
    pub(super) async fn next(&mut self) -> Option<Arc<str>> {
        self.latest.changed().await.ok()?;
        Some(self.latest.borrow_and_update().clone())
    }
}

fn json(value: &impl Serialize) -> String {
    // It holds no map with other keys than text.
    serde_json::to_string(value).unwrap_or_default()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
