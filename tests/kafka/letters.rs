//! Dead letters: counted, looked at, sent back, each once, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::client::{Client, Message, Sender};
use crate::support::cluster::Cluster;
use crate::support::letters::{Command, letter, list, replay, run};
use crate::support::observer::{Seen, read_all, source_of};
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};

const REPLAYED: &str = "__squeezeflow.replayed";
const HOUR: i64 = 3_600_000;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// `NAME.in` and `NAME.dead`, with so many partitions; no worker is needed.
fn scene(name: &str, input: i32, dead: i32) -> Scene {
    let scene = Scene::without_topics(Cluster::shared(), name);
    scene.client.create_topic(&scene.input(), input, &[]);
    scene.client.create_topic(&scene.dead(), dead, &[]);
    scene
}

/// So many letters of records of `NAME.in`, of two reasons in turn, each record unlike any other.
fn letters(scene: &Scene, count: usize) -> Vec<Message> {
    let partitions = scene.client.partitions(&scene.input());
    let (records, start) = (Stream::new(20).take(count), now() - HOUR);
    let letters = records.into_iter().zip(0i64..).map(|(mut record, i)| {
        record.timestamp = Some(start + i);
        if i % 7 == 0 {
            record.headers = vec![("own".to_owned(), None), ("own".to_owned(), Some(vec![0xff]))];
        }
        let reason = if i % 2 == 0 { "text_empty" } else { "text_missing" };
        letter(&record, (&scene.input(), i as i32 % partitions, i), reason)
    });
    letters.collect()
}

/// The records behind the letters that lie in `NAME.dead` now, by where their letters lie: as they
/// must be when they come back.
fn originals(scene: &Scene) -> BTreeMap<String, Seen> {
    let letters = read_all(&scene.client, &[&scene.dead()]);
    let letters = letters.into_iter().filter(|l| l.header("__squeezeflow.errors.version").is_some());
    let letters = letters.map(|mut letter| {
        let place = format!("{}/{}/{}", letter.topic, letter.partition, letter.offset);
        let (topic, partition, _) = source_of(&letter);
        let time: i64 = letter.header("__squeezeflow.errors.timestamp").unwrap().parse().unwrap();
        letter.headers.truncate(letter.headers.len() - 8);
        letter.headers.push((REPLAYED.to_owned(), Some(place.clone().into_bytes())));
        (place, Seen { topic, partition, offset: 0, timestamp: Some(time), ..letter })
    });
    letters.collect()
}

/// What has come back to `NAME.in`, by where the letters lie; each may be there once.
#[track_caller]
fn came_back(scene: &Scene) -> BTreeMap<String, Seen> {
    let mut all = BTreeMap::new();
    for seen in read_all(&scene.client, &[&scene.input()]) {
        let Some(place) = seen.header(REPLAYED).map(str::to_owned) else { continue };
        let before = all.insert(place.clone(), Seen { offset: 0, ..seen });
        assert!(before.is_none(), "{place} came back twice");
    }
    all
}

/// Every letter's record is back, once, byte for byte, in its partition, with its time.
#[track_caller]
fn assert_all_back(scene: &Scene) {
    let (expected, back) = (originals(scene), came_back(scene));
    assert_eq!(expected.len(), back.len(), "letters and records that came back");
    for (place, expected) in expected {
        assert_eq!(back.get(&place), Some(&expected), "{place}");
    }
}

/// In the order of their letters, as far as there is one: within a key.
#[track_caller]
fn assert_in_order(scene: &Scene) {
    let mut lines = BTreeMap::new();
    for seen in read_all(&scene.client, &[&scene.input()]) {
        let place = seen.header(REPLAYED).unwrap().to_owned();
        let (rest, offset) = place.rsplit_once('/').unwrap();
        let line = (rest.to_owned(), seen.partition, seen.key.clone());
        let before = lines.insert(line, offset.parse::<i64>().unwrap());
        assert!(before.is_none_or(|b| b < offset.parse().unwrap()), "{place} came after a later one");
    }
}

