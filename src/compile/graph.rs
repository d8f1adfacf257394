//! Builds an ONNX model in memory: nodes, initializers, inputs and outputs, then bytes.
//!
//! The first mistake is kept and comes out of [`GraphBuilder::finish`], so that a graph can be
//! written down without a `?` at every line. The same calls give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use half::f16;
use prost::Message;

use super::proto;

/// ONNX's standard operators, in the version that all of ours are written for.
const OPSET: i64 = 17;
/// Of the file format; 8 belongs to opset 17.
const IR_VERSION: i64 = 8;
/// Protobuf's limit for a message.
const LARGEST: usize = i32::MAX as usize;

/// A graph that cannot be written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GraphError {
    /// fp16 ends at 65,504.
    #[error("the weights of {name} reach {largest}, more than fp16 holds: build the package in fp32")]
    Half {
        /// The initializer.
        name: String,
        /// Largest absolute value.
        largest: f32,
    },
    /// A defect of the program.
    #[error("{name} has {found} elements instead of {expected}")]
    Length {
        /// The initializer.
        name: String,
        /// Given.
        found: usize,
        /// By its shape.
        expected: usize,
    },
    /// A defect of the program.
    #[error("the graph has two values of the name {0}")]
    Twice(String),
    /// A defect of the program.
    #[error("the graph uses operators of the domain {0:?} without importing it")]
    Domain(String),
    /// One file cannot hold it.
    #[error("the graph is {0} bytes, more than an ONNX file can hold (2 GiB)")]
    TooLarge(usize),
}

/// Element types, with ONNX's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// fp32.
    F32 = 1,
    /// Unsigned bytes.
    U8 = 2,
    /// Signed bytes.
    I8 = 3,
    /// 32-bit integers.
    I32 = 6,
    /// 64-bit integers.
    I64 = 7,
    /// fp16.
    F16 = 10,
}

/// An attribute of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// A word.
    Text(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
}

/// One dimension of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim<'a> {
    /// Always this many.
    Fixed(usize),
    /// Known at run time; the same name means the same number.
    Named(&'a str),
}

