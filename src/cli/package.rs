//! `model inspect PACKAGE` and `model verify PACKAGE`: what a package is, and whether it is whole and
//! works. Both write to `out`; an error makes the exit code non-zero.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::model::{self, Difference, ModelError, Package, PackageError, Port};

/// Why one of these verbs failed.
#[derive(Debug, thiserror::Error)]
pub enum ModelCommandError {
    /// Not a package that can be read.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Not a package that can be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The manifest and the folder differ; the differences were written.
    #[error("{0} differences between the package and its manifest")]
    Differs(usize),
    /// The output is closed.
    #[error("cannot write")]
    Write(#[from] io::Error),
    /// A report that JSON cannot hold.
    #[error("cannot write the report as JSON")]
    Json(#[from] serde_json::Error),
}

/// What `inspect` shows. Stable: scripts read it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    name: &'a str,
    version: Option<&'a str>,
    digest: &'a str,
    precision: &'a str,
    weights: Option<&'a str>,
    batch_invariant: bool,
    labels: &'a [String],
    activation: &'static str,
    max_length: usize,
    inputs: Vec<PortReport<'a>>,
    outputs: Vec<PortReport<'a>>,
    files: Vec<FileReport<'a>>,
    manifest: ManifestReport,
}

#[derive(Debug, Serialize)]
struct PortReport<'a> {
    name: &'a str,
    element: &'static str,
    shape: &'a [Option<i64>],
}

#[derive(Debug, Serialize)]
struct FileReport<'a> {
    path: &'a str,
    bytes: u64,
    sha256: &'a str,
}

#[derive(Debug, Serialize)]
struct ManifestReport {
    /// `absent`, `ok` or `differs`.
    state: &'static str,
    differences: Vec<String>,
}

impl<'a> Report<'a> {
    fn new(package: &'a Package, differences: &[Difference]) -> Self {
        let manifest = package.manifest.as_ref();
        let state = match manifest {
            None => "absent",
            Some(_) if differences.is_empty() => "ok",
            Some(_) => "differs",
        };
        let files = package.files.iter();
        Self {
            name: &package.name,
            version: manifest.and_then(|m| m.version.as_deref()),
            digest: &package.digest,
            precision: &package.precision,
            weights: manifest.and_then(|m| m.weights.as_deref()),
            batch_invariant: package.batch_invariant,
            labels: &package.labels,
            activation: package.activation.as_str(),
            max_length: package.max_length,
            inputs: package.inputs.iter().map(PortReport::new).collect(),
            outputs: package.outputs.iter().map(PortReport::new).collect(),
            files: files.map(|(path, f)| FileReport { path, bytes: f.size, sha256: &f.sha256 }).collect(),
            manifest: ManifestReport {
                state,
                differences: differences.iter().map(Difference::to_string).collect(),
            },
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, value: String| writeln!(out, "{name:<16} {value}");
        line("name", self.version.map_or(self.name.to_owned(), |v| format!("{} {v}", self.name)))?;
        line("digest", self.digest.to_owned())?;
        let stored = self.weights.map_or(String::new(), |w| format!(" (weights stored as {w})"));
        line("precision", format!("{}{stored}", self.precision))?;
        line("batch-invariant", if self.batch_invariant { "yes" } else { "no" }.to_owned())?;
        line("labels", self.labels.join(", "))?;
        line("activation", self.activation.to_owned())?;
        line("max length", format!("{} tokens", self.max_length))?;
        for port in &self.inputs {
            line("input", port.to_string())?;
        }
        for port in &self.outputs {
            line("output", port.to_string())?;
        }
        for file in &self.files {
            line("file", format!("{} ({} bytes) sha256:{}", file.path, file.bytes, file.sha256))?;
        }
        line("manifest", self.manifest.state.to_owned())?;
        self.manifest.differences.iter().try_for_each(|d| line("", d.clone()))
    }
}

impl<'a> PortReport<'a> {
    fn new(port: &'a Port) -> Self {
        Self { name: &port.name, element: port.element_name(), shape: &port.shape }
    }
}

impl std::fmt::Display for PortReport<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<String> =
            self.shape.iter().map(|d| d.map_or("?".to_owned(), |d| d.to_string())).collect();
        write!(f, "{} {} [{}]", self.name, self.element, dims.join(", "))
    }
}

/// Shows what a package is, for people or as JSON. ONNX Runtime is not needed. A package that
/// differs from its manifest is shown, and is an error.
pub fn inspect(dir: &Path, json: bool, out: &mut dyn Write) -> Result<(), ModelCommandError> {
    let (package, differences) = Package::inspect(dir)?;
    let report = Report::new(&package, &differences);
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        report.write(out)?;
    }
    match differences.len() {
        0 => Ok(()),
        n => Err(ModelCommandError::Differs(n)),
    }
}

/// Verifies the manifest and runs the model once on the CPU. `library` is ONNX Runtime's, as
/// `model.library` in a pipeline. Writes `ok`, or every difference.
pub fn verify(dir: &Path, library: Option<PathBuf>, out: &mut dyn Write) -> Result<(), ModelCommandError> {
    let (package, differences) = Package::inspect(dir)?;
    if !differences.is_empty() {
        for difference in &differences {
            writeln!(out, "{difference}")?;
        }
        return Err(ModelCommandError::Differs(differences.len()));
    }
    let loaded = model::load(&model::on_cpu(dir, library, NonZeroUsize::MIN))?;
    let manifest = match package.manifest {
        Some(_) => "files as its manifest says",
        None => "it has no manifest, so that nothing vouches for its files",
    };
    writeln!(out, "ok: {} {}; {manifest}; the model runs", loaded.package.name, loaded.package.digest)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TINY: &str = "tests/packages/tiny-squeezebert";

    fn copy_of_tiny() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(TINY).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        dir
    }

    fn shown(result: impl FnOnce(&mut dyn Write) -> Result<(), ModelCommandError>) -> (String, bool) {
        let mut out = Vec::new();
        let ok = result(&mut out).is_ok();
        (String::from_utf8(out).unwrap(), ok)
    }

    #[test]
    fn inspect_shows_what_a_package_is() {
        let (text, ok) = shown(|out| inspect(Path::new(TINY), false, out));
        assert!(ok);
        for part in ["tiny-squeezebert 1.0.0", "fp32 (weights stored as fp16)", "negative, neutral, positive"]
        {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        let (json, ok) = shown(|out| inspect(Path::new(TINY), true, out));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(ok);
        assert_eq!(json["manifest"]["state"], "ok");
        assert_eq!(json["max_length"], 128);
        assert_eq!(json["inputs"][0]["name"], "input_ids");
    }

    #[test]
    fn both_name_every_difference_and_fail() {
        let dir = copy_of_tiny();
        let config = dir.path().join("config.json");
        let text = std::fs::read_to_string(&config).unwrap() + " ";
        std::fs::write(config, text).unwrap();
        std::fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
        let (text, ok) = shown(|out| verify(dir.path(), None, out));
        assert!(!ok);
        assert!(
            text.contains("config.json has sha256") && text.contains("tokenizer_config.json is listed but"),
            "{text}"
        );
        let (text, ok) = shown(|out| inspect(dir.path(), false, out));
        assert!(!ok && text.contains("differs"), "{text}");
    }

    #[test]
    fn verify_runs_the_model() {
        let (text, ok) = shown(|out| verify(Path::new(TINY), None, out));
        assert!(ok && text.starts_with("ok: tiny-squeezebert sha256:"), "{text}");
    }
}
