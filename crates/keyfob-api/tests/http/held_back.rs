//! Requests whose last byte is held back while the caller loses its rights: the store checks the
//! caller again when it keeps the change.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use axum::http::request::Parts;
use keyfob::{
    Actor, Expiry, KeyInfo, KeyStore, MemoryStore, NewKey, Owner, Scopes, Timestamp, Ttl,
    key::CredentialId,
    manage::KeyUpdate,
    name::{KeyName, Scope, TeamId, UserId},
    store::{AuditQuery, Target},
};
use keyfob_api::{Authenticate, Authentication, Caller, ControlPlane, Limits, Right, Rights};
use keyfob_postgres::PostgresStore;
use keyfob_sqlite::SqliteStore;
use keyfob_testkit::postgres as server;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    failing::{Failing, Fault},
    fixture::{Fixture, tenant},
    served::Served,
};

/// How the caller, an operator of the team `ops`, loses its right to make the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Removed,
    Revoked,
    Deleted,
    Disabled,
    Expired,
    /// The key keeps `function:read` only.
    Demoted,
    /// Every key of its team is revoked.
    AllRevoked,
}

impl Loss {
    const ALL: [Self; 7] = [
        Self::Removed,
        Self::Revoked,
        Self::Deleted,
        Self::Disabled,
        Self::Expired,
        Self::Demoted,
        Self::AllRevoked,
    ];

    /// Takes the right away from the owner of a control key, through the keyring of a server.
    async fn happen(self, server: &Fixture, key: &KeyInfo) {
        let (keyring, context) = (&server.keyring, server.context());
        let (tenant, id) = (&key.tenant, key.id);
        match self {
            Self::Removed => {
                let target = Target::Owner(tenant.team.clone(), key.owner.clone());
                keyring.remove(&context, target).await.unwrap();
            }
            Self::Revoked => drop(keyring.revoke(&context, tenant, id, None).await.unwrap()),
            Self::Deleted => keyring.delete(&context, tenant, id, None).await.unwrap(),
            Self::Disabled => drop(keyring.disable(&context, tenant, id, None).await.unwrap()),
            // The caller passes the time on every server.
            Self::Expired => {}
            Self::Demoted => {
                let update = KeyUpdate::new().with_scopes(scopes(Right::FunctionRead));
                let update = keyring.update(&context, tenant, id, update, None);
                drop(update.await.unwrap());
            }
            Self::AllRevoked => {
                let target = Target::Team(tenant.team.clone());
                keyring.revoke_all(&context, target).await.unwrap();
            }
        }
    }

    fn refusal(self) -> (u16, &'static str) {
        match self {
            Self::Demoted => (403, "forbidden"),
            _ => (401, "unauthorized"),
        }
    }
}

/// A call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    CreateKey,
    /// With an `Idempotency-Key`.
    CreateOnce,
    /// Again with the same `Idempotency-Key`.
    CreateAgain,
    CreateControlKeyOfService,
    RestoreMember,
    /// Only after the caller was removed.
    RestoreOneself,
    SetPolicy,
    Rotate,
    Disable,
}

impl Call {
    const ALL: [Self; 9] = [
        Self::CreateKey,
        Self::CreateOnce,
        Self::CreateAgain,
        Self::CreateControlKeyOfService,
        Self::RestoreMember,
        Self::RestoreOneself,
        Self::SetPolicy,
        Self::Rotate,
        Self::Disable,
    ];

    const IN_EVERY_STORE: [Self; 5] = [
        Self::CreateKey,
        Self::CreateControlKeyOfService,
        Self::RestoreOneself,
        Self::SetPolicy,
        Self::Rotate,
    ];

    fn is_possible_after(self, loss: Loss) -> bool {
        self != Self::RestoreOneself || loss == Loss::Removed
    }

