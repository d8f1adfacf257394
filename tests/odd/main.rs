//! Odd input, of every kind: what each becomes, that memory stays bounded, and the bodies of the fuzz
//! targets in `fuzz/`, for a short time and always the same way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod configuring;
mod decoding;
mod json;
mod memory;
mod short;
mod zoo;
