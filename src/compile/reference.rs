//! The straight graph: every step as transformers' `modeling_squeezebert.py` has it, operator by
//! operator as `torch.onnx` exports it (channels first, convolutions in groups, every token to the
//! end). Slow, and plain to read beside the original: what every other graph is held against.

use super::checkpoint::Checkpoint;
use super::config::{Head, LAYER_NORM_EPS};
use super::error::{CheckpointError, CompileError};
use super::graph::{Attribute, Dim, Element, GraphBuilder};

use Attribute::{Float, Int, Ints};

/// Inputs `input_ids`, `attention_mask`, `token_type_ids`: int64 `[batch, sequence]`. Outputs by the
/// head, all fp32: `logits` `[batch, labels]` or `[batch, sequence, labels]`; `start_logits` and
/// `end_logits` `[batch, sequence]`; `last_hidden_state` `[batch, sequence, hidden]`.
pub fn build(checkpoint: &Checkpoint) -> Result<Vec<u8>, CompileError> {
    let mut reference = Reference { g: GraphBuilder::new("squeezebert"), c: checkpoint };
    inputs(&mut reference.g);
    let mask = reference.mask();
    let embeddings = reference.embeddings()?;
    let mut x = reference.g.op("Transpose", &[&embeddings], &[("perm", Ints(vec![0, 2, 1]))]);
    for layer in 0..checkpoint.config.layers {
        x = reference.layer(&x, &mask, &format!("encoder.layers.{layer}"))?;
    }
    let x = reference.g.op("Transpose", &[&x], &[("perm", Ints(vec![0, 2, 1]))]);
    reference.head(&x)?;
    Ok(reference.g.finish()?)
}

/// The three inputs of a padded graph.
pub(super) fn inputs(g: &mut GraphBuilder) {
    for name in ["input_ids", "attention_mask", "token_type_ids"] {
        g.input(name, Element::I64, &[Dim::Named("batch"), Dim::Named("sequence")]);
    }
}

struct Reference<'a> {
    g: GraphBuilder,
    c: &'a Checkpoint,
}

