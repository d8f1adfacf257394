//! The packed graph: equal to transformers and to the reference, int8 within its bounds, and no text sees
//! another.

use std::num::NonZeroUsize;

use squeezeflow::compile::packed::{self, Arithmetic};
use squeezeflow::compile::{Calibration, CalibrationError, Checkpoint, CompileError, reference};
use squeezeflow::model::{InferError, Layout, Probe, Rewriting, load};
use squeezeflow::operators::Level;
use squeezeflow::text::Tokens;

use super::compile::{answers, difference, golden, pairs, random, sequences, shape, worst};
use super::{here, on_cpu};

const TINY: &str = "tests/checkpoints/tiny-squeezebert";

/// Of an architecture: head, groups, widths, heads, labels.
type Case = (&'static str, [usize; 6], usize, usize, usize, usize);

/// All heads; groups that match the heads, that cut a head in two, that differ among q, k and v, and that differ
/// between one product and the next; widths that are no multiple of anything.
const CASES: [Case; 8] = [
    ("ForSequenceClassification", [4, 4, 4, 1, 4, 4], 32, 64, 4, 1),
    ("ForSequenceClassification", [4, 4, 4, 1, 4, 4], 48, 64, 12, 3),
    ("ForSequenceClassification", [1, 1, 1, 1, 1, 1], 20, 28, 5, 150),
    ("ForSequenceClassification", [4, 4, 4, 2, 2, 4], 24, 40, 3, 2),
    ("ForSequenceClassification", [2, 1, 4, 4, 1, 2], 24, 40, 2, 2),
    ("ForTokenClassification", [2, 1, 4, 2, 4, 1], 24, 40, 3, 5),
    ("ForQuestionAnswering", [2, 2, 2, 3, 6, 2], 36, 48, 6, 2),
    ("Model", [4, 2, 1, 1, 2, 4], 16, 32, 1, 2),
];

fn checkpoints() -> impl Iterator<Item = (Case, tempfile::TempDir, Checkpoint)> {
    CASES.into_iter().map(|case| {
        let (head, groups, hidden, inner, heads, labels) = case;
        let dir = random(shape(head, groups, hidden, inner, heads, labels));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        (case, dir, checkpoint)
    })
}

fn flat(answers: &[Vec<Vec<f32>>]) -> Vec<f32> {
    answers.iter().flatten().flatten().copied().collect()
}

#[test]
fn packed_fp32_answers_as_transformers_does() {
    let checkpoint = Checkpoint::open(&here(TINY)).unwrap();
    let graph = packed::build(&checkpoint, Arithmetic::F32).unwrap();
    let golden = golden("tests/packages/tiny-squeezebert", "tiny-squeezebert");
    let off = difference(&graph, Rewriting::All, &golden);
    assert!(off < 2e-5, "{off}");
}

#[test]
fn packed_fp32_of_every_head_and_odd_shape_equals_the_reference() {
    for (case, _dir, checkpoint) in checkpoints() {
        let texts = [sequences(50, 24), pairs(50, 24)].concat();
        let straight = reference::build(&checkpoint).unwrap();
        let (names, expected) = answers(&straight, Rewriting::None, &texts, 1);
        let graph = packed::build(&checkpoint, Arithmetic::F32).unwrap();
        for size in [1, 5, 48] {
            let (found_names, found) = answers(&graph, Rewriting::All, &texts, size);
            assert_eq!(names, found_names, "{case:?}");
            let off = worst(expected.iter().flatten().zip(found.iter().flatten()));
            assert!(off < 2e-5, "{case:?} in batches of {size}: {off}");
        }
    }
}

#[test]
fn int8_is_near_and_does_not_see_the_company_by_one_bit() {
    for (case, _dir, checkpoint) in checkpoints() {
        let texts = [sequences(50, 24), pairs(50, 24)].concat();
        let straight = reference::build(&checkpoint).unwrap();
        let (_, expected) = answers(&straight, Rewriting::None, &texts, 1);
        let calibration = Calibration::of(&checkpoint, &texts, None, &|_| {}).unwrap();
        let graph = packed::build(&checkpoint, Arithmetic::Int8(&calibration)).unwrap();
        let (_, alone) = answers(&graph, Rewriting::All, &texts, 1);
        for size in [5, 48] {
            let (_, together) = answers(&graph, Rewriting::All, &texts, size);
            assert_eq!(alone, together, "{case:?} in batches of {size}");
        }
        // At every level of this processor: no batch shows. Between levels floats may differ in the last bits.
        for level in Level::all() {
            let run = |size: usize| {
                let mut probe = Probe::on(&graph, Rewriting::All, None, level, 1).unwrap();
                let run = |part: &[Tokens]| probe.run(&part.iter().collect::<Vec<_>>(), 3).unwrap();
                texts.chunks(size).flat_map(run).collect::<Vec<_>>()
            };
            assert_eq!(run(1), run(48), "{case:?} with {}", level.as_str());
        }
        let (expected, found) = (flat(&expected), flat(&alone));
        let square = |x: f32| f64::from(x).powi(2);
        let error: f64 = expected.iter().zip(&found).map(|(a, b)| square(a - b)).sum();
        let size: f64 = expected.iter().map(|x| square(*x)).sum();
        let relative = (error / size).sqrt();
        assert!(relative < 0.1 && relative > 0.0, "{case:?}: {relative}");
    }
}

#[test]
fn a_calibration_belongs_to_its_checkpoint() {
    let checkpoint = Checkpoint::open(&here(TINY)).unwrap();
    let texts = sequences(500, 30);
    let calls = std::cell::Cell::new(0);
    let calibration = Calibration::of(&checkpoint, &texts, None, &|n| calls.set(calls.get() + n)).unwrap();
    assert_eq!(calls.get(), 2 * texts.len(), "two passes");
    let again = serde_json::from_str(&serde_json::to_string(&calibration).unwrap()).unwrap();
    assert_eq!(calibration, again, "as it is kept in a file");

    let none = Calibration::of(&checkpoint, &[], None, &|_| {});
    assert!(matches!(none, Err(CompileError::Calibration(CalibrationError::NoTexts))));
    let deeper = {
        let mut config = shape("ForSequenceClassification", [4, 4, 4, 1, 4, 4], 32, 64, 4, 3);
        config["num_hidden_layers"] = 3.into();
        random(config)
    };
    let deeper = Checkpoint::open(deeper.path()).unwrap();
    let other = packed::build(&deeper, Arithmetic::Int8(&calibration));
    assert!(matches!(other, Err(CompileError::Calibration(CalibrationError::Weights))));
}

#[test]
fn a_batch_that_fails_leaves_the_session_as_it_was() {
    let checkpoint = Checkpoint::open(&here(TINY)).unwrap();
    let graph = packed::build(&checkpoint, Arithmetic::F32).unwrap();
    let mut probe = Probe::new(&graph, Rewriting::All, None).unwrap();
    let good = Tokens::new(vec![2, 5, 3], 3);
    let expected = probe.run(&[&good], 0).unwrap();
    // An id beyond the vocabulary, as the worker would see it from a wrong tokenizer.
    let bad = Tokens::new(vec![2, 1_000_000, 3], 3);
    assert!(probe.run(&[&good, &bad], 0).is_err());
    assert_eq!(probe.run(&[&good], 0).unwrap(), expected);
}

/// A package folder with this graph, and the tiny package's tokenizer.
fn package(checkpoint: &Checkpoint, graph: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(here("tests/packages/tiny-squeezebert").join(file), dir.path().join(file)).unwrap();
    }
    std::fs::copy(checkpoint.dir.join("config.json"), dir.path().join("config.json")).unwrap();
    std::fs::write(dir.path().join("model.onnx"), graph).unwrap();
    dir
}

