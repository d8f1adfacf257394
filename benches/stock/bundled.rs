//! The bundled model's weights, as a stock export wants them. tools/convert.py had taken them apart: each
//! group of a convolution by itself, turned over, as fp16.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use prost::Message;

use super::checkpoint::{Architecture, write_with};
use super::proto::{Model, Tensor};
use super::{BASE, Size};

/// A stock export of the bundled model's weights, and a checkpoint of them.
///
/// # Panics
/// When the package is of another kind than the one that this can read.
pub fn export() -> (PathBuf, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = root.join("models/sentiment-portable");
    let size = Size { hidden: 384, layers: 6, intermediate: 1_536, ..BASE };
    let mut weights = weights(&package).expect("models/sentiment-portable is as tools/convert.py writes it");
    let dir = root.join("target/bench/sentiment");
    write_with(&dir, Architecture::SqueezeBert, &size, &package, &mut weights).expect("target can be written")
}

/// Its parameters by their names in the checkpoint. `None`: the package is of another kind than the one
/// that this can read.
pub fn weights(package: &Path) -> Option<impl FnMut(&str, &[usize]) -> Vec<f32> + use<>> {
    let model = Model::decode(&std::fs::read(package.join("model.onnx")).ok()?[..]).ok()?;
    let all: HashMap<String, Tensor> =
        model.graph?.initializers.into_iter().map(|t| (t.name.clone(), t)).collect();
    if !all.contains_key("transformer.encoder.layers.0.attention.query.weight.0") {
        return None;
    }
    Some(move |name: &str, shape: &[usize]| match shape {
        [_] => floats(&all[name]),
        _ if name.contains("embeddings") => floats(&all[name]),
        _ => {
            let groups = (0..).map_while(|g| all.get(&format!("{name}.{g}")));
            groups.chain(all.get(name)).flat_map(turned).collect()
        }
    })
}

/// `[in, out]` to `[out, in]`.
fn turned(tensor: &Tensor) -> Vec<f32> {
    let (values, out) = (floats(tensor), tensor.shape[1] as usize);
    (0..out).flat_map(|o| values.iter().skip(o).step_by(out).copied().collect::<Vec<_>>()).collect()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    match tensor.element {
        1 => tensor.raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        10 => tensor.raw.chunks_exact(2).map(|b| half(u16::from_le_bytes([b[0], b[1]]))).collect(),
        other => panic!("{} has elements of type {other}", tensor.name),
    }
}

/// IEEE 754's half precision.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 0x1f, f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        e => (1.0 + fraction / 1024.0) * 2.0_f32.powi(i32::from(e) - 15),
    };
    if sign == 1 { -size } else { size }
}
