//! Schema violations in plain words. The messages are built from the kind of the error and from the
//! schema alone, never from the value, which may be a secret. Pure.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::path;
use super::problem::{Problem, suggest};

/// A violation, and the JSON pointer of what must be made good before the rest can be judged.
pub(super) struct Violation {
    pub(super) problem: Problem,
    pub(super) pointer: String,
}

/// All violations of the schema in `document`.
pub(super) fn violations(schema: &Value, document: &Value) -> Vec<Violation> {
    let validator = match Validator::new(schema) {
        Ok(validator) => validator,
        // A defect of ours, which the tests of `schema` exclude.
        Err(_) => {
            return vec![Violation {
                problem: Problem::error("", "the schema is not valid"),
                pointer: String::new(),
            }];
        }
    };
    validator.iter_errors(document).flat_map(|error| explain(schema, &error)).collect()
}

fn explain(schema: &Value, error: &ValidationError<'_>) -> Vec<Violation> {
    let pointer = error.instance_path().as_str();
    let at = path::from_pointer(pointer);
    // All references are in line, so a schema path is a pointer into the schema.
    let keyword = error.schema_path().as_str();
    let node = keyword.rsplit_once('/').and_then(|(node, _)| schema.pointer(node)).unwrap_or(schema);
    let here = |problem: Problem| vec![Violation { problem, pointer: pointer.to_owned() }];
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|key| unknown(node, &at, key, pointer)).collect()
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let wanted = node.get("properties").and_then(|p| p.get(name));
            let problem = Problem::error(path::key(&at, name), "is missing");
            let pointer = format!("{pointer}/{name}");
            let problem = match wanted {
                Some(node) => problem.hint(meaning(node)),
                None => problem,
            };
            vec![Violation { problem, pointer }]
        }
        Kind::Type { kind } => {
            let found = kind_of(error.instance());
            let mut problem = Problem::error(at, format!("expected {}, found {found}", expected(node, kind)));
            let as_text = matches!(error.instance().as_ref(), Value::Number(_) | Value::Bool(_));
            if as_text && node.get("type").is_some_and(|t| t == "string") && node.get("pattern").is_none() {
                problem = problem.hint("put it in quotes");
            } else {
                problem = with_examples(problem, node);
            }
            here(problem)
        }
        Kind::Pattern { .. } => {
            let what = format!("is not {}", title(node).unwrap_or("of the right form"));
            here(with_examples(Problem::error(at, what), node))
        }
        Kind::Enum { options } => {
            let options = options.as_array().into_iter().flatten().filter_map(Value::as_str);
            let words: Vec<&str> = options.collect();
            let problem = Problem::error(at, format!("must be one of {}", words.join(", ")));
            let written = error.instance().as_str().map(|text| suggest(text, words.iter().copied()));
            here(match written.filter(|s| s.starts_with("did you mean")) {
                Some(s) => problem.hint(s),
                None => problem,
            })
        }
        Kind::Minimum { limit } => {
            here(with_examples(Problem::error(at, format!("must be at least {limit}")), node))
        }
        Kind::Maximum { limit } => {
            here(with_examples(Problem::error(at, format!("must be at most {limit}")), node))
        }
        Kind::MinLength { .. } => here(with_examples(Problem::error(at, "must not be empty"), node)),
        Kind::MinItems { limit } => {
            here(with_examples(Problem::error(at, format!("needs at least {limit}")), node))
        }
        Kind::MinProperties { .. } | Kind::MaxProperties { .. } => {
            let known = node.get("properties").and_then(Value::as_object).into_iter().flatten();
            let known: Vec<&str> = known.map(|(key, _)| key.as_str()).collect();
            here(with_examples(
                Problem::error(at, format!("needs exactly one of {}", known.join(", "))),
                node,
            ))
        }
        // No other keyword is in our schema; should one come, its name is all that is safe to say.
        other => here(Problem::error(at, format!("breaks the schema's rule `{}`", other.keyword()))),
    }
}

fn unknown(node: &Value, at: &str, key: &str, pointer: &str) -> Violation {
    let known =
        node.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(k, _)| k.as_str());
    let problem = if node.get("writeOnly").is_some() {
        // Who writes `password: {hunter2}` has written a secret as a key.
        Problem::error(at, "has an unknown key")
            .hint(format!("known here: {}", known.collect::<Vec<_>>().join(", ")))
    } else {
        Problem::error(path::key(at, key), "unknown key").hint(suggest(key, known))
    };
    Violation { problem, pointer: format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")) }
}

fn title(node: &Value) -> Option<&str> {
    node.get("title")?.as_str()
}

/// What a missing key is for.
fn meaning(node: &Value) -> String {
    let description = node.get("description").and_then(Value::as_str).unwrap_or_default();
    match examples(node) {
        Some(examples) => format!("{description} Such as {examples}"),
        None => description.to_owned(),
    }
}

fn with_examples(problem: Problem, node: &Value) -> Problem {
    match examples(node) {
        Some(examples) => problem.hint(format!("such as {examples}")),
        None => problem,
    }
}

fn examples(node: &Value) -> Option<String> {
    let examples = node.get("examples")?.as_array()?;
    Some(examples.iter().map(|e| format!("`{}`", flow(e))).collect::<Vec<_>>().join(", "))
}

/// A value as one would write it in YAML.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let each = map.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{{}}}", each.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn expected(node: &Value, kind: &TypeKind) -> String {
    match (title(node), kind) {
        (Some(title), _) if !title.starts_with("squeezeflow ") => title.to_owned(),
        (_, TypeKind::Single(one)) => match one.to_string().trim_matches('"') {
            "string" => "text",
            "integer" => "a whole number",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            _ => "a section of keys",
        }
        .to_owned(),
        (_, TypeKind::Multiple(_)) => "another kind of value".to_owned(),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(n) if n.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a section of keys",
    }
}
