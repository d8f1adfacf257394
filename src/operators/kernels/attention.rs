//! Attention over texts that stand one after the other without padding.
//!
//! A head works on one text at a time: its keys are transposed into panels of `N` columns, so that both
//! products are sums of a broadcast number times a contiguous row. Six query rows share what is loaded. A
//! text's numbers depend on that text alone, whatever stands beside it.

use std::ops::Range;

use super::level::for_every_level;
use super::math::{Quantiser, SUM_LANES, exp2_of_negative, larger, max_lanes, mul_add, sum_lanes};
use super::tile::{tile, transpose4};

/// Query rows at once.
const ROWS: usize = 6;

/// A matrix `[rows, columns]`, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// `rows * columns` numbers.
    pub data: &'a [f32],
    /// Numbers in a row.
    pub columns: usize,
}

impl<'a> Matrix<'a> {
    /// Some of its rows.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let numbers = rows.start * self.columns..rows.end * self.columns;
        Self { data: self.data.get(numbers).unwrap_or_default(), columns: self.columns }
    }
}

/// Where a part of the queries (keys, values) lies: from this column on in this matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which matrix.
    pub matrix: usize,
    /// Its first column.
    pub column: usize,
}

/// What the operator is made for. Queries, keys and values are `[tokens, heads * width]` each, cut into
/// equally wide parts; no head is cut in two.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How many.
    pub heads: usize,
    /// Columns of a head.
    pub width: usize,
    /// Only the first token of a text asks; the queries then have one row a text.
    pub first_only: bool,
    /// The parts of the queries.
    pub queries: Vec<Part>,
    /// Of the keys.
    pub keys: Vec<Part>,
    /// Of the values.
    pub values: Vec<Part>,
    /// Added to the queries; as long as a row of them, or empty.
    pub query_bias: Vec<f32>,
}

/// Where the context goes: `[queries, heads * width]`.
#[derive(Debug)]
pub enum Context<'a> {
    /// As it is.
    Float(&'a mut [f32]),
    /// Quantised.
    Byte(&'a mut [u8], Quantiser),
}

impl<'a> Context<'a> {
    /// The first `count` numbers, or as many as there are, and the rest.
    pub fn split(self, count: usize) -> (Self, Self) {
        match self {
            Self::Float(out) => {
                let (first, rest) = out.split_at_mut(count.min(out.len()));
                (Self::Float(first), Self::Float(rest))
            }
            Self::Byte(out, quantiser) => {
                let (first, rest) = out.split_at_mut(count.min(out.len()));
                (Self::Byte(first, quantiser), Self::Byte(rest, quantiser))
            }
        }
    }
}

/// Why attention cannot be computed. A graph that a compiler of ours wrote does not bring it about.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AttentionError {
    /// The offsets are not those of texts that fill the rows.
    #[error("offsets must begin at 0, never fall, and end at the number of rows")]
    Offsets,
    /// The plan points outside of what was given.
    #[error("queries, keys or values lie outside of the inputs")]
    Parts,
    /// The output has another size.
    #[error("the context has another size than the queries")]
    Context,
}

/// Attention of every text with itself. `offsets` has one more entry than there are texts: text *i* has the
/// rows `offsets[i]..offsets[i + 1]`.
pub fn attention(
    level: super::level::Level,
    plan: &Plan,
    inputs: &[Matrix<'_>],
    offsets: &[usize],
    context: Context<'_>,
) -> Result<(), AttentionError> {
    plan.check(inputs, offsets, &context)?;
    attend(level, plan, inputs, offsets, context);
    Ok(())
}

impl Plan {
    /// Everything that the kernel relies on where it does not check bounds again.
    pub fn check(
        &self,
        inputs: &[Matrix<'_>],
        offsets: &[usize],
        context: &Context<'_>,
    ) -> Result<(), AttentionError> {
        let (Some(&first), Some(&tokens)) = (offsets.first(), offsets.last()) else {
            return Err(AttentionError::Offsets);
        };
        if first != 0 || !offsets.is_sorted() {
            return Err(AttentionError::Offsets);
        }
        let texts = offsets.len() - 1;
        let asking = if self.first_only { texts } else { tokens };
        let hidden = self.heads.checked_mul(self.width).ok_or(AttentionError::Parts)?;
        for (parts, rows) in [(&self.queries, asking), (&self.keys, tokens), (&self.values, tokens)] {
            if self.width == 0 || parts.is_empty() || !self.heads.is_multiple_of(parts.len()) {
                return Err(AttentionError::Parts);
            }
            let columns = hidden / parts.len();
            let inside = |part: &Part| {
                let matrix = inputs.get(part.matrix)?;
                let size = matrix.columns.checked_mul(rows)?;
                let end = part.column.checked_add(columns)?;
                (end <= matrix.columns && size == matrix.data.len()).then_some(())
            };
            if !parts.iter().all(|part| inside(part).is_some()) {
                return Err(AttentionError::Parts);
            }
        }
        if !self.query_bias.is_empty() && self.query_bias.len() != hidden {
            return Err(AttentionError::Parts);
        }
        let size = match context {
            Context::Float(out) => out.len(),
            Context::Byte(out, _) => out.len(),
        };
        if Some(size) != asking.checked_mul(hidden) { Err(AttentionError::Context) } else { Ok(()) }
    }

    /// The columns of one head: the matrix, from the head's first column of its first row on.
    #[inline(always)]
    fn head<'a>(&self, parts: &[Part], inputs: &[Matrix<'a>], head: usize) -> Matrix<'a> {
        let heads_a_part = self.heads / parts.len();
        let part = parts[head / heads_a_part];
        let matrix = inputs[part.matrix];
        let column = part.column + (head % heads_a_part) * self.width;
        // Past the end where there are no rows.
        Matrix { data: matrix.data.get(column..).unwrap_or_default(), columns: matrix.columns }
    }
}

