//! Every kind of record through the real stages and a real model, without a broker; and the table in
//! docs/RECORDS.md that says what becomes of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use squeezeflow::config::{Overrides, load};
use squeezeflow::pipeline::Stages;
use squeezeflow::record::{
    Admission, Emit, Epoch, Header, Offset, Outcome, PartitionId, PassThrough, Reason, Record, Ticket,
    Timestamp, Trace, Tracked,
};
use squeezeflow::telemetry::Telemetry;

use crate::support::client::Message;
use crate::support::here;
use crate::support::zoo::{Came, Ends, Kind, Often, Zoo, judge};

/// How many records of each kind; of large ones two.
const EACH: usize = 6;

fn record(number: usize, message: &Message) -> Record {
    let header = |(name, value): &(String, Option<Vec<u8>>)| Header {
        name: name.clone().into(),
        value: value.clone(),
    };
    Record {
        topic: "zoo".into(),
        partition: 0,
        offset: Offset::new(number as i64),
        key: message.key.clone(),
        value: message.value.clone(),
        headers: message.headers.iter().map(header).collect(),
        timestamp: Timestamp(message.timestamp.filter(|t| *t >= 0)),
    }
}

fn came(outcome: Outcome) -> Came {
    let came = |ends, record: Record, value, timestamp: Timestamp, message| {
        let headers = record.headers.into_iter().map(|h| (String::from_utf8(h.name).unwrap(), h.value));
        Came { ends, key: record.key, value, headers: headers.collect(), timestamp: timestamp.0, message }
    };
    match outcome {
        Outcome::Enriched { record, emit: Emit { value, headers, timestamp, .. } } => {
            assert!(headers.is_empty(), "nothing was asked for in headers");
            came(Ends::Enriched, record, value, timestamp, String::new())
        }
        Outcome::PassThrough { mut record, why } => {
            let (value, timestamp) = (record.value.take(), record.timestamp);
            came(Ends::Passed(why.as_str()), record, value, timestamp, String::new())
        }
        Outcome::DeadLetter { mut record, letter } => {
            let (value, timestamp) = (record.value.take(), record.timestamp);
            came(Ends::Dead(letter.reason.as_str()), record, value, timestamp, letter.message)
        }
    }
}

fn every_kind_ends_as_it_must(zoo: Zoo) {
    let dir = tempfile::tempdir().unwrap();
    let mut pipeline =
        serde_json::json!({ "input": { "topics": ["zoo"] }, "model": { "sessions": 1 }, "output": {} });
    for (path, value) in zoo.settings() {
        let (section, key) = path.split_once('.').unwrap();
        pipeline[section][key] = value;
    }
    let file = dir.path().join("pipeline.yaml");
    std::fs::write(&file, pipeline.to_string()).unwrap();
    let settings = load(&file, &Overrides::default()).unwrap_or_else(|e| panic!("{e}")).settings;
    let loaded = squeezeflow::results::load(&settings).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let mut stages = Stages::start(&settings, loaded, &Telemetry::default()).unwrap();

    let each = |kind: &Kind| if kind.often == Often::Common { EACH } else { 2 };
    let sent: Vec<_> = zoo.kinds().iter().flat_map(|kind| (0..each(kind)).map(move |n| (kind, n))).collect();
    assert!(sent.len() <= settings.limits.max_in_flight_records.get());
    for (number, (kind, n)) in sent.iter().enumerate() {
        let ticket =
            Ticket { partition: PartitionId(0), epoch: Epoch(0), admission: Admission(number as u64) };
        let record = record(number, &kind.message(*n));
        stages.submit(Tracked::new(ticket, Trace::NONE, record)).unwrap();
    }
    stages.close();
    let mut back = BTreeSet::new();
    for Tracked { ticket, item: outcome, .. } in &stages.outcomes {
        let number = ticket.admission.0 as usize;
        assert!(back.insert(number), "an outcome came twice");
        let (kind, n) = sent[number];
        let verdict = judge(zoo, kind, zoo.ends_before_kafka(kind), &kind.message(n), &came(outcome));
        verdict.unwrap_or_else(|what| panic!("{zoo:?}, number {n}: {what}"));
    }
    assert_eq!(back.len(), sent.len(), "every record has an outcome");
    stages.join().unwrap();
}

#[test]
fn every_kind_with_the_defaults() {
    every_kind_ends_as_it_must(Zoo::Strict);
}

#[test]
fn every_kind_where_a_pipeline_would_rather_pass_it_on() {
    every_kind_ends_as_it_must(Zoo::Lenient);
}

#[test]
fn every_kind_of_plain_text() {
    every_kind_ends_as_it_must(Zoo::Raw);
}

/// The kinds are really all there is: each reason and each way to pass is the end of one, but for
/// those that need another package or another setting.
#[test]
fn no_end_is_without_a_kind() {
    let zoos = [Zoo::Strict, Zoo::Lenient, Zoo::Raw];
    let ends: BTreeSet<Ends> =
        zoos.iter().flat_map(|zoo| zoo.kinds().iter().map(|kind| zoo.ends(kind))).collect();
    let elsewhere = ["tokenize_failed", "non_finite_output", "text_too_long"];
    for reason in Reason::ALL.map(Reason::as_str) {
        assert!(ends.contains(&Ends::Dead(reason)) != elsewhere.contains(&reason), "{reason}");
    }
    for why in PassThrough::ALL.map(PassThrough::as_str) {
        assert!(ends.contains(&Ends::Passed(why)), "{why}");
    }
}

fn shown(ends: Ends) -> String {
    match ends {
        Ends::Enriched => "enriched".to_owned(),
        Ends::Passed(why) => format!("passed, `{why}`"),
        Ends::Dead(reason) => format!("`{reason}`"),
    }
}

/// docs/RECORDS.md, "Everything a stream can carry": the kinds, no more and no less, in their order.
#[test]
fn the_documentation_has_every_kind() {
    let mut expected = "| record | with the defaults | passed on, where asked |\n|---|---|---|\n".to_owned();
    let mut names = BTreeMap::new();
    for (name, strict, lenient) in Zoo::Strict.kinds().iter().map(|kind| kind.row()) {
        assert_eq!(names.insert(name, ()), None, "two kinds of one name");
        writeln!(expected, "| {name} | {} | {} |", shown(strict), lenient.map_or("".to_owned(), shown))
            .unwrap();
    }
    expected += "\nWith `input.format: text`:\n\n| record | ends as |\n|---|---|\n";
    for (name, ends, _) in Zoo::Raw.kinds().iter().map(|kind| kind.row()) {
        writeln!(expected, "| {name} | {} |", shown(ends)).unwrap();
    }
    let page = std::fs::read_to_string(here("docs/RECORDS.md")).unwrap();
    assert!(page.contains(&expected), "docs/RECORDS.md should have:\n\n{expected}");
}
