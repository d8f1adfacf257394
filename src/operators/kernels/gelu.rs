//! GELU, and GELU with quantisation. Elementwise.

use super::level::for_every_level;
use super::math::{Quantiser, coarse_gelu, gelu};

for_every_level! {
    /// `out = gelu(x + bias)`, row by row; `bias` is as long as a row, or empty.
    pub fn gelu_f32(x: &[f32], bias: &[f32], out: &mut [f32]) = float
}

for_every_level! {
    /// The same, quantised; before that it may be off by 2e-4.
    pub fn gelu_u8(x: &[f32], bias: &[f32], quantiser: Quantiser, out: &mut [u8]) = byte
}

#[inline(always)]
fn float<const N: usize, const FMA: bool>(x: &[f32], bias: &[f32], out: &mut [f32]) {
    if bias.is_empty() {
        for (out, x) in out.iter_mut().zip(x) {
            *out = gelu::<FMA>(*x);
        }
        return;
    }
    for (out, x) in out.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
        for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
            *out = gelu::<FMA>(*x + *bias);
        }
    }
}

#[inline(always)]
fn byte<const N: usize, const FMA: bool>(x: &[f32], bias: &[f32], quantiser: Quantiser, out: &mut [u8]) {
    if bias.is_empty() {
        for (out, x) in out.iter_mut().zip(x) {
            *out = quantiser.quantise::<FMA>(coarse_gelu::<FMA>(*x));
        }
        return;
    }
    for (out, x) in out.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
        for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
            *out = quantiser.quantise::<FMA>(coarse_gelu::<FMA>(*x + *bias));
        }
    }
}