for_every_level! {
    /// The kernel.
    pub fn attend(
        plan: &Plan,
        inputs: &[Matrix<'_>],
        offsets: &[usize],
        context: Context<'_>,
    ) = every_head
}

/// Buffers of one call, as large as its longest text asks for.
struct Scratch {
    /// Keys of one head and text, transposed: panels `[width, N]`.
    keys: Vec<f32>,
    /// Values, in panels `[tokens, N]`; only where the head's width is not a multiple of `N`.
    values: Vec<f32>,
    /// Six rows of queries, with the bias added.
    queries: Vec<f32>,
    /// Six rows of scores.
    scores: Vec<f32>,
}

/// One head of one text.
#[derive(Clone, Copy)]
struct Head<'a> {
    /// Of the head.
    width: usize,
    /// Of the text.
    tokens: usize,
    /// Panels of transposed keys.
    keys: &'a [f32],
    /// From the first value on, and how far apart rows and panels lie.
    values: &'a [f32],
    value_row: usize,
    value_panel: usize,
    /// 1/√width · log2 e: the softmax works with powers of two.
    scale: f32,
}

/// # Safety
/// The processor has what `N` stands for: see [`tile`].
#[inline(always)]
unsafe fn every_head<const N: usize, const FMA: bool>(
    plan: &Plan,
    inputs: &[Matrix<'_>],
    offsets: &[usize],
    mut context: Context<'_>,
) {
    let (width, hidden) = (plan.width, plan.heads * plan.width);
    let longest = offsets.windows(2).map(|o| o[1] - o[0]).max().unwrap_or(0);
    let padded = longest.next_multiple_of(N);
    let panels = width.div_ceil(N);
    let packed = !width.is_multiple_of(N);
    let mut scratch = Scratch {
        keys: vec![0.0; padded * width],
        values: vec![0.0; if packed { panels * longest * N } else { 0 }],
        queries: vec![0.0; ROWS * width],
        scores: vec![0.0; ROWS * padded],
    };
    let scale = std::f32::consts::LOG2_E / (width as f32).sqrt();
    for (text, bounds) in offsets.windows(2).enumerate() {
        let (start, tokens) = (bounds[0], bounds[1] - bounds[0]);
        if tokens == 0 {
            // It asks nothing, but it may have a row.
            if plan.first_only {
                store::<FMA>(&mut context, text * hidden, &vec![0.0; hidden]);
            }
            continue;
        }
        for index in 0..plan.heads {
            let keys = plan.head(&plan.keys, inputs, index);
            transpose::<N>(keys, start, tokens, width, &mut scratch.keys);
            let values = plan.head(&plan.values, inputs, index);
            if packed {
                pack::<N>(values, start, tokens, width, &mut scratch.values);
            }
            let head = Head {
                width,
                tokens,
                keys: &scratch.keys,
                values: if packed { &scratch.values } else { &values.data[start * values.columns..] },
                value_row: if packed { N } else { values.columns },
                value_panel: if packed { tokens * N } else { N },
                scale,
            };
            let queries = plan.head(&plan.queries, inputs, index);
            let bias = plan.query_bias.get(index * width..(index + 1) * width).unwrap_or_default();
            let (first, count) = if plan.first_only { (text, 1) } else { (start, tokens) };
            let mut done = 0;
            while done < count {
                // Evenly: 25 is five blocks of 5, not four of 6 and one of 1.
                let rows = (count - done).div_ceil((count - done).div_ceil(ROWS));
                for (row, to) in scratch.queries.chunks_exact_mut(width).take(rows).enumerate() {
                    let from = &queries.data[(first + done + row) * queries.columns..][..width];
                    if bias.is_empty() {
                        to.copy_from_slice(from);
                    }
                    for ((x, from), bias) in to.iter_mut().zip(from).zip(bias) {
                        *x = *from + *bias;
                    }
                }
                let place = Place { row: first + done, hidden, column: index * width };
                let (queries, scores) = (&scratch.queries, &mut scratch.scores);
                // SAFETY: by the caller.
                unsafe {
                    match rows {
                        6 => block::<6, N, FMA>(head, queries, scores, &mut context, place),
                        5 => block::<5, N, FMA>(head, queries, scores, &mut context, place),
                        4 => block::<4, N, FMA>(head, queries, scores, &mut context, place),
                        3 => block::<3, N, FMA>(head, queries, scores, &mut context, place),
                        2 => block::<2, N, FMA>(head, queries, scores, &mut context, place),
                        _ => block::<1, N, FMA>(head, queries, scores, &mut context, place),
                    }
                }
                done += rows;
            }
        }
    }
}

/// Where a block's first context goes.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    hidden: usize,
    column: usize,
}

