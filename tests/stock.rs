//! The stock exports that the benches build for themselves are what torch.onnx exports: the same graph, up
//! to the names of its values, and the same answers.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, dead_code)]

#[path = "../benches/stock/mod.rs"]
mod stock;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use prost::Message;
use squeezeflow::config::settings::{Model as ModelSettings, Provider, ProviderKind};
use squeezeflow::text::Tokens;
use stock::Size;
use stock::checkpoint::Architecture;
use stock::proto::{Graph, Model};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> Model {
    Model::decode(&std::fs::read(here(path)).unwrap()[..]).unwrap()
}

/// Parameters of a real export, by their names in the checkpoint and as they are there. It keeps a matrix
/// that it turned over under a number; the bias that is added after it has the name.
fn parameters(graph: &Graph) -> HashMap<String, Vec<f32>> {
    let floats =
        |raw: &[u8]| raw.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let mut all: HashMap<String, Vec<f32>> = graph
        .initializers
        .iter()
        .filter(|t| t.element == 1)
        .map(|t| (t.name.clone(), floats(&t.raw)))
        .collect();
    for node in graph.nodes.iter().filter(|node| node.op == "MatMul") {
        let Some(matrix) = graph.initializers.iter().find(|t| t.name == node.inputs[1]) else { continue };
        let add = graph.nodes.iter().find(|add| add.op == "Add" && add.inputs[0] == node.outputs[0]).unwrap();
        let name = add.inputs[1].strip_suffix("bias").unwrap().to_owned() + "weight";
        let (width, out) = (matrix.shape[0] as usize, matrix.shape[1] as usize);
        let values = &all[&matrix.name];
        let turned = (0..out * width).map(|i| values[i % width * out + i / width]).collect();
        all.insert(name, turned);
    }
    all
}

/// Each node with its attributes, and its inputs by what they are: an input of the graph, a constant's
/// content, or the number of the node that made them.
fn canonical(graph: &Graph) -> Vec<String> {
    let mut known: HashMap<&str, String> =
        graph.inputs.iter().map(|i| (i.name.as_str(), format!("input {}", i.name))).collect();
    for tensor in &graph.initializers {
        let sum = tensor.raw.iter().fold(7_u64, |h, b| h.wrapping_mul(1_000_003) ^ u64::from(*b));
        known.insert(&tensor.name, format!("constant {} {:?} {sum:x}", tensor.element, tensor.shape));
    }
    let mut lines = Vec::new();
    for (number, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<&str> = node.inputs.iter().map(|i| known[i.as_str()].as_str()).collect();
        let mut attributes = node.attributes.clone();
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        lines.push(format!("{} {inputs:?} {attributes:?}", node.op));
        known.insert(&node.outputs[0], format!("node {number}"));
    }
    let output = graph.outputs.iter().map(|o| format!("output {} {:?}", known[o.name.as_str()], o.r#type));
    lines.extend(output);
    lines
}

/// What a session of ours, with this graph in a package, says of rows of several lengths.
fn answers(model: &Model, package: &str) -> Vec<Vec<f32>> {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(here(package).join(file), dir.path().join(file)).unwrap();
    }
    std::fs::write(dir.path().join("model.onnx"), model.encode_to_vec()).unwrap();
    let settings = ModelSettings {
        path: dir.path().to_owned(),
        provider: Provider { kind: ProviderKind::Cpu, options: BTreeMap::new() },
        fallback: Vec::new(),
        sessions: NonZeroUsize::MIN,
        threads: NonZeroUsize::MIN,
        library: None,
        max_length: None,
    };
    let mut session = squeezeflow::model::load(&settings).expect("make onnxruntime").sessions.swap_remove(0);
    let row = |n: u32| Tokens::new((0..=3 * n + 1).map(|i| (i * 37 + n) % 790 + 5).collect(), 1);
    let rows: Vec<Tokens> = (0..7).map(row).collect();
    let outputs = session.infer(&rows.iter().collect::<Vec<_>>()).unwrap();
    outputs.into_iter().map(|output| output.logits).collect()
}

fn is_built(architecture: Architecture, package: &str, export: &str, size: &Size) {
    let real = read(export);
    let graph = real.graph.as_ref().unwrap();
    let known = parameters(graph);
    let mut asked = Vec::new();
    let mut weights = |name: &str, shape: &[usize]| {
        asked.push(name.to_owned());
        let values = known.get(name).unwrap_or_else(|| panic!("{name}")).clone();
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        values
    };
    let built = architecture.graph(size, &mut weights);
    assert_eq!((built.ir_version, &built.operator_sets), (real.ir_version, &real.operator_sets));
    let (ours, theirs) = (canonical(built.graph.as_ref().unwrap()), canonical(graph));
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "node {number}");
    }
    assert_eq!(ours.len(), theirs.len());
    let (ours, theirs) = (answers(&built, package), answers(&real, package));
    assert_eq!(ours.len(), 7);
    assert_eq!(ours, theirs);
    assert!(ours.iter().flatten().any(|logit| logit.abs() > 0.1), "{ours:?}");
}

#[test]
fn squeezebert_is_torchs_export() {
    let size = Size {
        vocabulary: 1000,
        positions: 128,
        types: 2,
        hidden: 32,
        layers: 2,
        heads: 4,
        intermediate: 64,
        groups: 4,
        labels: 3,
    };
    is_built(
        Architecture::SqueezeBert,
        "tests/packages/tiny-squeezebert",
        "tests/golden/stock-squeezebert.onnx",
        &size,
    );
}

#[test]
fn bert_is_torchs_export() {
    let size = Size {
        vocabulary: 800,
        positions: 128,
        types: 2,
        hidden: 32,
        layers: 2,
        heads: 4,
        intermediate: 64,
        groups: 1,
        labels: 5,
    };
    is_built(
        Architecture::Bert,
        "tests/packages/tiny-bert",
        "tests/packages/tiny-bert/onnx/model.onnx",
        &size,
    );
}

/// Random weights whose errors would show: none alike, biases and norms among them.
#[test]
fn random_weights_are_not_trivial() {
    let all = stock::weights::random("transformer.encoder.layers.0.attention.query.weight", &[64, 16, 1]);
    let mean = all.iter().sum::<f32>() / all.len() as f32;
    let spread = (all.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / all.len() as f32).sqrt();
    assert!(mean.abs() < 0.03 && (spread - 0.3).abs() < 0.03, "{mean} {spread}");
    let norm = stock::weights::random("transformer.encoder.layers.0.output.layernorm.weight", &[64]);
    assert!(norm.iter().all(|v| (0.2..1.8).contains(v)) && norm.iter().any(|v| *v != 1.0));
    let bias = stock::weights::random("transformer.encoder.layers.0.output.layernorm.bias", &[64]);
    assert!(bias.iter().all(|v| v.abs() < 0.4) && bias.iter().any(|v| v.abs() > 0.05));
}
