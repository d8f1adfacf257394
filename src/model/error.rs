//! What can go wrong with a model: its package, when it is loaded, and when it runs.

use std::io;
use std::path::PathBuf;

use super::{Attempt, Difference, LabelsError, RuntimeError};
use crate::compile::CompileError;
use crate::fate::Fate;
use crate::text::TokenizeError;

/// Why a folder is not a package that we load. Always fatal; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// No such folder.
    #[error(
        "{0} is not a folder: `model.path` names the folder that holds config.json, tokenizer.json and model.onnx"
    )]
    NotAFolder(PathBuf),
    /// A required file is not there.
    #[error("{dir} has no {file}: put it there (a Hugging Face export has it)", dir = dir.display())]
    Missing {
        /// The package.
        dir: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// Nothing says how wide a hidden state is.
    #[error(
        "package {0}: neither config.json (hidden_size) nor the graph says how wide the hidden states are"
    )]
    Hidden(String),
    /// A file cannot be read.
    #[error("{file} cannot be read", file = file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A JSON file is not what it should be.
    #[error("{file} is not as expected", file = file.display())]
    Json {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Not an ONNX graph.
    #[error("{file} is not a readable ONNX graph: export or copy it again", file = file.display())]
    Onnx {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Neither a graph nor a checkpoint to make one of.
    #[error("the graph cannot be built: {0}")]
    Checkpoint(#[from] CompileError),
    /// External data that leads out of the folder.
    #[error(
        "{file} wants external data from {location:?}, which is not a file inside the package: copy the data into the folder beside the graph (no links, no `..`)",
        file = file.display()
    )]
    External {
        /// The graph.
        file: PathBuf,
        /// As the graph has it.
        location: String,
    },
    /// The manifest and the folder differ.
    #[error("{dir} is not as its manifest.json says: {}. Restore the files, or make the manifest anew", list(differences), dir = dir.display())]
    Manifest {
        /// The package.
        dir: PathBuf,
        /// All of them.
        differences: Vec<Difference>,
    },
    /// The configuration does not describe a classifier.
    #[error("{file}: {source}", file = file.display())]
    Labels {
        /// `config.json`.
        file: PathBuf,
        /// Why.
        source: LabelsError,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// A model that cannot be loaded. Always fatal; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The folder.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The library.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizeError),
    /// Neither the provider nor a fallback.
    #[error("no execution provider could be had: {}. To do: {advice}", reasons(attempts))]
    Provider {
        /// In the order in which they were tried.
        attempts: Vec<Attempt>,
        /// For the provider that was asked for first.
        advice: &'static str,
    },
    /// The first session came up, a later one did not.
    #[error(
        "session {number} of the model could not be made: {reason}. Fewer `model.sessions` need less memory"
    )]
    Session {
        /// Counted from 1.
        number: usize,
        /// ONNX Runtime's words.
        reason: String,
    },
    /// The graph wants something that we do not know.
    #[error(
        "the graph wants an input {0:?}; known are input_ids, attention_mask and token_type_ids: export the model as a text classifier"
    )]
    UnknownInput(String),
    /// The graph takes no tokens.
    #[error("the graph has no input input_ids: export the model as a text classifier")]
    NoIds,
    /// Not integers.
    #[error("the graph's input {name} is {dtype}; it must be int64 or int32")]
    InputType {
        /// The input.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// Not a head that the task can use.
    #[error("the graph has no output {wanted} (it has {}): export the model for this task", .has.join(", "))]
    NoOutput {
        /// By name.
        wanted: String,
        /// By name.
        has: Vec<String>,
    },
    /// Another head's output.
    #[error(
        "the graph's output {name} has {found} dimensions, this task wants {expected}: export the model for this task"
    )]
    Rank {
        /// The output.
        name: String,
        /// Of the graph.
        found: usize,
        /// For the task.
        expected: usize,
    },
    /// Not single precision.
    #[error(
        "the graph's output {name} is {dtype}; it must be float32 (fp16 converters have an option to keep inputs and outputs)"
    )]
    OutputType {
        /// The output.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// The labels are not those of the graph.
    #[error("the graph's output {name} has {width} columns, by config.json it should have {labels}")]
    Width {
        /// The output.
        name: String,
        /// Of the graph.
        width: i64,
        /// Of the configuration.
        labels: usize,
    },
    /// It loads, but does not run.
    #[error("the model failed on its first text: {0}")]
    WarmUp(#[source] InferError),
}

fn reasons(attempts: &[Attempt]) -> String {
    attempts.iter().map(Attempt::to_string).collect::<Vec<_>>().join("; ")
}

impl ModelError {
    /// Always: there is no worker without its model.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// A failed inference: none of the batch was answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// The run failed. One of the batch may be the culprit: split it.
    #[error("the model failed: {0}")]
    Run(String),
    /// A sequence without tokens has no answer.
    #[error("a text came out as no token at all")]
    NoTokens,
    /// For now.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device is gone until the process starts anew.
    #[error("the device failed: {0}")]
    Device(String),
    /// It runs, and does not come back.
    #[error(
        "the model did not answer within {seconds} s (`batch.timeout`); the run was ended. What it was given is read again at the next start"
    )]
    Hung {
        /// How long was waited.
        seconds: u64,
    },
    /// Even to the simplest text.
    #[error("the model answers with NaN or infinity, even to a plain word")]
    NotFinite,
    /// The answer is not what the package's head gives.
    #[error("the model answered with shape {found:?} instead of {expected:?}")]
    Shape {
        /// Empty: no answer at all.
        found: Vec<i64>,
        /// For this batch.
        expected: Vec<i64>,
    },
}

impl InferError {
    /// Classifies ONNX Runtime's error, which has codes too coarse for it: by its words.
    pub(super) fn run(error: &ort::Error) -> Self {
        Self::classify(error.message())
    }

    fn classify(message: &str) -> Self {
        const MEMORY: [&str; 5] =
            ["Failed to allocate memory", "bad_alloc", "bad allocation", "out of memory", "OUT_OF_MEMORY"];
        const DEVICE: [&str; 4] = ["CUDA failure", "CUDA error", "CUBLAS failure", "CUDNN failure"];
        let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let message = message.trim_end().to_owned();
        match () {
            () if has(&MEMORY) => Self::OutOfMemory(message),
            () if has(&DEVICE) => Self::Device(message),
            () => Self::Run(message),
        }
    }

    /// `Poison` of a batch means that one of it may be: split it until the culprit stands alone.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Run(_) | Self::NoTokens => Fate::Poison,
            Self::OutOfMemory(_) => Fate::Transient,
            Self::Device(_) | Self::Shape { .. } | Self::Hung { .. } | Self::NotFinite => Fate::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_follow_from_what_the_runtime_says() {
        let fate = |message| InferError::classify(message).fate();
        assert_eq!(fate("Non-zero status code returned while running Gather node."), Fate::Poison);
        assert_eq!(
            fate("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer"),
            Fate::Transient
        );
        assert_eq!(fate("CUDA failure 2: out of memory ; GPU=0"), Fate::Transient);
        assert_eq!(fate("CUDA failure 700: an illegal memory access was encountered"), Fate::Fatal);
        assert_eq!(InferError::Shape { found: vec![1], expected: vec![1, 2] }.fate(), Fate::Fatal);
    }
}