#[test]
fn sessions_of_a_packed_package_share_weights_and_answer_alike() {
    let mut config = shape("ForSequenceClassification", [4, 4, 4, 1, 4, 4], 256, 512, 8, 3);
    config["vocab_size"] = 1000.into();
    config["max_position_embeddings"] = 128.into();
    let dir = random(config);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let texts = sequences(1000, 60);
    let calibration = Calibration::of(&checkpoint, &texts, None, &|_| {}).unwrap();
    for (arithmetic, precision) in [(Arithmetic::F32, "fp32"), (Arithmetic::Int8(&calibration), "int8")] {
        let graph = packed::build(&checkpoint, arithmetic).unwrap();
        let dir = package(&checkpoint, &graph);
        let mut settings = on_cpu(dir.path());
        settings.sessions = NonZeroUsize::new(3).unwrap();
        let mut loaded = load(&settings).unwrap();
        // And one of several threads, which split the operators' work.
        (settings.sessions, settings.threads) = (NonZeroUsize::MIN, NonZeroUsize::new(3).unwrap());
        loaded.sessions.extend(load(&settings).unwrap().sessions);
        assert_eq!(loaded.package.layout, Layout::Packed);
        assert_eq!((loaded.receipt.precision.as_str(), loaded.receipt.batch_invariant), (precision, true));

        let (_, expected) = answers(&graph, Rewriting::All, &texts, 1);
        let batch: Vec<&Tokens> = texts.iter().collect();
        for session in &mut loaded.sessions {
            let outputs = session.infer(&batch).unwrap();
            for (output, expected) in outputs.iter().zip(&expected) {
                match arithmetic {
                    Arithmetic::Int8(_) => assert_eq!(output.logits, expected[0]),
                    _ => assert!(worst([(&output.logits, &expected[0])].into_iter()) < 1e-5),
                }
            }
            let empty = Tokens::new(Vec::new(), 0);
            assert_eq!(session.infer(&[&empty]).unwrap_err(), InferError::NoTokens);
            assert!(session.infer(&[]).unwrap().is_empty());
        }
    }
}
