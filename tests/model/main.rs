//! The model against Hugging Face transformers' answers, and against packages that lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod build;
mod bundled;
mod checkpoints;
mod compile;
mod golden;
mod merged;
mod packages;
mod packed;
mod runtime;
mod tiny_onnx;
mod tokens;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use squeezeflow::config::settings::{Model, Provider, ProviderKind};

/// From the repository's root.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn provider(kind: ProviderKind) -> Provider {
    Provider { kind, options: BTreeMap::new() }
}

/// One CPU session of a package.
fn on_cpu(path: impl Into<PathBuf>) -> Model {
    Model {
        path: path.into(),
        provider: provider(ProviderKind::Cpu),
        fallback: Vec::new(),
        sessions: NonZeroUsize::MIN,
        threads: NonZeroUsize::MIN,
        library: None,
        max_length: None,
    }
}
