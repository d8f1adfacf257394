//! Packages that are not what they say, and graphs that are not what we can run: refused by name.

use std::path::Path;

use squeezeflow::fate::Fate;
use squeezeflow::model::tasks::Activation;
use squeezeflow::model::{Difference, Package, PackageError, load};
use squeezeflow::text::Tokens;

use super::tiny_onnx::{Graph, write_weights};
use super::{here, on_cpu};

fn copy_of(package: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(here(package)).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
    }
    dir
}

fn differences(dir: &Path) -> Vec<Difference> {
    match Package::open(dir) {
        Err(PackageError::Manifest { differences, .. }) => differences,
        other => panic!("not refused for its manifest: {other:?}"),
    }
}

fn load_error(dir: &Path) -> String {
    match load(&on_cpu(dir)) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => {
            assert_eq!(error.fate(), Fate::Fatal);
            error.to_string()
        }
    }
}

fn tokens(ids: &[u32]) -> Tokens {
    Tokens::new(ids.to_vec(), ids.len())
}

#[test]
fn packages_are_read_as_they_are() {
    let sentiment = Package::open(&here("models/sentiment")).unwrap();
    assert_eq!(sentiment.labels, ["negative", "positive"]);
    assert_eq!((sentiment.max_length, sentiment.activation), (512, Activation::Softmax));
    assert_eq!((sentiment.name.as_str(), sentiment.precision.as_str()), ("sentiment", "int8"));
    assert!(sentiment.manifest.is_some() && sentiment.batch_invariant);

    let bert = Package::open(&here("tests/packages/tiny-bert")).unwrap();
    assert_eq!((bert.name.as_str(), bert.activation), ("tiny-bert", Activation::Sigmoid));
    assert!(bert.files.contains_key("onnx/model.onnx") && bert.manifest.is_none());
    assert_eq!((bert.precision.as_str(), bert.batch_invariant), ("fp32", true), "deduced from the graph");

    let roberta = Package::open(&here("tests/packages/tiny-roberta")).unwrap();
    assert_eq!((roberta.max_length, roberta.pad_id, roberta.labels.len()), (128, 1, 3));

    let distilbert = Package::open(&here("tests/packages/tiny-distilbert")).unwrap();
    assert!(distilbert.inputs.iter().all(|input| input.name != "token_type_ids"));
}

#[test]
fn a_digest_stands_for_every_loaded_file() {
    let dir = copy_of("tests/packages/tiny-squeezebert");
    let digest = |dir: &Path| Package::inspect(dir).unwrap().0.digest;
    let before = digest(dir.path());
    assert!(before.starts_with("sha256:") && before.len() == 71);
    assert_eq!(before, digest(&here("tests/packages/tiny-squeezebert")), "wherever it lies");
    for file in ["config.json", "tokenizer_config.json", "tokenizer.json"] {
        let path = dir.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\n")).unwrap();
        assert_ne!(before, digest(dir.path()), "{file}");
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(before, digest(dir.path()));
}

#[test]
fn tampering_is_detected() {
    let dir = copy_of("tests/packages/tiny-squeezebert");
    assert!(Package::open(dir.path()).is_ok());

    // One bit in the middle of the weights.
    let model = dir.path().join("model.onnx");
    let whole = std::fs::read(&model).unwrap();
    let mut bent = whole.clone();
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    std::fs::write(&model, &bent).unwrap();
    assert!(matches!(
        Package::open(dir.path()),
        Err(PackageError::Manifest { .. } | PackageError::Onnx { .. })
    ));
    assert!(load(&on_cpu(dir.path())).is_err());
    std::fs::write(&model, &whole).unwrap();

    // A byte after the end of a JSON file, a file gone: both named.
    let config = dir.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text} ")).unwrap();
    std::fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
    let found = differences(dir.path());
    assert!(
        matches!(&found[..], [Difference::Changed { file, .. }, Difference::Missing(gone)]
        if file == "config.json" && gone == "tokenizer_config.json"),
        "{found:?}"
    );
    assert!(load_error(dir.path()).contains("config.json has sha256"));
}

#[test]
fn a_loaded_file_that_is_not_listed_is_refused() {
    let dir = copy_of("tests/packages/tiny-squeezebert");
    let path = dir.path().join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["files"].as_object_mut().unwrap().remove("tokenizer.json").unwrap();
    std::fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(differences(dir.path()), [Difference::Unlisted("tokenizer.json".into())]);
}

#[test]
fn what_is_missing_or_broken_is_named() {
    let dir = copy_of("tests/packages/tiny-distilbert");
    assert!(load_error(&dir.path().join("nowhere")).contains("is not a folder"));
    for (file, bad) in [("config.json", "{"), ("tokenizer.json", "{}"), ("model.onnx", "not a graph")] {
        let path = dir.path().join(file);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, bad).unwrap();
        let error = load_error(dir.path());
        assert!(error.contains(file), "{file} is not in: {error}");
        std::fs::remove_file(&path).unwrap();
        let error = load_error(dir.path());
        assert!(error.contains(file), "{file} is not in: {error}");
        std::fs::write(&path, good).unwrap();
    }
    assert!(load(&on_cpu(dir.path())).is_ok());
}

