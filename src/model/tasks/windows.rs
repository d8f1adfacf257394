//! The windows of one long text to one prediction. Pure.

use super::classification::{Activation, Classes, classify};
use crate::config::settings::Combine;

/// One prediction of several windows' logits, each with its weight (tokens of text). `None` where a
/// logit of any window is NaN or infinite, or there is no window.
///
/// The mean is one of scores, not of logits: a window counts by what it says, not by how loud it
/// says it.
pub fn classify_windows(
    windows: &[(&[f32], usize)],
    activation: Activation,
    combine: Combine,
) -> Option<Classes> {
    let mut predictions = Vec::with_capacity(windows.len());
    for (logits, weight) in windows {
        predictions.push((classify(logits, activation)?, *weight));
    }
    if predictions.len() < 2 || combine == Combine::First {
        return predictions.into_iter().next().map(|(prediction, _)| prediction);
    }
    let scores = match (combine, activation) {
        (Combine::Max, Activation::Softmax) => {
            let surest = |p: &Classes| p.scores.get(p.best).copied().unwrap_or(0.0);
            let all = predictions.into_iter().map(|(prediction, _)| prediction);
            // Of equals the first.
            return all.reduce(|best, next| if surest(&next) > surest(&best) { next } else { best });
        }
        (Combine::Max, _) => highest(&predictions),
        _ => mean(&predictions),
    };
    // Scores that saturate tie; then the logits decide, as they do for a single window.
    let logits = |label: usize| {
        let of = |(logits, weight): &(&[f32], usize)| {
            f64::from(logits.get(label).copied().unwrap_or(0.0)) * (*weight).max(1) as f64
        };
        windows.iter().map(of).sum::<f64>()
    };
    let ranked = scores.iter().enumerate().map(|(label, score)| (label, *score, logits(label)));
    let best = ranked.reduce(|best, next| if (next.1, next.2) > (best.1, best.2) { next } else { best })?.0;
    Some(Classes { best, scores })
}

fn mean(windows: &[(Classes, usize)]) -> Vec<f32> {
    let total: f64 = windows.iter().map(|(_, weight)| (*weight).max(1) as f64).sum();
    let labels = windows.first().map_or(0, |(p, _)| p.scores.len());
    let of = |label: usize| {
        let weighted = windows
            .iter()
            .filter_map(|(p, weight)| Some(f64::from(*p.scores.get(label)?) * (*weight).max(1) as f64));
        (weighted.sum::<f64>() / total) as f32
    };
    (0..labels).map(of).collect()
}

fn highest(windows: &[(Classes, usize)]) -> Vec<f32> {
    let each = windows.iter().map(|(p, _)| p.scores.clone());
    each.reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn all(logits: &[Vec<f32>], activation: Activation, combine: Combine) -> Classes {
        let windows: Vec<(&[f32], usize)> =
            logits.iter().enumerate().map(|(i, l)| (l.as_slice(), i * 7 + 1)).collect();
        classify_windows(&windows, activation, combine).unwrap()
    }

    #[test]
    fn a_long_window_weighs_more_than_a_short_one() {
        let (long, short) = ([2.0, -2.0], [-4.0, 4.0]);
        let p = classify_windows(&[(&long, 500), (&short, 10)], Activation::Softmax, Combine::Mean).unwrap();
        assert_eq!(p.best, 0);
        assert!((p.scores.iter().sum::<f32>() - 1.0).abs() < 1e-6, "still a distribution");
        let p = classify_windows(&[(&long, 500), (&short, 10)], Activation::Softmax, Combine::Max).unwrap();
        assert_eq!(p, classify(&short, Activation::Softmax).unwrap(), "it is the surer one");
        let p = classify_windows(&[(&long, 500), (&short, 10)], Activation::Sigmoid, Combine::Max).unwrap();
        assert!(p.scores.iter().all(|s| *s > 0.8), "each label at its highest: {:?}", p.scores);
    }

    #[test]
    fn one_window_that_is_no_answer_spoils_all() {
        assert_eq!(classify_windows(&[(&[0.0], 1), (&[f32::NAN], 1)], Activation::None, Combine::Mean), None);
        assert_eq!(classify_windows(&[], Activation::None, Combine::Mean), None);
    }

    proptest! {
        #[test]
        fn equal_windows_say_what_one_says(logits in prop::collection::vec(-50.0_f32..50.0, 1..6), n in 1usize..6) {
            for activation in [Activation::Softmax, Activation::Sigmoid, Activation::None] {
                let one = classify(&logits, activation).unwrap();
                for combine in [Combine::Mean, Combine::Max, Combine::First] {
                    let many = all(&vec![logits.clone(); n], activation, combine);
                    prop_assert_eq!(one.best, many.best);
                    for (a, b) in one.scores.iter().zip(&many.scores) {
                        prop_assert!((a - b).abs() < 1e-4);
                    }
                }
            }
        }

        #[test]
        fn scores_stay_between_those_of_the_windows(logits in prop::collection::vec(prop::collection::vec(-9.0_f32..9.0, 3), 1..6)) {
            for activation in [Activation::Softmax, Activation::Sigmoid, Activation::None] {
                let each: Vec<_> = logits.iter().map(|l| classify(l, activation).unwrap().scores).collect();
                for combine in [Combine::Mean, Combine::Max, Combine::First] {
                    let p = all(&logits, activation, combine);
                    for (label, score) in p.scores.iter().enumerate() {
                        let (low, high) = each.iter().fold((f32::MAX, f32::MIN), |(l, h), s| (l.min(s[label]), h.max(s[label])));
                        prop_assert!((low - 1e-5..=high + 1e-5).contains(score));
                        prop_assert!(*score <= p.scores[p.best]);
                    }
                }
            }
        }
    }
}
