//! Several results: what is written for them, and which are refused.

#![allow(clippy::unwrap_used)]
use super::*;

/// What a pipeline with these results says.
fn loaded(dir: &Path, results: &str) -> (String, Loaded) {
    let text = format!("input: {{ topics: [t] }}\n{results}");
    std::fs::write(dir.join("pipeline.yaml"), &text).unwrap();
    let loaded = config::load(&dir.join("pipeline.yaml"), &Overrides::default());
    (text, loaded.unwrap_or_else(|e| panic!("{e}")))
}

const TWO: &str = "\
results:
  intent:            # what they want
    model:
      path: x        # ours
      sessions: 2    # a core each
  \"odd: one.\": { model: { path: y, sessions: 2 } }   # the other
output: { topic: o } # out
";

#[test]
fn all_models_are_set_alike_and_all_else_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (text, before) = loaded(dir.path(), TWO);
    check(&before).unwrap();
    let now = Candidate::of(&before.settings);
    let n = |n| NonZeroUsize::new(n).unwrap();
    let best = Candidate { sessions: n(1), threads: n(3), max_size: n(7), ..now };
    let names = || before.settings.results.iter().map(|result| result.name.as_deref());
    let changes = change::written(names(), &best.changes(&now));
    let new = rewrite(&text, &changes).unwrap();
    let expected = "\
results:
  intent:            # what they want
    model:
      path: x        # ours
      sessions: 1    # a core each
      threads: 3
  \"odd: one.\": { model: { path: y, sessions: 1, threads: 3 } }   # the other
batch:
  max_batch_size: 7
output: { topic: o } # out
";
    assert_eq!(new, format!("input: {{ topics: [t] }}\n{expected}"));
    let (_, after) = loaded(dir.path(), expected);
    check(&after).unwrap();
    assert_eq!(Candidate::of(&after.settings), best);
    for result in after.settings.results.iter() {
        assert_eq!((result.model.sessions, result.model.threads), (n(1), n(3)), "{:?}", result.name);
    }
    // And it is what a run of it is loaded with.
    let file = dir.path().join("pipeline.yaml");
    std::fs::write(&file, text).unwrap();
    let over = changes.iter().map(|change| (change.at.as_slice(), change.value.as_str()));
    let tried = config::load_with(&file, &Overrides::default(), over).unwrap().settings;
    assert_eq!(Candidate::of(&tried), best);
    let of = |settings: &Settings| -> Vec<_> { settings.results.iter().map(|r| r.model.clone()).collect() };
    assert_eq!(of(&tried), of(&after.settings));
    // Nothing to say, nothing changed.
    assert_eq!(change::written(names(), &now.changes(&now)), []);
}

#[test]
fn models_that_differ_are_refused_by_both_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    for (a, b, parts) in [
        (
            "sessions: 2, threads: 1",
            "sessions: 3, threads: 1",
            ["`results.a.model.sessions` is 2", "`results.b.model.sessions` is 3"],
        ),
        (
            "sessions: 2, threads: 1",
            "sessions: 2, threads: 2",
            ["`results.a.model.threads` is 1", "`results.b.model.threads` is 2"],
        ),
        // Not by what follows of it.
        (
            "provider: cpu",
            "provider: cuda",
            ["`results.a.model.provider` is cpu", "`results.b.model.provider` is cuda"],
        ),
    ] {
        let results = format!(
            "results: {{ a: {{ model: {{ path: x, {a} }} }}, b: {{ model: {{ path: y, {b} }} }} }}\n"
        );
        let told = check(&loaded(dir.path(), &results).1).unwrap_err().to_string();
        for part in parts {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
    }
    // Said in other words, but the same.
    let same = "results: { a: { model: { path: x, sessions: 1 } }, b: { model: { path: y, sessions: 1, threads: 1 } } }\n";
    check(&loaded(dir.path(), same).1).unwrap();
}
