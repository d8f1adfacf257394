//! Nothing that the program says holds a secret, or the text of a record: everything secret is planted
//! in one pipeline, and all that comes out is looked through.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use openssl::pkey::PKey;
use openssl::symm::Cipher;
use serde_json::json;

use super::broker::{Broker, PASSWORD, sasl, user};
use super::collector::Collector;
use super::issuer::SECRET;
use super::support::client::Message;
use super::support::here;
use super::support::process::{Process, scratch};
use super::support::wait::{PATIENCE, until};
use super::support::worker::{Pipeline, Worker, http_get, onnxruntime};

const KEY_PASSWORD: &str = "planted-key-password";
const ADMIN_TOKEN: &str = "planted-admin-token";
const EXPORT_TOKEN: &str = "planted-export-token";
/// In values, keys and headers.
const TEXT: &str = "plantedtext";
/// In the message of a panic.
const QUOTED: &str = "plantedquote";

/// Everything planted, as it is and as it may be written.
fn planted(tokens: &[String]) -> Vec<String> {
    // The issuer's clients send theirs encoded for a URL, and that in base64.
    let encoded = "client+secret+%2F";
    let secrets = [PASSWORD, KEY_PASSWORD, ADMIN_TOKEN, EXPORT_TOKEN, SECRET, encoded, TEXT, QUOTED];
    let mut all: Vec<String> = secrets.iter().map(|s| (*s).to_owned()).collect();
    all.extend(tokens.iter().cloned());
    for at in 0..all.len() {
        let bytes = all[at].clone().into_bytes();
        // The middle of base64 is the same wherever it stands in threes.
        for lead in 0..3 {
            let text = base64::encode([vec![b'x'; lead], bytes.clone()].concat());
            all.push(text[4..text.len() - 4].to_owned());
        }
        all.push(bytes.iter().map(|b| format!("{b:02x}")).collect());
    }
    all
}

#[track_caller]
fn look_through(what: &str, said: &str, planted: &[String]) {
    for secret in planted {
        if let Some(at) = said.find(secret.as_str()) {
            let line = said[..at].matches('\n').count();
            panic!(
                "{what}, line {}, holds a secret: {}",
                line + 1,
                said.lines().nth(line).unwrap_or_default()
            );
        }
    }
}

/// Each of another kind: enriched, passed, dead.
fn records() -> Vec<Message> {
    let values: [&[u8]; 8] = [
        "{\"text\":\"plantedtext, and \u{e9}\"}".as_bytes(), // breaks the tokenizer
        b"{\"text\":\"plantedtext is what a customer wrote\"}",
        b"{\"text\":\"\",\"note\":\"plantedtext\"}",
        b"{\"plantedtext\":1}",
        b"plantedtext, and no JSON",
        b"{\"text\":[\"plantedtext\"]}",
        b"{\"text\":\"plantedtext\",\"nlp\":1}",
        b"\xffplantedtext",
    ];
    let headers = vec![("note".to_owned(), Some(b"plantedtext".to_vec()))];
    let message = |value: &&[u8]| Message {
        key: Some(b"plantedtext".to_vec()),
        value: Some(value.to_vec()),
        headers: headers.clone(),
        ..Message::default()
    };
    values.iter().map(message).collect()
}

const ENVIRONMENT: [(&str, &str); 5] = [
    ("PASSWORD", PASSWORD),
    ("CLIENT_SECRET", SECRET),
    ("KEY_PASSWORD", KEY_PASSWORD),
    ("ADMIN_TOKEN", ADMIN_TOKEN),
    ("EXPORT_TOKEN", EXPORT_TOKEN),
];

