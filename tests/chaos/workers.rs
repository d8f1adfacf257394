//! Workers that end, are stopped, and come and go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::crew::Crew;
use crate::report::size;
use crate::scenario::{Promise, Scenario};
use crate::support::check::Verdict;
use crate::support::proxy::{Api, Side};
use crate::support::wait::{PATIENCE, stays, until};

#[test]
fn s06_rolling_sigterm() {
    crate::require_kafka!();
    rolling_sigterm(Promise::ExactlyOnce, "s06");
}

/// A clean end repeats nothing, whatever was promised.
#[test]
#[ignore = "only in `make chaos`"]
fn s06_rolling_sigterm_at_least_once() {
    crate::require_kafka!();
    let verdict = rolling_sigterm(Promise::AtLeastOnce, "s06a");
    verdict.exactly_once();
}

fn rolling_sigterm(promise: Promise, topics: &str) -> Verdict {
    let mut s = Scenario::new("6 rolling SIGTERM", promise, topics, 12);
    let rounds = size(2, 10);
    s.report.state(format!("3 workers, {rounds} times SIGTERM"));
    let mut crew = s.crew();
    crew.start_all(0..3);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        s.flow(3_000);
        let asked = Instant::now();
        crew.terminate([round % 3]);
        slowest = slowest.max(asked.elapsed());
        crew.start_ready(round % 3);
    }
    // The drain's deadline of 5 s, leaving the group, 5 s at most, and a busy machine. That it drained
    // in time is its exit code.
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    s.report.state(format!("the slowest took {:.1} s", slowest.as_secs_f64()));
    s.finish(crew)
}

#[test]
#[ignore = "only in `make chaos`"]
fn s05_one_to_six_and_back() {
    crate::require_kafka!();
    let mut s = Scenario::new("5 scale 1 to 6 to 1", Promise::ExactlyOnce, "s05", 24);
    let changes = size(4, 60);
    s.report.state(format!("{changes} changes between 1 and 6 workers, one every 5 s"));
    let mut crew = s.crew();
    crew.start_ready(0);
    for change in 0..changes {
        let began = Instant::now();
        s.flow(2_000);
        match change % 4 {
            0 | 2 => (1..6).for_each(|member| crew.start(member)),
            1 => crew.terminate(1..6),
            _ => (1..6).for_each(|member| crew.kill(member)),
        }
        stays("five seconds", Duration::from_secs(5).saturating_sub(began.elapsed()), || true);
    }
    s.finish(crew);
}

/// A fixed stir: the same members every time.
fn pick(round: usize, of: usize) -> usize {
    (round.wrapping_mul(2_654_435_761) >> 9) % of
}

#[test]
#[ignore = "only in `make chaos`"]
fn s01_kill_nine_at_random() {
    crate::require_kafka!();
    let mut s = Scenario::new("1 kill -9 at random", Promise::ExactlyOnce, "s01", 24);
    let kills = size(5, 50);
    let mut crew = s.crew();
    crew.start_all(0..4);
    let mut strangers = 0;
    for round in 0..kills {
        s.flow(4_000);
        let victim = crew.members()[pick(round, 4)];
        crew.kill(victim);
        // Mostly it comes back under its transactional id, which ends what it left open. One in five
        // is replaced by somebody new, and readers wait until the brokers end it.
        if round % 5 == 4 {
            strangers += 1;
            crew.start(4 + round);
        } else {
            crew.start(victim);
        }
    }
    s.report.state(format!("4 workers, {kills} times kill -9, {strangers} of them replaced by somebody new"));
    s.finish(crew);
}

#[test]
fn s03_zombies() {
    crate::require_kafka!();
    let mut s = Scenario::new("3 SIGSTOP, SIGCONT", Promise::ExactlyOnce, "s03", 12);
    let rounds = size(1, 20);
    let mut crew = s.crew();
    crew.start_all(0..2);
    let mut furthest = BTreeMap::new();
    for round in 0..rounds {
        s.flow(3_000);
        let (zombie, heir) = (round % 2, 1 - round % 2);
        crew.get(zombie).signal(libc::SIGSTOP);
        let stopped = Instant::now();
        s.feed(1_000);
        crew.get(heir).wait_partitions(12);
        stays(
            "twice the session time-out",
            Duration::from_secs(12).saturating_sub(stopped.elapsed()),
            || true,
        );
        crew.get(zombie).signal(libc::SIGCONT);
        until("both to share the partitions", PATIENCE, || {
            for (partition, offset) in s.scene.client.committed("s03", "s03.in") {
                let before = furthest.insert(partition, offset).unwrap_or(0);
                assert!(before <= offset, "the commit of {partition} went back from {before} to {offset}");
            }
            [0, 1].iter().all(|member| crew.get(*member).partitions() == Some(6))
        });
    }
    s.report.state(format!("2 workers, {rounds} times SIGSTOP for 12 s (session 6 s)"));
    s.finish(crew);
}

