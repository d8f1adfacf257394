//! What tracing costs: CPU seconds of the worker for a record, with tracing off, with 1 % of the records
//! sampled and with all of them, with the bundled model and a real Kafka of one broker on this machine.
//! The collector is in this process, so its work is not the worker's. Rounds alternate, and each begins
//! with another kind, so that what the machine does otherwise falls on all. Part of `make bench`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code
)]

#[path = "../tests/kafka/collector.rs"]
mod collector;
#[path = "common/report.rs"]
mod report;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use collector::Collector;
use report::{Rounds, head, row};
use squeezeflow::demo;
use support::client::Message;
use support::cluster::Cluster;
use support::here;
use support::observer::follow;
use support::scene::Scene;
use support::wait::PATIENCE;

const RECORDS: usize = 5_000;
/// The share that is sampled; none: tracing is off.
const KINDS: [(&str, Option<f64>); 3] =
    [("off", None), ("1 % sampled", Some(0.01)), ("all sampled", Some(1.0))];

/// One round of one kind.
struct Round {
    cpu_milliseconds: f64,
    records_a_second: f64,
    spans_a_record: f64,
}

fn main() {
    let rounds = report::number("ROUNDS", 10);
    let cluster = Cluster::start(1);
    let texts: Vec<Vec<u8>> = demo::stream(2_000)
        .into_iter()
        .filter_map(|sample| match sample.expect {
            demo::Expect::Tagged => sample.value,
            _ => None,
        })
        .collect();
    let mut measured: [Vec<Round>; 3] = Default::default();
    // One of each that does not count: topics, caches, clocks.
    for round in 0..=rounds {
        for at in 0..KINDS.len() {
            let kind = (at + round) % KINDS.len();
            let (name, ratio) = KINDS[kind];
            let result = measure(&cluster, &format!("tracing-{kind}-{round}"), ratio, &texts);
            println!(
                "{round:>2} {name:<12} {:.3} ms CPU a record, {:.0} records/s, {:.2} spans a record",
                result.cpu_milliseconds, result.records_a_second, result.spans_a_record
            );
            if round > 0 {
                measured[kind].push(result);
            }
        }
    }
    let [off, one, all] = KINDS.map(|(name, _)| name);
    let mut table = head(&["", off, one, all, "1 % / off", "all / off"]);
    let mut line = |name: &str, digits: usize, of: fn(&Round) -> f64| {
        let [off, one, all] = measured.each_ref().map(|rounds| Rounds(rounds.iter().map(of).collect()));
        let ratios = [one.over(&off).show(3), all.over(&off).show(3)];
        let [off, one, all] = [off, one, all].map(|rounds| rounds.show(digits));
        let [first, second] = ratios;
        table += &row(&[name.to_owned(), off, one, all, first, second]);
    };
    line("CPU milliseconds a record", 3, |r| r.cpu_milliseconds);
    line("records/s at saturation", 0, |r| r.records_a_second);
    let spans = measured
        .each_ref()
        .map(|rounds| format!("{:.2}", Rounds(rounds.iter().map(|r| r.spans_a_record).collect()).median()));
    let [off, one, all] = spans;
    table += &row(&["spans a record".to_owned(), off, one, all, String::new(), String::new()]);
    let how = format!(
        "{rounds} alternating rounds of {RECORDS} records; median (lowest to highest), ratios round by round. One broker, four partitions, exactly once, OTLP over gRPC to a collector in another process; no metrics exported."
    );
    report::publish("tracing", &how, &table);
}

fn measure(cluster: &Cluster, name: &str, ratio: Option<f64>, texts: &[Vec<u8>]) -> Round {
    let scene = Scene::new(cluster, name, 4, 4);
    let message = |i: usize| Message {
        key: Some(format!("k{}", i % 97).into_bytes()),
        value: Some(texts[i % texts.len()].clone()),
        ..Message::default()
    };
    let collector = Collector::grpc();
    let pipeline = scene.pipeline.clone().set("model.path", here("models/sentiment").to_str().unwrap());
    let pipeline =
        pipeline.set("output.on_existing", "replace").set("model.sessions", "auto").set("cache.max_bytes", 0);
    let mut pipeline = pipeline.set("kafka.commit_interval", serde_json::Value::Null);
    if let Some(ratio) = ratio {
        let otlp = serde_json::json!({
            "endpoint": collector.endpoint, "protocol": collector.protocol, "sampling_ratio": ratio,
            "metrics": false,
        });
        pipeline = pipeline.set_top("telemetry", serde_json::json!({ "otlp": otlp }));
    }
    // From the first record to the last export. What starting costs is another bench's.
    let mut worker = pipeline.start_ready();
    let (since, cpu) = (Instant::now(), worker.cpu_seconds());
    scene.client.produce(&scene.input(), (0..RECORDS).map(message).collect::<Vec<_>>());
    let mut seen = 0;
    follow(&scene.client, &[&scene.output()], PATIENCE, |_| {
        seen += 1;
        seen < RECORDS
    });
    let took = since.elapsed().as_secs_f64();
    // The exporter waits a second for company; then everything is out.
    std::thread::sleep(Duration::from_millis(1_500));
    let cpu = worker.cpu_seconds() - cpu;
    let spans = collector.spans().len();
    let exported = worker.metric("squeezeflow_spans_total", "exported");
    assert_eq!(exported, Some(spans as f64), "what the worker says is what came");
    worker.signal(libc::SIGTERM);
    assert!(worker.wait().success());
    Round {
        cpu_milliseconds: cpu * 1000.0 / RECORDS as f64,
        records_a_second: RECORDS as f64 / took,
        spans_a_record: spans as f64 / RECORDS as f64,
    }
}
