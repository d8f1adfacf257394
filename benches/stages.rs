//! What each stage costs on this machine, alone: `make bench`. Texts are the demo's (about 20
//! tokens each); the model is the bundled one. Compare figures of one run only.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use squeezeflow::config::settings::{LongText, Mask};
use squeezeflow::config::{Overrides, Settings, load};
use squeezeflow::demo::{self, Sample};
use squeezeflow::model::{self, Loaded};
use squeezeflow::record::{Epoch, Offset, PartitionId, Record, Timestamp};
use squeezeflow::sequencer::Ledger;
use squeezeflow::text::{Decoded, Decoder, Masker, TextTokenizer, Tokens};

fn main() {
    divan::main();
}

fn settings() -> Settings {
    let mut settings = load(Path::new("pipelines/sentiment.yaml"), &Overrides::default()).unwrap().settings;
    settings.results.first.model.sessions = NonZeroUsize::MIN;
    settings
}

fn loaded() -> (Settings, Loaded) {
    let settings = settings();
    let loaded = model::load(&settings.results.first.model).expect("make onnxruntime");
    (settings, loaded)
}

/// The demo's records that have a text, and these texts.
fn records(decoder: &Decoder) -> (Vec<Record>, Vec<String>) {
    let record = |(i, sample): (usize, Sample)| Record {
        topic: Arc::from("reviews"),
        partition: 0,
        offset: Offset::new(i as i64),
        key: None,
        value: sample.value,
        headers: Vec::new(),
        timestamp: Timestamp(None),
    };
    let text = |record: Record| match decoder.decode(record.clone()) {
        Ok(Decoded::Document(document)) => Some((record, document.text)),
        _ => None,
    };
    demo::stream(400).into_iter().enumerate().map(record).filter_map(text).unzip()
}

fn tokenizer(loaded: &Loaded) -> TextTokenizer {
    TextTokenizer::new(&loaded.package, loaded.package.max_length, LongText::Truncate).unwrap()
}

fn texts(settings: &Settings) -> Vec<String> {
    records(&Decoder::new(&settings.input, &settings.output)).1
}

#[divan::bench]
fn decode(bencher: Bencher) {
    let settings = settings();
    let decoder = Decoder::new(&settings.input, &settings.output);
    let (records, _) = records(&decoder);
    bencher.counter(ItemsCount::new(records.len())).with_inputs(|| records.clone()).bench_values(|records| {
        for record in records {
            assert!(matches!(decoder.decode(record), Ok(Decoded::Document(_))));
        }
    });
}

/// Log lines of some 120 bytes, with every kind of part in them.
#[divan::bench]
fn mask(bencher: Bencher) {
    let masker = Masker::new(&[Mask::Numbers, Mask::Hex, Mask::Uuids, Mask::Ips, Mask::Paths]);
    let line = |n: usize| {
        format!(
            "2015-10-18 18:01:{n} INFO [worker-{n}] server.api: [req-55db2d8d-cdb7-4b4b-993b-429be84c0c3e] 10.0.0.{n} GET /v2/{n}/list took 0.27 s"
        )
    };
    let lines: Vec<String> = (0..400).map(|n| line(n % 60)).collect();
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| {
        for line in &lines {
            black_box(masker.apply(line));
        }
    });
}

#[divan::bench]
fn tokenize(bencher: Bencher) {
    let (settings, loaded) = loaded();
    let tokenizer = tokenizer(&loaded);
    let texts = texts(&settings);
    bencher.counter(ItemsCount::new(texts.len())).bench_local(|| {
        for text in &texts {
            black_box(tokenizer.tokenize(text).unwrap());
        }
    });
}

/// One session of one thread: batches of 32 as they come, and sorted by length (what the batcher
/// does where it has the choice).
#[divan::bench(args = [false, true], sample_count = 20)]
fn infer(bencher: Bencher, sorted: bool) {
    let (settings, mut loaded) = loaded();
    let tokenizer = tokenizer(&loaded);
    let mut tokens: Vec<Tokens> =
        texts(&settings).iter().map(|text| tokenizer.tokenize(text).unwrap().0.remove(0)).collect();
    if sorted {
        tokens.sort_by_key(|t| t.ids.len());
    }
    let session = &mut loaded.sessions[0];
    bencher.counter(ItemsCount::new(tokens.len())).bench_local(|| {
        for batch in tokens.chunks(32) {
            let batch: Vec<&Tokens> = batch.iter().collect();
            black_box(session.infer(&batch).unwrap());
        }
    });
}

/// Admission to delivery of 1,000 records.
#[divan::bench]
fn sequencer(bencher: Bencher) {
    bencher.counter(ItemsCount::new(1000usize)).bench_local(|| {
        let mut ledger = Ledger::new(PartitionId(0), Epoch(1));
        let now = Instant::now();
        let tickets: Vec<_> = (0..1000).map(|o| ledger.admit(Offset::new(o), 100, now)).collect();
        for ticket in tickets.iter().rev() {
            ledger.settle(*ticket, ()).unwrap();
        }
        while let Some((ticket, ())) = ledger.release() {
            ledger.deliver(ticket).unwrap();
        }
        ledger.committable()
    });
}
