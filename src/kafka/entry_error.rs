//! Why the brokers do not let us in, each with what to do about it.

use super::handshake::{self, Misfit};
use super::trouble::{Kind, Trouble, offered};
use crate::config::settings::{Kafka, Sasl};
use crate::fate::Fate;

/// Why the brokers do not let us in. Waiting does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Signed by nobody that we trust.
    #[error(
        "the certificate of broker `{server}` is signed by no authority that we trust: put the authority's certificate (PEM) into `kafka.tls.ca_file`"
    )]
    Authority {
        /// `host:port`.
        server: String,
    },
    /// Valid no more.
    #[error(
        "the certificate of broker `{server}` expired at {when}: it must be renewed there (if this machine's clock is right)"
    )]
    Expired {
        /// `host:port`.
        server: String,
        /// As it says itself.
        when: String,
    },
    /// Not valid yet.
    #[error(
        "the certificate of broker `{server}` is not valid before {when}: is this machine's clock right?"
    )]
    TooEarly {
        /// `host:port`.
        server: String,
        /// As it says itself.
        when: String,
    },
    /// For another name.
    #[error(
        "the certificate of broker `{server}` is not for that name, but for {names}: name the brokers in `kafka.bootstrap_servers` (and they themselves in advertised.listeners) as their certificates do, or have them issued for this name"
    )]
    Name {
        /// `host:port`.
        server: String,
        /// Those that it is for.
        names: String,
    },
    /// Something else is wrong with it.
    #[error("the certificate of broker `{server}` cannot be verified: {detail}")]
    Certificate {
        /// `host:port`.
        server: String,
        /// OpenSSL's words.
        detail: String,
    },
    /// It asks for one of ours.
    #[error(
        "broker `{server}` wants a client certificate that it trusts, and has none of ours: write `kafka.tls.certificate_file` and `kafka.tls.key_file`"
    )]
    NoCertificate {
        /// `host:port`.
        server: String,
    },
    /// It does not take ours.
    #[error(
        "broker `{server}` does not accept our client certificate ({subject}): is it signed by an authority that the broker trusts, and still valid?"
    )]
    OurCertificate {
        /// `host:port`.
        server: String,
        /// Whose.
        subject: String,
    },
    /// Ours is over.
    #[error("our client certificate ({subject}) expired at {when}: renew `kafka.tls.certificate_file`")]
    OursExpired {
        /// Whose.
        subject: String,
        /// As it says itself.
        when: String,
    },
    /// Plaintext there, TLS here.
    #[error("broker `{server}` does not speak TLS at this port: use its TLS port, or leave out `kafka.tls`")]
    NoTls {
        /// `host:port`.
        server: String,
    },
    /// TLS there, plaintext here.
    #[error(
        "broker `{server}` speaks TLS at this port: write `kafka.tls` (`kafka.tls: {{}}` trusts the system's authorities)"
    )]
    WantsTls {
        /// `host:port`.
        server: String,
    },
    /// It wants to know who is there.
    #[error("broker `{server}` wants a user at this port (it offers {mechanisms}): write `kafka.sasl`")]
    WantsUser {
        /// `host:port`.
        server: String,
        /// What it offers.
        mechanisms: String,
    },
    /// It does not want to.
    #[error("broker `{server}` takes no user at this port: use its SASL port, or leave out `kafka.sasl`")]
    NoUser {
        /// `host:port`.
        server: String,
    },
    /// TLS fails.
    #[error("TLS with broker `{server}` fails: {reason}")]
    Tls {
        /// `host:port`.
        server: String,
        /// librdkafka's words.
        reason: String,
    },
    /// The user is not known, or the password is another.
    #[error(
        "broker `{server}` does not take the user name and password ({mechanism}, user `{user}`): check `kafka.sasl.username` and `kafka.sasl.password`"
    )]
    Password {
        /// `host:port`.
        server: String,
        /// By which it was proved.
        mechanism: &'static str,
        /// User name.
        user: String,
    },
    /// It does not have this mechanism.
    #[error(
        "broker `{server}` does not offer {mechanism} at this port, but {offered}: write one of these as `kafka.sasl.mechanism`"
    )]
    Mechanism {
        /// `host:port`.
        server: String,
        /// As configured.
        mechanism: &'static str,
        /// What it offers.
        offered: String,
    },
    /// Not with this token.
    #[error(
        "broker `{server}` does not take the token of the client `{client}`: are its issuer, its audience (by `kafka.sasl.oauth.scope`) and its time what the broker expects?"
    )]
    TokenRefused {
        /// `host:port`.
        server: String,
        /// Whose.
        client: String,
    },
    /// No token was to be had.
    #[error("there is no token for the brokers: {reason}")]
    Token {
        /// Why not.
        reason: String,
    },
}

