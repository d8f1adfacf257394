//! Token sequences to a graph's inputs: padded to the longest of the batch, or packed one after the other.
//! What a graph's inputs are called says which.

use std::borrow::Cow;

use ort::session::{Session, SessionInputValue};
use ort::value::{TensorElementType, TensorRef, ValueType};

use super::ModelError;
use crate::text::Tokens;

/// How a batch becomes tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[batch, longest]`, padded on the right.
    Padded,
    /// `[tokens]`, and offsets that say where each sequence begins.
    Packed,
}

impl Layout {
    /// Of a graph with these inputs.
    pub(super) fn of<'a>(mut inputs: impl Iterator<Item = &'a str>) -> Self {
        if inputs.any(|name| name == "offsets") { Self::Packed } else { Self::Padded }
    }

    /// Tokens that the model computes for sequences of these lengths.
    pub fn computed(self, lengths: impl IntoIterator<Item = usize>) -> usize {
        let (mut sum, mut longest, mut count) = (0, 0, 0);
        for length in lengths {
            (sum, longest, count) = (sum + length, length.max(longest), count + 1);
        }
        match self {
            Self::Padded => longest * count,
            Self::Packed => sum,
        }
    }

    /// As shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Padded => "padded",
            Self::Packed => "packed",
        }
    }
}

/// What we can feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Token ids; where padded, with the package's padding id.
    Ids,
    /// 1 for a token, 0 for padding.
    Mask,
    /// The segment of each token: 0 in a single text, 1 in a pair's second.
    Types,
    /// Packed: place of a token in its sequence.
    Positions,
    /// Packed: where each sequence begins, and the end of the last.
    Offsets,
}

/// One input of the graph, with the buffer that is used again from batch to batch.
struct Feed {
    name: String,
    role: Role,
    buffer: Buffer,
}

enum Buffer {
    I64(Vec<i64>),
    I32(Vec<i32>),
}

/// All inputs of a graph.
pub(super) struct Feeds {
    feeds: Vec<Feed>,
    layout: Layout,
    /// Sequences, and the longest of them.
    shape: [usize; 2],
}

impl Feeds {
    /// Checks that the graph's inputs can be fed.
    pub fn new(session: &Session) -> Result<Self, ModelError> {
        let inputs = session.inputs();
        let layout = Layout::of(inputs.iter().map(|input| input.name()));
        let feeds =
            inputs.iter().map(|i| feed(i.name(), i.dtype(), layout)).collect::<Result<Vec<_>, _>>()?;
        if !feeds.iter().any(|f| f.role == Role::Ids) {
            return Err(ModelError::NoIds);
        }
        Ok(Self { feeds, layout, shape: [0, 0] })
    }

    /// Would a padded row be read as text? That is so where a graph has no mask to be told of padding: it may
    /// only be given sequences of one length.
    pub fn must_be_equal(&self) -> bool {
        self.layout == Layout::Padded && self.feeds.iter().all(|feed| feed.role != Role::Mask)
    }

    /// How a batch becomes tensors.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Writes a batch into the buffers; `id` fills a padded one up.
    pub fn fill(&mut self, batch: &[&Tokens], id: u32) {
        self.shape = [batch.len(), batch.iter().map(|t| t.ids.len()).max().unwrap_or(0)];
        for feed in &mut self.feeds {
            match (&mut feed.buffer, self.layout) {
                (Buffer::I64(buffer), Layout::Padded) => {
                    pad(buffer, feed.role, batch, self.shape[1], id);
                }
                (Buffer::I32(buffer), Layout::Padded) => {
                    pad(buffer, feed.role, batch, self.shape[1], id);
                }
                (Buffer::I64(buffer), Layout::Packed) => pack(buffer, feed.role, batch),
                (Buffer::I32(buffer), Layout::Packed) => pack(buffer, feed.role, batch),
            }
        }
    }

    /// The buffers as ONNX Runtime takes them; nothing is copied.
    pub fn inputs(&self) -> ort::Result<Vec<(Cow<'_, str>, SessionInputValue<'_>)>> {
        let value = |feed| self.value(feed);
        self.feeds.iter().map(|feed| Ok((Cow::from(feed.name.as_str()), value(feed)?))).collect()
    }

    fn value<'a>(&self, feed: &'a Feed) -> ort::Result<SessionInputValue<'a>> {
        Ok(match (&feed.buffer, self.layout) {
            (Buffer::I64(b), Layout::Padded) => {
                TensorRef::from_array_view((self.shape, b.as_slice()))?.into()
            }
            (Buffer::I32(b), Layout::Padded) => {
                TensorRef::from_array_view((self.shape, b.as_slice()))?.into()
            }
            (Buffer::I64(b), Layout::Packed) => TensorRef::from_array_view(([b.len()], b.as_slice()))?.into(),
            (Buffer::I32(b), Layout::Packed) => TensorRef::from_array_view(([b.len()], b.as_slice()))?.into(),
        })
    }
}

fn feed(name: &str, dtype: &ValueType, layout: Layout) -> Result<Feed, ModelError> {
    let role = match (name, layout) {
        ("input_ids", Layout::Padded) | ("ids", Layout::Packed) => Role::Ids,
        ("attention_mask", Layout::Padded) => Role::Mask,
        ("token_type_ids", Layout::Padded) | ("types", Layout::Packed) => Role::Types,
        ("positions", Layout::Packed) => Role::Positions,
        ("offsets", Layout::Packed) => Role::Offsets,
        _ => return Err(ModelError::UnknownInput(name.to_owned())),
    };
    let buffer = match dtype {
        ValueType::Tensor { ty: TensorElementType::Int64, .. } => Buffer::I64(Vec::new()),
        ValueType::Tensor { ty: TensorElementType::Int32, .. } => Buffer::I32(Vec::new()),
        other => return Err(ModelError::InputType { name: name.to_owned(), dtype: other.to_string() }),
    };
    Ok(Feed { name: name.to_owned(), role, buffer })
}

