//! What the parity tests share: Hugging Face's answers, ours, and the tables in docs/TASKS.md that say how far apart
//! they are.
//!
//! A test reads its lines with [`lines`], asks the real thing with [`ask`], tells a [`Table`] of every comparison, and
//! ends with [`Table::check`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};
use squeezeflow::config::{Overrides, load};
use squeezeflow::results::{self, ResultsError};
use squeezeflow::stdio::{Streams, tag};
use squeezeflow::telemetry::{Health, Metrics};

/// Scores may differ by so much, by the issue.
pub const TOLERANCE: f64 = 1e-4;

/// One of Hugging Face's answers; tests/golden/tasks/README.md says what each member is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub package: String,
    pub options: Value,
    /// An id of the corpus.
    pub input: String,
    #[serde(default)]
    pub question: Option<String>,
    #[serde(default)]
    pub answer: Option<Value>,
    /// Hugging Face gave none: the exception's name.
    #[serde(default)]
    pub raises: Option<String>,
    /// The tokenizer keeps nothing of the text: Hugging Face's model read special tokens only.
    #[serde(default)]
    pub nothing: bool,
    /// A rounding decides: nobody can be held to it.
    #[serde(default)]
    pub close: bool,
    /// Where Hugging Face is wrong.
    #[serde(default)]
    #[allow(dead_code, reason = "for who reads the file")]
    pub fault: Option<String>,
    /// What its answer would be without that.
    #[serde(default)]
    pub meant: Option<Value>,
    /// Token classification: the answer where spans are not added up.
    #[serde(default)]
    pub unmerged: Option<Value>,
}

/// A text of the corpus, or two.
#[derive(Debug, Clone, Deserialize)]
pub struct Text {
    pub id: String,
    pub text: String,
    pub text_pair: Option<String>,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The `nlp` member.
    Given(Value),
    /// A dead letter, by its reason.
    Refused(String),
}

impl Answer {
    /// The result, which must be there.
    #[track_caller]
    pub fn given(&self) -> &Value {
        match self {
            Self::Given(value) => value,
            Self::Refused(reason) => panic!("a dead letter: {reason}"),
        }
    }
}

pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn rows<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    let text = std::fs::read_to_string(here("tests/golden/tasks").join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All of a task's golden lines, in order.
pub fn lines(task: &str) -> Vec<Line> {
    rows(&format!("{task}.jsonl"))
}

/// Those of one package under the same options, put together: each group is one pipeline.
pub fn groups(lines: Vec<Line>) -> Vec<Vec<Line>> {
    let mut groups: Vec<Vec<Line>> = Vec::new();
    for line in lines {
        let same = |group: &&mut Vec<Line>| {
            group
                .first()
                .is_some_and(|first| (&first.package, &first.options) == (&line.package, &line.options))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(line),
            None => groups.push(vec![line]),
        }
    }
    groups
}

/// The corpus, by id.
pub fn corpus() -> BTreeMap<String, Text> {
    rows::<Text>("corpus.jsonl").into_iter().map(|text| (text.id.clone(), text)).collect()
}

/// What a golden line's package is in the tests: itself, and for SqueezeBERT our own graph of the same weights, too.
pub fn forms(package: &str) -> Vec<String> {
    let checkpoint = here("tests/checkpoints/tasks").join(package).is_dir();
    let ours = checkpoint.then(|| format!("checkpoint/{package}"));
    std::iter::once(package.to_owned()).chain(ours).collect()
}

/// Over a package, or over the checkpoint that ours is made of where `package` begins with `checkpoint/`.
fn pipeline(dir: &Path, package: &str, task: &Value, more: &Value) -> PathBuf {
    let path = match package.strip_prefix("checkpoint/") {
        Some(name) => here("tests/checkpoints/tasks").join(name),
        None => here("tests/packages/tasks").join(package),
    };
    let mut pipeline = json!({
        "input": { "topics": ["in"], "format": "json", "text": "/text", "long_text": "truncate" },
        "model": { "path": path, "sessions": 1 },
        "task": task,
    });
    if task.is_null() {
        // As the package says.
        pipeline.as_object_mut().unwrap().remove("task");
    }
    merge(&mut pipeline, more);
    let file = dir.join("pipeline.yaml");
    std::fs::write(&file, pipeline.to_string()).unwrap();
    file
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// Our answers to texts of the corpus, by id: a pipeline with this `task:` (and `more` of a pipeline file beside it),
/// as `squeezeflow tag` runs it. Texts that are pairs are read as pairs; they are not to be mixed with others.
pub fn ask<'a>(
    package: &str,
    task: &Value,
    more: &Value,
    ids: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<String, Answer> {
    let corpus = corpus();
    let ids: BTreeSet<&str> = ids.into_iter().collect();
    let texts: Vec<Text> = ids.iter().map(|id| corpus[*id].clone()).collect();
    let mut more = more.clone();
    if texts.iter().any(|text| text.text_pair.is_some()) {
        assert!(texts.iter().all(|text| text.text_pair.is_some()), "pairs and others at once");
        merge(&mut more, &json!({ "input": { "pair": "/text_pair" } }));
    }
    ask_of(package, task, &more, &texts)
}

/// The same of texts that are not in the corpus.
pub fn ask_of(package: &str, task: &Value, more: &Value, texts: &[Text]) -> BTreeMap<String, Answer> {
    let (records, letters) = records(package, task, more, texts);
    let mut answers = BTreeMap::new();
    for record in records {
        answers.insert(record["id"].as_str().unwrap().to_owned(), Answer::Given(record["nlp"].clone()));
    }
    for letter in letters {
        let record: Value = serde_json::from_str(letter["value"].as_str().unwrap()).unwrap();
        let reason = letter["reason"].as_str().unwrap().to_owned();
        answers.insert(record["id"].as_str().unwrap().to_owned(), Answer::Refused(reason));
    }
    assert_eq!(answers.len(), texts.len(), "every record has one outcome");
    answers
}

/// What is written for them, in their order, and the dead letters.
pub fn records(package: &str, task: &Value, more: &Value, texts: &[Text]) -> (Vec<Value>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let file = pipeline(dir.path(), package, task, more);
    let settings =
        load(&file, &Overrides::default()).unwrap_or_else(|e| panic!("{package} {task}: {e}")).settings;
    let loaded =
        results::load(&settings).unwrap_or_else(|e| panic!("{package} {task}: {e} (make onnxruntime)"));
    let (metrics, _) = Metrics::new(&Health::new()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let mut input = String::new();
    for Text { id, text, text_pair } in texts {
        input += &json!({ "id": id, "text": text, "text_pair": text_pair }).to_string();
        input.push('\n');
    }
    let (mut output, mut letters) = (Vec::new(), Vec::new());
    let streams = Streams { input: Cursor::new(input), output: &mut output, letters: &mut letters };
    tag(&settings, loaded, &metrics, streams, |_| {}).unwrap();
    let parsed = |bytes: Vec<u8>| -> Vec<Value> {
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    (parsed(output), parsed(letters))
}

/// Why a pipeline with this task does not start: the configuration's word, or the task's.
#[track_caller]
pub fn refusal(package: &str, task: &Value, more: &Value) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = pipeline(dir.path(), package, task, more);
    match load(&file, &Overrides::default()) {
        Err(error) => error.to_string(),
        Ok(loaded) => match results::load(&loaded.settings) {
            Err(error @ ResultsError::Task { .. }) => error.to_string(),
            Err(error) => panic!("not the task: {error}"),
            Ok(_) => panic!("{package} takes {task}"),
        },
    }
}

/// By package: how many answers, and the largest difference.
type Cells = BTreeMap<String, (usize, f64)>;

/// The largest differences of one task, by option and package.
pub struct Table {
    task: &'static str,
    /// By option, in order of appearance.
    rows: Vec<(String, Cells)>,
}

impl Table {
    pub fn new(task: &'static str) -> Self {
        Self { task, rows: Vec::new() }
    }

    /// One answer agreed in everything that must be equal, and in its numbers up to `difference`. `option` is
    /// Markdown.
    #[track_caller]
    pub fn saw(&mut self, option: &str, package: &str, difference: f64) {
        assert!(difference <= TOLERANCE, "{} {option} {package}: {difference}", self.task);
        let place = self.rows.iter().position(|(of, _)| of == option).unwrap_or_else(|| {
            self.rows.push((option.to_owned(), BTreeMap::new()));
            self.rows.len() - 1
        });
        let (answers, worst) = self.rows[place].1.entry(package.to_owned()).or_insert((0, 0.0));
        *answers += 1;
        *worst = worst.max(difference);
    }

    /// Prints every cell, and holds docs/TASKS.md against it; with `UPDATE=1` writes it there, between
    /// `<!-- parity: TASK -->` and `<!-- end -->`.
    pub fn check(self) {
        // Tests run side by side, and all write one file.
        static DOCS: Mutex<()> = Mutex::new(());
        for (option, cells) in &self.rows {
            for (package, (answers, worst)) in cells {
                println!("{} | {option} | {package} | {answers} answers | {worst:.1e}", self.task);
            }
        }
        let _docs = DOCS.lock().unwrap();
        let path = here("docs/TASKS.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let begin = format!("<!-- parity: {} -->\n", self.task);
        let start = text.find(&begin).unwrap_or_else(|| panic!("docs/TASKS.md has no {begin}")) + begin.len();
        let end = start + text[start..].find("<!-- end -->").expect("<!-- end -->");
        let update = std::env::var_os("UPDATE").is_some();
        // What is written has room for another processor's roundings, and for other batches.
        let new = self.markdown(|worst| bound(3.0 * worst));
        if update {
            std::fs::write(&path, format!("{}{new}{}", &text[..start], &text[end..])).unwrap();
            return;
        }
        let stated = &text[start..end];
        let shape = |table: &str| {
            table.split('|').map(|cell| as_bound(cell).map_or(cell, |_| " n ").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            shape(stated),
            shape(&new),
            "docs/TASKS.md is not what was measured: UPDATE=1 rewrites it"
        );
        let numbers = |table: &str| table.split('|').filter_map(as_bound).collect::<Vec<_>>();
        let measured = self.markdown(bound);
        for (stated, measured) in numbers(stated).into_iter().zip(numbers(&measured)) {
            assert!(measured <= stated, "docs/TASKS.md says {stated:e}, measured is {measured:e}: UPDATE=1");
        }
    }

    /// A row for each option, a column for each package.
    fn markdown(&self, cell: impl Fn(f64) -> String) -> String {
        let packages: BTreeSet<&String> = self.rows.iter().flat_map(|(_, cells)| cells.keys()).collect();
        let mut table = String::from("| option | answers |");
        packages.iter().for_each(|package| table += &format!(" {package} |"));
        table += "\n|---|---|";
        packages.iter().for_each(|_| table += "---|");
        for (option, cells) in &self.rows {
            let answers: usize = cells.values().map(|(answers, _)| answers).sum();
            table += &format!("\n| {option} | {answers} |");
            for package in &packages {
                match cells.get(*package) {
                    Some((_, worst)) => table += &format!(" {} |", cell(*worst)),
                    None => table += " – |",
                }
            }
        }
        table.push('\n');
        table
    }
}

/// The next power of ten.
fn bound(worst: f64) -> String {
    let of = [1e-6, 1e-5, 1e-4].into_iter().find(|bound| worst <= *bound).unwrap_or(TOLERANCE);
    format!("{of:e}")
}

fn as_bound(cell: &str) -> Option<f64> {
    let cell = cell.trim();
    cell.contains("e-").then(|| cell.parse().ok()).flatten()
}

/// How far two numbers are apart.
#[track_caller]
pub fn apart(one: &Value, other: &Value) -> f64 {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    (number(one) - number(other)).abs()
}

/// Is nothing of it but white space? Such a text is none to us; some tokenizers keep tokens of it.
pub fn is_blank(text: &Text) -> bool {
    text.text.trim().is_empty() || text.text_pair.as_ref().is_some_and(|second| second.trim().is_empty())
}

/// How far our list of labels (`[{"label", "score"}…]`) is from theirs, both with the best first. The labels are the
/// same and in the same order, unless the scores are nearer to each other than what we agree in.
#[track_caller]
pub fn ranked(ours: &Value, theirs: &[(String, f64)]) -> f64 {
    let ours = ours.as_array().unwrap();
    assert_eq!(ours.len(), theirs.len(), "{ours:?} {theirs:?}");
    let mut difference: f64 = 0.0;
    for (ours, (label, score)) in ours.iter().zip(theirs) {
        let own = ours["score"].as_f64().unwrap();
        assert!(ours["label"] == *label || (own - score).abs() <= TOLERANCE, "{ours} is not {label} {score}");
        difference = difference.max((own - score).abs());
    }
    difference
}

/// The result's label and score are the first of its list.
#[track_caller]
pub fn leads(result: &Value, list: &str) {
    for key in ["label", "score"] {
        assert_eq!(result[key], result[list][0][key], "{result}");
    }
}
