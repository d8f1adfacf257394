//! A checkpoint in Hugging Face layout: a folder with `config.json` and its weights.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use half::f16;

use super::config::{Head, SqueezeBertConfig};
use super::error::CheckpointError;
use super::weights::{Tensor, Weights};
use crate::model::{FileDigest, hash_file};

/// A SqueezeBERT checkpoint. Tensors are read as they are asked for.
pub struct Checkpoint {
    /// Where it lies.
    pub dir: PathBuf,
    /// What it is.
    pub config: SqueezeBertConfig,
    /// The files that it was read from, by name.
    pub files: BTreeMap<String, FileDigest>,
    weights: Weights,
    /// What stands before the encoder's tensors: nothing, or `transformer.` where there is a head.
    prefix: &'static str,
    round: bool,
}

/// A 1×1 convolution in groups, or a dense layer (one group), taken apart for products `x · W`.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouped {
    /// Inputs of one group.
    pub inputs: usize,
    /// Outputs of one group.
    pub outputs: usize,
    /// One a group: `[inputs, outputs]`, row-major.
    pub weights: Vec<Vec<f32>>,
    /// `[groups · outputs]`.
    pub bias: Vec<f32>,
}

/// A layer norm's parameters, `[width]` each.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// Factor.
    pub weight: Vec<f32>,
    /// Summand.
    pub bias: Vec<f32>,
}

const SAFETENSORS: &str = "model.safetensors";
const TORCH: &str = "pytorch_model.bin";

