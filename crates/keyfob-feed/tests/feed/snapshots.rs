//! Snapshots: what is read is what was written, or nothing.

use std::{io::Cursor, sync::Arc};

use keyfob::{KeyStore, Scopes, audit::ChainHash, audit::TrailHead, block_on, key::SystemRandom};
use keyfob_feed::{
    FeedKeys, Filter, Publisher, Receiver, Refused, Snapshot, SnapshotError, SnapshotReader,
    SnapshotWriter, Trust,
};

use crate::world::{
    Reader, START, World, decision, filter, format, owner, read_to_end, small, snapshot, tenant,
};

fn made(keys: &Arc<FeedKeys>, world: &World, filter: &Filter) -> Snapshot {
    let mut publisher = Publisher::new(Arc::clone(keys), TrailHead::START, small());
    read_to_end(&mut publisher, &*world.store, 10, START);
    snapshot(keys, &publisher, &*world.store, filter, START)
}

fn world(keys: u8) -> World {
    let mut world = World::new();
    for n in 0..keys {
        world.create(tenant(n), owner(n), Scopes::All, START);
    }
    world
}

#[test]
fn a_snapshot_of_any_filter_round_trips() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    for count in [0, 1, 60] {
        let world = world(count);
        let followed = world.followed(START);
        for n in 0..5 {
            let trust = Trust::pinned(keys.signers()).unwrap();
            let mut reader = Reader::new(trust, filter(n));
            let manifest = reader.load(&made(&keys, &world, &filter(n)), START);
            assert_eq!(manifest.position().revision, world.head().revision);
            assert!(reader.index.is_ready());
            for (tenant, text) in world.credentials() {
                if filter(n).covers(&Filter::namespaces([tenant.clone()]).unwrap()) {
                    let got = decision(&reader.verifier(), tenant, text, START);
                    assert_eq!(got, decision(&followed, tenant, text, START));
                }
            }
        }
    }
}

#[test]
fn a_damaged_object_is_refused_before_it_is_decompressed() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let snapshot = made(&keys, &world(20), &Filter::All);
    let open = |object: &[u8]| {
        SnapshotReader::open(
            &snapshot.manifest,
            &Filter::All,
            Cursor::new(object.to_vec()),
        )
    };
    assert!(open(&snapshot.object).is_ok());
    let mut objects = vec![
        Vec::new(),
        snapshot.object[..snapshot.object.len() - 1].to_vec(),
        [&snapshot.object[..], b"x"].concat(),
    ];
    for at in 0..snapshot.object.len() {
        let mut altered = snapshot.object.to_vec();
        altered[at] ^= 0x10;
        objects.push(altered);
    }
    for object in objects {
        assert!(matches!(open(&object), Err(SnapshotError::Damaged)));
    }
}

#[test]
fn a_manifest_is_refused_if_altered_of_another_filter_older_or_of_a_time_to_come() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let snapshot = made(&keys, &world(3), &Filter::All);
    let line = snapshot.line.as_bytes();
    let trust = || Trust::pinned(keys.signers()).unwrap();
    let mut receiver = Receiver::new(trust(), Filter::All);
    for at in 0..line.len() {
        let mut altered = line.to_vec();
        altered[at] ^= 2;
        assert!(receiver.manifest(&altered, START).is_err(), "byte {at}");
    }
    assert_eq!(receiver.manifest(line, START - 2_001), Err(Refused::Future));
    assert!(receiver.manifest(line, START - 2_000).is_ok());
    let mut other = Receiver::new(trust(), filter(1));
    assert_eq!(other.manifest(line, START), Err(Refused::OtherFilter));
    let manifest = receiver.manifest(line, START).unwrap();
    receiver.loaded(&manifest, START);
    // A later state was accepted since: the old snapshot is not loaded again.
    let mut world = world(3);
    world.create(tenant(0), owner(0), Scopes::All, START);
    let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
    read_to_end(&mut publisher, &*world.store, 10, START + 10_000);
    let later = crate::world::snapshot(
        &keys,
        &publisher,
        &*world.store,
        &Filter::All,
        START + 10_000,
    );
    let manifest = receiver
        .manifest(later.line.as_bytes(), START + 10_000)
        .unwrap();
    receiver.loaded(&manifest, START + 10_000);
    assert_eq!(receiver.manifest(line, START + 10_000), Err(Refused::Older));
}

#[test]
fn content_that_differs_from_its_manifest_is_refused() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let world = world(8);
    let honest = made(&keys, &world, &Filter::All);
    // Manifests that a faulty authority might sign: what they say of the same object is wrong.
    for (member, wrong) in [
        ("entries", honest.manifest.entries() - 1),
        ("entries", honest.manifest.entries() + 1),
        ("content_bytes", honest.manifest.content_bytes() - 1),
        ("content_bytes", honest.manifest.content_bytes() + 1),
        ("content_bytes", 10),
    ] {
        let mut json = serde_json::to_value(&honest.manifest).unwrap();
        json[member] = wrong.into();
        let manifest = serde_json::from_value(json).unwrap();
        let object = Cursor::new(honest.object.clone());
        let mut pages = SnapshotReader::open(&manifest, &Filter::All, object).unwrap();
        let read = loop {
            match pages.next_page() {
                Ok(Some(_)) => {}
                other => break other.map(drop),
            }
        };
        assert!(
            matches!(read, Err(SnapshotError::Content)),
            "{member} {wrong}: {read:?}"
        );
    }
    let object = Cursor::new(honest.object.clone());
    let other = SnapshotReader::open(&honest.manifest, &filter(2), object);
    assert!(matches!(other, Err(SnapshotError::Content)));
}

#[test]
fn the_size_of_an_object_and_of_its_decompression_is_bounded() {
    let world = world(40);
    let changes = block_on(world.store.changes(TrailHead::START.revision, 100)).unwrap();
    let entries: Vec<_> = changes.entries.iter().map(Into::into).collect();
    let mut writer = SnapshotWriter::new(Filter::All, 1_000).unwrap();
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let publisher = Publisher::new(Arc::clone(&keys), world.head(), small());
    let written = writer
        .write(&entries)
        .and_then(|()| writer.finish(publisher.position(), START, format(), &keys));
    assert!(matches!(written, Err(SnapshotError::TooLarge)));

    // 1 GiB of zeros in some kilobytes: the first line is longer than any entry may be.
    let zeros = std::io::Read::take(std::io::repeat(b'0'), 1 << 30);
    let bomb = zstd::stream::encode_all(std::io::BufReader::new(zeros), 3).unwrap();
    let honest = made(&keys, &world, &Filter::All);
    let mut json = serde_json::to_value(&honest.manifest).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &bomb);
    let name = digest.as_ref().try_into().map(ChainHash::from_bytes);
    json["object"] = name.unwrap().to_string().into();
    json["bytes"] = bomb.len().into();
    json["content_bytes"] = (1u64 << 30).into();
    let manifest = serde_json::from_value(json).unwrap();
    let mut pages = SnapshotReader::open(&manifest, &Filter::All, Cursor::new(bomb)).unwrap();
    let started = std::time::Instant::now();
    assert!(matches!(pages.next_page(), Err(SnapshotError::Content)));
    assert!(started.elapsed().as_secs() < 2);
}
