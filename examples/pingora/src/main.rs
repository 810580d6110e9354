//! Starts the proxy: `keyfob-pingora LISTEN BACKEND`, on the feed that the environment names.

use std::{env, error::Error};

use keyfob_feed::{SignerKey, Trust};
use keyfob_gateway::Authorizer;
use keyfob_pingora::KeyfobProxy;
use keyfob_replica::{Follower, HttpSource, Replica};
use pingora_core::server::Server;
use pingora_proxy::http_proxy_service;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(listen), Some(backend)) = (arguments.next(), arguments.next()) else {
        return Err("usage: keyfob-pingora LISTEN BACKEND".into());
    };
    // The replica has a runtime of its own: those of Pingora exist only while it serves.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let source = source()?;
    let format = runtime.block_on(source.key_format())?;
    let replica: Replica = runtime.block_on(Follower::from_source(source, format).start())?;
    let pauses = replica.pauses();
    let authorizer = Authorizer::builder(replica.verifier(), format)
        .pauses(move || pauses.current())
        .build();

    let mut server = Server::new(None)?;
    server.bootstrap();
    let proxy = KeyfobProxy::new(authorizer, backend.parse()?);
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever()
}

fn source() -> Result<HttpSource, Box<dyn Error>> {
    let wanted = |name: &str| env::var(name).map_err(|_| format!("{name} must be set"));
    let signers = wanted("KEYFOB_SIGNERS")?;
    let signers: Result<Vec<SignerKey>, _> = signers.split(',').map(str::parse).collect();
    let source = HttpSource::builder(Trust::pinned(signers?)?)
        .upstream(wanted("KEYFOB_UPSTREAM")?.parse()?)
        .key_file(wanted("KEYFOB_CREDENTIAL_FILE")?)
        .name("pingora")
        .build()?;
    Ok(source)
}
