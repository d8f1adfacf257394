//! A graph that was just made, run on the CPU, with every output of it: for holding graphs against
//! each other. The worker's sessions are in `session`; they want a package and give what a task needs.

use std::borrow::Cow;
use std::path::Path;

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{TensorRef, ValueType};

use super::{InferError, RuntimeError, runtime};
use crate::text::Tokens;

/// Why a graph could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Not a graph that ONNX Runtime takes.
    #[error("ONNX Runtime refuses the graph: {0}")]
    Refused(String),
    /// It fails.
    #[error(transparent)]
    Infer(#[from] InferError),
}

/// How much ONNX Runtime may change a graph before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewriting {
    /// Not at all: operator by operator as it is written.
    None,
    /// As for a worker.
    All,
}

/// A padded graph in a session of its own, on one thread of the CPU.
pub struct Probe {
    session: Session,
    outputs: Vec<Shape>,
}

/// An output, and whether its second dimension is the sequence.
struct Shape {
    name: String,
    by_token: bool,
}

/// All outputs for one sequence, in the graph's order, each flat. What is there by token is cut to
/// the sequence's length.
pub type Answer = Vec<Vec<f32>>;

impl Probe {
    /// `graph` is an ONNX model. `library` is ONNX Runtime's, as `model.library` in a pipeline.
    pub fn new(graph: &[u8], rewriting: Rewriting, library: Option<&Path>) -> Result<Self, ProbeError> {
        let environment = runtime::environment(library)?;
        let level = match rewriting {
            Rewriting::None => GraphOptimizationLevel::Disable,
            Rewriting::All => GraphOptimizationLevel::All,
        };
        let open = || -> ort::Result<Session> {
            let builder = Session::builder(&environment)?.with_intra_threads(1)?.with_inter_threads(1)?;
            builder.with_optimization_level(level)?.commit_from_memory(graph)
        };
        let session = open().map_err(|e| ProbeError::Refused(e.message().trim_end().to_owned()))?;
        let outputs = session.outputs().iter().map(|o| Shape {
            name: o.name().to_owned(),
            by_token: matches!(o.dtype(), ValueType::Tensor { dimension_symbols, .. }
                if dimension_symbols.get(1).is_some_and(|name| name == "sequence")),
        });
        Ok(Self { outputs: outputs.collect(), session })
    }

    /// The outputs' names.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|o| o.name.as_str())
    }

    /// Answers in the order of `batch`, which is padded with `pad` to its longest sequence.
    pub fn run(&mut self, batch: &[&Tokens], pad: u32) -> Result<Vec<Answer>, ProbeError> {
        let width = batch.iter().map(|t| t.ids.len()).max().unwrap_or_default();
        let shape = [batch.len(), width];
        let feed = |of: fn(Option<u32>, u32) -> i64| -> Vec<i64> {
            batch.iter().flat_map(|t| (0..width).map(move |i| of(t.ids.get(i).copied(), pad))).collect()
        };
        let ids = feed(|id, pad| id.unwrap_or(pad).into());
        let mask = feed(|id, _| id.is_some().into());
        let types = vec![0_i64; ids.len()];
        let feeds = [("input_ids", &ids), ("attention_mask", &mask), ("token_type_ids", &types)];
        let failed = |e: ort::Error| ProbeError::Infer(InferError::run(&e));
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        for (name, values) in feeds {
            let value = TensorRef::from_array_view((shape, values.as_slice())).map_err(failed)?;
            inputs.push((name.into(), value.into()));
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        let mut answers: Vec<Answer> = vec![Vec::new(); batch.len()];
        for output in &self.outputs {
            let wrong = || InferError::Shape { found: Vec::new(), rows: batch.len(), labels: 0 };
            let value = outputs.get(&output.name).ok_or_else(wrong)?;
            let (_, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
            let row = values.len().checked_div(batch.len()).filter(|row| *row > 0).ok_or_else(wrong)?;
            for ((answer, values), tokens) in answers.iter_mut().zip(values.chunks_exact(row)).zip(batch) {
                let used = if output.by_token { row / width.max(1) * tokens.ids.len() } else { row };
                answer.push(values.iter().take(used).copied().collect());
            }
        }
        Ok(answers)
    }
}
