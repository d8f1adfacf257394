//! Dead letters for machines. Members may be added, none is renamed.

use serde_json::{Map, Value, json};

use super::visible;
use crate::letters::{Sample, Survey, rfc3339};
use crate::record::Header;

/// One JSON object, and a line feed.
pub(super) fn survey(survey: &Survey, payload: bool) -> String {
    let total = survey.total();
    let counts = survey.rows.iter().map(|(row, count)| {
        json!({
            "reason": row.reason,
            "source_topic": row.topic,
            "letters": count.letters,
            "replayed": count.replayed(),
            "cut": count.cut(),
            "first": count.first.map(rfc3339),
            "last": count.last.map(rfc3339),
        })
    });
    let mut all = json!({
        "topic": survey.topic,
        "partitions": survey.partitions,
        "letters": total.letters,
        "replayed": total.replayed(),
        "cut": total.cut(),
        "not_letters": survey.others,
        "counts": counts.collect::<Vec<_>>(),
    });
    if !survey.samples.is_empty() {
        let samples = survey.samples.values().flat_map(|samples| &samples.newest);
        all["samples"] = samples.map(|s| sample(s, payload)).collect();
        let of = survey.samples.iter().map(|(reason, samples)| {
            json!({
                "reason": reason,
                "letters": samples.letters,
                "samples": samples.newest.len(),
                "left_out": samples.left_out,
            })
        });
        all["samples_of"] = of.collect();
    }
    visible::json(&format!("{all:#}")) + "\n"
}

fn sample(sample: &Sample, payload: bool) -> Value {
    let letter = &sample.letter;
    let original = &letter.original;
    let mut told = Map::new();
    let mut tell = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
    tell("partition", letter.partition.into());
    tell("offset", letter.offset.raw().into());
    tell("written", letter.written.0.map(rfc3339).into());
    tell("reason", letter.reason.as_str().into());
    tell("stage", letter.stage.as_str().into());
    tell("message", letter.message.as_str().into());
    tell("version", letter.version.as_str().into());
    tell("replayed", sample.replayed.into());
    tell("cut", letter.cut.into());
    tell(
        "source",
        json!({
            "topic": &*original.topic,
            "partition": original.partition,
            "offset": original.offset.raw(),
            "timestamp": original.timestamp.0.map(rfc3339),
        }),
    );
    tell("key_bytes", sample.key_bytes.into());
    tell("value_bytes", sample.value_bytes.into());
    tell("headers", original.headers.iter().map(|h| header(h, payload)).collect());
    tell("more_headers", sample.more_headers.into());
    if payload {
        put(&mut told, "key", original.key.as_deref());
        put(&mut told, "value", original.value.as_deref());
    }
    told.into()
}

fn header(header: &Header, payload: bool) -> Value {
    let mut told = Map::new();
    put(&mut told, "name", Some(&header.name));
    if payload {
        put(&mut told, "value", header.value.as_deref());
    }
    told.into()
}

/// Text under its name; what is not UTF-8 in base64, under `NAME_base64`.
fn put(told: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let (name, value) = match bytes.map(|b| str::from_utf8(b).map_err(|_| b)) {
        None => (name.to_owned(), Value::Null),
        Some(Ok(text)) => (name.to_owned(), text.into()),
        Some(Err(bytes)) => (format!("{name}_base64"), base64::encode(bytes).into()),
    };
    told.insert(name, value);
}
