//! Upgrades of the stream, and proxies that know none.

use std::{net::SocketAddr, pin::pin, sync::atomic::Ordering::SeqCst, time::Duration};

use keyfob_listen::Tls;
use keyfob_replica::HttpSource;
use keyfob_testkit::certificates::Authority;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{Gateway, following::until, server::Fixture};

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_upgraded_also_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    Authority::new(folder.path(), "ca").issue(folder.path(), "server");
    let file = |name: &str| folder.path().join(name);
    let tls = Tls::from_files(file("server.pem"), file("server.key"), None).unwrap();
    for tls in [None, Some(tls)] {
        let fixture = Fixture::over(tls).await;
        let (_, key) = fixture.replica_key("operators").await;
        let builder = fixture.builder(&key).root_certificates(file("ca.pem"));
        let gateway = Gateway::start(builder).await;
        until(|| gateway.source.status().is_connected).await;
        let created = fixture.create("laptop").await;
        created.until(&gateway.replica.verifier(), None).await;
        assert_eq!(fixture.upgrades.load(SeqCst), 1);
        assert_eq!(gateway.source.status().refused.total(), 0);
    }
}

/// What a proxy does with the offer of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// It does not pass it on, as most do.
    Dropped,
    /// It refuses the request, as Envoy does.
    Refused,
    /// It accepts it, and passes on nothing.
    Swallowed,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_knows_no_upgrade_passes_the_stream() {
    for offer in [Offer::Dropped, Offer::Refused, Offer::Swallowed] {
        let fixture = Fixture::new().await;
        let (_, key) = fixture.replica_key("operators").await;
        let server = fixture.address.strip_prefix("http://").unwrap();
        let (address, proxy) = proxy(server.parse().unwrap(), offer).await;
        let builder = HttpSource::builder(fixture.trust.clone())
            .upstream(format!("http://{address}").parse().unwrap())
            .key(&key)
            .silence(Duration::from_millis(1_500));
        let gateway = Gateway::start(builder).await;
        let created = fixture.create("laptop").await;
        created.until(&gateway.replica.verifier(), None).await;
        assert!(gateway.source.status().is_connected, "{offer:?}");
        assert_eq!(fixture.upgrades.load(SeqCst), 0, "{offer:?}");
        proxy.abort();
    }
}

async fn proxy(server: SocketAddr, offer: Offer) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = TcpStream::connect(server).await.unwrap();
                let _ = pass(client, server, offer).await;
            });
        }
    });
    (address, accepting)
}

/// Passes the requests of a connection, whose bodies have no line like a field, and their answers.
async fn pass(client: TcpStream, server: TcpStream, offer: Offer) -> std::io::Result<()> {
    let (requests, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = server.into_split();
    let mut requests = BufReader::new(requests);
    let mut line = Vec::new();
    {
        let mut copying = pin!(copy(&mut answers, &mut to_client));
        loop {
            line.clear();
            tokio::select! {
                read = requests.read_until(b'\n', &mut line) => if read? == 0 {
                    return Ok(());
                },
                _ = &mut copying => return Ok(()),
            }
            let field = line.to_ascii_lowercase();
            let is_offer = field.starts_with(b"upgrade:");
            if is_offer && offer != Offer::Dropped {
                break;
            }
            if !is_offer && !field.starts_with(b"connection:") {
                to_server.write_all(&line).await?;
            }
        }
    }
    if offer == Offer::Refused {
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        return to_client.write_all(answer).await;
    }
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
        Upgrade: keyfob-feed/1\r\n\r\n";
    to_client.write_all(answer).await?;
    while requests.read_until(b'\n', &mut line).await? > 0 {}
    Ok(())
}
