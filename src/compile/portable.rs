//! The padded graph of ONNX's standard operators only, for CUDA, TensorRT, and whoever wants the
//! ONNX file elsewhere. It differs from the reference in what leaves the numbers alone:
//!
//! - channels last: a 1×1 convolution in groups is a product of two-dimensional weights a group;
//! - a classifier's last layer works on token 0 only (its keys and values still see every token);
//! - queries are scaled instead of scores, and padding is masked by -1e9: its share is exactly 0;
//! - positions are counted off the mask, not read off a shape: nodes that compute with shapes ONNX Runtime
//!   takes from a GPU and puts on the CPU (`GetCpuPreferredNodes` in its `fallback_cpu_capability.cc`).
//!
//! In fp16 the products, their weights and the GELU are fp16; softmax, layer norms and what goes from
//! layer to layer are fp32. Inputs and outputs are the same as the reference's in both.

use super::checkpoint::Checkpoint;
use super::config::{Head, LAYER_NORM_EPS};
use super::error::CompileError;
use super::graph::{Attribute, Element, GraphBuilder};
use super::reference;

use Attribute::{Float, Int, Ints};

const MASKED: f32 = -1e9;

/// What the products are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// fp32 throughout.
    F32,
    /// Products in fp16, for GPUs.
    F16,
}

/// Inputs and outputs as [`reference::build`] has them.
pub fn build(checkpoint: &Checkpoint, arithmetic: Arithmetic) -> Result<Vec<u8>, CompileError> {
    let config = &checkpoint.config;
    let g = GraphBuilder::new("squeezebert");
    let mut portable = Portable { g, c: checkpoint, half: arithmetic == Arithmetic::F16 };
    reference::inputs(&mut portable.g);
    let mask = portable.mask();
    let mut x = portable.embeddings()?;
    for layer in 0..config.layers {
        let name = format!("encoder.layers.{layer}");
        let last = layer + 1 == config.layers;
        x = match config.head == Head::SequenceClassification && last {
            true => {
                let first = portable.first(&x);
                portable.layer(&first, &x, &mask, &name)?
            }
            false => portable.layer(&x, &x, &mask, &name)?,
        };
    }
    portable.head(&x)?;
    Ok(portable.g.finish()?)
}

/// A hidden state, `[batch, sequence, hidden]`.
struct Hidden {
    /// In fp32: for sums.
    wide: String,
    /// In the type of the products.
    narrow: String,
}

struct Portable<'a> {
    g: GraphBuilder,
    c: &'a Checkpoint,
    half: bool,
}

