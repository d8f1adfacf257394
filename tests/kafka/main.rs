//! The real program against a real Apache Kafka, from outside: pipeline files, signals, exit codes,
//! and what is in the topics afterwards. Each test has topics and a group of its own.
//!
//! `require_kafka!()` skips a test, loudly, where no Kafka is to be had; with `CI=true` it fails.
//! Most tests share one broker; those that break brokers take turns on three.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod accounted;
mod brokers;
mod cache;
mod collector;
mod flow;
#[path = "../chaos/graphs.rs"]
#[allow(dead_code)] // One of them is needed here.
mod graphs;
mod harness;
mod letters;
mod lifecycle;
mod metrics;
mod murmur2;
mod oddities;
mod offsets;
mod routing;
mod scale;
mod stuck;
mod traces;
mod tune;
