//! Reads a pipeline: built-in defaults, then the file, then the environment, then `--set`; and says
//! everything that is wrong with it at once.
//!
//! serde stops at its first error, so the merged document is checked against the schema first. What
//! the schema refuses is then made good, so that the rules can still judge the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::in_force::{InForce, in_force};
use super::layers::{self, Layer, PREFIX};
use super::problem::{ConfigError, Origin, Problem, Severity};
use super::yaml::{self, Document, Scalars};
use super::{Settings, explain, path, raw, schema, validate};

/// The key of the cases.
const TESTS: &str = "tests";
/// No pipeline is that long; a wrong path may be.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What speaks after the file.
#[derive(Clone, Default)]
pub struct Overrides {
    /// The whole environment. Variables named `SQUEEZEFLOW__SECTION__KEY` are configuration; others
    /// are read only where a secret names them.
    pub environment: BTreeMap<String, String>,
    /// Each `path.to.key=value`, later ones over earlier ones.
    pub set: Vec<String>,
}

/// The names only: values may be secrets.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.set.iter().map(|s| layers::assignment(s).map_or("", |(path, _)| path));
        f.debug_struct("Overrides")
            .field("environment", &self.environment.keys())
            .field("set", &set.collect::<Vec<_>>())
            .finish()
    }
}

impl Overrides {
    /// This process's environment, and `--set` from the command line.
    pub fn from_process(set: Vec<String>) -> Self {
        // A variable that is not Unicode cannot be one of ours, and is no secret that Kafka takes.
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { environment: std::env::vars_os().filter_map(unicode).collect(), set }
    }
}

/// A pipeline that may be built.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What does not stop it.
    pub warnings: Vec<Problem>,
    /// All of it, as somebody may see it.
    pub in_force: Vec<InForce>,
    /// For problems that are found later: [`Places::locate`].
    pub places: Places,
}

/// Where each value came from.
#[derive(Debug, Default)]
pub struct Places {
    file: PathBuf,
    lines: BTreeMap<String, usize>,
    origins: BTreeMap<String, Origin>,
}

impl Places {
    /// Of one file by itself.
    pub(super) fn in_file(file: &Path, lines: BTreeMap<String, usize>) -> Self {
        Self { file: file.to_owned(), lines, origins: BTreeMap::new() }
    }

    /// Gives a problem its file, line and origin, by its path. A key that is not there is said to be
    /// on the line of its nearest parent.
    #[must_use]
    pub fn locate(&self, mut problem: Problem) -> Problem {
        problem.file = Some(self.file.clone());
        if problem.origin == Origin::Unwritten {
            problem.origin = self.origin(&problem.path);
        }
        if matches!(problem.origin, Origin::File | Origin::Unwritten) && problem.line.is_none() {
            let mut at = Some(problem.path.as_str());
            problem.line = std::iter::from_fn(|| {
                let this = at?;
                at = path::parent(this);
                Some(self.lines.get(this).copied())
            })
            .find_map(|line| line);
        }
        problem
    }

    /// Which layer the value at a path came from.
    pub fn origin(&self, at: &str) -> Origin {
        let exact = self.origins.get(at);
        // A section has no origin of its own: whoever wrote something in it.
        let inside =
            || self.origins.iter().find(|(p, _)| !at.is_empty() && path::within(p, at)).map(|(_, o)| o);
        exact.or_else(inside).cloned().unwrap_or(Origin::Unwritten)
    }
}

/// Loads one pipeline file.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    load_with(file, overrides, std::iter::empty())
}

