//! Is a graph what it should be? Every output of it on real texts, against the reference of the same
//! weights; and alone against in a batch.

use std::path::Path;

use serde::Serialize;

use super::error::BuildError;
use super::plan::Precision;
use super::sample::Sample;
use crate::model::{Answer, Probe, ProbeError, Rewriting};
use crate::text::Tokens;

/// What was found. Stands in the package's manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// Texts that were compared.
    pub texts: usize,
    /// Pairs of them that were compared; none where the model does not tell a pair's texts apart.
    #[serde(skip_serializing_if = "is_none")]
    pub pairs: usize,
    /// Numbers that were compared.
    pub values: usize,
    /// Of any number of any output, to the reference.
    pub largest_difference: f32,
    /// Root mean square of the differences, as a share of that of the reference's numbers.
    pub relative_difference: f32,
    /// Root mean square of the reference's numbers.
    pub root_mean_square: f32,
    /// Largest, of the same text alone and among others.
    pub batch_difference: f32,
}

fn is_none(pairs: &usize) -> bool {
    *pairs == 0
}

impl Verification {
    /// How many of what, in words.
    pub fn on(&self) -> String {
        match self.pairs {
            0 => format!("{} texts", self.texts),
            pairs => format!("{} texts and {pairs} pairs of them", self.texts),
        }
    }
}

/// Texts of a batch: few, so that each stands beside others of another length.
const BATCH: usize = 8;

/// Runs both graphs over the texts and compares. `progress` gets the number of texts just done.
pub(super) fn compare(
    reference: &[u8],
    graph: &[u8],
    sample: &Sample,
    pad: u32,
    library: Option<&Path>,
    progress: &dyn Fn(usize),
) -> Result<Verification, ProbeError> {
    let mut reference = Probe::new(reference, Rewriting::None, library)?;
    let mut graph = Probe::new(graph, Rewriting::All, library)?;
    let mut sums = Sums::default();
    for batch in sample.sequences.chunks(BATCH) {
        let batch: Vec<&Tokens> = batch.iter().collect();
        let together = graph.run(&batch, pad)?;
        for (tokens, together) in batch.iter().zip(&together) {
            let alone = graph.run(&[tokens], pad)?;
            let expected = reference.run(&[tokens], pad)?;
            for (alone, expected) in alone.iter().zip(&expected) {
                sums.add(alone, together, expected);
            }
        }
        progress(batch.len());
    }
    Ok(sums.verification(sample.texts(), sample.pairs))
}

/// Running figures. A number that is missing or not finite makes a difference of infinity.
#[derive(Default)]
struct Sums {
    values: usize,
    squares: f64,
    square_differences: f64,
    largest: f32,
    batch: f32,
}

impl Sums {
    fn add(&mut self, alone: &Answer, together: &Answer, expected: &Answer) {
        let same = |a: &Answer| a.iter().map(Vec::len).eq(expected.iter().map(Vec::len));
        if !same(alone) || !same(together) {
            (self.largest, self.square_differences) = (f32::INFINITY, f64::INFINITY);
        }
        let numbers = |answer: &Answer| answer.iter().flatten().copied().collect::<Vec<f32>>();
        for ((alone, together), expected) in
            numbers(alone).into_iter().zip(numbers(together)).zip(numbers(expected))
        {
            let difference = distance(alone, expected).max(distance(together, expected));
            self.values += 1;
            self.squares += f64::from(expected).powi(2);
            self.square_differences += f64::from(difference).powi(2);
            self.largest = self.largest.max(difference);
            self.batch = self.batch.max(distance(alone, together));
        }
    }

    fn verification(&self, texts: usize, pairs: usize) -> Verification {
        let relative = (self.square_differences / self.squares.max(f64::MIN_POSITIVE)).sqrt();
        Verification {
            texts,
            pairs,
            values: self.values,
            largest_difference: self.largest,
            relative_difference: relative as f32,
            root_mean_square: (self.squares / self.values.max(1) as f64).sqrt() as f32,
            batch_difference: self.batch,
        }
    }
}

fn distance(a: f32, b: f32) -> f32 {
    let distance = (a - b).abs();
    if distance.is_finite() { distance } else { f32::INFINITY }
}

