//! Which letters are meant. Pure.

use super::letter::Letter;
use crate::record::{Offset, Reason};

/// What is asked for. Empty: every letter. Conditions of different kinds must all hold; of reasons
/// and of topics, any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Empty: any.
    pub reasons: Vec<Reason>,
    /// Topics that the records were read from. Empty: any.
    pub source_topics: Vec<String>,
    /// Written at this time or later: milliseconds since the Unix epoch.
    pub since: Option<i64>,
    /// Written before this time.
    pub until: Option<i64>,
    /// Of the dead-letter topic.
    pub partition: Option<i32>,
    /// In that partition: the first.
    pub from: Option<Offset>,
    /// The last.
    pub to: Option<Offset>,
}

impl Selection {
    /// Is this letter meant?
    pub fn takes(&self, letter: &Letter) -> bool {
        let time = letter.written.0;
        let any = |empty: bool, found: bool| empty || found;
        any(self.reasons.is_empty(), self.reasons.iter().any(|r| r.as_str() == letter.reason))
            && any(
                self.source_topics.is_empty(),
                self.source_topics.iter().any(|t| **t == *letter.original.topic),
            )
            // A letter without a time is in no span of time.
            && self.since.is_none_or(|since| time.is_some_and(|t| t >= since))
            && self.until.is_none_or(|until| time.is_some_and(|t| t < until))
            && self.partition.is_none_or(|partition| letter.partition == partition)
            && self.from.is_none_or(|from| letter.offset >= from)
            && self.to.is_none_or(|to| letter.offset <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Timestamp};

    fn letter(time: Option<i64>) -> Letter {
        Letter {
            partition: 2,
            offset: Offset::new(40),
            written: Timestamp(time),
            reason: "text_empty".into(),
            stage: "decode".into(),
            message: String::new(),
            version: "1".into(),
            cut: false,
            original: Record {
                topic: "reviews".into(),
                partition: 0,
                offset: Offset::new(7),
                key: None,
                value: None,
                headers: vec![],
                timestamp: Timestamp(Some(1)),
            },
        }
    }

    #[test]
    fn every_condition_counts() {
        let all = Selection::default();
        let cases: [(&str, Selection, bool); 14] = [
            ("all", all.clone(), true),
            ("reason", Selection { reasons: vec![Reason::TextEmpty], ..all.clone() }, true),
            (
                "a reason of two",
                Selection { reasons: vec![Reason::InvalidJson, Reason::TextEmpty], ..all.clone() },
                true,
            ),
            ("other reason", Selection { reasons: vec![Reason::InvalidJson], ..all.clone() }, false),
            ("topic", Selection { source_topics: vec!["a".into(), "reviews".into()], ..all.clone() }, true),
            ("other topic", Selection { source_topics: vec!["review".into()], ..all.clone() }, false),
            ("since then", Selection { since: Some(1000), ..all.clone() }, true),
            ("since later", Selection { since: Some(1001), ..all.clone() }, false),
            ("until then", Selection { until: Some(1000), ..all.clone() }, false),
            ("until later", Selection { until: Some(1001), ..all.clone() }, true),
            ("other partition", Selection { partition: Some(1), ..all.clone() }, false),
            ("from it", Selection { partition: Some(2), from: Some(Offset::new(40)), ..all.clone() }, true),
            ("to it", Selection { partition: Some(2), to: Some(Offset::new(40)), ..all.clone() }, true),
            ("past it", Selection { from: Some(Offset::new(41)), ..all.clone() }, false),
        ];
        for (what, selection, taken) in cases {
            assert_eq!(selection.takes(&letter(Some(1000))), taken, "{what}");
        }
        let both = Selection { reasons: vec![Reason::TextEmpty], since: Some(1001), ..all.clone() };
        assert!(!both.takes(&letter(Some(1000))));
        assert!(all.takes(&letter(None)));
        assert!(!Selection { since: Some(0), ..all }.takes(&letter(None)));
    }
}
