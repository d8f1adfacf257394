//! A model package: a folder as Hugging Face users know it, read and verified as a whole before
//! anything of it is loaded.
//!
//! ```text
//! config.json  tokenizer.json  [tokenizer_config.json]  [manifest.json]
//! model.onnx or onnx/model.onnx  [and the external data that it names]
//! [modules.json and the pooling's config.json that it names, of sentence-transformers]
//! ```
//!
//! A plain SqueezeBERT checkpoint serves too: it has `model.safetensors` (or `pytorch_model.bin`), and
//! perhaps the `calibration.json` of a package that was built of it, instead of a graph, which is
//! then built here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use prost::bytes::Bytes;
use serde::de::DeserializeOwned;

use super::error::PackageError;
use super::feed::Layout;
use super::labels::{Config, TokenizerConfig};
use super::manifest::{self, Difference, Manifest};
use super::onnx::{self, Facts, Port};
use super::sentence::{self, Module, PoolingConfig, Sentence};
use super::{Head, Pooling, Reads, hashing, heads, tasks};
use crate::compile::packed::{self, Arithmetic};
use crate::compile::{CALIBRATION, Calibration, Checkpoint, CompileError};

/// A verified package: what the worker needs to know of it, and the digest that it signs with.
#[derive(Debug)]
pub struct Package {
    /// From the manifest, or the folder's name.
    pub name: String,
    /// `sha256:` and 64 hex digits, over the files that were loaded.
    pub digest: String,
    /// Of the arithmetic: `fp32`, `int8`, …
    pub precision: String,
    /// Longest sequence, special tokens included.
    pub max_length: usize,
    /// What stands on top of the encoder.
    pub head: Head,
    /// What else may stand there, by the graph's outputs, where the configuration does not say what does: the task
    /// decides.
    pub may_be: Vec<Head>,
    /// Width of the hidden states, where the configuration or the graph says it.
    pub hidden: Option<usize>,
    /// `id2label`, in order of index; empty where the head has no labels.
    pub labels: Vec<String>,
    /// How logits become scores.
    pub activation: tasks::Activation,
    /// A text's result does not depend on what it is batched with.
    pub batch_invariant: bool,
    /// How a batch becomes tensors.
    pub layout: Layout,
    /// How the package makes a vector of a text, where it says so.
    pub sentence: Sentence,
    /// Fills a batch up, where it is padded.
    pub pad_id: u32,
    /// What the graph must be fed.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// `tokenizer.json`, as it was hashed.
    pub tokenizer: Vec<u8>,
    /// Every file that is loaded, by its path inside the package.
    pub files: BTreeMap<String, FileDigest>,
    /// `None`: the package has no manifest, so that nothing vouches for its files.
    pub manifest: Option<Manifest>,
}

/// Where a package's graph is.
#[derive(Clone)]
pub(super) enum Source {
    /// A file of the package.
    File(PathBuf),
    /// Built of a checkpoint: the model's bytes.
    Built(Bytes),
}

impl Source {
    /// The whole graph.
    pub(super) fn bytes(&self) -> io::Result<Bytes> {
        match self {
            Self::File(file) => std::fs::read(file).map(Bytes::from),
            Self::Built(graph) => Ok(graph.clone()),
        }
    }
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest {
    /// In bytes.
    pub size: u64,
    /// In hex.
    pub sha256: String,
}

impl FileDigest {
    /// Of a file's whole content.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, sha256: hashing::hash_bytes(bytes) }
    }
}

impl Package {
    /// What a task reads that wants the head's own answer.
    pub fn reads(&self) -> Result<Reads, PackageError> {
        let labels = self.labels.len();
        Ok(match self.head {
            Head::Classification => Reads::Logits { labels },
            Head::Tokens => Reads::TokenLogits { labels },
            Head::Questions => Reads::Spans,
            Head::None => Reads::Pooled {
                pooling: Pooling::Mean,
                hidden: self.hidden.ok_or_else(|| PackageError::Hidden(self.name.clone()))?,
            },
        })
    }

    /// Can it be taken for one with this head?
    pub fn serves(&self, head: Head) -> bool {
        let is_labelled = matches!(head, Head::Classification | Head::Tokens);
        (self.head == head || self.may_be.contains(&head)) && !(is_labelled && self.labels.is_empty())
    }

    /// Reads and verifies a folder. Nothing of it is executed or handed to ONNX Runtime.
    pub fn open(dir: &Path) -> Result<Self, PackageError> {
        Ok(Self::open_with_graph(dir)?.0)
    }

    /// The same, and where its graph is.
    pub(super) fn open_with_graph(dir: &Path) -> Result<(Self, Source), PackageError> {
        let (package, differences, source) = Self::read(dir)?;
        match differences.is_empty() {
            true => Ok((package, source)),
            false => Err(PackageError::Manifest { dir: dir.to_owned(), differences }),
        }
    }