/// What a precision must keep to. fp32 differs by the order of sums only; fp16 and int8 round, and
/// what their rounding does to labels only `--evaluate` can tell: a graph that is wrong is off by as
/// much as its outputs are large, and that shows in the relative difference.
struct Limits {
    relative: f32,
    /// A share of a result may come of its neighbours: so much in numbers about 1, and in larger ones as
    /// much more as these are larger.
    batch: f32,
}

impl Precision {
    fn limits(self) -> Limits {
        match self {
            Self::F32 => Limits { relative: 1e-4, batch: 1e-5 },
            Self::F16 => Limits { relative: 0.02, batch: f32::INFINITY },
            Self::Int8 => Limits { relative: 0.1, batch: 0.0 },
        }
    }
}

impl Verification {
    /// Refuses what is off.
    pub(super) fn judge(&self, precision: Precision) -> Result<(), BuildError> {
        let limits = precision.limits();
        if self.values == 0 {
            return Err(BuildError::NoTexts);
        }
        // A reference that overflows makes NaN of the share, and NaN is above no limit.
        let off = self.relative_difference.is_nan() || self.relative_difference > limits.relative;
        if off || !self.largest_difference.is_finite() {
            return Err(BuildError::Off {
                relative: self.relative_difference,
                limit: limits.relative,
                largest: self.largest_difference,
                texts: self.texts,
            });
        }
        let limit = limits.batch * self.root_mean_square.max(1.0);
        if self.batch_difference > limit {
            return Err(BuildError::Company { difference: self.batch_difference, limit });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn verification(alone: &[f32], together: &[f32], expected: &[f32]) -> Verification {
        let mut sums = Sums::default();
        let answer = |x: &[f32]| vec![x.to_vec()];
        sums.add(&answer(alone), &answer(together), &answer(expected));
        sums.verification(1, 0)
    }

    #[test]
    fn what_is_off_is_refused() {
        let right = [3.0, -4.0];
        let same = verification(&right, &right, &right);
        assert_eq!(
            (same.largest_difference, same.relative_difference, same.batch_difference),
            (0.0, 0.0, 0.0)
        );
        for precision in [Precision::F32, Precision::F16, Precision::Int8] {
            same.judge(precision).unwrap();
        }
        let off = verification(&[3.0, -3.9], &[3.0, -3.9], &right);
        assert!((off.relative_difference - 0.02).abs() < 1e-6 && (off.largest_difference - 0.1).abs() < 1e-6);
        assert!(matches!(off.judge(Precision::F32), Err(BuildError::Off { .. })));
        off.judge(Precision::Int8).unwrap();
        let company = verification(&right, &[3.0, -4.0001], &right);
        assert!(matches!(company.judge(Precision::F32), Err(BuildError::Company { .. })));
        assert!(matches!(company.judge(Precision::Int8), Err(BuildError::Company { .. })));
        // As much of numbers a thousand times as large is the order of sums.
        let large = verification(&[3000.0, -4000.0], &[3000.0, -4000.01], &[3000.0, -4000.0]);
        large.judge(Precision::F32).unwrap();
        assert!(matches!(large.judge(Precision::Int8), Err(BuildError::Company { .. })));
        let too_much = verification(&[3000.0, -4000.0], &[3000.0, -4000.1], &[3000.0, -4000.0]);
        assert!(matches!(too_much.judge(Precision::F32), Err(BuildError::Company { .. })));
    }

    #[test]
    fn what_cannot_be_compared_is_off() {
        for (found, expected) in [
            (&[f32::NAN, 1.0][..], &[1.0, 1.0][..]),
            (&[1.0], &[1.0, 1.0]),
            (&[f32::INFINITY, 1.0], &[1.0, 1.0]),
            (&[1.0, 1.0], &[f32::NAN, 1.0]),
            (&[1.0], &[f32::INFINITY]),
            (&[1.0, 1.0], &[f32::NEG_INFINITY, 1.0]),
            (&[f32::INFINITY], &[f32::INFINITY]),
        ] {
            let off = verification(found, found, expected);
            for precision in [Precision::F32, Precision::F16, Precision::Int8] {
                assert!(off.judge(precision).is_err(), "{found:?} {precision:?} {off:?}");
            }
        }
        assert!(matches!(verification(&[], &[], &[]).judge(Precision::F32), Err(BuildError::NoTexts)));
    }
}