impl Reference<'_> {
    /// `(1 - mask) · lowest`, `[batch, 1, 1, sequence]`.
    fn mask(&mut self) -> String {
        let g = &mut self.g;
        let axes = g.ints(&[1, 2]);
        let mask = g.op("Unsqueeze", &["attention_mask", &axes], &[]);
        let mask = g.cast(&mask, Element::F32);
        let (one, lowest) = (g.scalar(1.0), g.scalar(f32::MIN));
        let padding = g.op("Sub", &[&one, &mask], &[]);
        g.op("Mul", &[&padding, &lowest], &[])
    }

    /// `[batch, sequence, hidden]`.
    fn embeddings(&mut self) -> Result<String, CompileError> {
        let c = &self.c.config;
        let tables = [("word", c.vocabulary), ("position", c.positions), ("token_type", c.types)];
        let table = |(table, entries): (&str, usize)| {
            let name = format!("embeddings.{table}_embeddings.weight");
            let data = self.c.shaped(&name, &[entries, c.hidden])?;
            Ok((name, [entries, c.hidden], data))
        };
        let tables = tables.into_iter().map(table).collect::<Result<Vec<_>, CheckpointError>>()?;
        let g = &mut self.g;
        let (zero, one, two) = (g.ints(&[0]), g.ints(&[1]), g.ints(&[2]));
        // Not before it is known that the file holds that many.
        let all: Vec<i64> = (0..c.positions).map(|i| i64::try_from(i).unwrap_or(i64::MAX)).collect();
        let all = g.initializer_i64("position_ids", &[1, c.positions], &all);
        let shape = g.op("Shape", &["input_ids"], &[]);
        let length = g.op("Slice", &[&shape, &one, &two], &[]);
        let positions = g.op("Slice", &[&all, &zero, &length, &one], &[]);
        let ids = ["input_ids", positions.as_str(), "token_type_ids"];
        let mut sum: Option<String> = None;
        for ((name, shape, data), ids) in tables.iter().zip(ids) {
            let rows = g.rows(name, shape, data, ids);
            sum = Some(match sum {
                None => rows,
                Some(sum) => g.op("Add", &[&sum, &rows], &[]),
            });
        }
        self.norm(&sum.unwrap_or_default(), "embeddings.LayerNorm", c.embeddings_eps)
    }

    /// Over the last dimension.
    fn norm(&mut self, x: &str, name: &str, epsilon: f32) -> Result<String, CompileError> {
        let norm = self.c.norm(name)?;
        let width = [self.c.config.hidden];
        let weight = self.g.initializer_f32(&format!("{name}.weight"), &width, &norm.weight);
        let bias = self.g.initializer_f32(&format!("{name}.bias"), &width, &norm.bias);
        let attributes = [("axis", Int(-1)), ("epsilon", Float(epsilon))];
        Ok(self.g.op("LayerNormalization", &[x, &weight, &bias], &attributes))
    }

    /// The same of `[batch, hidden, sequence]`.
    fn norm_of_channels(&mut self, x: &str, name: &str) -> Result<String, CompileError> {
        let turned = self.g.op("Transpose", &[x], &[("perm", Ints(vec![0, 2, 1]))]);
        let norm = self.norm(&turned, name, LAYER_NORM_EPS)?;
        Ok(self.g.op("Transpose", &[&norm], &[("perm", Ints(vec![0, 2, 1]))]))
    }

    /// A 1×1 convolution, `[batch, inputs, sequence]` to `[batch, outputs, sequence]`.
    fn conv(
        &mut self,
        x: &str,
        name: &str,
        groups: usize,
        (inputs, outputs): (usize, usize),
    ) -> Result<String, CompileError> {
        let shape = [outputs, inputs / groups, 1];
        let weight_name = format!("{name}.weight");
        let weight = self.g.weights(&weight_name, &shape, &self.c.shaped(&weight_name, &shape)?);
        let bias_name = format!("{name}.bias");
        let bias = self.g.initializer_f32(&bias_name, &[outputs], &self.c.shaped(&bias_name, &[outputs])?);
        let group = i64::try_from(groups).unwrap_or(i64::MAX);
        let attributes = [("group", Int(group)), ("kernel_shape", Ints(vec![1]))];
        Ok(self.g.op("Conv", &[x, &weight, &bias], &attributes))
    }

    fn layer(&mut self, x: &str, mask: &str, name: &str) -> Result<String, CompileError> {
        let c = &self.c.config;
        let (hidden, inner, groups) = (c.hidden, c.intermediate, c.groups);
        let context = self.attention(x, mask, &format!("{name}.attention"))?;
        let part = format!("{name}.post_attention");
        let y = self.conv(&context, &format!("{part}.conv1d"), groups.post_attention, (hidden, hidden))?;
        let y = self.g.op("Add", &[&y, x], &[]);
        let x = self.norm_of_channels(&y, &format!("{part}.layernorm"))?;
        let conv = format!("{name}.intermediate.conv1d");
        let y = self.conv(&x, &conv, groups.intermediate, (hidden, inner))?;
        let y = gelu(&mut self.g, &y);
        let part = format!("{name}.output");
        let y = self.conv(&y, &format!("{part}.conv1d"), groups.output, (inner, hidden))?;
        let y = self.g.op("Add", &[&y, &x], &[]);
        self.norm_of_channels(&y, &format!("{part}.layernorm"))
    }

    fn attention(&mut self, x: &str, mask: &str, name: &str) -> Result<String, CompileError> {
        let c = &self.c.config;
        let (hidden, groups) = (c.hidden, c.groups);
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let (heads, width) = (signed(c.heads), signed(c.head_width()));
        let across = || [("perm", Ints(vec![0, 1, 3, 2]))];
        let mut part = |part: &str, groups: usize| -> Result<String, CompileError> {
            let y = self.conv(x, &format!("{name}.{part}"), groups, (hidden, hidden))?;
            let apart = self.g.ints(&[0, heads, width, -1]);
            Ok(self.g.op("Reshape", &[&y, &apart], &[]))
        };
        let (query, key, value) =
            (part("query", groups.q)?, part("key", groups.k)?, part("value", groups.v)?);
        let g = &mut self.g;
        let (query, value) =
            (g.op("Transpose", &[&query], &across()), g.op("Transpose", &[&value], &across()));
        let scores = g.op("MatMul", &[&query, &key], &[]);
        let root = g.scalar((c.head_width() as f32).sqrt());
        let scores = g.op("Div", &[&scores, &root], &[]);
        let scores = g.op("Add", &[&scores, mask], &[]);
        let shares = g.op("Softmax", &[&scores], &[("axis", Int(-1))]);
        let context = g.op("MatMul", &[&shares, &value], &[]);
        let context = g.op("Transpose", &[&context], &across());
        let together = g.ints(&[0, signed(hidden), -1]);
        Ok(g.op("Reshape", &[&context, &together], &[]))
    }

    /// A dense layer, `[.., inputs]` to `[.., outputs]`.
    fn dense(&mut self, x: &str, name: &str, outputs: usize) -> Result<String, CompileError> {
        let inputs = self.c.config.hidden;
        let dense = self.c.grouped(name, 1, inputs, outputs)?;
        let weight = dense.weights.first().map_or(&[][..], |block| block);
        let weight = self.g.weights(&format!("{name}.weight"), &[inputs, outputs], weight);
        let bias = self.g.initializer_f32(&format!("{name}.bias"), &[outputs], &dense.bias);
        let y = self.g.op("MatMul", &[x, &weight], &[]);
        Ok(self.g.op("Add", &[&y, &bias], &[]))
    }

    fn head(&mut self, x: &str) -> Result<(), CompileError> {
        let outputs = self.c.outputs()?;
        match self.c.config.head {
            Head::SequenceClassification => {
                let (zero, axis) = (self.g.ints(&[0]), [("axis", Int(1))]);
                let first = self.g.op("Gather", &[x, &zero], &axis);
                let axes = self.g.ints(&[1]);
                let first = self.g.op("Squeeze", &[&first, &axes], &[]);
                let pooled = self.dense(&first, "pooler.dense", self.c.config.hidden)?;
                let pooled = self.g.op("Tanh", &[&pooled], &[]);
                let logits = self.dense(&pooled, "classifier", outputs)?;
                expose(&mut self.g, self.c.config.head, &logits, outputs);
            }
            Head::TokenClassification => {
                let logits = self.dense(x, "classifier", outputs)?;
                expose(&mut self.g, self.c.config.head, &logits, outputs);
            }
            Head::QuestionAnswering => {
                let logits = self.dense(x, "qa_outputs", outputs)?;
                expose(&mut self.g, self.c.config.head, &logits, outputs);
            }
            Head::None => expose(&mut self.g, self.c.config.head, x, self.c.config.hidden),
        }
        Ok(())
    }
}

