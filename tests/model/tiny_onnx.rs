//! A classifier small enough to be written by hand, byte by byte (protobuf): the mean over a text's
//! tokens of one row of weights each, `logits = ReduceMean(Gather(weights, input_ids), 1)`. Its
//! weights lie in a file of their own, unless it is told otherwise. It takes no mask; or it does, and then it gives
//! the highest of what is not masked.

use std::path::Path;

use super::here;

pub const VOCABULARY: usize = 800;
pub const LABELS: usize = 5;

/// What to write.
pub struct Graph<'a> {
    /// Where the weights are said to be.
    pub location: &'a str,
    /// The name of the input.
    pub input: &'a str,
    /// ONNX element type of the input: 7 int64, 6 int32.
    pub element: u64,
    /// Columns that the output is declared to have.
    pub declared: usize,
    /// The name of the output.
    pub output: &'a str,
    /// Weights that are in the graph, each so much more than in the file.
    pub inside: Option<f32>,
    /// Does it take a mask?
    pub mask: bool,
    /// Version of ONNX's operators.
    pub opset: u64,
    /// Operators of this type are added, as nodes that nobody reads. Not to be run.
    pub extra: Option<&'a str>,
}

impl Default for Graph<'_> {
    fn default() -> Self {
        Self {
            location: "weights.bin",
            input: "input_ids",
            element: 7,
            declared: LABELS,
            output: "logits",
            inside: None,
            mask: false,
            opset: 13,
            extra: None,
        }
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn bytes(tag: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(tag << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// `ValueInfoProto` of a two-dimensional tensor; 0: a free dimension.
fn value(name: &str, element: u64, columns: usize) -> Vec<u8> {
    let free = bytes(1, bytes(2, "n"));
    let columns = if columns == 0 { bytes(1, bytes(2, "m")) } else { bytes(1, number(1, columns as u64)) };
    let tensor = [number(1, element), bytes(2, [free, columns].concat())].concat();
    [bytes(1, name), bytes(2, bytes(1, tensor))].concat()
}

/// `NodeProto` with integer attributes: (name, type, encoded value).
fn node(inputs: &[&str], output: &str, op: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i)).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|a| bytes(5, a)).collect();
    [inputs, bytes(2, output), bytes(3, op), bytes(4, op), attributes].concat()
}

impl Graph<'_> {
    /// `ModelProto`.
    pub fn encode(&self) -> Vec<u8> {
        let entry = |key: &str, value: &str| bytes(13, [bytes(1, key), bytes(2, value)].concat());
        let stored = match self.inside {
            Some(more) => bytes(9, numbers(more)),
            None => [entry("location", self.location), number(14, 1)].concat(),
        };
        let weights = [
            number(1, VOCABULARY as u64),
            number(1, LABELS as u64),
            number(2, 1),
            bytes(8, "weights"),
            stored,
        ];
        let axes = [bytes(1, "axes"), number(8, 1), number(20, 7)].concat();
        let keep = [bytes(1, "keepdims"), number(3, 0), number(20, 2)].concat();
        let mut graph = vec![bytes(1, node(&["weights", self.input], "rows", "Gather", &[]))];
        if self.mask {
            let to = [bytes(1, "to"), number(3, 1), number(20, 2)].concat();
            let last = [number(1, 1), number(2, 7), bytes(8, "last"), bytes(9, 2_i64.to_le_bytes())].concat();
            graph.extend([
                bytes(1, node(&["attention_mask"], "kept", "Cast", &[to])),
                bytes(1, node(&["kept", "last"], "column", "Unsqueeze", &[])),
                bytes(1, node(&["rows", "column"], "masked", "Mul", &[])),
                bytes(1, node(&["masked"], self.output, "ReduceMax", &[axes, keep])),
                bytes(5, last),
                bytes(11, value("attention_mask", self.element, 0)),
            ]);
        } else {
            graph.push(bytes(1, node(&["rows"], self.output, "ReduceMean", &[axes, keep])));
        }
        graph.extend([
            bytes(2, "tiny"),
            bytes(5, weights.concat()),
            bytes(11, value(self.input, self.element, 0)),
            bytes(12, value(self.output, 1, self.declared)),
        ]);
        if let Some(op) = self.extra {
            graph.insert(1, bytes(1, node(&["rows"], "unread", op, &[])));
        }
        [number(1, 8), bytes(7, graph.concat()), bytes(8, number(2, self.opset))].concat()
    }

    /// A package with this graph under `graph_dir` and tiny-bert's configuration and tokenizer.
    pub fn package(&self, graph_dir: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(here("tests/packages/tiny-bert").join(file), dir.path().join(file)).unwrap();
        }
        std::fs::create_dir_all(dir.path().join(graph_dir)).unwrap();
        std::fs::write(dir.path().join(graph_dir).join("model.onnx"), self.encode()).unwrap();
        dir
    }
}

/// Weights that tell rows and labels apart.
pub fn write_weights(path: &Path) {
    std::fs::write(path, numbers(0.0)).unwrap();
}

fn numbers(more: f32) -> Vec<u8> {
    let rows = (0..VOCABULARY).flat_map(|row| (0..LABELS).map(move |label| (row + label * 1000) as f32));
    rows.flat_map(|number| (number + more).to_le_bytes()).collect()
}
