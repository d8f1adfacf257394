//! From what `/metrics` is made of to the figures of the page: one scrape, read; and what happened between
//! two of them. Pure.

use std::collections::BTreeMap;

use prometheus::proto::{Histogram, Metric, MetricFamily};
use serde::Serialize;

use crate::record::Reason;
use crate::telemetry::Station;

/// The times that the page shows, in the order of a record's way: the name there, the metric, and its
/// stage.
pub(super) const TIMES: [(&str, &str, Option<&str>); 6] = [
    ("tokenize", "squeezeflow_stage_duration_seconds", Some("tokenize")),
    ("queue", "squeezeflow_stage_duration_seconds", Some("queue")),
    ("inference", "squeezeflow_stage_duration_seconds", Some("inference")),
    ("publish", "squeezeflow_stage_duration_seconds", Some("publish")),
    ("processing", "squeezeflow_processing_duration_seconds", None),
    ("end to end", "squeezeflow_end_to_end_duration_seconds", None),
];
/// Where `processing` stands in it.
pub(super) const PROCESSING: usize = 4;

/// One scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scrape {
    pub(super) counts: Counts,
    /// Enriched records by their labels.
    pub(super) labels: Vec<(Label, u64)>,
    /// In the order of [`TIMES`].
    pub(super) times: [Buckets; TIMES.len()],
    /// In the order of [`Station::ALL`].
    pub(super) depths: [u64; Station::ALL.len()],
    pub(super) partitions: Vec<Partition>,
    pub(super) gauges: Gauges,
}

/// A label. Two results may have equal ones, which say different things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Label {
    /// Of which result; `None`: of the only one.
    pub(super) of: Option<String>,
    pub(super) name: String,
}

/// What only grows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counts {
    /// Records admitted.
    pub(super) read: u64,
    pub(super) bytes: u64,
    /// Read and tokenized, and a sequence for the model.
    pub(super) tokenized: u64,
    pub(super) enriched: u64,
    pub(super) passed: u64,
    /// By reason, and only of those that there were.
    pub(super) dead: BTreeMap<String, u64>,
    /// Sequences that the model ran.
    pub(super) inferred: u64,
    pub(super) batches: u64,
    /// Sequences that it need not run.
    pub(super) reused: u64,
    pub(super) tokens: u64,
    pub(super) rebalances: u64,
    /// Transactions or offset commits, and those that failed.
    pub(super) commits: u64,
    pub(super) aborts: u64,
}

impl Counts {
    /// Records that went past the model: passed, and dead for another reason than what came after it.
    pub(super) fn aside(&self) -> u64 {
        let after =
            [Reason::InferenceFailed, Reason::NonFiniteOutput, Reason::OutputTooLarge, Reason::OutputRefused];
        let before = self.dead.iter().filter(|(reason, _)| after.iter().all(|r| r.as_str() != *reason));
        self.passed + before.map(|(_, count)| count).sum::<u64>()
    }
}

/// What comes and goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Gauges {
    pub(super) in_flight: u64,
    pub(super) in_flight_bytes: u64,
    pub(super) assigned: u64,
    pub(super) paused: u64,
    pub(super) cache_entries: u64,
    pub(super) cache_bytes: u64,
}

/// How far one partition is behind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) partition: String,
    /// `None`: not known yet.
    pub(super) records: Option<f64>,
    pub(super) seconds: Option<f64>,
    /// How long its oldest record has been in flight.
    pub(super) oldest: f64,
}

impl Scrape {
    /// Takes what the page shows; a metric that is not there is 0.
    pub(super) fn of(families: &[MetricFamily]) -> Self {
        let mut scrape = Self::default();
        let mut partitions = BTreeMap::new();
        for family in families {
            for metric in family.get_metric() {
                scrape.take(family.name(), metric, &mut partitions);
            }
        }
        scrape.partitions = partitions.into_values().collect();
        scrape
    }

