//! `squeezeflow model build`: checkpoint → graph → verified → package. All is made in a folder beside
//! the one that was asked for, which takes its name only when everything was found right.

use std::path::{Path, PathBuf};

use super::calibrate::Calibration;
use super::checkpoint::Checkpoint;
use super::config::Head;
use super::error::{BuildError, CompileError};
use super::package::{Draft, Manifest, Scratch};
use super::packed;
use super::plan::{Plan, Precision, Target, Texts};
use super::portable::{self, Arithmetic};
use super::proto;
use super::reference;
use super::sample::{Length, Sample};
use super::verify::{self, Verification};
use crate::config::settings::LongText;
use crate::evaluate::{self, Evaluation};
use crate::model::{self, Layout, Package, max_length};
use crate::text::TextTokenizer;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A stage with so many texts to do.
    Begun(&'static str, usize),
    /// That many were just done.
    Done(usize),
}

/// A package that was built.
#[derive(Debug)]
pub struct Built {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The reference's evaluation, where one was asked for.
    pub reference: Option<Evaluation>,
    /// In bytes.
    pub graph_size: usize,
}

/// Most texts that a calibration is made of: more move its ends no more.
const CALIBRATED: usize = 512;
/// Most texts that the graphs are compared on: enough of every length, and done in seconds.
const COMPARED: usize = 256;

/// Builds, verifies, evaluates, writes. On any error nothing is left behind.
pub fn build(plan: &Plan, progress: &(dyn Fn(Progress) + Sync)) -> Result<Built, BuildError> {
    let precision = plan.check()?;
    let mut checkpoint = Checkpoint::open(&plan.checkpoint)?;
    if plan.half_weights {
        checkpoint.round_to_f16();
    }
    if plan.evaluate.is_some() && checkpoint.config.head != Head::SequenceClassification {
        return Err(BuildError::Request("only a text classifier can be evaluated on labelled texts"));
    }
    let mut draft = Draft::read(&checkpoint)?;
    let tokenizer = tokenizer(&draft, &checkpoint)?;
    let sample =
        |texts: &Texts, most, length| Sample::of(&texts.texts, most, length, &tokenizer, &checkpoint.config);
    let compared = sample(&plan.texts, COMPARED, Length::AndTheLongest)?;
    let library = plan.library.as_deref();
    let calibration = match (&plan.calibrate, precision) {
        (Some(texts), Precision::Int8) => {
            let Sample { sequences, .. } = sample(texts, CALIBRATED, Length::AsTheyAre)?;
            progress(Progress::Begun("calibrating", 2 * sequences.len()));
            let done = |texts| progress(Progress::Done(texts));
            let calibration = Calibration::of(&checkpoint, &sequences, library, &done)?;
            draft.keep(&calibration)?;
            Some(calibration)
        }
        _ => None,
    };
    let (graph, layout) = graph(&checkpoint, plan.target, precision, calibration.as_ref())?;

    let verify = |checkpoint: &Checkpoint| {
        progress(Progress::Begun("verifying", compared.sequences.len()));
        let done = |texts| progress(Progress::Done(texts));
        verify::compare(&reference::build(checkpoint)?, &graph, &compared, 0, library, &done)
            .map_err(BuildError::from)
    };
    // Whose rounding would hide what else is wrong is first held against the same rounded weights.
    let rounded = plan.half_weights && precision == Precision::F32;
    if rounded {
        verify(&checkpoint)?.judge(precision)?;
    }
    // What the rounding itself does shows against the weights as they were given, here and below.
    checkpoint.as_stored();
    let verification = verify(&checkpoint)?;
    verification.judge(if rounded { Precision::F16 } else { precision })?;

    let scratch = Scratch::beside(&plan.output)?;
    draft.write(&scratch.path, &graph)?;
    let (evaluation, reference) = plan.evaluations(&checkpoint, &draft, &scratch.path, progress)?;
    let mut manifest = plan.manifest(&checkpoint, precision, layout, verification, evaluation);
    manifest.weights = proto::stored(&graph);
    let manifest = draft.finish(&scratch.path, manifest, &graph)?;
    // As a worker will: with its digests, its labels, and its first text.
    model::load(&model::on_cpu(&scratch.path, plan.library.clone(), std::num::NonZeroUsize::MIN))?;
    let path = scratch.become_package(&plan.output)?;
    Ok(Built { path, manifest, reference, graph_size: graph.len() })
}

