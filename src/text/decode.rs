//! Finds the text in a record's value, and the place where the result will go. Pure; never panics,
//! and needs memory for a small multiple of the value at most, whatever the bytes.

use std::ops::Range;

use super::condition::Condition;
use super::json::{self, JsonError, Kind};
use crate::config::settings::{
    Format, Input, LongText, OnExisting, Output, OutputMode, TemplatePart, TextSelector, WithoutText,
};
use crate::fate::Fate;
use crate::record::{DeadLetter, PassThrough, Reason, Record, Stage};

/// Neither text nor JSON, but some programs begin with it. In JSON output it stays where it is.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// So often a field may occur in one object and still be replaced: each occurrence becomes a whole
/// result, and a value full of them must not become a hundred times its size.
const MOST_REPLACED: usize = 16;

/// Reads values as one pipeline's `input:` and `output:` say.
#[derive(Debug, Clone)]
pub struct Decoder {
    format: DecoderFormat,
    mode: OutputMode,
    field: String,
    on_existing: OnExisting,
    /// Headers that a result would be written to.
    headers: Vec<String>,
    max_text_bytes: usize,
    /// Where the second text of a pair is.
    second: Option<Part>,
    /// Somebody wants to write the text anew, where it stands.
    keep_sources: bool,
    /// `long_text: dead-letter`.
    refuse_longer: bool,
    when: Option<Condition>,
    on_empty: WithoutText,
    on_missing_text: WithoutText,
}

#[derive(Debug, Clone)]
enum DecoderFormat {
    Text,
    /// One part for a plain pointer.
    Json(Vec<Part>),
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Pointer { written: String, tokens: Vec<String> },
}

/// A record with the text found in it.
#[derive(Debug)]
pub struct Document {
    /// Untouched.
    pub record: Record,
    /// What is tokenized.
    pub text: String,
    /// The second text of a pair, where the pipeline names one.
    pub second: Option<String>,
    /// Where the pieces of `text` stand in a JSON value, in order, and at last that of `second`; kept only where
    /// it is to be redacted.
    pub sources: Vec<Source>,
    /// Bytes of the whole text, where `text` was cut at `max_text_bytes`; else its length.
    pub text_bytes_seen: usize,
    /// Where the result goes.
    pub place: Place,
}

impl Document {
    /// Is its text all of it?
    pub fn is_whole(&self) -> bool {
        self.text.len() >= self.text_bytes_seen
    }
}

/// A piece of a text, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Bytes of the text, were it not cut; none of the second text of a pair.
    pub text: Range<usize>,
    /// Bytes of the record's value: a JSON string, quotes included.
    pub value: Range<usize>,
}

/// Where the result goes. Positions are bytes of the record's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Into headers.
    Outside,
    /// Into a value made anew, beside the text; `whole` is that text where `Document::text` was cut.
    Envelope {
        /// Uncut.
        whole: Option<String>,
    },
    /// As the last member of the root object.
    Insert {
        /// Of its closing brace.
        brace: usize,
        /// It has members already.
        comma: bool,
    },
    /// Over these values, in order, none empty, none overlapping.
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

/// Why no text was found. Every one is [`Fate::Poison`]. Messages name pointers and positions,
/// never what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON.
    #[error("the value is not JSON: {0}")]
    InvalidJson(#[from] JsonError),
    /// The text has an escape such as `\ud83d` without its other half: no Unicode text.
    #[error("the string at `{pointer}` (byte {byte}) has an escape that is half of a surrogate pair")]
    LoneSurrogate {
        /// The text's.
        pointer: String,
        /// Where the string begins in the value.
        byte: usize,
    },
    /// No place for a field.
    #[error("the value is {0}, not an object: there is no place for a field")]
    NotAnObject(Kind),
    /// Neither text nor JSON.
    #[error("the value is not UTF-8 from byte {0} on")]
    InvalidUtf8(usize),
    /// Every other byte is 0.
    #[error("the value looks like UTF-16, not UTF-8: transcode it upstream")]
    Utf16,
    /// Five bytes or more, the first one 0.
    #[error(
        "the value begins like a schema registry's frame (Avro, Protobuf or JSON Schema): unframe it upstream"
    )]
    Framed,
    /// The pointer leads nowhere.
    #[error("there is nothing at `{0}`")]
    Missing(String),
    /// The pointer leads to something else.
    #[error("at `{pointer}` is {found}, not a string")]
    NotAString {
        /// The text's.
        pointer: String,
        /// Instead.
        found: Kind,
    },
    /// Nothing to read.
    #[error("the text is empty")]
    Empty,
    /// And what comes after it was not looked at: that is not the same as an empty text.
    #[error("the first {read} of the text's {seen} bytes (`input.max_text_bytes`) are white space only")]
    BlankBeginning {
        /// Bytes.
        read: usize,
        /// Bytes.
        seen: usize,
    },
    /// `long_text: dead-letter`.
    #[error("the text has {seen} bytes, more than the {most} of `input.max_text_bytes`")]
    TooLong {
        /// Bytes.
        seen: usize,
        /// The setting.
        most: usize,
    },
    /// `on_existing: error`.
    #[error("the record has `{0}` already")]
    FieldExists(String),
    /// More often than we replace.
    #[error("`{field}` occurs {times} times in one object")]
    FieldRepeated {
        /// The output field.
        field: String,
        /// Counted.
        times: usize,
    },
}

