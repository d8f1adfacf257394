//! What sentence-transformers writes beside a model: how a text's tokens become one vector. Pure.

use serde::Deserialize;

use super::Pooling;
use super::manifest::inside;

/// The name of the list of a package's modules.
pub(super) const MODULES: &str = "modules.json";

/// A package's word; nothing where it has no such files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sentence {
    /// How hidden states become a vector.
    pub pooling: Option<Stated>,
    /// Is the vector then brought to the length 1?
    pub normalizes: bool,
}

/// How a package says that its hidden states become a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    /// One of those that we have.
    Known(Pooling),
    /// Another, several at once, or modules after it that change the vector.
    Unknown,
}

/// One of the modules that a text goes through.
#[derive(Debug, Deserialize)]
pub(super) struct Module {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

/// The pooling's own file, in its old form (a flag for each way) or its new one (the name).
#[derive(Debug, Default, Deserialize)]
pub(super) struct PoolingConfig {
    #[serde(default)]
    pooling_mode: Option<String>,
    #[serde(flatten)]
    others: serde_json::Map<String, serde_json::Value>,
}

impl Module {
    /// The class, whatever the package that it is in.
    fn class(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or_default()
    }
}

/// Where the pooling's file is, inside the package.
pub(super) fn pooling_file(modules: &[Module]) -> Option<String> {
    let pooling = modules.iter().find(|module| module.class() == "Pooling")?;
    inside(&pooling.path).then(|| format!("{}/config.json", pooling.path))
}

impl Sentence {
    /// Of the modules and the pooling's file.
    pub(super) fn of(modules: &[Module], pooling: Option<&PoolingConfig>) -> Self {
        let others = ["Transformer", "Pooling", "Normalize"];
        let changed = modules.iter().any(|module| !others.contains(&module.class()));
        let stated = match (modules.is_empty(), changed) {
            (true, _) => None,
            (_, true) => Some(Stated::Unknown),
            _ => Some(pooling.map_or(Stated::Unknown, PoolingConfig::stated)),
        };
        Self { pooling: stated, normalizes: modules.iter().any(|module| module.class() == "Normalize") }
    }
}

impl PoolingConfig {
    fn stated(&self) -> Stated {
        let flags = self.others.iter().filter(|(_, on)| **on == serde_json::Value::Bool(true));
        let flags: Vec<&str> = flags.filter_map(|(key, _)| key.strip_prefix("pooling_mode_")).collect();
        let name = match (&self.pooling_mode, &flags[..]) {
            (Some(name), _) => name.as_str(),
            (None, [one]) => one,
            _ => return Stated::Unknown,
        };
        match name {
            "mean" | "mean_tokens" => Stated::Known(Pooling::Mean),
            "cls" | "cls_token" => Stated::Known(Pooling::Cls),
            "max" | "max_tokens" => Stated::Known(Pooling::Max),
            _ => Stated::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn sentence(kinds: &[&str], pooling: Value) -> Sentence {
        let modules: Vec<Value> = kinds
            .iter()
            .map(|kind| json!({ "type": format!("sentence_transformers.models.{kind}"), "path": "1" }))
            .collect();
        let modules: Vec<Module> = serde_json::from_value(modules.into()).unwrap();
        Sentence::of(&modules, serde_json::from_value(pooling).ok().as_ref())
    }

    #[test]
    fn the_packages_word_is_taken_where_we_know_it() {
        use Pooling::{Cls, Max, Mean};
        let usual = ["Transformer", "Pooling", "Normalize"];
        for (pooling, expected) in [
            (
                json!({ "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true }),
                Stated::Known(Mean),
            ),
            (json!({ "pooling_mode_max_tokens": true, "include_prompt": true }), Stated::Known(Max)),
            (json!({ "pooling_mode": "cls", "embedding_dimension": 28 }), Stated::Known(Cls)),
            (json!({ "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true }), Stated::Unknown),
            (json!({ "pooling_mode": "weightedmean" }), Stated::Unknown),
            (json!({}), Stated::Unknown),
        ] {
            let expected = Sentence { pooling: Some(expected), normalizes: true };
            assert_eq!(sentence(&usual, pooling.clone()), expected, "{pooling}");
        }
        let cls = json!({ "pooling_mode": "cls" });
        assert_eq!(
            sentence(&["Transformer", "Pooling", "Dense"], cls.clone()).pooling,
            Some(Stated::Unknown)
        );
        assert!(!sentence(&["Transformer", "Pooling"], cls).normalizes);
        assert_eq!(sentence(&["Transformer"], Value::Null).pooling, Some(Stated::Unknown));
        assert_eq!(sentence(&[], Value::Null), Sentence::default());
    }

    #[test]
    fn only_files_of_the_package_are_read() {
        let at = |path: &str| pooling_file(&[Module { kind: "m.Pooling".into(), path: path.into() }]);
        assert_eq!(at("1_Pooling").as_deref(), Some("1_Pooling/config.json"));
        assert_eq!((at("../x"), at("/x"), at("")), (None, None, None));
    }
}
