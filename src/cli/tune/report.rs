//! What `tune` found: a table for people, JSON for scripts. No text of a record is in either.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::Receipt;
use crate::tune::{Candidate, Change, Choice, Figure, Goal, LOAD, Measured, Report};

/// Rounds that lie further apart than this tell little.
const NOISY: f64 = 0.15;
/// Fewer texts are a poor picture of a stream.
const FEW: usize = 100;

/// A table of what took turns, and what to do about it.
pub(super) fn table(report: &Report, goal: &Goal, written: bool) -> String {
    let mut out = String::new();
    // Into memory: it cannot fail.
    let _ = tell(&mut out, report, goal, written);
    out
}

fn tell(out: &mut String, report: &Report, goal: &Goal, written: bool) -> std::fmt::Result {
    let Report { machine, texts, .. } = report;
    writeln!(out, "machine  {}, {} cores, {}", machine.processor, machine.cores, machine.instructions)?;
    models(out, report)?;
    writeln!(
        out,
        "texts    {} of {} records of {}: {:.1} tokens in the mean, {} in the median, 95 % at most {}, all at most {}",
        texts.texts, texts.records, texts.from, texts.mean, texts.median, texts.p95, texts.most
    )?;
    if texts.texts < FEW {
        writeln!(out, "         so few texts say little about a stream")?;
    }
    let load = match goal.rate {
        Some(rate) => format!("at {rate} records/s"),
        None => format!("at {:.0} % of the setting's texts/s", LOAD * 100.0),
    };
    let wanted = match goal.p99 {
        Some(p99) => format!("p99 of queue and inference within {p99:?}, {load}"),
        None => format!("the most texts/s; p50 and p99 of queue and inference {load}"),
    };
    writeln!(out, "goal     {wanted}\n")?;
    writeln!(out, "sessions  threads  tokens  texts      age   texts/s    ±  tokens/s       p50       p99")?;
    let (best, missed) = match report.choice {
        Choice::Best(i) => (i, false),
        Choice::Missed(i) => (i, true),
    };
    for (i, measured) in report.finalists().iter().enumerate() {
        let mark = match (i == best, measured.candidate == report.now) {
            (true, true) => format!("  ◄ {}, as now", if missed { "nearest" } else { "chosen" }),
            (true, false) => format!("  ◄ {}", if missed { "nearest" } else { "chosen" }),
            (false, true) => "  now".to_owned(),
            (false, false) => String::new(),
        };
        writeln!(out, "{}{mark}", row(measured))?;
    }
    let others = report.measured.len() - report.finalists;
    if others > 0 {
        writeln!(out, "{others} others were looked at once and did not come near (`--json` has them).")?;
    }
    if report.too_slow > 0 {
        writeln!(
            out,
            "{} did not answer enough batches in their time (`--for` gives more).",
            report.too_slow
        )?;
    }
    if report.finalists().iter().any(|m| share(m.texts_per_second) > NOISY) {
        writeln!(out, "The rounds lie far apart: is the machine busy with something else?")?;
    }
    writeln!(out)?;
    if missed {
        let nearest = report.best().and_then(|m| m.p99).map_or("none".to_owned(), |p99| time(p99.median));
        return writeln!(
            out,
            "No setting keeps the goal: the best p99 is {nearest}. Nothing was written. A wider goal, a lower rate, shorter texts (model.max_length), a smaller model or more cores may help."
        );
    }
    let changes = report.changes();
    if changes.is_empty() {
        return writeln!(out, "The pipeline is set best as it is.");
    }
    let verb = if written { "Written:" } else { "For the pipeline file (or run it with `--write`):" };
    writeln!(out, "{verb}\n\n{}", yaml(&changes))
}

/// Each package once, with the results that it answers for where there are several.
fn models(out: &mut String, report: &Report) -> std::fmt::Result {
    let mut packages: Vec<(&Receipt, Vec<&str>)> = Vec::new();
    for (name, receipt) in &report.results {
        let name = name.as_deref();
        match packages.iter_mut().find(|(known, _)| known.digest == receipt.digest) {
            Some((_, names)) => names.extend(name),
            None => packages.push((receipt, name.into_iter().collect())),
        }
    }
    for (Receipt { model, precision, provider, .. }, names) in packages {
        let of = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        writeln!(out, "model    {model} ({precision}) on {provider}{of}")?;
    }
    match report.models {
        _ if report.results.len() < 2 => Ok(()),
        1 => writeln!(out, "         one run gives all results: they have its sessions in common"),
        models => writeln!(out, "         {models} run side by side, each with such sessions"),
    }
}

fn row(m: &Measured) -> String {
    let c = &m.candidate;
    let moment = |figure: Option<Figure>| figure.map_or("–".to_owned(), |f| time(f.median));
    format!(
        "{:>8}  {:>7}  {:>6}  {:>5}  {:>7}  {:>8.0}  {:>2.0}%  {:>8.0}  {:>8}  {:>8}",
        c.sessions,
        c.threads,
        c.max_tokens,
        c.max_size,
        format!("{:?}", c.max_age),
        m.texts_per_second.median,
        share(m.texts_per_second) * 100.0,
        m.tokens_per_second.median,
        moment(m.p50),
        moment(m.p99)
    )
}

