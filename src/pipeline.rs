//! Wires the stages: channels, threads, drain order. No logic.
//!
//! Records go in through [`Stages::submit`] and come out of [`Stages::outcomes`], each exactly
//! once and with its ticket, in any order. Closing the way in ([`Stages::close`]) ends the stages
//! one after the other, each when the one before it is done; then the way out closes too.
//!
//! The owner of the edges (Kafka thread, standard input) admits at most
//! `limits.max_in_flight_records`. Both ends hold that many, so neither the owner nor the last stage
//! ever waits for the other: there is no circle to dead-lock in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{mpsc, oneshot};

use crate::batch::{self, Batcher, Portion, Run, Slot, Watched, Work, infer_isolating, portions};
use crate::cache::{Answered, Cache};
use crate::config::Settings;
use crate::config::settings::WithoutText;
use crate::enrich::Enricher;
use crate::fate::Fate;
use crate::join::{Join, Joined};
use crate::model::{Infer, InferError, Layout, Loaded, Output};
use crate::record::{Outcome, Record, Tracked};
use crate::results::Results;
use crate::telemetry::{Metrics, Pulse, Sampler, Spans, Station, Telemetry};
use crate::text::{Decoder, Intake, Masker, Reader, Stream, TokenizeError, Tokens};

/// Why the stages cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The package's tokenizer does not load, or cannot read a plain word.
    #[error("the tokenizer does not work: {0}")]
    Tokenizer(#[from] TokenizeError),
    /// The model is out of order: not one record's fault.
    #[error("the model is out of order: {0}")]
    Model(#[from] InferError),
    /// A stage ended by a panic. A defect of ours; nothing it held was settled.
    #[error("stage `{0}` panicked; nothing it held was settled")]
    Panicked(&'static str),
    /// The operating system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A stage is gone although nobody closed the pipeline.
    #[error("the stages are closed")]
    Closed,
}

impl PipelineError {
    /// Every one stops the worker.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// The running stages, seen from their edges.
pub struct Stages {
    input: Intake<Tracked<Record>>,
    /// The way out.
    pub outcomes: Receiver<Tracked<Outcome>>,
    fault: Fault,
    /// What the sessions are at, and how long they may be.
    runs: Vec<Arc<Run>>,
    patience: Duration,
    metrics: Metrics,
    threads: Vec<JoinHandle<()>>,
}

impl Stages {
    /// Builds and starts all stages. Must be called inside a tokio runtime: the batcher is a task.
    pub fn start(
        settings: &Settings,
        results: Results,
        telemetry: &Telemetry,
    ) -> Result<Self, PipelineError> {
        let Telemetry { metrics, health, spans, recent } = telemetry;
        let Results { models, streams, tasks } = results;
        let model_of: Arc<[usize]> = streams.iter().map(|(model, _)| *model).collect();
        let streams: Vec<Stream> = streams.into_iter().map(|(_, stream)| stream).collect();
        let redacts = tasks.iter().any(|result| result.task.redacts());
        let canaries = canaries(&models, &model_of, &streams)?;
        let reader = reader(settings, streams, redacts);
        let enricher = Arc::new(Enricher::new(tasks, &settings.output));

        let in_flight = settings.limits.max_in_flight_records.get();
        let capacity = settings.batch.max_size.get() * batch::WINDOW_BATCHES;
        let input = Intake::default();
        let (out, outcomes) = bounded(in_flight);
        let sessions: usize = models.iter().map(|model| model.sessions.len()).sum();
        // The batchers send, too: what they need not hand out.
        let (answered_in, answered) = mpsc::channel(sessions.max(1) * 2);

        let mut threads = Threads { fault: Fault::default(), handles: Vec::new() };
        let (mut runs, mut batchers) = (Vec::new(), Vec::new());
        let receipts = models.iter().map(|model| &model.receipt);
        let caches = Cache::of_models(settings.cache.max_bytes, receipts, metrics);
        for (number, ((model, canary), cache)) in models.into_iter().zip(canaries).zip(caches).enumerate() {
            let Loaded { package, sessions, .. } = model;
            // As it is in most pipelines, one: then it has no number.
            let name = |part: &str| {
                if number == 0 { part.to_owned() } else { format!("{part} of model {}", number + 1) }
            };
            let (portions_in, portions) = mpsc::channel(settings.batch.max_size.get());
            let (slots_in, slots) = mpsc::channel(sessions.len().max(1));
            let pulse = health.pulse(name("batcher"));
            for (session_number, model) in sessions.into_iter().enumerate() {
                let pulse = health.pulse(name(&format!("session {}", session_number + 1)));
                let (mut model, run) = Watched::new(model, pulse.clone());
                runs.push(run);
                let (slots, answered, cache) = (slots_in.clone(), answered_in.clone(), cache.clone());
                let (canary, layout) = (canary.clone(), package.layout);
                let watching = Watching { metrics: metrics.clone(), spans: spans.clone(), pulse };
                threads.spawn("session", move |fault| {
                    if let Err(error) =
                        session(&mut model, layout, &canary, &slots, &cache, &answered, &watching)
                    {
                        fault.raise(error.into());
                    }
                })?;
            }
            let limits = batch::Limits {
                max_tokens: settings.batch.max_tokens.get(),
                max_size: settings.batch.max_size.get(),
                max_age: settings.batch.max_age,
                layout: package.layout,
            };
            let (answered, fault) = (answered_in.clone(), threads.fault.clone());
            batchers.push((portions_in, pulse.clone()));
            tokio::spawn(async move {
                let batcher = Batcher { portions, slots, cache, answered, limits, capacity, pulse };
                let batcher = tokio::spawn(batcher.run());
                if batcher.await.is_err_and(|e| e.is_panic()) {
                    fault.raise(PipelineError::Panicked("batcher"));
                }
            });
        }
        for _ in 0..settings.limits.text_workers.get() {
            let (reader, records, out) = (reader.clone(), input.clone(), out.clone());
            let next =
                Next { model_of: model_of.clone(), batchers: batchers.clone(), enricher: enricher.clone() };
            let metrics = metrics.clone();
            threads.spawn("text", move |_| text_worker(&reader, &records, &next, &metrics, &out))?;
        }
        // What the output hides is not shown on a page either.
        if redacts || !settings.output.redact.is_empty() {
            recent.withhold_texts();
        }
        let mut shown =
            recent.sampler().map(|sampler| Shown { sampler, masker: Masker::new(&settings.input.mask) });
        let told = metrics.clone();
        threads.spawn("enrich", move |_| enrich(&enricher, answered, &told, shown.as_mut(), &out))?;
        let (fault, threads) = (threads.fault, threads.handles);
        let (metrics, patience) = (metrics.clone(), settings.batch.timeout);
        Ok(Self { input, outcomes, fault, runs, patience, metrics, threads })
    }

    /// Hands an admitted record to the text workers. Does not block while at most
    /// `max_in_flight_records` are admitted.
    pub fn submit(&self, record: Tracked<Record>) -> Result<(), PipelineError> {
        self.metrics.moved(1, None, Some(Station::Tokenize));
        match self.input.push(record.ticket.partition, record) {
            true => Ok(()),
            false => Err(self.take_fault().unwrap_or(PipelineError::Closed)),
        }
    }

    /// No more records come. What is inside is finished; then `outcomes` closes.
    pub fn close(&mut self) {
        self.input.close();
    }

    /// The first thing that went wrong in a stage, if any did. Check it regularly: a stage that is
    /// gone settles nothing more. A model that does not answer is one, too.
    pub fn take_fault(&self) -> Option<PipelineError> {
        for run in &self.runs {
            if run.end_after(self.patience) {
                let seconds = self.patience.as_secs();
                return Some(PipelineError::Model(InferError::Hung { seconds }));
            }
        }
        self.fault.take()
    }

    /// Ends the stages and waits for their threads. What they still hold is dropped: to have it,
    /// [`Stages::close`] first and take `outcomes` until it closes. Waits for one batch at most.
    pub fn join(self) -> Result<(), PipelineError> {
        let Self { input, outcomes, fault, threads, .. } = self;
        input.abandon();
        drop(outcomes);
        for thread in threads {
            // A panic was turned into a fault by the thread itself.
            let _ = thread.join();
        }
        fault.take().map_or(Ok(()), Err)
    }
}

/// What the text workers read records with.
pub(crate) fn reader(settings: &Settings, streams: Vec<Stream>, redacts: bool) -> Reader {
    let names = settings.results.iter().map(|result| result.name.as_deref());
    let hides = redacts || !settings.output.redact.is_empty();
    let decoder = Decoder::new(&settings.input, &settings.output)
        .keeping_sources(hides)
        .writing(names.map(|name| settings.output.header(name)).collect());
    // A text of which one tokenizer keeps nothing may still hold what another result, or its form, would hide.
    let without_tokens = if hides { WithoutText::DeadLetter } else { settings.input.on_empty };
    Reader::new(decoder, Masker::new(&settings.input.mask), streams, without_tokens)
}

/// For each model a sequence that it answers if it answers at all.
fn canaries(
    models: &[Loaded],
    model_of: &[usize],
    streams: &[Stream],
) -> Result<Vec<Arc<Tokens>>, TokenizeError> {
    let canary = |model: usize| {
        let stream = model_of.iter().zip(streams).find(|(of, _)| **of == model);
        let tokens = stream.map(|(_, stream)| stream.tokenizer.tokenize("ok")).transpose()?;
        Ok(Arc::new(tokens.map_or_else(|| Tokens::new(Vec::new(), 0), |(mut all, _)| all.swap_remove(0))))
    };
    (0..models.len()).map(canary).collect()
}

/// Where a text worker's readings go.
struct Next {
    /// Of each stream.
    model_of: Arc<[usize]>,
    /// Of each model.
    batchers: Vec<(mpsc::Sender<Tracked<Portion>>, Pulse)>,
    /// Of what has nothing for any model.
    enricher: Arc<Enricher>,
}

/// Decodes and tokenizes. What needs no model goes straight to the way out.
fn text_worker(
    reader: &Reader,
    records: &Intake<Tracked<Record>>,
    next: &Next,
    metrics: &Metrics,
    out: &Sender<Tracked<Outcome>>,
) {
    while let Some(Tracked { ticket, trace, mut stamps, item: record }) = records.pop() {
        stamps.taken = Some(Instant::now());
        let result = reader.read(record);
        stamps.tokenized = Some(Instant::now());
        let portions = result.map(|reading| portions(reading, &next.model_of));
        let sent = match portions {
            Ok(Ok(portions)) => {
                metrics.moved(1, Some(Station::Tokenize), Some(Station::Queue));
                portions.into_iter().all(|(model, item)| {
                    let Some((batcher, pulse)) = next.batchers.get(model) else { return false };
                    pulse.given();
                    batcher.blocking_send(Tracked { ticket, trace: trace.clone(), stamps, item }).is_ok()
                })
            }
            Ok(Err(head)) => {
                metrics.moved(1, Some(Station::Tokenize), None);
                let item = next.enricher.outcome(Joined { head: *head, answers: Vec::new() });
                out.send(Tracked { ticket, trace, stamps, item }).is_ok()
            }
            Err(item) => {
                metrics.moved(1, Some(Station::Tokenize), None);
                out.send(Tracked { ticket, trace, stamps, item }).is_ok()
            }
        };
        if !sent {
            return;
        }
    }
}

/// What a session tells of itself.
struct Watching {
    metrics: Metrics,
    spans: Spans,
    pulse: Pulse,
}

/// One session: ask for a batch, run it, hand it on.
fn session(
    model: &mut dyn Infer,
    layout: Layout,
    canary: &Tokens,
    slots: &mpsc::Sender<Slot>,
    cache: &Cache,
    answered: &mpsc::Sender<Answered>,
    Watching { metrics, spans, pulse }: &Watching,
) -> Result<(), InferError> {
    loop {
        pulse.rests();
        let (slot, next) = oneshot::channel();
        if slots.blocking_send(slot).is_err() {
            return Ok(());
        }
        let Ok(mut batch) = next.blocking_recv() else { return Ok(()) };
        pulse.moves();
        metrics.moved(documents(&batch), Some(Station::Queue), Some(Station::Inference));
        let started = Instant::now();
        for work in &mut batch {
            work.stamps.batched = Some(started);
        }
        let sequences: Vec<&Tokens> = batch.iter().map(|w| &w.item.tokens).collect();
        let real: usize = sequences.iter().map(|t| t.ids.len()).sum();
        let computed = layout.computed(sequences.iter().map(|t| t.ids.len()));
        let answers = infer_isolating(model, &sequences, canary, metrics)?;
        let done = Instant::now();
        metrics.batch(batch.len(), real, computed, done - started);
        for work in &mut batch {
            work.stamps.inferred = Some(done);
        }
        let failed = answers.iter().map(|answer| !answer.as_ref().is_ok_and(Output::is_finite));
        spans.batch(
            batch.iter_mut().map(|work| &mut work.trace).zip(failed),
            (real, computed),
            (started, done),
        );
        if answered.blocking_send(cache.answered(batch, answers)).is_err() {
            return Ok(());
        }
    }
}

/// Answers to outcomes, once all parts of a document are answered.
fn enrich(
    enricher: &Enricher,
    mut answered: mpsc::Receiver<Answered>,
    metrics: &Metrics,
    mut shown: Option<&mut Shown>,
    out: &Sender<Tracked<Outcome>>,
) {
    let mut join = Join::default();
    while let Some(answers) = answered.blocking_recv() {
        for (work, answer) in answers {
            let Some(joined) = join.add(work, answer) else { continue };
            let text = shown.as_ref().and_then(|shown| shown.text(&joined.item.head.document.text));
            let outcome = joined.map(|joined| enricher.outcome(joined));
            if let (Some(shown), Some(text)) = (&mut shown, text) {
                shown.tell(text, &outcome.item);
            }
            metrics.moved(1, Some(Station::Enrich), None);
            if out.send(outcome).is_err() {
                return;
            }
        }
    }
}

/// Texts for the page, where the pipeline wants them shown.
struct Shown {
    sampler: Sampler,
    masker: Masker,
}

impl Shown {
    /// The beginning of this text as the model read it, if it is time for one.
    fn text(&self, text: &str) -> Option<String> {
        self.sampler.is_due(Instant::now()).then(|| Sampler::beginning(&self.masker.apply(text).0))
    }

    fn tell(&mut self, text: String, outcome: &Outcome) {
        if let Outcome::Enriched { emit, .. } = outcome {
            let label = emit.labels.first();
            let (label, score) = label.map_or(("", f32::NAN), |of| (of.label.as_str(), of.score));
            self.sampler.take(Instant::now(), text, label, score);
        }
    }
}

/// Sequences that have their document with them.
fn documents(batch: &[Tracked<Work>]) -> usize {
    batch.iter().filter(|work| work.item.head.is_some()).count()
}

/// Where the first failure of any stage is kept until the owner of the edges looks.
#[derive(Clone, Default)]
struct Fault {
    raised: Arc<AtomicBool>,
    first: Arc<Mutex<Option<PipelineError>>>,
}

impl Fault {
    fn raise(&self, error: PipelineError) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.raised.store(true, Ordering::Release);
    }
    fn take(&self) -> Option<PipelineError> {
        // The flag keeps the lock out of the owner's loop.
        if !self.raised.load(Ordering::Acquire) {
            return None;
        }
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Threads {
    fault: Fault,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// A named thread whose panic becomes a fault instead of a silence.
    fn spawn(
        &mut self,
        stage: &'static str,
        run: impl FnOnce(&Fault) + Send + 'static,
    ) -> Result<(), PipelineError> {
        let fault = self.fault.clone();
        let handle = std::thread::Builder::new()
            .name(stage.to_owned())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| run(&fault))).is_err() {
                    fault.raise(PipelineError::Panicked(stage));
                }
            })
            .map_err(PipelineError::Thread)?;
        self.handles.push(handle);
        Ok(())
    }
}
