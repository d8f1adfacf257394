//! The packed graph: texts one after the other, no padding, for the CPU.
//!
//! ```text
//! ids, positions [tokens], types [tokens] (only if there are several), offsets [texts + 1]
//! embeddings ─► AddNorm ─► per group q, k, v ─► PackedAttention ─► post-attention ─► AddNorm
//!                  ▲         ─► per group intermediate ─► Gelu ─► output ─► AddNorm ─┐
//!                  └───────────────────────── next layer ────────────────────────────┘
//! ```
//!
//! Every product is `[tokens, in] × [in, out]`, one for each group; what lies between the products is done by
//! the operators of `operators/`, which add the biases too. A sequence classifier's last layer asks for the first
//! token of each text only. In int8 the inputs of the products are bytes with scales that calibration has fixed
//! (`calibrate`), so that no number depends on what else is in the batch.

use half::f16;

use super::calibrate::Calibration;
use super::checkpoint::{Checkpoint, Grouped};
use super::config::{Groups, Head, LAYER_NORM_EPS, SqueezeBertConfig};
use super::error::CompileError;
use super::graph::{Attribute, Dim, Element, GraphBuilder};
use super::quantise::{self, Scale};
use crate::operators::{
    self,
    kernels::product::{MOST_INPUTS, pack},
};

/// What the products are computed in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arithmetic<'a> {
    /// fp32 throughout.
    F32,
    /// fp32, and every value that int8 would quantise is a further output, by its name.
    Observed,
    /// int8, with the scales of a calibration.
    Int8(&'a Calibration),
}

/// The graph's inputs, by name.
pub const IDS: &str = "ids";
/// Place of each token in its text.
pub const POSITIONS: &str = "positions";
/// Segment of each token.
pub const TYPES: &str = "types";
/// Where each text begins, and the end of the last.
pub const OFFSETS: &str = "offsets";

/// The packed graph.
pub fn build(checkpoint: &Checkpoint, arithmetic: Arithmetic<'_>) -> Result<Vec<u8>, CompileError> {
    if let Arithmetic::Int8(calibration) = arithmetic {
        calibration.belongs_to(checkpoint)?;
        sums_fit(&checkpoint.config)?;
    }
    Writer::new(checkpoint, arithmetic).write()
}

/// In int8 a product's sums must fit 32 bits.
fn sums_fit(config: &SqueezeBertConfig) -> Result<(), CompileError> {
    let Groups { q, k, v, post_attention, intermediate, output } = config.groups;
    let narrowest = [q, k, v, post_attention, intermediate].into_iter().min().unwrap_or(1);
    let inputs = (config.hidden / narrowest.max(1)).max(config.intermediate / output.max(1));
    match inputs <= MOST_INPUTS {
        true => Ok(()),
        false => Err(CompileError::TooWide { inputs, most: MOST_INPUTS }),
    }
}

/// A matrix `[rows, width]` on its way to a product: whole, or its groups of columns apart.
struct Operand {
    slices: Vec<String>,
    /// One a slice; `None` in fp32.
    scales: Vec<Option<Scale>>,
}

/// The same matrix as the sum after the next product takes it.
struct Residual(Vec<String>);

/// Parts of a product's result side by side, and the bias that is still to be added.
struct Product {
    parts: Vec<String>,
    bias: Vec<f32>,
}

struct Writer<'a> {
    g: GraphBuilder,
    checkpoint: &'a Checkpoint,
    config: &'a SqueezeBertConfig,
    arithmetic: Arithmetic<'a>,
    /// The offsets without the last.
    starts: Option<String>,
    /// From the attention of a classifier's last layer on, there is one row a text.
    first_only: bool,
}

impl<'a> Writer<'a> {
    fn new(checkpoint: &'a Checkpoint, arithmetic: Arithmetic<'a>) -> Self {
        let mut g = GraphBuilder::new("squeezebert-packed");
        g.import(operators::DOMAIN, operators::VERSION);
        Self { g, checkpoint, config: &checkpoint.config, arithmetic, starts: None, first_only: false }
    }