    /// Reads a folder and says in what it differs from its manifest: for a person's eyes. A package
    /// that differs must not be loaded.
    pub fn inspect(dir: &Path) -> Result<(Self, Vec<Difference>), PackageError> {
        let (package, differences, _) = Self::read(dir)?;
        Ok((package, differences))
    }

    fn read(dir: &Path) -> Result<(Self, Vec<Difference>, Source), PackageError> {
        if !dir.is_dir() {
            return Err(PackageError::NotAFolder(dir.to_owned()));
        }
        let mut reader = Reader { dir, files: BTreeMap::new() };
        let config: Config = reader.json("config.json")?.ok_or_else(|| reader.missing("config.json"))?;
        let tokenizer = reader.bytes("tokenizer.json")?.ok_or_else(|| reader.missing("tokenizer.json"))?;
        let limits: TokenizerConfig = reader.json("tokenizer_config.json")?.unwrap_or_default();
        let sentence = reader.sentence()?;
        let (source, facts) = reader.graph()?;
        let files = reader.files;
        let built = match &source {
            Source::Built(graph) => Some(hashing::hash_bytes(graph)),
            Source::File(_) => None,
        };

        let manifest = read_manifest(dir)?;
        let differences = manifest.as_ref().map_or_else(Vec::new, |manifest| {
            let loaded = files.iter().map(|(name, file)| (name.clone(), file.sha256.clone())).collect();
            let mut differences = manifest.differences(dir, &loaded, |path| Ok(hashing::hash(path)?.1));
            differences.extend(manifest.contradicted(precision(&facts)));
            differences
        });

        let labelled = |source| PackageError::Labels { file: dir.join("config.json"), source };
        let layout = Layout::of(facts.inputs.iter().map(|port| port.name.as_str()));
        let (head, may_be) = match config.head() {
            Some(head) => (head, Vec::new()),
            None => heads::possible(&facts.outputs, layout, &config),
        };
        let labels = match head {
            Head::Classification | Head::Tokens => config.labels(width(&facts, head)).map_err(labelled)?,
            Head::Questions | Head::None if may_be.is_empty() => Vec::new(),
            // It may have some, for a task that says that it has.
            Head::Questions | Head::None => config.labels(None).unwrap_or_default(),
        };
        let hidden = config.hidden().or_else(|| width(&facts, Head::None));
        let said = manifest.as_ref();
        let package = Self {
            name: said.and_then(|m| m.name.clone()).unwrap_or_else(|| folder_name(dir)),
            digest: digest(&files, built.as_deref()),
            precision: said.and_then(|m| m.precision.clone()).unwrap_or_else(|| precision(&facts).to_owned()),
            // A manifest can promise less than the graph, not more.
            batch_invariant: said.and_then(|m| m.batch_invariant).unwrap_or(true) && batch_invariant(&facts),
            max_length: config.max_length(&limits).map_err(labelled)?,
            activation: config.activation(labels.len()).map_err(labelled)?,
            labels,
            layout,
            sentence,
            pad_id: config.pad_id(),
            head,
            may_be,
            hidden,
            inputs: facts.inputs,
            outputs: facts.outputs,
            tokenizer,
            files,
            manifest,
        };
        Ok((package, differences, source))
    }
}

/// Reads a package's files, and keeps the digest of each.
struct Reader<'a> {
    dir: &'a Path,
    files: BTreeMap<String, FileDigest>,
}

