//! Graphs made of checkpoints against Hugging Face transformers' answers, and against each other.

use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use squeezeflow::compile::portable::{self, Arithmetic};
use squeezeflow::compile::{Checkpoint, packed, reference};
use squeezeflow::config::settings::LongText;
use squeezeflow::model::{Package, Probe, Rewriting};
use squeezeflow::text::{TextTokenizer, Tokens};

use super::golden::{read, rows};
use super::{checkpoints, here};

const TINY: &str = "tests/checkpoints/tiny-squeezebert";

/// The texts of a golden file, as the package's tokenizer reads them, and transformers' logits.
pub fn golden(package: &str, name: &str) -> Vec<(Tokens, Vec<f32>)> {
    let package = Package::open(&here(package)).unwrap();
    let tokenizer = TextTokenizer::new(&package, package.max_length, LongText::Truncate).unwrap();
    let row = |row: Value| {
        let logits = row["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32);
        Some((read(&tokenizer, row["text"].as_str().unwrap())?.0, logits.collect()))
    };
    rows(name).into_iter().filter_map(row).collect()
}

pub fn worst<'a>(pairs: impl Iterator<Item = (&'a Vec<f32>, &'a Vec<f32>)>) -> f32 {
    pairs.fold(0.0, |worst, (a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).fold(worst, |worst, (a, b)| worst.max((a - b).abs()))
    })
}

/// The largest difference to transformers, each text alone, and in batches of seven.
pub fn difference(graph: &[u8], rewriting: Rewriting, golden: &[(Tokens, Vec<f32>)]) -> f32 {
    let mut probe = Probe::new(graph, rewriting, None).unwrap();
    assert_eq!(probe.outputs().collect::<Vec<_>>(), ["logits"]);
    let mut most = 0.0_f32;
    for size in [1, 7] {
        for part in golden.chunks(size) {
            let batch: Vec<&Tokens> = part.iter().map(|(tokens, _)| tokens).collect();
            let answers = probe.run(&batch, 0).unwrap();
            most = most.max(worst(answers.iter().map(|a| &a[0]).zip(part.iter().map(|(_, logits)| logits))));
        }
    }
    most
}

fn equals_transformers(checkpoint: &Checkpoint, golden: &[(Tokens, Vec<f32>)]) {
    assert!(golden.len() > 20);
    let straight = reference::build(checkpoint).unwrap();
    let off = difference(&straight, Rewriting::None, golden);
    assert!(off < 2e-5, "reference: {off}");
    let wide = difference(&portable::build(checkpoint, Arithmetic::F32).unwrap(), Rewriting::All, golden);
    assert!(wide < 2e-5, "portable fp32: {wide}");
    let half = difference(&portable::build(checkpoint, Arithmetic::F16).unwrap(), Rewriting::All, golden);
    assert!(half < 2e-2, "portable fp16: {half}");
    let _ = writeln!(
        std::io::stderr(),
        "{}: reference {off:e}, fp32 {wide:e}, fp16 {half:e}",
        checkpoint.dir.display()
    );
}

#[test]
fn graphs_of_a_checkpoint_answer_as_transformers_does() {
    let checkpoint = Checkpoint::open(&here(TINY)).unwrap();
    equals_transformers(&checkpoint, &golden("tests/packages/tiny-squeezebert", "tiny-squeezebert"));
}

/// The bundled model was made of a checkpoint that is not in this repository.
#[test]
fn graphs_of_the_bundled_models_checkpoint_answer_as_transformers_does() {
    let shared = std::env::var_os("SQUEEZEFLOW_SHARED").map_or_else(|| here("../shared"), PathBuf::from);
    let dir = shared.join("models/squeezebert-mini-sst2");
    if !dir.is_dir() {
        let _ = writeln!(
            std::io::stderr(),
            "\n*** SKIPPED: {} is not there, so the compiler was NOT tried on the bundled model's checkpoint. Set SQUEEZEFLOW_SHARED. ***\n",
            dir.display()
        );
        return;
    }
    let mut checkpoint = Checkpoint::open(&dir).unwrap();
    // As the bundled package stores them, and the golden file was made.
    checkpoint.round_to_f16();
    equals_transformers(&checkpoint, &golden("models/sentiment-portable", "sentiment"));
}

