//! What can go wrong between a checkpoint and a graph. Always fatal: says what is wrong with which file.

use std::io;
use std::path::PathBuf;

use super::calibrate::CalibrationError;
use super::graph::GraphError;
use crate::evaluate::EvaluateError;
use crate::fate::Fate;
use crate::model::{LabelsError, ModelError, PackageError, ProbeError};
use crate::text::TokenizeError;

/// Why a folder is not a checkpoint that we can build from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// No such folder.
    #[error(
        "{0} is not a folder: a checkpoint is a folder with config.json, tokenizer.json and model.safetensors"
    )]
    NotAFolder(PathBuf),
    /// A required file is not there.
    #[error("{dir} has no {file}: put it there (`save_pretrained` of transformers writes it)", dir = dir.display())]
    Missing {
        /// The checkpoint.
        dir: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// Weights in several files.
    #[error(
        "{file} spreads the weights over several files, which is not read here: save it anew in one (`max_shard_size` of `save_pretrained`)",
        file = file.display()
    )]
    Sharded {
        /// The index.
        file: PathBuf,
    },
    /// A file cannot be read.
    #[error("{file} cannot be read: {source}", file = file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `config.json` is not what it should be.
    #[error("{file} is not as expected: {source}", file = file.display())]
    Json {
        /// Which.
        file: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// `config.json` describes something else.
    #[error("{file}: {source}", file = file.display())]
    Config {
        /// Which.
        file: PathBuf,
        /// Why.
        source: ConfigError,
    },
    /// Not a safetensors file.
    #[error("{file} is not a whole safetensors file: {source}", file = file.display())]
    SafeTensors {
        /// Which.
        file: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// Not what `torch.save` writes.
    #[error("{file} is not a whole PyTorch checkpoint: {source}", file = file.display())]
    Torch {
        /// Which.
        file: PathBuf,
        /// Why.
        source: Box<pytorch_reader::PytorchError>,
    },
    /// A tensor that the configuration calls for.
    #[error("{file} has no tensor {name}", file = file.display())]
    NoTensor {
        /// The weights.
        file: PathBuf,
        /// As transformers calls it.
        name: String,
    },
    /// A tensor of another shape.
    #[error("{file}: the tensor {name} has shape {found:?}, config.json calls for {expected:?}", file = file.display())]
    Shape {
        /// The weights.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// In the file.
        found: Vec<usize>,
        /// By the configuration.
        expected: Vec<usize>,
    },
    /// Neither fp32, fp16 nor bf16.
    #[error("{file}: the tensor {name} is stored as {found}; known are F32, F16 and BF16", file = file.display())]
    Element {
        /// The weights.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// As the file has it.
        found: String,
    },
    /// A view of a few numbers, say, that stands for many.
    #[error("{file}: the tensor {name} is said to be {size} bytes, more than the whole file: the checkpoint is broken", file = file.display())]
    Larger {
        /// The weights.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// In bytes.
        size: usize,
    },
    /// The head and its labels.
    #[error("{file}: the head has {found} outputs, config.json names {named} labels", file = file.display())]
    Labels {
        /// The weights.
        file: PathBuf,
        /// Rows of the classifier.
        found: usize,
        /// In `id2label`.
        named: usize,
    },
    /// A head without outputs.
    #[error("{file}: the classifier has no outputs: the checkpoint is broken", file = file.display())]
    NoOutputs {
        /// The weights.
        file: PathBuf,
    },
    /// NaN or infinity among the weights.
    #[error("{file}: the tensor {name} holds NaN or infinity: the checkpoint is broken", file = file.display())]
    NotFinite {
        /// The weights.
        file: PathBuf,
        /// The tensor.
        name: String,
    },
}

/// Why a `config.json` does not describe a model that we can build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Another family.
    #[error("model_type is {0:?}, not \"squeezebert\": only SqueezeBERT checkpoints can be built")]
    ModelType(String),
    /// Another activation.
    #[error("hidden_act is {0:?}; known is \"gelu\"")]
    Activation(String),
    /// Nothing.
    #[error("{0} is 0")]
    Zero(&'static str),
    /// Not a positive number.
    #[error("layer_norm_eps must be a positive number")]
    Epsilon,
    /// transformers has no such model either.
    #[error("embedding_size is {embedding}, hidden_size {hidden}: SqueezeBERT wants them equal")]
    Widths {
        /// `embedding_size`.
        embedding: usize,
        /// `hidden_size`.
        hidden: usize,
    },
    /// A width that does not come apart.
    #[error("{width} ({size}) is not divisible by {parts} ({count})")]
    Indivisible {
        /// The width's key.
        width: &'static str,
        /// Its value.
        size: usize,
        /// The divisor's key.
        parts: &'static str,
        /// Its value.
        count: usize,
    },
    /// A head that is none of ours.
    #[error(
        "architectures names {0}; known are SqueezeBertForSequenceClassification, SqueezeBertForTokenClassification, SqueezeBertForQuestionAnswering and SqueezeBertModel"
    )]
    Head(String),
    /// A label without a name.
    #[error("id2label must name the labels 0 to {last} without a hole; {missing} is missing", last = count - 1)]
    Labels {
        /// Entries there are.
        count: usize,
        /// The first index that is not there.
        missing: usize,
    },
}

