//! A token from its issuer: OAuth 2.0's client credentials (RFC 6749, section 4.4), by HTTP Basic.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{URL_SAFE_NO_PAD, decode_config, encode};
use serde::Deserialize;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::config::settings::OAuth;
use crate::fate::Fate;

/// For the whole conversation.
const PATIENCE: Duration = Duration::from_secs(10);
/// No token is that long.
const MOST_BYTES: u64 = 256 * 1024;
/// Of a token that does not say how long it is good.
const UNTOLD: Duration = Duration::from_secs(300);

/// A token, and how long it is good.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) value: String,
    /// Of whom it is, where it says so (a JWT's `sub`).
    pub(super) subject: Option<String>,
    /// In milliseconds since the Unix epoch.
    pub(super) from: i64,
    pub(super) until: i64,
}

/// It opens the cluster's doors.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({}..{})", self.from, self.until)
    }
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// The issuer says no.
    #[error(
        "the issuer `{url}` refuses the client `{client}` ({why}): check `client_id`, `client_secret` and `scope` in `kafka.sasl.oauth`"
    )]
    Refused {
        /// Asked.
        url: String,
        /// As whom.
        client: String,
        /// OAuth's own word for it, or the status.
        why: String,
    },
    /// Somebody else may be there.
    #[error(
        "the certificate of the issuer `{url}` cannot be verified: name its authority's certificate (PEM) in `kafka.sasl.oauth.ca_file`"
    )]
    Untrusted {
        /// Asked.
        url: String,
    },
    /// What comes back is none.
    #[error(
        "`{url}` gives no token, but something else ({what}): is `kafka.sasl.oauth.token_url` the token endpoint?"
    )]
    NoToken {
        /// Asked.
        url: String,
        /// What there is instead.
        what: String,
    },
    /// `ca_file` is none.
    #[error("`kafka.sasl.oauth.ca_file` holds no certificate in PEM")]
    NoAuthority,
    /// For now.
    #[error("the issuer `{url}` does not answer: {why}")]
    Away {
        /// Asked.
        url: String,
        /// In the system's words.
        why: String,
    },
}

impl TokenError {
    pub(crate) fn fate(&self) -> Fate {
        match self {
            Self::Away { .. } => Fate::Transient,
            _ => Fate::Fatal,
        }
    }
}

