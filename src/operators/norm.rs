//! `AddNorm(parts…) → slices…` and `AddNormU8(parts…) → whole, slices…`, as ONNX Runtime sees them.
//!
//! Attributes: `terms`: of how many parts each summand consists; `gamma`, `beta`, `bias` (may be left out),
//! `epsilon`; for bytes `scales` and `zeros`, one a slice.

use std::ops::Range;

use ort::operator::{KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::kernels::Level;
use super::kernels::norm::{Norm, Term, norm_f32, norm_u8};
use super::{BoxedKernel, Form, attributes, guarded, parallel, wrong};

pub(super) struct AddNorm {
    pub level: Level,
    pub threads: usize,
    pub form: Form,
}

impl Operator for AddNorm {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        self.form.of(["AddNorm", "AddNormU8"])
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::variadic(1).homogenous(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let slices = OperatorOutput::variadic(1).homogenous(self.form.element());
        match self.form {
            Form::Float => vec![slices],
            Form::Byte => vec![OperatorOutput::required(TensorElementType::Float32), slices],
        }
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let terms = attributes::counts(context, "terms")?;
        let floats = |name| attributes::floats(context, name);
        let (gamma, beta, bias) = (floats("gamma")?, floats("beta")?, floats("bias")?);
        let epsilon: f32 = context.get("epsilon").ok_or_else(|| wrong("the attribute epsilon is missing"))?;
        let quantisers = attributes::quantisers(context)?;
        let (level, threads, form, columns) = (self.level, self.threads, self.form, gamma.len());
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            return Err(wrong("epsilon must be a number, not below zero"));
        }
        if columns == 0 || beta.len() != columns || !(bias.is_empty() || bias.len() == columns) {
            return Err(wrong("gamma, beta and bias must be equally long"));
        }
        if terms.is_empty() || terms.iter().any(|&parts| parts == 0 || !columns.is_multiple_of(parts)) {
            return Err(wrong("a summand must fall into equal parts"));
        }
        Ok(guarded(move |context| {
            let values = attributes::inputs(context, 0)?;
            let mut rows = None;
            let mut parts = Vec::with_capacity(values.len());
            for value in &values {
                let (here, matrix) = attributes::matrix(value)?;
                if *rows.get_or_insert(here) != here {
                    return Err(wrong("the summands must have equally many rows"));
                }
                parts.push(matrix);
            }
            let rows = rows.unwrap_or(0);
            let mut parts = parts.into_iter();
            let mut summands: Vec<Term<'_>> = Vec::with_capacity(terms.len());
            for &count in &terms {
                let term: Term<'_> = parts
                    .by_ref()
                    .take(count)
                    .filter(|p| p.columns * count == columns)
                    .map(|p| p.data)
                    .collect();
                if term.len() != count {
                    return Err(wrong("a summand's parts are too few, or not as wide as they should be"));
                }
                summands.push(term);
            }
            if parts.next().is_some() {
                return Err(wrong("there are more parts than the summands have"));
            }
            let norm = Norm { gamma: &gamma, beta: &beta, bias: &bias, epsilon };
            let whole = usize::from(form == Form::Byte);
            let count = context.num_outputs()?.saturating_sub(whole);
            if count == 0 || !columns.is_multiple_of(count) || (whole == 1 && quantisers.len() != count) {
                return Err(wrong("the result must fall into equal slices, each with its scale"));
            }
            let shape = attributes::shape([rows, columns / count])?;
            let output =
                |index, shape| context.output(index, shape)?.ok_or_else(|| wrong("an output is missing"));
            let mut outputs =
                (0..count).map(|i| output(whole + i, shape)).collect::<ort::Result<Vec<_>>>()?;
            let share = parallel::share(rows, threads).max(1);
            let terms = |from: usize| {
                let rows = from * share..rows.min((from + 1) * share);
                let terms = summands.iter().map(|term| rows_of(term, columns, &rows));
                terms.collect::<Option<Vec<_>>>().ok_or("a summand is too short")
            };
            let width = columns / count;
            match form {
                Form::Float => {
                    let mut slices = Vec::with_capacity(count);
                    for out in &mut outputs {
                        slices.push(out.try_extract_tensor_mut::<f32>()?.1.chunks_mut(share * width));
                    }
                    let jobs = (0..rows.div_ceil(share))
                        .map(|from| (from, slices.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()));
                    parallel::each(context, jobs.collect(), |(from, mut slices)| {
                        norm_f32(level, norm, &terms(from)?, &mut slices);
                        Ok::<_, &str>(())
                    })
                }
                Form::Byte => {
                    let mut whole = output(0, attributes::shape([rows, columns])?)?;
                    let mut wholes = whole.try_extract_tensor_mut::<f32>()?.1.chunks_mut(share * columns);
                    let mut slices = Vec::with_capacity(count);
                    for out in &mut outputs {
                        slices.push(out.try_extract_tensor_mut::<u8>()?.1.chunks_mut(share * width));
                    }
                    let jobs = (0..rows.div_ceil(share)).filter_map(|from| {
                        let slices = slices.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>();
                        Some((from, wholes.next()?, slices))
                    });
                    parallel::each(context, jobs.collect(), |(from, whole, mut slices)| {
                        norm_u8(level, norm, &terms(from)?, whole, &quantisers, &mut slices);
                        Ok::<_, &str>(())
                    })
                }
            }
        }))
    }
}

/// Some rows of a summand.
fn rows_of<'a>(term: &Term<'a>, columns: usize, rows: &Range<usize>) -> Option<Term<'a>> {
    let width = columns.checked_div(term.len())?;
    term.iter().map(|part| part.get(rows.start * width..rows.end * width)).collect()
}
