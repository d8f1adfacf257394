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
        let json = r#""entities":["#.to_owned();
        let mut prediction = Prediction { json, redactions, ..Prediction::default() };
        for (place, entity) in entities.iter().enumerate() {
            prediction.json += if place > 0 { "," } else { "" };
            write(&mut prediction, entity, &text);
        }
        prediction.json.push(']');
        Ok(prediction)
    }
}

fn write(prediction: &mut Prediction, entity: &Entity, text: &Characters<'_>) {
    let kind = match entity.index {
        Some(_) => "entity",
        None => "entity_group",
    };
    let (name, score) = (quoted(&entity.name), number(entity.score));
    prediction.json += &format!(r#"{{"{kind}":{name},"score":{score}"#);
    if let Some(index) = entity.index {
        prediction.json += &format!(r#","index":{index}"#);
    }
    // Its word would tell what the text no longer does.
    let hides = |(at, _): &&(Range<usize>, String)| at.start < entity.at.end && at.end > entity.at.start;
    match prediction.redactions.iter().find(hides) {
        Some((_, with)) => prediction.json += &format!(r#","redacted":{}"#, quoted(with)),
        None => {
            prediction.json += r#","word":"#;
            prediction.quote(&entity.word, text.whole(entity.at.clone()));
        }
    }
    prediction.json += &format!(",{}}}", text.json(&entity.at));
}

#[cfg(test)]
mod tests;
