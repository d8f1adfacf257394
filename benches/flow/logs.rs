//! Log lines through the stages, with an empty cache at the start.

use std::collections::HashSet;
use std::io::{Cursor, sink};
use std::path::Path;

use squeezeflow::config::{Overrides, Settings, load};
use squeezeflow::model::Package;
use squeezeflow::results;
use squeezeflow::stdio::{Streams, tag};
use squeezeflow::telemetry::{Health, Metrics};
use squeezeflow::text::{Masker, TextTokenizer};

use crate::common::report::{self, Rounds, head, here, row};
use crate::common::subject::{Spec, Subject};
use crate::{base, batches, data};

const MASKS: [(&str, &str); 2] = [("no mask", "[]"), ("masked", "[numbers, hex, uuids, ips, paths]")];

/// benches/flow/logs.yaml with this model and mask.
fn settings(package: &Path, mask: &str) -> Settings {
    let set = vec![
        format!("model.path={}", package.display()),
        format!("input.mask={mask}"),
        "log.level=warn".into(),
    ];
    load(&here("benches/flow/logs.yaml"), &Overrides { set, ..Overrides::default() }).unwrap().settings
}

/// Lines of all sources in turn, as several of them would write into one topic.
fn lines() -> Option<Vec<String>> {
    let dir = data("logs", "loghub")?;
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().flatten().map(|f| f.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "log"));
    files.sort();
    let files: Vec<Vec<String>> = files
        .iter()
        .map(|path| {
            let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
            text.lines().map(str::to_owned).filter(|l| !l.trim().is_empty()).collect()
        })
        .collect();
    let longest = files.iter().map(Vec::len).max().unwrap_or(0);
    let all = (0..longest).flat_map(|i| files.iter().filter_map(move |file| file.get(i).cloned()));
    Some(all.take(report::number("LINES", 20_000)).collect())
}

/// What the model reads of each line.
fn sequences(settings: &Settings, lines: &[String]) -> Vec<Vec<u32>> {
    let package = Package::open(&settings.results.first.model.path).unwrap();
    let longest = settings
        .results
        .first
        .model
        .max_length
        .map_or(package.max_length, |n| n.get().min(package.max_length));
    let tokenizer = TextTokenizer::new(&package, longest, settings.input.long_text).unwrap();
    let masker = Masker::new(&settings.input.mask);
    let one = |line: &String| Some(tokenizer.tokenize(&masker.apply(line).0).ok()?.0.swap_remove(0).ids);
    lines.iter().filter_map(one).collect()
}

fn distinct(all: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let mut known = HashSet::new();
    all.iter().filter(|ids| known.insert(*ids)).cloned().collect()
}

pub fn hits() {
    let Some(lines) = lines() else { return };
    let package = here("models/sentiment");
    for (name, mask) in MASKS {
        let all = sequences(&settings(&package, mask), &lines);
        let fresh = distinct(&all).len();
        let share = 100.0 * (1.0 - fresh as f64 / all.len() as f64);
        let tokens = all.iter().map(Vec::len).sum::<usize>() as f64 / all.len() as f64;
        println!(
            "{name}: {fresh} of {} lines are new, hit rate {share:.1} %, {tokens:.1} tokens a line",
            all.len()
        );
    }
}

pub fn bench() {
    let Some(lines) = lines() else { return };
    let model = base();
    let input = lines.join("\n") + "\n";
    let rounds = report::rounds();
    let mut raw = Subject::start(Spec::ours("raw", &model.package, false));
    let layout = Package::open(&model.package).unwrap().layout;
    let mut measured: [[Rounds; 3]; 2] = Default::default();
    for round in 0..rounds {
        for ((name, mask), [rates, hits, alone]) in MASKS.iter().zip(&mut measured) {
            let settings = settings(&model.package, mask);
            let (rate, misses) = pass(&settings, &input, lines.len());
            let fresh = distinct(&sequences(&settings, &lines));
            assert_eq!(misses as usize, fresh.len(), "each sequence once: nothing had to make room");
            let took = raw.run(&batches(fresh, &settings.batch, layout));
            rates.push(rate);
            hits.push(100.0 * (1.0 - misses / lines.len() as f64));
            alone.push(lines.len() as f64 / took.seconds);
            eprintln!(
                "{round:>2} {name}: {rate:.0} lines/s, {misses} misses, which alone allow {:.0} lines/s",
                alone.0.last().unwrap()
            );
        }
    }
    let mut table =
        head(&["", "lines/s", "hit rate", "what the misses alone allow, lines/s", "of that", "to no mask"]);
    for ((name, _), [rates, hits, alone]) in MASKS.iter().zip(&measured) {
        table += &row(&[
            (*name).to_owned(),
            rates.show(0),
            format!("{:.1} %", hits.median()),
            alone.show(0),
            format!("{} %", Rounds(rates.over(alone).0.iter().map(|r| r * 100.0).collect()).show(0)),
            format!("{}×", rates.over(&measured[0][0]).show(2)),
        ]);
    }
    let how = format!(
        "{} lines of ten sources in turn, read as pipelines/logs.yaml reads them, by SqueezeBERT-base (random weights); {rounds} alternating rounds, median (lowest to highest).",
        lines.len()
    );
    report::publish("logs", &how, &table);
}

/// Lines a second, and how many sequences were inferred.
fn pass(settings: &Settings, input: &str, lines: usize) -> (f64, f64) {
    let loaded = results::load(settings).unwrap();
    let (metrics, registry) = Metrics::new(&Health::new()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let streams = Streams { input: Cursor::new(input.to_owned()), output: sink(), letters: sink() };
    let summary = tag(settings, loaded, &metrics, streams, |_| {}).unwrap();
    assert_eq!(summary.records as usize, lines);
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let misses =
        text.lines().find_map(|l| l.strip_prefix(r#"squeezeflow_cache_requests_total{result="miss"} "#));
    (lines as f64 / summary.took.as_secs_f64(), misses.unwrap().parse().unwrap())
}
