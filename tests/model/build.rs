//! `model build` and `model evaluate`, from outside: what is written, what is refused, and that
//! nothing is left behind then.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use squeezeflow::config::settings::{LongText, ProviderKind};
use squeezeflow::model::tasks::classify;
use squeezeflow::model::{Package, load};
use squeezeflow::text::{Plan as Reading, TextTokenizer, Tokens};

use super::compile::{move_tensor, random, shape};
use super::golden::{read, rows};
use super::{here, on_cpu};

const TINY: &str = "tests/checkpoints/tiny-squeezebert";

fn squeezeflow(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squeezeflow"));
    command.current_dir(here("")).stdin(Stdio::null()).args(arguments).output().unwrap()
}

fn build(checkpoint: &Path, output: &Path, more: &[&str]) -> Output {
    let (checkpoint, output) = (checkpoint.to_str().unwrap(), output.to_str().unwrap());
    squeezeflow(&[&["model", "build", checkpoint, "-o", output], more].concat())
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn refused(output: &Output, code: i32, parts: &[&str]) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

fn manifest(package: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(package.join("manifest.json")).unwrap()).unwrap()
}

/// The names in a folder.
fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(name).collect();
    names.sort();
    names
}

/// Labelled texts whose labels the tiny model gives, but for every fourth.
fn labelled(dir: &Path) -> (PathBuf, usize) {
    let mut lines = vec!["sentence\tlabel".to_owned()];
    let rows = rows("tiny-squeezebert");
    for (i, row) in rows.iter().enumerate() {
        let text = row["text"].as_str().unwrap();
        if row["token_count_seen"].as_u64().unwrap() > 2
            && !text.contains(['\t', '\n', '\r'])
            && !text.trim().is_empty()
        {
            let labels = ["negative", "neutral", "positive"];
            let right = labels.iter().position(|l| row["label"] == *l).unwrap();
            lines.push(format!(
                "{text}\t{}",
                if i % 4 == 0 { labels[(right + 1) % 3] } else { labels[right] }
            ));
        }
    }
    let file = dir.join("labelled.tsv");
    std::fs::write(&file, lines.join("\n")).unwrap();
    (file, lines.len() - 1)
}

#[test]
fn a_built_package_answers_as_transformers_does() {
    let dir = tempfile::tempdir().unwrap();
    for target in ["cpu", "portable"] {
        let path = dir.path().join(target);
        let told = succeeded(&build(&here(TINY), &path, &["--target", target, "--version", "2.1.0"]));
        assert!(
            told.contains("fp32") && told.contains("verified on 171 texts and 86 pairs of them (built in)"),
            "{told}"
        );
        let said = manifest(&path);
        assert_eq!(
            (&said["name"], &said["version"], &said["target"]),
            (&json!(target), &json!("2.1.0"), &json!(target))
        );
        assert_eq!((&said["batch_invariant"], &said["verification"]["texts"]), (&json!(true), &json!(171)));
        assert_eq!(said["verification"]["pairs"], 86, "of 170 texts, and the longest");
        assert!(said["verification"]["relative_difference"].as_f64().unwrap() < 1e-5);
        assert!(said["checkpoint"]["model.safetensors"].as_str().unwrap().len() == 64);
        assert_eq!(said["files"].as_object().unwrap().len(), 5, "{said}");
        let card = std::fs::read_to_string(path.join("README.md")).unwrap();
        assert!(card.contains("171 texts and 86 pairs") && !card.contains("model-index"), "{card}");

        let mut loaded = load(&on_cpu(&path)).unwrap();
        let tokenizer = TextTokenizer::new(&loaded.package, 128, LongText::Truncate).unwrap();
        let mut compared = 0;
        for row in rows("tiny-squeezebert") {
            let Some((tokens, _)) = read(&tokenizer, row["text"].as_str().unwrap()) else { continue };
            let output = &loaded.sessions[0].infer(&[&tokens]).unwrap()[0];
            let scores = classify(&output.logits, loaded.package.activation).unwrap().scores;
            for (label, score) in loaded.package.labels.iter().zip(scores) {
                assert!((f64::from(score) - row["scores"][label].as_f64().unwrap()).abs() < 1e-4);
                compared += 1;
            }
        }
        assert!(compared > 60);
    }
    assert_eq!(names(dir.path()), ["cpu", "portable"]);
    succeeded(&squeezeflow(&["model", "verify", dir.path().join("cpu").to_str().unwrap()]));
}