/// Makes fp32 `values`, `width` wide, the outputs of a padded graph with this head.
pub(super) fn expose(g: &mut GraphBuilder, head: Head, values: &str, width: usize) {
    let (batch, sequence) = (Dim::Named("batch"), Dim::Named("sequence"));
    let width = Dim::Fixed(width);
    match head {
        Head::SequenceClassification => g.output("logits", values, Element::F32, &[batch, width]),
        Head::TokenClassification => g.output("logits", values, Element::F32, &[batch, sequence, width]),
        Head::None => g.output("last_hidden_state", values, Element::F32, &[batch, sequence, width]),
        Head::QuestionAnswering => {
            let both = g.nodes("Split", "", &[values], 2, &[("axis", Int(-1))]);
            let last = g.ints(&[-1]);
            for (name, values) in ["start_logits", "end_logits"].into_iter().zip(&both) {
                let flat = g.op("Squeeze", &[values, &last], &[]);
                g.output(name, &flat, Element::F32, &[batch, sequence]);
            }
        }
    }
}

/// `x · (erf(x / √2) + 1) · ½`.
fn gelu(g: &mut GraphBuilder, x: &str) -> String {
    let (root, one, half) = (g.scalar(std::f32::consts::SQRT_2), g.scalar(1.0), g.scalar(0.5));
    let scaled = g.op("Div", &[x, &root], &[]);
    let erf = g.op("Erf", &[&scaled], &[]);
    let shifted = g.op("Add", &[&erf, &one], &[]);
    let product = g.op("Mul", &[x, &shifted], &[]);
    g.op("Mul", &[&product, &half], &[])
}
