//! A page to look at: the flow with its live rates and depths, latencies, labels, lag, dead letters, the
//! receipts and the settings in force.
//!
//! | file | what |
//! |---|---|
//! | `figures` | a scrape of the metrics, read |
//! | `history` | the last five minutes of them, and what is told of these |
//! | `sampler` | takes one every two seconds, whoever looks |
//! | `page.html`, `.css`, `.js`, `.svg` | what the browser gets, as it is: no build step |
//!
//! Nothing is asked of the pipeline: the page sees what `/metrics` shows. All browsers are told the same
//! text, made once; one that is slow misses some, and nothing is kept for it.

mod figures;
mod history;
mod sampler;

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http};
use futures_util::stream;
use tokio::time::{Instant, timeout_at};

pub(super) use sampler::Sampler;
pub use sampler::Shown;

/// A stream ends by itself before its connection does (`Bounds::age`), in order, and the browser
/// asks again.
const STREAM_AGE: Duration = Duration::from_secs(240);

/// No script, style, image or connection but our own; no frame, no form.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's routes. Without a token a browser must have come by an address or as `localhost`: the name
/// of a stranger's page, bound to our address for a moment, is no way in.
pub(super) fn routes(with_token: bool) -> Router<Sampler> {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    let routes = Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page.html")))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page.js")))
        .route("/page.svg", file("image/svg+xml", include_str!("page.svg")))
        .route("/events", get(events));
    let routes = if with_token { routes } else { routes.route_layer(from_fn(by_address)) };
    routes.route_layer(from_fn(guard))
}

/// The past, then what there is to say every two seconds.
async fn events(State(sampler): State<Sampler>) -> Response {
    let Some(watcher) = sampler.watch() else {
        let retry = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, "too many look already\n").into_response();
    };
    let end = Instant::now() + STREAM_AGE;
    let first = Event::default().event("past").retry(Duration::from_secs(1)).data(sampler.past());
    let events = stream::unfold((Some(first), watcher), move |(first, mut watcher)| async move {
        let event = match first {
            Some(first) => first,
            None => Event::default().event("now").data(&*timeout_at(end, watcher.next()).await.ok()??),
        };
        Some((Ok::<_, Infallible>(event), (None, watcher)))
    });
    Sse::new(events).into_response()
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets in who asks by an address or as `localhost`, or does not say (no browser).
pub(super) async fn by_address(request: Request, next: Next) -> Response {
    if request.headers().get(header::HOST).is_none_or(is_address) {
        return next.run(request).await;
    }
    let why = "ask for this by an address or as localhost; to have it under a name, set admin.token\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

fn is_address(host: &HeaderValue) -> bool {
    let authority = host.to_str().ok().and_then(|host| host.parse::<http::uri::Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
