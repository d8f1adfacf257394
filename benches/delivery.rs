//! What exactly-once costs against at-least-once: CPU seconds of the worker for a record, records a
//! second at saturation, and seconds until a `read_committed` reader sees a result, with the bundled
//! model and a real Kafka of one broker on this machine. Rounds alternate, so that what the machine
//! does otherwise falls on both. `make bench-delivery`.
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
use support::client::{Message, Sender};
use support::cluster::Cluster;
use support::here;
use support::observer::follow;
use support::scene::Scene;
use support::wait::PATIENCE;

const SATURATED: usize = 3_000;
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
    scene.client.produce(&scene.input(), (0..SATURATED).map(message).collect::<Vec<_>>());
    let pipeline = scene.pipeline.clone().set("model.path", here("models/sentiment").to_str().unwrap());
    let pipeline =
        pipeline.set("output.on_existing", "replace").set("model.sessions", "auto").set("cache.max_bytes", 0);
    let pipeline = pipeline.set("kafka.commit_interval", serde_json::Value::Null);
    let worker = pipeline.set_top("delivery", kind).start();
    let (mut started, mut seen) = (None, 0);
    follow(&scene.client, &[&scene.output()], PATIENCE, |_| {
        // From the first result on: what starting costs is another bench's.
        started.get_or_insert_with(|| (Instant::now(), worker.cpu_seconds(), seen));
        seen += 1;
        seen < SATURATED
    });
    let (since, cpu, before) = started.unwrap();
    let counted = (SATURATED - before) as f64;
    let (took, cpu) = (since.elapsed().as_secs_f64(), worker.cpu_seconds() - cpu);

    let sender = {
        let (client, input) = (scene.client.clone(), scene.input());
        let paced: Vec<Message> = (0..PACED).map(message).collect();
        std::thread::spawn(move || {
            let mut sender = Sender::new(&client, &input, &[("linger.ms", "0")]);
            let begun = Instant::now();
            for (i, message) in paced.into_iter().enumerate() {
                std::thread::sleep((begun + PACE * i as u32).saturating_duration_since(Instant::now()));
                sender.send(&Message { timestamp: Some(now() as i64), ..message });
            }
            sender.flush();
        })
    };
    let mut waited = Vec::with_capacity(PACED);
    let mut skip = SATURATED;
    follow(&scene.client, &[&scene.output()], PATIENCE, |record| {
        if skip > 0 {
            skip -= 1;
            return true;
        }
        waited.push(now() - record.timestamp.unwrap() as f64);
        waited.len() < PACED
    });
    sender.join().unwrap();
    worker.terminate();
    waited.sort_by(f64::total_cmp);
    Round {
        cpu_milliseconds: cpu * 1000.0 / counted,
        records_a_second: counted / took,
        p50: waited[waited.len() / 2],
        p99: waited[waited.len() * 99 / 100],
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0
}
