//! Finds the text in a record's value, and the place where the result will go. Pure: whatever the
//! bytes, it neither panics nor recurses, and its memory is a small multiple of theirs.

use std::ops::Range;

use serde_json::value::RawValue;

use super::json::{Members, follow, range, steps};
use crate::config::settings::{Format, Input, OnExisting, Output, OutputMode, TemplatePart, TextSelector};
use crate::fate::Fate;
use crate::record::{DeadLetter, PassThrough, Reason, Record, Stage};

const BOM: &str = "\u{feff}";
/// Confluent's wire format: a zero byte and the schema's id in four.
const SCHEMA_FRAME: usize = 5;

/// Reads values as one pipeline's `input:` and `output:` say.
#[derive(Debug, Clone)]
pub struct Decoder {
    source: Source,
    max_text_bytes: usize,
    /// Where a splice is wanted: the field, and what to do if it is there already.
    splice: Option<(String, OnExisting)>,
}

#[derive(Debug, Clone)]
enum Source {
    Text,
    Json(Vec<Piece>),
}

/// A piece of the text: as written, or what a pointer leads to.
#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Pointer { pointer: String, steps: Vec<String> },
}

/// A record with the text found in it.
#[derive(Debug)]
pub struct Document {
    /// Untouched.
    pub record: Record,
    /// What is tokenized.
    pub text: String,
    /// Bytes of the whole text; more than `text` has where that was cut at `max_text_bytes`.
    pub text_bytes_seen: usize,
    /// Where the result goes in the value.
    pub place: Place,
}

/// Where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Into a value made anew, or into headers.
    Outside,
    /// Into the root object, in front of the brace at this byte.
    Insert {
        /// Byte of the closing brace.
        at: usize,
        /// Does the object have members already?
        comma: bool,
    },
    /// Instead of these values (several where the field stands there several times): byte ranges,
    /// ascending.
    Replace(Vec<Range<usize>>),
}

/// How decoding ends when it does not fail.
#[derive(Debug)]
pub enum Decoded {
    /// There is a text.
    Document(Document),
    /// There is nothing to do for the model.
    PassThrough(Record, PassThrough),
}

/// Why no text was found. Every one is [`Fate::Poison`]. Never holds payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or something stands after its end.
    #[error("the value is not JSON: {what} at line {line}, column {column}")]
    InvalidJson {
        /// What kind of mistake.
        what: &'static str,
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// No place for a field.
    #[error("the value is JSON, but not an object, so there is no place for field `{0}`")]
    NotAnObject(String),
    /// Not UTF-8.
    #[error("the value is not UTF-8 from byte {0} on")]
    InvalidUtf8(usize),
    /// Framed by a schema registry.
    #[error(
        "the value begins with a zero byte: it is framed by a schema registry (Avro, Protobuf or JSON Schema), not plain {0}"
    )]
    SchemaRegistryFramed(&'static str),
    /// The pointer leads nowhere.
    #[error("there is nothing at `{0}`")]
    TextMissing(String),
    /// The pointer leads to something else.
    #[error("what is at `{pointer}` is {found}, not a string")]
    TextNotAString {
        /// The pointer.
        pointer: String,
        /// The JSON type that is there.
        found: &'static str,
    },
    /// Nothing to read.
    #[error("the text is empty or white space only")]
    TextEmpty,
    /// `on_existing: error`.
    #[error("the value has a field `{0}` already (output.on_existing is `error`)")]
    FieldExists(String),
}

impl DecodeError {
    /// Always poison: the same bytes will never decode.
    pub fn fate(&self) -> Fate {
        Fate::Poison
    }

    /// For the dead letter.
    pub fn letter(&self) -> DeadLetter {
        let reason = match self {
            Self::InvalidJson { .. } => Reason::InvalidJson,
            Self::NotAnObject(_) => Reason::NotAnObject,
            Self::InvalidUtf8(_) => Reason::InvalidUtf8,
            Self::SchemaRegistryFramed(_) => Reason::SchemaRegistryFramed,
            Self::TextMissing(_) => Reason::TextMissing,
            Self::TextNotAString { .. } => Reason::TextNotAString,
            Self::TextEmpty => Reason::TextEmpty,
            Self::FieldExists(_) => Reason::FieldExists,
        };
        DeadLetter { reason, message: self.to_string(), stage: Stage::Decode }
    }
}

/// What the value says, before the record is taken along.
enum Found {
    Text(String, Place),
    Pass(PassThrough),
}

