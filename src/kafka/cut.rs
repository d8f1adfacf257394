//! A dead letter that its topic does not take whole is cut, a step at a time, and says so: the value
//! to 16 KiB, then the record's own headers, then the key to 1 KiB; and if that is still too much, the
//! value by halves, and the key. Pure.
//!
//! What is cut is told in headers of our own, kept apart from the record's: whatever names those have,
//! they are told from ours by their place.

use sha2::{Digest, Sha256};

use crate::record::{Header, Record};

/// What is left of the value at first.
const VALUE: usize = 16 * 1024;
/// And of the key.
const KEY: usize = 1024;
/// The value is not halved to less than this, but left out.
const LEAST: usize = 64;

/// One step. `false`: there is nothing left to cut.
pub(super) fn shorten(record: &mut Record, marks: &mut Vec<Header>) -> bool {
    let Record { key, value, headers, .. } = record;
    if let Some(value) = value.as_mut().filter(|v| v.len() > VALUE) {
        truncate("value", value, VALUE, marks);
    } else if !headers.is_empty() {
        let mut all = Vec::new();
        for Header { name, value } in headers.iter() {
            all.extend([name, b"=".as_slice(), value.as_deref().unwrap_or_default(), b"\n"].concat());
        }
        marks.push(mark("headers", headers.len().to_string()));
        tell("headers", &all, marks);
        headers.clear();
    } else if let Some(key) = key.as_mut().filter(|k| k.len() > KEY) {
        truncate("key", key, KEY, marks);
    } else if let Some(value) = value.as_mut().filter(|v| !v.is_empty()) {
        let half = if value.len() > LEAST { value.len() / 2 } else { 0 };
        truncate("value", value, half, marks);
    } else if let Some(key) = key.as_mut().filter(|k| !k.is_empty()) {
        truncate("key", key, 0, marks);
    } else {
        return false;
    }
    true
}

fn truncate(what: &str, bytes: &mut Vec<u8>, to: usize, marks: &mut Vec<Header>) {
    tell(what, bytes, marks);
    bytes.truncate(to);
}

/// Length and digest of the whole, at the first cut.
fn tell(what: &str, whole: &[u8], marks: &mut Vec<Header>) {
    let length = mark(&format!("{what}_length"), whole.len().to_string());
    if marks.iter().any(|m| m.name == length.name) {
        return;
    }
    let digest: String = Sha256::digest(whole).iter().map(|b| format!("{b:02x}")).collect();
    marks.push(length);
    marks.push(mark(&format!("{what}_sha256"), digest));
}

fn mark(name: &str, what: String) -> Header {
    Header::new(format!("__squeezeflow.errors.cut.{name}"), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Offset, Timestamp};

    #[test]
    fn step_by_step_down_to_nothing_and_the_whole_is_told() {
        let mut record = Record {
            topic: "t".into(),
            partition: 0,
            offset: Offset::new(0),
            key: Some(vec![b'k'; 5000]),
            value: Some(vec![b'v'; 100_000]),
            // Named as ours are, and cut all the same.
            headers: vec![Header::new("__squeezeflow.errors.cut.big", vec![b'h'; 50_000])],
            timestamp: Timestamp(None),
        };
        let mut marks = Vec::new();
        let sizes = |r: &Record| {
            (r.value.as_ref().map_or(0, Vec::len), r.headers.len(), r.key.as_ref().map_or(0, Vec::len))
        };
        let mut seen = Vec::new();
        while shorten(&mut record, &mut marks) {
            seen.push(sizes(&record));
            assert!(seen.len() < 50, "it comes to an end");
        }
        assert_eq!(seen[..4], [(16_384, 1, 5000), (16_384, 0, 5000), (16_384, 0, 1024), (8192, 0, 1024)]);
        assert_eq!(seen.last(), Some(&(0, 0, 0)));
        let told: Vec<(String, String)> = marks
            .iter()
            .map(|h| (&h.name, h.value.as_deref().unwrap_or_default()))
            .map(|(n, v)| (String::from_utf8_lossy(n).into_owned(), String::from_utf8_lossy(v).into_owned()))
            .map(|(n, v)| (n.replace("__squeezeflow.errors.cut.", ""), v))
            .collect();
        let names: Vec<&str> = told.iter().map(|(n, _)| n.as_str()).collect();
        let expected = [
            "value_length",
            "value_sha256",
            "headers",
            "headers_length",
            "headers_sha256",
            "key_length",
            "key_sha256",
        ];
        assert_eq!(names, expected, "each once");
        assert_eq!((told[0].1.as_str(), told[2].1.as_str(), told[5].1.as_str()), ("100000", "1", "5000"));
        assert_eq!(told[1].1.len(), 64);
    }
}
