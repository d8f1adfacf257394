//! One ONNX Runtime session: token sequences in, the heads' answers out.

use std::collections::BTreeMap;
use std::sync::Arc;

use ort::session::{RunOptions, Session};

use super::feed::Feeds;
use super::outputs::{HeadOutputs, Rows};
use super::{Infer, InferError, ModelError, Output, Reads, Stopper};
use crate::text::Tokens;

/// A session with its buffers. Owned by one thread: ONNX Runtime's `run` takes `&mut self`.
pub(super) struct OrtSession {
    session: Session,
    options: Arc<RunOptions>,
    feeds: Feeds,
    /// What is kept of its answers, one after the other.
    heads: Vec<HeadOutputs>,
    pad: u32,
}

impl OrtSession {
    /// Checks that the graph's inputs can be fed and its outputs read. `heads`: what is kept of each, and
    /// how the names of its outputs end.
    pub fn new(session: Session, pad: u32, heads: &[(Reads, String)]) -> Result<Self, ModelError> {
        let feeds = Feeds::new(&session)?;
        let find =
            |(reads, suffix): &(Reads, String)| HeadOutputs::find(&session, *reads, feeds.layout(), suffix);
        let heads = heads.iter().map(find).collect::<Result<_, _>>()?;
        let options = Arc::new(RunOptions::new().map_err(|e| ModelError::WarmUp(InferError::run(&e)))?);
        Ok(Self { session, options, feeds, heads, pad })
    }
}

impl Infer for OrtSession {
    fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<Output>, InferError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if batch.iter().any(|t| t.ids.is_empty()) {
            return Err(InferError::NoTokens);
        }
        if self.feeds.must_be_equal() && batch.windows(2).any(|two| two[0].ids.len() != two[1].ids.len()) {
            return self.by_length(batch);
        }
        self.run(batch)
    }

    fn stopper(&self) -> Option<Stopper> {
        let options = self.options.clone();
        Some(Box::new(move || {
            // It sets a flag, which ONNX Runtime looks at between two nodes of the graph.
            if let Err(error) = options.terminate() {
                tracing::warn!(%error, "cannot end a run of the model");
            }
        }))
    }
}

impl OrtSession {
    /// Of a graph without a mask: those of one length at a time, so that nothing is padded.
    fn by_length(&mut self, batch: &[&Tokens]) -> Result<Vec<Output>, InferError> {
        let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, tokens) in batch.iter().enumerate() {
            lengths.entry(tokens.ids.len()).or_default().push(place);
        }
        let mut placed = Vec::with_capacity(batch.len());
        for places in lengths.into_values() {
            let equal: Vec<&Tokens> = places.iter().filter_map(|&place| batch.get(place).copied()).collect();
            placed.extend(places.into_iter().zip(self.run(&equal)?));
        }
        placed.sort_unstable_by_key(|(place, _)| *place);
        Ok(placed.into_iter().map(|(_, output)| output).collect())
    }

    fn run(&mut self, batch: &[&Tokens]) -> Result<Vec<Output>, InferError> {
        self.feeds.fill(batch, self.pad);
        let inputs = self.feeds.inputs().map_err(|e| InferError::run(&e))?;
        let outputs =
            self.session.run_with_options(inputs, &*self.options).map_err(|e| InferError::run(&e))?;
        let lengths: Vec<usize> = batch.iter().map(|tokens| tokens.ids.len()).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let rows = Rows { layout: self.feeds.layout(), lengths: &lengths, width };
        let mut kept = vec![Vec::new(); batch.len()];
        for head in &self.heads {
            head.read(&outputs, rows, &mut kept)?;
        }
        Ok(kept.into_iter().map(|logits| Output { logits }).collect())
    }
}
