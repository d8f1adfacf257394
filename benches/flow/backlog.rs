//! Memory while a worker reads a backlog of a million records: is it flat?

use std::time::{Duration, Instant};

use crate::common::report::{self, Rounds, head, row};
use crate::support::client::{Message, Sender};
use crate::support::cluster::Cluster;
use crate::support::scene::Scene;
use crate::{bundled, data};

const PARTITIONS: i32 = 4;
/// A worker that gets nowhere for so long is not waited for.
const STALL: Duration = Duration::from_secs(60);

pub fn bench() {
    let Some(path) = data("backlog", "sst2/dev.tsv") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let texts: Vec<&str> = text.lines().skip(1).filter_map(|l| Some(l.rsplit_once('\t')?.0)).collect();
    let records = report::number("RECORDS", 1_000_000);
    let (cluster, model) = (Cluster::start(1), bundled());
    let scene = Scene::new(&cluster, "backlog", PARTITIONS, PARTITIONS);
    let mut sender = Sender::new(&scene.client, &scene.input(), &[("linger.ms", "50")]);
    let began = Instant::now();
    for i in 0..records {
        let text = texts[i % texts.len()];
        sender.send(&Message {
            key: Some(format!("k{}", i % 997).into_bytes()),
            value: Some(serde_json::json!({ "id": i, "text": text }).to_string().into_bytes()),
            ..Message::default()
        });
    }
    sender.flush();
    eprintln!("{records} records wait, sent in {:.0} s", began.elapsed().as_secs_f64());
    let pipeline = scene.pipeline.clone().set("model.path", model.package.to_str().unwrap());
    let pipeline = pipeline.set("model.sessions", "auto");
    let pipeline = pipeline.set("kafka.commit_interval", serde_json::Value::Null);
    let pipeline = pipeline.set("cache.max_bytes", 0);
    let group = pipeline.group();
    let worker = pipeline.start_ready();
    let began = Instant::now();
    let mut tenths: Vec<Rounds> = vec![Rounds::default(); 10];
    let (mut done, mut moved) = (0, Instant::now());
    while done < records {
        std::thread::sleep(Duration::from_millis(500));
        let resident = worker.memory() as f64 / f64::from(1 << 20);
        let committed = scene.client.committed(&group, &scene.input());
        let now = committed.values().sum::<i64>() as usize;
        if now > done {
            moved = Instant::now();
        }
        assert!(moved.elapsed() < STALL, "it stands still at {now} of {records}:\n{}", worker.log());
        done = now;
        if let Some(tenth) = tenths.get_mut(done * 10 / records) {
            tenth.push(resident);
        }
        eprint!("\r{done} of {records}, {resident:.0} MiB ");
    }
    let (took, peak) = (began.elapsed().as_secs_f64(), worker.peak_memory() >> 20);
    worker.terminate();
    let names: Vec<String> = (1..=10).map(|tenth| format!("{tenth}")).collect();
    let mut cells = vec!["tenth of the backlog"];
    cells.extend(names.iter().map(String::as_str));
    let mut table = head(&cells);
    let figures = tenths.iter().map(|tenth| tenth.show(0));
    table += &row(&std::iter::once("resident, MiB".to_owned()).chain(figures).collect::<Vec<_>>());
    let how = format!(
        "{records} records of SST-2's texts waiting before the worker began, the bundled model, cache off; looked at twice a second, median (lowest to highest) of each tenth. Peak {peak} MiB; {:.0} records/s, each through the model, and committed.",
        records as f64 / took
    );
    report::publish("backlog", &how, &table);
}
