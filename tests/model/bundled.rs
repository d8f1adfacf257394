//! The bundled models beside the sentiment model: they are what their cards say, on the data that the cards name,
//! and share with the sentiment model what they have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use squeezeflow::config::settings::LongText;
use squeezeflow::model::{Head, Loaded, Opened, Package, Pooling, Reads, load, open};
use squeezeflow::text::{Plan, TextTokenizer, Tokens};

use super::{here, on_cpu};

/// A file of the data that cards name; `None`, said loudly, where it is not there.
fn data(file: &str, claim: &str) -> Option<String> {
    let shared = std::env::var_os("SQUEEZEFLOW_SHARED").map_or_else(|| here("../shared"), PathBuf::from);
    let file = shared.join("data").join(file);
    let text = std::fs::read_to_string(&file).ok();
    if text.is_none() {
        // Past the test harness, which keeps what passing tests print.
        let _ = writeln!(
            std::io::stderr(),
            "\n*** SKIPPED: {} is not there, so {claim} was NOT checked. Set SQUEEZEFLOW_SHARED. ***\n",
            file.display()
        );
    }
    text
}

fn card(package: &str) -> String {
    std::fs::read_to_string(here(package).join("README.md")).unwrap()
}

fn tokenizer(package: &Package) -> TextTokenizer {
    TextTokenizer::new(package, package.max_length, LongText::Truncate).unwrap()
}

/// Answers in the texts' order; those of like length are asked together.
fn answers(loaded: &mut Loaded, texts: &[Tokens]) -> Vec<Vec<f32>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&i| texts[i].ids.len());
    let mut all = vec![Vec::new(); texts.len()];
    for part in order.chunks(32) {
        let batch: Vec<&Tokens> = part.iter().map(|&i| &texts[i]).collect();
        for (&i, output) in part.iter().zip(loaded.sessions[0].infer(&batch).unwrap()) {
            all[i] = output.logits;
        }
    }
    all
}

/// Words and tags of each sentence.
fn conll(text: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let mut sentences = vec![(Vec::new(), Vec::new())];
    for line in text.split('\n') {
        match line.rsplit_once('\t') {
            Some((word, tag)) if !word.is_empty() => {
                let (words, tags) = sentences.last_mut().unwrap();
                words.push(word);
                tags.push(tag.trim());
            }
            _ => sentences.push((Vec::new(), Vec::new())),
        }
    }
    sentences.retain(|(words, _)| !words.is_empty());
    sentences
}

/// Class, first word, word after the last. I- without its B- is none: seqeval's strict mode.
fn entities<'a>(tags: &[&'a str]) -> BTreeSet<(&'a str, usize, usize)> {
    let mut found = BTreeSet::new();
    let mut inside: Option<(&str, usize)> = None;
    for (place, tag) in tags.iter().copied().chain(["O"]).enumerate() {
        let (prefix, class) = tag.split_once('-').unwrap_or((tag, ""));
        if let Some((of, begin)) = inside
            && (prefix, class) != ("I", of)
        {
            found.insert((of, begin, place));
            inside = None;
        }
        if prefix == "B" {
            inside = Some((class, place));
        }
    }
    found
}

#[test]
fn entities_are_counted_strictly() {
    let of = |tags: &str| entities(&tags.split(' ').collect::<Vec<_>>()).len();
    assert_eq!(of("B-a I-a O I-a B-a B-a I-b"), 3, "0..2, 4..5 and 5..6; what has no beginning is none");
    assert_eq!(entities(&["O", "B-a", "I-a"]), [("a", 1, 3)].into());
}

#[test]
fn entities_are_found_as_the_card_says() {
    let mut loaded = load(&on_cpu(here("models/entities"))).unwrap();
    let package = loaded.package.clone();
    assert_eq!(
        (package.head, package.precision.as_str(), package.batch_invariant),
        (Head::Tokens, "int8", true)
    );
    let classes = ["person", "location", "group", "corporation", "product", "creative-work"];
    let labels = classes.iter().flat_map(|class| [format!("B-{class}"), format!("I-{class}")]);
    assert_eq!(package.labels, ["O".to_owned()].into_iter().chain(labels).collect::<Vec<_>>());

    let Some(text) = data("wnut17/test.conll", "what models/entities finds in WNUT-17") else { return };
    let (sentences, tokenizer) = (conll(&text), tokenizer(&package));
    let mut begins = Vec::new();
    let mut texts = Vec::new();
    for (words, _) in &sentences {
        let text = words.join(" ");
        let encoding = tokenizer.encode(&text, true).unwrap();
        let mut read = tokenizer.sequences(encoding, None, &Plan::Text, true).unwrap();
        begins.push(read.notes.remove(0).spans);
        texts.push(read.tokens.remove(0));
    }
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (((words, tags), spans), logits) in sentences.iter().zip(&begins).zip(answers(&mut loaded, &texts)) {
        let rows: Vec<&[f32]> = logits.chunks_exact(package.labels.len()).collect();
        assert_eq!(rows.len(), spans.len());
        let mut at = 0;
        let said: Vec<&str> = words
            .iter()
            .map(|word| {
                let begin = at;
                at += word.len() + 1;
                // A word's tag is that of its first token.
                let first = spans.iter().position(|s| s.is_text && s.start as usize == begin);
                first.map_or("O", |first| {
                    let best = rows[first].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
                    package.labels[best].as_str()
                })
            })
            .collect();
        let (gold, said) = (entities(tags), entities(&said));
        for (class, ..) in &gold {
            counts.entry(class).or_default()[2] += 1;
        }
        for entity in &said {
            counts.entry(classes.iter().find(|class| **class == entity.0).unwrap()).or_default()[1] += 1;
            counts.entry(entity.0).or_default()[0] += usize::from(gold.contains(entity));
        }
    }
    let mut all = [0; 3];
    counts.values().for_each(|count| (0..3).for_each(|i| all[i] += count[i]));
    counts.insert("all", all);
    let mut rows = String::new();
    let mut sorted = classes;
    sorted.sort_unstable();
    for class in sorted.into_iter().chain(["all"]) {
        let [right, found, there] = counts[class];
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let (precision, recall) = (share(right, found), share(right, there));
        let f1 = share(2 * right, found + there);
        let _ = writeln!(rows, "| {class} | {precision:.4} | {recall:.4} | {f1:.4} | {there} |");
    }
    println!("{rows}");
    assert!(card("models/entities").contains(&rows), "the card does not say\n{rows}");
}

