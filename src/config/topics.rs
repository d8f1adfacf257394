//! Topic names and patterns: is it one, and does the input read what the output writes? Pure.

use regex::Regex;

/// Why a topic's name or pattern is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("is not a topic name: only a-z, A-Z, 0-9, `.`, `_` and `-` may be in one")]
    Characters,
    #[error("is not a topic name: at most 249 characters")]
    Length,
    #[error("is not a topic name: neither `.` nor `..`")]
    Dots,
    #[error("is not a regular expression")]
    Regex,
    /// The Kafka client has POSIX extended expressions, and would match something else or nothing.
    #[error("is a regular expression of another kind: the Kafka client knows POSIX extended ones only")]
    NotPosix,
}

/// Kafka's own rule for a name (`org.apache.kafka.common.internals.Topic`).
pub(crate) fn name(topic: &str) -> Result<(), TopicError> {
    if topic == "." || topic == ".." {
        return Err(TopicError::Dots);
    }
    if topic.is_empty() || !topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(TopicError::Characters);
    }
    if topic.len() > 249 { Err(TopicError::Length) } else { Ok(()) }
}

/// One entry of `input.topics`.
#[derive(Debug)]
pub(crate) enum Subscription<'a> {
    Name(&'a str),
    Pattern(Regex),
}

impl<'a> Subscription<'a> {
    /// A pattern begins with `^`, as librdkafka has it.
    pub(crate) fn parse(entry: &'a str) -> Result<Self, TopicError> {
        if !entry.starts_with('^') {
            return name(entry).map(|()| Self::Name(entry));
        }
        if !is_posix(entry) {
            return Err(TopicError::NotPosix);
        }
        Regex::new(entry).map(Self::Pattern).map_err(|_| TopicError::Regex)
    }

    /// Does it read this topic?
    pub(crate) fn reads(&self, topic: &str) -> bool {
        match self {
            Self::Name(name) => *name == topic,
            Self::Pattern(pattern) => pattern.is_match(topic),
        }
    }
}

/// Refuses what the `regex` crate reads otherwise than POSIX does: `\d` and its like, `(?…)`, and
/// repetition of a repetition (`*?`), which is lazy in one and an error or greedy in the other.
fn is_posix(pattern: &str) -> bool {
    let mut previous = ' ';
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match c {
            '\\' if next.is_none_or(|n| n.is_ascii_alphanumeric()) => return false,
            '\\' => {
                chars.next();
                previous = ' ';
                continue;
            }
            '(' if next == Some('?') => return false,
            // Set operations and nested sets inside brackets: Rust reads them, POSIX does not.
            '&' | '~' if next == Some(c) => return false,
            '-' if next == Some('-') => return false,
            '[' if next == Some('[') => return false,
            '*' | '+' | '?' if "*+?}".contains(previous) => return false,
            _ => previous = c,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name("reviews.tagged-2_x"), Ok(()));
        assert_eq!(name(&"a".repeat(249)), Ok(()));
        assert_eq!(name(&"a".repeat(250)), Err(TopicError::Length));
        assert_eq!(name("a b"), Err(TopicError::Characters));
        assert_eq!(name(""), Err(TopicError::Characters));
        assert_eq!(name(".."), Err(TopicError::Dots));
    }

    #[test]
    fn subscriptions() {
        let reads = |entry, topic| Subscription::parse(entry).unwrap().reads(topic);
        assert!(reads("reviews", "reviews") && !reads("reviews", "reviews.tagged"));
        assert!(reads("^reviews", "reviews.tagged"), "a pattern is not anchored at its end");
        assert!(!reads("^reviews$", "reviews.tagged"));
        assert!(reads(r"^reviews\.[a-z]+$", "reviews.de") && reads("^(a|b){1,2}$", "ab"));
        for foreign in [r"^a\d+", "^(?i)a", "^a+?", r"^a\"] {
            assert_eq!(Subscription::parse(foreign).unwrap_err(), TopicError::NotPosix, "{foreign}");
        }
        assert_eq!(Subscription::parse("^a(").unwrap_err(), TopicError::Regex);
    }
}
