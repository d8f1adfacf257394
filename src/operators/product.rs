//! `ProductU8(bytes, weights) → floats` and `ProductGeluU8(bytes, weights) → bytes`, as ONNX Runtime sees them.
//!
//! `weights` is an initializer of signed bytes as `kernels::product::pack` orders them, none beyond its `LARGEST`:
//! that is checked once, when the kernel is made. Attributes: `outputs` (columns); `factors` and `starts`, one a
//! column: what a sum is multiplied with, and what it begins with; for GELU also `bias`, and `scales` and `zeros`,
//! one each.

use ort::operator::{KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::{TensorElementType, TensorValueType};

use super::kernels::Level;
use super::kernels::product::{PANEL, Weights, check_range, product, product_gelu};
use super::{BoxedKernel, Form, attributes, guarded, parallel, wrong};

pub(super) struct Product {
    pub level: Level,
    pub threads: usize,
    /// Bytes: through GELU.
    pub form: Form,
}

impl Operator for Product {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        self.form.of(["ProductU8", "ProductGeluU8"])
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [TensorElementType::Uint8, TensorElementType::Int8].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(self.form.element())]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let outputs = attributes::count(context, "outputs")?;
        let (mut factors, bias) =
            (attributes::floats(context, "factors")?, attributes::floats(context, "bias")?);
        let mut starts = attributes::integers(context, "starts")?;
        let quantisers = attributes::quantisers(context)?;
        let weights = context
            .constant_input::<TensorValueType<i8>>(1)
            .map_err(|_| wrong("the weights of a product must be a stored tensor of signed bytes"))?;
        check_range(weights.extract_tensor().1).map_err(|e| wrong(&e.to_string()))?;
        let (level, threads, form) = (self.level, self.threads, self.form);
        if factors.len() != outputs || starts.len() != outputs {
            return Err(wrong("there must be one factor and one start for each column"));
        }
        if quantisers.len() != usize::from(form == Form::Byte) {
            return Err(wrong("a product through GELU takes one scale, one to floats none"));
        }
        factors.resize(outputs.next_multiple_of(PANEL), 0.0);
        starts.resize(outputs.next_multiple_of(PANEL), 0);
        Ok(guarded(move |context| {
            let missing = || wrong("an input is missing");
            let (left, right) =
                (context.input(0)?.ok_or_else(missing)?, context.input(1)?.ok_or_else(missing)?);
            let ((shape, left), (_, packed)) =
                (left.try_extract_tensor::<u8>()?, right.try_extract_tensor::<i8>()?);
            let &[rows, inputs] = &shape[..] else { return Err(wrong("bytes must have two dimensions")) };
            let inputs = usize::try_from(inputs).map_err(|_| wrong("bytes have no shape"))?;
            let weights = Weights { packed, inputs, outputs, scales: &factors, starts: &starts };
            let columns = i64::try_from(outputs).map_err(|_| wrong("a shape is too large"))?;
            let mut out =
                context.output(0, [rows, columns])?.ok_or_else(|| wrong("the output is missing"))?;
            // Before the work is split: of a left side without columns there would be no part, and so no check.
            let fits = |out: usize| weights.check(left, out).map_err(|e| wrong(&e.to_string()));
            let share = usize::try_from(rows).map_or(1, |rows| parallel::share(rows, threads)).max(1);
            let lefts = left.chunks((share * inputs).max(1));
            let part = (share * outputs).max(1);
            match quantisers.first() {
                None => {
                    let out: &mut [f32] = out.try_extract_tensor_mut()?.1;
                    fits(out.len())?;
                    parallel::each(context, lefts.zip(out.chunks_mut(part)).collect(), |(left, out)| {
                        product(level, &weights, left, out)
                    })
                }
                Some(quantiser) => {
                    let out: &mut [u8] = out.try_extract_tensor_mut()?.1;
                    fits(out.len())?;
                    parallel::each(context, lefts.zip(out.chunks_mut(part)).collect(), |(left, out)| {
                        product_gelu(level, &weights, left, &bias, *quantiser, out)
                    })
                }
            }
        }))
    }
}
