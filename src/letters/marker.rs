//! The marker: a record in the dead-letter topic that says which of its letters were replayed. It
//! is written in the same transaction as the replayed records, so one is never there without the
//! other. Pure.

use serde::{Deserialize, Serialize};

use super::ranges::{Range, Ranges};
use super::time;
use crate::record::{Header, Offset, Record};

/// A replayed record's header: `TOPIC/PARTITION/OFFSET` of its letter.
pub const REPLAYED: &str = "__squeezeflow.replayed";
/// A marker's only header, with the value `1`.
const MARKER: &str = "__squeezeflow.replayed.marker";

/// These letters were replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Of the dead-letter topic: the letters', and so the marker's.
    pub partition: i32,
    /// In milliseconds since the Unix epoch: the replay that it was, by the time it began.
    pub run: i64,
    /// Their offsets; not empty, all in front of the marker's own.
    pub offsets: Ranges,
}

/// The value, in JSON. Members may be added.
#[derive(Serialize, Deserialize)]
struct Value {
    partition: i32,
    offsets: Vec<(i64, i64)>,
    run: String,
}

impl Marker {
    /// `None`: it is none. (A record of somebody's that has this header and was dead-lettered is a
    /// letter: more headers follow.)
    pub fn read(record: &Record) -> Option<Self> {
        let [header] = record.headers.as_slice() else { return None };
        if header.name != MARKER.as_bytes() || header.value.as_deref() != Some(b"1") {
            return None;
        }
        let Value { partition, offsets, run } = serde_json::from_slice(record.value.as_deref()?).ok()?;
        let run = time::instant(&run)?;
        let mut ranges = Ranges::default();
        for (first, last) in offsets {
            // Letters lie in front of their marker. What says otherwise was not written here.
            if first < 0 || first > last || last >= record.offset.raw() {
                return None;
            }
            ranges.insert((Offset::new(first), Offset::new(last)));
        }
        let sound = partition == record.partition && !ranges.is_empty();
        sound.then_some(Self { partition, run, offsets: ranges })
    }

    /// Unlike any other marker's, so that compaction keeps them all: within one run a letter is
    /// replayed once.
    pub fn key(&self) -> Vec<u8> {
        let first = self.offsets.iter().next().map_or(0, |(first, _)| first.raw());
        format!("{REPLAYED}/{}/{first}/{}", self.partition, self.run).into_bytes()
    }

    /// JSON.
    pub fn value(&self) -> Vec<u8> {
        let raw = |(first, last): Range| (first.raw(), last.raw());
        let offsets: Vec<_> = self.offsets.iter().map(raw).collect();
        let value = Value { partition: self.partition, offsets, run: time::rfc3339(self.run) };
        serde_json::json!(value).to_string().into_bytes()
    }

    /// What tells a marker from everything else.
    pub fn header() -> Header {
        Header::new(MARKER, "1")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::record::Timestamp;

    fn lying_at(offset: i64, marker: &Marker) -> Record {
        Record {
            topic: "dead".into(),
            partition: marker.partition,
            offset: Offset::new(offset),
            key: Some(marker.key()),
            value: Some(marker.value()),
            headers: vec![Marker::header()],
            timestamp: Timestamp(None),
        }
    }

    fn marker(offsets: &[i64]) -> Marker {
        let offsets = offsets.iter().copied().map(Offset::new).collect();
        Marker { partition: 2, run: 1_769_846_400_123, offsets }
    }

    #[test]
    fn the_words_are_these() {
        let marker = marker(&[10, 11, 12, 20]);
        assert_eq!(marker.key(), b"__squeezeflow.replayed/2/10/1769846400123");
        let value = r#"{"partition":2,"offsets":[[10,12],[20,20]],"run":"2026-01-31T08:00:00.123Z"}"#;
        assert_eq!(String::from_utf8(marker.value()).unwrap(), value);
    }

    #[test]
    fn only_a_sound_one_is_read() {
        let good = lying_at(30, &marker(&[10, 11]));
        assert_eq!(Marker::read(&good), Some(marker(&[10, 11])));
        let with = |value: &str| Record { value: Some(value.into()), ..good.clone() };
        let run = "2026-01-31T08:00:00Z";
        for wrong in [
            lying_at(11, &marker(&[10, 11])),
            Record { partition: 3, ..good.clone() },
            Record { headers: vec![Marker::header(), Header::new("x", "")], ..good.clone() },
            Record { headers: vec![], ..good.clone() },
            Record { value: None, ..good.clone() },
            with("{}"),
            with(&format!(r#"{{"partition":2,"offsets":[],"run":"{run}"}}"#)),
            with(&format!(r#"{{"partition":2,"offsets":[[5,4]],"run":"{run}"}}"#)),
            with(&format!(r#"{{"partition":2,"offsets":[[-5,4]],"run":"{run}"}}"#)),
            with(r#"{"partition":2,"offsets":[[4,5]],"run":"now"}"#),
        ] {
            assert_eq!(Marker::read(&wrong), None, "{wrong:?}");
        }
        let more = with(&format!(r#"{{"partition":2,"offsets":[[4,5]],"run":"{run}","by":"x"}}"#));
        assert!(Marker::read(&more).is_some(), "members may be added");
    }

    proptest! {
        #[test]
        fn there_and_back(
            offsets in prop::collection::btree_set(0i64..1000, 1..50),
            run in 0i64..4_000_000_000_000,
            partition in 0i32..,
        ) {
            let offsets = offsets.into_iter().map(Offset::new).collect();
            let marker = Marker { partition, run, offsets };
            prop_assert_eq!(Marker::read(&lying_at(1000, &marker)), Some(marker));
        }
    }
}
