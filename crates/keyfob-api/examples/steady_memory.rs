//! Measures whether memory grows with the number of changes: sends calls to the control plane over
//! a SQLite file, while the number of keys stays the same, and fails if the memory of the
//! process grew.
//!
//! ```text
//! cargo run --release -p keyfob-api --example steady_memory -- 1000000 /dev/shm
//! ```
//!
//! The folder is where the file is created, at first the system's for temporary files. A million
//! calls leave a file of about 750 MB, most of it the audit trail.

use std::{
    collections::VecDeque,
    env,
    error::Error,
    fs,
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Request, header::AUTHORIZATION, header::CONTENT_TYPE},
};
use http_body_util::BodyExt as _;
use keyfob::{Context, Expiry, Keyring, name::TeamId, now};
use keyfob_api::{ControlPlane, Limits, Quota, Right, first_credential};
use keyfob_sqlite::SqliteStore;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// How much the memory may grow between 20 % and 100 % of the calls, in kB.
const MOST: u64 = 2 * 1024;
/// The keys at one time.
const KEYS: usize = 512;
/// The people who own them.
const MEMBERS: u64 = 64;
/// The lines that are printed.
const LINES: u64 = 10;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "prints the result")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let calls = arguments.next().map(|text| text.parse::<u64>());
    let calls = calls.transpose()?.unwrap_or(1_000_000);
    let folder = arguments.next().map_or_else(env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let file = folder.path().join("keyfob.db");

    let mut client = Client::over(SqliteStore::open(&file)?).await?;
    let begin = Instant::now();
    let mut at_20 = 0;
    let mut rounds = 0;
    for line in 1..=LINES {
        while client.calls < calls / LINES * line {
            client.round(rounds).await?;
            rounds += 1;
        }
        let resident = resident()?;
        if line == LINES / 5 {
            at_20 = resident;
        }
        let seconds = begin.elapsed().as_secs();
        let stored = fs::metadata(&file)?.len() / 1024;
        println!(
            "{} calls, {seconds} s: {resident} kB in memory, {stored} kB on disk",
            client.calls
        );
    }
    let growth = resident()?.saturating_sub(at_20);
    println!("{growth} kB more than at 20 %, at most {MOST} kB");
    if growth > MOST {
        return Err("the memory grows with the calls".into());
    }
    Ok(())
}

/// A caller of the control plane with every right.
struct Client {
    router: Router,
    operator: String,
    namespace: String,
    /// The identifiers of the keys, the oldest first.
    keys: VecDeque<String>,
    calls: u64,
}

impl Client {
    /// A control plane over this store, with one namespace.
    async fn over(store: SqliteStore) -> Result<Self, Box<dyn Error>> {
        let keyring = Arc::new(Keyring::open(store, "dof").await?);
        let context = Context::system(now());
        let first = first_credential(
            &keyring,
            &context,
            TeamId::new("acme")?,
            "user:ada".parse()?,
            Right::Operator,
            Expiry::Never,
        );
        let operator = first.await?.secret.bearer().as_str().to_owned();
        let limits = Limits {
            caller: Quota::new(NonZeroU32::MAX, Duration::from_secs(1)),
            ..Limits::default()
        };
        let mut client = Self {
            router: ControlPlane::new(keyring).with_limits(limits).into_router(),
            operator,
            namespace: String::new(),
            keys: VecDeque::new(),
            calls: 0,
        };
        let namespaces = "/v2/functions/namespaces";
        let body = json!({"label": "orders", "region": "local"});
        let created = client.call("POST", namespaces, None, body).await?;
        let namespace = text(&created["namespace"]["namespace"])?;
        client.namespace = format!("{namespaces}/{namespace}");
        Ok(client)
    }

    /// Makes one key, uses and changes it, removes its owner in every second round, and deletes the
    /// oldest key. All names are new but those of the owners.
    async fn round(&mut self, round: u64) -> Result<(), Box<dyn Error>> {
        let member = format!("member-{}", round % MEMBERS);
        let keys = format!("{}/keys", self.namespace);
        let new = json!({
            "name": format!("key {round}"),
            "owner": format!("user:{member}"),
            "scopes": scopes("created", round),
            "labels": {"round": round.to_string()},
        });
        let repeat = format!("round-{round}");
        let created = self.call("POST", &keys, Some(&repeat), new).await?;
        let id = text(&created["access_key"]["id"])?;
        let key = format!("{keys}/{id}");
        self.keys.push_back(key.clone());
        let update = json!({"scopes": scopes("updated", round)});
        self.call("PUT", &key, None, update).await?;
        let (rotate, rotation) = (format!("{key}/rotate"), json!({"grace_seconds": 60}));
        let rotated = self.call("POST", &rotate, None, rotation).await?;
        let policy = json!({"max_expires_in": format!("{}d", round % 300 + 1)});
        let place = format!("{}/policy", self.namespace);
        self.call("PUT", &place, None, policy).await?;

        let secret = text(&rotated["access_key"]["secret"])?;
        let credential = json!({"token": format!("{id}:{secret}")});
        self.introspect(&credential, true).await?;
        let page = format!("{keys}?limit=20");
        self.call("GET", &page, None, Value::Null).await?;
        if round.is_multiple_of(2) {
            let person = format!("/v1/teams/acme/members/{member}");
            let (remove, restore) = (format!("{person}/remove"), format!("{person}/restore"));
            self.call("POST", &remove, None, json!({})).await?;
            self.introspect(&credential, false).await?;
            self.call("POST", &restore, None, json!({})).await?;
        }
        if self.keys.len() > KEYS
            && let Some(oldest) = self.keys.pop_front()
        {
            self.call("DELETE", &oldest, None, Value::Null).await?;
        }
        Ok(())
    }

    /// Checks that a credential works, or does not.
    async fn introspect(&mut self, credential: &Value, works: bool) -> Result<(), Box<dyn Error>> {
        let path = "/v1/introspect";
        let answer = self.call("POST", path, None, credential.clone()).await?;
        if answer["active"] == works {
            Ok(())
        } else {
            Err(format!("the key is active: {}", answer["active"]).into())
        }
    }

    /// Sends a request; its answer must be a success.
    async fn call(
        &mut self,
        method: &str,
        path: &str,
        repeat: Option<&str>,
        body: Value,
    ) -> Result<Value, Box<dyn Error>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, &self.operator);
        if let Some(repeat) = repeat {
            request = request.header("idempotency-key", repeat);
        }
        let request = if body.is_null() {
            request.body(Body::empty())?
        } else {
            request
                .header(CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string()))?
        };
        let answer = self.router.clone().oneshot(request).await?;
        let status = answer.status();
        let answer = answer.into_body().collect().await?.to_bytes();
        self.calls += 1;
        if status.is_success() {
            Ok(serde_json::from_slice(&answer)?)
        } else {
            let message = String::from_utf8_lossy(&answer);
            Err(format!("{method} {path}: {status} {message}").into())
        }
    }
}

/// Eight scopes that no other key has.
fn scopes(kind: &str, round: u64) -> Vec<String> {
    (0..8).map(|n| format!("{kind}-{round}-{n}")).collect()
}

fn text(value: &Value) -> Result<String, Box<dyn Error>> {
    Ok(value.as_str().ok_or("a field is missing")?.to_owned())
}

/// The memory of this process in kB.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS")?.parse()?)
}
