//! Who is let in, and who is not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::broker::{Broker, CASES, PASSWORD, sasl, user};
use super::issuer::{SECRET, STRANGER};
use super::support::here;
use super::support::observer::read_all;
use super::support::records::Stream;
use super::support::wait::{PATIENCE, until};
use super::support::worker::Pipeline;

/// What a refusal may take, its start and a model's loading included.
const LIMIT: Duration = Duration::from_secs(30);
/// So many workers at a time: they wait, most of the time.
const AT_ONCE: usize = 4;

/// One refusal.
struct Case {
    name: &'static str,
    pipeline: Pipeline,
    password: &'static str,
}

fn cases(broker: &Broker) -> Vec<Case> {
    let case = |name, pipeline| Case { name, pipeline, password: PASSWORD };
    let tls = |name: &str, listener| broker.pipeline(name, listener);
    let file = |name: &str| json!(broker.certificates.path(name));
    let tokens = |name: &str, client: &str| tls(name, "TOKENS").set("kafka.sasl", broker.oauth(client));
    let ca = file("ca.pem");
    let with = |certificate: &str| {
        json!({
            "ca_file": ca, "certificate_file": file(&format!("{certificate}.crt")),
            "key_file": file(&format!("{certificate}.key")),
        })
    };
    let plain = |name: &str, without: &[&str]| {
        let scene = format!("case-{name}");
        let pipeline = broker.scene(&scene, "SECURED").set("kafka.sasl", sasl("PLAIN", name));
        broker.grant(&user(name), &scene, without);
        broker.client.produce(&format!("{scene}.in"), Stream::new(5).take(5));
        pipeline
    };
    broker.grant("CN=worker", "case-mutual", &["in"]);
    let mutual_without_input = broker.scene("case-mutual", "MUTUAL").set("kafka.tls", with("worker"));
    let pattern = plain("pattern", &["in", "see"]).set("input.topics", json!(["^case-pattern[.]in$"]));
    broker.client.create_topic("case-write-route.urgent", 2, &[]);
    let route =
        plain("write-route", &[]).set("output.route", json!({ "negative": "case-write-route.urgent" }));
    vec![
        case(
            "an issuer that does not answer",
            tokens("case-away", "away").set(
                "kafka.sasl",
                json!({ "mechanism": "OAUTHBEARER", "oauth": {
                    "token_url": "http://127.0.0.1:9/token", "client_id": "away", "client_secret": { "env": "CLIENT_SECRET" },
                } }),
            ),
        ),
        case(
            "TLS to a port without it",
            tls("case-no-tls", "TLS").set("kafka.bootstrap_servers", broker.cluster.bootstrap.as_str()),
        ),
        case("no TLS to a port with it", tls("case-plaintext", "TLS").set("kafka.tls", Value::Null)),
        case("no user to a port that wants one", tls("case-nobody", "SECURED")),
        case(
            "a user to a port that wants none",
            tls("case-somebody", "TLS").set("kafka.sasl", sasl("PLAIN", "plain")),
        ),
        case(
            "a mechanism that the broker does not offer",
            tls("case-mechanism", "PLAIN_ONLY").set("kafka.sasl", sasl("SCRAM-SHA-512", "scram-512")),
        ),
        case(
            "an authority that we do not trust",
            tls("case-wrong-ca", "TLS").set("kafka.tls", json!({ "ca_file": file("stranger-ca.pem") })),
        ),
        case("a certificate for another name", tls("case-wrong-name", "ELSEWHERE")),
        case("a certificate that has expired", tls("case-expired", "EXPIRED")),
        case("a broker that wants a client certificate", tls("case-no-certificate", "MUTUAL")),
        case(
            "a client certificate of an authority that the broker does not trust",
            tls("case-stranger", "MUTUAL").set("kafka.tls", with("stranger")),
        ),
        case(
            "a client certificate that has expired",
            tls("case-past-worker", "MUTUAL").set("kafka.tls", with("past-worker")),
        ),
        Case {
            password: "not-it",
            ..case(
                "a wrong password (PLAIN)",
                tls("case-plain-wrong", "SECURED").set("kafka.sasl", sasl("PLAIN", "plain")),
            )
        },
        Case {
            password: "not-it",
            ..case(
                "a wrong password (SCRAM-SHA-512)",
                tls("case-scram-wrong", "SECURED").set("kafka.sasl", sasl("SCRAM-SHA-512", "scram-512")),
            )
        },
        Case {
            password: "not-it",
            ..case("a wrong client secret (OAUTHBEARER)", tokens("case-client", "wrong"))
        },
        case(
            "an issuer whose certificate is signed by nobody that we trust",
            tokens("case-issuer", "wrong").set(
                "kafka.sasl",
                json!({ "mechanism": "OAUTHBEARER", "oauth": {
                    "token_url": format!("https://{}/token", broker.cluster.listener("TLS")),
                    "client_id": "wrong", "client_secret": { "env": "CLIENT_SECRET" },
                    "ca_file": broker.certificates.path("stranger-ca.pem"),
                } }),
            ),
        ),
        case("a token that the broker does not take", tokens("case-token", STRANGER)),
        case("no right to see the input", plain("read-input", &["in"])),
        case("no right to read the input", plain("see-input", &["in", "see"])),
        case("no right of a client certificate's subject", mutual_without_input),
        case("no right to see the output", plain("write-output", &["out"])),
        case("no right to write the output", plain("see-output", &["out", "see"])),
        case("no right to see the dead letters", plain("write-dead", &["dead"])),
        case("no right to write dead letters", plain("see-dead", &["dead", "see"])),
        case("no right to the group", plain("read-group", &["group"])),
        case("no right to read as the group", plain("see-group", &["group", "see"])),
        case("no right to the transactional id", plain("write-id", &["id"])),
        case("no right to write with the transactional id", plain("see-id", &["id", "see"])),
        case(
            "no right to the transactional ids that the worker makes",
            plain("made-id", &["id"]).set("kafka.transactional_id", Value::Null),
        ),
        case("no right to write a topic of `output.route`", route),
        case("no right to read a topic that a pattern names", pattern),
    ]
}

