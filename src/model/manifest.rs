//! `manifest.json`: what a package says of itself and the sha256 of its files. It is checked before
//! anything of the package is loaded.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path};

use serde::Deserialize;

/// A package's manifest. Only `files` is required.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// The model's name in receipts; else the folder's.
    #[serde(default)]
    pub name: Option<String>,
    /// The package's version.
    #[serde(default)]
    pub version: Option<String>,
    /// Of the arithmetic, such as `fp32` or `int8`; else deduced from the graph.
    #[serde(default)]
    pub precision: Option<String>,
    /// How the weights are stored, such as `fp16`.
    #[serde(default)]
    pub weights: Option<String>,
    /// A text's result does not depend on its batch-mates; else deduced from the graph.
    #[serde(default)]
    pub batch_invariant: Option<bool>,
    /// Path inside the package to sha256, in hex.
    pub files: BTreeMap<String, String>,
}

/// One way in which a package is not what its manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Listed, but not there.
    Missing(String),
    /// There, but with another content.
    Changed {
        /// The file.
        file: String,
        /// By the manifest.
        expected: String,
        /// In the folder.
        found: String,
    },
    /// Would be loaded, but is not listed.
    Unlisted(String),
    /// Listed, but leads out of the folder.
    Outside(String),
    /// The graph computes in another precision.
    Precision {
        /// By the manifest.
        expected: String,
        /// By the graph.
        found: &'static str,
    },
    /// Cannot be read.
    Unreadable {
        /// The file.
        file: String,
        /// The system's words.
        reason: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(file) => write!(f, "{file} is listed but not there"),
            Self::Changed { file, expected, found } => {
                write!(f, "{file} has sha256 {found}, listed is {expected}")
            }
            Self::Unlisted(file) => write!(f, "{file} would be loaded but is not listed"),
            Self::Outside(file) => write!(f, "{file} is listed but is not a path inside the package"),
            Self::Precision { expected, found } => {
                write!(f, "the graph computes in {found}, listed is the precision {expected}")
            }
            Self::Unreadable { file, reason } => write!(f, "{file} cannot be read: {reason}"),
        }
    }
}

impl Manifest {
    /// Every difference, given the files that will be loaded (path inside the package → sha256) and
    /// a way to hash the listed ones that will not. Empty: all is as listed.
    pub(super) fn differences(
        &self,
        dir: &Path,
        loaded: &BTreeMap<String, String>,
        hash: impl Fn(&Path) -> std::io::Result<String>,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (file, expected) in &self.files {
            let found = match loaded.get(file) {
                Some(found) => Ok(found.clone()),
                None if !inside(file) => {
                    differences.push(Difference::Outside(file.clone()));
                    continue;
                }
                None => hash(&dir.join(file)),
            };
            let (file, expected) = (file.clone(), expected.clone());
            match found {
                Ok(found) if found.eq_ignore_ascii_case(&expected) => {}
                Ok(found) => differences.push(Difference::Changed { file, expected, found }),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    differences.push(Difference::Missing(file));
                }
                Err(e) => differences.push(Difference::Unreadable { file, reason: e.to_string() }),
            }
        }
        let unlisted = loaded.keys().filter(|file| !self.files.contains_key(*file));
        differences.extend(unlisted.cloned().map(Difference::Unlisted));
        differences
    }

    /// Is the precision another than the graph's, as far as that can be told? Receipts repeat it.
    pub(super) fn contradicted(&self, found: &'static str) -> Option<Difference> {
        let expected = self.precision.as_deref()?;
        let known = ["fp32", "fp16", "int8"].contains(&expected);
        (known && expected != found).then(|| Difference::Precision { expected: expected.to_owned(), found })
    }
}

/// A relative path without `..`.
pub(super) fn inside(path: &str) -> bool {
    let mut components = Path::new(path).components().peekable();
    components.peek().is_some() && components.all(|c| matches!(c, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let manifest: Manifest = serde_json::from_str(
            r#"{"files": {"config.json": "aa", "model.onnx": "BB", "gone.txt": "cc", "../out": "dd", "note": "ee"}}"#,
        )
        .unwrap();
        let loaded = [("config.json", "11"), ("model.onnx", "bb"), ("tokenizer.json", "ff")];
        let loaded = loaded.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect();
        let found = manifest.differences(Path::new("pkg"), &loaded, |path| match path.ends_with("note") {
            true => Ok("ee".into()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        });
        let changed =
            Difference::Changed { file: "config.json".into(), expected: "aa".into(), found: "11".into() };
        assert_eq!(
            found,
            [
                Difference::Outside("../out".into()),
                changed,
                Difference::Missing("gone.txt".into()),
                Difference::Unlisted("tokenizer.json".into())
            ]
        );
    }

    #[test]
    fn a_precision_that_is_not_the_graphs_is_named() {
        let says = |precision: &str| {
            let json = format!(r#"{{"files": {{}}, "precision": "{precision}"}}"#);
            serde_json::from_str::<Manifest>(&json).unwrap().contradicted("fp32")
        };
        let found = says("int8").unwrap();
        assert_eq!(found, Difference::Precision { expected: "int8".into(), found: "fp32" });
        assert_eq!(found.to_string(), "the graph computes in fp32, listed is the precision int8");
        // What we cannot tell from a graph is taken as it is said.
        assert_eq!((says("fp32"), says("int4")), (None, None));
    }

    #[test]
    fn inside_means_inside() {
        assert!(inside("a/b"));
        assert!(inside("model.onnx_data"));
        for out in ["", "/etc/passwd", "../x", "a/../../x", ".."] {
            assert!(!inside(out), "{out}");
        }
    }
}