/// A package whose tokenizer panics over an `é`, with a message that quotes what it was at: a table of
/// characters in which an `é` is to become what begins in the middle of another one.
fn breaking() -> PathBuf {
    let (from, to) = (here("tests/packages/tiny-squeezebert"), scratch("breaking"));
    for file in ["config.json", "model.onnx", "tokenizer_config.json"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    // A double array of 256 units. That of the first byte of an `é`: its label, has a leaf, which is one off.
    let mut units = [0u32; 256];
    units[0xc3] = 0xc3 | (1 << 8) | (1 << 10);
    units[0xc3 ^ 1] = QUOTED.len() as u32 + 1;
    let mut table = (units.len() as u32 * 4).to_le_bytes().to_vec();
    table.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    table.extend(format!("{QUOTED}\u{e9}\0").bytes());
    let table = json!({ "type": "Precompiled", "precompiled_charsmap": base64::encode(table) });
    let tokenizer = std::fs::read(from.join("tokenizer.json")).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&tokenizer).unwrap();
    tokenizer["normalizer"] =
        json!({ "type": "Sequence", "normalizers": [table, tokenizer["normalizer"].take()] });
    std::fs::write(to.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    to
}

/// As loud as it can be.
fn loud(broker: &Broker, name: &str, listener: &str) -> Pipeline {
    let key = std::fs::read(broker.certificates.path("worker.key")).unwrap();
    let key = PKey::private_key_from_pem(&key).unwrap();
    let locked =
        key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), KEY_PASSWORD.as_bytes()).unwrap();
    std::fs::write(broker.certificates.path("locked.key"), locked).unwrap();
    let file = |name: &str| broker.certificates.path(name);
    broker
        .scene(name, listener)
        .set("kafka.tls", json!({
            "ca_file": file("ca.pem"), "certificate_file": file("worker.crt"), "key_file": file("locked.key"),
            "key_password": { "env": "KEY_PASSWORD" },
        }))
        .set("kafka.librdkafka", json!({ "debug": "all" }))
        .set("admin.token", json!({ "env": "ADMIN_TOKEN" }))
        .set("model.path", breaking().to_string_lossy().as_ref())
        .set("log.level", "trace")
        .env("RUST_BACKTRACE", "full")
}

/// Every record traced, and all told to this collector.
fn told(pipeline: Pipeline, collector: &Collector) -> Pipeline {
    let otlp = json!({
        "endpoint": collector.endpoint, "protocol": collector.protocol, "sampling_ratio": 1.0,
        "metrics_interval": "200ms", "headers": { "authorization": { "env": "EXPORT_TOKEN" } },
    });
    pipeline.set_top("telemetry", json!({ "otlp": otlp }))
}

/// What the page is told: the past, and what comes next.
fn events(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let header = format!("Authorization: Bearer {ADMIN_TOKEN}");
    write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n{header}\r\n\r\n").unwrap();
    let (mut said, mut some) = (Vec::new(), [0; 65536]);
    loop {
        let n = stream.read(&mut some).unwrap();
        assert!(n > 0, "the stream of events ended");
        said.extend_from_slice(&some[..n]);
        let so_far = String::from_utf8_lossy(&said);
        if so_far.split("event: now").nth(1).is_some_and(|event| event.contains("\n\n")) {
            return so_far.into_owned();
        }
    }
}

/// All that a worker says from its start to its end, and its admin address to whoever asks.
fn run(broker: &Broker, pipeline: &Pipeline) -> Vec<(String, String)> {
    let name = pipeline.group();
    let input = format!("{name}.in");
    let records = records();
    let count = records.len() as i64;
    broker.client.produce(&input, records);
    let mut worker: Worker = pipeline.start_with(&ENVIRONMENT);
    worker.wait_ready();
    until("every record to be committed", PATIENCE, || {
        broker.client.committed(&name, &input).values().sum::<i64>() == count
    });
    let address = worker.address();
    let mut said = Vec::new();
    for path in ["/", "/page.js", "/metrics", "/ready", "/live", "/nothing"] {
        let basic = format!("Authorization: Basic {}\r\n", base64::encode(format!("me:{ADMIN_TOKEN}")));
        for (header, shown) in [
            ("", false),
            ("Authorization: Bearer planted-admin-tokem\r\n", false),
            ("Authorization: Bearer planted-admin-token\r\n", true),
            (basic.as_str(), true),
        ] {
            let answer = http_get(&address, path, header).unwrap();
            let wanted = match path {
                "/nothing" => 404,
                "/" | "/page.js" | "/metrics" if !shown => 401,
                _ => 200,
            };
            assert!(answer.starts_with(&format!("HTTP/1.1 {wanted}")), "{path} {header}: {answer}");
            said.push((path.to_owned(), answer));
        }
    }
    let page = events(&address);
    // Of what it must not tell there was something to tell.
    for word in ["event: past", "admin.token", "[redacted]", "invalid_json", "\"texts\":null"] {
        assert!(page.contains(word), "{word} is not in what the page of {name} is told: {page}");
    }
    said.push(("/events".to_owned(), page));
    worker.signal(libc::SIGTERM);
    assert_eq!(worker.wait().code(), Some(0));
    let log = worker.log();
    // It was loud, and of what it must not tell there was something to tell.
    let panicked = "error: thread `text` panicked at ";
    for word in ["\"level\":\"DEBUG\"", "Client configuration", "\"target\":\"librdkafka\"", panicked] {
        assert!(log.contains(word), "{word} is not in the log of {name}");
    }
    said.push((format!("log of {name}"), log));
    said
}

