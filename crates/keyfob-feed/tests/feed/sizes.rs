//! What the wire has, and how much of it.

use std::sync::Arc;

use keyfob::{
    Context, Expiry, NewKey, Owner, Scopes,
    audit::TrailHead,
    block_on,
    key::SystemRandom,
    manage::Labels,
    name::{KeyName, LabelName, LabelValue, Reason, Scope, UserId},
};
use keyfob_feed::{FeedKeys, Filter, Join, Limits, Next, Publisher, SignedLine, SnapshotReader};

use crate::world::{START, World, at, filter, owner, read_to_end, snapshot, tenant};

/// A typical key, created at the usual revision of a store that is in use.
fn create(world: &World, n: usize) {
    let new = NewKey::new(
        tenant(0),
        Owner::User(UserId::new("alice").unwrap()),
        KeyName::new(&format!("laptop {n}")).unwrap(),
    )
    .with_scopes(Scopes::only([Scope::new("invoke").unwrap()]).unwrap())
    .with_expiry(Expiry::In(keyfob::Ttl::days(90).unwrap()));
    block_on(world.keyring.create(&Context::system(at(START)), new)).unwrap();
}

#[test]
fn a_change_under_load_takes_at_most_300_bytes() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let world = World::new();
    let mut publisher = Publisher::new(keys, TrailHead::START, Limits::default());
    assert!(publisher.open(&Filter::All));
    read_to_end(&mut publisher, &*world.store, 1000, START);
    let mut bytes_of = |count: usize| {
        let Join::At(mut cursor) = publisher.join(&Filter::All, publisher.position(), false) else {
            panic!("the publisher's own position is no start of a line");
        };
        for n in 0..count {
            create(&world, n + count * 1000);
        }
        read_to_end(&mut publisher, &*world.store, 1000, START);
        let mut bytes = 0;
        while let Next::Line(line, next) = publisher.next(&Filter::All, cursor) {
            bytes += line.to_sent().len();
            cursor = next;
        }
        bytes
    };
    let (one, hundred) = (bytes_of(1), bytes_of(100));
    let bookmark = match publisher.join(&Filter::All, publisher.position(), true) {
        Join::CatchUp(line, _) => line.to_sent().len(),
        other => panic!("{other:?}"),
    };
    println!(
        "bytes: a bookmark {bookmark}, 1 change {one}, 100 changes {} each",
        hundred / 100
    );
    assert!(bookmark <= 256, "{bookmark}");
    assert!(one <= 600, "{one}");
    assert!(hundred / 100 <= 300, "{}", hundred / 100);
}

#[test]
fn a_snapshot_takes_at_most_half_of_its_content() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let world = World::new();
    (0..500).for_each(|n| create(&world, n));
    let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, Limits::default());
    read_to_end(&mut publisher, &*world.store, 1000, START);
    let made = snapshot(&keys, &publisher, &*world.store, &Filter::All, START);
    let (bytes, content) = (made.manifest.bytes(), made.manifest.content_bytes());
    let entries = made.manifest.entries();
    println!(
        "a snapshot's entry: {} bytes, {} compressed",
        content / entries,
        bytes / entries
    );
    assert_eq!(entries, 500);
    assert!(bytes * 2 <= content, "{bytes} of {content}");
}

#[test]
fn the_wire_has_no_name_label_reason_actor_or_secret() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let mut world = World::new();
    let mut context = Context::system(at(START));
    context.actor = keyfob::Actor::user(UserId::new("creator-of-keys").unwrap());
    context.authority = keyfob::manage::Authority::System;
    context.reason = Some(Reason::new("because-of-the-audit").unwrap());
    let new = NewKey::new(
        tenant(0),
        owner(0),
        KeyName::new("name-of-the-key").unwrap(),
    )
    .with_labels(
        Labels::new()
            .with(
                LabelName::new("label-name").unwrap(),
                LabelValue::new("label-value").unwrap(),
            )
            .unwrap(),
    );
    let created = block_on(world.keyring.create(&context, new)).unwrap();
    let (id, secret) = (created.secret.id(), created.secret.expose().to_owned());
    let (of, grace) = (tenant(0), std::time::Duration::from_mins(1));
    let rotation = keyfob::manage::Rotation::new().with_grace(grace);
    let rotated = world.keyring.rotate(&context, &of, id, rotation, None);
    let second = block_on(rotated).unwrap().secret.expose().to_owned();
    world.create(tenant(0), owner(1), Scopes::All, START);
    let other = world.keys[0].1;
    block_on(world.keyring.revoke(&context, &tenant(0), other, None)).unwrap();
    block_on(world.keyring.remove_member(&context, "acme", "bob")).unwrap();

    let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, Limits::default());
    let start = publisher.position();
    assert!(publisher.open(&Filter::All));
    read_to_end(&mut publisher, &*world.store, 1000, START);
    let Join::CatchUp(line, _) = publisher.catch_up(&Filter::All, start) else {
        panic!("the start is gone");
    };
    let made = snapshot(&keys, &publisher, &*world.store, &Filter::All, START);
    let entries = zstd::stream::decode_all(&made.object[..]).unwrap();
    let hash = world.head().hash.to_string();
    let secret_of = |text: &str| text.rsplit_once("_sk_").unwrap().1.to_owned();
    let secrets = [
        secret_of(&secret),
        secret_of(&second),
        secret_of(&world.keys[0].2),
    ];
    let hidden = [
        "name-of-the-key",
        "label-name",
        "label-value",
        "because-of-the-audit",
        "creator-of-keys",
        // The hash of an event could be guessed from a guess of the event.
        &hash,
    ];
    let hidden = hidden.into_iter().chain(secrets.iter().map(String::as_str));
    let text = String::from_utf8(line.as_bytes().to_vec()).unwrap();
    let entries = String::from_utf8(entries).unwrap();
    assert!(text.contains(&id.to_string()) && entries.contains(&id.to_string()));
    for hidden in hidden {
        for shown in [&text, &entries] {
            assert!(!shown.contains(hidden), "{hidden}");
        }
    }
    let seeds = keys.to_text();
    for line in seeds.lines().skip(2) {
        let (_, seed) = line.split_once(' ').unwrap();
        assert!(!text.contains(seed));
    }
}