/// An element of an input: both integer types hold every token id of a real vocabulary.
trait Element: Copy + From<bool> {
    fn of(id: u32) -> Self;
    fn count(n: usize) -> Self;
}

impl Element for i64 {
    fn of(id: u32) -> Self {
        id.into()
    }

    fn count(n: usize) -> Self {
        i64::try_from(n).unwrap_or(i64::MAX)
    }
}

impl Element for i32 {
    fn of(id: u32) -> Self {
        // Past every vocabulary: the graph refuses it.
        i32::try_from(id).unwrap_or(i32::MAX)
    }

    fn count(n: usize) -> Self {
        i32::try_from(n).unwrap_or(i32::MAX)
    }
}

/// Writes one input of shape `[batch, width]`, row by row, padded on the right.
fn pad<T: Element>(buffer: &mut Vec<T>, role: Role, batch: &[&Tokens], width: usize, pad: u32) {
    buffer.clear();
    for tokens in batch {
        let end = buffer.len() + width;
        match role {
            Role::Ids => buffer.extend(tokens.ids.iter().map(|&id| T::of(id))),
            Role::Mask => buffer.resize(end - width + tokens.ids.len(), T::from(true)),
            Role::Types => buffer.extend(tokens.types.iter().map(|&segment| T::of(segment))),
            // They have no place in a padded graph (see `feed`).
            Role::Positions | Role::Offsets => {}
        }
        buffer.resize(end, if role == Role::Ids { T::of(pad) } else { T::from(false) });
    }
}

/// Writes one input of shape `[tokens]`, or the offsets `[batch + 1]`.
fn pack<T: Element>(buffer: &mut Vec<T>, role: Role, batch: &[&Tokens]) {
    buffer.clear();
    let mut end = 0;
    if role == Role::Offsets {
        buffer.push(T::count(0));
    }
    for tokens in batch {
        end += tokens.ids.len();
        match role {
            Role::Ids => buffer.extend(tokens.ids.iter().map(|&id| T::of(id))),
            Role::Positions => buffer.extend((0..tokens.ids.len()).map(T::count)),
            Role::Offsets => buffer.push(T::count(end)),
            Role::Types => {
                buffer.extend(tokens.types.iter().map(|&segment| T::of(segment)));
                buffer.resize(end, T::from(false));
            }
            // It has no place in a packed graph (see `feed`).
            Role::Mask => buffer.resize(end, T::from(false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: &[u32]) -> Tokens {
        Tokens::new(ids.to_vec(), ids.len())
    }

    #[test]
    fn batches_are_padded_on_the_right() {
        let (long, short) = (tokens(&[5, 6, 7]), tokens(&[8]));
        let batch = [&long, &short];
        let mut buffer = vec![9_i64; 40];
        pad(&mut buffer, Role::Ids, &batch, 3, 1);
        assert_eq!(buffer, [5, 6, 7, 8, 1, 1]);
        pad(&mut buffer, Role::Mask, &batch, 3, 1);
        assert_eq!(buffer, [1, 1, 1, 1, 0, 0]);
        let mut buffer: Vec<i32> = Vec::new();
        pad(&mut buffer, Role::Types, &batch, 3, 1);
        assert_eq!(buffer, [0; 6]);
    }

    #[test]
    fn or_packed_one_after_the_other() {
        let (long, short) = (tokens(&[5, 6, 7]), tokens(&[8]));
        let batch = [&long, &short];
        let mut buffer = vec![9_i64; 40];
        for (role, expected) in [
            (Role::Ids, &[5, 6, 7, 8][..]),
            (Role::Positions, &[0, 1, 2, 0]),
            (Role::Offsets, &[0, 3, 4]),
            (Role::Types, &[0, 0, 0, 0]),
        ] {
            pack(&mut buffer, role, &batch);
            assert_eq!(buffer, expected, "{role:?}");
        }
    }

    #[test]
    fn the_segments_of_pairs_go_along() {
        let (pair, single) = (Tokens { types: vec![0, 1, 1], ..tokens(&[5, 6, 7]) }, tokens(&[8, 9]));
        let mut buffer: Vec<i64> = Vec::new();
        pad(&mut buffer, Role::Types, &[&single, &pair], 3, 1);
        assert_eq!(buffer, [0, 0, 0, 0, 1, 1]);
        pack(&mut buffer, Role::Types, &[&single, &pair]);
        assert_eq!(buffer, [0, 0, 0, 1, 1]);
    }

    #[test]
    fn padding_costs_what_tokens_cost() {
        assert_eq!(Layout::Padded.computed([3, 1, 2]), 9);
        assert_eq!(Layout::Packed.computed([3, 1, 2]), 6);
        assert_eq!(Layout::Padded.computed([]), 0);
    }

    #[test]
    fn the_inputs_say_which() {
        let layout = |names: &[&str]| Layout::of(names.iter().copied());
        assert_eq!(layout(&["input_ids", "attention_mask"]), Layout::Padded);
        assert_eq!(layout(&["ids", "positions", "offsets"]), Layout::Packed);
    }
}
