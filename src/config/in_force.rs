//! The settings in force, one by one, as somebody may see them who may see the worker: what was written
//! and what was not, what `auto` has become, and who said so. Pure.
//!
//! No secret is in it. A value of the type `Secret` is written as `[redacted]` before anything else sees
//! it; what is passed to librdkafka is shown only where it is a number or a yes or no, for the other
//! values are not ours to know; and whatever stands before an `@` in an address is taken out.

use std::num::NonZeroUsize;

use serde::Serialize;
use serde_json::Value;

use super::problem::Origin;
use super::{Places, Settings, path, raw};

const REDACTED: &str = "[redacted]";

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// As it is written with `--set`.
    pub path: String,
    /// As one would write it in YAML.
    pub value: String,
    /// `default`, `file`, `--set`, or `$` and a variable's name.
    pub origin: String,
}

/// All settings of a pipeline, in the order of the documentation.
pub(super) fn in_force(raw: &raw::Pipeline, settings: &Settings, places: &Places) -> Vec<InForce> {
    let mut all = Vec::new();
    // It holds no map with other keys than text, and no number that JSON does not have.
    flatten("", &serde_json::to_value(raw).unwrap_or_default(), &mut all);
    let resolved = resolved(settings);
    let mut told: Vec<InForce> = all
        .into_iter()
        .map(|(path, value)| {
            let value = match resolved.iter().find(|(at, _)| *at == path) {
                Some((_, now)) if *now != value => format!("{now} ({value})"),
                _ => value,
            };
            InForce { origin: origin(places, &path), path, value }
        })
        .collect();
    // What nobody wrote, and has a value all the same.
    for (at, now) in resolved {
        if !told.iter().any(|one| one.path == at) {
            let one = InForce { path: at.clone(), value: now, origin: "default".to_owned() };
            let section =
                |one: &InForce| path::parent(&at).is_some_and(|above| path::within(&one.path, above));
            match told.iter().rposition(section) {
                Some(last) => told.insert(last + 1, one),
                None => told.push(one),
            }
        }
    }
    told
}

/// What became of words that leave it to us.
fn resolved(settings: &Settings) -> Vec<(String, String)> {
    let number = |n: NonZeroUsize| n.to_string();
    let mut all = Vec::new();
    for result in settings.results.iter() {
        all.push((result.at("model.sessions"), number(result.model.sessions)));
        all.push((result.at("model.threads"), number(result.model.threads)));
    }
    all.extend([
        ("limits.max_in_flight_records".to_owned(), number(settings.limits.max_in_flight_records)),
        ("limits.text_workers".to_owned(), number(settings.limits.text_workers)),
    ]);
    if let Some(kafka) = &settings.kafka {
        // As it is written: whole milliseconds.
        all.push(("kafka.commit_interval".to_owned(), format!("{:?}", kafka.commit_interval)));
    }
    all
}

fn origin(places: &Places, at: &str) -> String {
    match places.origin(at) {
        Origin::Unwritten => "default".to_owned(),
        Origin::File => "file".to_owned(),
        Origin::Set => "--set".to_owned(),
        Origin::Environment(name) => format!("${name}"),
    }
}

/// Values by path. A list is one value: its items belong together. What has no value is left out.
fn flatten(at: &str, value: &Value, all: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(map) => map.iter().for_each(|(key, value)| flatten(&path::key(at, key), value, all)),
        _ => all.push((at.to_owned(), shown(at, value))),
    }
}

