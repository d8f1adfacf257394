//! `SqueezeBertForSequenceClassification` as torch.onnx exports it: channels first, every projection a
//! `Conv` with groups.

use super::graph::{Builder, int, ints, string};
use super::proto::Model;
use super::{Size, Weights};

/// The graph of a model of this size.
pub fn squeezebert<'a>(size: &Size, weights: &'a mut Weights<'a>) -> Model {
    let mut b = Builder::new(weights);
    let width = size.hidden;
    let extents = b.extents(size.positions);
    let embeddings = "transformer.embeddings";
    let words = b.weight(&format!("{embeddings}.word_embeddings.weight"), &[size.vocabulary, width]);
    let places = b.weight(&format!("{embeddings}.position_embeddings.weight"), &[size.positions, width]);
    let types = b.weight(&format!("{embeddings}.token_type_embeddings.weight"), &[size.types, width]);
    let words = b.gather(&words, "input_ids");
    let places = b.gather(&places, &extents.positions);
    let types = b.gather(&types, "token_type_ids");
    let x = b.node("Add", &[&words, &places], vec![]);
    let x = b.node("Add", &[&x, &types], vec![]);
    let mut hidden = b.layer_norm(&x, &format!("{embeddings}.LayerNorm"), width);
    let allowed = b.allowed(&extents);
    let (nothing, never) = (b.scalar(0.0), b.scalar(f32::MIN));
    let mask = b.node("Where", &[&allowed, &nothing, &never], vec![]);
    let (mut by_head, mut whole) = (None, None);
    let root = b.scalar(((width / size.heads) as f32).sqrt());
    for layer in 0..size.layers {
        let of = |part: &str| format!("transformer.encoder.layers.{layer}.{part}");
        let x = b.transpose(&hidden, &[0, 2, 1]);
        let q = conv(&mut b, &x, &of("attention.query"), width, width, size.groups);
        let k = conv(&mut b, &x, &of("attention.key"), width, width, size.groups);
        let v = conv(&mut b, &x, &of("attention.value"), width, width, size.groups);
        let by_head = by_head.get_or_insert_with(|| {
            let (heads, each) =
                (b.ints(&[1], &[size.heads as i64]), b.ints(&[1], &[(width / size.heads) as i64]));
            b.concat(&[&extents.batch, &heads, &each, &extents.sequence])
        });
        let q = b.reshape(&q, by_head, true);
        let q = b.transpose(&q, &[0, 1, 3, 2]);
        let k = b.reshape(&k, by_head, true);
        let v = b.reshape(&v, by_head, true);
        let v = b.transpose(&v, &[0, 1, 3, 2]);
        let scores = b.node("MatMul", &[&q, &k], vec![]);
        let scores = b.node("Div", &[&scores, &root], vec![]);
        let scores = b.node("Add", &[&scores, &mask], vec![]);
        let shares = b.node("Softmax", &[&scores], vec![int("axis", -1)]);
        let context = b.node("MatMul", &[&shares, &v], vec![]);
        let context = b.transpose(&context, &[0, 1, 3, 2]);
        let whole = whole.get_or_insert_with(|| {
            let all = b.ints(&[1], &[width as i64]);
            b.concat(&[&extents.batch, &all, &extents.sequence])
        });
        let context = b.reshape(&context, whole, true);
        let attended = conv(&mut b, &context, &of("post_attention.conv1d"), width, width, 1);
        let attended = add_and_norm(&mut b, &attended, &x, &of("post_attention.layernorm"), width);
        let attended = b.transpose(&attended, &[0, 2, 1]);
        let wide = conv(&mut b, &attended, &of("intermediate.conv1d"), size.intermediate, width, size.groups);
        let wide = b.gelu(&wide);
        let narrow = conv(&mut b, &wide, &of("output.conv1d"), width, size.intermediate, size.groups);
        hidden = add_and_norm(&mut b, &narrow, &attended, &of("output.layernorm"), width);
    }
    b.head(&hidden, "transformer.pooler.dense", width, size.labels)
}

fn conv(b: &mut Builder<'_>, x: &str, name: &str, out: usize, width: usize, groups: usize) -> String {
    let w = b.weight(&format!("{name}.weight"), &[out, width / groups, 1]);
    let bias = b.weight(&format!("{name}.bias"), &[out]);
    let attributes = vec![
        string("auto_pad", "NOTSET"),
        ints("dilations", &[1]),
        int("group", groups as i64),
        ints("kernel_shape", &[1]),
        ints("pads", &[0, 0]),
        ints("strides", &[1]),
    ];
    b.node("Conv", &[x, &w, &bias], attributes)
}

/// Channels first in, channels last out: the norm wants them so, all else not.
fn add_and_norm(b: &mut Builder<'_>, x: &str, residual: &str, norm: &str, width: usize) -> String {
    let x = b.node("Add", &[x, residual], vec![]);
    let x = b.transpose(&x, &[0, 2, 1]);
    b.layer_norm(&x, norm, width)
}