#[test]
fn a_package_for_gpus_is_fp16_and_promises_less() {
    let dir = tempfile::tempdir().unwrap();
    for target in ["cuda", "tensorrt"] {
        let path = dir.path().join(target);
        let told = succeeded(&build(&here(TINY), &path, &["--target", target]));
        assert!(told.contains("fp16") && told.contains("not been tried on a GPU"), "{told}");
        let package = Package::open(&path).unwrap();
        assert_eq!((package.precision.as_str(), package.batch_invariant), ("fp16", false));
        assert!(load(&on_cpu(&path)).is_ok());
    }
}

#[test]
fn accuracy_is_measured_and_a_loss_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (file, count) = labelled(dir.path());
    let file = file.to_str().unwrap();
    let path = dir.path().join("good");
    let told = succeeded(&build(&here(TINY), &path, &["--evaluate", file, "--dataset", "ours"]));
    let wrong = count.div_ceil(4);
    let evaluation = manifest(&path)["evaluation"].clone();
    let correct = evaluation["correct"].as_u64().unwrap();
    assert_eq!((&evaluation["dataset"], &evaluation["examples"]), (&json!("ours"), &json!(count)));
    assert!(correct.abs_diff((count - wrong) as u64) <= 2, "{correct} of {count}");
    assert!(told.contains(&format!("({correct} of {count})")), "{told}");
    let card = std::fs::read_to_string(path.join("README.md")).unwrap();
    assert!(
        card.contains("model-index:") && card.contains(&format!("{correct} of {count} texts of ours")),
        "{card}"
    );

    // A bar that is no number is none.
    let before = names(dir.path());
    for bar in ["nan", "inf", "-inf", "much"] {
        let arguments = ["--evaluate", file, &format!("--max-accuracy-loss={bar}")];
        refused(&build(&here(TINY), &dir.path().join("bad"), &arguments), 2, &["points are a number"]);
    }

    // fp32 loses nothing, and so it is refused where a gain is called for.
    let output =
        build(&here(TINY), &dir.path().join("bad"), &["--evaluate", file, "--max-accuracy-loss=-0.5"]);
    refused(&output, 1, &["a loss of 0.00 points", "No package was written"]);
    assert_eq!(names(dir.path()), before);
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("package");
    std::fs::write(dir.path().join("bad.tsv"), "sentence\tlabel\nfine\tpositive\nsecret words\tawful\n")
        .unwrap();
    std::fs::write(dir.path().join("none.txt"), "\n\n").unwrap();
    let (bad, none) = (dir.path().join("bad.tsv"), dir.path().join("none.txt"));
    let tiny = here(TINY);
    let before = names(dir.path());
    let bare = super::checkpoints::folder(
        json!({}),
        &[("model.safetensors", &std::fs::read(tiny.join("model.safetensors")).unwrap())],
    );
    refused(&build(bare.path(), &out, &[]), 3, &["has no tokenizer.json"]);
    refused(&build(&here("tests/nowhere"), &out, &[]), 3, &["is not a folder"]);
    refused(&build(&here("tests/packages/tiny-bert"), &out, &[]), 3, &["\"bert\"", "squeezebert"]);
    refused(&build(&tiny, &out, &["--precision", "fp16"]), 2, &["nothing in fp16"]);
    refused(
        &build(&tiny, &out, &["--evaluate", bad.to_str().unwrap()]),
        2,
        &["bad.tsv:3:", "negative, neutral"],
    );
    refused(&build(&tiny, &out, &["--calibrate", none.to_str().unwrap()]), 1, &["none of the texts"]);
    refused(&build(&tiny, &out, &["--calibrate", "nowhere.txt"]), 2, &["nowhere.txt"]);
    refused(&build(&tiny, &dir.path().join("no/where"), &[]), 1, &["no/"]);
    assert_eq!(names(dir.path()), before);
    let texts = String::from_utf8(build(&tiny, &out, &["--evaluate", bad.to_str().unwrap()]).stderr).unwrap();
    assert!(!texts.contains("secret") && !texts.contains("awful"), "no payload: {texts}");

    // What is there stays there, be it empty.
    std::fs::create_dir(&out).unwrap();
    refused(&build(&tiny, &out, &[]), 2, &["is there already"]);
    assert!(names(&out).is_empty());
}

