//! A model card (`README.md` with YAML before it, as the Hugging Face hub reads it), with an
//! evaluation written into it. Pure. Nothing else of the card is touched.

use std::fmt::Write;

use super::metrics::Evaluation;

const BEGIN: &str = "<!-- evaluation: written by `squeezeflow model evaluate --write` -->";
const END: &str = "<!-- end of evaluation -->";
const KEY: &str = "model-index:";

/// The card with `model-index` in its front matter and the section on the evaluation as they should be:
/// where there are any they are replaced, else added.
pub fn with_evaluation(card: &str, name: &str, evaluation: &Evaluation) -> String {
    let (front, body) = split(card);
    let front = replace_key(front, &model_index(name, evaluation));
    let section = section(evaluation);
    let body = match (body.find(BEGIN), body.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            let (before, after) = (&body[..begin], &body[end + END.len()..]);
            format!("{before}{section}{after}")
        }
        _ => format!("{}\n\n{section}\n", body.trim_end()),
    };
    format!("---\n{front}---\n{body}")
}

/// Front matter (without its fences) and the rest.
fn split(card: &str) -> (&str, &str) {
    let inside = card.strip_prefix("---\n").and_then(|rest| {
        let end = if rest.starts_with("---\n") { 0 } else { rest.find("\n---\n")? + 1 };
        Some((&rest[..end], &rest[end + "---\n".len()..]))
    });
    inside.unwrap_or(("", card))
}

/// Leaves the lines of the old block out: those that are indented, list items or empty after its key.
fn replace_key(front: &str, block: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for line in front.lines() {
        inside = line.starts_with(KEY) || inside && (line.is_empty() || line.starts_with([' ', '-']));
        if !inside {
            let _ = writeln!(out, "{line}");
        }
    }
    out + block
}

fn model_index(name: &str, e: &Evaluation) -> String {
    // A JSON string is a YAML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "{KEY}\n\
         - name: {name}\n\
         \x20 results:\n\
         \x20 - task:\n\
         \x20     type: text-classification\n\
         \x20   dataset:\n\
         \x20     type: {dataset}\n\
         \x20     name: {dataset}\n\
         \x20   metrics:\n\
         \x20   - type: accuracy\n\
         \x20     value: {accuracy}\n\
         \x20     name: Accuracy ({correct} of {examples})\n\
         \x20   - type: f1\n\
         \x20     value: {f1}\n\
         \x20     name: Macro F1\n",
        name = quoted(name),
        dataset = quoted(&e.dataset),
        accuracy = e.accuracy,
        correct = e.correct,
        examples = e.examples,
        f1 = e.macro_f1,
    )
}

fn section(e: &Evaluation) -> String {
    let mut out = format!(
        "{BEGIN}\n## Evaluation\n{} of {} texts of {} are right: accuracy {}, macro F1 {}.\n\n\
         | label | precision | recall | F1 | texts |\n|---|---|---|---|---|\n",
        e.correct,
        e.examples,
        cell(&e.dataset),
        e.accuracy,
        e.macro_f1
    );
    for l in &e.labels {
        let (label, support) = (cell(&l.label), l.support);
        let _ = writeln!(out, "| {label} | {} | {} | {} | {support} |", l.precision, l.recall, l.f1);
    }
    out + END
}

/// A table's cell ends at a bar, and a line at its end.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(right: usize) -> Evaluation {
        let pairs: Vec<_> = (0..10).map(|i| (i % 2, if i < right { i % 2 } else { 1 - i % 2 })).collect();
        Evaluation::new("dev.tsv", &["no".into(), "y|es".into()], &pairs)
    }

    #[test]
    fn all_else_stays_and_the_second_time_replaces_the_first() {
        let card =
            "---\nlicense: mit\nmodel-index:\n- name: old\n  results: []\n\ntags:\n- a\n---\n# Card\ntext\n";
        let once = with_evaluation(card, "m", &evaluation(7));
        assert!(once.starts_with("---\nlicense: mit\ntags:\n- a\nmodel-index:\n- name: \"m\"\n"), "{once}");
        assert!(once.contains("\n---\n# Card\ntext\n\n<!-- evaluation") && !once.contains("old"), "{once}");
        assert!(once.contains("value: 0.7\n") && once.contains("7 of 10"), "{once}");
        assert!(once.contains("| y\\|es | "), "{once}");
        let twice = with_evaluation(&once, "m", &evaluation(9));
        assert!(twice.contains("9 of 10") && !twice.contains("7 of 10"), "{twice}");
        assert_eq!(twice.matches("## Evaluation").count(), 1);
        assert_eq!(with_evaluation(&twice, "m", &evaluation(7)), once);
    }

    #[test]
    fn a_card_without_front_matter_gets_one() {
        for card in ["# Card\n", "", "---\n# a rule, not front matter\n"] {
            let out = with_evaluation(card, "m", &evaluation(7));
            assert!(
                out.starts_with("---\nmodel-index:\n")
                    && out.contains(&format!("\n---\n{}", card.trim_end())),
                "{out}"
            );
        }
    }
}
