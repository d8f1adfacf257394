//! Packages whose model is out of order, or slow, written by hand, byte by byte (protobuf). The model is the
//! mean over a text's tokens of one row of weights each; the word `mandragora` does something to it.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::here;
use crate::support::process::scratch;

const VOCABULARY: usize = 1000;
const LABELS: usize = 3;
const SLOW_ROUNDS: i64 = 20_000;
const FLOAT: u64 = 1;
const INT64: u64 = 7;
const BOOL: u64 = 9;

/// What the word does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quirk {
    /// Its row of weights is NaN.
    Nan,
    /// The graph goes round and round.
    Hangs,
    /// It always goes round some ten thousand times: no word is needed.
    Slow,
    /// Every row is NaN: no word is needed.
    AllNan,
}

/// A package with tiny-squeezebert's configuration and tokenizer, which also knows the word.
pub fn package(quirk: Quirk) -> PathBuf {
    let (from, to) = (here("tests/packages/tiny-squeezebert"), scratch("package"));
    for file in ["config.json", "tokenizer_config.json"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let tokenizer = std::fs::read_to_string(from.join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&tokenizer).unwrap();
    tokenizer["model"]["vocab"]["mandragora"] = VOCABULARY.into();
    std::fs::write(to.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(to.join("model.onnx"), model(quirk)).unwrap();
    to
}

/// `ModelProto`: IR version 8, operator set 13.
fn model(quirk: Quirk) -> Vec<u8> {
    let value = |row: usize| match quirk {
        Quirk::AllNan => f32::NAN,
        Quirk::Nan if row == VOCABULARY => f32::NAN,
        _ => (row % 7) as f32 - 3.0,
    };
    let weights = (0..=VOCABULARY).flat_map(|row| (0..LABELS).map(move |label| value(row) * label as f32));
    let weights: Vec<u8> = weights.flat_map(f32::to_le_bytes).collect();
    let loops = matches!(quirk, Quirk::Hangs | Quirk::Slow);
    let mean = if loops { "mean" } else { "logits" };
    let mut graph = [
        tensor("weights", FLOAT, &[VOCABULARY + 1, LABELS], &weights),
        node(&["weights", "input_ids"], "rows", "Gather", &[]),
        node(&["rows"], mean, "ReduceMean", &[integers("axes", 1), integer("keepdims", 0)]),
    ]
    .concat();
    if quirk == Quirk::Slow {
        graph.extend(tensor("rounds", INT64, &[], &SLOW_ROUNDS.to_le_bytes()));
    }
    if quirk == Quirk::Hangs {
        // As many rounds as the word is there times 2^50: none, or for ever.
        graph.extend(tensor("word", INT64, &[], &(VOCABULARY as i64).to_le_bytes()));
        graph.extend(tensor("many", INT64, &[], &(1_i64 << 50).to_le_bytes()));
        graph.extend(node(&["input_ids", "word"], "is", "Equal", &[]));
        graph.extend(node(&["is"], "ones", "Cast", &[integer("to", INT64)]));
        graph.extend(node(&["ones"], "any", "ReduceMax", &[integer("keepdims", 0)]));
        graph.extend(node(&["any", "many"], "rounds", "Mul", &[]));
    }
    if loops {
        let body = [
            bytes(2, "body"),
            node(&["go"], "go_on", "Identity", &[]),
            node(&["x"], "y", "Identity", &[]),
            bytes(11, shaped("round", INT64, &[])),
            bytes(11, shaped("go", BOOL, &[])),
            bytes(11, shaped("x", FLOAT, &["n", "labels"])),
            bytes(12, shaped("go_on", BOOL, &[])),
            bytes(12, shaped("y", FLOAT, &["n", "labels"])),
        ];
        let body = [bytes(1, "body"), bytes(6, body.concat()), number(20, 5)].concat();
        graph.extend(node(&["rounds", "", "mean"], "logits", "Loop", &[body]));
    }
    graph.extend(bytes(2, "quirk"));
    graph.extend(bytes(11, shaped("input_ids", INT64, &["n", "m"])));
    graph.extend(bytes(12, shaped("logits", FLOAT, &["n", "labels"])));
    [number(1, 8), bytes(7, graph), bytes(8, number(2, 13))].concat()
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

/// An initializer of a graph: its field 5.
fn tensor(name: &str, element: u64, shape: &[usize], raw: &[u8]) -> Vec<u8> {
    let shape: Vec<u8> = shape.iter().flat_map(|n| number(1, *n as u64)).collect();
    bytes(5, [shape, number(2, element), bytes(8, name), bytes(9, raw)].concat())
}

/// A node of a graph: its field 1.
fn node(inputs: &[&str], output: &str, op: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i)).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|a| bytes(5, a)).collect();
    bytes(1, [inputs, bytes(2, output), bytes(3, output), bytes(4, op), attributes].concat())
}

fn integer(name: &str, value: u64) -> Vec<u8> {
    [bytes(1, name), number(3, value), number(20, 2)].concat()
}

fn integers(name: &str, value: u64) -> Vec<u8> {
    [bytes(1, name), number(8, value), number(20, 7)].concat()
}

/// `ValueInfoProto` of a tensor with free dimensions of these names.
fn shaped(name: &str, element: u64, dimensions: &[&str]) -> Vec<u8> {
    let shape: Vec<u8> = dimensions.iter().flat_map(|d| bytes(1, bytes(2, d))).collect();
    [bytes(1, name), bytes(2, bytes(1, [number(1, element), bytes(2, shape)].concat()))].concat()
}
