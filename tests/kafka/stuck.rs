//! `/ready` and `/live`: what a supervisor is told. A part that has work and stands still is named. (That
//! of the batcher is shown in `src/batch/batcher.rs`: from outside nobody can hold it up.)

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::graphs::{Quirk, package};
use crate::support::cluster::Cluster;
use crate::support::process::Process;
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until, until_some};
use crate::support::worker::{Worker, onnxruntime};

/// The parts that `/live` names, once it says 503.
#[track_caller]
fn stuck(get: impl Fn(&str) -> Option<(u16, String)>) -> Vec<String> {
    let body = until_some("/live to say 503", PATIENCE, || {
        get("/live").filter(|(status, _)| *status == 503).map(|(_, body)| body)
    });
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["alive"], false);
    let parts = answer["stuck"].as_array().unwrap();
    assert!(parts.iter().all(|part| part["seconds"].as_f64().unwrap() >= 1.0), "{body}");
    parts.iter().map(|part| part["what"].as_str().unwrap().to_owned()).collect()
}

fn is_alive(worker: &Worker) -> bool {
    worker.get("/live").is_some_and(|(status, _)| status == 200)
}

#[test]
fn a_session_that_does_not_come_back_is_named() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "hung", 1, 1);
    let model = package(Quirk::Hangs);
    let pipeline = scene.pipeline.clone().set("model.path", model.to_string_lossy().as_ref());
    // Longer than the test: `batch.timeout` would end the run, and the worker with it.
    let pipeline = pipeline.set("batch.timeout", "1h").set("admin.stuck_after", "1s");
    let mut worker = pipeline.start_ready();
    assert!(is_alive(&worker));
    let mut stream = Stream::new(1);
    scene.client.produce(&scene.input(), vec![stream.message(Some("a good mandragora"))]);
    assert_eq!(stuck(|path| worker.get(path)), ["session 1"]);
    assert_eq!(worker.metric("squeezeflow_live", ""), Some(0.0));
    worker.wait_log("does not move");
    worker.kill();
}

/// Found stuck when it is at work.
#[test]
fn a_kafka_thread_that_does_not_move_is_named() {
    crate::require_kafka!();
    blocked("blocked", true);
}

/// Found stuck before that, when it asks the cluster whether it may.
#[test]
fn a_start_that_does_not_move_is_named() {
    crate::require_kafka!();
    blocked("blocked-at-start", false);
}

/// It writes its log to somebody who has stopped reading, from the start on or once it is at work.
fn blocked(name: &str, at_work: bool) {
    let scene = Scene::new(Cluster::shared(), name, 1, 1);
    let pipeline = scene.pipeline.clone().set("admin.stuck_after", "1s").set("log.level", "trace");
    let pipeline = pipeline.set("kafka.librdkafka", serde_json::json!({ "debug": "all" }));
    let (mut command, _dir) = pipeline.command(&["run"]);
    command.env("ORT_DYLIB_PATH", onnxruntime()).stderr(Stdio::piped());
    let mut process = Process::start(command);
    let mut log = BufReader::new(process.stderr());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the worker ended");
        let json: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(address) = json["addr"].as_str() {
            break address.to_owned();
        }
    };
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    };
    let reads = Arc::new(AtomicBool::new(at_work));
    let reading = std::thread::spawn({
        let reads = reads.clone();
        move || {
            loop {
                while !reads.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                line.clear();
                if log.read_line(&mut line).unwrap() == 0 {
                    break;
                }
            }
        }
    });
    if at_work {
        until("it to be ready", PATIENCE, || get("/ready").is_some_and(|(status, _)| status == 200));
        reads.store(false, Ordering::Relaxed);
    }
    assert!(stuck(get).contains(&"kafka".to_owned()));
    reads.store(true, Ordering::Relaxed);
    until("it to move again", PATIENCE, || get("/live").is_some_and(|(status, _)| status == 200));
    process.kill();
    reading.join().unwrap();
}

#[test]
fn a_standby_is_ready_and_takes_over() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "standby", 1, 1);
    let first = scene.pipeline.start_ready();
    first.wait_partitions(1);
    let second = scene.pipeline.start_ready();
    until("one of them to own the partition", PATIENCE, || {
        first.partitions().zip(second.partitions()).is_some_and(|(a, b)| a + b == 1)
    });
    until("both to be ready", PATIENCE, || first.is_ready() && second.is_ready());
    let (owner, standby) = if first.partitions() == Some(1) { (first, second) } else { (second, first) };
    owner.terminate();
    standby.wait_partitions(1);
    assert!(standby.is_ready());
    standby.terminate();
}
