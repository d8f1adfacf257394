//! Authorities and certificates, made anew for each run.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// PEM files in one directory.
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// `ca.pem`, which signed everything but `stranger.*`; `stranger-ca.pem`, which nobody trusts. Of a
    /// certificate `NAME`: `NAME.crt`, `NAME.key`, and both in `NAME.pem`.
    pub fn make(dir: &Path) -> Self {
        let ours = authority("the tests' authority");
        let stranger = authority("another authority");
        let all = Self { dir: dir.to_owned() };
        all.write("ca.pem", &ours.pem());
        all.write("stranger-ca.pem", &stranger.pem());
        all.sign("broker", &ours, &["127.0.0.1", "localhost"], "broker", false);
        all.sign("expired", &ours, &["127.0.0.1"], "broker", true);
        all.sign("elsewhere", &ours, &["broker.elsewhere.test"], "broker", false);
        all.sign("worker", &ours, &[], "worker", false);
        all.sign("past-worker", &ours, &[], "worker", true);
        all.sign("stranger", &stranger, &[], "worker", false);
        all
    }

    /// The path of a file of these.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    fn sign(
        &self,
        file: &str,
        by: &CertifiedIssuer<'_, KeyPair>,
        names: &[&str],
        subject: &str,
        expired: bool,
    ) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, subject);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, by).unwrap();
        self.write(&format!("{file}.crt"), &certificate.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
        self.write(&format!("{file}.pem"), &(key.serialize_pem() + &certificate.pem()));
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).unwrap();
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}
