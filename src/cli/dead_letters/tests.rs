//! What is printed, for people and for machines.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::super::json;
use super::*;
use crate::letters::{Count, Letter};
use crate::record::{Header, Offset, Record, Timestamp};

const NOON: i64 = 1_769_860_800_000;

fn count(letters: u64, left: &[(Left, u64)]) -> Count {
    let (first, last) = (Some(NOON), Some(NOON + 3_600_123));
    Count { letters, left: left.iter().cloned().collect(), first, last }
}

fn surveyed(rows: &[(&str, &str, Count)]) -> Survey {
    let row = |(topic, reason, count): &(&str, &str, Count)| {
        (Row { topic: (*topic).to_owned(), reason: (*reason).to_owned() }, count.clone())
    };
    Survey {
        topic: "reviews.dead".to_owned(),
        partitions: 2,
        rows: rows.iter().map(row).collect(),
        ..Survey::default()
    }
}

/// A letter that somebody wrote to hurt, as a survey hands it over.
fn hostile(payload: bool) -> Sample {
    let secret = |bytes: &[u8]| payload.then(|| bytes.to_vec());
    let letter = Letter {
        partition: 1,
        offset: Offset::new(17),
        written: Timestamp(Some(NOON)),
        reason: "invalid_json".to_owned(),
        stage: "decode".to_owned(),
        message: "\u{1b}]0;owned\u{7}".to_owned(),
        version: "0.1.0".to_owned(),
        cut: false,
        original: Record {
            topic: "reviews".into(),
            partition: 3,
            offset: Offset::new(12_345),
            key: secret(b"SECRET-key"),
            value: secret(b"SECRET\n\xc2\x9b2J"),
            headers: vec![
                Header { name: b"trace\x1b[2J".to_vec(), value: secret(b"SECRET\xff") },
                Header { name: vec![0xff], value: None },
            ],
            timestamp: Timestamp(None),
        },
    };
    let more_headers = if payload { 0 } else { 7 };
    Sample { letter, key_bytes: Some(10), value_bytes: Some(11), more_headers, replayed: true }
}

#[test]
fn one_topic_needs_no_column() {
    let rows = [("reviews", "text_empty", count(12, &[(Left::Replayed, 2), (Left::Cut, 1)]))];
    let shown = survey(&Survey { others: 1, ..surveyed(&rows) }, false);
    let expected = "\
reviews.dead, 2 partitions, from reviews: 12 dead letters, 2 of them replayed

reason      letters  replayed  first                 last
text_empty       12         2  2026-01-31T12:00:00Z  2026-01-31T13:00:00.123Z

1 letter was cut to fit the topic: the record is not whole, and is never replayed
1 record in the topic is not a dead letter; it is left alone
";
    assert_eq!(shown, expected);
    assert_eq!(survey(&surveyed(&[]), false), "reviews.dead, 2 partitions: 0 dead letters\n");
}

#[test]
fn several_topics_have_one() {
    let rows = [("a", "text_empty", count(1, &[])), ("logs.web", "invalid_json", count(1000, &[]))];
    let shown = survey(&surveyed(&rows), false);
    assert!(shown.contains("\ntopic     reason        letters  replayed  first"), "{shown}");
    assert!(shown.contains("\nlogs.web  invalid_json     1000         0  2026"), "{shown}");
}