/// Where `NAME.in` ends, summed up, with what is in open transactions: grows while one is written.
struct End {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl End {
    fn of(scene: &Scene) -> Self {
        let mut config = scene.client.config();
        config.set("group.id", "nobody").set("isolation.level", "read_uncommitted");
        let consumer: BaseConsumer = config.create().unwrap();
        Self { consumer, topic: scene.input(), partitions: scene.client.partitions(&scene.input()) }
    }

    fn now(&self) -> i64 {
        let end = |p| self.consumer.fetch_watermarks(&self.topic, p, PATIENCE).unwrap().1;
        (0..self.partitions).map(end).sum()
    }
}

#[test]
fn letters_are_counted_beside_a_working_worker_and_payload_is_shown_only_when_asked_for() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "letters.list", 2, 2);
    let mut messages = Stream::new(9).take(100);
    let kinds: [(&str, &[u8]); 3] = [
        ("invalid_json", b"{\"text\": \"a good film\", SECRET\x1b[2J"),
        ("text_missing", b"{\"txt\": \"SECRET\"}"),
        ("field_exists", b"{\"text\": \"a good film\", \"nlp\": \"SECRET\"}"),
    ];
    for (i, message) in messages.iter_mut().enumerate() {
        if let Some((_, value)) = kinds.get(i % 5) {
            message.value = Some(value.to_vec());
            message.headers = vec![("h\u{9b}2J".to_owned(), Some(b"SECRET".to_vec()))];
        }
    }
    let observer = scene.observer();
    let worker = scene.pipeline.start_ready();
    worker.wait_partitions(2);
    scene.client.produce(&scene.input(), messages);
    observer.wait(100, PATIENCE);
    scene.client.produce(&scene.dead(), [Message { value: Some(b"a note".to_vec()), ..Message::default() }]);
    let members = scene.client.members(&scene.name);
    let rebalances = worker.metric("squeezeflow_rebalances_total", "");

    let all = list(&scene.pipeline, &[]);
    assert_eq!((&all["letters"], &all["replayed"], &all["not_letters"]), (&60.into(), &0.into(), &1.into()));
    let counts = all["counts"].as_array().unwrap();
    assert_eq!(counts.len(), 3);
    for count in counts {
        assert!(kinds.iter().any(|(reason, _)| count["reason"] == *reason), "{count}");
        assert_eq!((&count["letters"], &count["source_topic"]), (&20.into(), &scene.input().into()));
    }
    let letters = |options: &[&str]| list(&scene.pipeline, options)["letters"].as_u64().unwrap();
    assert_eq!(letters(&["--reason", "text_missing", "--reason", "invalid_json"]), 40);
    assert_eq!(letters(&["--source-topic", "another"]), 0);
    assert_eq!(letters(&["--since", "1h"]), 60);
    assert_eq!(letters(&["--until", "1h"]), 0);
    assert_eq!(letters(&["--since", "2100-01-01T00:00:00Z"]), 0);
    assert_eq!(letters(&["--partition", "0", "--from-offset", "10", "--to-offset", "19"]), 10);
    let one = list(&scene.pipeline, &["--samples", "1", "--partition", "0", "--to-offset", "0"]);
    let written = one["samples"][0]["written"].as_str().unwrap().to_owned();
    assert_eq!(letters(&["--since", &written, "--partition", "0"]), 60, "in the order of writing");
    assert!(letters(&["--until", &written]) < 60);

    for (options, shown) in [
        (vec![], false),
        (vec!["--samples", "5"], false),
        (vec!["--samples", "5", "--show-payload"], true),
        (vec!["--samples", "5", "--json"], false),
        (vec!["--samples", "5", "--show-payload", "--json"], true),
    ] {
        let ended = run(&scene.pipeline, "list", &options);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{options:?}");
        assert_eq!(ended.out.contains("SECRET"), shown, "{options:?}: {}", ended.out);
        assert!(!ended.out.contains(|c: char| c.is_control() && c != '\n'), "{options:?}: {}", ended.out);
        let samples = ended.out.matches("there is nothing at").count();
        assert_eq!(samples, if options.is_empty() { 0 } else { 5 }, "{}", ended.out);
    }

    assert_eq!(scene.client.members(&scene.name), members, "nobody joined, nobody left");
    assert_eq!(worker.metric("squeezeflow_rebalances_total", ""), rebalances);
    worker.terminate();
    scene.assert_committed_to_the_end();
}

