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
mod tests;
