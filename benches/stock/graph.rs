//! A graph in the making, and what both architectures have in common: inputs, embeddings, the mask.

use super::Weights;
use super::proto::{Attribute, Dim, Graph, Model, Node, OperatorSet, Shape, Tensor, TensorType, Type, Value};

const FLOAT: i32 = 1;
const INT64: i32 = 7;
const BOOL: i32 = 9;

/// Names of values are numbers, in order.
pub struct Builder<'a> {
    graph: Graph,
    weights: &'a mut Weights<'a>,
    values: usize,
}

impl<'a> Builder<'a> {
    pub fn new(weights: &'a mut Weights<'a>) -> Self {
        let mut graph = Graph { name: "main_graph".to_owned(), ..Graph::default() };
        for name in ["input_ids", "attention_mask", "token_type_ids"] {
            graph.inputs.push(value(name, INT64, &[Err("batch"), Err("sequence")]));
        }
        Self { graph, weights, values: 0 }
    }

    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        self.values += 1;
        let output = format!("v{}", self.values);
        let inputs = inputs.iter().map(|i| (*i).to_owned()).collect();
        self.graph.nodes.push(Node { inputs, outputs: vec![output.clone()], op: op.to_owned(), attributes });
        output
    }

    /// A parameter by its name in the checkpoint, as it is there.
    pub fn weight(&mut self, name: &str, shape: &[usize]) -> String {
        let values = (self.weights)(name, shape);
        self.floats(name, shape, &values)
    }

    /// The same of a matrix `[out, in]`, turned over: `[in, out]`.
    pub fn turned(&mut self, name: &str, out: usize, width: usize) -> String {
        let values = (self.weights)(name, &[out, width]);
        let turned: Vec<f32> =
            (0..width).flat_map(|i| values.iter().skip(i).step_by(width).copied()).collect();
        self.floats(name, &[width, out], &turned)
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        self.tensor(name, FLOAT, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub fn ints(&mut self, shape: &[usize], values: &[i64]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(&format!("i{shape:?}{values:?}"), INT64, shape, raw)
    }

    pub fn scalar(&mut self, value: f32) -> String {
        self.tensor(&format!("f{value}"), FLOAT, &[], value.to_le_bytes().to_vec())
    }

    fn tensor(&mut self, name: &str, element: i32, shape: &[usize], raw: Vec<u8>) -> String {
        let known = self.graph.initializers.iter().any(|tensor| tensor.name == name);
        if !known {
            let shape = shape.iter().map(|n| *n as i64).collect();
            self.graph.initializers.push(Tensor { shape, element, name: name.to_owned(), raw });
        }
        name.to_owned()
    }

    /// IR version 10, operator set 20: what torch.onnx writes.
    pub fn finish(mut self, logits: &str, labels: usize) -> Model {
        if let Some(last) = self.graph.nodes.last_mut().filter(|node| node.outputs == [logits]) {
            last.outputs = vec!["logits".to_owned()];
        }
        self.graph.outputs.push(value("logits", FLOAT, &[Err("batch"), Ok(labels)]));
        let operator_sets = vec![OperatorSet { domain: String::new(), version: 20 }];
        Model { ir_version: 10, graph: Some(self.graph), operator_sets }
    }
}

fn value(name: &str, element: i32, dims: &[Result<usize, &str>]) -> Value {
    let dim = |dim: &Result<usize, &str>| match dim {
        Ok(n) => Dim { value: Some(*n as i64), name: None },
        Err(name) => Dim { value: None, name: Some((*name).to_owned()) },
    };
    let shape = Some(Shape { dims: dims.iter().map(dim).collect() });
    Value { name: name.to_owned(), r#type: Some(Type { tensor: Some(TensorType { element, shape }) }) }
}

pub fn int(name: &str, int: i64) -> Attribute {
    Attribute { name: name.to_owned(), int, kind: 2, ..Attribute::default() }
}

pub fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.to_owned(), ints: ints.to_vec(), kind: 7, ..Attribute::default() }
}

pub fn float(name: &str, float: f32) -> Attribute {
    Attribute { name: name.to_owned(), float, kind: 1, ..Attribute::default() }
}

pub fn string(name: &str, string: &str) -> Attribute {
    Attribute { name: name.to_owned(), string: string.as_bytes().to_vec(), kind: 3, ..Attribute::default() }
}

/// The batch's extents as the export computes them, each as a vector of one.
pub struct Extents {
    pub batch: String,
    pub sequence: String,
    /// As scalars.
    scalars: [String; 2],
    /// Position ids of the sequence.
    pub positions: String,
}

