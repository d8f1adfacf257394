//! The whole worker. `cargo bench --bench flow -- PART…`, or `make bench`:
//!
//! | part | what |
//! |---|---|
//! | `kafka` | Kafka to Kafka, beside the worker that people write in Python, and the model alone |
//! | `logs` | one pass over log lines, with an empty cache, masked and not |
//! | `hits` | how many of these lines are the same text, without a model; prints only |
//! | `backlog` | the worker's memory while it reads a million records that wait |
//! | `start` | from nothing to a warm model, and the memory of an idle worker |
//!
//! `ROUNDS`, `RECORDS`, `LINES`, `DRY=1` (leave docs/BENCHMARKS.md alone), `DATA` (folder with sst2 and
//! loghub), `PACKAGE` (what runs instead of SqueezeBERT-base as it is built).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code
)]

mod common;
mod stock;
#[path = "../tests/support/mod.rs"]
mod support;

#[path = "flow/backlog.rs"]
mod backlog;
#[path = "flow/kafka.rs"]
mod kafka;
#[path = "flow/logs.rs"]
mod logs;
#[path = "flow/start.rs"]
mod start;

use std::path::PathBuf;
use std::time::Instant;

use common::built;
use common::report::{self, here};
use common::subject::{self, Batches};
use squeezeflow::batch::{Limits, Pending};
use squeezeflow::config::settings::Batch;
use squeezeflow::model::Layout;
use stock::BASE;
use stock::checkpoint::Architecture;

fn main() {
    if subject::serve().is_some() {
        return;
    }
    let parts: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let parts =
        if parts.is_empty() { ["kafka", "logs", "start", "backlog"].map(String::from).into() } else { parts };
    for part in parts {
        match part.as_str() {
            "kafka" => kafka::bench(),
            "logs" => logs::bench(),
            "hits" => logs::hits(),
            "start" => start::bench(),
            "backlog" => backlog::bench(),
            other => panic!("no such part: {other} (kafka, logs, hits, start, backlog)"),
        }
    }
}

/// The folder with the data sets, or a loud word that the part is skipped.
fn data(part: &str, name: &str) -> Option<PathBuf> {
    let path = report::data(name);
    if !path.exists() {
        println!("{part}: SKIPPED, {} is not there (DATA names the folder with it)", path.display());
        return None;
    }
    Some(path)
}

/// One model: what squeezeflow runs, and its stock export.
struct Model {
    name: &'static str,
    package: PathBuf,
    stock: PathBuf,
}

/// SqueezeBERT-base with random weights: int8, built from its checkpoint.
fn base() -> Model {
    let dir = here("target/bench/squeezebert-base");
    let tokenizer = here("models/sentiment");
    let (stock, checkpoint) =
        stock::checkpoint::write(&dir, Architecture::SqueezeBert, &BASE, &tokenizer).unwrap();
    let [_, int8] = built::packages(&dir, &checkpoint);
    let package = std::env::var_os("PACKAGE").map_or(int8, PathBuf::from);
    Model { name: "SqueezeBERT-base, int8", package, stock }
}

/// The bundled model as it comes, and a stock export of the same weights.
fn bundled() -> Model {
    let (stock, _) = stock::bundled::export();
    Model { name: "the bundled model", package: here("models/sentiment"), stock }
}

/// The batches that the batcher makes of these sequences when enough of them wait.
fn batches(sequences: Vec<Vec<u32>>, settings: &Batch, layout: Layout) -> Batches {
    let (max_tokens, max_size) = (settings.max_tokens.get(), settings.max_size.get());
    let mut pending = Pending::new(Limits { max_tokens, max_size, max_age: settings.max_age, layout });
    let mut all = Batches::new();
    let now = Instant::now();
    for ids in sequences {
        let length = ids.len();
        pending.push(ids, length, now);
        if pending.len() >= max_size * squeezeflow::batch::WINDOW_BATCHES {
            all.push(pending.take());
        }
    }
    while !pending.is_empty() {
        all.push(pending.take());
    }
    all
}
