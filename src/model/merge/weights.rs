//! A graph's stored tensors, and how much of them two graphs have in common. Pure.

use std::collections::HashMap;

use super::number::{graph, tensor};
use super::wire::{self, Broken, Field, Message, all, text};
use crate::model::hash_bytes;

/// One stored tensor.
pub(super) struct Tensor {
    pub name: String,
    /// All but its name and remarks.
    pub fields: Message,
    /// Of these fields.
    pub digest: String,
    /// Their bytes.
    pub size: usize,
}

/// Of a graph; `None`: some lie in other files.
pub(super) fn tensors(whole: &[Field]) -> Result<Option<Vec<Tensor>>, Broken> {
    let mut tensors = Vec::new();
    for stored in all(whole, graph::INITIALIZER) {
        let mut fields = wire::read(stored.clone())?;
        if fields.iter().any(|field| field.number == tensor::EXTERNAL) {
            return Ok(None);
        }
        let name = text(&fields, tensor::NAME)?;
        fields.retain(|field| ![tensor::NAME, tensor::DOC].contains(&field.number));
        let written = wire::write(&fields);
        tensors.push(Tensor { name, digest: hash_bytes(&written), size: written.len(), fields });
    }
    Ok(Some(tensors))
}

/// What a graph weighs, by the digests of its tensors. One that it has twice counts once.
#[derive(Debug, Clone)]
pub(super) struct Weights(HashMap<String, usize>);

impl Weights {
    pub fn of(tensors: &[Tensor]) -> Self {
        Self(tensors.iter().map(|tensor| (tensor.digest.clone(), tensor.size)).collect())
    }

    /// Is half of the smaller one, or more, in both?
    pub fn are_mostly(&self, other: &Self) -> bool {
        let whole = |weights: &Self| weights.0.values().sum::<usize>();
        let both = self.0.iter().filter(|(digest, _)| other.0.contains_key(*digest));
        let common: usize = both.map(|(_, size)| size).sum();
        common > 0 && common * 2 >= whole(self).min(whole(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(tensors: &[(&str, usize)]) -> Weights {
        let tensor = |(digest, size): &(&str, usize)| Tensor {
            name: String::new(),
            fields: Message::new(),
            digest: (*digest).to_owned(),
            size: *size,
        };
        Weights::of(&tensors.iter().map(tensor).collect::<Vec<_>>())
    }

    #[test]
    fn half_of_the_smaller_one_is_most_of_it() {
        let encoder = weights(&[("encoder", 100), ("head", 10)]);
        for (other, expected) in [
            (&[("encoder", 100), ("another head", 90)][..], true),
            (&[("encoder", 100), ("much more", 900)], true),
            (&[("head", 10), ("another encoder", 100)], false),
            (&[("head", 10), ("small", 10)], true),
            (&[("another encoder", 100)], false),
            (&[], false),
        ] {
            let other = weights(other);
            assert_eq!(encoder.are_mostly(&other), expected, "{other:?}");
            assert_eq!(other.are_mostly(&encoder), expected, "{other:?}");
        }
    }

    #[test]
    fn what_a_graph_has_several_times_counts_once() {
        let zeros = [("zeros", 40), ("zeros", 40), ("zeros", 40)];
        let (a, b) = ([&zeros[..], &[("a", 100)]].concat(), [&zeros[..], &[("b", 100)]].concat());
        assert!(!weights(&a).are_mostly(&weights(&b)));
    }
}
