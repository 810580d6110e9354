//! The cost of the parts of a verification, for work on the library: `cargo bench --bench verify`.
//!
//! The figures in the README come from `--bench table`, which measures the cases in turns.

#![expect(clippy::expect_used, reason = "a benchmark may stop")]

#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod population;

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use keyfob::{
    Access, Context, IssuedKey, Keyring, MemoryStore, NewKey, Owner, Tenant, Timestamp, block_on,
    key::{KeyDigest, KeyFormat, PepperId, Peppers, PresentedKey, SystemRandom},
    legacy::{LegacyPolicy, read_subjects},
    manage::Policy,
    name::{KeyName, UserId},
    store::KeyQuery,
};
use population::{NOW, Population, Sequence, basic, issue, unknown, wrong};
use ring::digest;

/// The digest, and the steps before and after it.
fn parts(criterion: &mut Criterion) {
    let format = KeyFormat::new("dof").expect("a valid prefix");
    let (key, record) = issue(&format, &Peppers::none()).next().expect("a key");
    let text = key.expose();
    let presented = PresentedKey::parse(&format, text.as_bytes()).expect("a key");
    let pepper = PepperId::new(1).expect("not zero");
    let peppers = Peppers::none()
        .with_current(pepper, &[9; 32])
        .expect("long enough");
    let keyed = KeyDigest::of(&key, &peppers);

    let mut group = criterion.benchmark_group("parts");
    group.bench_function("bare ring SHA-256, 55 bytes", |bencher| {
        let block = [7; 55];
        bencher.iter(|| digest::digest(&digest::SHA256, black_box(&block)));
    });
    group.bench_function("parse", |bencher| {
        bencher.iter(|| PresentedKey::parse(&format, black_box(text.as_bytes())).is_ok());
    });
    group.bench_function("digest and compare, SHA-256", |bencher| {
        bencher.iter(|| {
            record
                .digest
                .matches(black_box(&presented), &Peppers::none())
        });
    });
    group.bench_function("digest and compare, HMAC-SHA-256", |bencher| {
        bencher.iter(|| keyed.matches(black_box(&presented), &peppers));
    });
    group.bench_function("generate", |bencher| {
        bencher.iter(|| IssuedKey::generate(&format, &SystemRandom).expect("random bytes"));
    });
    group.finish();
}

/// Whole verifications.
fn verify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    for keys in [1_000, 100_000] {
        let population = Population::new(keys);
        let unissued = unknown(&population.format);
        let mut sequence = Sequence::new(3);
        let mut case = |name: &str, present: &dyn Fn(&str) -> String| {
            group.bench_function(BenchmarkId::new(name, keys), |bencher| {
                bencher.iter_batched_ref(
                    || {
                        let n = sequence.below(keys);
                        (present(population.text(n)), population.namespace(n))
                    },
                    |(value, namespace)| {
                        let access = Access::to(namespace);
                        let verifier = &population.verifier;
                        verifier
                            .verify_header(value.as_bytes(), &access, NOW)
                            .is_ok()
                    },
                    criterion::BatchSize::SmallInput,
                );
            });
        };
        case("Bearer", &|text| format!("Bearer {text}"));
        case("Basic", &basic);
        case("unknown key", &|_| format!("Bearer {unissued}"));
        case("wrong secret", &|text| {
            format!("Bearer {}", wrong(text, &unissued))
        });
        case("garbage", &|_| "Basic bm90IGEga2V5".to_owned());
    }
    group.finish();
}

/// Operations of a control plane with a store in memory, and a legacy credential.
fn management(criterion: &mut Criterion) {
    let keyring = block_on(Keyring::open(MemoryStore::new(), "dof")).expect("a store in memory");
    let context = Context::system(NOW);
    let tenant = Tenant::parse("acme", "guest").expect("names");
    let owner = Owner::User(UserId::new("alice").expect("a name"));
    let policy = Policy {
        keys_per_owner: None,
        ..Policy::default()
    };
    block_on(keyring.set_policy(&context, None, Some(policy))).expect("the store is in memory");
    for n in 0..10_000 {
        let name = KeyName::new(&format!("key {n}")).expect("a name");
        let new = NewKey::new(tenant.clone(), owner.clone(), name);
        block_on(keyring.create(&context, new)).expect("the store is in memory");
    }
    let team = tenant.team.clone();
    let guests = read_subjects(SUBJECT, &context, &Peppers::none(), |_| Some(team.clone()));
    for record in guests.records {
        block_on(keyring.import_legacy(&context, record)).expect("the store is in memory");
    }
    let until = LegacyPolicy::until(Timestamp::MAX);
    block_on(keyring.set_legacy_policy(&context, None, Some(until)))
        .expect("the store is in memory");

    let mut group = criterion.benchmark_group("management");
    let verifier = keyring.verifier();
    let header = basic(GUEST);
    assert!(
        verifier
            .verify_header(header.as_bytes(), &Access::to("guest"), NOW)
            .is_ok()
    );
    group.bench_function("verify a legacy credential", |bencher| {
        bencher.iter(|| {
            let access = Access::to("guest");
            verifier
                .verify_header(black_box(header.as_bytes()), &access, NOW)
                .is_ok()
        });
    });
    let query = KeyQuery {
        limit: 100,
        ..KeyQuery::namespace(&tenant)
    };
    group.bench_function("list 100 of 10,000 keys", |bencher| {
        bencher.iter(|| block_on(keyring.list(&query)).expect("the store is in memory"));
    });
    group.finish();
}

/// The public example credential of `OpenWhisk`.
const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
const SUBJECT: &str = r#"{"_id": "guest", "subject": "guest", "namespaces": [{"name": "guest", "uuid": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}]}"#;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = parts, verify, management
}
criterion_main!(benches);
