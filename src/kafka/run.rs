//! A run, from its first connection to its end: lets itself in, makes the thread's state, and lets it work.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::assignment::Assignment;
use super::at_least_once::Waiting;
use super::context::ConsumerEvents;
use super::error::RunError;
use super::exactly_once::Transactions;
use super::handover::Handover;
use super::pace::Pace;
use super::publish::Publisher;
use super::standby::Standby;
use super::surge::Surge;
use super::tokens::Tokens;
use super::worker::{Summary, Worker};
use super::{client, entry};
use crate::config::Settings;
use crate::config::settings::Delivery;
use crate::pipeline::Stages;
use crate::results::Results;
use crate::shutdown::Shutdown;
use crate::telemetry::{Pulse, Telemetry};

const MIN_PREFETCH_KIB: usize = 1024;
const MAX_PREFETCH_KIB: usize = 16 * 1024;

/// Runs a pipeline until `shutdown` is requested or something stops it. Blocks; give it a thread
/// of its own. Must be called inside a tokio runtime (the batcher is a task of it).
pub fn run(
    settings: Settings,
    results: Results,
    telemetry: Telemetry,
    shutdown: &Shutdown,
) -> Result<Summary, RunError> {
    let kafka = settings.kafka.clone().ok_or(RunError::Missing("kafka"))?;
    let id = (settings.delivery == Delivery::ExactlyOnce).then(|| client::transactional_id(&kafka));
    let ours = settings.clone();
    let tokens = Tokens::of(&kafka);
    // From the first question on: what hangs there hangs the worker.
    let pulse = telemetry.health.pulse("kafka");
    if !entry::enter(&settings, &kafka, tokens.clone(), shutdown, &pulse)? {
        return Ok(Summary::default());
    }
    let ended = work(settings, (id, tokens.clone()), results, telemetry, shutdown, pulse);
    ended.map_err(|error| entry::name_refusal(error, &ours, &kafka, tokens))
}

fn work(
    settings: Settings,
    (id, tokens): (Option<String>, Option<Arc<Tokens>>),
    results: Results,
    telemetry: Telemetry,
    shutdown: &Shutdown,
    pulse: Pulse,
) -> Result<Summary, RunError> {
    let kafka = settings.kafka.as_ref().ok_or(RunError::Missing("kafka"))?;
    let dead = settings.dead_letter.as_ref().ok_or(RunError::Missing("dead_letter.topic"))?;
    let surge = dead.surge;
    let servers = &kafka.bootstrap_servers;
    let config = client::producer_config(kafka, id.as_deref());
    let Some(publisher) =
        Publisher::start((config, tokens.clone()), servers, &settings.output, &dead.topic, shutdown, &pulse)?
    else {
        return Ok(Summary::default());
    };
    let transactions = match id {
        Some(id) => {
            Worker::init_transactions(&publisher, servers, shutdown, &pulse)?;
            if shutdown.is_requested() {
                return Ok(Summary::default());
            }
            tracing::info!(transactional_id = id, "exactly once");
            Some(Transactions::new(id, kafka, &settings.limits))
        }
        None => None,
    };
    let mut config = client::consumer_config(kafka);
    // Prefetching more than may be in flight is fetching it again: a pause throws it away.
    if !kafka.librdkafka.contains_key("queued.max.messages.kbytes") {
        let kib =
            (settings.limits.max_in_flight_bytes.get() / 1024).clamp(MIN_PREFETCH_KIB, MAX_PREFETCH_KIB);
        config.set("queued.max.messages.kbytes", kib.to_string());
    }
    if config.get("statistics.interval.ms").is_none() {
        config.set("statistics.interval.ms", "5000");
    }
    let consumer = BaseConsumer::from_config_and_context(&config, ConsumerEvents::new(tokens))
        .map_err(RunError::Client)?;
    let stages = Stages::start(&settings, results, &telemetry)?;
    let Telemetry { metrics, health, spans, recent } = telemetry;
    let topics: Vec<&str> = settings.input.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(RunError::Client)?;
    let mut worker = Worker {
        assignment: Assignment::new(&settings.limits),
        commit_interval: kafka.commit_interval,
        settings,
        consumer,
        publisher,
        metrics,
        health,
        spans,
        recent,
        pulse,
        standby: Standby::default(),
        member: None,
        handover: Handover::default(),
        gap_reported: false,
        draining: false,
        stages,
        inside: 0,
        transactions,
        waiting: Waiting::new(),
        surge: surge.map(Surge::new),
        ask_again_at: Instant::now(),
        commit_again_at: Instant::now(),
        last_commit: Instant::now(),
        commit_under_way: false,
        pace: Pace::default(),
        last_observed: Instant::now(),
        summary: Summary::default(),
    };
    let ended = worker.serve(shutdown);
    worker.health.left();
    let ended = ended.and_then(|()| worker.drain()).or_else(|error| worker.salvage(error));
    let summary = worker.leave();
    ended.map(|()| summary)
}