impl Builder<'_> {
    pub fn extents(&mut self, most: usize) -> Extents {
        let positions: Vec<i64> = (0..most as i64).collect();
        let extent = |b: &mut Self, axis: i64| {
            let one = b.node("Shape", &["token_type_ids"], vec![int("start", axis), int("end", axis + 1)]);
            let scalar = b.node("Squeeze", &[&one], vec![]);
            (one, scalar)
        };
        let (batch, batch_scalar) = extent(self, 0);
        let (sequence, sequence_scalar) = extent(self, 1);
        let all = self.tensor(
            "position_ids",
            INT64,
            &[1, most],
            positions.iter().flat_map(|p| p.to_le_bytes()).collect(),
        );
        let (zero, one) = (self.ints(&[1], &[0]), self.ints(&[1], &[1]));
        let positions = self.node("Slice", &[&all, &zero, &sequence, &one, &one], vec![]);
        Extents { batch, sequence, scalars: [batch_scalar, sequence_scalar], positions }
    }

    pub fn layer_norm(&mut self, x: &str, name: &str, width: usize) -> String {
        let (w, b) = (
            self.weight(&format!("{name}.weight"), &[width]),
            self.weight(&format!("{name}.bias"), &[width]),
        );
        let attributes = vec![int("axis", -1), float("epsilon", 1e-12), int("stash_type", 1)];
        self.node("LayerNormalization", &[x, &w, &b], attributes)
    }

    pub fn gather(&mut self, table: &str, ids: &str) -> String {
        self.node("Gather", &[table, ids], vec![int("axis", 0)])
    }

    /// Where attention may look, `[batch, 1, 1, sequence]`, true or false.
    pub fn allowed(&mut self, extents: &Extents) -> String {
        let mask = self.node("Cast", &["attention_mask"], vec![int("to", BOOL.into())]);
        let (zero, one) = (self.ints(&[], &[0]), self.ints(&[], &[1]));
        let [batch, sequence] = &extents.scalars;
        let rows = self.node("Range", &[&zero, batch, &one], vec![]);
        let columns = self.node("Range", &[&zero, sequence, &one], vec![]);
        let axes = |b: &mut Self, axes: &[i64]| b.ints(&[axes.len()], axes);
        let unsqueeze = |b: &mut Self, x: &str, of: &[i64]| {
            let axes = axes(b, of);
            b.node("Unsqueeze", &[x, &axes], vec![])
        };
        let rows = unsqueeze(self, &rows, &[1, 2]);
        let rows = unsqueeze(self, &rows, &[3]);
        let columns = unsqueeze(self, &columns, &[0, 1]);
        let queries = unsqueeze(self, &columns, &[3]);
        let keys = unsqueeze(self, &columns, &[2]);
        let is_query = self.node("GreaterOrEqual", &[&queries, &zero], vec![]);
        let always = self.tensor("true", BOOL, &[], vec![1]);
        let is_query = self.node("And", &[&always, &is_query], vec![]);
        let largest = self.node("Max", &[&rows, &keys], vec![]);
        let shape = self.node("Shape", &[&largest], vec![int("start", 0)]);
        let index = |b: &mut Self, x: &str| {
            let x = b.node("Expand", &[x, &shape], vec![]);
            unsqueeze(b, &x, &[-1])
        };
        let (rows, keys) = (index(self, &rows), index(self, &keys));
        let places = self.node("Concat", &[&rows, &keys], vec![int("axis", -1)]);
        let is_key = self.node("GatherND", &[&mask, &places], vec![int("batch_dims", 0)]);
        self.node("And", &[&is_query, &is_key], vec![])
    }

    /// Token 0 of each sequence through pooler and classifier.
    pub fn head(mut self, hidden: &str, pooler: &str, width: usize, labels: usize) -> Model {
        let zero = self.ints(&[], &[0]);
        let first = self.node("Gather", &[hidden, &zero], vec![int("axis", 1)]);
        let pooled = self.gemm(&first, pooler, width, width);
        let pooled = self.node("Tanh", &[&pooled], vec![]);
        let logits = self.gemm(&pooled, "classifier", labels, width);
        self.finish(&logits, labels)
    }

    fn gemm(&mut self, x: &str, name: &str, out: usize, width: usize) -> String {
        let w = self.weight(&format!("{name}.weight"), &[out, width]);
        let b = self.weight(&format!("{name}.bias"), &[out]);
        let attributes = vec![float("alpha", 1.0), float("beta", 1.0), int("transA", 0), int("transB", 1)];
        self.node("Gemm", &[x, &w, &b], attributes)
    }

    pub fn reshape(&mut self, x: &str, shape: &str, allow_zero: bool) -> String {
        self.node("Reshape", &[x, shape], vec![int("allowzero", i64::from(allow_zero))])
    }

    pub fn transpose(&mut self, x: &str, perm: &[i64]) -> String {
        self.node("Transpose", &[x], vec![ints("perm", perm)])
    }

    pub fn gelu(&mut self, x: &str) -> String {
        self.node("Gelu", &[x], vec![string("approximate", "none")])
    }

    pub fn concat(&mut self, parts: &[&str]) -> String {
        self.node("Concat", parts, vec![int("axis", 0)])
    }
}
