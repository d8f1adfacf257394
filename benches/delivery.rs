//! What exactly-once costs against at-least-once: CPU seconds of the worker for a record, records a
//! second at saturation, and seconds until a `read_committed` reader sees a result, with the bundled
//! model and a real Kafka of one broker on this machine. Rounds alternate, so that what the machine
//! does otherwise falls on both. Part of `make bench`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code
)]

#[path = "common/report.rs"]
mod report;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use report::{Rounds, head, row};
use squeezeflow::demo;
use support::client::{Client, Message, Sender};
use support::cluster::Cluster;
use support::here;
use support::observer::follow;
use support::scene::Scene;
use support::wait::PATIENCE;

const SATURATED: usize = 3_000;
/// Of the paced ones, those that open the connections.
const WARM_UP: usize = 100;
const PACED: usize = 600;
const PACE: Duration = Duration::from_millis(10);

/// One round of one kind.
struct Round {
    cpu_milliseconds: f64,
    records_a_second: f64,
    p50: f64,
    p99: f64,
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
    let kinds = ["at-least-once", "exactly-once"];
    let mut measured: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
    // One of each that does not count: topics, caches, clocks.
    for round in 0..=rounds {
        for (kind, rounds) in kinds.iter().zip(&mut measured) {
            let result = measure(&cluster, kind, round, &texts);
            println!(
                "{round:>2} {kind:<14} {:.3} ms CPU a record, {:.0} records/s, p50 {:.0} ms, p99 {:.0} ms",
                result.cpu_milliseconds, result.records_a_second, result.p50, result.p99
            );
            if round > 0 {
                rounds.push(result);
            }
        }
    }
    let mut table = head(&["", "at-least-once", "exactly-once", "ratio"]);
    let mut line = |name: &str, digits: usize, of: fn(&Round) -> f64| {
        let [a, e] = measured.each_ref().map(|rounds| Rounds(rounds.iter().map(of).collect()));
        table += &row(&[name.to_owned(), a.show(digits), e.show(digits), e.over(&a).show(3)]);
    };
    line("CPU milliseconds a record", 3, |r| r.cpu_milliseconds);
    line("records/s at saturation", 0, |r| r.records_a_second);
    line("p50 until visible, 100 records/s, ms", 0, |r| r.p50);
    line("p99 until visible, 100 records/s, ms", 0, |r| r.p99);
    let how = format!(
        "{rounds} alternating rounds; median (lowest to highest), ratios round by round. One broker, four partitions."
    );
    report::publish("delivery", &how, &table);
}

fn measure(cluster: &Cluster, kind: &str, round: usize, texts: &[Vec<u8>]) -> Round {
    let scene = Scene::new(cluster, &format!("bench-{kind}-{round}"), 4, 4);
    let message = |i: usize| Message {
        key: Some(format!("k{}", i % 97).into_bytes()),
        value: Some(texts[i % texts.len()].clone()),
        timestamp: Some(now() as i64),
        ..Message::default()
    };
    let pipeline = scene.pipeline.clone().set("model.path", here("models/sentiment").to_str().unwrap());
    let pipeline =
        pipeline.set("output.on_existing", "replace").set("model.sessions", "auto").set("cache.max_bytes", 0);
    let pipeline = pipeline.set("kafka.commit_interval", serde_json::Value::Null);
    // What starting costs is another bench's. From the first record to the last result, whenever that is
    // visible: what is done before the first commit counts like all else.
    let worker = pipeline.set_top("delivery", kind).start_ready();
    let (since, cpu) = (Instant::now(), worker.cpu_seconds());
    scene.client.produce(&scene.input(), (0..SATURATED).map(message).collect::<Vec<_>>());
    let (mut seen, mut sender, mut at_saturation) = (0, None, None);
    let mut waited = Vec::with_capacity(PACED);
    follow(&scene.client, &[&scene.output()], PATIENCE, |record| {
        seen += 1;
        if seen == SATURATED {
            at_saturation = Some((since.elapsed().as_secs_f64(), worker.cpu_seconds() - cpu));
            // The reader is at its end, and the worker idle.
            let (client, input) = (scene.client.clone(), scene.input());
            let paced: Vec<Message> = (0..WARM_UP + PACED).map(message).collect();
            sender = Some(std::thread::spawn(move || pace(&client, &input, paced)));
        } else if seen > SATURATED + WARM_UP {
            waited.push(now() - record.timestamp.unwrap() as f64);
        }
        waited.len() < PACED
    });
    sender.unwrap().join().unwrap();
    let (took, cpu) = at_saturation.unwrap();
    worker.terminate();
    waited.sort_by(f64::total_cmp);
    Round {
        cpu_milliseconds: cpu * 1000.0 / SATURATED as f64,
        records_a_second: SATURATED as f64 / took,
        p50: waited[waited.len() / 2],
        p99: waited[waited.len() * 99 / 100],
    }
}

/// Sends one each [`PACE`], with the time at which it is sent.
fn pace(client: &Client, input: &str, messages: Vec<Message>) {
    let mut sender = Sender::new(client, input, &[("linger.ms", "0")]);
    let begun = Instant::now();
    for (i, message) in messages.into_iter().enumerate() {
        std::thread::sleep((begun + PACE * i as u32).saturating_duration_since(Instant::now()));
        sender.send(&Message { timestamp: Some(now() as i64), ..message });
    }
    sender.flush();
}

/// Milliseconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0
}
