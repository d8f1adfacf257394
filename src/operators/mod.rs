//! Operators of our own for what lies between the matrix products of a packed graph, registered with ONNX
//! Runtime under the domain [`DOMAIN`]. `compile/packed` writes the graphs that use them.
//!
//! | operator | does |
//! |---|---|
//! | `PackedAttention`, `PackedAttentionU8` | attention over texts without padding → context, as floats or quantised |
//! | `AddNorm`, `AddNormU8` | sum of matrices, layer norm, groups of columns apart, as floats or quantised |
//! | `Gelu`, `GeluU8` | bias and GELU, as floats or quantised |
//! | `ProductU8`, `ProductGeluU8` | product of bytes → floats, or through bias and GELU → bytes |
//!
//! `kernels/` is the arithmetic; the files here are what ONNX Runtime sees of it; `parallel` splits the work of a
//! session that has several threads. An operator never unwinds into ONNX Runtime: a panic becomes an error of the run.
//!
//! This is the room with unsafe code: calling a function that was compiled for a processor's extensions is
//! unsafe by nature, and the inner loops of attention and of the product do without bounds checks. Each use says
//! why it is sound. The tests hold every kernel, at every level that the processor has, against plain loops in
//! double precision.
#![allow(unsafe_code)]

mod attention;
mod attributes;
mod gelu;
pub mod kernels;
mod norm;
mod parallel;
mod product;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ort::operator::{ComputeContext, Kernel, OperatorDomain};
use ort::value::TensorElementType;

pub use kernels::Level;

/// The domain of our operators, as graphs import it.
pub const DOMAIN: &str = "squeezeflow";
/// Its version: raised when an operator's numbers change, since packages of the same digest must answer alike.
pub const VERSION: i64 = 1;

/// All operators, computed at one level, for one session of so many threads. ONNX Runtime must be loaded.
pub fn domain(level: Level, threads: usize) -> ort::Result<OperatorDomain> {
    let domain = OperatorDomain::new(DOMAIN)?
        .add(attention::PackedAttention { level, threads, form: Form::Float })?
        .add(attention::PackedAttention { level, threads, form: Form::Byte })?
        .add(norm::AddNorm { level, threads, form: Form::Float })?
        .add(norm::AddNorm { level, threads, form: Form::Byte })?
        .add(gelu::Gelu { level, threads, form: Form::Float })?
        .add(gelu::Gelu { level, threads, form: Form::Byte })?
        .add(product::Product { level, threads, form: Form::Float })?
        .add(product::Product { level, threads, form: Form::Byte })?;
    #[cfg(test)]
    let domain = domain.add(tests::Fails::Alone)?.add(tests::Fails::OnAThread)?.add(tests::Fails::InWords)?;
    Ok(domain)
}

/// To be held while a session with our operators opens. ONNX Runtime keeps the names of domains in one
/// table of the process; two sessions that open at once may both find ours missing, and the second one to
/// add it fails (`DomainToVersionRange::AddDomainToVersion`).
pub fn opening() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an operator gives: floats, or quantised bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Float,
    Byte,
}

impl Form {
    fn element(self) -> TensorElementType {
        match self {
            Self::Float => TensorElementType::Float32,
            Self::Byte => TensorElementType::Uint8,
        }
    }

    /// The operator's name.
    fn of(self, names: [&'static str; 2]) -> &'static str {
        match self {
            Self::Float => names[0],
            Self::Byte => names[1],
        }
    }
}

/// A kernel whose panics end as errors.
struct Guarded<F>(F);

impl<F: FnMut(&ComputeContext) -> ort::Result<()> + Send> Kernel for Guarded<F> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        // A kernel keeps nothing from run to run but what it was made with.
        catch_unwind(AssertUnwindSafe(|| (self.0)(context)))
            .unwrap_or_else(|_| Err(ort::Error::new("an operator of squeezeflow panicked")))
    }
}

/// A kernel of an operator.
type BoxedKernel<'a> = Box<dyn Kernel + 'a>;

fn guarded<'a>(kernel: impl FnMut(&ComputeContext) -> ort::Result<()> + Send + 'a) -> BoxedKernel<'a> {
    Box::new(Guarded(kernel))
}

fn wrong(message: &str) -> ort::Error {
    ort::Error::new(message)
}
