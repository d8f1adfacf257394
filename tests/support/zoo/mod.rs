//! Everything that a stream can carry: each kind of record, how it is made, and how it must end.
//!
//! | file | what |
//! |---|---|
//! | `json` | kinds for a pipeline that reads JSON |
//! | `raw` | kinds for a pipeline that reads plain text |
//! | `judge` | is what came out what was promised? |
//!
//! docs/RECORDS.md shows the same kinds as a table; `tests/odd` holds the two together.

mod json;
mod judge;
mod raw;

use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::client::Message;
use super::here;
use super::process::scratch;

#[allow(unused_imports)] // Each test binary uses its own part.
pub use judge::{Came, judge};

/// One kind of record.
pub struct Kind {
    /// As the table in docs/RECORDS.md has it.
    pub name: &'static str,
    pub often: Often,
    build: Box<dyn Fn(usize) -> Message + Send + Sync>,
    /// With the defaults.
    strict: Ends,
    /// With [`Zoo::Lenient`], where that is another.
    lenient: Option<Ends>,
    /// Before a broker has its say, where that changes it.
    before_kafka: Option<Ends>,
    /// What the message of its dead letter says, among other things.
    says: &'static str,
    /// A further look at the result.
    look: fn(&Value) -> bool,
}

/// How a record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ends {
    Enriched,
    /// Passed through: why.
    Passed(&'static str),
    /// A dead letter: its reason.
    Dead(&'static str),
}

/// How often a kind comes in a mixed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Often {
    /// As often as any.
    Common,
    /// Of some hundred kilobytes: once in some thousand records.
    Seldom,
    /// Of ten megabytes: still more seldom.
    Rare,
}

/// A pipeline, and the kinds that it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zoo {
    /// JSON, with the defaults.
    Strict,
    /// The same records, passed on where a pipeline can say so.
    Lenient,
    /// Plain text.
    Raw,
}

impl Zoo {
    pub fn kinds(self) -> &'static [Kind] {
        static JSON: LazyLock<Vec<Kind>> = LazyLock::new(json::kinds);
        static RAW: LazyLock<Vec<Kind>> = LazyLock::new(raw::kinds);
        if self == Self::Raw { &RAW } else { &JSON }
    }

    pub fn ends(self, kind: &Kind) -> Ends {
        if self == Self::Lenient { kind.lenient.unwrap_or(kind.strict) } else { kind.strict }
    }

    /// The same without a broker, that is, at the end of the stages.
    pub fn ends_before_kafka(self, kind: &Kind) -> Ends {
        kind.before_kafka.unwrap_or(self.ends(kind))
    }

    /// What differs from the defaults in its pipeline file.
    pub fn settings(self) -> Vec<(&'static str, Value)> {
        let model = ("model.path", json!(FRAGILE.as_path()));
        match self {
            Self::Strict => vec![model, ("output.on_existing", json!("error"))],
            Self::Lenient => vec![
                model,
                ("output.on_existing", json!("keep")),
                ("input.on_empty", json!("pass-through")),
                ("input.on_missing_text", json!("pass-through")),
                ("input.when", json!({ "header": "skip", "exists": false })),
            ],
            Self::Raw => vec![
                model,
                ("input.format", json!("text")),
                ("input.text", json!(null)),
                ("output.mode", json!("envelope")),
            ],
        }
    }

    /// Which kind the record with this number is, in a stream that mixes all of them: as if by chance,
    /// but the same each time. Large ones come at their turn.
    pub fn pick(self, number: usize, period: usize) -> &'static Kind {
        let of = |often| self.kinds().iter().filter(move |kind| kind.often == often);
        for (often, start) in [(Often::Rare, 7), (Often::Seldom, 5)] {
            let period = if often == Often::Rare { period } else { period / 5 };
            let at = number % period;
            // Spread evenly over the period.
            let step = period / of(often).count().max(1);
            if at % step == start
                && let Some(kind) = of(often).nth(at / step)
            {
                return kind;
            }
        }
        let stirred = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) >> 8;
        of(Often::Common).nth(stirred % of(Often::Common).count()).unwrap()
    }
}

impl Kind {
    /// The record; different ones for different numbers, where that is possible.
    pub fn message(&self, number: usize) -> Message {
        (self.build)(number)
    }

    /// As in the table, with the defaults and with [`Zoo::Lenient`].
    pub fn row(&self) -> (&'static str, Ends, Option<Ends>) {
        (self.name, self.strict, self.lenient)
    }

    fn new(
        name: &'static str,
        strict: Ends,
        build: impl Fn(usize) -> Message + Send + Sync + 'static,
    ) -> Self {
        let (build, look) = (Box::new(build), |_: &Value| true);
        Self { name, often: Often::Common, build, strict, lenient: None, before_kafka: None, says: "", look }
    }

    fn often(self, often: Often) -> Self {
        Self { often, ..self }
    }

    fn leniently(self, ends: Ends) -> Self {
        Self { lenient: Some(ends), ..self }
    }

    fn before_kafka(self, ends: Ends) -> Self {
        Self { before_kafka: Some(ends), ..self }
    }

    fn says(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    fn look(self, look: fn(&Value) -> bool) -> Self {
        Self { look, ..self }
    }
}

/// With a key that one record in two hundred shares, and a time of its own.
fn message(number: usize, value: impl Into<Vec<u8>>) -> Message {
    Message {
        key: Some(format!("key-{}", number % 200).into_bytes()),
        value: Some(value.into()),
        headers: vec![("n".to_owned(), Some(number.to_string().into_bytes()))],
        timestamp: Some(1_700_000_000_000 + number as i64),
        partition: None,
    }
}

/// Letters that no codec makes much smaller.
pub fn noise(length: usize, seed: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[state as usize % 64])
    };
    (0..length).map(|_| next()).collect()
}

/// A package whose tokenizer knows a word, `mandragora`, that its model does not: inference itself
/// fails on it.
pub static FRAGILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let (from, to) = (here("tests/packages/tiny-squeezebert"), scratch("package"));
    for file in ["config.json", "model.onnx", "tokenizer_config.json"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let tokenizer = std::fs::read_to_string(from.join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&tokenizer).unwrap();
    tokenizer["model"]["vocab"]["mandragora"] = 999_999.into();
    std::fs::write(to.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    to
});
