//! Every task against Hugging Face's own answers (tests/golden/tasks), by packages of every family.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod golden;
mod question_answering;
mod token_classification;
