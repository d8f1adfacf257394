//! `model evaluate PACKAGE LABELLED`: how good a package is on labelled texts.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::progress::Bar;
use super::{Exit, fail, print};
use crate::evaluate::{self, Evaluation};
use crate::model::{self, Loaded, ModelError, Package};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The package's folder.
    #[arg(value_name = "PACKAGE", value_hint = clap::ValueHint::DirPath)]
    package: PathBuf,
    /// Texts and labels: a TSV, one text a line, its label (name or index) after a tab.
    #[arg(value_name = "LABELLED", value_hint = clap::ValueHint::FilePath)]
    labelled: PathBuf,
    /// What the texts are called in card and manifest [default: the file's name].
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Write the figures into the package's manifest.json and README.md.
    #[arg(long)]
    write: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// The ONNX Runtime library [default: ORT_DYLIB_PATH, or beside the program].
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    library: Option<PathBuf>,
}

/// A session a core.
pub(super) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The name that labelled texts get by themselves.
pub(super) fn dataset(file: &Path) -> String {
    file.file_name().map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned())
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    start(arguments).unwrap_or_else(|exit| exit)
}

fn start(arguments: &Arguments) -> Result<Exit, Exit> {
    let package = Package::open(&arguments.package).map_err(|e| fail(&ModelError::from(e), Exit::Model))?;
    if arguments.write {
        evaluate::recordable(&arguments.package).map_err(|e| fail(&e, Exit::Failed))?;
    }
    let examples = evaluate::read(&arguments.labelled, &package.labels).map_err(|e| fail(&e, Exit::Usage))?;
    let settings = model::on_cpu(&arguments.package, arguments.library.clone(), cores());
    let mut loaded = model::load(&settings).map_err(|e| fail(&e, Exit::Model))?;
    let dataset = arguments.dataset.clone().unwrap_or_else(|| dataset(&arguments.labelled));
    let bar = Bar::new();
    bar.begin("evaluating", examples.len());
    let evaluation = evaluate::run(&mut loaded, &dataset, &examples, &|texts| bar.done(texts));
    bar.clear();
    let evaluation = evaluation.map_err(|e| fail(&e, Exit::Failed))?;
    if arguments.write {
        evaluate::record(&arguments.package, &loaded.package.name, &evaluation)
            .map_err(|e| fail(&e, Exit::Failed))?;
    }
    Ok(print(&match arguments.json {
        true => as_json(&loaded, &evaluation),
        false => table(&loaded, &evaluation),
    }))
}

/// Stable: scripts read it.
fn as_json(loaded: &Loaded, evaluation: &Evaluation) -> String {
    let receipt = &loaded.receipt;
    let report = json!({
        "model": { "name": receipt.model, "digest": receipt.digest },
        "precision": receipt.precision,
        "provider": receipt.provider,
        "evaluation": evaluation,
    });
    format!("{report:#}\n")
}

fn table(loaded: &Loaded, e: &Evaluation) -> String {
    let receipt = &loaded.receipt;
    let mut out = format!(
        "{} ({}) on {}: {} of {} right\naccuracy  {:.4}\nmacro F1  {:.4}\n\n",
        receipt.model, receipt.precision, e.dataset, e.correct, e.examples, e.accuracy, e.macro_f1
    );
    let wide =
        e.labels.iter().map(|l| console::measure_text_width(&l.label)).max().unwrap_or_default().max(5);
    // Into memory: it cannot fail.
    let _ = writeln!(out, "label{} precision  recall      F1  texts", " ".repeat(wide - 5));
    for l in &e.labels {
        let fill = " ".repeat(wide.saturating_sub(console::measure_text_width(&l.label)));
        let label = console::strip_ansi_codes(&l.label);
        let _ = writeln!(
            out,
            "{label}{fill}    {:.4}  {:.4}  {:.4} {:>6}",
            l.precision, l.recall, l.f1, l.support
        );
    }
    out
}
