//! Walks a JSON document without building it: members are borrowed slices of the input, so that
//! byte positions, numbers, white space and duplicates stay as they are. Values that are not on
//! the way are skipped by serde_json's iterative skipper: no input can drive a recursion, and no
//! memory is used beyond one byte for each open bracket.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The document is not JSON. Says what was expected and where, never what was there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        // A data error may quote the document; the visitors below cannot cause one.
        if error.is_data() {
            return Self(format!("unexpected shape at line {} column {}", error.line(), error.column()));
        }
        Self(error.to_string())
    }
}

/// What a JSON value is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// `-` or a digit
    Number,
    /// `true`, `false`
    Boolean,
    /// `null`
    Null,
}

impl Kind {
    /// Of a valid value; leading white space is skipped.
    pub fn of(json: &str) -> Self {
        match json.trim_start_matches(WHITE_SPACE).as_bytes().first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') => Self::Null,
            _ => Self::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        })
    }
}

/// Checks that the whole of `json` is one JSON value, and calls `see` with each member of an
/// object (the key still in quotes and escapes, see [`key_is`]) in order, duplicates included.
/// Anything but an object has no members.
pub fn members<'a>(json: &'a str, see: impl FnMut(&'a str, &'a str)) -> Result<(), JsonError> {
    let mut parser = serde_json::Deserializer::from_str(json);
    match Kind::of(json) {
        Kind::Object => parser.deserialize_map(Members(see))?,
        _ => drop(parser.deserialize_ignored_any(IgnoredAny)?),
    }
    Ok(parser.end()?)
}

/// As [`members`], with the items of an array.
pub fn items<'a>(json: &'a str, see: impl FnMut(&'a str)) -> Result<(), JsonError> {
    let mut parser = serde_json::Deserializer::from_str(json);
    match Kind::of(json) {
        Kind::Array => parser.deserialize_seq(Items(see))?,
        _ => drop(parser.deserialize_ignored_any(IgnoredAny)?),
    }
    Ok(parser.end()?)
}

/// Does a key, as it stands in the document, spell `name`? A key with a lone surrogate escape
/// spells nothing.
pub fn key_is(raw: &str, name: &str) -> bool {
    string(raw).is_some_and(|key| key == name)
}

/// The string that a JSON string spells; borrowed where it has no escapes. `None`: not a string,
/// or an escape that is half of a surrogate pair.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        false => Some(Cow::Borrowed(inner)),
        true => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

/// Where `part`, a slice of `whole`, begins in it.
pub fn position(whole: &str, part: &str) -> usize {
    part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr())
}

/// The value that the tokens of a JSON pointer lead to. Of a key that occurs twice, the last
/// counts, as in most parsers.
pub fn find<'a>(json: &'a str, tokens: &[String]) -> Result<Option<&'a str>, JsonError> {
    let mut at = json;
    for token in tokens {
        let mut found = None;
        match Kind::of(at) {
            Kind::Object => members(at, |key, value| {
                if key_is(key, token) {
                    found = Some(value);
                }
            })?,
            Kind::Array => {
                let (wanted, mut next) = (index(token), 0);
                items(at, |item| {
                    if wanted == Some(next) {
                        found = Some(item);
                    }
                    next += 1;
                })?;
            }
            _ => {}
        }
        match found {
            Some(value) => at = value,
            None => return Ok(None),
        }
    }
    Ok(Some(at.trim_matches(WHITE_SPACE)))
}

/// JSON's own white space, and no other.
pub const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The tokens of a JSON pointer (RFC 6901): `/a~1b/0` is `a/b`, `0`. The empty pointer is the
/// whole document.
pub fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~")).collect()
}

/// RFC 6901: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| token.parse().ok()).flatten()
}

struct Members<F>(F);

impl<'de, F: FnMut(&'de str, &'de str)> Visitor<'de> for Members<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            (self.0)(key.get(), value.get());
        }
        Ok(())
    }
}

struct Items<F>(F);

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Items<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element::<&RawValue>()? {
            (self.0)(item.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at<'a>(json: &'a str, pointer: &str) -> Option<&'a str> {
        find(json, &tokens(pointer)).unwrap()
    }

    #[test]
    fn pointers_as_rfc_6901_has_them() {
        let json = r#" {"foo":["bar","baz"],"":0,"a/b":1,"m~n":8," ":7,"c%d":2,"~1":5} "#;
        assert_eq!(at(json, ""), Some(json.trim()));
        assert_eq!(at(json, "/foo"), Some(r#"["bar","baz"]"#));
        assert_eq!(at(json, "/foo/1"), Some(r#""baz""#));
        for (pointer, value) in
            [("/", "0"), ("/a~1b", "1"), ("/m~0n", "8"), ("/ ", "7"), ("/c%d", "2"), ("/~01", "5")]
        {
            assert_eq!(at(json, pointer), Some(value), "{pointer}");
        }
        for missing in ["/foo/2", "/foo/01", "/foo/-", "/foo/+1", "/foo/", "/nix", "/a~1b/x"] {
            assert_eq!(at(json, missing), None, "{missing}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_counts_however_it_is_spelled() {
        assert_eq!(at(r#"{"a":1,"b":2,"\u0061":3}"#, "/a"), Some("3"));
        assert_eq!(at(r#"{"\ud800":1,"a":2}"#, "/a"), Some("2"), "a key that spells nothing is no obstacle");
    }

    #[test]
    fn values_are_slices_of_the_input() {
        let json = "{ \"n\" :\t12345678901234567890.10e999 , \"o\": { } }";
        let n = at(json, "/n").unwrap();
        assert_eq!(n, "12345678901234567890.10e999");
        assert_eq!(&json[position(json, n)..][..n.len()], n);
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        let json = format!(r#"{{"deep":{deep},"a":"x"}}"#);
        assert_eq!(at(&json, "/a"), Some("\"x\""));
        assert_eq!(at(&json, "/deep/0/0").map(str::len), Some(deep.len() - 4));
        assert!(find(&json[..json.len() / 2], &[]).is_ok(), "the empty pointer checks nothing");
        assert!(members(&json[..json.len() / 2], |_, _| {}).is_err());
        assert!(members(&deep, |_, _| {}).is_ok());
    }

    #[test]
    fn errors_do_not_quote() {
        for json in [
            r#"{"secret" "#,
            r#"{"a":secret}"#,
            r#"{"a":1} secret"#,
            "{secret:1}",
            "",
            "[1,]",
            "{\"a\":\"\x01\"}",
        ] {
            let error = members(json, |_, _| {}).unwrap_err().to_string();
            assert!(!error.contains("secret") && error.contains("line 1"), "{json}: {error}");
        }
    }

    #[test]
    fn strings() {
        assert_eq!(string(r#""plain""#).unwrap(), "plain");
        assert_eq!(string(r#""\ud83d\ude00\n""#).unwrap(), "😀\n");
        assert_eq!(string(r#""\ud83d""#), None);
        assert_eq!(string("1"), None);
        assert_eq!(string("\""), None);
    }
}
