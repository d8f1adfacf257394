//! Values as YAML on one line, good in block and in flow style, and as a person would write them
//! where that is possible. Pure.

use yaml_rust2::yaml::Yaml;

use crate::text::json::{self, Kind};

/// Text: without quotes if YAML then reads the same, else with those that need fewer escapes.
pub(super) fn text(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let quoted = double_quoted(text);
    match quoted.len() > text.len() + 2 && !text.chars().any(needs_escape) {
        true => format!("'{}'", text.replace('\'', "''")),
        false => quoted,
    }
}

/// A score, with one digit more than the tolerance asks for.
pub(super) fn score(score: f32, tolerance: f64) -> String {
    let exact = score.to_string();
    if tolerance <= 0.0 {
        return exact;
    }
    let digits = (1.0 - tolerance.log10().floor()).clamp(1.0, 9.0) as usize;
    let rounded = format!("{score:.digits$}");
    let short = rounded.trim_end_matches('0');
    let short = if short.ends_with('.') { format!("{short}0") } else { short.to_owned() };
    if short.len() < exact.len() { short } else { exact }
}

/// JSON text in one line, its numbers as they are; `None` where it holds half a surrogate pair.
pub(super) fn json(json: &str) -> Option<String> {
    match Kind::of(json) {
        Kind::String => Some(text(&json::string(json)?)),
        Kind::Array => {
            let mut items = Vec::new();
            json::items(json, |item| items.push(self::json(item.trim_matches(json::WHITE_SPACE)))).ok()?;
            Some(format!("[{}]", items.into_iter().collect::<Option<Vec<_>>>()?.join(", ")))
        }
        Kind::Object => {
            let mut members: Vec<Option<(String, String)>> = Vec::new();
            json::members(json, |key, value| {
                let key = json::string(key).map(|key| text(&key));
                let value = self::json(value.trim_matches(json::WHITE_SPACE));
                // Of a key that is there twice, the last one counts; in YAML it is an error.
                members.retain(|member| member.as_ref().map(|(k, _)| k) != key.as_ref());
                members.push(key.zip(value));
            })
            .ok()?;
            let members = members.into_iter().collect::<Option<Vec<_>>>()?;
            let each: Vec<String> = members.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            Some(if each.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", each.join(", ")) })
        }
        Kind::Number | Kind::Boolean | Kind::Null => Some(json.to_owned()),
    }
}

/// Words that nobody takes for anything else, in whatever version of YAML.
fn is_plain(text: &str) -> bool {
    const ALSO_BOOLEAN: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./ ".contains(c))
        && !text.ends_with(' ')
        && !ALSO_BOOLEAN.contains(&text.to_lowercase().as_str())
        && matches!(Yaml::from_str(text), Yaml::String(_))
        && !matches!(Yaml::from_str(&text.to_lowercase()), Yaml::Boolean(_) | Yaml::Null)
}

/// JSON's escapes are YAML's, too; what is not to be seen is escaped besides.
fn double_quoted(text: &str) -> String {
    let mut out = String::new();
    for c in serde_json::Value::from(text).to_string().chars() {
        match c {
            c if needs_escape(c) => out += &format!("\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, and what YAML or an editor takes for the end of a line. All of them have four
/// hexadecimal digits at most.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::config::yaml::{Scalars, parse};
    use crate::golden::same::same;

    /// What YAML reads, in block and in flow style.
    fn read(yaml: &str) -> String {
        let block = parse(&format!("a:\n  b: {yaml}\n  c: 1\n"), Scalars::Typed).unwrap().root.unwrap();
        let flow = parse(&format!("a: {{ b: {yaml}, c: 1 }}\n"), Scalars::Typed).unwrap().root.unwrap();
        let b = block.get("a").unwrap().get("b").unwrap().json();
        assert_eq!(flow.get("a").unwrap().get("b").unwrap().json(), b);
        b
    }

    #[test]
    fn as_a_person_would_write_it() {
        for (of, yaml) in [
            ("positive", "positive"),
            ("reviews.tagged", "reviews.tagged"),
            ("", "\"\""),
            ("no", "\"no\""),
            ("True", "\"True\""),
            ("Null", "\"Null\""),
            ("5 stars", "\"5 stars\""),
            ("a: b", "\"a: b\""),
            ("it's {\"a\":1}", "'it''s {\"a\":1}'"),
            ("one\ntwo", "\"one\\ntwo\""),
            ("\u{85}\u{feff}", "\"\\u0085\\ufeff\""),
        ] {
            assert_eq!(text(of), yaml);
        }
        assert_eq!(json("{ \"a\" : 1.10,\"b\":[ ] }").unwrap(), "{ a: 1.10, b: [] }");
        assert_eq!(json("12345678901234567890").unwrap(), "12345678901234567890");
        assert_eq!(json("{\"a\":1,\"a\":2}").unwrap(), "{ a: 2 }");
        assert_eq!(json("[\"\\ud83d\"]"), None);
    }

    #[test]
    fn scores_have_as_many_digits_as_are_compared() {
        assert_eq!(score(0.995_372_4, 0.001), "0.9954");
        assert_eq!(score(0.995_372_4, 0.05), "0.995");
        assert_eq!(score(0.995_372_4, 0.0), "0.9953724");
        assert_eq!(score(0.999_99, 0.001), "1.0");
        assert_eq!(score(0.5, 0.001), "0.5");
        assert_eq!(score(-12.25, 1.0), "-12.2");
        assert_eq!(score(f32::MAX, 0.001).parse::<f32>().unwrap(), f32::MAX);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<bool>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn yaml_reads_the_same_text(of in "\\PC{0,12}|[a-zA-Z0-9:#{}\\[\\],&*!|>'\"%@` \\n\\t.-]{0,12}|true|null|~") {
            let json = serde_json::Value::from(of.as_str()).to_string();
            prop_assert_eq!(read(&text(&of)), json);
        }

        #[test]
        fn yaml_reads_the_same_value(of in any_json()) {
            let of = of.to_string();
            prop_assert!(same(&read(&json(&of).unwrap()), &of), "{}", of);
        }
    }
}