    fn take(&mut self, name: &str, metric: &Metric, partitions: &mut BTreeMap<(String, i64), Partition>) {
        let label = |key: &str| {
            let pair = metric.get_label().iter().find(|pair| pair.name() == key);
            pair.map_or("", |pair| pair.value())
        };
        // Counters and gauges alike: which of the two a name is, its metric says.
        let value = || metric.get_counter().get_value() + metric.get_gauge().get_value();
        let whole = || value().max(0.0) as u64;
        let Self { counts, labels, times, depths, gauges, .. } = self;
        match name {
            "squeezeflow_records_in_total" => counts.read += whole(),
            "squeezeflow_bytes_in_total" => counts.bytes += whole(),
            "squeezeflow_records_out_total" => match label("outcome") {
                "enriched" => counts.enriched += whole(),
                "passed" => counts.passed += whole(),
                _ if whole() > 0 => *counts.dead.entry(label("reason").to_owned()).or_default() += whole(),
                _ => {}
            },
            "squeezeflow_labels_total" => {
                let of = Some(label("of")).filter(|of| !of.is_empty()).map(str::to_owned);
                labels.push((Label { of, name: label("label").to_owned() }, whole()));
            }
            "squeezeflow_batch_size" => {
                counts.batches += metric.get_histogram().get_sample_count();
                counts.inferred += metric.get_histogram().get_sample_sum() as u64;
            }
            "squeezeflow_tokens_total" if label("kind") == "real" => counts.tokens += whole(),
            "squeezeflow_cache_requests_total" if label("result") != "miss" => counts.reused += whole(),
            "squeezeflow_rebalances_total" => counts.rebalances += whole(),
            "squeezeflow_transactions_total" | "squeezeflow_commits_total" => match label("result") {
                "committed" | "ok" => counts.commits += whole(),
                _ => counts.aborts += whole(),
            },
            "squeezeflow_stage_records" => {
                let station = Station::ALL.iter().position(|s| s.as_str() == label("stage"));
                if let Some(depth) = station.and_then(|at| depths.get_mut(at)) {
                    *depth = whole();
                }
            }
            "squeezeflow_in_flight_records" => gauges.in_flight = whole(),
            "squeezeflow_in_flight_bytes" => gauges.in_flight_bytes = whole(),
            "squeezeflow_assigned_partitions" => gauges.assigned = whole(),
            "squeezeflow_paused_partitions" => gauges.paused = whole(),
            "squeezeflow_cache_entries" => gauges.cache_entries = whole(),
            "squeezeflow_cache_bytes" => gauges.cache_bytes = whole(),
            _ if name.starts_with("squeezeflow_partition_") => {
                let (topic, partition) = (label("topic"), label("partition"));
                let key = (topic.to_owned(), partition.parse().unwrap_or(i64::MAX));
                let of = partitions.entry(key).or_default();
                match name {
                    "squeezeflow_partition_lag_records" => of.records = Some(value()),
                    "squeezeflow_partition_lag_seconds" => of.seconds = Some(value()),
                    _ => of.oldest = value(),
                }
                (of.topic, of.partition) = (topic.to_owned(), partition.to_owned());
            }
            _ => {
                let stage = Some(label("stage")).filter(|stage| !stage.is_empty());
                let ours = TIMES.iter().position(|(_, of, at)| *of == name && *at == stage);
                if let Some(time) = ours.and_then(|at| times.get_mut(at)) {
                    *time = Buckets::of(metric.get_histogram());
                }
                if ours == Some(0) {
                    counts.tokenized = metric.get_histogram().get_sample_count();
                }
            }
        }
    }
}

/// A histogram: how many fell below each bound and not below the one before; the last: above all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Buckets {
    bounds: Vec<f64>,
    counts: Vec<u64>,
}

/// A percentile, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Quantile {
    /// As well as the buckets tell it.
    Seconds(f64),
    /// More than the last of them.
    Above { above: f64 },
}

