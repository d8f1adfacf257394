//! Finds and loads the ONNX Runtime library. There is one of it, with one environment, in a process:
//! that is ONNX Runtime's own rule.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

/// The version that `make onnxruntime` fetches and the tests run with.
const PINNED: &str = "1.32.0";

/// Why there is no ONNX Runtime. Always fatal; says what to type.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nowhere.
    #[error(
        "the ONNX Runtime library was not found; looked at: {}. Type `make onnxruntime`, or set `model.library` or ORT_DYLIB_PATH to libonnxruntime.so (1.22 or later)",
        looked.join(", ")
    )]
    NotFound {
        /// In order.
        looked: Vec<String>,
    },
    /// Asked for by name, but not there.
    #[error("{by} names {path}, where there is no ONNX Runtime library: correct it, or leave it out and type `make onnxruntime`", path = path.display())]
    NotThere {
        /// `model.library` or `ORT_DYLIB_PATH`.
        by: &'static str,
        /// As given.
        path: PathBuf,
    },
    /// Not ONNX Runtime, or not for this machine, or too old.
    #[error("{path} cannot serve as ONNX Runtime: {reason}. Type `make onnxruntime` for a version that can ({PINNED}), or set `model.library` or ORT_DYLIB_PATH to one (1.22 or later)", path = path.display())]
    Unusable {
        /// What was found.
        path: PathBuf,
        /// ort's or the loader's words.
        reason: String,
    },
    /// One process, one library.
    #[error("this process already runs the ONNX Runtime of {loaded}; it cannot load {wanted} too", loaded = loaded.display(), wanted = wanted.display())]
    Another {
        /// In use.
        loaded: PathBuf,
        /// Asked for.
        wanted: PathBuf,
    },
}

/// The process's environment, kept until it ends: ONNX Runtime takes no second one.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment that all sessions share; loads the library at the first call.
/// `setting` is `model.library`.
pub(super) fn environment(setting: Option<&Path>) -> Result<Environment, RuntimeError> {
    let path = Places::of_this_process(setting).find()?;
    let mut current = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = current.as_ref() {
        return match *loaded == path {
            true => Ok(environment.clone()),
            false => Err(RuntimeError::Another { loaded: loaded.clone(), wanted: path }),
        };
    }
    let unusable = |reason: String| RuntimeError::Unusable { path: path.clone(), reason };
    let environment = ort::init_from(&path)
        .map_err(|e| unusable(e.to_string()))?
        .with_name("squeezeflow")
        // Not enough: see cli/silence.rs.
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|e| unusable(e.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    *current = Some((path.clone(), environment.clone()));
    Ok(environment)
}

/// ONNX Runtime's log lines, as ours. They speak of graphs and nodes, never of texts.
fn log(level: LogLevel, category: &str, _id: &str, place: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => {
            tracing::debug!(target: "onnxruntime", category, place, message)
        }
        LogLevel::Warning => tracing::warn!(target: "onnxruntime", category, place, message),
        LogLevel::Error | LogLevel::Fatal => tracing::error!(target: "onnxruntime", category, place, message),
    }
}

/// Where the library may be.
struct Places {
    setting: Option<PathBuf>,
    variable: Option<OsString>,
    program: Option<PathBuf>,
    current: Option<PathBuf>,
}

