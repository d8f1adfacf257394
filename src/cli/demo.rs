//! `squeezeflow demo`: an embedded broker, texts written for it, the sentiment pipeline as it runs
//! in earnest, and a view of what comes out.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::admin;
use crate::config::Settings;
use crate::demo::{self, DemoError, Feeder, Sample, Tally, Watch};
use crate::kafka::{self, Summary};
use crate::results;
use crate::shutdown::Shutdown;
use crate::telemetry::{Health, Metrics, Recent, Telemetry, logs};
use tokio::runtime::Runtime;

mod view;

use view::{Served, View};

/// A pace that eyes can follow.
const PACE_LIVE: u32 = 60;
/// Without eyes.
const PACE_PLAIN: u32 = 120;
/// A model loads in seconds, a group is joined in less.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Nothing came out for so long: nothing will.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// What can be said to the demo.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Go on serving after the texts, until Ctrl-C: produce your own.
    #[arg(long)]
    keep: bool,
    /// How many texts.
    #[arg(long, default_value = "400")]
    records: NonZeroUsize,
    /// Plain lines, as without a terminal.
    #[arg(long)]
    plain: bool,
    /// The model package [default: models/sentiment, here or beside the program].
    #[arg(long)]
    model: Option<PathBuf>,
}

/// Runs the demo from beginning to end.
///
/// # Errors
/// When something it needs is not there, the worker stops, or a record is unaccounted for.
pub fn run(args: &Args) -> Result<(), DemoError> {
    let view = View::new(args.plain, args.records.get());
    let package = find_model(args.model.as_deref(), &places())?;
    play(args, package, view, |settings, telemetry, shutdown| {
        let results = results::load(&settings)?;
        results.announce(&telemetry.health);
        Ok(kafka::run(settings, results, telemetry, shutdown)?)
    })
}

/// Everything but the worker itself, which a test replaces.
fn play<W>(args: &Args, package: PathBuf, mut view: View, work: W) -> Result<(), DemoError>
where
    W: FnOnce(Settings, Telemetry, &Shutdown) -> Result<Summary, DemoError> + Send + 'static,
{
    let broker = demo::broker()?;
    let bootstrap = broker.bootstrap_servers();
    let settings = demo::settings(bootstrap.clone(), package);
    // A test may have set them up; then they stay as they are.
    let _ = logs::init(&settings.log);
    let runtime =
        Runtime::new().map_err(|source| DemoError::Io { what: "cannot start a runtime", source })?;
    let (health, shutdown, interrupted) = (Health::new(), Shutdown::new(), Shutdown::new());
    let (metrics, registry) = Metrics::new(&health)?;
    // Its texts are nobody's: they may be shown.
    let recent = Recent::new(true);
    let shown = admin::Shown { health: health.clone(), recent: recent.clone(), ..admin::Shown::default() };
    on_signal(&runtime, interrupted.clone());
    // A convenience of `--keep`: without a free port the demo goes on.
    let admin = match args.keep {
        true => {
            runtime.block_on(admin::serve(([127, 0, 0, 1], 0).into(), None, registry.clone(), shown)).ok()
        }
        false => None,
    };

    view.starting(&bootstrap, &settings.results.first.model.path)?;
    let mut worker = Worker::start(&runtime, shutdown.clone(), {
        let (metrics, health) = (metrics.clone(), health.clone());
        let telemetry = Telemetry { metrics, health, recent, ..Telemetry::default() };
        let shutdown = shutdown.clone();
        move || work(settings, telemetry, &shutdown)
    })?;
    // Both are warm before the first record, whose latency would else be theirs.
    let epoch = Instant::now();
    let (feeder, watch) = (Feeder::connect(&bootstrap)?, Watch::start(&bootstrap, epoch)?);
    wait_until_ready(&mut worker, &health, &interrupted, args.records.get())?;
    view.ready(&health.snapshot())?;

    let samples: Arc<[Sample]> = demo::stream(args.records.get()).into();
    let (began, pace) = (Instant::now(), if view.is_live() { PACE_LIVE } else { PACE_PLAIN });
    let feed = feeder.start(samples.clone(), pace, epoch, interrupted.clone())?;
    let mut tally = Tally::new(samples);
    let followed = follow(&watch, &mut tally, &mut view, &mut worker, &interrupted);
    if followed.is_err() {
        interrupted.request(); // The feed looks at it.
    }
    let fed = feed.join();
    followed?;
    fed?;
    let took = began.elapsed();

    let complete = tally.missing() == 0;
    if args.keep && complete && !interrupted.is_requested() {
        view.summary(&tally, took, &registry, &health.snapshot())?;
        let page = admin.as_ref().map(|server| format!("http://{}/", server.address()));
        view.serving(&Served { bootstrap: &bootstrap, page })?;
        while !interrupted.is_requested() && !worker.is_finished() {
            if let Some(seen) = watch.next(Duration::from_millis(50))? {
                tally.note(&seen);
                view.line(&seen)?;
            }
        }
    }
    shutdown.request();
    let drained = worker.join();
    // What the worker delivered while it drained; most often nothing.
    while let Some(seen) = watch.next(Duration::from_millis(100))? {
        tally.note(&seen);
    }
    if !(args.keep && complete) {
        view.summary(&tally, took, &registry, &health.snapshot())?;
    }
    drained?;
    match (tally.missing(), tally.all()) {
        (0, _) => Ok(()),
        (missing, all) if interrupted.is_requested() => Err(DemoError::Interrupted { missing, all }),
        (missing, all) => Err(DemoError::Unaccounted { missing, all }),
    }
}