impl Portable<'_> {
    fn mask(&mut self) -> String {
        let g = &mut self.g;
        let (one, masked, axes) = (g.scalar(1.0), g.scalar(MASKED), g.ints(&[1, 2]));
        let mask = g.cast("attention_mask", Element::F32);
        let padding = g.op("Sub", &[&one, &mask], &[]);
        let padding = g.op("Unsqueeze", &[&padding, &axes], &[]);
        g.op("Mul", &[&padding, &masked], &[])
    }

    fn embeddings(&mut self) -> Result<Hidden, CompileError> {
        let c = &self.c.config;
        let table = |part: &str, entries: usize| {
            let name = format!("embeddings.{part}_embeddings.weight");
            self.c.shaped(&name, &[entries, c.hidden]).map(|data| (name, [entries, c.hidden], data))
        };
        let (words, positions, types) =
            (table("word", c.vocabulary)?, table("position", c.positions)?, table("token_type", c.types)?);
        let places = self.places();
        let g = &mut self.g;
        let words = g.rows(&words.0, &words.1, &words.2, "input_ids");
        let positions = g.rows(&positions.0, &positions.1, &positions.2, &places);
        let types = g.rows(&types.0, &types.1, &types.2, "token_type_ids");
        let sum = g.op("Add", &[&words, &positions], &[]);
        let sum = g.op("Add", &[&sum, &types], &[]);
        self.norm(&sum, "embeddings.LayerNorm", c.embeddings_eps)
    }

    /// 0, 1, 2, … for each text, padding included: ones, summed up to each place without it. In fp32,
    /// exact for any length, because TensorRT's `CumSum` knows no integers.
    fn places(&mut self) -> String {
        let (one, axis) = (self.g.scalar(1.0), self.g.initializer_i64("places_axis", &[], &[1]));
        let mask = self.g.cast("attention_mask", Element::F32);
        let ones = self.g.op("Max", &[&mask, &one], &[]);
        let places = self.g.op("CumSum", &[&ones, &axis], &[("exclusive", Int(1))]);
        self.g.cast(&places, Element::I64)
    }

    fn norm(&mut self, x: &str, name: &str, epsilon: f32) -> Result<Hidden, CompileError> {
        let norm = self.c.norm(name)?;
        let width = [self.c.config.hidden];
        let weight = self.g.initializer_f32(&format!("{name}.weight"), &width, &norm.weight);
        let bias = self.g.initializer_f32(&format!("{name}.bias"), &width, &norm.bias);
        let attributes = [("axis", Int(-1)), ("epsilon", Float(epsilon))];
        let wide = self.g.op("LayerNormalization", &[x, &weight, &bias], &attributes);
        let narrow = self.narrow(&wide);
        Ok(Hidden { wide, narrow })
    }

    /// fp32 to the type of the products.
    fn narrow(&mut self, x: &str) -> String {
        if self.half { self.g.cast(x, Element::F16) } else { x.to_owned() }
    }

    /// And back.
    fn widen(&mut self, x: &str) -> String {
        if self.half { self.g.cast(x, Element::F32) } else { x.to_owned() }
    }

    /// Weights in the type of the products.
    fn weights(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        match self.half {
            true => self.g.initializer_f16(name, shape, data),
            false => self.g.weights(name, shape, data),
        }
    }

    /// A number in the type of the products.
    fn number(&mut self, number: f32) -> String {
        let scalar = self.g.scalar(number);
        self.narrow(&scalar)
    }

    fn first(&mut self, x: &Hidden) -> Hidden {
        let (zero, one) = (self.g.ints(&[0]), self.g.ints(&[1]));
        let mut first = |x: &str| self.g.op("Slice", &[x, &zero, &one, &one], &[]);
        Hidden { wide: first(&x.wide), narrow: first(&x.narrow) }
    }

    /// A 1×1 convolution or a dense layer, `[.., inputs]` to `[.., outputs]`.
    fn linear(
        &mut self,
        x: &str,
        name: &str,
        groups: usize,
        (inputs, outputs): (usize, usize),
    ) -> Result<String, CompileError> {
        let layer = self.c.grouped(name, groups, inputs, outputs)?;
        let shape = [layer.inputs, layer.outputs];
        let parts = match groups {
            1 => vec![x.to_owned()],
            _ => {
                // With its sizes: ONNX Runtime takes two Splits of one value for the same node if only
                // the number of their outputs tells them apart.
                let sizes = self.g.ints(&vec![i64::try_from(layer.inputs).unwrap_or(i64::MAX); groups]);
                self.g.nodes("Split", "", &[x, &sizes], groups, &[("axis", Int(-1))])
            }
        };
        let mut products = Vec::with_capacity(groups);
        for (i, (part, block)) in parts.iter().zip(&layer.weights).enumerate() {
            let weight = self.weights(&format!("{name}.weight.{i}"), &shape, block);
            products.push(self.g.op("MatMul", &[part, &weight], &[]));
        }
        let products: Vec<&str> = products.iter().map(String::as_str).collect();
        let y = match products[..] {
            [only] => only.to_owned(),
            _ => self.g.op("Concat", &products, &[("axis", Int(-1))]),
        };
        let bias_name = format!("{name}.bias");
        let bias = match self.half {
            true => self.g.initializer_f16(&bias_name, &[outputs], &layer.bias),
            false => self.g.initializer_f32(&bias_name, &[outputs], &layer.bias),
        };
        Ok(self.g.op("Add", &[&y, &bias], &[]))
    }

    /// `rows` attend to `x`: token 0 in a classifier's last layer, elsewhere x itself.
    fn layer(&mut self, rows: &Hidden, x: &Hidden, mask: &str, name: &str) -> Result<Hidden, CompileError> {
        let c = &self.c.config;
        let (hidden, inner, groups) = (c.hidden, c.intermediate, c.groups);
        let context = self.attention(rows, x, mask, &format!("{name}.attention"))?;
        let part = format!("{name}.post_attention");
        let y = self.linear(&context, &format!("{part}.conv1d"), groups.post_attention, (hidden, hidden))?;
        let x = self.sum_and_norm(&y, rows, &format!("{part}.layernorm"))?;
        let conv = format!("{name}.intermediate.conv1d");
        let y = self.linear(&x.narrow, &conv, groups.intermediate, (hidden, inner))?;
        let y = self.gelu(&y);
        let part = format!("{name}.output");
        let y = self.linear(&y, &format!("{part}.conv1d"), groups.output, (inner, hidden))?;
        self.sum_and_norm(&y, &x, &format!("{part}.layernorm"))
    }

    fn sum_and_norm(&mut self, y: &str, x: &Hidden, name: &str) -> Result<Hidden, CompileError> {
        let y = self.widen(y);
        let sum = self.g.op("Add", &[&y, &x.wide], &[]);
        self.norm(&sum, name, LAYER_NORM_EPS)
    }

    fn attention(
        &mut self,
        rows: &Hidden,
        x: &Hidden,
        mask: &str,
        name: &str,
    ) -> Result<String, CompileError> {
        let c = &self.c.config;
        let (hidden, groups) = (c.hidden, c.groups);
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let (heads, width) = (signed(c.heads), signed(c.head_width()));
        let mut part = |x: &str, part: &str, groups: usize, order: [i64; 4]| {
            let y = self.linear(x, &format!("{name}.{part}"), groups, (hidden, hidden))?;
            let apart = self.g.ints(&[0, 0, heads, width]);
            let y = self.g.op("Reshape", &[&y, &apart], &[]);
            Ok::<_, CompileError>(self.g.op("Transpose", &[&y], &[("perm", Ints(order.to_vec()))]))
        };
        let query = part(&rows.narrow, "query", groups.q, [0, 2, 1, 3])?;
        let key = part(&x.narrow, "key", groups.k, [0, 2, 3, 1])?;
        let value = part(&x.narrow, "value", groups.v, [0, 2, 1, 3])?;
        // Before the product, so that in fp16 no score can overflow that would not in the end.
        let scale = self.number(1.0 / (c.head_width() as f32).sqrt());
        let query = self.g.op("Mul", &[&query, &scale], &[]);
        let scores = self.g.op("MatMul", &[&query, &key], &[]);
        let scores = self.widen(&scores);
        let scores = self.g.op("Add", &[&scores, mask], &[]);
        let shares = self.g.op("Softmax", &[&scores], &[("axis", Int(-1))]);
        let shares = self.narrow(&shares);
        let context = self.g.op("MatMul", &[&shares, &value], &[]);
        let context = self.g.op("Transpose", &[&context], &[("perm", Ints(vec![0, 2, 1, 3]))]);
        let together = self.g.ints(&[0, 0, signed(hidden)]);
        Ok(self.g.op("Reshape", &[&context, &together], &[]))
    }

    fn gelu(&mut self, x: &str) -> String {
        let root = self.number(std::f32::consts::FRAC_1_SQRT_2);
        let (one, half) = (self.number(1.0), self.number(0.5));
        let g = &mut self.g;
        let scaled = g.op("Mul", &[x, &root], &[]);
        let erf = g.op("Erf", &[&scaled], &[]);
        let shifted = g.op("Add", &[&erf, &one], &[]);
        let product = g.op("Mul", &[x, &shifted], &[]);
        g.op("Mul", &[&product, &half], &[])
    }

    fn head(&mut self, x: &Hidden) -> Result<(), CompileError> {
        let (head, hidden, outputs) = (self.c.config.head, self.c.config.hidden, self.c.outputs()?);
        let logits = match head {
            Head::SequenceClassification => {
                let axes = self.g.ints(&[1]);
                let first = self.g.op("Squeeze", &[&x.narrow, &axes], &[]);
                let pooled = self.linear(&first, "pooler.dense", 1, (hidden, hidden))?;
                let pooled = self.g.op("Tanh", &[&pooled], &[]);
                self.linear(&pooled, "classifier", 1, (hidden, outputs))?
            }
            Head::TokenClassification => self.linear(&x.narrow, "classifier", 1, (hidden, outputs))?,
            Head::QuestionAnswering => self.linear(&x.narrow, "qa_outputs", 1, (hidden, outputs))?,
            Head::None => {
                reference::expose(&mut self.g, head, &x.wide, hidden);
                return Ok(());
            }
        };
        let logits = self.widen(&logits);
        reference::expose(&mut self.g, head, &logits, outputs);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::path::Path;

    use prost::Message;

    use super::super::proto;
    use super::*;

    /// Of each of these ONNX Runtime's provider for CUDA has a kernel that leaves its result on the GPU. One that
    /// leaves it on the CPU (`Shape`, `Size`, …) pulls what reads it there, too.
    const ON_THE_GPU: [&str; 20] = [
        "Add",
        "Cast",
        "Concat",
        "CumSum",
        "Erf",
        "Gather",
        "Identity",
        "LayerNormalization",
        "MatMul",
        "Max",
        "Mul",
        "Reshape",
        "Slice",
        "Softmax",
        "Split",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
    ];

    #[test]
    fn nothing_of_it_belongs_on_the_cpu() {
        let checkpoint = Checkpoint::open(Path::new("tests/checkpoints/tiny-squeezebert")).unwrap();
        for arithmetic in [Arithmetic::F32, Arithmetic::F16] {
            let graph = build(&checkpoint, arithmetic).unwrap();
            let nodes = proto::Model::decode(&graph[..]).unwrap().graph.unwrap().nodes;
            let used: BTreeSet<&str> = nodes.iter().map(|node| node.op_type.as_str()).collect();
            let others: Vec<_> = used.iter().filter(|op| !ON_THE_GPU.contains(op)).collect();
            assert!(others.is_empty() && used.contains("Gather"), "{arithmetic:?}: {others:?}");
        }
    }
}
