//! Reading a JSON document without taking it apart: values are borrowed slices of the text, so
//! numbers, key order, white space and duplicates stay as they are, and a slice's address tells
//! where it stands. Nothing here recurses on the input: serde_json skips a raw value iteratively,
//! whatever its depth.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, in order, duplicates included.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The element of an array at one place; the rest is only looked over.
struct Element<'a>(Option<&'a RawValue>);

impl<'a> Element<'a> {
    fn at(array: &'a RawValue, index: usize) -> serde_json::Result<Self> {
        struct Pick(usize);
        impl<'de> Visitor<'de> for Pick {
            type Value = Option<&'de RawValue>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let (mut at, mut found) = (0, None);
                while let Some(element) = seq.next_element::<&RawValue>()? {
                    if at == self.0 {
                        found = Some(element);
                    }
                    at += 1;
                }
                Ok(found)
            }
        }
        let mut deserializer = serde_json::Deserializer::from_str(array.get());
        deserializer.deserialize_seq(Pick(index)).map(Element)
    }
}

/// Follows a JSON pointer (RFC 6901), already split and unescaped. Of duplicate keys the last one
/// counts, as in most parsers. `Ok(None)`: it leads nowhere.
pub(super) fn follow<'a>(root: &'a RawValue, pointer: &[String]) -> serde_json::Result<Option<&'a RawValue>> {
    let mut at = root;
    for step in pointer {
        let next = match at.get().as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(at.get())?;
                members.into_iter().rev().find(|(key, _)| key == step).map(|(_, value)| value)
            }
            // RFC 6901: digits only, no leading zero.
            Some(b'[') if step == "0" || (!step.starts_with('0') && !step.starts_with('+')) => {
                match step.parse() {
                    Ok(index) => Element::at(at, index)?.0,
                    Err(_) => None,
                }
            }
            _ => None,
        };
        match next {
            Some(value) => at = value,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// A JSON pointer's steps. The empty pointer is the root itself.
pub(super) fn steps(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

/// Where `part` stands in `whole`, of which it must be a slice.
pub(super) fn range(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}
