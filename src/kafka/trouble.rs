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
    /// librdkafka's words.
    pub(crate) reason: String,
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
}

impl Trouble {
    /// `None`: a connection that fails for now, or something else altogether.
    pub(crate) fn told(code: RDKafkaErrorCode, reason: &str) -> Option<Self> {
        let kind = kind(code, reason)?;
        Some(Self { kind, server: server(reason).map(str::to_owned), reason: reason.to_owned() })
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
    // Told by who fetches tokens, better.
    if is_about_token(reason) || is_cut_off(reason) {
        return None;
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
        E::Authentication | E::SaslAuthenticationFailed => Some(if is_out_of_turn(reason) {
            Kind::NoUser
        } else if says(&["supported mechanisms", "Unsupported SASL mechanism"]) {
            Kind::Mechanism
        } else {
            Kind::Password
        }),
        _ => None,
    }
}

/// Of a client that was let in before: there is no token to show now (connections that there are live on,
/// until the issuer is back); or the broker was shown one twice within a second, which it refuses, and
/// librdkafka then connects anew.
pub(super) fn will_pass(reason: &str) -> bool {
    is_about_token(reason) || is_out_of_turn(reason) || is_cut_off(reason)
}

/// Did the connection break, or nobody answer, in the middle? Then these are not the broker's words, whatever
/// code librdkafka gives them (`rd_kafka_broker_handle_SaslHandshake`, `rd_kafka_transport_ssl_io_update`).
fn is_cut_off(reason: &str) -> bool {
    reason.contains("mechanism handshake failed: Local: ") || reason.contains("SSL transport error: ")
}

fn is_out_of_turn(reason: &str) -> bool {
    reason.contains("in current SASL state")
}

/// Is it that there is no token to show (and not that a broker does not take it)?
fn is_about_token(reason: &str) -> bool {
    reason.contains("Failed to acquire SASL OAUTHBEARER token") || reason.contains("no token available")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As librdkafka 2.12 writes them, with OpenSSL 3.
    #[test]
    fn what_is_said_is_understood() {
        use RDKafkaErrorCode as E;
        let at = |rest: &str| format!("sasl_ssl://broker:9093/bootstrap: {rest}");
        for (code, rest, kind) in [
            (
                E::Authentication,
                "SASL PLAIN mechanism handshake failed: Local: Broker transport failure: broker's supported mechanisms: (n/a)",
                None,
            ),
            (E::SSL, "SSL transport error: Connection timed out (after 20ms in state SSL_HANDSHAKE)", None),
            (
                E::SSL,
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified",
                Some(Kind::Certificate),
            ),
            (
                E::SSL,
                "error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116",
                Some(Kind::OurCertificate),
            ),
            (
                E::BrokerTransportFailure,
                "Receive failed: ssl/record/rec_layer_s3.c:1584: tlsv1 alert unknown ca",
                Some(Kind::OurCertificate),
            ),
            (
                E::SSL,
                "SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
                Some(Kind::NoTls),
            ),
            (E::SSL, "something new", Some(Kind::Tls)),
            (
                E::Authentication,
                "SASL authentication error: Authentication failed: Invalid username or password",
                Some(Kind::Password),
            ),
            (
                E::Authentication,
                "SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN",
                Some(Kind::Mechanism),
            ),
            (
                E::Authentication,
                "SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms: ",
                Some(Kind::NoUser),
            ),
            (E::Authentication, "Failed to acquire SASL OAUTHBEARER token: the issuer does not answer", None),
            (E::BrokerTransportFailure, "Connect to ipv4#10.0.0.1:9093 failed: Connection refused", None),
            (E::Resolve, "Failed to resolve 'broker:9093': Name or service not known", None),
        ] {
            let told = Trouble::told(code, &at(rest));
            assert_eq!(told.as_ref().map(|t| t.kind), kind, "{rest}");
            assert!(told.is_none_or(|t| t.server.as_deref() == Some("broker:9093")));
        }
        assert_eq!(
            offered("broker's supported mechanisms: PLAIN,SCRAM-SHA-256 (after 3ms)"),
            "PLAIN,SCRAM-SHA-256"
        );
        for passing in [
            "SASL PLAIN mechanism handshake failed: Local: Timed out: broker's supported mechanisms: (n/a)",
            "SSL transport error: Broken pipe",
            "Broker: Request not valid in current SASL state",
            "Failed to acquire SASL OAUTHBEARER token: the issuer does not answer",
        ] {
            assert!(will_pass(passing), "{passing}");
        }
        assert!(!will_pass("SASL authentication error: Authentication failed: Invalid username or password"));
        assert_eq!(server("1/1 brokers are down"), None);
        assert_eq!(server("GroupCoordinator: broker:9093: Disconnected"), None);
    }
}
