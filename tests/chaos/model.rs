//! Models that fail, that answer with NaN, and that do not answer at all.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::graphs::{Quirk, package};
use crate::report::size;
use crate::scenario::{LONG, Promise, Scenario};
use crate::support::client::Message;
use crate::support::records::Stream;
use crate::support::wait::PATIENCE;
use crate::support::zoo::FRAGILE;

const PARTITIONS: i32 = 6;

/// One record in a hundred has the word; where each record lies does not depend on its key.
fn stream(count: usize) -> (Vec<Message>, usize) {
    let mut stream = Stream::new(1);
    let mut with_word = 0;
    let message = |number: usize| {
        let hit = number % 100 == 40;
        with_word += usize::from(hit);
        let message = stream.message(hit.then_some("a good mandragora"));
        Message { key: None, partition: Some(number as i32 % PARTITIONS), ..message }
    };
    ((0..count).map(message).collect(), with_word)
}

/// The word makes a dead letter, its neighbours are enriched, and a worker dies on the way.
fn one_in_a_hundred(name: &str, topics: &str, model: &Path, reason: &str) {
    let mut s = Scenario::new(name, Promise::ExactlyOnce, topics, PARTITIONS);
    let mut crew = s.crew();
    crew.keep_places();
    crew.set("model.path", model.to_string_lossy().as_ref());
    crew.start_all(0..2);
    let (messages, dead) = stream(size(2_000, 20_000));
    let count = messages.len();
    s.scene.client.produce(&s.scene.input(), messages);
    s.output.wait(count / 3, LONG);
    crew.kill(1);
    crew.start(1);
    s.report.state(format!("2 workers, {dead} dead letters, kill -9 in the middle"));
    let verdict = s.finish(crew);
    assert_eq!((verdict.dead, verdict.enriched), (dead, count - dead));
    assert_eq!(verdict.reasons.get(reason), Some(&dead), "{:?}", verdict.reasons);
}

#[test]
#[ignore = "only in `make chaos`"]
fn s15_model_fails() {
    crate::require_kafka!();
    one_in_a_hundred("15 model fails on some", "s15f", &FRAGILE, "inference_failed");
}

#[test]
#[ignore = "only in `make chaos`"]
fn s15_model_answers_nan() {
    crate::require_kafka!();
    one_in_a_hundred("15 model answers some with NaN", "s15n", &package(Quirk::Nan), "non_finite_output");
}

#[test]
#[ignore = "only in `make chaos`"]
fn s15_model_answers_everything_with_nan() {
    crate::require_kafka!();
    let mut s = Scenario::new("15 model answers all with NaN", Promise::ExactlyOnce, "s15a", PARTITIONS);
    let (messages, _) = stream(500);
    s.scene.client.produce(&s.scene.input(), messages);
    let mut crew = s.crew();
    let sound = here_model();
    crew.set("model.path", package(Quirk::AllNan).to_string_lossy().as_ref());
    crew.start(0);
    let mut worker = crew.take(0);
    assert_eq!(worker.wait().code(), Some(3), "the model could not be started");
    assert!(worker.log().contains("NaN"), "{}", worker.log());
    assert!(s.scene.client.committed("s15a", "s15a.in").is_empty());
    assert_eq!(s.output.count(), 0, "nothing is dead-lettered for a model that is out of order");
    crew.set("model.path", sound);
    crew.start_ready(0);
    s.report.state("1 worker, exit code 3 and no offset; then with a sound model");
    s.finish(crew);
}

#[test]
fn s15_model_hangs() {
    crate::require_kafka!();
    let mut s = Scenario::new("15 model hangs", Promise::ExactlyOnce, "s15h", 2);
    let mut crew = s.crew();
    let sound = here_model();
    crew.set("model.path", package(Quirk::Hangs).to_string_lossy().as_ref());
    crew.set("batch.timeout", "3s");
    crew.start_ready(0);
    let mut stream = Stream::new(1);
    let at = |partition, message: Message| Message { key: None, partition: Some(partition), ..message };
    let before: Vec<Message> = (0..1_000).map(|n| at(n % 2, stream.message(None))).collect();
    s.scene.client.produce(&s.scene.input(), before);
    s.output.wait(1_000, PATIENCE);
    // The culprit alone in its partition's line, then others behind it and in the other partition.
    let asked = Instant::now();
    let mut after = vec![at(0, stream.message(Some("a good mandragora")))];
    after.extend((0..500).map(|n| at(n % 2, stream.message(None))));
    s.scene.client.produce(&s.scene.input(), after);
    let mut worker = crew.take(0);
    assert_eq!(worker.wait().code(), Some(1));
    let took = asked.elapsed();
    // The time-out of 3 s, what is saved after a failure, leaving the group, and a busy machine.
    assert!(took < Duration::from_secs(40), "{took:?}");
    for words in ["did not answer within 3 s", "batch.timeout"] {
        assert!(worker.log().contains(words), "{}", worker.log());
    }
    let committed = s.scene.client.committed("s15h", "s15h.in");
    assert_eq!(committed[&0], 500, "no offset passes what the model hangs on");
    crew.set("model.path", sound);
    crew.start_ready(0);
    s.report
        .state(format!("1 worker, exit code 1 after {:.1} s; then with a sound model", took.as_secs_f64()));
    s.finish(crew);
}

fn here_model() -> String {
    crate::support::here("tests/packages/tiny-squeezebert").to_string_lossy().into_owned()
}