#[test]
fn mended_records_are_enriched_once_and_what_fails_again_is_a_letter_of_its_own() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "letters.mend", 3, 3);
    let mut messages = Stream::new(30).take(300);
    for (i, message) in messages.iter_mut().enumerate() {
        message.timestamp = Some(now() - HOUR + i as i64);
        match i % 3 {
            0 => message.value = Some(format!("{{\"text\": \"film {i}\", \"nlp\": 1.50}}").into_bytes()),
            1 => message.value = Some(format!("{{\"txt\":\"film {i}\" }}").into_bytes()),
            _ => {}
        }
        if i % 5 == 0 {
            message.headers = vec![("own".to_owned(), None), ("own".to_owned(), Some(vec![0xff, 0]))];
        }
        if i % 11 == 0 {
            message.key = None;
        }
    }
    let observer = scene.observer();
    let worker = scene.pipeline.start_ready();
    scene.client.produce(&scene.input(), messages);
    observer.wait(300, PATIENCE);
    worker.terminate();

    // A dry run sends nothing; then selections that overlap, and the same one twice.
    let exists = ["--reason", "field_exists"];
    let ends = scene.client.ends(&scene.input());
    let ended = run(&scene.pipeline, "replay", &[&exists[..], &["--dry-run"]].concat());
    assert!(ended.code == 0 && ended.out.contains("of which 100 would be replayed"), "{ended:?}");
    assert_eq!(scene.client.ends(&scene.input()), ends);
    let narrow = ["--partition", "0", "--from-offset", "50", "--to-offset", "119"];
    let some = replay(&scene.pipeline, &[&exists[..], &narrow].concat());
    assert!((20..50).contains(&some), "{some} of 70 letters are of this reason");
    assert_eq!(replay(&scene.pipeline, &[&exists[..], &["--since", "1h"]].concat()), 100 - some);
    let ends = scene.client.ends(&scene.input());
    assert_eq!(replay(&scene.pipeline, &exists), 0);
    assert_eq!(scene.client.ends(&scene.input()), ends, "nothing was written");
    assert_eq!(replay(&scene.pipeline, &[]), 100, "the others");
    assert_all_back(&scene);

    // Mended for the one reason, not for the other.
    let worker = scene.pipeline.clone().set("output.on_existing", "replace").start_ready();
    observer.wait(300 + 200, PATIENCE);
    worker.terminate();
    let enriched = read_all(&scene.client, &[&scene.output()]);
    let mended: Vec<&Seen> = enriched.iter().filter(|s| s.header(REPLAYED).is_some()).collect();
    assert_eq!((enriched.len(), mended.len()), (200, 100));
    for seen in mended {
        assert!(seen.json()["nlp"]["label"].is_string(), "{seen:?}");
    }
    let listed = list(&scene.pipeline, &["--reason", "text_missing"]);
    assert_eq!((&listed["letters"], &listed["replayed"]), (&200.into(), &100.into()));

    // Once more, and now it is mended: each is its own letter, sent back once.
    assert_eq!(replay(&scene.pipeline, &[]), 100);
    let worker = scene.pipeline.clone().set("input.text", "/txt").start_ready();
    observer.wait(300 + 200 + 100, PATIENCE);
    worker.terminate();
    assert_eq!(list(&scene.pipeline, &[])["replayed"], 300);
    let twice = |s: &&Seen| s.headers.iter().filter(|(name, _)| name == REPLAYED).count() == 2;
    let enriched = read_all(&scene.client, &[&scene.output()]);
    assert_eq!(enriched.iter().filter(twice).count(), 100, "both journeys are told");
    assert_eq!(enriched.len(), 300);
    assert_eq!(replay(&scene.pipeline, &[]), 0);
}

