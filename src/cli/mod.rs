//! One file a verb. The only room that prints.
// The lead: this file and main.rs are a stand-in; only `demo` is meant to stay.

pub mod demo;
