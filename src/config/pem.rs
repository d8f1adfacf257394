//! Are the files of `kafka.tls` what they should be? Looked at when a pipeline is read: the client would
//! say it in OpenSSL's words, and only when it connects.

use std::path::Path;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::problem::Problem;
use super::settings::Tls;

/// Files that cannot be read are not spoken of: that was said before.
pub(super) fn judge(tls: &Tls) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(file) = &tls.ca_file {
        certificates("kafka.tls.ca_file", file, &mut found);
    }
    let certificate = tls.certificate_file.as_ref();
    let certificate =
        certificate.and_then(|file| certificates("kafka.tls.certificate_file", file, &mut found));
    let key = tls.key_file.as_ref().and_then(|file| key(file, tls, &mut found));
    if let (Some(certificate), Some(key)) = (certificate, key)
        && certificate.public_key().is_ok_and(|public| !public.public_eq(&key))
    {
        let problem = Problem::error("kafka.tls.key_file", "is not the key of `kafka.tls.certificate_file`");
        found.push(problem.also(&["kafka.tls.certificate_file", "kafka.tls.key_password"]));
    }
    found
}

/// The first one in it.
fn certificates(at: &str, file: &Path, found: &mut Vec<Problem>) -> Option<X509> {
    // librdkafka takes a folder of authorities, too.
    let text = std::fs::read(file).ok()?;
    let first = X509::stack_from_pem(&text).ok().and_then(|all| all.into_iter().next());
    if first.is_none() {
        found.push(Problem::error(at, format!("{} holds no certificate in PEM", file.display())));
    }
    first
}

fn key(file: &Path, tls: &Tls, found: &mut Vec<Problem>) -> Option<PKey<Private>> {
    let text = std::fs::read(file).ok()?;
    // Without a password of ours OpenSSL would ask at the terminal.
    let password = tls.key_password.as_ref().map_or("", |password| password.reveal());
    let key = PKey::private_key_from_pem_passphrase(&text, password.as_bytes());
    if key.is_err() {
        let is_locked = String::from_utf8_lossy(&text).contains("ENCRYPTED");
        let (at, what) = match (is_locked, &tls.key_password) {
            (true, Some(_)) => ("kafka.tls.key_password", "is not the password of `kafka.tls.key_file`"),
            (true, None) => ("kafka.tls.key_password", "is missing: `kafka.tls.key_file` has a password"),
            (false, _) => ("kafka.tls.key_file", "holds no private key in PEM"),
        };
        found.push(Problem::error(at, what).also(&["kafka.tls.key_file", "kafka.tls.key_password"]));
    }
    key.ok()
}
