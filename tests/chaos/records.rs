//! Records that cannot be enriched, records that were never committed, and outputs that do not take
//! what they are given.

use std::time::Duration;

use serde_json::json;

use crate::crew::Crew;
use crate::report::size;
use crate::scenario::{LONG, Promise, Scenario};
use crate::support::acl::{self, Resource};
use crate::support::client::{Client, Message, Sender};
use crate::support::cluster::Cluster;
use crate::support::observer::read_all;
use crate::support::proxy::{Api, Side};
use crate::support::records::Stream;
use crate::support::wait::{PATIENCE, stays, until};
use crate::support::zoo::{FRAGILE, noise};

const PARTITIONS: i32 = 6;

/// Records by partition and not by key alone, each key in one partition.
fn placed(mut message: Message, partition: i32) -> Message {
    let key = message.key.take().map(|key| [key, format!("-{partition}").into_bytes()].concat());
    Message { key, partition: Some(partition), ..message }
}

/// Broken in one of three ways: as JSON, for want of its text, and for the model itself.
fn poisoned(stream: &mut Stream, number: usize) -> Message {
    let mut message = stream.message(Some("mandragora"));
    let value = String::from_utf8(message.value.take().unwrap()).unwrap();
    let value = match number % 3 {
        0 => value.replace('}', ""),
        1 => value.replace("\"text\":", "\"body\":"),
        _ => value,
    };
    message.value = Some(value.into_bytes());
    message
}

#[test]
fn s11_poison() {
    crate::require_kafka!();
    let mut s = Scenario::new("11 poison", Promise::ExactlyOnce, "s11", PARTITIONS);
    let count = size(1_500, 10_000);
    let mut crew = s.crew();
    crew.keep_places();
    crew.set("model.path", FRAGILE.to_string_lossy().as_ref());
    crew.start_all(0..2);
    let (mut stream, mut dead, mut good) = (Stream::new(100), 0, 0);
    let everywhere = |stream: &mut Stream| {
        (0..PARTITIONS).map(|partition| placed(poisoned(stream, partition as usize), partition)).collect()
    };
    for one_in in [100, 2, 1] {
        // The first and the last of each partition, too.
        let mut messages: Vec<Message> = everywhere(&mut stream);
        for number in 0..count {
            let poison = number % one_in == 0;
            let message = if poison { poisoned(&mut stream, number / one_in) } else { stream.message(None) };
            messages.push(placed(message, number as i32 % PARTITIONS));
            if poison { dead += 1 } else { good += 1 }
        }
        messages.extend(everywhere(&mut stream));
        dead += 2 * PARTITIONS as usize;
        let before = s.output.count();
        s.scene.client.produce(&s.scene.input(), messages);
        s.output.wait(before + count / 4, LONG);
        crew.kill(0);
        crew.start(0);
        s.output.wait_distinct(dead + good, LONG);
    }
    s.report
        .state(format!("2 workers, 1 %, 50 % and 100 % poison, {dead} poisonous records, 3 times kill -9"));
    let verdict = s.finish(crew);
    assert_eq!((verdict.dead, verdict.enriched), (dead, good));
}

#[test]
fn s12_input_with_aborted_transactions() {
    crate::require_kafka!();
    let mut s =
        Scenario::new("12 aborted transactions in the input", Promise::ExactlyOnce, "s12", PARTITIONS);
    let rounds = size(12, 100);
    let mut crew = s.crew();
    crew.keep_places();
    crew.start_all(0..2);
    let input = s.scene.input();
    let mut stream = Stream::new(100);
    let mut sender = Sender::transactional(&s.scene.client, &input);
    let (mut committed, mut aborted) = (0, 0);
    for round in 0..rounds {
        let records = stream.take(200);
        let commit = round % 3 != 2;
        if commit {
            committed += 200
        } else {
            aborted += 200
        }
        sender.transaction(&records, commit);
        if round == rounds / 2 {
            // One that is open while a worker dies: what lies behind it must wait.
            sender.begin();
            stream.take(200).iter().for_each(|record| sender.send(record));
            sender.flush();
            crew.kill(0);
            crew.start(0);
            s.output.wait_distinct(committed, LONG);
            sender.abort();
            aborted += 200;
        }
    }
    // The last thing in every partition is an aborted one.
    sender.transaction(&stream.take(200), false);
    aborted += 200;
    s.report.state(format!("2 workers, {committed} records committed, {aborted} aborted, some at the end"));
    let verdict = s.finish(crew);
    assert_eq!(verdict.enriched, committed);
}