/// A small checkpoint of any shape, its weights all different and none trivial.
pub fn random(config: Value) -> tempfile::TempDir {
    let get = |key: &str, or: u64| config.get(key).and_then(Value::as_u64).unwrap_or(or) as usize;
    let (hidden, inner) = (get("hidden_size", 0), get("intermediate_size", 0));
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| tensors.push((name, shape.to_vec()));
    let norm = |add: &mut dyn FnMut(String, &[usize]), name: &str| {
        add(format!("{name}.weight"), &[hidden]);
        add(format!("{name}.bias"), &[hidden]);
    };
    let head = config["architectures"][0].as_str().unwrap().to_owned();
    let prefix = if head == "SqueezeBertModel" { "" } else { "transformer." };
    for (table, entries) in
        [("word", "vocab_size"), ("position", "max_position_embeddings"), ("token_type", "type_vocab_size")]
    {
        add(format!("{prefix}embeddings.{table}_embeddings.weight"), &[get(entries, 2), hidden]);
    }
    norm(&mut add, &format!("{prefix}embeddings.LayerNorm"));
    for layer in 0..get("num_hidden_layers", 0) {
        let convs = [
            ("attention.query", "q_groups", hidden, hidden),
            ("attention.key", "k_groups", hidden, hidden),
            ("attention.value", "v_groups", hidden, hidden),
            ("post_attention.conv1d", "post_attention_groups", hidden, hidden),
            ("intermediate.conv1d", "intermediate_groups", hidden, inner),
            ("output.conv1d", "output_groups", inner, hidden),
        ];
        let name = format!("{prefix}encoder.layers.{layer}");
        for (conv, groups, inputs, outputs) in convs {
            add(format!("{name}.{conv}.weight"), &[outputs, inputs / get(groups, 1), 1]);
            add(format!("{name}.{conv}.bias"), &[outputs]);
        }
        norm(&mut add, &format!("{name}.post_attention.layernorm"));
        norm(&mut add, &format!("{name}.output.layernorm"));
    }
    let mut dense = |name: &str, outputs: usize| {
        add(format!("{name}.weight"), &[outputs, hidden]);
        add(format!("{name}.bias"), &[outputs]);
    };
    dense(&format!("{prefix}pooler.dense"), hidden);
    match head.as_str() {
        "SqueezeBertForQuestionAnswering" => dense("qa_outputs", 2),
        "SqueezeBertModel" => {}
        _ => dense("classifier", config["id2label"].as_object().unwrap().len()),
    }
    // A small linear congruential generator: the same weights everywhere.
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| {
            let scale = if shape.len() > 1 { 0.3 } else { 0.1 };
            let around = if name.contains("orm.weight") { 1.0 } else { 0.0 };
            (0..shape.iter().product()).flat_map(|_| (around + next() * scale).to_le_bytes()).collect()
        })
        .collect();
    let views = tensors
        .iter()
        .zip(&data)
        .map(|((name, shape), data)| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    checkpoints::folder(config, &[("model.safetensors", &bytes)])
}

/// Groups, widths, heads, layers, labels, with `head` on top.
pub fn shape(
    head: &str,
    groups: [usize; 6],
    hidden: usize,
    inner: usize,
    heads: usize,
    labels: usize,
) -> Value {
    let names: serde_json::Map<String, Value> =
        (0..labels).map(|i| (i.to_string(), json!(format!("l{i}")))).collect();
    json!({
        "architectures": [format!("SqueezeBert{head}")],
        "hidden_size": hidden, "embedding_size": hidden, "intermediate_size": inner,
        "num_attention_heads": heads, "num_hidden_layers": 2, "vocab_size": 50, "type_vocab_size": 2,
        "max_position_embeddings": 24, "id2label": names, "layer_norm_eps": 1e-7,
        "q_groups": groups[0], "k_groups": groups[1], "v_groups": groups[2],
        "post_attention_groups": groups[3], "intermediate_groups": groups[4], "output_groups": groups[5],
    })
}

/// Sequences of all lengths up to the longest.
pub fn sequences(vocabulary: u32, longest: u32) -> Vec<Tokens> {
    let id = |length: u32| (0..length).map(|i| (i * 7 + length * 3) % vocabulary).collect();
    (1..=longest).map(|length| Tokens::new(id(length), length as usize)).collect()
}

/// The same as pairs: the second part of each is of the second segment.
pub fn pairs(vocabulary: u32, longest: u32) -> Vec<Tokens> {
    let pair = |tokens: Tokens| {
        let second = tokens.ids.len() / 3;
        let types = (0..tokens.ids.len()).map(|place| u32::from(place > second)).collect();
        Tokens { types, ..tokens }
    };
    sequences(vocabulary, longest).into_iter().map(pair).collect()
}

pub fn answers(
    graph: &[u8],
    rewriting: Rewriting,
    texts: &[Tokens],
    size: usize,
) -> (Vec<String>, Vec<Vec<Vec<f32>>>) {
    let mut probe = Probe::new(graph, rewriting, None).unwrap();
    let batches = texts.chunks(size).flat_map(|part| probe.run(&part.iter().collect::<Vec<_>>(), 3).unwrap());
    let answers = batches.collect();
    (probe.outputs().map(str::to_owned).collect(), answers)
}

