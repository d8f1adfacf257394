//! Why a broker's certificate is not accepted: the handshake once more, with the same settings and the
//! same OpenSSL as librdkafka's, and a look at what does not fit.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509NameRef, X509Ref, X509StoreContextRef};

use crate::config::settings::Tls;

const PATIENCE: Duration = Duration::from_secs(3);

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Misfit {
    /// No authority that we trust has signed it.
    Authority,
    /// It is valid no more; since when.
    Expired(String),
    /// It is not valid yet; from when.
    TooEarly(String),
    /// It is for these names, and not for the one by which it was reached.
    Name(Vec<String>),
    /// Something else, in OpenSSL's words.
    Other(String),
}

/// Asks `host:port`. `None`: it does not answer now, or nothing is wrong any more.
pub(super) fn misfit(server: &str, tls: &Tls) -> Option<Misfit> {
    let (host, _) = server.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let address = server.to_socket_addrs().ok()?.next()?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let found = Arc::new(Mutex::new(None));
    let connector = connector(tls, found.clone()).ok()?;
    let configured = connector.configure().ok()?.verify_hostname(tls.verify_hostname);
    let shaken = configured.connect(host, stream);
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    if shaken.is_ok() { None } else { found }
}

fn connector(tls: &Tls, found: Arc<Mutex<Option<Misfit>>>) -> Result<SslConnector, ErrorStack> {
    // Trusts the system's authorities where it is told of no others.
    let mut builder = SslConnector::builder(SslMethod::tls())?;
    if let Some(file) = &tls.ca_file {
        builder.set_ca_file(file)?;
    }
    builder.set_verify_callback(SslVerifyMode::PEER, move |is_good, context| {
        if !is_good {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.get_or_insert_with(|| judge(context));
        }
        is_good
    });
    Ok(builder.build())
}

fn judge(context: &X509StoreContextRef) -> Misfit {
    let error = context.error();
    let certificate = context.current_cert();
    let told = |time: fn(&X509Ref) -> String| certificate.map_or_else(|| "an unknown time".to_owned(), time);
    match error.as_raw() {
        // X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, …_LOCALLY, DEPTH_ZERO_SELF_SIGNED_CERT,
        // SELF_SIGNED_CERT_IN_CHAIN, UNABLE_TO_VERIFY_LEAF_SIGNATURE, CERT_SIGNATURE_FAILURE.
        2 | 20 | 18 | 19 | 21 | 7 => Misfit::Authority,
        10 => Misfit::Expired(told(|c| c.not_after().to_string())),
        9 => Misfit::TooEarly(told(|c| c.not_before().to_string())),
        // X509_V_ERR_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH.
        62 | 64 => Misfit::Name(certificate.map(names).unwrap_or_default()),
        _ => Misfit::Other(error.error_string().to_owned()),
    }
}

/// Names and addresses that a certificate is for.
fn names(certificate: &X509Ref) -> Vec<String> {
    let alternatives = certificate.subject_alt_names().into_iter().flatten();
    let named = |name: &openssl::x509::GeneralName| match (name.dnsname(), name.ipaddress()) {
        (Some(name), _) => Some(name.to_owned()),
        (_, Some([a, b, c, d])) => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
        (_, Some(bytes)) => <[u8; 16]>::try_from(bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string()),
        _ => None,
    };
    alternatives.filter_map(|name| named(&name)).collect()
}

/// Whom the brokers see behind a client certificate (as RFC 2253 writes it, last part first), and
/// whether its time is over.
pub(super) struct OurCertificate {
    pub(super) subject: String,
    pub(super) expired: Option<String>,
}

/// Of the first certificate in a PEM file.
pub(super) fn our_certificate(file: &Path) -> Option<OurCertificate> {
    let certificate = X509::from_pem(&std::fs::read(file).ok()?).ok()?;
    let now = Asn1Time::days_from_now(0).ok()?;
    let is_over = certificate.not_after() < &*now;
    let expired = is_over.then(|| certificate.not_after().to_string());
    Some(OurCertificate { subject: distinguished(certificate.subject_name()), expired })
}

fn distinguished(name: &X509NameRef) -> String {
    let parts = name.entries().map(|entry| {
        let kind = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().unwrap_or_default();
        format!("{kind}={value}")
    });
    let mut parts: Vec<String> = parts.collect();
    parts.reverse();
    parts.join(",")
}