/// Text and intent of each row; a text in quotation marks may have commas, line ends and `""` in it.
fn csv(text: &str) -> Vec<(String, String)> {
    let (mut rows, mut fields, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                fields.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut fields));
            }
            c => field.push(c),
        }
    }
    rows.into_iter().skip(1).map(|row| <[String; 2]>::try_from(row).unwrap().into()).collect()
}

/// By the nearest of the first five examples of each intent.
#[test]
fn intents_are_found_as_the_card_says() {
    let settings = on_cpu(here("models/encoder"));
    let opened = open(&settings).unwrap();
    let package = opened.package.clone();
    assert_eq!((package.head, package.hidden, package.precision.as_str()), (Head::None, Some(384), "int8"));
    assert!(package.batch_invariant);
    let claim = "how models/encoder finds intents in banking77";
    let Some((train, test)) = data("banking77/train.csv", claim).zip(data("banking77/test.csv", claim))
    else {
        return;
    };
    let (train, test) = (csv(&train), csv(&test));
    assert_eq!((train.len(), test.len()), (10_003, 3_080));
    let mut examples: Vec<&(String, String)> = Vec::new();
    for row in &train {
        if examples.iter().filter(|(_, intent)| *intent == row.1).count() < 5 {
            examples.push(row);
        }
    }
    assert_eq!(examples.len(), 77 * 5);
    let tokenizer = tokenizer(&package);
    let read = |(text, _): &(String, String)| tokenizer.tokenize(text).unwrap().0.swap_remove(0);
    let texts: Vec<Tokens> = examples.iter().copied().chain(&test).map(read).collect();
    let mean_and_max =
        [Pooling::Mean, Pooling::Max].map(|pooling| (&opened, Reads::Pooled { pooling, hidden: 384 }));
    let mut loaded = super::merged::together(&mean_and_max).expect("it is one graph with itself");
    let both = answers(&mut loaded, &texts);
    for (name, place) in [("mean", 0), ("max", 384)] {
        let vectors: Vec<Vec<f32>> = both.iter().map(|v| normalised(&v[place..place + 384])).collect();
        let (known, asked) = vectors.split_at(examples.len());
        let intent = |text: &[f32]| {
            let cosine = |other: &Vec<f32>| text.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
            let (nearest, _) =
                known.iter().map(cosine).enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            &examples[nearest].1
        };
        let right = asked.iter().zip(&test).filter(|(text, (_, right))| intent(text) == right).count();
        let said =
            format!("| {name} | {:.4} ({right} of {}) |", right as f64 / test.len() as f64, test.len());
        println!("{said}");
        assert!(card("models/encoder").contains(&said), "the card does not say {said}");
    }
}

fn normalised(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / length).collect()
}

/// Answers of both packages, for two texts, by one graph and by each alone; the same to the bit.
fn run_together(other: &str, reads: Reads) {
    let settings = ["models/sentiment", other].map(|path| on_cpu(here(path)));
    let opened: Vec<Opened<'_>> = settings.iter().map(|s| open(s).unwrap()).collect();
    let of_each: Vec<(&Opened<'_>, Reads)> =
        opened.iter().zip([Reads::Logits { labels: 2 }, reads]).collect();
    let mut together = super::merged::together(&of_each).expect("most of their weights are the same");
    let tokenizer = tokenizer(&opened[0].package);
    let texts = ["Where is my card?", "a charming and often affecting journey"]
        .map(|text| tokenizer.tokenize(text).unwrap().0.swap_remove(0));
    let together = answers(&mut together, &texts);
    let alone: Vec<Vec<Vec<f32>>> =
        of_each.iter().map(|(of, reads)| answers(&mut of.warm(*reads).unwrap(), &texts)).collect();
    for (text, both) in together.iter().enumerate() {
        assert_eq!(both, &[alone[0][text].clone(), alone[1][text].clone()].concat(), "text {text}");
    }
}

/// Same weights, same texts of calibration: together they cost little more than one of them.
#[test]
fn the_encoder_runs_as_one_graph_with_the_sentiment_model() {
    run_together("models/encoder", Reads::Pooled { pooling: Pooling::Mean, hidden: 384 });
}

/// Other layers, over the same tables.
#[test]
fn the_entities_share_their_tables_with_the_sentiment_model() {
    run_together("models/entities", Reads::TokenLogits { labels: 13 });
}

/// Three layers of its own, over the same tables.
#[test]
fn the_severity_shares_its_tables_with_the_sentiment_model() {
    let package = load(&on_cpu(here("models/severity"))).unwrap().package;
    assert_eq!(
        (package.labels.join(" ").as_str(), package.precision.as_str()),
        ("error warning info", "int8")
    );
    assert!(package.batch_invariant);
    run_together("models/severity", Reads::Logits { labels: 3 });
}
