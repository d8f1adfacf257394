//! `feature-extraction`: a text as a vector, as sentence-transformers makes it; and the label whose examples in the
//! pipeline are nearest to it.
//!
//! ```json
//! {"label":"refund","score":0.71,"scores":{"login":0.2,"refund":0.71},"embedding":[0.01,-0.2]}
//! ```
//!
//! Label and score are there with `nearest` (`report` says what else then is), `embedding` without it or when asked
//! for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;
use super::vectors::{cosine, cut, normalised, of_windows};
use super::{Ask, Classes, Context, NoAnswer, Prediction, Reads, Seen, Task, TaskError, number};
use crate::config::settings::Uncertain;
use crate::model::{Head, InferError, Package, Pooling, Stated};

/// What a pipeline says of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How the vectors of a text's tokens become one. Absent: as the package says (`1_Pooling` of sentence-transformers), else `mean`.
    pub pooling: Option<By>,
    /// Give the vector the length 1, after it was cut. Absent: as the package says (`modules.json` of sentence-transformers), else not.
    pub normalize: Option<bool>,
    /// Keep so many of the vector's numbers, the first ones. For models that were trained to be cut (Matryoshka). Absent: all.
    #[schemars(range(min = 1))]
    pub dimensions: Option<u32>,
    /// Labels by similarity: a few example texts of each. A text gets the label of the example that is nearest to it, and as its score the cosine of the angle between the two.
    #[schemars(schema_with = "examples")]
    pub nearest: BTreeMap<String, Vec<String>>,
    /// With `nearest`: give so many labels, the nearest first, as `top`. Absent: only the nearest, as `label`.
    #[schemars(range(min = 1))]
    pub top_k: Option<u32>,
    /// Give the vector? Absent: without `nearest` yes, with it no.
    pub embedding: Option<bool>,
}

fn examples(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object", "title": "a map of labels to lists of example texts",
        "additionalProperties": {
            "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 },
            "description": "Example texts of this label."
        },
        "examples": [{ "refund": ["I want my money back"], "login": ["my password is wrong", "locked out"] }]
    })
}

/// As sentence-transformers has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// their mean, special tokens included
    Mean,
    /// the first token's, which stands for the whole
    Cls,
    /// the highest of each dimension
    Max,
}

impl From<By> for Pooling {
    fn from(by: By) -> Self {
        match by {
            By::Mean => Self::Mean,
            By::Cls => Self::Cls,
            By::Max => Self::Max,
        }
    }
}

/// The task, ready to be used once it has seen its examples.
struct FeatureExtraction {
    pooling: Pooling,
    hidden: usize,
    /// Numbers that are kept.
    kept: usize,
    normalize: bool,
    embedding: bool,
    nearest: Option<Nearest>,
}

/// Labels by similarity.
struct Nearest {
    labels: Vec<String>,
    /// Of each label.
    texts: Vec<Vec<String>>,
    /// Of each label, of each text; empty until they were asked for.
    vectors: Vec<Vec<Vec<f32>>>,
    scores: bool,
    top: Option<usize>,
    uncertain: Option<Uncertain>,
}

pub(super) fn build(options: &Options, context: &Context<'_>) -> Result<Box<dyn Task>, TaskError> {
    let package = context.package;
    if !package.serves(Head::None) && package.outputs.iter().all(|port| port.name != "last_hidden_state") {
        let what = format!("the package's head is {}, and it gives no hidden states", package.head.as_str());
        return Err(TaskError::option("", what, "a package of the encoder alone, or another task"));
    }
    let hidden = package.hidden.ok_or_else(|| {
        TaskError::option(
            "",
            "nothing says how wide the package's hidden states are",
            "`hidden_size` in config.json",
        )
    })?;
    let kept = options.dimensions.map_or(hidden, |kept| kept as usize);
    if kept > hidden {
        let what = format!("is more than the package's vectors have, {hidden}");
        return Err(TaskError::option("dimensions", what, format!("at most {hidden}, or leave it out")));
    }
    let nearest = (!options.nearest.is_empty()).then(|| Nearest::new(options, context)).transpose()?;
    if nearest.is_none() && options.top_k.is_some() {
        return Err(TaskError::option("top_k", "is for labels, and there are none", "write `nearest`"));
    }
    let embedding = options.embedding.unwrap_or(nearest.is_none());
    if !embedding && nearest.is_none() {
        let what = "is `false`, and there is no `nearest`: nothing would be given";
        return Err(TaskError::option("embedding", what, "leave it out"));
    }
    let (pooling, normalize) = options.like(package)?;
    Ok(Box::new(FeatureExtraction { pooling, hidden, kept, normalize, embedding, nearest }))
}

