//! Numbers to bytes: activations by a fixed scale and zero point, weights by one scale a column.

use crate::operators::kernels::product::LARGEST;

/// How an activation becomes an unsigned byte: `round(x / factor) + zero`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Above zero.
    pub factor: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl Scale {
    /// The scale whose 256 bytes reach from `low` to `high`, and hold 0 exactly.
    pub fn between(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let factor = (high - low) / 255.0;
        if !(factor.is_normal() && factor.is_finite()) {
            // Always 0: any scale will do.
            return Self { factor: 1.0, zero: 0 };
        }
        Self { factor, zero: (-low / factor).round().clamp(0.0, 255.0) as u8 }
    }
}

/// Seven bits, the sign within them: what the product takes on every processor (see [`LARGEST`]).
const MOST: f32 = LARGEST as f32;

/// A matrix `[inputs, outputs]` in signed bytes, and the scale of each column.
pub fn weights(matrix: &[f32], outputs: usize) -> (Vec<i8>, Vec<f32>) {
    let mut largest = vec![0.0_f32; outputs];
    for row in matrix.chunks_exact(outputs) {
        for (largest, x) in largest.iter_mut().zip(row) {
            *largest = largest.max(x.abs());
        }
    }
    let factor = |largest: &f32| if *largest > 0.0 { largest / MOST } else { 1.0 };
    let factors: Vec<f32> = largest.iter().map(factor).collect();
    let quantise = |(x, factor): (&f32, &f32)| (x / factor).round_ties_even().clamp(-MOST, MOST) as i8;
    let bytes = matrix.chunks_exact(outputs).flat_map(|row| row.iter().zip(&factors).map(quantise)).collect();
    (bytes, factors)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn zero_is_exact_and_the_ends_are_reached(low in -100.0_f32..0.0, high in 0.0_f32..100.0) {
            let scale = Scale::between(low, high);
            let back = |byte: f32| (byte - f32::from(scale.zero)) * scale.factor;
            prop_assert!(back(0.0) <= low + scale.factor && back(255.0) >= high - scale.factor);
            prop_assert!((back(255.0) - back(0.0) - (high - low)).abs() < 1e-3);
        }

        #[test]
        fn weights_come_back_within_half_a_step(rows in 1_usize..20, outputs in 1_usize..9, spread in 1e-3_f32..1e3) {
            let matrix: Vec<f32> = (0..rows * outputs).map(|i| ((i * 7919 % 201) as f32 - 100.0) / 100.0 * spread).collect();
            let (bytes, factors) = weights(&matrix, outputs);
            prop_assert_eq!((bytes.len(), factors.len()), (matrix.len(), outputs));
            for (i, (byte, x)) in bytes.iter().zip(&matrix).enumerate() {
                let factor = factors[i % outputs];
                prop_assert!((f32::from(*byte) * factor - x).abs() <= 0.5001 * factor);
                prop_assert!((-63..=63).contains(byte), "two products of bytes must fit 16 bits");
            }
        }
    }

    #[test]
    fn nothing_but_zeros() {
        assert_eq!(weights(&[0.0, 0.0], 2), (vec![0, 0], vec![1.0, 1.0]));
        assert_eq!(Scale::between(0.0, 0.0), Scale { factor: 1.0, zero: 0 });
    }
}
