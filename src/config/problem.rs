//! What is wrong with a configuration, said so that the reader can put it right: where, what, and
//! what would be right. Never holds a value out of the file, which may be a secret.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use super::path;
use crate::fate::Fate;

/// Everything that is wrong, at once.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// At least one, in order of file and line.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// A worker with a wrong configuration does not start.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// Does it stop the worker?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Yes.
    Error,
    /// No, but it should be known.
    Warning,
}

/// Which layer of the configuration a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The pipeline file.
    File,
    /// This variable.
    Environment(String),
    /// `--set` on the command line.
    Set,
    /// Nobody wrote it: a default, or something that is missing.
    Unwritten,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Path in the document, such as `batch.max_batch_tokens`; empty for the document as a whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: Option<String>,
    /// The pipeline file; `None` until [`super::Places::locate`] has seen it.
    pub file: Option<PathBuf>,
    /// Counted from 1; where the value is not in the file, its nearest parent that is.
    pub line: Option<usize>,
    /// Counted from 1; only for YAML that cannot be read.
    pub column: Option<usize>,
    /// Who said so.
    pub origin: Origin,
    /// Further paths that the judgement rests on.
    pub(super) also: Vec<String>,
}

impl Problem {
    /// An error at `path`.
    pub fn error(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            path: path.into(),
            what: what.into(),
            hint: None,
            file: None,
            line: None,
            column: None,
            origin: Origin::Unwritten,
            also: Vec::new(),
        }
    }

    /// A warning at `path`.
    pub fn warning(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, what) }
    }

    /// With what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the other keys that were compared: should one of them be wrong itself, this judgement
    /// rests on a default that nobody chose, and is not shown.
    pub(super) fn also(mut self, paths: &[&str]) -> Self {
        self.also = paths.iter().map(|path| (*path).to_owned()).collect();
        self
    }

    /// Is it about one of these paths, or was one of them compared?
    pub(super) fn rests_on(&self, refused: &[String]) -> bool {
        let touches = |p: &str, r: &str| path::within(p, r) || path::within(r, p);
        let mut paths = std::iter::once(self.path.as_str()).chain(self.also.iter().map(String::as_str));
        paths.any(|p| refused.iter().any(|r| touches(p, r)))
    }

    /// About a file as a whole.
    pub(super) fn of_file(file: &Path, what: impl Into<String>) -> Self {
        Self { file: Some(file.to_owned()), origin: Origin::File, ..Self::error("", what) }
    }
}

impl fmt::Display for Problem {
    /// A block of two or three lines, without a line feed at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        if !self.path.is_empty() {
            write!(f, "{}: ", Plain(&self.path))?;
        }
        write!(f, "{}", Plain(&self.what))?;
        match &self.origin {
            Origin::Environment(name) => write!(f, "\n  --> environment variable {}", Plain(name))?,
            Origin::Set => write!(f, "\n  --> --set {}", Plain(&self.path))?,
            Origin::File | Origin::Unwritten => {
                if let Some(file) = &self.file {
                    write!(f, "\n  --> {}", Plain(&file.to_string_lossy()))?;
                    for number in [self.line, self.column].into_iter().flatten() {
                        write!(f, ":{number}")?;
                    }
                }
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  help: {}", Plain(hint))?;
        }
        Ok(())
    }
}

/// Control characters escaped: what a file or variable names must neither drive a terminal nor look
/// like a line of ours.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// "did you mean …?", or else what there is.
pub(super) fn suggest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(wrong, &known) {
        Some(best) => format!("did you mean `{best}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// The known word that `wrong` was most likely meant to be: at most a third of it differs.
fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let distances = known.iter().map(|k| (strsim::damerau_levenshtein(&wrong, k), *k));
    distances.filter(|(d, k)| *d <= k.len().max(wrong.len()).div_ceil(3)).min().map(|(_, k)| k)
}
