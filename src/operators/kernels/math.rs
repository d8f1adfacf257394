//! Scalar functions that the compiler turns into vector code: no branches, no calls, no tables.
//! NaN stays NaN where floats come out, so that a broken model is seen and not smoothed over. A byte has no NaN:
//! [`Quantiser`] makes 0 of it. So the operators refuse numbers in a graph's attributes that are not finite; what
//! becomes NaN on the way to a byte all the same (by an overflow) is seen in the float outputs only.

/// `a * b + c`; fused where the processor does that in one instruction.
#[inline(always)]
pub(super) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// A polynomial, constant term first (Horner).
#[inline(always)]
fn polynomial<const D: usize, const FMA: bool>(x: f32, coefficients: &[f32; D]) -> f32 {
    let mut sum = coefficients[D - 1];
    let mut i = D - 1;
    while i > 0 {
        i -= 1;
        sum = mul_add::<FMA>(sum, x, coefficients[i]);
    }
    sum
}

/// 2^f on [-1/2, 1/2]: Chebyshev interpolation, relative error 1e-7.
const EXP2: [f32; 6] =
    [1.0, std::f32::consts::LN_2, 0.240_221_08, 0.055_503_27, 0.009_676_037, 0.001_340_043_2];

/// Adding and subtracting it rounds a small number to an integer, which then stands in its low bits.
const ROUND: f32 = 12_582_912.0;

/// 2^x for x ≤ 0. Below 2^-126 it stays at that: what is so small counts for nothing in a softmax.
#[inline(always)]
pub(super) fn exp2_of_negative<const FMA: bool>(x: f32) -> f32 {
    let x = if x < -126.0 { -126.0 } else { x };
    let shifted = x + ROUND;
    let fraction = x - (shifted - ROUND);
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    polynomial::<6, FMA>(fraction, &EXP2) * power
}

/// t·(1 − Φ(t)) on [0, 5.5], in u = 2t/5.5 − 1: Chebyshev interpolation, error 6e-7. At 5.5 it is 1e-7.
const GELU: [f32; 15] = [
    0.008_194_849,
    -0.060_578_46,
    0.191_202_05,
    -0.308_663_05,
    0.180_235_22,
    0.260_225_56,
    -0.638_624,
    0.460_615,
    0.191_852_5,
    -0.547_519_57,
    0.185_879_46,
    0.235_338_6,
    -0.154_876_23,
    -0.039_418_085,
    0.036_136_687,
];

/// The same on [0, 4], in u = t/2 − 1, for what becomes a byte anyway: error 1.3e-4.
const COARSE_GELU: [f32; 9] = [
    0.045_462_158,
    -0.171_382_92,
    0.217_945_4,
    0.012_310_678,
    -0.304_754_3,
    0.243_582_34,
    0.022_922_866,
    -0.084_544_93,
    0.018_519_113,
];

/// x·Φ(x), the exact GELU (with erf, as Hugging Face's `gelu`), as relu(x) − |x|·(1 − Φ(|x|)); error below 1e-6.
#[inline(always)]
pub(super) fn gelu<const FMA: bool>(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = if magnitude > 5.5 { 5.5 } else { magnitude };
    let u = mul_add::<FMA>(t, 2.0 / 5.5, -1.0);
    // Not half of the sum, which overflows before its half does.
    (0.5 * x + 0.5 * magnitude) - polynomial::<15, FMA>(u, &GELU)
}

/// GELU with an error of 2e-4: a byte's step is fifty times that.
#[inline(always)]
pub(super) fn coarse_gelu<const FMA: bool>(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = if magnitude > 4.0 { 4.0 } else { magnitude };
    let u = mul_add::<FMA>(t, 0.5, -1.0);
    (0.5 * x + 0.5 * magnitude) - polynomial::<9, FMA>(u, &COARSE_GELU)
}

/// Lanes of every sum over a row, at all levels alike: as many floats as two of the widest registers hold. In
/// what order numbers are added does not depend on the processor then, and neither does what comes out, to the
/// bit, wherever multiplications are fused (AVX2, AVX-512, NEON).
pub(super) const SUM_LANES: usize = 32;

/// The sum of all lanes, in pairs: in an order that depends on `N` only.
#[inline(always)]
pub(super) fn sum_lanes<const N: usize>(lanes: [f32; N]) -> f32 {
    let mut lanes = lanes;
    let mut half = N / 2;
    while half > 0 {
        let mut i = 0;
        while i < half {
            lanes[i] += lanes[i + half];
            i += 1;
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest lane. NaN is passed over: the sums see it.
#[inline(always)]
pub(super) fn max_lanes<const N: usize>(lanes: [f32; N]) -> f32 {
    let mut lanes = lanes;
    let mut half = N / 2;
    while half > 0 {
        let mut i = 0;
        while i < half {
            lanes[i] = larger(lanes[i], lanes[i + half]);
            i += 1;
        }
        half /= 2;
    }
    lanes[0]
}

/// The larger one, as one instruction: `f32::max` takes three for its rule about NaN.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// How a float becomes an unsigned byte: `round(x / scale) + zero`, from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiser {
    inverse: f32,
    zero: f32,
}

impl Quantiser {
    /// The scale is above zero.
    pub fn new(scale: f32, zero: u8) -> Self {
        Self { inverse: 1.0 / scale, zero: zero.into() }
    }

    /// Halves go to the even neighbour.
    #[inline(always)]
    pub(super) fn quantise<const FMA: bool>(self, x: f32) -> u8 {
        let y = mul_add::<FMA>(x, self.inverse, self.zero);
        let y = if y > 0.0 { y } else { 0.0 };
        let y = if y < 255.0 { y } else { 255.0 };
        (y + ROUND).to_bits() as u8
    }
}
