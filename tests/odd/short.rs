//! A short run of the fuzz targets' bodies: over the committed corpus as it is, then over so many
//! mutations of it, always the same ones. The long run is `cargo fuzz` (docs/TESTING.md).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use squeezeflow::record::{PassThrough, Reason};

use crate::configuring::configuration;
use crate::decoding::{End, decode_and_splice};

/// A target's corpus in order of names, and its dictionary.
struct Corpus {
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Corpus {
    fn of(target: &str) -> Self {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let mut files: Vec<_> =
            std::fs::read_dir(fuzz.join("corpus").join(target)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        let seeds: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        let dictionary = std::fs::read_to_string(fuzz.join(format!("{target}.dict"))).unwrap();
        let words: Vec<_> = dictionary.lines().filter_map(word).collect();
        assert!(seeds.len() >= 40 && words.len() >= 50, "{target}");
        Self { seeds, words }
    }

    /// One seed, changed in one to four places.
    fn mutate(&self, dice: &mut Dice) -> Vec<u8> {
        let mut case = dice.pick(&self.seeds).clone();
        for _ in 0..=dice.below(3) {
            let (a, b) = (dice.below(case.len()), dice.below(case.len()));
            let range = a.min(b)..a.max(b);
            match dice.below(8) {
                0 if a < case.len() => case[a] ^= 1 << dice.below(7),
                1 => drop(case.splice(range, [])),
                2 => drop(case.splice(a..a, [dice.below(255) as u8])),
                3 => drop(case.splice(range.start..range.start, case[range].to_vec())),
                4 => case.truncate(a),
                // What is the first byte's: the way to read.
                6 if !case.is_empty() => case[0] = *dice.pick(&self.seeds).first().unwrap_or(&b'a'),
                5 => drop(case.splice(range, dice.pick(&self.seeds).iter().skip(1).copied())),
                _ => drop(case.splice(a..a, dice.pick(&self.words).iter().copied())),
            }
        }
        case
    }

    fn run(&self, mut body: impl FnMut(&[u8]), mutations: usize) {
        let mut dice = Dice(0x5eed_0f5e_ed0f_5eed);
        self.seeds.iter().for_each(|case| tried(&mut body, case));
        (0..mutations).for_each(|_| tried(&mut body, &self.mutate(&mut dice)));
    }
}

/// A line of a dictionary in libFuzzer's form.
fn word(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix('"')?.strip_suffix('"')?.bytes();
    let mut word = Vec::new();
    while let Some(byte) = rest.next() {
        word.push(match byte {
            b'\\' => {
                assert_eq!(rest.next(), Some(b'x'), "{line}");
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            plain => plain,
        });
    }
    Some(word)
}

/// Shows the case that breaks a promise, ready to be kept as a seed.
fn tried(body: &mut impl FnMut(&[u8]), case: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(case))) {
        eprintln!("the case: b\"{}\"", case.escape_ascii());
        resume_unwind(panic);
    }
}

/// Marsaglia's xorshift: the same numbers every time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    /// From 0 to `most`.
    fn below(&mut self, most: usize) -> usize {
        (self.next() >> 16) as usize % (most + 1)
    }
    fn pick<'a>(&mut self, from: &'a [Vec<u8>]) -> &'a Vec<u8> {
        &from[self.below(from.len() - 1)]
    }
}

#[test]
fn any_bytes_through_decoder_and_enricher() {
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    let body =
        |case: &[u8]| decode_and_splice(case).into_iter().for_each(|end| *ends.entry(end).or_default() += 1);
    Corpus::of("decode_and_splice").run(body, 150_000);
    let often = |end| ends.get(&end).is_some_and(|n| *n >= 10);
    assert!(often(End::Enriched), "{ends:?}");
    for why in PassThrough::ALL.map(PassThrough::as_str) {
        // A case is never a null value, and nothing is tokenized here.
        assert!(["tombstone", "no_tokens"].contains(&why) || often(End::Passed(why)), "{why}: {ends:?}");
    }
    for reason in Reason::ALL.map(Reason::as_str) {
        let elsewhere = [
            "no_tokens",
            "tokenize_failed",
            "inference_failed",
            "non_finite_output",
            "output_too_large",
            "output_refused",
        ];
        assert!(elsewhere.contains(&reason) || often(End::Dead(reason)), "{reason}: {ends:?}");
    }
}

#[test]
fn any_pipeline_file() {
    Corpus::of("configuration").run(configuration, 1_200);
}
