//! What a running worker really shows at `/metrics`, against docs/OPERATIONS.md: nothing is shown that is
//! not listed, nothing listed that is not shown, with its type and labels.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::client::Message;
use crate::support::cluster::Cluster;
use crate::support::here;
use crate::support::records::Stream;
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};

/// By name: type and labels.
type Table = BTreeMap<String, (String, BTreeSet<String>)>;

fn documented() -> Table {
    let text = std::fs::read_to_string(here("docs/OPERATIONS.md")).unwrap();
    let code =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    text.lines()
        .filter(|line| line.starts_with("| `squeezeflow_"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (code(cells[1]).concat(), (cells[2].to_owned(), code(cells[3]).into_iter().collect()))
        })
        .collect()
}

fn shown(scrape: &str) -> Table {
    let mut table = Table::new();
    for line in scrape.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            table.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            continue;
        }
        let Some((series, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let names = ["", "_bucket", "_sum", "_count"].map(|suffix| series.strip_suffix(suffix));
        let name = names.into_iter().flatten().find(|name| table.contains_key(*name)).unwrap().to_owned();
        // No label's value of ours has a comma or a quote in it.
        let (labels, _) = labels.rsplit_once('}').unwrap();
        let names = labels.split(',').map(|pair| pair.split_once('=').unwrap().0.to_owned());
        table.get_mut(&name).unwrap().1.extend(names.filter(|name| name != "le"));
    }
    table
}

#[test]
fn a_live_scrape_shows_what_the_document_lists_and_nothing_else() {
    crate::require_kafka!();
    let scene = Scene::new(Cluster::shared(), "scraped", 2, 1);
    // Several results, for a label `of`.
    let result =
        |package: &str| json!({ "model": { "path": here(package), "provider": "cpu", "sessions": 1 } });
    let results = json!({
        "mood": result("tests/packages/tiny-squeezebert"),
        "tone": result("tests/packages/tiny-bert"),
    });
    let pipeline = scene.pipeline.clone().set_top("model", Value::Null).set_top("results", results);
    let worker = pipeline.set("input.long_text", "windows").start_ready();
    let mut messages = Stream::new(3).take(60);
    messages.push(Message { value: Some(b"not JSON".to_vec()), ..Message::default() });
    // Of several windows each; most of them, like their windows, equal to another.
    let long = |n: usize| format!(r#"{{"text":"{} {}"}}"#, "word ".repeat(2_000), n % 3);
    messages.extend((0..40).map(|n| Message { value: Some(long(n).into_bytes()), ..Message::default() }));
    scene.client.produce(&scene.input(), messages);
    let metric = |name: &str| worker.metric(name, "");
    // The end of a partition comes with librdkafka's statistics.
    until("every record to be counted, and the lag to be known", PATIENCE, || {
        metric("squeezeflow_processing_duration_seconds_count") == Some(101.0)
            && metric("squeezeflow_partition_lag_seconds") == Some(0.0)
    });
    // Wherever they went on their way, they have left it: none is counted twice, or for ever.
    until("no record to be at any station", PATIENCE, || metric("squeezeflow_stage_records") == Some(0.0));
    let (_, scrape) = worker.get("/metrics").unwrap();
    worker.terminate();

    let (documented, shown) = (documented(), shown(&scrape));
    let names = |table: &Table| table.keys().cloned().collect::<BTreeSet<_>>();
    let invented: Vec<_> = names(&documented).difference(&names(&shown)).cloned().collect();
    let unlisted: Vec<_> = names(&shown).difference(&names(&documented)).cloned().collect();
    assert!(invented.is_empty() && unlisted.is_empty(), "not shown: {invented:?}; not listed: {unlisted:?}");
    for (name, (kind, labels)) in &shown {
        let (listed, may) = &documented[name];
        assert_eq!(kind, listed, "{name}");
        // Of what did not happen here there is one series, without labels.
        let seldom = ["squeezeflow_offset_gap_records_total", "squeezeflow_stalled_partitions_total"];
        let expected = if seldom.contains(&name.as_str()) { BTreeSet::new() } else { may.clone() };
        assert_eq!(labels, &expected, "{name}");
    }
}
