//! The network between workers and brokers is parted: both ways or one way, for all workers or for
//! one of them, shorter and longer than the session time-out (6 s) and a transaction (15 s).

use std::time::Duration;

use crate::report::is_full;
use crate::scenario::{Promise, Scenario};
use crate::support::proxy::Side;
use crate::support::wait::stays;

#[test]
fn s08_partitions_of_the_network() {
    crate::require_kafka!();
    let mut s = Scenario::new("8 network parted", Promise::ExactlyOnce, "s08", 12);
    let ways = [None, Some(Side::Request), Some(Side::Answer)];
    let (times, ways): (&[u64], &[_]) = if is_full() { (&[1, 10, 60], &ways) } else { (&[8], &ways[..1]) };
    let mut crew = s.crew();
    crew.start_all(0..2);
    for seconds in times {
        for way in ways {
            s.flow(3_000);
            let wall = s.cluster.proxy.part(None, None, *way);
            // What is already with the client or the brokers may still come out; then nothing.
            stand(*seconds);
            drop(wall);
            s.flow(2_000);
            crew.assert_alive();
        }
    }
    // One worker alone is cut off: the other takes over, and the first comes back.
    let alone = crew.name(0);
    for way in ways {
        s.flow(3_000);
        let wall = s.cluster.proxy.part(Some(&alone), None, *way);
        crew.get(1).wait_partitions(12);
        s.flow(2_000);
        drop(wall);
        crew.get(0).wait_partitions(6);
        crew.get(1).wait_partitions(6);
    }
    let which = if ways.len() == 1 { "both ways" } else { "both ways, requests only, answers only" };
    s.report.state(format!("2 workers, {times:?} s {which}, and as often one worker alone"));
    s.finish(crew);
}

/// The wall's time is what the scenario is about: nothing else is waited for.
fn stand(seconds: u64) {
    stays("a wall", Duration::from_secs(seconds), || true);
}
