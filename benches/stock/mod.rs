//! The stock exports that ours is compared with, made without Python: SqueezeBERT and BERT, as
//! `torch.onnx.export` (torch 2.15, its default exporter) writes them for a user, operator by operator.
//! tests/stock.rs holds the builders to real exports. Weights are random, but nothing in them is trivial:
//! biases are not zero, layer norms are not the identity.

pub mod bert;
pub mod bundled;
pub mod checkpoint;
pub mod graph;
pub mod proto;
pub mod squeezebert;
pub mod weights;

/// A parameter's values by its name in the checkpoint and its shape.
pub type Weights<'a> = dyn FnMut(&str, &[usize]) -> Vec<f32> + 'a;

/// The size of a model.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub vocabulary: usize,
    pub positions: usize,
    pub types: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    /// Of all projections but the one after attention, which has one.
    pub groups: usize,
    pub labels: usize,
}

/// SqueezeBERT-base and BERT-base, with two labels.
pub const BASE: Size = Size {
    vocabulary: 30_522,
    positions: 512,
    types: 2,
    hidden: 768,
    layers: 12,
    heads: 12,
    intermediate: 3_072,
    groups: 4,
    labels: 2,
};
