//! Providers and the library: what was asked for, or a refusal that says what to do.

use std::io::{Read, Seek};
use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::Mutex;

use squeezeflow::config::settings::{Model, ProviderKind};
use squeezeflow::model::{ModelError, load};

use super::{here, on_cpu, provider};

fn tiny() -> Model {
    on_cpu(here("tests/packages/tiny-squeezebert"))
}

#[test]
fn the_receipt_says_what_is_used() {
    let mut settings = tiny();
    settings.sessions = NonZeroUsize::new(3).unwrap();
    let loaded = load(&settings).unwrap();
    assert_eq!(loaded.sessions.len(), 3);
    assert_eq!((loaded.receipt.provider, loaded.receipt.model.as_str()), ("cpu", "tiny-squeezebert"));
    assert_eq!(loaded.receipt.digest, loaded.package.digest);
    assert!(loaded.receipt.batch_invariant);
}

/// The library of the tests is the CPU wheel's: it has no CUDA.
#[test]
fn cuda_is_refused_where_there_is_none() {
    for (kind, name) in [(ProviderKind::Cuda, "cuda"), (ProviderKind::TensorRt, "tensorrt")] {
        let mut settings = tiny();
        settings.provider = provider(kind);
        settings.provider.options.insert("device_id".into(), "0".into());
        let error = match load(&settings) {
            Err(error @ ModelError::Provider { .. }) => error.to_string(),
            other => panic!("{:?}", other.map(|l| l.receipt)),
        };
        for part in [name, "not enabled in this build", "onnxruntime-gpu", "fallback: [cpu]"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}

#[test]
fn a_listed_fallback_is_taken_and_said() {
    let mut settings = tiny();
    settings.provider = provider(ProviderKind::TensorRt);
    settings.fallback = vec![provider(ProviderKind::Cuda), provider(ProviderKind::Cpu)];
    let mut log = tempfile::tempfile().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(log.try_clone().unwrap())).finish();
    let loaded = tracing::subscriber::with_default(subscriber, || load(&settings)).unwrap();
    assert_eq!(loaded.receipt.provider, "cpu");
    let mut said = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut said).unwrap();
    for part in ["WARN", "FALLBACK", "tensorrt", "cpu", "not enabled in this build"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn a_shorter_limit_is_kept_and_a_longer_one_refused() {
    let mut settings = tiny();
    settings.max_length = NonZeroUsize::new(64);
    assert!(load(&settings).is_ok());
    settings.max_length = NonZeroUsize::new(129);
    assert!(matches!(load(&settings), Err(ModelError::Tokenizer(_))));
}

/// Not a test: what the child processes of `wrong_libraries_are_refused` run.
#[test]
#[ignore = "run by wrong_libraries_are_refused, in a process of its own"]
fn child_loads_a_model() {
    match load(&tiny()) {
        Ok(loaded) => println!("LOADED {}", loaded.receipt.provider),
        Err(error) => println!("REFUSED {error}"),
    }
}

/// One process has one ONNX Runtime: each library is tried in its own.
#[test]
fn wrong_libraries_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("libonnxruntime.so");
    std::fs::write(&text, "not a library").unwrap();
    // A real library that is not ONNX Runtime: the C library of this very process.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        maps.split_whitespace().find(|word| word.contains("/libc.so") || word.contains("/libc-")).unwrap();
    let nowhere = dir.path().join("nowhere.so");
    for (library, expected) in [
        (text.to_str().unwrap(), "cannot serve as ONNX Runtime"),
        (libc, "does not export `OrtGetApiBase`"),
        (nowhere.to_str().unwrap(), "ORT_DYLIB_PATH names"),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["runtime::child_loads_a_model", "--exact", "--ignored", "--nocapture"])
            .env("ORT_DYLIB_PATH", library)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{library}: it panicked: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for part in ["REFUSED", expected, library, "make onnxruntime"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    }
}
