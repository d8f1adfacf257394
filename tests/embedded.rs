//! The real program against librdkafka's mock cluster, in this process: needs neither Java nor a
//! registry. Its groups and its error injection are real, so this is the place for what a broker
//! can be told to answer; it proves nothing about what survives (see `kafka/` for that). It keeps
//! no offsets that come with a transaction, so where offsets are looked at the worker runs at least
//! once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod support;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use support::check::check;
use support::client::Client;
use support::observer::{Observer, read_all};
use support::records::Stream;
use support::wait::PATIENCE;
use support::worker::Pipeline;

/// Three brokers in this process. Dropped, they are gone.
struct Mock(BaseProducer);

impl Mock {
    #[allow(unsafe_code)] // One setting that rdkafka's safe wrapper lacks.
    fn start() -> Self {
        let owner: BaseProducer = ClientConfig::new().set("test.mock.num.brokers", "3").create().unwrap();
        // A mock group waits 3 s for more members, each time that it is empty.
        // SAFETY: the producer is alive, and with it the cluster that it owns.
        unsafe {
            let cluster = rdkafka_sys::rd_kafka_handle_mock_cluster(owner.client().native_ptr());
            rdkafka_sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
        }
        Self(owner)
    }

    fn brokers(&self) -> MockCluster<'_, DefaultProducerContext> {
        self.0.client().mock_cluster().unwrap()
    }
}

/// With `NAME.in`, `NAME.out` and `NAME.dead`.
fn mock(name: &str) -> (Mock, Client, Pipeline, Observer) {
    let mock = Mock::start();
    for suffix in ["in", "out", "dead"] {
        mock.brokers().create_topic(&format!("{name}.{suffix}"), 3, 3).unwrap();
    }
    let bootstrap = mock.brokers().bootstrap_servers();
    let client = Client::new(&bootstrap);
    let output = Observer::of(&client, &[&format!("{name}.out"), &format!("{name}.dead")]);
    let pipeline = Pipeline::new(&bootstrap, name);
    (mock, client, pipeline, output)
}

#[test]
fn records_flow_and_poison_goes_aside() {
    let (_mock, client, pipeline, output) = mock("flow");
    let mut messages = Stream::new(20).take(500);
    messages[77].value = Some(b"not json".to_vec());
    messages[78].value = None;
    let worker = pipeline.start_ready();
    client.produce("flow.in", messages);
    output.wait(500, PATIENCE);
    worker.terminate();
    let verdict = check(&read_all(&client, &["flow.in"]), &output.seen());
    let verdict = verdict.exactly_once();
    assert_eq!((verdict.enriched, verdict.passed, verdict.dead), (498, 1, 1));
}

#[test]
fn what_a_broker_refuses_for_now_is_sent_again_in_order() {
    use RDKafkaRespErr as E;
    let (mock, client, pipeline, output) = mock("again");
    let worker = pipeline.start_ready();
    let refusals = [
        E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        E::RD_KAFKA_RESP_ERR__TRANSPORT,
        E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    ];
    let mut stream = Stream::new(20);
    client.produce("again.in", stream.take(300));
    output.wait(20, PATIENCE);
    mock.brokers().request_errors(RDKafkaApiKey::Produce, &refusals);
    output.wait(300, PATIENCE);
    client.produce("again.in", stream.take(300));
    output.wait(600, PATIENCE);
    worker.terminate();
    check(&read_all(&client, &["again.in"]), &output.seen()).exactly_once();
}

#[test]
fn a_commit_that_fails_is_made_again() {
    use RDKafkaRespErr as E;
    let (mock, client, pipeline, output) = mock("commit");
    let worker = pipeline.set_top("delivery", "at-least-once").start_ready();
    mock.brokers().request_errors(
        RDKafkaApiKey::OffsetCommit,
        &[E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR, E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS],
    );
    client.produce("commit.in", Stream::new(20).take(300));
    output.wait(300, PATIENCE);
    worker.terminate();
    let committed: i64 = client.committed("commit", "commit.in").values().sum();
    assert_eq!(committed, 300);
}

