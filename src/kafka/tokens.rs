//! The token of the clients that show one (OAUTHBEARER): one for all clients of a run, renewed behind
//! their backs, on a thread of its own. The thread that polls never waits for the issuer, but for the very first token: at a
//! start there is nothing to keep up.

use std::ffi::{CString, c_char};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext, OAuthToken};
use rdkafka_sys as sys;

use super::token_request::{Token, TokenError, fetch, now};
use crate::config::settings::{Kafka, OAuth, Sasl};

/// Of a token's life, in percent: then the next one is fetched. librdkafka asks for it when 80 are over,
/// and shows it to the brokers anew when 90 are: by then it must be there, or what is left of the old one
/// is too short (brokers refuse to be shown one twice within a second).
const RENEW_AT: i64 = 70;
/// After a failure, the same share of what is left; but not sooner, nor later, than this.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// When the token is over there is nothing left to save by haste, and an issuer that refuses us should not
/// be asked for ever in a hurry.
const RETRY_OVER: Duration = Duration::from_secs(10);

/// Where tokens come from.
#[derive(Debug)]
pub(crate) struct Tokens {
    oauth: OAuth,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    error: Option<TokenError>,
    is_kept: bool,
}

/// How long until the next one is fetched.
fn rest(token: &Token, failed: bool, now: i64) -> Duration {
    let part = |from: i64| token.until.saturating_sub(from).max(0) / 100 * RENEW_AT;
    let at = if failed { now.saturating_add(part(now)) } else { token.from.saturating_add(part(token.from)) };
    let rest = Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0));
    if failed && now >= token.until {
        return RETRY_OVER;
    }
    if failed { rest.clamp(RETRY.0, RETRY.1) } else { rest.max(RETRY.0) }
}

impl Tokens {
    /// `None`: these clients show none.
    pub(crate) fn of(kafka: &Kafka) -> Option<Arc<Self>> {
        match &kafka.sasl {
            Some(Sasl::OAuth(oauth)) => {
                Some(Arc::new(Self { oauth: oauth.clone(), state: Mutex::default() }))
            }
            _ => None,
        }
    }

    /// Of whom the token is, where it says so.
    pub(crate) fn subject(&self) -> Option<String> {
        self.state().token.as_ref().and_then(|token| token.subject.clone())
    }

    /// Why there has never been one.
    pub(crate) fn error(&self) -> Option<TokenError> {
        let state = self.state();
        state.error.clone().filter(|_| state.token.is_none())
    }

    fn give(self: &Arc<Self>) -> Result<OAuthToken, TokenError> {
        let mut state = self.state();
        // Over before anybody renews it: the first one, of an issuer that gives old ones.
        let is_over = |token: &Token| now() >= token.until;
        if !state.is_kept && state.token.as_ref().is_none_or(is_over) {
            // With the lock held: the other clients of this start want the same one.
            let fetched = fetch(&self.oauth);
            state.take(fetched);
        }
        match state.token.clone() {
            Some(token) if now() < token.until => {
                self.keep(&mut state);
                let principal_name = token.subject.unwrap_or_else(|| self.oauth.client_id.clone());
                Ok(OAuthToken { token: token.value, principal_name, lifetime_ms: token.until })
            }
            _ => Err(state.error.clone().unwrap_or_else(|| TokenError::Away {
                url: self.oauth.token_url.clone(),
                why: "its last token is over already, by this machine's clock".to_owned(),
            })),
        }
    }

    /// From now on there is always one that is good, as far as the issuer gives it.
    fn keep(self: &Arc<Self>, state: &mut State) {
        if std::mem::replace(&mut state.is_kept, true) {
            return;
        }
        let tokens = Arc::downgrade(self);
        let keeping = std::thread::Builder::new().name("token".to_owned()).spawn(move || renew(&tokens));
        if let Err(error) = keeping {
            tracing::warn!(%error, "no thread to keep a token");
            state.is_kept = false;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until nobody wants tokens any more.
fn renew(tokens: &Weak<Tokens>) {
    loop {
        let Some(rest) = tokens.upgrade().map(|tokens| tokens.state().rest()) else { return };
        std::thread::sleep(rest);
        let Some(tokens) = tokens.upgrade() else { return };
        let fetched = fetch(&tokens.oauth);
        tokens.state().take(fetched);
    }
}

impl State {
    fn take(&mut self, fetched: Result<Token, TokenError>) {
        match fetched {
            Ok(token) => {
                tracing::debug!(until = token.until, "a new token");
                (self.token, self.error) = (Some(token), None);
            }
            Err(error) => {
                tracing::warn!(%error, "no new token");
                self.error = Some(error);
            }
        }
    }

    fn rest(&self) -> Duration {
        self.token.as_ref().map_or(RETRY.1, |token| rest(token, self.error.is_some(), now()))
    }
}

/// For the callback of every client.
pub(crate) fn give(tokens: Option<&Arc<Tokens>>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
    let tokens = tokens.ok_or("this client has no token to show")?;
    tokens.give().map_err(Into::into)
}

/// Gives a client its token whose own wish for one nobody serves: rdkafka 0.39's `AdminClient` polls
/// its answers only. Good for as long as the token is. Where there is none, the questions fail.
#[allow(unsafe_code)] // rdkafka sets tokens in its own callback only.
pub(super) fn show<C: ClientContext>(tokens: &Arc<Tokens>, client: &Client<C>) {
    let Ok(OAuthToken { token, principal_name, lifetime_ms }) = tokens.give() else { return };
    let (Ok(token), Ok(principal)) = (CString::new(token), CString::new(principal_name)) else { return };
    let mut words: [c_char; 256] = [0; 256];
    // SAFETY: `client` is alive for the whole call, which copies both texts; without extensions their
    // list may be null. It writes at most so many bytes of its own words.
    unsafe {
        sys::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            token.as_ptr(),
            lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            words.as_mut_ptr(),
            words.len(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_is_over_and_tried_again_after_a_failure() {
        let token = Token { value: String::new(), subject: None, from: 1_000, until: 101_000 };
        let rest = |failed, now| rest(&token, failed, now).as_millis();
        assert_eq!([rest(false, 1_000), rest(false, 61_000), rest(false, 90_000)], [70_000, 10_000, 500]);
        assert_eq!([rest(true, 71_000), rest(true, 100_500), rest(true, 200_000)], [21_000, 500, 10_000]);
        assert_eq!(rest(true, 1_000), 30_000, "half a minute at most");
    }
}