    fn write(mut self) -> Result<Vec<u8>, CompileError> {
        let config = self.config;
        let (mut x, mut residual) = self.embeddings()?;
        for layer in 0..config.layers {
            let last = layer + 1 == config.layers;
            self.first_only = last && config.head == Head::SequenceClassification;
            (x, residual) = self.layer(layer, &x, residual)?;
        }
        let [hidden] = &residual.0[..] else { unreachable!("the last layer's result is whole") };
        self.head(hidden)?;
        Ok(self.g.finish()?)
    }

    /// How many slices the queries', keys' and values' products want.
    fn attention_slices(&self) -> usize {
        let groups = self.config.groups;
        if groups.q == groups.k && groups.k == groups.v { groups.q } else { 1 }
    }

    fn embeddings(&mut self) -> Result<(Operand, Residual), CompileError> {
        let config = self.config;
        let tokens = [Dim::Named("tokens")];
        self.g.input(IDS, Element::I64, &tokens);
        self.g.input(POSITIONS, Element::I64, &tokens);
        if config.types > 1 {
            self.g.input(TYPES, Element::I64, &tokens);
        }
        self.g.input(OFFSETS, Element::I64, &[Dim::Named("texts + 1")]);

        let mut terms = Vec::new();
        let mut bias = Vec::new();
        for (table, rows, by) in [
            ("word", config.vocabulary, IDS),
            ("position", config.positions, POSITIONS),
            ("token_type", config.types, TYPES),
        ] {
            let name = format!("embeddings.{table}_embeddings.weight");
            let data = self.checkpoint.shaped(&name, &[rows, config.hidden])?;
            match by == TYPES && rows == 1 {
                true => bias = data,
                false => terms.push(vec![self.rows(&name, &[rows, config.hidden], &data, by)]),
            }
        }
        let slices = Some(self.attention_slices());
        self.add_norm("embeddings.LayerNorm", "embeddings", config.embeddings_eps, terms, bias, slices)
    }

    /// Rows of a table. In int8 it is stored in half precision, unless that does not hold its numbers.
    fn rows(&mut self, name: &str, shape: &[usize], data: &[f32], by: &str) -> String {
        let in_half = data.iter().all(|x| x.abs() <= f16::MAX.to_f32());
        if !matches!(self.arithmetic, Arithmetic::Int8(_)) || !in_half {
            return self.g.rows(name, shape, data, by);
        }
        let stored = self.g.initializer_f16(name, shape, data);
        let rows = self.g.op("Gather", &[&stored, by], &[]);
        self.g.cast(&rows, Element::F32)
    }

    fn layer(
        &mut self,
        layer: usize,
        x: &Operand,
        residual: Residual,
    ) -> Result<(Operand, Residual), CompileError> {
        let config = self.config;
        let (hidden, inner, groups) = (config.hidden, config.intermediate, config.groups);
        let name = |part: &str| format!("encoder.layers.{layer}.{part}");
        let residual = match self.first_only {
            true => Residual(residual.0.iter().map(|part| self.first_rows(part)).collect()),
            false => residual,
        };
        let (context, value_bias) = self.attention(layer, x)?;

        let mut post = self.grouped(&name("post_attention.conv1d"), groups.post_attention, hidden, hidden)?;
        // The weights of a softmax sum to 1: a bias of the values passes through attention as it is.
        add_product(&mut post, &value_bias);
        let post = self.product(&name("post_attention"), &context, post);
        let terms = vec![residual.0, post.parts];
        let slices = Some(groups.intermediate);
        let (x, residual) = self.add_norm(
            &name("post_attention.layernorm"),
            &format!("layer{layer}.attention"),
            LAYER_NORM_EPS,
            terms,
            post.bias,
            slices,
        )?;

        let up = self.grouped(&name("intermediate.conv1d"), groups.intermediate, hidden, inner)?;
        let active = self.up(&name("intermediate"), &format!("layer{layer}.gelu"), &x, up)?;
        let down = self.grouped(&name("output.conv1d"), groups.output, inner, hidden)?;
        let down = self.product(&name("output"), &active, down);
        let terms = vec![residual.0, down.parts];
        let slices = (layer + 1 < config.layers).then(|| self.attention_slices());
        self.add_norm(
            &name("output.layernorm"),
            &format!("layer{layer}.output"),
            LAYER_NORM_EPS,
            terms,
            down.bias,
            slices,
        )
    }

