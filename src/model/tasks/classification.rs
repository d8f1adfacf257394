//! Logits to labels and scores. Pure.

/// How logits become scores: from `problem_type`, as Hugging Face's pipeline does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// One label of many.
    Softmax,
    /// Each label by itself.
    Sigmoid,
    /// Regression: the number itself.
    None,
}

impl Activation {
    /// As shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
            Self::None => "none",
        }
    }
}

/// A classification of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes {
    /// Index of the best label.
    pub best: usize,
    /// Scores of all labels, in order of index.
    pub scores: Vec<f32>,
}

/// `None` where a logit is NaN or infinite, or there is none. Of equal logits the first is the best.
pub fn classify(logits: &[f32], activation: Activation) -> Option<Classes> {
    if logits.iter().any(|x| !x.is_finite()) {
        return None;
    }
    // By the logits: scores that saturate would tie.
    let (best, &max) =
        logits.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    let scores = match activation {
        Activation::Softmax => softmax(logits, max),
        Activation::Sigmoid => logits.iter().map(|&x| sigmoid(x)).collect(),
        Activation::None => logits.to_vec(),
    };
    Some(Classes { best, scores })
}

/// Shifted by the maximum, so that no exponential overflows and one of them is 1.
fn softmax(logits: &[f32], max: f32) -> Vec<f32> {
    let exps: Vec<f64> = logits.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| (e / sum) as f32).collect()
}

/// Never exponentiates a positive number.
fn sigmoid(x: f32) -> f32 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn logits(range: std::ops::Range<f32>) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(range, 1..20)
    }

    proptest! {
        #[test]
        fn softmax_is_a_distribution(x in logits(-f32::MAX..f32::MAX)) {
            let p = classify(&x, Activation::Softmax).unwrap();
            prop_assert!(p.scores.iter().all(|s| (0.0..=1.0).contains(s)));
            prop_assert!((p.scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }

        #[test]
        fn order_is_kept(x in logits(-50.0..50.0)) {
            for activation in [Activation::Softmax, Activation::Sigmoid, Activation::None] {
                let p = classify(&x, activation).unwrap();
                prop_assert_eq!(x.len(), p.scores.len());
                for i in 0..x.len() {
                    prop_assert!(x[i] <= x[p.best]);
                    for j in 0..x.len() {
                        prop_assert!(x[i] >= x[j] || p.scores[i] <= p.scores[j]);
                    }
                }
            }
        }

        #[test]
        fn softmax_does_not_see_a_shift(x in logits(-20.0..20.0), shift in -100.0_f32..100.0) {
            let shifted: Vec<f32> = x.iter().map(|v| v + shift).collect();
            let (a, b) = (classify(&x, Activation::Softmax).unwrap(), classify(&shifted, Activation::Softmax).unwrap());
            for (a, b) in a.scores.iter().zip(&b.scores) {
                prop_assert!((a - b).abs() < 1e-4, "{} {}", a, b);
            }
        }

        #[test]
        fn sigmoid_is_symmetric(x in -200.0_f32..200.0) {
            let s = |x| classify(&[x], Activation::Sigmoid).unwrap().scores[0];
            prop_assert!((s(x) + s(-x) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn extremes_are_finite() {
        let p = classify(&[f32::MAX, -f32::MAX], Activation::Softmax).unwrap();
        assert_eq!(p, Classes { best: 0, scores: vec![1.0, 0.0] });
        assert_eq!(classify(&[-f32::MAX, f32::MAX], Activation::Sigmoid).unwrap().scores, [0.0, 1.0]);
        assert_eq!(classify(&[-3.5], Activation::None).unwrap().scores, [-3.5]);
    }

    #[test]
    fn known_values() {
        let p = classify(&[1.0, 2.0, 3.0], Activation::Softmax).unwrap();
        for (score, expected) in p.scores.iter().zip([0.090_030_57, 0.244_728_47, 0.665_240_96]) {
            assert!((score - expected).abs() < 1e-6);
        }
        assert!((classify(&[0.5], Activation::Sigmoid).unwrap().scores[0] - 0.622_459_3).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_a_number_is_no_answer() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(classify(&[0.0, bad], Activation::Softmax), None);
        }
        assert_eq!(classify(&[], Activation::Softmax), None);
    }
}
