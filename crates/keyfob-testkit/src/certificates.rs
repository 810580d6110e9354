//! Certificates for tests of TLS, as PEM files in a folder.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Creates one, and writes its certificate to `NAME.pem` in a folder.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.self_signed(&key).expect("a key can sign");
        write(folder, &format!("{name}.pem"), &certificate.pem());
        Self(Issuer::new(params, key))
    }

    /// Writes a certificate for `localhost` and 127.0.0.1 to `NAME.pem`, and its key to `NAME.key`.
    pub fn issue(&self, folder: &Path, name: &str) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let params = CertificateParams::new(names).expect("these are names");
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params
            .signed_by(&key, &self.0)
            .expect("the authority signs");
        write(folder, &format!("{name}.pem"), &certificate.pem());
        write(folder, &format!("{name}.key"), &key.serialize_pem());
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("the folder can be written");
}
