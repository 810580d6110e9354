//! TLS with certificates from files, which are read again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_rustls::TlsAcceptor;

/// TLS for a [`Server`](crate::Server): a certificate with its key, and the authorities whose
/// certificates clients must show.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    config: watch::Sender<Arc<ServerConfig>>,
}

#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    clients: Option<PathBuf>,
}

impl Tls {
    /// Reads the certificate chain and the private key from files in PEM.
    ///
    /// With `clients`, a file of authorities in PEM, a client without a certificate of one of them
    /// is refused in the handshake.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file.
    pub fn from_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        clients: Option<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files {
            certificate: certificate.into(),
            key: key.into(),
            clients,
        };
        let config = watch::Sender::new(files.read()?);
        Ok(Self { files, config })
    }

    /// With the certificates that are in force when it is called.
    pub(crate) fn acceptor(&self, protocol: &[u8]) -> TlsAcceptor {
        let config = Arc::clone(&self.config.borrow());
        if config.alpn_protocols.iter().any(|one| one == protocol) {
            return TlsAcceptor::from(config);
        }
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Reads the files again whenever one of them changed. New connections use what was read last; a
    /// file that cannot be used is reported, and changes nothing.
    pub(crate) fn reload(&self) -> Reload {
        let (files, config) = (self.files.clone(), self.config.clone());
        Reload(tokio::spawn(async move {
            let mut seen = files.changed_at();
            loop {
                sleep(LOOK_EVERY).await;
                let now = files.changed_at();
                if now == seen {
                    continue;
                }
                match files.read() {
                    Ok(read) => {
                        seen = now;
                        config.send_replace(read);
                        tracing::info!("the TLS certificates were read again");
                    }
                    // Two files cannot change at the same moment: tried again.
                    Err(error) => tracing::error!(%error, "the TLS certificates are unchanged"),
                }
            }
        }))
    }
}

/// The task that reads the files again, until this is dropped.
pub(crate) struct Reload(JoinHandle<()>);

impl Drop for Reload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(not(test))]
const LOOK_EVERY: Duration = Duration::from_secs(30);
#[cfg(test)]
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Files {
    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::of(&self.key, error.into()))?;
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::of(&self.certificate, error.into()))?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| TlsError::of(file, error.into()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| TlsError::of(file, error.into()))?,
                )
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::of(&self.certificate, error.into()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let files = [&self.certificate, &self.key].into_iter();
        let changed = |file: &PathBuf| fs::metadata(file).and_then(|found| found.modified()).ok();
        files.chain(&self.clients).map(changed).collect()
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match read {
        Ok(certificates) => {
            let certificates: Vec<_> = certificates;
            if certificates.is_empty() {
                let error = io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate");
                return Err(TlsError::of(file, error.into()));
            }
            Ok(certificates)
        }
        Err(error) => Err(TlsError::of(file, error.into())),
    }
}

/// A file of TLS cannot be used. The error does not contain what is in the file.
#[derive(Debug, thiserror::Error)]
#[error("{}", file.display())]
pub struct TlsError {
    file: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl TlsError {
    fn of(file: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self {
            file: file.to_owned(),
            source,
        }
    }
}

/// The certificate that a client showed, in DER: an extension of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(pub Arc<[u8]>);