/// Asks the issuer. Blocks for at most ten seconds.
pub(super) fn fetch(oauth: &OAuth) -> Result<Token, TokenError> {
    let agent = agent(oauth)?;
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(oauth.scope.as_deref().map(|scope| ("scope", scope)));
    let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    // RFC 6749, section 2.3.1: both are encoded first.
    let basic = encode(format!("{}:{}", encoded(&oauth.client_id), encoded(oauth.client_secret.reveal())));
    let asked = agent
        .post(&oauth.token_url)
        .header("authorization", format!("Basic {basic}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .send(body.join("&"));
    let url = oauth.token_url.clone();
    let mut answer = asked.map_err(|error| lost(&url, &error))?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
    let body = body.map_err(|error| lost(&url, &error))?;
    read(oauth, status, &body, now())
}

fn agent(oauth: &OAuth) -> Result<Agent, TokenError> {
    let roots = match &oauth.ca_file {
        None => RootCerts::PlatformVerifier,
        Some(file) => {
            let pem = std::fs::read(file).map_err(|_| TokenError::NoAuthority)?;
            let certificates = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            let certificates: Vec<Certificate<'static>> = certificates.collect();
            if certificates.is_empty() {
                return Err(TokenError::NoAuthority);
            }
            RootCerts::from(certificates)
        }
    };
    // The OpenSSL that the Kafka client has, too.
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(PATIENCE))
        // The secret goes nowhere but where it was sent.
        .max_redirects(0)
        .http_status_as_error(false)
        .build();
    Ok(config.into())
}

fn lost(url: &str, error: &ureq::Error) -> TokenError {
    let url = url.to_owned();
    match error {
        ureq::Error::NativeTls(_) | ureq::Error::Tls(_) => TokenError::Untrusted { url },
        ureq::Error::BodyExceedsLimit(_) => TokenError::NoToken { url, what: "too long".to_owned() },
        // Of the system, without anything that was sent.
        ureq::Error::Io(error) => TokenError::Away { url, why: error.kind().to_string() },
        ureq::Error::Timeout(_) => TokenError::Away { url, why: "timed out".to_owned() },
        ureq::Error::HostNotFound => TokenError::Away { url, why: "its name is not known".to_owned() },
        ureq::Error::ConnectionFailed => TokenError::Away { url, why: "no connection".to_owned() },
        _ => TokenError::NoToken { url, what: "not what HTTP is".to_owned() },
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<f64>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

/// What an answer says. Pure.
fn read(oauth: &OAuth, status: u16, body: &[u8], now: i64) -> Result<Token, TokenError> {
    let url = oauth.token_url.clone();
    if status >= 500 || status == 429 {
        return Err(TokenError::Away { url, why: format!("HTTP status {status}") });
    }
    if status >= 400 {
        // Only a word of the standard is repeated: who knows what a description repeats.
        let is_word =
            |word: &String| word.len() <= 40 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let word = serde_json::from_slice::<Denied>(body).ok().map(|denied| denied.error).filter(is_word);
        let why = word.unwrap_or_else(|| format!("HTTP status {status}"));
        return match status {
            404 | 405 => Err(TokenError::NoToken { url, what: format!("HTTP status {status}") }),
            _ => Err(TokenError::Refused { url, client: oauth.client_id.clone(), why }),
        };
    }
    let granted =
        serde_json::from_slice::<Granted>(body).ok().filter(|granted| is_token(&granted.access_token));
    let Some(granted) = granted else {
        return Err(TokenError::NoToken { url, what: format!("HTTP status {status} without one") });
    };
    let claims = claims(&granted.access_token);
    let told = granted.expires_in.filter(|s| s.is_finite() && *s > 0.0).map(|s| (s * 1000.0) as i64);
    let claimed = claims.exp.map(|seconds| (seconds * 1000.0) as i64);
    let until = claimed.unwrap_or_else(|| now.saturating_add(told.unwrap_or(UNTOLD.as_millis() as i64)));
    Ok(Token { value: granted.access_token, subject: claims.sub, from: now, until })
}

/// As RFC 6750 has it, and so without anything that a header or SASL would take for its own.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b))
}

#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
}

/// Of a JWT; another token claims nothing. Not verified: that is for the brokers.
fn claims(token: &str) -> Claims {
    let payload = token.split('.').nth(1).and_then(|part| decode_config(part, URL_SAFE_NO_PAD).ok());
    payload.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

/// For a form (`application/x-www-form-urlencoded`).
fn encoded(text: &str) -> String {
    let byte = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => char::from(b).to_string(),
        b' ' => "+".to_owned(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

pub(super) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::config::Secret;

    fn oauth() -> OAuth {
        OAuth {
            token_url: "https://issuer/token".into(),
            client_id: "worker".into(),
            client_secret: Secret::new("s3cret"),
            scope: None,
            ca_file: None,
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_back_no_word_of_it_is_told(status in 200_u16..600, body in "[A-Z]{8,60}", json in any::<bool>()) {
            let body = if json { format!("{{\"error\":\"{body}\",\"access_token\":7}}") } else { body };
            if let Err(error) = read(&oauth(), status, body.as_bytes(), 0) {
                let secret: String = body.chars().filter(char::is_ascii_uppercase).collect();
                prop_assert!(!error.to_string().contains(&secret), "{}", error);
            }
        }

        #[test]
        fn any_bytes_are_survived(status in any::<u16>(), body in prop::collection::vec(any::<u8>(), 0..200), token in "\\PC{0,80}") {
            let _ = read(&oauth(), status, &body, i64::MAX);
            let _ = claims(&token);
        }
    }

    #[test]
    fn a_form_is_encoded() {
        assert_eq!(encoded("a b&c=ü*~"), "a+b%26c%3D%C3%BC*%7E");
    }

    #[test]
    fn a_token_lives_as_long_as_it_says() {
        let jwt = |claims: &str| format!("e30.{}.x", base64::encode_config(claims, URL_SAFE_NO_PAD));
        let read = |token: &str, more: &str| {
            let body = format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\"{more}}}");
            read(&oauth(), 200, body.as_bytes(), 1_000).unwrap()
        };
        let token = read(&jwt("{\"sub\":\"me\",\"exp\":77}"), ",\"expires_in\":5");
        assert_eq!((token.until, token.subject.as_deref()), (77_000, Some("me")));
        assert_eq!(read("opaque", ",\"expires_in\":5").until, 6_000);
        assert_eq!(read("opaque", "").until, 301_000);
        assert!(!format!("{:?}", read("opaque", "")).contains("opaque"));
    }

    #[test]
    fn what_is_no_token_is_told_without_what_it_is() {
        let read = |status, body: &str| read(&oauth(), status, body.as_bytes(), 0).unwrap_err();
        let refused = read(401, "{\"error\":\"invalid_client\",\"error_description\":\"s3cret\"}");
        assert!(refused.to_string().contains("`worker` (invalid_client)"), "{refused}");
        assert_eq!(refused.fate(), Fate::Fatal);
        for (status, body) in [
            (400, "{\"error\":\"It was s3cret\"}"),
            (401, "s3cret"),
            (200, "s3cret"),
            (200, "{\"access_token\":\"s3cret\\u0001\"}"),
            (302, ""),
            (404, "s3cret"),
            (503, "s3cret"),
        ] {
            let error = read(status, body);
            assert!(!error.to_string().contains("s3cret"), "{error}");
            assert_eq!(error.fate() == Fate::Transient, status == 503, "{error}");
        }
    }
}
