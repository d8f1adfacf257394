//! What each layer of the configuration says, as a source for the `config` crate: the file, one
//! source a variable of the environment, one a `--set`. The latter two are text; what they mean is
//! decided by the schema at their path, so that a group named `123` stays text. Pure.

use std::fmt;

use config::{ConfigError, Map, Source, Value as Merged, ValueKind};
use serde_json::Value;

use super::problem::{Origin, Problem};
use super::schema;
use super::yaml::{self, Scalars};

/// Variables that begin so are configuration.
pub(super) const PREFIX: &str = "SQUEEZEFLOW__";
/// The `config` crate reads top-level keys as expressions, user's typing errors included; below one
/// key of our own it leaves them alone.
const ROOT: &str = "pipeline";

/// One source and what it says.
#[derive(Clone)]
pub(super) struct Layer {
    origin: Origin,
    value: Value,
}

impl Layer {
    /// The pipeline file's.
    pub(super) fn file(value: Value) -> Self {
        Self { origin: Origin::File, value }
    }

    /// `SQUEEZEFLOW__KAFKA__GROUP_ID`; `None` where the variable is not for us.
    pub(super) fn environment(schema: &Value, name: &str, text: &str) -> Option<Self> {
        let path = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
        // No shell lets a variable's name hold a dot, and no property of librdkafka an underscore.
        let path = match path.strip_prefix("kafka.librdkafka.") {
            Some(property) => format!("kafka.librdkafka.{}", property.replace('_', ".")),
            None => path,
        };
        Some(Self { origin: Origin::Environment(name.into()), value: nested(schema, &path, text) })
    }

    /// `--set path.to.key=value`.
    pub(super) fn set(schema: &Value, text: &str) -> Result<Self, Box<Problem>> {
        match assignment(text) {
            Some((path, value)) => Ok(Self { origin: Origin::Set, value: nested(schema, path, value) }),
            // Not quoted: it may be a secret whose path was forgotten.
            None => {
                let problem =
                    Problem { origin: Origin::Set, ..Problem::error("", "`--set` without a path and `=`") };
                let hint = "write `--set path.to.key=value`, such as `--set batch.max_batch_size=32`";
                Err(Box::new(problem.hint(hint)))
            }
        }
    }

    /// A number or a text by the keys of its path, whatever names they have.
    pub(super) fn at(keys: &[String], text: &str) -> Self {
        let value = text.parse::<i64>().map_or_else(|_| text.into(), Value::from);
        Self { origin: Origin::Set, value: below(keys, value) }
    }
}

/// Path and value of a `--set`. What is written in front of `=` is shown to people, so it must look
/// like a path: a password without one may have a `=` at its end.
pub(super) fn assignment(text: &str) -> Option<(&str, &str)> {
    let (path, value) = text.split_once('=')?;
    let path = path.trim();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    let is_path = path.split('.').all(|key| !key.is_empty() && key.bytes().all(plain));
    is_path.then_some((path, value))
}

/// Without the value, which may hold a secret.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Merged>, ConfigError> {
        let origin = encode(&self.origin);
        Ok(Map::from_iter([(ROOT.to_owned(), to_merged(&self.value, &origin))]))
    }
}

/// The layers, later ones over earlier ones, and where each value of the result came from.
pub(super) fn merge(layers: Vec<Layer>) -> Result<(Value, Vec<(String, Origin)>), ConfigError> {
    let builder = layers.into_iter().fold(config::Config::builder(), |b, layer| b.add_source(layer));
    // Not `get`, which forgets the origins.
    let merged = builder.build()?.cache.into_table()?.remove(ROOT).unwrap_or_default();
    let mut origins = Vec::new();
    Ok((from_merged(merged, "", &mut origins), origins))
}

fn encode(origin: &Origin) -> String {
    match origin {
        Origin::Environment(name) => format!("${name}"),
        Origin::Set => "--set".into(),
        Origin::File | Origin::Unwritten => "file".into(),
    }
}

fn decode(origin: &str) -> Origin {
    match (origin, origin.strip_prefix('$')) {
        (_, Some(name)) => Origin::Environment(name.into()),
        ("--set", _) => Origin::Set,
        _ => Origin::File,
    }
}