fn shown(at: &str, value: &Value) -> String {
    match value {
        Value::String(text) if path::within(at, "kafka.librdkafka") => {
            let is_plain = text.parse::<f64>().is_ok() || matches!(text.as_str(), "true" | "false");
            if is_plain { text.clone() } else { REDACTED.to_owned() }
        }
        Value::String(text) => without_user(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| shown(at, item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let each = map.iter().filter(|(_, value)| !value.is_null());
            let each: Vec<String> = each.map(|(key, value)| format!("{key}: {}", shown(at, value))).collect();
            format!("{{{}}}", each.join(", "))
        }
        other => other.to_string(),
    }
}

/// Addresses without their users and passwords: `http://me:secret@host` and `me:secret@host:9092`. A
/// comma may stand between two of them or in a password; where that is not to be told, an address is
/// hidden rather than a half of a password shown.
fn without_user(text: &str) -> String {
    const PATH: [char; 3] = ['/', '?', '#'];
    let scheme = |address: &str| {
        let end = address.find("://").filter(|end| address.get(..*end).is_some_and(|s| !s.contains(PATH)));
        end.map_or(0, |end| end + 3)
    };
    let one = |address: &str| {
        let (scheme, rest) = address.split_at(scheme(address));
        let authority = rest.find(PATH).unwrap_or(rest.len());
        // Of several the last one ends it.
        match rest.get(..authority).and_then(|authority| authority.rfind('@')) {
            Some(end) => format!("{scheme}{REDACTED}{}", rest.get(end..).unwrap_or_default()),
            None => address.to_owned(),
        }
    };
    let mut together: Vec<String> = Vec::new();
    for part in text.split(',') {
        // After a path, or before a scheme, a comma is between two.
        let goes_on = |last: &&mut String| {
            scheme(part) == 0 && !last.get(scheme(last)..).is_some_and(|rest| rest.contains(PATH))
        };
        match together.last_mut().filter(goes_on) {
            Some(last) => *last += &format!(",{part}"),
            None => together.push(part.to_owned()),
        }
    }
    together.iter().map(|address| one(address)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Overrides, load};
    use super::*;

    const PIPELINE: &str = "\
kafka:
  bootstrap_servers: 'me:planted@broker:9092,other:9092'
  group_id: g
  tls: { key_password: planted-open }
  sasl: { mechanism: PLAIN, username: me, password: { env: PASSWORD } }
  librdkafka: { linger.ms: 5, client.rack: planted-rack, socket.keepalive.enable: true }
input: { topics: [a, b] }
model: { path: m }
output: { topic: o }
dead_letter: { topic: d }
admin: { token: planted-token }
telemetry:
  otlp: { endpoint: 'http://collector:4317', headers: { authorization: planted-header } }
";

    fn told(pipeline: &str, set: &[&str]) -> Vec<InForce> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, pipeline).unwrap();
        let environment = [("PASSWORD", "planted-password"), ("SQUEEZEFLOW__BATCH__TIMEOUT", "5s")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let set = set.iter().map(|s| (*s).to_owned()).collect();
        load(&file, &Overrides { environment, set }).unwrap().in_force
    }

    #[test]
    fn every_setting_with_its_origin_and_no_secret() {
        let all = told(PIPELINE, &["batch.max_batch_size=32"]);
        let find = |path: &str| {
            let one = all.iter().find(|one| one.path == path);
            one.map(|one| (one.value.as_str(), one.origin.as_str()))
        };
        assert_eq!(find("batch.max_batch_size"), Some(("32", "--set")));
        assert_eq!(find("batch.timeout"), Some(("5s", "$SQUEEZEFLOW__BATCH__TIMEOUT")));
        assert_eq!(find("batch.max_batch_tokens"), Some(("4096", "default")));
        assert_eq!(find("input.topics"), Some(("[a, b]", "file")));
        assert_eq!(find("kafka.commit_interval"), Some(("200ms", "default")));
        assert_eq!(find("limits.max_in_flight_records"), Some(("2000", "default")));
        assert!(find("model.sessions").is_some_and(|(value, _)| value.ends_with(" (auto)")), "{all:?}");
        assert_eq!(find("kafka.sasl.password.env"), Some(("PASSWORD", "file")));
        assert_eq!(find("kafka.bootstrap_servers"), Some(("[redacted]@broker:9092,other:9092", "file")));
        assert_eq!(find("kafka.librdkafka.linger.ms"), Some(("5", "file")));
        assert_eq!(find("kafka.librdkafka.socket.keepalive.enable"), Some(("true", "file")));
        for secret in [
            "kafka.tls.key_password",
            "kafka.librdkafka.client.rack",
            "admin.token",
            "telemetry.otlp.headers.authorization",
        ] {
            assert_eq!(find(secret), Some((REDACTED, "file")), "{secret}");
        }
        let text = serde_json::to_string(&all).unwrap();
        assert!(!text.contains("planted"), "{text}");
    }

    #[test]
    fn sections_stay_together() {
        let all = told(PIPELINE, &[]);
        let sections = all.iter().map(|one| one.path.split('.').next().unwrap().to_owned());
        let mut seen: Vec<String> = sections.collect();
        seen.dedup();
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(seen.len(), once.len(), "{seen:?}");
    }

    #[test]
    fn addresses_lose_their_users() {
        for (written, shown) in [
            ("http://me:secret@host:1/p?x=@", "http://[redacted]@host:1/p?x=@"),
            ("http://host/p@th", "http://host/p@th"),
            ("a@b@host:1", "[redacted]@host:1"),
            ("host:9092", "host:9092"),
            ("me:a,b@host:1", "[redacted]@host:1"),
            ("http://me:a,b@host/p", "http://[redacted]@host/p"),
            ("me:a@host:1,me:b,c@other:1", "[redacted]@other:1"),
            ("me:a@host:1,other:1", "[redacted]@host:1,other:1"),
            ("me:a@host:1,http://you:b@other/,third", "[redacted]@host:1,http://[redacted]@other/,third"),
            ("host:1,http://me:a@other", "host:1,http://[redacted]@other"),
            ("http://host/a,b@other:1", "http://host/a,[redacted]@other:1"),
            ("{/title}. {/body}", "{/title}. {/body}"),
            ("", ""),
        ] {
            assert_eq!(without_user(written), shown);
        }
    }
}
