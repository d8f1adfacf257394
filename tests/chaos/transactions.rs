//! The moments of a transaction: workers that die at them, answers and requests that come late or
//! never, and transactions that take too long.

use std::time::Duration;

use crate::report::size;
use crate::scenario::{Promise, Scenario};
use crate::support::proxy::{Api, Side};
use crate::support::wait::stays;

/// No failpoints in the program: the proxy sees the request or the answer, holds it, and the worker
/// dies there. A request that was held is lost with the worker, or arrives after its death.
#[test]
fn s02_killed_at_each_step() {
    crate::require_kafka!();
    let steps = [
        ("before produce", Api::Produce, Side::Request),
        ("after produce", Api::Produce, Side::Answer),
        ("after the offsets", Api::TxnOffsetCommit, Side::Answer),
        ("before EndTxn", Api::EndTxn, Side::Request),
        ("after EndTxn", Api::EndTxn, Side::Answer),
    ];
    let mut s = Scenario::new("2 kill -9 at each step", Promise::ExactlyOnce, "s02", 12);
    let times = size(1, 20);
    let mut crew = s.crew();
    crew.keep_places();
    crew.start_all(0..2);
    for round in 0..times {
        for (_, api, side) in steps {
            s.flow(1_000);
            let victim = round % 2;
            s.feed(500);
            // Not always the first one of its kind.
            let step = s.cluster.proxy.on(api, side).of(&crew.name(victim)).after(round % 4).times(1).hold();
            let caught = s.feed_until("the worker to come to the step", || step.take());
            crew.kill(victim);
            if round / 2 % 2 == 0 {
                caught.cut()
            } else {
                caught.pass()
            }
            drop(step);
            crew.start(victim);
        }
    }
    let names: Vec<&str> = steps.iter().map(|(name, ..)| *name).collect();
    s.report.state(format!("2 workers, {times} times each: {}", names.join(", ")));
    s.finish(crew);
}

#[test]
fn s09_commits_that_come_late_or_are_not_answered() {
    crate::require_kafka!();
    let mut s = Scenario::new("9 EndTxn late or unanswered", Promise::ExactlyOnce, "s09", 6);
    let times = size(2, 50);
    let mut crew = s.crew();
    crew.start_all(0..2);
    for round in 0..times {
        let name = crew.name(round % 2);
        let on = |api, side| s.cluster.proxy.on(api, side).of(&name);
        // Past the next begin: the client thinks it lost, goes on, and then it arrives.
        let held = on(Api::EndTxn, Side::Request).times(1).hold();
        s.flow(400);
        let caught = s.feed_until("the worker to come to the step", || held.take());
        let next = s.cluster.proxy.on(Api::Produce, Side::Request).of(&name).watch();
        caught.hang_up();
        s.feed_until("the worker to come to the step", || (next.hits() > 0).then_some(()));
        caught.pass();
    }
    // Every tenth one without so much as a broken connection: only a time-out tells.
    let silent = size(0, 5);
    for round in 0..times {
        let name = crew.name(round % 2);
        let answer = s.cluster.proxy.on(Api::EndTxn, Side::Answer).of(&name).times(1);
        let trap = if round < silent { answer.swallow() } else { answer.cut() };
        s.flow(400);
        s.feed_until("the worker to come to the step", || (trap.hits() > 0).then_some(()));
    }
    s.report.state(format!(
        "2 workers, {times} requests past the next begin, {times} answers dropped ({silent} in silence)"
    ));
    s.finish(crew);
}

#[test]
#[ignore = "only in `make chaos`"]
fn s10_longer_than_a_transaction_may_take() {
    crate::require_kafka!();
    let mut s = Scenario::new("10 stall beyond the transaction time-out", Promise::ExactlyOnce, "s10", 6);
    let times = size(2, 10);
    let mut crew = s.crew();
    crew.set("kafka.transaction_timeout", "4s");
    crew.start_all(0..2);
    for round in 0..times {
        s.flow(2_000);
        let member = round % 2;
        if round % 4 < 2 {
            // Its writes do not get through; its heartbeats do.
            let name = crew.name(member);
            let held = s.cluster.proxy.on(Api::Produce, Side::Request).of(&name).hold();
            s.feed_until("the worker to come to the step", || (held.hits() > 0).then_some(()));
            stays("longer than a transaction may take", Duration::from_secs(7), || true);
        } else {
            crew.get(member).signal(libc::SIGSTOP);
            stays("longer than a transaction may take", Duration::from_secs(7), || true);
            crew.get(member).signal(libc::SIGCONT);
        }
    }
    let ended = |member, how: &str| {
        crew.get(member).metric("squeezeflow_transactions_total", &format!("result=\"{how}\"")).unwrap_or(0.0)
    };
    let renewed: f64 = [0, 1].iter().map(|member| ended(*member, "renewed")).sum();
    assert!(renewed >= 1.0, "some transaction was too long for the brokers");
    s.report.state(format!(
        "2 workers, {times} stalls of 7 s (transactions 4 s, session 6 s), {renewed} new producers"
    ));
    s.finish(crew);
}
