//! Calibration: which numbers pass through the fp32 graph on real text, and so which scales int8 gets.
//!
//! Two passes over the texts: the extremes of every value, then a histogram between them. A scale need not reach
//! to the extremes: the ends are chosen so that the mean squared error of rounding and clipping is least.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::error::CompileError;
use super::packed;
use super::quantise::Scale;
use crate::model::{Probe, ProbeError, Rewriting};
use crate::text::Tokens;

/// Ranges of all values that int8 quantises, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// sha256 of the checkpoint's file of weights: ranges of others of the same shape are as wrong as can be,
    /// and nothing would show it.
    weights: String,
    /// The least and the greatest number that a byte stands for.
    ranges: BTreeMap<String, [f32; 2]>,
}

/// A calibration that does not belong to the checkpoint, or that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// Made for others.
    #[error(
        "the calibration was made for another checkpoint (the sha256 of its weights is another): make it anew"
    )]
    Weights,
    /// The graph wants a value that it does not have.
    #[error("the calibration knows no {0}: it was made for another checkpoint; make it anew")]
    Unknown(String),
    /// Infinite or NaN, or wider than any number.
    #[error("the range of {0} in the calibration is not one of numbers: make it anew")]
    NotFinite(String),
    /// Nothing was seen.
    #[error("there was no text to calibrate with")]
    NoTexts,
    /// The graph cannot be run.
    #[error("the fp32 graph could not be run for calibration: {0}")]
    Run(#[from] ProbeError),
}

/// Texts at once: what all layers give for them is in memory.
const BATCH: usize = 8;

impl Calibration {
    /// Runs the texts through the fp32 graph, twice. A few hundred that are like those to come will do.
    /// `library` is ONNX Runtime's, as `model.library` in a pipeline; `progress` gets the number of texts just
    /// done, and each text counts twice.
    pub fn of(
        checkpoint: &Checkpoint,
        texts: &[Tokens],
        library: Option<&Path>,
        progress: &dyn Fn(usize),
    ) -> Result<Self, CompileError> {
        let graph = packed::build(checkpoint, packed::Arithmetic::Observed)?;
        let mut probe = Probe::new(&graph, Rewriting::All, library).map_err(CalibrationError::from)?;
        let names: Vec<String> = probe.outputs().map(str::to_owned).collect();
        let mut collector = Collector::default();
        for pass in 0..2 {
            if pass == 1 {
                collector.second_pass();
            }
            for batch in texts.chunks(BATCH) {
                let batch: Vec<&Tokens> = batch.iter().collect();
                for answer in probe.run(&batch, 0).map_err(CalibrationError::from)? {
                    for (name, values) in names.iter().zip(&answer) {
                        if let Some(point) = name.strip_prefix(packed::OBSERVED) {
                            collector.add(point, values);
                        }
                    }
                }
                progress(batch.len());
            }
        }
        let weights = checkpoint.weights_sha256().to_owned();
        Ok(Self { weights, ranges: collector.finish()? })
    }

    /// Is it one of these weights?
    pub(super) fn belongs_to(&self, checkpoint: &Checkpoint) -> Result<(), CalibrationError> {
        match self.weights.eq_ignore_ascii_case(checkpoint.weights_sha256()) {
            true => Ok(()),
            false => Err(CalibrationError::Weights),
        }
    }

    /// How the value of this name becomes bytes.
    pub(super) fn scale(&self, name: &str) -> Result<Scale, CalibrationError> {
        let [low, high] = *self.ranges.get(name).ok_or_else(|| CalibrationError::Unknown(name.to_owned()))?;
        // A width that overflows would be taken for that of a value which is always 0.
        let width = high.max(0.0) - low.min(0.0);
        match low.is_finite() && high.is_finite() && low <= high && width.is_finite() {
            true => Ok(Scale::between(low, high)),
            false => Err(CalibrationError::NotFinite(name.to_owned())),
        }
    }
}

/// Bins of a histogram.
const BINS: usize = 2048;
/// Ends that are tried on each side.
const ENDS: usize = 48;

/// What one value was seen to be.
#[derive(Debug, Clone)]
struct Seen {
    low: f32,
    high: f32,
    bins: Vec<u64>,
}

/// Collects values: everything once, then [`Collector::second_pass`], then everything once more.
#[derive(Debug, Default)]
struct Collector {
    seen: BTreeMap<String, Seen>,
    counting: bool,
}

