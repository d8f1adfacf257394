//! A page, metrics and probes on one address: `/`, `/metrics`, `/live`, `/ready`.
//!
//! The address is loopback unless configured otherwise. With a token (`admin.token`) all but the probes
//! want to see it. No page of another origin may read anything: there are no CORS headers. The server
//! outlives the drain, so that a scrape can see it and `/ready` can say no.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::bounded::{Bounded, Bounds};
use self::page::Sampler;
use crate::config::Secret;
use crate::fate::Fate;
use crate::telemetry::Health;

mod bearer;
mod bounded;
mod page;

pub use page::Shown;

/// The admin server cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics and probes: {source}; {advice}")]
pub struct AdminError {
    /// What was asked for.
    pub address: SocketAddr,
    /// What the operating system said.
    #[source]
    source: io::Error,
    advice: &'static str,
}

impl AdminError {
    /// A worker that cannot be watched is not started.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }

    fn new(address: SocketAddr, source: io::Error) -> Self {
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program (or another worker) has it: give this one a port of its own in `admin:`, or port 0 for any free one"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address: use 127.0.0.1 or 0.0.0.0 in `admin:`"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: use a higher one in `admin:`"
            }
            _ => "give another address in `admin:`",
        };
        Self { address, source, advice }
    }
}

/// The running server. Dropped, it stops at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// The address it really listens on, where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Listens and serves until the returned [`Server`] is dropped.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(
    address: SocketAddr,
    token: Option<Secret>,
    registry: Registry,
    shown: page::Shown,
) -> Result<Server, AdminError> {
    let (sampler, task) = Sampler::start(registry.clone(), shown.clone());
    let routes = router(address, token, registry, shown.health, sampler);
    let server = listen(address, routes, Bounds::OURS).await;
    match server {
        Ok(mut server) => {
            server.tasks.push(task);
            Ok(server)
        }
        Err(error) => {
            task.abort();
            Err(error)
        }
    }
}

async fn listen(address: SocketAddr, routes: Router, bounds: Bounds) -> Result<Server, AdminError> {
    let error = |source| AdminError::new(address, source);
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    let connections = Bounded::new(listener, bounds);
    let task = tokio::spawn(async move {
        // Never returns an error: axum retries accepting.
        let _ = axum::serve(connections, routes).await;
    });
    tracing::info!(%address, "metrics and probes");
    Ok(Server { address, tasks: vec![task] })
}

#[derive(Clone)]
struct Sources {
    registry: Registry,
    health: Health,
    /// A stuck worker was told of in the log.
    told: Arc<AtomicBool>,
}

fn router(
    address: SocketAddr,
    token: Option<Secret>,
    registry: Registry,
    health: Health,
    sampler: Sampler,
) -> Router {
    let page = page::routes(token.is_some()).with_state(sampler);
    let mut scraped = Router::new().route("/metrics", get(metrics));
    if token.is_none() && address.ip().to_canonical().is_loopback() {
        // What a browser of this machine can be made to ask for. Scrapers of others come by a name.
        scraped = scraped.route_layer(from_fn(page::by_address));
    }
    let guarded = scraped.merge(page);
    // Open, with a token too: a kubelet has none to show, and they tell little.
    let probes = Router::new().route("/live", get(live)).route("/ready", get(ready));
    bearer::guarded(guarded, token).merge(probes).with_state(Sources {
        registry,
        health,
        told: Arc::default(),
    })
}

async fn metrics(State(sources): State<Sources>) -> Response {
    match TextEncoder::new().encode_to_string(&sources.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Asks nobody: a part that is stuck could not answer, and nothing here may wait for it.
async fn live(State(sources): State<Sources>) -> Response {
    let stuck = sources.health.stuck();
    let alive = stuck.is_empty();
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !alive && !sources.told.swap(true, Ordering::Relaxed) {
        let stuck = stuck.clone();
        // On a thread of its own: the log may be what everybody is stuck at.
        drop(tokio::task::spawn_blocking(move || {
            tracing::error!(?stuck, "has work and does not move: /live says 503");
        }));
    }
    if alive {
        sources.told.store(false, Ordering::Relaxed);
    }
    let answer = serde_json::json!({ "alive": alive, "stuck": stuck });
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{answer}\n")).into_response()
}

async fn ready(State(sources): State<Sources>) -> Response {
    let snapshot = sources.health.snapshot();
    let status = if snapshot.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&snapshot) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "the readiness answer cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::{Read, Write};
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::time::Instant;

    use super::*;
    use crate::telemetry::Metrics;

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
        assert!(
            answer.contains("squeezeflow_batch_splits_total 1") && answer.contains("squeezeflow_ready 1")
        );
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
        let bounds =
            Bounds { connections: 4, from_one: 2, is_trusted: |_| false, silence: HOUR, ..Bounds::OURS };
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

    const HOUR: Duration = Duration::from_secs(3600);

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
}
