//! A partition that is ours, behind and not read is noticed, counted, taken up anew, and loses nothing
//! by it.

use std::time::Duration;

use crate::report::size;
use crate::scenario::{Promise, Scenario};
use crate::support::proxy::{Api, Side};
use crate::support::wait::until;

/// Two looks ten seconds apart, and what each may wait for.
const NOTICED: Duration = Duration::from_secs(90);

#[test]
fn a_partition_that_stands_still_is_taken_up_anew() {
    stand_still(Promise::ExactlyOnce, "still");
}

#[test]
#[ignore = "only in `make chaos`"]
fn a_partition_that_stands_still_is_taken_up_anew_at_least_once() {
    stand_still(Promise::AtLeastOnce, "stillal").exactly_once();
}

/// The brokers' answers with records do not arrive, all others do: as the worker sees it, its client
/// does not read.
fn stand_still(promise: Promise, topics: &str) -> crate::support::check::Verdict {
    let mut s = Scenario::new("7 a client that does not read", promise, topics, 6);
    let rounds = size(1, 3);
    let mut crew = s.crew();
    crew.start_ready(0);
    let stalled = |crew: &crate::crew::Crew| {
        crew.get(0).metric("squeezeflow_stalled_partitions_total", "").unwrap_or(0.0)
    };
    for _ in 0..rounds {
        s.flow(1_000);
        let before = stalled(&crew);
        let held = s.cluster.proxy.on(Api::Fetch, Side::Answer).of(&crew.name(0)).hold();
        s.feed(1_000);
        until("a stall to be noticed", NOTICED, || stalled(&crew) > before);
        drop(held);
        s.flow(1_000);
        crew.assert_alive();
    }
    let times = stalled(&crew);
    s.report.state(format!("1 worker, {rounds} times no answer to Fetch, {times} partitions taken up anew"));
    s.finish(crew)
}