    /// Method, path and body.
    fn request(self, bobs_key: &str) -> (&'static str, String, Value) {
        let keys = "/v2/functions/namespaces/fn-a/keys";
        let control = "/v2/functions/namespaces/control:acme/keys";
        let policy = "/v2/functions/namespaces/fn-a/policy";
        let new = json!({"name": "new", "owner": "user:bob"});
        let bot = json!({"name": "bot", "owner": "service:bot", "scopes": ["team:read"]});
        let why = json!({"reason": "back"});
        match self {
            Self::CreateKey | Self::CreateOnce | Self::CreateAgain => {
                ("POST", keys.to_owned(), new)
            }
            Self::CreateControlKeyOfService => ("POST", control.to_owned(), bot),
            Self::RestoreMember => {
                let path = "/v1/teams/acme/members/carol/restore";
                ("POST", path.to_owned(), why)
            }
            Self::RestoreOneself => {
                let path = "/v1/teams/ops/members/olga/restore";
                ("POST", path.to_owned(), why)
            }
            Self::SetPolicy => ("PUT", policy.to_owned(), json!({"keys_per_owner": 9})),
            Self::Rotate => {
                let path = format!("{keys}/{bobs_key}/rotate");
                ("POST", path, json!({"grace_seconds": 60}))
            }
            Self::Disable => ("POST", format!("{keys}/{bobs_key}/disable"), why),
        }
    }

    fn success(self) -> u16 {
        match self {
            Self::CreateKey
            | Self::CreateOnce
            | Self::CreateAgain
            | Self::CreateControlKeyOfService => 201,
            _ => 200,
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::CreateOnce | Self::CreateAgain => "idempotency-key: one\r\n",
            _ => "",
        }
    }
}

/// A request of which all but the last byte was sent, after the caller was authenticated.
struct HeldBack {
    stream: TcpStream,
    last: [u8; 1],
}

