//! The result as JSON, the same in every output mode:
//!
//! ```json
//! {"label":"positive","score":0.9987,"scores":{"negative":0.0013,"positive":0.9987},
//!  "model":{"name":"sentiment","digest":"sha256:0123456789abcdef"},"precision":"fp32",
//!  "provider":"cpu","batch_invariant":false,"tokens":{"used":128,"seen":301},
//!  "text_bytes":{"used":65536,"seen":90210}}
//! ```
//!
//! `scores` is there when asked for, `batch_invariant` when it is false, `text_bytes` when the text
//! was cut. The digest is cut to 16 hex digits: enough to tell packages apart, 48 bytes less a
//! record. Scores are the shortest decimals that read back as the same `f32`.

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
}

impl ResultWriter {
    pub fn new(labels: &[String], receipt: &Receipt, scores: bool) -> Self {
        let digest: String = receipt.digest.chars().take("sha256:".len() + DIGEST_DIGITS).collect();
        let variant = if receipt.batch_invariant { "" } else { r#""batch_invariant":false,"# };
        let receipt = format!(
            r#""model":{{"name":{},"digest":{}}},"precision":{},"provider":{},{variant}"tokens":"#,
            quoted(&receipt.model),
            quoted(&digest),
            quoted(&receipt.precision),
            quoted(receipt.provider),
        );
        Self { labels: labels.to_vec(), receipt, scores }
    }

    /// One record's result.
    pub fn json(
        &self,
        prediction: &Prediction,
        tokens: TokenCount,
        bytes: usize,
        bytes_seen: usize,
    ) -> String {
        let score = prediction.scores.get(prediction.best).copied().unwrap_or(f32::NAN);
        let mut json =
            format!(r#"{{"label":{},"score":{},"#, quoted(&self.label(prediction.best)), number(score));
        if self.scores {
            let all = prediction.scores.iter().enumerate();
            let all: Vec<String> =
                all.map(|(i, s)| format!("{}:{}", quoted(&self.label(i)), number(*s))).collect();
            json += &format!(r#""scores":{{{}}},"#, all.join(","));
        }
        json += &self.receipt;
        json += &used_of_seen(tokens.used, tokens.seen);
        if bytes < bytes_seen {
            json += r#","text_bytes":"#;
            json += &used_of_seen(bytes, bytes_seen);
        }
        json.push('}');
        json
    }

    /// As transformers does, an index without a name is `LABEL_` and its number.
    pub fn label(&self, index: usize) -> String {
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