/// Loads one with some values (numbers or text, by the keys of their paths) over all that is said.
pub(crate) fn load_with<'a>(
    file: &Path,
    overrides: &Overrides,
    over: impl Iterator<Item = (&'a [String], &'a str)>,
) -> Result<Loaded, ConfigError> {
    let over = over.map(|(keys, text)| Layer::at(keys, text)).collect();
    let mut document = parse(file, &read(file)?)?;
    // Of no concern to a worker: see `cases`.
    document.value.as_object_mut().map(|map| map.remove(TESTS));
    let mut places = Places::in_file(file, document.lines);
    let schema = schema::schema();
    let mut problems: Vec<Problem> = document
        .duplicates
        .into_iter()
        .filter(|(at, _)| !path::within(at, TESTS))
        .map(|(path, line)| Problem {
            line: Some(line),
            origin: Origin::File,
            ..match schema::up_to_secret(&schema, &path) {
                secret if secret != path => Problem::error(secret, "has a key that is written twice"),
                _ => Problem::error(path, "is written twice"),
            }
        })
        .map(|problem| problem.hint("keep one of them"))
        .collect();

    let written = sections(document.value, document.line, &mut problems);
    let mut merged = merge(&schema, written, (overrides, over), &mut places, &mut problems);
    schema::drop_nulls(&schema, &mut merged);
    if merged.as_object_mut().and_then(|map| map.remove(TESTS)).is_some() {
        let problem = Problem::error(TESTS, "stands in a file only");
        problems.push(problem.hint("in the pipeline file, or beside it in `<its name>.tests.yaml`"));
    }

    let violations = explain::violations(&schema, &merged);
    let refused: Vec<String> = violations.iter().map(|v| v.problem.path.clone()).collect();
    for violation in &violations {
        schema::repair(&schema, &mut merged, &violation.pointer);
    }
    problems.extend(violations.into_iter().map(|v| v.problem));

    let base = file.parent().unwrap_or(Path::new(""));
    let raw = serde_json::from_value::<raw::Pipeline>(merged).ok();
    let judged = raw.as_ref().map(|raw| validate::settings(raw, base, &overrides.environment));
    if judged.is_none() && problems.is_empty() {
        // The schema is made of the types, so this is a defect of ours. serde's words are not
        // repeated: they quote the value.
        problems.push(Problem::error(
            "",
            "the schema accepts this pipeline, but the worker cannot read it; please report it",
        ));
    }
    let (settings, found) = judged.map_or((None, Vec::new()), |(settings, found)| (settings, found));
    // What rests on a value that was refused, or on what stood in for it, is not news.
    problems.extend(found.into_iter().filter(|p| !p.rests_on(&refused)));

    let mut problems: Vec<Problem> = problems.into_iter().map(|p| places.locate(p)).collect();
    problems.sort_by(|a, b| (a.line, &a.path).cmp(&(b.line, &b.path)));
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|p| p.severity == Severity::Error);
    match (settings, raw) {
        (Some(settings), Some(raw)) if errors.is_empty() => {
            let in_force = in_force(&raw, &settings, &places);
            Ok(Loaded { settings, warnings, in_force, places })
        }
        _ => Err(ConfigError { problems: errors.into_iter().chain(warnings).collect() }),
    }
}

/// What YAML makes of a file's text.
pub(super) fn parse(file: &Path, text: &str) -> Result<Document, ConfigError> {
    yaml::parse(text, Scalars::Typed).map_err(|e| {
        let problem = Problem::of_file(file, format!("this is not YAML: {}", e.what));
        ConfigError { problems: vec![Problem { line: Some(e.line), column: Some(e.column), ..problem }] }
    })
}

/// A file's text.
pub(super) fn read(file: &Path) -> Result<String, ConfigError> {
    let refuse = |problem: Problem| ConfigError { problems: vec![problem] };
    let cannot = |e: std::io::Error| refuse(Problem::of_file(file, format!("cannot be read: {e}")));
    let mut bytes = Vec::new();
    // Not by its length: a device or a pipe has none.
    let opened = std::fs::File::open(file).map_err(cannot)?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refuse(Problem::of_file(file, "is larger than 1 MiB: is it a pipeline?")));
    }
    String::from_utf8(bytes).map_err(|e| {
        let (good, _) = e.as_bytes().split_at(e.utf8_error().valid_up_to());
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        refuse(Problem { line: Some(line), ..Problem::of_file(file, "is not UTF-8 from this line on") })
    })
}

/// What the file says, if that is sections at all.
fn sections(file: Value, line: usize, problems: &mut Vec<Problem>) -> Value {
    match file {
        Value::Object(_) => return file,
        Value::Null => {}
        _ => {
            let problem = Problem::error("", "a pipeline is a map of sections");
            let problem = Problem { origin: Origin::File, line: Some(line), ..problem };
            problems.push(problem.hint("begin with `input:` and `model:`"));
        }
    }
    Value::Object(serde_json::Map::new())
}

/// File, environment, `--set`, and what is put over them: later ones over earlier ones. Defaults are what serde
/// fills in.
fn merge(
    schema: &Value,
    file: Value,
    (overrides, over): (&Overrides, Vec<Layer>),
    places: &mut Places,
    problems: &mut Vec<Problem>,
) -> Value {
    let ours = overrides.environment.iter().filter(|(name, _)| name.starts_with(PREFIX));
    let environment = ours.filter_map(|(name, text)| Layer::environment(schema, name, text));
    let mut all: Vec<Layer> = std::iter::once(Layer::file(file)).chain(environment).collect();
    for assignment in &overrides.set {
        match Layer::set(schema, assignment) {
            Ok(layer) => all.push(layer),
            Err(problem) => problems.push(*problem),
        }
    }
    all.extend(over);
    match layers::merge(all) {
        Ok((merged, origins)) => {
            places.origins = origins.into_iter().collect();
            merged
        }
        Err(_) => {
            problems.push(Problem::error("", "file, environment and `--set` could not be merged"));
            Value::Null
        }
    }
}
