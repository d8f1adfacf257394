//! Every instrument of the worker, each named once, with its unit and meaning. The names are those
//! of `/metrics` and of docs/OPERATIONS.md (a test compares them).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use super::Health;
use super::depths::{Depths, Station};

/// Attribute names.
pub(super) mod keys {
    use opentelemetry::KeyValue;

    pub(in crate::telemetry) const OUTCOME: &str = "outcome";
    pub(in crate::telemetry) const REASON: &str = "reason";
    pub(in crate::telemetry) const LABEL: &str = "label";
    pub(in crate::telemetry) const STAGE: &str = "stage";
    pub(in crate::telemetry) const KIND: &str = "kind";
    pub(in crate::telemetry) const RESULT: &str = "result";
    /// Which of several results a label is of.
    pub(in crate::telemetry) const OF_RESULT: &str = "of";

    /// Of one partition.
    pub(in crate::telemetry) fn partition(topic: &str, partition: i32) -> [KeyValue; 2] {
        [KeyValue::new("topic", topic.to_owned()), KeyValue::new("partition", i64::from(partition))]
    }
}

/// Seconds. A batch takes milliseconds; a stuck broker takes minutes.
const SECONDS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Seconds since a record was produced: behind a backlog that is hours.
const SECONDS_LONG: [f64; 18] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0,
    86400.0,
];
/// Texts a batch.
const TEXTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Few, because each label has all of them: what is sure, and what is not.
const SCORES: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.99];

