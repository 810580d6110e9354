//! The work of a control plane, over any store, timed call by call.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use keyfob::{
    Actor, Context, Expiry, KeyId, KeyStore, Keyring, NewKey, Owner, Tenant, Timestamp, Ttl,
    gateway::{UsageBatch, UsageDelta},
    key::{CredentialId, KeyFormat, SystemRandom},
    manage::{Policy, Rotation},
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{KeyQuery, Revision, StatusFilter},
};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How many keys one person has.
    pub(crate) many: usize,
    /// How often a call that changes something is timed.
    pub(crate) changes: usize,
    /// How often a call that reads is timed.
    pub(crate) reads: usize,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        many: 100_000,
        changes: 200,
        reads: 1_000,
    };
    pub(crate) const QUICK: Self = Self {
        many: 2_000,
        changes: 30,
        reads: 100,
    };
}

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, Vec<Duration>)>,
    rates: Vec<(String, f64)>,
    /// How much longer it takes to remove a person with many keys than one with ten.
    pub(crate) removal_ratio: f64,
}

/// Plays the workload on an empty store.
///
/// # Panics
///
/// If a call of the store fails.
pub(crate) async fn measure(store: impl KeyStore + 'static, size: Size) -> Report {
    let format = KeyFormat::new("dof").unwrap();
    let keyring = Keyring::builder(store, format).open(context().now).await;
    let bench = Bench {
        keyring: keyring.unwrap(),
        size,
    };
    let mut report = Report::default();
    bench.populate(&mut report).await;
    bench.time_changes(&mut report).await;
    bench.time_reads(&mut report).await;
    bench.time_removals(&mut report).await;
    bench.time_the_feed(&mut report).await;
    report
}

struct Bench {
    keyring: Keyring,
    size: Size,
}

impl Bench {
    /// One person with many keys, and one with ten.
    async fn populate(&self, report: &mut Report) {
        let policy = Policy {
            keys_per_owner: None,
            ..Policy::default()
        };
        let set = self
            .keyring
            .set_policy(&context(), None, Some(policy))
            .await;
        set.unwrap();
        let start = Instant::now();
        for first in (0..self.size.many).step_by(AT_ONCE) {
            let last = (first + AT_ONCE).min(self.size.many);
            join((first..last).map(|n| self.create("many", n))).await;
        }
        report.rate("create, 256 at once", self.size.many, start);
        for n in 0..10 {
            self.create("few", n).await;
        }
    }

    async fn create(&self, of: &str, n: usize) -> KeyId {
        let name = KeyName::new(&format!("{of} {n}")).unwrap();
        let new =
            NewKey::new(home(), person(of), name).with_expiry(Expiry::In(Ttl::days(90).unwrap()));
        let created = self.keyring.create(&context(), new).await;
        created.unwrap().info.id
    }

    async fn time_changes(&self, report: &mut Report) {
        let mut keys = Vec::new();
        for n in 0..self.size.changes {
            let start = Instant::now();
            keys.push(self.create("worker", n).await);
            report.add("create", start);
        }
        let rotation = Rotation::new().with_grace(Duration::from_mins(1));
        for id in &keys {
            let start = Instant::now();
            let rotated = self
                .keyring
                .rotate(&context(), &home(), *id, rotation.clone(), None)
                .await;
            report.add("rotate", start);
            rotated.unwrap();
        }
        for id in &keys {
            let start = Instant::now();
            self.keyring
                .revoke(&context(), &home(), *id, None)
                .await
                .unwrap();
            report.add("revoke", start);
        }
        let usage: Vec<UsageDelta> = keys
            .iter()
            .map(|id| UsageDelta::accepted(CredentialId::Key(*id), context().now))
            .collect();
        for _ in 0..10 {
            let batch = UsageBatch::single(usage.clone(), context().now, &SystemRandom).unwrap();
            let start = Instant::now();
            let recorded = self.keyring.record_usage(&batch, context().now).await;
            recorded.unwrap();
            report.add(&format!("merge usage of {}", usage.len()), start);
        }
    }