/// `R` query rows: scores, softmax, context.
///
/// # Safety
/// The processor has what `N` stands for: see [`tile`].
#[inline(always)]
unsafe fn block<const R: usize, const N: usize, const FMA: bool>(
    head: Head<'_>,
    queries: &[f32],
    scores: &mut [f32],
    context: &mut Context<'_>,
    place: Place,
) {
    let padded = head.tokens.next_multiple_of(N);
    for panel in 0..padded / N {
        let keys = &head.keys[panel * head.width * N..];
        // SAFETY: by the caller.
        let tile = unsafe { tile::<R, N, FMA>(queries, head.width, keys, N, head.width) };
        for (row, tile) in tile.iter().enumerate() {
            scores[row * padded + panel * N..][..N].copy_from_slice(tile);
        }
    }
    let mut weights = [0.0; R];
    for (weight, row) in weights.iter_mut().zip(scores.chunks_exact_mut(padded)) {
        *weight = 1.0 / softmax::<N, FMA>(row, head.tokens, head.scale);
    }
    for panel in 0..head.width.div_ceil(N) {
        let values = &head.values[panel * head.value_panel..];
        // SAFETY: by the caller.
        let tile = unsafe { tile::<R, N, FMA>(scores, padded, values, head.value_row, head.tokens) };
        let columns = (head.width - panel * N).min(N);
        for ((row, mut tile), weight) in tile.into_iter().enumerate().zip(weights) {
            for x in &mut tile {
                *x *= weight;
            }
            let at = (place.row + row) * place.hidden + place.column + panel * N;
            store::<FMA>(context, at, &tile[..columns]);
        }
    }
}

/// Scores to powers, in place; gives their sum. What lies past `tokens` counts for nothing.
#[inline(always)]
fn softmax<const N: usize, const FMA: bool>(scores: &mut [f32], tokens: usize, scale: f32) -> f32 {
    scores[tokens..].fill(f32::NEG_INFINITY);
    let mut highest = [f32::NEG_INFINITY; N];
    for chunk in scores.chunks_exact(N) {
        for (highest, x) in highest.iter_mut().zip(chunk) {
            *highest = larger(*highest, *x);
        }
    }
    let shift = -max_lanes(highest) * scale;
    // `N` divides the number of lanes.
    let mut sums = [0.0; SUM_LANES];
    for chunks in scores.chunks_mut(SUM_LANES) {
        for (chunk, sums) in chunks.chunks_exact_mut(N).zip(sums.chunks_exact_mut(N)) {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *x = exp2_of_negative::<FMA>(mul_add::<FMA>(*x, scale, shift));
                *sum += *x;
            }
        }
    }
    sum_lanes(sums)
}

/// Keys `[tokens, width]` into panels `[width, N]`; lanes past the last token hold anything.
#[inline(always)]
fn transpose<const N: usize>(keys: Matrix<'_>, start: usize, tokens: usize, width: usize, to: &mut [f32]) {
    let panels = tokens.div_ceil(N);
    for (panel, to) in to.chunks_exact_mut(width * N).take(panels).enumerate() {
        let first = panel * N;
        let lanes = (tokens - first).min(N);
        // Past the last token the last one again: the scores of those lanes are overwritten.
        let row = |lane: usize| &keys.data[(start + first + lane.min(lanes - 1)) * keys.columns..][..width];
        for lane in (0..lanes).step_by(4) {
            transpose4::<N>([row(lane), row(lane + 1), row(lane + 2), row(lane + 3)], &mut to[lane..]);
        }
    }
}

/// Values `[tokens, width]` into panels `[tokens, N]`; columns past the head's last are zero.
#[inline(always)]
fn pack<const N: usize>(values: Matrix<'_>, start: usize, tokens: usize, width: usize, to: &mut [f32]) {
    for (panel, to) in to.chunks_exact_mut(tokens * N).take(width.div_ceil(N)).enumerate() {
        let first = panel * N;
        let columns = (width - first).min(N);
        for (token, to) in to.chunks_exact_mut(N).enumerate() {
            let row = &values.data[(start + token) * values.columns + first..][..columns];
            to[..columns].copy_from_slice(row);
            to[columns..].fill(0.0);
        }
    }
}

#[inline(always)]
fn store<const FMA: bool>(context: &mut Context<'_>, at: usize, values: &[f32]) {
    match context {
        Context::Float(out) => out[at..][..values.len()].copy_from_slice(values),
        Context::Byte(out, quantiser) => {
            for (out, x) in out[at..][..values.len()].iter_mut().zip(values) {
                *out = quantiser.quantise::<FMA>(*x);
            }
        }
    }
}
