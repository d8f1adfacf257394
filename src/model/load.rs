//! Package, library and provider to warm sessions. The provider is chosen once, for all sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::environment::Environment;

use super::package::{Package, Source};
use super::providers::{self, Attempt, Rest};
use super::session::OrtSession;
use super::weights::SharedWeights;
use super::{Infer, InferError, Layout, Loaded, ModelError, Output, PackageError, Reads, Receipt, runtime};
use super::{hash_bytes, merge};
use crate::config::settings;
use crate::config::settings::{LongText, Provider, ProviderKind};
use crate::operators;
use crate::text::{TextTokenizer, Tokens};

/// A verified package whose sessions are not up yet.
#[derive(Clone)]
pub struct Opened<'a> {
    settings: &'a settings::Model,
    /// The package.
    pub package: Arc<Package>,
    source: Source,
    /// No other model runs beside it.
    alone: bool,
}

/// Opens the package and verifies it.
pub fn open(settings: &settings::Model) -> Result<Opened<'_>, ModelError> {
    let (package, source) = Package::open_with_graph(&settings.path)?;
    Ok(Opened { settings, package: Arc::new(package), source, alone: true })
}

/// Opens the package, and brings up its sessions for what its head gives by itself: the logits of a
/// classifier, of tokens, …; hidden states are pooled by their mean.
pub fn load(settings: &settings::Model) -> Result<Loaded, ModelError> {
    let opened = open(settings)?;
    let reads = opened.package.reads()?;
    opened.warm(reads)
}

/// Packages that run as one model.
pub struct Together {
    /// Which ones, by their places among those that were given; an answer has what is read of them in this order.
    pub places: Vec<usize>,
    /// The model.
    pub loaded: Loaded,
}

/// Packages whose graphs have most of their weights in common, each such group as one model that computes what is
/// common once: heads over the same encoder. Those that are in no group are to be [warmed](Opened::warm) by
/// themselves.
pub fn warm_together(opened: &[(&Opened<'_>, Reads)]) -> Result<Vec<Together>, ModelError> {
    let mut fed_alike: Vec<Vec<Member<'_>>> = Vec::new();
    for (place, (opened, reads)) in opened.iter().enumerate() {
        let member = Member { place, opened, reads: *reads };
        let alike = |group: &&mut Vec<Member<'_>>| {
            group.first().is_some_and(|first| first.opened.is_fed_like(opened))
        };
        match fed_alike.iter_mut().find(alike) {
            Some(group) => group.push(member),
            None => fed_alike.push(vec![member]),
        }
    }
    let mut all = Vec::new();
    for group in fed_alike.into_iter().filter(|group| group.len() > 1) {
        let graph = |member: &Member<'_>| {
            let Opened { source, .. } = member.opened;
            source.bytes().map_err(|source| member.opened.unreadable(source))
        };
        let graphs = group.iter().map(graph).collect::<Result<Vec<_>, _>>()?;
        for merged in merge::merge(&graphs) {
            let members: Vec<&Member<'_>> =
                merged.places.iter().filter_map(|place| group.get(*place)).collect();
            let alone = members.len() == opened.len();
            all.extend(together(merged, &members, alone)?);
        }
    }
    Ok(all)
}

/// One of those that may run together.
#[derive(Clone, Copy)]
struct Member<'a> {
    /// Among all.
    place: usize,
    opened: &'a Opened<'a>,
    reads: Reads,
}

