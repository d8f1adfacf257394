//! What a head's raw output means: one file a task. Pure.
//!
//! A task says what the model is to read of a text ([`Plan`]), what of the graph's answer is kept
//! ([`Reads`]), and makes a [`Prediction`] of the answers. Another task is a file here, and two lines below, one
//! among the modules and one in `tasks!`: its options become part of the pipeline's schema by that.

mod classification;
mod feature_extraction;
mod places;
mod question_answering;
mod report;
mod template;
mod text_classification;
mod token_classification;
mod vectors;
mod windows;
mod zero_shot;

use std::fmt;
use std::ops::Range;

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

pub use classification::{Activation, Classes, classify};
pub use text_classification::TextClassification;
pub use windows::classify_windows;

use super::{InferError, Package, Reads};
use crate::config::settings::{Combine, Uncertain};
use crate::text::{Note, Plan, TextTokenizer, TokenizeError};

/// Every task, by the name that Hugging Face's pipelines have for it.
macro_rules! tasks {
    ($($module:ident::$variant:ident = $name:literal),* $(,)?) => {
        /// Which task, with what a pipeline says of it.
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
        pub enum Options {
            $(
                #[doc = $name]
                #[serde(rename = $name)]
                $variant($module::Options)
            ),*
        }

        impl Options {
            /// Of all tasks.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The task's name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            /// A task of which nothing but the name is said.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant(Default::default())),)* _ => None }
            }

            /// The schema of each task's options, by its name.
            pub(crate) fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
                vec![$(($name, generator.subschema_for::<$module::Options>())),*]
            }

            /// The task over one package.
            ///
            /// # Errors
            /// When the package is not one for this task, or its options do not fit it.
            pub fn build(&self, context: &Context<'_>) -> Result<Box<dyn Task>, TaskError> {
                match self { $(Self::$variant(options) => $module::build(options, context)),* }
            }
        }
    };
}

tasks! {
    text_classification::TextClassification = "text-classification",
    zero_shot::ZeroShotClassification = "zero-shot-classification",
    token_classification::TokenClassification = "token-classification",
    feature_extraction::FeatureExtraction = "feature-extraction",
    question_answering::QuestionAnswering = "question-answering",
}

/// One task of one pipeline.
pub trait Task: Send + Sync {
    /// What is kept of the graph's answer to each sequence.
    fn reads(&self) -> Reads;

    /// What the model reads of a text: the text itself, unless said otherwise.
    fn plan(&self) -> Plan {
        Plan::Text
    }

    /// Does [`Task::predict`] want to know where in the text each token stands?
    fn needs_spans(&self) -> bool {
        false
    }

    /// Does what is not read of a text spoil the result? Then such a record is a dead letter.
    fn needs_all(&self) -> bool {
        false
    }

    /// Does it write parts of the text otherwise?
    fn redacts(&self) -> bool {
        false
    }

    /// Once, before the first record: `ask` gives what is kept of the model's answers to these texts,
    /// of the first window of each.
    ///
    /// # Errors
    /// What `ask` says, or that its answers are of no use.
    fn prepare(&mut self, _ask: &mut Ask<'_>) -> Result<(), TaskError> {
        Ok(())
    }

    /// The labels that a result can have, where they are known: for routes, and for who looks at the
    /// pipeline.
    fn labels(&self) -> &[String] {
        &[]
    }

    /// Are its scores probabilities, so that one may be too low to be an answer?
    fn is_probability(&self) -> bool {
        true
    }

    /// What the answers say of a text: one for each of its sequences, in order, each as [`Task::reads`]
    /// says; never none.
    ///
    /// # Errors
    /// When no result can be made of them.
    fn predict(&self, seen: &Seen<'_>, answers: &[&[f32]]) -> Result<Prediction, NoAnswer>;
}

/// Gives what is kept of the model's answers to some texts.
pub type Ask<'a> = dyn FnMut(&[&str]) -> Result<Vec<Vec<f32>>, InferError> + 'a;

/// What a task is built from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Labels, activation, head.
    pub package: &'a Package,
    /// The package's.
    pub tokenizer: &'a TextTokenizer,
    /// Give every label's score, not only the best one's.
    pub scores: bool,
    /// What becomes of a result that is not sure enough.
    pub uncertain: Option<&'a Uncertain>,
    /// How the windows of a long text become one result.
    pub combine: Combine,
}

/// A text as the model saw it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What was tokenized.
    pub text: &'a str,
    /// One for each sequence.
    pub notes: &'a [Note],
}

/// A task's result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prediction {
    /// Members of the JSON object that the result is, the receipt's left out; without braces, and with
    /// no comma at the end: `"label":"positive","score":0.99`.
    pub json: String,
    /// For routes, headers and metrics.
    pub label: Option<Labelled>,
    /// Parts of the text that are to be written otherwise: in order, none overlapping, on the borders of
    /// characters. Bytes.
    pub redactions: Vec<(Range<usize>, String)>,
    /// Where `json` has words of the text, in order: what is hidden in the text is hidden there, too.
    pub quotes: Vec<Quote>,
}

/// Words of the text in a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Bytes of the result's JSON: a string, quotation marks included.
    pub json: Range<usize>,
    /// Bytes of the text that it tells, on the borders of characters.
    pub text: Range<usize>,
}

impl Prediction {
    /// Writes words of the text, which stand there or are told from there.
    fn quote(&mut self, words: &str, text: Range<usize>) {
        let start = self.json.len();
        self.json += &quoted(words);
        self.quotes.push(Quote { json: start..self.json.len(), text });
    }
}

/// The one label of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// As it is written, that of an uncertain result included.
    pub name: String,
    /// Its score.
    pub score: f32,
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Of the model.
    #[error("the model answered with NaN or infinity")]
    NotFinite,
    /// A defect: the answers are not of the shape that was asked for.
    #[error("the model's answer has {found} numbers where {expected} were expected")]
    Shape {
        /// Numbers.
        found: usize,
        /// Numbers.
        expected: usize,
    },
}

/// A task that cannot be had of a package, or not with these options.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// What a pipeline says does not fit the package.
    #[error("{at}: {what}; {hint}")]
    Option {
        /// Which option, below the task's own key; empty: the task itself.
        at: String,
        /// What is wrong with it.
        what: String,
        /// What would be right.
        hint: String,
    },
    /// Its own texts (labels, questions, examples) cannot be tokenized.
    #[error("{at}: {source}")]
    Text {
        /// Which.
        at: String,
        /// Why.
        source: TokenizeError,
    },
    /// The model does not answer its own texts.
    #[error("the model does not answer: {0}")]
    Model(#[from] InferError),
}

impl TaskError {
    /// Of one option.
    pub fn option(at: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Option { at: at.into(), what: what.into(), hint: hint.into() }
    }

    /// Every one stops the worker before it begins.
    pub fn fate(&self) -> crate::fate::Fate {
        crate::fate::Fate::Fatal
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("package", &self.package.name).finish_non_exhaustive()
    }
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The shortest decimal that reads back as the same `f32`; `null` if it is no number.
pub(crate) fn number(score: f32) -> String {
    serde_json::to_string(&score).unwrap_or_else(|_| "null".to_owned())
}
