//! Products of bytes: `[rows, inputs]` unsigned by `[inputs, outputs]` signed, summed in 32 bits, then scaled to
//! floats; and the same with bias, GELU and quantisation, so that the floats never leave the cache.
//!
//! Weights are stored as the loops read them ([`pack`]): panels of 32 columns, in each panel four inputs of
//! every column side by side, because processors sum four products of bytes in one instruction (VNNI) or in two
//! (AVX2, where they must not exceed 7 bits: see [`LARGEST`]). Sums of integers do not depend on their order:
//! all levels and all batches give the same sums, to the bit. What lies between the products is floats: the
//! same in every batch, but another processor (with other vectors, or without fused multiply-add) may differ in
//! the last bits, and so round a byte otherwise.

use super::level::{Kind, Level};
use super::math::Quantiser;

/// Columns of a panel.
pub const PANEL: usize = 32;
/// Inputs that stand side by side.
pub const DEPTH: usize = 4;
/// Weights reach from −63 to 63: AVX2 sums two products of bytes in 16 bits, and 2 · 255 · 64 is the most that
/// these hold.
pub const LARGEST: i8 = 63;
/// Most rows of the right side: sums of more products of bytes might not fit 32 bits.
pub const MOST_INPUTS: usize = i32::MAX as usize / (u8::MAX as usize * LARGEST as usize);
/// Rows of a tile: 24 of AVX-512's 32 registers are sums.
const ROWS: usize = 12;
/// Rows that share a panel while it is in the nearest cache.
const SHARING: usize = 8 * ROWS;

/// Bytes that [`pack`] makes of `[inputs, outputs]`.
pub fn packed_len(inputs: usize, outputs: usize) -> usize {
    outputs.div_ceil(PANEL) * inputs.div_ceil(DEPTH) * PANEL * DEPTH
}

/// A matrix `[inputs, outputs]`, row-major, as [`Weights::packed`] has it. What is missing to whole panels is zero.
pub fn pack(matrix: &[i8], inputs: usize, outputs: usize) -> Vec<i8> {
    let depth = inputs.div_ceil(DEPTH);
    let mut packed = vec![0; packed_len(inputs, outputs)];
    for (row, weights) in matrix.chunks_exact(outputs.max(1)).enumerate() {
        for (column, weight) in weights.iter().enumerate() {
            let (panel, lane) = (column / PANEL, column % PANEL);
            packed[((panel * depth + row / DEPTH) * PANEL + lane) * DEPTH + row % DEPTH] = *weight;
        }
    }
    packed
}

/// The right side of a product.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// From [`pack`], and within [`LARGEST`]: see [`check_range`].
    pub packed: &'a [i8],
    /// Rows of the matrix.
    pub inputs: usize,
    /// Its columns.
    pub outputs: usize,
    /// Of each column: what the sum is multiplied with. Filled up to whole panels.
    pub scales: &'a [f32],
    /// Of each column: what the sum begins with (the left side's zero point times the column's sum, negative).
    /// Filled up to whole panels.
    pub starts: &'a [i32],
}

/// Why a product cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProductError {
    /// Its parts do not fit together.
    #[error("the sizes of a product's parts do not fit together")]
    Sizes,
    /// Its weights are larger than [`LARGEST`].
    #[error(
        "a product has weights beyond -{LARGEST} to {LARGEST}, whose sums overflow on processors with AVX2"
    )]
    Large,
}

/// Are all weights within [`LARGEST`]? Elsewhere nothing looks: with others a product would be right on one
/// processor and wrong on another, without a word.
pub fn check_range(packed: &[i8]) -> Result<(), ProductError> {
    let large =
        packed.iter().fold(false, |any, weight| any | (weight.unsigned_abs() > LARGEST.unsigned_abs()));
    if large { Err(ProductError::Large) } else { Ok(()) }
}

impl Weights<'_> {
    /// All that the tiles rely on, for an output of `out` elements; gives the rows.
    pub fn check(&self, left: &[u8], out: usize) -> Result<usize, ProductError> {
        let rows = left.len().checked_div(self.inputs).ok_or(ProductError::Sizes)?;
        let padded = self.outputs.next_multiple_of(PANEL);
        let fits = self.outputs > 0
            && self.inputs <= MOST_INPUTS
            && rows * self.inputs == left.len()
            && rows.checked_mul(self.outputs) == Some(out)
            && self.packed.len() == packed_len(self.inputs, self.outputs)
            && self.scales.len() == padded
            && self.starts.len() == padded;
        if fits { Ok(rows) } else { Err(ProductError::Sizes) }
    }
}

/// `out = (left · weights) · scales`, `[rows, outputs]`.
pub fn product(
    level: Level,
    weights: &Weights<'_>,
    left: &[u8],
    out: &mut [f32],
) -> Result<(), ProductError> {
    weights.check(left, out.len())?;
    multiply(level, weights, &Left::new(left, weights.inputs).view(), out);
    Ok(())
}