#[test]
fn a_dry_run_says_what_would_stay_and_why() {
    let keeps = Duration::from_secs(604_800);
    let rows = [
        ("clicks", "text_empty", count(4, &[(Left::NotRead, 4)])),
        ("reviews", "text_empty", count(9, &[(Left::Replayed, 2), (Left::TooOld(keeps), 3)])),
        ("visits", "text_empty", count(1, &[(Left::NotRead, 1)])),
    ];
    let report = Report { survey: surveyed(&rows), limits_unknown: true, ..Report::default() };
    let shown = plan(&report);
    for part in [
        "14 dead letters, of which 4 would be replayed; nothing was sent (dry run)\n",
        "\nreason      topic    would go  would stay\n",
        "\ntext_empty  reviews         4           5\n",
        "\nwould stay where they are:\n         2 replayed before",
        "\n         5 from a topic that `input.topics` does not name: `clicks`, `visits`\n",
        "\n         3 older than their topic keeps records (7 days)",
        "`--timestamps keep` as they are: `reviews`\n",
        "may not DescribeConfigs",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn a_replay_says_what_it_did() {
    let row = Row { topic: "reviews".to_owned(), reason: "text_empty".to_owned() };
    let report = Report {
        survey: surveyed(&[("reviews", "text_empty", count(7, &[]))]),
        replayed: 5,
        sent: [(row, 5)].into(),
        too_large: 2,
        too_large_at: vec![(0, Offset::new(9))],
        ..Report::default()
    };
    let shown = replayed(&report);
    let expected = "\
5 letters were replayed

reason      topic    sent
text_empty  reviews     5

stay where they are:
         2 larger than their topic takes now: raise its max.message.bytes (at 0/9, …)
";
    assert_eq!(shown, expected);
}

#[test]
fn samples_show_payload_only_when_asked_and_never_command_the_terminal() {
    for payload in [false, true] {
        let samples = Samples { newest: vec![hostile(payload)], letters: 40, left_out: 4 };
        let samples = [("invalid_json".to_owned(), samples)].into();
        let surveyed = Survey { samples, ..surveyed(&[("reviews", "invalid_json", count(1, &[]))]) };
        let (text, json) = (survey(&surveyed, payload), json::survey(&surveyed, payload));
        for shown in [&text, &json] {
            assert_eq!(shown.contains("SECRET"), payload, "{shown}");
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");
        }
        for part in ["reviews.dead/1/17, 2026-01-31T12:00:00Z, replayed", "reviews/3/12345, no time"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.contains("headers  trace\\u{1b}[2J"), "{text}");
        assert!(text.contains("the newest 1 of 40 (4 more would take too much memory):\n"), "{text}");
        assert_eq!(text.contains("/w==, and 7 more\n"), !payload, "{text}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let sample = &json["samples"][0];
        assert_eq!(sample["source"]["offset"], 12_345);
        assert_eq!(sample["source"]["timestamp"], serde_json::Value::Null);
        assert_eq!(sample["message"], "\u{1b}]0;owned\u{7}");
        assert_eq!((&sample["key_bytes"], &sample["value_bytes"]), (&10.into(), &11.into()));
        assert_eq!(sample["headers"][0]["name"], "trace\u{1b}[2J");
        assert_eq!(sample["headers"][1]["name_base64"], "/w==");
        assert_eq!(sample.get("value").is_some(), payload);
        assert_eq!(sample["more_headers"], if payload { 0 } else { 7 });
        let of = serde_json::json!([
            { "reason": "invalid_json", "letters": 40, "samples": 1, "left_out": 4 }
        ]);
        assert_eq!(json["samples_of"], of);
        if payload {
            assert_eq!(sample["value"], "SECRET\n\u{9b}2J");
            assert_eq!(sample["headers"][0]["value_base64"], "U0VDUkVU/w==");
            assert_eq!(sample["headers"][1]["value"], serde_json::Value::Null);
            assert!(text.contains("value    11 bytes: SECRET\\n\\u{9b}2J\n"), "{text}");
        }
    }
}

#[test]
fn json_counts_what_the_table_counts() {
    let rows = [("reviews", "text_empty", count(12, &[(Left::Replayed, 2), (Left::Cut, 1)]))];
    let json: serde_json::Value = serde_json::from_str(&json::survey(&surveyed(&rows), false)).unwrap();
    let expected = serde_json::json!({
        "topic": "reviews.dead", "partitions": 2, "letters": 12, "replayed": 2, "cut": 1, "not_letters": 0,
        "counts": [{
            "reason": "text_empty", "source_topic": "reviews", "letters": 12, "replayed": 2, "cut": 1,
            "first": "2026-01-31T12:00:00Z", "last": "2026-01-31T13:00:00.123Z",
        }],
    });
    assert_eq!(json, expected);
}
