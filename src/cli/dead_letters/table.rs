//! Dead letters for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::visible;
use crate::letters::{Left, Report, Row, Sample, Samples, Survey, rfc3339};

/// Topics that one line names at most.
const MAX_NAMED: usize = 5;

/// What `list` found.
pub(super) fn survey(survey: &Survey, payload: bool) -> String {
    let total = survey.total();
    let mut out = format!("{}: {}", heading(survey), letters(total.letters));
    if total.replayed() > 0 {
        let _ = write!(out, ", {} of them replayed", total.replayed());
    }
    out.push('\n');
    let time = |time: Option<i64>| time.map_or_else(|| "-".to_owned(), rfc3339);
    let rows = survey.rows.iter().map(|(row, count)| {
        let numbers = [count.letters.to_string(), count.replayed().to_string()];
        let [letters, replayed] = numbers;
        [row.topic.clone(), row.reason.clone(), letters, replayed, time(count.first), time(count.last)]
    });
    let head = ["topic", "reason", "letters", "replayed", "first", "last"].map(str::to_owned);
    let several = topics(survey).len() > 1;
    out += &table([head].into_iter().chain(rows).collect(), several, &[2, 3]);
    let mut notes = String::new();
    if total.cut() > 0 {
        let _ = writeln!(
            notes,
            "{} cut to fit the topic: the record is not whole, and is never replayed",
            were(total.cut())
        );
    }
    notes += &others(survey);
    if !notes.is_empty() {
        out = out + "\n" + &notes;
    }
    for (reason, samples) in &survey.samples {
        let Samples { newest, letters, left_out } = samples;
        let _ = write!(out, "\n{reason}, the newest {} of {letters}", newest.len());
        if *left_out > 0 {
            let _ = write!(out, " ({left_out} more would take too much memory)");
        }
        out += ":\n";
        newest.iter().for_each(|s| out += &sample(&survey.topic, s, payload));
    }
    out
}

/// What a replay would do.
pub(super) fn plan(report: &Report) -> String {
    let survey = &report.survey;
    let (all, open) = (survey.total().letters, survey.total().open());
    let mut out = format!("{}: {}, of which {open} would be replayed", heading(survey), letters(all));
    out += "; nothing was sent (dry run)\n";
    let rows = survey.rows.iter().map(|(row, count)| {
        let numbers = [count.open(), count.letters - count.open()].map(|n| n.to_string());
        let [go, stay] = numbers;
        [row.reason.clone(), row.topic.clone(), go, stay]
    });
    let head = ["reason", "topic", "would go", "would stay"].map(str::to_owned);
    out += &table([head].into_iter().chain(rows).collect(), true, &[2, 3]);
    out + &left_behind(report, "would stay")
}

/// What a replay did.
pub(super) fn replayed(report: &Report) -> String {
    let mut out = format!("{} replayed\n", were(report.replayed));
    let rows = report.sent.iter().map(|(row, n)| [row.reason.clone(), row.topic.clone(), n.to_string()]);
    let head = ["reason", "topic", "sent"].map(str::to_owned);
    out += &table([head].into_iter().chain(rows).collect(), true, &[2]);
    out + &left_behind(report, "stay")
}

/// Why some are not sent.
fn left_behind(report: &Report, stay: &str) -> String {
    let mut whys: BTreeMap<&Left, (u64, Vec<&str>)> = BTreeMap::new();
    for (Row { topic, .. }, count) in &report.survey.rows {
        for (why, n) in &count.left {
            let (sum, topics) = whys.entry(why).or_default();
            *sum += n;
            if !topics.contains(&topic.as_str()) {
                topics.push(topic);
            }
        }
    }
    let mut out = String::new();
    for (why, (n, topics)) in &whys {
        let _ = write!(out, "  {n:>8} {why}");
        if matches!(why, Left::NotRead | Left::NoTopic | Left::NoPartition | Left::TooOld(_)) {
            let named: Vec<String> = topics.iter().take(MAX_NAMED).map(|t| format!("`{t}`")).collect();
            let more = if topics.len() > MAX_NAMED { ", …" } else { "" };
            let _ = write!(out, ": {}{more}", named.join(", "));
        }
        out.push('\n');
    }
    if report.too_large > 0 {
        let places = report.too_large_at.iter().map(|(p, o)| format!("{p}/{}", o.raw()));
        let places: Vec<String> = places.collect();
        let more = if report.too_large as usize > places.len() { ", …" } else { "" };
        let _ = write!(out, "  {:>8} {}", report.too_large, Left::TooLarge);
        let _ = writeln!(out, " (at {}{more})", places.join(", "));
    }
    if !out.is_empty() {
        out = format!("\n{stay} where they are:\n{out}");
    }
    if report.limits_unknown {
        out += "\nnot every topic tells its settings (this user may not DescribeConfigs): whether it would \
                refuse records, or delete old ones at once, was not looked at\n";
    }
    let others = others(&report.survey);
    if others.is_empty() { out } else { out + "\n" + &others }
}

