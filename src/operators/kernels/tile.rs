//! The two inner loops of attention, by hand: a small product in registers, and a transposition. The compiler
//! finds the right code for all other loops; here it shuffles lanes about and loses a factor of three.

use super::math::mul_add;

/// `R` rows of `a` (`a_row` apart) times `N` columns of `b` (rows `b_row` apart), summed over `depth`.
///
/// # Safety
/// `N` stands for instructions, as in `for_every_level`: the processor has AVX-512 where it is 32, AVX2 and FMA
/// where it is 16. What is read is checked here.
#[inline(always)]
pub(super) unsafe fn tile<const R: usize, const N: usize, const FMA: bool>(
    a: &[f32],
    a_row: usize,
    b: &[f32],
    b_row: usize,
    depth: usize,
) -> [[f32; N]; R] {
    let mut sums = [[0.0; N]; R];
    if depth == 0 || R == 0 {
        return sums;
    }
    assert!(a.len() >= (R - 1) * a_row + depth && b.len() >= (depth - 1) * b_row + N, "inside both");
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: the assertion covers all that is read, `sums` is R × N, and the caller answers for the instructions.
    #[cfg(target_arch = "x86_64")]
    match N {
        32 => unsafe { x86::avx512::<R>(a, a_row, b, b_row, depth, sums.as_mut_ptr().cast()) },
        16 => unsafe { x86::avx2::<R>(a, a_row, b, b_row, depth, sums.as_mut_ptr().cast()) },
        _ => {}
    }
    #[cfg(target_arch = "x86_64")]
    if N == 32 || N == 16 {
        return sums;
    }
    for k in 0..depth {
        // SAFETY: `k < depth`, and the assertion above.
        let b = unsafe { &*b.add(k * b_row).cast::<[f32; N]>() };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `row < R`, `k < depth`, and the assertion above.
            let a = unsafe { *a.add(row * a_row + k) };
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = mul_add::<FMA>(a, *b, *sum);
            }
        }
    }
    sums
}

/// Four rows become the first four columns of rows that are `N` apart.
#[inline(always)]
pub(super) fn transpose4<const N: usize>(rows: [&[f32]; 4], to: &mut [f32]) {
    let width = rows.iter().map(|row| row.len()).min().unwrap_or(0);
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if width >= 4 {
        assert!(to.len() >= (width - 1) * N + 4, "inside");
        while done + 4 <= width {
            // SAFETY: `done + 4 <= width` for each row; the assertion for `to`. SSE is part of x86-64.
            unsafe {
                use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};
                let mut r = rows.map(|row| _mm_loadu_ps(row.as_ptr().add(done)));
                let [r0, r1, r2, r3] = &mut r;
                _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
                for (i, r) in r.into_iter().enumerate() {
                    _mm_storeu_ps(to.as_mut_ptr().add((done + i) * N), r);
                }
            }
            done += 4;
        }
    }
    for column in done..width {
        let to = &mut to[column * N..][..4];
        for (to, row) in to.iter_mut().zip(rows) {
            *to = row[column];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    /// # Safety
    /// As `super::tile` asserts; `out` takes `R * 32` floats.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) unsafe fn avx512<const R: usize>(
        a: *const f32,
        a_row: usize,
        b: *const f32,
        b_row: usize,
        depth: usize,
        out: *mut f32,
    ) {
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for k in 0..depth {
            // SAFETY: by the caller.
            unsafe {
                let b = b.add(k * b_row);
                let b = [_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_ps(*a.add(row * a_row + k));
                    sums[0] = _mm512_fmadd_ps(a, b[0], sums[0]);
                    sums[1] = _mm512_fmadd_ps(a, b[1], sums[1]);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            // SAFETY: by the caller.
            unsafe {
                _mm512_storeu_ps(out.add(row * 32), sums[0]);
                _mm512_storeu_ps(out.add(row * 32 + 16), sums[1]);
            }
        }
    }

    /// # Safety
    /// As `super::tile` asserts; `out` takes `R * 16` floats.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub(super) unsafe fn avx2<const R: usize>(
        a: *const f32,
        a_row: usize,
        b: *const f32,
        b_row: usize,
        depth: usize,
        out: *mut f32,
    ) {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for k in 0..depth {
            // SAFETY: by the caller.
            unsafe {
                let b = b.add(k * b_row);
                let b = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = _mm256_set1_ps(*a.add(row * a_row + k));
                    sums[0] = _mm256_fmadd_ps(a, b[0], sums[0]);
                    sums[1] = _mm256_fmadd_ps(a, b[1], sums[1]);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            // SAFETY: by the caller.
            unsafe {
                _mm256_storeu_ps(out.add(row * 16), sums[0]);
                _mm256_storeu_ps(out.add(row * 16 + 8), sums[1]);
            }
        }
    }
}
