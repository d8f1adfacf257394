//! `test PIPELINE`: the cases that stand in and beside the pipeline file, through its real stages and
//! its real model, without a broker. What came out otherwise than expected is shown; with `--update`
//! it is what is expected from now on.
//!
//! Values are shown: cases are the user's own, written to be read.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::Path;

use console::style;
use serde_json::{Value, json};

use super::{Exit, PipelineArguments, complain, fail, print, refuse_any, run as worker};
use crate::config::settings::{Format, Input, TemplatePart, TextSelector};
use crate::config::{self, Case, CaseFile, Loaded, WriteError};
use crate::golden::{self, Difference, NotUpdated, Seen, Verdict};
use crate::results;
use crate::telemetry::logs;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
    /// Only the cases that have this in their name.
    #[arg(long, value_name = "SUBSTRING")]
    filter: Option<String>,
    /// Write what came out into the cases that fail or expect nothing. Nothing else in their files is
    /// touched.
    #[arg(long)]
    update: bool,
}

/// A case, how it ended, and what was done about it.
struct Ran<'a> {
    file: &'a CaseFile,
    /// In its file.
    index: usize,
    case: &'a Case,
    seen: Seen,
    verdict: Verdict,
    /// `None`: nobody asked.
    updated: Option<Result<(), NotUpdated>>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    start(arguments).unwrap_or_else(|exit| exit)
}

fn start(arguments: &Arguments) -> Result<Exit, Exit> {
    let file = &arguments.pipeline.pipeline;
    if config::is_beside(file) {
        eprintln!("error: {} has cases in it, not a pipeline: name the pipeline", file.display());
        return Err(Exit::Usage);
    }
    let mut pipeline = arguments.pipeline.load()?;
    let files = config::cases(file).map_err(|e| {
        complain(&e.problems);
        Exit::Usage
    })?;
    let chosen = choose(&files, arguments.filter.as_deref());
    if chosen.is_empty() {
        eprintln!("error: {}", no_case(file, &pipeline.settings.input, &files, arguments.filter.as_deref()));
        return Err(Exit::Usage);
    }
    // One session: so few texts need no more, and share batches all the better.
    pipeline.settings.results.iter_mut().for_each(|result| result.model.sessions = NonZeroUsize::MIN);
    let mut ran = try_all(&pipeline, chosen)?;
    let written = if arguments.update { update(&files, &mut ran) } else { Ok(()) };
    let printed = print(&report(&ran));
    if printed != Exit::Ok {
        return Err(printed);
    }
    written.map_err(|e| fail(&e, Exit::Failed))?;
    Ok(if ran.iter().any(Ran::failed) { Exit::Failed } else { Exit::Ok })
}

fn choose<'a>(files: &'a [CaseFile], filter: Option<&str>) -> Vec<(&'a CaseFile, usize, &'a Case)> {
    let all =
        files.iter().flat_map(|file| file.cases.iter().enumerate().map(move |(i, case)| (file, i, case)));
    all.filter(|(_, _, case)| filter.is_none_or(|part| case.name.contains(part))).collect()
}

/// What to do where there is nothing to test.
fn no_case(pipeline: &Path, input: &Input, files: &[CaseFile], filter: Option<&str>) -> String {
    if let (Some(filter), false) = (filter, files.is_empty()) {
        let names = files.iter().flat_map(|file| &file.cases).map(|case| golden::shown(&case.name));
        let names: Vec<String> = names.collect();
        return format!("no case has `{filter}` in its name; there are: {}", names.join(", "));
    }
    format!(
        "{} has no cases, and there is no {}\n\
         \n\
         The first one, for either of them (`squeezeflow test --update` writes what to expect):\n\
         \n\
         tests:\n\
         \x20 - name: praise\n\
         \x20   input: {}\n\
         \x20   expect:\n",
        pipeline.display(),
        config::beside(pipeline).display(),
        delight(&input.format)
    )
}

/// A record that the pipeline can read.
fn delight(format: &Format) -> String {
    let pointers: Vec<&str> = match format {
        Format::Text => return "a delight".to_owned(),
        Format::Json(TextSelector::Pointer(pointer)) => vec![pointer],
        Format::Json(TextSelector::Template(parts)) => parts
            .iter()
            .filter_map(|part| match part {
                TemplatePart::Pointer(pointer) => Some(pointer.as_str()),
                TemplatePart::Literal(_) => None,
            })
            .collect(),
    };
    let mut record = json!({});
    for pointer in pointers {
        let keys = pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~"));
        put(&mut record, keys);
    }
    record.to_string()
}

/// Makes the way to a text, and puts one there.
fn put(place: &mut Value, mut keys: impl Iterator<Item = String>) {
    let Some(key) = keys.next() else { return *place = "a delight".into() };
    if !place.is_object() {
        *place = json!({});
    }
    if let Value::Object(map) = place {
        let keys: Vec<String> = keys.collect();
        put(map.entry(key).or_insert(Value::Null), keys.into_iter());
    }
}