/// Shows what comes out until all has, or nothing more will.
fn follow(
    watch: &Watch,
    tally: &mut Tally,
    view: &mut View,
    worker: &mut Worker,
    interrupted: &Shutdown,
) -> Result<(), DemoError> {
    let mut last = Instant::now();
    while tally.missing() > 0 && !interrupted.is_requested() && last.elapsed() < STALLED_AFTER {
        worker.look()?;
        if let Some(seen) = watch.next(Duration::from_millis(20))? {
            last = Instant::now();
            tally.note(&seen);
            view.line(&seen)?;
            view.progress(tally.out());
        }
    }
    Ok(())
}

fn wait_until_ready(
    worker: &mut Worker,
    health: &Health,
    interrupted: &Shutdown,
    all: usize,
) -> Result<(), DemoError> {
    let start = Instant::now();
    loop {
        worker.look()?;
        let why_not = match health.snapshot() {
            now if now.ready => return Ok(()),
            now => now.why_not.unwrap_or("unknown"),
        };
        if interrupted.is_requested() {
            return Err(DemoError::Interrupted { missing: all, all });
        }
        if start.elapsed() > READY_WITHIN {
            return Err(DemoError::NotReady { after: start.elapsed(), why_not });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ctrl-C and SIGTERM end the demo; a second one is the operating system's business.
fn on_signal(runtime: &Runtime, interrupted: Shutdown) {
    runtime.spawn(async move {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        let terminated = async {
            match &mut terminate {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = terminated => {} }
        interrupted.request();
    });
}

/// The worker on its thread. It may end before its time, and then the demo says why.
/// Dropped, it is stopped: the broker and the runtime go after it.
struct Worker {
    thread: Option<JoinHandle<Result<Summary, DemoError>>>,
    shutdown: Shutdown,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shutdown.request();
        // An error is on its way to the user already.
        let _ = self.join();
    }
}

impl Worker {
    fn start<F>(runtime: &Runtime, shutdown: Shutdown, work: F) -> Result<Self, DemoError>
    where
        F: FnOnce() -> Result<Summary, DemoError> + Send + 'static,
    {
        let handle = runtime.handle().clone();
        let work = move || {
            let _inside = handle.enter();
            work()
        };
        let thread = std::thread::Builder::new().name("demo-worker".to_owned()).spawn(work);
        thread
            .map(|thread| Self { thread: Some(thread), shutdown })
            .map_err(|source| DemoError::Io { what: "cannot start a thread", source })
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Why it ended, if it did.
    fn look(&mut self) -> Result<(), DemoError> {
        if self.is_finished() { self.join() } else { Ok(()) }
    }

    fn join(&mut self) -> Result<(), DemoError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or(Err(DemoError::Panicked("worker"))).map(|_summary| ())
    }
}

/// Where a package may lie: here, beside the program, or in the repository that it was built in.
fn places() -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::new()];
    if let Ok(program) = std::env::current_exe() {
        roots.extend(program.ancestors().skip(1).take(3).map(Path::to_path_buf));
    }
    roots.into_iter().map(|root| root.join("models/sentiment")).collect()
}

fn find_model(said: Option<&Path>, places: &[PathBuf]) -> Result<PathBuf, DemoError> {
    let places = said.map_or_else(|| places.to_vec(), |path| vec![path.to_path_buf()]);
    let found = places.iter().find(|place| place.join("config.json").is_file()).cloned();
    found.ok_or(DemoError::NoModel { tried: places })
}

#[cfg(test)]
mod tests;
