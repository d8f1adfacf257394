//! What the demo shows: a line a record, a progress bar below them on a terminal, a summary.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::demo::{DEAD, DemoError, End, INPUT, OUTPUT, Seen, Tally};
use crate::telemetry::Snapshot;
use console::{Style, Term, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use prometheus::Registry;

/// Columns of a line before its text.
const BEFORE_TEXT: usize = 30;
/// Of texts where there is no terminal to fit into.
const PLAIN_WIDTH: usize = 100;

/// Where the lines go, and how.
pub(super) struct View {
    out: Box<dyn Write>,
    /// Only on a terminal. Lines go above it.
    bar: Option<ProgressBar>,
    colour: bool,
}

/// What `--keep` serves.
pub(super) struct Served<'a> {
    pub(super) bootstrap: &'a str,
    pub(super) page: Option<String>,
}

impl View {
    /// Live where standard output is a terminal and nobody asked for plain lines.
    pub(super) fn new(plain: bool, records: usize) -> Self {
        let live = !plain && Term::stdout().features().is_attended();
        let bar = live.then(|| {
            let bar = ProgressBar::with_draw_target(Some(records as u64), ProgressDrawTarget::stdout());
            match ProgressStyle::with_template("{bar:40} {pos}/{len}  {elapsed}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        // console heeds NO_COLOR, CLICOLOR and TERM=dumb.
        Self { out: Box::new(io::stdout()), bar, colour: live && console::colors_enabled() }
    }

    /// Plain lines to somewhere else.
    #[cfg(test)]
    pub(super) fn to(out: impl Write + 'static) -> Self {
        Self { out: Box::new(out), bar: None, colour: false }
    }

    pub(super) fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    pub(super) fn starting(&mut self, bootstrap: &str, model: &Path) -> Result<(), DemoError> {
        self.say(&format!(
            "An embedded Kafka broker at {bootstrap}; loading the model from {}",
            model.display()
        ))
    }

    pub(super) fn ready(&mut self, now: &Snapshot) -> Result<(), DemoError> {
        if let Some(bar) = &self.bar {
            bar.reset_elapsed(); // The model's loading is not the texts' time.
        }
        self.say(&format!("{} is ready: {INPUT} -> {OUTPUT}, {DEAD}\n", model(now)))
    }

    /// What became of one record.
    pub(super) fn line(&mut self, seen: &Seen) -> Result<(), DemoError> {
        let (head, style) = match &seen.end {
            End::Tagged { label, score } => (format!("{label:<10} {score:>5.3}"), label_style(label)),
            End::Passed => ("passed".to_owned(), Style::new().blue()),
            End::Dead { reason } => (reason.clone(), Style::new().yellow()),
        };
        let latency = seen.latency.map_or_else(String::new, |latency| format!("{} ms", latency.as_millis()));
        let width = match self.bar {
            Some(_) => usize::from(Term::stdout().size().1).saturating_sub(1),
            None => BEFORE_TEXT + PLAIN_WIDTH,
        };
        let head = style.force_styling(self.colour).apply_to(format!("{head:<20}"));
        let text = printable(&seen.text);
        let text = truncate_str(&text, width.saturating_sub(BEFORE_TEXT), "…");
        self.say(&format!("{head} {latency:>8} {text}"))
    }

    /// So many came out.
    pub(super) fn progress(&self, out: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(out as u64);
        }
    }

    pub(super) fn summary(
        &mut self,
        tally: &Tally,
        took: Duration,
        registry: &Registry,
        now: &Snapshot,
    ) -> Result<(), DemoError> {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        let text = summary(tally, took, registry, now);
        self.say(&text)
    }

    pub(super) fn serving(&mut self, served: &Served<'_>) -> Result<(), DemoError> {
        let Served { bootstrap, page } = served;
        let page =
            page.as_ref().map_or_else(String::new, |url| format!("  page     {url} (and {url}metrics)\n"));
        self.say(&format!(
            "\nServing until Ctrl-C.\n  broker   {bootstrap}\n  topics   {INPUT} -> {OUTPUT}, {DEAD}\n{page}\
             Produce to it with one of:\n\
             \x20 echo '{{\"text\": \"What a lovely day.\"}}' | kcat -P -b {bootstrap} -t {INPUT}\n\
             \x20 kafka-console-producer.sh --bootstrap-server {bootstrap} --topic {INPUT}\n"
        ))
    }

    fn say(&mut self, text: &str) -> Result<(), DemoError> {
        let written = match &self.bar {
            Some(bar) if !bar.is_finished() => {
                bar.println(text);
                Ok(())
            }
            _ => writeln!(self.out, "{text}"),
        };
        written.map_err(|source| DemoError::Io { what: "cannot write to standard output", source })
    }
}

fn label_style(label: &str) -> Style {
    match label.to_ascii_lowercase().as_str() {
        "positive" => Style::new().green(),
        "negative" => Style::new().red(),
        _ => Style::new().cyan(),
    }
}

/// A stranger's text, fit for a terminal: no line breaks, no escape sequences.
fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

fn model(now: &Snapshot) -> String {
    match &now.model {
        Some(model) => format!(
            "{} ({}, {} on {})",
            model.name,
            model.digest.get(..19).unwrap_or(&model.digest),
            model.precision,
            model.provider
        ),
        None => "no model".to_owned(),
    }
}

fn summary(tally: &Tally, took: Duration, registry: &Registry, now: &Snapshot) -> String {
    let per_second = tally.out() as f64 / took.as_secs_f64().max(1e-3);
    let counts = |of: &std::collections::BTreeMap<String, usize>| {
        of.iter().map(|(what, n)| format!("{what} {n}")).collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![
        String::new(),
        format!(
            "records      {} of {} in {:.1} s, {per_second:.0} records/s (as fast as they were fed)",
            tally.out(),
            tally.all(),
            took.as_secs_f64()
        ),
        format!("labels       {}", counts(&tally.labels)),
        format!("dead letters {} ({})", tally.reasons.values().sum::<usize>(), counts(&tally.reasons)),
        format!("passed       {} (no value: tombstones)", tally.passed),
    ];
    if tally.reviews > 0 {
        lines.push(format!(
            "as meant     {} of {} reviews got their author's label",
            tally.agreed, tally.reviews
        ));
    }
    if let Some(latency) = tally.latency() {
        let [p50, p95, p99] = [latency.p50, latency.p95, latency.p99].map(|d| d.as_millis());
        lines.push(format!(
            "latency      p50 {p50} ms, p95 {p95} ms, p99 {p99} ms, from producer to consumer"
        ));
    }
    let (real, padded) = (tokens(registry, "real"), tokens(registry, "padded"));
    lines.push(format!("tokens       {real:.0} real, {padded:.0} computed with padding"));
    lines.push(format!("model        {}", model(now)));
    if tally.repeated > 0 {
        lines.push(format!("repeated     {} (at-least-once allows it)", tally.repeated));
    }
    if !tally.surprises.is_empty() {
        lines.push(format!(
            "unexpected   {} records did not end as they were to: {:?}",
            tally.surprises.len(),
            tally.surprises
        ));
    }
    lines.join("\n")
}

/// From the worker's own metrics: what `/metrics` would say.
fn tokens(registry: &Registry, kind: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == "squeezeflow_tokens_total");
    let series = family.and_then(|family| {
        let of_kind = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|l| l.value() == kind);
        family.get_metric().iter().find(of_kind)
    });
    series.map_or(0.0, |metric| metric.get_counter().get_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_moves_the_cursor() {
        assert_eq!(printable("a\u{1b}[31m\nb\r\u{9b}c"), "a [31m b  c");
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_are_clipped_by_characters_of_any_width() {
        let text = "映画".repeat(100);
        let clipped = truncate_str(&text, 21, "…");
        assert!(clipped.ends_with('…') && console::measure_text_width(&clipped) <= 21, "{clipped}");
    }
}
