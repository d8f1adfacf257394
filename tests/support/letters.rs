//! `squeezeflow dead-letters` as a user runs it, and dead letters as a worker writes them.

use std::path::PathBuf;

use super::client::Message;
use super::process::Process;
use super::wait::PATIENCE;
use super::worker::Pipeline;

/// A verb of `dead-letters`, running. Dropped, it is killed.
pub struct Command {
    process: Process,
    dir: PathBuf,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Command {
    /// `squeezeflow dead-letters VERB OPTIONS PIPELINE`.
    pub fn start(pipeline: &Pipeline, verb: &str, options: &[&str]) -> Self {
        let (command, dir) = pipeline.command(&[&["dead-letters", verb], options].concat());
        Self { process: Process::start(command), dir }
    }

    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Has it not ended?
    pub fn runs(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let status = self.process.wait("dead-letters", PATIENCE);
        let read = |name| std::fs::read_to_string(self.dir.join(name)).unwrap();
        Ended { code: status.code().unwrap_or(-1), out: read("stdout"), err: read("stderr") }
    }
}

/// Runs it to its end.
#[track_caller]
pub fn run(pipeline: &Pipeline, verb: &str, options: &[&str]) -> Ended {
    Command::start(pipeline, verb, options).end()
}

/// `replay`, which must go well: how many letters it says it sent.
#[track_caller]
pub fn replay(pipeline: &Pipeline, options: &[&str]) -> u64 {
    let ended = run(pipeline, "replay", options);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    ended.out.split(' ').next().unwrap().parse().unwrap()
}

/// `list --json`, which must go well.
#[track_caller]
pub fn list(pipeline: &Pipeline, options: &[&str]) -> serde_json::Value {
    let ended = run(pipeline, "list", &[&["--json"], options].concat());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    serde_json::from_str(&ended.out).unwrap()
}

/// The letter of a record read at `place`.
pub fn letter(record: &Message, (topic, partition, offset): (&str, i32, i64), reason: &str) -> Message {
    let timestamp = record.timestamp.unwrap_or(-1).to_string();
    let story = [
        ("topic", topic),
        ("partition", &partition.to_string()),
        ("offset", &offset.to_string()),
        ("timestamp", &timestamp),
        ("reason", reason),
        ("message", "made by a test"),
        ("stage", "decode"),
        ("version", "0.0.1"),
    ];
    let story = story.map(|(n, v)| (format!("__squeezeflow.errors.{n}"), Some(v.as_bytes().to_vec())));
    let headers = [record.headers.as_slice(), &story].concat();
    Message { headers, timestamp: None, partition: None, ..record.clone() }
}
