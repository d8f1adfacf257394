//! Vectors of texts: several to one, cut, of length 1, and how near they are. Pure.

use crate::model::Pooling;

/// Below this a vector has no direction; sentence-transformers' (that is, PyTorch's) bound.
const LEAST: f64 = 1e-12;

/// One vector of a text's windows, each with its weight (tokens of text). The mean; where the windows themselves hold
/// each dimension's highest, that of all of them.
pub(super) fn of_windows(windows: &[(&[f32], usize)], pooling: Pooling) -> Vec<f32> {
    let width = windows.first().map_or(0, |(window, _)| window.len());
    let at = |window: &[f32], i: usize| window.get(i).copied().unwrap_or(f32::NAN);
    match windows {
        [(one, _)] => one.to_vec(),
        _ if pooling == Pooling::Max => {
            let highest = |i| {
                let all = windows.iter().map(|(window, _)| at(window, i));
                // NaN stays: it must be seen.
                all.reduce(|most, x| if most.is_nan() || x <= most { most } else { x }).unwrap_or(f32::NAN)
            };
            (0..width).map(highest).collect()
        }
        _ => {
            let total: f64 = windows.iter().map(|(_, weight)| (*weight).max(1) as f64).sum();
            let mean = |i| {
                let weighted =
                    windows.iter().map(|(window, weight)| f64::from(at(window, i)) * (*weight).max(1) as f64);
                (weighted.sum::<f64>() / total) as f32
            };
            (0..width).map(mean).collect()
        }
    }
}

/// Its first numbers.
pub(super) fn cut(mut vector: Vec<f32>, kept: usize) -> Vec<f32> {
    vector.truncate(kept);
    vector
}

/// In the same direction, of length 1; one without a direction stays as it is.
pub(super) fn normalised(vector: Vec<f32>) -> Vec<f32> {
    let length = length(&vector).max(LEAST);
    vector.into_iter().map(|x| (f64::from(x) / length) as f32).collect()
}

/// Of the angle between two vectors, from -1 to 1; 0 where one has no direction.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let lengths = length(a) * length(b);
    if lengths < LEAST * LEAST { 0.0 } else { (product / lengths).clamp(-1.0, 1.0) as f32 }
}

/// As `f64`: the square of a large `f32` is none.
fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_weigh_by_their_text_or_give_their_highest() {
        let windows: [(&[f32], usize); 2] = [(&[1.0, 4.0], 30), (&[5.0, 0.0], 10)];
        assert_eq!(of_windows(&windows, Pooling::Mean), [2.0, 3.0]);
        assert_eq!(of_windows(&windows, Pooling::Cls), [2.0, 3.0]);
        assert_eq!(of_windows(&windows, Pooling::Max), [5.0, 4.0]);
        for pooling in [Pooling::Mean, Pooling::Max] {
            let broken = of_windows(&[(&[f32::NAN], 1), (&[1.0], 1)], pooling);
            assert!(broken[0].is_nan(), "it must be seen");
        }
    }

    #[test]
    fn a_vector_without_a_direction_is_like_none() {
        assert_eq!(normalised(vec![0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        assert_eq!(cosine(&[1e30, 0.0], &[1e30, 0.0]), 1.0);
    }

    proptest! {
        #[test]
        fn length_says_nothing_of_direction(a in prop::collection::vec(-9.0_f32..9.0, 4), b in prop::collection::vec(-9.0_f32..9.0, 4), scale in 0.1_f32..50.0) {
            prop_assume!(length(&a) > 0.1 && length(&b) > 0.1);
            let near = cosine(&a, &b);
            prop_assert!((-1.0..=1.0).contains(&near));
            let longer: Vec<f32> = a.iter().map(|x| x * scale).collect();
            prop_assert!((cosine(&longer, &b) - near).abs() < 1e-5);
            prop_assert!((cosine(&a, &longer) - 1.0).abs() < 1e-5);
            prop_assert!((length(&normalised(a)) - 1.0).abs() < 1e-5);
        }
    }
}