fn try_all<'a>(
    pipeline: &Loaded,
    chosen: Vec<(&'a CaseFile, usize, &'a Case)>,
) -> Result<Vec<Ran<'a>>, Exit> {
    let settings = &pipeline.settings;
    logs::init(&settings.log).map_err(|e| fail(&e, Exit::Usage))?;
    let results = results::load(settings).map_err(|e| fail(&e, Exit::Model))?;
    refuse_any(pipeline, config::check_against_model(settings, &results.facts()))?;
    let runtime = worker::runtime().map_err(|e| fail(&e, Exit::Failed))?;
    let _context = runtime.enter();
    let cases: Vec<&Case> = chosen.iter().map(|(_, _, case)| *case).collect();
    let seen = golden::run(settings, results, &cases).map_err(|e| fail(&e, Exit::Failed))?;
    let ran = chosen.into_iter().zip(seen).map(|((file, index, case), seen)| {
        let verdict = golden::judge(case, &seen);
        Ran { file, index, case, seen, verdict, updated: None }
    });
    Ok(ran.collect())
}

/// What could not be written stays failed.
fn update(files: &[CaseFile], ran: &mut [Ran<'_>]) -> Result<(), WriteError> {
    for file in files {
        let mut failed: Vec<&mut Ran<'_>> =
            ran.iter_mut().filter(|ran| ran.file.path == file.path && ran.failed()).collect();
        let seen: Vec<(usize, &Seen)> = failed.iter().map(|ran| (ran.index, &ran.seen)).collect();
        let updated = golden::update(file, &seen)?;
        for (ran, updated) in failed.iter_mut().zip(updated) {
            ran.updated = Some(updated);
        }
    }
    Ok(())
}

impl Ran<'_> {
    fn failed(&self) -> bool {
        self.verdict != Verdict::Passed && self.updated != Some(Ok(()))
    }
}

fn report(ran: &[Ran<'_>]) -> String {
    let mut out = String::new();
    for ran in ran {
        // Into memory: it cannot fail.
        let _ = tell(&mut out, ran);
    }
    let failed = ran.iter().filter(|ran| ran.failed()).count();
    let updated = ran.iter().filter(|ran| ran.updated == Some(Ok(()))).count();
    let _ = write!(out, "{} passed", ran.len() - failed - updated);
    if updated > 0 {
        let _ = write!(out, ", {updated} updated");
    }
    let _ = writeln!(out, ", {failed} failed");
    out
}

fn tell(out: &mut String, ran: &Ran<'_>) -> std::fmt::Result {
    let Ran { file, case, seen, verdict, updated, .. } = ran;
    let (verdict, word) = match (verdict, updated) {
        (Verdict::Passed, _) => {
            return writeln!(out, "{:<9}{}", style("ok").green(), golden::shown(&case.name));
        }
        (other, Some(Ok(()))) => (other, style("updated").yellow()),
        (other, _) => (other, style("FAIL").red().bold()),
    };
    let name = golden::shown(&case.name);
    writeln!(out, "{word:<9}{name} ({}:{})", file.path.display(), case.line)?;
    match verdict {
        Verdict::Failed(differences) => {
            let keys: Vec<String> = differences.iter().map(|d| d.key.to_string()).collect();
            let width = keys.iter().map(|key| console::measure_text_width(key)).max().unwrap_or_default();
            for (key, Difference { expected, was, .. }) in keys.iter().zip(differences) {
                writeln!(out, "           {key:<width$}  {} {expected}", style("expected").dim())?;
                writeln!(out, "           {:<width$}  {} {was}", "", style("was     ").dim())?;
            }
        }
        _ => {
            if updated.is_none() {
                writeln!(out, "           says nothing to expect: run with --update")?;
            }
            writeln!(out, "           {} {seen}", style("was").dim())?;
        }
    }
    match updated {
        Some(Err(why)) => writeln!(out, "           not updated: {why}; change it by hand"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_case_is_one_that_the_pipeline_can_read() {
        let pointer = |pointer: &str| Format::Json(TextSelector::Pointer(pointer.to_owned()));
        assert_eq!(delight(&Format::Text), "a delight");
        assert_eq!(delight(&pointer("/text")), r#"{"text":"a delight"}"#);
        assert_eq!(delight(&pointer("/a~1b/c")), r#"{"a/b":{"c":"a delight"}}"#);
        let parts = [
            TemplatePart::Pointer("/t/a".into()),
            TemplatePart::Literal(". ".into()),
            TemplatePart::Pointer("/t/b".into()),
        ];
        let template = Format::Json(TextSelector::Template(parts.into()));
        assert_eq!(delight(&template), r#"{"t":{"a":"a delight","b":"a delight"}}"#);
    }
}
