//! A loaded package over labelled texts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::labelled::Example;
use super::metrics::Evaluation;
use crate::config::settings::LongText;
use crate::model::tasks::{Activation, classify};
use crate::model::{InferError, Loaded};
use crate::text::{TextTokenizer, TokenizeError, Tokens};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The package's tokenizer.
    #[error(transparent)]
    Tokenizer(TokenizeError),
    /// One of the texts.
    #[error("line {line}: {source}: take the line out")]
    Text {
        /// In the file.
        line: usize,
        /// Why.
        source: TokenizeError,
    },
    /// The model.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// More than one label a text, or none.
    #[error("{0} can be evaluated only on one label a text; this package is {1}")]
    NotOneLabel(&'static str, &'static str),
}

/// Texts of a batch. Of like length: they are sorted before.
const BATCH: usize = 32;

/// Answers all examples, on all sessions at once, and counts. Texts longer than the model reads are
/// truncated. `progress` gets the number of texts that were just done.
pub fn run(
    loaded: &mut Loaded,
    dataset: &str,
    examples: &[Example],
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Evaluation, EvaluateError> {
    let package = loaded.package.clone();
    match package.activation {
        Activation::Softmax => {}
        Activation::Sigmoid => return Err(EvaluateError::NotOneLabel("a package", "multi-label")),
        Activation::None => return Err(EvaluateError::NotOneLabel("a package", "a regression")),
    }
    let tokenizer = TextTokenizer::new(&package, package.max_length, LongText::Truncate)
        .map_err(EvaluateError::Tokenizer)?;
    let mut work: Vec<(Tokens, usize)> = Vec::with_capacity(examples.len());
    for Example { line, text, label } in examples {
        let (mut sequences, _) =
            tokenizer.tokenize(text).map_err(|source| EvaluateError::Text { line: *line, source })?;
        work.extend(sequences.drain(..1.min(sequences.len())).map(|tokens| (tokens, *label)));
    }
    work.sort_by_key(|(tokens, _)| tokens.ids.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Ok(Vec::with_capacity(work.len()))));
    let batches: Vec<&[(Tokens, usize)]> = work.chunks(BATCH).collect();
    std::thread::scope(|scope| {
        for session in &mut loaded.sessions {
            scope.spawn(|| {
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tokens: Vec<&Tokens> = batch.iter().map(|(tokens, _)| tokens).collect();
                    let called = session.infer(&tokens).and_then(|outputs| {
                        let best = |logits: &[f32]| classify(logits, package.activation).map(|p| p.best);
                        let best: Option<Vec<usize>> = outputs.iter().map(|o| best(&o.logits)).collect();
                        best.ok_or(InferError::NotFinite)
                    });
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    match (&mut *done, called) {
                        (Ok(pairs), Ok(called)) => {
                            pairs.extend(batch.iter().map(|(_, label)| *label).zip(called));
                            progress(batch.len());
                        }
                        (Ok(_), Err(error)) => {
                            *done = Err(error);
                            next.store(batches.len(), Ordering::Relaxed);
                        }
                        (Err(_), _) => {}
                    }
                }
            });
        }
    });
    let pairs = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    Ok(Evaluation::new(dataset, &package.labels, &pairs))
}
