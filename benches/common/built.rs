//! What squeezeflow's compiler makes of a checkpoint, always anew, so that no figure is of yesterday's.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use squeezeflow::compile::{Plan, Precision, Target, Texts, build};

use super::report::{self, data};

/// The precisions, as the folders are called.
pub const PRECISIONS: [&str; 2] = ["fp32", "int8"];

/// `DIR/fp32` and `DIR/int8`: packages for the CPU, verified as every package is.
pub fn packages(dir: &Path, checkpoint: &Path) -> [PathBuf; 2] {
    let texts = texts();
    PRECISIONS.map(|name| {
        let output = dir.join(name);
        if output.exists() {
            std::fs::remove_dir_all(&output).unwrap();
        }
        let int8 = name == "int8";
        let plan = Plan {
            checkpoint: checkpoint.to_owned(),
            output: output.clone(),
            name: None,
            version: None,
            target: Target::Cpu,
            precision: Some(if int8 { Precision::Int8 } else { Precision::F32 }),
            half_weights: false,
            texts: texts.clone(),
            calibrate: int8.then(|| texts.clone()),
            evaluate: None,
            max_accuracy_loss: f64::INFINITY,
            library: Some(report::library()),
            sessions: NonZeroUsize::MIN,
        };
        let built = build(&plan, &|_| ()).unwrap();
        println!("{}: {:.1} MB", built.path.display(), built.graph_size as f64 / 1e6);
        built.path
    })
}

/// The first of SST-2's training texts; where they are not, the demo's.
fn texts() -> Texts {
    let train = std::fs::read_to_string(data("sst2/train.tsv")).unwrap_or_default();
    let texts: Vec<String> = train
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.rsplit_once('\t')?.0.to_owned()))
        .take(512)
        .collect();
    match texts.is_empty() {
        false => Texts { from: "SST-2 train, 512 texts".to_owned(), texts },
        true => Texts {
            from: "the demo's texts".to_owned(),
            texts: squeezeflow::demo::texts().into_iter().map(str::to_owned).collect(),
        },
    }
}
