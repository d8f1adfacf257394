//! squeezeflow: text records in, enriched records out.
//!
//! ```text
//! poll ─► admit ─► [decode + tokenize]×N ─► [cache, batcher] ─► [session]×M ─► join, enrich ─► settle ─► produce + commit
//! kafka thread     text workers             1 task              1 thread each  1 thread   sequencer  (same kafka thread)
//! ```
//!
//! | file | room |
//! |---|---|
//! | `record/` | what travels: `Record`, `Ticket`, `Tracked`, `Outcome` |
//! | `cli/` | the command line, one file a verb; the only room that prints |
//! | `config/` | pipeline file to `Settings` |
//! | `kafka/` | the one thread that owns consumer and producer |
//! | `letters/` | dead letters: counted, looked at, sent back |
//! | `stdio/` | the same pipeline over standard input and output |
//! | `golden/` | the cases of a pipeline: run, compared, brought up to date |
//! | `pipeline` | wires the stages; no logic |
//! | `text/` | decode, mask and tokenize |
//! | `batch/` | which texts go into the model together |
//! | `cache/` | answers kept, and sequences that are in the model already |
//! | `model/` | package, sessions, heads, and what tasks make of their answers |
//! | `results` | from a pipeline's settings to its tasks and models |
//! | `compile/` | checkpoint to graph |
//! | `evaluate/` | how good a package is on labelled texts |
//! | `operators/` | what ONNX Runtime lacks for packed graphs; the room with unsafe code |
//! | `join` | documents of several parts waiting for them |
//! | `enrich` | prediction and document to outcome |
//! | `sequencer` | in-order release and the committable offset |
//! | `tune/` | which settings serve a pipeline best on this machine |
//! | `telemetry/`, `admin/` | logs, metrics, probes |
//! | `demo/` | what `squeezeflow demo` is made of, but for its view |

pub mod admin;
pub mod batch;
pub mod cache;
pub mod cli;
pub mod compile;
pub mod config;
pub mod demo;
pub mod enrich;
pub mod evaluate;
pub mod fate;
pub mod golden;
pub mod join;
pub mod kafka;
pub mod letters;
pub mod model;
pub mod operators;
pub mod pipeline;
pub mod record;
pub mod results;
pub mod sequencer;
pub mod shutdown;
pub mod stdio;
pub mod telemetry;
pub mod text;
pub mod tune;
