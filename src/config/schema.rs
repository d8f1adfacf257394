//! The JSON Schema of a pipeline file (draft 2020-12), made from the types in `raw`, and the way
//! from a path to the part of it that speaks of that path.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::{path, raw};

/// The schema of a pipeline file.
pub fn schema() -> Value {
    let mut schema = of::<raw::Pipeline>("squeezeflow pipeline");
    // `tests` is read by itself: a worker does not look at it.
    let tests = cases().pointer_mut("/properties/tests").map(Value::take);
    if let (Some(Value::Object(properties)), Some(tests)) = (schema.get_mut("properties"), tests) {
        properties.insert("tests".into(), tests);
    }
    schema
}

/// The schema of a file with cases, and of a pipeline file's own.
pub fn cases() -> Value {
    of::<raw::Tests>("squeezeflow tests")
}

/// Without references: editors and the error messages read it in place.
fn of<T: JsonSchema>(title: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|s| s.inline_subschemas = true);
    let mut schema = settings.with_transform(Plain).into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    schema.to_value()
}

/// Says in the plainest words what the derived schema says: no `null` (a key without a value counts
/// as not written), one `enum` instead of a choice of constants.
#[derive(Debug, Clone)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(map) = schema.as_object_mut() else { return };
        for keyword in ["type", "enum"] {
            if let Some(Value::Array(options)) = map.get_mut(keyword) {
                options.retain(|o| !o.is_null() && o != "null");
                if let (1, "type", Some(only)) = (options.len(), keyword, options.first().cloned()) {
                    map.insert("type".into(), only);
                }
            }
        }
        if let Some(Value::Array(mut options)) = map.remove("anyOf") {
            // `Option<an enum>`: the enum, or null.
            options.retain(|o| o.get("type").is_none_or(|t| t != "null"));
            if let Some(Value::Object(only)) = options.pop() {
                for (keyword, value) in only {
                    describe(map, keyword, value);
                }
            }
        }
        if let Some(Value::Array(options)) = map.remove("oneOf") {
            let words = options
                .iter()
                .filter_map(|o| Some((o.get("const")?.clone(), o.get("description")?.as_str()?)));
            let (names, meanings): (Vec<_>, Vec<_>) = words
                .map(|(name, meaning)| {
                    (name.clone(), format!("`{}`: {meaning}", name.as_str().unwrap_or("")))
                })
                .unzip();
            map.insert("type".into(), "string".into());
            map.insert("enum".into(), names.into());
            describe(map, "description".into(), format!("{}.", meanings.join("; ")).into());
        }
        if map.get("default").is_some_and(|d| d.is_null() || d.is_object()) {
            // Of a whole section: its keys say it already.
            map.remove("default");
        }
    }
}

/// Inserts; but two descriptions (of the key and of its type) are both wanted.
fn describe(map: &mut serde_json::Map<String, Value>, keyword: String, value: Value) {
    match (keyword.as_str(), map.get("description"), &value) {
        ("description", Some(Value::String(key)), Value::String(of_type)) => {
            let both = format!("{key} {of_type}");
            map.insert(keyword, both.into());
        }
        _ => drop(map.insert(keyword, value)),
    }
}

/// The part of `schema` that speaks of a dotted path, and the path's keys. Below a map with free
/// keys the rest is one key, dots and all.
pub(super) fn at<'s>(schema: &'s Value, dotted: &str) -> (Vec<String>, Option<&'s Value>) {
    let (mut node, mut keys, mut rest) = (Some(schema), Vec::new(), dotted);
    while !rest.is_empty() {
        let free = node.and_then(|n| n.get("additionalProperties")).filter(|a| a.is_object());
        if free.is_some_and(|free| free.get("properties").is_none()) {
            keys.push(rest.to_owned());
            return (keys, free);
        }
        if free.is_some() {
            // A section for each name, which then has no dot.
            let (key, after) = rest.split_once('.').unwrap_or((rest, ""));
            keys.push(key.to_owned());
            (node, rest) = (free, after);
            continue;
        }
        let (key, after) = rest.split_once('.').unwrap_or((rest, ""));
        node = node.and_then(|n| n.get("properties")?.get(key));
        keys.push(key.to_owned());
        rest = after;
    }
    (keys, node)
}

/// A dotted path, but no further than to a secret: what is written below one may be the secret itself.
pub(super) fn up_to_secret<'p>(schema: &Value, dotted: &'p str) -> &'p str {
    let (mut node, mut end) = (schema, 0);
    for key in dotted.split('.') {
        let known = node.get("properties").and_then(|p| p.get(key));
        match known.or_else(|| node.get("additionalProperties").filter(|a| a.is_object())) {
            Some(below) => node = below,
            None => return dotted,
        }
        end += key.len();
        if node.get("writeOnly").is_some() {
            return dotted.get(..end).unwrap_or(dotted);
        }
        end += 1;
    }
    dotted
}

/// Removes the keys that are known and have no value: `batch:` with every line below it commented
/// out is the same as no `batch:`. Unknown ones stay, to be reported.
pub(super) fn drop_nulls(schema: &Value, value: &mut Value) {
    let Value::Object(map) = value else { return };
    let properties = schema.get("properties");
    map.retain(|key, value| !(value.is_null() && properties.is_some_and(|p| p.get(key).is_some())));
    for (key, value) in map {
        if let Some(below) = properties.and_then(|p| p.get(key)) {
            drop_nulls(below, value);
        }
    }
}

