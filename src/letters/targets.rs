//! Where letters may go back to, and why some may not. Pure.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use super::letter::Letter;
use super::time;
use crate::config::Subscription;
use crate::kafka::topic_limits::Limits;
use crate::record::{Record, Timestamp};

/// Why a chosen letter stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// It was replayed before.
    Replayed,
    /// It was cut to fit the dead-letter topic: the record is not whole any more.
    Cut,
    /// The pipeline does not read the topic that it came from.
    NotRead,
    /// The topic that it came from is not there.
    NoTopic,
    /// Nor is the partition.
    NoPartition,
    /// The topic would delete it at once: it keeps records for less time than this one is old.
    TooOld(Duration),
    /// The topic would refuse it for another reason: told in words.
    Refused(String),
    /// The topic that it came from takes no record of its size any more.
    TooLarge,
}

impl fmt::Display for Left {
    /// For people; goes on after a number of letters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replayed => f.write_str("replayed before (`--again` sends them again)"),
            Self::Cut => f.write_str("cut to fit the dead-letter topic: the record is not whole any more"),
            Self::NotRead => f.write_str("from a topic that `input.topics` does not name"),
            Self::NoTopic => f.write_str("from a topic that is not there, or that this user may not see"),
            Self::NoPartition => f.write_str("from a partition that its topic does not have any more"),
            Self::TooOld(keeps) => write!(
                f,
                "older than their topic keeps records ({}): it may delete them before they are read. \
                 `--timestamps renew` sends them as of now, `--timestamps keep` as they are",
                time::spoken(*keeps)
            ),
            Self::Refused(why) => write!(f, "that their topic would refuse: {why}"),
            Self::TooLarge => f.write_str("larger than their topic takes now: raise its max.message.bytes"),
        }
    }
}

/// What becomes of the original timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timestamps {
    /// They are kept; a record that its topic would delete for its age stays where it is.
    #[default]
    Safe,
    /// They are kept, whatever the topic does then. (What it refuses is not sent all the same.)
    Keep,
    /// The time of the replay stands instead.
    Renew,
}

/// The topics that the pipeline reads and that are there.
pub(super) struct Targets<'a> {
    subscriptions: Vec<Subscription<'a>>,
    /// With their numbers of partitions.
    topics: BTreeMap<&'a str, i32>,
    limits: HashMap<String, Limits>,
    timestamps: Timestamps,
    now: i64,
}

impl<'a> Targets<'a> {
    /// Of `input.topics` and the topics of the cluster.
    pub(super) fn find(input: &'a [String], cluster: &'a BTreeMap<String, i32>) -> Self {
        // The validation has parsed them before.
        let subscriptions: Vec<_> = input.iter().filter_map(|t| Subscription::parse(t).ok()).collect();
        let topics = cluster.iter().map(|(topic, partitions)| (topic.as_str(), *partitions));
        let topics = topics.filter(|(topic, _)| subscriptions.iter().any(|s| s.reads(topic))).collect();
        Self { subscriptions, topics, limits: HashMap::new(), timestamps: Timestamps::default(), now: 0 }
    }

    /// With what the topics say of themselves, and what is wished of the timestamps.
    pub(super) fn within(mut self, limits: HashMap<String, Limits>, wish: Timestamps, now: i64) -> Self {
        (self.limits, self.timestamps, self.now) = (limits, wish, now);
        self
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.topics.keys().copied()
    }

    /// What they and the dead-letter topic say of themselves.
    pub(super) fn limits(&self) -> impl Iterator<Item = &Limits> {
        self.limits.values()
    }

    /// Why it cannot go back, if it cannot.
    pub(super) fn refuse(&self, letter: &Letter) -> Option<Left> {
        if letter.cut {
            return Some(Left::Cut);
        }
        let original = &letter.original;
        let Some(partitions) = self.topics.get(&*original.topic) else {
            let read = self.subscriptions.iter().any(|s| s.reads(&original.topic));
            return Some(if read { Left::NoTopic } else { Left::NotRead });
        };
        if original.partition >= *partitions {
            return Some(Left::NoPartition);
        }
        let limits = self.limits.get(&*original.topic)?;
        refused(limits, original, self.timestamps, self.now)
            .map(Left::Refused)
            .or_else(|| doomed(limits, original.timestamp, self.timestamps, self.now).map(Left::TooOld))
    }
}

/// Why the topic would not take it; and what would help, if that is in our hands.
fn refused(limits: &Limits, record: &Record, wish: Timestamps, now: i64) -> Option<String> {
    let sent_with = |timestamp| limits.refusal(&record.topic, record, timestamp, now);
    let renewed = Timestamp(None);
    if wish == Timestamps::Renew {
        return sent_with(renewed);
    }
    let why = sent_with(record.timestamp)?;
    let help = if sent_with(renewed).is_none() { "; `--timestamps renew` sends it as of now" } else { "" };
    Some(why + help)
}