/// A file of the golden texts, one a line.
fn texts(dir: &Path) -> PathBuf {
    let line = |row: &Value| row["text"].as_str().unwrap().replace(['\n', '\r', '\t'], " ");
    let lines: Vec<String> = rows("tiny-squeezebert").iter().map(line).collect();
    let file = dir.join("texts.txt");
    std::fs::write(&file, lines.join("\n")).unwrap();
    file
}

/// All logits of the golden texts, each alone.
fn logits(package: &Path) -> Vec<Vec<f32>> {
    let mut loaded = load(&on_cpu(package)).unwrap();
    let tokenizer = TextTokenizer::new(&loaded.package, 128, LongText::Truncate).unwrap();
    let tokens = rows("tiny-squeezebert")
        .into_iter()
        .filter_map(|row| read(&tokenizer, row["text"].as_str().unwrap()));
    tokens.map(|(tokens, _)| loaded.sessions[0].infer(&[&tokens]).unwrap().remove(0).logits).collect()
}

#[test]
fn int8_is_calibrated_packed_and_the_same_in_all_company() {
    let dir = tempfile::tempdir().unwrap();
    let (texts, path) = (texts(dir.path()), dir.path().join("bytes"));
    let (labelled, _) = labelled(dir.path());
    let arguments = [
        "--precision",
        "int8",
        "--calibrate",
        texts.to_str().unwrap(),
        "--evaluate",
        labelled.to_str().unwrap(),
        "--max-accuracy-loss",
        "10",
    ];
    let told = succeeded(&build(&here(TINY), &path, &arguments));
    assert!(told.contains("int8, packed") && told.contains("(texts.txt, labelled.tsv)"), "{told}");
    let said = manifest(&path);
    assert_eq!((&said["precision"], &said["layout"]), (&json!("int8"), &json!("packed")));
    assert_eq!((&said["calibrated_on"], &said["batch_invariant"]), (&json!("texts.txt"), &json!(true)));
    assert_eq!(said["verification"]["batch_difference"], 0.0);
    let off = said["verification"]["relative_difference"].as_f64().unwrap();
    assert!(off > 1e-5 && off < 0.1, "{off}");
    assert!(said["files"]["calibration.json"].is_string());
    let package = Package::open(&path).unwrap();
    assert_eq!((package.precision.as_str(), package.layout.as_str()), ("int8", "packed"));
    assert!(!package.files.contains_key("calibration.json"), "a package does not need it any more");
    succeeded(&squeezeflow(&["model", "verify", path.to_str().unwrap()]));

    for (arguments, part) in [
        (vec!["--precision", "int8"], "--calibrate"),
        (
            vec!["--precision", "int8", "--calibrate", texts.to_str().unwrap(), "--target", "cuda"],
            "for the CPU",
        ),
    ] {
        refused(&build(&here(TINY), &dir.path().join("no"), &arguments), 2, &[part]);
    }
}

/// Heads that are no text classifier's are built and verified too.
#[test]
fn other_heads_are_built() {
    let dir = tempfile::tempdir().unwrap();
    for (head, target) in
        [("ForTokenClassification", "cpu"), ("ForQuestionAnswering", "portable"), ("Model", "cpu")]
    {
        let mut config = shape(head, [4, 4, 4, 1, 4, 1], 32, 64, 4, 5);
        (config["vocab_size"], config["max_position_embeddings"]) = (json!(1000), json!(60));
        let checkpoint = with_tokenizer(config);
        let path = dir.path().join(head);
        let told = succeeded(&build(checkpoint.path(), &path, &["--target", target]));
        assert!(told.contains("fp32"), "{told}");
        // And answer, each in its own way: labels by token, starts and ends, a mean.
        let mut loaded = load(&on_cpu(&path)).unwrap_or_else(|e| panic!("{head}: {e}"));
        let outputs = loaded.sessions[0].infer(&[&Tokens::new(vec![2, 9, 8, 3], 2)]).unwrap();
        let numbers = match head {
            "ForTokenClassification" => 4 * 5,
            "ForQuestionAnswering" => 2 * 4,
            _ => 32,
        };
        assert_eq!(outputs[0].logits.len(), numbers, "{head}");
        succeeded(&squeezeflow(&["model", "inspect", path.to_str().unwrap()]));
        // Numbers by token, of 171 texts, one of them as long as the model reads.
        assert!(manifest(&path)["verification"]["values"].as_u64().unwrap() > 171 * 8, "{head}");
        let file = dir.path().join("l.tsv");
        std::fs::write(&file, "fine\t0\n").unwrap();
        let no = dir.path().join("no");
        let output = build(checkpoint.path(), &no, &["--evaluate", file.to_str().unwrap()]);
        refused(&output, 2, &["only a text classifier"]);
    }
}

