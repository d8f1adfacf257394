//! The operators inside ONNX Runtime: what a graph gets wrong ends as an error, and so does a panic.
#![allow(clippy::unwrap_used)]

use ort::operator::{KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::{BoxedKernel, DOMAIN, Level, VERSION, guarded, parallel};
use crate::compile::graph::{Attribute, Dim, Element, GraphBuilder};
use crate::model::{Probe, ProbeError, Rewriting};
use crate::text::Tokens;

use Attribute::{Float, Floats, Int, Ints};

/// Among the operators in tests only.
#[derive(Clone, Copy)]
pub(super) enum Fails {
    /// Panics by itself.
    Alone,
    /// Panics on one of several threads.
    OnAThread,
    /// Says there what is wrong.
    InWords,
}

impl Operator for Fails {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        match self {
            Self::Alone => "Panics",
            Self::OnAThread => "PanicsOnAThread",
            Self::InWords => "FailsOnAThread",
        }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'a>(&self, _: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let how = *self;
        Ok(guarded(move |context| match how {
            Self::Alone => panic!("as the test wants"),
            _ => parallel::each(context, vec![1, 2, 3], |job| match (job, how) {
                (2, Self::InWords) => Err("as the test says".to_owned()),
                (2, _) => panic!("as the test wants"),
                _ => Ok(()),
            }),
        }))
    }
}

/// A packed graph of one operator over the ids as a column of floats, or over bytes.
fn graph(op: &str, bytes: bool, outputs: usize, attributes: &[(&str, Attribute)]) -> Vec<u8> {
    let mut g = GraphBuilder::new("one");
    g.import(DOMAIN, VERSION);
    g.input("ids", Element::I64, &[Dim::Named("tokens")]);
    g.input("offsets", Element::I64, &[Dim::Named("texts + 1")]);
    let axis = g.ints(&[1]);
    let column = g.op("Unsqueeze", &["ids", &axis], &[]);
    let x = g.cast(&column, if bytes { Element::U8 } else { Element::F32 });
    let weights = g.initializer_i8("weights", &[128], &[1; 128]);
    let inputs = match op {
        "PackedAttention" => vec!["offsets", x.as_str()],
        "ProductU8" => vec![x.as_str(), &weights],
        _ => vec![x.as_str()],
    };
    let names = g.nodes(op, DOMAIN, &inputs, outputs, attributes);
    g.output("out", &names[0], Element::F32, &[Dim::Named("tokens"), Dim::Named("columns")]);
    g.finish().unwrap()
}

fn run(graph: &[u8]) -> Result<Vec<f32>, ProbeError> {
    let mut probe = Probe::new(graph, Rewriting::All, None)?;
    let tokens = Tokens::new(vec![1, 2, 3], 3);
    Ok(probe.run(&[&tokens], 0)?.swap_remove(0).swap_remove(0))
}

#[test]
fn a_panic_ends_as_an_error_and_the_process_lives() {
    for (op, words) in [
        ("Panics", "an operator of squeezeflow panicked"),
        ("PanicsOnAThread", "an operator of squeezeflow panicked on one of its threads"),
        ("FailsOnAThread", "as the test says"),
    ] {
        for threads in [1, 3] {
            let graph = graph(op, false, 1, &[]);
            let mut probe = Probe::on(&graph, Rewriting::All, None, Level::best(), threads).unwrap();
            let tokens = Tokens::new(vec![1, 2, 3], 3);
            for _ in 0..2 {
                let error = probe.run(&[&tokens], 0).unwrap_err().to_string();
                assert!(error.contains(words), "{op} with {threads} threads: {error}");
            }
        }
    }
}

/// An output of `[3, 5]` that nothing was written to would be whatever the memory held.
#[test]
fn a_product_of_no_columns_is_refused() {
    let attributes = [("outputs", Int(5)), ("factors", Floats(vec![1.0; 5])), ("starts", Ints(vec![0; 5]))];
    let mut g = GraphBuilder::new("one");
    g.import(DOMAIN, VERSION);
    g.input("ids", Element::I64, &[Dim::Named("tokens")]);
    g.input("offsets", Element::I64, &[Dim::Named("texts + 1")]);
    let (zero, one) = (g.ints(&[0]), g.ints(&[1]));
    let column = g.op("Unsqueeze", &["ids", &one], &[]);
    let none = g.op("Slice", &[&column, &zero, &zero, &one], &[]);
    let none = g.cast(&none, Element::U8);
    let weights = g.initializer_i8("weights", &[0], &[]);
    let product = g.nodes("ProductU8", DOMAIN, &[&none, &weights], 1, &attributes);
    g.output("out", &product[0], Element::F32, &[Dim::Named("tokens"), Dim::Named("columns")]);
    let error = run(&g.finish().unwrap()).unwrap_err().to_string();
    assert!(error.contains("sizes of a product"), "{error}");
}

