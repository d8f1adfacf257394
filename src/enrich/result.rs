//! The result as JSON, the same in every output mode:
//!
//! ```json
//! {"label":"uncertain","score":0.5187,"best":"positive","scores":{"negative":0.4813,"positive":0.5187},
//!  "model":{"name":"sentiment","digest":"sha256:0123456789abcdef"},"precision":"fp32",
//!  "provider":"cpu","batch_invariant":false,"tokens":{"used":1022,"seen":3010},"truncated":true,
//!  "windows":{"used":2,"seen":6},"text_bytes":{"used":65536,"seen":90210},"masked":3}
//! ```
//!
//! `best` is there when the label is that of an uncertain result, `scores` when asked for,
//! `batch_invariant` when it is false, `windows` when the text has more than one, `text_bytes` when
//! the text was cut before it was tokenized, `masked` when parts of it were replaced (`input.mask`), with
//! how many. The digest is cut to 16 hex digits: enough to tell
//! packages apart, 48 bytes less a record. Scores are the shortest decimals that read back as the
//! same `f32`.

use crate::config::settings::Uncertain;
use crate::model::Receipt;
use crate::model::tasks::Prediction;
use crate::text::TokenCount;

/// Hex digits of the package's digest that a result carries.
const DIGEST_DIGITS: usize = 16;

/// Knows everything that is the same in each result, already written.
pub(super) struct ResultWriter {
    /// By index.
    labels: Vec<String>,
    /// From `"model"` to the opening brace of the tokens.
    receipt: String,
    scores: bool,
    uncertain: Option<Uncertain>,
}

/// How much of a text the model read.
pub(super) struct ReadOf {
    pub tokens: TokenCount,
    /// Used of seen.
    pub windows: (usize, usize),
    /// Of the text, used of seen.
    pub bytes: (usize, usize),
    /// Parts of it that were replaced.
    pub masked: usize,
}

impl ResultWriter {
    pub fn new(labels: &[String], receipt: &Receipt, scores: bool, uncertain: Option<Uncertain>) -> Self {
        let digest: String = receipt.digest.chars().take("sha256:".len() + DIGEST_DIGITS).collect();
        let variant = if receipt.batch_invariant { "" } else { r#""batch_invariant":false,"# };
        let receipt = format!(
            r#""model":{{"name":{},"digest":{}}},"precision":{},"provider":{},{variant}"tokens":"#,
            quoted(&receipt.model),
            quoted(&digest),
            quoted(&receipt.precision),
            quoted(receipt.provider),
        );
        Self { labels: labels.to_vec(), receipt, scores, uncertain }
    }

    /// One record's result.
    pub fn json(&self, prediction: &Prediction, read: &ReadOf) -> String {
        let score = prediction.scores.get(prediction.best).copied().unwrap_or(f32::NAN);
        let (label, best) = (self.label(prediction.best, score), self.name(prediction.best));
        let mut json = format!(r#"{{"label":{},"score":{},"#, quoted(&label), number(score));
        if label != best {
            json += &format!(r#""best":{},"#, quoted(&best));
        }
        if self.scores {
            let all = prediction.scores.iter().enumerate();
            let all: Vec<String> =
                all.map(|(i, s)| format!("{}:{}", quoted(&self.name(i)), number(*s))).collect();
            json += &format!(r#""scores":{{{}}},"#, all.join(","));
        }
        let ReadOf { tokens, windows, bytes, masked } = read;
        json += &self.receipt;
        json += &used_of_seen(tokens.used, tokens.seen);
        json += if tokens.used < tokens.seen || bytes.0 < bytes.1 {
            r#","truncated":true"#
        } else {
            r#","truncated":false"#
        };
        if windows.1 > 1 {
            json += r#","windows":"#;
            json += &used_of_seen(windows.0, windows.1);
        }
        if bytes.0 < bytes.1 {
            json += r#","text_bytes":"#;
            json += &used_of_seen(bytes.0, bytes.1);
        }
        if *masked > 0 {
            json += &format!(r#","masked":{masked}"#);
        }
        json.push('}');
        json
    }

    /// What a result with this best label and score is called.
    pub fn label(&self, best: usize, score: f32) -> String {
        match &self.uncertain {
            Some(uncertain) if score < uncertain.below => uncertain.label.clone(),
            _ => self.name(best),
        }
    }

    /// As transformers does, an index without a name is `LABEL_` and its number.
    fn name(&self, index: usize) -> String {
        self.labels.get(index).cloned().unwrap_or_else(|| format!("LABEL_{index}"))
    }
}

fn used_of_seen(used: usize, seen: usize) -> String {
    format!(r#"{{"used":{used},"seen":{seen}}}"#)
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The shortest decimal that reads back as the same `f32`; `null` if it is no number.
pub(super) fn number(score: f32) -> String {
    serde_json::to_string(&score).unwrap_or_else(|_| "null".to_owned())
}
