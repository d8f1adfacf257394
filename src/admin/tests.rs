//! The address as others see it: routes, token, bounds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::*;
use crate::telemetry::Metrics;

const HOUR: Duration = Duration::from_secs(3600);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn ask(address: SocketAddr, path: &'static str) -> String {
    let ask = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

fn shown(health: &Health) -> Shown {
    Shown { health: health.clone(), ..Shown::default() }
}

async fn started() -> (Server, Health) {
    let health = Health::new();
    let (metrics, registry) = Metrics::new(&health).unwrap();
    let server = serve(ANY, None, registry, shown(&health)).await.unwrap();
    metrics.batch_split();
    std::mem::forget(metrics); // the worker holds it for the life of the process
    (server, health)
}

#[tokio::test]
async fn probes_and_metrics_answer() {
    let (server, health) = started().await;
    let address = server.address();
    assert_ne!(address.port(), 0);
    let answer = ask(address, "/live").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"alive\":true,\"stuck\":[]}\n"));
    assert!(ask(address, "/page.js").await.contains("EventSource"));
    assert!(ask(address, "/nothing").await.starts_with("HTTP/1.1 404"));

    let answer = ask(address, "/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("model is not loaded"), "{answer}");
    health.model_warm("sentiment", "sha256:ab", "fp32", "cpu");
    health.joined(3);
    let answer = ask(address, "/ready").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let json: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let want = serde_json::json!({
        "ready": true, "model": "sentiment", "digest": "sha256:ab", "precision": "fp32",
        "provider": "cpu", "partitions": 3, "why_not": null
    });
    assert_eq!(json, want);

    let answer = ask(address, "/metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("squeezeflow_batch_splits_total 1") && answer.contains("squeezeflow_ready 1"));
}

#[tokio::test]
async fn a_part_that_does_not_move_is_named() {
    let (server, health) = started().await;
    let pulse = health.pulse("session 1");
    health.stuck_after(Duration::from_millis(1));
    pulse.moves();
    let started = Instant::now();
    let answer = loop {
        let answer = ask(server.address(), "/live").await;
        if answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{answer}");
    };
    assert!(answer.contains("application/json") && answer.contains("\"what\":\"session 1\""), "{answer}");
    assert!(ask(server.address(), "/metrics").await.contains("squeezeflow_live 0"));
    pulse.rests();
    assert!(ask(server.address(), "/live").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn with_a_token_only_probes_answer_anybody_and_no_other_origin_is_let_in() {
    let health = Health::new();
    let (_metrics, registry) = Metrics::new(&health).unwrap();
    let server = serve(ANY, Some(Secret::new("open sesame")), registry, shown(&health)).await.unwrap();
    let address = server.address();
    let ask = |path: &'static str, header: &'static str| async move {
        let ask = move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            write!(stream, "{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    };
    for (path, header, status) in [
        ("GET /metrics", "", 401),
        ("GET /", "", 401),
        ("GET /metrics", "Authorization: Bearer open\r\n", 401),
        ("GET /metrics", "Authorization: Bearer open sesame!\r\n", 401),
        ("GET /metrics", "Authorization: Basic open sesame\r\n", 401),
        ("GET /", "Authorization: Basic b3BlbiBzZXNhbWU=\r\n", 401), // without a colon
        ("GET /", "Authorization: Basic bWU6b3Blbg==\r\n", 401),     // me:open
        ("GET /events", "", 401),
        ("GET /page.js", "", 401),
        ("GET /", "Authorization: Basic bWU6b3BlbiBzZXNhbWU=\r\n", 200), // me:open sesame
        ("GET /page.js", "authorization: basic Om9wZW4gc2VzYW1l\r\n", 200), // :open sesame
        ("GET /metrics", "Authorization: Bearer open sesame\r\n", 200),
        ("GET /", "authorization: bearer open sesame\r\n", 200),
        ("GET /live", "", 200),
        ("GET /ready", "", 503),
        ("GET /nothing", "", 404),
        ("OPTIONS /live", "Origin: http://evil\r\nAccess-Control-Request-Method: GET\r\n", 405),
    ] {
        let answer = ask(path, header).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} {header}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{answer}");
        for scheme in ["www-authenticate: Bearer", "www-authenticate: Basic realm="] {
            assert_eq!(answer.contains(scheme), status == 401, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_request_is_bounded() {
    let (server, _health) = started().await;
    let address = server.address();
    let endless = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").unwrap();
        let line = [b"X: ", [b'a'; 1000].as_slice(), b"\r\n"].concat();
        // Until the other side has had enough.
        (0..10_000).find(|_| stream.write_all(&line).is_err())
    };
    assert!(tokio::task::spawn_blocking(endless).await.unwrap().is_some());
    assert!(ask(address, "/live").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_address_in_use_is_named_with_advice() {
    let (server, health) = started().await;
    let error = serve(server.address(), None, Registry::new(), shown(&health)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&server.address().to_string()) && text.contains("port 0"), "{text}");
    assert_eq!(error.fate(), Fate::Fatal);
}

#[tokio::test]
async fn dropped_it_frees_the_address() {
    let (server, _health) = started().await;
    let address = server.address();
    drop(server);
    for _ in 0..100 {
        if TcpListener::bind(address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} is still taken");
}

#[tokio::test]
async fn idle_connections_end_so_that_others_get_in() {
    let routes = Router::new().route("/live", get(|| async { "alive" }));
    let age = Duration::from_millis(300);
    let server = listen(ANY, routes, Bounds { connections: 2, age, ..Bounds::OURS }).await.unwrap();
    let start = Instant::now();
    let _one = TcpStream::connect(server.address()).await.unwrap();
    let _two = TcpStream::connect(server.address()).await.unwrap();
    assert!(ask(server.address(), "/live").await.starts_with("HTTP/1.1 200"));
    assert!(start.elapsed() >= age, "the third came in while two were open");
}

/// Until the other side closes it, one way or the other.
async fn is_closed(mut stream: TcpStream) {
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0])).await.expect("an end");
}

#[tokio::test]
async fn one_stranger_does_not_keep_others_out() {
    let routes = Router::new().route("/live", get(|| async { "alive" }));
    // So that a test on one machine has strangers.
    let bounds = Bounds { connections: 4, from_one: 2, is_trusted: |_| false, silence: HOUR, ..Bounds::OURS };
    let server = listen(ANY, routes, Bounds { age: HOUR, ..bounds }).await.unwrap();
    let stranger = || async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(server.address()).await.unwrap()
    };
    let silent = [stranger().await, stranger().await];
    for _ in 0..10 {
        is_closed(stranger().await).await;
    }
    assert!(ask(server.address(), "/live").await.starts_with("HTTP/1.1 200"));
    // When its connections end, it may have others.
    drop(silent);
    let again = async {
        loop {
            let mut stream = stranger().await;
            let request = b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let mut answer = String::new();
            if tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.is_ok()
                && stream.read_to_string(&mut answer).await.is_ok()
                && answer.starts_with("HTTP/1.1 200")
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("a place is free again");
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let routes = Router::new().route("/live", get(|| async { "alive" }));
    let bounds = Bounds { silence: Duration::from_millis(50), age: HOUR, ..Bounds::OURS };
    let server = listen(ANY, routes, bounds).await.unwrap();
    is_closed(TcpStream::connect(server.address()).await.unwrap()).await;
    assert!(Bounds::OURS.silence < Duration::from_secs(10), "a probe's patience");
    assert!(ask(server.address(), "/live").await.starts_with("HTTP/1.1 200"));
}

#[test]
fn the_machine_itself_is_no_stranger() {
    for (address, trusted) in [("127.0.0.1", true), ("::1", true), ("10.0.0.1", false), ("::2", false)] {
        assert_eq!((Bounds::OURS.is_trusted)(address.parse().unwrap()), trusted, "{address}");
    }
}
