//! The headers that tell a dead letter's story.

use crate::record::{DeadLetter, Header, Record};

/// Tells that the header in front of it, a `traceparent`, is not the record's own.
pub const TRACE_ID: &str = "__squeezeflow.errors.trace_id";

/// To be added in front of [`dead_letter_headers`] where our span of the record is recorded: who
/// handles the letter goes on with the trace. The record's own `traceparent` stays where it is; of
/// several the last one counts.
pub fn dead_letter_trace(traceparent: Header, trace_id: String) -> [Header; 2] {
    [traceparent, Header::new(TRACE_ID, trace_id)]
}

/// To be added after the record's own. All values are text: numbers in decimal, the timestamp in
/// milliseconds since the Unix epoch, `-1` where the record had none.
pub fn dead_letter_headers(record: &Record, letter: &DeadLetter) -> Vec<Header> {
    let timestamp = record.timestamp.0.unwrap_or(-1);
    [
        ("topic", record.topic.to_string()),
        ("partition", record.partition.to_string()),
        ("offset", record.offset.raw().to_string()),
        ("timestamp", timestamp.to_string()),
        ("reason", letter.reason.to_string()),
        ("message", letter.message.clone()),
        ("stage", letter.stage.as_str().to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ]
    .map(|(name, value)| Header::new(format!("__squeezeflow.errors.{name}"), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Offset, PassThrough, Reason, Stage, Timestamp};

    #[test]
    fn the_whole_story_in_text() {
        let record = Record {
            topic: "reviews".into(),
            partition: 3,
            offset: Offset::new(12_345_678_901),
            key: None,
            value: Some(vec![0xff]),
            headers: vec![],
            timestamp: Timestamp(None),
        };
        let letter = DeadLetter {
            reason: Reason::InvalidUtf8,
            message: "the value is not UTF-8 from byte 0 on".to_owned(),
            stage: Stage::Decode,
        };
        let expected = [
            ("__squeezeflow.errors.topic", "reviews"),
            ("__squeezeflow.errors.partition", "3"),
            ("__squeezeflow.errors.offset", "12345678901"),
            ("__squeezeflow.errors.timestamp", "-1"),
            ("__squeezeflow.errors.reason", "invalid_utf8"),
            ("__squeezeflow.errors.message", "the value is not UTF-8 from byte 0 on"),
            ("__squeezeflow.errors.stage", "decode"),
            ("__squeezeflow.errors.version", env!("CARGO_PKG_VERSION")),
        ];
        assert_eq!(dead_letter_headers(&record, &letter), expected.map(|(n, v)| Header::new(n, v)));
        let dated = Record { timestamp: Timestamp(Some(1_700_000_000_123)), ..record };
        let headers = dead_letter_headers(&dated, &letter);
        assert!(headers.contains(&Header::new("__squeezeflow.errors.timestamp", "1700000000123")));
    }

    /// docs/RECORDS.md is where users look a code up.
    #[test]
    fn the_documentation_has_every_code_and_header() {
        let page = include_str!("../../docs/RECORDS.md");
        for reason in Reason::ALL {
            assert!(page.contains(&format!("\n| `{reason}` | ")), "`{reason}` has no row");
        }
        for why in PassThrough::ALL {
            assert!(page.contains(&format!(" | `{}` |\n", why.as_str())), "{why:?} has no row");
        }
        for name in ["topic", "partition", "offset", "timestamp", "reason", "message", "stage", "version"] {
            assert!(page.contains(&format!("`{name}`")), "header `{name}` is not there");
        }
    }
}