impl Buckets {
    fn of(histogram: &Histogram) -> Self {
        let mut below = 0;
        let (mut bounds, mut counts) = (Vec::new(), Vec::new());
        for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
            bounds.push(bucket.upper_bound());
            counts.push(bucket.cumulative_count().saturating_sub(below));
            below = bucket.cumulative_count();
        }
        counts.push(histogram.get_sample_count().saturating_sub(below));
        Self { bounds, counts }
    }

    /// What came since an earlier scrape.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        let counts = self.counts.iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect();
        Self { bounds: self.bounds.clone(), counts }
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share `of` (0 to 1) of all took at most so long; between two bounds on a straight line, as
    /// Prometheus has it. `None`: there were none.
    pub(super) fn quantile(&self, of: f64) -> Option<Quantile> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = of * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, count) in self.bounds.iter().zip(&self.counts) {
            let here = *count as f64;
            if here > 0.0 && below + here >= rank {
                return Some(Quantile::Seconds(lower + (upper - lower) * ((rank - below) / here).max(0.0)));
            }
            (below, lower) = (below + here, *upper);
        }
        Some(Quantile::Above { above: lower })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::record::{Emit, LabelOf, Offset, Outcome, Record, Stamps, Timestamp};
    use crate::telemetry::{Health, Metrics, PartitionFigure};

    #[test]
    fn a_scrape_of_the_real_metrics_is_read() {
        let (metrics, registry) = Metrics::new(&Health::new()).unwrap();
        metrics.batch(3, 40, 64, Duration::from_millis(7));
        metrics.batch(5, 60, 64, Duration::from_millis(7));
        metrics.cache_request("hit");
        metrics.cache_request("joined");
        metrics.cache_request("miss");
        metrics.rebalance("assigned", 2);
        metrics.transaction("committed");
        metrics.transaction("aborted");
        metrics.in_flight(9, 900);
        metrics.assignment(2, 1);
        metrics.moved(4, None, Some(Station::Tokenize));
        metrics.moved(1, Some(Station::Tokenize), Some(Station::Inference));
        let start = Instant::now();
        metrics.delivered(start, start, Timestamp(None));
        for partition in [10, 9] {
            let lag_time = Some(Duration::from_millis(1_500)).filter(|_| partition == 9);
            let figure = PartitionFigure { lag_records: Some(7), lag_time, ..PartitionFigure::default() };
            metrics.partition("t", partition, figure);
        }
        let scrape = Scrape::of(&registry.gather());
        let Counts { batches, inferred, reused, tokens, rebalances, commits, aborts, .. } = scrape.counts;
        assert_eq!((batches, inferred, reused, tokens), (2, 8, 2, 100));
        assert_eq!((rebalances, commits, aborts), (1, 1, 1));
        assert_eq!(scrape.counts.dead, BTreeMap::new(), "none of them has happened");
        assert_eq!(scrape.depths, [3, 0, 0, 1, 0, 0, 0]);
        assert_eq!((scrape.gauges.in_flight, scrape.gauges.assigned, scrape.gauges.paused), (9, 2, 1));
        let partitions: Vec<_> =
            scrape.partitions.iter().map(|p| (p.partition.as_str(), p.records, p.seconds)).collect();
        assert_eq!(partitions, [("9", Some(7.0), Some(1.5)), ("10", Some(7.0), None)]);
        assert_eq!(scrape.times[PROCESSING].count(), 1);
        assert_eq!(TIMES[PROCESSING].0, "processing");
    }

    #[test]
    fn equal_labels_of_two_results_are_two() {
        let (metrics, registry) = Metrics::new(&Health::new()).unwrap();
        let of = |result: &str, label: &str| LabelOf {
            result: Some(result.into()),
            label: label.to_owned(),
            score: 0.9,
        };
        let record = Record {
            topic: "t".into(),
            partition: 0,
            offset: Offset::new(0),
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: Timestamp(None),
        };
        let emit = Emit {
            topic: None,
            value: None,
            headers: Vec::new(),
            timestamp: Timestamp(None),
            labels: vec![of("mood", "positive"), of("tone", "positive")],
            tokens: crate::text::TokenCount { used: 1, seen: 1 },
        };
        let outcome = Outcome::Enriched { record, emit };
        metrics.settled(&outcome, &Stamps::admitted(Instant::now()));
        let labels = Scrape::of(&registry.gather()).labels;
        let told: Vec<_> = labels.iter().map(|(l, n)| (l.of.as_deref(), l.name.as_str(), *n)).collect();
        assert_eq!(told, [(Some("mood"), "positive", 1), (Some("tone"), "positive", 1)]);
    }

    /// What a registry makes of these seconds.
    fn buckets(bounds: &[f64], seconds: &[f64]) -> Buckets {
        let mut counts = vec![0; bounds.len() + 1];
        for s in seconds {
            counts[bounds.iter().position(|bound| s <= bound).unwrap_or(bounds.len())] += 1;
        }
        Buckets { bounds: bounds.to_vec(), counts }
    }

    #[test]
    fn quantiles_of_nothing_of_little_and_beyond_the_last_bound() {
        let bounds = [0.1, 1.0];
        assert_eq!(buckets(&bounds, &[]).quantile(0.5), None);
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert_eq!(buckets(&bounds, &[9.0]).quantile(0.5), Some(Quantile::Above { above: 1.0 }));
        assert_eq!(buckets(&bounds, &[0.05, 0.05]).quantile(0.5), Some(Quantile::Seconds(0.05)));
        let json = |q: Option<Quantile>| serde_json::to_string(&q).unwrap();
        assert_eq!(json(buckets(&bounds, &[9.0]).quantile(0.5)), r#"{"above":1.0}"#);
        assert_eq!(json(buckets(&bounds, &[0.1]).quantile(1.0)), "0.1");
    }

    proptest! {
        /// Whatever the times were, the percentile is in the bucket in which the true one is.
        #[test]
        fn a_quantile_is_in_the_bucket_of_the_true_one(
            mut seconds in proptest::collection::vec(0.0..20.0_f64, 1..200),
            of in 0.01..1.0_f64,
        ) {
            let bounds = [0.01, 0.1, 0.5, 1.0, 5.0, 10.0];
            let told = buckets(&bounds, &seconds).quantile(of).unwrap();
            seconds.sort_by(f64::total_cmp);
            let at = ((of * seconds.len() as f64).ceil() as usize).clamp(1, seconds.len());
            let truth = seconds[at - 1];
            let bucket = bounds.iter().position(|bound| truth <= *bound);
            match (told, bucket) {
                (Quantile::Above { above }, None) => prop_assert_eq!(above, 10.0),
                (Quantile::Seconds(told), Some(bucket)) => {
                    let lower = if bucket == 0 { 0.0 } else { bounds[bucket - 1] };
                    prop_assert!(lower <= told && told <= bounds[bucket], "{told} for {truth}");
                }
                (told, _) => prop_assert!(false, "{told:?} for {truth}"),
            }
        }

        /// What came between two scrapes is what came, whatever was before.
        #[test]
        fn what_was_before_does_not_count(
            before in proptest::collection::vec(0.0..20.0_f64, 0..50),
            between in proptest::collection::vec(0.0..20.0_f64, 0..50),
        ) {
            let bounds = [0.1, 1.0, 10.0];
            let all: Vec<f64> = before.iter().chain(&between).copied().collect();
            let since = buckets(&bounds, &all).since(&buckets(&bounds, &before));
            prop_assert_eq!(since, buckets(&bounds, &between));
            let first = buckets(&bounds, &all).since(&Buckets::default());
            prop_assert_eq!(first.count(), all.len() as u64);
        }
    }
}