/// What librdkafka does not tell: a static member whose place in the group is gone learns that from the
/// answer to JoinGroup, joins anew, and keeps its partitions, although others have gone on with them.
#[test]
fn s03_a_static_member_that_joins_too_late() {
    crate::require_kafka!();
    let mut s = Scenario::new("3 static member joins too late", Promise::ExactlyOnce, "s03s", 12);
    let rounds = size(1, 10);
    let mut crew = s.crew();
    crew.keep_places();
    crew.start_all(0..2);
    for round in 0..rounds {
        s.flow(2_000);
        let (late, heir) = (round % 2, 1 - round % 2);
        let held = s.cluster.proxy.on(Api::JoinGroup, Side::Request).of(&crew.name(late)).times(1).hold();
        crew.start(2);
        let caught = held.wait(PATIENCE);
        // Until the brokers count it out, nobody joins, and it is at work.
        s.feed_until("the others to have all of it", || {
            [heir, 2].iter().all(|member| crew.get(*member).partitions() == Some(6)).then_some(())
        });
        s.flow(500);
        caught.pass();
        crew.get(late).wait_log("our place in it was lost");
        s.feed_until("all to share the partitions", || {
            (0..3).all(|member| crew.get(member).partitions() == Some(4)).then_some(())
        });
        s.flow(2_000);
        crew.terminate([2]);
        until("the two to share the partitions", PATIENCE, || {
            (0..2).all(|member| crew.get(member).partitions() == Some(6))
        });
    }
    s.report.state(format!("3 static workers, {rounds} times JoinGroup later than the session time-out"));
    s.finish(crew);
}

#[test]
fn s04_two_of_one_name() {
    crate::require_kafka!();
    let mut s = Scenario::new("4 one transactional id for two", Promise::ExactlyOnce, "s04", 6);
    let mut crew = s.crew();
    crew.start_ready(0);
    s.flow(3_000);
    let first = crew.name(0);
    crew.start_as(1, &first);
    let mut loser = crew.take(0);
    // From the moment the second has the id, not from the start of its process.
    crew.get(1).wait_log("exactly once");
    let began = Instant::now();
    s.feed_until("the first to end", || (!loser.runs()).then_some(()));
    let took = began.elapsed();
    assert_eq!(loser.wait().code(), Some(1));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let log = loser.log();
    for words in ["another worker has taken over the transactional id", first.as_str()] {
        assert!(log.contains(words), "`{words}` is not in:\n{log}");
    }
    s.report.state(format!("2 workers, the first ended with exit code 1 after {:.1} s", took.as_secs_f64()));
    s.finish(crew);
}

#[test]
fn s04_two_in_one_place() {
    crate::require_kafka!();
    let mut s = Scenario::new("4 one place in the group for two", Promise::ExactlyOnce, "s04b", 6);
    let mut crew = s.crew();
    crew.keep_places();
    crew.start_ready(0);
    s.flow(3_000);
    let first = crew.name(0);
    crew.start_in_place(1, &first);
    let mut loser = crew.take(0);
    s.feed_until("the first to end", || (!loser.runs()).then_some(()));
    assert_eq!(loser.wait().code(), Some(1));
    let (words, log) =
        ("another worker has joined the group under our `kafka.group_instance_id`", loser.log());
    assert!(log.contains(words), "`{words}` is not in:\n{log}");
    s.report.state("2 workers, the first ended with exit code 1");
    s.finish(crew);
}

