//! What the end-to-end tests share. The tests stand outside: they start the real program and real
//! brokers as processes, talk Kafka with clients of their own, and look at what comes out.
//!
//! | file | what |
//! |---|---|
//! | `process` | child processes that never outlive the tests |
//! | `kafka` | is a real Apache Kafka there? If not: skipped, loudly |
//! | `cluster` | brokers: start, stop, kill, freeze |
//! | `proxy` | between worker and brokers: delays, drops, cuts, holds, parts |
//! | `client` | topics, producing, committed offsets |
//! | `observer` | everything a topic holds, read along while the test runs |
//! | `worker` | a pipeline file and `squeezeflow run` on it |
//! | `letters` | `squeezeflow dead-letters`, and letters made by hand |
//! | `acl` | rights, given and taken |
//! | `check` | lost, duplicate, out of order, altered? |
//! | `raw` | records that no Kafka client would send |
//! | `records` | records to send |
//! | `scene` | the topics, group and pipeline of one test |
//! | `feeder` | sends in the background, a little ahead of the output |
//! | `wait` | wait for conditions, never for time |
//! | `zoo/` | everything that a stream can carry |

#![allow(dead_code, unused_imports)] // Each test binary uses its own part.

pub mod acl;
pub mod check;
pub mod client;
pub mod cluster;
pub mod feeder;
pub mod kafka;
pub mod letters;
pub mod observer;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod records;
pub mod scene;
pub mod wait;
pub mod worker;
pub mod zoo;

use std::path::{Path, PathBuf};

/// A path from the repository's root.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
