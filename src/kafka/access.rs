//! What a worker must be allowed to do, and which of it is missing, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::handshake::our_certificate;
use super::rights::Rights;
use super::tokens::Tokens;
use crate::config::settings::{Kafka, Sasl, Settings};

/// A right that our user lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// READ or WRITE.
    pub operation: Operation,
    /// Of what.
    pub resource: Resource,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reading; of a group: being a member of it, and committing.
    Read,
    /// Writing.
    Write,
}

/// What it is to be done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A consumer group.
    Group(String),
    /// A transactional id.
    TransactionalId(String),
    /// All that begin so: the worker makes a new one at each start.
    TransactionalIds(String),
}

/// The user, and all the rights that are known to be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// As the brokers name it, unless they are told to name it otherwise.
    pub principal: String,
    /// At least one.
    pub missing: Vec<Missing>,
}

impl Denied {
    /// `None`: nothing is missing.
    pub(crate) fn of(principal: String, missing: Vec<Missing>) -> Option<Self> {
        (!missing.is_empty()).then_some(Self { principal, missing })
    }

    pub(crate) fn one(principal: String, operation: Operation, resource: Resource) -> Self {
        Self { principal, missing: vec![Missing { operation, resource }] }
    }
}

impl Operation {
    /// As `kafka-acls.sh` takes it.
    fn word(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic `{name}`"),
            Self::Group(name) => write!(f, "group `{name}`"),
            Self::TransactionalId(name) => write!(f, "transactional id `{name}`"),
            Self::TransactionalIds(prefix) => write!(f, "transactional ids that begin with `{prefix}`"),
        }
    }
}

impl Resource {
    /// The option of `kafka-acls.sh`.
    fn option(&self) -> (&'static str, &str) {
        match self {
            Self::Topic(name) => ("--topic", name),
            Self::Group(name) => ("--group", name),
            Self::TransactionalId(name) => ("--transactional-id", name),
            Self::TransactionalIds(prefix) => ("--resource-pattern-type prefixed --transactional-id", prefix),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all =
            |each: &dyn Fn(&Missing) -> String| self.missing.iter().map(each).collect::<Vec<_>>().join(", ");
        let what = all(&|m| format!("to {} {}", m.operation.word(), m.resource));
        let rights = all(&|m| format!("{} on {}", m.operation.word().to_uppercase(), m.resource));
        let commands: Vec<String> = self
            .missing
            .iter()
            .map(|m| {
                let (option, name) = m.resource.option();
                let operation = m.operation.word();
                format!(
                    "kafka-acls.sh --add --allow-principal '{}' --operation {operation} {option} {name}",
                    self.principal
                )
            })
            .collect();
        write!(
            f,
            "no permission {what}: grant {} {rights} (DESCRIBE comes with it): {}",
            self.principal,
            commands.join("; ")
        )
    }
}

/// What a pipeline does with its topics.
pub(crate) struct Needs<'a> {
    pub(crate) reads: &'a [String],
    pub(crate) writes: Vec<&'a str>,
}

impl<'a> Needs<'a> {
    pub(crate) fn of(settings: &'a Settings) -> Self {
        let dead = settings.dead_letter.as_ref().map(|dead| dead.topic.as_str());
        let writes = settings.output.topics().into_iter().chain(dead).collect();
        Self { reads: &settings.input.topics, writes }
    }

    /// The topics to ask for. Of those that a pattern reads: which of `seen` it matches. (One that our
    /// user may not see is not there, as far as a pattern goes.)
    pub(crate) fn topics<'t>(&'t self, seen: &'t [String]) -> Vec<(Operation, &'t str)> {
        let mut topics = Vec::new();
        for entry in self.reads {
            match entry.starts_with('^') {
                false => topics.push((Operation::Read, entry.as_str())),
                true => {
                    let Ok(pattern) = Regex::new(entry) else { continue };
                    let matched = seen.iter().filter(|topic| pattern.is_match(topic));
                    topics.extend(matched.map(|topic| (Operation::Read, topic.as_str())));
                }
            }
        }
        topics.extend(self.writes.iter().map(|topic| (Operation::Write, *topic)));
        topics
    }

    /// The topic to ask for first; `None`, which asks for all, only where a pattern chooses among them.
    pub(crate) fn one(&self) -> Option<&'a str> {
        let has_patterns = self.reads.iter().any(|entry| entry.starts_with('^'));
        self.writes.first().copied().filter(|_| !has_patterns)
    }
}

/// Which of these is not allowed. What the cluster did not tell is taken for allowed.
pub(crate) fn missing(needed: &[(Operation, &str)], rights: &BTreeMap<String, Rights>) -> Vec<Missing> {
    let lacks = |(operation, topic): &&(Operation, &str)| match (rights.get(*topic), operation) {
        (None, _) => false,
        (Some(Rights::None), _) => true,
        (Some(Rights::Some { read, .. }), Operation::Read) => !read,
        (Some(Rights::Some { write, .. }), Operation::Write) => !write,
    };
    let lacking = needed.iter().filter(lacks);
    lacking
        .map(|(operation, topic)| Missing {
            operation: *operation,
            resource: Resource::Topic((*topic).to_owned()),
        })
        .collect()
}

/// Our user, as the brokers' access lists name it by default.
pub(super) fn principal(kafka: &Kafka, tokens: Option<&Arc<Tokens>>) -> String {
    let certificate = kafka.tls.as_ref().and_then(|tls| tls.certificate_file.as_deref());
    let name = match (&kafka.sasl, certificate) {
        (Some(Sasl::Password { username, .. }), _) => username.clone(),
        (Some(Sasl::OAuth(oauth)), _) => {
            tokens.and_then(|tokens| tokens.subject()).unwrap_or_else(|| oauth.client_id.clone())
        }
        (None, Some(file)) => {
            our_certificate(file).map_or_else(|| "(the client certificate's)".to_owned(), |c| c.subject)
        }
        (None, None) => "ANONYMOUS".to_owned(),
    };
    format!("User:{name}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Told is what the cluster said is not allowed, all of it and nothing else.
        #[test]
        fn what_is_missing_is_what_was_denied(
            topics in prop::collection::btree_map("[a-d]", prop::option::of((any::<bool>(), any::<bool>())), 0..4),
            needed in prop::collection::vec(("[a-f]", any::<bool>()), 0..8),
        ) {
            let rights = topics.iter().map(|(topic, may)| {
                let rights = may.map_or(Rights::None, |(read, write)| Rights::Some { read, write });
                (topic.clone(), rights)
            });
            let rights: BTreeMap<String, Rights> = rights.collect();
            let operation = |write| if write { Operation::Write } else { Operation::Read };
            let asked: Vec<(Operation, &str)> = needed.iter().map(|(t, write)| (operation(*write), t.as_str())).collect();
            let told = missing(&asked, &rights);
            let denied = needed.iter().filter(|(topic, write)| match topics.get(topic) {
                None => false,
                Some(None) => true,
                Some(Some((may_read, may_write))) => if *write { !may_write } else { !may_read },
            });
            let denied: Vec<Missing> = denied
                .map(|(topic, write)| Missing { operation: operation(*write), resource: Resource::Topic(topic.clone()) })
                .collect();
            prop_assert_eq!(told, denied);
        }
    }
}
