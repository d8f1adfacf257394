//! Rules for pipelines that hide parts of the text: does a record pass as it came, with a text in it that nobody
//! looked at? Pure.

use std::collections::BTreeSet;

use super::problem::Problem;
use super::settings::{Format, OnExisting, Settings, TemplatePart, TextSelector, WithoutText};

/// Of a pipeline that hides parts of the text; `by`: the key that asks for it. What `input.when` leaves out goes out
/// as it came, by intention, and what has no text has nothing to hide.
pub(super) fn unread(settings: &Settings, by: &str) -> Vec<Problem> {
    let input = &settings.input;
    let mut texts: BTreeSet<&str> = input.pair.iter().map(String::as_str).collect();
    match &input.format {
        Format::Text => {}
        Format::Json(TextSelector::Pointer(pointer)) => drop(texts.insert(pointer)),
        Format::Json(TextSelector::Template(parts)) => {
            texts.extend(parts.iter().filter_map(|part| match part {
                TemplatePart::Pointer(pointer) => Some(pointer.as_str()),
                TemplatePart::Literal(_) => None,
            }))
        }
    }
    let mut found = Vec::new();
    let mut refuse = |at: &str, what: String, hint: &str, also: &[&str]| {
        found.push(Problem::error(at, what).hint(hint).also(also));
    };
    let whole = format!("the record would go out whole, with what `{by}` hides in it");
    let dead_letter = "`dead-letter`: nothing goes out that was not looked at";
    if input.on_missing_text == WithoutText::PassThrough && texts.len() > 1 {
        let what =
            format!("is `pass-through`, and the text has several parts: where one is missing, {whole}");
        refuse("input.on_missing_text", what, dead_letter, &["input.text", "input.pair", by]);
    }
    if input.on_empty == WithoutText::PassThrough && input.pair.is_some() {
        let what = format!("is `pass-through`, and there are two texts: where one is empty, {whole}");
        refuse("input.on_empty", what, dead_letter, &["input.pair", by]);
    }
    if settings.output.on_existing == OnExisting::Keep {
        let what = format!("is `keep`: where the field is there, whoever wrote it, {whole}");
        refuse("output.on_existing", what, "`replace` or `error`", &[by]);
    }
    found
}
