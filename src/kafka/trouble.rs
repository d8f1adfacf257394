//! Why a broker does not let us in, read out of what librdkafka says of a connection. Pure.
//!
//! Of a certificate that it does not accept librdkafka (2.12, OpenSSL 3) says only that it could not be
//! verified; [`super::handshake`] finds out why.

use rdkafka::error::RDKafkaErrorCode;

/// What a broker has against us, or we against it, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) kind: Kind,
    /// `host:port` of the broker, where it was told.
    pub(crate) server: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its certificate is not accepted.
    Certificate,
    /// It wants a certificate of ours, or another one.
    OurCertificate,
    /// It does not speak TLS.
    NoTls,
    /// Some other failure of TLS.
    Tls,
    /// The user or its password.
    Password,
    /// It wants no user.
    NoUser,
    /// It does not know the mechanism.
    Mechanism,
    /// There is no token to show.
    Token,
}

impl Trouble {
    /// `None`: a connection that fails for now, or something else altogether.
    pub(crate) fn told(code: RDKafkaErrorCode, reason: &str) -> Option<Self> {
        let kind = kind(code, reason)?;
        Some(Self { kind, server: server(reason).map(str::to_owned) })
    }
}

fn kind(code: RDKafkaErrorCode, reason: &str) -> Option<Kind> {
    use RDKafkaErrorCode as E;
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    // Alerts of the broker's TLS, which reach us at the first read where the version is 1.3; the
    // code may then be that of a broken connection.
    if says(&[
        "alert certificate required",
        "alert bad certificate",
        "alert certificate expired",
        "alert certificate unknown",
        "alert unknown ca",
        "alert handshake failure",
        "client SSL authentication might be required",
    ]) {
        return Some(Kind::OurCertificate);
    }
    match code {
        E::SSL if says(&["certificate verify failed", "certificate could not be verified"]) => {
            Some(Kind::Certificate)
        }
        E::SSL if says(&["wrong version number", "packet length too long", "record layer failure"]) => {
            Some(Kind::NoTls)
        }
        E::SSL => Some(Kind::Tls),
        E::UnsupportedSASLMechanism => Some(Kind::Mechanism),
        E::Authentication | E::SaslAuthenticationFailed => Some(if says(&["in current SASL state"]) {
            Kind::NoUser
        } else if says(&["OAUTHBEARER token"]) {
            Kind::Token
        } else if says(&["supported mechanisms", "Unsupported SASL mechanism"]) {
            Kind::Mechanism
        } else {
            Kind::Password
        }),
        _ => None,
    }
}

/// The mechanisms that a broker offers instead of ours.
pub(super) fn offered(reason: &str) -> &str {
    let after = reason.split_once("supported mechanisms: ").map_or("", |(_, after)| after);
    after.split(" (").next().unwrap_or_default().trim()
}

/// librdkafka begins what it says of a broker with its name: `sasl_ssl://host:port/bootstrap: …`.
fn server(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once("://")?;
    let end = rest.find('/')?;
    rest.get(..end).filter(|server| server.contains(':') && !server.contains(' '))
}
