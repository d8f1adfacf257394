//! The results that a pipeline gives: from its settings to tasks, and to the models that answer for them.
//!
//! Each result is a task over a package. Results whose tasks read the same sequences of the same package
//! are one *stream*: tokenized once, inferred once. A *model* is a package with its sessions.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::settings::{self, Combine, LongText, Settings};
use crate::config::{ModelFacts, TaskOptions};
use crate::fate::Fate;
use crate::model::tasks::{Context, Task, TaskError};
use crate::model::{self, Head, InferError, Loaded, ModelError, Reads, Receipt};
use crate::telemetry::Health;
use crate::text::{Masker, Plan, Stream, TextTokenizer, TokenizeError};

/// Everything that a pipeline's stages need of its models.
pub struct Results {
    /// Each with its sessions.
    pub models: Vec<Loaded>,
    /// What is tokenized, and for which of the models.
    pub streams: Vec<(usize, Stream)>,
    /// What is made of the answers, in the order of the settings.
    pub tasks: Vec<ResultTask>,
}

/// One result.
#[derive(Clone)]
pub struct ResultTask {
    /// Its name among several; `None`: it is the only one.
    pub name: Option<String>,
    /// What makes it; it has asked its model what it wants to know.
    pub task: Arc<dyn Task>,
    /// Is a record without it a dead letter?
    pub required: bool,
    /// Which stream's answers it is made of.
    pub stream: usize,
    /// Which of the numbers: those that others read come before.
    pub before: Vec<Reads>,
    /// What it says of how it was made.
    pub receipt: Receipt,
    /// Longest sequence of its package.
    pub max_length: usize,
}

/// The results cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// A package, or its sessions.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A package's tokenizer.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// A task.
    #[error("{at}: {source}")]
    Task {
        /// Where in the pipeline.
        at: String,
        /// Why.
        source: TaskError,
    },
}

impl ResultsError {
    /// Every one stops the worker before it begins.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }
}

impl From<model::PackageError> for ResultsError {
    fn from(error: model::PackageError) -> Self {
        Self::Model(error.into())
    }
}

/// Loads every package, builds every task, and brings the sessions up.
pub fn load(settings: &Settings) -> Result<Results, ResultsError> {
    let mut plan = Planned::default();
    for result in settings.results.iter() {
        let known = plan.opened.iter().position(|opened| *opened.settings() == result.model);
        let opened = match known {
            Some(known) => known,
            None => {
                plan.opened.push(model::open(&result.model)?);
                plan.opened.len() - 1
            }
        };
        plan.add(settings, result, opened)?;
    }
    plan.warm(&Masker::new(&settings.input.mask))
}

/// The first result of the settings, of a package that is loaded already.
#[cfg(test)]
pub(crate) fn of(settings: &Settings, mut loaded: Loaded) -> Result<Results, ResultsError> {
    let result = &settings.results.first;
    let Built { task, stream } = Built::new(settings, result, &loaded.package)?;
    let task = ResultTask {
        name: result.name.clone(),
        task: prepared(result, task, (&stream, &[]), &Masker::new(&settings.input.mask), &mut loaded)?,
        required: result.required,
        stream: 0,
        before: Vec::new(),
        receipt: loaded.receipt.clone(),
        max_length: loaded.package.max_length,
    };
    Ok(Results { streams: vec![(0, stream)], tasks: vec![task], models: vec![loaded] })
}

/// A task, and what is to be read for it.
struct Built {
    task: Box<dyn Task>,
    stream: Stream,
}

