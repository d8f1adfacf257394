//! An evaluation into a package: `evaluation` in `manifest.json`, and the card, whose digest the
//! manifest has. The files that are loaded stay as they are, and so does the package's digest.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::card::with_evaluation;
use super::metrics::Evaluation;
use crate::model::hash_bytes;

const CARD: &str = "README.md";
const MANIFEST: &str = "manifest.json";

/// Why an evaluation was not written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing to write it into.
    #[error("{dir} has no manifest.json, where an evaluation would stand: `squeezeflow model build` makes packages that have one", dir = .0.display())]
    NoManifest(PathBuf),
    /// Not an object.
    #[error("{file} is not as expected: {source}", file = file.display())]
    Json {
        /// The manifest.
        file: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file cannot be read or written.
    #[error("{file}: {source}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Can an evaluation be written into this package? Asked before texts are answered for nothing.
pub fn recordable(dir: &Path) -> Result<(), RecordError> {
    manifest(dir)?;
    card(dir, "").map(drop)
}

fn manifest(dir: &Path) -> Result<Map<String, Value>, RecordError> {
    let file = dir.join(MANIFEST);
    let json = match std::fs::read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(RecordError::NoManifest(dir.to_owned())),
        Err(source) => return Err(RecordError::File { file, source }),
        Ok(json) => json,
    };
    serde_json::from_slice(&json).map_err(|source| RecordError::Json { file, source })
}

/// The package's card, or the beginning of one.
fn card(dir: &Path, name: &str) -> Result<String, RecordError> {
    let file = dir.join(CARD);
    match std::fs::read_to_string(&file) {
        Ok(card) => Ok(card),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(format!("# {name}\n")),
        Err(source) => Err(RecordError::File { file, source }),
    }
}

/// Writes it. Each file is replaced as a whole; should the program be killed between the two, the
/// manifest says that the card differs.
pub fn record(dir: &Path, name: &str, evaluation: &Evaluation) -> Result<(), RecordError> {
    let mut manifest = manifest(dir)?;
    let file = dir.join(MANIFEST);
    let at = |file: &Path| {
        let file = file.to_owned();
        move |source| RecordError::File { file, source }
    };
    let wrong = |source| RecordError::Json { file: file.clone(), source };
    let card_file = dir.join(CARD);
    let card = with_evaluation(&card(dir, name)?, name, evaluation);
    manifest.insert("evaluation".into(), serde_json::to_value(evaluation).map_err(wrong)?);
    if let Some(files) = manifest.entry("files").or_insert_with(|| Map::new().into()).as_object_mut() {
        files.insert(CARD.into(), hash_bytes(card.as_bytes()).into());
    }
    let manifest = serde_json::to_string_pretty(&manifest).map_err(wrong)? + "\n";
    replace(&card_file, card.as_bytes()).map_err(at(&card_file))?;
    replace(&file, manifest.as_bytes()).map_err(at(&file))
}

/// Writes beside the file, then puts the new one in its place.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, file)
}
