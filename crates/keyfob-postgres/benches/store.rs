//! What a control plane waits for, over a server of its own with a socket between:
//!
//! ```sh
//! cargo bench -p keyfob-postgres --bench store
//! ```
//!
//! With `-- --quick` it is only a look, with few keys. The server flushes to disk as it does by
//! default.

#![expect(clippy::print_stdout, reason = "a benchmark shows what it measured")]

#[path = "../../keyfob-sqlite/benches/workload/mod.rs"]
mod workload;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyfob::{
    Context, KeyStore, Keyring, NewKey, Owner, Tenant, Timestamp,
    key::KeyFormat,
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::Revision,
};
use keyfob_postgres::PostgresStore;
use keyfob_testkit::postgres::{Database, Server, runtime};
use tokio::task::JoinSet;
use workload::{Size, measure};

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let size = if quick { Size::QUICK } else { Size::FULL };
    let server = Server::start(&[]);
    runtime().block_on(async {
        let database = server.database().await;
        let store = connect(&database).await;
        for tasks in [1, 16] {
            let rate = create(&store, tasks, size.changes).await;
            println!("create, by {tasks} at once: {rate:.0} a second");
        }
        let other = connect(&database).await;
        let [median, high] = delays(&store, &other, size.changes).await;
        println!("from a commit's answer until another store that waits has read it: median {median:?}, of 100 the 99th {high:?}");
        drop((store, other));

        let database = server.database().await;
        let store = connect(&database).await;
        let report = measure(store, size).await;
        println!("\n{report}");
        let rows = "SELECT pg_database_size(current_database()) >> 20";
        let row = database.client().await.query_one(rows, &[]).await.unwrap();
        println!("{} keys take {} MiB", size.many, row.get::<_, i64>(0));
        assert!(
            report.removal_ratio < 2.0,
            "to remove a person costs more with more keys"
        );
    });
}

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// How many keys are made a second by so many tasks.
#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
async fn create(store: &PostgresStore, tasks: usize, each: usize) -> f64 {
    let keyring = open(store).await;
    let start = Instant::now();
    let mut making = JoinSet::new();
    for task in 0..tasks {
        let keyring = Arc::clone(&keyring);
        making.spawn(async move {
            for n in 0..each {
                make(&keyring, &format!("{tasks} {task} {n}")).await;
            }
        });
    }
    while let Some(made) = making.join_next().await {
        made.unwrap();
    }
    (tasks * each) as f64 / start.elapsed().as_secs_f64()
}

async fn open(store: &PostgresStore) -> Arc<Keyring> {
    let format = KeyFormat::new("dof").unwrap();
    let keyring = Keyring::builder(store.clone(), format).open(NOW).await;
    Arc::new(keyring.unwrap())
}

async fn make(keyring: &Keyring, name: &str) {
    let tenant = Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-1").unwrap(),
    );
    let owner = Owner::User(UserId::new("worker").unwrap());
    let new = NewKey::new(tenant, owner, KeyName::new(name).unwrap());
    let context = Context::system(NOW);
    keyring.create(&context, new).await.unwrap();
}

/// How long after a commit's answer another program, which watches, has read the change.
async fn delays(store: &PostgresStore, other: &PostgresStore, changes: usize) -> [Duration; 2] {
    let second = Duration::from_secs(1);
    let keyring = open(store).await;
    let changes_so_far = other.changes(Revision::ZERO, 1).await.unwrap();
    let mut at = changes_so_far.last_revision();
    let mut delays = Vec::new();
    for n in 0..changes {
        let maker = Arc::clone(&keyring);
        let making = tokio::spawn(async move {
            make(&maker, &format!("watched {n}")).await;
            Instant::now()
        });
        loop {
            let changes = other.changes(at, 10).await.unwrap();
            if changes.last_revision() > at {
                at = changes.last_revision();
                break;
            }
            let _ = tokio::time::timeout(second, other.wait_for_change(at)).await;
        }
        let read = Instant::now();
        delays.push(read.saturating_duration_since(making.await.unwrap()));
    }
    delays.sort();
    [delays[delays.len() / 2], delays[delays.len() * 99 / 100]]
}

async fn connect(database: &Database) -> PostgresStore {
    let store = PostgresStore::connect(&database.url()).await;
    store.expect("the store can be connected to")
}
