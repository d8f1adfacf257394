//! Which entities are written otherwise in the text, and how. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::entities::{Entity, group_of};
use super::tokens::Token;
use crate::model::tasks::TaskError;
use crate::model::tasks::places::Characters;

/// Groups whose entities are hidden: all, some, or each with what stands in its place.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Redact {
    /// Every one that is not ignored.
    All(All),
    /// These.
    Groups(Vec<String>),
    /// These, each by a word of its own.
    With(BTreeMap<String, String>),
}

/// The word for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Every group.
    All,
}

impl JsonSchema for Redact {
    fn schema_name() -> Cow<'static, str> {
        "Redact".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array", "object"], "title": "`all`, a list of groups, or a map from group to word",
            "pattern": "^all$", "items": { "type": "string", "minLength": 1 }, "minItems": 1,
            "additionalProperties": { "type": "string", "title": "what stands there instead" }, "minProperties": 1,
            "examples": ["all", ["PER", "LOC"], { "PER": "[NAME]" }]
        })
    }
}

impl Redact {
    /// Do the model's labels have these groups, and are they found? What is `ignored` is not hidden; by which entry, if
    /// by any, this says of a label.
    pub(super) fn check<'a>(
        &self,
        labels: &[String],
        ignored: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<(), TaskError> {
        let named: Vec<&String> = match self {
            Self::All(_) if labels.iter().all(|label| ignored(label).is_some()) => {
                let what = "hides nothing: `ignore_labels` has every label of the package";
                return Err(TaskError::option("redact", what, "ignore fewer, or leave it out"));
            }
            Self::All(_) => Vec::new(),
            Self::Groups(groups) => groups.iter().collect(),
            Self::With(words) => words.keys().collect(),
        };
        let groups: BTreeSet<&str> = labels.iter().map(|label| group_of(label)).collect();
        for group in named {
            if !groups.contains(group.as_str()) {
                let what = format!("{group} is no group of the package's labels");
                let hint = format!("its groups: {}", Vec::from_iter(groups).join(", "));
                return Err(TaskError::option("redact", what, hint));
            }
            let mut of_group = labels.iter().filter(|label| group_of(label) == group);
            if let Some(ignored) = of_group.find_map(|label| ignored(label)) {
                let what = format!("{group} would not be hidden: `ignore_labels` has {ignored}");
                let hint = format!("take {group} out of `redact`, or {ignored} out of `ignore_labels`");
                return Err(TaskError::option("redact", what, hint));
            }
        }
        Ok(())
    }

    /// What stands in the place of an entity of this group; `None`: it stays.
    fn with(&self, group: &str) -> Option<String> {
        match self {
            Self::All(_) => Some(format!("[{group}]")),
            Self::Groups(groups) => groups.iter().any(|g| g == group).then(|| format!("[{group}]")),
            Self::With(words) => words.get(group).cloned(),
        }
    }
}

/// The parts of the text that are hidden: whole words, for half a name is still one. In order, none
/// overlapping; neighbours of one group without anything between them are one.
pub(super) fn redactions(
    redact: &Redact,
    entities: &[Entity],
    tokens: &[Token<'_>],
    text: &Characters<'_>,
) -> Vec<(Range<usize>, String)> {
    let words = words(tokens);
    let mut all: Vec<(Range<usize>, String)> = Vec::new();
    for entity in entities {
        let Some(with) = redact.with(group_of(&entity.name)) else { continue };
        let mut at = entity.at.clone();
        let first = words.partition_point(|word| word.end <= entity.at.start);
        for word in words.iter().skip(first).take_while(|word| word.start < entity.at.end) {
            at = at.start.min(word.start)..at.end.max(word.end);
        }
        let at = text.whole(at);
        match all.last_mut() {
            _ if at.is_empty() => {}
            // Two that share a word are one, under the name of the first; so are the tokens of one entity.
            Some((last, old)) if at.start < last.end || at.start == last.end && *old == with => {
                last.start = last.start.min(at.start);
                last.end = last.end.max(at.end);
            }
            _ => all.push((at, with)),
        }
    }
    all
}

/// The bytes of each word that the tokenizer sees.
fn words(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut last = None;
    for token in tokens {
        let (start, end) = (token.span.start as usize, token.span.end as usize);
        match words.last_mut() {
            Some(word) if token.span.word.is_some() && token.span.word == last => {
                *word = word.start.min(start)..word.end.max(end);
            }
            _ => words.push(start..end),
        }
        last = token.span.word;
    }
    words
}