impl Plan {
    /// Of the package and of the reference, on the labelled texts; refused if too much is lost.
    fn evaluations(
        &self,
        checkpoint: &Checkpoint,
        draft: &Draft,
        package: &Path,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(Option<Evaluation>, Option<Evaluation>), BuildError> {
        let Some((file, dataset)) = &self.evaluate else { return Ok((None, None)) };
        let labels = Package::open(package)?.labels;
        let examples = evaluate::read(file, &labels)?;
        let evaluated = |dir: &Path, stage| {
            progress(Progress::Begun(stage, examples.len()));
            let mut loaded = model::load(&model::on_cpu(dir, self.library.clone(), self.sessions))?;
            let done = |texts| progress(Progress::Done(texts));
            Ok::<_, BuildError>(evaluate::run(&mut loaded, dataset, &examples, &done)?)
        };
        let found = evaluated(package, "evaluating")?;
        let plain = Scratch::beside(&self.output)?;
        draft.write(&plain.path, &portable::build(checkpoint, Arithmetic::F32)?)?;
        let reference = evaluated(&plain.path, "evaluating the reference")?;
        if reference.points() - found.points() > self.max_accuracy_loss {
            return Err(BuildError::Accuracy {
                found: found.points(),
                reference: reference.points(),
                limit: self.max_accuracy_loss,
                examples: examples.len(),
            });
        }
        Ok((Some(found), Some(reference)))
    }

    fn manifest(
        &self,
        checkpoint: &Checkpoint,
        precision: Precision,
        layout: Layout,
        verification: Verification,
        evaluation: Option<Evaluation>,
    ) -> Manifest {
        let folder = self.output.file_name().map(|name| name.to_string_lossy().into_owned());
        Manifest {
            name: self.name.clone().or(folder).unwrap_or_else(|| "model".into()),
            version: self.version.clone(),
            precision: precision.as_str(),
            // Is read off the graph.
            weights: None,
            target: self.target.as_str(),
            layout: layout.as_str(),
            // GPUs choose their kernels by the batch's shape, and none was at hand to try.
            batch_invariant: matches!(self.target, Target::Cpu | Target::Portable),
            built_by: concat!("squeezeflow ", env!("CARGO_PKG_VERSION")),
            checkpoint: checkpoint
                .files
                .iter()
                .map(|(name, file)| (name.clone(), file.sha256.clone()))
                .collect(),
            calibrated_on: match precision {
                Precision::Int8 => self.calibrate.as_ref().map(|texts| texts.from.clone()),
                _ => None,
            },
            verified_on: self.texts.from.clone(),
            verification,
            evaluation,
            files: std::collections::BTreeMap::new(),
        }
    }
}

/// The graph for a target.
fn graph(
    checkpoint: &Checkpoint,
    target: Target,
    precision: Precision,
    calibration: Option<&Calibration>,
) -> Result<(Vec<u8>, Layout), CompileError> {
    let padded = |arithmetic| Ok((portable::build(checkpoint, arithmetic)?, Layout::Padded));
    let packed = |arithmetic| Ok((packed::build(checkpoint, arithmetic)?, Layout::Packed));
    match (target, precision, calibration) {
        (Target::Cpu, _, Some(calibration)) => packed(packed::Arithmetic::Int8(calibration)),
        (Target::Cpu, _, None) => packed(packed::Arithmetic::F32),
        (_, Precision::F16, _) => padded(Arithmetic::F16),
        _ => padded(Arithmetic::F32),
    }
}

/// The package's tokenizer, up to what its model reads.
fn tokenizer(draft: &Draft, checkpoint: &Checkpoint) -> Result<TextTokenizer, BuildError> {
    let longest = max_length(&draft.config, draft.tokenizer_config.as_deref())
        .map_err(|source| BuildError::Labels { file: checkpoint.dir.join("config.json"), source })?;
    Ok(TextTokenizer::from_json(&draft.tokenizer, longest, LongText::Truncate)?)
}
