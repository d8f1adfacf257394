//! Checkpoints in Hugging Face layout: both files of weights say the same, and what is wrong with one
//! is named, whoever made it.

use std::path::Path;

use half::bf16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use squeezeflow::compile::{Checkpoint, CheckpointError, Head};
use squeezeflow::fate::Fate;

use super::here;

const TINY: &str = "tests/checkpoints/tiny-squeezebert";
const EMBEDDINGS: &str = "embeddings.word_embeddings.weight";

/// A folder with the tiny checkpoint's configuration, changed, and any other files.
pub fn folder(changes: Value, files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let json = std::fs::read(here(TINY).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&json).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn safetensors() -> Vec<u8> {
    std::fs::read(here(TINY).join("model.safetensors")).unwrap()
}

fn torch() -> Vec<u8> {
    std::fs::read(here(&format!("{TINY}.bin"))).unwrap()
}

/// The tiny safetensors file with each tensor kept, left out or made another.
fn changed(change: impl Fn(&str, Dtype, &[u8]) -> Option<(String, Dtype, Vec<u8>)>) -> Vec<u8> {
    let whole = safetensors();
    let parsed = SafeTensors::deserialize(&whole).unwrap();
    let made: Vec<_> = parsed
        .iter()
        .filter_map(|(name, view)| Some((change(name, view.dtype(), view.data())?, view.shape().to_vec())))
        .collect();
    let views = made
        .iter()
        .map(|((name, dtype, data), shape)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn error(dir: &Path) -> String {
    let error = match Checkpoint::open(dir) {
        Err(error) => error,
        Ok(checkpoint) => checkpoint.tensor(EMBEDDINGS).unwrap_err(),
    };
    assert_eq!(error.fate(), Fate::Fatal);
    error.to_string()
}

#[test]
fn both_files_of_weights_say_the_same() {
    let safe = Checkpoint::open(&here(TINY)).unwrap();
    let dir = folder(json!({}), &[("pytorch_model.bin", &torch())]);
    let pickled = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(safe.config, pickled.config);
    assert_eq!((safe.config.head, safe.outputs().unwrap()), (Head::SequenceClassification, 3));
    let bytes = safetensors();
    let names = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(names.len(), 41);
    for (name, view) in names.iter() {
        let name = name.trim_start_matches("transformer.");
        let tensor = safe.tensor(name).unwrap();
        assert_eq!(tensor.shape, view.shape(), "{name}");
        assert_eq!(tensor.data.len(), view.shape().iter().product::<usize>(), "{name}");
        assert!(tensor.data.iter().any(|x| *x != 0.0), "{name}");
        assert_eq!(tensor, pickled.tensor(name).unwrap(), "{name}");
    }
}

#[test]
fn a_grouped_convolution_comes_apart() {
    let tiny = Checkpoint::open(&here(TINY)).unwrap();
    let name = "encoder.layers.1.intermediate.conv1d";
    let whole = tiny.shaped(&format!("{name}.weight"), &[64, 8, 1]).unwrap();
    let apart = tiny.grouped(name, 4, 32, 64).unwrap();
    assert_eq!((apart.inputs, apart.outputs, apart.weights.len(), apart.bias.len()), (8, 16, 4, 64));
    for (output, row) in whole.chunks(8).enumerate() {
        for (input, weight) in row.iter().enumerate() {
            assert_eq!(apart.weights[output / 16][input * 16 + output % 16], *weight);
        }
    }
    let wrong = tiny.grouped(name, 2, 32, 64).unwrap_err();
    assert!(matches!(wrong, CheckpointError::Shape { .. }), "{wrong}");
    let text = wrong.to_string();
    assert!(text.contains("[64, 8]") && text.contains("[64, 16]") && text.contains(name), "{text}");
}

#[test]
fn an_encoder_without_a_head_has_names_without_a_prefix() {
    let bytes = changed(|name, dtype, data| {
        Some((name.strip_prefix("transformer.")?.to_owned(), dtype, data.to_vec()))
    });
    let dir = folder(json!({"architectures": ["SqueezeBertModel"]}), &[("model.safetensors", &bytes)]);
    let (bare, whole) = (Checkpoint::open(dir.path()).unwrap(), Checkpoint::open(&here(TINY)).unwrap());
    assert_eq!((bare.config.head, bare.outputs().unwrap()), (Head::None, 0));
    assert_eq!(bare.tensor(EMBEDDINGS).unwrap(), whole.tensor(EMBEDDINGS).unwrap());
}

#[test]
fn bf16_is_read_too() {
    let name = "classifier.bias";
    let bytes = changed(|found, dtype, data| {
        let brief = |b: &[u8; 4]| bf16::from_f32(f32::from_le_bytes(*b)).to_le_bytes();
        match found == name {
            true => Some((found.into(), Dtype::BF16, data.as_chunks().0.iter().flat_map(brief).collect())),
            false => Some((found.into(), dtype, data.to_vec())),
        }
    });
    let dir = folder(json!({}), &[("model.safetensors", &bytes)]);
    let brief = Checkpoint::open(dir.path()).unwrap().tensor(name).unwrap();
    let exact = Checkpoint::open(&here(TINY)).unwrap().tensor(name).unwrap();
    for (a, b) in brief.data.iter().zip(&exact.data) {
        assert!((a - b).abs() <= b.abs() / 128.0, "{a} {b}");
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let safe = safetensors();
    let good: &[(&str, &[u8])] = &[("model.safetensors", &safe)];
    let of = |changes: Value, files: &[(&str, &[u8])]| error(folder(changes, files).path());
    let has = |message: String, parts: &[&str]| {
        for part in parts {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    };
    has(error(&here("tests/nowhere")), &["is not a folder", "model.safetensors"]);
    has(error(tempfile::tempdir().unwrap().path()), &["has no config.json"]);
    has(of(json!({}), &[]), &["model.safetensors", "pytorch_model.bin"]);
    has(of(json!({}), &[("model.safetensors.index.json", b"{}")]), &["index.json", "several files"]);
    has(of(json!({"hidden_size": "wide"}), good), &["config.json", "\"wide\""]);
    has(of(json!({"model_type": "bert"}), good), &["config.json", "\"bert\"", "squeezebert"]);
    has(of(json!({}), &[("model.safetensors", &safe[..safe.len() - 1])]), &["model.safetensors", "whole"]);
    has(of(json!({}), &[("model.safetensors", b"")]), &["model.safetensors", "whole"]);
    has(of(json!({}), &[("pytorch_model.bin", &torch()[..5000])]), &["pytorch_model.bin", "whole"]);

    let without = changed(|name, dtype, data| {
        (!name.ends_with(EMBEDDINGS)).then(|| (name.to_owned(), dtype, data.to_vec()))
    });
    has(of(json!({}), &[("model.safetensors", &without)]), &["has no tensor", EMBEDDINGS]);
    let other = |to: Dtype, byte: u8| {
        changed(move |name, dtype, data| {
            let dtype = if name.ends_with(EMBEDDINGS) { to } else { dtype };
            let byte = |b: &u8| if name.ends_with(EMBEDDINGS) { byte } else { *b };
            Some((name.to_owned(), dtype, data.iter().map(byte).collect()))
        })
    };
    has(of(json!({}), &[("model.safetensors", &other(Dtype::I16, 0))]), &["I16", EMBEDDINGS]);
    has(of(json!({}), &[("model.safetensors", &other(Dtype::F16, 0xff))]), &["NaN", EMBEDDINGS]);
}

/// A view can stand for any number of numbers, and is refused before they are made.
#[test]
fn a_tensor_larger_than_its_file_is_refused() {
    let mut bytes = torch();
    // The pickle is the archive's first entry; its length and checksum stand in the header before it.
    let field = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (length, checksum) = (field(&bytes, 18) as usize, field(&bytes, 14));
    let start = 30 + usize::from(bytes[26]) + usize::from(bytes[28]);
    assert_eq!(crc32(&bytes[start..start + length]), checksum);
    // The word table is 1000 by 32: now it says 65,535 by 32, each row the same (stride 0).
    let (shape, strides) = (b"M\xe8\x03K \x86q1K K\x01\x86", b"M\xff\xffK \x86q1K\0K\x01\x86");
    let at = bytes.windows(shape.len()).position(|w| w == shape).unwrap();
    bytes[at..at + shape.len()].copy_from_slice(strides);
    let (old, new) = (checksum.to_le_bytes(), crc32(&bytes[start..start + length]).to_le_bytes());
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == old).collect();
    assert_eq!(places.len(), 2, "before the pickle, and in the directory");
    for place in places {
        bytes[place..place + 4].copy_from_slice(&new);
    }
    let dir = folder(json!({"vocab_size": 65_535}), &[("pytorch_model.bin", &bytes)]);
    let message = error(dir.path());
    assert!(message.contains("4194240 bytes") && message.contains(EMBEDDINGS), "{message}");
}

/// As zip archives have it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn labels_are_as_many_as_the_head_has_outputs() {
    let safe = safetensors();
    let dir = folder(json!({"id2label": {"0": "a", "1": "b"}}), &[("model.safetensors", &safe)]);
    let error = Checkpoint::open(dir.path()).unwrap().outputs().unwrap_err().to_string();
    assert!(error.contains("3 outputs") && error.contains("2 labels"), "{error}");
}

/// A pickle that calls what it should not call is refused, and not called.
#[test]
fn a_pickle_is_never_executed() {
    let dir = folder(json!({}), &[]);
    let trace = dir.path().join("trace");
    let command = format!("touch {}", trace.display()).into_bytes();
    let mut bytes = b"\x80\x02cposix\nsystem\nX".to_vec();
    bytes.extend(u32::try_from(command.len()).unwrap().to_le_bytes());
    bytes.extend(command);
    bytes.extend(b"\x85R.");
    std::fs::write(dir.path().join("pytorch_model.bin"), &bytes).unwrap();
    let message = error(dir.path());
    assert!(message.contains("pytorch_model.bin") || message.contains("no tensor"), "{message}");
    assert!(!trace.exists());
}

/// Bytes turned over one at a time, all through the structured parts of both files: an error or the
/// tensors, and no panic.
#[test]
fn broken_bytes_are_an_error_or_nothing() {
    let (safe, torch) = (safetensors(), torch());
    let dir = folder(json!({}), &[]);
    let mut refused = 0;
    for (name, whole, step) in [("model.safetensors", &safe, 17), ("pytorch_model.bin", &torch, 401)] {
        let file = dir.path().join(name);
        // A safetensors header is 4 kB of JSON; the rest is numbers.
        let end = if name.starts_with("model") { 4096 } else { whole.len() };
        for at in (0..end).step_by(step) {
            let mut bent = whole.clone();
            bent[at] ^= 0x5a;
            std::fs::write(&file, &bent).unwrap();
            let read = Checkpoint::open(dir.path()).and_then(|c| c.tensor(EMBEDDINGS));
            refused += usize::from(read.is_err());
        }
        std::fs::remove_file(&file).unwrap();
    }
    assert!(refused > 100, "{refused}");
}
