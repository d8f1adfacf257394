//! Every task against Hugging Face's own answers (tests/golden/tasks), by packages of every family.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod feature_extraction;
mod golden;
mod question_answering;
mod silent;
mod text_classification;
mod token_classification;
mod zero_shot;