/// Stops with exit code 1, naming what to look at, and leaves the group where it was.
#[track_caller]
fn refuses(s: &Scenario, crew: &mut Crew, stream: &mut Stream, words: &[&str]) {
    let before = s.scene.client.committed(&s.scene.name, &s.scene.input());
    s.scene.client.produce(&s.scene.input(), stream.take(500));
    let mut worker = crew.take(0);
    assert_eq!(worker.wait().code(), Some(1));
    let log = worker.log();
    let told = log.lines().last().unwrap_or_default();
    for word in words {
        assert!(told.contains(word), "`{word}` is not in: {told}");
    }
    let after = s.scene.client.committed(&s.scene.name, &s.scene.input());
    assert_eq!(before, after, "no offset passes what was not written");
    // And what is committed came out.
    s.output.wait_distinct(after.values().sum::<i64>() as usize, PATIENCE);
}

#[test]
#[ignore = "only in `make chaos`"]
fn s13_output_topic_missing_or_deleted() {
    crate::require_kafka!();
    let cluster = Cluster::three();
    let client = Client::new(&cluster.bootstrap);
    client.create_topic("s13.in", PARTITIONS, &[]);
    client.create_topic("s13.dead", 1, &[]);
    client.create_topic("s13.out", PARTITIONS, &[]);
    let mut s = Scenario::in_topics("13 output topic missing, deleted", Promise::ExactlyOnce, cluster, "s13");
    client.delete_topic("s13.out");
    let (mut crew, mut stream) = (s.crew(), Stream::new(50));
    // librdkafka hopes for half a minute that a topic comes back.
    crew.set("kafka.librdkafka", json!({ "topic.metadata.propagation.max.ms": 3000 }));
    crew.start(0);
    refuses(&s, &mut crew, &mut stream, &["s13.out"]);
    client.create_topic("s13.out", PARTITIONS, &[]);
    // Nothing may be written before it is deleted: what was would be gone with it.
    let held = s.cluster.proxy.on(Api::Fetch, Side::Answer).of(&crew.name(0)).hold();
    crew.start_ready(0);
    client.delete_topic("s13.out");
    drop(held);
    refuses(&s, &mut crew, &mut stream, &["s13.out"]);
    client.create_topic("s13.out", PARTITIONS, &[]);
    s.output = s.scene.observer();
    crew.start_ready(0);
    s.report.state("1 worker, each time exit code 1 and no offset");
    s.finish(crew);
}

