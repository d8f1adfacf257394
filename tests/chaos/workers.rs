//! Workers that end, are stopped, and come and go.

use std::time::{Duration, Instant};

use crate::report::size;
use crate::scenario::{Promise, Scenario};
use crate::support::wait::stays;

#[test]
fn s06_rolling_sigterm() {
    crate::require_kafka!();
    let mut s = Scenario::new("6 rolling SIGTERM", "s06", 12);
    let rounds = size(3, 10);
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
    // The drain's deadline of 5 s, and leaving the group.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    s.report.state(format!("the slowest took {:.1} s", slowest.as_secs_f64()));
    s.finish(crew, Promise::ExactlyOnce);
}

#[test]
fn s05_one_to_six_and_back() {
    crate::require_kafka!();
    let mut s = Scenario::new("5 scale 1 to 6 to 1", "s05", 24);
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
    s.finish(crew, Promise::AtLeastOnce);
}
