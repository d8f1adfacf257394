//! Kafka to Kafka: squeezeflow, the Python worker on the same texts and model, and the model alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use squeezeflow::config::settings::LongText;
use squeezeflow::config::{Overrides, load};
use squeezeflow::model::Package;
use squeezeflow::text::TextTokenizer;

use crate::common::report::{self, Rounds, head, here, row};
use crate::common::subject::{Batches, Spec, Subject};
use crate::support::client::{Message, Sender};
use crate::support::cluster::Cluster;
use crate::support::observer::follow;
use crate::support::process::Process;
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;
use crate::support::worker::Worker;
use crate::{Model, base, batches, bundled, data};

/// Records on their way at saturation, from the producer to a reader: enough for every batch to be full.
fn outstanding(records: usize) -> usize {
    (records / 4).clamp(64, 2_000)
}

const PARTITIONS: i32 = 4;

/// One round of one worker.
struct Round {
    rate: f64,
    saturated: Percentiles,
    calm: Percentiles,
    cpu: f64,
    /// The same by thread; of the Python worker nothing.
    threads: BTreeMap<String, f64>,
    memory: f64,
}

/// Milliseconds from a record's sending until a reader of committed records has its result.
struct Percentiles([f64; 3]);

pub fn bench() {
    let Some(path) = data("kafka", "sst2/dev.tsv") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let texts: Vec<&str> = text.lines().skip(1).filter_map(|l| Some(l.rsplit_once('\t')?.0)).collect();
    let python = Command::new(here("scripts/bench-python.sh")).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let python = here(String::from_utf8_lossy(&python.stdout).trim());
    let cluster = Cluster::start(1);
    let rounds = report::rounds();
    let mut table = head(&[
        "",
        "",
        "texts/s",
        "to Python",
        "p50, p95, p99 at saturation, ms",
        "p50, p95, p99 at 70 %, ms",
        "CPU ms a record",
        "to the raw session",
        "peak RSS, MiB",
    ]);
    let mut profiles = String::new();
    for model in [bundled(), base()] {
        let records =
            report::number("RECORDS", if model.name.starts_with("SqueezeBERT-base") { 2_000 } else { 8_000 });
        let mut raw = Subject::start(Spec::ours("raw", &model.package, false));
        let batches = as_batches(&model.package, &texts, records);
        let (mut ours, mut theirs, mut alone) = (Vec::new(), Vec::new(), Rounds::default());
        for round in 0..=rounds {
            let name = |kind: &str| format!("bench-{}-{kind}-{round}", model.name.replace([' ', ','], "-"));
            let one = squeezeflow(&cluster, &name("ours"), &model, &texts, records);
            let took = raw.run(&batches);
            let other = by_python(&cluster, &name("python"), &python, &model, &texts, records);
            eprintln!(
                "{round:>2} {}: {:.0} texts/s, {:.3} ms CPU; raw {:.3} ms; Python {:.0} texts/s, {:.3} ms",
                model.name,
                one.rate,
                one.cpu,
                took.cpu * 1e3 / records as f64,
                other.rate,
                other.cpu
            );
            if round > 0 {
                ours.push(one);
                theirs.push(other);
                alone.push(took.cpu * 1e3 / records as f64);
            }
        }
        let of = |rounds: &[Round], figure: fn(&Round) -> f64| Rounds(rounds.iter().map(figure).collect());
        let percentiles = |rounds: &[Round], of: fn(&Round) -> &Percentiles| {
            let one = |i: usize| Rounds(rounds.iter().map(|r| of(r).0[i]).collect()).median();
            format!("{:.0}, {:.0}, {:.0}", one(0), one(1), one(2))
        };
        for (kind, rounds) in
            [("squeezeflow, exactly once", &ours), ("Python worker, at least once", &theirs)]
        {
            let (rate, cpu) = (of(rounds, |r| r.rate), of(rounds, |r| r.cpu));
            table += &row(&[
                model.name.to_owned(),
                kind.to_owned(),
                rate.show(0),
                format!("{}×", rate.over(&of(&theirs, |r| r.rate)).show(2)),
                percentiles(rounds, |r| &r.saturated),
                percentiles(rounds, |r| &r.calm),
                cpu.show(3),
                format!("{}×", cpu.over(&alone).show(3)),
                format!("{:.0}", of(rounds, |r| r.memory).median()),
            ]);
        }
        profiles += &profile(model.name, &ours);
        table += &row(&[
            model.name.to_owned(),
            "raw session".to_owned(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            alone.show(3),
            "1×".to_owned(),
            String::new(),
        ]);
    }
    let how = format!(
        "{rounds} alternating rounds; median (lowest to highest), latencies as medians of the rounds' percentiles. Saturation: a quarter of the records, 2,000 at most, on their way at any time. Results seen by a `read_committed` reader. Python runs the stock export of the same weights."
    );
    report::publish("kafka", &how, &(table + &profiles));
}

/// Where squeezeflow's processor time goes, thread by thread.
fn profile(model: &str, rounds: &[Round]) -> String {
    let names: BTreeSet<&String> = rounds.iter().flat_map(|round| round.threads.keys()).collect();
    let of = |name: &String| {
        let each = rounds.iter().map(|round| round.threads.get(name).copied().unwrap_or_default());
        Rounds(each.collect()).median()
    };
    let mut all: Vec<(f64, &String)> = names.into_iter().map(|name| (of(name), name)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shown = all.iter().filter(|(used, _)| *used >= 0.0005);
    let parts: Vec<String> = shown.map(|(used, name)| format!("{name} {used:.3}")).collect();
    format!("\nCPU ms a record by thread, {model}: {}.\n", parts.join(", "))
}

/// The tokens that the worker makes of the texts, in the batches that it makes of them.
fn as_batches(package: &Path, texts: &[&str], records: usize) -> Batches {
    let package = Package::open(package).unwrap();
    let tokenizer = TextTokenizer::new(&package, package.max_length, LongText::Truncate).unwrap();
    let ids = |i: usize| tokenizer.tokenize(texts[i % texts.len()]).unwrap().0.swap_remove(0).ids;
    let settings = load(&here("pipelines/sentiment.yaml"), &Overrides::default()).unwrap().settings;
    batches((0..records).map(ids).collect(), &settings.batch, package.layout)
}

fn squeezeflow(cluster: &Cluster, name: &str, model: &Model, texts: &[&str], records: usize) -> Round {
    let scene = Scene::new(cluster, name, PARTITIONS, PARTITIONS);
    let pipeline = scene.pipeline.clone().set("model.path", model.package.to_str().unwrap());
    let pipeline = pipeline.set("model.sessions", "auto").set("cache.max_bytes", 0);
    let pipeline = pipeline.set("kafka.commit_interval", serde_json::Value::Null);
    let worker = pipeline.start_ready();
    let cpu = || (worker.cpu_seconds(), worker.cpu_by_thread());
    let round = measure(&scene, texts, records, cpu, || worker.peak_memory());
    Worker::terminate(worker);
    round
}

fn by_python(
    cluster: &Cluster,
    name: &str,
    python: &Path,
    model: &Model,
    texts: &[&str],
    records: usize,
) -> Round {
    let scene = Scene::new(cluster, name, PARTITIONS, PARTITIONS);
    let mut command = Command::new(python);
    command.arg(here("benches/python_worker.py")).args([
        &cluster.bootstrap,
        name,
        &scene.input(),
        &scene.output(),
    ]);
    command
        .args([model.stock.join("model.onnx"), model.stock.join("tokenizer.json")])
        .arg("negative,positive");
    let mut worker = Process::start(command);
    let pid = worker.pid();
    let round = measure(&scene, texts, records, || (cpu_seconds(pid), BTreeMap::new()), || peak_memory(pid));
    worker.signal(libc::SIGTERM);
    worker.wait("the Python worker", PATIENCE);
    round
}

fn measure(
    scene: &Scene,
    texts: &[&str],
    records: usize,
    cpu: impl Fn() -> (f64, BTreeMap<String, f64>),
    memory: impl Fn() -> u64,
) -> Round {
    let message = |i: usize| Message {
        key: Some(format!("k{}", i % 97).into_bytes()),
        value: Some(serde_json::json!({ "id": i, "text": texts[i % texts.len()] }).to_string().into_bytes()),
        timestamp: Some(now() as i64),
        ..Message::default()
    };
    let seen = Arc::new(AtomicUsize::new(0));
    // At saturation: as many on their way as there may be, at the beginning of what is measured and at its
    // end; else what was computed before the one, and not seen yet, would be counted for nothing.
    let most = outstanding(records);
    let all = records + most;
    let feeding = {
        let (client, input, seen) = (scene.client.clone(), scene.input(), seen.clone());
        let values: Vec<Message> = (0..all).map(message).collect();
        std::thread::spawn(move || {
            let mut sender = Sender::new(&client, &input, &[("linger.ms", "1")]);
            for (i, message) in values.into_iter().enumerate() {
                while i >= seen.load(Ordering::Relaxed) + most {
                    std::thread::sleep(Duration::from_millis(1));
                    sender.poll();
                }
                sender.send(&Message { timestamp: Some(now() as i64), ..message });
            }
            sender.flush();
        })
    };
    // What starting and filling up costs is not of interest here.
    let skip = records / 5;
    let mut waited = Vec::new();
    let (mut from, mut to) = (None, None);
    follow(&scene.client, &[&scene.output()], PATIENCE, |record| {
        let count = seen.fetch_add(1, Ordering::Relaxed) + 1;
        if count == skip {
            from = Some((Instant::now(), cpu()));
        } else if count > skip && count <= records {
            waited.push(now() - record.timestamp.unwrap() as f64);
        }
        if count == records {
            to = Some((Instant::now(), cpu()));
        }
        count < all
    });
    let ((began, (cpu_before, before)), (ended, (cpu_after, after))) = (from.unwrap(), to.unwrap());
    let counted = (records - skip) as f64;
    let rate = counted / (ended - began).as_secs_f64();
    let cpu = (cpu_after - cpu_before) * 1e3 / counted;
    let share = |(name, used): (String, f64)| {
        let used = used - before.get(&name).copied().unwrap_or_default();
        (name, used * 1e3 / counted)
    };
    let threads = after.into_iter().map(share).collect();
    feeding.join().unwrap();
    let saturated = Percentiles::of(waited);

    // At 70 % of that, for a third as many records, and for three seconds at least.
    let paced = (records / 3).max((0.7 * rate * 3.0) as usize);
    let pace = Duration::from_secs_f64(1.0 / (0.7 * rate));
    // Begun when the reader has read what was there: it is to wait for results, and none for it.
    let (caught_up, wait) = std::sync::mpsc::channel::<()>();
    let sending = {
        let (client, input) = (scene.client.clone(), scene.input());
        let values: Vec<Message> = (0..paced).map(message).collect();
        std::thread::spawn(move || {
            let mut sender = Sender::new(&client, &input, &[("linger.ms", "0")]);
            wait.recv().unwrap();
            let begun = Instant::now();
            for (i, message) in values.into_iter().enumerate() {
                std::thread::sleep((begun + pace * i as u32).saturating_duration_since(Instant::now()));
                sender.send(&Message { timestamp: Some(now() as i64), ..message });
            }
            sender.flush();
        })
    };
    let (mut left, mut waited) = (all, Vec::with_capacity(paced));
    follow(&scene.client, &[&scene.output()], PATIENCE, |record| {
        if left > 0 {
            left -= 1;
            if left == 0 {
                caught_up.send(()).unwrap();
            }
            return true;
        }
        waited.push(now() - record.timestamp.unwrap() as f64);
        waited.len() < paced
    });
    sending.join().unwrap();
    Round {
        rate,
        saturated,
        calm: Percentiles::of(waited),
        cpu,
        threads,
        memory: memory() as f64 / f64::from(1 << 20),
    }
}

impl Percentiles {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self([50, 95, 99].map(|p| all[(all.len() * p / 100).min(all.len() - 1)]))
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1e3
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
