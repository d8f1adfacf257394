//! A token that whoever asks must show.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::config::Secret;

/// The same routes, for who shows the token. `None`: for everybody.
pub(super) fn guarded<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    token: Option<Secret>,
) -> Router<S> {
    match token {
        Some(token) => routes.route_layer(from_fn_with_state(digest(token.reveal()), admit)),
        None => routes,
    }
}

async fn admit(State(wanted): State<[u8; 32]>, request: Request, next: Next) -> Response {
    // Of digests: how long comparing takes tells nothing of the token, its length included.
    let shown = bearer(request.headers()).map(digest);
    if shown.is_some_and(|shown| openssl::memcmp::eq(&shown, &wanted)) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, challenge, "a token is wanted: Authorization: Bearer …\n").into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
