//! What lies in deploy/, docker-compose.yml and the Dockerfile, held to the program: names of metrics,
//! settings, versions and times that must agree. Whether Kubernetes, Compose, Prometheus and the
//! others take the files is `make check-deploy`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use squeezeflow::config::{self, Overrides, Settings};
use tempfile::TempDir;

mod alerts;
mod names;
mod yaml;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(here(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The settings that a pipeline has in this environment. Paths that only an image has are replaced.
fn settings(pipeline: &Path, environment: &BTreeMap<String, String>) -> Settings {
    let model = format!("model.path={}", here("models/sentiment").display());
    let overrides = Overrides { environment: environment.clone(), set: vec![model] };
    let loaded = config::load(pipeline, &overrides).unwrap_or_else(|e| panic!("{e}"));
    // An admin address that others than this machine reach may be warned of: who reaches it is for the
    // network of the containers to say.
    let warned = loaded.warnings.iter().find(|warning| !warning.path.starts_with("admin"));
    assert!(warned.is_none(), "{warned:?}");
    let missing = config::require_kafka(&loaded.settings);
    assert!(missing.is_empty(), "{missing:?}");
    loaded.settings
}

/// Where the brokers are gone a drain takes all its time, and then some seconds until producer and
/// consumer are given up (`kafka/ending.rs`; 4 s were seen).
const GIVING_UP: Duration = Duration::from_secs(15);

/// The stages of the Dockerfile: what each is made from, by its name.
fn stages() -> BTreeMap<String, String> {
    let file = read("Dockerfile");
    let from = file.lines().filter_map(|line| line.strip_prefix("FROM "));
    from.map(|stage| stage.split_once(" AS ").unwrap()).map(|(of, name)| (name.into(), of.into())).collect()
}

/// `ENV` of the image for the processor.
fn image_environment() -> BTreeMap<String, String> {
    let file = read("Dockerfile");
    let (_, stage) = file.split_once(" AS worker").unwrap();
    let (_, variables) = stage.split_once("\nENV ").unwrap();
    let pairs = variables.split_once("\nEXPOSE").unwrap().0.replace("\\\n", " ");
    let pairs = pairs.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn versions_are_those_of_the_project() {
    let toolchain = read("rust-toolchain.toml");
    let rust = toolchain.split('"').nth(1).unwrap();
    assert_eq!(stages()["build"], format!("rust:{rust}-bookworm"));

    let pom = read("tests/kafka/pom.xml");
    let (_, after) = pom.split_once("<artifactId>kafka_2.13</artifactId>").unwrap();
    let kafka = after.split(['<', '>']).nth(2).unwrap();
    let compose = yaml::one(&read("docker-compose.yml"));
    for service in ["kafka", "topics", "producer"] {
        assert_eq!(compose["services"][service]["image"], format!("apache/kafka:{kafka}"), "{service}");
    }

    let ours = format!("squeezeflow:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(compose["services"]["worker-1"]["image"], ours.as_str());
    assert_eq!(worker()["spec"]["template"]["spec"]["containers"][0]["image"], ours.as_str());
    // Whoever reads them tomorrow gets what was meant today.
    for (name, service) in compose["services"].as_object().unwrap() {
        let image = service["image"].as_str().unwrap();
        assert!(image.split_once(':').is_some_and(|(_, tag)| tag != "latest"), "{name}: {image}");
    }
}

#[test]
fn the_workers_of_the_compose_file_have_what_they_need() {
    let compose = yaml::one(&read("docker-compose.yml"));
    let workers: Vec<&Value> = ["worker-1", "worker-2"].map(|name| &compose["services"][name]).to_vec();
    let mut instances = Vec::new();
    for worker in &workers {
        let mut environment = image_environment();
        for (name, value) in worker["environment"].as_object().unwrap() {
            environment.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        let settings = settings(&here("pipelines/sentiment.yaml"), &environment);
        let kafka = settings.kafka.unwrap();
        assert_eq!(kafka.bootstrap_servers, "kafka:29092");
        instances.push(kafka.group_instance_id.unwrap());
        let grace = seconds(worker["stop_grace_period"].as_str().unwrap());
        assert!(grace >= settings.limits.drain_timeout + GIVING_UP, "{grace:?}");
        assert_eq!((&worker["read_only"], &worker["cap_drop"][0]), (&true.into(), &"ALL".into()));
    }
    assert_ne!(instances[0], instances[1], "two workers in one place of the group");

    // The topics that are made are those of the pipeline.
    let script = compose["services"]["topics"]["command"][2].as_str().unwrap();
    assert!(script.contains("for topic in reviews reviews.tagged reviews.dead;"), "{script}");
    // Prometheus asks every worker.
    let prometheus = yaml::one(&read("deploy/prometheus/prometheus.yml"));
    let targets = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"];
    assert_eq!(targets, &serde_json::json!(["worker-1:9464", "worker-2:9464"]));
}

fn worker() -> Value {
    let all = yaml::all(&read("deploy/kubernetes/worker.yaml"));
    all.into_iter().find(|object| object["kind"] == "StatefulSet").expect("a StatefulSet")
}

/// Kubernetes and KEDA write times as numbers of seconds, Compose with an `s`.
fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.trim_end_matches('s').parse().unwrap())
}

#[test]
fn the_pipeline_in_kubernetes_is_one_and_fits_its_pod() {
    let set = worker();
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];

    // The files as the pod has them: the pipeline, and beside its folder that of the secrets.
    let etc = TempDir::new().unwrap();
    let pipeline = etc.path().join("pipeline/pipeline.yaml");
    std::fs::create_dir_all(etc.path().join("pipeline")).unwrap();
    std::fs::create_dir_all(etc.path().join("secrets")).unwrap();
    let map = yaml::one(&read("deploy/kubernetes/pipeline.yaml"));
    std::fs::write(&pipeline, map["data"]["pipeline.yaml"].as_str().unwrap()).unwrap();
    std::fs::write(etc.path().join("secrets/password"), "planted\n").unwrap();
    let authority = rcgen::generate_simple_self_signed(vec!["kafka".to_owned()]).unwrap();
    std::fs::write(etc.path().join("secrets/ca.crt"), authority.cert.pem()).unwrap();
    assert_eq!(container["args"], serde_json::json!(["run", "/etc/squeezeflow/pipeline/pipeline.yaml"]));
    let mounts: Vec<&str> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(mounts, ["/etc/squeezeflow/pipeline", "/etc/squeezeflow/secrets"]);

    let mut environment = image_environment();
    for variable in container["env"].as_array().unwrap() {
        let from = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap();
        assert_eq!(from, "metadata.name");
        environment.insert(variable["name"].as_str().unwrap().to_owned(), "squeezeflow-0".to_owned());
    }
    let settings = settings(&pipeline, &environment);
    let kafka = settings.kafka.unwrap();
    assert_eq!(kafka.group_instance_id.as_deref(), Some("squeezeflow-0"));
    assert!(kafka.sasl.is_some() && kafka.tls.is_some());

    // A drain is not cut short.
    let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(grace >= settings.limits.drain_timeout + GIVING_UP, "{grace:?}");
    // What the program serves is what is asked for, where it listens.
    let port = &container["ports"][0];
    assert!(environment["SQUEEZEFLOW__ADMIN__ADDRESS"].ends_with(&format!(":{}", port["containerPort"])));
    for (probe, path) in [("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], port["name"]);
    }

    // Who scales looks at the same group, topic and brokers.
    let keda = yaml::all(&read("deploy/kubernetes/operators/keda.yaml"));
    let trigger = &keda[0]["spec"]["triggers"][0]["metadata"];
    assert_eq!(trigger["consumerGroup"], kafka.group_id.as_str());
    assert_eq!(trigger["bootstrapServers"], kafka.bootstrap_servers.as_str());
    assert_eq!(trigger["topic"], "reviews");
    assert_eq!(keda[0]["spec"]["scaleTargetRef"]["name"], set["metadata"]["name"]);
}

#[test]
fn the_model_runs_and_nothing_is_left_at_home() {
    // ONNX Runtime would leave its maker's identifier and a queue of events there.
    let home = TempDir::new().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_squeezeflow"));
    program.args(["model", "verify", "models/sentiment"]).current_dir(here("")).env("HOME", home.path());
    program.env_remove("ORT_DISABLE_TELEMETRY").env_remove("XDG_CACHE_HOME");
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The health check of the image, against a server that answers so.
fn health_check(answer: &'static str) -> bool {
    health_check_of("127.0.0.1", "0.0.0.0", answer)
}

/// The same, where the server is at one address and the pipeline says another.
fn health_check_of(served: &str, said: &str, answer: &'static str) -> bool {
    let server = TcpListener::bind(format!("{served}:0")).unwrap();
    let address = server.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut client, _) = server.accept().unwrap();
        let mut request = [0; 256];
        let length = client.read(&mut request).unwrap();
        client.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let mut script = Command::new(here("deploy/healthcheck.sh"));
    script.env("SQUEEZEFLOW__ADMIN__ADDRESS", format!("{said}:{}", address.port()));
    let healthy = script.stderr(Stdio::null()).status().unwrap().success();
    assert!(served.join().unwrap().starts_with("GET /live HTTP/1.0\r\n"));
    healthy
}

#[test]
fn the_image_is_healthy_when_the_worker_is() {
    assert!(health_check("HTTP/1.1 200 OK\r\n\r\nlive\n"));
    assert!(!health_check("HTTP/1.1 503 Service Unavailable\r\n\r\n"));
    assert!(!health_check(""));
    if TcpListener::bind("[::1]:0").is_ok() {
        for said in ["[::]", "[::1]"] {
            assert!(health_check_of("[::1]", said, "HTTP/1.1 200 OK\r\n\r\nlive\n"), "{said}");
        }
    } else {
        eprintln!("skipped: this machine has no IPv6, so the health check is not tried with it");
    }
    // A port that nobody may take but root, and nobody does.
    let mut script = Command::new(here("deploy/healthcheck.sh"));
    let nobody = script.env("SQUEEZEFLOW__ADMIN__ADDRESS", "127.0.0.1:1").stderr(Stdio::null());
    assert!(!nobody.status().unwrap().success(), "nobody listens there");
}

#[test]
fn samples_are_records_with_a_trace_context_and_every_twentieth_is_odd() {
    let mut script = Command::new(here("deploy/producer/samples.sh"));
    let output =
        script.arg(here("src/demo/texts.txt")).env("COUNT", "400").env("RATE", "0").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let (mut plain, mut traces) = (0, std::collections::BTreeSet::new());
    for line in lines.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let [headers, key, value] = parts[..] else { panic!("{line}") };
        let trace = headers.strip_prefix("traceparent:00-").unwrap().split('-').collect::<Vec<_>>();
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        assert!(
            matches!(trace[..], [id, span, "01"] if id.len() == 32 && span.len() == 16 && hex(id) && hex(span))
        );
        traces.insert(trace[0]);
        assert!(key.starts_with("customer-"), "{key}");
        let value: Option<Value> = serde_json::from_str(value).ok();
        plain += usize::from(value.is_some_and(|v| v["text"].as_str().is_some_and(|text| !text.is_empty())));
    }
    assert_eq!((lines.lines().count(), plain, traces.len()), (400, 380, 400));
}
