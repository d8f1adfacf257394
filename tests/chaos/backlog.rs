//! Far more to do than can be done.

use std::time::{Duration, Instant};

use crate::graphs::{Quirk, package};
use crate::report::size;
use crate::scenario::{LONG, Promise, Scenario};
use crate::support::client::Sender;
use crate::support::observer::read_before;
use crate::support::records::Stream;
use crate::support::wait::{stays, until};

/// What the worker may have resident: some 50 MiB when it has nothing to do (this small model, ONNX
/// Runtime, the clients), `limits.max_in_flight_bytes` (16 MiB here) three times over (records as
/// they were read, results, the producer's copy), the prefetch of 16 MiB twice (as it was fetched,
/// and unpacked), and what the allocator keeps.
const CAP: u64 = 192 << 20;

#[test]
#[ignore = "only in `make chaos`"]
fn s16_backlog() {
    crate::require_kafka!();
    let partitions = size(64, 256);
    let mut s = Scenario::new("16 backlog, slow model", Promise::ExactlyOnce, "s16", partitions as i32);
    let (count, seconds) = (size(60_000, 2_000_000), size(15, 120));
    let (mut stream, mut sender) = (Stream::new(10_000), Sender::new(&s.scene.client, "s16.in", &[]));
    let sent = Instant::now();
    for _ in 0..count {
        sender.send(&stream.message(None));
    }
    sender.flush();
    s.report.state(format!("{count} records waiting (sent in {:.0} s)", sent.elapsed().as_secs_f64()));
    let mut crew = s.crew();
    crew.set("model.path", package(Quirk::Slow).to_string_lossy().as_ref());
    // Each text costs the model its time, whether it came before or not.
    crew.set("cache.max_bytes", "0");
    crew.start_ready(0);
    crew.get(0).wait_partitions(partitions);
    let worker = crew.get(0);
    // Every partition has its share: none stands still behind the others.
    until("every partition to have come to its turn", LONG, || {
        let committed = s.scene.client.committed("s16", "s16.in");
        committed.len() == partitions && committed.values().all(|offset| *offset > 0)
    });
    stays("under its cap", Duration::from_secs(seconds as u64), || worker.peak_memory() < CAP);
    let peak = worker.peak_memory() >> 20;
    crew.terminate([0]);
    let committed = s.scene.client.committed("s16", "s16.in");
    let done: i64 = committed.values().sum();
    assert!((done as usize) < count, "the model was not slow enough");
    s.report.state(format!(
        "1 worker for {seconds} s: {peak} MiB at most, of {} allowed; {done} done",
        CAP >> 20
    ));
    let input = read_before(&s.scene.client, "s16.in", &committed);
    s.judge(&input);
}
