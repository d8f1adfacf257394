//! Logits to labels and scores. Pure.

/// How logits become scores: from `problem_type`, as Hugging Face's pipeline does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// One label of many.
    Softmax,
    /// Each label by itself.
    Sigmoid,
    /// Regression: the number itself.
    None,
}

/// A classification of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Index of the best label.
    pub best: usize,
    /// Scores of all labels, in order of index.
    pub scores: Vec<f32>,
}

/// `None` where a logit is NaN or infinite, or there is none.
pub fn classify(_logits: &[f32], _activation: Activation) -> Option<Prediction> {
    todo!()
}
