//! What a scrape really shows, and that docs/OPERATIONS.md says the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use prometheus::proto::MetricType;

use super::*;
use crate::record::{DeadLetter, Emit, LabelOf, Offset, Stage};
use crate::text::TokenCount;

fn record(value: &str) -> Record {
    Record {
        topic: "reviews".into(),
        partition: 0,
        offset: Offset::new(7),
        key: Some(b"k".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![],
        timestamp: Timestamp(Some(1)),
    }
}

fn enriched(result: Option<&str>, label: &str) -> Outcome {
    let emit = Emit {
        topic: None,
        value: None,
        headers: vec![],
        timestamp: Timestamp(None),
        labels: vec![LabelOf { result: result.map(Into::into), label: label.to_owned(), score: 0.9 }],
        tokens: TokenCount { used: 5, seen: 5 },
    };
    Outcome::Enriched { record: record("x"), emit }
}

/// Everything that a worker can do, once, with known figures.
fn exercise(metrics: &Metrics, health: &Health) {
    let start = Instant::now();
    let at = |millis| Some(start + Duration::from_millis(millis));
    let unanswered = Stamps::admitted(start);
    let stamps = Stamps { taken: at(1), tokenized: at(3), batched: at(10), inferred: at(40), ..unanswered };
    health.model_warm("sentiment", "sha256:ab", "fp32", "cpu");
    health.joined(2);
    metrics.admitted(&record("abcd"));
    metrics.settled(&enriched(Some("mood"), "positive"), &stamps);
    let letter =
        DeadLetter { reason: Reason::InvalidJson, message: "not JSON".to_owned(), stage: Stage::Decode };
    metrics.settled(&Outcome::DeadLetter { record: record("{"), letter }, &unanswered);
    metrics.settled(&Outcome::PassThrough { record: record(""), why: PassThrough::Tombstone }, &unanswered);
    metrics.delivered(start, start, Timestamp(Some(1_000)));
    metrics.delivered(start, start, Timestamp(None));
    metrics.batch(3, 50, 60, Duration::from_millis(30));
    metrics.batch_split();
    metrics.cache_request("hit");
    metrics.cache_request("joined");
    metrics.cache_request("miss");
    metrics.cache(3, 900, 2);
    metrics.rebalance("assigned", 2);
    metrics.commit(true);
    metrics.commit(false);
    metrics.gap("reviews", 1, 12);
    metrics.stale();
    metrics.stalled("reviews", 1);
    metrics.transaction("committed");
    metrics.spans("exported", 7);
    metrics.metric_export(true);
    metrics.metric_export(false);
    metrics.in_flight(5, 4_000);
    metrics.assignment(2, 1);
    let figure = PartitionFigure {
        lag_records: Some(42),
        lag_time: Some(Duration::from_secs(7)),
        oldest_unsettled: Duration::from_millis(1_500),
    };
    metrics.partition("reviews", 0, figure);
    metrics.partition("reviews", 1, PartitionFigure::default());
}

fn scrape(registry: &Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

fn exercised() -> (Metrics, Registry) {
    let health = Health::new();
    let (metrics, registry) = Metrics::new(&health).unwrap();
    exercise(&metrics, &health);
    (metrics, registry)
}

#[test]
fn a_scrape_shows_what_was_recorded() {
    let (_metrics, registry) = exercised();
    let text = scrape(&registry);
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in [
        "squeezeflow_records_in_total 1",
        "squeezeflow_bytes_in_total 5",
        r#"squeezeflow_records_out_total{outcome="enriched",reason="none"} 1"#,
        r#"squeezeflow_records_out_total{outcome="dead_letter",reason="invalid_json"} 1"#,
        r#"squeezeflow_records_out_total{outcome="dead_letter",reason="text_empty"} 0"#,
        r#"squeezeflow_records_out_total{outcome="passed",reason="tombstone"} 1"#,
        r#"squeezeflow_labels_total{label="positive",of="mood"} 1"#,
        r#"squeezeflow_stage_duration_seconds_bucket{stage="tokenize",le="0.002"} 0"#,
        r#"squeezeflow_stage_duration_seconds_bucket{stage="tokenize",le="0.005"} 1"#,
        r#"squeezeflow_stage_duration_seconds_count{stage="queue"} 1"#,
        r#"squeezeflow_stage_duration_seconds_count{stage="inference"} 1"#,
        r#"squeezeflow_stage_duration_seconds_count{stage="publish"} 2"#,
        r#"squeezeflow_processing_duration_seconds_bucket{le="60"} 2"#,
        "squeezeflow_end_to_end_duration_seconds_count 1",
        r#"squeezeflow_batch_size_bucket{le="4"} 1"#,
        r#"squeezeflow_batch_size_bucket{le="2"} 0"#,
        "squeezeflow_batch_duration_seconds_count 1",
        "squeezeflow_batch_splits_total 1",
        r#"squeezeflow_tokens_total{kind="real"} 50"#,
        r#"squeezeflow_tokens_total{kind="padded"} 60"#,
        r#"squeezeflow_rebalances_total{kind="assigned"} 1"#,
        r#"squeezeflow_rebalances_total{kind="lost"} 0"#,
        r#"squeezeflow_rebalanced_partitions_total{kind="assigned"} 2"#,
        r#"squeezeflow_commits_total{result="ok"} 1"#,
        r#"squeezeflow_commits_total{result="error"} 1"#,
        r#"squeezeflow_offset_gap_records_total{partition="1",topic="reviews"} 12"#,
        "squeezeflow_stale_results_total 1",
        "squeezeflow_in_flight_records 5",
        "squeezeflow_in_flight_bytes 4000",
        "squeezeflow_assigned_partitions 2",
        "squeezeflow_paused_partitions 1",
        r#"squeezeflow_partition_lag_records{partition="0",topic="reviews"} 42"#,
        r#"squeezeflow_partition_lag_seconds{partition="0",topic="reviews"} 7"#,
        r#"squeezeflow_label_score_count{label="positive",of="mood"} 1"#,
        r#"squeezeflow_label_score_bucket{label="positive",of="mood",le="0.9"} 1"#,
        r#"squeezeflow_label_score_bucket{label="positive",of="mood",le="0.8"} 0"#,
        r#"squeezeflow_spans_total{result="exported"} 7"#,
        r#"squeezeflow_spans_total{result="dropped"} 0"#,
        r#"squeezeflow_metric_exports_total{result="error"} 1"#,
        "squeezeflow_live 1",
        r#"squeezeflow_partition_oldest_unsettled_seconds{partition="0",topic="reviews"} 1.5"#,
        r#"squeezeflow_partition_oldest_unsettled_seconds{partition="1",topic="reviews"} 0"#,
        r#"squeezeflow_model_info{digest="sha256:ab",model="sentiment",precision="fp32",provider="cpu"} 1"#,
        "squeezeflow_ready 1",
    ] {
        assert!(lines.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(r#"lag_records{partition="1""#), "an unknown lag is not shown");
    assert!(!text.contains("otel_scope") && !text.contains("target_info"), "{text}");
}

#[test]
fn of_the_only_result_there_is_nothing_to_tell_apart() {
    let (metrics, registry) = Metrics::new(&Health::new()).unwrap();
    metrics.settled(&enriched(None, "positive"), &Stamps::admitted(Instant::now()));
    let text = scrape(&registry);
    assert!(text.contains(r#"squeezeflow_labels_total{label="positive"} 1"#), "{text}");
    assert!(text.contains(r#"squeezeflow_label_score_count{label="positive"} 1"#), "{text}");
}

#[test]
fn a_forgotten_partition_has_no_series() {
    let (metrics, registry) = exercised();
    assert!(scrape(&registry).contains(r#"lag_records{partition="0""#));
    metrics.forget_partition("reviews", 0);
    let text = scrape(&registry);
    assert!(!text.contains(r#"lag_records{partition="0""#), "{text}");
    assert!(!text.contains(r#"unsettled_seconds{partition="0""#), "{text}");
    assert!(text.contains(r#"unsettled_seconds{partition="1""#), "the other one stays");
    metrics.partition("reviews", 0, PartitionFigure { lag_records: Some(1), ..Default::default() });
    assert!(
        scrape(&registry).contains(r#"lag_records{partition="0",topic="reviews"} 1"#),
        "it may come back"
    );
}

#[test]
fn counters_are_there_before_anything_happens() {
    let (_metrics, registry) = Metrics::new(&Health::new()).unwrap();
    let text = scrape(&registry);
    assert!(text.contains("squeezeflow_records_in_total 0"));
    for reason in Reason::ALL {
        let series = format!(r#"outcome="dead_letter",reason="{reason}"}} 0"#);
        assert!(text.contains(&series), "{series}");
    }
    assert!(text.contains("squeezeflow_ready 0") && !text.contains("squeezeflow_model_info{"));
}

#[test]
fn a_disabled_one_takes_everything_and_shows_nothing() {
    exercise(&Metrics::disabled(), &Health::new());
}

#[test]
fn ages_are_of_the_wall_clock_and_never_negative() {
    let now = UNIX_EPOCH + Duration::from_millis(5_000);
    assert_eq!(age(Timestamp(Some(3_000)), now), Some(Duration::from_secs(2)));
    assert_eq!(age(Timestamp(Some(9_000)), now), Some(Duration::ZERO));
    assert_eq!(age(Timestamp(None), now), None);
    assert_eq!(age(Timestamp(Some(-1)), now), None);
}

/// Rows of the document's table of metrics: name, type, labels.
fn documented() -> BTreeSet<(String, String, BTreeSet<String>)> {
    let text = include_str!("../../docs/OPERATIONS.md");
    text.lines()
        .filter(|line| line.starts_with("| `squeezeflow_"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let names = |cell: &str| -> Vec<String> {
                cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
            };
            (names(cells[1]).concat(), cells[2].to_owned(), names(cells[3]).into_iter().collect())
        })
        .collect()
}

#[test]
fn the_document_lists_what_is_exposed_and_nothing_else() {
    let (_metrics, registry) = exercised();
    let exposed: BTreeSet<_> = registry
        .gather()
        .iter()
        .map(|family| {
            let kind = match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::GAUGE => "gauge",
                MetricType::HISTOGRAM => "histogram",
                other => panic!("{other:?}"),
            };
            let labels = family.get_metric().iter().flat_map(|m| m.get_label());
            let labels = labels.map(|l| l.name().to_owned()).collect();
            (family.name().to_owned(), kind.to_owned(), labels)
        })
        .collect();
    let documented = documented();
    let missing: Vec<_> = exposed.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&exposed).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not documented: {missing:#?}\nnot exposed: {invented:#?}"
    );
}

#[test]
fn the_document_explains_every_reason() {
    let text = include_str!("../../docs/OPERATIONS.md");
    for reason in Reason::ALL {
        assert!(text.contains(&format!("| `{reason}` |")), "{reason} is not explained");
    }
}
