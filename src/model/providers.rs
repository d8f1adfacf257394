//! Execution providers: what a session runs on, asked for in earnest. A provider that is asked for
//! works or the session is refused; nothing falls back in silence.

use std::num::NonZeroUsize;

use ort::environment::Environment;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, SessionBuilder};

use super::feed::Layout;
use crate::config::settings::{Model, Provider, ProviderKind};
use crate::operators;

/// One provider that was asked for and could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub kind: ProviderKind,
    /// ONNX Runtime's words.
    pub reason: String,
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.reason.trim_end())
    }
}

/// A session builder for one provider, with what all our sessions have in common.
pub(super) fn builder(
    environment: &Environment,
    model: &Model,
    provider: &Provider,
    layout: Layout,
) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(environment)?
        .with_intra_threads(model.threads.get())?
        .with_inter_threads(1)?
        // ort's default lets ONNX Runtime pick other devices by itself.
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        // Patterns are kept per input shape, and ours differ from batch to batch.
        .with_memory_pattern(false)?;
    if model.sessions > NonZeroUsize::MIN {
        // Pools that spin fight for the same cores.
        builder = builder.with_intra_op_spinning(false)?;
    }
    if layout == Layout::Packed {
        builder =
            builder.with_operators(operators::domain(operators::Level::best(), model.threads.get())?)?;
    }
    if provider.kind != ProviderKind::Cpu {
        builder = builder.with_disable_cpu_fallback()?;
    }
    Ok(builder.with_execution_providers([dispatch(provider)?])?)
}

fn dispatch(provider: &Provider) -> ort::Result<ExecutionProviderDispatch> {
    let dispatch = match provider.kind {
        // Default turns the arena off, which costs an allocation per operator.
        ProviderKind::Cpu if provider.options.is_empty() => {
            ep::CPU::default().with_arena_allocator(true).build()
        }
        ProviderKind::Cpu => return Err(ort::Error::new("the CPU provider has no options")),
        ProviderKind::Cuda => with_options(ep::CUDA::default(), provider)?.build(),
        ProviderKind::TensorRt => with_options(ep::TensorRT::default(), provider)?.build(),
    };
    Ok(dispatch.error_on_failure())
}

fn with_options<P>(mut ep: P, provider: &Provider) -> ort::Result<P>
where
    P: ArbitrarilyConfigurableExecutionProvider,
{
    for (key, value) in &provider.options {
        // ort panics at it.
        if key.contains('\0') || value.contains('\0') {
            return Err(ort::Error::new("an option holds a NUL character"));
        }
        ep = ep.with_arbitrary_config(key, value);
    }
    Ok(ep)
}

/// What a person can do about a provider that cannot be had.
pub(super) fn advice(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Cpu => "check the package with `squeezeflow model verify`",
        ProviderKind::Cuda => {
            "set `model.library` to an ONNX Runtime built for CUDA (the onnxruntime-gpu wheel, its provider libraries beside it), or choose `provider: cpu`, or list `fallback: [cpu]`"
        }
        ProviderKind::TensorRt => {
            "set `model.library` to an ONNX Runtime built for TensorRT (the onnxruntime-gpu wheel, its provider libraries and TensorRT's own beside it), or choose `provider: cpu`, or list `fallback: [cpu]`"
        }
    }
}
