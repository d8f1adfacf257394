//! One line for each scenario: its numbers and what came of it. All lines once more at the end.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::scenario::Promise;
use crate::support::check::Verdict;
use crate::support::kafka::aloud;
use crate::support::process::last_words;

/// With the full numbers (`CHAOS=full`), or small enough for every run of the tests?
pub fn is_full() -> bool {
    std::env::var("CHAOS").as_deref() == Ok("full")
}

/// A number of a scenario: in short, and in full.
pub fn size(short: usize, full: usize) -> usize {
    if is_full() { full } else { short }
}

/// The line in the making. Dropped without a verdict, it says that the scenario failed.
pub struct Report {
    name: String,
    numbers: Vec<String>,
    started: Instant,
    /// Counts, and whether they are what was promised.
    counts: Option<(String, bool)>,
}

impl Report {
    pub fn new(name: &str, promise: Promise) -> Self {
        let weaker = if promise == Promise::AtLeastOnce { " (at least once)" } else { "" };
        Self { name: format!("{name}{weaker}"), numbers: Vec::new(), started: Instant::now(), counts: None }
    }

    /// One more number to state.
    pub fn state(&mut self, number: impl Into<String>) {
        self.numbers.push(number.into());
    }

    pub fn judge(&mut self, verdict: &Verdict, kept: bool) {
        let Verdict { lost, duplicates, aborted, disorder, .. } = verdict;
        let counts = [lost.len(), duplicates.len(), aborted.len(), disorder.len()];
        let [lost, duplicate, aborted, disorder] = counts;
        let words =
            format!("{lost} lost, {duplicate} duplicate, {aborted} aborted reads, {disorder} out of order");
        let kept = kept && verdict.altered.is_empty() && verdict.phantoms.is_empty();
        self.counts = Some((words, kept));
    }

    fn line(&self, time: Duration) -> String {
        let (counts, kept) = match &self.counts {
            Some((counts, kept)) => (counts.as_str(), *kept && !std::thread::panicking()),
            None => ("no verdict", false),
        };
        let (name, numbers) = (&self.name, self.numbers.join(", "));
        format!(
            "chaos {} | {name} | {numbers} | {counts} | {:.0} s",
            if kept { "ok    " } else { "FAILED" },
            time.as_secs_f64()
        )
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let line = self.line(self.started.elapsed());
        // libtest has begun a line of its own.
        aloud(&format!("\n{line}"));
        let mut lines = LINES.lock().unwrap();
        if lines.is_empty() {
            last_words(|| {
                let mut lines = LINES.lock().unwrap().clone();
                lines.sort_by_key(|line| {
                    line.split('|').nth(1).and_then(|name| name.trim().split(' ').next()?.parse::<u32>().ok())
                });
                format!("\n{}", lines.join("\n"))
            });
        }
        lines.push(line);
    }
}
