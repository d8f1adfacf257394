//! `token-classification`: what stands where in the text, such as names; and the text without them.
//!
//! ```json
//! {"entities":[{"entity_group":"PER","score":0.9871,"word":"maria","start":4,"end":9,"start_byte":5,"end_byte":10}]}
//! ```
//!
//! Not aggregated, each token has `entity` (its label) and `index` instead of `entity_group`. What is
//! redacted says `redacted`, with what stands in its place, instead of `word`.

mod entities;
mod redact;
mod tokens;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::entities::{Aggregation, Aggregator, Entity, group_of};
use self::redact::Redact;
use super::places::Characters;
use super::{Context, NoAnswer, Prediction, Reads, Seen, Task, TaskError, number, quoted};
use crate::model::Head;
use crate::text::TextTokenizer;

/// What a pipeline says of it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How tokens become entities.
    aggregation: Aggregation,
    /// Labels and groups that are no entities.
    ignore_labels: Vec<String>,
    /// Entities with a lower score are none.
    #[schemars(title = "a number from 0 to 1", range(min = 0, max = 1))]
    min_score: f32,
    /// Entities that are hidden in the text, by their groups: `all` that are not ignored, a list of some (`[PER]` stands there instead), or a map with a word for each. None of them may be ignored.
    redact: Option<Redact>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            aggregation: Aggregation::Simple,
            ignore_labels: vec!["O".to_owned()],
            min_score: 0.0,
            redact: None,
        }
    }
}

impl Options {
    /// By what in `ignore_labels` that which has this label is no entity.
    fn ignored(&self, label: &str) -> Option<&str> {
        let name = if self.aggregation == Aggregation::None { label } else { group_of(label) };
        self.ignore_labels.iter().map(String::as_str).find(|ignored| *ignored == name)
    }
}

struct TokenClassification {
    options: Options,
    labels: Vec<String>,
    tokenizer: TextTokenizer,
}

pub(super) fn build(options: &Options, context: &Context<'_>) -> Result<Box<dyn Task>, TaskError> {
    let package = context.package;
    if !package.serves(Head::Tokens) {
        let what = format!("the package's head is {}", package.head.as_str());
        return Err(TaskError::option("", what, "a package of …ForTokenClassification, or another task"));
    }
    if let Some(redact) = &options.redact {
        redact.check(&package.labels, |label| options.ignored(label))?;
    }
    Ok(Box::new(TokenClassification {
        options: options.clone(),
        labels: package.labels.clone(),
        tokenizer: context.tokenizer.clone(),
    }))
}

impl Task for TokenClassification {
    fn reads(&self) -> Reads {
        Reads::TokenLogits { labels: self.labels.len() }
    }

    fn needs_spans(&self) -> bool {
        true
    }

    /// What is not read is not redacted either.
    fn needs_all(&self) -> bool {
        self.redacts()
    }

    fn redacts(&self) -> bool {
        self.options.redact.is_some()
    }

    fn is_probability(&self) -> bool {
        false
    }

    fn predict(&self, seen: &Seen<'_>, answers: &[&[f32]]) -> Result<Prediction, NoAnswer> {
        let text = Characters::new(seen.text);
        let tokens = tokens::tokens(seen.notes, answers, self.labels.len())?;
        let aggregator = Aggregator {
            labels: &self.labels,
            tokenizer: &self.tokenizer,
            aggregation: self.options.aggregation,
        };
        let mut entities = aggregator.entities(&tokens, &text);
        entities.retain(|entity| {
            entity.score >= self.options.min_score && !self.options.ignore_labels.contains(&entity.name)
        });
        let redactions = match &self.options.redact {
            Some(redact) => redact::redactions(redact, &entities, &tokens, &text),
            None => Vec::new(),
        };
        let written = entities.iter().map(|entity| self.json(entity, &text, &redactions));
        let json = format!(r#""entities":[{}]"#, written.collect::<Vec<_>>().join(","));
        Ok(Prediction { json, label: None, redactions })
    }
}

impl TokenClassification {
    fn json(&self, entity: &Entity, text: &Characters<'_>, redactions: &[(Range<usize>, String)]) -> String {
        let kind = match entity.index {
            Some(_) => "entity",
            None => "entity_group",
        };
        let mut json = format!(r#"{{"{kind}":{},"score":{}"#, quoted(&entity.name), number(entity.score));
        if let Some(index) = entity.index {
            json += &format!(r#","index":{index}"#);
        }
        // Its word would tell what the text no longer does.
        let hidden = redactions.iter().find(|(at, _)| at.start < entity.at.end && at.end > entity.at.start);
        json += &match hidden {
            Some((_, with)) => format!(r#","redacted":{}"#, quoted(with)),
            None => format!(r#","word":{}"#, quoted(&entity.word)),
        };
        format!("{json},{}}}", text.json(&entity.at))
    }
}

#[cfg(test)]
mod tests;