impl EntryError {
    /// Waiting does not help.
    pub fn fate(&self) -> Fate {
        Fate::Fatal
    }

    /// The key of the pipeline that it is about.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Authority { .. } => "kafka.tls.ca_file",
            Self::Expired { .. } | Self::TooEarly { .. } | Self::Certificate { .. } => "kafka.tls",
            Self::Name { .. } => "kafka.bootstrap_servers",
            Self::NoTls { .. } | Self::WantsTls { .. } | Self::Tls { .. } | Self::NoCertificate { .. } => {
                "kafka.tls"
            }
            Self::OurCertificate { .. } | Self::OursExpired { .. } => "kafka.tls.certificate_file",
            Self::WantsUser { .. } | Self::NoUser { .. } => "kafka.sasl",
            Self::Password { .. }
            | Self::Mechanism { .. }
            | Self::TokenRefused { .. }
            | Self::Token { .. } => "kafka.sasl",
        }
    }
}

/// What a trouble comes of. May ask the broker for its certificate.
pub(super) fn explain(kafka: &Kafka, trouble: Trouble) -> EntryError {
    let first = kafka.bootstrap_servers.split(',').next().unwrap_or_default();
    let Trouble { kind, server, reason } = trouble;
    let server = server.unwrap_or_else(|| first.to_owned());
    let mechanism = kafka.sasl.as_ref().map_or("", Sasl::mechanism);
    match kind {
        Kind::Certificate => {
            let misfit = kafka.tls.as_ref().and_then(|tls| handshake::misfit(&server, tls));
            match misfit {
                Some(Misfit::Authority) => EntryError::Authority { server },
                Some(Misfit::Expired(when)) => EntryError::Expired { server, when },
                Some(Misfit::TooEarly(when)) => EntryError::TooEarly { server, when },
                Some(Misfit::Name(names)) if names.is_empty() => {
                    EntryError::Name { server, names: "none".to_owned() }
                }
                Some(Misfit::Name(names)) => {
                    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                    EntryError::Name { server, names: names.join(", ") }
                }
                Some(Misfit::Other(detail)) => EntryError::Certificate { server, detail },
                None => EntryError::Certificate { server, detail: reason },
            }
        }
        Kind::OurCertificate => {
            let file = kafka.tls.as_ref().and_then(|tls| tls.certificate_file.as_deref());
            match file.map(handshake::our_certificate) {
                None => EntryError::NoCertificate { server },
                Some(Some(ours)) => match ours.expired {
                    Some(when) => EntryError::OursExpired { subject: ours.subject, when },
                    None => EntryError::OurCertificate { server, subject: ours.subject },
                },
                Some(None) => EntryError::OurCertificate { server, subject: "unreadable".to_owned() },
            }
        }
        Kind::NoTls => EntryError::NoTls { server },
        Kind::Tls => EntryError::Tls { server, reason },
        Kind::NoUser => EntryError::NoUser { server },
        Kind::Password => match &kafka.sasl {
            Some(Sasl::OAuth(oauth)) => EntryError::TokenRefused { server, client: oauth.client_id.clone() },
            Some(Sasl::Password { username, .. }) => {
                EntryError::Password { server, mechanism, user: username.clone() }
            }
            None => EntryError::Password { server, mechanism, user: String::new() },
        },
        Kind::Mechanism => EntryError::Mechanism { server, mechanism, offered: offered(&reason).to_owned() },
    }
}
