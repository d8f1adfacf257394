//! Sum of several matrices, layer norm, and the result cut into groups of columns (quantised or not):
//! what lies between two grouped products.

use super::level::for_every_level;
use super::math::{Quantiser, SUM_LANES, mul_add, sum_lanes};

/// One summand `[rows, columns]`, in parts that stand side by side and are equally wide.
pub type Term<'a> = Vec<&'a [f32]>;

/// The layer norm's own numbers. `gamma`, `beta` are as long as a row, `bias` too or empty.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// Multiplied with the normalised row.
    pub gamma: &'a [f32],
    /// Then added.
    pub beta: &'a [f32],
    /// Added to the sum of the terms before the norm.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

for_every_level! {
    /// Writes the normalised rows into `slices`, equally wide groups of columns side by side.
    pub fn norm_f32(norm: Norm<'_>, terms: &[Term<'_>], slices: &mut [&mut [f32]]) = float
}

for_every_level! {
    /// Writes the normalised rows whole into `out`, and quantised into `slices`, each by its own quantiser.
    pub fn norm_u8(
        norm: Norm<'_>,
        terms: &[Term<'_>],
        out: &mut [f32],
        quantisers: &[Quantiser],
        slices: &mut [&mut [u8]],
    ) = byte
}

#[inline(always)]
fn float<const N: usize, const FMA: bool>(norm: Norm<'_>, terms: &[Term<'_>], slices: &mut [&mut [f32]]) {
    let columns = norm.gamma.len();
    let width = columns / slices.len().max(1);
    if width == 0 {
        return;
    }
    let mut row = vec![0.0; columns];
    for index in 0..slices.first().map_or(0, |s| s.len() / width) {
        gather(norm, terms, index, &mut row);
        normalise::<FMA>(norm, &mut row);
        for (slice, part) in slices.iter_mut().zip(row.chunks_exact(width)) {
            slice[index * width..][..width].copy_from_slice(part);
        }
    }
}

#[inline(always)]
fn byte<const N: usize, const FMA: bool>(
    norm: Norm<'_>,
    terms: &[Term<'_>],
    out: &mut [f32],
    quantisers: &[Quantiser],
    slices: &mut [&mut [u8]],
) {
    let columns = norm.gamma.len();
    if columns == 0 {
        return;
    }
    let width = columns / slices.len().max(1);
    for (index, row) in out.chunks_exact_mut(columns).enumerate() {
        gather(norm, terms, index, row);
        normalise::<FMA>(norm, row);
        for ((slice, part), quantiser) in slices.iter_mut().zip(row.chunks_exact(width)).zip(quantisers) {
            for (out, x) in slice[index * width..][..width].iter_mut().zip(part) {
                *out = quantiser.quantise::<FMA>(*x);
            }
        }
    }
}

/// The sum of the terms' rows.
#[inline(always)]
fn gather(norm: Norm<'_>, terms: &[Term<'_>], index: usize, row: &mut [f32]) {
    for (number, term) in terms.iter().enumerate() {
        let width = row.len() / term.len().max(1);
        for (to, part) in row.chunks_exact_mut(width.max(1)).zip(term) {
            let from = &part[index * width..][..width];
            if number == 0 {
                to.copy_from_slice(from);
            } else {
                for (sum, x) in to.iter_mut().zip(from) {
                    *sum += *x;
                }
            }
        }
    }
    for (sum, x) in row.iter_mut().zip(norm.bias) {
        *sum += *x;
    }
}

/// In place. Two passes: the variance is of the centred row, so that a large mean costs no digits.
#[inline(always)]
fn normalise<const FMA: bool>(norm: Norm<'_>, row: &mut [f32]) {
    let count = row.len() as f32;
    let mean = sum_of::<FMA, false>(row, 0.0) / count;
    let variance = sum_of::<FMA, true>(row, mean) / count;
    let inverse = 1.0 / (variance + norm.epsilon).sqrt();
    for ((x, gamma), beta) in row.iter_mut().zip(norm.gamma).zip(norm.beta) {
        *x = mul_add::<FMA>((*x - mean) * inverse, *gamma, *beta);
    }
}

/// The sum of `x`, or of `(x − mean)²`.
#[inline(always)]
fn sum_of<const FMA: bool, const SQUARES: bool>(row: &[f32], mean: f32) -> f32 {
    let mut lanes = [0.0; SUM_LANES];
    let mut chunks = row.chunks_exact(SUM_LANES);
    for chunk in &mut chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = add::<FMA, SQUARES>(*lane, *x, mean);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = add::<FMA, SQUARES>(*lane, *x, mean);
    }
    sum_lanes(lanes)
}

#[inline(always)]
fn add<const FMA: bool, const SQUARES: bool>(sum: f32, x: f32, mean: f32) -> f32 {
    let centred = x - mean;
    if SQUARES { mul_add::<FMA>(centred, centred, sum) } else { sum + x }
}
