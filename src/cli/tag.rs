//! `tag PIPELINE < in.jsonl > out.jsonl`: the pipeline as a filter.
//!
//! Results go to standard output; dead letters to `--dead-letters`, else to standard error, where
//! the summary goes too. Dead letters do not change the exit code: a record that cannot be tagged is
//! an answer. Neither does a reader who leaves early (`| head`).
#![allow(clippy::print_stderr)]

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::Settings;
use crate::model::{self, ModelError};
use crate::stdio::{self, StdioError, Streams, Summary};
use crate::telemetry::Metrics;

/// Redrawn this often at most: the lines matter more.
const FRAMES_PER_SECOND: u8 = 5;

/// Why tagging did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The dead letters' file.
    #[error("cannot write dead letters to {path}: {source}")]
    DeadLetters {
        /// As given.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No threads for tokio.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// On the way.
    #[error(transparent)]
    Stdio(#[from] StdioError),
}

/// Tags standard input. `dead_letters` is made anew.
///
/// # Errors
/// See [`TagError`]; the exit code is then 1.
pub fn tag(settings: &Settings, dead_letters: Option<&Path>) -> Result<Summary, TagError> {
    stdio::check(settings)?;
    let file = dead_letters
        .map(|path| {
            File::create(path).map_err(|source| TagError::DeadLetters { path: path.to_owned(), source })
        })
        .transpose()?;
    let loaded = model::load(&settings.model)?;
    let runtime = super::run::runtime().map_err(TagError::Start)?;
    let _context = runtime.enter();

    let bar = progress_bar();
    let letters: Box<dyn Write> = match file {
        Some(file) => Box::new(file),
        None => Box::new(BesideBar(bar.clone())),
    };
    let streams = Streams { input: io::stdin(), output: io::stdout(), letters };
    let result = stdio::tag(settings, loaded, &Metrics::default(), streams, |summary| {
        // The length is in bytes of the file: line ends are bytes too.
        bar.set_position(summary.bytes + summary.records);
        bar.set_message(dead_letters_so_far(summary));
    });
    bar.finish_and_clear();
    let summary = result?;
    // Nobody who left reads a summary; and `2>&1 | head` would make it a failure.
    if !summary.cut_short {
        let _ = write!(io::stderr(), "{}", Told(&summary));
    }
    Ok(summary)
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
    metadata.is_file().then(|| metadata.len())
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
