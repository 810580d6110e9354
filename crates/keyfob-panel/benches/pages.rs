//! How long pages take over a store on `SQLite` with many keys, each of which was used on the last
//! days, and 1,000 shared credentials: `cargo bench -p keyfob-panel --bench pages`.
//!
//! It fails if the p99 of a page is longer than 50 ms.
//!
//! - `-- --keys N`: in place of 100,000 keys
//! - `-- --write FILE`: writes the table between the marks of the file

#[path = "../tests/panel/fixture.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod fixture;

use std::time::{Duration, Instant};

use keyfob::{
    Context, Expiry, KeyInfo, NewKey, Owner, Tenant, Timestamp,
    gateway::{UsageBatch, UsageDelta},
    key::{CredentialId, SystemRandom},
    name::{KeyName, NamespaceId, TeamId},
    store::KeyQuery,
};
use keyfob_api::Right;
use keyfob_sqlite::SqliteStore;
use keyfob_testkit::figures;

use fixture::{Fixture, NOW};

/// The pages, with what is asked for in them: the path of a key and its identifier, and 50 selected
/// keys. The last ones are asked for by an operator.
const PAGES: [&str; 25] = [
    "/keys",
    "/keys?whose=everybody",
    "/keys?whose=everybody&owner=service:s7",
    "/keys?whose=everybody&q=worker%209",
    "/keys?whose=everybody&q=nothing",
    "/keys?whose=everybody&q=ID",
    "/keys?whose=everybody&status=expired",
    "/keys/new",
    "/keys/KEY",
    "/keys/KEY/rotate",
    "/keys/revoke?SELECTED",
    "/people/service:s7",
    "/people/service:s7/leave",
    "/expiring",
    "/migration",
    "/migration/fn-7/cut-off",
    "/policies",
    "/policies/fn-7",
    "/team",
    "/namespaces/fn-7/remove",
    "/audit",
    "/audit?action=key_updated",
    "/audit?actor=user:alice&action=key_revoked",
    "/leaks",
    OPERATORS_TEAM,
];

const OPERATORS_TEAM: &str = "/team of an operator";

/// How many shared credentials the team has.
const CREDENTIALS: usize = 1_000;
const TIMES: usize = 300;
const BOUND: Duration = Duration::from_millis(50);

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--keys");
    let keys = match (arguments.next(), arguments.next()) {
        (None, _) => 100_000,
        (_, keys) => keys
            .and_then(|keys| keys.parse().ok())
            .expect("--keys takes a number"),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (table, slow) = runtime.block_on(measure(keys));
    figures::show("pages", &table);
    assert!(slow.is_empty(), "slower than {BOUND:?}: {slow:?}");
}

#[expect(clippy::print_stderr, reason = "it takes a while")]
async fn measure(keys: usize) -> (String, Vec<&'static str>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
    let plane = std::sync::Arc::new(Fixture::over(store).await);
    let lanes = (0..64).map(|lane| {
        let plane = std::sync::Arc::clone(&plane);
        tokio::spawn(async move {
            for n in (lane..keys).step_by(64) {
                let context = Context::system(Timestamp::from_unix(NOW));
                let made = plane.keyring.create(&context, key(n)).await;
                made.expect("the key is created");
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.expect("all are created");
    }
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    use_all(&plane).await;
    for n in 0..CREDENTIALS {
        let namespace = format!("fn-{}", n % 20);
        plane.shared_credential(&namespace, n).await;
    }
    let operator = plane
        .control_key("operators", "user:olga", Right::Operator)
        .await;
    let operator = plane.sign_in(&operator).await;
    let cookie = plane.sign_in(&admin).await;
    let query = KeyQuery::team(TeamId::new("acme").expect("a name")).limit(50);
    let some = plane.keyring.list(&query).await.expect("the keys").items;
    let one = plane.field(&some[0]);
    let id = one.rsplit_once('/').map_or("", |(_, id)| id);
    let selected: Vec<_> = some.iter().map(|key| plane.field(key)).collect();
    let selected = format!("key={}", selected.join("&key="));
    let mut table = String::from("| page | p50 (ms) | p99 (ms) |\n|---|---:|---:|\n");
    let mut slow = Vec::new();
    for path in PAGES {
        let address = path
            .replace("KEY", &one)
            .replace("ID", id)
            .replace("SELECTED", &selected);
        let (address, cookie) = if path == OPERATORS_TEAM {
            ("/team", &operator)
        } else {
            (address.as_str(), &cookie)
        };
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let start = Instant::now();
            let answer = plane.get(address, cookie).await;
            times.push(start.elapsed());
            assert_eq!(answer.status, 200, "{path}");
        }
        times.sort();
        let (p50, p99) = (times[TIMES / 2], times[TIMES * 99 / 100]);
        let row = format!("| `{path}` | {:.1} | {:.1} |\n", ms(p50), ms(p99));
        eprint!("{row}");
        table += &row;
        if p99 > BOUND {
            slow.push(path);
        }
    }
    (table, slow)
}

/// Uses each key on three days.
async fn use_all(plane: &Fixture) {
    let mut query = KeyQuery::team(TeamId::new("acme").expect("a name")).limit(KeyQuery::LIMIT_MAX);
    loop {
        let page = plane.keyring.list(&query).await.expect("the keys");
        for day in 0..3 {
            let at = Timestamp::from_unix(NOW - day * 86_400);
            let used = |info: &KeyInfo| UsageDelta::accepted(CredentialId::Key(info.id), at);
            let usage = page.items.iter().map(used).collect();
            let batch = UsageBatch::single(usage, at, &SystemRandom).expect("a batch");
            let now = Timestamp::from_unix(NOW);
            let recorded = plane.keyring.record_usage(&batch, now).await;
            recorded.expect("the use is recorded");
        }
        let Some(next) = page.next else { return };
        query = query.after(next);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn key(n: usize) -> NewKey {
    let tenant = Tenant::new(
        TeamId::new("acme").expect("a name"),
        NamespaceId::new(&format!("fn-{}", n % 20)).expect("a name"),
    );
    let owner: Owner = format!("service:s{}", n % 500).parse().expect("an owner");
    let name = KeyName::new(&format!("worker {n}")).expect("a name");
    let end = Timestamp::from_unix(NOW + 90 * 86_400);
    NewKey::new(tenant, owner, name).with_expiry(Expiry::At(end))
}