/// Collects a graph. Values are known by their names.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: proto::Graph,
    imports: BTreeMap<String, i64>,
    names: BTreeSet<String>,
    failed: Option<GraphError>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self {
            graph: proto::Graph { name: name.to_owned(), ..proto::Graph::default() },
            imports: [(String::new(), OPSET)].into(),
            names: BTreeSet::new(),
            failed: None,
        }
    }

    /// Makes another domain's operators known (`com.microsoft`, or our own).
    pub fn import(&mut self, domain: &str, version: i64) {
        self.imports.insert(domain.to_owned(), version);
    }

    /// A value that the caller feeds.
    pub fn input(&mut self, name: &str, element: Element, dims: &[Dim<'_>]) -> String {
        self.claim(name);
        self.graph.inputs.push(value(name, element, dims));
        name.to_owned()
    }

    /// A value that the caller gets: some node's output, given the public `name` here.
    pub fn output(&mut self, name: &str, of: &str, element: Element, dims: &[Dim<'_>]) {
        self.node("Identity", "", &[of], &[name], &[]);
        self.graph.outputs.push(value(name, element, dims));
    }

    /// Stored fp32 numbers.
    pub fn initializer_f32(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initializer(name, Element::F32, shape, data.len(), bytes)
    }

    /// Stored fp16 numbers, rounded to the nearest.
    pub fn initializer_f16(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        let largest = data.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        if largest > f16::MAX.to_f32() {
            self.fail(GraphError::Half { name: name.to_owned(), largest });
        }
        let bytes = data.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        self.initializer(name, Element::F16, shape, data.len(), bytes)
    }

    /// fp32 numbers that are stored as fp16, and cast in the graph (ONNX Runtime does that once, when
    /// it loads). The value that is returned is fp32.
    pub fn initializer_stored_as_f16(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        let stored = self.initializer_f16(name, shape, data);
        self.cast(&stored, Element::F32)
    }

    /// fp32 numbers, stored as fp16 where that loses nothing. The value that is returned is fp32.
    pub fn weights(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        match fits_f16(data) {
            true => self.initializer_stored_as_f16(name, shape, data),
            false => self.initializer_f32(name, shape, data),
        }
    }

    /// Rows of a stored table, by their numbers: cast after they are picked, so that a table which is
    /// stored as fp16 stays so in memory. The value that is returned is fp32.
    pub fn rows(&mut self, name: &str, shape: &[usize], data: &[f32], ids: &str) -> String {
        match fits_f16(data) {
            true => {
                let table = self.initializer_f16(name, shape, data);
                let rows = self.op("Gather", &[&table, ids], &[]);
                self.cast(&rows, Element::F32)
            }
            false => {
                let table = self.initializer_f32(name, shape, data);
                self.op("Gather", &[&table, ids], &[])
            }
        }
    }

    /// Stored signed bytes.
    pub fn initializer_i8(&mut self, name: &str, shape: &[usize], data: &[i8]) -> String {
        let bytes = data.iter().map(|x| x.cast_unsigned()).collect();
        self.initializer(name, Element::I8, shape, data.len(), bytes)
    }

    /// Stored unsigned bytes.
    pub fn initializer_u8(&mut self, name: &str, shape: &[usize], data: &[u8]) -> String {
        self.initializer(name, Element::U8, shape, data.len(), data.to_vec())
    }

    /// Stored 32-bit integers.
    pub fn initializer_i32(&mut self, name: &str, shape: &[usize], data: &[i32]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initializer(name, Element::I32, shape, data.len(), bytes)
    }

    /// Stored 64-bit integers.
    pub fn initializer_i64(&mut self, name: &str, shape: &[usize], data: &[i64]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initializer(name, Element::I64, shape, data.len(), bytes)
    }

    /// A list of integers, `[n]`, stored once however often it is asked for.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let list: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = format!("ints_{}", list.join("_"));
        match self.names.contains(&name) {
            true => name,
            false => self.initializer_i64(&name, &[values.len()], values),
        }
    }

    /// One fp32 number, `[]`, stored once however often it is asked for.
    pub fn scalar(&mut self, number: f32) -> String {
        let name = format!("scalar_{number:?}");
        match self.names.contains(&name) {
            true => name,
            false => self.initializer_f32(&name, &[], &[number]),
        }
    }

    /// A node; `outputs` are names of your choice. An empty input name leaves an optional input out.
    pub fn node(
        &mut self,
        op: &str,
        domain: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        outputs.iter().for_each(|name| self.claim(name));
        if !self.imports.contains_key(domain) {
            self.fail(GraphError::Domain(domain.to_owned()));
        }
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.graph.nodes.push(proto::Node {
            name: outputs.first().map_or_else(|| op.to_owned(), |&name| name.to_owned()),
            op_type: op.to_owned(),
            domain: domain.to_owned(),
            inputs: owned(inputs),
            outputs: owned(outputs),
            attributes: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        });
    }

    /// A node of any domain with `count` outputs, whose names are made here and returned.
    pub fn nodes(
        &mut self,
        op: &str,
        domain: &str,
        inputs: &[&str],
        count: usize,
        attributes: &[(&str, Attribute)],
    ) -> Vec<String> {
        let number = self.graph.nodes.len();
        let name = |i: usize| if i == 0 { format!("{op}_{number}") } else { format!("{op}_{number}_{i}") };
        let outputs: Vec<String> = (0..count).map(name).collect();
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.node(op, domain, inputs, &names, attributes);
        outputs
    }

    /// A standard node with one output, whose name is made here and returned.
    pub fn op(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        self.nodes(op, "", inputs, 1, attributes).pop().unwrap_or_default()
    }

    /// Another element type.
    pub fn cast(&mut self, value: &str, to: Element) -> String {
        self.op("Cast", &[value], &[("to", Attribute::Int(to as i64))])
    }

    /// The model's bytes, or the first mistake.
    pub fn finish(self) -> Result<Vec<u8>, GraphError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let imports = self.imports.into_iter();
        let model = proto::Model {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_imports: imports.map(|(domain, version)| proto::OperatorSet { domain, version }).collect(),
        };
        match model.encoded_len() {
            size if size > LARGEST => Err(GraphError::TooLarge(size)),
            _ => Ok(model.encode_to_vec()),
        }
    }

    fn initializer(
        &mut self,
        name: &str,
        element: Element,
        shape: &[usize],
        found: usize,
        raw_data: Vec<u8>,
    ) -> String {
        self.claim(name);
        let expected = shape.iter().product();
        if found != expected {
            self.fail(GraphError::Length { name: name.to_owned(), found, expected });
        }
        self.graph.initializers.push(proto::Tensor {
            dims: shape.iter().map(|&n| signed(n)).collect(),
            data_type: element as i32,
            name: name.to_owned(),
            raw_data,
        });
        name.to_owned()
    }

    fn claim(&mut self, name: &str) {
        // An output that is left out has no name.
        if !name.is_empty() && !self.names.insert(name.to_owned()) {
            self.fail(GraphError::Twice(name.to_owned()));
        }
    }

    fn fail(&mut self, error: GraphError) {
        self.failed.get_or_insert(error);
    }
}

