//! Records of every kind, mixed, through a real Kafka: what went in equals what came out, kind by
//! kind, byte for byte, in order, and the worker needs no more memory for the last than for others.
//!
//! `make accounted` runs the same with 100,000 records and prints the account.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{Client, Message, Sender};
use crate::support::cluster::Cluster;
use crate::support::observer::{Seen, follow, source_of};
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};
use crate::support::worker::Worker;
use crate::support::zoo::{Came, Ends, Kind, Zoo, judge};

const PARTITIONS: usize = 6;
/// So many records may be in the input and not in the output yet.
const AHEAD: usize = 3_000;
/// Of memory, over the run.
const SAMPLES: usize = 60;

/// Resident: three times the 64 MiB in flight (as read, as written, in the producer), the program
/// with its model and library, and what an allocator keeps of values of 10 MB.
const MOST_MIB: u64 = 512;

/// How many records; `make accounted` asks for more.
fn records() -> usize {
    std::env::var("SQUEEZEFLOW_ACCOUNTED").map_or(6_000, |n| n.parse().expect("a number of records"))
}

/// A stream in which everything is known beforehand.
#[derive(Clone, Copy)]
struct Mix {
    zoo: Zoo,
    records: usize,
}

impl Mix {
    fn kind(self, number: usize) -> &'static Kind {
        // Each of the largest kinds comes once in so many records.
        let period = if self.is_long() { 5_000 } else { 1_000 };
        self.zoo.pick(number, period)
    }

    /// A short run is over before the allocator has settled down.
    fn is_long(self) -> bool {
        self.records >= 20_000
    }

    fn message(self, number: usize) -> Message {
        let partition = Some((number % PARTITIONS) as i32);
        Message { partition, ..self.kind(number).message(number) }
    }

    /// The number of the record at this place of a fresh topic.
    fn number(partition: i32, offset: i64) -> usize {
        offset as usize * PARTITIONS + partition as usize
    }

    fn expected(self) -> BTreeMap<Ends, usize> {
        let mut counts = BTreeMap::new();
        for number in 0..self.records {
            *counts.entry(self.zoo.ends(self.kind(number))).or_default() += 1;
        }
        counts
    }
}

/// What came out, record by record.
struct Account {
    mix: Mix,
    input: String,
    seen: Vec<bool>,
    counts: BTreeMap<Ends, usize>,
    /// Last offset by output topic, output partition and input partition.
    lines: BTreeMap<(String, i32, i32), i64>,
}

impl Account {
    fn of(mix: Mix, input: String) -> Self {
        let seen = vec![false; mix.records];
        Self { mix, input, seen, counts: BTreeMap::new(), lines: BTreeMap::new() }
    }

    fn add(&mut self, seen: Seen) {
        let (topic, partition, offset) = source_of(&seen);
        assert_eq!(topic, self.input, "out of nothing");
        let number = Mix::number(partition, offset);
        assert!(!std::mem::replace(&mut self.seen[number], true), "number {number} came twice");
        let (kind, sent) = (self.mix.kind(number), self.mix.message(number));
        let expected = self.mix.zoo.ends(kind);
        let (out, line) = (seen.partition, (seen.topic.clone(), seen.partition, partition));
        let came = came(seen, &sent, expected);
        judge(self.mix.zoo, kind, expected, &sent, &came)
            .unwrap_or_else(|what| panic!("number {number}: {what}"));
        *self.counts.entry(came.ends).or_default() += 1;
        // What the output topic refused comes to the dead letters when it was refused, not in its turn.
        if came.ends != Ends::Dead("output_too_large") {
            let before = self.lines.insert(line, offset);
            assert!(
                before.is_none_or(|before| before < offset),
                "{offset} after {before:?} in partition {out}"
            );
        }
    }

    fn total(&self) -> usize {
        self.counts.values().sum()
    }
}

/// As the headers and the value tell it. Why a record was passed on is not told in it; the metrics
/// count that.
fn came(seen: Seen, sent: &Message, expected: Ends) -> Came {
    let ends = match (seen.header("__squeezeflow.errors.reason"), expected) {
        (Some(reason), _) => Ends::Dead(known(reason)),
        (None, Ends::Passed(why)) if seen.value == sent.value => Ends::Passed(why),
        (None, _) if seen.value == sent.value => Ends::Passed("for no reason"),
        (None, _) => Ends::Enriched,
    };
    let message = seen.header("__squeezeflow.errors.message").unwrap_or_default().to_owned();
    let Seen { key, value, headers, timestamp, .. } = seen;
    Came { ends, key, value, headers, timestamp, message }
}

/// The same word, for ever.
fn known(reason: &str) -> &'static str {
    let all = [Zoo::Strict, Zoo::Lenient, Zoo::Raw].into_iter();
    let mut ends = all.flat_map(|zoo| zoo.kinds().iter().map(move |kind| zoo.ends(kind)));
    ends.find_map(|ends| match ends {
        Ends::Dead(known) if known == reason => Some(known),
        _ => None,
    })
    .unwrap_or_else(|| panic!("no kind ends as `{reason}`"))
}

