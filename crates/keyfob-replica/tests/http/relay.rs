//! What a relay asks its upstream for.

use std::sync::Arc;

use keyfob_feed::{Filter, SignedLine, server::Upstream as _};
use keyfob_replica::HttpUpstream;

use crate::{following::until, server::Fixture};

#[tokio::test]
async fn a_relay_fetches_a_frame_of_any_length_that_the_authority_signs() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.replica_key("operators").await;
    let position = fixture.authority.hub().position().unwrap();
    for number in 0..600 {
        fixture.create(&format!("key-{number}")).await;
    }
    let created = fixture.keyring.index().as_of();
    let hub = fixture.authority.hub();
    until(|| hub.position().unwrap().revision >= created).await;
    let upstream = HttpUpstream::new(Arc::new(fixture.builder(&key).build().unwrap()));
    let frame = upstream.frame(&Filter::All, position).await.unwrap();
    let bytes = frame.as_bytes().len();
    assert!(
        bytes > 100 << 10 && bytes <= SignedLine::BYTES_MAX,
        "{bytes}"
    );
    assert!(frame.as_bytes().ends_with(b"]}}"), "it is whole");
}