    /// The context, and the bias of the values, which is not in it yet.
    fn attention(&mut self, layer: usize, x: &Operand) -> Result<(Operand, Vec<f32>), CompileError> {
        let config = self.config;
        let (hidden, groups) = (config.hidden, config.groups);
        let name = |part: &str| format!("encoder.layers.{layer}.attention.{part}");
        let query = self.grouped(&name("query"), groups.q, hidden, hidden)?;
        // A bias of the keys adds the same number to all scores of a row: the softmax does not see it.
        let key = self.grouped(&name("key"), groups.k, hidden, hidden)?;
        let value = self.grouped(&name("value"), groups.v, hidden, hidden)?;
        let (query_bias, value_bias) = (query.bias.clone(), value.bias.clone());

        let asking = match self.first_only {
            true => Some(Operand {
                slices: x.slices.iter().map(|slice| self.first_rows(slice)).collect(),
                scales: x.scales.clone(),
            }),
            false => None,
        };
        // What can be multiplied at once is.
        let mut matrices = Vec::new();
        let fused = groups.q == groups.k && groups.k == groups.v && config.heads.is_multiple_of(groups.q);
        let width = hidden / groups.q;
        let places = match (fused, &asking) {
            (true, None) => {
                let all = side_by_side([query, key, value]);
                matrices.extend(self.product(&name("qkv"), x, all).parts);
                [0, 1, 2].map(|which| (0..groups.q).flat_map(|g| [g, which * width]).collect::<Vec<_>>())
            }
            (true, Some(asking)) => {
                matrices.extend(self.product(&name("query"), asking, query).parts);
                matrices.extend(self.product(&name("kv"), x, side_by_side([key, value])).parts);
                let matrix = |which: usize, g: usize| if which == 0 { g } else { groups.q + g };
                let column = |which: usize| which.saturating_sub(1) * width;
                [0, 1, 2].map(|which| (0..groups.q).flat_map(|g| [matrix(which, g), column(which)]).collect())
            }
            (false, _) => {
                let mut place = |part: &str, x: &Operand, weights: Grouped| {
                    let mut parts = self.product(&name(part), x, weights).parts;
                    if !config.heads.is_multiple_of(parts.len()) {
                        parts = vec![self.concat(&parts)];
                    }
                    let first = matrices.len();
                    matrices.extend(parts);
                    (first..matrices.len()).flat_map(|matrix| [matrix, 0]).collect()
                };
                let queries = place("query", asking.as_ref().unwrap_or(x), query);
                [queries, place("key", x, key), place("value", x, value)]
            }
        };

        let point = format!("layer{layer}.context");
        let scale = self.scale(&point)?;
        let [queries, keys, values] =
            places.map(|place| Attribute::Ints(place.into_iter().map(int).collect()));
        let mut attributes = vec![
            ("heads", Attribute::Int(int(config.heads))),
            ("width", Attribute::Int(int(config.head_width()))),
            ("first", Attribute::Int(self.first_only.into())),
            ("queries", queries),
            ("keys", keys),
            ("values", values),
            ("query_bias", Attribute::Floats(query_bias)),
        ];
        attributes.extend(scales(scale.as_slice()));
        let op = if scale.is_some() { "PackedAttentionU8" } else { "PackedAttention" };
        let inputs: Vec<&str> = std::iter::once(OFFSETS).chain(matrices.iter().map(String::as_str)).collect();
        self.g.node(op, operators::DOMAIN, &inputs, &[&point], &attributes);
        self.observe(&point, hidden);
        Ok((Operand { slices: vec![point], scales: vec![scale] }, value_bias))
    }

    /// Product, bias and GELU. The parts stay apart where the next product wants them so; then, in int8, all of it
    /// is one operator.
    fn up(
        &mut self,
        name: &str,
        point: &str,
        x: &Operand,
        weights: Grouped,
    ) -> Result<Operand, CompileError> {
        let groups = self.config.groups;
        if !matches!(self.arithmetic, Arithmetic::Int8(_)) || groups.intermediate != groups.output {
            let up = self.product(name, x, weights);
            return self.gelu(point, up);
        }
        let x = self.apart(x, groups.intermediate, weights.inputs);
        let mut operand = Operand { slices: Vec::new(), scales: Vec::new() };
        let biases = weights.bias.chunks_exact(weights.outputs);
        for (i, ((slice, from), (matrix, bias))) in
            x.slices.iter().zip(&x.scales).zip(weights.weights.iter().zip(biases)).enumerate()
        {
            let point = format!("{point}.{i}");
            let (Some(from), Some(to)) = (*from, self.scale(&point)?) else { continue };
            let (matrix, mut attributes) =
                self.stored_bytes(&format!("{name}.weight.{i}"), matrix, weights.outputs, from);
            attributes.push(("bias", Attribute::Floats(bias.to_vec())));
            attributes.extend(scales(&[to]));
            self.g.node("ProductGeluU8", operators::DOMAIN, &[slice, &matrix], &[&point], &attributes);
            operand.slices.push(point);
            operand.scales.push(Some(to));
        }
        Ok(operand)
    }

