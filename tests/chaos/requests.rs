//! Every kind of fault for every kind of request that delivery depends on.

use std::time::Duration;

use crate::report::is_full;
use crate::scenario::{Promise, Scenario};
use crate::support::proxy::{Api, Side};

/// What happens to one request, or to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Longer than the session time-out, and shorter than a transaction may take.
    Delayed(Side),
    /// The connection breaks instead.
    Cut(Side),
    /// The connection breaks for the client; the request arrives after all, a little later.
    Late,
    /// No answer, and no broken connection either.
    Unanswered,
}

const TRANSACTIONS: [Api; 5] =
    [Api::Produce, Api::AddPartitionsToTxn, Api::AddOffsetsToTxn, Api::TxnOffsetCommit, Api::EndTxn];
const OTHERS: [Api; 6] = [
    Api::Heartbeat,
    Api::JoinGroup,
    Api::SyncGroup,
    Api::OffsetFetch,
    Api::FindCoordinator,
    Api::InitProducerId,
];

#[test]
#[ignore = "only in `make chaos`"]
fn s17_every_fault_for_every_request() {
    crate::require_kafka!();
    let mut s = Scenario::new("17 every fault on every request", Promise::ExactlyOnce, "s17", 6);
    let short = [Fault::Cut(Side::Answer), Fault::Late];
    let full = [
        Fault::Delayed(Side::Request),
        Fault::Delayed(Side::Answer),
        Fault::Cut(Side::Request),
        Fault::Cut(Side::Answer),
        Fault::Late,
        Fault::Unanswered,
    ];
    let faults: &[Fault] = if is_full() { &full } else { &short };
    let apis: Vec<Api> = TRANSACTIONS.into_iter().chain(OTHERS).collect();
    let mut crew = s.crew();
    // So long is waited for the answer to a JoinGroup.
    crew.set("kafka.librdkafka", serde_json::json!({ "max.poll.interval.ms": 15_000 }));
    crew.start_all(0..2);
    for (api, fault) in apis.iter().flat_map(|api| faults.iter().map(move |fault| (*api, *fault))) {
        let name = crew.name(0);
        s.flow(300);
        let on = |side| s.cluster.proxy.on(api, side).of(&name).times(1);
        let (mut trap, mut held) = (None, None);
        match fault {
            Fault::Delayed(side) => trap = Some(on(side).delay(Duration::from_secs(7))),
            Fault::Cut(side) => trap = Some(on(side).cut()),
            Fault::Unanswered => trap = Some(on(Side::Answer).swallow()),
            Fault::Late => held = Some(on(Side::Request).hold()),
        }
        // Requests of these kinds come when the group changes, or a worker begins.
        match api {
            Api::JoinGroup | Api::SyncGroup => {
                crew.terminate([1]);
                crew.start(1);
            }
            Api::OffsetFetch | Api::FindCoordinator | Api::InitProducerId => {
                crew.kill(0);
                crew.start(0);
            }
            _ => {}
        }
        if let Some(trap) = trap {
            s.feed_until(&format!("{api:?} to be {fault:?}"), || (trap.hits() > 0).then_some(()));
        }
        if let Some(held) = held {
            let caught = s.feed_until(&format!("{api:?} to be {fault:?}"), || held.take());
            caught.hang_up();
            // The client goes on, and then it arrives.
            let next = s.cluster.proxy.on(Api::Produce, Side::Request).of(&name).times(20).watch();
            s.feed_until("the stream to go on", || (next.hits() >= 20).then_some(()));
            caught.pass();
        }
        crew.assert_alive();
    }
    s.report.state(format!("2 workers, {} kinds of request, {} faults each", apis.len(), faults.len()));
    s.finish(crew);
}
