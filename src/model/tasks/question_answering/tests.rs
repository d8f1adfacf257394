#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// `[CLS] who ? [SEP] text… [SEP]`: two tokens a word, each of two bytes.
fn note(beside: usize, tokens: std::ops::Range<usize>) -> Note {
    let special = Span { id: 2, start: 0, end: 0, word: None, is_text: false };
    let question = |at: u32| Span { id: 5, start: at, end: at + 1, word: Some(at), is_text: false };
    let of_text = tokens.len();
    let text = tokens.map(|place| Span {
        id: 9,
        start: 2 * place as u32,
        end: 2 * place as u32 + 2,
        word: Some(place as u32 / 2),
        is_text: true,
    });
    let begin = [special, question(0), question(1), special];
    let spans: Vec<Span> = begin.into_iter().chain(text).chain([special]).collect();
    Note { length: spans.len(), of_text, first: 0, beside, spans }
}

/// Logits that are high at these places of the sequence, first starts, then ends.
fn answer(note: &Note, high: [&[(usize, f32)]; 2]) -> Vec<f32> {
    let of = |high: &[(usize, f32)]| {
        let mut logits = vec![0.0; note.length];
        high.iter().for_each(|(place, logit)| logits[*place] = *logit);
        logits
    };
    high.map(of).concat()
}

fn task(options: Value, questions: usize) -> QuestionAnswering {
    let mut options: Options = serde_json::from_value(options).unwrap();
    options.questions = (0..questions).map(|n| (format!("q{n}"), "who?".to_owned())).collect();
    let beside = Beside { others: [].into(), text: Side::Second, windows: None };
    QuestionAnswering { options, beside }
}

const TEXT: &str = "aabbccddeeffgghhiijj";

fn predicted(task: &QuestionAnswering, notes: &[Note], answers: &[Vec<f32>]) -> Value {
    let answers: Vec<&[f32]> = answers.iter().map(Vec::as_slice).collect();
    let json = task.predict(&Seen { text: TEXT, notes }, &answers).unwrap().json;
    serde_json::from_str::<Value>(&format!("{{{json}}}")).unwrap()["answers"].clone()
}

#[test]
fn an_answer_is_of_the_text_and_of_whole_words() {
    let note = note(0, 0..10);
    // The question's own tokens are the surest, and the best end stands before the best start.
    let answer = answer(&note, [&[(1, 20.0), (7, 9.0)], &[(2, 20.0), (4, 9.5), (9, 9.0)]]);
    let found = predicted(&task(json!({}), 1), std::slice::from_ref(&note), std::slice::from_ref(&answer));
    assert_eq!(found["q0"]["answer"], "ccddeeff", "tokens 3 to 5, of the words 1 and 2");
    assert_eq!((&found["q0"]["start"], &found["q0"]["end"]), (&json!(4), &json!(12)));
    let as_is = task(json!({ "align_to_words": false }), 1);
    assert_eq!(
        predicted(&as_is, std::slice::from_ref(&note), std::slice::from_ref(&answer))["q0"]["answer"],
        "ddeeff"
    );
    // Three tokens are too many.
    let short = task(json!({ "align_to_words": false, "max_answer_len": 2 }), 1);
    let found = predicted(&short, &[note], &[answer]);
    assert!(found["q0"]["answer"].as_str().unwrap().len() <= 4, "{found}");
}

#[test]
fn there_is_none_where_the_model_is_surer_of_that_in_every_window() {
    let notes = [note(0, 0..10), note(0, 4..10)];
    let none = answer(&notes[0], [&[(0, 9.0)], &[(0, 9.0)]]);
    let some = answer(&notes[1], [&[(5, 9.0)], &[(5, 9.0)]]);
    let impossible = task(json!({ "handle_impossible": true }), 1);
    let found = predicted(&impossible, &notes, &[none.clone(), some]);
    assert_eq!(found["q0"]["start"], json!(8), "the second window has one: {found}");
    let none_either = answer(&notes[1], [&[(0, 9.0)], &[(0, 9.0)]]);
    let both = [none, none_either];
    assert_eq!(predicted(&impossible, &notes, &both), json!({ "q0": null }));
    assert!(predicted(&task(json!({}), 1), &notes, &both)["q0"].is_object(), "nobody asked");
    assert_eq!(predicted(&task(json!({ "threshold": 0.5 }), 1), &notes, &both), json!({ "q0": null }));
}

#[test]
fn each_question_has_its_own_windows() {
    let notes = [note(0, 0..6), note(0, 4..10), note(1, 0..6), note(1, 4..10)];
    let at = |note: &Note, place: usize, logit: f32| answer(note, [&[(place, logit)], &[(place, logit)]]);
    let answers =
        [at(&notes[0], 4, 8.0), at(&notes[1], 4, 2.0), at(&notes[2], 4, 2.0), at(&notes[3], 9, 8.0)];
    let found = predicted(&task(json!({}), 2), &notes, &answers);
    assert_eq!((&found["q0"]["answer"], &found["q1"]["answer"]), (&json!("aabb"), &json!("iijj")));
}

#[test]
fn what_is_no_answer_of_a_model_is_none() {
    let note = note(0, 0..4);
    let task = task(json!({}), 1);
    let seen = Seen { text: TEXT, notes: std::slice::from_ref(&note) };
    let mut answer = answer(&note, [&[], &[]]);
    assert_eq!(task.predict(&seen, &[&answer[1..]]), Err(NoAnswer::Shape { found: 17, expected: 18 }));
    answer[7] = f32::INFINITY;
    assert_eq!(task.predict(&seen, &[&answer]), Err(NoAnswer::NotFinite));
}

proptest! {
    #[test]
    fn scores_are_probabilities_and_answers_are_of_the_text(
        logits in prop::collection::vec(-80.0_f32..80.0, 30), longest in 1usize..12, align in any::<bool>(),
    ) {
        let note = note(0, 0..10);
        let task = task(json!({ "max_answer_len": longest, "align_to_words": align }), 1);
        let found = predicted(&task, &[note], &[logits]);
        let score = found["q0"]["score"].as_f64().unwrap();
        prop_assert!((0.0..=1.0).contains(&score));
        let (start, end) = (found["q0"]["start"].as_u64().unwrap() as usize, found["q0"]["end"].as_u64().unwrap() as usize);
        prop_assert_eq!(&found["q0"]["answer"], &TEXT[start..end]);
        // Whole words have a token more at each end.
        let most = 2 * (longest + 2 * usize::from(align));
        prop_assert!(end - start <= most);
    }
}