impl Built {
    fn new(
        settings: &Settings,
        result: &settings::ResultOf,
        package: &model::Package,
    ) -> Result<Self, ResultsError> {
        let long_text = settings.input.long_text;
        let tokenizer = TextTokenizer::new(package, longest(&result.model, package), long_text)?;
        let context = Context {
            package,
            tokenizer: &tokenizer,
            scores: settings.output.scores,
            uncertain: settings.output.uncertain.as_ref(),
            combine: match long_text {
                LongText::Windows(windows) => windows.combine,
                LongText::Truncate | LongText::DeadLetter => Combine::First,
            },
        };
        let options = result.task.clone().unwrap_or_else(|| of_head(package.head));
        let at = result.at("task");
        let task = options.build(&context).map_err(|source| ResultsError::Task { at: at.clone(), source })?;
        if settings.input.pair.is_some() && (!matches!(task.plan(), Plan::Text) || task.needs_spans()) {
            let source =
                TaskError::option("", "reads one text, and `input.pair` names a second", "leave it out");
            return Err(ResultsError::Task { at, source });
        }
        if task.redacts() && !result.required {
            // Where it fails, the text would be written as it came.
            let what = "hides parts of the text, and with `required: false` a record goes out without it";
            let source = TaskError::option("", what, "leave `required` out, or hide nothing");
            return Err(ResultsError::Task { at, source });
        }
        if !settings.input.mask.is_empty() && task.needs_spans() {
            let what = "says where in the text things stand, and `input.mask` makes another text of it";
            let source = TaskError::option("", what, "leave `input.mask` out");
            return Err(ResultsError::Task { at, source });
        }
        let stream = Stream {
            plan: task.plan(),
            with_spans: task.needs_spans(),
            required: result.required,
            tokenizer,
        };
        Ok(Self { task, stream })
    }
}

/// What a package is for by itself.
fn of_head(head: Head) -> TaskOptions {
    match head {
        Head::Classification => TaskOptions::TextClassification(Default::default()),
        Head::Tokens => TaskOptions::TokenClassification(Default::default()),
        Head::Questions => TaskOptions::QuestionAnswering(Default::default()),
        Head::None => TaskOptions::FeatureExtraction(Default::default()),
    }
}

/// The longest sequence that the model gets, in tokens.
fn longest(settings: &settings::Model, package: &model::Package) -> usize {
    settings.max_length.map_or(package.max_length, usize::from).min(package.max_length)
}

/// Results whose models are not up yet.
#[derive(Default)]
struct Planned<'a> {
    opened: Vec<model::Opened<'a>>,
    /// Of each model: which package, and what is read of its answers.
    models: Vec<(usize, Reads)>,
    streams: Vec<(usize, Stream)>,
    tasks: Vec<(&'a settings::ResultOf, Box<dyn Task>, usize)>,
}

impl<'a> Planned<'a> {
    fn add(
        &mut self,
        settings: &'a Settings,
        result: &'a settings::ResultOf,
        opened: usize,
    ) -> Result<(), ResultsError> {
        let Some(package) = self.opened.get(opened).map(|opened| opened.package.clone()) else {
            return Ok(());
        };
        let Built { task, mut stream } = Built::new(settings, result, &package)?;
        // One tokenizer, whatever its packages: a text is tokenized once for all of them.
        let others = self.streams.iter().map(|(_, other)| &other.tokenizer);
        stream.tokenizer = stream.tokenizer.shared_with(others);
        let wanted = (opened, task.reads());
        let model = self.models.iter().position(|model| *model == wanted).unwrap_or_else(|| {
            self.models.push(wanted);
            self.models.len() - 1
        });
        let alike =
            |(_, (of, other)): &(usize, &mut (usize, Stream))| *of == model && other.reads_like(&stream);
        let place = match self.streams.iter_mut().enumerate().find(alike) {
            Some((place, (_, other))) => {
                other.with_spans |= stream.with_spans;
                other.required |= stream.required;
                place
            }
            None => {
                self.streams.push((model, stream));
                self.streams.len() - 1
            }
        };
        self.tasks.push((result, task, place));
        Ok(())
    }

