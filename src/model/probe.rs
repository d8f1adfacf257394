//! A graph that was just made, run on the CPU, with every output of it: for holding graphs against
//! each other. The worker's sessions are in `session`; they want a package and give what a task needs.

use std::path::Path;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::ValueType;

use super::feed::Feeds;
use super::{InferError, ModelError, RuntimeError, runtime};
use crate::operators::{self, Level};
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

/// A graph, padded or packed, in a session of its own, on the CPU.
pub struct Probe {
    session: Session,
    feeds: Feeds,
    outputs: Vec<(String, Rows)>,
}

/// What an output's rows are.
#[derive(Clone, Copy)]
enum Rows {
    /// One a text.
    Texts,
    /// One a text, in it one a place, padding included.
    Places,
    /// One a token, text after text.
    Tokens,
}

/// All outputs for one sequence, in the graph's order, each flat. What is there by token is cut to
/// the sequence's length.
pub type Answer = Vec<Vec<f32>>;

impl Probe {
    /// `graph` is an ONNX model. `library` is ONNX Runtime's, as `model.library` in a pipeline. On one
    /// thread, as well as this processor can.
    pub fn new(graph: &[u8], rewriting: Rewriting, library: Option<&Path>) -> Result<Self, ProbeError> {
        Self::on(graph, rewriting, library, Level::best(), 1)
    }

    /// The same with our operators computed at `kernels`, on so many threads.
    pub fn on(
        graph: &[u8],
        rewriting: Rewriting,
        library: Option<&Path>,
        kernels: Level,
        threads: usize,
    ) -> Result<Self, ProbeError> {
        let environment = runtime::environment(library)?;
        let level = match rewriting {
            Rewriting::None => GraphOptimizationLevel::Disable,
            Rewriting::All => GraphOptimizationLevel::All,
        };
        let open = || -> ort::Result<Session> {
            let builder =
                Session::builder(&environment)?.with_intra_threads(threads)?.with_inter_threads(1)?;
            let operators = operators::domain(kernels, threads)?;
            let _turn = operators::opening();
            builder.with_optimization_level(level)?.with_operators(operators)?.commit_from_memory(graph)
        };
        let session = open().map_err(|e| ProbeError::Refused(e.message().trim_end().to_owned()))?;
        let rows = |dtype: &ValueType| match dtype {
            ValueType::Tensor { dimension_symbols: names, .. } => match names.iter().position(|n| {
                // As our own graphs and Hugging Face's exports name them.
                n == "sequence" || n == "tokens"
            }) {
                Some(0) => Rows::Tokens,
                Some(1) => Rows::Places,
                _ => Rows::Texts,
            },
            _ => Rows::Texts,
        };
        let outputs = session.outputs().iter().map(|o| (o.name().to_owned(), rows(o.dtype()))).collect();
        let feeds = Feeds::new(&session).map_err(|e: ModelError| ProbeError::Refused(e.to_string()))?;
        Ok(Self { session, feeds, outputs })
    }

    /// The outputs' names.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|(name, _)| name.as_str())
    }

    /// Answers in the order of `batch`, which a padded graph gets padded with `pad` to its longest sequence.
    pub fn run(&mut self, batch: &[&Tokens], pad: u32) -> Result<Vec<Answer>, ProbeError> {
        let failed = |e: ort::Error| ProbeError::Infer(InferError::run(&e));
        self.feeds.fill(batch, pad);
        let outputs = self.session.run(self.feeds.inputs().map_err(failed)?).map_err(failed)?;
        let longest = batch.iter().map(|t| t.ids.len()).max().unwrap_or_default();
        let all: usize = batch.iter().map(|t| t.ids.len()).sum();
        let mut answers: Vec<Answer> = vec![Vec::new(); batch.len()];
        for (name, rows) in &self.outputs {
            let wrong = || InferError::Shape { found: Vec::new(), expected: Vec::new() };
            let value = outputs.get(name).ok_or_else(wrong)?;
            let (_, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
            let count = match rows {
                Rows::Texts => batch.len(),
                Rows::Places => batch.len() * longest,
                Rows::Tokens => all,
            };
            let width = values.len().checked_div(count).filter(|width| *width > 0).ok_or_else(wrong)?;
            let mut rest = values;
            for (answer, tokens) in answers.iter_mut().zip(batch) {
                let (used, stored) = match rows {
                    Rows::Texts => (width, width),
                    Rows::Places => (width * tokens.ids.len(), width * longest),
                    Rows::Tokens => (width * tokens.ids.len(), width * tokens.ids.len()),
                };
                let (this, after) = rest.split_at_checked(stored).ok_or_else(wrong)?;
                answer.push(this.get(..used).ok_or_else(wrong)?.to_vec());
                rest = after;
            }
        }
        Ok(answers)
    }
}