impl Decoder {
    /// For one pipeline.
    pub fn new(input: &Input, output: &Output) -> Self {
        let pointer = |p: &String| Piece::Pointer { pointer: p.clone(), steps: steps(p) };
        let source = match &input.format {
            Format::Text => Source::Text,
            Format::Json(TextSelector::Pointer(p)) => Source::Json(vec![pointer(p)]),
            Format::Json(TextSelector::Template(parts)) => Source::Json(
                parts
                    .iter()
                    .map(|part| match part {
                        TemplatePart::Literal(text) => Piece::Literal(text.clone()),
                        TemplatePart::Pointer(p) => pointer(p),
                    })
                    .collect(),
            ),
        };
        let splice = (output.mode == OutputMode::Splice).then(|| (output.field.clone(), output.on_existing));
        Self { source, max_text_bytes: input.max_text_bytes.get(), splice }
    }

    /// Never panics, whatever the bytes. On an error the record comes back whole.
    #[allow(clippy::result_large_err, reason = "the record must come back, and is moved once")]
    pub fn decode(&self, record: Record) -> Result<Decoded, (Record, DecodeError)> {
        let Some(value) = &record.value else {
            return Ok(Decoded::PassThrough(record, PassThrough::Tombstone));
        };
        match self.find(value) {
            Ok(Found::Text(text, _)) if text.trim().is_empty() => Err((record, DecodeError::TextEmpty)),
            Ok(Found::Text(mut text, place)) => {
                let text_bytes_seen = text.len();
                text.truncate(text.floor_char_boundary(self.max_text_bytes));
                Ok(Decoded::Document(Document { record, text, text_bytes_seen, place }))
            }
            Ok(Found::Pass(why)) => Ok(Decoded::PassThrough(record, why)),
            Err(error) => Err((record, error)),
        }
    }

    fn find(&self, value: &[u8]) -> Result<Found, DecodeError> {
        let utf8 = |bytes| str::from_utf8(bytes).map_err(|e| DecodeError::InvalidUtf8(e.valid_up_to()));
        let framed = value.first() == Some(&0) && value.len() >= SCHEMA_FRAME;
        match &self.source {
            Source::Text if framed => Err(DecodeError::SchemaRegistryFramed("text")),
            Source::Json(_) if framed => Err(DecodeError::SchemaRegistryFramed("JSON")),
            Source::Text => {
                let text = utf8(value)?;
                Ok(Found::Text(text.strip_prefix(BOM).unwrap_or(text).to_owned(), Place::Outside))
            }
            Source::Json(pieces) => self.find_in_json(utf8(value)?, pieces),
        }
    }

    fn find_in_json(&self, value: &str, pieces: &[Piece]) -> Result<Found, DecodeError> {
        let document = value.strip_prefix(BOM).unwrap_or(value);
        let root: &RawValue = serde_json::from_str(document).map_err(|e| invalid(&e))?;
        let place = match &self.splice {
            None => Place::Outside,
            Some((field, on_existing)) => match (place(value, root, field)?, on_existing) {
                (Place::Replace(_), OnExisting::Keep) => return Ok(Found::Pass(PassThrough::FieldExists)),
                (Place::Replace(_), OnExisting::Error) => {
                    return Err(DecodeError::FieldExists(field.clone()));
                }
                (place, _) => place,
            },
        };
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Pointer { pointer, steps } => text.push_str(&string_at(root, pointer, steps)?),
            }
        }
        Ok(Found::Text(text, place))
    }
}

/// Where `field` goes in the root object.
fn place(value: &str, root: &RawValue, field: &str) -> Result<Place, DecodeError> {
    if !root.get().starts_with('{') {
        return Err(DecodeError::NotAnObject(field.to_owned()));
    }
    let Members(members) = serde_json::from_str(root.get()).map_err(|e| invalid(&e))?;
    let existing: Vec<_> =
        members.iter().filter(|(key, _)| key == field).map(|(_, old)| range(value, old.get())).collect();
    if existing.is_empty() {
        let at = range(value, root.get()).end.saturating_sub(1);
        Ok(Place::Insert { at, comma: !members.is_empty() })
    } else {
        Ok(Place::Replace(existing))
    }
}

fn string_at(root: &RawValue, pointer: &str, steps: &[String]) -> Result<String, DecodeError> {
    let found = follow(root, steps)
        .map_err(|e| invalid(&e))?
        .ok_or_else(|| DecodeError::TextMissing(pointer.to_owned()))?;
    let found = match found.get().as_bytes().first() {
        Some(b'"') => return serde_json::from_str(found.get()).map_err(|e| invalid(&e)),
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    };
    Err(DecodeError::TextNotAString { pointer: pointer.to_owned(), found })
}

/// serde_json's messages can quote the input; its position and kind cannot.
fn invalid(error: &serde_json::Error) -> DecodeError {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ => "a mistake",
    };
    DecodeError::InvalidJson { what, line: error.line(), column: error.column() }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
