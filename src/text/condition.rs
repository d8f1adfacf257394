//! `input.when`: is this record one that is to be tagged? Pure.

use serde_json::Value;

use super::json::{self, JsonError, Kind};
use crate::config::settings::{Subject, Test, When};
use crate::record::Record;

/// A condition, ready to be asked.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    subject: At,
    test: Test,
}

#[derive(Debug, Clone)]
enum At {
    /// Tokens of a JSON pointer.
    Field(Vec<String>),
    Header(String),
}

impl Condition {
    pub(super) fn new(when: &When) -> Self {
        let subject = match &when.subject {
            Subject::Field(pointer) => At::Field(json::tokens(pointer)),
            Subject::Header(name) => At::Header(name.clone()),
        };
        Self { subject, test: when.test.clone() }
    }

    /// By the record's headers alone. `None`: its value has to be looked into.
    pub(super) fn by_headers(&self, record: &Record) -> Option<bool> {
        let At::Header(name) = &self.subject else { return None };
        let last = record.headers.iter().rev().find(|h| h.name == name.as_bytes());
        let bytes = last.and_then(|h| h.value.as_deref());
        Some(match &self.test {
            Test::Exists(wanted) => bytes.is_some() == *wanted,
            Test::In(values) => bytes.is_some_and(|b| values.iter().any(|v| spells(b, v))),
            Test::NotIn(values) => !bytes.is_some_and(|b| values.iter().any(|v| spells(b, v))),
        })
    }

    /// By a field of the record's value, which is valid JSON. True for a condition on a header.
    pub(super) fn by_field(&self, json: &str) -> Result<bool, JsonError> {
        let At::Field(tokens) = &self.subject else { return Ok(true) };
        let raw = json::find(json, tokens)?;
        Ok(match &self.test {
            Test::Exists(wanted) => raw.is_some_and(|raw| Kind::of(raw) != Kind::Null) == *wanted,
            Test::In(values) => raw.is_some_and(|raw| values.iter().any(|v| is(raw, v))),
            Test::NotIn(values) => !raw.is_some_and(|raw| values.iter().any(|v| is(raw, v))),
        })
    }
}

/// A header is bytes: it has the value whose plain text it is.
fn spells(bytes: &[u8], value: &Value) -> bool {
    match value {
        Value::String(text) => bytes == text.as_bytes(),
        other => bytes == other.to_string().as_bytes(),
    }
}

/// Numbers are equal as numbers: 1.0 is 1. But whole ones are compared digit by digit: those that a
/// floating-point number cannot hold are ids, as a rule.
fn is(raw: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => json::string(raw).is_some_and(|s| s == text.as_str()),
        Value::Number(number) if Kind::of(raw) == Kind::Number => {
            let whole = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            let written = number.to_string();
            match whole(raw) && whole(&written) {
                true => raw == written,
                false => raw.parse::<f64>().ok() == number.as_f64(),
            }
        }
        Value::Bool(bool) => raw == if *bool { "true" } else { "false" },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::record::{Header, Offset, Timestamp};

    fn field(pointer: &str, test: Test, json: &str) -> bool {
        Condition::new(&When { subject: Subject::Field(pointer.into()), test }).by_field(json).unwrap()
    }

    #[test]
    fn fields() {
        let is = |value: Value| Test::In(vec![value]);
        for (value, doc) in [
            (json!("en"), r#"{"a":{"b":"\u0065n"}}"#),
            (json!(1), r#"{"a":{"b":1.0}}"#),
            (json!(12_345_678_901_234_567_u64), r#"{"a":{"b":12345678901234567}}"#),
            (json!(true), r#"{"a":{"b":true}}"#),
        ] {
            assert!(field("/a/b", is(value.clone()), doc), "{doc}");
            assert!(!field("/a/b", Test::NotIn(vec![value]), doc), "{doc}");
        }
        let id = Test::In(vec![json!(9_007_199_254_740_993_u64)]);
        assert!(!field("/a", id, r#"{"a":9007199254740992}"#));
        for doc in [r#"{"a":{"b":"1"}}"#, r#"{"a":{"b":[1]}}"#, r#"{"a":{}}"#, r#"{"a":{"b":null}}"#, "[]"] {
            assert!(!field("/a/b", is(json!(1)), doc), "{doc}");
            assert!(field("/a/b", Test::NotIn(vec![json!(1)]), doc), "{doc}");
        }
        assert!(field("/a", Test::In(vec![json!("x"), json!("y")]), r#"{"a":"y"}"#));
        assert!(field("/a", Test::Exists(true), r#"{"a":false}"#));
        assert!(field("/a", Test::Exists(false), r#"{"a":null}"#) && field("/a", Test::Exists(false), "{}"));
    }

    #[test]
    fn headers_of_a_name_the_last() {
        let mut record = Record {
            topic: "t".into(),
            partition: 0,
            offset: Offset::new(0),
            key: None,
            value: None,
            headers: vec![Header::new("n", "1"), Header::new("lang", "de"), Header::new("lang", "en")],
            timestamp: Timestamp(None),
        };
        let ask = |record: &Record, name: &str, test| {
            Condition::new(&When { subject: Subject::Header(name.into()), test }).by_headers(record).unwrap()
        };
        assert!(ask(&record, "lang", Test::In(vec![json!("en")])));
        assert!(!ask(&record, "lang", Test::In(vec![json!("de")])));
        assert!(ask(&record, "n", Test::In(vec![json!(1)])));
        assert!(ask(&record, "x", Test::Exists(false)) && ask(&record, "x", Test::NotIn(vec![json!("y")])));
        record.headers.push(Header { name: b"lang".to_vec(), value: None });
        assert!(ask(&record, "lang", Test::Exists(false)), "a null value is none");
    }
}
