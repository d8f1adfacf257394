//! YAML as JSON values, merge keys (`<<`) included: the tests look things up, no more.

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// Every document of a file.
pub fn all(text: &str) -> Vec<Value> {
    YamlLoader::load_from_str(text).unwrap().into_iter().map(json).collect()
}

/// The one document of a file.
pub fn one(text: &str) -> Value {
    let mut all = all(text);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.into(),
        Yaml::Integer(number) => number.into(),
        Yaml::Boolean(yes) => yes.into(),
        Yaml::Array(items) => items.into_iter().map(json).collect(),
        Yaml::Hash(pairs) => {
            let mut map = Map::new();
            for (key, value) in pairs {
                let (key, value) = (key.into_string().unwrap(), json(value));
                match (key.as_str(), value) {
                    // Comes first in our files, so that what follows has the last word.
                    ("<<", Value::Object(merged)) => map.extend(merged),
                    (_, value) => _ = map.insert(key, value),
                }
            }
            Value::Object(map)
        }
        Yaml::Null => Value::Null,
        other => panic!("{other:?}"),
    }
}
