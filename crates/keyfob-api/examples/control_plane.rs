//! A control plane on the loopback interface, over a store in memory.
//!
//! ```text
//! cargo run -p keyfob-api --example control_plane -- [PORT]
//! ```
//!
//! It speaks plain HTTP. Put a TLS proxy in front of it: keys must not cross a network in the clear.

use std::{
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use keyfob::{Context, Expiry, IssuedKey, Keyring, MemoryStore, Ttl, name::TeamId};
use keyfob_api::{ControlPlane, Right, first_credential};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = match std::env::args().nth(1) {
        Some(port) => port.parse()?,
        None => 0,
    };
    let keyring = Arc::new(Keyring::open(MemoryStore::new(), "dof").await?);
    let first = first_credential(
        &keyring,
        &Context::system(keyfob::now()),
        TeamId::new("operators")?,
        "user:olga".parse()?,
        Right::Operator,
        Expiry::In(Ttl::days(1)?),
    )
    .await?
    .secret;

    let router = ControlPlane::new(keyring).into_router();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    print_guide(listener.local_addr()?, &first)?;
    // The secret is wiped when it is dropped.
    drop(first);

    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await?;
    Ok(())
}

fn print_guide(address: SocketAddr, first: &IssuedKey) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "The control plane listens on http://{address}; ctrl-c stops it.\n\
         Its interface is documented at http://{address}/docs/\n\n\
         # The first credential, shown only now. It works for a day. Paste it:\n\
         OPERATOR='{}'\n\
         PLANE='http://{address}'\n\
         {GUIDE}",
        first.expose()
    )?;
    out.flush()
}

const GUIDE: &str = r#"
ask() { curl -s -H "Authorization: Bearer $1" -H 'content-type: application/json' "${@:2}"; echo; }

# An administrator for the team acme; the answer holds her key, once:
ADA=$(ask "$OPERATOR" -d '{"name": "ada", "owner": "user:ada", "scopes": ["team:admin"]}' \
    "$PLANE/v2/functions/namespaces/control:acme/keys" |
    sed -E 's/.*"id":"(dof_[^"]*)".*"secret":"([^"]*)".*/\1:\2/')
ask "$ADA" "$PLANE/v1/caller"

# She creates a namespace, and a key in it for Bob:
ask "$ADA" -d '{"label": "orders", "region": "local"}' "$PLANE/v2/functions/namespaces"
NAMESPACE=$(ask "$ADA" "$PLANE/v2/functions/namespaces" | grep -o 'fn-[0-9a-f-]*' | head -1)
ask "$ADA" -H 'Idempotency-Key: first' -d '{"name": "laptop", "expires_in": "90d", "owner": "user:bob"}' \
    "$PLANE/v2/functions/namespaces/$NAMESPACE/keys"
ask "$ADA" "$PLANE/v2/functions/namespaces/$NAMESPACE/keys"

# He leaves: what will stop working, and his removal.
ask "$ADA" "$PLANE/v1/teams/acme/members/bob/keys"
ask "$ADA" -d '{"reason": "left the team"}' "$PLANE/v1/teams/acme/members/bob/remove"

# The audit trail, and the proof that it is intact:
ask "$ADA" "$PLANE/v1/teams/acme/audit"
ask "$OPERATOR" "$PLANE/v1/audit/verification""#;
