//! One ONNX Runtime session: token sequences in, logits out. Padded to the longest of the batch.

use std::borrow::Cow;
use std::sync::Arc;

use ort::session::{RunOptions, Session, SessionInputValue};
use ort::value::{TensorElementType, TensorRef, ValueType};

use super::package::Package;
use super::{Infer, InferError, ModelError, Output, Stopper};
use crate::text::Tokens;

/// What we can feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Token ids, padded with the package's padding id.
    Ids,
    /// 1 for a token, 0 for padding.
    Mask,
    /// All zero: a single text has one segment.
    Types,
}

/// One input of the graph, with the buffer that is used again from batch to batch.
struct Feed {
    name: String,
    role: Role,
    buffer: Buffer,
}

enum Buffer {
    I64(Vec<i64>),
    I32(Vec<i32>),
}

/// A session with its buffers. Owned by one thread: ONNX Runtime's `run` takes `&mut self`.
pub(super) struct OrtSession {
    session: Session,
    options: Arc<RunOptions>,
    feeds: Vec<Feed>,
    output: String,
    labels: usize,
    pad: u32,
}

impl OrtSession {
    /// Checks that the graph's inputs can be fed and its output read.
    pub fn new(session: Session, package: &Package) -> Result<Self, ModelError> {
        let feeds =
            session.inputs().iter().map(|i| feed(i.name(), i.dtype())).collect::<Result<Vec<_>, _>>()?;
        if !feeds.iter().any(|f| f.role == Role::Ids) {
            return Err(ModelError::NoIds);
        }
        let output = output(&session, package.labels.len())?;
        let (labels, pad) = (package.labels.len(), package.pad_id);
        let options = Arc::new(RunOptions::new().map_err(|e| ModelError::WarmUp(InferError::run(&e)))?);
        Ok(Self { session, options, feeds, output, labels, pad })
    }
}

fn feed(name: &str, dtype: &ValueType) -> Result<Feed, ModelError> {
    let role = match name {
        "input_ids" => Role::Ids,
        "attention_mask" => Role::Mask,
        "token_type_ids" => Role::Types,
        _ => return Err(ModelError::UnknownInput(name.to_owned())),
    };
    let buffer = match dtype {
        ValueType::Tensor { ty: TensorElementType::Int64, .. } => Buffer::I64(Vec::new()),
        ValueType::Tensor { ty: TensorElementType::Int32, .. } => Buffer::I32(Vec::new()),
        other => return Err(ModelError::InputType { name: name.to_owned(), dtype: other.to_string() }),
    };
    Ok(Feed { name: name.to_owned(), role, buffer })
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
        let Some(width) = batch.iter().map(|t| t.ids.len()).max() else { return Ok(Vec::new()) };
        if batch.iter().any(|t| t.ids.is_empty()) {
            return Err(InferError::NoTokens);
        }
        for feed in &mut self.feeds {
            match &mut feed.buffer {
                Buffer::I64(buffer) => fill(buffer, feed.role, batch, width, self.pad),
                Buffer::I32(buffer) => fill(buffer, feed.role, batch, width, self.pad),
            }
        }
        let shape = [batch.len(), width];
        let inputs = self.feeds.iter().map(|feed| {
            let value: SessionInputValue = match &feed.buffer {
                Buffer::I64(buffer) => TensorRef::from_array_view((shape, buffer.as_slice()))?.into(),
                Buffer::I32(buffer) => TensorRef::from_array_view((shape, buffer.as_slice()))?.into(),
            };
            Ok((Cow::from(feed.name.as_str()), value))
        });
        let inputs = inputs.collect::<ort::Result<Vec<_>>>().map_err(|e| InferError::run(&e))?;
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

/// An element of an input: both integer types hold every token id of a real vocabulary.
trait Element: Copy + From<bool> {
    fn of(id: u32) -> Self;
}

impl Element for i64 {
    fn of(id: u32) -> Self {
        id.into()
    }
}

impl Element for i32 {
    fn of(id: u32) -> Self {
        // Past every vocabulary: the graph refuses it.
        i32::try_from(id).unwrap_or(i32::MAX)
    }
}

/// Writes one input of shape `[batch, width]`, row by row, padded on the right.
fn fill<T: Element>(buffer: &mut Vec<T>, role: Role, batch: &[&Tokens], width: usize, pad: u32) {
    buffer.clear();
    for tokens in batch {
        let end = buffer.len() + width;
        match role {
            Role::Ids => buffer.extend(tokens.ids.iter().map(|&id| T::of(id))),
            Role::Mask => buffer.resize(end - width + tokens.ids.len(), T::from(true)),
            Role::Types => {}
        }
        buffer.resize(end, if role == Role::Ids { T::of(pad) } else { T::from(false) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_padded_on_the_right() {
        let tokens = |ids: &[u32]| Tokens { ids: ids.to_vec(), of_text: ids.len() };
        let (long, short) = (tokens(&[5, 6, 7]), tokens(&[8]));
        let batch = [&long, &short];
        let mut buffer = vec![9_i64; 40];
        fill(&mut buffer, Role::Ids, &batch, 3, 1);
        assert_eq!(buffer, [5, 6, 7, 8, 1, 1]);
        fill(&mut buffer, Role::Mask, &batch, 3, 1);
        assert_eq!(buffer, [1, 1, 1, 1, 0, 0]);
        let mut buffer: Vec<i32> = Vec::new();
        fill(&mut buffer, Role::Types, &batch, 3, 1);
        assert_eq!(buffer, [0; 6]);
    }
}
