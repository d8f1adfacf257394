//! Reads the dead-letter topic for what it tells: letters counted, and which were replayed.

use super::Progress;
use super::error::LettersError;
use super::letter::{Found, recognise};
use super::reader::{Reader, Spans, up_to};
use super::source::Source;
use super::tally::{Question, Replayed, Survey, Tally};
use crate::shutdown::Shutdown;

/// Reads the topic and counts. A marker lies behind its letters, so a topic that has some is read
/// twice: what was replayed is known only at its end.
pub(super) fn survey(
    source: &Source,
    spans: &Spans,
    question: &Question<'_>,
    stop: &Shutdown,
    watch: &mut dyn FnMut(Progress),
) -> Result<(Survey, Replayed), LettersError> {
    let mut replayed = Replayed::default();
    let nobody = Replayed::default();
    let mut first = Tally::new(question, &nobody);
    let (mut others, mut reader) = (0, source.read(spans, stop)?);
    while let Some(record) = reader.next()? {
        match recognise(record) {
            Found::Letter(letter) => first.see(*letter),
            Found::Marker(marker) if marker.run >= question.replays_since => {
                replayed.insert(marker.partition, &marker.offsets);
            }
            Found::Marker(_) => {}
            Found::Other => others += 1,
        }
        report(&reader, watch);
    }
    let mut survey = if replayed.is_empty() {
        first.survey()
    } else {
        drop(first);
        let mut again = Tally::new(question, &replayed);
        let mut reader = source.read(&up_to(spans, question.selection.to), stop)?;
        while let Some(record) = reader.next()? {
            if let Found::Letter(letter) = recognise(record) {
                again.see(*letter);
            }
            report(&reader, watch);
        }
        again.survey()
    };
    survey.others = others;
    survey.topic = source.topic.to_string();
    survey.partitions = source.partitions();
    Ok((survey, replayed))
}

/// The markers in these spans, added to those that are known.
pub(super) fn markers(
    source: &Source,
    spans: &Spans,
    replays_since: i64,
    stop: &Shutdown,
    known: &mut Replayed,
) -> Result<(), LettersError> {
    let mut reader = source.read(spans, stop)?;
    while let Some(record) = reader.next()? {
        if let Found::Marker(marker) = recognise(record)
            && marker.run >= replays_since
        {
            known.insert(marker.partition, &marker.offsets);
        }
    }
    Ok(())
}

fn report(reader: &Reader<'_>, watch: &mut dyn FnMut(Progress)) {
    let (done, of) = reader.progress();
    watch(Progress::Reading { done, of });
}
