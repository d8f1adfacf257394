//! A user's file written anew, in one step or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::fate::Fate;

/// Why a file was not written. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else has written it since it was read.
    #[error("{0} was changed meanwhile; it was left alone")]
    Changed(PathBuf),
    /// The operating system's word.
    #[error("{0} cannot be written: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl WriteError {
    /// The program goes on to nothing else.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

/// A new file in the place of the old one, with its permissions; a link to it stays a link.
pub(crate) fn replace(path: &Path, old: &str, new: &str) -> Result<(), WriteError> {
    let io = |e: io::Error| WriteError::Io(path.to_owned(), e);
    let real = fs::canonicalize(path).map_err(io)?;
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = real.with_file_name(format!(".{name}.{}.new", std::process::id()));
    if fs::read_to_string(&real).map_err(io)? != old {
        return Err(WriteError::Changed(path.to_owned()));
    }
    let replaced = fs::metadata(&real).and_then(|metadata| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
        file.set_permissions(metadata.permissions())?;
        file.write_all(new.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &real)
    });
    replaced.map_err(|e| {
        // There may be none.
        let _ = fs::remove_file(&beside);
        io(e)
    })
}
