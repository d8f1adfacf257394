//! The same weights as a Hugging Face checkpoint, for whoever builds a graph of their own from them; and
//! the stock export as a package.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use serde_json::{Map, Value, json};

use super::weights::random;
use super::{Size, Weights, bert, proto, squeezebert};

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    SqueezeBert,
    Bert,
}

impl Architecture {
    pub fn graph<'a>(self, size: &Size, weights: &'a mut Weights<'a>) -> proto::Model {
        match self {
            Self::SqueezeBert => squeezebert::squeezebert(size, weights),
            Self::Bert => bert::bert(size, weights),
        }
    }

    fn config(self, size: &Size) -> Value {
        let mut config = json!({
            "hidden_size": size.hidden, "num_hidden_layers": size.layers, "num_attention_heads": size.heads,
            "intermediate_size": size.intermediate, "max_position_embeddings": size.positions,
            "vocab_size": size.vocabulary, "type_vocab_size": size.types, "hidden_act": "gelu",
            "layer_norm_eps": 1e-12, "pad_token_id": 0, "problem_type": "single_label_classification",
            "id2label": { "0": "negative", "1": "positive" }, "label2id": { "negative": 0, "positive": 1 },
        });
        match self {
            Self::Bert => {
                config["model_type"] = "bert".into();
                config["architectures"] = json!(["BertForSequenceClassification"]);
            }
            Self::SqueezeBert => {
                config["model_type"] = "squeezebert".into();
                config["architectures"] = json!(["SqueezeBertForSequenceClassification"]);
                config["embedding_size"] = size.hidden.into();
                config["post_attention_groups"] = 1.into();
                for part in ["q", "k", "v", "intermediate", "output"] {
                    config[format!("{part}_groups")] = size.groups.into();
                }
            }
        }
        config
    }
}

/// Writes `DIR/stock` (a package: the stock export) and `DIR/checkpoint` (`model.safetensors`) with the same
/// random weights, unless they are there. `tokenizer` names a folder to copy one from. Gives both.
pub fn write(
    dir: &Path,
    architecture: Architecture,
    size: &Size,
    tokenizer: &Path,
) -> io::Result<(PathBuf, PathBuf)> {
    write_with(dir, architecture, size, tokenizer, &mut random)
}

/// The same with these weights.
pub fn write_with(
    dir: &Path,
    architecture: Architecture,
    size: &Size,
    tokenizer: &Path,
    values: &mut Weights<'_>,
) -> io::Result<(PathBuf, PathBuf)> {
    let (stock, checkpoint) = (dir.join("stock"), dir.join("checkpoint"));
    let done = dir.join("done");
    // Weights are the same as long as the program is; a changed one says so by its time.
    let program = std::env::current_exe()?.metadata()?.modified()?;
    if done.metadata().and_then(|m| m.modified()).is_ok_and(|made| made >= program) {
        return Ok((stock, checkpoint));
    }
    for folder in [&stock, &checkpoint] {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("config.json"), format!("{:#}\n", architecture.config(size)))?;
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(tokenizer.join(file), folder.join(file))?;
        }
    }
    let mut parameters = Vec::new();
    let mut weights = |name: &str, shape: &[usize]| {
        let values = values(name, shape);
        parameters.push((name.to_owned(), shape.to_vec(), values.clone()));
        values
    };
    let model = architecture.graph(size, &mut weights);
    std::fs::write(stock.join("model.onnx"), model.encode_to_vec())?;
    drop(model);
    safetensors(&checkpoint.join("model.safetensors"), &parameters)?;
    std::fs::write(done, "")?;
    Ok((stock, checkpoint))
}

/// Length of the header (8 bytes, little endian), the header (JSON), the values in its order.
fn safetensors(path: &Path, parameters: &[(String, Vec<usize>, Vec<f32>)]) -> io::Result<()> {
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape, values) in parameters {
        let begin = end;
        end += 4 * values.len();
        header.insert(name.clone(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] }));
    }
    header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut header = Value::Object(header).to_string();
    // Tensors are read in place: aligned to eight bytes.
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for (_, _, values) in parameters {
        for value in values {
            file.write_all(&value.to_le_bytes())?;
        }
    }
    file.flush()
}
