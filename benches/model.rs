//! The model alone. `cargo bench --bench model -- PART…`, or `make bench`:
//!
//! | part | what |
//! |---|---|
//! | `packages` | writes target/bench/{squeezebert,bert}-base: stock exports and checkpoints of the same random weights |
//! | `speed` | texts and tokens a second of these, and of what squeezeflow builds from the checkpoint |
//! | `accuracy` | on SST-2 dev: the bundled model as it comes, portable, and packed in fp32 |
//! | `heads` | several packages of one text as one graph, and each by itself |
//!
//! `PACKAGES="NAME=PATH …"` adds subjects; of one whose name begins with `packed` no padding is counted.
//! `ROUNDS`, `TEXTS`, `DRY=1` (leave docs/BENCHMARKS.md alone), `DATA` (folder with sst2/dev.tsv).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code
)]

mod common;
mod stock;

use std::path::{Path, PathBuf};

use common::built;
use common::report::{self, Rounds, head, here, row};
use common::subject::{self, Batches, Spec, Subject};
use stock::checkpoint::{Architecture, write};
use stock::{BASE, bundled};

fn main() {
    if subject::serve().is_some() {
        return;
    }
    let parts: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let parts = if parts.is_empty() {
        ["packages", "speed", "accuracy", "heads"].map(String::from).into()
    } else {
        parts
    };
    for part in parts {
        match part.as_str() {
            "packages" => drop(packages()),
            "speed" => speed(),
            "accuracy" => accuracy(),
            "heads" => heads(),
            other => panic!("no such part: {other} (packages, speed, accuracy, heads)"),
        }
    }
}

/// The stock packages, made where they are not there.
fn packages() -> [PathBuf; 2] {
    let tokenizer = here("models/sentiment");
    let make = |name: &str, architecture| {
        let dir = here("target/bench").join(name);
        let (stock, checkpoint) = write(&dir, architecture, &BASE, &tokenizer).unwrap();
        println!("{}, {}", stock.display(), checkpoint.display());
        stock
    };
    [make("squeezebert-base", Architecture::SqueezeBert), make("bert-base", Architecture::Bert)]
}

/// `NAME=PATH` from the environment.
fn given() -> Vec<(String, PathBuf)> {
    let given = std::env::var("PACKAGES").unwrap_or_default();
    let given = given.split_whitespace().filter_map(|one| one.split_once('='));
    given.map(|(name, path)| (name.to_owned(), Path::new(path).to_owned())).collect()
}

/// One thing to be run: its batches.
struct Load {
    name: &'static str,
    batches: Batches,
}

impl Load {
    fn texts(&self) -> f64 {
        self.batches.iter().map(Vec::len).sum::<usize>() as f64
    }

    fn tokens(&self) -> f64 {
        self.batches.iter().flatten().map(Vec::len).sum::<usize>() as f64
    }

    fn padded(&self) -> f64 {
        let padded = |batch: &Vec<Vec<u32>>| batch.iter().map(Vec::len).max().unwrap_or(0) * batch.len();
        self.batches.iter().map(padded).sum::<usize>() as f64
    }
}

/// Ids of no meaning, never the same text twice.
fn batches(lengths: &[usize], size: usize) -> Batches {
    let mut state = 1_u64;
    let mut id = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % 29_000 + 1_000
    };
    let texts: Vec<Vec<u32>> = lengths.iter().map(|n| (0..*n).map(|_| id()).collect()).collect();
    texts.chunks(size).map(<[_]>::to_vec).collect()
}

/// The first texts of a data set, as they come.
fn lengths(of: &str) -> Vec<usize> {
    let text = std::fs::read_to_string(here("benches/lengths").join(of)).unwrap();
    let all = text.split_whitespace().map(|n| n.parse().unwrap());
    all.take(report::number("TEXTS", 256)).collect()
}

/// Full batches: about as many tokens in each load.
fn full(name: &'static str, size: usize, length: usize) -> Load {
    let count = (report::number("TEXTS", 256) * 16 / (size * length)).max(2);
    Load { name, batches: batches(&vec![length; size * count], size) }
}

