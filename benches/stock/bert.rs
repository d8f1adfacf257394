//! `BertForSequenceClassification` as torch.onnx exports it.

use super::graph::{Builder, int};
use super::proto::Model;
use super::{Size, Weights};

/// The graph of a model of this size. It has no groups.
pub fn bert<'a>(size: &Size, weights: &'a mut Weights<'a>) -> Model {
    let mut b = Builder::new(weights);
    let (width, each) = (size.hidden, size.hidden / size.heads);
    let extents = b.extents(size.positions);
    let embeddings = "bert.embeddings";
    let words = b.weight(&format!("{embeddings}.word_embeddings.weight"), &[size.vocabulary, width]);
    let types = b.weight(&format!("{embeddings}.token_type_embeddings.weight"), &[size.types, width]);
    let places = b.weight(&format!("{embeddings}.position_embeddings.weight"), &[size.positions, width]);
    let words = b.gather(&words, "input_ids");
    let types = b.gather(&types, "token_type_ids");
    let x = b.node("Add", &[&words, &types], vec![]);
    let places = b.gather(&places, &extents.positions);
    let x = b.node("Add", &[&x, &places], vec![]);
    let mut x = b.layer_norm(&x, &format!("{embeddings}.LayerNorm"), width);
    let allowed = b.allowed(&extents);
    let (rest, scale) = (b.ints(&[1], &[-1]), b.scalar((each as f64).powf(-0.25) as f32));
    let (nothing, never) = (b.scalar(0.0), b.scalar(f32::MIN));
    let (mut by_head, mut mask, mut whole) = (None, None, None);
    for layer in 0..size.layers {
        let of = |part: &str| format!("bert.encoder.layer.{layer}.{part}");
        let mut head = |b: &mut Builder<'_>, part: &str| {
            let x = linear(b, &x, &of(&format!("attention.self.{part}")), width, width);
            let by_head = by_head.get_or_insert_with(|| {
                let each = b.ints(&[1], &[each as i64]);
                b.concat(&[&extents.batch, &extents.sequence, &rest, &each])
            });
            let x = b.reshape(&x, by_head, true);
            b.transpose(&x, &[0, 2, 1, 3])
        };
        let (q, k, v) = (head(&mut b, "query"), head(&mut b, "key"), head(&mut b, "value"));
        let k = turn(&mut b, &k, &rest);
        let q = b.node("Mul", &[&q, &scale], vec![]);
        let k = b.node("Mul", &[&k, &scale], vec![]);
        let mask = mask.get_or_insert_with(|| b.node("Where", &[&allowed, &nothing, &never], vec![]));
        let scores = b.node("MatMul", &[&q, &k], vec![]);
        let scores = b.node("Add", &[&scores, mask], vec![]);
        let shares = b.node("Softmax", &[&scores], vec![int("axis", -1)]);
        let none = b.node("IsNaN", &[&shares], vec![]);
        let shares = b.node("Where", &[&none, &nothing, &shares], vec![]);
        let context = b.node("MatMul", &[&shares, &v], vec![]);
        let context = b.transpose(&context, &[0, 2, 1, 3]);
        let whole = whole.get_or_insert_with(|| b.concat(&[&extents.batch, &extents.sequence, &rest]));
        let context = b.reshape(&context, whole, true);
        let attended = linear(&mut b, &context, &of("attention.output.dense"), width, width);
        let attended = b.node("Add", &[&attended, &x], vec![]);
        let attended = b.layer_norm(&attended, &of("attention.output.LayerNorm"), width);
        let wide = linear(&mut b, &attended, &of("intermediate.dense"), size.intermediate, width);
        let wide = b.gelu(&wide);
        let narrow = linear(&mut b, &wide, &of("output.dense"), width, size.intermediate);
        let narrow = b.node("Add", &[&narrow, &attended], vec![]);
        x = b.layer_norm(&narrow, &of("output.LayerNorm"), width);
    }
    b.head(&x, "bert.pooler.dense", width, size.labels)
}

fn linear(b: &mut Builder<'_>, x: &str, name: &str, out: usize, width: usize) -> String {
    let w = b.turned(&format!("{name}.weight"), out, width);
    let bias = b.weight(&format!("{name}.bias"), &[out]);
    let x = b.node("MatMul", &[x, &w], vec![]);
    b.node("Add", &[&x, &bias], vec![])
}

/// `[batch, heads, tokens, width]` with the last two exchanged, as the decomposition of torch's attention
/// has it.
fn turn(b: &mut Builder<'_>, x: &str, last: &str) -> String {
    let shape = b.node("Shape", &[x], vec![int("start", 0)]);
    let slice = |b: &mut Builder<'_>, from: i64, to: i64| {
        let (from, to) = (b.ints(&[1], &[from]), b.ints(&[1], &[to]));
        b.node("Slice", &[&shape, &from, &to], vec![])
    };
    let width = slice(b, -1, i64::MAX);
    let tokens = slice(b, -2, -1);
    let outer = slice(b, i64::MIN, -2);
    let flat = b.concat(&[last, &tokens, &width]);
    let x = b.reshape(x, &flat, false);
    let x = b.transpose(&x, &[0, 2, 1]);
    let back = b.concat(&[&outer, &width, &tokens]);
    b.reshape(&x, &back, false)
}