fn to_merged(value: &Value, origin: &String) -> Merged {
    let kind = match value {
        Value::Null => ValueKind::Nil,
        Value::Bool(b) => ValueKind::Boolean(*b),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => ValueKind::I64(i),
            (None, Some(u)) => ValueKind::U64(u),
            (None, None) => ValueKind::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(s) => ValueKind::String(s.clone()),
        Value::Array(items) => ValueKind::Array(items.iter().map(|i| to_merged(i, origin)).collect()),
        Value::Object(map) => {
            ValueKind::Table(map.iter().map(|(k, v)| (k.clone(), to_merged(v, origin))).collect())
        }
    };
    Merged::new(Some(origin), kind)
}

fn from_merged(merged: Merged, at: &str, origins: &mut Vec<(String, Origin)>) -> Value {
    if let Some(origin) = merged.origin() {
        origins.push((at.to_owned(), decode(origin)));
    }
    match merged.kind {
        ValueKind::Boolean(b) => b.into(),
        ValueKind::I64(i) => i.into(),
        ValueKind::U64(u) => u.into(),
        ValueKind::Float(f) => f.into(),
        ValueKind::String(s) => s.into(),
        ValueKind::Array(items) => {
            let each = items.into_iter().enumerate();
            each.map(|(i, item)| from_merged(item, &super::path::index(at, i), origins)).collect()
        }
        ValueKind::Table(map) => {
            let each = map.into_iter();
            each.map(|(k, v)| {
                let v = from_merged(v, &super::path::key(at, &k), origins);
                (k, v)
            })
            .collect()
        }
        // 128-bit numbers are in no layer.
        ValueKind::Nil | ValueKind::I128(_) | ValueKind::U128(_) => Value::Null,
    }
}

/// `a.b` and a text, as `{"a": {"b": …}}` with the text typed by the schema.
fn nested(schema: &Value, path: &str, text: &str) -> Value {
    let (mut keys, mut node) = schema::at(schema, path);
    if keys.is_empty() {
        // `SQUEEZEFLOW__=…` is a key without a name, not the whole document.
        (keys, node) = (vec![String::new()], None);
    }
    let value = node.map_or_else(|| text.into(), |node| typed(node, text));
    below(&keys, value)
}

/// The value, and each key around those after it.
fn below(keys: &[String], value: Value) -> Value {
    let around = |value, key: &String| Value::Object([(key.clone(), value)].into_iter().collect());
    keys.iter().rev().fold(value, around)
}

/// The text as what the schema wants there. What does not fit stays text, and the schema refuses it.
fn typed(node: &Value, text: &str) -> Value {
    let wants = |kind: &str| match node.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(kinds)) => kinds.iter().any(|k| k == kind),
        _ => false,
    };
    if wants("string") && wants("boolean") {
        // Passed on as it is: `007` stays `007`.
        return text.into();
    }
    if wants("object")
        && let Some(Value::Object(map)) = flow(text, '{')
        && (!wants("string")
            || map.keys().all(|k| node.get("properties").is_some_and(|p| p.get(k).is_some())))
    {
        // Where plain text is welcome too (a secret may begin with a brace), only known keys make a map.
        return map
            .into_iter()
            .map(|(k, v)| {
                let v = retyped(schema::at(node, &k).1, v);
                (k, v)
            })
            .collect();
    }
    let word = text.trim();
    if wants("string") && node.get("pattern").is_some_and(|only| *only == format!("^{word}$")) {
        // The one word that may stand there instead of a list: no list of that word.
        return word.into();
    }
    if wants("array") {
        let items = match flow(text, '[') {
            Some(Value::Array(items)) => items,
            _ => text.split(',').map(|item| item.trim().into()).collect(),
        };
        return items.into_iter().map(|item| retyped(node.get("items"), item)).collect();
    }
    if wants("integer")
        && let Ok(number) = text.trim().parse::<i64>()
    {
        return number.into();
    }
    if wants("number")
        && let Some(number) = text.trim().parse().ok().and_then(serde_json::Number::from_f64)
    {
        return number.into();
    }
    if wants("boolean")
        && let Ok(bool) = text.trim().parse::<bool>()
    {
        return bool.into();
    }
    text.into()
}

fn retyped(node: Option<&Value>, value: Value) -> Value {
    match (node, value) {
        (Some(node), Value::String(text)) => typed(node, &text),
        (Some(node), Value::Object(map)) => map
            .into_iter()
            .map(|(k, v)| {
                let v = retyped(schema::at(node, &k).1, v);
                (k, v)
            })
            .collect(),
        (_, value) => value,
    }
}