/// How one ended.
struct Refusal {
    name: &'static str,
    code: Option<i32>,
    told: String,
    took: Duration,
    lines: usize,
}

fn run(broker: &Broker, case: &Case) -> Refusal {
    let started = Instant::now();
    let mut worker = case.pipeline.clone().start_with(&[
        ("PASSWORD", case.password),
        ("CLIENT_SECRET", if case.password == PASSWORD { SECRET } else { case.password }),
    ]);
    let code = worker.wait().code();
    let took = started.elapsed();
    let log = worker.log();
    let told = log.lines().last().unwrap_or_default().to_owned();
    Refusal {
        name: case.name,
        code,
        told: as_documented(broker, case, &told),
        took,
        lines: log.lines().count(),
    }
}

/// The names of the test's things replaced by those that the documentation has.
fn as_documented(broker: &Broker, case: &Case, told: &str) -> String {
    let mut told = told.to_owned();
    for listener in ["TLS", "MUTUAL", "EXPIRED", "ELSEWHERE", "SECURED", "PLAIN_ONLY", "TOKENS"] {
        told = told.replace(&broker.cluster.listener(listener), "broker:9093");
    }
    told = told.replace(&broker.cluster.bootstrap, "broker:9093");
    told = told.replace(&broker.issuer.url(""), "http://issuer/").replace("127.0.0.1:9/", "issuer/");
    told = told.replace("https://broker:9093", "https://issuer");
    let name = case.pipeline.group();
    for case in CASES.iter().chain(&["scram-256", "scram-512"]) {
        told = told.replace(&user(case), "worker");
    }
    told = told.replace(&name, "reviews");
    // A time that is in the certificate, or a duration.
    let times = regex::Regex::new(r"\w{3} +\d+ [\d:]{8} \d{4} GMT| \(after \d+ms in state \w+\)").unwrap();
    let told = times.replace_all(&told, "…");
    told.strip_prefix("error: ").unwrap_or(&told).replace('|', "\\|")
}