impl Collector {
    /// Some of the numbers of a value.
    pub fn add(&mut self, name: &str, values: &[f32]) {
        let start = || Seen { low: 0.0, high: 0.0, bins: Vec::new() };
        let seen = self.seen.entry(name.to_owned()).or_insert_with(start);
        if !self.counting {
            for x in values {
                seen.low = seen.low.min(*x);
                seen.high = seen.high.max(*x);
            }
            return;
        }
        let per_bin = BINS as f32 / (seen.high - seen.low).max(f32::MIN_POSITIVE);
        for x in values {
            let bin = ((x - seen.low) * per_bin) as usize;
            if let Some(count) = seen.bins.get_mut(bin.min(BINS - 1)) {
                *count += 1;
            }
        }
    }

    /// From now on numbers are counted.
    pub fn second_pass(&mut self) {
        self.counting = true;
        self.seen.values_mut().for_each(|seen| seen.bins = vec![0; BINS]);
    }

    /// The best ranges.
    pub fn finish(self) -> Result<BTreeMap<String, [f32; 2]>, CalibrationError> {
        if self.seen.is_empty() {
            return Err(CalibrationError::NoTexts);
        }
        Ok(self.seen.into_iter().map(|(name, seen)| (name, seen.range())).collect())
    }
}

impl Seen {
    /// The ends with the least error: first the upper one, then the lower one, and the upper one again.
    fn range(&self) -> [f32; 2] {
        let (mut low, mut high) = (self.low, self.high);
        for _ in 0..2 {
            high = self.best_end(high, |end| self.error(low, end));
            low = self.best_end(low, |end| self.error(end, high));
        }
        [low, high]
    }

    /// Of the ends between a quarter of `end` and `end` itself.
    fn best_end(&self, end: f32, error: impl Fn(f32) -> f64) -> f32 {
        let ends = (0..=ENDS).map(|i| end * (1.0 - 0.75 * i as f32 / ENDS as f32));
        let mut best = (f64::INFINITY, end);
        for end in ends {
            let error = error(end);
            if error < best.0 {
                best = (error, end);
            }
        }
        best.1
    }

    /// Sum of squared errors: rounding between the ends, clipping beyond them.
    fn error(&self, low: f32, high: f32) -> f64 {
        let step = f64::from(high - low) / 255.0;
        let width = f64::from(self.high - self.low) / BINS as f64;
        let error = |(bin, count): (usize, &u64)| {
            let x = f64::from(self.low) + (bin as f64 + 0.5) * width;
            let beyond = (x - f64::from(high)).max(f64::from(low) - x).max(0.0);
            *count as f64 * (step * step / 12.0 + beyond * beyond)
        };
        self.bins.iter().enumerate().filter(|(_, count)| **count > 0).map(error).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn calibrated(values: &[f32]) -> [f32; 2] {
        let mut collector = Collector::default();
        collector.add("x", values);
        collector.second_pass();
        collector.add("x", values);
        collector.finish().unwrap()["x"]
    }

    #[test]
    fn a_rare_outlier_does_not_widen_the_range() {
        let mut values: Vec<f32> = (0..500_000).map(|i| (i % 201) as f32 / 100.0 - 1.0).collect();
        let plain = calibrated(&values);
        assert!(plain[0] < -0.95 && plain[1] > 0.95, "{plain:?}");
        values.push(3.5);
        let [low, high] = calibrated(&values);
        assert!(low < -0.9 && (0.9..2.0).contains(&high), "{low} {high}");
        // Many of them are no outliers.
        values.extend([3.5; 25_000]);
        assert!(calibrated(&values)[1] > 3.3);
    }

    #[test]
    fn what_is_never_negative_keeps_its_zero() {
        let values: Vec<f32> = (0..1000).map(|i| i as f32 / 100.0).collect();
        assert_eq!(calibrated(&values)[0], 0.0);
        assert_eq!(calibrated(&[0.0; 5]), [0.0, 0.0]);
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        assert!(matches!(Collector::default().finish(), Err(CalibrationError::NoTexts)));
        let ranges = [("a".to_owned(), [-1.0, f32::NAN]), ("wide".to_owned(), [-3e38, 3e38])].into();
        let calibration = Calibration { weights: String::new(), ranges };
        assert!(matches!(calibration.scale("b"), Err(CalibrationError::Unknown(name)) if name == "b"));
        for wrong in ["a", "wide"] {
            assert!(
                matches!(calibration.scale(wrong), Err(CalibrationError::NotFinite(name)) if name == wrong)
            );
        }
    }
}
