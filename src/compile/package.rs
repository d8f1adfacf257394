//! A package as it is written: files, manifest, card.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::calibrate::Calibration;
use super::checkpoint::{Checkpoint, read};
use super::error::{BuildError, CheckpointError};
use super::verify::Verification;
use crate::evaluate::{Evaluation, with_evaluation};
use crate::model::hash_bytes;

/// `manifest.json` of a package of ours. The `model` room reads of it what a worker needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// In receipts.
    pub name: String,
    /// Of the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Of the arithmetic.
    pub precision: &'static str,
    /// How the weights are stored, if not all in fp32: those of the products, and the tables'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// What it was made for.
    pub target: &'static str,
    /// `packed` or `padded`.
    pub layout: &'static str,
    /// A text's result does not depend on its batch-mates.
    pub batch_invariant: bool,
    /// Program and version.
    pub built_by: &'static str,
    /// sha256 of the files that it was made of.
    pub checkpoint: BTreeMap<String, String>,
    /// Where the texts of the calibration came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrated_on: Option<String>,
    /// Where the texts of the comparison came from.
    pub verified_on: String,
    /// What the comparison found.
    pub verification: Verification,
    /// On labelled texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// sha256 of the package's files.
    pub files: BTreeMap<String, String>,
}

const GRAPH: &str = "model.onnx";
const CARD: &str = "README.md";
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
/// Beside a checkpoint: the graph that is built in memory is int8.
pub(crate) const CALIBRATION: &str = "calibration.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// What a package takes over from its checkpoint, byte for byte.
pub(super) struct Draft {
    pub config: Vec<u8>,
    pub tokenizer: Vec<u8>,
    pub tokenizer_config: Option<Vec<u8>>,
    calibration: Option<Vec<u8>>,
    /// The checkpoint's own card.
    card: Option<String>,
}

impl Draft {
    pub fn read(checkpoint: &Checkpoint) -> Result<Self, CheckpointError> {
        let dir = &checkpoint.dir;
        let missing = |file| CheckpointError::Missing { dir: dir.clone(), file };
        let card = read(&dir.join(CARD))?;
        Ok(Self {
            config: read(&dir.join(CONFIG))?.ok_or_else(|| missing(CONFIG))?,
            tokenizer: read(&dir.join(TOKENIZER))?.ok_or_else(|| missing(TOKENIZER))?,
            tokenizer_config: read(&dir.join(TOKENIZER_CONFIG))?,
            calibration: None,
            card: card.and_then(|bytes| String::from_utf8(bytes).ok()),
        })
    }

    /// The package gets a file of the scales, which a checkpoint can be given too.
    pub fn keep(&mut self, calibration: &Calibration) -> Result<(), BuildError> {
        let json = serde_json::to_string_pretty(calibration)
            .map_err(|e| BuildError::File { file: CALIBRATION.into(), source: e.into() })?;
        self.calibration = Some((json + "\n").into_bytes());
        Ok(())
    }

    /// A package without a manifest.
    pub fn write(&self, dir: &Path, graph: &[u8]) -> Result<(), BuildError> {
        for (name, bytes) in self.files(graph) {
            write(&dir.join(name), bytes)?;
        }
        Ok(())
    }

    /// Card and manifest, the latter with the digests of all files.
    pub fn finish(&self, dir: &Path, mut manifest: Manifest, graph: &[u8]) -> Result<Manifest, BuildError> {
        let card = self.card(&manifest);
        write(&dir.join(CARD), card.as_bytes())?;
        let digest = |(name, bytes): (&str, &[u8])| (name.to_owned(), hash_bytes(bytes));
        manifest.files = self.files(graph).map(digest).collect();
        manifest.files.insert(CARD.to_owned(), hash_bytes(card.as_bytes()));
        let file = dir.join("manifest.json");
        let json = serde_json::to_string_pretty(&manifest)
            .map_err(|e| BuildError::File { file: file.clone(), source: e.into() })?;
        write(&file, (json + "\n").as_bytes())?;
        Ok(manifest)
    }

    fn files<'a>(&'a self, graph: &'a [u8]) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        let all =
            [(CONFIG, Some(&self.config[..])), (TOKENIZER, Some(&self.tokenizer[..])), (GRAPH, Some(graph))];
        let optional = [
            (TOKENIZER_CONFIG, self.tokenizer_config.as_deref()),
            (CALIBRATION, self.calibration.as_deref()),
        ];
        all.into_iter().chain(optional).filter_map(|(name, bytes)| Some((name, bytes?)))
    }

    /// The checkpoint's card where it has one (its licence and its limits go on), and what was made
    /// of it.
    fn card(&self, manifest: &Manifest) -> String {
        let v = &manifest.verification;
        let before = self.card.clone().unwrap_or_else(|| {
            format!("---\nlibrary_name: onnx\ntags:\n- squeezebert\n---\n# {}\n", manifest.name)
        });
        let stored = manifest
            .weights
            .as_ref()
            .map_or(String::new(), |weights| format!("; weights stored as {weights}"));
        let invariant = if manifest.batch_invariant { "yes" } else { "not promised" };
        let section = format!(
            "## This package\n\
             | | |\n|---|---|\n\
             | built by | {} for the target {} |\n\
             | arithmetic | {}{stored} |\n\
             | layout | {} |\n\
             | batch-invariant | {invariant} |\n\
             | verified | every output on {} ({}) against a straight graph of the same weights: largest difference {:.2e}, relative {:.2e}; alone against in a batch {:.2e}; on the CPU |\n",
            manifest.built_by,
            manifest.target,
            manifest.precision,
            manifest.layout,
            v.on(),
            manifest.verified_on,
            v.largest_difference,
            v.relative_difference,
            v.batch_difference,
        );
        let card = format!("{}\n\n{section}", before.trim_end());
        match &manifest.evaluation {
            Some(evaluation) => with_evaluation(&card, &manifest.name, evaluation),
            None => card,
        }
    }
}

/// A folder beside the one that is wanted, gone again unless it becomes that one.
pub(super) struct Scratch {
    pub path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// On the same file system, so that the last step is a renaming.
    pub fn beside(output: &Path) -> Result<Self, BuildError> {
        let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        for attempt in 0.. {
            let path = parent.join(format!(".{name}.{}-{attempt}.building", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, kept: false }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {}
                Err(source) => return Err(BuildError::File { file: path, source }),
            }
        }
        Err(BuildError::Exists(output.to_owned()))
    }

    pub fn become_package(mut self, output: &Path) -> Result<PathBuf, BuildError> {
        // Would take the place of an empty folder.
        if output.symlink_metadata().is_ok() {
            return Err(BuildError::Exists(output.to_owned()));
        }
        std::fs::rename(&self.path, output)
            .map_err(|source| BuildError::File { file: output.to_owned(), source })?;
        self.kept = true;
        Ok(output.to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            // It was made by us, with this name; what remains is in nobody's way.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    std::fs::write(file, bytes).map_err(|source| BuildError::File { file: file.to_owned(), source })
}