impl Checkpoint {
    /// Reads a folder: its configuration and where its tensors are.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        if !dir.is_dir() {
            return Err(CheckpointError::NotAFolder(dir.to_owned()));
        }
        let file = dir.join("config.json");
        let json = read(&file)?
            .ok_or_else(|| CheckpointError::Missing { dir: dir.to_owned(), file: "config.json" })?;
        let mut files = BTreeMap::from([("config.json".to_owned(), FileDigest::of(&json))]);
        let config = SqueezeBertConfig::parse(&json)
            .map_err(|source| CheckpointError::Json { file: file.clone(), source })?
            .map_err(|source| CheckpointError::Config { file, source })?;
        let weights = weights(dir, &mut files)?;
        let prefix = match weights.contains("transformer.embeddings.word_embeddings.weight") {
            true => "transformer.",
            false => "",
        };
        Ok(Self { dir: dir.to_owned(), config, files, weights, prefix, round: false })
    }

    /// From now on matrices and tables are rounded to fp16 (biases and layer norms are not): what a graph
    /// does not need in another form is then stored in half the space. Past what fp16 holds they stay as
    /// they are.
    pub fn round_to_f16(&mut self) {
        self.round = true;
    }

    /// From now on they are what the file has.
    pub(super) fn as_stored(&mut self) {
        self.round = false;
    }

    /// A tensor by the name that `SqueezeBertModel` has for it (without `transformer.`, whatever the
    /// checkpoint writes), or by that of a head's (`classifier.weight`).
    pub fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let mut tensor = self.weights.tensor(&self.stored_name(name))?;
        if self.round && name.ends_with(".weight") && !name.to_ascii_lowercase().contains("layernorm") {
            for x in &mut tensor.data {
                let rounded = f16::from_f32(*x);
                if rounded.is_finite() {
                    *x = rounded.to_f32();
                }
            }
        }
        Ok(tensor)
    }

    /// The same, and it has this shape.
    pub fn shaped(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let tensor = self.tensor(name)?;
        match tensor.shape == shape {
            true => Ok(tensor.data),
            false => Err(CheckpointError::Shape {
                file: self.weights.file.clone(),
                name: self.stored_name(name),
                found: tensor.shape,
                expected: shape.to_vec(),
            }),
        }
    }

    /// The layer `name` (`encoder.layers.0.attention.query`, `pooler.dense`): `name.weight` of
    /// `[outputs, inputs / groups, 1]` or, dense, `[outputs, inputs]`, and `name.bias`.
    pub fn grouped(
        &self,
        name: &str,
        groups: usize,
        inputs: usize,
        outputs: usize,
    ) -> Result<Grouped, CheckpointError> {
        let weight = format!("{name}.weight");
        let mut tensor = self.tensor(&weight)?;
        if tensor.shape.len() == 3 && tensor.shape.last() == Some(&1) {
            tensor.shape.pop();
        }
        let (inputs, outputs, all) = (inputs / groups, outputs / groups, outputs);
        if tensor.shape != [all, inputs] {
            return Err(CheckpointError::Shape {
                file: self.weights.file.clone(),
                name: self.stored_name(&weight),
                found: tensor.shape,
                expected: vec![all, inputs],
            });
        }
        let blocks = tensor.data.chunks_exact(inputs * outputs);
        Ok(Grouped {
            inputs,
            outputs,
            weights: blocks.map(|block| transposed(block, inputs)).collect(),
            bias: self.shaped(&format!("{name}.bias"), &[all])?,
        })
    }

    /// The layer norm `name` (`embeddings.LayerNorm`).
    pub fn norm(&self, name: &str) -> Result<Norm, CheckpointError> {
        let width = [self.config.hidden];
        Ok(Norm {
            weight: self.shaped(&format!("{name}.weight"), &width)?,
            bias: self.shaped(&format!("{name}.bias"), &width)?,
        })
    }

    /// Outputs of the head: its labels, or start and end. 0 without a head only. An error where the
    /// configuration names another number of labels.
    pub fn outputs(&self) -> Result<usize, CheckpointError> {
        let name = match self.config.head {
            Head::SequenceClassification | Head::TokenClassification => "classifier.bias",
            Head::QuestionAnswering => return Ok(2),
            Head::None => return Ok(0),
        };
        let (found, named) = (self.tensor(name)?.data.len(), self.config.labels.len());
        match named == 0 || named == found {
            _ if found == 0 => Err(CheckpointError::NoOutputs { file: self.weights.file.clone() }),
            true => Ok(found),
            false => Err(CheckpointError::Labels { file: self.weights.file.clone(), found, named }),
        }
    }

    /// Of the file of weights, in hex.
    pub(super) fn weights_sha256(&self) -> &str {
        let file = [SAFETENSORS, TORCH].iter().find_map(|name| self.files.get(*name));
        file.map_or("", |file| &file.sha256)
    }

    fn stored_name(&self, name: &str) -> String {
        let prefixed = format!("{}{name}", self.prefix);
        // A head's tensors have no prefix. What is nowhere is missed under its full name.
        let head = name.starts_with("classifier.") || name.starts_with("qa_outputs.");
        if head { name.to_owned() } else { prefixed }
    }
}

/// The file of weights; safetensors where there are both.
fn weights(dir: &Path, files: &mut BTreeMap<String, FileDigest>) -> Result<Weights, CheckpointError> {
    let file = dir.join(SAFETENSORS);
    if let Some(bytes) = read(&file)? {
        files.insert(SAFETENSORS.to_owned(), FileDigest::of(&bytes));
        return Weights::safetensors(file, bytes);
    }
    let file = dir.join(TORCH);
    if file.is_file() {
        let unreadable = |source| CheckpointError::Unreadable { file: file.clone(), source };
        let (size, sha256) = hash_file(&file).map_err(unreadable)?;
        files.insert(TORCH.to_owned(), FileDigest { size, sha256 });
        return Weights::torch(&file, size);
    }
    for index in [format!("{SAFETENSORS}.index.json"), format!("{TORCH}.index.json")] {
        let file = dir.join(index);
        if file.exists() {
            return Err(CheckpointError::Sharded { file });
        }
    }
    Err(CheckpointError::Missing { dir: dir.to_owned(), file: "model.safetensors (nor pytorch_model.bin)" })
}

/// `None`: not there.
pub(super) fn read(file: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CheckpointError::Unreadable { file: file.to_owned(), source }),
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
