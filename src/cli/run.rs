//! `run PIPELINE`: the worker. Signals, admin server, and the Kafka thread.

use std::io::Write;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, PipelineArguments, fail, refuse_any};
use crate::config::{InForce, Settings, check_against_model};
use crate::kafka::{RunError, Summary};
use crate::results::Results;
use crate::shutdown::Shutdown;
use crate::telemetry::{Health, TelemetryError, logs};
use crate::{admin, kafka, model, results, telemetry};

/// How long the end waits for the collector to take what is left.
const FLUSH: Duration = Duration::from_secs(5);
/// Where the drain has used up its deadline.
const LEAST_FLUSH: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match arguments.pipeline.load_for_kafka().and_then(start) {
        Ok(()) => Exit::Ok,
        Err(exit) => exit,
    }
}

fn start(pipeline: crate::config::Loaded) -> Result<(), Exit> {
    logs::init(&pipeline.settings.log).map_err(|e| fail(&e, Exit::Usage))?;
    // Before the model is loaded: from here on a signal is a request to stop, and exit code 0.
    let cannot = |error| fail(&WorkerError::Start(error), Exit::Failed);
    let runtime = runtime().map_err(cannot)?;
    let shutdown = Shutdown::new();
    let signals = runtime.block_on(async { Signals::install() }).map_err(cannot)?;
    runtime.spawn(stop_on_signal(shutdown.clone(), signals));
    let results = results::load(&pipeline.settings).map_err(|e| fail(&e, Exit::Model))?;
    refuse_any(&pipeline, check_against_model(&pipeline.settings, &results.facts()))?;
    if !shutdown.is_requested() {
        work(&runtime, shutdown, pipeline.settings, pipeline.in_force, results)
            .map_err(|e| fail(&e, e.exit()))?;
    }
    Ok(())
}

/// Why the worker did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    /// No threads for tokio, or no signals.
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
    /// Metrics or traces cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The admin address cannot be had.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// Stopped by itself.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl WorkerError {
    fn exit(&self) -> Exit {
        match self {
            Self::Run(RunError::DrainDeadline { .. }) => Exit::Undrained,
            Self::Run(RunError::Surge { .. }) => Exit::Surge,
            _ => Exit::Failed,
        }
    }
}

/// Runs a loaded model over the pipeline until SIGTERM or SIGINT.
fn work(
    runtime: &Runtime,
    shutdown: Shutdown,
    settings: Settings,
    in_force: Vec<InForce>,
    results: Results,
) -> Result<Summary, WorkerError> {
    let _context = runtime.enter();
    let health = Health::new();
    health.stuck_after(settings.stuck_after);
    let (telemetry, registry, export) = telemetry::start(&settings, &health)?;
    for model in &results.models {
        let model::Receipt { model: name, digest, precision, provider, .. } = &model.receipt;
        tracing::info!(
            model = name,
            digest,
            precision,
            provider,
            sessions = model.sessions.len(),
            "model is warm"
        );
    }
    results.announce(&health);
    let admin = match settings.admin {
        Some(address) => Some(runtime.block_on(admin::serve(
            address,
            settings.admin_token.clone(),
            registry,
            admin::Shown { health: health.clone(), recent: telemetry.recent.clone(), settings: in_force },
        ))?),
        None => None,
    };
    if let Some(admin) = &admin {
        tracing::info!(addr = %admin.address(), "admin listening");
    }
    let (patience, asked) = (settings.limits.drain_timeout, shutdown.clone());
    let ended = on_own_thread(runtime.handle(), move || kafka::run(settings, results, telemetry, &shutdown));
    // What is left of the drain deadline is for the last spans; some of it in any case.
    let left = asked.requested_at().map_or(FLUSH, |at| patience.saturating_sub(at.elapsed()));
    runtime.block_on(export.finish(left.clamp(LEAST_FLUSH, FLUSH)));
    let summary = ended?;
    let Summary { read, enriched, passed, dead } = summary;
    tracing::info!(read, enriched, passed, dead, "drained, committed, and left the group");
    Ok(summary)
}

/// The runtime for the batcher, the admin server and the signals. Two threads are plenty: the work
/// is done on threads of its own.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).thread_name("tokio").enable_all().build()
}

/// The Kafka thread, inside the runtime's context.
fn on_own_thread(
    runtime: &Handle,
    run: impl FnOnce() -> Result<Summary, RunError> + Send + 'static,
) -> Result<Summary, RunError> {
    let runtime = runtime.clone();
    let kafka = thread::Builder::new()
        .name("kafka".to_owned())
        .spawn(move || {
            let _context = runtime.enter();
            run()
        })
        .map_err(RunError::Thread)?;
    kafka.join().unwrap_or(Err(RunError::Panicked))
}

/// SIGTERM and SIGINT, caught from the moment this exists.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The first signal drains, the second ends the process where it stands.
async fn stop_on_signal(shutdown: Shutdown, mut signals: Signals) {
    signals.next().await;
    tracing::info!("asked to stop: finishing what is in flight (again: stop at once)");
    shutdown.request();
    signals.next().await;
    // Whatever `log.level` says.
    let _ =
        writeln!(std::io::stderr(), "asked twice: stopping at once; what was not committed is read again");
    std::process::exit(130);
}