fn speed() {
    let [squeezebert, bert] = packages();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut specs = vec![
        Spec::stock("SqueezeBERT stock export, 1 session on all cores", &squeezebert),
        Spec { sessions: cores, threads: 1, ..Spec::stock("the same, 1 session a core", &squeezebert) },
        Spec::stock("BERT-base stock export, 1 session on all cores", &bert),
    ];
    let base = here("target/bench/squeezebert-base");
    let built = built::packages(&base, &base.join("checkpoint"));
    for (precision, path) in built::PRECISIONS.iter().zip(&built) {
        let ours = Spec::ours(&format!("ours, packed {precision}, 1 session a core"), path, true);
        let name = format!("ours, packed {precision}, 1 session on all cores");
        specs.push(Spec { sessions: 1, threads: cores, ..Spec::ours(&name, path, true) });
        specs.push(ours);
    }
    specs.extend(given().iter().map(|(name, path)| Spec::ours(name, path, name.starts_with("packed"))));
    let loads = [
        full("1×32", 1, 32),
        full("8×32", 8, 32),
        full("32×32", 32, 32),
        full("8×128", 8, 128),
        Load { name: "SST-2 dev, 32 as they come", batches: batches(&lengths("sst2-dev.txt"), 32) },
        Load {
            name: "banking77 test, 32 as they come",
            batches: batches(&lengths("banking77-test.txt"), 32),
        },
    ];
    let mut subjects: Vec<Subject> = specs.into_iter().map(Subject::start).collect();
    let mut rates = vec![vec![Rounds::default(); subjects.len()]; loads.len()];
    let rounds = report::rounds();
    // One that does not count: memory, caches.
    for round in 0..=rounds {
        for (load, rates) in loads.iter().zip(&mut rates) {
            for turn in 0..subjects.len() {
                // Each comes first in its turn.
                let which = (turn + round) % subjects.len();
                let took = subjects[which].run(&load.batches);
                let rate = load.texts() / took.seconds;
                eprintln!("{round:>2} {:<32} {:<48} {rate:.1} texts/s", load.name, subjects[which].spec.name);
                if round > 0 {
                    rates[which].push(rate);
                }
            }
        }
    }
    let mut table =
        head(&["", "", "texts/s", "real tokens/s", "padding", "to the stock export", "to BERT-base"]);
    for (load, rates) in loads.iter().zip(&rates) {
        for (subject, rate) in subjects.iter().zip(rates) {
            let computed = if subject.spec.packed { load.tokens() } else { load.padded() };
            table += &row(&[
                load.name.to_owned(),
                subject.spec.name.clone(),
                rate.show(1),
                format!("{:.0}", rate.median() * load.tokens() / load.texts()),
                format!("{:.0} %", 100.0 * (1.0 - load.tokens() / computed)),
                format!("{}×", rate.over(&rates[0]).show(2)),
                format!("{}×", rate.over(&rates[2]).show(2)),
            ]);
        }
    }
    let how = format!(
        "{rounds} alternating rounds, each model in a process of its own; median (lowest to highest), ratios round by round. SqueezeBERT-base and BERT-base with random weights."
    );
    report::publish("model", &how, &table);
}