pub(super) struct Instruments {
    pub(super) records_in: Counter<u64>,
    pub(super) bytes_in: Counter<u64>,
    pub(super) records_out: Counter<u64>,
    pub(super) labels: Counter<u64>,
    pub(super) label_score: Histogram<f64>,
    pub(super) stage_duration: Histogram<f64>,
    pub(super) processing: Histogram<f64>,
    pub(super) end_to_end: Histogram<f64>,
    pub(super) batch_size: Histogram<u64>,
    pub(super) batch_duration: Histogram<f64>,
    pub(super) batch_splits: Counter<u64>,
    pub(super) tokens: Counter<u64>,
    pub(super) rebalances: Counter<u64>,
    pub(super) rebalanced_partitions: Counter<u64>,
    pub(super) commits: Counter<u64>,
    pub(super) transactions: Counter<u64>,
    pub(super) offset_gap_records: Counter<u64>,
    pub(super) stale_results: Counter<u64>,
    pub(super) stalls: Counter<u64>,
    pub(super) cache_requests: Counter<u64>,
    pub(super) cache_evictions: Counter<u64>,
    pub(super) cache_entries: Gauge<u64>,
    pub(super) cache_bytes: Gauge<u64>,
    pub(super) spans: Counter<u64>,
    pub(super) metric_exports: Counter<u64>,
    pub(super) in_flight_records: Gauge<u64>,
    pub(super) in_flight_bytes: Gauge<u64>,
    pub(super) assigned_partitions: Gauge<u64>,
    pub(super) paused_partitions: Gauge<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter, health: &Health, partitions: &PartitionGauges, depths: &Depths) -> Self {
        let counter = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(what).build()
        };
        let gauge = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_gauge(name).with_unit(unit).with_description(what).build()
        };
        let seconds = |name: &'static str, bounds: &[f64], what: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(bounds.to_vec()).build()
        };
        observe_health(meter, health);
        partitions.observe(meter);
        observe_depths(meter, depths);
        Self {
            records_in: counter("squeezeflow_records_in_total", "{record}", "Records admitted"),
            bytes_in: counter("squeezeflow_bytes_in_total", "By", "Bytes of their keys and values"),
            records_out: counter(
                "squeezeflow_records_out_total",
                "{record}",
                "Records that reached their outcome, by outcome and reason",
            ),
            labels: counter("squeezeflow_labels_total", "{record}", "Enriched records by label"),
            label_score: meter
                .f64_histogram("squeezeflow_label_score")
                .with_unit("1")
                .with_description("Scores of enriched records by label")
                .with_boundaries(SCORES.to_vec())
                .build(),
            stage_duration: seconds(
                "squeezeflow_stage_duration_seconds",
                &SECONDS,
                "Time of a record in each stage",
            ),
            processing: seconds(
                "squeezeflow_processing_duration_seconds",
                &SECONDS,
                "From a record's admission to its delivery",
            ),
            end_to_end: seconds(
                "squeezeflow_end_to_end_duration_seconds",
                &SECONDS_LONG,
                "From a record's timestamp to its delivery",
            ),
            batch_size: meter
                .u64_histogram("squeezeflow_batch_size")
                .with_unit("{text}")
                .with_description("Texts in a batch")
                .with_boundaries(TEXTS.to_vec())
                .build(),
            batch_duration: seconds(
                "squeezeflow_batch_duration_seconds",
                &SECONDS,
                "Time of a batch in the model",
            ),
            batch_splits: counter(
                "squeezeflow_batch_splits_total",
                "{batch}",
                "Failed batches split in search of the culprit",
            ),
            tokens: counter(
                "squeezeflow_tokens_total",
                "{token}",
                "Tokens of texts (real) and tokens computed, padding included (padded)",
            ),
            rebalances: counter("squeezeflow_rebalances_total", "{rebalance}", "Rebalances by kind"),
            rebalanced_partitions: counter(
                "squeezeflow_rebalanced_partitions_total",
                "{partition}",
                "Partitions that came or went in rebalances",
            ),
            commits: counter("squeezeflow_commits_total", "{commit}", "Offset commits by result"),
            transactions: counter(
                "squeezeflow_transactions_total",
                "{transaction}",
                "Transactions by result; renewed: the producer was made anew because an outcome was in doubt",
            ),
            offset_gap_records: counter(
                "squeezeflow_offset_gap_records_total",
                "{record}",
                "Records skipped because retention had deleted them",
            ),
            stalls: counter(
                "squeezeflow_stalled_partitions_total",
                "{partition}",
                "Partitions that were behind and not read, and were taken up anew",
            ),
            stale_results: counter(
                "squeezeflow_stale_results_total",
                "{record}",
                "Results dropped because their partition was taken away meanwhile",
            ),
            cache_requests: counter(
                "squeezeflow_cache_requests_total",
                "{sequence}",
                "Sequences by what the cache knew of them: hit, joined (in the model already), miss",
            ),
            cache_evictions: counter(
                "squeezeflow_cache_evictions_total",
                "{entry}",
                "Answers that made room for others in the cache",
            ),
            cache_entries: gauge("squeezeflow_cache_entries", "{entry}", "Answers kept in the cache"),
            cache_bytes: gauge("squeezeflow_cache_bytes", "By", "Bytes of the answers kept in the cache"),
            spans: counter(
                "squeezeflow_spans_total",
                "{span}",
                "Spans by what became of them: exported, failed (not taken by the collector), dropped (no room)",
            ),
            metric_exports: counter(
                "squeezeflow_metric_exports_total",
                "{export}",
                "Exports of metrics to a collector by result",
            ),
            in_flight_records: gauge(
                "squeezeflow_in_flight_records",
                "{record}",
                "Records between admission and delivery",
            ),
            in_flight_bytes: gauge("squeezeflow_in_flight_bytes", "By", "Bytes of the records in flight"),
            assigned_partitions: gauge(
                "squeezeflow_assigned_partitions",
                "{partition}",
                "Partitions assigned to this worker",
            ),
            paused_partitions: gauge(
                "squeezeflow_paused_partitions",
                "{partition}",
                "Assigned partitions that are paused because their share is full",
            ),
        }
    }
}

