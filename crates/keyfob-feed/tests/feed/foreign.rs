//! A part of the feed names nothing of another part: not in a line, not in a frame for readers that come back, not
//! in the object of a snapshot.

use std::sync::Arc;

use keyfob::{KeyStore as _, Tenant, audit::TrailHead, block_on, key::SystemRandom, name::TeamId};
use keyfob_feed::{FeedKeys, Filter, Join, Next, Position, Progress, Publisher};
use proptest::{collection::vec, prelude::*};

use crate::{
    model::op,
    world::{Op, START, World, guest_in, owner_in, small, snapshot, team, tenant},
};

/// What a reader of this filter must not see.
fn foreign(filter: &Filter, world: &World) -> Vec<String> {
    let reads = |tenant: &Tenant| {
        let of_namespace = Filter::namespaces([tenant.clone()]).unwrap();
        filter.covers(&of_namespace)
    };
    let mut foreign = Vec::new();
    for n in 0..2 {
        let team: TeamId = team(n);
        let tenants = (0..4).map(tenant).filter(|tenant| tenant.team == team);
        let (own, others): (Vec<_>, Vec<_>) = tenants.partition(reads);
        for tenant in others {
            let namespace = tenant.namespace.as_str();
            foreign.extend([format!("\"{namespace}\""), format!("/{namespace}")]);
        }
        if own.is_empty() {
            foreign.extend([format!("\"{team}\""), format!("{team}/"), guest_in(&team)]);
            // A namespace's readers are told of what concerns an owner in all of the team.
            foreign.extend((0..3).map(|by| owner_in(&team, by).to_string()));
        }
    }
    let keys = world.keys.iter().filter(|(tenant, ..)| !reads(tenant));
    foreign.extend(keys.map(|(_, id, _)| id.to_string()));
    let legacy = world.legacy.iter().filter(|(tenant, ..)| !reads(tenant));
    foreign.extend(legacy.map(|(_, id, _)| id.to_string()));
    foreign
}

struct Sent {
    keys: Arc<FeedKeys>,
    publisher: Publisher,
    filter: Filter,
    position: Position,
    positions: Vec<Position>,
    text: Vec<u8>,
}

impl Sent {
    fn new(filter: Filter, world: &World) -> Self {
        let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
        let mut publisher = Publisher::new(Arc::clone(&keys), TrailHead::START, small());
        assert!(publisher.open(&filter));
        let position = publisher.position();
        let mut sent = Self {
            keys,
            publisher,
            filter,
            position,
            positions: vec![position],
            text: Vec::new(),
        };
        sent.read(world, 10);
        sent
    }

    /// The authority reads its store, and a reader of the stream gets each line.
    fn read(&mut self, world: &World, page: usize) {
        loop {
            let changes = block_on(world.store.changes(self.publisher.wants(), page)).unwrap();
            let progress = self.publisher.answer(&changes, START).unwrap();
            self.positions.push(self.publisher.position());
            self.receive(world);
            if progress == Progress::End {
                return;
            }
        }
    }

    fn receive(&mut self, world: &World) {
        let join = self.publisher.join(&self.filter, self.position, false);
        let Some(mut cursor) = self.take(join, world) else {
            return;
        };
        while let Next::Line(line, next) = self.publisher.next(&self.filter, cursor) {
            self.text.extend_from_slice(line.as_bytes());
            cursor = next;
        }
        self.position = self.publisher.position();
    }

    /// Takes what a reader gets that comes back; returns its place in the stream.
    fn take(&mut self, mut join: Join, world: &World) -> Option<keyfob_feed::Cursor> {
        loop {
            match join {
                Join::At(cursor) => return Some(cursor),
                Join::CatchUp(line, to) => {
                    self.text.extend_from_slice(line.as_bytes());
                    if to == self.position {
                        return None;
                    }
                    self.position = to;
                    join = self.publisher.join(&self.filter, to, false);
                }
                Join::Ask(revision) => {
                    let changes = block_on(world.store.changes(revision, 1)).unwrap();
                    self.publisher.learn(revision, changes.after_hash?);
                    join = self.publisher.join(&self.filter, self.position, false);
                }
                _ => return None,
            }
        }
    }

    /// Also what readers get that come back from any earlier position, and a snapshot.
    fn finish(&mut self, world: &World) {
        for position in std::mem::take(&mut self.positions) {
            self.position = position;
            let join = self.publisher.catch_up(&self.filter, position);
            self.take(join, world);
        }
        let (store, filter) = (&*world.store, &self.filter);
        let snapshot = snapshot(&self.keys, &self.publisher, store, filter, START);
        self.text.extend_from_slice(snapshot.line.as_bytes());
        self.text
            .extend(zstd::decode_all(&*snapshot.object).unwrap());
    }

    fn contains(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.text.windows(text.len()).any(|part| part == text)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_part_names_nothing_of_another(
        ops in vec(op(), 1..60),
        every in 1..8usize,
        page in 1..6usize,
        n in 0..6u8,
    ) {
        let filter = match n {
            0..4 => Filter::namespaces([tenant(n)]).unwrap(),
            _ => Filter::Team(team(n)),
        };
        let mut world = World::new();
        let mut sent = [Sent::new(filter.clone(), &world), Sent::new(Filter::All, &world)];
        // In each namespace there is something.
        let first = (0..4).flat_map(|of| [Op::Create(of, of, false), Op::Import(of)]);
        let ops: Vec<Op> = first.chain(ops).collect();
        for (at, op) in ops.iter().enumerate() {
            world.apply(op, START);
            if at % every == 0 {
                for sent in &mut sent {
                    sent.read(&world, page);
                }
            }
        }
        for sent in &mut sent {
            sent.read(&world, page);
            sent.finish(&world);
        }
        let [part, all] = sent;
        for (tenant, ..) in &world.keys {
            let namespace = tenant.namespace.as_str();
            prop_assert!(all.contains(namespace), "the text can be searched");
        }
        for text in foreign(&filter, &world) {
            prop_assert!(!part.contains(&text), "{text} for {filter:?}");
        }
    }
}
