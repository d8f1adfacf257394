//! The file that holds a checkpoint's tensors: `model.safetensors`, or `pytorch_model.bin`. Neither
//! is trusted: sizes are checked against the file before anything is made of them, and of a pickle
//! nothing is ever executed (`pytorch-reader` knows the few objects that PyTorch writes, no others).

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use pytorch_reader::{DType, PytorchReader};
use safetensors::tensor::{Dtype, Metadata};

use super::error::CheckpointError;

/// A tensor, in fp32 whatever it is stored as.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Outermost first.
    pub shape: Vec<usize>,
    /// Row-major; as many as the shape says; all finite.
    pub data: Vec<f32>,
}

/// All tensors of a checkpoint.
pub(super) struct Weights {
    /// Where they are, for messages.
    pub file: PathBuf,
    source: Source,
}

enum Source {
    /// The whole file, and where in it the tensors begin.
    SafeTensors { bytes: Vec<u8>, start: usize, metadata: Metadata },
    /// Read from the file, of this size, as they are asked for.
    Torch { reader: PytorchReader, size: u64 },
}

/// How an element is stored.
#[derive(Clone, Copy)]
enum Stored {
    F32,
    F16,
    Bf16,
}

impl Weights {
    /// A safetensors file.
    pub fn safetensors(file: PathBuf, bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        // The lengths and the order of all tensors are checked here: they cover the file exactly.
        match safetensors::SafeTensors::read_metadata(&bytes) {
            Ok((header, metadata)) => {
                let start = header + size_of::<u64>();
                Ok(Self { file, source: Source::SafeTensors { bytes, start, metadata } })
            }
            Err(source) => Err(CheckpointError::SafeTensors { file, source }),
        }
    }

    /// What `torch.save` writes.
    pub fn torch(file: &Path, size: u64) -> Result<Self, CheckpointError> {
        match PytorchReader::new(file) {
            Ok(reader) => Ok(Self { file: file.to_owned(), source: Source::Torch { reader, size } }),
            Err(source) => Err(CheckpointError::Torch { file: file.to_owned(), source: Box::new(source) }),
        }
    }

    /// Is there one of that name?
    pub fn contains(&self, name: &str) -> bool {
        match &self.source {
            Source::SafeTensors { metadata, .. } => metadata.info(name).is_some(),
            Source::Torch { reader, .. } => reader.get(name).is_some(),
        }
    }

    /// The tensor of that name, in fp32.
    pub fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let missing = || CheckpointError::NoTensor { file: self.file.clone(), name: name.to_owned() };
        let element = |found: String| CheckpointError::Element {
            file: self.file.clone(),
            name: name.to_owned(),
            found,
        };
        let tensor = match &self.source {
            Source::SafeTensors { bytes, start, metadata } => {
                let info = metadata.info(name).ok_or_else(missing)?;
                let stored = match info.dtype {
                    Dtype::F32 => Stored::F32,
                    Dtype::F16 => Stored::F16,
                    Dtype::BF16 => Stored::Bf16,
                    other => return Err(element(format!("{other:?}"))),
                };
                let (from, to) = info.data_offsets;
                let data = bytes.get(start + from..start + to).ok_or_else(missing)?;
                Tensor { shape: info.shape.clone(), data: decode(stored, data) }
            }
            Source::Torch { reader, size } => {
                let tensor = reader.get(name).ok_or_else(missing)?;
                let stored = match tensor.dtype() {
                    DType::F32 => Stored::F32,
                    DType::F16 => Stored::F16,
                    DType::BF16 => Stored::Bf16,
                    other => return Err(element(format!("{other:?}"))),
                };
                // `torch.save` writes every number once, uncompressed.
                if tensor.byte_len() as u64 > *size {
                    let (file, name) = (self.file.clone(), name.to_owned());
                    return Err(CheckpointError::Larger { file, name, size: tensor.byte_len() });
                }
                let bytes = tensor
                    .read()
                    .map_err(|source| CheckpointError::Unreadable { file: self.file.clone(), source })?;
                Tensor { shape: tensor.shape().to_vec(), data: decode(stored, &bytes) }
            }
        };
        match tensor.data.iter().all(|x| x.is_finite()) {
            true => Ok(tensor),
            false => Err(CheckpointError::NotFinite { file: self.file.clone(), name: name.to_owned() }),
        }
    }
}

/// Little-endian bytes (both formats refuse others) to fp32.
fn decode(stored: Stored, bytes: &[u8]) -> Vec<f32> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match stored {
        Stored::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Stored::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Stored::Bf16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
    }
}
