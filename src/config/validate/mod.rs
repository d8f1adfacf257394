//! From the raw document to [`Settings`]: real types, files and secrets found, and the rules that
//! the schema cannot say. Every rule is tried; what is wrong is collected, not thrown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Problem, Severity};
use super::settings::{self as to, Settings};
use super::values::Check;
use super::{Secret, path, pem, raw, rules, words};

mod records;
mod telemetry;

/// Settings, with warnings; or no settings, with at least one error. `base` is the folder that
/// relative paths start from.
pub(super) fn settings(
    raw: &raw::Pipeline,
    base: &Path,
    environment: &BTreeMap<String, String>,
) -> (Option<Settings>, Vec<Problem>) {
    let mut check = Check { base, environment, found: Vec::new() };
    let settings = check.pipeline(raw);
    let mut found = check.found;
    let refused: Vec<String> = errors(&found).map(|p| p.path.clone()).collect();
    found.extend(rules::across(&settings).into_iter().filter(|p| !p.rests_on(&refused)));
    let good = errors(&found).next().is_none();
    (good.then_some(settings), found)
}

fn errors(found: &[Problem]) -> impl Iterator<Item = &Problem> {
    found.iter().filter(|p| p.severity == Severity::Error)
}

impl Check<'_> {
    fn pipeline(&mut self, raw: &raw::Pipeline) -> Settings {
        let batch = self.batch(&raw.batch);
        let results = self.results(raw);
        Settings {
            kafka: raw.kafka.as_ref().map(|kafka| self.kafka(kafka, raw.delivery)),
            delivery: match raw.delivery {
                raw::Delivery::ExactlyOnce => to::Delivery::ExactlyOnce,
                raw::Delivery::AtLeastOnce => to::Delivery::AtLeastOnce,
            },
            input: self.input(&raw.input),
            cache: to::Cache { max_bytes: self.allowance("cache.max_bytes", &raw.cache.max_bytes) },
            output: self.output(&raw.output, raw.input.format),
            dead_letter: raw.dead_letter.as_ref().map(|dead| self.dead_letter(dead)),
            limits: self.limits(&raw.limits, &batch, &results),
            admin: self.admin(&raw.admin),
            stuck_after: self.positive("admin.stuck_after", &raw.admin.stuck_after),
            admin_token: raw.admin.token.as_ref().map(|token| self.admin_token(token)),
            show_text: raw.admin.show_text,
            log: self.log(&raw.log),
            otlp: self.otlp(&raw.telemetry.otlp),
            results,
            batch,
        }
    }

    fn kafka(&mut self, raw: &raw::Kafka, delivery: raw::Delivery) -> to::Kafka {
        let interval = match delivery {
            // Under load on small machines the commit itself takes tens of milliseconds.
            raw::Delivery::ExactlyOnce => Duration::from_millis(200),
            raw::Delivery::AtLeastOnce => Duration::from_secs(1),
        };
        let asked = raw.commit_interval.as_ref().map(|d| self.positive("kafka.commit_interval", d));
        to::Kafka {
            bootstrap_servers: self.servers(&raw.bootstrap_servers),
            group_id: raw.group_id.clone(),
            group_instance_id: raw.group_instance_id.clone(),
            client_id: raw.client_id.clone(),
            tls: raw.tls.as_ref().map(|tls| self.tls(tls)),
            sasl: raw.sasl.as_ref().map(|sasl| self.sasl(sasl)),
            session_timeout: self.positive("kafka.session_timeout", &raw.session_timeout),
            commit_interval: asked.unwrap_or(interval),
            transactional_id: raw.transactional_id.clone(),
            transaction_timeout: self.positive("kafka.transaction_timeout", &raw.transaction_timeout),
            librdkafka: self.librdkafka(&raw.librdkafka),
        }
    }

    fn tls(&mut self, raw: &raw::Tls) -> to::Tls {
        let lacks = match (&raw.certificate_file, &raw.key_file) {
            (Some(_), None) => Some(("kafka.tls.key_file", "is missing: the certificate needs its key")),
            (None, Some(_)) => {
                Some(("kafka.tls.certificate_file", "is missing: the key needs its certificate"))
            }
            _ => None,
        };
        self.found.extend(lacks.map(|(at, what)| Problem::error(at, what)));
        let tls = to::Tls {
            ca_file: self.file("kafka.tls.ca_file", raw.ca_file.as_deref()),
            certificate_file: self.file("kafka.tls.certificate_file", raw.certificate_file.as_deref()),
            key_file: self.file("kafka.tls.key_file", raw.key_file.as_deref()),
            key_password: raw
                .key_password
                .as_ref()
                .map(|secret| self.secret("kafka.tls.key_password", secret)),
            verify_hostname: raw.verify_hostname,
        };
        self.found.extend(pem::judge(&tls));
        tls
    }

    fn sasl(&mut self, raw: &raw::Sasl) -> to::Sasl {
        let mechanism = match raw.mechanism {
            raw::SaslMechanism::Plain => to::PasswordMechanism::Plain,
            raw::SaslMechanism::ScramSha256 => to::PasswordMechanism::ScramSha256,
            raw::SaslMechanism::ScramSha512 => to::PasswordMechanism::ScramSha512,
            raw::SaslMechanism::OAuthBearer => return self.token(raw),
        };
        let lacks = [
            ("kafka.sasl.username", raw.username.is_none()),
            ("kafka.sasl.password", raw.password.is_none()),
        ];
        for (at, _) in lacks.iter().filter(|(_, is_missing)| *is_missing) {
            self.found.push(Problem::error(*at, "is missing: this mechanism needs it"));
        }
        if raw.oauth.is_some() {
            let problem = Problem::error("kafka.sasl.oauth", "is for `mechanism: OAUTHBEARER`");
            self.found.push(problem.hint("remove it, or write that mechanism"));
        }
        let password = raw.password.as_ref().map(|secret| self.secret("kafka.sasl.password", secret));
        to::Sasl::Password {
            mechanism,
            username: raw.username.clone().unwrap_or_default(),
            password: password.unwrap_or_else(|| Secret::new("")),
        }
    }

    fn token(&mut self, raw: &raw::Sasl) -> to::Sasl {
        for (at, is_there) in
            [("kafka.sasl.username", raw.username.is_some()), ("kafka.sasl.password", raw.password.is_some())]
        {
            if is_there {
                let problem = Problem::error(at, "is not for `mechanism: OAUTHBEARER`");
                self.found.push(problem.hint("write `kafka.sasl.oauth`"));
            }
        }
        let Some(oauth) = &raw.oauth else {
            let problem = Problem::error("kafka.sasl.oauth", "is missing: `OAUTHBEARER` needs it");
            self.found.push(problem.hint("`{token_url: …, client_id: …, client_secret: {env: NAME}}`"));
            return to::Sasl::OAuth(to::OAuth {
                token_url: String::new(),
                client_id: String::new(),
                client_secret: Secret::new(""),
                scope: None,
                ca_file: None,
            });
        };
        self.token_url(&oauth.token_url);
        to::Sasl::OAuth(to::OAuth {
            token_url: oauth.token_url.clone(),
            client_id: oauth.client_id.clone(),
            client_secret: self.secret("kafka.sasl.oauth.client_secret", &oauth.client_secret),
            scope: oauth.scope.clone(),
            ca_file: self.file("kafka.sasl.oauth.ca_file", oauth.ca_file.as_deref()),
        })
    }

    /// It is shown in messages, so nothing secret may stand in it.
    fn token_url(&mut self, url: &str) {
        let at = "kafka.sasl.oauth.token_url";
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let is_plain = |rest: &str| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()) && !rest.contains(['@', '?', '#'])
        };
        if !rest.is_some_and(is_plain) {
            let problem = Problem::error(at, "is not the address of a token endpoint");
            self.found.push(
                problem.hint(
                    "such as `https://login.example.com/oauth2/token`, without user, query or fragment",
                ),
            );
        } else if url.starts_with("http://") {
            let problem = Problem::warning(at, "the client's secret goes over the network as it is");
            self.found.push(problem.hint("write `https://…`"));
        }
    }

    /// Either the short form, or several by name.
    fn results(&mut self, raw: &raw::Pipeline) -> to::ResultList {
        if raw.model.is_some() && !raw.results.is_empty() {
            let problem = Problem::error("model", "is one result, and `results` are several");
            self.found.push(problem.hint("write the model as one of `results`, by name").also(&["results"]));
        } else if raw.task.is_some() && !raw.results.is_empty() {
            let problem = Problem::error("task", "is for `model`; each of `results` has its own");
            self.found.push(problem.hint("write it in one of `results`").also(&["results"]));
        } else if raw.model.is_none() && raw.results.is_empty() {
            let problem = Problem::error("model", "is missing");
            self.found.push(
                problem.hint("`model: {path: …}`, the folder of a model package; or several `results`"),
            );
        }
        let several = raw.results.iter().map(|(name, result)| to::ResultOf {
            name: Some(name.clone()),
            model: self.model(&path::key(&path::key("results", name), "model"), &result.model),
            task: result.task.as_ref().map(task),
            required: result.required,
        });
        let mut several: Vec<to::ResultOf> = several.collect();
        let nothing = || to::Model {
            path: PathBuf::new(),
            provider: to::Provider { kind: to::ProviderKind::Cpu, options: BTreeMap::new() },
            fallback: Vec::new(),
            sessions: NonZeroUsize::MIN,
            threads: NonZeroUsize::MIN,
            library: None,
            max_length: None,
        };
        let first = match several.is_empty() {
            false => several.remove(0),
            true => to::ResultOf {
                name: None,
                model: raw.model.as_ref().map_or_else(nothing, |model| self.model("model", model)),
                task: raw.task.as_ref().map(task),
                required: true,
            },
        };
        to::ResultList { first, others: several }
    }

    fn model(&mut self, at: &str, raw: &raw::Model) -> to::Model {
        let provider = self.provider(&path::key(at, "provider"), &raw.provider);
        let fallback = raw.fallback.iter().enumerate();
        let fallback = fallback.map(|(i, p)| self.provider(&path::index(&path::key(at, "fallback"), i), p));
        let fallback: Vec<to::Provider> = fallback.collect();
        let (sessions, threads) = sessions(raw, &provider, &fallback);
        to::Model {
            path: self.base.join(&raw.path),
            provider,
            fallback,
            sessions,
            threads,
            library: self.file(&path::key(at, "library"), raw.library.as_deref()),
            max_length: raw.max_length.map(count),
        }
    }

    fn provider(&mut self, at: &str, raw: &words::Provider) -> to::Provider {
        let (name, options) = match raw {
            words::Provider::Name(name) => (*name, BTreeMap::new()),
            // The schema has seen to it that there is exactly one.
            words::Provider::WithOptions(one) => match one.iter().next() {
                Some((name, options)) => {
                    (*name, options.iter().map(|(k, v)| (k.clone(), v.text())).collect())
                }
                None => (words::ProviderName::Cpu, BTreeMap::new()),
            },
        };
        let kind = match name {
            words::ProviderName::Cpu => to::ProviderKind::Cpu,
            words::ProviderName::Cuda => to::ProviderKind::Cuda,
            words::ProviderName::TensorRt => to::ProviderKind::TensorRt,
        };
        if kind == to::ProviderKind::Cpu && !options.is_empty() {
            let problem = Problem::error(format!("{at}.cpu"), "has no options");
            self.found.push(problem.hint("write `cpu`; its threads are `model.threads`"));
        }
        to::Provider { kind, options }
    }

    fn batch(&mut self, raw: &raw::Batch) -> to::Batch {
        to::Batch {
            max_tokens: count(raw.max_batch_tokens),
            max_size: count(raw.max_batch_size),
            max_age: self.duration("batch.max_batch_age", &raw.max_batch_age),
            timeout: self.positive("batch.timeout", &raw.timeout),
        }
    }

    fn limits(&mut self, raw: &raw::Limits, batch: &to::Batch, results: &to::ResultList) -> to::Limits {
        let enough = || at_least_one(rules::records_in_batches(batch, results).max(2_000));
        to::Limits {
            max_in_flight_records: raw.max_in_flight_records.map_or_else(enough, count),
            max_in_flight_bytes: self.size("limits.max_in_flight_bytes", &raw.max_in_flight_bytes),
            text_workers: workers(&raw.text_workers, (cores() / 4).clamp(2, 8)),
            drain_timeout: self.positive("limits.drain_timeout", &raw.drain_timeout),
        }
    }

    fn admin(&mut self, raw: &raw::Admin) -> Option<SocketAddr> {
        let address = raw.enabled.then(|| raw.address.parse().ok());
        if address == Some(None) {
            let problem = Problem::error("admin.address", "is not `IP:port`");
            let hint = "such as `127.0.0.1:9464` or `[::1]:9464`; a host's name is not resolved";
            self.found.push(problem.hint(hint));
        }
        address.flatten()
    }

    /// One that nobody could show would keep everybody out.
    fn admin_token(&mut self, raw: &words::Secret) -> Secret {
        let token = self.secret("admin.token", raw);
        let shown = token.reveal();
        if shown.trim() != shown || !shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let what = "has white space at an end, or a character that no HTTP header takes";
            let problem = Problem::error("admin.token", what);
            self.found.push(problem.hint("ASCII characters, such as `openssl rand -hex 32` prints"));
        }
        token
    }

    fn log(&mut self, raw: &raw::Log) -> to::Log {
        if tracing_subscriber::EnvFilter::try_new(&raw.level).is_err() {
            let problem = Problem::error("log.level", "is not a log filter");
            self.found.push(problem.hint("such as `info`, or `info,squeezeflow=debug`"));
        }
        let format = match raw.format {
            raw::LogFormat::Human => to::LogFormat::Human,
            raw::LogFormat::Json => to::LogFormat::Json,
        };
        to::Log { format, level: raw.level.clone() }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn at_least_one(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

/// How many sessions, and of how many threads each. Threads that were written are obeyed: the machine's
/// cores may not all be meant for this worker.
fn sessions(
    raw: &raw::Model,
    provider: &to::Provider,
    fallback: &[to::Provider],
) -> (NonZeroUsize, NonZeroUsize) {
    use words::{Sessions, SessionsFor};
    let is_cpu = |p: &to::Provider| p.kind == to::ProviderKind::Cpu;
    let latency = matches!(raw.sessions, Sessions::Named(SessionsFor::Latency));
    let threads = match raw.threads {
        Some(threads) => count(threads),
        None if latency && (is_cpu(provider) || fallback.iter().any(is_cpu)) => at_least_one(cores()),
        None => NonZeroUsize::MIN,
    };
    let sessions = match raw.sessions {
        Sessions::Count(n) => count(n),
        Sessions::Named(SessionsFor::Auto) if is_cpu(provider) => at_least_one(cores() / threads),
        Sessions::Named(_) => NonZeroUsize::MIN,
    };
    (sessions, threads)
}

/// The schema has seen to it that there is one of this name.
fn task(raw: &words::Task) -> to::TaskOptions {
    match raw {
        words::Task::WithOptions(options) => options.clone(),
        words::Task::Name(name) => to::TaskOptions::named(name)
            .unwrap_or_else(|| to::TaskOptions::TextClassification(Default::default())),
    }
}

/// The schema has seen to it that it is not 0.
fn count(raw: words::Count) -> NonZeroUsize {
    at_least_one(usize::try_from(raw.0).unwrap_or(usize::MAX))
}

fn workers(raw: &words::Workers, auto: usize) -> NonZeroUsize {
    match raw {
        words::Workers::Count(n) => count(*n),
        words::Workers::Auto(_) => at_least_one(auto),
    }
}