#[test]
#[ignore = "only in `make chaos`"]
fn s13_permission_taken_away() {
    crate::require_kafka!();
    let cluster = Cluster::with(1, acl::BROKER);
    let (broker, group) = (cluster.bootstrap.clone(), "s13p");
    let client = Client::new(&broker);
    for topic in ["s13p.in", "s13p.out"] {
        client.create_topic(topic, PARTITIONS, &[]);
    }
    client.create_topic("s13p.dead", 1, &[]);
    let mut s = Scenario::in_topics("13 permission denied", Promise::ExactlyOnce, Box::new(cluster), group);
    let (mut crew, mut stream) = (s.crew(), Stream::new(50));
    crew.set("kafka.sasl", json!({ "mechanism": "PLAIN", "username": acl::USER, "password": acl::PASSWORD }));
    let output = Resource::Topic("s13p.out");
    acl::grant(&broker, Resource::Topic("s13p.in"));
    acl::grant(&broker, Resource::Group(group));
    acl::grant(&broker, Resource::Topic("s13p.dead"));
    acl::grant(&broker, output);
    // In the order in which somebody finds out: the transactional id, the output, and the output
    // again, taken away from a worker that runs.
    crew.start(0);
    refuses(&s, &mut crew, &mut stream, &["no permission to Write transactional id `s13p-0`", "WRITE"]);
    acl::grant(&broker, Resource::TransactionalId("s13p-0"));
    acl::revoke(&broker, output);
    crew.start(0);
    refuses(&s, &mut crew, &mut stream, &["no permission to Write topic `s13p.out`", "WRITE"]);
    acl::grant(&broker, output);
    crew.start_ready(0);
    s.scene.wait_caught_up(&read_all(&client, &["s13p.in"]), LONG);
    acl::revoke(&broker, output);
    refuses(&s, &mut crew, &mut stream, &["no permission to Write topic `s13p.out`"]);
    acl::grant(&broker, output);
    crew.start_ready(0);
    s.report.state("1 worker, SASL, 3 rights taken away, each time exit code 1 and no offset");
    s.finish(crew);
}

#[test]
#[ignore = "only in `make chaos`"]
fn s13_too_large_for_the_output() {
    crate::require_kafka!();
    let cluster = Cluster::three();
    let client = Client::new(&cluster.bootstrap);
    client.create_topic("s13l.in", PARTITIONS, &[]);
    client.create_topic("s13l.out", PARTITIONS, &[("max.message.bytes", "20000")]);
    client.create_topic("s13l.dead", 1, &[]);
    let mut s = Scenario::in_topics("13 too large for the output", Promise::ExactlyOnce, cluster, "s13l");
    let count = size(1_500, 10_000);
    let mut crew = s.crew();
    crew.keep_places();
    crew.start_all(0..2);
    let mut messages = Stream::new(100).take(count);
    let large = messages.iter_mut().skip(50).step_by(100);
    let mut dead = 0;
    for message in large {
        let value = message.value.as_mut().unwrap();
        value.pop();
        value.extend(format!(",\"pad\":\"{}\"}}", noise(30_000, dead)).into_bytes());
        dead += 1;
    }
    client.produce("s13l.in", messages);
    s.output.wait(count / 3, LONG);
    crew.kill(0);
    crew.start(0);
    s.report.state(format!("2 workers, {dead} records too large, kill -9 in the middle"));
    let verdict = s.finish(crew);
    assert_eq!((verdict.dead, verdict.enriched), (dead, count - dead));
}

/// The brokers' files may not grow any more: the broker gives up, and comes back with room.
#[test]
#[ignore = "only in `make chaos`"]
fn s13_disk_full() {
    crate::require_kafka!();
    let cluster = Cluster::start(1);
    let client = Client::new(&cluster.bootstrap);
    client.create_topic("s13d.in", 2, &[]);
    client.create_topic("s13d.out", 2, &[]);
    client.create_topic("s13d.dead", 1, &[]);
    let mut s = Scenario::in_topics("13 disk full", Promise::ExactlyOnce, Box::new(cluster), "s13d");
    let mut crew = s.crew();
    crew.start_ready(0);
    s.flow(2_000);
    s.output.wait_distinct(2_000, LONG);
    // Results are larger than records: theirs is the first file that is full.
    s.cluster.limit_files(1, 1 << 20);
    s.feed(20_000);
    until("the broker to give up", LONG, || s.cluster.is_down(1));
    let written = s.output.distinct();
    stays("nothing comes out, and the worker waits", Duration::from_secs(8), || {
        crew.get_mut(0).runs() && s.output.distinct() == written
    });
    crew.get(0).wait_log("kafka producer");
    s.cluster.up(1);
    s.report.state("1 worker, the only broker out of space, back after 8 s");
    s.finish(crew);
}
