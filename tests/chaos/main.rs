//! Chaos: the real program, a real Apache Kafka of three brokers, and a proxy between them that
//! delays, drops and cuts what the protocol cares about. Each scenario states its numbers, counts
//! what came of it in Jepsen's words (lost, duplicate, aborted read, out of order), and prints one
//! line; all lines once more at the end.
//!
//! `make test` runs every scenario in small, `make chaos` (`CHAOS=full`) with the full numbers.
//! One scenario at a time: they share the brokers, and break them.
//!
//! | file | what |
//! |---|---|
//! | `report` | sizes, and the lines |
//! | `scenario` | topics, stream, observer, judgement and report of one scenario |
//! | `crew` | workers that come and go under names that stay |
//! | `proxy` | the proxy itself does what it is told |
//! | `watchdog` | a partition that is not read is noticed and taken up anew |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod backlog;
mod brokers;
mod crew;
mod graphs;
mod model;
mod network;
mod proxy;
mod records;
mod report;
mod requests;
mod scenario;
mod transactions;
mod watchdog;
mod workers;
