//! What a verification costs, beside the bare hash that it cannot do without.
//!
//! `cargo bench --bench verify` ends with a table of ratios to bare `ring` SHA-256 of 55 bytes,
//! measured in the same run: absolute times are the machine's, ratios are the library's.

#![expect(
    clippy::print_stdout,
    reason = "the table is what the benchmark is for"
)]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use criterion::{Criterion, criterion_group, criterion_main};
use keyfob::{
    Access, Actor, Context, Index, KeyFormat, KeyName, Keyring, NamespaceId, NewKey, Owner, TeamId,
    Tenant, Timestamp, UserId, Verifier, store::MemoryStore, wait,
};
use ring::digest;

const KEYS: usize = 1_000;
const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// A population of keys and the texts that their owners present.
struct Population {
    verifier: Verifier,
    texts: Vec<String>,
    headers: Vec<String>,
    namespaces: Vec<Arc<str>>,
    unknown: Vec<String>,
}

impl Population {
    fn new(keys: usize) -> Self {
        let format = KeyFormat::new("dof").unwrap();
        let index = Arc::new(Index::new());
        let keyring = Keyring::new(MemoryStore::new(), format);
        let team = TeamId::new("acme").unwrap();
        let context = Context::new(Actor::system(), NOW);
        let (mut texts, mut namespaces) = (Vec::new(), Vec::<Arc<str>>::new());
        for n in 0..keys {
            let namespace = NamespaceId::new(&format!("fn-{:036}", n / 100)).unwrap();
            let owner = Owner::User(UserId::new(&format!("user-{}", n / 10)).unwrap());
            let tenant = Tenant::new(team.clone(), namespace);
            let name = KeyName::new(&format!("key {n}")).unwrap();
            // A hundred keys share a namespace, and the text of its name.
            namespaces.push(match namespaces.last() {
                Some(last) if **last == *tenant.namespace.as_str() => Arc::clone(last),
                _ => Arc::from(tenant.namespace.as_str()),
            });
            let (key, _) =
                wait(keyring.create(&context, NewKey::new(tenant, owner, name))).unwrap();
            texts.push(key.expose().to_owned());
        }
        wait(index.follow(keyring.store())).unwrap();
        let rng = ring::rand::SystemRandom::new();
        let unknown = (0..keys)
            .map(|_| keyfob::IssuedKey::generate(&format, &rng).unwrap())
            .map(|key| key.expose().to_owned())
            .collect();
        let headers = texts
            .iter()
            .map(|text| format!("Basic {}", STANDARD.encode(text)))
            .collect();
        Self {
            verifier: Verifier::new(index, format),
            texts,
            headers,
            namespaces,
            unknown,
        }
    }
}

/// A case: one call with the `n`th of the population's texts.
type Case<'a> = (&'static str, Box<dyn FnMut(usize) + 'a>);

fn cases(population: &Population) -> Vec<Case<'_>> {
    let Population {
        verifier,
        texts,
        headers,
        namespaces,
        unknown,
    } = population;
    let wrong: Vec<String> = texts
        .iter()
        .zip(unknown)
        .map(|(id, secret)| {
            let (id, _) = id.split_once(':').unwrap();
            let (_, secret) = secret.split_once(':').unwrap();
            format!("{id}:{secret}")
        })
        .collect();
    let block = [7u8; 55];
    let text = move |text: &str, namespace: &str| {
        let access = Access::to(namespace);
        let verdict = verifier.verify_text(black_box(text.as_bytes()), &access, NOW);
        black_box(verdict.is_ok());
    };
    let header = move |header: &str, namespace: &str| {
        let access = Access::to(namespace);
        let verdict = verifier.verify_header(black_box(header.as_bytes()), &access, NOW);
        black_box(verdict.is_ok());
    };
    vec![
        (
            "ring SHA-256, 55 bytes",
            Box::new(move |_| {
                black_box(digest::digest(&digest::SHA256, black_box(&block)));
            }),
        ),
        (
            "valid key, credential text",
            Box::new(move |n| text(&texts[n], &namespaces[n])),
        ),
        (
            "valid key, Basic header",
            Box::new(move |n| header(&headers[n], &namespaces[n])),
        ),
        (
            "unknown key",
            Box::new(move |n| text(&unknown[n], &namespaces[n])),
        ),
        (
            "wrong secret",
            Box::new(move |n| text(&wrong[n], &namespaces[n])),
        ),
        ("garbage text", Box::new(move |_| text("not a key", "fn"))),
        (
            "garbage header",
            Box::new(move |_| header("Basic bm90IGEga2V5", "fn")),
        ),
    ]
}

fn benchmark(criterion: &mut Criterion) {
    let population = Population::new(KEYS);
    let mut group = criterion.benchmark_group("verify");
    for (name, mut call) in cases(&population) {
        let mut n = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                n = (n + 1) % KEYS;
                call(n);
            });
        });
    }
    group.finish();
    print_ratios(&population);
}

/// Best of many short rounds, the cases taking turns, so that a busy moment hits all alike.
fn print_ratios(population: &Population) {
    const ROUNDS: usize = 200;
    let mut cases = cases(population);
    let mut best = vec![Duration::MAX; cases.len()];
    for _ in 0..ROUNDS {
        for ((_, call), best) in cases.iter_mut().zip(&mut best) {
            let start = Instant::now();
            (0..KEYS).for_each(&mut *call);
            *best = (*best).min(start.elapsed());
        }
    }
    let unit = best[0].as_secs_f64();
    println!("\n{KEYS} keys, best of {ROUNDS} rounds\n");
    println!("| case | ns | ratio |\n|---|---:|---:|");
    for ((name, _), best) in cases.iter().zip(&best) {
        let nanos = best.as_secs_f64() * 1e9 / 1e3;
        println!("| {name} | {nanos:.0} | {:.2} |", best.as_secs_f64() / unit);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = benchmark
}
criterion_main!(benches);