#[test]
fn a_write_that_is_refused_for_good_stops_the_worker_and_no_offset_passes_it() {
    let (mock, client, pipeline, output) = mock("refused");
    let pipeline = pipeline.set_top("delivery", "at-least-once");
    client.produce("refused.in", Stream::new(20).take(100));
    // From here on the worker is the only one who produces.
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    mock.brokers().request_errors(RDKafkaApiKey::Produce, &[refused; 3]);
    let mut worker = pipeline.start();
    assert_eq!(worker.wait().code(), Some(1));
    assert!(worker.log().contains("`refused.out`"), "{}", worker.log());
    let outputs = output.seen();
    let committed: i64 = client.committed("refused", "refused.in").values().sum();
    assert!(committed as usize <= outputs.len() && outputs.len() < 100, "{committed} of {}", outputs.len());

    // What was refused is read again, once the broker has come round.
    mock.brokers().clear_request_errors(RDKafkaApiKey::Produce);
    let second = pipeline.start_ready();
    output.wait_distinct(100, PATIENCE);
    second.terminate();
    check(&read_all(&client, &["refused.in"]), &output.seen()).at_least_once();
}

#[test]
fn a_broker_that_is_away_for_a_while_is_waited_for() {
    let (mock, client, pipeline, output) = mock("away");
    let worker = pipeline.start_ready();
    let mut stream = Stream::new(20);
    client.produce("away.in", stream.take(200));
    output.wait(200, PATIENCE);
    for broker in 1..=3 {
        mock.brokers().broker_down(broker).unwrap();
    }
    worker.wait_log("BrokerTransportFailure");
    for broker in 1..=3 {
        mock.brokers().broker_up(broker).unwrap();
    }
    client.produce("away.in", stream.take(200));
    output.wait_distinct(400, PATIENCE);
    worker.terminate();
    check(&read_all(&client, &["away.in"]), &output.seen()).at_least_once();
}

#[test]
fn nobody_at_the_address_is_said_and_ends_the_worker() {
    // A port that nobody listens on: bound, and closed again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut worker = Pipeline::new(&format!("127.0.0.1:{port}"), "nobody").start();
    assert_eq!(worker.wait().code(), Some(1));
    let log = worker.log();
    assert!(log.contains(&format!("127.0.0.1:{port}")) && log.contains("bootstrap_servers"), "{log}");
}

/// The newest records of each partition; what the group has committed stays. (That nobody joins it is
/// looked at in `kafka/tune.rs`: a mock cluster does not tell its groups' members.)
#[test]
fn tuning_reads_the_input_and_nobody_notices() {
    let (_mock, client, pipeline, output) = mock("tune");
    client.produce("tune.in", Stream::new(20).take(6_000));
    client.commit("tune", "tune.in", 1, 7);
    let before = client.ends("tune.in");
    let (mut command, dir) = pipeline.command(&["tune", "--for", "1s", "--json"]);
    command.env("ORT_DYLIB_PATH", support::worker::onnxruntime());
    let mut tune = support::process::Process::start(command);
    let ended = tune.wait("tune", PATIENCE);
    let read = |name| std::fs::read_to_string(dir.join(name)).unwrap();
    assert!(ended.success(), "{}", read("stderr"));
    let report: serde_json::Value = serde_json::from_str(&read("stdout")).unwrap();
    assert_eq!(report["texts"]["from"], "tune.in");
    let records = report["texts"]["records"].as_u64().unwrap();
    assert!((1_000..=5_000).contains(&records), "a bounded sample: {records}");
    assert_eq!(report["texts"]["records"], report["texts"]["texts"]);
    assert_eq!(client.committed("tune", "tune.in"), [(1, 7)].into(), "nothing is committed");
    assert_eq!(client.ends("tune.in"), before, "nothing is written");
    assert!(output.seen().is_empty(), "nor to the outputs");
}

#[test]
fn a_pipeline_that_cannot_be_is_refused_before_anything_starts() {
    let mut worker = Pipeline::new("127.0.0.1:1", "loop").set("output.topic", "loop.in").start();
    assert_eq!(worker.wait().code(), Some(2));
    assert!(worker.log().contains("output.topic"), "{}", worker.log());
    let mut worker = Pipeline::new("127.0.0.1:1", "loop").set("limits.drain_timeout", "7s").start();
    assert_eq!(worker.wait().code(), Some(2));
    assert!(worker.log().contains("limits.drain_timeout"), "{}", worker.log());
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let (mock, client, pipeline, output) = mock("twice");
    let mut worker = pipeline.start_ready();
    client.produce("twice.in", Stream::new(20).take(200));
    output.wait(200, PATIENCE);
    // Nothing that is asked is answered any more, so the drain would take its whole time.
    for broker in 1..=3 {
        mock.brokers().broker_round_trip_time(broker, Duration::from_secs(30)).unwrap();
    }
    worker.signal(libc::SIGTERM);
    worker.wait_log("asked to stop");
    worker.signal(libc::SIGTERM);
    assert_ne!(worker.wait().code(), Some(0));
}