/// All of them are fp16 numbers already.
fn fits_f16(data: &[f32]) -> bool {
    data.iter().all(|x| f16::from_f32(*x).to_f32() == *x)
}

/// Sizes of real tensors are far below the limit.
fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn value(name: &str, element: Element, dims: &[Dim<'_>]) -> proto::ValueInfo {
    let dims = dims.iter().map(|dim| match dim {
        Dim::Fixed(n) => proto::Dim { value: Some(signed(*n)), parameter: None },
        Dim::Named(name) => proto::Dim { value: None, parameter: Some((*name).to_owned()) },
    });
    let shape = Some(proto::Shape { dims: dims.collect() });
    let tensor = Some(proto::TensorType { element: element as i32, shape });
    proto::ValueInfo { name: name.to_owned(), r#type: Some(proto::Type { tensor }) }
}

/// The kinds are ONNX's `AttributeProto.AttributeType`.
fn attribute(name: &str, value: &Attribute) -> proto::Attribute {
    let named = proto::Attribute { name: name.to_owned(), ..proto::Attribute::default() };
    match value {
        Attribute::Float(f) => proto::Attribute { f: Some(*f), kind: 1, ..named },
        Attribute::Int(i) => proto::Attribute { i: Some(*i), kind: 2, ..named },
        Attribute::Text(s) => proto::Attribute { s: Some(s.clone().into_bytes()), kind: 3, ..named },
        Attribute::Floats(floats) => proto::Attribute { floats: floats.clone(), kind: 6, ..named },
        Attribute::Ints(ints) => proto::Attribute { ints: ints.clone(), kind: 7, ..named },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_mistake_comes_out() {
        let mut g = GraphBuilder::new("g");
        g.initializer_f32("w", &[2, 2], &[1.0; 3]);
        g.initializer_f32("w", &[1], &[1.0]);
        let wrong = GraphError::Length { name: "w".into(), found: 3, expected: 4 };
        assert_eq!(g.finish(), Err(wrong));

        let mut g = GraphBuilder::new("g");
        g.initializer_f32("w", &[1], &[1.0]);
        g.input("w", Element::F32, &[]);
        assert_eq!(g.finish(), Err(GraphError::Twice("w".into())));

        let mut g = GraphBuilder::new("g");
        g.initializer_f16("w", &[2], &[1.0, -65505.0 - 32.0]);
        assert!(matches!(g.finish(), Err(GraphError::Half { largest, .. }) if largest > 65504.0));

        let mut g = GraphBuilder::new("g");
        g.node("Own", "ours", &[], &["y"], &[]);
        assert_eq!(g.finish(), Err(GraphError::Domain("ours".into())));
    }

    #[test]
    fn constants_are_stored_once_and_the_bytes_are_the_same() {
        let build = || {
            let mut g = GraphBuilder::new("g");
            g.import("ours", 1);
            let x = g.input("x", Element::F32, &[Dim::Named("n"), Dim::Fixed(2)]);
            let (half, again) = (g.scalar(0.5), g.scalar(0.5));
            assert_eq!(half, again);
            assert_eq!(g.ints(&[1, -1]), g.ints(&[1, -1]));
            let y = g.op("Mul", &[&x, &half], &[]);
            g.output("y", &y, Element::F32, &[Dim::Named("n"), Dim::Fixed(2)]);
            assert_eq!(g.graph.initializers.len(), 2);
            g.finish().unwrap()
        };
        assert_eq!(build(), build());
        let model = proto::Model::decode(&build()[..]).unwrap();
        assert_eq!(model.opset_imports.len(), 2);
        let graph = model.graph.unwrap();
        assert_eq!((graph.nodes.len(), graph.outputs[0].name.as_str()), (2, "y"));
    }
}