#[test]
fn killed_wherever_it_stands_the_next_replay_goes_on_and_every_letter_comes_back_once() {
    crate::require_kafka!();
    let scene = scene("letters.kill", 3, 2);
    scene.client.produce(&scene.dead(), letters(&scene, 30_000));
    let end = End::of(&scene);
    let (mut killed, mut open) = (0, 0);
    // Somewhere in a transaction, just behind a commit, while the next one begins: wherever the
    // end of the input is when it has grown by so much.
    for step in [1, 500, 730, 20, 1_501, 999, 3, 1_250] {
        let mut replay = Command::start(&scene.pipeline, "replay", &[]);
        let goal = end.now() + step;
        until("a replay to get somewhere", PATIENCE, || end.now() >= goal || !replay.runs());
        killed += usize::from(replay.runs());
        replay.kill();
        // Readers of committed records stop where an open transaction begins.
        let committed: i64 = scene.client.ends(&scene.input()).values().map(|(_, end)| end).sum();
        open += usize::from(end.now() > committed);
    }
    assert!(killed >= 6, "only {killed} replays were killed in the middle");
    assert!(open >= 1, "none was killed in a transaction");
    let before = came_back(&scene).len();
    assert!((500..30_000).contains(&before), "{before} came back before the last replay");
    assert_eq!(replay(&scene.pipeline, &[]), 30_000 - before as u64);
    assert_all_back(&scene);
    assert_in_order(&scene);
    let listed = list(&scene.pipeline, &[]);
    assert_eq!((&listed["letters"], &listed["replayed"]), (&30_000.into(), &30_000.into()));
    assert_eq!(replay(&scene.pipeline, &[]), 0);
}

#[test]
fn of_two_replays_the_later_one_takes_over_and_the_other_says_so() {
    crate::require_kafka!();
    let scene = scene("letters.two", 2, 2);
    scene.client.produce(&scene.dead(), letters(&scene, 20_000));
    let end = End::of(&scene);
    let first = Command::start(&scene.pipeline, "replay", &[]);
    until("the first to be in the middle", PATIENCE, || end.now() >= 700);
    first.signal(libc::SIGSTOP);
    let before = came_back(&scene).len();
    assert!(before < 20_000, "the first was too fast");
    assert_eq!(replay(&scene.pipeline, &[]), 20_000 - before as u64);
    first.signal(libc::SIGCONT);
    let ended = first.end();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("another replay of `letters.two.dead` was started"), "{ended:?}");
    assert_all_back(&scene);
    assert_in_order(&scene);
}

#[test]
fn a_broker_that_dies_meanwhile_costs_time_and_no_letter() {
    crate::require_kafka!();
    let cluster = Cluster::start(1);
    let scene = Scene::without_topics(&cluster, "letters.broker");
    scene.client.create_topic(&scene.input(), 2, &[]);
    scene.client.create_topic(&scene.dead(), 2, &[]);
    scene.client.produce(&scene.dead(), letters(&scene, 12_000));
    for (reason, grown) in [("text_empty", 700), ("text_missing", 1_200)] {
        let end = End::of(&scene);
        let goal = end.now() + grown;
        let replay = Command::start(&scene.pipeline, "replay", &["--reason", reason]);
        until("a replay to be in the middle", PATIENCE, || end.now() >= goal);
        cluster.kill(1);
        cluster.up(1);
        // It goes on, or says that it cannot; never that it did what it did not.
        let ended = replay.end();
        let again = ended.err.contains("run it again");
        assert!(ended.code == 0 || (ended.code == 1 && again), "{ended:?}");
    }
    replay(&scene.pipeline, &[]);
    assert_all_back(&scene);
    assert_eq!(list(&scene.pipeline, &[])["replayed"], 12_000);
}

