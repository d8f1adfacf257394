//! Weights that all sessions of a package share: ONNX Runtime copies none that it is given, and shares what it
//! rearranges of them ("prepacked") through a container. Without this each session has all of it for itself.

use std::io;
use std::sync::Arc;

use half::f16;
use ort::session::builder::{PrepackedWeights, SessionBuilder};
use ort::value::{DynValue, Tensor};
use prost::Message;
use prost::bytes::Bytes;

/// Smaller ones are not worth it.
const SMALLEST: usize = 16 * 1024;
const EXTERNAL: i32 = 1;

/// The large tensors of a graph.
pub(super) struct SharedWeights {
    values: Vec<(String, Arc<DynValue>)>,
    prepacked: PrepackedWeights,
}

impl SharedWeights {
    /// Those that stand in the model itself.
    pub fn of(model: Bytes) -> io::Result<Self> {
        let invalid = |e: ort::Error| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
        let model = Model::decode(model).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let tensors = model.graph.map(|graph| graph.initializers).unwrap_or_default();
        let mut values = Vec::new();
        for stored in tensors.iter().filter(|t| t.raw.len() >= SMALLEST && t.location != EXTERNAL) {
            if let Some(value) = stored.value().map_err(invalid)? {
                values.push((stored.name.clone(), Arc::new(value)));
            }
        }
        Ok(Self { values, prepacked: PrepackedWeights::new() })
    }

    /// The session that is built has these instead of its own.
    pub fn supply(&self, mut builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        for (name, value) in &self.values {
            builder = builder.with_initializer(name, value.clone())?;
        }
        Ok(builder.with_prepacked_weights(&self.prepacked)?)
    }
}

/// The fields of ONNX's messages that hold tensors (numbers: `onnx.proto` of ONNX 1.17).
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Stored>,
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    element: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "bytes", tag = "9")]
    raw: Bytes,
    #[prost(int32, tag = "14")]
    location: i32,
}

impl Stored {
    /// `None`: of a type that is not shared.
    fn value(&self) -> ort::Result<Option<DynValue>> {
        let shape = self.dims.clone();
        Ok(Some(match self.element {
            1 => Tensor::from_array((shape, self.numbers(f32::from_le_bytes)))?.into_dyn(),
            3 => Tensor::from_array((shape, self.numbers(i8::from_le_bytes)))?.into_dyn(),
            10 => Tensor::from_array((shape, self.numbers(f16::from_le_bytes)))?.into_dyn(),
            _ => return Ok(None),
        }))
    }

    fn numbers<T, const N: usize>(&self, number: fn([u8; N]) -> T) -> Vec<T> {
        self.raw.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
    }
}