#[test]
fn external_data_inside_the_package_is_loaded_and_signed_for() {
    for (graph_dir, location) in [("", "weights.bin"), ("onnx", "weights.bin"), ("onnx", "./data/w.bin")] {
        let dir = Graph { location, ..Graph::default() }.package(graph_dir);
        let weights = dir.path().join(graph_dir).join(location);
        std::fs::create_dir_all(weights.parent().unwrap()).unwrap();
        let missing = load_error(dir.path());
        assert!(missing.contains(weights.file_name().unwrap().to_str().unwrap()), "{missing}");
        write_weights(&weights);
        let mut loaded = load(&on_cpu(dir.path())).unwrap_or_else(|e| panic!("{location}: {e}"));
        let outputs = loaded.sessions[0].infer(&[&tokens(&[3, 5]), &tokens(&[7, 7])]).unwrap();
        assert_eq!(outputs[0].logits, [4.0, 1004.0, 2004.0, 3004.0, 4004.0]);
        assert_eq!(outputs[1].logits[0], 7.0);
        let digest = loaded.package.digest.clone();
        std::fs::write(&weights, [std::fs::read(&weights).unwrap(), vec![0]].concat()).unwrap();
        assert_ne!(Package::open(dir.path()).unwrap().digest, digest, "the weights are part of it");
    }
}

#[test]
fn external_data_may_not_leave_the_package() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("weights.bin");
    write_weights(&secret);
    let absolute = secret.to_str().unwrap();
    for location in [absolute, "../weights.bin", "data/../../weights.bin", "", "*/_ORT_MEM_ADDR_/*"] {
        let dir = Graph { location, ..Graph::default() }.package("onnx");
        write_weights(&dir.path().join("weights.bin"));
        let refused = Package::open(dir.path());
        assert!(matches!(refused, Err(PackageError::External { .. })), "{location:?}: {refused:?}");
    }
    let dir = Graph::default().package("");
    std::os::unix::fs::symlink(&secret, dir.path().join("weights.bin")).unwrap();
    let refused = Package::open(dir.path());
    assert!(matches!(refused, Err(PackageError::External { .. })), "a link: {refused:?}");
}

#[test]
fn graphs_that_we_cannot_feed_or_read_are_refused() {
    let error = |graph: Graph| {
        let dir = graph.package("");
        write_weights(&dir.path().join("weights.bin"));
        load_error(dir.path())
    };
    assert!(error(Graph { input: "pixels", ..Graph::default() }).contains("pixels"));
    assert!(error(Graph { input: "attention_mask", ..Graph::default() }).contains("input_ids"));
    let width = error(Graph { declared: 4, ..Graph::default() });
    assert!(width.contains("5 labels") && width.contains('4'), "{width}");
}

#[test]
fn int32_inputs_are_fed_too() {
    let dir = Graph { element: 6, ..Graph::default() }.package("");
    write_weights(&dir.path().join("weights.bin"));
    let mut loaded = load(&on_cpu(dir.path())).unwrap();
    let outputs = loaded.sessions[0].infer(&[&tokens(&[9])]).unwrap();
    assert_eq!(outputs[0].logits[0], 9.0);
}

/// A graph without a mask would read padding as text.
#[test]
fn a_graph_that_takes_no_mask_is_never_given_padding() {
    let dir = Graph::default().package("");
    write_weights(&dir.path().join("weights.bin"));
    let mut loaded = load(&on_cpu(dir.path())).unwrap();
    let batch = [tokens(&[9, 11, 40]), tokens(&[7]), tokens(&[5, 6]), tokens(&[30, 30, 30]), tokens(&[8])];
    let together = loaded.sessions[0].infer(&batch.each_ref()).unwrap();
    let means: Vec<f32> = together.iter().map(|output| output.logits[0]).collect();
    assert_eq!(means, [20.0, 7.0, 5.5, 30.0, 8.0]);
}

#[test]
fn dynamic_quantisation_is_found_in_the_graph() {
    let dir = Graph { extra: Some("DynamicQuantizeLinear"), ..Graph::default() }.package("");
    write_weights(&dir.path().join("weights.bin"));
    let package = Package::open(dir.path()).unwrap();
    assert_eq!((package.precision.as_str(), package.batch_invariant), ("int8", false));
}

#[test]
fn a_bad_sequence_fails_its_batch_as_poison_and_harms_nothing_else() {
    let mut loaded = load(&on_cpu(here("tests/packages/tiny-squeezebert"))).unwrap();
    let model = &mut loaded.sessions[0];
    let good = tokens(&[2, 43, 254, 3]);
    let before = model.infer(&[&good]).unwrap();
    for bad in [tokens(&[2, 999_999, 3]), tokens(&[])] {
        let error = model.infer(&[&good, &bad]).unwrap_err();
        assert_eq!(error.fate(), Fate::Poison, "{error}");
    }
    assert_eq!(model.infer(&[&good]).unwrap(), before);
    assert!(model.infer(&[]).unwrap().is_empty());
}