    async fn time_reads(&self, report: &mut Report) {
        let mut query = KeyQuery {
            owner: Some(person("many")),
            ..KeyQuery::namespace(&home())
        };
        let page = self.keyring.list(&query).await.unwrap();
        let middle = Revision::new(self.size.many as u64 / 2);
        for n in 0..self.size.reads {
            let id = page.items[n % page.items.len()].id;
            let start = Instant::now();
            self.keyring.get(&home(), id).await.unwrap();
            report.add("find", start);
        }
        let queries = [
            ("list 100 of the namespace", KeyQuery::namespace(&home())),
            ("list 100 of the team", KeyQuery::team(home().team)),
        ];
        query.after = Some(keyfob::store::Cursor::after(middle));
        let queries = queries
            .into_iter()
            .chain([("list 100 of the owner, from the middle", query)]);
        for (name, query) in queries {
            for _ in 0..self.size.reads / 5 {
                let start = Instant::now();
                let page = self.keyring.list(&query).await.unwrap();
                report.add(name, start);
                assert_eq!(page.items.len(), 100, "{name}");
            }
        }
    }

    /// In turns, so that both meet the same moments of the disk.
    async fn time_removals(&self, report: &mut Report) {
        let many = format!("remove a member with {} keys", self.size.many);
        let few = "remove a member with 10 keys";
        for _ in 0..self.size.changes {
            for (of, name) in [("few", few), ("many", many.as_str())] {
                let who = UserId::new(of).unwrap();
                let start = Instant::now();
                let team = home().team;
                let removed = self.keyring.remove_member(&context(), &team, &who).await;
                report.add(name, start);
                removed.unwrap();
            }
        }
        report.removal_ratio = report.median(&many) / report.median(few);
        let query = KeyQuery {
            owner: Some(person("many")),
            status: Some(StatusFilter::Active),
            ..KeyQuery::namespace(&home())
        };
        for _ in 0..self.size.reads / 5 {
            let start = Instant::now();
            let page = self.keyring.list(&query).await.unwrap();
            report.add("list the active keys of a removed member", start);
            assert!(page.items.is_empty(), "a key outlived its owner");
        }
    }

    async fn time_the_feed(&self, report: &mut Report) {
        let store = self.keyring.store();
        let start = Instant::now();
        let (mut at, mut entries) = (Revision::ZERO, 0);
        loop {
            let part = Instant::now();
            let changes = store.changes(at, 1000).await.unwrap();
            entries += changes.entries.len();
            at = changes.next_after;
            if !changes.more {
                break;
            }
            report.add("read 1000 entries of the feed", part);
        }
        report.rate("entries of the feed", entries, start);
        for _ in 0..self.size.reads {
            let start = Instant::now();
            let changes = store.changes(at, 1000).await.unwrap();
            report.add("poll the feed with no change", start);
            assert!(changes.entries.is_empty());
        }
    }
}

impl Report {
    fn add(&mut self, name: &str, start: Instant) {
        let taken = start.elapsed();
        match self.rows.iter_mut().find(|(known, _)| known == name) {
            Some((_, times)) => times.push(taken),
            None => self.rows.push((name.to_owned(), vec![taken])),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    fn rate(&mut self, name: &str, count: usize, start: Instant) {
        let rate = count as f64 / start.elapsed().as_secs_f64();
        self.rates.push((name.to_owned(), rate));
    }

    /// The median of what was measured under this name, in microseconds.
    fn median(&self, name: &str) -> f64 {
        let row = self.rows.iter().find(|(known, _)| known == name);
        row.map_or(0.0, |(_, times)| part_of(times, 50))
    }
}

/// The time under which this many of a hundred are, in microseconds.
fn part_of(times: &[Duration], hundredths: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    let at = (times.len() * hundredths / 100).min(times.len() - 1);
    times[at].as_secs_f64() * 1e6
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| sequential calls | p50 (µs) | p99 (µs) |")?;
        writeln!(f, "|---|---:|---:|")?;
        for (name, times) in &self.rows {
            let (median, high) = (part_of(times, 50), part_of(times, 99));
            writeln!(f, "| {name} | {median:.0} | {high:.0} |")?;
        }
        writeln!(f, "\n| concurrent calls | calls/s |")?;
        writeln!(f, "|---|---:|")?;
        for (name, rate) in &self.rates {
            writeln!(f, "| {name} | {rate:.0} |")?;
        }
        let ratio = self.removal_ratio;
        writeln!(f, "\nremoval of many to removal of ten keys: {ratio:.2}")
    }
}

fn home() -> Tenant {
    Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-1").unwrap(),
    )
}

fn person(name: &str) -> Owner {
    Owner::User(UserId::new(name).unwrap())
}

fn context() -> Context {
    let admin = UserId::new("admin").unwrap();
    Context::new(Actor::user(admin), Timestamp::from_unix(1_800_000_000))
}

/// Runs futures at once, without a runtime.
async fn join<F: Future>(futures: impl Iterator<Item = F>) {
    let mut left: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    poll_fn(|context| {
        left.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if left.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// How many keys are made at once.
const AT_ONCE: usize = 256;
