//! What the demo feeds: texts written for it (texts.txt), and the odd values that every real topic
//! holds. Pure.

use crate::record::Reason;

/// Where a sample came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A review that likes its subject.
    Praise,
    /// A review that does not.
    Blame,
    /// A support ticket.
    Ticket,
    /// A log line.
    LogLine,
    /// Something unusual.
    Odd,
}

/// How a sample is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// With a label.
    Tagged,
    /// As it came.
    Passed,
    /// As a dead letter.
    Dead(Reason),
}

/// One record to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What it is.
    pub kind: Kind,
    /// Records of one key stay in order.
    pub key: String,
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// How it is to end.
    pub expect: Expect,
}

/// After this many plain texts comes an odd one.
const ODD_EVERY: usize = 12;
/// A stride through the plain texts that mixes their kinds; it has no divisor in common with
/// their number (a test looks).
const STRIDE: usize = 37;

/// `records` samples, kinds mixed, always the same ones in the same order. Begins again when all
/// have been given.
pub fn stream(records: usize) -> Vec<Sample> {
    let (plain, odd) = (plain(), odd());
    if plain.is_empty() || odd.is_empty() {
        return Vec::new();
    }
    let mut samples = Vec::with_capacity(records);
    let (mut plain_at, mut odd_at) = (0, 0);
    for id in 0..records {
        let key = format!("customer-{}", id % 23);
        samples.push(if id % (ODD_EVERY + 1) == ODD_EVERY {
            let (value, expect) = odd[odd_at % odd.len()].clone();
            odd_at += 1;
            Sample { kind: Kind::Odd, key, value, expect }
        } else {
            let (kind, text) = plain[plain_at * STRIDE % plain.len()];
            plain_at += 1;
            let source = match kind {
                Kind::Ticket => "ticket",
                Kind::LogLine => "log",
                Kind::Praise | Kind::Blame | Kind::Odd => "review",
            };
            let value = serde_json::json!({ "id": id, "source": source, "text": text });
            Sample { kind, key, value: Some(value.to_string().into_bytes()), expect: Expect::Tagged }
        });
    }
    samples
}

/// The plain ones, of all kinds.
pub fn texts() -> Vec<&'static str> {
    plain().into_iter().map(|(_, text)| text).collect()
}

fn plain() -> Vec<(Kind, &'static str)> {
    let kind = |mark| match mark {
        "+" => Some(Kind::Praise),
        "-" => Some(Kind::Blame),
        "t" => Some(Kind::Ticket),
        "l" => Some(Kind::LogLine),
        _ => None,
    };
    include_str!("texts.txt")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(mark, text)| Some((kind(mark)?, text)))
        .collect()
}

fn odd() -> Vec<(Option<Vec<u8>>, Expect)> {
    use Expect::{Dead, Passed, Tagged};
    let text =
        |text: &str| Some(serde_json::json!({ "source": "odd", "text": text }).to_string().into_bytes());
    let raw = |bytes: &[u8]| Some(bytes.to_vec());
    let long = "The first hour is slow, the second is slower, and the popcorn was cold. ".repeat(120);
    vec![
        (text("😀🎉 Best birthday present ever!!! 🎁❤️❤️❤️"), Tagged),
        (raw(br#"{"source": "odd", "text": "the cable fell out before the closing"#), Dead(Reason::InvalidJson)),
        (text("とても楽しい映画でした。また見たいです。"), Tagged),
        (None, Passed),
        (text(&long), Tagged),
        (text(""), Dead(Reason::TextEmpty)),
        (text("Фильм замечательный, советую всем."), Tagged),
        (raw(b"\0\0\0\0\x2a\x0cGreat!"), Dead(Reason::SchemaRegistryFramed)),
        (text("[CLS] I typed [SEP] and [MASK] into the form, and it broke. [SEP]"), Tagged),
        (text(" \t \n "), Dead(Reason::TextEmpty)),
        (text("الخدمة ممتازة والتوصيل سريع"), Tagged),
        (raw(br#"{"source": "odd", "body": "the text is elsewhere"}"#), Dead(Reason::TextMissing)),
        (
            raw(br#"{"id": 12345678901234567890, "price": 1.10, "text": "A caf\u00e9 \"for everyone\": lovely \ud83d\ude0a", "nlp": "old"}"#),
            Tagged,
        ),
        (raw(br#"["a list", "is not", "an object"]"#), Dead(Reason::NotAnObject)),
        (text("\u{1b}[31mRED ALERT\u{1b}[0m the terminal must not turn red, and it did not. Nice."), Tagged),
        (raw(br#"{"source": "odd", "text": 404}"#), Dead(Reason::TextNotAString)),
        (text("ok"), Tagged),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn there_are_enough_of_each_kind_and_no_two_alike() {
        let plain = plain();
        assert!(plain.len() >= 150, "{}", plain.len());
        assert_eq!(plain.iter().map(|(_, text)| text).collect::<BTreeSet<_>>().len(), plain.len());
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        for (kind, _) in &plain {
            *kinds.entry(*kind).or_default() += 1;
        }
        assert!(kinds.len() == 4 && kinds.values().all(|n| *n >= 30), "{kinds:?}");
    }

    #[test]
    fn one_round_gives_every_text() {
        let (plain, odd) = (plain(), odd());
        let round = plain.len() + plain.len() / ODD_EVERY;
        let values: BTreeSet<_> = stream(round)
            .into_iter()
            .filter(|sample| sample.kind != Kind::Odd)
            .filter_map(|sample| serde_json::from_slice::<serde_json::Value>(&sample.value?).ok())
            .map(|value| value["text"].to_string())
            .collect();
        assert_eq!(values.len(), plain.len(), "the stride meets every text");
        let all = odd.len() * (ODD_EVERY + 1);
        assert_eq!(stream(all).iter().filter(|s| s.kind == Kind::Odd).count(), odd.len());
        assert!(all <= 400, "the default number of records shows every odd one: {all}");
        assert_eq!(stream(7), stream(7));
    }

    #[test]
    fn values_are_what_they_expect() {
        for sample in stream(400) {
            let parsed = sample.value.as_deref().map(serde_json::from_slice::<serde_json::Value>);
            match sample.expect {
                Expect::Passed => assert!(parsed.is_none()),
                Expect::Tagged => assert!(matches!(parsed, Some(Ok(value)) if value["text"].is_string())),
                Expect::Dead(Reason::InvalidJson | Reason::SchemaRegistryFramed) => {
                    assert!(matches!(parsed, Some(Err(_))));
                }
                Expect::Dead(_) => assert!(matches!(parsed, Some(Ok(_)))),
            }
        }
    }
}