/// YAML in flow style with its scalars as text; `None` where it is not.
fn flow(text: &str, opening: char) -> Option<Value> {
    text.trim_start().starts_with(opening).then(|| yaml::parse(text, Scalars::AsText).ok())?.map(|d| d.value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn set(assignment: &str) -> Value {
        Layer::set(&schema::schema(), assignment).unwrap().value
    }

    #[test]
    fn text_becomes_what_the_schema_wants() {
        assert_eq!(set("kafka.group_id=123"), json!({"kafka": {"group_id": "123"}}));
        assert_eq!(set("batch.max_batch_size=64"), json!({"batch": {"max_batch_size": 64}}));
        assert_eq!(set("batch.max_batch_size=many"), json!({"batch": {"max_batch_size": "many"}}));
        assert_eq!(set("input.topics=[a, 007]"), json!({"input": {"topics": ["a", "007"]}}));
        assert_eq!(set("input.topics=a, b"), json!({"input": {"topics": ["a", "b"]}}));
        let redact = |text: &str| {
            let task = "task.token-classification";
            set(&format!("{task}.redact={text}"))["task"]["token-classification"]["redact"].clone()
        };
        assert_eq!(redact("all"), "all");
        assert_eq!(redact("PER, all"), json!(["PER", "all"]));
        assert_eq!(set("output.scores=true"), json!({"output": {"scores": true}}));
        assert_eq!(set("limits.max_in_flight_bytes=64MiB")["limits"]["max_in_flight_bytes"], "64MiB");
        assert_eq!(set("limits.max_in_flight_bytes=64")["limits"]["max_in_flight_bytes"], 64);
        assert_eq!(set("model.provider=cuda")["model"]["provider"], "cuda");
        assert_eq!(
            set("model.provider={cuda: {device_id: 1}}")["model"]["provider"],
            json!({"cuda": {"device_id": "1"}})
        );
        assert_eq!(
            set("kafka.librdkafka.socket.keepalive.enable=true")["kafka"]["librdkafka"]["socket.keepalive.enable"],
            "true"
        );
        assert!(Layer::set(&schema::schema(), "nonsense").is_err());
    }

    #[test]
    fn a_secret_may_begin_with_a_brace() {
        assert_eq!(set("kafka.sasl.password={hunter2}")["kafka"]["sasl"]["password"], "{hunter2}");
        assert_eq!(set("kafka.sasl.password={env: X}")["kafka"]["sasl"]["password"], json!({"env": "X"}));
        assert_eq!(set("kafka.sasl.password=a=b")["kafka"]["sasl"]["password"], "a=b");
    }

    #[test]
    fn variables() {
        let env = |name: &str, text: &str| Layer::environment(&schema::schema(), name, text).map(|l| l.value);
        assert_eq!(env("SQUEEZEFLOW__KAFKA__GROUP_ID", "7"), Some(json!({"kafka": {"group_id": "7"}})));
        assert_eq!(
            env("SQUEEZEFLOW__KAFKA__LIBRDKAFKA__LINGER_MS", "7"),
            Some(json!({"kafka": {"librdkafka": {"linger.ms": "7"}}}))
        );
        assert_eq!(env("SQUEEZEFLOW_LOG", "x"), None);
    }

    #[test]
    fn keys_may_have_any_name() {
        let keys = ["results", "My. Näme", "model", "sessions"].map(str::to_owned);
        assert_eq!(Layer::at(&keys, "2").value, json!({"results": {"My. Näme": {"model": {"sessions": 2}}}}));
        assert_eq!(Layer::at(&keys[..1], "20ms").value, json!({"results": "20ms"}));
    }

    #[test]
    fn later_layers_win_and_origins_are_known() {
        let schema = schema::schema();
        let file = Layer::file(json!({"kafka": {"group_id": "a", "client_id": "c"}, "a.b[0]": 1}));
        let env = Layer::environment(&schema, "SQUEEZEFLOW__KAFKA__GROUP_ID", "b").unwrap();
        let (merged, mut origins) = merge(vec![file, env]).unwrap();
        assert_eq!(merged["kafka"], json!({"group_id": "b", "client_id": "c"}));
        assert_eq!(merged["a.b[0]"], 1);
        origins.retain(|(path, _)| path == "kafka.group_id");
        assert_eq!(
            origins,
            [("kafka.group_id".into(), Origin::Environment("SQUEEZEFLOW__KAFKA__GROUP_ID".into()))]
        );
    }
}