/// Packages as several results of one text: one after the other, as so many pipelines would, against all in one
/// graph. Two with the same encoder, and a third that has its own layers over the same tables.
fn heads() {
    let [sentiment, encoder, entities] = ["sentiment", "encoder", "entities"];
    let package = |name: &str| here("models").join(name);
    let mut specs =
        [sentiment, encoder, entities].map(|name| Spec::ours(name, &package(name), true)).to_vec();
    for (name, with) in [
        ("sentiment and encoder as one graph", vec![encoder]),
        ("the three as one graph", vec![encoder, entities]),
    ] {
        let with = with.into_iter().map(package).collect();
        specs.push(Spec { with, ..Spec::ours(name, &package(sentiment), true) });
    }
    let mut subjects: Vec<Subject> = specs.into_iter().map(Subject::start).collect();
    let batches = batches(&lengths("sst2-dev.txt"), 32);
    let texts = batches.iter().map(Vec::len).sum::<usize>() as f64;
    // Of each subject: seconds, CPU seconds, memory.
    let mut took = vec![[Rounds::default(), Rounds::default(), Rounds::default()]; subjects.len()];
    let rounds = report::rounds();
    for round in 0..=rounds {
        for turn in 0..subjects.len() {
            let which = (turn + round) % subjects.len();
            let one = subjects[which].run(&batches);
            eprintln!("{round:>2} {:<36} {:.3} s", subjects[which].spec.name, one.seconds);
            if round > 0 {
                for (at, figure) in [one.seconds, one.cpu, one.memory as f64].into_iter().enumerate() {
                    took[which][at].push(figure);
                }
            }
        }
    }
    let in_turn = |count: usize| {
        [0, 1, 2].map(|at| {
            let of = |round| took[..count].iter().map(|figures| figures[at].0[round]).sum();
            Rounds((0..rounds).map(of).collect())
        })
    };
    let (two, three) = (in_turn(2), in_turn(3));
    let names: Vec<&str> = subjects.iter().map(|subject| subject.spec.name.as_str()).collect();
    let rows = [
        (names[0], &took[0], None),
        (names[1], &took[1], None),
        (names[2], &took[2], None),
        ("sentiment and encoder in turn", &two, Some(&two)),
        (names[3], &took[3], Some(&two)),
        ("the three in turn", &three, Some(&three)),
        (names[4], &took[4], Some(&three)),
    ];
    let of = |rounds: &Rounds, scale: f64| Rounds(rounds.0.iter().map(|figure| figure * scale).collect());
    let mut table = head(&["", "texts/s", "CPU ms a text", "to the same in turn", "memory, MiB"]);
    for (name, [seconds, cpu, memory], base) in rows {
        let rate = Rounds(seconds.0.iter().map(|seconds| texts / seconds).collect());
        table += &row(&[
            name.to_owned(),
            rate.show(0),
            of(cpu, 1e3 / texts).show(3),
            base.map_or(String::new(), |[_, base, _]| format!("{}×", cpu.over(base).show(3))),
            of(memory, 1.0 / f64::from(1 << 20)).show(0),
        ]);
    }
    let how = format!(
        "The first texts of SST-2's dev set in length, 32 as they come; {rounds} alternating rounds, each model in a process of its own, a session a core; median (lowest to highest), the ratio by CPU time."
    );
    report::publish("heads", &how, &table);
}

/// Of packages as the worker reads them: its tokenizer, batches of 32 as they come.
fn accuracy() {
    let data = report::data("sst2/dev.tsv");
    let Ok(text) = std::fs::read_to_string(&data) else {
        println!(
            "accuracy: SKIPPED, {} is not there (DATA names the folder with sst2/dev.tsv)",
            data.display()
        );
        return;
    };
    let examples: Vec<(&str, usize)> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.rsplit_once('\t'))
        .map(|(text, label)| (text, label.trim().parse().unwrap()))
        .collect();
    let (_, checkpoint) = bundled::export();
    let [packed, _] = built::packages(&here("target/bench/sentiment"), &checkpoint);
    let mut packages = vec![
        ("models/sentiment-portable".to_owned(), here("models/sentiment-portable")),
        ("the same weights, packed".to_owned(), packed),
        ("models/sentiment".to_owned(), here("models/sentiment")),
    ];
    packages.extend(given());
    let mut table = head(&["package", "precision", "correct", "accuracy"]);
    for (name, path) in packages {
        let (correct, precision) = correct(&path, &examples);
        let share = 100.0 * correct as f64 / examples.len() as f64;
        table +=
            &row(&[name, precision, format!("{correct} of {}", examples.len()), format!("{share:.2} %")]);
    }
    report::publish("accuracy", "SST-2 dev, 872 sentences.", &table);
}

fn correct(package: &Path, examples: &[(&str, usize)]) -> (usize, String) {
    use squeezeflow::config::settings::LongText;
    use squeezeflow::text::{TextTokenizer, Tokens};

    let mut loaded = squeezeflow::model::load(&subject::settings(package, 1, 1)).unwrap();
    let tokenizer =
        TextTokenizer::new(&loaded.package, loaded.package.max_length, LongText::Truncate).unwrap();
    let mut correct = 0;
    for batch in examples.chunks(32) {
        let tokens: Vec<Tokens> =
            batch.iter().map(|(text, _)| tokenizer.tokenize(text).unwrap().0.swap_remove(0)).collect();
        let outputs = loaded.sessions[0].infer(&tokens.iter().collect::<Vec<_>>()).unwrap();
        for (output, (_, label)) in outputs.iter().zip(batch) {
            let best = output.logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i);
            correct += usize::from(best == Some(*label));
        }
    }
    (correct, loaded.receipt.precision)
}
