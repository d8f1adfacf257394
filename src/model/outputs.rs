//! A graph's outputs to what a task keeps of them: which of the outputs they are, and the rows of each
//! sequence.

use ort::session::{Session, SessionOutputs};
use ort::value::{TensorElementType, ValueType};

use super::heads::{Pooling, Reads};
use super::{InferError, Layout, ModelError};

/// One head of a graph, as a session reads it.
#[derive(Debug)]
pub(super) struct HeadOutputs {
    reads: Reads,
    /// The graph's outputs that it is made of.
    names: Vec<String>,
}

/// The sequences of a batch, as they lie in the graph's outputs.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub layout: Layout,
    /// Tokens of each sequence.
    pub lengths: &'a [usize],
    /// The longest.
    pub width: usize,
}

impl HeadOutputs {
    /// Finds the outputs, and checks what the graph says of their shapes. `suffix` tells the heads of a
    /// merged graph apart.
    pub fn find(session: &Session, reads: Reads, layout: Layout, suffix: &str) -> Result<Self, ModelError> {
        let outputs = session.outputs();
        let rank = |t: &ValueType| match t {
            ValueType::Tensor { shape, .. } => Some(shape.len()),
            _ => None,
        };
        let tokens = match layout {
            Layout::Padded => 2,
            Layout::Packed => 1,
        };
        // The names that transformers' exporters give, and the rank for those who gave others.
        let (wanted, dimensions, width): (&[&str], usize, Option<usize>) = match reads {
            Reads::Logits { labels } => (&["logits"], 2, Some(labels)),
            Reads::TokenLogits { labels } => (&["logits"], tokens + 1, Some(labels)),
            Reads::Spans => (&["start_logits", "end_logits"], tokens, None),
            Reads::Pooled { hidden, .. } => (&["last_hidden_state"], tokens + 1, Some(hidden)),
        };
        let has = |name: &str| outputs.iter().find(|o| o.name() == format!("{name}{suffix}"));
        let found: Option<Vec<_>> = wanted.iter().map(|name| has(name)).collect();
        let by_rank = || {
            let own = outputs.iter().filter(|o| o.name().ends_with(suffix));
            let fitting = own.filter(|o| rank(o.dtype()) == Some(dimensions));
            let found: Vec<_> = fitting.take(wanted.len()).collect();
            (found.len() == wanted.len()).then_some(found)
        };
        let found = found.or_else(by_rank).ok_or_else(|| ModelError::NoOutput {
            wanted: wanted.join(" and "),
            has: outputs.iter().map(|o| o.name().to_owned()).collect(),
        })?;
        for output in &found {
            let name = output.name().to_owned();
            match output.dtype() {
                ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
                    let last = shape.last().copied().filter(|n| *n > 0);
                    if shape.len() != dimensions {
                        return Err(ModelError::Rank { name, found: shape.len(), expected: dimensions });
                    }
                    if let (Some(last), Some(labels)) = (last, width)
                        && usize::try_from(last) != Ok(labels)
                    {
                        return Err(ModelError::Width { name, width: last, labels });
                    }
                }
                other => return Err(ModelError::OutputType { name, dtype: other.to_string() }),
            }
        }
        Ok(Self { reads, names: found.into_iter().map(|o| o.name().to_owned()).collect() })
    }

    /// Adds what is kept of each sequence's answer to that sequence's numbers.
    pub fn read(
        &self,
        outputs: &SessionOutputs<'_>,
        rows: Rows<'_>,
        into: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        for name in &self.names {
            let missing = || InferError::Shape { found: Vec::new(), expected: Vec::new() };
            let value = outputs.get(name).ok_or_else(missing)?;
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(|e| InferError::run(&e))?;
            let expected = self.shape(rows);
            if shape[..] != expected {
                return Err(InferError::Shape { found: shape.to_vec(), expected });
            }
            let mut end = 0;
            for (place, (length, into)) in rows.lengths.iter().zip(&mut *into).enumerate() {
                end += length;
                let token = match rows.layout {
                    Layout::Padded => place * rows.width,
                    Layout::Packed => end - length,
                };
                let of_tokens =
                    |width: usize| values.get(token * width..(token + length) * width).unwrap_or_default();
                match self.reads {
                    Reads::Logits { labels } => {
                        into.extend(values.get(place * labels..(place + 1) * labels).unwrap_or_default());
                    }
                    Reads::TokenLogits { labels } => into.extend(of_tokens(labels)),
                    Reads::Spans => into.extend(of_tokens(1)),
                    Reads::Pooled { pooling, hidden } => pool(of_tokens(hidden), hidden, pooling, into),
                }
            }
        }
        Ok(())
    }

    /// Of one output.
    fn shape(&self, rows: Rows<'_>) -> Vec<i64> {
        let texts = [rows.lengths.len()];
        let tokens = match rows.layout {
            Layout::Padded => vec![rows.lengths.len(), rows.width],
            Layout::Packed => vec![rows.lengths.iter().sum()],
        };
        let shape = match self.reads {
            Reads::Logits { labels } => [&texts[..], &[labels]].concat(),
            Reads::TokenLogits { labels } => [&tokens[..], &[labels]].concat(),
            Reads::Spans => tokens,
            Reads::Pooled { hidden, .. } => [&tokens[..], &[hidden]].concat(),
        };
        shape.into_iter().map(|n| i64::try_from(n).unwrap_or(i64::MAX)).collect()
    }
}

/// Adds one vector of `hidden` numbers, made of all rows.
fn pool(rows: &[f32], hidden: usize, pooling: Pooling, into: &mut Vec<f32>) {
    let mut rows = rows.chunks_exact(hidden.max(1));
    match pooling {
        Pooling::Cls => into.extend(rows.next().unwrap_or_default()),
        Pooling::Mean => {
            let count = rows.len().max(1) as f64;
            let mut sums = vec![0.0_f64; hidden];
            for row in rows {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            into.extend(sums.iter().map(|sum| (sum / count) as f32));
        }
        Pooling::Max => {
            let mut most = rows.next().unwrap_or_default().to_vec();
            for row in rows {
                // NaN stays: it must be seen.
                let higher = |most: f32, x: f32| if most.is_nan() || x < most { most } else { x };
                most.iter_mut().zip(row).for_each(|(most, x)| *most = higher(*most, *x));
            }
            into.append(&mut most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_states_become_one_vector() {
        let pooled = |pooling| {
            let mut into = vec![7.0];
            pool(&[1.0, -2.0, 3.0, 4.0, 2.0, -5.0], 2, pooling, &mut into);
            into
        };
        assert_eq!(pooled(Pooling::Mean), [7.0, 2.0, -1.0]);
        assert_eq!(pooled(Pooling::Cls), [7.0, 1.0, -2.0]);
        assert_eq!(pooled(Pooling::Max), [7.0, 3.0, 4.0]);
        let mut into = Vec::new();
        for (pooling, rows) in [(Pooling::Max, [1.0, f32::NAN, 2.0]), (Pooling::Mean, [1.0, f32::NAN, 2.0])] {
            into.clear();
            pool(&rows, 1, pooling, &mut into);
            assert!(into[0].is_nan(), "a broken answer is not hidden by the others");
        }
    }
}