/// Sends the whole mix in a thread of its own, never far ahead of the output.
fn feed(client: &Client, topic: &str, mix: Mix, done: Arc<AtomicUsize>) -> std::thread::JoinHandle<()> {
    let mut sender = Sender::new(client, topic, &[]);
    std::thread::spawn(move || {
        for number in 0..mix.records {
            while number > done.load(Ordering::Relaxed) + AHEAD {
                sender.poll();
                std::thread::sleep(Duration::from_millis(5));
            }
            sender.send(&mix.message(number));
        }
        sender.flush();
    })
}

/// Topics that keep records for ever, however old; the input takes more, in size and time, than the
/// output does.
fn create_topics(scene: &Scene) {
    let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
    let for_ever = ("retention.ms", "-1");
    let large = ("max.message.bytes", "30000000");
    scene.client.create_topic(&scene.input(), PARTITIONS as i32, &[large, any_time, for_ever]);
    scene.client.create_topic(&scene.output(), 4, &[("max.message.bytes", "11000000"), for_ever]);
    scene.client.create_topic(&scene.dead(), 1, &[large]);
}

fn account(name: &str, mix: Mix) {
    let scene = Scene::without_topics(Cluster::shared(), name);
    create_topics(&scene);
    let mut pipeline = scene.pipeline.clone().set("limits.max_in_flight_bytes", "64MiB");
    for (path, value) in mix.zoo.settings() {
        pipeline = pipeline.set(path, value);
    }
    let expected = mix.expected();
    for kind in mix.zoo.kinds() {
        let times = (0..mix.records).filter(|n| std::ptr::eq(mix.kind(*n), kind)).count();
        assert!(times > 0, "{} is not in the mix", kind.name);
    }

    let worker = pipeline.start_ready();
    let (started, done) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let feeder = feed(&scene.client, &scene.input(), mix, done.clone());
    let mut account = Account::of(mix, scene.input());
    let mut memory = Vec::new();
    follow(&scene.client, &[&scene.output(), &scene.dead()], PATIENCE, |seen| {
        account.add(seen);
        let total = account.total();
        done.store(total, Ordering::Relaxed);
        if total * SAMPLES / mix.records > memory.len() {
            memory.push(worker.memory() >> 20);
        }
        total < mix.records
    });
    feeder.join().unwrap();
    let took = started.elapsed();
    eprintln!("{}", report(name, mix, &account, &memory, took));

    assert_eq!(account.counts, expected, "in equals out, for each end");
    assert_metrics(&worker, &expected);
    worker.terminate();
    scene.assert_committed_to_the_end();
    let read: i64 = scene.client.ends(&scene.input()).values().map(|(first, end)| end - first).sum();
    assert_eq!(read, mix.records as i64, "what was sent is what was counted");
    assert!(memory.iter().all(|mib| *mib < MOST_MIB), "resident MiB: {memory:?}");
    if mix.is_long() {
        assert_flat(&memory);
    }
}

/// The worker's own account is the same.
fn assert_metrics(worker: &Worker, expected: &BTreeMap<Ends, usize>) {
    let total: usize = expected.values().sum();
    assert_eq!(worker.metric("squeezeflow_records_in_total", ""), Some(total as f64));
    for (ends, count) in expected {
        let reason = match ends {
            Ends::Enriched => "none",
            Ends::Passed(why) | Ends::Dead(why) => why,
        };
        let outcome = match ends {
            Ends::Enriched => "enriched",
            Ends::Passed(_) => "passed",
            Ends::Dead(_) => "dead_letter",
        };
        // Labels stand in the order of their names.
        let labels = format!("outcome=\"{outcome}\",reason=\"{reason}\"");
        until(&format!("{labels} {count} times"), PATIENCE, || {
            worker.metric("squeezeflow_records_out_total", &labels) == Some(*count as f64)
        });
    }
    until("all of them to be counted", PATIENCE, || {
        worker.metric("squeezeflow_records_out_total", "") == Some(total as f64)
    });
}

/// The last third of the run needs no more than the second did, but for what an allocator may keep.
fn assert_flat(memory: &[u64]) {
    let third = memory.len() / 3;
    let most = |part: &[u64]| part.iter().copied().max().unwrap();
    let (middle, last) = (most(&memory[third..2 * third]), most(&memory[2 * third..]));
    assert!(last <= middle + middle / 10 + 16, "resident MiB: {memory:?}");
}

fn report(name: &str, mix: Mix, account: &Account, memory: &[u64], took: Duration) -> String {
    let rate = mix.records as f64 / took.as_secs_f64();
    let mut out = format!("--- {name}: {} records in {took:.1?} ({rate:.0}/s)\n", mix.records);
    for (ends, count) in &account.counts {
        writeln!(out, "{count:>8}  {ends:?}").unwrap();
    }
    write!(out, "{:>8}  in all; resident MiB: {memory:?}", account.total()).unwrap();
    out
}

#[test]
fn every_record_of_every_kind_is_accounted_for() {
    crate::require_kafka!();
    account("accounted", Mix { zoo: Zoo::Strict, records: records() });
}

#[test]
fn and_where_a_pipeline_would_rather_pass_them_on() {
    crate::require_kafka!();
    account("accounted.lenient", Mix { zoo: Zoo::Lenient, records: records() / 3 });
}

#[test]
fn and_in_plain_text() {
    crate::require_kafka!();
    account("accounted.raw", Mix { zoo: Zoo::Raw, records: records() / 3 });
}
