//! The way to an OpenTelemetry collector. What a pipeline does not say may stand in the environment, in
//! the variables that OpenTelemetry has for it
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri};

use super::super::path;
use super::super::problem::Problem;
use super::super::raw;
use super::super::settings::{self as to, OtlpProtocol, OtlpSignal, Sampling};
use super::super::values::Check;

const OTLP: &str = "telemetry.otlp";
/// Of records whose producer sent no context. A stream has thousands of them a second, and one in a
/// hundred is a picture.
const RATIO: f64 = 0.01;
const GRPC_PORT: u16 = 4317;

impl Check<'_> {
    /// `None`: nothing is exported.
    pub(super) fn otlp(&mut self, raw: &raw::Otlp) -> Option<to::Otlp> {
        let disabled = self.variable("OTEL_SDK_DISABLED").is_some_and(|on| on.eq_ignore_ascii_case("true"));
        let headers = raw
            .headers
            .iter()
            .map(|(name, value)| {
                let at = path::key(&format!("{OTLP}.headers"), name);
                let value = self.secret(&at, value);
                if name.parse::<HeaderName>().is_err() {
                    self.found.push(Problem::error(&at, "is not the name of a header"));
                } else if HeaderValue::from_str(value.reveal()).is_err() {
                    let problem = Problem::error(&at, "is not a header's value");
                    self.found.push(problem.hint("ASCII, without line feeds"));
                }
                (name.to_ascii_lowercase(), value)
            })
            .collect();
        if disabled {
            return None; // Before the other variables are judged: somebody's platform may have set them.
        }
        let timeout = match &raw.timeout {
            Some(timeout) => self.positive("telemetry.otlp.timeout", timeout),
            None => self.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", "timeout", Duration::from_secs(10)),
        };
        let metrics_interval = match &raw.metrics_interval {
            Some(interval) => self.positive("telemetry.otlp.metrics_interval", interval),
            None => {
                self.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", "metrics_interval", Duration::from_secs(60))
            }
        };
        let sampling = self.sampling(raw);
        let asked = |on: bool, check: &Self, variable: &str| {
            on && check.variable(variable).is_none_or(|exporter| exporter.contains("otlp"))
        };
        let traces = asked(raw.traces, self, "OTEL_TRACES_EXPORTER").then(|| self.signal(raw, "TRACES"));
        let metrics = asked(raw.metrics, self, "OTEL_METRICS_EXPORTER").then(|| self.signal(raw, "METRICS"));
        let (traces, metrics) = (traces.flatten(), metrics.flatten());
        if traces.is_none() && metrics.is_none() {
            return None;
        }
        Some(to::Otlp { traces, metrics, sampling, metrics_interval, headers, timeout })
    }

    /// A variable that is set, and not empty.
    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn milliseconds(&mut self, variable: &str, key: &str, default: Duration) -> Duration {
        let Some(text) = self.variable(variable) else { return default };
        text.parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis).unwrap_or_else(|| {
            let problem = Problem::error(
                format!("{OTLP}.{key}"),
                format!("{variable} is not a number of milliseconds"),
            );
            self.found.push(problem);
            default
        })
    }

    /// `None`: nobody says where to.
    fn signal(&mut self, raw: &raw::Otlp, signal: &str) -> Option<OtlpSignal> {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
        let (endpoint, whole, from) = match &raw.endpoint {
            Some(endpoint) => (endpoint.clone(), false, String::new()),
            None => match self.variable(&own) {
                Some(endpoint) => (endpoint.to_owned(), true, own),
                None => {
                    let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
                    (self.variable(all)?.to_owned(), false, all.to_owned())
                }
            },
        };
        let port = match port(&endpoint) {
            Ok(port) => port,
            Err((what, hint)) => {
                let what = if from.is_empty() { what.to_owned() } else { format!("{from} {what}") };
                let problem = Problem::error(format!("{OTLP}.endpoint"), what).hint(hint);
                // Of both signals, once.
                if !self.found.iter().any(|p| p.path == problem.path) {
                    self.found.push(problem);
                }
                return None;
            }
        };
        let protocol = self.protocol(raw, signal).unwrap_or(match port {
            GRPC_PORT => OtlpProtocol::Grpc,
            _ => OtlpProtocol::HttpProtobuf,
        });
        let endpoint = match protocol {
            OtlpProtocol::HttpProtobuf if !whole => {
                format!("{}/v1/{}", endpoint.trim_end_matches('/'), signal.to_ascii_lowercase())
            }
            _ => endpoint,
        };
        Some(OtlpSignal { endpoint, protocol })
    }

    fn protocol(&mut self, raw: &raw::Otlp, signal: &str) -> Option<OtlpProtocol> {
        match raw.protocol {
            Some(raw::OtlpProtocol::Grpc) => return Some(OtlpProtocol::Grpc),
            Some(raw::OtlpProtocol::HttpProtobuf) => return Some(OtlpProtocol::HttpProtobuf),
            None => {}
        }
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL");
        let variables = [own.as_str(), "OTEL_EXPORTER_OTLP_PROTOCOL"];
        let (name, protocol) = variables.into_iter().find_map(|v| Some((v, self.variable(v)?)))?;
        match protocol {
            "grpc" => Some(OtlpProtocol::Grpc),
            "http/protobuf" => Some(OtlpProtocol::HttpProtobuf),
            _ => {
                let what = format!("{name} names a protocol that is not spoken here");
                let problem = Problem::error(format!("{OTLP}.protocol"), what);
                self.found.push(problem.hint("`grpc` or `http/protobuf`"));
                None
            }
        }
    }

    fn sampling(&mut self, raw: &raw::Otlp) -> Sampling {
        if let Some(ratio) = raw.sampling_ratio {
            return Sampling { ratio: ratio.0, parent_based: true };
        }
        let default = Sampling { ratio: RATIO, parent_based: true };
        let Some(sampler) = self.variable("OTEL_TRACES_SAMPLER") else { return default };
        let argument = self.variable("OTEL_TRACES_SAMPLER_ARG").map(|text| text.parse::<f64>());
        let ratio = match argument {
            None => Some(1.0),
            Some(parsed) => parsed.ok().filter(|ratio| (0.0..=1.0).contains(ratio)),
        };
        let (parent_based, root) = match sampler.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, sampler),
        };
        let (ratio, lacks) = match root {
            "always_on" => (Some(1.0), ""),
            "always_off" => (Some(0.0), ""),
            "traceidratio" => (ratio, "OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1"),
            _ => (None, "OTEL_TRACES_SAMPLER names a sampler that is not known here"),
        };
        match ratio {
            Some(ratio) => Sampling { ratio, parent_based },
            None => {
                let problem = Problem::error(format!("{OTLP}.sampling_ratio"), lacks);
                self.found.push(problem.hint("such as `parentbased_traceidratio` and 0.01"));
                default
            }
        }
    }
}

/// The port of a collector's URL; or what is wrong with it, and what would be right.
fn port(endpoint: &str) -> Result<u16, (&'static str, &'static str)> {
    let such = "such as `http://localhost:4317`";
    let uri: Uri = endpoint.parse().map_err(|_| ("is not a URL", such))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err((
                "asks for TLS, which this program does not speak to a collector",
                "run a collector beside the worker, and let that one speak TLS",
            ));
        }
        _ => return Err(("does not begin with `http://`", such)),
    }
    let authority = uri.authority().ok_or(("is not a URL", such))?;
    if authority.as_str().contains('@') {
        return Err(("has a user in it", "send a header instead: `telemetry.otlp.headers`"));
    }
    Ok(authority.port_u16().unwrap_or(80))
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
