//! `model build CHECKPOINT -o PACKAGE`: a SqueezeBERT checkpoint to a package.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::evaluate::{cores, dataset};
use super::progress::Bar;
use super::{Exit, fail, print};
use crate::compile::{self, BuildError, Built, Plan, Precision, Progress, Target, Texts};
use crate::{demo, evaluate};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A Hugging Face SqueezeBERT checkpoint: config.json, tokenizer.json, model.safetensors or
    /// pytorch_model.bin.
    #[arg(value_name = "CHECKPOINT", value_hint = clap::ValueHint::DirPath)]
    checkpoint: PathBuf,
    /// The folder to make.
    #[arg(short, long, value_name = "PACKAGE", value_hint = clap::ValueHint::DirPath)]
    output: PathBuf,
    /// What the graph is for [default: cpu].
    #[arg(long, value_enum, default_value_t = TargetArgument::Cpu, hide_default_value = true)]
    target: TargetArgument,
    /// What is computed in [default: fp32, for CUDA and TensorRT fp16].
    #[arg(long, value_enum)]
    precision: Option<PrecisionArgument>,
    /// Round the weights to fp16; for the CPU the embeddings' tables are then stored so, else all of them
    /// [default: as the checkpoint].
    #[arg(long, value_enum)]
    weights: Option<WeightsArgument>,
    /// Real texts, one a line: int8 takes its scales from them, and graphs are compared on them.
    #[arg(long, value_name = "TEXTS", value_hint = clap::ValueHint::FilePath)]
    calibrate: Option<PathBuf>,
    /// Labelled texts (a TSV): measure the accuracy, and write it into card and manifest.
    #[arg(long, value_name = "LABELLED", value_hint = clap::ValueHint::FilePath)]
    evaluate: Option<PathBuf>,
    /// What the labelled texts are called in card and manifest [default: the file's name].
    #[arg(long, value_name = "NAME", requires = "evaluate")]
    dataset: Option<String>,
    /// Points of accuracy that may be lost against fp32; more, and no package is written
    /// [default: 0.5].
    #[arg(long, value_name = "POINTS", requires = "evaluate", value_parser = points)]
    max_accuracy_loss: Option<f64>,
    /// The package's name in results [default: the folder's].
    #[arg(long)]
    name: Option<String>,
    /// The package's version.
    #[arg(long)]
    version: Option<String>,
    /// The ONNX Runtime library [default: ORT_DYLIB_PATH, or beside the program].
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    library: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TargetArgument {
    /// The CPU.
    Cpu,
    /// CUDA (not tried on a GPU yet).
    Cuda,
    /// TensorRT (not tried on a GPU yet).
    #[value(name = "tensorrt")]
    TensorRt,
    /// Standard operators only, fp32, for any runtime.
    Portable,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionArgument {
    Fp32,
    Fp16,
    Int8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WeightsArgument {
    Fp16,
}

const MAX_ACCURACY_LOSS: f64 = 0.5;

/// A bar that is NaN or infinite is none. One below zero calls for a gain.
fn points(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(points) if points.is_finite() => Ok(points),
        _ => Err("points are a number, such as 0.5".to_owned()),
    }
}

pub(super) fn run(arguments: Arguments) -> Exit {
    start(arguments).unwrap_or_else(|exit| exit)
}

fn start(arguments: Arguments) -> Result<Exit, Exit> {
    let (texts, calibrate) = texts(&arguments)?;
    let plan = Plan {
        checkpoint: arguments.checkpoint,
        output: arguments.output,
        name: arguments.name,
        version: arguments.version,
        target: match arguments.target {
            TargetArgument::Cpu => Target::Cpu,
            TargetArgument::Cuda => Target::Cuda,
            TargetArgument::TensorRt => Target::TensorRt,
            TargetArgument::Portable => Target::Portable,
        },
        precision: arguments.precision.map(|precision| match precision {
            PrecisionArgument::Fp32 => Precision::F32,
            PrecisionArgument::Fp16 => Precision::F16,
            PrecisionArgument::Int8 => Precision::Int8,
        }),
        half_weights: arguments.weights.is_some(),
        texts,
        calibrate,
        evaluate: arguments.evaluate.map(|file| {
            let name = arguments.dataset.unwrap_or_else(|| dataset(&file));
            (file, name)
        }),
        max_accuracy_loss: arguments.max_accuracy_loss.unwrap_or(MAX_ACCURACY_LOSS),
        library: arguments.library,
        sessions: cores(),
    };
    let bar = Bar::new();
    let built = compile::build(&plan, &|progress| match progress {
        Progress::Begun(stage, of) => bar.begin(stage, of),
        Progress::Done(texts) => bar.done(texts),
    });
    bar.clear();
    let built = built.map_err(|e| fail(&e, exit(&e)))?;
    Ok(print(&told(&built)))
}

/// What graphs are compared on: all texts that were given, else those of the demo, which are ours; and
/// those for the calibration.
fn texts(arguments: &Arguments) -> Result<(Texts, Option<Texts>), Exit> {
    let plain = |file: &PathBuf| {
        Ok(Texts { from: dataset(file), texts: content(file)?.lines().map(str::to_owned).collect() })
    };
    let labelled =
        |file: &PathBuf| Ok(Texts { from: dataset(file), texts: evaluate::texts(&content(file)?) });
    let calibrate = arguments.calibrate.as_ref().map(plain).transpose()?;
    let evaluate = arguments.evaluate.as_ref().map(labelled).transpose()?;
    let compared = match (calibrate.clone(), evaluate) {
        (Some(mut a), Some(b)) => {
            a.texts.extend(b.texts);
            Texts { from: format!("{}, {}", a.from, b.from), texts: a.texts }
        }
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => {
            let texts = demo::texts().into_iter().map(str::to_owned).collect();
            Texts { from: "built in".to_owned(), texts }
        }
    };
    Ok((compared, calibrate))
}

fn content(file: &Path) -> Result<String, Exit> {
    fs::read_to_string(file)
        .map_err(|source| fail(&BuildError::File { file: file.to_owned(), source }, Exit::Usage))
}

fn exit(error: &BuildError) -> Exit {
    match error {
        BuildError::Request(_) | BuildError::Exists(_) | BuildError::Labelled(_) => Exit::Usage,
        BuildError::Model(_) | BuildError::Compile(_) | BuildError::Labels { .. } | BuildError::Probe(_) => {
            Exit::Model
        }
        _ => Exit::Failed,
    }
}

fn told(built: &Built) -> String {
    let (m, v) = (&built.manifest, &built.manifest.verification);
    let mut out = format!(
        "{}: {}, {}, {:.1} MB\nverified on {} ({}): largest difference {:.2e}, relative {:.2e}, with company {:.2e}\n",
        built.path.display(),
        m.precision,
        m.layout,
        built.graph_size as f64 / 1e6,
        v.on(),
        m.verified_on,
        v.largest_difference,
        v.relative_difference,
        v.batch_difference,
    );
    if let (Some(found), Some(reference)) = (&m.evaluation, &built.reference) {
        out += &format!(
            "accuracy on {}: {:.4} ({} of {}), reference in fp32 {:.4}\n",
            found.dataset, found.accuracy, found.correct, found.examples, reference.accuracy
        );
    }
    if matches!(m.target, "cuda" | "tensorrt") {
        out += "verified on the CPU; it has not been tried on a GPU\n";
    }
    out
}
