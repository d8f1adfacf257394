//! What a record of the dead-letter topic is: a letter, a marker of a replay, or something else.
//! Pure. The counterpart of `enrich::dead_letter_headers`, which writes what is read here.

use super::marker::Marker;
use crate::config;
use crate::enrich::TRACE_ID;
use crate::record::{Header, Offset, Record, Timestamp};

const PREFIX: &[u8] = b"__squeezeflow.errors.";
/// What a letter's last headers tell, in their order.
const STORY: [&str; 8] =
    ["topic", "partition", "offset", "timestamp", "reason", "message", "stage", "version"];
/// What begins so, directly in front of the story, tells that the letter was cut.
const CUT: &[u8] = b"__squeezeflow.errors.cut.";
/// A reason, a stage: codes of ours, today's or tomorrow's. What is longer is none.
const MAX_CODE: usize = 64;

/// A record that could not be enriched, and its story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Its offset there.
    pub offset: Offset,
    /// When it was written there.
    pub written: Timestamp,
    /// The code, as it stands there: a newer worker may have some that this one does not know.
    pub reason: String,
    /// Where in the pipeline it happened.
    pub stage: String,
    /// For people.
    pub message: String,
    /// The worker's.
    pub version: String,
    /// Something of the record is gone: it is not what it was.
    pub cut: bool,
    /// The record as it was read: where, when, and with its own headers only.
    pub original: Record,
}

/// What a record of the dead-letter topic is.
#[derive(Debug)]
pub enum Found {
    /// A dead letter.
    Letter(Box<Letter>),
    /// Says which letters were replayed.
    Marker(Marker),
    /// Somebody else's: left alone.
    Other,
}

/// Takes a record of the dead-letter topic for what it is.
pub fn recognise(record: Record) -> Found {
    match story(&record.headers) {
        Some(story) => Found::Letter(Box::new(story.of(record))),
        None => Marker::read(&record).map_or(Found::Other, Found::Marker),
    }
}

/// The last eight headers, read.
struct Story {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    reason: String,
    message: String,
    stage: String,
    version: String,
}

/// The record's own headers may tell of errors too (a pipeline may read the dead letters of
/// another): only the last block is ours.
fn story(headers: &[Header]) -> Option<Story> {
    let (_, block) = headers.split_last_chunk::<8>()?;
    let mut texts = [""; 8];
    for ((header, name), text) in block.iter().zip(STORY).zip(&mut texts) {
        if header.name.strip_prefix(PREFIX)? != name.as_bytes() {
            return None;
        }
        *text = str::from_utf8(header.value.as_deref()?).ok()?;
    }
    let [topic, partition, offset, timestamp, reason, message, stage, version] = texts;
    if !is_code(reason) || !is_code(stage) || config::topic_name(topic).is_err() {
        return None;
    }
    let number = |text: &str| text.parse::<i64>().ok();
    Some(Story {
        topic: topic.to_owned(),
        partition: i32::try_from(number(partition)?).ok().filter(|p| *p >= 0)?,
        offset: number(offset).filter(|o| *o >= 0)?,
        timestamp: Some(number(timestamp)?).filter(|t| *t != -1),
        reason: reason.to_owned(),
        message: message.to_owned(),
        stage: stage.to_owned(),
        version: version.to_owned(),
    })
}

fn is_code(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !text.is_empty() && text.len() <= MAX_CODE && text.bytes().all(plain)
}