/// What another verb says.
fn say(pipeline: &Pipeline, verb: &[&str], code: i32) -> Vec<(String, String)> {
    let (mut command, dir): (Command, _) = pipeline.command(verb);
    command.env("ORT_DYLIB_PATH", onnxruntime()).envs(ENVIRONMENT);
    let ended = Process::start(command).wait("a verb", PATIENCE);
    let said = ["stdout", "stderr"].map(|file| {
        let text = std::fs::read(dir.join(file)).unwrap();
        (format!("{file} of {verb:?}"), String::from_utf8_lossy(&text).into_owned())
    });
    assert_eq!(ended.code(), Some(code), "{verb:?}: {said:?}");
    said.into()
}

#[test]
fn no_secret_and_no_text_comes_out() {
    crate::require_kafka!();
    let broker = Broker::shared();
    let password = loud(broker, "planted", "SECURED").set("kafka.sasl", sasl("PLAIN", "planted"));
    let scram =
        loud(broker, "planted-scram", "SECURED").set("kafka.sasl", sasl("SCRAM-SHA-256", "scram-256"));
    let token = loud(broker, "planted-token", "TOKENS").set("kafka.sasl", broker.oauth("planted-client"));
    let mutual = loud(broker, "planted-mutual", "MUTUAL");
    let collectors = [Collector::grpc(), Collector::http()];
    let [password, scram, token, mutual] = [(password, 0), (scram, 1), (token, 1), (mutual, 0)]
        .map(|(pipeline, at): (Pipeline, usize)| told(pipeline, &collectors[at]));
    broker.grant(&user("planted"), "planted", &[]);
    broker.grant(&user("scram-256"), "planted-scram", &[]);
    broker.grant(&user("planted-client"), "planted-token", &[]);
    broker.grant("CN=worker", "planted-mutual", &[]);
    for who in [user("planted"), user("planted-client")] {
        let name = if who.ends_with("client") { "planted-token" } else { "planted" };
        broker.allow_reading(&who, &format!("{name}.dead"));
    }
    let mut said = Vec::new();
    std::thread::scope(|scope| {
        let all = [&password, &scram, &token, &mutual];
        let running: Vec<_> = all.map(|pipeline| scope.spawn(|| run(broker, pipeline))).into();
        said.extend(running.into_iter().flat_map(|one| one.join().unwrap()));
    });
    for collector in &collectors {
        assert!(collector.authorization().iter().all(|value| value == EXPORT_TOKEN));
        let exported = collector.said();
        for word in ["squeezeflow.outcome", "invalid_json", "squeezeflow_records_in_total"] {
            assert!(exported.contains(word), "{word} was not exported");
        }
        said.push(("what is exported".to_owned(), exported));
    }
    for pipeline in [&password, &token] {
        said.extend(say(pipeline, &["check", "--connect"], 0));
        said.extend(say(pipeline, &["dead-letters", "list", "--samples", "9"], 0));
        said.extend(say(pipeline, &["dead-letters", "list", "--json", "--samples", "9"], 0));
        said.extend(say(pipeline, &["tag"], 0));
    }
    // What is refused: wrong keys and values, beside and in place of secrets; settings of the client
    // that are not for a pipeline; a client that does not take its key.
    let wrong = password
        .clone()
        .set("kafka.sasl", json!({
            "mechanism": "PLAIN", "username": ["x"], "password": { "env": "PASSWORD", PASSWORD: PASSWORD },
        }))
        .set("kafka.librdkafka", json!({ "sasl.password": PASSWORD, "ssl.key.password": KEY_PASSWORD, "linger.ms": PASSWORD }))
        .set("admin.token", json!([ADMIN_TOKEN]));
    said.extend(say(&wrong, &["check"], 2));
    said.extend(say(&wrong, &["run"], 2));
    let open = password
        .clone()
        .set("kafka.sasl", json!({ "mechanism": "PLAIN", "username": "x", "password": PASSWORD }));
    said.extend(say(&open, &["check"], 0));
    said.extend(say(&open, &["run"], 1));
    let locked = password.clone().set("kafka.tls.key_password", json!({ "env": "PASSWORD" }));
    said.extend(say(&locked, &["run"], 2));
    let refused = token.clone().set("kafka.sasl.oauth.client_secret", json!({ "env": "PASSWORD" }));
    said.extend(say(&refused, &["run"], 1));

    let tokens = broker.issuer.issued("planted-client");
    assert!(!tokens.is_empty());
    let planted = planted(&tokens);
    for (what, said) in &said {
        look_through(what, said, &planted);
    }
    let bytes: usize = said.iter().map(|(_, said)| said.len()).sum();
    eprintln!("{} outputs, {bytes} bytes, looked through for {} strings", said.len(), planted.len());
}