impl Places {
    fn of_this_process(setting: Option<&Path>) -> Self {
        Self {
            setting: setting.map(Path::to_owned),
            variable: std::env::var_os("ORT_DYLIB_PATH").filter(|v| !v.is_empty()),
            program: std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_owned)),
            current: std::env::current_dir().ok(),
        }
    }

    /// The setting, then the variable: what they name must be there. Then beside the program. Last,
    /// for developers: what `make onnxruntime` fetched into the repository that we stand in.
    fn find(&self) -> Result<PathBuf, RuntimeError> {
        let variable = self.variable.as_ref().map(PathBuf::from);
        let named = [("model.library", self.setting.as_ref()), ("ORT_DYLIB_PATH", variable.as_ref())];
        for (by, path) in named {
            if let Some(path) = path {
                return library_at(path).ok_or_else(|| RuntimeError::NotThere { by, path: path.clone() });
            }
        }
        let mut looked = vec!["model.library (not set)".to_owned(), "ORT_DYLIB_PATH (not set)".to_owned()];
        let beside = self.program.iter().flat_map(|dir| [dir.clone(), dir.join("../lib")]);
        for dir in beside.chain(self.current.as_deref().and_then(fetched)) {
            if let Some(library) = library_at(&dir) {
                return Ok(library);
            }
            looked.push(dir.display().to_string());
        }
        Err(RuntimeError::NotFound { looked })
    }
}

/// The file itself, or the newest `libonnxruntime.so*` of a folder. Absolute: the loader must not search.
fn library_at(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return path.canonicalize().ok();
    }
    let is_library =
        |name: &str| name.starts_with("libonnxruntime.") && name.contains(std::env::consts::DLL_SUFFIX);
    let found = std::fs::read_dir(path).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    found
        .filter(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(is_library) && p.is_file())
        .max_by_key(|p| version(p))?
        .canonicalize()
        .ok()
}

/// `libonnxruntime.so.1.32.0` → `[1, 32, 0]`; without a version: empty, the oldest.
fn version(path: &Path) -> Vec<u32> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// `.cache/onnxruntime/PINNED` of the squeezeflow repository around `dir`, if we are in one.
fn fetched(dir: &Path) -> Option<PathBuf> {
    let ours = |dir: &&Path| {
        std::fs::read_to_string(dir.join("Cargo.toml"))
            .is_ok_and(|toml| toml.contains("name = \"squeezeflow\""))
    };
    dir.ancestors().find(ours).map(|root| root.join(".cache/onnxruntime").join(PINNED))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn places(dir: &Path) -> Places {
        let (program, current) = (Some(dir.join("bin")), Some(dir.to_owned()));
        Places { setting: None, variable: None, program, current }
    }

    #[test]
    fn what_is_named_wins_and_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libonnxruntime.so.1.32.0");
        std::fs::write(&file, "x").unwrap();
        let mut places = places(dir.path());
        places.variable = Some(file.clone().into());
        assert_eq!(places.find().unwrap(), file.canonicalize().unwrap());
        places.setting = Some(dir.path().join("nowhere.so"));
        let error = places.find().unwrap_err().to_string();
        assert!(error.contains("model.library names") && error.contains("make onnxruntime"), "{error}");
    }

    #[test]
    fn beside_the_program_the_newest_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("bin")).unwrap();
        std::fs::create_dir_all(dir.path().join("lib")).unwrap();
        for name in
            ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so"]
        {
            std::fs::write(dir.path().join("lib").join(name), "x").unwrap();
        }
        let found = places(dir.path()).find().unwrap();
        assert!(found.ends_with("lib/libonnxruntime.so.1.32.0"), "{}", found.display());
    }

    #[test]
    fn in_the_repository_the_fetched_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join(".cache/onnxruntime").join(PINNED);
        std::fs::create_dir_all(&cache).unwrap();
        std::fs::write(cache.join("libonnxruntime.so"), "x").unwrap();
        assert!(places(dir.path()).find().is_err(), "not our repository");
        std::fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"squeezeflow\"\n").unwrap();
        assert!(places(dir.path()).find().unwrap().ends_with("libonnxruntime.so"));
    }

    #[test]
    fn missing_says_where_it_looked_and_what_to_type() {
        let dir = tempfile::tempdir().unwrap();
        let error = places(dir.path()).find().unwrap_err().to_string();
        for part in ["bin", "../lib", "make onnxruntime", "ORT_DYLIB_PATH", "model.library"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}
