//! Records to send: JSON with an id, the key's own sequence number, and a text of plain words.
//! Written so that a value which was parsed and printed again would be seen to differ.

use std::collections::BTreeMap;

use super::client::Message;

const WORDS: [&str; 24] = [
    "the",
    "film",
    "was",
    "good",
    "bad",
    "a",
    "great",
    "story",
    "and",
    "not",
    "very",
    "long",
    "but",
    "I",
    "loved",
    "it",
    "service",
    "slow",
    "again",
    "never",
    "price",
    "café",
    "🙂",
    "Überraschung",
];

/// Makes records one after the other; ids and sequences go on over all that it made.
pub struct Stream {
    keys: usize,
    id: i64,
    sequences: BTreeMap<usize, i64>,
}

impl Stream {
    /// Spread over so many keys.
    pub fn new(keys: usize) -> Self {
        Self { keys, id: 0, sequences: BTreeMap::new() }
    }

    pub fn take(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.message(None)).collect()
    }

    /// A record with this text, or a generated one.
    pub fn message(&mut self, text: Option<&str>) -> Message {
        // A fixed stir, so that keys do not come in turn.
        let number = (self.id as usize).wrapping_mul(2_654_435_761) >> 7;
        let key = number % self.keys;
        let sequence = self.sequences.entry(key).or_default();
        let text = text.map_or_else(|| words(number), str::to_owned);
        let text = serde_json::to_string(&text).unwrap();
        // Number forms, spaces, escapes and order that no JSON library would write like that.
        let value = format!(
            "{{\"id\":{}, \"seq\" : {sequence},\"n\":1.50e+02,\"big\":12345678901234567890123,\"e\":\"\\u00e9\\/\",\"text\":{text} }}",
            self.id
        );
        self.id += 1;
        *sequence += 1;
        Message {
            key: Some(format!("key-{key}").into_bytes()),
            value: Some(value.into_bytes()),
            ..Message::default()
        }
    }
}

/// Three to thirty words.
fn words(number: usize) -> String {
    let word = |i: usize| WORDS[(number / (i + 1) + i * 7) % WORDS.len()];
    (0..3 + number % 28).map(word).collect::<Vec<_>>().join(" ")
}