fn share(figure: Figure) -> f64 {
    if figure.median > 0.0 { figure.spread / figure.median } else { 0.0 }
}

/// Three digits of it.
fn time(seconds: f64) -> String {
    let millis = seconds * 1e3;
    match millis {
        ..10.0 => format!("{millis:.2} ms"),
        ..100.0 => format!("{millis:.1} ms"),
        ..10_000.0 => format!("{millis:.0} ms"),
        _ => format!("{seconds:.1} s"),
    }
}

/// As it stands in a pipeline file.
fn yaml(changes: &[Change]) -> String {
    let (mut out, mut open): (_, &[String]) = (String::new(), &[]);
    for Change { at, value } in changes {
        let Some((key, sections)) = at.split_last() else { continue };
        let same = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
        for (depth, section) in sections.iter().enumerate().skip(same) {
            let _ = writeln!(out, "{}{}:", "  ".repeat(depth), name(section));
        }
        let _ = writeln!(out, "{}{}: {value}", "  ".repeat(sections.len()), name(key));
        open = sections;
    }
    out
}

/// A key; in quotes, where YAML might see more than that in it.
fn name(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(plain);
    if is_plain { key.to_owned() } else { Value::from(key).to_string() }
}

/// Stable: scripts read it. Members may grow in number, none is renamed.
pub(super) fn json(report: &Report, goal: &Goal, written: bool) -> String {
    let Report { machine, texts, .. } = report;
    let model = |(result, receipt): &(Option<String>, Receipt)| {
        json!({
            "name": receipt.model, "digest": receipt.digest, "precision": receipt.precision,
            "provider": receipt.provider, "result": result,
        })
    };
    let millis = |d: Duration| d.as_secs_f64() * 1e3;
    let chosen = match report.choice {
        Choice::Best(_) => report.best().map(|m| settings(&m.candidate)),
        Choice::Missed(_) => None,
    };
    let not_read: serde_json::Map<String, Value> =
        texts.not_read.iter().map(|(reason, n)| ((*reason).to_owned(), (*n).into())).collect();
    let changes: serde_json::Map<String, Value> =
        report.changes().into_iter().map(|change| (change.path(), change.value.into())).collect();
    let measured = report.measured.iter().enumerate().map(|(i, m)| {
        json!({
            "settings": settings(&m.candidate),
            "now": m.candidate == report.now,
            "finalist": i < report.finalists,
            "rounds": m.rounds,
            "texts_per_second": figure(m.texts_per_second, 1.0),
            "tokens_per_second": figure(m.tokens_per_second, 1.0),
            "p50_ms": m.p50.map(|p| figure(p, 1e3)),
            "p99_ms": m.p99.map(|p| figure(p, 1e3)),
        })
    });
    let report = json!({
        "machine": {
            "processor": machine.processor, "cores": machine.cores, "instructions": machine.instructions,
        },
        // The first result's; those of all are below.
        "model": report.results.first().map(model),
        "models": report.results.iter().map(model).collect::<Vec<_>>(),
        "side_by_side": report.models,
        "texts": {
            "from": texts.from, "records": texts.records, "texts": texts.texts, "not_read": not_read,
            "tokens": {
                "mean": texts.mean, "median": texts.median, "p95": texts.p95, "max": texts.most,
            },
        },
        "goal": { "p99_ms": goal.p99.map(millis), "records_per_second": goal.rate, "load": LOAD },
        "measured": measured.collect::<Vec<_>>(),
        "too_slow": report.too_slow,
        "nearest": matches!(report.choice, Choice::Missed(_)).then(|| report.best().map(|m| settings(&m.candidate))),
        "chosen": chosen,
        "changes": changes,
        "written": written,
    });
    format!("{report:#}\n")
}

fn figure(figure: Figure, times: f64) -> Value {
    json!({ "median": figure.median * times, "spread": figure.spread * times })
}

fn settings(candidate: &Candidate) -> Value {
    let value = |text: String| text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from);
    candidate.settings().into_iter().map(|((s, k), text)| (format!("{s}.{k}"), value(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_names_each_section_once() {
        let change = |at: &[&str], value: &str| Change {
            at: at.iter().map(|key| (*key).to_owned()).collect(),
            value: value.to_owned(),
        };
        let changes = [
            change(&["results", "intent", "model", "sessions"], "2"),
            change(&["results", "intent", "model", "threads"], "1"),
            change(&["results", "odd: one", "model", "sessions"], "2"),
            change(&["batch", "max_batch_age"], "20ms"),
        ];
        let expected = "results:\n  intent:\n    model:\n      sessions: 2\n      threads: 1\n  \"odd: one\":\n    model:\n      sessions: 2\nbatch:\n  max_batch_age: 20ms\n";
        assert_eq!(yaml(&changes), expected);
        assert_eq!(yaml(&[]), "");
    }
}
