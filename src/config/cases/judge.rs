//! From the document to [`Case`]s: the schema first, then the rules that it cannot say. What is
//! wrong is collected, not thrown.

use serde_json::Value;

use super::{Case, Expect, Given, Kind, Written};
use crate::config::load::Places;
use crate::config::problem::{ConfigError, Problem};
use crate::config::yaml::{self, Document};
use crate::config::{explain, path, raw, schema, selector, topics, units};
use crate::record::{PassThrough, Reason};

/// The cases in a document, or all that is wrong with them.
pub(super) fn judge(kind: Kind, document: Document, places: &Places) -> Result<Vec<Case>, ConfigError> {
    let Document { root, mut value, duplicates, .. } = document;
    let list = root.as_ref().and_then(|root| root.get("tests"));
    let schema = schema::cases();
    if kind == Kind::Pipeline {
        // The rest is a pipeline's, and is looked at by `load`.
        let tests = value.get_mut("tests").map_or(Value::Null, Value::take);
        if tests.is_null() {
            return Ok(Vec::new());
        }
        value = serde_json::json!({ "tests": tests });
    }
    for case in value.get_mut("tests").and_then(Value::as_array_mut).into_iter().flatten() {
        // A key without a value is as if it were not written; but not `input`.
        let input = case.as_object_mut().and_then(|case| case.remove("input"));
        schema::drop_nulls(schema.pointer("/properties/tests/items").unwrap_or(&Value::Null), case);
        if let (Some(input), Some(case)) = (input, case.as_object_mut()) {
            case.insert("input".to_owned(), input);
        }
    }
    let mut problems: Vec<Problem> = duplicates
        .into_iter()
        .filter(|(at, _)| kind == Kind::Beside || path::within(at, "tests"))
        .map(|(at, line)| Problem { line: Some(line), ..Problem::error(at, "is written twice") })
        .map(|problem| problem.hint("keep one of them"))
        .collect();
    problems.extend(explain::violations(&schema, &value).into_iter().map(|v| v.problem));
    let mut cases: Vec<Case> = Vec::new();
    for (i, item) in list.map(yaml::Node::items).unwrap_or_default().iter().enumerate() {
        let at = path::index("tests", i);
        if problems.iter().any(|p| path::within(&p.path, &at)) {
            continue;
        }
        let mut check = Check { at: &at, found: Vec::new() };
        match serde_json::from_str::<raw::Case>(&item.json()) {
            Ok(raw) => {
                let case = check.case(&raw, item.place.line);
                if cases.iter().any(|other| other.name == case.name) {
                    check.refuse("name", "is the name of another case", "each needs one of its own");
                }
                cases.push(case);
            }
            // The schema is made of the types, so this is a defect of ours.
            Err(_) => {
                check.refuse("", "the schema accepts this case, but it cannot be read", "please report it")
            }
        }
        problems.extend(check.found);
    }
    if problems.is_empty() {
        return Ok(cases);
    }
    let mut problems: Vec<Problem> = problems.into_iter().map(|p| places.locate(p)).collect();
    problems.sort_by(|a, b| (a.line, &a.path).cmp(&(b.line, &b.path)));
    Err(ConfigError { problems })
}

/// Collects what is wrong with one case.
struct Check<'a> {
    at: &'a str,
    found: Vec<Problem>,
}