impl Reader<'_> {
    fn missing(&self, file: &'static str) -> PackageError {
        PackageError::Missing { dir: self.dir.to_owned(), file }
    }

    /// `None`: not there.
    fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, PackageError> {
        let Some(bytes) = read(&self.dir.join(name))? else { return Ok(None) };
        self.files.insert(name.to_owned(), FileDigest::of(&bytes));
        Ok(Some(bytes))
    }

    fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, PackageError> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        parse(self.dir.join(name), &bytes).map(Some)
    }

    /// What sentence-transformers wrote.
    fn sentence(&mut self) -> Result<Sentence, PackageError> {
        let modules: Vec<Module> = self.json(sentence::MODULES)?.unwrap_or_default();
        let pooling: Option<PoolingConfig> = match sentence::pooling_file(&modules) {
            Some(file) => self.json(&file)?,
            None => None,
        };
        Ok(Sentence::of(&modules, pooling.as_ref()))
    }

    /// The graph and all files that it draws on.
    fn graph(&mut self) -> Result<(Source, Facts), PackageError> {
        let is_there = |name: &&str| self.dir.join(name).is_file();
        let Some(name) = ["model.onnx", "onnx/model.onnx"].into_iter().find(is_there) else {
            return match ["model.safetensors", "pytorch_model.bin"].iter().any(is_there) {
                true => self.build(),
                false => {
                    Err(self
                        .missing("model.onnx (nor onnx/model.onnx, nor a checkpoint's model.safetensors)"))
                }
            };
        };
        let file = self.dir.join(name);
        let (facts, size, sha256) =
            onnx::read(&file).map_err(|source| PackageError::Onnx { file: file.clone(), source })?;
        self.files.insert(name.to_owned(), FileDigest { size, sha256 });
        let folder = name.strip_suffix("model.onnx").unwrap_or_default();
        for location in &facts.external {
            self.external(&file, folder, location)?;
        }
        Ok((Source::File(file), facts))
    }

    /// The graph of a checkpoint, for the CPU: int8 where its calibration is there.
    fn build(&mut self) -> Result<(Source, Facts), PackageError> {
        let checkpoint = Checkpoint::open(self.dir).map_err(CompileError::from)?;
        self.files.extend(checkpoint.files.clone());
        let calibration: Option<Calibration> = self.json(CALIBRATION)?;
        let arithmetic = calibration.as_ref().map_or(Arithmetic::F32, Arithmetic::Int8);
        let graph = packed::build(&checkpoint, arithmetic)?;
        let facts = onnx::facts(&graph[..])
            .map_err(|source| PackageError::Onnx { file: self.dir.to_owned(), source })?;
        Ok((Source::Built(graph.into()), facts))
    }

    /// External data: relative to the graph's folder, and really inside the package.
    fn external(&mut self, graph: &Path, folder: &str, location: &str) -> Result<(), PackageError> {
        let refused = || PackageError::External { file: graph.to_owned(), location: location.to_owned() };
        // A location that begins with `*/` is ONNX Runtime's way to name memory, not a file.
        let plain = location.trim_start_matches("./");
        if !manifest::inside(plain) || plain.starts_with('*') {
            return Err(refused());
        }
        let name = format!("{folder}{plain}");
        let path = self.dir.join(&name);
        let unreadable = |source| PackageError::Unreadable { file: path.clone(), source };
        if !path.exists() {
            return Err(unreadable(io::ErrorKind::NotFound.into()));
        }
        let (real, home) = (path.canonicalize(), self.dir.canonicalize());
        if !real.map_err(unreadable)?.starts_with(home.map_err(unreadable)?) {
            return Err(refused());
        }
        let (size, sha256) = hashing::hash(&path).map_err(unreadable)?;
        self.files.insert(name, FileDigest { size, sha256 });
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, PackageError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PackageError::Unreadable { file: path.to_owned(), source }),
    }
}

fn parse<T: DeserializeOwned>(file: PathBuf, bytes: &[u8]) -> Result<T, PackageError> {
    serde_json::from_slice(bytes).map_err(|source| PackageError::Json { file, source })
}

fn read_manifest(dir: &Path) -> Result<Option<Manifest>, PackageError> {
    let path = dir.join("manifest.json");
    let Some(bytes) = read(&path)? else { return Ok(None) };
    parse(path, &bytes).map(Some)
}

fn folder_name(dir: &Path) -> String {
    let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    real.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// sha256 over the lines `name NUL hex NEWLINE` of all loaded files, sorted by name, and of the graph where one
/// was `built` in memory: what builds it is part of what answers, and another program may build another.
fn digest(files: &BTreeMap<String, FileDigest>, built: Option<&str>) -> String {
    let mut lines: String = files.iter().map(|(name, file)| format!("{name}\0{}\n", file.sha256)).collect();
    lines.extend(built.map(|sha256| format!("\0{sha256}\n")));
    format!("sha256:{}", hashing::hash_bytes(lines.as_bytes()))
}

/// The width of the head's output, where the graph fixes it.
fn width(facts: &Facts, head: Head) -> Option<usize> {
    let named = |name: &str| facts.outputs.iter().find(|p| p.name == name);
    let port = match head {
        // The first of two dimensions, where it has another name.
        Head::Classification => {
            named("logits").or_else(|| facts.outputs.iter().find(|p| p.shape.len() == 2))?
        }
        Head::Tokens => named("logits")?,
        Head::Questions => return None,
        Head::None => named("last_hidden_state")?,
    };
    port.shape.get(1..)?.last().copied().flatten().and_then(|n| usize::try_from(n).ok())
}

fn precision(facts: &Facts) -> &'static str {
    let quantised = |op: &String| {
        [
            "MatMulInteger",
            "ConvInteger",
            "QLinear",
            "QGemm",
            "QAttention",
            "DynamicQuantize",
            "QuantizeLinear",
            "ProductU8",
            "ProductGeluU8",
        ]
        .iter()
        .any(|start| op.starts_with(start))
    };
    match facts.operators.iter().any(quantised) {
        true => "int8",
        false if facts.half_arithmetic => "fp16",
        false => "fp32",
    }
}

/// Dynamic quantisation takes its scale from the whole batch.
fn batch_invariant(facts: &Facts) -> bool {
    !facts.operators.iter().any(|op| op.starts_with("DynamicQuantize"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_covers_a_graph_that_was_built() {
        let files = BTreeMap::from([("model.safetensors".to_owned(), FileDigest::of(b"weights"))]);
        let digests = [digest(&files, None), digest(&files, Some("aa")), digest(&files, Some("ab"))];
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
        assert_eq!(digest(&files, Some("aa")), digests[1]);
    }
}
