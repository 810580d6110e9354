//! TLS: whom the client trusts, and how it shows who it is.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::HttpSourceError;

/// How a client of a feed uses TLS: whom it trusts, and how it shows who it is. The server's certificate and
/// name are always verified.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    root_certificates: Option<PathBuf>,
    /// The file of the certificates, and that of the private key.
    client_certificate: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// Trusts the certificates in this file (PEM), and not those of the system.
    pub fn set_root_certificates(&mut self, file: impl Into<PathBuf>) {
        self.root_certificates = Some(file.into());
    }

    /// Shows this certificate to servers that ask for one. Both files are PEM.
    pub fn set_client_certificate(
        &mut self,
        certificates: impl Into<PathBuf>,
        private_key: impl Into<PathBuf>,
    ) {
        self.client_certificate = Some((certificates.into(), private_key.into()));
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`HttpSourceError::RootCertificates`] and [`HttpSourceError::ClientCertificate`] for a file that
    /// cannot be used, [`HttpSourceError::Tls`] if they do not fit together.
    pub fn config(&self) -> Result<Arc<ClientConfig>, HttpSourceError> {
        let failed = |error: rustls::Error| HttpSourceError::Tls(error.into());
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(self.roots()?);
        let config = match &self.client_certificate {
            None => builder.with_no_client_auth(),
            Some((certificates, key)) => {
                let invalid = |error: rustls::pki_types::pem::Error| {
                    HttpSourceError::ClientCertificate(error.into())
                };
                let certificates = CertificateDer::pem_file_iter(certificates)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(invalid)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(invalid)?;
                builder
                    .with_client_auth_cert(certificates, key)
                    .map_err(|error| HttpSourceError::ClientCertificate(error.into()))?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, HttpSourceError> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.root_certificates else {
            let mut found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            return match found.errors.pop() {
                Some(error) if roots.is_empty() => {
                    Err(HttpSourceError::RootCertificates(error.into()))
                }
                _ => Ok(roots),
            };
        };
        let invalid =
            |error: rustls::pki_types::pem::Error| HttpSourceError::RootCertificates(error.into());
        for certificate in CertificateDer::pem_file_iter(file).map_err(invalid)? {
            roots
                .add(certificate.map_err(invalid)?)
                .map_err(|error| HttpSourceError::RootCertificates(error.into()))?;
        }
        if roots.is_empty() {
            let error = "the file has no certificate";
            return Err(HttpSourceError::RootCertificates(error.into()));
        }
        Ok(roots)
    }
}