/// The documentation's table.
fn documented() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(here("docs/SECURITY.md")).unwrap();
    let table = text.split("| case | message |\n|---|---|\n").nth(1).expect("the table of messages");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 2, "{row}");
        (cells[0].to_owned(), cells[1].to_owned())
    })
    .collect()
}

#[test]
fn each_refusal_says_what_is_wrong_within_thirty_seconds_as_documented() {
    crate::require_kafka!();
    let broker = Broker::shared();
    let cases = cases(broker);
    // Those that wait longest begin first.
    let (next, refusals) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let refusal = run(broker, case);
                    refusals.lock().unwrap().push(refusal);
                }
            });
        }
    });
    let refusals = refusals.into_inner().unwrap();
    assert_eq!(refusals.len(), cases.len());
    for refusal in &refusals {
        let Refusal { name, code, told, took, lines } = refusal;
        eprintln!("{:4.1} s: {name}: {told}", took.as_secs_f64());
        assert_eq!(*code, Some(1), "{name}: {told}");
        assert!(*took < LIMIT, "{name}: {took:?}");
        // It does not repeat itself either.
        assert!(*lines < 40, "{name}: {lines} lines");
    }
    let told: BTreeMap<String, String> =
        refusals.into_iter().map(|refusal| (refusal.name.to_owned(), refusal.told)).collect();
    let rows: String = told.iter().map(|(case, message)| format!("| {case} | {message} |\n")).collect();
    assert_eq!(told, documented(), "the table in docs/SECURITY.md should be:\n{rows}");
    // Nothing was begun.
    for case in &cases {
        let name = case.pipeline.group();
        if broker.has_topics(&name) {
            assert!(broker.client.committed(&name, &format!("{name}.in")).is_empty(), "{}", case.name);
            let written = read_all(&broker.client, &[&format!("{name}.out"), &format!("{name}.dead")]);
            assert!(written.is_empty(), "{}", case.name);
        }
    }
}

/// With nothing but the rights that docs/SECURITY.md names.
#[test]
fn each_mechanism_lets_records_flow() {
    crate::require_kafka!();
    let broker = Broker::shared();
    let file = |name: &str| broker.certificates.path(name);
    let mutual = json!({
        "ca_file": file("ca.pem"), "certificate_file": file("worker.crt"), "key_file": file("worker.key"),
    });
    let sasl = |name: &str, mechanism: &str, case: &str| {
        broker.grant(&user(case), name, &[]);
        broker.scene(name, "SECURED").set("kafka.sasl", super::broker::sasl(mechanism, case))
    };
    broker.grant("CN=worker", "flow-mutual", &[]);
    let pipelines = [
        broker.scene("flow-tls", "TLS"),
        broker.scene("flow-mutual", "MUTUAL").set("kafka.tls", mutual),
        // One broker that is not to be believed does not keep a worker from the others.
        broker.scene("flow-two", "TLS").set(
            "kafka.bootstrap_servers",
            format!("{},{}", broker.cluster.listener("EXPIRED"), broker.cluster.listener("TLS")),
        ),
        sasl("flow-plain", "PLAIN", "plain"),
        sasl("flow-256", "SCRAM-SHA-256", "scram-256"),
        sasl("flow-512", "SCRAM-SHA-512", "scram-512"),
        sasl("flow-once", "PLAIN", "at-least-once").set_top("delivery", "at-least-once"),
    ];
    std::thread::scope(|scope| {
        for pipeline in &pipelines {
            scope.spawn(|| {
                let name = pipeline.group();
                let mut messages = Stream::new(20).take(40);
                messages[7].value = Some(b"not json".to_vec());
                broker.client.produce(&format!("{name}.in"), messages);
                let mut worker = pipeline.start_with(&[("PASSWORD", PASSWORD)]);
                worker.wait_ready();
                until("every record to be committed", PATIENCE, || {
                    broker.client.committed(&name, &format!("{name}.in")).values().sum::<i64>() == 40
                });
                worker.terminate();
                let written = |suffix: &str| read_all(&broker.client, &[&format!("{name}.{suffix}")]).len();
                assert_eq!((written("out"), written("dead")), (39, 1), "{name}");
            });
        }
    });
}