/// `out = quantised(gelu((left · weights) · scales + bias))`, `[rows, outputs]`; `bias` is as long as a row.
pub fn product_gelu(
    level: Level,
    weights: &Weights<'_>,
    left: &[u8],
    bias: &[f32],
    quantiser: Quantiser,
    out: &mut [u8],
) -> Result<(), ProductError> {
    weights.check(left, out.len())?;
    if bias.len() != weights.outputs {
        return Err(ProductError::Sizes);
    }
    let left = Left::new(left, weights.inputs);
    let left = left.view();
    // Two tiles high: small enough for the cache, large enough to load a panel not too often.
    let rows = 2 * ROWS;
    let mut floats = vec![0.0; rows * weights.outputs];
    let lefts = left.bytes.chunks(rows * left.row);
    for (bytes, out) in lefts.zip(out.chunks_mut(rows * weights.outputs)) {
        let floats = &mut floats[..out.len()];
        multiply(level, weights, &Rows { bytes, row: left.row }, floats);
        super::gelu::gelu_u8(level, floats, bias, quantiser, out);
    }
    Ok(())
}

/// The left side, its rows filled up to a multiple of [`DEPTH`].
enum Left<'a> {
    AsItIs(Rows<'a>),
    Filled(Vec<u8>, usize),
}

#[derive(Clone, Copy)]
struct Rows<'a> {
    bytes: &'a [u8],
    /// Bytes of a row, a multiple of [`DEPTH`].
    row: usize,
}

impl<'a> Left<'a> {
    fn new(bytes: &'a [u8], inputs: usize) -> Self {
        let row = inputs.next_multiple_of(DEPTH);
        if row == inputs {
            return Self::AsItIs(Rows { bytes, row });
        }
        let mut filled = vec![0; bytes.len() / inputs * row];
        for (to, from) in filled.chunks_exact_mut(row).zip(bytes.chunks_exact(inputs)) {
            to[..inputs].copy_from_slice(from);
        }
        Self::Filled(filled, row)
    }

    fn view(&self) -> Rows<'_> {
        match self {
            Self::AsItIs(rows) => *rows,
            Self::Filled(bytes, row) => Rows { bytes, row: *row },
        }
    }
}

/// One tile: some rows of the left side by one panel.
#[derive(Clone, Copy)]
struct Tile<'a> {
    /// From the tile's first row on.
    left: &'a [u8],
    /// How far rows lie apart: a multiple of [`DEPTH`].
    row: usize,
    panel: &'a [i8],
    scales: &'a [f32; PANEL],
    starts: &'a [i32; PANEL],
}

fn multiply(level: Level, weights: &Weights<'_>, left: &Rows<'_>, out: &mut [f32]) {
    let (row, outputs) = (left.row, weights.outputs);
    let sharing = left.bytes.chunks(SHARING * row);
    for (left, out) in sharing.zip(out.chunks_mut(SHARING * outputs)) {
        let panels = weights.packed.chunks_exact(row * PANEL);
        let columns = weights.scales.as_chunks().0.iter().zip(weights.starts.as_chunks().0);
        for ((index, panel), (scales, starts)) in panels.enumerate().zip(columns) {
            let first = index * PANEL;
            let (count, mut done) = (left.len() / row, 0);
            while done < count {
                // Evenly, so that no tile is much lower than the others.
                let rows = (count - done).div_ceil((count - done).div_ceil(ROWS));
                let tile = Tile { left: &left[done * row..], row, panel, scales, starts };
                if first + PANEL <= outputs {
                    tile_of(level, rows, tile, &mut out[done * outputs + first..], outputs);
                } else {
                    let mut whole = [0.0; ROWS * PANEL];
                    tile_of(level, rows, tile, &mut whole, PANEL);
                    for (row, whole) in whole.chunks_exact(PANEL).take(rows).enumerate() {
                        let to = &mut out[(done + row) * outputs + first..][..outputs - first];
                        to.copy_from_slice(&whole[..outputs - first]);
                    }
                }
                done += rows;
            }
        }
    }
}

/// Computes a tile of `rows` rows into `out`, whose rows lie `stride` apart.
fn tile_of(level: Level, rows: usize, tile: Tile<'_>, out: &mut [f32], stride: usize) {
    match rows {
        12 => at_level::<12>(level, tile, out, stride),
        11 => at_level::<11>(level, tile, out, stride),
        10 => at_level::<10>(level, tile, out, stride),
        9 => at_level::<9>(level, tile, out, stride),
        8 => at_level::<8>(level, tile, out, stride),
        7 => at_level::<7>(level, tile, out, stride),
        6 => at_level::<6>(level, tile, out, stride),
        5 => at_level::<5>(level, tile, out, stride),
        4 => at_level::<4>(level, tile, out, stride),
        3 => at_level::<3>(level, tile, out, stride),
        2 => at_level::<2>(level, tile, out, stride),
        _ => at_level::<1>(level, tile, out, stride),
    }
}