/// `members` in the order in which they stand in the graph; `alone`: there are no others beside them.
fn together(
    merged: merge::Merged,
    members: &[&Member<'_>],
    alone: bool,
) -> Result<Option<Together>, ModelError> {
    let Some(first) = members.first() else { return Ok(None) };
    let opened = if alone { first.opened.clone() } else { first.opened.beside_others() };
    let packages = || members.iter().map(|member| &member.opened.package);
    let names: Vec<&str> = packages().map(|package| package.name.as_str()).collect();
    tracing::info!(models = ?names, saved_bytes = merged.saved, "these packages run as one graph: what they have in common is computed once");
    let heads = members.iter().enumerate().map(|(number, member)| (member.reads, merge::suffix(number)));
    let mut loaded = opened.sessions(Source::Built(merged.model), heads.collect())?;
    let digests: String = packages().map(|package| package.digest.as_str()).collect();
    loaded.receipt.model = names.join("+");
    loaded.receipt.digest = format!("sha256:{}", hash_bytes(digests.as_bytes()));
    let invariant = packages().all(|package| package.batch_invariant);
    loaded.receipt.batch_invariant &= invariant;
    Ok(Some(Together { places: members.iter().map(|member| member.place).collect(), loaded }))
}

impl Opened<'_> {
    /// Does one batch of tensors serve both, in sessions of one kind?
    fn is_fed_like(&self, other: &Self) -> bool {
        let (a, b) = (&self.package, &other.package);
        let path = self.settings.path.clone();
        // A graph without a mask must not be given the padding that one with a mask is told of.
        let inputs = |package: &Package| {
            package.inputs.iter().map(|port| port.name.clone()).collect::<BTreeSet<String>>()
        };
        settings::Model { path, ..other.settings.clone() } == *self.settings
            && (a.layout, a.pad_id, a.max_length) == (b.layout, b.pad_id, b.max_length)
            && inputs(a) == inputs(b)
    }

    /// The same for a pipeline that runs other models beside it: its threads do not spin then.
    #[must_use]
    pub fn beside_others(&self) -> Self {
        Self { alone: false, ..self.clone() }
    }

    fn unreadable(&self, source: std::io::Error) -> PackageError {
        PackageError::Onnx { file: self.settings.path.clone(), source }
    }

    /// What it was opened for.
    pub fn settings(&self) -> &settings::Model {
        self.settings
    }

    /// Brings up `settings.sessions` warm sessions on the provider that was asked for, or on the first of
    /// `fallback` that works.
    pub fn warm(&self, reads: Reads) -> Result<Loaded, ModelError> {
        self.sessions(self.source.clone(), vec![(reads, String::new())])
    }

    fn sessions(&self, source: Source, heads: Vec<(Reads, String)>) -> Result<Loaded, ModelError> {
        let Self { settings, package, .. } = self;
        let longest = settings.max_length.map_or(package.max_length, |max| max.get());
        let warm_up = warm_up_texts(&TextTokenizer::new(package, longest, LongText::Truncate)?, longest);
        let mut loader = Loader {
            environment: runtime::environment(settings.library.as_deref())?,
            settings,
            package,
            alone: self.alone,
            source,
            warm_up,
            weights: None,
            heads,
        };
        if package.layout == Layout::Packed && settings.sessions > NonZeroUsize::MIN {
            // A graph of ours for the CPU. Other graphs are loaded as ONNX Runtime loads them.
            let weights = loader.source.bytes().and_then(SharedWeights::of);
            loader.weights = Some(weights.map_err(|source| self.unreadable(source))?);
        }

        let (provider, rest, first) = loader.first()?;
        let mut sessions: Vec<Box<dyn Infer>> = vec![Box::new(first)];
        for number in 2..=settings.sessions.get() {
            let (session, _) = loader.session(provider, rest).map_err(|failure| match failure {
                Failure::Provider(reason) => ModelError::Session { number, reason },
                Failure::Model(error) => error,
            })?;
            sessions.push(Box::new(session));
        }
        let receipt = Receipt {
            model: package.name.clone(),
            digest: package.digest.clone(),
            precision: package.precision.clone(),
            provider: provider_in_use(provider.kind, rest),
            batch_invariant: batch_invariant(package.batch_invariant, provider.kind),
        };
        Ok(Loaded { package: package.clone(), sessions, receipt })
    }
}

/// Also where a part of the graph runs elsewhere nobody is told that all of it runs on the GPU.
fn provider_in_use(kind: ProviderKind, rest: Rest) -> &'static str {
    match (kind, rest) {
        (ProviderKind::Cuda, Rest::OnTheCpu) => "cuda+cpu",
        (ProviderKind::TensorRt, Rest::OnTheCpu) => "tensorrt+cpu",
        (kind, _) => kind.as_str(),
    }
}

/// Whether a text's result is the same whatever it is batched with: GPUs choose their kernels by the
/// batch's shape, so there no package can promise it.
fn batch_invariant(package: bool, provider: ProviderKind) -> bool {
    package && provider == ProviderKind::Cpu
}

/// Settings for a package on the CPU, with all else as it is by itself: what verbs want that load a
/// package without a pipeline.
pub fn on_cpu(dir: &Path, library: Option<PathBuf>, sessions: NonZeroUsize) -> settings::Model {
    settings::Model {
        path: dir.to_owned(),
        provider: Provider { kind: ProviderKind::Cpu, options: BTreeMap::new() },
        fallback: Vec::new(),
        sessions,
        threads: NonZeroUsize::MIN,
        library,
        max_length: None,
    }
}

