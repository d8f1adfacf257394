//! `tune PIPELINE`: the settings that serve it best on this machine, measured with its own texts.

use std::path::PathBuf;
use std::time::Duration;

use super::progress::Bar;
use super::{Exit, PipelineArguments, fail, print, run as worker};
use crate::config::{self, Overrides, replace};
use crate::telemetry::logs;
use crate::tune::{self, Choice, Goal, Job, Progress, Report, TuneError};

mod report;

/// Shorter than that nothing is told apart.
const SHORTEST: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
    /// Texts to measure with: records as the input has them, one a line; `-` is standard input. Else the
    /// newest records of the input topics are read, without joining the group and without a commit.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    texts: Option<PathBuf>,
    /// 99 % of the texts are to have their answer within this (queue and inference: from the end of
    /// tokenizing on). Without it the most throughput is looked for.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    p99: Option<Duration>,
    /// Records that come in a second while that is looked at [default: 70 % of what a setting can do].
    #[arg(long, value_name = "RECORDS_PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// How long to measure, about.
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = long_enough)]
    time: Duration,
    /// Write the settings into the pipeline file. Its comments and everything else stay as they are.
    #[arg(long)]
    write: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum NotADuration {
    #[error("not a duration of a millisecond or more, such as 200ms, 1.5s or 2m")]
    Form,
    #[error("too short: at least a second")]
    Short,
}

fn duration(text: &str) -> Result<Duration, NotADuration> {
    config::duration(text).filter(|d| *d >= Duration::from_millis(1)).ok_or(NotADuration::Form)
}

fn long_enough(text: &str) -> Result<Duration, NotADuration> {
    duration(text).and_then(|time| if time >= SHORTEST { Ok(time) } else { Err(NotADuration::Short) })
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    start(arguments).unwrap_or_else(|exit| exit)
}

fn start(arguments: &Arguments) -> Result<Exit, Exit> {
    let pipeline = arguments.pipeline.load()?;
    logs::init(&pipeline.settings.log).map_err(|e| fail(&e, Exit::Usage))?;
    tune::check(&pipeline).map_err(|e| told(&e))?;
    let file = &arguments.pipeline.pipeline;
    let cannot_read = |e| fail(&TuneError::File(file.clone(), e), Exit::Usage);
    let text = std::fs::read_to_string(file).map_err(cannot_read)?;
    // Now, and not when all is measured.
    if arguments.write && tune::rewrite(&text, &tune::keys(&pipeline.settings)).is_none() {
        return Err(told(&TuneError::NotWritable(file.clone())));
    }
    let overrides = Overrides::from_process(arguments.pipeline.overrides.set.clone());
    let goal = Goal { p99: arguments.p99, rate: arguments.rate.map(f64::from) };
    let job = Job {
        file,
        overrides: &overrides,
        pipeline: &pipeline,
        texts: arguments.texts.as_deref(),
        goal,
        time: arguments.time,
    };
    let runtime = worker::runtime().map_err(|e| told(&TuneError::Thread(e)))?;
    let context = runtime.enter();
    let bar = Bar::new();
    let report = tune::tune(&job, &mut |progress| match progress {
        Progress::Begin(stage, of) => bar.begin(stage, of),
        Progress::Step => bar.done(1),
    });
    bar.clear();
    drop(context);
    let report = report.map_err(|e| told(&e))?;
    let written = arguments.write && write(file, &text, &report)?;
    let printed = print(&match arguments.json {
        true => report::json(&report, &goal, written),
        false => report::table(&report, &goal, written),
    });
    match report.choice {
        _ if printed != Exit::Ok => Ok(printed),
        Choice::Best(_) => Ok(Exit::Ok),
        Choice::Missed(_) => Ok(Exit::Failed),
    }
}

/// `true`: there was something to write. A goal that is missed is no reason to change anything.
fn write(file: &std::path::Path, text: &str, report: &Report) -> Result<bool, Exit> {
    let changes = report.changes();
    if changes.is_empty() {
        return Ok(false);
    }
    let not_writable = || told(&TuneError::NotWritable(file.to_owned()));
    let new = tune::rewrite(text, &changes).ok_or_else(not_writable)?;
    replace(file, text, &new).map_err(|e| told(&TuneError::Write(e)))?;
    Ok(true)
}

fn told(error: &TuneError) -> Exit {
    let exit = match error {
        TuneError::Overridden { .. }
        | TuneError::NoSource
        | TuneError::File(..)
        | TuneError::Line(..)
        | TuneError::NoText { .. }
        | TuneError::Unlike { .. }
        | TuneError::NotWritable(_) => Exit::Usage,
        TuneError::Model(_) | TuneError::Fallback { .. } => Exit::Model,
        TuneError::Topic(_)
        | TuneError::Pipeline(_)
        | TuneError::Thread(_)
        | TuneError::TooSlow
        | TuneError::TooFew
        | TuneError::Write(_) => Exit::Failed,
    };
    fail(error, exit)
}
