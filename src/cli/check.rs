//! `squeezeflow check PIPELINE…`: builds all that can be built without a broker, and says everything
//! that is wrong in all the files at once; with `--connect` it asks the brokers too.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Exit, SetArguments, complain, connect, print};
use crate::config::{self, CaseFile, Loaded, Overrides, Problem, Settings, Severity};
use crate::model::tasks::TaskError;
use crate::results::{self, Results, ResultsError};

/// Per question to the brokers.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pipeline files.
    #[arg(value_name = "PIPELINE", required = true, value_hint = clap::ValueHint::FilePath)]
    pipelines: Vec<PathBuf>,
    /// Ask the brokers too: do the topics exist, may this user read and write them? Nothing is written, no
    /// group is joined.
    #[arg(long)]
    connect: bool,
    #[command(flatten)]
    overrides: SetArguments,
}

/// What one pipeline is, and what is wrong with it.
struct Report {
    facts: String,
    problems: Vec<Problem>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let overrides = Overrides::from_process(arguments.overrides.set.clone());
    let mut wrong = false;
    for file in &arguments.pipelines {
        let report = check(file, &overrides, arguments.connect);
        let refused = report.problems.iter().any(|p| p.severity == Severity::Error);
        let verdict = if refused { "refused" } else { "ok" };
        complain(&report.problems);
        let printed = print(&format!("{}: {verdict}\n{}", file.display(), report.facts));
        if printed != Exit::Ok {
            return printed;
        }
        wrong |= refused;
    }
    if wrong { Exit::Usage } else { Exit::Ok }
}

fn check(file: &Path, overrides: &Overrides, with_broker: bool) -> Report {
    if config::is_beside(file) {
        // `check pipelines/*.yaml` names the cases, too. What they need of a model, their pipeline's
        // turn tells.
        return match config::cases_beside(file) {
            Ok(cases) => Report { facts: tell_cases(&[cases]), problems: Vec::new() },
            Err(e) => Report { facts: String::new(), problems: e.problems },
        };
    }
    let cases = config::cases(file);
    let loaded = match config::load(file, overrides) {
        Ok(loaded) => loaded,
        Err(mut e) => {
            let of_cases = cases.err().map(|e| e.problems).unwrap_or_default();
            // A file that cannot be read at all has no other cases.
            let more: Vec<_> = of_cases.into_iter().filter(|p| !e.problems.contains(p)).collect();
            e.problems.extend(more);
            return Report { facts: String::new(), problems: e.problems };
        }
    };
    let Loaded { settings, warnings, places, .. } = &loaded;
    let (mut facts, mut found, mut of_cases) = (String::new(), Vec::new(), Vec::new());
    let cases = cases.unwrap_or_else(|e| {
        of_cases = e.problems;
        Vec::new()
    });
    match load_results(settings) {
        Ok(results) => {
            facts.push_str(&describe(&results));
            let of_results = results.facts();
            found.extend(config::check_against_model(settings, &of_results));
            let labels = config::labels_of_records(settings, &of_results);
            of_cases.extend(cases.iter().flat_map(|file| file.impossible(settings, &labels)));
        }
        Err(problem) => found.push(*problem),
    }
    facts.push_str(&tell_cases(&cases));
    if settings.kafka.is_none() {
        let _ = writeln!(facts, "  kafka      none: for `tag` only");
    } else {
        found.extend(config::require_kafka(settings));
    }
    if with_broker {
        let answer = connect::check(settings, PATIENCE);
        facts.push_str(&answer.facts);
        found.extend(answer.problems);
    }
    let found = found.into_iter().map(|problem| places.locate(problem));
    Report { facts, problems: warnings.iter().cloned().chain(found).chain(of_cases).collect() }
}

/// The one place where this verb meets the model. All its causes are told: the last one is
/// often the one that says what to do.
fn load_results(settings: &Settings) -> Result<Results, Box<Problem>> {
    results::load(settings).map_err(|error| {
        if let ResultsError::Task { at, source } = &error {
            return Box::new(match source {
                TaskError::Option { at: below, what, hint } => {
                    let at = if below.is_empty() { at.clone() } else { format!("{at}.{below}") };
                    Problem::error(at, what.clone()).hint(hint.clone())
                }
                source => Problem::error(at.clone(), source.to_string()),
            });
        }
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let _ = write!(what, ": {inner}");
            cause = inner.source();
        }
        Box::new(Problem::error("model", what))
    })
}

/// A pipeline needs none.
fn tell_cases(files: &[CaseFile]) -> String {
    match files.iter().map(|file| file.cases.len()).sum() {
        0 => String::new(),
        1 => "  tests      1 case\n".to_owned(),
        n => format!("  tests      {n} cases\n"),
    }
}

fn describe(results: &Results) -> String {
    let mut facts = String::new();
    for model in &results.models {
        let (package, receipt) = (&model.package, &model.receipt);
        let sessions = model.sessions.len();
        let _ = writeln!(
            facts,
            "  model      {} ({}), at most {} tokens",
            package.name, package.precision, package.max_length
        );
        let _ = writeln!(facts, "  digest     {}", package.digest);
        let _ = writeln!(facts, "  provider   {}, {sessions} sessions", receipt.provider);
    }
    for result in &results.tasks {
        let labels = result.task.labels().join(", ");
        let name = result.name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
        match labels.is_empty() {
            true if name.is_empty() => {}
            true => drop(writeln!(facts, "  result     {name}{}", result.receipt.model)),
            false => drop(writeln!(facts, "  labels     {name}{labels}")),
        }
    }
    facts
}