/// A request that was sent twice over a broken connection fences whoever has what the second one got:
/// ourselves. That is nobody else.
#[test]
fn s04_one_that_asked_twice() {
    crate::require_kafka!();
    let mut s = Scenario::new("4 asked twice for its own id", Promise::ExactlyOnce, "s04a", 6);
    let times = size(1, 10);
    let mut crew = s.crew();
    let (name, mut renewed) = (crew.name(0), 0.0);
    for round in 0..times {
        for api in [Api::InitProducerId, Api::AddOffsetsToTxn] {
            if api == Api::InitProducerId && round > 0 {
                crew.kill(0);
            }
            let first = s.cluster.proxy.on(api, Side::Request).of(&name).times(1).hold();
            if api == Api::InitProducerId {
                crew.start(0);
            }
            let caught = s.feed_until("the worker to come to the step", || first.take());
            let next = s.cluster.proxy.on(Api::EndTxn, Side::Answer).of(&name).times(1).watch();
            caught.hang_up();
            s.feed_until("the worker to go on", || (next.hits() > 0).then_some(()));
            // In the middle of a transaction. (Not every late request fences, and why is not known; so how
            // often it did is counted, and not required.)
            let ends = s.cluster.proxy.on(Api::EndTxn, Side::Request).of(&name).times(1).hold();
            let end = s.feed_until("a transaction that is about to end", || ends.take());
            let late = s.cluster.proxy.on(api, Side::Answer).of(&name).times(1).watch();
            caught.pass();
            s.feed_until("the late request to be answered", || (late.hits() > 0).then_some(()));
            end.pass();
            s.flow(1_000);
            renewed += crew.get(0).metric("squeezeflow_transactions_total", "renewed").unwrap_or(0.0);
            crew.assert_alive();
        }
    }
    s.report.state(format!("1 worker, {times} times InitProducerId and AddOffsetsToTxn late and repeated, {renewed} new producers"));
    s.finish(crew);
}

/// An end that cannot commit what it has written aborts it: nobody downstream waits for the brokers to
/// do so, which would take a minute here.
#[test]
fn s06_an_end_without_a_commit_leaves_nothing_open() {
    crate::require_kafka!();
    let mut s = Scenario::new("6 SIGTERM, no commit", Promise::ExactlyOnce, "s06c", 6);
    let mut crew = s.crew();
    crew.set("kafka.transaction_timeout", "60s");
    crew.start_ready(0);
    s.flow(1_000);
    // The group's coordinator takes no offsets, so there is no commit.
    let held = s.cluster.proxy.on(Api::TxnOffsetCommit, Side::Request).of(&crew.name(0)).hold();
    let caught = s.feed_until("offsets on their way", || held.take());
    let mut worker = crew.take(0);
    worker.signal(libc::SIGTERM);
    assert_eq!(worker.wait().code(), Some(4), "{}", worker.log());
    let ended = Instant::now();
    s.scene.client.wait_settled(&[&s.scene.output(), &s.scene.dead()]);
    let took = ended.elapsed();
    // The brokers would take the minute.
    assert!(took < Duration::from_secs(40), "{took:?}");
    drop((held, caught));
    crew.start_ready(0);
    s.report.state(format!("1 worker, exit code 4, nothing open {:.1} s later", took.as_secs_f64()));
    s.finish(crew);
}

/// Whatever a worker waits for at its start: it is not begun, and ends at once.
#[test]
fn s06_sigterm_at_each_step_of_a_start() {
    crate::require_kafka!();
    let mut s = Scenario::new("6 SIGTERM at start", Promise::ExactlyOnce, "s06b", 6);
    let mut crew = s.crew();
    crew.keep_places();
    s.feed(500);
    let name = crew.name(0);
    let mut slowest = Duration::ZERO;
    let mut terminate = |crew: &mut Crew, step: &str| {
        let asked = Instant::now();
        crew.terminate([0]);
        let took = asked.elapsed();
        // Leaving the group may take its five seconds.
        assert!(took < Duration::from_secs(30), "{step}: {took:?}");
        slowest = slowest.max(took);
    };
    let steps = [
        (Api::FindCoordinator, Side::Request),
        (Api::InitProducerId, Side::Request),
        (Api::InitProducerId, Side::Answer),
        (Api::JoinGroup, Side::Request),
        (Api::SyncGroup, Side::Answer),
        (Api::OffsetFetch, Side::Request),
    ];
    for (api, side) in steps {
        let held = s.cluster.proxy.on(api, side).of(&name).hold();
        crew.start(0);
        let _caught = held.wait(PATIENCE);
        terminate(&mut crew, &format!("{api:?} {side:?}"));
    }
    // No broker answers, not even the first.
    let wall = s.cluster.proxy.part(Some(&name), None, None);
    crew.start(0);
    crew.get(0).wait_log("model is warm");
    terminate(&mut crew, "no answer");
    drop(wall);
    // Nothing is held up by what they left behind.
    crew.start(1);
    s.report.state(format!("{} steps, the slowest took {:.1} s", steps.len() + 1, slowest.as_secs_f64()));
    s.finish(crew);
}