/// Such a product would be right with VNNI and wrong with AVX2, and nothing would show it.
#[test]
fn weights_beyond_seven_bits_are_refused_when_the_session_opens() {
    let open = |weight: i8, stored: bool| {
        let attributes =
            [("outputs", Int(5)), ("factors", Floats(vec![1.0; 5])), ("starts", Ints(vec![0; 5]))];
        let mut g = GraphBuilder::new("one");
        g.import(DOMAIN, VERSION);
        g.input("ids", Element::I64, &[Dim::Named("tokens")]);
        g.input("offsets", Element::I64, &[Dim::Named("texts + 1")]);
        let axis = g.ints(&[1]);
        let column = g.op("Unsqueeze", &["ids", &axis], &[]);
        let x = g.cast(&column, Element::U8);
        let weights = match stored {
            true => g.initializer_i8("weights", &[128], &[weight; 128]),
            false => g.cast("ids", Element::I8),
        };
        let product = g.nodes("ProductU8", DOMAIN, &[&x, &weights], 1, &attributes);
        g.output("out", &product[0], Element::F32, &[Dim::Named("tokens"), Dim::Named("columns")]);
        Probe::new(&g.finish().unwrap(), Rewriting::All, None).map(drop)
    };
    for fine in [63, -63] {
        open(fine, true).unwrap();
    }
    for large in [64, -64, i8::MAX, i8::MIN] {
        let error = open(large, true).unwrap_err().to_string();
        assert!(error.contains("weights beyond -63 to 63"), "{large}: {error}");
    }
    let error = open(1, false).unwrap_err().to_string();
    assert!(error.contains("must be a stored tensor"), "{error}");
}

#[test]
fn what_a_graph_says_must_fit() {
    let norm = |gamma: usize, terms: i64| {
        vec![
            ("gamma", Floats(vec![1.0; gamma])),
            ("beta", Floats(vec![0.5])),
            ("terms", Ints(vec![terms])),
            ("epsilon", Float(1e-5)),
        ]
    };
    // A row of one number is its own mean.
    assert_eq!(run(&graph("AddNorm", false, 1, &norm(1, 1))).unwrap(), [0.5; 3]);
    let pairs = |columns: i64| {
        let places = ["queries", "keys", "values"].map(|name| (name, Ints(vec![0, columns])));
        let sizes = [("heads", Int(1)), ("width", Int(1)), ("first", Int(0))];
        sizes.into_iter().chain(places).collect::<Vec<_>>()
    };
    let attended = run(&graph("PackedAttention", false, 1, &pairs(0))).unwrap();
    assert!(attended.iter().all(|x| (1.0..=3.0).contains(x)), "means of 1, 2 and 3: {attended:?}");
    let product = |outputs: i64, starts: usize| {
        vec![("outputs", Int(outputs)), ("factors", Floats(vec![0.5; 5])), ("starts", Ints(vec![10; starts]))]
    };
    assert_eq!(
        run(&graph("ProductU8", true, 1, &product(5, 5))).unwrap()[..6],
        [5.5, 5.5, 5.5, 5.5, 5.5, 6.0]
    );

    fn with<'a>(
        mut attributes: Vec<(&'a str, Attribute)>,
        name: &'a str,
        value: Attribute,
    ) -> Vec<(&'a str, Attribute)> {
        attributes.retain(|(other, _)| *other != name);
        attributes.push((name, value));
        attributes
    }
    // What is changed below is right before.
    assert!(
        run(&graph("PackedAttention", false, 1, &with(pairs(0), "query_bias", Floats(vec![0.1])))).is_ok()
    );
    assert!(run(&graph("Gelu", false, 1, &[("bias", Floats(vec![1.0]))])).is_ok());
    assert!(run(&graph("AddNorm", false, 1, &with(norm(1, 1), "bias", Floats(vec![1.0])))).is_ok());
    let scaled = |scale: f32, zero: i64| vec![("scales", Floats(vec![scale])), ("zeros", Ints(vec![zero]))];
    for (op, bytes, outputs, attributes) in [
        ("AddNorm", false, 1, norm(2, 1)),
        ("AddNorm", false, 1, norm(1, 0)),
        ("AddNorm", false, 1, norm(1, -1)),
        ("AddNorm", false, 1, norm(1, 2)),
        ("AddNorm", false, 2, norm(1, 1)),
        ("AddNorm", false, 1, vec![]),
        ("AddNorm", false, 1, with(norm(1, 1), "beta", Floats(vec![f32::NAN]))),
        ("AddNorm", false, 1, with(norm(1, 1), "gamma", Floats(vec![f32::INFINITY]))),
        ("AddNorm", false, 1, with(norm(1, 1), "bias", Floats(vec![f32::NAN]))),
        ("AddNorm", false, 1, with(norm(1, 1), "epsilon", Float(f32::NAN))),
        ("AddNorm", false, 1, with(norm(1, 1), "epsilon", Float(-1.0))),
        ("PackedAttention", false, 1, with(pairs(0), "query_bias", Floats(vec![f32::NAN]))),
        ("Gelu", false, 1, vec![("bias", Floats(vec![f32::NAN]))]),
        ("ProductU8", true, 1, with(product(5, 5), "factors", Floats(vec![f32::INFINITY; 5]))),
        ("PackedAttention", false, 1, pairs(1)),
        ("PackedAttention", false, 1, pairs(-1)),
        ("PackedAttention", false, 1, vec![]),
        ("Gelu", false, 1, vec![("bias", Floats(vec![1.0; 2]))]),
        ("Gelu", false, 1, scaled(1.0, 0)),
        ("ProductU8", true, 1, product(5, 4)),
        ("ProductU8", true, 1, product(-5, 5)),
        (
            "ProductU8",
            true,
            1,
            vec![("outputs", Int(40)), ("factors", Floats(vec![1.0; 40])), ("starts", Ints(vec![0; 40]))],
        ),
    ] {
        let graph = graph(op, bytes, outputs, &attributes);
        assert!(run(&graph).is_err(), "{op} {attributes:?}");
    }
}