#[test]
fn asked_to_stop_it_says_how_far_it_came_and_again_means_again() {
    crate::require_kafka!();
    let scene = scene("letters.stop", 1, 1);
    scene.client.produce(&scene.dead(), letters(&scene, 15_000));
    let end = End::of(&scene);
    let stopped = |options: &[&str]| {
        let replay = Command::start(&scene.pipeline, "replay", options);
        let goal = end.now() + 600;
        until("a replay to be in the middle", PATIENCE, || end.now() >= goal);
        replay.signal(libc::SIGTERM);
        let ended = replay.end();
        assert_eq!(ended.code, 130, "{ended:?}");
        assert!(ended.err.contains("stopped before its end"), "{ended:?}");
        let sent: u64 = ended.out.split(' ').next().unwrap().parse().unwrap();
        assert!((500..15_000).contains(&sent), "{sent}");
        (sent, ended.err)
    };
    let (sent, _) = stopped(&[]);
    assert_eq!(came_back(&scene).len() as u64, sent, "all that it says, and no more");
    assert_eq!(replay(&scene.pipeline, &[]), 15_000 - sent);
    assert_all_back(&scene);

    // All of them a second time, in two goes.
    let (sent, said) = stopped(&["--again"]);
    let go_on = said.split('`').find(|word| word.starts_with("--again=")).unwrap();
    let go_on = |expected: u64| {
        let ended = run(&scene.pipeline, "replay", &[go_on]);
        assert!(ended.code == 0 && ended.err.contains(go_on), "the way to go on stays the same: {ended:?}");
        assert_eq!(ended.out.split(' ').next().unwrap().parse(), Ok(expected), "{ended:?}");
    };
    go_on(15_000 - sent);
    go_on(0);
    let mut times = BTreeMap::new();
    for seen in read_all(&scene.client, &[&scene.input()]) {
        *times.entry(seen.header(REPLAYED).unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!((times.len(), times.values().all(|n| *n == 2)), (15_000, true));
    assert_eq!(list(&scene.pipeline, &[])["replayed"], 15_000);
}

#[test]
fn what_cannot_go_back_stays_and_it_is_said_why() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "letters.stay");
    // Small messages only; kept for two hours, by their own time, and refused when five hours old.
    let limits = [
        ("max.message.bytes", "20000"),
        ("retention.ms", "7200000"),
        ("message.timestamp.before.max.ms", "18000000"),
    ];
    scene.client.create_topic(&scene.input(), 2, &limits);
    scene.client.create_topic(&scene.dead(), 1, &[]);
    scene.client.create_topic("letters.stay.foreign", 1, &[]);
    let record = |text: &str| Message {
        value: Some(format!("{{\"text\":\"{text}\"}}").into_bytes()),
        timestamp: Some(now()),
        ..Message::default()
    };
    let here = |partition| (scene.input(), partition, 7);
    let of = |record: &Message, (topic, partition, offset): (String, i32, i64)| {
        letter(record, (&topic, partition, offset), "text_empty")
    };
    let large = Message { value: Some(noise(50_000)), ..record("") };
    let old = Message { timestamp: Some(now() - 3 * HOUR), ..record("old") };
    let refused = Message { timestamp: Some(now() - 6 * HOUR), ..record("refused") };
    let mut cut = record("cut");
    cut.headers.push(("__squeezeflow.errors.cut.value_length".to_owned(), Some(b"100000".to_vec())));
    // Of another pipeline's dead letters, and a marker that came as a record: letters all the same.
    let nested = of(&record("inner"), ("elsewhere".to_owned(), 0, 1));
    let nested = Message { timestamp: Some(now()), ..nested };
    let marker_like =
        Message { headers: vec![(format!("{REPLAYED}.marker"), Some(b"1".to_vec()))], ..record("m") };
    let messages = [
        of(&record("first"), here(0)),
        of(&large, here(0)),
        of(&record("second"), here(1)),
        of(&record("no partition"), here(2)),
        of(&old, here(0)),
        of(&cut, here(0)),
        of(&record("not read"), ("letters.stay.foreign".to_owned(), 0, 7)),
        of(&record("gone"), ("letters.stay.gone".to_owned(), 0, 7)),
        of(&nested, here(0)),
        of(&marker_like, here(0)),
        of(&refused, here(0)),
        record("a note"),
    ];
    scene.client.produce(&scene.dead(), messages);
    let topics = serde_json::json!([scene.input(), "letters.stay.gone"]);
    let pipeline = scene.pipeline.clone().set("input.topics", topics);

    let why = [
        "1 cut to fit",
        "1 from a topic that `input.topics` does not name: `letters.stay.foreign`",
        "1 from a topic that is not there, or that this user may not see: `letters.stay.gone`",
        "1 from a partition that its topic does not have any more: `letters.stay.in`",
        "1 older than their topic keeps records (2 hours)",
        "1 that their topic would refuse: the record's timestamp is further back than topic `letters.stay.in`",
        "1 record in the topic is not a dead letter",
    ];
    let planned = run(&pipeline, "replay", &["--dry-run"]);
    assert!(planned.out.contains("11 dead letters, of which 5 would be replayed"), "{planned:?}");
    let ended = run(&pipeline, "replay", &[]);
    for why in why {
        assert!(planned.out.contains(why) && ended.out.contains(why), "{why}\n{planned:?}\n{ended:?}");
    }
    assert!(ended.out.starts_with("4 letters were replayed"), "{ended:?}");
    assert!(ended.out.contains("1 larger than their topic takes now"), "{ended:?}");
    assert!(ended.out.contains("(at 0/1)"), "{ended:?}");
    let expected = originals(&scene);
    let back = came_back(&scene);
    let places: Vec<&str> = back.keys().map(|place| place.rsplit('/').next().unwrap()).collect();
    assert_eq!(places, ["0", "2", "8", "9"]);
    assert!(back.iter().all(|(place, seen)| expected[place] == *seen), "{back:?}");
    assert_eq!(list(&pipeline, &[])["cut"], 1);

    // The old ones go when it is told what to do about their time.
    let before = now();
    assert_eq!(replay(&pipeline, &["--timestamps", "renew"]), 2);
    let back = came_back(&scene);
    for place in ["letters.stay.dead/0/4", "letters.stay.dead/0/10"] {
        assert!(back[place].timestamp.unwrap() >= before, "{place}");
    }
    assert_eq!(replay(&pipeline, &["--timestamps", "keep"]), 0);
}