#[test]
fn every_head_and_odd_shape_equals_the_reference() {
    let cases = [
        ("ForSequenceClassification", [4, 4, 4, 1, 4, 4], 32, 64, 4, 1, vec!["logits"]),
        ("ForSequenceClassification", [1, 1, 1, 1, 1, 1], 20, 28, 5, 150, vec!["logits"]),
        ("ForTokenClassification", [2, 1, 4, 2, 4, 1], 24, 40, 3, 5, vec!["logits"]),
        ("ForQuestionAnswering", [2, 2, 2, 3, 6, 2], 36, 48, 6, 2, vec!["start_logits", "end_logits"]),
        ("Model", [4, 2, 1, 1, 2, 4], 16, 32, 1, 2, vec!["last_hidden_state"]),
    ];
    for (head, groups, hidden, inner, heads, labels, outputs) in cases {
        let dir = random(shape(head, groups, hidden, inner, heads, labels));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let texts = [sequences(50, 24), pairs(50, 24)].concat();
        let straight = reference::build(&checkpoint).unwrap();
        let (names, expected) = answers(&straight, Rewriting::None, &texts, 1);
        assert_eq!(names, outputs, "{head}");
        let (alone, second) = expected.split_at(24);
        assert!(worst(alone[23].iter().zip(&second[23])) > 1e-3, "{head}: a pair is another sequence");
        let values: Vec<f32> = expected.iter().flatten().flatten().copied().collect();
        assert!(
            values.iter().all(|x| x.is_finite())
                && worst([(&values, &vec![0.0; values.len()])].into_iter()) > 0.1
        );
        for (arithmetic, limit) in [(Arithmetic::F32, 2e-5), (Arithmetic::F16, 2e-2)] {
            let graph = portable::build(&checkpoint, arithmetic).unwrap();
            for size in [1, 5] {
                let (names, found) = answers(&graph, Rewriting::All, &texts, size);
                assert_eq!(names, outputs, "{head}");
                let off = worst(expected.iter().flatten().zip(found.iter().flatten()));
                assert!(off < limit, "{head} {groups:?} {arithmetic:?} in batches of {size}: {off}");
            }
        }
    }
}

/// A checkpoint that says so is broken or hostile; it must not end the program.
#[test]
fn a_head_without_outputs_is_refused() {
    for head in ["ForSequenceClassification", "ForTokenClassification"] {
        let dir = random(shape(head, [4, 4, 4, 1, 4, 4], 32, 64, 4, 0));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let built = [
            reference::build(&checkpoint),
            portable::build(&checkpoint, Arithmetic::F32),
            packed::build(&checkpoint, packed::Arithmetic::F32),
        ];
        for built in built {
            let error = built.unwrap_err();
            assert!(error.to_string().contains("the classifier has no outputs"), "{head}: {error}");
        }
    }
}

/// The comparison sees what it should see: one bias of one layer moved by a little.
#[test]
fn a_wrong_weight_shows() {
    let dir = random(shape("ForSequenceClassification", [4, 4, 4, 1, 4, 4], 32, 64, 4, 3));
    let right = reference::build(&Checkpoint::open(dir.path()).unwrap()).unwrap();
    let file = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    move_tensor(&mut bytes, "transformer.encoder.layers.0.post_attention.layernorm.bias", 1, 0.05);
    std::fs::write(&file, bytes).unwrap();
    let wrong = portable::build(&Checkpoint::open(dir.path()).unwrap(), Arithmetic::F32).unwrap();
    let texts = sequences(50, 24);
    let (_, expected) = answers(&right, Rewriting::None, &texts, 1);
    let (_, found) = answers(&wrong, Rewriting::All, &texts, 1);
    assert!(worst(expected.iter().flatten().zip(found.iter().flatten())) > 1e-3);
}

/// Adds `by` to the first `count` numbers of an fp32 tensor in a safetensors file.
pub fn move_tensor(bytes: &mut [u8], name: &str, count: usize, by: f32) {
    let (header, metadata) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    let (from, to) = metadata.info(name).unwrap().data_offsets;
    for number in bytes[8 + header + from..8 + header + to].as_chunks_mut().0.iter_mut().take(count) {
        *number = (f32::from_le_bytes(*number) + by).to_le_bytes();
    }
}

/// Weights that fp16 holds are stored as fp16, others in fp32: nothing is rounded in silence.
#[test]
fn storage_is_as_small_as_it_can_be_without_loss() {
    let size = |dir: &Path, round: bool| {
        let mut checkpoint = Checkpoint::open(dir).unwrap();
        if round {
            checkpoint.round_to_f16();
        }
        portable::build(&checkpoint, Arithmetic::F32).unwrap().len()
    };
    let dir = random(shape("ForSequenceClassification", [1; 6], 64, 128, 4, 3));
    let (wide, rounded) = (size(dir.path(), false), size(dir.path(), true));
    assert!(rounded < wide * 6 / 10, "{rounded} of {wide}");
    let half = here(TINY);
    assert_eq!(size(&half, false), size(&half, true), "stored as fp16 in the checkpoint");
}
