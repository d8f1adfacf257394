//! What comes of a pipeline's `telemetry` and of OpenTelemetry's own variables.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

fn judged(yaml: &str, environment: &[(&str, &str)]) -> (Option<to::Otlp>, Vec<String>) {
    let json =
        super::super::super::yaml::parse(yaml, super::super::super::yaml::Scalars::Typed).unwrap().value;
    let raw: raw::Otlp = serde_json::from_value(json).unwrap();
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let mut check = Check { base: Path::new(""), environment: &environment, found: Vec::new() };
    let otlp = check.otlp(&raw);
    (otlp, check.found.into_iter().map(|p| format!("{}: {}", p.path, p.what)).collect())
}

fn good(yaml: &str, environment: &[(&str, &str)]) -> to::Otlp {
    let (otlp, found) = judged(yaml, environment);
    assert!(found.is_empty(), "{found:?}");
    otlp.unwrap()
}

fn signal(endpoint: &str, protocol: OtlpProtocol) -> Option<OtlpSignal> {
    Some(OtlpSignal { endpoint: endpoint.to_owned(), protocol })
}

#[test]
fn without_an_endpoint_nothing_is_exported() {
    let (otlp, found) = judged("{}", &[("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]);
    assert!(otlp.is_none() && found.is_empty());
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
    assert!(judged("{}", &[endpoint, ("OTEL_SDK_DISABLED", "true")]).0.is_none());
    let (traces, metrics) = (("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "prometheus"));
    assert!(judged("{}", &[endpoint, traces, metrics]).0.is_none());
    assert!(good("{}", &[endpoint, traces]).traces.is_none());
    assert!(judged("{endpoint: 'http://c:4317', traces: false, metrics: false}", &[]).0.is_none());
}

#[test]
fn the_port_tells_the_protocol_where_nobody_else_does() {
    let otlp = good("{endpoint: 'http://c:4317'}", &[]);
    assert_eq!(otlp.traces, signal("http://c:4317", OtlpProtocol::Grpc));
    assert_eq!(otlp.metrics, otlp.traces);
    assert_eq!((otlp.timeout, otlp.metrics_interval), (Duration::from_secs(10), Duration::from_secs(60)));
    let otlp = good("{endpoint: 'http://c:4318/'}", &[]);
    assert_eq!(otlp.traces, signal("http://c:4318/v1/traces", OtlpProtocol::HttpProtobuf));
    assert_eq!(otlp.metrics, signal("http://c:4318/v1/metrics", OtlpProtocol::HttpProtobuf));
    let otlp = good("{endpoint: 'http://c:4318', protocol: grpc}", &[]);
    assert_eq!(otlp.traces, signal("http://c:4318", OtlpProtocol::Grpc));
}

#[test]
fn the_environment_fills_in_what_is_not_written() {
    let all = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1234"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1/own"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "2000"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ];
    let otlp = good("{}", &all);
    assert_eq!(otlp.traces, signal("http://traces:1/own", OtlpProtocol::HttpProtobuf), "as it is");
    assert_eq!(otlp.metrics, signal("http://all:1234", OtlpProtocol::Grpc));
    assert_eq!(otlp.timeout, Duration::from_millis(1500));
    assert_eq!(otlp.metrics_interval, Duration::from_secs(2));
    assert_eq!(otlp.sampling, Sampling { ratio: 0.25, parent_based: false });
    let written = "{endpoint: 'http://w:4317', timeout: 3s, metrics_interval: 4s, sampling_ratio: 0.5}";
    let otlp = good(written, &all);
    assert_eq!(otlp.traces, signal("http://w:4317", OtlpProtocol::Grpc));
    assert_eq!((otlp.timeout, otlp.metrics_interval), (Duration::from_secs(3), Duration::from_secs(4)));
    assert_eq!(otlp.sampling, Sampling { ratio: 0.5, parent_based: true });
}

#[test]
fn samplers() {
    let endpoint = "{endpoint: 'http://c:4317'}";
    let of = |sampler: &str, argument: &str| {
        good(endpoint, &[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)]).sampling
    };
    for (sampler, argument, ratio, parent_based) in [
        ("", "", RATIO, true),
        ("always_on", "", 1.0, false),
        ("always_off", "", 0.0, false),
        ("traceidratio", "0.1", 0.1, false),
        ("parentbased_always_on", "", 1.0, true),
        ("parentbased_always_off", "0.7", 0.0, true),
        ("parentbased_traceidratio", "0.1", 0.1, true),
        ("parentbased_traceidratio", "", 1.0, true),
    ] {
        assert_eq!(of(sampler, argument), Sampling { ratio, parent_based }, "{sampler}");
    }
    for (sampler, argument) in [("jaeger_remote", ""), ("traceidratio", "2"), ("traceidratio", "x")] {
        let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        let (_, found) = judged(endpoint, &variables);
        assert!(
            found.len() == 1 && found[0].starts_with("telemetry.otlp.sampling_ratio: OTEL_"),
            "{found:?}"
        );
    }
}

#[test]
fn what_cannot_be_is_refused_with_words() {
    for (endpoint, words) in [
        ("collector:4317", "http://"),
        ("https://c:4317", "TLS"),
        ("http://user:word@c:4317", "user"),
        ("http://", "URL"),
        ("not a url", "URL"),
    ] {
        let (otlp, found) = judged(&format!("{{endpoint: '{endpoint}'}}"), &[]);
        assert!(otlp.is_none());
        assert!(found.len() == 1 && found[0].contains(words), "{endpoint}: {found:?}");
        let (_, found) = judged("{}", &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        assert!(found.len() == 1 && found[0].contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{found:?}");
        assert!(!found[0].contains("word"), "nothing of the value is repeated");
    }
    let (_, found) = judged("{}", &[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")]);
    assert_eq!(found, ["telemetry.otlp.timeout: OTEL_EXPORTER_OTLP_TIMEOUT is not a number of milliseconds"]);
    let (_, found) = judged(
        "{}",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
    );
    assert!(found.len() == 1 && found[0].contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{found:?}");
}

#[test]
fn headers_are_secrets_with_good_names() {
    let otlp = good(
        "{endpoint: 'http://c:4317', headers: {Authorization: {env: TOKEN}}}",
        &[("TOKEN", "Bearer s3cret")],
    );
    assert_eq!(otlp.headers["authorization"].reveal(), "Bearer s3cret");
    assert!(!format!("{otlp:?}").contains("s3cret"));
    let (_, found) = judged(
        "{endpoint: 'http://c:4317', headers: {'a b': {env: TOKEN}, c: {env: BAD}}}",
        &[("TOKEN", "s3cret"), ("BAD", "s3\ncret")],
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(!found.concat().contains("cret"), "{found:?}");
}
