//! TLS with certificates on both sides, and Unix sockets.
#![cfg(unix)]

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::serve::Listener;
use keyfob_replica::{HttpSource, HttpSourceBuilder};
use keyfob_testkit::certificates;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};

use crate::{
    Gateway,
    authority::{Authority, KEY},
};

/// Connections over TLS from clients that show a certificate.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (socket, address) = self.listener.accept().await.unwrap();
            if let Ok(socket) = self.acceptor.accept(socket).await {
                return (socket, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn roots(file: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

#[tokio::test]
async fn only_a_certified_server_is_spoken_to_and_a_certificate_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    for of in ["server", "client", "stranger"] {
        let authority = certificates::Authority::new(folder.path(), &format!("{of}-ca"));
        authority.issue(folder.path(), of);
    }
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let provider = Arc::new(default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(&file("client-ca.pem"))),
        Arc::clone(&provider),
    );
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let authority = Authority::new().await;
    let created = authority.create("alice").await;
    let server = authority.serve_on(Tls { listener, acceptor }, address);
    let builder = || -> HttpSourceBuilder {
        let upstream = server.address.parse().unwrap();
        HttpSource::builder(authority.trust())
            .upstream(upstream)
            .key(KEY)
    };
    let good = builder()
        .root_certificates(file("server-ca.pem"))
        .client_certificate(file("client.pem"), file("client.key"));
    let gateway = Gateway::start(good).await;
    assert_eq!(created.refused(&gateway.replica.verifier()), None);
    for refused in [
        builder()
            .root_certificates(file("stranger-ca.pem"))
            .client_certificate(file("client.pem"), file("client.key")),
        builder()
            .root_certificates(file("server-ca.pem"))
            .client_certificate(file("stranger.pem"), file("stranger.key")),
        builder().root_certificates(file("server-ca.pem")),
        builder(),
    ] {
        assert!(Gateway::try_start(refused).await.is_err());
    }
}

#[tokio::test]
async fn a_unix_socket_is_an_upstream_and_a_key_is_read_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("feed.sock");
    let authority = Authority::new().await;
    let created = authority.create("alice").await;
    let listener = UnixListener::bind(&socket).unwrap();
    let server = authority.serve_on(listener, format!("unix:{}", socket.display()));
    let file = folder.path().join("key");
    let builder = || {
        HttpSource::builder(authority.trust())
            .upstream(server.address.parse().unwrap())
            .key_file(&file)
    };
    assert!(
        Gateway::try_start(builder()).await.is_err(),
        "there is no file"
    );
    fs::write(&file, "not the key\n").unwrap();
    assert!(Gateway::try_start(builder()).await.is_err());
    fs::write(&file, format!("{KEY}\n")).unwrap();
    let gateway = Gateway::start(builder()).await;
    assert_eq!(created.refused(&gateway.replica.verifier()), None);
}
