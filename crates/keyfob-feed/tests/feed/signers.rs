//! Rotation of signers.

use std::sync::Arc;

use keyfob::{KeyStore, Scopes, audit::TrailHead, block_on, key::SystemRandom};
use keyfob_feed::{FeedKeys, Filter, Join, Publisher, Refused, Trust, TrustError};

use crate::world::{Reader, START, World, owner, read_to_end, small, snapshot, tenant};

/// The line that a process of the authority with these keys sends to a reader.
fn next_line(keys: FeedKeys, world: &World, reader: &Reader) -> Vec<u8> {
    let mut publisher = Publisher::new(Arc::new(keys), TrailHead::START, small());
    read_to_end(&mut publisher, &*world.store, 10, START);
    assert!(publisher.open(&Filter::All));
    loop {
        match publisher.join(&Filter::All, reader.position(), true) {
            Join::CatchUp(line, _) => return line.as_bytes().to_vec(),
            Join::Ask(revision) => {
                let changes = block_on(world.store.changes(revision, 1)).unwrap();
                publisher.learn(revision, changes.after_hash.unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
}

fn copy(keys: &FeedKeys) -> FeedKeys {
    FeedKeys::parse(&keys.to_text()).unwrap()
}

#[test]
fn a_signer_is_replaced_without_touching_readers_and_the_retired_one_is_refused() {
    let mut keys = FeedKeys::generate(&SystemRandom).unwrap();
    let mut world = World::new();
    world.create(tenant(0), owner(0), Scopes::All, START);
    let pinned = Trust::pinned(keys.signers()).unwrap();
    let mut reader = Reader::new(pinned.clone(), Filter::All);
    let publisher = Publisher::new(Arc::new(copy(&keys)), TrailHead::START, small());
    let made = snapshot(&keys, &publisher, &*world.store, &Filter::All, START);
    reader.load(&made, START);
    let old = copy(&keys);

    // Announced: the old one signs, and tells of the new document.
    keys.announce(&SystemRandom).unwrap();
    let announced = keys.signers_document(START);
    world.create(tenant(0), owner(0), Scopes::All, START);
    let line = next_line(copy(&keys), &world, &reader);
    let accepted = reader.receiver.receive(&line, START).unwrap();
    assert_eq!(accepted.signers_version, 2);
    assert!(accepted.signers_version > reader.receiver.trust().version());

    // Switched: a reader that has not read the document refuses the new one, and reads it then.
    keys.switch();
    world.create(tenant(0), owner(0), Scopes::All, START);
    let line = next_line(copy(&keys), &world, &reader);
    let receiver = &mut reader.receiver;
    assert_eq!(
        receiver.receive(&line, START).unwrap_err(),
        Refused::UnknownSigner
    );
    let taken: Vec<_> = announced
        .iter()
        .map(|line| receiver.update_trust(line.as_bytes(), START))
        .collect();
    assert_eq!(taken, [Ok(true), Ok(false)]);
    receiver.receive(&line, START).unwrap();

    // Retired: the old one is refused, and its document cannot bring it back.
    keys.retire();
    let retired = keys.signers_document(START);
    assert_eq!(retired.len(), 1);
    assert_eq!(
        receiver.update_trust(retired[0].as_bytes(), START),
        Ok(true)
    );
    assert_eq!(receiver.trust().version(), 4);
    world.create(tenant(0), owner(0), Scopes::All, START);
    let by_old = next_line(old, &world, &reader);
    let receiver = &mut reader.receiver;
    assert_eq!(
        receiver.receive(&by_old, START).unwrap_err(),
        Refused::UnknownSigner
    );
    for line in &announced {
        let update = receiver.update_trust(line.as_bytes(), START);
        assert!(!matches!(update, Ok(true)), "{update:?}");
    }
    let line = next_line(keys, &world, &reader);
    reader.receiver.receive(&line, START).unwrap();
}

#[test]
fn only_a_trusted_signer_can_replace_the_signers() {
    let mut keys = FeedKeys::generate(&SystemRandom).unwrap();
    let mut trust = Trust::pinned(keys.signers()).unwrap();
    let others = FeedKeys::generate(&SystemRandom).unwrap();
    for line in others.signers_document(START) {
        assert!(matches!(
            trust.update(line.as_bytes(), START),
            Err(TrustError::Line(_))
        ));
    }
    keys.announce(&SystemRandom).unwrap();
    let line = &keys.signers_document(START)[0];
    for at in 0..line.as_bytes().len() {
        let mut altered = line.as_bytes().to_vec();
        altered[at] ^= 1;
        assert!(trust.update(&altered, START).is_err(), "byte {at}");
    }
    assert_eq!(trust.version(), 0);
    assert_eq!(trust.update(line.as_bytes(), START), Ok(true));
    // A frame is no signers document, and the other way round.
    let mut world = World::new();
    world.create(tenant(0), owner(0), Scopes::All, START);
    let mut reader = Reader::new(trust, Filter::All);
    let error = reader.receiver.receive(line.as_bytes(), START).unwrap_err();
    assert_eq!(error, Refused::Malformed);
}

#[test]
fn a_reader_that_starts_takes_no_old_signers_document() {
    let mut keys = FeedKeys::generate(&SystemRandom).unwrap();
    let stolen = keys.signers().next().unwrap();
    keys.announce(&SystemRandom).unwrap();
    keys.switch();
    // Recorded by somebody in between, while the stolen signer was still trusted.
    let recorded = keys.signers_document(START);
    keys.retire();
    let pinned = Trust::pinned(keys.signers()).unwrap();
    let retired_at = START + 1_000;
    for now in [retired_at + 30_000, retired_at + 3_600_000] {
        let mut trust = pinned.clone();
        let taken = trust.update(recorded[0].as_bytes(), now);
        assert_eq!(taken, Err(TrustError::Old));
        assert!(trust.keys().all(|key| *key != stolen));
        let current = keys.signers_document(now - 29_000);
        assert_eq!(trust.update(current[0].as_bytes(), now), Ok(true));
    }
    let mut trust = pinned.clone();
    let ahead = keys.signers_document(START + 2_001);
    let taken = trust.update(ahead[0].as_bytes(), START);
    assert_eq!(taken, Err(TrustError::Future));
    // What a reader accepted, it kept.
    let mut trust = pinned;
    assert_eq!(trust.restore(recorded[0].as_bytes()), Ok(true));
}
