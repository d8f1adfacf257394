//! What we must know of an ONNX file before anything loads it: operators, external data, inputs and
//! outputs. The file is hashed on the way, so that what was read is what the digest stands for.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use prost::Message;

use super::hashing::HashingBuf;
use super::proto::{Graph, Model, Node, Tensor, ValueInfo};

/// The facts of a graph.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Operator types, those in subgraphs and local functions included.
    pub operators: BTreeSet<String>,
    /// Files that hold tensors, as the graph writes them.
    pub external: BTreeSet<String>,
    /// Some operator that computes reads a stored fp16 tensor: the arithmetic is fp16.
    pub half_arithmetic: bool,
    /// Inputs that the caller must feed.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
}

/// An input or output of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// As the graph calls it.
    pub name: String,
    /// ONNX's `TensorProto.DataType`: 1 float32, 6 int32, 7 int64, 10 float16; 0 where unknown.
    pub element: i32,
    /// `None` for what is known at run time only.
    pub shape: Vec<Option<i64>>,
}

impl Port {
    /// The element type's name.
    pub fn element_name(&self) -> &'static str {
        match self.element {
            1 => "float32",
            6 => "int32",
            7 => "int64",
            10 => "float16",
            _ => "other",
        }
    }
}

const FLOAT16: i32 = 10;
const EXTERNAL: i32 = 1;

/// Reads a file's facts, its size in bytes and its sha256 (hex), in one pass.
pub(super) fn read(path: &Path) -> io::Result<(Facts, u64, String)> {
    let mut stream = HashingBuf::open(path)?;
    let model = Model::decode(&mut stream);
    let (size, sha256) = stream.finish()?;
    Ok((facts_of(model)?, size, sha256))
}

/// The facts of a model in memory.
pub(super) fn facts(model: &[u8]) -> io::Result<Facts> {
    facts_of(Model::decode(model))
}

fn facts_of(model: Result<Model, prost::DecodeError>) -> io::Result<Facts> {
    let model = model.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let graph = model.graph.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no graph in it"))?;
    let mut facts = Facts::default();
    facts.add_graph(&graph);
    for function in &model.functions {
        facts.add_nodes(&function.nodes, &mut BTreeSet::new());
    }
    // Old exporters list initializers among the inputs: those need no feeding.
    let stored: BTreeSet<&str> = graph.initializers.iter().map(|t| t.name.as_str()).collect();
    facts.inputs =
        graph.inputs.iter().filter(|v| !stored.contains(v.name.as_str())).map(Port::from).collect();
    facts.outputs = graph.outputs.iter().map(Port::from).collect();
    Ok(facts)
}

impl Facts {
    fn add_graph(&mut self, graph: &Graph) {
        let mut half = BTreeSet::new();
        let sparse = graph.sparse.iter().flat_map(|s| s.values.iter().chain(&s.indices));
        for tensor in graph.initializers.iter().chain(sparse) {
            self.add_tensor(tensor);
            if tensor.data_type == FLOAT16 {
                half.insert(tensor.name.as_str());
            }
        }
        self.add_nodes(&graph.nodes, &mut half);
    }

    fn add_nodes<'a>(&mut self, nodes: &'a [Node], half: &mut BTreeSet<&'a str>) {
        for node in nodes {
            self.operators.insert(node.op_type.clone());
            for attribute in &node.attributes {
                for tensor in attribute.tensor.iter().chain(&attribute.tensors) {
                    self.add_tensor(tensor);
                    if tensor.data_type == FLOAT16 && node.op_type == "Constant" {
                        half.extend(node.outputs.iter().map(String::as_str));
                    }
                }
                let sparse = attribute.sparse.iter().chain(&attribute.sparses);
                for tensor in sparse.flat_map(|s| s.values.iter().chain(&s.indices)) {
                    self.add_tensor(tensor);
                }
                for graph in attribute.graph.iter().chain(&attribute.graphs) {
                    self.add_graph(graph);
                }
            }
            if node.inputs.iter().any(|name| half.contains(name.as_str())) {
                match node.op_type.as_str() {
                    "Cast" => {}
                    // Rows of a table that is stored so.
                    "Gather" | "Identity" => half.extend(node.outputs.iter().map(String::as_str)),
                    _ => self.half_arithmetic = true,
                }
            }
        }
    }

    fn add_tensor(&mut self, tensor: &Tensor) {
        let location = tensor.external_data.iter().find(|e| e.key == "location");
        match location {
            Some(entry) => drop(self.external.insert(entry.value.clone())),
            // Says that it is elsewhere but not where: an empty location is refused by the package.
            None if tensor.data_location == EXTERNAL => drop(self.external.insert(String::new())),
            None => {}
        }
    }
}

impl From<&ValueInfo> for Port {
    fn from(value: &ValueInfo) -> Self {
        let tensor = value.r#type.as_ref().and_then(|t| t.tensor.as_ref());
        let dims = tensor.and_then(|t| t.shape.as_ref()).map_or(&[][..], |s| &s.dims);
        Self {
            name: value.name.clone(),
            element: tensor.map_or(0, |t| t.element),
            shape: dims.iter().map(|d| d.value.filter(|&v| v > 0)).collect(),
        }
    }
}