impl Check<'_> {
    fn refuse(&mut self, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        let at = if key.is_empty() { self.at.to_owned() } else { path::key(self.at, key) };
        self.found.push(Problem::error(at, what).hint(hint));
    }

    fn case(&mut self, raw: &raw::Case, line: usize) -> Case {
        Case {
            name: raw.name.clone(),
            line,
            given: Given {
                value: self.value(raw),
                key: raw.key.clone().map(String::into_bytes),
                headers: self.headers("headers", raw.headers.as_ref()),
                topic: self.topic("topic", raw.topic.as_deref()),
                timestamp: self.timestamp(raw.timestamp.as_ref()),
            },
            tolerance: raw.tolerance.0,
            expect: raw.expect.as_ref().map_or(Expect::Nothing, |expect| self.expect(expect)),
        }
    }

    fn value(&mut self, raw: &raw::Case) -> Option<Vec<u8>> {
        match (&raw.input, &raw.value_base64) {
            (Some(input), None) => match input.text().as_bytes().first() {
                Some(b'n') => None,
                Some(b'{' | b'[') => Some(input.text().as_bytes().to_vec()),
                Some(b'"') => Some(self.text("input", input).into_bytes()),
                _ => {
                    self.refuse("input", "is neither text nor a map, a list or `null`", "put it in quotes");
                    None
                }
            },
            (None, Some(bytes)) => base64::decode(bytes).map(Some).unwrap_or_else(|_| {
                self.refuse("value_base64", "is not Base64", "such as `/w==`, which is the byte 255");
                None
            }),
            (Some(_), Some(_)) => {
                self.refuse("value_base64", "stands beside `input`", "one of the two");
                None
            }
            (None, None) => {
                let hint = "`input: { text: … }` for JSON, `input: \"…\"` for the value as it is, \
                            `input: null` for a tombstone";
                self.refuse("input", "is missing", hint);
                None
            }
        }
    }

    /// Of a JSON string, what it says.
    fn text(&mut self, key: &str, json: &raw::Json) -> String {
        serde_json::from_str(json.text()).unwrap_or_else(|_| {
            self.refuse(key, "is not text", "put it in quotes");
            String::new()
        })
    }

    fn headers(&mut self, at: &str, raw: Option<&raw::Headers>) -> Vec<(String, Option<String>)> {
        let entries = raw.map(|headers| headers.0.0.as_slice()).unwrap_or_default();
        let value = |(name, json): &(String, raw::Json)| {
            let value = (json.text() != "null").then(|| self.text(&path::key(at, name), json));
            (name.clone(), value)
        };
        entries.iter().map(value).collect()
    }

    fn topic(&mut self, at: &str, topic: Option<&str>) -> Option<String> {
        if let Some(error) = topic.and_then(|topic| topics::name(topic).err()) {
            self.refuse(at, error.to_string(), "such as `reviews`");
        }
        topic.map(str::to_owned)
    }

    fn timestamp(&mut self, raw: Option<&raw::Time>) -> Option<i64> {
        let timestamp = raw.map(|raw| units::timestamp(&raw.0));
        if timestamp == Some(None) {
            self.refuse(
                "timestamp",
                "is a day or an hour that does not exist",
                "such as `2026-01-31T08:00:00Z`",
            );
        }
        timestamp.flatten()
    }

    fn expect(&mut self, raw: &raw::Expect) -> Expect {
        let written = Written {
            passed: raw
                .passed
                .as_ref()
                .and_then(|raw| PassThrough::ALL.into_iter().find(|why| why.as_str() == raw.0)),
            label: raw.label.clone(),
            score: raw.score.map(|score| score.0),
            fields: self.fields(raw.fields.as_ref()),
            value: raw.value.clone(),
            headers: self.headers("expect.headers", raw.headers.as_ref()),
            topic: self.topic("expect.topic", raw.topic.as_deref()),
        };
        let reason = raw.dead_letter.as_ref();
        match reason.and_then(|raw| Reason::ALL.into_iter().find(|reason| reason.as_str() == raw.0)) {
            Some(reason) => {
                for key in asked(&written) {
                    let what = "cannot stand beside `dead_letter`: that record is in no output topic";
                    self.refuse(&path::key("expect", key), what, "keep one of the two");
                }
                Expect::DeadLetter(reason)
            }
            None if written == Written::default() => Expect::Nothing,
            None => {
                let of_result = [("label", raw.label.is_some()), ("score", raw.score.is_some())];
                for (key, _) in of_result.into_iter().filter(|(_, is)| *is && raw.passed.is_some()) {
                    let what = "cannot stand beside `passed`: what passes through has no result";
                    self.refuse(&path::key("expect", key), what, "keep one of the two");
                }
                Expect::Written(written)
            }
        }
    }

    fn fields(&mut self, raw: Option<&raw::Fields>) -> Vec<(String, String)> {
        let entries = raw.map(|fields| fields.0.0.as_slice()).unwrap_or_default();
        for (pointer, _) in entries {
            if let Err(error) = selector::pointer(pointer) {
                self.refuse(&path::key("expect.fields", pointer), error.to_string(), "such as `/nlp/label`");
            }
        }
        entries.iter().map(|(pointer, json)| (pointer.clone(), json.text().to_owned())).collect()
    }
}

/// The keys of `expect` that are written, `dead_letter` aside.
fn asked(written: &Written) -> Vec<&'static str> {
    let Written { passed, label, score, fields, value, headers, topic } = written;
    [
        ("label", label.is_some()),
        ("score", score.is_some()),
        ("fields", !fields.is_empty()),
        ("value", value.is_some()),
        ("headers", !headers.is_empty()),
        ("topic", topic.is_some()),
        ("passed", passed.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, is)| is.then_some(key))
    .collect()
}