/// For how long the topic keeps records, if this one is older.
fn doomed(limits: &Limits, timestamp: Timestamp, wish: Timestamps, now: i64) -> Option<Duration> {
    let keeps = limits.keeps?;
    // 0 is written as the time of writing, like none.
    let age = now.saturating_sub(timestamp.0.filter(|t| *t != 0)?);
    let doomed = u128::try_from(age).is_ok_and(|age| age >= keeps.as_millis());
    (doomed && wish == Timestamps::Safe).then_some(keeps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Offset;

    const DAY: i64 = 86_400_000;

    fn letter(topic: &str, partition: i32, timestamp: Option<i64>) -> Letter {
        Letter {
            partition: 0,
            offset: Offset::new(0),
            written: Timestamp(Some(10 * DAY)),
            reason: "text_empty".into(),
            stage: "decode".into(),
            message: String::new(),
            version: "1".into(),
            cut: false,
            original: Record {
                topic: topic.into(),
                partition,
                offset: Offset::new(7),
                key: None,
                value: None,
                headers: vec![],
                timestamp: Timestamp(timestamp),
            },
        }
    }

    #[test]
    fn only_what_the_pipeline_reads_and_the_cluster_has() {
        let input = ["reviews".to_owned(), "gone".to_owned(), "^logs[.].*$".to_owned()];
        let cluster = [("reviews", 4), ("logs.web", 1), ("other", 9)].map(|(t, p)| (t.to_owned(), p)).into();
        let targets = Targets::find(&input, &cluster);
        assert!(targets.names().eq(["logs.web", "reviews"]));
        let refused = |topic, partition| targets.refuse(&letter(topic, partition, Some(0)));
        assert_eq!(refused("reviews", 3), None);
        assert_eq!(refused("logs.web", 0), None);
        assert_eq!(refused("reviews", 4), Some(Left::NoPartition));
        assert_eq!(refused("gone", 0), Some(Left::NoTopic));
        assert_eq!(refused("logs.db", 0), Some(Left::NoTopic));
        assert_eq!(refused("other", 0), Some(Left::NotRead));
        let cut = Letter { cut: true, ..letter("reviews", 0, None) };
        assert_eq!(targets.refuse(&cut), Some(Left::Cut));
    }

    #[test]
    fn what_would_be_deleted_at_once_stays_unless_wished_otherwise() {
        let (input, cluster) = (["reviews".to_owned()], [("reviews".to_owned(), 1)].into());
        let keeps = Duration::from_secs(7 * 86_400);
        let limits = |keeps| [("reviews".to_owned(), Limits { keeps, ..Limits::default() })].into();
        let refused = |keeps, wish, timestamp| {
            let targets = Targets::find(&input, &cluster).within(limits(keeps), wish, 10 * DAY);
            targets.refuse(&letter("reviews", 0, timestamp))
        };
        assert_eq!(refused(Some(keeps), Timestamps::Safe, Some(3 * DAY)), Some(Left::TooOld(keeps)));
        assert_eq!(refused(Some(keeps), Timestamps::Safe, Some(3 * DAY + 1)), None);
        assert_eq!(refused(Some(keeps), Timestamps::Safe, None), None, "it is written as of now");
        assert_eq!(refused(Some(keeps), Timestamps::Safe, Some(11 * DAY)), None, "from the future");
        assert_eq!(refused(Some(keeps), Timestamps::Safe, Some(0)), None, "as of now, too");
        assert_eq!(refused(Some(keeps), Timestamps::Keep, Some(1)), None);
        assert_eq!(refused(Some(keeps), Timestamps::Renew, Some(1)), None);
        assert_eq!(refused(None, Timestamps::Safe, Some(1)), None);
    }

    #[test]
    fn what_its_topic_would_refuse_stays_and_holds_nothing_else_up() {
        let (input, cluster) = (["reviews".to_owned()], [("reviews".to_owned(), 1)].into());
        let keyed = |timestamp| {
            let mut keyed = letter("reviews", 0, timestamp);
            keyed.original.key = Some(b"key".to_vec());
            keyed
        };
        let refused = |limits: Limits, wish, letter: &Letter| {
            let limits = [("reviews".to_owned(), limits)].into();
            let targets = Targets::find(&input, &cluster).within(limits, wish, 10 * DAY);
            targets.refuse(letter).map(|left| left.to_string()).unwrap_or_default()
        };
        let by_time = Limits { behind: Some(DAY), ahead: Some(DAY), ..Limits::default() };
        for (at, which) in [(8 * DAY, "before"), (12 * DAY, "after")] {
            for wish in [Timestamps::Safe, Timestamps::Keep] {
                let why = refused(by_time, wish, &keyed(Some(at)));
                assert!(why.starts_with("that their topic would refuse: "), "{why}");
                assert!(why.contains(&format!("`message.timestamp.{which}.max.ms`")), "{why}");
                assert!(why.ends_with("`--timestamps renew` sends it as of now"), "{why}");
            }
            assert_eq!(refused(by_time, Timestamps::Renew, &keyed(Some(at))), "");
        }
        for as_of_now in [None, Some(0), Some(10 * DAY)] {
            assert_eq!(refused(by_time, Timestamps::Safe, &keyed(as_of_now)), "");
        }
        // Of what no time would help it says nothing of time.
        let compacted = Limits { compacted: true, ..by_time };
        for wish in [Timestamps::Safe, Timestamps::Keep, Timestamps::Renew] {
            let why = refused(compacted, wish, &letter("reviews", 0, None));
            assert!(why.ends_with("the record has no key, and topic `reviews` is compacted"), "{why}");
        }
        assert_eq!(refused(compacted, Timestamps::Safe, &keyed(None)), "");
        // Refusal comes before deletion: `keep` would not help it.
        let both = Limits { keeps: Some(Duration::from_secs(86_400)), ..by_time };
        assert!(refused(both, Timestamps::Safe, &keyed(Some(8 * DAY))).contains("would refuse"));
    }
}
