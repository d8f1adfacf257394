//! Heads over one encoder run as one graph, and answer to the bit as they do alone.

use std::path::Path;

use squeezeflow::model::{Loaded, Opened, Pooling, Reads, Together, open, warm_together};
use squeezeflow::text::{TextTokenizer, Tokens};

use super::tiny_onnx::{Graph, LABELS};
use super::{here, on_cpu};

const TINY: &str = "tests/checkpoints/tiny-squeezebert";

/// The checkpoint as one with another head: the encoder's weights are the same.
fn with_head(architecture: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(here(TINY).join(file), dir.path().join(file)).unwrap();
    }
    let config = std::fs::read_to_string(here(TINY).join("config.json")).unwrap();
    assert!(config.contains("SqueezeBertForSequenceClassification"));
    let config = config.replace("SqueezeBertForSequenceClassification", architecture);
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    dir
}

fn texts(package: &Path) -> Vec<Tokens> {
    let package = squeezeflow::model::Package::open(package).unwrap();
    let tokenizer =
        TextTokenizer::new(&package, 64, squeezeflow::config::settings::LongText::Truncate).unwrap();
    ["a good film", "not", "bad bad bad, and then some more of it", "a film"]
        .map(|text| tokenizer.tokenize(text).unwrap().0.swap_remove(0))
        .into()
}

fn answers(loaded: &mut Loaded, texts: &[Tokens]) -> Vec<Vec<f32>> {
    let batch: Vec<&Tokens> = texts.iter().collect();
    loaded.sessions[0].infer(&batch).unwrap().into_iter().map(|output| output.logits).collect()
}

/// All of them as one; `None`: none of them runs with another.
pub(super) fn together(opened: &[(&Opened<'_>, Reads)]) -> Option<Loaded> {
    let mut groups = groups(opened);
    let Together { places, loaded } = groups.pop()?;
    assert!(groups.is_empty() && places.into_iter().eq(0..opened.len()), "not as one");
    Some(loaded)
}

fn groups(opened: &[(&Opened<'_>, Reads)]) -> Vec<Together> {
    warm_together(opened).unwrap_or_else(|e| panic!("{e}"))
}

/// Which of these run together; and then they answer as each does alone.
fn tiny(graphs: &[Graph<'_>]) -> Vec<Vec<usize>> {
    let dirs: Vec<tempfile::TempDir> = graphs.iter().map(|graph| graph.package("")).collect();
    let settings: Vec<_> = dirs.iter().map(|dir| on_cpu(dir.path())).collect();
    let opened: Vec<Opened<'_>> = settings.iter().map(|s| open(s).unwrap()).collect();
    let reads = Reads::Logits { labels: LABELS };
    let texts = texts(&settings[0].path);
    let mut together = Vec::new();
    for mut group in groups(&opened.iter().map(|of| (of, reads)).collect::<Vec<_>>()) {
        let mut alone = vec![Vec::new(); texts.len()];
        for place in &group.places {
            let answers = answers(&mut opened[*place].warm(reads).unwrap(), &texts);
            alone.iter_mut().zip(answers).for_each(|(all, answer)| all.extend(answer));
        }
        assert_eq!(answers(&mut group.loaded, &texts), alone, "{:?}", group.places);
        together.push(group.places);
    }
    together
}

#[test]
fn each_head_answers_as_it_does_alone() {
    let bare = with_head("SqueezeBertModel");
    let settings = [on_cpu(here(TINY)), on_cpu(bare.path()), on_cpu(bare.path())];
    let opened: Vec<Opened<'_>> = settings.iter().map(|s| open(s).unwrap()).collect();
    let hidden = opened[1].package.hidden.unwrap();
    let reads = [
        Reads::Logits { labels: 3 },
        Reads::Pooled { pooling: Pooling::Mean, hidden },
        Reads::Pooled { pooling: Pooling::Max, hidden },
    ];
    let texts = texts(&here(TINY));
    let of_each: Vec<(&Opened<'_>, Reads)> = opened.iter().zip(reads).collect();
    let mut merged = together(&of_each).expect("they have an encoder in common");
    let merged = answers(&mut merged, &texts);
    let alone: Vec<Vec<Vec<f32>>> =
        of_each.iter().map(|(of, reads)| answers(&mut of.warm(*reads).unwrap(), &texts)).collect();
    for (text, merged) in merged.iter().enumerate() {
        let expected: Vec<f32> = alone.iter().flat_map(|head| head[text].clone()).collect();
        assert_eq!(merged.len(), 3 + 2 * hidden);
        assert_eq!(merged, &expected, "text {text}, to the bit");
    }
}

/// Padded graphs of other makers, too: the same package twice is one. ONNX Runtime fuses a value that has two
/// readers otherwise than one that has one, so the last digits may differ.
#[test]
fn stock_graphs_are_merged_by_the_same_rule() {
    let settings = [on_cpu(here("tests/packages/tiny-bert")), on_cpu(here("tests/packages/tiny-bert"))];
    let opened: Vec<Opened<'_>> = settings.iter().map(|s| open(s).unwrap()).collect();
    let reads = opened[0].package.reads().unwrap();
    let mut merged = together(&[(&opened[0], reads), (&opened[1], reads)]).expect("they are one");
    let texts = texts(&settings[0].path);
    for (both, one) in
        answers(&mut merged, &texts).iter().zip(answers(&mut opened[0].warm(reads).unwrap(), &texts))
    {
        let expected = [one.clone(), one].concat();
        assert_eq!(both.len(), expected.len());
        assert!(both.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{both:?} {expected:?}");
    }
}

#[test]
fn strangers_stay_apart() {
    let settings =
        ["tests/packages/tiny-bert", "tests/packages/tiny-distilbert"].map(|path| on_cpu(here(path)));
    let opened = settings.each_ref().map(|s| open(s).unwrap());
    let reads = opened.each_ref().map(|of| of.package.reads().unwrap());
    assert!(together(&[(&opened[0], reads[0]), (&opened[1], reads[1])]).is_none());
}

/// A package that has nothing in common with the others neither runs with them nor keeps them apart.
#[test]
fn a_stranger_among_relatives_stays_apart() {
    let graph = |more: f32| Graph { inside: Some(more), ..Graph::default() };
    assert_eq!(tiny(&[graph(0.0), graph(0.5), graph(0.0)]), [[0, 2]]);
    let other = || Graph { opset: 14, ..graph(0.0) };
    assert_eq!(tiny(&[graph(0.0), other(), graph(0.0)]), [[0, 2]], "another version of the operators");
    assert_eq!(tiny(&[other(), graph(0.0), graph(0.0)]), [[1, 2]], "also where it comes first");
    let families = [graph(0.0), graph(0.5), graph(0.5), graph(0.0), graph(0.0)];
    assert_eq!(tiny(&families), [vec![0, 3, 4], vec![1, 2]]);
}

/// One that has no mask must not be given the padding that the other is told of.
#[test]
fn a_graph_without_a_mask_does_not_run_with_one_that_has_one() {
    let graph = |mask: bool| Graph { inside: Some(0.0), mask, ..Graph::default() };
    assert_eq!(tiny(&[graph(false), graph(true)]), Vec::<Vec<usize>>::new());
    assert_eq!(tiny(&[graph(true), graph(false), graph(false), graph(true)]), [[0, 3], [1, 2]]);
}

/// What runs alone runs together, too.
#[test]
fn outputs_of_any_name_are_found() {
    let graph = || Graph { inside: Some(0.0), output: "output_0", ..Graph::default() };
    assert_eq!(tiny(&[graph(), graph()]), [[0, 1]]);
}