impl HeldBack {
    async fn send(
        server: &Served,
        token: &str,
        (method, path, body): (&str, &str, &Value),
        header: &str,
    ) -> Self {
        let body = body.to_string();
        let (first, last) = body.as_bytes().split_at(body.len() - 1);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{header}\
             expect: 100-continue\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body once the handler reads it: the caller is authenticated.
        let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, expected, "{}", String::from_utf8_lossy(&interim));
        stream.write_all(first).await.unwrap();
        let last = [last[0]];
        Self { stream, last }
    }

    /// Sends the last byte, and returns the status and the body of the answer.
    async fn finish(mut self) -> (u16, Value) {
        self.stream.write_all(&self.last).await.unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// How many changes the store has kept.
async fn changes(server: &Fixture) -> usize {
    let mut events = server.keyring.walk(AuditQuery::every_team());
    let mut count = 0;
    while events.next().await.unwrap().is_some() {
        count += 1;
    }
    count
}

fn scopes(right: Right) -> Scopes {
    Scopes::only([Scope::new(right.as_str()).unwrap()]).unwrap()
}

/// The time at which the caller's key has ten seconds left.
const NEARLY_AN_HOUR: i64 = 3_590;

/// One cell of the table.
#[derive(Clone, Copy, Debug)]
struct Cell {
    call: Call,
    loss: Loss,
    /// Whether the right is lost through another server over the same store.
    through_the_other: bool,
    /// Whether the store checks the authority of a change, as it must.
    checks_authority: bool,
}

impl Cell {
    async fn check(self, store: Arc<dyn KeyStore>) {
        let (status, answer, changes) = self.send(store).await;
        if self.checks_authority {
            let refusal = (status, answer["id"].as_str().unwrap_or_default());
            let expected = (self.loss.refusal(), 0);
            assert_eq!((refusal, changes), expected, "{self:?}: {answer}");
        } else {
            let expected = (self.call.success(), 1);
            assert_eq!((status, changes), expected, "{self:?}: {answer}");
        }
    }

    /// The answer, and how many changes the request made.
    async fn send(self, store: Arc<dyn KeyStore>) -> (u16, Value, usize) {
        let Self { call, loss, .. } = self;
        let store = Arc::new(Failing::over(store));
        let server = Fixture::open(Arc::clone(&store), Limits::default()).await;
        let (_, bobs) = server.key("acme", "fn-a", "bob", "his").await;
        let bobs_key = server.keyring.format().key_id(bobs.id);
        let context = server.context();
        let carol = part_of("carol");
        let carol = server.keyring.remove_in_advance(&context, carol);
        carol.await.unwrap();
        let olga = NewKey::new(
            tenant("ops", "control:ops"),
            Owner::User(UserId::new("olga").unwrap()),
            KeyName::new("control").unwrap(),
        )
        .with_scopes(scopes(Right::Operator))
        .with_expiry(Expiry::In(Ttl::hours(1).unwrap()));
        let (key, info) = server.make(olga).await;
        server.pass(NEARLY_AN_HOUR);
        server.keyring.sync(server.now()).await.unwrap();
        let (method, path, body) = call.request(&bobs_key);
        if call == Call::CreateAgain {
            let first = axum::http::Request::post(&path)
                .header("authorization", format!("Bearer {}", key.expose()))
                .header("content-type", "application/json")
                .header("idempotency-key", "one")
                .body(axum::body::Body::from(body.to_string()));
            server.send(first.unwrap()).await.expect(201);
        }
        let other = Fixture::open(Arc::clone(&store), Limits::default()).await;
        other.pass(NEARLY_AN_HOUR);

        let listening = Served::start(server.router.clone()).await;
        let request = (method, path.as_str(), &body);
        let held = HeldBack::send(&listening, key.expose(), request, call.header()).await;
        let where_lost = if self.through_the_other {
            &other
        } else {
            &server
        };
        loss.happen(where_lost, &info).await;
        if loss == Loss::Expired {
            server.pass(10);
            other.pass(10);
        }
        let before = changes(&other).await;
        if !self.checks_authority {
            store.fault.store(Fault::NoAuthority);
        }
        let (status, answer) = held.finish().await;
        (status, answer, changes(&other).await - before)
    }
}

/// A call after a loss is refused and changes nothing; over a store that does not check the
/// caller's authority, every one succeeds.
pub(crate) async fn a_caller_who_loses_its_right_changes_nothing(
    open: impl AsyncFn() -> Arc<dyn KeyStore>,
) {
    // The calls differ before they reach the store: a store that is slow to open gets fewer. Where
    // there can be another server, it is the harder case.
    let is_shared = (*open().await).is_shared();
    let calls: &[Call] = if is_shared {
        &Call::IN_EVERY_STORE
    } else {
        &Call::ALL
    };
    let servers: &[bool] = if is_shared { &[true] } else { &[false, true] };
    for &call in calls {
        let mut tasks = JoinSet::new();
        for loss in Loss::ALL {
            if !call.is_possible_after(loss) {
                continue;
            }
            for &through_the_other in servers {
                for checks_authority in [true, false] {
                    let cell = Cell {
                        call,
                        loss,
                        through_the_other,
                        checks_authority,
                    };
                    tasks.spawn(cell.check(open().await));
                }
            }
        }
        tasks.join_all().await;
    }
}

#[tokio::test]
async fn a_caller_who_loses_its_right_changes_nothing_in_memory() {
    a_caller_who_loses_its_right_changes_nothing(async || {
        let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::new());
        store
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_loses_its_right_changes_nothing_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let number = AtomicU32::new(0);
    a_caller_who_loses_its_right_changes_nothing(async || {
        let number = number.fetch_add(1, Ordering::SeqCst);
        let file = folder.path().join(format!("{number}.db"));
        let store: Arc<dyn KeyStore> = Arc::new(SqliteStore::open(file).unwrap());
        store
    })
    .await;
}

#[test]
fn a_caller_who_loses_its_right_changes_nothing_in_postgres() {
    server::run(async {
        let databases = Mutex::new(Vec::new());
        a_caller_who_loses_its_right_changes_nothing(async || {
            let database = server::shared().database().await;
            let store = PostgresStore::connect(&database.url()).await.unwrap();
            databases.lock().unwrap().push(database);
            let store: Arc<dyn KeyStore> = Arc::new(store);
            store
        })
        .await;
    });
}

/// A holder may revoke a credential by showing it, also one that no longer works.
#[tokio::test]
async fn a_key_that_no_longer_works_can_still_revoke_itself() {
    for loss in [Loss::Disabled, Loss::Expired, Loss::Demoted] {
        let server = Fixture::new();
        let token = server.control_key("acme", "ada", Right::TeamAdmin).await;
        let id = token.split_once(':').unwrap().0;
        let id = server.keyring.format().parse_key_id(id).unwrap();
        let control = tenant("acme", "control:acme");
        let info = server.keyring.get(&control, id).await.unwrap();
        let path = format!(
            "/v2/functions/namespaces/control:acme/keys/{}/revoke",
            server.keyring.format().key_id(id)
        );
        let listening = Served::start(server.router.clone()).await;
        let body = json!({"reason": "leaked"});
        let held = HeldBack::send(&listening, &token, ("POST", &path, &body), "").await;
        loss.happen(&server, &info).await;
        let (status, answer) = held.finish().await;
        assert_eq!(status, 200, "{loss:?}: {answer}");
        let events = server.keyring.audit(&AuditQuery::every_team()).await;
        let last = events.unwrap().items.pop().unwrap().entry;
        assert_eq!(last.action.as_str(), "key_revoked");
        assert_eq!(last.actor.credential, Some(CredentialId::Key(id)));
    }
}

/// The time of a change is that of its commit, not that of the request's head.
#[tokio::test]
async fn the_time_of_a_change_is_when_its_body_was_read() {
    let server = Fixture::new();
    server.key("acme", "fn-a", "bob", "his").await;
    let token = server.control_key("acme", "ada", Right::TeamAdmin).await;
    let listening = Served::start(server.router.clone()).await;
    let keys = "/v2/functions/namespaces/fn-a/keys";
    let body = json!({"name": "new", "expires_in": "1h"});
    let held = HeldBack::send(&listening, &token, ("POST", keys, &body), "").await;
    server.pass(60);
    let (status, answer) = held.finish().await;
    assert_eq!(status, 201, "{answer}");
    let key = &answer["access_key"];
    assert_eq!(key["created_at"], "2025-12-19T10:31:00Z");
    assert_eq!(key["expires_at"], "2025-12-19T11:31:00Z");
    let events = server.keyring.audit(&AuditQuery::every_team()).await;
    let last = events.unwrap().items.pop().unwrap().entry;
    assert_eq!(last.at, server.now());
}

/// Authenticates everybody as Ada of acme, a person of the embedder's.
struct Accounts;

impl Authenticate for Accounts {
    fn authenticate<'a>(&'a self, _: &'a Parts, _: Timestamp) -> Authentication<'a> {
        let actor = Actor::user(UserId::new("ada").unwrap());
        let team = TeamId::new("acme").unwrap();
        let caller = Caller::new(actor, team, Rights::new([Right::TeamAdmin]));
        Box::pin(std::future::ready(Ok(caller)))
    }
}

#[tokio::test]
async fn a_person_of_the_embedder_who_was_removed_changes_nothing() {
    for (removed, expected, made) in [("bob", 201, 1), ("ada", 401, 0)] {
        let server = Fixture::new();
        server.key("acme", "fn-a", "carol", "hers").await;
        let router = ControlPlane::new(Arc::clone(&server.keyring))
            .with_authenticate(Accounts)
            .into_router();
        let listening = Served::start(router).await;
        let keys = "/v2/functions/namespaces/fn-a/keys";
        let body = json!({"name": "new", "owner": "user:carol"});
        let held = HeldBack::send(&listening, "", ("POST", keys, &body), "").await;
        let context = server.context();
        let removed_one = part_of(removed);
        let remove = server.keyring.remove_in_advance(&context, removed_one);
        remove.await.unwrap();
        let before = changes(&server).await;
        let (status, answer) = held.finish().await;
        assert_eq!(status, expected, "{removed}: {answer}");
        assert_eq!(changes(&server).await - before, made, "{removed}");
    }
}

/// A person's part in the team.
fn part_of(user: &str) -> Target {
    let owner = Owner::User(UserId::new(user).unwrap());
    Target::Owner(TeamId::new("acme").unwrap(), owner)
}