impl DecodeError {
    /// Always poison: the same bytes will never decode.
    pub fn fate(&self) -> Fate {
        Fate::Poison
    }

    /// For the dead letter.
    pub fn letter(&self) -> DeadLetter {
        let reason = match self {
            Self::InvalidJson(_) | Self::LoneSurrogate { .. } => Reason::InvalidJson,
            Self::NotAnObject(_) => Reason::NotAnObject,
            Self::InvalidUtf8(_) | Self::Utf16 => Reason::InvalidUtf8,
            Self::Framed => Reason::SchemaRegistryFramed,
            Self::Missing(_) => Reason::TextMissing,
            Self::NotAString { .. } => Reason::TextNotAString,
            Self::Empty | Self::BlankBeginning { .. } => Reason::TextEmpty,
            Self::TooLong { .. } => Reason::TextTooLong,
            Self::FieldExists(_) | Self::FieldRepeated { .. } => Reason::FieldExists,
        };
        DeadLetter { reason, message: self.to_string(), stage: Stage::Decode }
    }
}

/// What a value was found to be, before the record moves on with it.
enum Found {
    Text { text: String, seen: usize, place: Place, second: Option<String>, sources: Vec<Source> },
    Nothing(PassThrough),
}

impl Decoder {
    /// For one pipeline.
    pub fn new(input: &Input, output: &Output) -> Self {
        let format = match &input.format {
            Format::Text => DecoderFormat::Text,
            Format::Json(TextSelector::Pointer(pointer)) => DecoderFormat::Json(vec![Part::pointer(pointer)]),
            Format::Json(TextSelector::Template(parts)) => {
                DecoderFormat::Json(parts.iter().map(Part::new).collect())
            }
        };
        Self {
            format,
            mode: output.mode,
            field: output.field.clone(),
            on_existing: output.on_existing,
            headers: vec![output.header(None)],
            max_text_bytes: input.max_text_bytes.get(),
            second: input.pair.as_deref().map(Part::pointer),
            keep_sources: false,
            refuse_longer: input.long_text == LongText::DeadLetter,
            when: input.when.as_ref().map(Condition::new),
            on_empty: input.on_empty,
            on_missing_text: input.on_missing_text,
        }
    }

    /// The same, that also says where the text stands.
    #[must_use]
    pub fn keeping_sources(mut self, keep: bool) -> Self {
        self.keep_sources = keep;
        self
    }

    /// The same, of a pipeline whose results go to these headers.
    #[must_use]
    pub fn writing(mut self, headers: Vec<String>) -> Self {
        self.headers = headers;
        self
    }

    /// Never panics, whatever the bytes. On an error the record comes back whole.
    #[allow(clippy::result_large_err, reason = "the record is moved, once, not copied")]
    pub fn decode(&self, record: Record) -> Result<Decoded, (Record, DecodeError)> {
        match self.find(&record) {
            Ok(Found::Text { text, seen, place, second, sources }) => {
                let document = Document { record, text, second, sources, text_bytes_seen: seen, place };
                Ok(Decoded::Document(document))
            }
            Ok(Found::Nothing(why)) => Ok(Decoded::PassThrough(record, why)),
            Err(error) => match self.passes(&error) {
                Some(why) => Ok(Decoded::PassThrough(record, why)),
                None => Err((record, error)),
            },
        }
    }

    /// What the pipeline would rather pass on than dead-letter.
    fn passes(&self, error: &DecodeError) -> Option<PassThrough> {
        let (rule, why) = match error {
            DecodeError::Empty => (self.on_empty, PassThrough::TextEmpty),
            DecodeError::Missing(_) | DecodeError::NotAString { found: Kind::Null, .. } => {
                (self.on_missing_text, PassThrough::TextMissing)
            }
            _ => return None,
        };
        (rule == WithoutText::PassThrough).then_some(why)
    }

