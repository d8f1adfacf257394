//! Dead letters, looked at and sent back: what `squeezeflow dead-letters` does.
//!
//! | file | what |
//! |---|---|
//! | `letter` | a record of the dead-letter topic: a letter, a marker, something else |
//! | `marker` | which letters were replayed, told in the topic itself |
//! | `ranges` | sets of offsets |
//! | `selection` | which letters are meant |
//! | `targets` | where letters may go back to, and why some may not |
//! | `time` | moments in users' words |
//! | `source` | the topic and its cluster; no group is joined |
//! | `reader` | one reading of it |
//! | `tally` | counts |
//! | `samples` | some letters of each reason, within so much memory |
//! | `survey` | what a reading tells: counts, and what was replayed |
//! | `replay` | finds the letters and sends them, batch by batch |
//! | `send` | one transaction: records and markers |
//! | `verdict` | what an error of a transaction means |
//! | `ears` | why librdkafka does not get on |
//! | `error` | what can go wrong |

mod ears;
mod error;
mod letter;
mod marker;
mod ranges;
mod reader;
mod replay;
mod samples;
mod selection;
mod send;
mod source;
mod survey;
mod tally;
mod targets;
mod time;
mod verdict;

pub use error::LettersError;
pub use letter::Letter;
pub use marker::REPLAYED;
pub use replay::{Order, Report, plan, replay};
pub use samples::{Sample, Samples};
pub use selection::Selection;
pub use tally::{Count, Row, Survey};
pub use targets::{Left, Timestamps};
pub use time::{millis, moment, rfc3339};

use source::Source;
use tally::Question;

use crate::config::Settings;
use crate::config::settings::Kafka;
use crate::shutdown::Shutdown;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Through the dead-letter topic, in offsets. May begin anew: a topic with markers is read
    /// twice.
    Reading {
        /// Behind it.
        done: u64,
        /// All.
        of: u64,
    },
    /// Through the letters that are to be sent.
    Replaying {
        /// Sent and marked.
        done: u64,
        /// All.
        of: u64,
    },
}

/// Counts the chosen letters, with the newest `samples` of each reason, or as many as fit into so
/// much memory. With `payload` these hold key, value and the headers' values too.
///
/// # Errors
/// When the topic cannot be read.
pub fn list(
    settings: &Settings,
    selection: &Selection,
    samples: usize,
    payload: bool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Survey, LettersError> {
    let (kafka, dead) = needed(settings)?;
    let source = Source::connect(kafka, dead)?;
    let spans = source.spans(selection)?;
    let question = Question { selection, targets: None, replays_since: i64::MIN, samples, payload };
    let (survey, _) = survey::survey(&source, &spans, &question, &Shutdown::new(), watch)?;
    Ok(survey)
}

/// The cluster, and the name of the dead-letter topic.
fn needed(settings: &Settings) -> Result<(&Kafka, &str), LettersError> {
    let kafka = settings.kafka.as_ref().ok_or(LettersError::Missing("kafka"))?;
    let dead = settings.dead_letter.as_ref().ok_or(LettersError::Missing("dead_letter.topic"))?;
    Ok((kafka, &dead.topic))
}
