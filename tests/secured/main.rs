//! The real program against a real Apache Kafka that asks who is there: TLS, client certificates, SASL
//! with passwords and tokens, access lists. One broker for all; each case has topics, a group, and a
//! user of its own.
//!
//! | file | what |
//! |---|---|
//! | `certificates` | authorities and certificates, good and bad, made for one run |
//! | `broker` | the broker: its listeners, users and rights |
//! | `issuer` | who gives tokens |
//! | `secrets` | what must never come out, planted and looked for |
//! | `tokens` | a worker that shows them |
//! | `entry` | who is let in, and who is not: each with its message, as docs/SECURITY.md has it |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod broker;
mod certificates;
#[path = "../kafka/collector.rs"]
mod collector;
mod entry;
mod issuer;
mod secrets;
mod tokens;