fn sample(topic: &str, sample: &Sample, payload: bool) -> String {
    let letter = &sample.letter;
    let original = &letter.original;
    let time = |time: Option<i64>| time.map_or_else(|| "no time".to_owned(), rfc3339);
    let mut out = String::new();
    let mut line = |name: &str, what: String| {
        let _ = writeln!(out, "    {name:<8} {what}");
    };
    let written = time(letter.written.0);
    let flags = [(sample.replayed, ", replayed"), (letter.cut, ", cut")];
    let flags: String = flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).collect();
    line(
        "source",
        format!(
            "{}/{}/{}, {}",
            original.topic,
            original.partition,
            original.offset.raw(),
            time(original.timestamp.0)
        ),
    );
    line("stage", format!("{} (squeezeflow {})", letter.stage, visible::line(&letter.version)));
    line("message", visible::line(&letter.message));
    let told = |size: Option<usize>, bytes: Option<&[u8]>| match (size, bytes) {
        (None, _) => "null".to_owned(),
        (Some(size), Some(bytes)) if payload => format!("{size} bytes: {}", visible::bytes(bytes)),
        (Some(size), _) => format!("{size} bytes"),
    };
    line("key", told(sample.key_bytes, original.key.as_deref()));
    line("value", told(sample.value_bytes, original.value.as_deref()));
    let headers = original.headers.iter().map(|header| {
        let name = visible::bytes(&header.name);
        match &header.value {
            _ if !payload => name,
            None => format!("{name}=null"),
            Some(value) => format!("{name}={}", visible::bytes(value)),
        }
    });
    let more = Some(sample.more_headers).filter(|more| *more > 0).map(|more| format!("and {more} more"));
    let headers: Vec<String> = headers.chain(more).collect();
    line("headers", if headers.is_empty() { "none".to_owned() } else { headers.join(", ") });
    format!("  {topic}/{}/{}, {written}{flags}\n{out}", letter.partition, letter.offset.raw())
}

fn heading(survey: &Survey) -> String {
    let partitions = if survey.partitions == 1 { "partition" } else { "partitions" };
    let mut heading = format!("{}, {} {partitions}", survey.topic, survey.partitions);
    if let [topic] = topics(survey)[..] {
        let _ = write!(heading, ", from {topic}");
    }
    heading
}

fn topics(survey: &Survey) -> Vec<&str> {
    let mut topics: Vec<&str> = survey.rows.keys().map(|row| row.topic.as_str()).collect();
    topics.dedup();
    topics
}

fn letters(n: u64) -> String {
    if n == 1 { "1 dead letter".to_owned() } else { format!("{n} dead letters") }
}

fn were(n: u64) -> String {
    if n == 1 { "1 letter was".to_owned() } else { format!("{n} letters were") }
}

fn others(survey: &Survey) -> String {
    match survey.others {
        0 => String::new(),
        1 => "1 record in the topic is not a dead letter; it is left alone\n".to_owned(),
        n => format!("{n} records in the topic are not dead letters; they are left alone\n"),
    }
}

/// Columns as wide as their widest word; those in `right` are numbers. Without rows, nothing;
/// `first: false` leaves the first column out.
fn table<const N: usize>(rows: Vec<[String; N]>, first: bool, right: &[usize]) -> String {
    if rows.len() < 2 {
        return String::new();
    }
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = "\n".to_owned();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().skip(usize::from(!first));
        let cells = cells.map(|(i, (cell, width))| match right.contains(&i) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
