//! Predictions and labels to figures. Pure. As scikit-learn counts them: a share of nothing is 0, and
//! the macro average is over the labels that occur, as truth or as prediction.

use serde::Serialize;

/// How good the answers were. Stable: scripts read it, and manifests hold it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// What it was measured on.
    pub dataset: String,
    /// Texts.
    pub examples: usize,
    /// Right ones.
    pub correct: usize,
    /// `correct / examples`.
    pub accuracy: f64,
    /// Mean of the labels' F1.
    pub macro_f1: f64,
    /// In order of index.
    pub labels: Vec<LabelMetrics>,
}

/// How good the answers were for one label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelMetrics {
    /// Its name.
    pub label: String,
    /// Of those that were called so, the share that is so.
    pub precision: f64,
    /// Of those that are so, the share that was called so.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// Texts that are so.
    pub support: usize,
}

impl Evaluation {
    /// `pairs` are (is, was called), as indices into `labels`.
    pub fn new(dataset: &str, labels: &[String], pairs: &[(usize, usize)]) -> Self {
        let correct = pairs.iter().filter(|(is, called)| is == called).count();
        let mut occurring = Vec::new();
        let labels = labels.iter().enumerate().map(|(label, name)| {
            let count = |of: &dyn Fn(&(usize, usize)) -> bool| pairs.iter().filter(|pair| of(pair)).count();
            let support = count(&|(is, _)| *is == label);
            let called = count(&|(_, called)| *called == label);
            let right = count(&|(is, called)| *is == label && *called == label);
            let f1 = share(2 * right, support + called);
            if support + called > 0 {
                occurring.push(f1);
            }
            LabelMetrics {
                label: name.clone(),
                precision: rounded(share(right, called)),
                recall: rounded(share(right, support)),
                f1: rounded(f1),
                support,
            }
        });
        let labels = labels.collect();
        Self {
            dataset: dataset.to_owned(),
            examples: pairs.len(),
            correct,
            accuracy: rounded(share(correct, pairs.len())),
            macro_f1: rounded(occurring.iter().sum::<f64>() / occurring.len().max(1) as f64),
            labels,
        }
    }

    /// In percent, without the rounding of `accuracy`.
    pub fn points(&self) -> f64 {
        100.0 * share(self.correct, self.examples)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// To four places: what a few hundred texts can say, and the same in manifest, card and table.
fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("l{i}")).collect()
    }

    /// Worked out by hand; scikit-learn's `classification_report` gives the same.
    #[test]
    fn figures_are_those_of_the_textbook() {
        let pairs = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (1, 1), (2, 0)];
        let e = Evaluation::new("d", &names(4), &pairs);
        assert_eq!((e.examples, e.correct, e.accuracy), (7, 4, 0.5714));
        let of = |i: usize| {
            let l: &LabelMetrics = &e.labels[i];
            (l.precision, l.recall, l.f1, l.support)
        };
        assert_eq!(of(0), (0.5, 0.6667, 0.5714, 3));
        assert_eq!(of(1), (0.6667, 0.6667, 0.6667, 3));
        assert_eq!(of(2), (0.0, 0.0, 0.0, 1), "never called so");
        assert_eq!(of(3), (0.0, 0.0, 0.0, 0), "does not occur, and does not count");
        assert_eq!(e.macro_f1, 0.4127);
        assert_eq!(Evaluation::new("d", &names(2), &[]).accuracy, 0.0);
    }

    proptest! {
        #[test]
        fn figures_agree_with_each_other(pairs in prop::collection::vec((0_usize..5, 0_usize..5), 1..60)) {
            let e = Evaluation::new("d", &names(5), &pairs);
            prop_assert_eq!(e.labels.iter().map(|l| l.support).sum::<usize>(), pairs.len());
            // The mean of recall, weighed by support, is the accuracy.
            let recall: f64 = e.labels.iter().map(|l| l.recall * l.support as f64).sum();
            prop_assert!((recall / pairs.len() as f64 - e.accuracy).abs() < 2e-4);
            for l in &e.labels {
                prop_assert!(l.f1 <= l.precision.max(l.recall) + 1e-4 && l.f1 + 1e-4 >= l.precision.min(l.recall));
            }
            prop_assert!((e.points() / 100.0 - e.accuracy).abs() < 1e-4);
        }

        #[test]
        fn all_right_is_one(labels in prop::collection::vec(0_usize..5, 1..60)) {
            let pairs: Vec<_> = labels.iter().map(|l| (*l, *l)).collect();
            let e = Evaluation::new("d", &names(5), &pairs);
            prop_assert_eq!((e.accuracy, e.macro_f1), (1.0, 1.0));
        }
    }
}