impl Options {
    /// Pooling and normalising: the pipeline's word, then the package's.
    fn like(&self, package: &Package) -> Result<(Pooling, bool), TaskError> {
        let pooling = match (self.pooling, package.sentence.pooling) {
            (Some(by), _) => by.into(),
            (None, Some(Stated::Known(pooling))) => pooling,
            (None, Some(Stated::Unknown)) => {
                let what = "the package makes its vectors in a way that is not known here (modules.json)";
                let hint = "write `mean`, `cls` or `max`, or take another package";
                return Err(TaskError::option("pooling", what, hint));
            }
            (None, None) => Pooling::Mean,
        };
        Ok((pooling, self.normalize.unwrap_or(package.sentence.normalizes)))
    }
}

impl Nearest {
    fn new(options: &Options, context: &Context<'_>) -> Result<Self, TaskError> {
        let (mut labels, mut texts) = (Vec::new(), Vec::new());
        for (label, of_label) in &options.nearest {
            let at = format!("nearest.{label}");
            if of_label.is_empty() {
                return Err(TaskError::option(at, "has no example", "a few texts of this label"));
            }
            for (place, text) in of_label.iter().enumerate() {
                let tried = context.tokenizer.tokenize(text);
                tried.map_err(|source| TaskError::Text { at: format!("{at}[{place}]"), source })?;
            }
            labels.push(label.clone());
            texts.push(of_label.clone());
        }
        Ok(Self {
            labels,
            texts,
            vectors: Vec::new(),
            scores: context.scores,
            top: options.top_k.map(|top| top as usize),
            uncertain: context.uncertain.cloned(),
        })
    }

    /// Each label at its nearest example.
    fn classes(&self, vector: &[f32]) -> Classes {
        let nearest = |examples: &Vec<Vec<f32>>| {
            examples.iter().map(|example| cosine(vector, example)).fold(f32::NEG_INFINITY, f32::max)
        };
        let scores: Vec<f32> = self.vectors.iter().map(nearest).collect();
        let all = scores.iter().enumerate();
        // Of equals the first.
        let best =
            all.reduce(|best, next| if next.1 > best.1 { next } else { best }).map_or(0, |best| best.0);
        Classes { best, scores }
    }
}

impl FeatureExtraction {
    /// One vector of what the model says of the windows, each with its weight.
    fn vector(&self, windows: &[(&[f32], usize)]) -> Result<Vec<f32>, NoAnswer> {
        if let Some((broken, _)) = windows.iter().find(|(window, _)| window.len() != self.hidden) {
            return Err(NoAnswer::Shape { found: broken.len(), expected: self.hidden });
        }
        let vector = cut(of_windows(windows, self.pooling), self.kept);
        match vector.iter().all(|x| x.is_finite()) {
            true if self.normalize => Ok(normalised(vector)),
            true => Ok(vector),
            false => Err(NoAnswer::NotFinite),
        }
    }
}

impl Task for FeatureExtraction {
    fn reads(&self) -> Reads {
        Reads::Pooled { pooling: self.pooling, hidden: self.hidden }
    }

    fn prepare(&mut self, ask: &mut Ask<'_>) -> Result<(), TaskError> {
        let Some(Nearest { texts, .. }) = &self.nearest else { return Ok(()) };
        let mut vectors = Vec::with_capacity(texts.len());
        for texts in texts {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let made = |answer: &Vec<f32>| self.vector(&[(answer, 1)]).map_err(|_| InferError::NotFinite);
            vectors.push(ask(&texts)?.iter().map(made).collect::<Result<Vec<_>, _>>()?);
        }
        if let Some(nearest) = &mut self.nearest {
            nearest.vectors = vectors;
        }
        Ok(())
    }

    fn labels(&self) -> &[String] {
        self.nearest.as_ref().map_or(&[], |nearest| &nearest.labels)
    }

    /// A text can be too far from every example.
    fn is_probability(&self) -> bool {
        self.nearest.is_some()
    }

    fn predict(&self, seen: &Seen<'_>, answers: &[&[f32]]) -> Result<Prediction, NoAnswer> {
        let weights = seen.notes.iter().map(|note| note.of_text);
        let vector = self.vector(&answers.iter().copied().zip(weights).collect::<Vec<_>>())?;
        let mut prediction = match &self.nearest {
            Some(nearest) => {
                let (scores, top, uncertain) = (nearest.scores, nearest.top, nearest.uncertain.as_ref());
                let report = Report { names: &nearest.labels, scores, top, thresholds: None, uncertain };
                report.of(&nearest.classes(&vector))
            }
            None => Prediction::default(),
        };
        if self.embedding {
            let numbers: Vec<String> = vector.iter().map(|x| number(*x)).collect();
            let comma = if prediction.json.is_empty() { "" } else { "," };
            prediction.json += &format!(r#"{comma}"embedding":[{}]"#, numbers.join(","));
        }
        Ok(prediction)
    }
}

#[cfg(test)]
#[path = "feature_extraction_tests.rs"]
mod tests;