/// A plain text, and the longest sequence there can be: what the package says it takes, it takes.
fn warm_up_texts(tokenizer: &TextTokenizer, longest: usize) -> Vec<Tokens> {
    let plain = tokenizer.tokenize("A first text, so that the first record does not wait.");
    let mut texts = plain.map(|(sequences, _)| sequences).unwrap_or_default();
    let long = texts.first().map(|first| {
        let ids = first.ids.iter().copied().cycle().take(longest).collect();
        Tokens::new(ids, longest)
    });
    texts.extend(long);
    texts
}

const PACKED: &str = "a packed graph, also that of a plain checkpoint, is for the CPU; make a package for this one with `squeezeflow model build --target`";

/// Why there is no session: another provider may help, or not.
enum Failure {
    Provider(String),
    Model(ModelError),
}

struct Loader<'a> {
    environment: Environment,
    settings: &'a settings::Model,
    package: &'a Package,
    alone: bool,
    source: Source,
    warm_up: Vec<Tokens>,
    /// `None`: each session has its own.
    weights: Option<SharedWeights>,
    /// What is kept of its answers, and how its outputs' names end.
    heads: Vec<(Reads, String)>,
}

impl<'a> Loader<'a> {
    /// The first session, on the first provider that works.
    fn first(&self) -> Result<(&'a Provider, Rest, OrtSession), ModelError> {
        let asked = &self.settings.provider;
        let mut attempts: Vec<Attempt> = Vec::new();
        for provider in iter::once(asked).chain(&self.settings.fallback) {
            match self.session(provider, Rest::Refused) {
                Ok((session, rest)) => {
                    if let Some(failed) = attempts.last() {
                        tracing::warn!(
                            asked = asked.kind.as_str(),
                            provider = provider.kind.as_str(),
                            reason = failed.reason,
                            "FALLBACK: the execution provider that was asked for cannot be had; all sessions run on another",
                        );
                    }
                    if rest == Rest::OnTheCpu {
                        tracing::warn!(
                            model = self.package.name,
                            provider = provider.kind.as_str(),
                            "PARTS ON THE CPU: the execution provider does not take the whole graph, and ONNX Runtime computes the rest of it (such as the arithmetic of shapes) on the CPU; a SqueezeBERT built with `squeezeflow model build --target` is made to need none of that",
                        );
                    }
                    return Ok((provider, rest, session));
                }
                Err(Failure::Model(error)) => return Err(error),
                Err(Failure::Provider(reason)) => attempts.push(Attempt { kind: provider.kind, reason }),
            }
        }
        Err(ModelError::Provider { attempts, advice: providers::advice(asked.kind) })
    }

    /// One warm session, and what became of nodes that the provider does not take.
    fn session(&self, provider: &Provider, rest: Rest) -> Result<(OrtSession, Rest), Failure> {
        if self.package.layout == Layout::Packed && provider.kind != ProviderKind::Cpu {
            return Err(Failure::Provider(PACKED.to_owned()));
        }
        let failed = |e: ort::Error| Failure::Provider(e.to_string());
        let open = |rest| {
            let mut builder = providers::builder(
                &self.environment,
                self.settings,
                self.alone,
                provider,
                self.package.layout,
                rest,
            )?;
            if let Some(weights) = &self.weights {
                builder = weights.supply(builder)?;
            }
            let _turn = (self.package.layout == Layout::Packed).then(operators::opening);
            match &self.source {
                Source::File(file) => builder.commit_from_file(file),
                Source::Built(graph) => builder.commit_from_memory(graph),
            }
        };
        let (session, rest) = providers::whole_or_with_rest(rest, open).map_err(failed)?;
        let mut session =
            OrtSession::new(session, self.package.pad_id, &self.heads).map_err(Failure::Model)?;
        for tokens in &self.warm_up {
            match session.infer(&[tokens]) {
                Ok(outputs) if outputs.iter().all(Output::is_finite) => {}
                Ok(_) => {
                    return Err(Failure::Provider(ModelError::WarmUp(InferError::NotFinite).to_string()));
                }
                Err(error @ InferError::Shape { .. }) => {
                    return Err(Failure::Model(ModelError::WarmUp(error)));
                }
                // A device may take a graph and then fail to run it.
                Err(error) => return Err(Failure::Provider(ModelError::WarmUp(error).to_string())),
            }
        }
        Ok((session, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cpu_keeps_a_packages_promise() {
        assert!(batch_invariant(true, ProviderKind::Cpu));
        for kind in [ProviderKind::Cuda, ProviderKind::TensorRt] {
            assert!(!batch_invariant(true, kind) && !batch_invariant(false, kind), "{kind:?}");
        }
        assert!(!batch_invariant(false, ProviderKind::Cpu));
    }
}
