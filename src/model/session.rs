//! One ONNX Runtime session: token sequences in, logits out.

use std::collections::BTreeMap;
use std::sync::Arc;

use ort::session::{RunOptions, Session};
use ort::value::{TensorElementType, ValueType};

use super::feed::Feeds;
use super::package::Package;
use super::{Infer, InferError, ModelError, Output, Stopper};
use crate::text::Tokens;

/// A session with its buffers. Owned by one thread: ONNX Runtime's `run` takes `&mut self`.
pub(super) struct OrtSession {
    session: Session,
    options: Arc<RunOptions>,
    feeds: Feeds,
    output: String,
    labels: usize,
    pad: u32,
}

impl OrtSession {
    /// Checks that the graph's inputs can be fed and its output read.
    pub fn new(session: Session, package: &Package) -> Result<Self, ModelError> {
        let feeds = Feeds::new(&session)?;
        let output = output(&session, package.labels.len())?;
        let (labels, pad) = (package.labels.len(), package.pad_id);
        let options = Arc::new(RunOptions::new().map_err(|e| ModelError::WarmUp(InferError::run(&e)))?);
        Ok(Self { session, options, feeds, output, labels, pad })
    }
}

/// `logits`, or the first output of two dimensions: float32, as wide as there are labels.
fn output(session: &Session, labels: usize) -> Result<String, ModelError> {
    let rank2 = |t: &ValueType| matches!(t, ValueType::Tensor { shape, .. } if shape.len() == 2);
    let outputs = session.outputs();
    let chosen = outputs
        .iter()
        .find(|o| o.name() == "logits")
        .or_else(|| outputs.iter().find(|o| rank2(o.dtype())))
        .ok_or_else(|| ModelError::NoLogits(outputs.iter().map(|o| o.name().to_owned()).collect()))?;
    let name = chosen.name().to_owned();
    match chosen.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => match shape.get(1) {
            Some(&width) if width > 0 && usize::try_from(width) != Ok(labels) => {
                Err(ModelError::Width { name, width, labels })
            }
            _ => Ok(name),
        },
        other => Err(ModelError::OutputType { name, dtype: other.to_string() }),
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
        let missing = || InferError::Shape { found: Vec::new(), rows: batch.len(), labels: self.labels };
        let logits = outputs.get(&self.output).ok_or_else(missing)?;
        let (shape, logits) = logits.try_extract_tensor::<f32>().map_err(|e| InferError::run(&e))?;
        let expected = [batch.len(), self.labels].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        if shape[..] != expected {
            return Err(InferError::Shape { found: shape.to_vec(), rows: batch.len(), labels: self.labels });
        }
        Ok(logits.chunks_exact(self.labels).map(|row| Output { logits: row.to_vec() }).collect())
    }
}