/// What `Health` knows, read at each scrape.
fn observe_health(meter: &Meter, health: &Health) {
    let build = [KeyValue::new("version", env!("CARGO_PKG_VERSION"))];
    let _ = meter
        .u64_observable_gauge("squeezeflow_build_info")
        .with_description("1, with the worker's version")
        .with_callback(move |to| to.observe(1, &build))
        .build();
    let seen = health.clone();
    let _ = meter
        .u64_observable_gauge("squeezeflow_ready")
        .with_description("1 while the model is warm and the worker is a member of its group")
        .with_callback(move |to| to.observe(u64::from(seen.snapshot().ready), &[]))
        .build();
    let seen = health.clone();
    let _ = meter
        .u64_observable_gauge("squeezeflow_live")
        .with_description("1 while every part of the worker that has work moves")
        .with_callback(move |to| to.observe(u64::from(seen.stuck().is_empty()), &[]))
        .build();
    let seen = health.clone();
    let _ = meter
        .u64_observable_gauge("squeezeflow_model_info")
        .with_description("1, with the model that is loaded and what it runs on")
        .with_callback(move |to| {
            let snapshot = seen.snapshot();
            for model in snapshot.model.into_iter().chain(snapshot.others) {
                let attributes = [
                    KeyValue::new("model", model.name),
                    KeyValue::new("digest", model.digest),
                    KeyValue::new("precision", model.precision),
                    KeyValue::new("provider", model.provider),
                ];
                to.observe(1, &attributes);
            }
        })
        .build();
}

/// How many records are where, read at each scrape.
fn observe_depths(meter: &Meter, depths: &Depths) {
    let depths = depths.clone();
    let _ = meter
        .u64_observable_gauge("squeezeflow_stage_records")
        .with_unit("{record}")
        .with_description("Records in flight by where they are on their way")
        .with_callback(move |to| {
            for station in Station::ALL {
                to.observe(depths.records(station), &[KeyValue::new(keys::STAGE, station.as_str())]);
            }
        })
        .build();
}

/// Figures of the owned partitions. Gauges that the worker sets would stay for ever once their
/// partition has gone to another worker (the SDK keeps every series of a synchronous gauge), and
/// two workers would report one partition's lag. Observed from this map at each scrape, a series
/// ends with its entry.
#[derive(Clone, Default)]
pub(super) struct PartitionGauges(Arc<Mutex<Figures>>);

type Figures = BTreeMap<(String, i32), PartitionFigure>;

/// How far one owned partition is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionFigure {
    /// Records between what may be committed and the end; `None`: the end is not known.
    pub lag_records: Option<i64>,
    /// Age of the oldest record that is not delivered, by its timestamp; `None`: not known.
    pub lag_time: Option<Duration>,
    /// How long the oldest record in flight has been so; zero: none is.
    pub oldest_unsettled: Duration,
}

impl PartitionGauges {
    pub(super) fn set(&self, topic: &str, partition: i32, figure: PartitionFigure) {
        self.lock().insert((topic.to_owned(), partition), figure);
    }

    pub(super) fn forget(&self, topic: &str, partition: i32) {
        self.lock().remove(&(topic.to_owned(), partition));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, meter: &Meter) {
        let figures = self.clone();
        let _ = meter
            .i64_observable_gauge("squeezeflow_partition_lag_records")
            .with_unit("{record}")
            .with_description("Records of an assigned partition between its committable offset and its end")
            .with_callback(move |to| {
                for ((topic, partition), figure) in figures.lock().iter() {
                    if let Some(lag) = figure.lag_records {
                        to.observe(lag, &keys::partition(topic, *partition));
                    }
                }
            })
            .build();
        let figures = self.clone();
        let _ = meter
            .f64_observable_gauge("squeezeflow_partition_lag_seconds")
            .with_unit("s")
            .with_description("Age of an assigned partition's oldest record that is not delivered; 0: none")
            .with_callback(move |to| {
                for ((topic, partition), figure) in figures.lock().iter() {
                    if let Some(lag) = figure.lag_time {
                        to.observe(lag.as_secs_f64(), &keys::partition(topic, *partition));
                    }
                }
            })
            .build();
        let figures = self.clone();
        let _ = meter
            .f64_observable_gauge("squeezeflow_partition_oldest_unsettled_seconds")
            .with_unit("s")
            .with_description("Time in flight of an assigned partition's oldest unsettled record; 0: none")
            .with_callback(move |to| {
                for ((topic, partition), figure) in figures.lock().iter() {
                    to.observe(figure.oldest_unsettled.as_secs_f64(), &keys::partition(topic, *partition));
                }
            })
            .build();
    }
}