#[inline(always)]
fn at_level<const R: usize>(level: Level, tile: Tile<'_>, out: &mut [f32], stride: usize) {
    let inside = tile.left.len() >= R * tile.row
        && tile.panel.len() >= tile.row * PANEL
        && tile.row.is_multiple_of(DEPTH)
        && out.len() >= (R - 1) * stride + PANEL;
    assert!(inside, "a tile lies inside of its parts");
    match level.0 {
        Kind::Baseline => plain::<R>(tile, out, stride),
        // SAFETY: the assertion above; a level exists only where the processor has what it stands for.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 | Kind::Avx512 => unsafe { x86::avx2::<R>(tile, out.as_mut_ptr(), stride) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni => unsafe { x86::vnni::<R>(tile, out.as_mut_ptr(), stride) },
    }
}

/// For processors without any of it.
fn plain<const R: usize>(tile: Tile<'_>, out: &mut [f32], stride: usize) {
    for row in 0..R {
        let mut sums = *tile.starts;
        let left = tile.left[row * tile.row..][..tile.row].as_chunks::<DEPTH>().0;
        let panel = tile.panel.as_chunks::<{ PANEL * DEPTH }>().0;
        for (left, weights) in left.iter().zip(panel) {
            for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<DEPTH>().0) {
                for (a, b) in left.iter().zip(weights) {
                    *sum += i32::from(i16::from(*a) * i16::from(*b));
                }
            }
        }
        for ((out, sum), scale) in out[row * stride..].iter_mut().zip(sums).zip(tile.scales) {
            *out = sum as f32 * scale;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{DEPTH, PANEL, Tile};

    /// # Safety
    /// The tile has `R` rows and lies inside its parts; `out` takes `R` rows of 32 floats, `stride` apart.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn vnni<const R: usize>(tile: Tile<'_>, out: *mut f32, stride: usize) {
        // SAFETY: by the caller.
        unsafe {
            let starts = tile.starts.as_ptr();
            let starts = [_mm512_loadu_si512(starts.cast()), _mm512_loadu_si512(starts.add(16).cast())];
            let mut sums = [starts; R];
            let (left, panel) = (tile.left.as_ptr(), tile.panel.as_ptr());
            for k in 0..tile.row / DEPTH {
                let b = panel.add(k * PANEL * DEPTH);
                let b = [_mm512_loadu_si512(b.cast()), _mm512_loadu_si512(b.add(64).cast())];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = left.add(row * tile.row + k * DEPTH).cast::<i32>().read_unaligned();
                    let a = _mm512_set1_epi32(a);
                    sums[0] = _mm512_dpbusd_epi32(sums[0], a, b[0]);
                    sums[1] = _mm512_dpbusd_epi32(sums[1], a, b[1]);
                }
            }
            let scales = tile.scales.as_ptr();
            let scales = [_mm512_loadu_ps(scales), _mm512_loadu_ps(scales.add(16))];
            for (row, sums) in sums.iter().enumerate() {
                for half in 0..2 {
                    let x = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[half]), scales[half]);
                    _mm512_storeu_ps(out.add(row * stride + half * 16), x);
                }
            }
        }
    }

    /// # Safety
    /// As for `vnni`.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2<const R: usize>(tile: Tile<'_>, out: *mut f32, stride: usize) {
        let mut row = 0;
        // SAFETY: by the caller; three rows, then two or one, stay within `R`.
        unsafe {
            while row + 3 <= R {
                avx2_rows::<3>(tile, row, out, stride);
                row += 3;
            }
            match R - row {
                2 => avx2_rows::<2>(tile, row, out, stride),
                1 => avx2_rows::<1>(tile, row, out, stride),
                _ => {}
            }
        }
    }

    /// `S` rows of the tile from `first` on: 12 of 16 registers are sums.
    ///
    /// # Safety
    /// As for `vnni`.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn avx2_rows<const S: usize>(tile: Tile<'_>, first: usize, out: *mut f32, stride: usize) {
        // SAFETY: by the caller.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut sums = [[_mm256_setzero_si256(); 4]; S];
            for sums in &mut sums {
                for (quarter, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_loadu_si256(tile.starts.as_ptr().add(quarter * 8).cast());
                }
            }
            let left = tile.left.as_ptr().add(first * tile.row);
            for k in 0..tile.row / DEPTH {
                let b = tile.panel.as_ptr().add(k * PANEL * DEPTH);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = left.add(row * tile.row + k * DEPTH).cast::<i32>().read_unaligned();
                    let a = _mm256_set1_epi32(a);
                    for (quarter, sum) in sums.iter_mut().enumerate() {
                        let b = _mm256_loadu_si256(b.add(quarter * 32).cast());
                        let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones);
                        *sum = _mm256_add_epi32(*sum, pairs);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (quarter, sum) in sums.iter().enumerate() {
                    let scales = _mm256_loadu_ps(tile.scales.as_ptr().add(quarter * 8));
                    let x = _mm256_mul_ps(_mm256_cvtepi32_ps(*sum), scales);
                    _mm256_storeu_ps(out.add((first + row) * stride + quarter * 8), x);
                }
            }
        }
    }
}
