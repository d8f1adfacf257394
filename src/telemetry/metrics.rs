//! What the worker counts and measures. The instruments themselves, each named once, are in
//! [`super::instruments`]; this file says when each is touched.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::Registry;

use super::Health;
use super::depths::{Depths, Station};
use super::instruments::{Instruments, PartitionFigure, PartitionGauges, keys};
use super::otlp::Reader;
use crate::record::{Outcome, PassThrough, Reason, Record, Stamps, Timestamp};

/// Cheap to clone; all clones feed the same instruments. The default one records nothing.
#[derive(Clone, Default)]
pub struct Metrics(Option<Arc<Inner>>);

struct Inner {
    on: Instruments,
    partitions: PartitionGauges,
    depths: Depths,
    /// Dropping the provider would shut the reader down, and the registry would fall silent.
    _provider: SdkMeterProvider,
}

/// The metrics cannot be set up. Not a matter of configuration: a defect of ours.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the Prometheus exporter")]
pub struct MetricsError(#[source] opentelemetry_sdk::error::OTelSdkError);

impl MetricsError {
    /// Without metrics nobody sees what the worker does: it does not start.
    pub fn fate(&self) -> crate::fate::Fate {
        crate::fate::Fate::Fatal
    }
}

impl Metrics {
    /// Live instruments, and the registry that `/metrics` is made of. `health` is observed for
    /// what it knows (the model, readiness) at each scrape.
    ///
    /// # Errors
    /// When the exporter refuses; it has no reason to.
    pub fn new(health: &Health) -> Result<(Self, Registry), MetricsError> {
        Self::exported(health, Resource::builder_empty().build(), None)
    }

    /// [`Metrics::new`], with a second reader, for a collector that `resource` introduces us to.
    pub(super) fn exported(
        health: &Health,
        resource: Resource,
        reader: Option<Reader>,
    ) -> Result<(Self, Registry), MetricsError> {
        let registry = Registry::new();
        // Names in the code are the names on the wire: the exporter adds no unit, no `_total`, no
        // scope labels.
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(MetricsError)?;
        let mut provider = SdkMeterProvider::builder().with_resource(resource).with_reader(exporter);
        if let Some(reader) = reader {
            provider = provider.with_reader(reader);
        }
        let provider = provider.build();
        let partitions = PartitionGauges::default();
        let depths = Depths::default();
        let on = Instruments::new(&provider.meter("squeezeflow"), health, &partitions, &depths);
        let metrics = Self(Some(Arc::new(Inner { on, partitions, depths, _provider: provider })));
        metrics.start_at_zero();
        Ok((metrics, registry))
    }

    /// Records nothing: for tests, and where nobody scrapes.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Counters exist from the start: `rate()` cannot see the first step of a series that begins
    /// with it, and an alert on a series that is not there is silent.
    fn start_at_zero(&self) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        for counter in [
            &on.records_in,
            &on.bytes_in,
            &on.batch_splits,
            &on.stale_results,
            &on.offset_gap_records,
            &on.stalls,
        ] {
            counter.add(0, &[]);
        }
        for result in ["hit", "joined", "miss"] {
            on.cache_requests.add(0, &[KeyValue::new(keys::RESULT, result)]);
        }
        self.cache(0, 0, 0);
        on.records_out.add(0, &out("enriched", "none"));
        for why in PassThrough::ALL {
            on.records_out.add(0, &out("passed", why.as_str()));
        }
        for reason in Reason::ALL {
            on.records_out.add(0, &out("dead_letter", reason.as_str()));
        }
        for kind in ["real", "padded"] {
            on.tokens.add(0, &[KeyValue::new(keys::KIND, kind)]);
        }
        for kind in ["assigned", "revoked", "lost"] {
            on.rebalances.add(0, &[KeyValue::new(keys::KIND, kind)]);
            on.rebalanced_partitions.add(0, &[KeyValue::new(keys::KIND, kind)]);
        }
        for result in ["ok", "error"] {
            on.commits.add(0, &[KeyValue::new(keys::RESULT, result)]);
            on.metric_exports.add(0, &[KeyValue::new(keys::RESULT, result)]);
        }
        for result in ["committed", "aborted", "renewed"] {
            on.transactions.add(0, &[KeyValue::new(keys::RESULT, result)]);
        }
        for result in ["exported", "failed", "dropped"] {
            self.spans(result, 0);
        }
        self.in_flight(0, 0);
        self.assignment(0, 0);
    }

    /// A record was admitted.
    pub fn admitted(&self, record: &Record) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        let bytes = |b: &Option<Vec<u8>>| b.as_ref().map_or(0, Vec::len);
        on.records_in.add(1, &[]);
        on.bytes_in.add((bytes(&record.key) + bytes(&record.value)) as u64, &[]);
    }

    /// A record reached its outcome (not yet delivered). Counts it by kind and reason, and
    /// observes the stage durations in its stamps.
    pub fn settled(&self, outcome: &Outcome, stamps: &Stamps) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        match outcome {
            Outcome::Enriched { emit, .. } => {
                on.records_out.add(1, &out("enriched", "none"));
                for of in &emit.labels {
                    let label = KeyValue::new(keys::LABEL, of.label.clone());
                    // Of the only result there is nothing to tell apart.
                    let result =
                        of.result.as_ref().map(|name| KeyValue::new(keys::OF_RESULT, name.to_string()));
                    let of_label: Vec<KeyValue> = std::iter::once(label).chain(result).collect();
                    on.labels.add(1, &of_label);
                    if of.score.is_finite() {
                        on.label_score.record(f64::from(of.score), &of_label);
                    }
                }
            }
            Outcome::PassThrough { why, .. } => on.records_out.add(1, &out("passed", why.as_str())),
            Outcome::DeadLetter { letter, .. } => {
                on.records_out.add(1, &out("dead_letter", letter.reason.as_str()));
            }
        }
        let stages = [
            ("tokenize", Some(stamps.admitted), stamps.tokenized),
            ("queue", stamps.tokenized, stamps.batched),
            ("inference", stamps.batched, stamps.inferred),
        ];
        for (stage, from, to) in stages {
            if let (Some(from), Some(to)) = (from, to) {
                on.stage_duration.record(
                    seconds(to.saturating_duration_since(from)),
                    &[KeyValue::new(keys::STAGE, stage)],
                );
            }
        }
    }

    /// Its write is confirmed: publish and end-to-end seconds (from the record's timestamp).
    pub fn delivered(&self, admitted: Instant, settled: Instant, timestamp: Timestamp) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        let now = Instant::now();
        let publish = seconds(now.saturating_duration_since(settled));
        on.stage_duration.record(publish, &[KeyValue::new(keys::STAGE, "publish")]);
        on.processing.record(seconds(now.saturating_duration_since(admitted)), &[]);
        if let Some(age) = age(timestamp, SystemTime::now()) {
            on.end_to_end.record(seconds(age), &[]);
        }
    }

    /// A batch came back from the model.
    pub fn batch(&self, size: usize, real_tokens: usize, padded_tokens: usize, took: Duration) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.batch_size.record(size as u64, &[]);
        on.batch_duration.record(seconds(took), &[]);
        on.tokens.add(real_tokens as u64, &[KeyValue::new(keys::KIND, "real")]);
        on.tokens.add(padded_tokens as u64, &[KeyValue::new(keys::KIND, "padded")]);
    }

    /// A failed batch was split in search of the culprit.
    pub fn batch_split(&self) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.batch_splits.add(1, &[]);
    }

    /// What the cache knew of a sequence: `hit`, `joined` or `miss`.
    pub fn cache_request(&self, result: &'static str) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.cache_requests.add(1, &[KeyValue::new(keys::RESULT, result)]);
    }

    /// What the cache holds now, and how many entries made room since the last time.
    pub fn cache(&self, entries: usize, bytes: u64, evicted: u64) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.cache_entries.record(entries as u64, &[]);
        on.cache_bytes.record(bytes, &[]);
        on.cache_evictions.add(evicted, &[]);
    }

    /// A rebalance: `assigned`, `revoked` or `lost`, and of how many partitions.
    pub fn rebalance(&self, kind: &'static str, partitions: usize) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        let kind = [KeyValue::new(keys::KIND, kind)];
        on.rebalances.add(1, &kind);
        on.rebalanced_partitions.add(partitions as u64, &kind);
    }

    /// A commit's outcome.
    pub fn commit(&self, ok: bool) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.commits.add(1, &[KeyValue::new(keys::RESULT, if ok { "ok" } else { "error" })]);
    }

    /// A transaction's end: `committed`, `aborted`; or `renewed`, where the producer was made anew.
    pub fn transaction(&self, result: &'static str) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.transactions.add(1, &[KeyValue::new(keys::RESULT, result)]);
    }

    /// Records skipped because retention had deleted them (`on_gap: earliest`).
    pub fn gap(&self, topic: &str, partition: i32, records: i64) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.offset_gap_records.add(u64::try_from(records).unwrap_or(0), &keys::partition(topic, partition));
    }

    /// A partition that was behind and not read was taken up anew.
    pub fn stalled(&self, topic: &str, partition: i32) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.stalls.add(1, &keys::partition(topic, partition));
    }

    /// Results dropped because their partition was taken away meanwhile.
    pub fn stale(&self) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.stale_results.add(1, &[]);
    }

    /// What became of spans: `exported`, `failed` (the collector did not take them), `dropped` (there was
    /// no room for them).
    pub fn spans(&self, result: &'static str, spans: usize) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.spans.add(spans as u64, &[KeyValue::new(keys::RESULT, result)]);
    }

    /// Metrics went to the collector, or not.
    pub fn metric_export(&self, ok: bool) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.metric_exports.add(1, &[KeyValue::new(keys::RESULT, if ok { "ok" } else { "error" })]);
    }

    /// So many records go from one station of their way to another; `None`: from outside, or out.
    pub fn moved(&self, records: usize, from: Option<Station>, to: Option<Station>) {
        let Some(Inner { depths, .. }) = self.0.as_deref() else { return };
        depths.moved(records, from, to);
    }

    /// Of all that is in flight, so many are with the producer. What is then at no other station is at
    /// its outcome, and waits for its turn.
    pub fn edge(&self, in_flight: usize, publishing: usize) {
        let Some(Inner { depths, .. }) = self.0.as_deref() else { return };
        depths.edge(in_flight, publishing);
    }

    /// What is between admission and delivery.
    pub fn in_flight(&self, records: usize, bytes: usize) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.in_flight_records.record(records as u64, &[]);
        on.in_flight_bytes.record(bytes as u64, &[]);
    }

    /// Of the owned partitions: how many are assigned and how many of them paused.
    pub fn assignment(&self, assigned: usize, paused: usize) {
        let Some(Inner { on, .. }) = self.0.as_deref() else { return };
        on.assigned_partitions.record(assigned as u64, &[]);
        on.paused_partitions.record(paused as u64, &[]);
    }

    /// Of an owned partition: how far it is behind.
    pub fn partition(&self, topic: &str, partition: i32, figure: PartitionFigure) {
        let Some(Inner { partitions, .. }) = self.0.as_deref() else { return };
        partitions.set(topic, partition, figure);
    }

    /// A partition that is no longer ours has no gauges.
    pub fn forget_partition(&self, topic: &str, partition: i32) {
        let Some(Inner { partitions, .. }) = self.0.as_deref() else { return };
        partitions.forget(topic, partition);
    }
}

/// The attributes of `records_out`. Static strings: nothing is allocated.
fn out(outcome: &'static str, reason: &'static str) -> [KeyValue; 2] {
    [KeyValue::new(keys::OUTCOME, outcome), KeyValue::new(keys::REASON, reason)]
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// How old a record is. Zero where its producer's clock is ahead of ours; `None` without a
/// timestamp.
pub fn age(timestamp: Timestamp, now: SystemTime) -> Option<Duration> {
    let millis = u64::try_from(timestamp.0?).ok()?;
    Some(now.duration_since(UNIX_EPOCH).ok()?.saturating_sub(Duration::from_millis(millis)))
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
