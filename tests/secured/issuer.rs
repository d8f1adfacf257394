//! An issuer of tokens: a token endpoint and its keys, over plain HTTP on loopback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use base64::{URL_SAFE_NO_PAD, decode, encode_config};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::Private;
use openssl::sha::sha256;
use serde_json::{Value, json};

/// The secret of every client.
pub const SECRET: &str = "client secret / +&=%";
/// The one whose tokens are signed with a key that nobody knows.
pub const STRANGER: &str = "stranger";
/// How long a token is good.
pub const LIFE_SECONDS: u64 = 12;

pub struct Issuer {
    pub port: u16,
    /// By client, all that was issued.
    issued: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Keys {
    known: Arc<EcKey<Private>>,
    unknown: Arc<EcKey<Private>>,
    issued: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Issuer {
    pub fn start() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = || Arc::new(EcKey::generate(&group).unwrap());
        let issued = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let keys = Keys { known: key(), unknown: key(), issued: issued.clone() };
        let routes = Router::new().route("/token", post(token)).route("/jwks", get(jwks)).with_state(keys);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { port, issued, _runtime: runtime }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// All the tokens that a client has had.
    pub fn issued(&self, client: &str) -> Vec<String> {
        self.issued.lock().unwrap().get(client).cloned().unwrap_or_default()
    }
}

async fn jwks(State(keys): State<Keys>) -> String {
    let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
    let mut context = BigNumContext::new().unwrap();
    keys.known.public_key().affine_coordinates_gfp(keys.known.group(), &mut x, &mut y, &mut context).unwrap();
    let number = |n: &BigNum| part(&n.to_vec_padded(32).unwrap());
    json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one", "x": number(&x), "y": number(&y) }] })
        .to_string()
}

/// The token of the subject `user-of-CLIENT`.
async fn token(
    State(keys): State<Keys>,
    request: Request,
) -> (StatusCode, [(header::HeaderName, &'static str); 1], String) {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = axum::body::to_bytes(request.into_body(), 4096).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let json = [(header::CONTENT_TYPE, "application/json")];
    let basic = shown
        .strip_prefix("Basic ")
        .and_then(|b| String::from_utf8(decode(b).ok()?).ok())
        .unwrap_or_default();
    let (client, secret) = basic.split_once(':').unwrap_or_default();
    // As a form writes it.
    if secret != "client+secret+%2F+%2B%26%3D%25" {
        // Careless, as some are: it repeats what it was told.
        let words =
            json!({ "error": "invalid_client", "error_description": format!("no such client: {basic}") });
        return (StatusCode::UNAUTHORIZED, json, words.to_string());
    }
    if body != "grant_type=client_credentials&scope=kafka" {
        return (StatusCode::BAD_REQUEST, json, json!({ "error": "invalid_scope" }).to_string());
    }
    let key = if client == STRANGER { &keys.unknown } else { &keys.known };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": "tests", "aud": "kafka", "sub": format!("user-of-{client}"), "scope": "kafka",
        "iat": now, "exp": now + LIFE_SECONDS,
    });
    let token = signed(key, &claims);
    keys.issued.lock().unwrap().entry(client.to_owned()).or_default().push(token.clone());
    let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": LIFE_SECONDS });
    (StatusCode::OK, json, answer.to_string())
}

fn signed(key: &EcKey<Private>, claims: &Value) -> String {
    let header = json!({ "alg": "ES256", "kid": "one", "typ": "JWT" });
    let text = format!("{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()));
    let signature = EcdsaSig::sign(&sha256(text.as_bytes()), key).unwrap();
    let both = [signature.r().to_vec_padded(32).unwrap(), signature.s().to_vec_padded(32).unwrap()].concat();
    format!("{text}.{}", part(&both))
}

fn part(bytes: &[u8]) -> String {
    encode_config(bytes, URL_SAFE_NO_PAD)
}
