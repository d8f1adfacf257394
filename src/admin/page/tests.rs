//! The routes, as a browser asks for them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::admin::{Server, serve};
use crate::config::{InForce, Secret};
use crate::record::{DeadLetter, Offset, Reason, Record, Stage, Timestamp};
use crate::telemetry::{Health, Metrics, Recent};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(20);

async fn started(token: Option<&str>) -> (Server, Metrics, Shown) {
    started_at(ANY, token).await
}

async fn started_at(address: SocketAddr, token: Option<&str>) -> (Server, Metrics, Shown) {
    let health = Health::new();
    let (metrics, registry) = Metrics::new(&health).unwrap();
    let one = InForce { path: "a.b".to_owned(), value: "1".to_owned(), origin: "file".to_owned() };
    let shown = Shown { health, recent: Recent::new(false), settings: vec![one] };
    let server = serve(address, token.map(Secret::new), registry, shown.clone()).await.unwrap();
    (server, metrics, shown)
}

async fn open(server: &Server, path: &str, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect((ANY.ip(), server.address().port())).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads on until `is_enough`, or the other side closes.
async fn read(stream: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> String {
    let mut all = Vec::new();
    let reading = async {
        let mut some = [0; 65536];
        loop {
            let n = stream.read(&mut some).await.unwrap();
            all.extend_from_slice(&some[..n]);
            if n == 0 || is_enough(&String::from_utf8_lossy(&all)) {
                return;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer in time");
    String::from_utf8(all).unwrap()
}

async fn get_all(server: &Server, path: &str, host: &str) -> String {
    read(&mut open(server, path, host).await, |_| false).await
}

/// The data of the first event of this name.
fn event(answer: &str, name: &str) -> Value {
    let from = answer.split_once(&format!("event: {name}\n")).unwrap().1;
    let data = from.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str(data).unwrap()
}

#[tokio::test]
async fn the_page_has_no_use_for_anybody_else() {
    let (server, _metrics, _) = started(None).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.svg", "image/svg+xml"),
    ] {
        let answer = get_all(&server, path, "127.0.0.1:1").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        for line in [
            &format!("content-type: {kind}"),
            &format!("content-security-policy: {POLICY}"),
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(line), "{path}: {line} is not in {head}");
        }
        assert!(!head.contains("access-control-"), "{head}");
        let strange = body.replace("http://www.w3.org/", "");
        assert!(!strange.contains("http://") && !strange.contains("https://"), "{path} names another place");
        assert!(!body.contains("innerHTML") && !body.contains(" style=") && !body.contains(" onclick="));
    }
}

#[tokio::test]
async fn all_of_it_is_small() {
    let files = [
        include_str!("page.html"),
        include_str!("page.css"),
        include_str!("page.js"),
        include_str!("page.svg"),
    ];
    let bytes: usize = files.map(str::len).iter().sum();
    assert!(bytes < 32 * 1024, "{bytes} bytes");
}

#[tokio::test]
async fn first_the_past_and_then_what_comes() {
    let (server, metrics, shown) = started(None).await;
    let record = Record {
        topic: "reviews".into(),
        partition: 3,
        offset: Offset::new(77),
        key: None,
        value: Some(b"planted".to_vec()),
        headers: Vec::new(),
        timestamp: Timestamp(None),
    };
    metrics.admitted(&record);
    let letter = DeadLetter { reason: Reason::InvalidJson, message: "m".to_owned(), stage: Stage::Decode };
    shown.recent.letter(&record, &letter);
    let mut stream = open(&server, "/events", "localhost:1").await;
    let answer =
        read(&mut stream, |so_far| so_far.contains("event: now\ndata: {") && so_far.ends_with("\n\n\r\n"))
            .await;
    assert!(answer.contains("content-type: text/event-stream") && answer.contains("retry: 1000"), "{answer}");
    assert!(answer.contains("cache-control: no-store"), "{answer}");
    let past = event(&answer, "past");
    assert_eq!(past["settings"][0]["path"], "a.b");
    let letter = &past["now"]["letters"][0];
    assert_eq!((&letter["offset"], &letter["reason"]), (&77.into(), &"invalid_json".into()));
    let now = event(&answer, "now");
    assert_eq!((&now["ready"], &now["totals"]["read"]), (&false.into(), &1.into()));
    assert!(now["why_not"].as_str().unwrap().contains("model") && now["texts"].is_null(), "{now}");
    assert!(!answer.contains("planted"));
}

#[tokio::test]
async fn so_many_look_and_no_more_and_scrapes_get_in_all_the_same() {
    let (server, _metrics, _) = started(None).await;
    let mut looking = Vec::new();
    for _ in 0..8 {
        let mut stream = open(&server, "/events", "[::1]").await;
        read(&mut stream, |so_far| so_far.contains("event: past")).await;
        looking.push(stream);
    }
    let refused = get_all(&server, "/events", "127.0.0.1").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 5"), "{refused}");
    assert!(get_all(&server, "/metrics", "127.0.0.1").await.starts_with("HTTP/1.1 200"));
    drop(looking.pop());
    // The server sees it when it has something to say.
    let again = async {
        loop {
            let mut stream = open(&server, "/events", "127.0.0.1").await;
            if read(&mut stream, |so_far| so_far.contains("\r\n\r\n")).await.starts_with("HTTP/1.1 200") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("a place is free again");
}

/// A page of somebody else, whose name is bound to our address for a moment, is of our origin to a
/// browser.
#[tokio::test]
async fn a_name_is_no_way_in_without_a_token() {
    let (server, ..) = started(None).await;
    for (host, status) in [
        ("127.0.0.1:9464", 200),
        ("10.1.2.3", 200),
        ("[::1]:9464", 200),
        ("LocalHost:9464", 200),
        ("evil.example:9464", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("", 403),
    ] {
        let answer = get_all(&server, "/page.js", host).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
        let answer = get_all(&server, "/metrics", host).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
        assert!(get_all(&server, "/live", host).await.starts_with("HTTP/1.1 200"), "{host}");
    }
    // On a network scrapers come by a name.
    let (server, ..) = started_at("0.0.0.0:0".parse().unwrap(), None).await;
    assert!(get_all(&server, "/metrics", "worker.example:9464").await.starts_with("HTTP/1.1 200"));
    assert!(get_all(&server, "/", "worker.example:9464").await.starts_with("HTTP/1.1 403"));
    let (server, ..) = started(Some("open")).await;
    let answer = get_all(&server, "/", "worker.example").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn texts_that_are_withheld_say_why() {
    let shown = Shown { recent: Recent::new(true), ..Shown::default() };
    let (_metrics, registry) = Metrics::new(&shown.health).unwrap();
    let (sampler, task) = Sampler::start(registry, shown.clone());
    task.abort();
    let now = |past: String| serde_json::from_str::<Value>(&past).unwrap()["now"].clone();
    let told = now(sampler.past());
    assert!(told["texts"].is_array() && told["why_no_texts"].is_null(), "{told}");
    shown.recent.withhold_texts();
    let told = now(sampler.past());
    assert!(told["texts"].is_null() && told["why_no_texts"].is_string(), "{told}");
}

/// Whoever does not read what it is told is told the last, and nothing is kept for it.
#[tokio::test]
async fn a_slow_browser_misses_some() {
    let health = Health::new();
    let (metrics, registry) = Metrics::new(&health).unwrap();
    let shown = Shown { health, ..Shown::default() };
    let (sampler, task) = Sampler::start(registry, shown);
    let mut watcher = sampler.watch().unwrap();
    for _ in 0..1_000 {
        metrics.batch_split();
        sampler.tick();
    }
    task.abort();
    let first = timeout(PATIENCE, watcher.next()).await.unwrap();
    assert!(first.unwrap().contains("\"totals\""));
    assert!(timeout(Duration::from_millis(50), watcher.next()).await.is_err(), "there was one only");
}