impl Story {
    fn of(self, record: Record) -> Letter {
        let Record { partition, offset, key, value, mut headers, timestamp: written, .. } = record;
        headers.truncate(headers.len().saturating_sub(STORY.len()));
        // A pair of ours, which names the same trace twice; what else has such a name is the record's own.
        if let [.., parent, id] = headers.as_slice()
            && (parent.name.as_slice(), id.name.as_slice()) == (b"traceparent", TRACE_ID.as_bytes())
            && parent.value.as_deref().zip(id.value.as_deref()).is_some_and(|(p, i)| p.get(3..35) == Some(i))
        {
            headers.truncate(headers.len() - 2);
        }
        let cut = headers.last().is_some_and(|h| h.name.starts_with(CUT));
        Letter {
            partition,
            offset,
            written,
            reason: self.reason,
            stage: self.stage,
            message: self.message,
            version: self.version,
            cut,
            original: Record {
                topic: self.topic.into(),
                partition: self.partition,
                offset: Offset::new(self.offset),
                key,
                value,
                headers,
                timestamp: Timestamp(self.timestamp),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::enrich::{dead_letter_headers, dead_letter_trace};
    use crate::record::{DeadLetter, Reason, Stage};

    const STAGES: [Stage; 5] = [Stage::Decode, Stage::Tokenize, Stage::Infer, Stage::Enrich, Stage::Publish];

    /// Headers of all sorts, those of another pipeline's dead letters and markers among them.
    fn header() -> impl Strategy<Value = Header> {
        let ours = prop::sample::select([STORY.as_slice(), &["cut.value_length", "cut.headers"]].concat());
        let name = prop_oneof![
            3 => vec(1u8.., 0..8),
            3 => ours.prop_map(|name| [PREFIX, name.as_bytes()].concat()),
            1 => Just(b"__squeezeflow.replayed".to_vec()),
            1 => Just(b"__squeezeflow.replayed.marker".to_vec()),
        ];
        let value = option::of(prop_oneof![vec(any::<u8>(), 0..8), Just(b"1".to_vec())]);
        (name, value).prop_map(|(name, value)| Header { name, value })
    }

    fn record() -> impl Strategy<Value = Record> {
        let bytes = || option::of(vec(any::<u8>(), 0..20));
        let time = option::of(any::<i64>().prop_filter("none", |t| *t != -1));
        (0i32.., 0i64.., bytes(), bytes(), vec(header(), 0..20), time, "[a-z][a-z._-]{0,8}").prop_map(
            |(partition, offset, key, value, headers, time, topic)| Record {
                topic: topic.into(),
                partition,
                offset: Offset::new(offset),
                key,
                value,
                headers,
                timestamp: Timestamp(time),
            },
        )
    }

    fn plain() -> Record {
        Record {
            topic: "reviews".into(),
            partition: 0,
            offset: Offset::new(5),
            key: None,
            value: None,
            headers: vec![],
            timestamp: Timestamp(None),
        }
    }

    /// As the worker writes it, and as it then lies in the topic.
    fn posted(record: &Record, letter: &DeadLetter) -> Record {
        let headers = [record.headers.clone(), dead_letter_headers(record, letter)].concat();
        Record {
            topic: "dead".into(),
            partition: 3,
            offset: Offset::new(77),
            headers,
            timestamp: Timestamp(Some(1_700_000_000_000)),
            ..record.clone()
        }
    }

    /// The same where our span of the record is recorded.
    fn posted_traced(record: &Record, letter: &DeadLetter) -> Record {
        let mut posted = posted(record, letter);
        let at = record.headers.len();
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{id}-00f067aa0ba902b7-01");
        let ours = dead_letter_trace(Header::new("traceparent", parent), id.to_owned());
        posted.headers.splice(at..at, ours);
        posted
    }

    fn letter(reason: Reason, stage: Stage, message: &str) -> DeadLetter {
        DeadLetter { reason, message: message.to_owned(), stage }
    }

    fn read(record: Record) -> Letter {
        match recognise(record) {
            Found::Letter(letter) => *letter,
            other => panic!("not a letter: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_the_worker_writes_is_read_whole(
            record in record(),
            reason in prop::sample::select(Reason::ALL.as_slice()),
            stage in prop::sample::select(STAGES.as_slice()),
            message in "\\PC*",
            traced in any::<bool>(),
        ) {
            let post = if traced { posted_traced } else { posted };
            let read = read(post(&record, &letter(reason, stage, &message)));
            prop_assert_eq!(&read.original, &record);
            prop_assert_eq!((read.partition, read.offset), (3, Offset::new(77)));
            prop_assert_eq!(read.written, Timestamp(Some(1_700_000_000_000)));
            prop_assert_eq!(read.reason, reason.as_str());
            prop_assert_eq!(read.stage, stage.as_str());
            prop_assert_eq!(read.message, message);
            prop_assert_eq!(read.version, env!("CARGO_PKG_VERSION"));
            let marked = record.headers.last().is_some_and(|h| h.name.starts_with(CUT));
            prop_assert_eq!(read.cut, marked);
        }

        /// A letter that another pipeline could not read either is its letter, with ours inside.
        #[test]
        fn a_letter_of_a_letter_is_opened_one_at_a_time(record in record()) {
            let inner = posted_traced(&record, &letter(Reason::TextEmpty, Stage::Decode, "inner"));
            let outer = read(posted(&inner, &letter(Reason::InvalidJson, Stage::Decode, "outer")));
            prop_assert!(!outer.cut);
            prop_assert_eq!(&outer.original, &inner);
            prop_assert_eq!(read(outer.original).original, record);
        }

        #[test]
        fn anything_may_lie_in_the_topic(record in record()) {
            // Only what ends in a whole story is a letter.
            let names: Vec<_> = record.headers.iter().rev().take(8).map(|h| h.name.clone()).collect();
            let whole = STORY.iter().rev().map(|n| [PREFIX, n.as_bytes()].concat()).eq(names);
            if !whole {
                prop_assert!(!matches!(recognise(record), Found::Letter(_)));
            }
        }
    }

    #[test]
    fn headers_that_only_look_like_our_trace_stay() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for [first, second] in [
            [("traceparent", parent), (TRACE_ID, "another")],
            [("by-the-way", parent), (TRACE_ID, "4bf92f3577b34da6a3ce929d0e0e4736")],
            [("traceparent", "00"), (TRACE_ID, "")],
        ] {
            let headers = [first, second].map(|(name, value)| Header::new(name, value)).to_vec();
            let record = Record { headers, ..plain() };
            let posted = posted(&record, &letter(Reason::TextEmpty, Stage::Decode, "empty"));
            assert_eq!(read(posted).original, record);
        }
    }

    #[test]
    fn a_story_with_a_word_out_of_place_is_none() {
        let record = plain();
        let whole = posted(&record, &letter(Reason::TextEmpty, Stage::Decode, ""));
        assert!(matches!(recognise(whole.clone()), Found::Letter(_)));
        let spoiled = |name: &str, value: Option<&[u8]>| {
            let mut headers = whole.headers.clone();
            let name = [PREFIX, name.as_bytes()].concat();
            for header in headers.iter_mut().filter(|h| h.name == name) {
                header.value = value.map(<[u8]>::to_vec);
            }
            recognise(Record { headers, ..whole.clone() })
        };
        for (name, value) in [
            ("topic", Some(b"\x1b[31m".as_slice())),
            ("partition", Some(b"-1")),
            ("partition", Some(b"4294967296")),
            ("offset", Some(b"5 ")),
            ("timestamp", Some(b"yesterday")),
            ("reason", Some(b"Text Empty")),
            ("reason", None),
            ("message", Some(b"\xff")),
            ("stage", Some(b"")),
        ] {
            assert!(matches!(spoiled(name, value), Found::Other), "{name}: {value:?}");
        }
        // A code of a newer worker is one all the same.
        assert!(matches!(spoiled("reason", Some(b"too_clever")), Found::Letter(_)));
        let mut after = whole.clone();
        after.headers.push(Header::new("x", "y"));
        assert!(matches!(recognise(after), Found::Other), "the story ends the headers");
    }

    #[test]
    fn a_cut_letter_says_so() {
        let mut record = Record {
            topic: "reviews".into(),
            partition: 0,
            offset: Offset::new(5),
            key: None,
            value: Some(b"half".to_vec()),
            headers: vec![Header::new("own", "1")],
            timestamp: Timestamp(None),
        };
        record.headers.push(Header::new("__squeezeflow.errors.cut.value_length", "100000"));
        record.headers.push(Header::new("__squeezeflow.errors.cut.value_sha256", "00"));
        assert!(read(posted(&record, &letter(Reason::OutputTooLarge, Stage::Publish, ""))).cut);
    }
}
