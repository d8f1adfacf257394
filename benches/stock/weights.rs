//! Random parameters: the same on every machine, each by its name.

/// Spread so that texts differ: embeddings near a standard normal, matrices so that a product keeps its
/// size, norms near 1, biases off 0.
pub fn random(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut state = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let fan_in: usize = shape.iter().skip(1).product();
    let (mean, spread) = match name {
        n if n.ends_with("bias") => (0.0, 0.1),
        n if n.to_lowercase().contains("norm") => (1.0, 0.2),
        n if n.contains("embeddings") => (0.0, 1.0),
        n if n.starts_with("classifier") => (0.0, 4.0 / (fan_in as f32).sqrt()),
        _ => (0.0, 1.2 / (fan_in as f32).sqrt()),
    };
    (0..shape.iter().product::<usize>()).map(|_| mean + spread * normal(&mut state)).collect()
}

/// Nearly normal, of variance 1: the sum of four uniform numbers. No function of the C library in it.
fn normal(state: &mut u64) -> f32 {
    // SplitMix64.
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let sum: u32 = (0..4).map(|i| (z >> (16 * i) & 0xffff) as u32).sum();
    (sum as f32 / 65_536.0 - 2.0) * 3.0_f32.sqrt()
}
