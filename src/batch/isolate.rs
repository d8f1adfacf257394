//! A failed batch is split until the culprit stands alone; its neighbours get their answers.

use std::thread::sleep;
use std::time::Duration;

use crate::fate::Fate;
use crate::model::{Infer, InferError, Output};
use crate::telemetry::Metrics;
use crate::text::Tokens;

/// Attempts at a failure that may pass (device busy, out of memory) before the worker gives up.
const TRANSIENT_ATTEMPTS: u32 = 5;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// One answer or one error for each sequence, in order. `Err`: the model itself is out of order,
/// and nothing may be settled.
///
/// A sequence that fails alone, or is answered with NaN twice, is called poison only if the model still
/// answers `canary`, a sequence that it answered at start; else a broken device would dead-letter a
/// whole topic.
pub fn infer_isolating(
    model: &mut dyn Infer,
    batch: &[&Tokens],
    canary: &Tokens,
    metrics: &Metrics,
) -> Result<Vec<Result<Output, InferError>>, InferError> {
    let mut answers = Vec::with_capacity(batch.len());
    run(model, batch, canary, metrics, &mut answers)?;
    Ok(answers)
}

fn run(
    model: &mut dyn Infer,
    part: &[&Tokens],
    canary: &Tokens,
    metrics: &Metrics,
    answers: &mut Vec<Result<Output, InferError>>,
) -> Result<(), InferError> {
    match attempt(model, part) {
        Ok(outputs) => {
            for (tokens, output) in part.iter().zip(outputs) {
                let sound = if output.is_finite() { output } else { once_more(model, tokens, canary)? };
                answers.push(Ok(sound));
            }
            Ok(())
        }
        // Halves of what a device has no memory for may fit.
        Err(error) if part.len() > 1 && error.fate() != Fate::Fatal => {
            metrics.batch_split();
            let (left, right) = part.split_at(part.len() / 2);
            run(model, left, canary, metrics, answers)?;
            run(model, right, canary, metrics, answers)
        }
        Err(error) if error.fate() == Fate::Poison => {
            attempt(model, &[canary])?;
            answers.push(Err(error));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// NaN or infinity: of the text, or of the device? Asked alone once more, it may have an answer. If
/// not, the answer stands (it makes a dead letter), but only if the model still answers the canary.
fn once_more(model: &mut dyn Infer, tokens: &Tokens, canary: &Tokens) -> Result<Output, InferError> {
    let alone = |answers: Vec<Output>| answers.into_iter().next().ok_or(InferError::NotFinite);
    let again = alone(attempt(model, &[tokens])?)?;
    if !again.is_finite() && !alone(attempt(model, &[canary])?)?.is_finite() {
        return Err(InferError::NotFinite);
    }
    Ok(again)
}

fn attempt(model: &mut dyn Infer, part: &[&Tokens]) -> Result<Vec<Output>, InferError> {
    let mut tries = 0;
    loop {
        match model.infer(part) {
            Err(error) if error.fate() == Fate::Transient && tries + 1 < TRANSIENT_ATTEMPTS => {
                tracing::warn!(%error, tries, "inference failed for now; trying again");
                sleep(jittered(FIRST_BACKOFF * 2u32.pow(tries)));
                tries += 1;
            }
            result => return result,
        }
    }
}

/// Between half and all of `backoff`; the clock's low digits are random enough to part workers.
fn jittered(backoff: Duration) -> Duration {
    let noise = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos() % 1000);
    backoff / 2 + (backoff / 2) * noise / 1000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Fails whenever one of the poisonous ids is in the batch, as a graph's Gather does; and for
    /// everything once it is broken.
    struct Fragile {
        poison: Vec<u32>,
        broken: bool,
        runs: usize,
        /// Answered with NaN: in company, or always.
        nan: Vec<(u32, bool)>,
    }

    impl Infer for Fragile {
        fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<Output>, InferError> {
            self.runs += 1;
            if self.broken || batch.iter().any(|t| self.poison.contains(&t.ids[0])) {
                return Err(InferError::Run("Gather: out of bounds".into()));
            }
            let nan = |id| self.nan.iter().any(|(n, always)| *n == id && (*always || batch.len() > 1));
            let logit = |id| if nan(id) { f32::NAN } else { id as f32 };
            Ok(batch.iter().map(|t| Output { logits: vec![logit(t.ids[0])] }).collect())
        }
    }

    fn tokens(id: u32) -> Tokens {
        Tokens::new(vec![id], 1)
    }

    fn isolate(model: &mut Fragile, ids: &[u32]) -> Result<Vec<Result<Output, InferError>>, InferError> {
        let all: Vec<Tokens> = ids.iter().map(|id| tokens(*id)).collect();
        let batch: Vec<&Tokens> = all.iter().collect();
        infer_isolating(model, &batch, &tokens(u32::MAX), &Metrics::default())
    }

    proptest! {
        #[test]
        fn exactly_the_poisonous_fail(ids in prop::collection::vec(0u32..40, 1..64), poison in prop::collection::vec(0u32..40, 0..6)) {
            let mut model = Fragile { poison: poison.clone(), broken: false, runs: 0, nan: Vec::new() };
            let answers = isolate(&mut model, &ids).unwrap();
            prop_assert_eq!(answers.len(), ids.len());
            for (id, answer) in ids.iter().zip(answers) {
                match answer {
                    Ok(output) => prop_assert_eq!(output.logits, vec![*id as f32], "each its own answer"),
                    Err(_) => prop_assert!(poison.contains(id), "a healthy neighbour was punished"),
                }
            }
        }
    }

    #[test]
    fn one_culprit_costs_a_logarithm_of_runs() {
        let mut model = Fragile { poison: vec![17], broken: false, runs: 0, nan: Vec::new() };
        let answers = isolate(&mut model, &(0..64).collect::<Vec<_>>()).unwrap();
        assert_eq!(answers.iter().filter(|a| a.is_err()).count(), 1);
        assert!(model.runs <= 14, "1 + 2 for each halving of 64, + the canary: {}", model.runs);
    }

    #[test]
    fn nan_is_asked_again_alone_and_stands_if_it_stays() {
        let nan = vec![(2, false), (3, true)];
        let mut model = Fragile { poison: Vec::new(), broken: false, runs: 0, nan };
        let answers = isolate(&mut model, &[1, 2, 3]).unwrap();
        let logits: Vec<f32> = answers.into_iter().map(|a| a.unwrap().logits[0]).collect();
        assert_eq!(logits[..2], [1.0, 2.0]);
        assert!(logits[2].is_nan());
        assert_eq!(model.runs, 4, "the batch, each of the two alone, and the canary");
        model.nan = vec![(3, true), (u32::MAX, true)];
        assert_eq!(isolate(&mut model, &[1, 3]).unwrap_err(), InferError::NotFinite);
    }

    #[test]
    fn a_broken_model_dead_letters_nothing() {
        let mut model = Fragile { poison: Vec::new(), broken: true, runs: 0, nan: Vec::new() };
        assert!(isolate(&mut model, &[1, 2, 3]).is_err());
    }
}