/// A random checkpoint with the tiny one's tokenizer.
fn with_tokenizer(config: Value) -> tempfile::TempDir {
    let checkpoint = random(config);
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(here(TINY).join(file), checkpoint.path().join(file)).unwrap();
    }
    checkpoint
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    for name in names(from) {
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn a_plain_checkpoint_is_a_model_path_too() {
    let dir = tempfile::tempdir().unwrap();
    copy(&here(TINY), dir.path());
    let package = Package::open(dir.path()).unwrap();
    assert_eq!((package.precision.as_str(), package.layout.as_str()), ("fp32", "packed"));
    assert!(package.batch_invariant && package.labels.len() == 3);
    let files: Vec<&str> = package.files.keys().map(String::as_str).collect();
    assert_eq!(files, ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    let mut compared = 0;
    let expected = rows("tiny-squeezebert").into_iter().filter(|row| row["token_count_seen"] != 2);
    for (row, logits) in expected.zip(logits(dir.path())) {
        for (expected, logit) in row["logits"].as_array().unwrap().iter().zip(logits) {
            assert!((expected.as_f64().unwrap() - f64::from(logit)).abs() < 2e-5, "{}", row["id"]);
            compared += 1;
        }
    }
    assert!(compared > 60);
    succeeded(&squeezeflow(&["model", "verify", dir.path().to_str().unwrap()]));
    let told = succeeded(&squeezeflow(&["model", "inspect", dir.path().to_str().unwrap()]));
    assert!(told.contains("model.safetensors") && told.contains("precision        fp32\n"), "{told}");

    // The digest stands for the weights.
    let file = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_ne!(Package::open(dir.path()).unwrap().digest, package.digest);

    // pytorch_model.bin in its place.
    std::fs::remove_file(&file).unwrap();
    std::fs::copy(here(&format!("{TINY}.bin")), dir.path().join("pytorch_model.bin")).unwrap();
    assert!(Package::open(dir.path()).unwrap().files.contains_key("pytorch_model.bin"));
    assert_eq!(logits(dir.path()), logits(&here(TINY)));
}

#[test]
fn a_checkpoint_with_its_calibration_is_the_int8_package() {
    let dir = tempfile::tempdir().unwrap();
    let (texts, path) = (texts(dir.path()), dir.path().join("package"));
    succeeded(&build(&here(TINY), &path, &["--precision", "int8", "--calibrate", texts.to_str().unwrap()]));
    let checkpoint = dir.path().join("checkpoint");
    std::fs::create_dir(&checkpoint).unwrap();
    copy(&here(TINY), &checkpoint);
    let plain = Package::open(&checkpoint).unwrap().digest;
    std::fs::copy(path.join("calibration.json"), checkpoint.join("calibration.json")).unwrap();
    let package = Package::open(&checkpoint).unwrap();
    assert_eq!((package.precision.as_str(), package.batch_invariant), ("int8", true));
    assert!(package.digest != plain && package.files.contains_key("calibration.json"));
    assert_eq!(logits(&checkpoint), logits(&path), "bit for bit");

    // The same again is the same again.
    let again = dir.path().join("again");
    succeeded(&build(&here(TINY), &again, &["--precision", "int8", "--calibrate", texts.to_str().unwrap()]));
    for file in ["model.onnx", "calibration.json"] {
        assert!(
            std::fs::read(again.join(file)).unwrap() == std::fs::read(path.join(file)).unwrap(),
            "{file}"
        );
    }

    // One of another checkpoint's is refused, and so is one that is none.
    let kept: Value = serde_json::from_slice(&std::fs::read(path.join("calibration.json")).unwrap()).unwrap();
    let (mut empty, mut other) = (kept.clone(), kept.clone());
    (empty["ranges"], other["weights"]) = (json!({}), json!("0".repeat(64)));
    let refused = |calibration: &str, part: &str| {
        std::fs::write(checkpoint.join("calibration.json"), calibration).unwrap();
        let error = load(&on_cpu(&checkpoint)).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&empty.to_string(), "another checkpoint");
    refused(&other.to_string(), "another checkpoint");
    refused("{", "calibration.json");
    // Of the same shape, and with other weights: one bit is enough.
    let file = checkpoint.join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    refused(&kept.to_string(), "another checkpoint");
}

/// What manifest, card and `model inspect` say of stored weights is what the graph has.
#[test]
fn the_manifest_says_how_weights_are_stored() {
    let mut config = shape("ForSequenceClassification", [4, 4, 4, 1, 4, 1], 32, 64, 4, 3);
    (config["vocab_size"], config["max_position_embeddings"]) = (json!(1000), json!(60));
    let checkpoint = with_tokenizer(config);
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(dir.path());
    let int8 = ["--precision", "int8", "--calibrate", texts.to_str().unwrap()];
    let half = ["--weights", "fp16"];
    for (name, arguments, expected) in [
        ("plain", vec![], Value::Null),
        ("half", half.to_vec(), json!("fp32, tables fp16")),
        ("bytes", int8.to_vec(), json!("int8, tables fp16")),
        ("halfbytes", [&int8[..], &half].concat(), json!("int8, tables fp16")),
        ("portable", vec!["--target", "portable"], Value::Null),
        ("halfportable", vec!["--target", "portable", "--weights", "fp16"], json!("fp16")),
        ("cuda", vec!["--target", "cuda"], json!("fp16, tables fp32")),
    ] {
        let path = dir.path().join(name);
        succeeded(&build(checkpoint.path(), &path, &arguments));
        let said = manifest(&path)["weights"].clone();
        assert_eq!(said, expected, "{name}");
        let told = succeeded(&squeezeflow(&["model", "inspect", path.to_str().unwrap(), "--json"]));
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["weights"], expected, "{name}");
    }

    // A table that fp16 does not hold stays in fp32, and is no reason to refuse int8.
    let file = checkpoint.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    move_tensor(&mut bytes, "transformer.embeddings.word_embeddings.weight", 1, 70_000.0);
    std::fs::write(&file, bytes).unwrap();
    let path = dir.path().join("far");
    succeeded(&build(checkpoint.path(), &path, &int8));
    assert_eq!(manifest(&path)["weights"], "int8, tables fp16 and fp32");
}

#[test]
fn a_manifest_that_contradicts_its_graph_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    copy(&here("tests/packages/tiny-squeezebert"), dir.path());
    let mut said = manifest(dir.path());
    said["precision"] = json!("int8");
    std::fs::write(dir.path().join("manifest.json"), said.to_string()).unwrap();
    let error = load(&on_cpu(dir.path())).err().unwrap().to_string();
    assert!(error.contains("computes in fp32") && error.contains("int8"), "{error}");
}