/// The part of `schema` that speaks of what a JSON pointer names in a document.
fn node<'s>(schema: &'s Value, pointer: &str) -> Option<&'s Value> {
    pointer.split('/').skip(1).try_fold(schema, |node, key| {
        let named = node.get("properties").and_then(|p| p.get(key));
        named
            .or_else(|| node.get("items"))
            .or_else(|| node.get("additionalProperties").filter(|a| a.is_object()))
    })
}

/// Makes good what the schema refuses at `pointer`, so that the rest of the document can be read: a
/// key that is needed gets a stand-in, any other is taken out.
pub(super) fn repair(schema: &Value, document: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let section = node(schema, parent);
    let key = key.replace("~1", "/").replace("~0", "~");
    let stand_in = || node(schema, pointer).map_or(Value::Null, stand_in);
    match document.pointer_mut(parent) {
        Some(Value::Object(map)) if section.is_some_and(|s| requires(s, &key)) => {
            drop(map.insert(key, stand_in()))
        }
        Some(Value::Object(map)) => drop(map.remove(&key)),
        // Not taken out, lest the later indices shift.
        Some(Value::Array(items)) => {
            if let Some(item) = key.parse::<usize>().ok().and_then(|i| items.get_mut(i)) {
                *item = stand_in();
            }
        }
        _ => {}
    }
}

fn requires(section: &Value, key: &str) -> bool {
    section.get("required").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|k| k == key))
}

/// A value that the schema accepts.
fn stand_in(node: &Value) -> Value {
    let first = |keyword: &str| node.get(keyword)?.as_array()?.first().cloned();
    if let Some(value) = first("examples").or_else(|| first("enum")) {
        return value;
    }
    match node.get("properties").and_then(Value::as_object) {
        Some(properties) => {
            let needed = properties.iter().filter(|(key, _)| requires(node, key));
            needed.map(|(key, node)| (key.clone(), stand_in(node))).collect()
        }
        None => "x".into(),
    }
}

/// Every path that may be written, with what the schema says of it, sections included. Free keys
/// stand as `<name>`, the items of a list of sections as `[]`. What a result has in common with the short
/// form is not said twice.
pub fn paths(schema: &Value) -> Vec<(String, &Value)> {
    fn walk<'s>(at: &str, node: &'s Value, out: &mut Vec<(String, &'s Value)>) {
        let known = node.get("properties").and_then(Value::as_object).into_iter().flatten();
        let free = node.get("additionalProperties").filter(|a| a.is_object()).map(|a| ("<name>", a));
        for (key, below) in known.map(|(k, v)| (k.as_str(), v)).chain(free) {
            let at = path::key(at, key);
            out.push((at.clone(), below));
            if ["results.<name>.model", "results.<name>.task"].contains(&at.as_str()) {
                continue;
            }
            match below.get("items").filter(|items| items.get("type").is_some_and(|t| t == "object")) {
                Some(items) => walk(&format!("{at}[]"), items, out),
                None => walk(&at, below, out),
            }
        }
    }
    let mut out = Vec::new();
    walk("", schema, &mut out);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_a_valid_schema_in_plain_words() {
        let schema = schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(jsonschema::meta::is_valid(&schema));
        let text = schema.to_string();
        for word in ["\"null\"", "$ref", "oneOf", "anyOf"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        for (path, node) in paths(&schema) {
            let described = node["description"].as_str().is_some_and(|d| !d.is_empty());
            assert!(described || path.ends_with("<name>"), "{path} has no description");
        }
        let (_, mode) = at(&schema, "output.mode");
        assert_eq!(mode.unwrap()["enum"], serde_json::json!(["splice", "envelope", "headers"]));
        let (_, age) = at(&schema, "batch.max_batch_age");
        assert_eq!(age.unwrap()["default"], "20ms");
    }

    #[test]
    fn whatever_is_missing_can_be_made_good() {
        let schema = schema();
        let mut document = serde_json::json!({});
        repair(&schema, &mut document, "/input");
        document["kafka"] = stand_in(node(&schema, "/kafka").unwrap());
        document["kafka"]["sasl"] = stand_in(node(&schema, "/kafka/sasl").unwrap());
        assert!(jsonschema::is_valid(&schema, &document), "{document}");
        assert!(serde_json::from_value::<raw::Pipeline>(document).is_ok());
    }

    #[test]
    fn free_keys_keep_their_dots() {
        let schema = schema();
        let (keys, node) = at(&schema, "kafka.librdkafka.socket.keepalive.enable");
        assert_eq!(keys, ["kafka", "librdkafka", "socket.keepalive.enable"]);
        assert!(node.is_some());
        let (keys, node) = at(&schema, "results.mood.model.max_length");
        assert_eq!(keys, ["results", "mood", "model", "max_length"]);
        assert!(node.is_some_and(|node| node["minimum"] == 1));
        assert!(at(&schema, "input.topcis").1.is_none());
    }
}
