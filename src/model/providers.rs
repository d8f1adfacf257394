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

/// What becomes of the nodes of a graph that a device's provider does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// There may be none: the session is refused.
    Refused,
    /// ONNX Runtime computes them on the CPU.
    OnTheCpu,
}

/// Opens a session that is all the provider's. Where ONNX Runtime refuses it for that reason alone, one whose
/// rest it computes on the CPU; which of them it is must then be told. It puts the arithmetic of shapes there
/// (`GetCpuPreferredNodes`), and few exports do without that.
pub(super) fn whole_or_with_rest<S>(
    rest: Rest,
    open: impl Fn(Rest) -> ort::Result<S>,
) -> ort::Result<(S, Rest)> {
    match open(rest) {
        Err(error) if rest == Rest::Refused && is_about_the_rest(&error) => {
            Ok((open(Rest::OnTheCpu)?, Rest::OnTheCpu))
        }
        opened => Ok((opened?, rest)),
    }
}

/// ONNX Runtime has no code for it, only these words (`InferenceSession::Initialize`).
fn is_about_the_rest(error: &ort::Error) -> bool {
    error.message().contains("graph nodes that are assigned to the default CPU EP")
}

/// Pools that spin fight for the same cores.
fn may_spin(model: &Model, alone: bool) -> bool {
    alone && model.sessions == NonZeroUsize::MIN
}

/// A session builder for one provider, with what all our sessions have in common. `alone`: the pipeline has no
/// other model.
pub(super) fn builder(
    environment: &Environment,
    model: &Model,
    alone: bool,
    provider: &Provider,
    layout: Layout,
    rest: Rest,
) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(environment)?
        .with_intra_threads(model.threads.get())?
        .with_inter_threads(1)?
        // ort's default lets ONNX Runtime pick other devices by itself.
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        // Patterns are kept per input shape, and ours differ from batch to batch.
        .with_memory_pattern(false)?;
    if !may_spin(model, alone) {
        builder = builder.with_intra_op_spinning(false)?;
    }
    if layout == Layout::Packed {
        builder =
            builder.with_operators(operators::domain(operators::Level::best(), model.threads.get())?)?;
    }
    if provider.kind != ProviderKind::Cpu && rest == Rest::Refused {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::model::{on_cpu, runtime};

    /// On a provider that takes no node of a usual graph: the nearest to a device that the library for CPUs has.
    fn open(rest: Rest) -> ort::Result<Session> {
        let azure = ep::Azure::default().build().error_on_failure();
        let mut builder =
            Session::builder(&runtime::environment(None).unwrap())?.with_execution_providers([azure])?;
        if rest == Rest::Refused {
            builder = builder.with_disable_cpu_fallback()?;
        }
        builder.commit_from_file("tests/packages/tiny-roberta/model.onnx")
    }

    #[test]
    fn what_the_provider_does_not_take_is_computed_on_the_cpu_and_told() {
        let error = open(Rest::Refused).err().unwrap();
        assert!(is_about_the_rest(&error), "{error}");
        let (_, rest) = whole_or_with_rest(Rest::Refused, open).unwrap();
        assert_eq!(rest, Rest::OnTheCpu);
        // The next session is not tried in vain.
        let again = whole_or_with_rest(Rest::OnTheCpu, |rest| {
            assert_eq!(rest, Rest::OnTheCpu);
            open(rest)
        });
        assert_eq!(again.unwrap().1, Rest::OnTheCpu);
        assert_eq!(whole_or_with_rest(Rest::Refused, |_| Ok(())).unwrap(), ((), Rest::Refused));
    }

    #[test]
    fn no_other_failure_is_tried_again() {
        let tries = std::cell::Cell::new(0);
        let refused = whole_or_with_rest(Rest::Refused, |_| {
            tries.set(tries.get() + 1);
            Err::<(), _>(ort::Error::new("CUDA failure 100: no CUDA-capable device is detected"))
        });
        assert!(refused.is_err() && tries.get() == 1);
    }

    #[test]
    fn a_pool_spins_only_where_it_has_the_machine_for_itself() {
        let mut model = on_cpu(Path::new("x"), None, NonZeroUsize::MIN);
        assert!(may_spin(&model, true) && !may_spin(&model, false));
        model.sessions = NonZeroUsize::MIN.saturating_add(1);
        assert!(!may_spin(&model, true));
    }
}
