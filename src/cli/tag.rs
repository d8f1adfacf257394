//! `tag PIPELINE < in.jsonl > out.jsonl`: the pipeline as a filter.
//!
//! Results go to standard output; dead letters to `--dead-letters`, else to standard error, where
//! the summary goes too. Dead letters do not change the exit code: a record that cannot be tagged is
//! an answer. Neither does a reader who leaves early (`| head`).

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Exit, PipelineArguments, fail, refuse_any, run as worker};
use crate::config::{Loaded, Settings, check_against_model};
use crate::results::{self, Results};
use crate::stdio::{self, StdioError, Streams, Summary};
use crate::telemetry::{Metrics, logs};

/// Redrawn this often at most: the lines matter more.
const FRAMES_PER_SECOND: u8 = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
    /// Write what cannot be tagged to this file, one JSON object a line, instead of to standard error.
    /// The file is made anew.
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    dead_letters: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match arguments.pipeline.load().and_then(|pipeline| start(&pipeline, arguments)) {
        Ok(()) => Exit::Ok,
        Err(exit) => exit,
    }
}

fn start(pipeline: &Loaded, arguments: &Arguments) -> Result<(), Exit> {
    let settings = &pipeline.settings;
    stdio::check(settings).map_err(|e| fail(&e, Exit::Usage))?;
    logs::init(&settings.log).map_err(|e| fail(&e, Exit::Usage))?;
    let file = arguments.dead_letters.as_ref().map(File::create).transpose();
    let file = file.map_err(|e| fail(&StdioError::Letters(e), Exit::Failed))?;
    let results = results::load(settings).map_err(|e| fail(&e, Exit::Model))?;
    refuse_any(pipeline, check_against_model(settings, &results.facts()))?;
    let summary = tag(settings, results, file).map_err(|e| fail(&e, Exit::Failed))?;
    // Nobody who left reads a summary.
    if !summary.cut_short {
        let _ = write!(io::stderr(), "{}", Told(&summary));
    }
    Ok(())
}

fn tag(settings: &Settings, results: Results, dead_letters: Option<File>) -> Result<Summary, StdioError> {
    let runtime = worker::runtime().map_err(StdioError::Thread)?;
    let _context = runtime.enter();
    let bar = progress_bar();
    let letters: Box<dyn Write> = match dead_letters {
        Some(file) => Box::new(file),
        None => Box::new(BesideBar(bar.clone())),
    };
    let streams = Streams { input: io::stdin(), output: io::stdout(), letters };
    let result = stdio::tag(settings, results, &Metrics::default(), streams, |summary| {
        if bar.is_hidden() {
            return;
        }
        // The length is that of the file: line ends are bytes too.
        bar.set_position(summary.bytes + summary.records);
        bar.set_message(dead_letters_so_far(summary));
    });
    bar.finish_and_clear();
    result
}

/// On a terminal that does not show the lines themselves. Of a file we know how much there is.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() || io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let (length, template) = match stdin_length() {
        Some(length) => (Some(length), "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}"),
        None => (None, "{spinner} {bytes} {bytes_per_sec} {elapsed} {msg}"),
    };
    let target = ProgressDrawTarget::stderr_with_hz(FRAMES_PER_SECOND);
    let bar = ProgressBar::with_draw_target(length, target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Bytes of standard input, if it is a file.
fn stdin_length() -> Option<u64> {
    use std::os::fd::AsFd;
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let metadata = stdin.metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
}

fn dead_letters_so_far(summary: &Summary) -> String {
    match summary.dead.values().sum::<u64>() {
        0 => String::new(),
        n => format!("{n} dead letters"),
    }
}

/// Standard error, with the bar out of the way while lines are written.
struct BesideBar(ProgressBar);

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The summary, for people.
struct Told<'a>(&'a Summary);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { records, tagged, passed, dead, tokens, took, .. } = self.0;
        let seconds = took.max(&Duration::from_millis(1)).as_secs_f64();
        let rate = *records as f64 / seconds;
        writeln!(
            f,
            "{records} records in {seconds:.1} s ({rate:.0} records/s): {tagged} tagged ({tokens} tokens), \
             {passed} passed through, {} dead letters",
            dead.values().sum::<u64>()
        )?;
        dead.iter().try_for_each(|(reason, count)| writeln!(f, "  {count:>8} {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Reason;

    #[test]
    fn a_summary_counts_everything() {
        let summary = Summary {
            records: 1000,
            tagged: 990,
            passed: 3,
            dead: [(Reason::TextEmpty, 2), (Reason::InvalidJson, 5)].into(),
            tokens: 12_345,
            took: Duration::from_secs(4),
            ..Summary::default()
        };
        assert_eq!(
            Told(&summary).to_string(),
            "1000 records in 4.0 s (250 records/s): 990 tagged (12345 tokens), 3 passed through, 7 dead letters\n\
             \x20        5 invalid_json\n         2 text_empty\n"
        );
        assert!(Told(&Summary::default()).to_string().starts_with("0 records in 0.0 s (0 records/s)"));
    }
}