    /// Bias and GELU of a product that is there.
    fn gelu(&mut self, point: &str, up: Product) -> Result<Operand, CompileError> {
        let groups = self.config.groups;
        let parts = match groups.intermediate == groups.output {
            true => up.parts,
            false => vec![self.concat(&up.parts)],
        };
        let width = up.bias.len() / parts.len();
        let mut operand = Operand { slices: Vec::new(), scales: Vec::new() };
        for (i, (part, bias)) in parts.iter().zip(up.bias.chunks_exact(width)).enumerate() {
            let point = format!("{point}.{i}");
            let scale = self.scale(&point)?;
            let mut attributes = vec![("bias", Attribute::Floats(bias.to_vec()))];
            attributes.extend(scales(scale.as_slice()));
            let op = if scale.is_some() { "GeluU8" } else { "Gelu" };
            self.g.node(op, operators::DOMAIN, &[part], &[&point], &attributes);
            self.observe(&point, width);
            operand.slices.push(point);
            operand.scales.push(scale);
        }
        Ok(operand)
    }

    /// Sum, layer norm, and the slices that the next products want; `None`: whole floats, nothing follows.
    fn add_norm(
        &mut self,
        name: &str,
        point: &str,
        epsilon: f32,
        terms: Vec<Vec<String>>,
        bias: Vec<f32>,
        slices: Option<usize>,
    ) -> Result<(Operand, Residual), CompileError> {
        let norm = self.checkpoint.norm(name)?;
        let count = slices.unwrap_or(1);
        let points: Vec<String> = (0..count).map(|i| format!("{point}.{i}")).collect();
        let found = match slices {
            Some(_) => points.iter().map(|point| self.scale(point)).collect::<Result<Vec<_>, _>>()?,
            None => vec![None],
        };
        let mut attributes = vec![
            ("terms", Attribute::Ints(terms.iter().map(|term| int(term.len())).collect())),
            ("gamma", Attribute::Floats(norm.weight)),
            ("beta", Attribute::Floats(norm.bias)),
            ("epsilon", Attribute::Float(epsilon)),
        ];
        if !bias.is_empty() {
            attributes.push(("bias", Attribute::Floats(bias)));
        }
        let quantised: Vec<Scale> = found.iter().flatten().copied().collect();
        let whole = format!("{point}.whole");
        let mut outputs: Vec<&str> = points.iter().map(String::as_str).collect();
        let op = match quantised.is_empty() {
            true => "AddNorm",
            false => {
                outputs.insert(0, &whole);
                "AddNormU8"
            }
        };
        attributes.extend(scales(&quantised));
        let inputs: Vec<&str> = terms.iter().flatten().map(String::as_str).collect();
        self.g.node(op, operators::DOMAIN, &inputs, &outputs, &attributes);
        let residual = if quantised.is_empty() { points.clone() } else { vec![whole] };
        if slices.is_some() {
            points.iter().for_each(|point| self.observe(point, self.config.hidden / count));
        }
        Ok((Operand { slices: points, scales: found }, Residual(residual)))
    }

    /// One product a group.
    fn product(&mut self, name: &str, x: &Operand, weights: Grouped) -> Product {
        let count = weights.weights.len();
        let operand = self.apart(x, count, weights.inputs);
        let mut parts = Vec::with_capacity(count);
        for (i, ((slice, scale), matrix)) in
            operand.slices.iter().zip(&operand.scales).zip(&weights.weights).enumerate()
        {
            let stored = format!("{name}.weight.{i}");
            match scale {
                None => {
                    let matrix = self.g.initializer_f32(&stored, &[weights.inputs, weights.outputs], matrix);
                    parts.push(self.g.op("MatMul", &[slice, &matrix], &[]));
                }
                Some(scale) => {
                    let (matrix, attributes) = self.stored_bytes(&stored, matrix, weights.outputs, *scale);
                    let inputs = [slice.as_str(), &matrix];
                    parts.extend(self.g.nodes("ProductU8", operators::DOMAIN, &inputs, 1, &attributes));
                }
            }
        }
        Product { parts, bias: weights.bias }
    }

