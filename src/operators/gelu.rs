//! `Gelu(x) → y` and `GeluU8(x) → y`, as ONNX Runtime sees them.
//!
//! Attributes: `bias` (as long as a row; may be left out); for bytes `scales` and `zeros`, one each.

use ort::operator::{KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::kernels::Level;
use super::kernels::gelu::{gelu_f32, gelu_u8};
use super::{BoxedKernel, Form, attributes, guarded, parallel, wrong};

pub(super) struct Gelu {
    pub level: Level,
    pub threads: usize,
    pub form: Form,
}

impl Operator for Gelu {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        self.form.of(["Gelu", "GeluU8"])
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(self.form.element())]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let bias = attributes::floats(context, "bias")?;
        let quantisers = attributes::quantisers(context)?;
        let (level, threads, form) = (self.level, self.threads, self.form);
        if quantisers.len() != usize::from(form == Form::Byte) {
            return Err(wrong("GELU to bytes takes one scale, to floats none"));
        }
        Ok(guarded(move |context| {
            let value = context.input(0)?.ok_or_else(|| wrong("the input is missing"))?;
            let (rows, x) = attributes::matrix(&value)?;
            if !bias.is_empty() && bias.len() != x.columns {
                return Err(wrong("the bias must be as long as a row"));
            }
            let shape = attributes::shape([rows, x.columns])?;
            let mut out = context.output(0, shape)?.ok_or_else(|| wrong("the output is missing"))?;
            let part = (parallel::share(rows, threads) * x.columns).max(1);
            let parts = x.data.chunks(part);
            match quantisers.first() {
                None => {
                    let out: &mut [f32] = out.try_extract_tensor_mut()?.1;
                    parallel::each(context, parts.zip(out.chunks_mut(part)).collect(), |(x, out)| {
                        gelu_f32(level, x, &bias, out);
                        Ok::<_, &str>(())
                    })
                }
                Some(quantiser) => {
                    let out: &mut [u8] = out.try_extract_tensor_mut()?.1;
                    parallel::each(context, parts.zip(out.chunks_mut(part)).collect(), |(x, out)| {
                        gelu_u8(level, x, &bias, *quantiser, out);
                        Ok::<_, &str>(())
                    })
                }
            }
        }))
    }
}
