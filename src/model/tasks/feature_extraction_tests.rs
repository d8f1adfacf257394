#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};

use super::*;
use crate::text::Note;

fn task(normalize: bool, kept: usize, pooling: Pooling) -> FeatureExtraction {
    FeatureExtraction { pooling, hidden: 3, kept, normalize, embedding: true, nearest: None }
}

fn labels(examples: &[(&str, &[&str])]) -> Nearest {
    Nearest {
        labels: examples.iter().map(|(label, _)| (*label).to_owned()).collect(),
        texts: examples
            .iter()
            .map(|(_, texts)| texts.iter().map(|text| (*text).to_owned()).collect())
            .collect(),
        vectors: Vec::new(),
        scores: true,
        top: None,
        uncertain: None,
    }
}

fn said(task: &FeatureExtraction, windows: &[(usize, [f32; 3])]) -> Result<Value, NoAnswer> {
    let notes: Vec<Note> =
        windows.iter().map(|(of_text, _)| Note { of_text: *of_text, ..Note::default() }).collect();
    let answers: Vec<&[f32]> = windows.iter().map(|(_, vector)| &vector[..]).collect();
    let prediction = task.predict(&Seen { text: "", notes: &notes }, &answers)?;
    Ok(serde_json::from_str(&format!("{{{}}}", prediction.json)).unwrap())
}

#[test]
fn windows_first_then_the_cut_then_the_length() {
    let windows = [(30, [1.0, 4.0, 0.0]), (10, [9.0, 4.0, 8.0])];
    let of = |task: FeatureExtraction| said(&task, &windows).unwrap()["embedding"].clone();
    assert_eq!(of(task(false, 3, Pooling::Mean)), json!([3.0, 4.0, 2.0]));
    assert_eq!(of(task(false, 2, Pooling::Mean)), json!([3.0, 4.0]));
    assert_eq!(of(task(true, 2, Pooling::Mean)), json!([0.6, 0.8]));
    assert_eq!(of(task(false, 3, Pooling::Max)), json!([9.0, 4.0, 8.0]));
}

#[test]
fn a_label_is_as_near_as_its_nearest_example() {
    let nearest = labels(&[("far", &["x"]), ("near", &["y", "z"])]);
    let mut task =
        FeatureExtraction { nearest: Some(nearest), embedding: false, ..task(false, 3, Pooling::Mean) };
    let mut asked = Vec::new();
    let mut ask = |texts: &[&str]| {
        asked.extend(texts.iter().map(|text| (*text).to_owned()));
        let vector = |text: &&str| match *text {
            "x" => vec![-1.0, 0.0, 0.0],
            "y" => vec![0.0, 7.0, 0.0],
            _ => vec![0.5, 0.0, 0.0],
        };
        Ok(texts.iter().map(vector).collect())
    };
    task.prepare(&mut ask).unwrap();
    assert_eq!(asked, ["x", "y", "z"]);
    let expected = json!({ "label": "near", "score": 1.0, "scores": { "far": -1.0, "near": 1.0 } });
    assert_eq!(said(&task, &[(1, [4.0, 0.0, 0.0])]).unwrap(), expected);
    // Equally far from all.
    let nowhere = json!({ "label": "far", "score": 0.0, "scores": { "far": 0.0, "near": 0.0 } });
    assert_eq!(said(&task, &[(1, [0.0, 0.0, 2.0])]).unwrap(), nowhere);
}

#[test]
fn examples_must_be_answered() {
    let mut task =
        FeatureExtraction { nearest: Some(labels(&[("a", &["x"])])), ..task(true, 3, Pooling::Mean) };
    let error = task.prepare(&mut |_| Ok(vec![vec![f32::NAN, 0.0, 0.0]])).unwrap_err();
    assert!(matches!(error, TaskError::Model(InferError::NotFinite)), "{error}");
}

#[test]
fn what_is_no_vector_is_no_answer() {
    let task = task(false, 3, Pooling::Mean);
    assert_eq!(said(&task, &[(1, [0.0, f32::INFINITY, 0.0])]), Err(NoAnswer::NotFinite));
    let seen = Seen { text: "", notes: &[Note::default()] };
    assert_eq!(task.predict(&seen, &[&[1.0]]), Err(NoAnswer::Shape { found: 1, expected: 3 }));
}