#[test]
fn a_namespaces_filter_never_yields_an_entry_of_another_namespace() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let mut world = World::new();
    for n in 0..40 {
        world.create(tenant(n), owner(n), Scopes::All, START);
    }
    let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, Limits::default());
    let start = publisher.position();
    let filter = filter(2);
    assert!(publisher.open(&filter));
    read_to_end(&mut publisher, &*world.store, 7, START);
    let mut wire = Vec::new();
    if let Join::CatchUp(line, _) = publisher.catch_up(&filter, start) {
        wire.push(line.as_bytes().to_vec());
    }
    if let Join::At(mut cursor) = publisher.join(&filter, start, false) {
        while let Next::Line(line, next) = publisher.next(&filter, cursor) {
            wire.push(line.as_bytes().to_vec());
            cursor = next;
        }
    }
    let made = snapshot(&keys, &publisher, &*world.store, &filter, START);
    assert_eq!(made.manifest.entries(), 10);
    wire.push(zstd::stream::decode_all(&made.object[..]).unwrap());
    assert!(wire.len() >= 3, "a catch-up frame, lines, and a snapshot");
    let made = wire.pop().unwrap();
    let lines = wire.split_off(1).concat();
    for bytes in [wire.concat(), lines, made] {
        let text = String::from_utf8(bytes).unwrap();
        for (of, id, _) in &world.keys {
            assert_eq!(text.contains(&id.to_string()), *of == tenant(0), "{of:?}");
        }
    }
}

#[test]
fn no_line_and_no_entry_is_longer_than_a_reader_takes() {
    let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
    let world = World::new();
    let longest = |n: usize| format!("{n:04}{}", "\"".repeat(124));
    let scopes = (0..Scopes::MAX).map(|n| Scope::new(&format!("{n:02}{}", "s".repeat(62))));
    let scopes = Scopes::only(scopes.map(Result::unwrap)).unwrap();
    let of = keyfob::Tenant::parse(&longest(0), &longest(1)).unwrap();
    for n in 0..1_000 {
        let owner = Owner::User(UserId::new(&longest(n / 100)).unwrap());
        let new = NewKey::new(of.clone(), owner, KeyName::new(&longest(n)[..100]).unwrap())
            .with_scopes(scopes.clone());
        block_on(world.keyring.create(&Context::system(at(START)), new)).unwrap();
    }
    let mut limits = Limits::default();
    (limits.frame_bytes, limits.line_bytes) = (usize::MAX, usize::MAX);
    let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, limits);
    assert!(publisher.open(&Filter::All));
    let start = publisher.position();
    read_to_end(&mut publisher, &*world.store, 10_000, START);
    let mut lines = Vec::new();
    let Join::At(mut cursor) = publisher.join(&Filter::All, start, false) else {
        panic!("the start is gone");
    };
    while let Next::Line(line, next) = publisher.next(&Filter::All, cursor) {
        lines.push(line);
        cursor = next;
    }
    let Join::CatchUp(line, _) = publisher.catch_up(&Filter::All, start) else {
        panic!("the start is gone");
    };
    lines.push(line);
    let all: usize = lines.iter().map(|line| line.as_bytes().len()).sum();
    assert!(all > SignedLine::BYTES_MAX, "{all}");
    for line in &lines {
        let bytes = line.as_bytes().len();
        assert!(bytes <= SignedLine::BYTES_MAX, "{bytes}");
    }
    let made = snapshot(&keys, &publisher, &*world.store, &Filter::All, START);
    let content = zstd::stream::decode_all(&made.object[..]).unwrap();
    let longest = content.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
    let most = SnapshotReader::<std::io::Cursor<bytes::Bytes>>::ENTRY_BYTES_MAX;
    assert!(longest.unwrap() * 32 < most, "{longest:?}");
}
