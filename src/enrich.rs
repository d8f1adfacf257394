//! Prediction and document in, outcome out. Pure.

use std::sync::Arc;

use crate::config::settings::Output;
use crate::model::tasks::Prediction;
use crate::model::{Package, Receipt};
use crate::record::{DeadLetter, Header, Outcome, Record};
use crate::text::{Document, TokenCount};

/// Writes results as one pipeline's `output:` says.
pub struct Enricher {}

impl Enricher {
    /// For one pipeline and the model that really runs.
    pub fn new(_output: &Output, _package: Arc<Package>, _receipt: Receipt) -> Self {
        todo!()
    }
    /// The enriched record.
    pub fn enrich(&self, _document: Document, _tokens: TokenCount, _prediction: &Prediction) -> Outcome {
        todo!()
    }
}

/// The headers that tell a dead letter's story, to be added after the record's own.
pub fn dead_letter_headers(_record: &Record, _letter: &DeadLetter) -> Vec<Header> {
    todo!()
}
