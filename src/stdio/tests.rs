//! Whole runs with a model of straw, whose sessions finish in an order of their own.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap as Map;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::config::settings::*;
use crate::model::{Infer, InferError, Loaded, Output as ModelOutput, Package, Receipt};
use crate::results;
use crate::text::Tokens;

const PACKAGE: &str = "tests/packages/tiny-squeezebert";

fn some(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn settings(format: Format, mode: OutputMode) -> Settings {
    Settings {
        kafka: None,
        delivery: Delivery::AtLeastOnce,
        input: Input { max_text_bytes: some(1 << 16), ..Input::new(&[], format) },
        results: ResultList {
            first: ResultOf {
                name: None,
                model: Model {
                    path: PACKAGE.into(),
                    provider: Provider { kind: ProviderKind::Cpu, options: Map::new() },
                    fallback: vec![],
                    sessions: some(3),
                    threads: some(1),
                    library: None,
                    max_length: None,
                },
                task: None,
                required: true,
            },
            others: Vec::new(),
        },
        batch: Batch {
            max_tokens: some(64),
            max_size: some(4),
            max_age: Duration::from_millis(1),
            timeout: Duration::from_secs(60),
        },
        cache: Cache { max_bytes: 1 << 20 },
        output: Output { on_existing: OnExisting::Keep, ..Output::new(mode) },
        dead_letter: None,
        limits: Limits {
            max_in_flight_records: some(50),
            max_in_flight_bytes: some(1 << 20),
            text_workers: some(2),
            drain_timeout: Duration::from_secs(1),
        },
        admin: None,
        admin_token: None,
        show_text: false,
        log: Log { format: LogFormat::Human, level: "off".to_owned() },
        otlp: None,
        stuck_after: Duration::from_secs(120),
    }
}

fn json() -> Settings {
    settings(Format::Json(TextSelector::Pointer("/t".to_owned())), OutputMode::Splice)
}

/// Answers `positive`, late for some batches.
struct Straw {
    runs: Arc<AtomicUsize>,
    panics: bool,
}

impl Infer for Straw {
    fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<ModelOutput>, InferError> {
        assert!(!self.panics, "a straw breaks");
        if self.runs.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(batch.iter().map(|_| ModelOutput { logits: vec![0.0, 0.0, 3.0] }).collect())
    }
}

fn loaded(panics: bool) -> Loaded {
    let runs = Arc::new(AtomicUsize::new(0));
    with(|| Box::new(Straw { runs: runs.clone(), panics }))
}

fn with(session: impl Fn() -> Box<dyn Infer>) -> Loaded {
    let package = Arc::new(Package::inspect(Path::new(PACKAGE)).unwrap().0);
    let receipt = Receipt {
        model: "straw".to_owned(),
        digest: package.digest.clone(),
        precision: "fp32".to_owned(),
        provider: "cpu",
        batch_invariant: true,
    };
    Loaded { package, sessions: (0..3).map(|_| session()).collect(), receipt }
}

/// Answers each sequence by its ids alone, and writes down what it was asked. Cannot stand one token.
struct Diary {
    asked: Arc<Mutex<Vec<Vec<u32>>>>,
    poison: u32,
}

impl Infer for Diary {
    fn infer(&mut self, batch: &[&Tokens]) -> Result<Vec<ModelOutput>, InferError> {
        // So that equal ones find each other in the model.
        std::thread::yield_now();
        if batch.iter().any(|tokens| tokens.ids.contains(&self.poison)) {
            return Err(InferError::Run("Gather: out of bounds".to_owned()));
        }
        let mut asked = self.asked.lock().unwrap();
        asked.extend(batch.iter().map(|tokens| tokens.ids.clone()));
        let logit =
            |tokens: &&Tokens| tokens.ids.iter().fold(0, |sum, id| (sum * 31 + id) % 1009) as f32 / 300.0;
        Ok(batch.iter().map(|tokens| ModelOutput { logits: vec![logit(tokens), 1.0, 2.0] }).collect())
    }
}

/// With a model that cannot stand the word `bad`; what it was asked, sorted.
fn written_down(settings: &Settings, input: &str) -> (Vec<String>, Vec<Value>, Vec<Vec<u32>>) {
    let tokenizer = tokenizers::Tokenizer::from_file(format!("{PACKAGE}/tokenizer.json")).unwrap();
    let poison = tokenizer.token_to_id("bad").unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let loaded = with(|| Box::new(Diary { asked: asked.clone(), poison }));
    let (summary, output, letters) = run(settings, loaded, io::Cursor::new(input.to_owned()));
    summary.unwrap();
    let mut asked = asked.lock().unwrap().clone();
    asked.sort_unstable();
    (lines(&output), letters, asked)
}

#[test]
fn a_text_that_comes_again_is_inferred_once_and_poison_is_everybodys() {
    let mut input = String::new();
    for n in 0_usize..1000 {
        input += &match n % 50 {
            7 => format!("{{\"n\":{n},\"t\":\"bad again\"}}\n"),
            // Long ones, in windows, some of which other long ones have, too.
            8 | 9 => format!("{{\"n\":{n},\"t\":\"{}\"}}\n", "one two three ".repeat(40 + n % 3)),
            _ => format!("{{\"n\":{n},\"t\":\"text {}\"}}\n", "word ".repeat(n % 20)),
        };
    }
    let mut settings = json();
    let windows = Windows { stride: 0, most: some(9), combine: Combine::Mean };
    settings.input.long_text = LongText::Windows(windows);
    settings.results.first.model.max_length = Some(some(32));
    let (with_cache, letters, asked) = written_down(&settings, &input);
    settings.cache.max_bytes = 0;
    let (without, letters_without, asked_without) = written_down(&settings, &input);
    assert_eq!((with_cache.len(), letters.len()), (980, 20));
    assert_eq!(with_cache, without, "what is written does not depend on it");
    let reasons = |letters: &[Value]| {
        letters.iter().map(|l| (l["line"].clone(), l["reason"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&letters), reasons(&letters_without));
    // The canary is asked for as often as poison is found.
    let texts = |asked: &[Vec<u32>]| asked.iter().filter(|ids| ids.len() > 3).cloned().collect::<Vec<_>>();
    let (once, every) = (texts(&asked), texts(&asked_without));
    assert!(every.len() > 900, "{}", every.len());
    let mut distinct = every;
    distinct.dedup();
    assert_eq!(once, distinct, "each sequence once");
}

#[test]
fn masked_lines_are_one_text_and_keep_their_own() {
    let mut settings = settings(Format::Text, OutputMode::Envelope);
    settings.input.mask = vec![Mask::Numbers, Mask::Ips];
    let input: String = (0..100).map(|n| format!("took {n} ms for 10.0.0.{n}\n")).collect();
    let (output, letters, asked) = written_down(&settings, &input);
    assert!(letters.is_empty());
    assert_eq!(asked.len(), 1, "one text");
    for (n, line) in output.iter().enumerate() {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["text"], format!("took {n} ms for 10.0.0.{n}"));
        assert_eq!(value["nlp"]["masked"], 2);
    }
}

#[test]
fn what_depends_on_its_batch_is_never_kept() {
    let input = "{\"t\":\"the same few words\"}\n".repeat(50);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut loaded = with(|| Box::new(Diary { asked: asked.clone(), poison: u32::MAX }));
    loaded.receipt.batch_invariant = false;
    let (summary, output, _) = run(&json(), loaded, io::Cursor::new(input));
    assert_eq!(summary.unwrap().tagged, 50);
    assert!(lines(&output).iter().all(|line| line.contains(r#""batch_invariant":false"#)));
    assert_eq!(asked.lock().unwrap().len(), 50);
}

type Ran = (Result<Summary, StdioError>, Vec<u8>, Vec<Value>);

fn run(settings: &Settings, loaded: Loaded, input: impl Read + Send + 'static) -> Ran {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let (mut output, mut letters) = (Vec::new(), Vec::new());
    let streams = Streams { input, output: &mut output, letters: &mut letters };
    let results = results::of(settings, loaded).unwrap();
    let result = tag(settings, results, &Metrics::default(), streams, |_| {});
    let letters = letters.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let letters = letters.map(|l| serde_json::from_slice(l).unwrap()).collect();
    (result, output, letters)
}

fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8(output.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_record_a_line_in_order_through_many_sessions_and_little_room() {
    let mut input = String::new();
    for n in 0..2000 {
        input += &match n % 10 {
            3 => format!("{{\"n\":{n},\"t\":\"\"}}\n"),
            5 => format!("{{\"n\":{n},\"nlp\":1}}\r\n"),
            _ => format!("{{\"n\":{n}, \"t\":\"text {}\"}}\n", "word ".repeat(n % 30)),
        };
    }
    let (summary, output, letters) = run(&json(), loaded(false), io::Cursor::new(input));
    let summary = summary.unwrap();
    let out: Vec<Value> = lines(&output).iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let numbers: Vec<u64> = out.iter().map(|v| v["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..2000).filter(|n| n % 10 != 3).collect::<Vec<u64>>());
    for value in &out {
        match value["n"].as_u64().unwrap() % 10 {
            5 => assert_eq!(value["nlp"], 1),
            _ => assert_eq!(value["nlp"]["label"], "positive"),
        }
    }
    let dead: Vec<i64> = letters.iter().map(|l| l["line"].as_i64().unwrap()).collect();
    assert_eq!(dead, (0..2000).filter(|n| n % 10 == 3).map(|n| n + 1).collect::<Vec<i64>>());
    assert_eq!((summary.records, summary.tagged, summary.passed), (2000, 1600, 200));
    assert_eq!(summary.dead, BTreeMap::from([(Reason::TextEmpty, 200)]));
    assert!(summary.tokens > 1600 && !summary.cut_short, "{summary:?}");
}

#[test]
fn line_ends_empty_lines_and_bytes_that_are_no_text() {
    let input = &b"{\"t\":\"a\"}\r\n\n{\"t\":\"\xff\"}\n{\"t\":\"last\"}"[..];
    let (summary, output, letters) = run(&json(), loaded(false), input);
    let out = lines(&output);
    assert!(
        out[0].starts_with(r#"{"t":"a","nlp":{"#) && out[1].starts_with(r#"{"t":"last","nlp":{"#),
        "{out:?}"
    );
    assert_eq!((out.len(), output.contains(&b'\r'), output.last()), (2, false, Some(&b'\n')));
    let expected = [("invalid_json", 2, "value", ""), ("invalid_utf8", 3, "value_base64", "eyJ0Ijoi/yJ9")];
    for (letter, (reason, line, field, value)) in letters.iter().zip(expected) {
        assert_eq!((&letter["reason"], &letter["line"]), (&Value::from(reason), &Value::from(line)));
        assert_eq!((&letter["stage"], &letter[field]), (&Value::from("decode"), &Value::from(value)));
        assert_eq!(letter.as_object().unwrap().len(), 5, "{letter}");
    }
    assert_eq!((letters.len(), summary.unwrap().records), (2, 4));
}

#[test]
fn raw_text_becomes_an_envelope() {
    let settings = settings(Format::Text, OutputMode::Envelope);
    let (summary, output, letters) = run(&settings, loaded(false), &b"so \"good\"\n \n"[..]);
    assert!(lines(&output)[0].starts_with(r#"{"text":"so \"good\"","nlp":{"label":"positive","#));
    assert_eq!(letters[0]["reason"], "text_empty");
    assert_eq!((summary.unwrap().bytes, letters.len()), (10, 1));
}

#[test]
fn an_empty_input_is_an_empty_output() {
    let (summary, output, letters) = run(&json(), loaded(false), io::empty());
    assert_eq!((summary.unwrap().records, output.len(), letters.len()), (0, 0, 0));
}

#[test]
fn headers_are_refused_before_anything_is_read() {
    let (result, ..) = run(&settings(Format::Text, OutputMode::Headers), loaded(false), io::repeat(b'x'));
    assert!(matches!(result, Err(StdioError::Headers)));
}

#[test]
fn a_line_without_end_is_refused_after_what_came_before_it() {
    let mut settings = json();
    settings.limits.max_in_flight_bytes = some(2000);
    let large = format!("{{\"t\":\"{}\"}}\n", "x".repeat(1900));
    let input = io::Cursor::new(format!("{{\"t\":\"a\"}}\n{large}{large}")).chain(io::repeat(b'x'));
    let (result, output, _) = run(&settings, loaded(false), input);
    assert!(
        matches!(result, Err(StdioError::Read(ReadError::TooLong { line: 4, limit: 2000 }))),
        "{result:?}"
    );
    assert_eq!(lines(&output).len(), 3, "the large ones too, one at a time");
}

/// `| head -n 1`
struct Leaves(usize);
impl Write for Leaves {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0 -= 1;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn endless() -> impl Read + Send + 'static {
    struct Again(usize);
    impl Read for Again {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            const LINE: &[u8] = b"{\"t\":\"again and again\"}\n";
            let all = LINE.iter().cycle().skip(self.0).zip(buffer.iter_mut());
            let count = all.map(|(from, to)| *to = *from).count();
            self.0 = (self.0 + count) % LINE.len();
            Ok(count)
        }
    }
    Again(0)
}

#[test]
fn a_reader_who_leaves_ends_an_endless_input_quietly() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let streams = Streams { input: endless(), output: Leaves(2), letters: io::sink() };
    let summary =
        tag(&json(), results::of(&json(), loaded(false)).unwrap(), &Metrics::default(), streams, |_| {})
            .unwrap();
    assert!(summary.cut_short && summary.tagged > 0, "{summary:?}");
}

#[test]
fn in_flight_is_bounded_while_nobody_takes_the_output() {
    // The writer blocks in its first line: what was read then is all that fits.
    struct Stuck(std::sync::mpsc::Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    struct Counted(Box<dyn Read + Send>, Arc<AtomicUsize>);
    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.fetch_add(count, Ordering::Relaxed);
            Ok(count)
        }
    }
    let taken = Arc::new(AtomicUsize::new(0));
    let input = Counted(Box::new(endless()), taken.clone());
    let (release, stuck) = std::sync::mpsc::channel();
    let tagging = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _context = runtime.enter();
        let streams = Streams { input, output: Stuck(stuck), letters: io::sink() };
        tag(&json(), results::of(&json(), loaded(false)).unwrap(), &Metrics::default(), streams, |_| {})
            .unwrap()
    });
    std::thread::sleep(Duration::from_millis(500));
    let before = taken.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(taken.load(Ordering::Relaxed), before, "reading has stopped");
    assert!(before < 1 << 20, "{before} bytes were taken");
    drop(release);
    assert!(tagging.join().unwrap().cut_short);
}

#[test]
fn a_model_that_panics_is_an_error_and_no_silence() {
    let (result, output, _) = run(&json(), loaded(true), endless());
    assert!(matches!(result, Err(StdioError::Pipeline(PipelineError::Panicked("session")))), "{result:?}");
    assert!(output.is_empty());
}
