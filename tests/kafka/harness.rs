//! The harness itself: brokers come and go as told, and the checker sees what it is there to see.

use std::time::Duration;

use crate::support::check::check;
use crate::support::client::{Client, Message, Sender};
use crate::support::cluster::Cluster;
use crate::support::observer::{Observer, Seen, read_all};
use crate::support::records::Stream;
use crate::support::wait::PATIENCE;

#[test]
fn records_survive_a_broker_that_is_stopped_and_started() {
    crate::require_kafka!();
    let cluster = Cluster::start(1);
    let client = Client::new(&cluster.bootstrap);
    client.create_topic("t", 2, &[]);
    client.produce("t", Stream::new(5).take(100));
    let observer = Observer::of(&client, &["t"]);
    observer.wait(100, PATIENCE);
    cluster.stop(1);
    cluster.up(1);
    client.produce("t", Stream::new(5).take(50));
    observer.wait(150, PATIENCE);
    cluster.kill(1);
    cluster.up(1);
    assert_eq!(read_all(&client, &["t"]).len(), 150);
}

#[test]
fn three_brokers_go_on_without_one() {
    crate::require_kafka!();
    let cluster = Cluster::three();
    let client = Client::new(&cluster.bootstrap);
    client.create_topic("harness.three", 3, &[]);
    client.produce("harness.three", Stream::new(9).take(100));
    let leader = client.leaders("harness.three")[&0];
    cluster.kill(leader);
    client.produce("harness.three", Stream::new(9).take(100));
    cluster.up(leader);
    assert_eq!(read_all(&client, &["harness.three"]).len(), 200);

    client.create_topic_on("harness.frozen", 2, 2);
    assert_eq!(client.leaders("harness.frozen").values().copied().collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn offsets_transactions_and_deleted_records_are_what_they_seem() {
    crate::require_kafka!();
    let client = Client::new(&Cluster::shared().bootstrap);
    let topic = "harness.offsets";
    client.create_topic(topic, 1, &[]);
    let batch = Stream::new(3).take(10);
    let mut sender = Sender::transactional(&client, topic);
    sender.transaction(&batch, true);
    sender.transaction(&batch, false);
    sender.transaction(&batch, true);
    let offsets: Vec<i64> = read_all(&client, &[topic]).iter().map(|s| s.offset).collect();
    assert_eq!(offsets, (0..10).chain(22..32).collect::<Vec<_>>(), "markers and the aborted ones are holes");
    assert_eq!(client.ends(topic)[&0], (0, 33));

    assert!(client.committed("harness.group", topic).is_empty());
    client.commit("harness.group", topic, 0, 7);
    assert_eq!(client.committed("harness.group", topic)[&0], 7);
    assert!(client.members("harness.group").is_empty());

    client.delete_records(topic, 0, 25);
    assert_eq!(client.ends(topic)[&0], (25, 33));
    client.add_partitions(topic, 3);
    assert_eq!(client.ends(topic).len(), 3);
}

/// Records as an honest worker would write them.
fn honest() -> (Vec<Seen>, Vec<Seen>) {
    let seen = |topic: &str, offset: usize, message: Message| Seen {
        topic: topic.to_owned(),
        partition: 0,
        offset: offset as i64,
        key: message.key,
        value: message.value,
        headers: message.headers,
        timestamp: Some(5),
    };
    let input: Vec<Seen> =
        Stream::new(3).take(20).into_iter().enumerate().map(|(i, m)| seen("in", i, m)).collect();
    let output = input.iter().map(|source| {
        let value = String::from_utf8(source.value.clone().unwrap()).unwrap();
        let mut out = Seen { topic: "out".to_owned(), ..source.clone() };
        out.value = Some(value.replace(" }", ",\"nlp\":{\"label\":\"}\"} }").into_bytes());
        for (name, value) in
            [("topic", "in".to_owned()), ("partition", "0".to_owned()), ("offset", source.offset.to_string())]
        {
            out.headers.push((format!("squeezeflow.source.{name}"), Some(value.into_bytes())));
        }
        out
    });
    (input.clone(), output.collect())
}

#[test]
fn the_checker_is_content_with_honest_work() {
    let (input, output) = honest();
    let verdict = check(&input, &output);
    assert_eq!(verdict.exactly_once().enriched, 20);
}

#[test]
fn the_checker_sees_every_kind_of_fault() {
    let faulty = |change: &dyn Fn(&mut Vec<Seen>)| {
        let (input, mut output) = honest();
        change(&mut output);
        output.iter_mut().zip(0..).for_each(|(seen, offset)| seen.offset = offset);
        let v = check(&input, &output);
        [v.lost.len(), v.duplicates.len(), v.disorder.len(), v.altered.len(), v.phantoms.len()]
    };
    assert_eq!(faulty(&|_| {}), [0, 0, 0, 0, 0]);
    assert_eq!(faulty(&|o| drop(o.remove(4))), [1, 0, 0, 0, 0]);
    assert_eq!(faulty(&|o| o.push(o[7].clone())), [0, 1, 0, 0, 0]);
    // The later one comes first, so every one between the two is late.
    assert_eq!(faulty(&|o| o.swap(3, 4)), [0, 0, 1, 0, 0]);
    assert_eq!(faulty(&|o| o[2].key = None), [0, 0, 0, 1, 0]);
    assert_eq!(faulty(&|o| o[2].timestamp = Some(6)), [0, 0, 0, 1, 0]);
    assert_eq!(faulty(&|o| o[2].headers.insert(0, ("x".to_owned(), None))), [0, 0, 0, 1, 0]);
    assert_eq!(faulty(&|o| o[2].value = None), [0, 0, 0, 1, 0]);
    let reprinted = |o: &mut Vec<Seen>| o[2].value = Some(o[2].json().to_string().into_bytes());
    assert_eq!(faulty(&reprinted), [0, 0, 0, 1, 0], "numbers and spaces are rewritten");
    let invented = |o: &mut Vec<Seen>| {
        let last = o[0].headers.len() - 1;
        o[0].headers[last].1 = Some(b"999".to_vec());
    };
    assert_eq!(faulty(&invented), [1, 0, 0, 0, 1]);
}

#[test]
fn the_checker_sees_what_was_read_and_is_no_more() {
    let (input, output) = honest();
    let judge = |last: &[Seen]| check(&input, last).with_reader(&output, last).aborted.len();
    assert_eq!(judge(&output), 0);
    assert_eq!(judge(&output[1..]), 1);
    // Another record in the place of the one that was read.
    let mut other = output.clone();
    other[3].value = None;
    assert_eq!(judge(&other), 1);
}

#[test]
#[should_panic(expected = "in vain for: the impossible")]
fn waiting_in_vain_says_for_what() {
    crate::support::wait::until("the impossible", Duration::from_millis(30), || false);
}