/// Why no graph came of a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The scales of int8.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// Sums of bytes would not fit 32 bits.
    #[error("in int8 a product takes {most} inputs at most, this checkpoint has {inputs}: build it in fp32")]
    TooWide {
        /// Of the widest product.
        inputs: usize,
        /// What it may have.
        most: usize,
    },
}

/// Why no package came of a checkpoint. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The graph.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// What is asked for does not go together.
    #[error("{0}")]
    Request(&'static str),
    /// It would be overwritten.
    #[error("{0} is there already: remove it, or choose another place")]
    Exists(PathBuf),
    /// A file of the package cannot be written.
    #[error("{file}: {source}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration.
    #[error("{file}: {source}", file = file.display())]
    Labels {
        /// `config.json`.
        file: PathBuf,
        /// Why.
        source: LabelsError,
    },
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizeError),
    /// A graph cannot be run.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Nothing to verify with.
    #[error("none of the texts has a token in it: there is nothing to verify the package with")]
    NoTexts,
    /// It is not the model.
    #[error(
        "the graph is off: on {texts} texts its outputs differ from the reference by {relative:.3e} of their size (limit {limit:e}; the largest difference is {largest:.3e}). No package was written"
    )]
    Off {
        /// Root mean square, as a share of the reference's.
        relative: f32,
        /// What it may be.
        limit: f32,
        /// Of any number.
        largest: f32,
        /// Compared.
        texts: usize,
    },
    /// Results depend on their batch.
    #[error(
        "the graph is off: a text's outputs differ by {difference:e} with what it is batched with (limit {limit:e}). No package was written"
    )]
    Company {
        /// Largest of any number.
        difference: f32,
        /// What it may be.
        limit: f32,
    },
    /// The labelled texts.
    #[error(transparent)]
    Labelled(#[from] crate::evaluate::LabelledError),
    /// It could not be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Too many wrong.
    #[error(
        "the package is right on {found:.2} % of {examples} texts, the reference in fp32 on {reference:.2} %: a loss of {loss:.2} points, more than the {limit} of --max-accuracy-loss. No package was written",
        loss = reference - found
    )]
    Accuracy {
        /// In percent.
        found: f64,
        /// In percent.
        reference: f64,
        /// In points.
        limit: f64,
        /// Evaluated on.
        examples: usize,
    },
    /// What was written does not load.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl From<PackageError> for BuildError {
    fn from(error: PackageError) -> Self {
        Self::Model(error.into())
    }
}

impl BuildError {
    /// Always, as above.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

impl From<CheckpointError> for BuildError {
    fn from(error: CheckpointError) -> Self {
        Self::Compile(error.into())
    }
}

impl CheckpointError {
    /// Always: a checkpoint that cannot be read does not become readable by trying again.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

impl CompileError {
    /// Always, as above.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}