    fn warm(mut self, masker: &Masker) -> Result<Results, ResultsError> {
        let (mut loaded, mut streams) = (Vec::<Loaded>::new(), Vec::<(usize, Stream)>::new());
        let mut places: HashMap<usize, (usize, Vec<Reads>)> = HashMap::new();
        let groups = self.groups();
        if groups.len() > 1 {
            self.opened = self.opened.iter().map(model::Opened::beside_others).collect();
        }
        for group in groups {
            let of = |model: &usize| {
                let (opened, reads) = self.models.get(*model)?;
                Some((self.opened.get(*opened)?, *reads))
            };
            let opened: Vec<(&model::Opened<'_>, Reads)> = group.iter().filter_map(of).collect();
            let together = match opened.len() {
                1 => Vec::new(),
                _ => model::warm_together(&opened)?,
            };
            let is_alone = |place: &usize| !together.iter().any(|together| together.places.contains(place));
            let alone: Vec<usize> = (0..opened.len()).filter(is_alone).collect();
            for model::Together { places: members, loaded: whole_model } in together {
                let mut before: Vec<Reads> = Vec::new();
                let mut whole: Option<Stream> = None;
                let members = members.iter().filter_map(|at| Some((group.get(*at)?, opened.get(*at)?)));
                for (model, (_, reads)) in members {
                    for (stream, (_, own)) in
                        self.streams.iter().enumerate().filter(|(_, (of, _))| of == model)
                    {
                        let whole = whole.get_or_insert_with(|| own.clone());
                        whole.with_spans |= own.with_spans;
                        whole.required |= own.required;
                        places.insert(stream, (streams.len(), before.clone()));
                    }
                    before.push(*reads);
                }
                streams.extend(whole.map(|whole| (loaded.len(), whole)));
                loaded.push(whole_model);
            }
            for (model, (opened, reads)) in
                alone.iter().filter_map(|at| Some((group.get(*at)?, opened.get(*at)?)))
            {
                for (stream, (_, own)) in self.streams.iter().enumerate().filter(|(_, (of, _))| of == model) {
                    places.insert(stream, (streams.len(), Vec::new()));
                    streams.push((loaded.len(), own.clone()));
                }
                // A group that did not become one is several, too.
                let several = self.models.len() > 1;
                let opened = if several { &opened.beside_others() } else { opened };
                loaded.push(opened.warm(*reads)?);
            }
        }
        let mut tasks = Vec::with_capacity(self.tasks.len());
        for (result, task, own) in self.tasks {
            let package = self.streams.get(own).and_then(|(model, _)| self.models.get(*model));
            let package = package.and_then(|(opened, _)| self.opened.get(*opened)).map(|of| &of.package);
            let Some((package, (place, before))) = package.zip(places.get(&own)) else { continue };
            let Some((model, stream)) = streams.get(*place) else { continue };
            let Some(model) = loaded.get_mut(*model) else { continue };
            tasks.push(ResultTask {
                name: result.name.clone(),
                task: prepared(result, task, (stream, before), masker, model)?,
                required: result.required,
                stream: *place,
                before: before.clone(),
                // Each says what it is itself, also where it runs together with others.
                receipt: Receipt {
                    model: package.name.clone(),
                    digest: package.digest.clone(),
                    precision: package.precision.clone(),
                    ..model.receipt.clone()
                },
                max_length: package.max_length,
            });
        }
        Ok(Results { models: loaded, streams, tasks })
    }

    /// Models that might run as one: each reads the same sequences as the others, and nothing else.
    fn groups(&self) -> Vec<Vec<usize>> {
        let only = |model: usize| {
            let mut own = self.streams.iter().filter(|(of, _)| *of == model).map(|(_, stream)| stream);
            own.next().filter(|_| own.next().is_none())
        };
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for model in 0..self.models.len() {
            let alike = |group: &&mut Vec<usize>| {
                let first = group.first().and_then(|first| only(*first));
                first.zip(only(model)).is_some_and(|(a, b)| a.reads_like(b))
            };
            match groups.iter_mut().find(alike) {
                Some(group) => group.push(model),
                None => groups.push(vec![model]),
            }
        }
        groups
    }
}

impl Results {
    /// What the configuration is held against, for each result.
    pub fn facts(&self) -> Vec<ModelFacts<'_>> {
        let mut facts = Vec::with_capacity(self.tasks.len());
        for result in &self.tasks {
            let task = &result.task;
            let (labels, classifies, redacts) = (task.labels(), task.is_probability(), task.redacts());
            facts.push(ModelFacts { max_length: result.max_length, labels, classifies, redacts });
        }
        facts
    }

