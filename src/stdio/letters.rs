//! Dead letters as JSON, one a line.

use std::io::{self, Write};

use serde::Serialize;

use crate::record::{DeadLetter, Record};

#[derive(Serialize)]
struct Letter<'a> {
    reason: &'static str,
    stage: &'static str,
    message: &'a str,
    /// From 1.
    line: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    /// Where the value is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Writes one line, in one piece. The record's offset is its line number.
pub(super) fn write(out: &mut impl Write, record: &Record, letter: &DeadLetter) -> io::Result<()> {
    let bytes = record.value.as_deref().unwrap_or_default();
    let value = str::from_utf8(bytes).ok();
    let letter = Letter {
        reason: letter.reason.as_str(),
        stage: letter.stage.as_str(),
        message: &letter.message,
        line: record.offset.raw(),
        value,
        value_base64: value.is_none().then(|| base64::encode(bytes)),
    };
    let mut line = serde_json::to_vec(&letter)?;
    line.push(b'\n');
    out.write_all(&line)
}
