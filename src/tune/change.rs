//! Where the tuned settings stand in a pipeline file: one set of sessions and threads in all models of it. Pure.

use super::candidate::Setting;
use crate::config;

/// A key of a pipeline file, and what it is to be: `["results", "intent", "model", "sessions"]`, `2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, below its sections.
    pub at: Vec<String>,
    /// A number or a duration.
    pub value: String,
}

impl Change {
    /// The key's path, as a person writes it.
    pub fn path(&self) -> String {
        config::path_of(self.at.iter().map(String::as_str))
    }
}

/// These settings, wherever a pipeline that gives these results has them; `None`: it gives one, without a name.
pub(super) fn written<'r>(
    results: impl IntoIterator<Item = Option<&'r str>>,
    settings: &[Setting],
) -> Vec<Change> {
    let change = |above: &[&str], ((section, key), value): &Setting| Change {
        at: above.iter().chain([section, key]).map(|key| (*key).to_owned()).collect(),
        value: value.clone(),
    };
    let (of_model, others): (Vec<&Setting>, Vec<&Setting>) =
        settings.iter().partition(|((section, _), _)| *section == "model");
    let of_result = |name: Option<&str>| -> Vec<Change> {
        let above: Vec<&str> = name.map_or_else(Vec::new, |name| vec!["results", name]);
        of_model.iter().map(|setting| change(&above, setting)).collect()
    };
    results.into_iter().flat_map(of_result).chain(others.iter().map(|setting| change(&[], setting))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(results: &[Option<&str>]) -> Vec<String> {
        let settings =
            [(("model", "sessions"), "2"), (("model", "threads"), "1"), (("batch", "max_batch_age"), "5ms")];
        let settings = settings.map(|(at, value)| (at, value.to_owned()));
        let changes = written(results.iter().copied(), &settings);
        changes.iter().map(|change| format!("{}={}", change.path(), change.value)).collect()
    }

    #[test]
    fn every_model_has_its_own_and_batches_are_there_once() {
        assert_eq!(paths(&[None]), ["model.sessions=2", "model.threads=1", "batch.max_batch_age=5ms"]);
        assert_eq!(
            paths(&[Some("intent"), Some("mood")]),
            [
                "results.intent.model.sessions=2",
                "results.intent.model.threads=1",
                "results.mood.model.sessions=2",
                "results.mood.model.threads=1",
                "batch.max_batch_age=5ms"
            ]
        );
    }
}
