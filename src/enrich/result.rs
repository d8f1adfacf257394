//! A result as JSON, the same in every output mode: what the task says, and the receipt.
//!
//! ```json
//! {"label":"positive","score":0.5187,
//!  "model":{"name":"sentiment","digest":"sha256:0123456789abcdef"},"precision":"fp32",
//!  "provider":"cpu","batch_invariant":false,"tokens":{"used":1022,"seen":3010},"truncated":true,
//!  "windows":{"used":2,"seen":6},"text_bytes":{"used":65536,"seen":90210},"masked":3}
//! ```
//!
//! `batch_invariant` is there when it is false, `windows` when the text has more than one, `text_bytes` when
//! the text was cut before it was tokenized, `masked` when parts of it were replaced (`input.mask`), with
//! how many. The digest is cut to 16 hex digits: enough to tell packages apart, 48 bytes less a record.
//! Scores are the shortest decimals that read back as the same `f32`. A result that is missing, and need not
//! be there, says why in place of the first line:
//!
//! ```json
//! {"error":{"reason":"inference_failed","stage":"infer","message":"…"}, …
//! ```

use crate::model::Receipt;
use crate::model::tasks::quoted;
use crate::record::DeadLetter;
use crate::text::Amount;

/// Hex digits of the package's digest that a result carries.
const DIGEST_DIGITS: usize = 16;

/// Knows everything that is the same in each result, already written.
pub(super) struct ReceiptWriter {
    /// From `"model"` to the provider.
    receipt: String,
}

impl ReceiptWriter {
    pub fn new(receipt: &Receipt) -> Self {
        let digest: String = receipt.digest.chars().take("sha256:".len() + DIGEST_DIGITS).collect();
        let variant = if receipt.batch_invariant { "" } else { r#","batch_invariant":false"# };
        let receipt = format!(
            r#""model":{{"name":{},"digest":{}}},"precision":{},"provider":{}{variant}"#,
            quoted(&receipt.model),
            quoted(&digest),
            quoted(&receipt.precision),
            quoted(receipt.provider),
        );
        Self { receipt }
    }

    /// One record's result, of what its task says (`"label":"positive","score":0.9`). `bytes`: of the text, used
    /// of seen.
    pub fn json(&self, said: &str, amount: &Amount, bytes: (usize, usize)) -> String {
        let Amount { tokens, windows, windows_read, masked } = amount;
        let mut json = format!("{{{said},{}", self.receipt);
        json += r#","tokens":"#;
        json += &used_of_seen(tokens.used, tokens.seen);
        json += if tokens.used < tokens.seen || bytes.0 < bytes.1 {
            r#","truncated":true"#
        } else {
            r#","truncated":false"#
        };
        if *windows > 1 {
            json += r#","windows":"#;
            json += &used_of_seen(*windows_read, *windows);
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

    /// In the place of a result that is missing.
    pub fn missing(&self, letter: &DeadLetter) -> String {
        let (reason, stage) = (quoted(letter.reason.as_str()), quoted(letter.stage.as_str()));
        let message = quoted(&letter.message);
        format!(r#"{{"error":{{"reason":{reason},"stage":{stage},"message":{message}}},{}}}"#, self.receipt)
    }
}

fn used_of_seen(used: usize, seen: usize) -> String {
    format!(r#"{{"used":{used},"seen":{seen}}}"#)
}