#[test]
fn holes_and_open_ends_of_the_topic_hold_nothing_up() {
    crate::require_kafka!();
    let scene = scene("letters.holes", 1, 1);
    let all = letters(&scene, 60);
    // Written in transactions, as an exactly-once worker would; some of them given up.
    let mut sender = Sender::transactional(&scene.client, &scene.dead());
    for (batch, commit) in
        [(&all[..20], true), (&all[20..30], false), (&all[30..50], true), (&all[50..], false)]
    {
        sender.transaction(batch, commit);
    }
    assert_eq!(list(&scene.pipeline, &[])["letters"], 40);
    assert_eq!(replay(&scene.pipeline, &["--to-offset", "5", "--partition", "0"]), 6);
    scene.client.delete_records(&scene.dead(), 0, 3);
    let listed = list(&scene.pipeline, &["--partition", "0", "--from-offset", "0"]);
    assert_eq!((&listed["letters"], &listed["replayed"]), (&37.into(), &3.into()));

    // Somebody's transaction is open at its end: what is in front of it is there to be read.
    let mut config = scene.client.config();
    config.set("transactional.id", "letters.holes.open").set("linger.ms", "0");
    let open: BaseProducer = config.create().unwrap();
    open.init_transactions(PATIENCE).unwrap();
    open.begin_transaction().unwrap();
    open.send(BaseRecord::<[u8], [u8]>::to(&scene.dead()).payload(b"not there yet")).unwrap();
    open.flush(PATIENCE).unwrap();
    assert_eq!(list(&scene.pipeline, &[])["letters"], 37);
    assert_eq!(replay(&scene.pipeline, &[]), 34);
    open.abort_transaction(PATIENCE).unwrap();
    assert_eq!(list(&scene.pipeline, &[])["replayed"], 37);
    assert_eq!(came_back(&scene).len(), 40);
}

#[test]
fn what_stands_in_the_way_is_named() {
    crate::require_kafka!();
    let scene = Scene::without_topics(Cluster::shared(), "letters.way");
    scene.client.create_topic(&scene.input(), 1, &[]);
    for verb in ["list", "replay"] {
        let ended = run(&scene.pipeline, verb, &[]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.err.contains("no topic `letters.way.dead`"), "{ended:?}");
    }
    assert!(!exists(&scene.client, &scene.dead()), "asking must not create it");
    scene.client.create_topic(&scene.dead(), 2, &[]);
    assert_eq!(list(&scene.pipeline, &[])["letters"], 0);
    assert_eq!(replay(&scene.pipeline, &[]), 0);
    let ended = run(&scene.pipeline, "list", &["--partition", "2"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("no partition 2: they are 0 to 1"), "{ended:?}");
}

fn exists(client: &Client, topic: &str) -> bool {
    let all = client.consumer("nobody");
    let all = all.fetch_metadata(None, PATIENCE).unwrap();
    all.topics().iter().any(|t| t.name() == topic)
}

/// What no codec makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}