    /// Tells what is loaded, and what it runs on: of packages that run as one each by itself, as the
    /// results' receipts do.
    pub fn announce(&self, health: &Health) {
        for result in &self.tasks {
            let Receipt { model, digest, precision, provider, .. } = &result.receipt;
            health.model_warm(model, digest, precision, provider);
        }
    }
}

/// The task, once it has asked its model what it wants to know before the first record; `before` are those whose
/// numbers come before its own.
fn prepared(
    result: &settings::ResultOf,
    mut task: Box<dyn Task>,
    (stream, before): (&Stream, &[Reads]),
    masker: &Masker,
    model: &mut Loaded,
) -> Result<Arc<dyn Task>, ResultsError> {
    let Some(session) = model.sessions.first_mut() else { return Ok(task.into()) };
    let reads = task.reads();
    let mut ask = |texts: &[&str]| {
        let one = |text: &&str| {
            // As a record with this text is read.
            let (text, _) = masker.apply(text);
            let (mut tokens, _) = stream.tokenizer.tokenize(&text).map_err(|error| match error {
                TokenizeError::NoTokens => InferError::NoTokens,
                other => InferError::Run(other.to_string()),
            })?;
            let tokens = tokens.swap_remove(0);
            let length = tokens.ids.len();
            let answer = session.infer(&[&tokens])?.into_iter().next().ok_or(InferError::NotFinite)?;
            let kept = part_of(&answer.logits, before, reads, length);
            kept.map(<[f32]>::to_vec).ok_or(InferError::NotFinite)
        };
        texts.iter().map(one).collect()
    };
    let at = result.at("task");
    task.prepare(&mut ask).map_err(|source| ResultsError::Task { at, source })?;
    Ok(task.into())
}

/// Of an answer, what one task reads; `before` are those whose numbers come before.
pub fn part_of<'a>(answer: &'a [f32], before: &[Reads], reads: Reads, tokens: usize) -> Option<&'a [f32]> {
    let start: usize = before.iter().map(|reads| reads.len(tokens)).sum();
    answer.get(start..start + reads.len(tokens))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Overrides, load as read};

    /// Of this package of the tests.
    fn loaded(package: &str, results: &str) -> Result<Results, ResultsError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.yaml");
        let package = std::path::absolute(package).unwrap();
        let results = results.replace("PACKAGE", package.to_str().unwrap());
        std::fs::write(&file, format!("input: {{topics: [t]}}\n{results}\n")).unwrap();
        let settings = read(&file, &Overrides::default()).unwrap_or_else(|e| panic!("{e}")).settings;
        load(&settings)
    }

    /// Refused before any session is brought up.
    fn refused(results: &str) -> String {
        match loaded("tests/packages/tasks/bert-entities", results) {
            Err(error @ ResultsError::Task { .. }) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was loaded"),
        }
    }

    #[test]
    fn what_hides_parts_of_the_text_is_never_left_out() {
        let entities = "model: {path: PACKAGE}, task: {token-classification: {redact: all}}";
        let told = refused(&format!("results: {{names: {{{entities}, required: false}}}}"));
        assert!(told.contains("results.names.task") && told.contains("required"), "{told}");
    }

    #[test]
    fn what_reads_the_same_is_read_once() {
        let results = "a: {model: {path: PACKAGE}}, b: {model: {path: PACKAGE}, task: {token-classification: {redact: all}}}";
        let loaded = loaded("tests/packages/tasks/bert-entities", &format!("results: {{{results}}}"));
        let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((loaded.models.len(), loaded.streams.len(), loaded.tasks.len()), (1, 1, 2));
        assert!(loaded.tasks[1].task.redacts() && loaded.tasks[1].task.needs_all());
    }
}
