//! A token that whoever asks must show: a scraper as a bearer token, a browser, which asks a person for a
//! user and a password, as the password of any user.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{AppendHeaders, IntoResponse, Response};
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
    let shown = shown(request.headers());
    if shown.is_some_and(|shown| openssl::memcmp::eq(&shown, &wanted)) {
        return next.run(request).await;
    }
    let schemes =
        ["Bearer", "Basic realm=\"squeezeflow: any user, the token as password\", charset=\"UTF-8\""];
    let challenges = AppendHeaders(schemes.map(|scheme| (header::WWW_AUTHENTICATE, scheme)));
    let wanted =
        "a token is wanted: Authorization: Bearer … (or Basic, with any user and the token as password)\n";
    (StatusCode::UNAUTHORIZED, challenges, wanted).into_response()
}

/// The digest of what is shown, in either way.
fn shown(headers: &HeaderMap) -> Option<[u8; 32]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(digest(token));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let user_and_password = base64::decode(token).ok()?;
    // A user's name has no colon, a password may.
    let colon = user_and_password.iter().position(|byte| *byte == b':')?;
    Some(digest(user_and_password.get(colon + 1..)?))
}

fn digest(token: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(token).into()
}