    fn find(&self, record: &Record) -> Result<Found, DecodeError> {
        let Some(value) = &record.value else { return Ok(Found::Nothing(PassThrough::Tombstone)) };
        if self.when.as_ref().and_then(|when| when.by_headers(record)) == Some(false) {
            return Ok(Found::Nothing(PassThrough::NotSelected));
        }
        if is_utf16(value) {
            return Err(DecodeError::Utf16);
        }
        // A frame is a zero, four bytes of schema id, then the payload. In raw text a leading NUL is
        // no more sensible; shorter values are judged by what they are read as.
        if value.len() >= 5 && value.first() == Some(&0) {
            return Err(DecodeError::Framed);
        }
        let value = std::str::from_utf8(value).map_err(|e| DecodeError::InvalidUtf8(e.valid_up_to()))?;
        match &self.format {
            DecoderFormat::Text => {
                if self.is_tagged_before(record)? {
                    return Ok(Found::Nothing(PassThrough::FieldExists));
                }
                let mut text = self.text();
                text.push(value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value));
                text.finish(false, Place::Outside, None, Vec::new())
            }
            DecoderFormat::Json(parts) => self.find_in_json(record, value, parts),
        }
    }

    /// With `mode: headers`: is one of our headers there, and to be kept?
    fn is_tagged_before(&self, record: &Record) -> Result<bool, DecodeError> {
        if self.mode != OutputMode::Headers {
            return Ok(false);
        }
        let there = |name: &&String| record.headers.iter().any(|h| h.name == name.as_bytes());
        let Some(ours) = self.headers.iter().find(there) else { return Ok(false) };
        match self.on_existing {
            OnExisting::Keep => Ok(true),
            OnExisting::Error => Err(DecodeError::FieldExists(ours.clone())),
            // Ours come last, and in Kafka the last header of a name is the one that counts.
            OnExisting::Replace => Ok(false),
        }
    }

    fn find_in_json<'v>(
        &self,
        record: &Record,
        value: &'v str,
        parts: &[Part],
    ) -> Result<Found, DecodeError> {
        let json = value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value);
        let (mut members, mut ours) = (0, Vec::new());
        let mut times = 0;
        // What each pointer's first token leads to: one walk over the root serves all of them.
        let mut heads: Vec<Option<&str>> = vec![None; parts.len() + 1];
        json::members(json, |key, at| {
            members += 1;
            for (part, head) in parts.iter().chain(&self.second).zip(&mut heads) {
                if part.first_token().is_some_and(|token| json::key_is(key, token)) {
                    *head = Some(at);
                }
            }
            if self.mode == OutputMode::Splice && json::key_is(key, &self.field) {
                times += 1;
                if times <= MOST_REPLACED {
                    let start = json::position(value, at);
                    ours.push(start..start + at.len());
                }
            }
        })?;
        if let Some(when) = &self.when
            && !when.by_field(json)?
        {
            return Ok(Found::Nothing(PassThrough::NotSelected));
        }
        if self.is_tagged_before(record)? {
            return Ok(Found::Nothing(PassThrough::FieldExists));
        }
        let kind = Kind::of(json);
        if self.mode == OutputMode::Splice && kind != Kind::Object {
            return Err(DecodeError::NotAnObject(kind));
        }
        if times > 0 {
            match self.on_existing {
                OnExisting::Keep => return Ok(Found::Nothing(PassThrough::FieldExists)),
                OnExisting::Error => return Err(DecodeError::FieldExists(self.field.clone())),
                OnExisting::Replace if times > MOST_REPLACED => {
                    return Err(DecodeError::FieldRepeated { field: self.field.clone(), times });
                }
                OnExisting::Replace => {}
            }
        }
        let piece_at = |written: &str, tokens: &[String], head: Option<&'v str>| {
            let at = match (head, tokens.split_first()) {
                (Some(head), Some((_, rest))) => json::find(head, rest)?,
                (None, Some(_)) if kind == Kind::Object => None,
                _ => json::find(json, tokens)?,
            };
            let raw = at.ok_or_else(|| DecodeError::Missing(written.to_owned()))?;
            let piece = json::string(raw).ok_or_else(|| match Kind::of(raw) {
                Kind::String => DecodeError::LoneSurrogate {
                    pointer: written.to_owned(),
                    byte: json::position(value, raw),
                },
                found => DecodeError::NotAString { pointer: written.to_owned(), found },
            })?;
            let start = json::position(value, raw);
            Ok::<_, DecodeError>((piece, start..start + raw.len()))
        };
        let mut text = self.text();
        let (mut empty, mut sources) = (true, Vec::new());
        for (part, head) in parts.iter().zip(&heads) {
            match part {
                Part::Literal(literal) => text.push(literal),
                Part::Pointer { written, tokens } => {
                    let (piece, at) = piece_at(written, tokens, *head)?;
                    empty &= piece.trim().is_empty();
                    let start = text.seen;
                    text.push(&piece);
                    if self.keep_sources {
                        sources.push(Source { text: start..text.seen, value: at });
                    }
                }
            }
        }
        let second = match (&self.second, heads.get(parts.len())) {
            (Some(Part::Pointer { written, tokens }), Some(head)) => {
                let (second, at) = piece_at(written, tokens, *head)?;
                if second.trim().is_empty() {
                    return Err(DecodeError::Empty);
                }
                if second.len() > self.max_text_bytes {
                    return Err(DecodeError::TooLong { seen: second.len(), most: self.max_text_bytes });
                }
                if self.keep_sources {
                    // Nothing that is found in the text stands in it.
                    sources.push(Source { text: text.seen..text.seen, value: at });
                }
                Some(second.into_owned())
            }
            _ => None,
        };
        let place = match self.mode {
            OutputMode::Splice if ours.is_empty() => {
                // The document is valid and an object: its last byte that is not white space.
                Place::Insert {
                    brace: value.trim_end_matches(json::WHITE_SPACE).len() - 1,
                    comma: members > 0,
                }
            }
            OutputMode::Splice => Place::Replace(ours),
            _ => Place::Outside,
        };
        text.finish(empty, place, second, sources)
    }

    fn text(&self) -> Text {
        // The validation refuses `splice` for raw text; an envelope is the nearest there is.
        let envelope = match self.mode {
            OutputMode::Envelope => true,
            OutputMode::Splice => matches!(self.format, DecoderFormat::Text),
            OutputMode::Headers => false,
        };
        let refuse = self.refuse_longer;
        Text { text: String::new(), seen: 0, max: self.max_text_bytes, refuse, envelope }
    }
}