    /// The same matrix in as many slices as there are groups.
    fn apart(&mut self, x: &Operand, count: usize, width: usize) -> Operand {
        match (x.slices.len(), &x.slices[..]) {
            (1, [whole]) if count > 1 => {
                Operand { slices: self.split(whole, count, width), scales: vec![x.scales[0]; count] }
            }
            _ => Operand { slices: x.slices.clone(), scales: x.scales.clone() },
        }
    }

    /// Weights in bytes, ordered as the operator reads them, and what it has to know of them.
    fn stored_bytes(
        &mut self,
        name: &str,
        matrix: &[f32],
        outputs: usize,
        scale: Scale,
    ) -> (String, Vec<(&'static str, Attribute)>) {
        let inputs = matrix.len() / outputs;
        let (bytes, factors) = quantise::weights(matrix, outputs);
        let start = |column: usize| {
            let sum: i64 = bytes.iter().skip(column).step_by(outputs).map(|w| i64::from(*w)).sum();
            -i64::from(scale.zero) * sum
        };
        let attributes = vec![
            ("outputs", Attribute::Int(int(outputs))),
            ("factors", Attribute::Floats(factors.iter().map(|factor| factor * scale.factor).collect())),
            ("starts", Attribute::Ints((0..outputs).map(start).collect())),
        ];
        let packed = pack(&bytes, inputs, outputs);
        (self.g.initializer_i8(name, &[packed.len()], &packed), attributes)
    }

    fn head(&mut self, hidden: &str) -> Result<(), CompileError> {
        let (width, outputs) = (self.config.hidden, self.checkpoint.outputs()?);
        match self.config.head {
            Head::SequenceClassification => {
                let pooled = self.dense(hidden, "pooler.dense", width)?;
                let pooled = self.g.op("Tanh", &[&pooled], &[]);
                let logits = self.dense(&pooled, "classifier", outputs)?;
                let dims = [Dim::Named("texts"), Dim::Fixed(outputs)];
                self.g.output("logits", &logits, Element::F32, &dims);
            }
            Head::TokenClassification => {
                let logits = self.dense(hidden, "classifier", outputs)?;
                let dims = [Dim::Named("tokens"), Dim::Fixed(outputs)];
                self.g.output("logits", &logits, Element::F32, &dims);
            }
            Head::QuestionAnswering => {
                let both = self.dense(hidden, "qa_outputs", outputs)?;
                for (i, name) in ["start_logits", "end_logits"].into_iter().enumerate() {
                    let index = self.g.initializer_i64(&format!("{name}.column"), &[], &[int(i)]);
                    let column = self.g.op("Gather", &[&both, &index], &[("axis", Attribute::Int(1))]);
                    self.g.output(name, &column, Element::F32, &[Dim::Named("tokens")]);
                }
            }
            Head::None => {
                let dims = [Dim::Named("tokens"), Dim::Fixed(width)];
                self.g.output("last_hidden_state", hidden, Element::F32, &dims);
            }
        }
        Ok(())
    }

    /// A dense layer, always in floats: what it costs does not count.
    fn dense(&mut self, x: &str, name: &str, outputs: usize) -> Result<String, CompileError> {
        let layer = self.grouped(name, 1, self.config.hidden, outputs)?;
        let shape = [layer.inputs, layer.outputs];
        let weight = self.g.initializer_f32(&format!("{name}.weight"), &shape, &layer.weights.concat());
        let bias = self.g.initializer_f32(&format!("{name}.bias"), &[outputs], &layer.bias);
        Ok(self.g.op("Gemm", &[x, &weight, &bias], &[]))
    }

    fn grouped(
        &self,
        name: &str,
        groups: usize,
        inputs: usize,
        outputs: usize,
    ) -> Result<Grouped, CompileError> {
        Ok(self.checkpoint.grouped(name, groups, inputs, outputs)?)
    }

    /// The row of each text's first token.
    fn first_rows(&mut self, value: &str) -> String {
        let starts = match self.starts.take() {
            Some(starts) => starts,
            None => {
                let (from, to) = (self.g.ints(&[0]), self.g.ints(&[-1]));
                self.g.op("Slice", &[OFFSETS, &from, &to], &[])
            }
        };
        let rows = self.g.op("Gather", &[value, &starts], &[]);
        self.starts = Some(starts);
        rows
    }

    /// With the sizes: ONNX Runtime takes two Splits of one value for the same node if only the number of their
    /// outputs tells them apart.
    fn split(&mut self, value: &str, count: usize, width: usize) -> Vec<String> {
        let sizes = self.g.ints(&vec![int(width); count]);
        self.g.nodes("Split", "", &[value, &sizes], count, &[("axis", Attribute::Int(1))])
    }

    fn concat(&mut self, parts: &[String]) -> String {
        match parts {
            [one] => one.clone(),
            _ => {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                self.g.op("Concat", &parts, &[("axis", Attribute::Int(1))])
            }
        }
    }

    /// How this value becomes bytes; `None` in floats.
    fn scale(&self, point: &str) -> Result<Option<Scale>, CompileError> {
        match self.arithmetic {
            Arithmetic::Int8(calibration) => Ok(Some(calibration.scale(point)?)),
            _ => Ok(None),
        }
    }

    fn observe(&mut self, point: &str, width: usize) {
        if self.arithmetic == Arithmetic::Observed {
            let rows = if self.first_only { "texts" } else { "tokens" };
            let dims = [Dim::Named(rows), Dim::Fixed(width)];
            self.g.output(&format!("{OBSERVED}{point}"), point, Element::F32, &dims);
        }
    }
}

/// Before the name of an observed value.
pub(super) const OBSERVED: &str = "observed.";

fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn scales(scales: &[Scale]) -> Vec<(&'static str, Attribute)> {
    if scales.is_empty() {
        return Vec::new();
    }
    vec![
        ("scales", Attribute::Floats(scales.iter().map(|s| s.factor).collect())),
        ("zeros", Attribute::Ints(scales.iter().map(|s| s.zero.into()).collect())),
    ]
}

/// Layers of the same inputs become one, group by group. The biases are left out: attention has its own.
fn side_by_side<const N: usize>(layers: [Grouped; N]) -> Grouped {
    let groups = layers[0].weights.len();
    let (inputs, outputs) = (layers[0].inputs, layers.iter().map(|layer| layer.outputs).sum());
    let weights = (0..groups).map(|group| {
        let row = |row: usize| {
            layers.iter().flat_map(move |layer| &layer.weights[group][row * layer.outputs..][..layer.outputs])
        };
        (0..inputs).flat_map(row).copied().collect()
    });
    Grouped { inputs, outputs, weights: weights.collect(), bias: Vec::new() }
}

/// Adds `x · W` to the bias.
fn add_product(layer: &mut Grouped, x: &[f32]) {
    let Grouped { inputs, outputs, weights, bias } = layer;
    for ((matrix, x), bias) in
        weights.iter().zip(x.chunks_exact(*inputs)).zip(bias.chunks_exact_mut(*outputs))
    {
        for (column, bias) in bias.iter_mut().enumerate() {
            let products = x.iter().zip(matrix.iter().skip(column).step_by(*outputs));
            let sum: f64 = products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            *bias = (f64::from(*bias) + sum) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_32_bits_do_not_hold_is_refused() {
        let config = |inner: usize, groups: usize| {
            let json = format!(
                r#"{{"model_type": "squeezebert", "intermediate_size": {inner}, "output_groups": {groups}}}"#
            );
            SqueezeBertConfig::parse(json.as_bytes()).unwrap().unwrap()
        };
        sums_fit(&config(3072, 4)).unwrap();
        // 255 · 63 · 133,674 is the last that fits.
        sums_fit(&config(133_672, 1)).unwrap();
        sums_fit(&config(133_680, 2)).unwrap();
        let refused = sums_fit(&config(133_680, 1));
        assert!(matches!(refused, Err(CompileError::TooWide { inputs: 133_680, most: 133_674 })));
    }
}