#[test]
fn a_packed_graph_is_refused_where_it_cannot_run() {
    let mut settings = on_cpu(here(TINY));
    settings.provider.kind = ProviderKind::Cuda;
    let error = load(&settings).err().unwrap().to_string();
    assert!(error.contains("is for the CPU") && error.contains("--target"), "{error}");
    settings.fallback = vec![super::provider(ProviderKind::Cpu)];
    assert_eq!(load(&settings).unwrap().receipt.provider, "cpu");
}

#[test]
fn a_checkpoint_of_another_family_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(here("tests/packages/tiny-bert").join(file), dir.path().join(file)).unwrap();
    }
    let error = |dir: &Path| load(&on_cpu(dir)).err().unwrap().to_string();
    assert!(error(dir.path()).contains("model.onnx (nor"), "{}", error(dir.path()));
    std::fs::copy(here(TINY).join("model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let told = error(dir.path());
    assert!(told.contains("\"bert\"") && told.contains("only SqueezeBERT"), "{told}");
}

/// Weights whose differences fp16 cannot hold: the graph is made, is off, and is not written.
#[test]
fn a_graph_that_is_off_is_not_written() {
    let mut config = shape("ForSequenceClassification", [4, 4, 4, 1, 4, 1], 32, 64, 4, 3);
    config["vocab_size"] = json!(1000);
    let checkpoint = with_tokenizer(config);
    let dir = tempfile::tempdir().unwrap();
    succeeded(&build(checkpoint.path(), &dir.path().join("good"), &["--target", "cuda"]));
    let file = checkpoint.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    // The same to all outputs: a layer norm takes it away again.
    move_tensor(&mut bytes, "transformer.encoder.layers.1.output.conv1d.weight", usize::MAX, 250.0);
    std::fs::write(&file, bytes).unwrap();
    let output = build(checkpoint.path(), &dir.path().join("off"), &["--target", "cuda"]);
    refused(&output, 1, &["the graph is off", "No package was written"]);
    assert_eq!(names(dir.path()), ["good"]);
}

/// What `--weights fp16` loses is not hidden by a reference that was rounded likewise.
#[test]
fn rounded_weights_are_held_against_those_of_the_checkpoint() {
    let mut config = shape("ForSequenceClassification", [4, 4, 4, 1, 4, 1], 32, 64, 4, 3);
    config["vocab_size"] = json!(1000);
    let checkpoint = with_tokenizer(config);
    let dir = tempfile::tempdir().unwrap();
    for target in ["cpu", "portable"] {
        let off = |name: &str, arguments: &[&str]| {
            let path = dir.path().join(format!("{target}-{name}"));
            succeeded(&build(checkpoint.path(), &path, &[&["--target", target], arguments].concat()));
            manifest(&path)["verification"]["relative_difference"].as_f64().unwrap()
        };
        let (plain, rounded) = (off("plain", &[]), off("rounded", &["--weights", "fp16"]));
        assert!(plain < 1e-5 && (5e-5..0.02).contains(&rounded), "{target}: {plain:e}, {rounded:e}");
    }

    // Differences that fp16 does not hold: the rounded graph is right, and not this model.
    let file = checkpoint.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    move_tensor(&mut bytes, "transformer.encoder.layers.1.output.conv1d.weight", usize::MAX, 250.0);
    std::fs::write(&file, bytes).unwrap();
    let before = names(dir.path());
    let output = build(checkpoint.path(), &dir.path().join("no"), &["--weights", "fp16"]);
    refused(&output, 1, &["the graph is off", "No package was written"]);
    assert_eq!(names(dir.path()), before);
}

/// Scales that came of single texts alone clip what the second segment brings.
#[test]
fn int8_is_calibrated_on_pairs_too() {
    let mut config = shape("ForQuestionAnswering", [4, 4, 4, 1, 4, 1], 32, 64, 4, 2);
    (config["vocab_size"], config["max_position_embeddings"]) = (json!(1000), json!(60));
    let checkpoint = with_tokenizer(config);
    // One channel that is large in the second segment: past the layer norm it is larger than any of the first.
    let file = checkpoint.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let types = "transformer.embeddings.token_type_embeddings.weight";
    move_tensor(&mut bytes, types, 36, 30.0);
    move_tensor(&mut bytes, types, 35, -30.0);
    std::fs::write(&file, bytes).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let texts = texts(dir.path());
    let (plain, int8) = (dir.path().join("plain"), dir.path().join("int8"));
    succeeded(&build(checkpoint.path(), &plain, &[]));
    let arguments = ["--precision", "int8", "--calibrate", texts.to_str().unwrap()];
    succeeded(&build(checkpoint.path(), &int8, &arguments));
    let said = manifest(&int8);
    assert!(said["verification"]["pairs"].as_u64().unwrap() > 10, "{said}");

    let tokenizer = TextTokenizer::new(&Package::open(&plain).unwrap(), 60, LongText::Truncate).unwrap();
    let encode = |text: &str| tokenizer.encode(text, false).unwrap();
    let second = encode("not a good film, and much too long");
    let pair = tokenizer.sequences(encode("is it good?"), Some(&second), &Reading::Text, false);
    let pair = pair.unwrap().tokens.swap_remove(0);
    assert!(pair.types.contains(&1));
    let answer = |package: &Path| load(&on_cpu(package)).unwrap().sessions[0].infer(&[&pair]).unwrap();
    let (expected, found) = (answer(&plain).swap_remove(0).logits, answer(&int8).swap_remove(0).logits);
    let square = |sum: f32, x: f32| sum + x * x;
    let error = expected.iter().zip(&found).map(|(a, b)| a - b).fold(0.0, square);
    let relative = (error / expected.iter().copied().fold(0.0, square)).sqrt();
    assert!(relative < 0.1, "{relative}");
}

/// A package that a worker refuses is not written, whatever its head.
#[test]
fn what_no_worker_would_load_is_not_written() {
    let mut config = shape("ForTokenClassification", [4, 4, 4, 1, 4, 1], 32, 64, 4, 2);
    config["vocab_size"] = json!(1000);
    config["id2label"] = json!({"0": "O", "1": "O"});
    let checkpoint = with_tokenizer(config);
    let dir = tempfile::tempdir().unwrap();
    refused(&build(checkpoint.path(), &dir.path().join("no"), &[]), 3, &["\"O\""]);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn evaluating_tells_a_table_and_writes_it_where_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (file, count) = labelled(dir.path());
    let (file, path) = (file.to_str().unwrap(), dir.path().join("package"));
    succeeded(&build(&here(TINY), &path, &[]));
    let package = path.to_str().unwrap();
    let digest = Package::open(&path).unwrap().digest;

    let told = succeeded(&squeezeflow(&["model", "evaluate", package, file]));
    for part in ["accuracy", "macro F1", "precision", "neutral", &format!("of {count} right")] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    assert!(manifest(&path).get("evaluation").is_none(), "only where asked");
    let told = succeeded(&squeezeflow(&["model", "evaluate", package, file, "--json", "--write"]));
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["model"]["digest"], digest);
    assert_eq!(report["evaluation"]["labels"].as_array().unwrap().len(), 3);
    let said = manifest(&path);
    assert_eq!(
        (&said["evaluation"], &said["evaluation"]["dataset"]),
        (&report["evaluation"], &json!("labelled.tsv"))
    );
    assert!(said["verification"].is_object(), "all else stays");
    assert_eq!(Package::open(&path).unwrap().digest, digest, "the card is no part of it, and is as listed");
    let card = std::fs::read_to_string(path.join("README.md")).unwrap();
    let correct = report["evaluation"]["correct"].as_u64().unwrap();
    assert!(card.contains(&format!("{correct} of {count} texts of labelled.tsv")), "{card}");
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("l.tsv");
    std::fs::write(&file, "text\tlabel\nok\t0\nno tab here\nok\t3\n").unwrap();
    let file = file.to_str().unwrap();
    let evaluate =
        |package: &str, more: &[&str]| squeezeflow(&[&["model", "evaluate", package, file], more].concat());
    refused(
        &evaluate("tests/packages/tiny-squeezebert", &[]),
        2,
        &["l.tsv:3: no tab", "l.tsv:4: the label is none of"],
    );
    std::fs::write(file, "text\tlabel\nok\t0\n\u{200b}\t0\n").unwrap();
    refused(&evaluate("tests/packages/tiny-squeezebert", &[]), 1, &["line 3:", "take the line out"]);
    // Where nothing can be written, before a single text is looked at.
    let bare = dir.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    copy(&here("tests/packages/tiny-squeezebert"), &bare);
    std::fs::remove_file(bare.join("manifest.json")).unwrap();
    refused(&evaluate(bare.to_str().unwrap(), &["--write"]), 1, &["has no manifest.json"]);
    std::fs::write(file, "text\tlabel\nok\t0\n").unwrap();
    refused(&evaluate("tests/packages/tiny-bert", &[]), 1, &["multi-label"]);
    refused(&evaluate("tests/packages/tiny-roberta", &["--write"]), 1, &["has no manifest.json"]);
    refused(&evaluate("tests/packages", &[]), 3, &["config.json"]);
    refused(
        &squeezeflow(&["model", "evaluate", "tests/packages/tiny-roberta", "nowhere.tsv"]),
        2,
        &["nowhere.tsv"],
    );
}
