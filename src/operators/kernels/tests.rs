//! Every kernel, at every level of this processor, against plain loops in double precision.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::attention::{AttentionError, Context, Matrix, Part, Plan, attention};
use super::gelu::{gelu_f32, gelu_u8};
use super::norm::{Norm, Term, norm_f32, norm_u8};
use super::product::{
    LARGEST, MOST_INPUTS, PANEL, ProductError, Weights, check_range, pack, packed_len, product, product_gelu,
};
use super::{Level, Quantiser};

/// Numbers between −spread and spread that look random and are the same in every run.
fn numbers(count: usize, seed: u64, spread: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * spread).collect()
}

/// x·Φ(x); the integral of the normal density by Simpson's rule.
fn gelu(x: f64) -> f64 {
    if x.abs() > 10.0 {
        return x.max(0.0);
    }
    const STEPS: u32 = 2000;
    let (end, density) = (x.abs(), |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt());
    let step = end / f64::from(STEPS);
    let weight = |i: u32| if i == 0 || i == STEPS { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
    let half: f64 = (0..=STEPS).map(|i| weight(i) * density(f64::from(i) * step)).sum::<f64>() * step / 3.0;
    x * if x < 0.0 { 0.5 - half } else { 0.5 + half }
}

/// What comes out is the same to the bit at every level that fuses multiplications: a fleet of unlike machines
/// answers alike. `first` keeps what the first of them gave.
fn alike(level: Level, floats: &[f32], first: &mut Option<Vec<u32>>) -> bool {
    let bits: Vec<u32> = floats.iter().map(|x| x.to_bits()).collect();
    cfg!(target_arch = "x86_64") && level.as_str() == "baseline"
        || *first.get_or_insert_with(|| bits.clone()) == bits
}

/// Is this byte the rounded number, give or take `error`? Next to a half either neighbour may come out.
fn is_quantised(byte: u8, x: f64, error: f64, scale: f32, zero: u8) -> bool {
    let exact = (x / f64::from(scale) + f64::from(zero)).clamp(0.0, 255.0);
    (f64::from(byte) - exact).abs() < 0.5 + 1e-3 + error / f64::from(scale)
}

#[test]
fn there_is_a_level_and_the_best_one_is_among_them() {
    let levels = Level::all();
    assert_eq!(levels[0].as_str(), "baseline");
    assert_eq!(levels.last(), Some(&Level::best()));
    assert!(levels.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn gelu_is_exact_enough_everywhere() {
    let mut x: Vec<f32> = (-1200..=1200).map(|i| i as f32 / 100.0).collect();
    x.extend([0.0, -0.0, 1e-20, -1e-20, 1e30, -1e30, f32::MAX, f32::MIN_POSITIVE]);
    for level in Level::all() {
        let mut out = vec![9.0; x.len()];
        gelu_f32(level, &x, &[], &mut out);
        for (x, y) in x.iter().zip(&out) {
            let exact = gelu(f64::from(*x));
            let error = (f64::from(*y) - exact).abs();
            assert!(error <= 1.5e-6_f64.max(exact.abs() * 1e-6), "{} {x}: {y}, not {exact}", level.as_str());
        }
        let mut out = [0.0; 3];
        gelu_f32(level, &[f32::NAN, f32::INFINITY, 1.0], &[], &mut out);
        assert!(out[0].is_nan() && out[1] == f32::INFINITY && out[2].is_finite(), "{}", level.as_str());
    }
}

/// A plan over parts of one fused matrix a group, or of three apart.
fn plan(heads: usize, width: usize, groups: usize, fused: bool, first_only: bool) -> (Plan, Vec<usize>) {
    let part = heads / groups * width;
    let place = |which: usize| {
        let part = |group: usize| match fused {
            true => Part { matrix: group, column: which * part },
            false => Part { matrix: which * groups + group, column: 0 },
        };
        (0..groups).map(part).collect()
    };
    let plan = Plan {
        heads,
        width,
        first_only,
        queries: place(0),
        keys: place(1),
        values: place(2),
        query_bias: Vec::new(),
    };
    (plan, if fused { vec![3 * part; groups] } else { vec![part; 3 * groups] })
}

/// Of one head: plain attention of each asking row over all tokens, in double precision.
fn reference(
    plan: &Plan,
    inputs: &[Matrix<'_>],
    offsets: &[usize],
    text: usize,
    row: usize,
    head: usize,
) -> Vec<f64> {
    let heads_a_part = |parts: &[Part]| plan.heads / parts.len();
    let get = |parts: &[Part], row: usize, column: usize| {
        let part = parts[head / heads_a_part(parts)];
        let matrix = inputs[part.matrix];
        let column = part.column + head % heads_a_part(parts) * plan.width + column;
        f64::from(matrix.data[row * matrix.columns + column])
    };
    let bias = |column: usize| plan.query_bias.get(head * plan.width + column).map_or(0.0, |b| f64::from(*b));
    let tokens = offsets[text]..offsets[text + 1];
    let score = |token: usize| {
        let query = |c| get(&plan.queries, row, c) + bias(c);
        (0..plan.width).map(|c| query(c) * get(&plan.keys, token, c)).sum::<f64>()
            / (plan.width as f64).sqrt()
    };
    let scores: Vec<f64> = tokens.clone().map(score).collect();
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    let value = |c| powers.iter().zip(tokens.clone()).map(|(p, t)| p * get(&plan.values, t, c)).sum::<f64>();
    (0..plan.width).map(|c| value(c) / sum).collect()
}

fn offsets(lengths: &[usize]) -> Vec<usize> {
    let mut sum = 0;
    std::iter::once(0)
        .chain(lengths.iter().map(|n| {
            sum += n;
            sum
        }))
        .collect()
}

/// Input matrices for a plan: fewer rows for queries where only first tokens ask.
fn matrices(plan: &Plan, columns: &[usize], tokens: usize, texts: usize, spread: f32) -> Vec<Vec<f32>> {
    let asks = |i| plan.first_only && plan.queries.iter().any(|part| part.matrix == i);
    let rows = |i| if asks(i) { texts } else { tokens };
    columns.iter().enumerate().map(|(i, c)| numbers(rows(i) * c, i as u64 + 7, spread)).collect()
}

fn views<'a>(data: &'a [Vec<f32>], columns: &[usize]) -> Vec<Matrix<'a>> {
    data.iter().zip(columns).map(|(data, columns)| Matrix { data, columns: *columns }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn gelu_of_any_shape(rows in 0_usize..5, columns in 1_usize..70, biased: bool, zero: u8, scale in 0.01_f32..0.1) {
        let (x, bias) = (numbers(rows * columns, 1, 6.0), numbers(columns, 2, 1.0));
        let bias = if biased { &bias[..] } else { &[] };
        let mut first = None;
        for level in Level::all() {
            let (mut floats, mut bytes) = (vec![9.0; x.len()], vec![9; x.len()]);
            gelu_f32(level, &x, bias, &mut floats);
            gelu_u8(level, &x, bias, Quantiser::new(scale, zero), &mut bytes);
            prop_assert!(alike(level, &floats, &mut first), "{}", level.as_str());
            for i in 0..x.len() {
                let exact = gelu(f64::from(x[i] + bias.get(i % columns).unwrap_or(&0.0)));
                prop_assert!((f64::from(floats[i]) - exact).abs() < 3e-6);
                prop_assert!(is_quantised(bytes[i], exact, 2.7e-4, scale, zero), "{} for {}", bytes[i], exact);
            }
        }
    }

    #[test]
    fn norm_of_any_shape(
        rows in 0_usize..4,
        slices in 1_usize..6,
        factor in 1_usize..30,
        terms in prop::collection::vec(any::<bool>(), 1..4),
        biased: bool,
        mean in -20.0_f32..20.0,
    ) {
        let columns = slices * factor;
        let (gamma, beta, bias) = (numbers(columns, 1, 2.0), numbers(columns, 2, 1.0), numbers(columns, 3, 1.0));
        let norm = Norm { gamma: &gamma, beta: &beta, bias: if biased { &bias } else { &[] }, epsilon: 1e-5 };
        // Each summand whole, or in as many parts as there are slices.
        let stored: Vec<Vec<Vec<f32>>> = terms.iter().enumerate().map(|(t, split)| {
            let parts = if *split { slices } else { 1 };
            (0..parts).map(|p| {
                let mut part = numbers(rows * columns / parts, (10 * t + p) as u64, 3.0);
                part.iter_mut().for_each(|x| *x += mean);
                part
            }).collect()
        }).collect();
        let summands: Vec<Term<'_>> = stored.iter().map(|t| t.iter().map(|p| &p[..]).collect()).collect();
        let quantiser = Quantiser::new(0.05, 120);
        let mut first = None;
        for level in Level::all() {
            let mut floats = vec![vec![9.0; rows * factor]; slices];
            norm_f32(level, norm, &summands, &mut floats.iter_mut().map(|s| &mut s[..]).collect::<Vec<_>>());
            let (mut whole, mut bytes) = (vec![9.0; rows * columns], vec![vec![9; rows * factor]; slices]);
            norm_u8(
                level, norm, &summands, &mut whole, &vec![quantiser; slices],
                &mut bytes.iter_mut().map(|s| &mut s[..]).collect::<Vec<_>>(),
            );
            prop_assert!(alike(level, &whole, &mut first), "{}", level.as_str());
            for row in 0..rows {
                let x: Vec<f64> = (0..columns).map(|c| {
                    let at = |term: &Vec<Vec<f32>>| {
                        let width = columns / term.len();
                        f64::from(term[c / width][row * width + c % width])
                    };
                    stored.iter().map(at).sum::<f64>() + norm.bias.get(c).map_or(0.0, |b| f64::from(*b))
                }).collect();
                let mean = x.iter().sum::<f64>() / columns as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / columns as f64;
                for c in 0..columns {
                    let exact = (x[c] - mean) / (variance + 1e-5).sqrt() * f64::from(gamma[c]) + f64::from(beta[c]);
                    // A single column is its own mean: what is left is rounding, and divided by √epsilon.
                    let allowed = if columns < 3 { 0.1 } else { 2e-3 };
                    let (float, byte) = (floats[c / factor][row * factor + c % factor], bytes[c / factor][row * factor + c % factor]);
                    prop_assert!((f64::from(float) - exact).abs() < allowed, "{float}, not {exact}");
                    prop_assert_eq!(float.to_bits(), whole[row * columns + c].to_bits());
                    prop_assert!(is_quantised(byte, f64::from(float), 0.0, 0.05, 120));
                }
            }
        }
    }

    /// Integers: exactly equal, at every level.
    #[test]
    fn product_of_any_shape(
        rows in 0_usize..30,
        inputs in 1_usize..70,
        outputs in 1_usize..80,
        extreme: bool,
        zero: u8,
    ) {
        let most = i32::from(LARGEST);
        let number = |i: usize, n: i32| ((i * 7919 + i / 3 * 104_729) % n as usize) as i32;
        // Nothing but the largest: where two products of bytes are summed in 16 bits, they must fit.
        let left: Vec<u8> = (0..rows * inputs).map(|i| if extreme { 255 } else { number(i, 256) as u8 }).collect();
        let sign = |i: usize| if i.is_multiple_of(2 * outputs) { -1 } else { 1 };
        let weight = |i: usize| if extreme { sign(i) * most } else { number(i, 2 * most + 1) - most };
        let matrix: Vec<i8> = (0..inputs * outputs).map(|i| weight(i) as i8).collect();
        let mut factors = numbers(outputs, 3, 0.1);
        let mut starts: Vec<i32> = (0..outputs).map(|i| -i32::from(zero) * i as i32).collect();
        let exact = |row: usize, column: usize| {
            let terms = (0..inputs).map(|k| i32::from(left[row * inputs + k]) * i32::from(matrix[k * outputs + column]));
            (starts[column] + terms.sum::<i32>()) as f32 * factors[column]
        };
        let exact: Vec<f32> = (0..rows * outputs).map(|i| exact(i / outputs, i % outputs)).collect();
        factors.resize(outputs.next_multiple_of(PANEL), 0.0);
        starts.resize(outputs.next_multiple_of(PANEL), 0);
        let packed = pack(&matrix, inputs, outputs);
        let weights = Weights { packed: &packed, inputs, outputs, scales: &factors, starts: &starts };
        let (bias, quantiser) = (numbers(outputs, 4, 1.0), Quantiser::new(0.5, zero));
        for level in Level::all() {
            let mut floats = vec![9.0; exact.len()];
            product(level, &weights, &left, &mut floats).unwrap();
            prop_assert_eq!(&floats, &exact, "{}", level.as_str());
            let (mut bytes, mut expected) = (vec![9; exact.len()], vec![8; exact.len()]);
            product_gelu(level, &weights, &left, &bias, quantiser, &mut bytes).unwrap();
            gelu_u8(level, &exact, &bias, quantiser, &mut expected);
            prop_assert_eq!(bytes, expected, "{}", level.as_str());
        }
    }

    #[test]
    fn attention_of_any_shape(
        lengths in prop::collection::vec(0_usize..40, 0..5),
        groups in 1_usize..4,
        factor in 1_usize..3,
        width in 1_usize..70,
        fused: bool,
        first_only: bool,
        biased: bool,
        spread in 0.1_f32..3.0,
    ) {
        let heads = groups * factor;
        let (mut plan, columns) = plan(heads, width, groups, fused && !first_only, first_only);
        let (offsets, hidden) = (offsets(&lengths), heads * width);
        if biased {
            plan.query_bias = numbers(hidden, 5, 1.0);
        }
        let (tokens, texts) = (*offsets.last().unwrap(), lengths.len());
        let data = matrices(&plan, &columns, tokens, texts, spread);
        let inputs = views(&data, &columns);
        let rows: Vec<(usize, usize)> = match first_only {
            true => (0..texts).map(|text| (text, text)).collect(),
            false => (0..texts).flat_map(|text| (offsets[text]..offsets[text + 1]).map(move |row| (text, row))).collect(),
        };
        let mut first = None;
        for level in Level::all() {
            let (mut floats, mut bytes) = (vec![9.0; rows.len() * hidden], vec![9; rows.len() * hidden]);
            attention(level, &plan, &inputs, &offsets, Context::Float(&mut floats)).unwrap();
            prop_assert!(alike(level, &floats, &mut first), "{}", level.as_str());
            let quantiser = Quantiser::new(0.03, 100);
            attention(level, &plan, &inputs, &offsets, Context::Byte(&mut bytes, quantiser)).unwrap();
            for (place, &(text, row)) in rows.iter().enumerate() {
                for head in 0..heads {
                    let exact = match lengths[text] {
                        0 => vec![0.0; width],
                        _ => reference(&plan, &inputs, &offsets, text, row, head),
                    };
                    for (column, exact) in exact.into_iter().enumerate() {
                        let at = place * hidden + head * width + column;
                        let error = (f64::from(floats[at]) - exact).abs();
                        prop_assert!(error < 2e-4, "{}: {}, not {exact}", level.as_str(), floats[at]);
                        prop_assert!(is_quantised(bytes[at], f64::from(floats[at]), 0.0, 0.03, 100));
                    }
                }
            }
        }
    }

    #[test]
    fn a_text_does_not_see_its_neighbours(
        lengths in prop::collection::vec(1_usize..50, 2..5),
        width in 1_usize..40,
        broken: bool,
    ) {
        let (plan, columns) = plan(2, width, 1, true, false);
        let offsets = offsets(&lengths);
        let tokens = *offsets.last().unwrap();
        let mut data = matrices(&plan, &columns, tokens, lengths.len(), 2.0);
        if broken {
            // The last text is NaN throughout.
            data[0][offsets[lengths.len() - 1] * columns[0]..].fill(f32::NAN);
        }
        let inputs = views(&data, &columns);
        for level in Level::all() {
            let mut together = vec![0.0; tokens * 2 * width];
            attention(level, &plan, &inputs, &offsets, Context::Float(&mut together)).unwrap();
            for (text, length) in lengths.iter().enumerate() {
                let rows = &data[0][offsets[text] * columns[0]..offsets[text + 1] * columns[0]];
                let mut alone = vec![0.0; length * 2 * width];
                let input = [Matrix { data: rows, columns: columns[0] }];
                attention(level, &plan, &input, &[0, *length], Context::Float(&mut alone)).unwrap();
                let there = &together[offsets[text] * 2 * width..offsets[text + 1] * 2 * width];
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                if broken && text + 1 == lengths.len() {
                    prop_assert!(there.iter().all(|x| x.is_nan()), "a broken text is seen to be broken");
                } else {
                    prop_assert_eq!(bits(there), bits(&alone));
                }
            }
        }
    }
}

#[test]
fn long_texts_and_scores_far_apart() {
    let (plan, columns) = plan(1, 8, 1, true, false);
    for level in Level::all() {
        for (tokens, spread) in [(513, 1.0), (3, 300.0), (70, 100.0)] {
            let data = matrices(&plan, &columns, tokens, 1, spread);
            let inputs = views(&data, &columns);
            let mut out = vec![0.0; tokens * 8];
            attention(level, &plan, &inputs, &[0, tokens], Context::Float(&mut out)).unwrap();
            for row in (0..tokens).step_by(tokens / 3) {
                let exact = reference(&plan, &inputs, &[0, tokens], 0, row, 0);
                for (x, exact) in out[row * 8..].iter().zip(exact) {
                    assert!(
                        (f64::from(*x) - exact).abs() < 1e-3 * f64::from(spread),
                        "{tokens}: {x}, not {exact}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (plan, columns) = plan(2, 4, 1, true, false);
    let data = matrices(&plan, &columns, 5, 2, 1.0);
    let inputs = views(&data, &columns);
    let run = |plan: &Plan, offsets: &[usize], size: usize| {
        attention(Level::best(), plan, &inputs, offsets, Context::Float(&mut vec![0.0; size]))
    };
    assert_eq!(run(&plan, &[0, 3, 5], 40), Ok(()));
    for wrong in [&[][..], &[1, 5], &[0, 5, 3, 5]] {
        assert_eq!(run(&plan, wrong, 40), Err(AttentionError::Offsets), "{wrong:?}");
    }
    assert_eq!(run(&plan, &[0, 6], 48), Err(AttentionError::Parts), "more tokens than rows");
    assert_eq!(run(&plan, &[0, 5], 39), Err(AttentionError::Context));
    let wrong = |change: fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        run(&plan, &[0, 5], 40)
    };
    assert_eq!(wrong(|p| p.values[0].column = 17), Err(AttentionError::Parts));
    assert_eq!(wrong(|p| p.keys[0].matrix = 1), Err(AttentionError::Parts));
    assert_eq!(wrong(|p| p.keys.clear()), Err(AttentionError::Parts));
    assert_eq!(wrong(|p| p.width = 0), Err(AttentionError::Parts));
    assert_eq!(wrong(|p| p.heads = usize::MAX), Err(AttentionError::Parts));
    assert_eq!(wrong(|p| p.query_bias = vec![0.0; 7]), Err(AttentionError::Parts));
}

#[test]
fn products_that_do_not_fit_are_refused() {
    let packed = pack(&[1; 6], 2, 3);
    let (scales, starts) = ([1.0; PANEL], [0; PANEL]);
    let weights = Weights { packed: &packed, inputs: 2, outputs: 3, scales: &scales, starts: &starts };
    let run = |weights: &Weights<'_>, left: usize, out: usize| {
        product(Level::best(), weights, &vec![1; left], &mut vec![0.0; out])
    };
    assert_eq!(run(&weights, 4, 6), Ok(()));
    assert_eq!(run(&weights, 5, 6), Err(ProductError::Sizes), "half a row");
    assert_eq!(run(&weights, 4, 5), Err(ProductError::Sizes));
    assert_eq!(run(&Weights { inputs: 0, ..weights }, 0, 0), Err(ProductError::Sizes));
    assert_eq!(run(&Weights { outputs: 0, ..weights }, 4, 0), Err(ProductError::Sizes));
    assert_eq!(run(&Weights { packed: &packed[1..], ..weights }, 4, 6), Err(ProductError::Sizes));
    assert_eq!(run(&Weights { scales: &scales[1..], ..weights }, 4, 6), Err(ProductError::Sizes));
    assert_eq!(run(&Weights { starts: &[], ..weights }, 4, 6), Err(ProductError::Sizes));
    // One more input, and a sum might not fit 32 bits.
    for (inputs, expected) in [(MOST_INPUTS, Ok(1)), (MOST_INPUTS + 1, Err(ProductError::Sizes))] {
        let packed = vec![0; packed_len(inputs, 3)];
        let wide = Weights { packed: &packed, inputs, ..weights };
        assert_eq!(wide.check(&vec![0; inputs], 3), expected, "{inputs}");
    }
    let quantiser = Quantiser::new(1.0, 0);
    let gelu = |bias: &[f32]| product_gelu(Level::best(), &weights, &[1; 4], bias, quantiser, &mut [0; 6]);
    assert_eq!((gelu(&[0.0; 3]), gelu(&[])), (Ok(()), Err(ProductError::Sizes)));
}

/// With 64 and more, two products of bytes do not fit the 16 bits that AVX2 sums them in.
#[test]
fn weights_that_would_overflow_are_found() {
    for (weight, expected) in [(63, Ok(())), (-63, Ok(()))]
        .into_iter()
        .chain([64, -64, i8::MAX, i8::MIN].map(|large| (large, Err(ProductError::Large))))
    {
        let mut matrix = vec![1; 6 * 40];
        matrix[6 * 40 - 1] = weight;
        assert_eq!(check_range(&pack(&matrix, 6, 40)), expected, "{weight}");
    }
}