/// Collects the pieces of a text, no more than is needed of it.
struct Text {
    text: String,
    seen: usize,
    max: usize,
    /// More than `max` is refused, not cut.
    refuse: bool,
    /// The output repeats the text: the whole of it is needed.
    envelope: bool,
}

impl Text {
    fn push(&mut self, piece: &str) {
        let full = self.text.len() < self.seen;
        self.seen += piece.len();
        let room = match (self.envelope, full) {
            (true, _) => usize::MAX,
            (false, true) => 0,
            (false, false) => self.max.saturating_sub(self.text.len()),
        };
        self.text.push_str(piece.get(..piece.floor_char_boundary(room)).unwrap_or(piece));
    }

    fn finish(
        self,
        empty: bool,
        place: Place,
        second: Option<String>,
        sources: Vec<Source>,
    ) -> Result<Found, DecodeError> {
        let Self { mut text, seen, max, refuse, envelope } = self;
        if refuse && seen > max {
            return Err(DecodeError::TooLong { seen, most: max });
        }
        let whole = (envelope && seen > max).then(|| text.clone());
        if whole.is_some() {
            text.truncate(text.floor_char_boundary(max));
            text.shrink_to_fit();
        }
        // What the model would read counts: white space up to the cut is no text either.
        if empty || text.trim().is_empty() {
            return Err(match text.len() < seen && !empty {
                true => DecodeError::BlankBeginning { read: text.len(), seen },
                false => DecodeError::Empty,
            });
        }
        let place = if envelope { Place::Envelope { whole } } else { place };
        Ok(Found::Text { text, seen, place, second, sources })
    }
}

/// UTF-16 of a script below U+2000 (Latin, Greek, Cyrillic, Arabic, Thai, …): every other byte is a
/// control character, which no text has. Big-endian it begins like a schema registry's frame, and
/// little-endian it may well be valid UTF-8; neither would be told truly. (With a byte order mark,
/// and for most of the scripts above, it is no valid UTF-8.)
fn is_utf16(value: &[u8]) -> bool {
    /// Enough to be no accident.
    const LOOK: usize = 32;
    let head = value.get(..LOOK.min(value.len() & !1)).unwrap_or_default();
    if head.len() < 4 {
        return false;
    }
    let lane = |offset: usize| head.iter().copied().skip(offset).step_by(2);
    let control = |b: u8| b < 0x20 && !b"\t\n\r".contains(&b);
    // U+2000 to U+20FF: dashes and quotes among the others.
    let high = |offset| lane(offset).all(|b| control(b) || b == 0x20) && lane(offset).any(control);
    let low = |offset| lane(offset).all(|b| b != 0) && lane(offset).any(|b| b >= 0x20);
    high(0) && low(1) || high(1) && low(0)
}

impl Part {
    fn new(part: &TemplatePart) -> Self {
        match part {
            TemplatePart::Literal(literal) => Self::Literal(literal.clone()),
            TemplatePart::Pointer(pointer) => Self::pointer(pointer),
        }
    }
    fn pointer(written: &str) -> Self {
        Self::Pointer { written: written.to_owned(), tokens: json::tokens(written) }
    }
    fn first_token(&self) -> Option<&str> {
        match self {
            Self::Pointer { tokens, .. } => tokens.first().map(String::as_str),
            Self::Literal(_) => None,
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
