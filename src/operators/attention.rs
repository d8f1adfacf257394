//! `PackedAttention(offsets, matrices…) → context`, as ONNX Runtime sees it.
//!
//! Attributes: `heads`, `width` (of a head), `first` (1: only a text's first token asks); `queries`, `keys`,
//! `values`: pairs of a matrix (counted without `offsets`) and a column; `query_bias`; for bytes `scales` and
//! `zeros`, one each.

use ort::operator::{ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::kernels::Level;
use super::kernels::attention::{Context, Matrix, Plan, attention};
use super::{BoxedKernel, Form, attributes, guarded, parallel, wrong};

pub(super) struct PackedAttention {
    pub level: Level,
    pub threads: usize,
    pub form: Form,
}

impl Operator for PackedAttention {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        self.form.of(["PackedAttention", "PackedAttentionU8"])
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(TensorElementType::Int64),
            OperatorInput::variadic(1).homogenous(TensorElementType::Float32),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(self.form.element())]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let plan = Plan {
            heads: attributes::count(context, "heads")?,
            width: attributes::count(context, "width")?,
            first_only: attributes::count(context, "first")? != 0,
            queries: attributes::parts(context, "queries")?,
            keys: attributes::parts(context, "keys")?,
            values: attributes::parts(context, "values")?,
            query_bias: attributes::floats(context, "query_bias")?,
        };
        let (level, threads, form) = (self.level, self.threads, self.form);
        let quantisers = attributes::quantisers(context)?;
        if quantisers.len() != usize::from(form == Form::Byte) {
            return Err(wrong("attention to bytes takes one scale, to floats none"));
        }
        Ok(guarded(move |context| {
            let offsets = offsets(context)?;
            let values = attributes::inputs(context, 1)?;
            let matrices = values
                .iter()
                .map(|value| Ok(attributes::matrix(value)?.1))
                .collect::<ort::Result<Vec<Matrix<'_>>>>()?;
            let tokens = offsets.last().copied().unwrap_or(0);
            let asking = if plan.first_only { offsets.len().saturating_sub(1) } else { tokens };
            let shape = attributes::shape([asking, plan.heads.saturating_mul(plan.width)])?;
            let mut out = context.output(0, shape)?.ok_or_else(|| wrong("the output is missing"))?;
            let hidden = plan.heads.saturating_mul(plan.width);
            let mut rest = match quantisers.first() {
                None => Context::Float(out.try_extract_tensor_mut()?.1),
                Some(quantiser) => Context::Byte(out.try_extract_tensor_mut()?.1, *quantiser),
            };
            plan.check(&matrices, &offsets, &rest).map_err(|e| wrong(&e.to_string()))?;
            let mut jobs = Vec::new();
            for texts in parallel::texts(&offsets, threads) {
                let tokens = offsets[texts.start]..offsets[texts.end];
                let asking = if plan.first_only { texts.clone() } else { tokens.clone() };
                let asks = |i| plan.queries.iter().any(|part| part.matrix == i);
                let rows = |i| if asks(i) { asking.clone() } else { tokens.clone() };
                let part: Vec<Matrix<'_>> =
                    matrices.iter().enumerate().map(|(i, matrix)| matrix.rows(rows(i))).collect();
                let own: Vec<usize> =
                    offsets[texts.start..=texts.end].iter().map(|o| o - tokens.start).collect();
                let (this, after) = rest.split(asking.len() * hidden);
                rest = after;
                jobs.push((part, own, this));
            }
            parallel::each(context, jobs, |(matrices, offsets, out)| {
                attention(level, &plan, &matrices, &offsets, out)
            })
        }))
    }
}

fn offsets(context: &ComputeContext) -> ort::Result<Vec<usize>> {
    let value = context.input(0)?.ok_or_else(|| wrong("the offsets are missing"))?;
    let (_, offsets) = value.try_extract_tensor::<i64>()?;
    let offsets = offsets.iter().map(|&o| usize::try_from(o)).collect::<Result<_, _>>();
    offsets.map_err(|_| wrong("an offset is below zero"))
}
