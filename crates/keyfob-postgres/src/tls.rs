//! TLS: the authorities that a server's certificate must come from.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{ConnectError, Options};

/// TLS as the options say. The server's certificate and name are always verified.
pub(crate) fn connector(
    mode: SslMode,
    options: &Options,
) -> Result<MakeRustlsConnect, ConnectError> {
    let roots = match &options.root_certificates {
        Some(file) => of_file(file)?,
        None if mode == SslMode::Disable => RootCertStore::empty(),
        None => of_system(mode)?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Certificates(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn of_file(file: &Path) -> Result<RootCertStore, ConnectError> {
    let failed = |error: rustls::pki_types::pem::Error| ConnectError::Certificates(error.into());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(failed)? {
        roots
            .add(certificate.map_err(failed)?)
            .map_err(|error| ConnectError::Certificates(error.into()))?;
    }
    if roots.is_empty() {
        let error = "the file holds no certificate";
        return Err(ConnectError::Certificates(error.into()));
    }
    Ok(roots)
}

/// The authorities of the system. A machine may have none if TLS is not required: then no
/// certificate is trusted.
fn of_system(mode: SslMode) -> Result<RootCertStore, ConnectError> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match found.errors.pop() {
        Some(error) if roots.is_empty() && mode == SslMode::Require => {
            Err(ConnectError::Certificates(error.into()))
        }
        _ => Ok(roots),
    }
}
