//! Is what came out of a record what was promised of it? Knows nothing of how the worker works.

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Ends, Kind, Zoo};
use crate::support::client::Message;

/// A record as it came out.
pub struct Came {
    pub ends: Ends,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: Option<i64>,
    /// Of a dead letter.
    pub message: String,
}

/// All of it; the error says what differs, without the bytes.
pub fn judge(zoo: Zoo, kind: &Kind, expected: Ends, sent: &Message, came: &Came) -> Result<(), String> {
    let is = |what: &str, right: bool| if right { Ok(()) } else { Err(format!("{}: {what}", kind.name)) };
    is(&format!("ended as {:?} ({}), not as {expected:?}", came.ends, came.message), came.ends == expected)?;
    is("another key", came.key == sent.key)?;
    is("other headers", came.headers.starts_with(&sent.headers))?;
    // A dead letter is as old as its writing.
    let same_time = came.timestamp == sent.timestamp.filter(|t| *t >= 0);
    is("another timestamp", same_time || matches!(expected, Ends::Dead(_)))?;
    match expected {
        Ends::Passed(_) => is("another value", came.value == sent.value),
        Ends::Dead(_) => {
            is("another value", came.value == sent.value)?;
            is(&format!("the message is: {}", came.message), came.message.contains(kind.says))
        }
        Ends::Enriched => {
            let (Some(before), Some(after)) = (&sent.value, &came.value) else {
                return is("a value without bytes", false);
            };
            let result = match zoo {
                Zoo::Raw => enveloped(before, after),
                Zoo::Strict | Zoo::Lenient => spliced(before, after),
            };
            let result = result.ok_or_else(|| format!("{}: bytes were changed", kind.name))?;
            is(&format!("the result is: {result}"), plausible(&result) && (kind.look)(&result))
        }
    }
}

/// The value is the old one, with a member in front of its last brace: which.
fn spliced(before: &[u8], after: &[u8]) -> Option<Value> {
    let brace = before.iter().rposition(|byte| *byte == b'}')?;
    let (start, end) = before.split_at(brace);
    let added = after.strip_prefix(start)?.strip_suffix(end)?;
    // A text is a member: ours is never the first one.
    let result = serde_json::from_slice(added.strip_prefix(b",\"nlp\":")?).ok()?;
    Some(result)
}

/// The value is an object of the old one as a string, and the result.
fn enveloped(before: &[u8], after: &[u8]) -> Option<Value> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Envelope<'a> {
        text: String,
        #[serde(borrow)]
        nlp: &'a RawValue,
    }
    let Envelope { text, nlp } = serde_json::from_slice(after).ok()?;
    let before = before.strip_prefix("\u{feff}".as_bytes()).unwrap_or(before);
    (text.as_bytes() == before).then(|| serde_json::from_str(nlp.get()).ok())?
}

/// What every result has.
fn plausible(result: &Value) -> bool {
    let tokens = |name: &str| result["tokens"][name].as_u64().unwrap_or(0);
    ["negative", "neutral", "positive"].contains(&result["label"].as_str().unwrap_or_default())
        && result["score"].as_f64().is_some_and(|score| (1.0 / 3.0 - 1e-6..=1.0).contains(&score))
        && (3..=tokens("seen")).contains(&tokens("used"))
        && tokens("used") <= 128
        && result["truncated"].is_boolean()
}
