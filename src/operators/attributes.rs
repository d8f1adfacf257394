//! Reads what a graph says of an operator, and its inputs.

use ort::operator::{ComputeContext, KernelContext};
use ort::value::ValueRef;

use super::kernels::Quantiser;
use super::kernels::attention::{Matrix, Part};
use super::wrong;

/// A count.
pub(super) fn count(context: &KernelContext<'_>, name: &str) -> ort::Result<usize> {
    let value: Option<i64> = context.get(name);
    value
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| wrong(&format!("the attribute {name} must be a count")))
}

/// Counts; none where the attribute is left out.
pub(super) fn counts(context: &KernelContext<'_>, name: &str) -> ort::Result<Vec<usize>> {
    let values: Vec<i64> = context.get(name).unwrap_or_default();
    let counts = values.into_iter().map(usize::try_from).collect::<Result<_, _>>();
    counts.map_err(|_| wrong(&format!("the attribute {name} must hold counts")))
}

/// Integers of 32 bits; none where the attribute is left out.
pub(super) fn integers(context: &KernelContext<'_>, name: &str) -> ort::Result<Vec<i32>> {
    let values: Vec<i64> = context.get(name).unwrap_or_default();
    let integers = values.into_iter().map(i32::try_from).collect::<Result<_, _>>();
    integers.map_err(|_| wrong(&format!("the attribute {name} must hold integers of 32 bits")))
}

/// Finite numbers; none where the attribute is left out. NaN would end in a byte as if it were 0.
pub(super) fn floats(context: &KernelContext<'_>, name: &str) -> ort::Result<Vec<f32>> {
    let values: Vec<f32> = context.get(name).unwrap_or_default();
    match values.iter().all(|x| x.is_finite()) {
        true => Ok(values),
        false => Err(wrong(&format!("the attribute {name} must hold finite numbers"))),
    }
}

/// Pairs of a matrix and a column in it.
pub(super) fn parts(context: &KernelContext<'_>, name: &str) -> ort::Result<Vec<Part>> {
    let (pairs, rest) = {
        let numbers = counts(context, name)?;
        let (pairs, rest) = numbers.as_chunks::<2>();
        (pairs.to_vec(), rest.len())
    };
    match rest {
        0 => Ok(pairs.into_iter().map(|[matrix, column]| Part { matrix, column }).collect()),
        _ => Err(wrong(&format!("the attribute {name} must hold pairs"))),
    }
}

/// One quantiser for each pair in `scales` and `zeros`.
pub(super) fn quantisers(context: &KernelContext<'_>) -> ort::Result<Vec<Quantiser>> {
    let (scales, zeros) = (floats(context, "scales")?, counts(context, "zeros")?);
    if scales.len() != zeros.len() {
        return Err(wrong("there must be as many scales as zeros"));
    }
    let quantiser = |(scale, zero): (f32, usize)| match u8::try_from(zero) {
        Ok(zero) if scale > 0.0 && scale.is_finite() => Ok(Quantiser::new(scale, zero)),
        _ => Err(wrong("a scale must be above zero, and a zero point from 0 to 255")),
    };
    scales.into_iter().zip(zeros).map(quantiser).collect()
}

/// The inputs from number `first` on.
pub(super) fn inputs(context: &ComputeContext, first: usize) -> ort::Result<Vec<ValueRef<'_>>> {
    let value = |index| context.input(index)?.ok_or_else(|| wrong("an input is missing"));
    (first..context.num_inputs()?).map(value).collect()
}

/// A float tensor of two dimensions.
pub(super) fn matrix<'a>(value: &'a ValueRef<'_>) -> ort::Result<(usize, Matrix<'a>)> {
    let (shape, data) = value.try_extract_tensor::<f32>()?;
    let size = |n: &i64| usize::try_from(*n).ok();
    match &shape[..] {
        [rows, columns] => match (size(rows), size(columns)) {
            (Some(rows), Some(columns)) => Ok((rows, Matrix { data, columns })),
            _ => Err(wrong("an input has no shape")),
        },
        _ => Err(wrong("an input must have two dimensions")),
    }
}

/// A shape, as ONNX Runtime takes it.
pub(super) fn shape<const D: usize>(sizes: [usize; D]) -> ort::Result<[i64; D]> {
    let mut shape = [0; D];
    for (to, from) in shape.iter_mut().zip(sizes) {
        *to = i64::try_from(from).map_err(|_| wrong("a shape is too large"))?;
    }
    Ok(shape)
}
