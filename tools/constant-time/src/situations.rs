//! Every result of a verification, each with a credential that produces it.

use std::{sync::Arc, time::Duration};

use keyfob::{
    Access, Actor, Context, DenyReason, Expiry, IssuedKey, NewKey, Owner, Scopes, Tenant,
    Timestamp, Verifier,
    audit::{ChainHash, TrailHead},
    gateway::Index,
    key::{KeyDigest, KeyFormat, Peppers, SystemRandom},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord, PresentedLegacy},
    manage::{Policy, Rotation},
    name::{KeyName, NamespaceId, Scope, TeamId, UserId},
    store::{Changes, Entry, Item, KeyRecord, Revision},
};

/// The time of every verification.
pub const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
/// The time at which the keys were created.
const BEFORE: Timestamp = Timestamp::from_unix(1_799_990_000);
const NAMESPACE: &str = "fn";

/// A credential, and the expected result of its verification.
pub struct Situation {
    /// What distinguishes it.
    pub name: &'static str,
    /// The credential as it is presented.
    pub text: String,
    /// The expected result.
    pub verdict: Result<(), DenyReason>,
    /// Whether the store keeps a digest for the text's identifier.
    pub known: bool,
    namespace: &'static str,
    scopes: Vec<Scope>,
}

impl Situation {
    /// The access that is requested.
    pub fn access(&self) -> Access<'_> {
        Access::to(self.namespace).requiring(&self.scopes)
    }
}

/// A verifier, and the situations to verify with it.
pub struct World {
    /// Verifies keys and legacy credentials.
    pub verifier: Verifier,
    /// The situations.
    pub situations: Vec<Situation>,
}

impl World {
    /// All situations of keys. `touch` is called with every digest before the index reads it.
    pub fn of_keys(peppers: &Peppers, touch: impl FnMut(&mut KeyDigest)) -> Self {
        let mut maker = Maker::new(peppers);
        maker.make_plain();
        maker.make_ended();
        maker.make_refused();
        maker.make_rotated();
        maker.into_world(touch)
    }

    /// All situations of legacy credentials.
    pub fn of_legacy(peppers: &Peppers, touch: impl FnMut(&mut KeyDigest)) -> Self {
        let mut maker = Maker::new(peppers);
        maker.make_legacy();
        maker.into_world(touch)
    }
}

/// The format of all keys here.
pub fn format() -> KeyFormat {
    KeyFormat::new("dof").expect("a prefix")
}

/// The text with another random character of this alphabet at a position.
pub fn with_other_character(text: &str, at: usize, alphabet: &str) -> String {
    let mut changed = text.as_bytes().to_vec();
    while changed[at] == text.as_bytes()[at] {
        changed[at] = alphabet.as_bytes()[fastrand::usize(..alphabet.len())];
    }
    String::from_utf8(changed).expect("ASCII")
}

/// The text of a key with another character at a place of its secret.
pub fn with_wrong_character(text: &str, at: usize) -> String {
    with_other_character(text, text.len() - SECRET_CHARACTERS + at, BASE64URL)
}

const BASE64URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The text of one key's identifier with the secret of another.
pub fn with_secret_of(text: &str, other: &str) -> String {
    let start = text.len() - SECRET_CHARACTERS;
    format!("{}{}", &text[..start], &other[start..])
}

/// How many characters of a key's text are its secret: the last ones.
pub const SECRET_CHARACTERS: usize = 36;

/// Issues a key.
pub fn issue(new: NewKey, peppers: &Peppers) -> (KeyRecord, IssuedKey) {
    let context = Context::system(BEFORE);
    new.issue(
        &context,
        &Policy::default(),
        &format(),
        peppers,
        &SystemRandom,
    )
    .expect("a key")
}

/// A request for a key without special properties.
pub fn plain() -> NewKey {
    let user = UserId::new("alice").expect("a user");
    let name = KeyName::new("laptop").expect("a name");
    NewKey::new(tenant(), Owner::User(user), name)
}

fn tenant() -> Tenant {
    let team = TeamId::new("acme").expect("a team");
    Tenant::new(team, NamespaceId::new(NAMESPACE).expect("a namespace"))
}

/// A verifier over an index that has read these items from its feed, and is fresh at [`NOW`].
pub fn verifier_of(items: impl IntoIterator<Item = Item>, peppers: &Peppers) -> Verifier {
    let entries: Vec<_> = (1..)
        .zip(items)
        .map(|(revision, item)| Entry {
            revision: Revision::new(revision),
            item,
        })
        .collect();
    let last_revision = Revision::new(entries.len() as u64);
    let index = Arc::new(Index::new(format(), peppers.clone()));
    let changes = Changes {
        after: Revision::ZERO,
        entries,
        next_after: last_revision,
        after_hash: Some(ChainHash::START),
        next_hash: Some(ChainHash::START),
        more: false,
        head: TrailHead {
            revision: last_revision,
            hash: ChainHash::START,
        },
    };
    index.apply(&changes, NOW).expect("a whole feed");
    index.verifier(Some(Duration::from_secs(10)))
}

struct Maker<'a> {
    peppers: &'a Peppers,
    context: Context,
    items: Vec<Item>,
    situations: Vec<Situation>,
}

impl<'a> Maker<'a> {
    fn new(peppers: &'a Peppers) -> Self {
        Self {
            peppers,
            context: Context::system(BEFORE),
            items: Vec::new(),
            situations: Vec::new(),
        }
    }

    fn into_world(mut self, mut touch: impl FnMut(&mut KeyDigest)) -> World {
        for item in &mut self.items {
            match item {
                Item::Key(record) => {
                    touch(&mut record.digest);
                    if let Some(previous) = &mut record.previous {
                        touch(&mut previous.digest);
                    }
                }
                Item::Legacy(record) => touch(&mut record.digest),
                _ => {}
            }
        }
        World {
            verifier: verifier_of(self.items, self.peppers),
            situations: self.situations,
        }
    }

    fn make_plain(&mut self) {
        let text = self.keep(issue(plain(), self.peppers));
        let (_, other) = issue(plain(), self.peppers);
        self.expect("valid", &text, Ok(()));
        let mistyped = Err(DenyReason::Mistyped);
        let first = with_wrong_character(&text, 0);
        self.expect("first character wrong", &first, mistyped);
        let last = with_wrong_character(&text, SECRET_CHARACTERS - 1);
        self.expect("last character wrong", &last, mistyped);
        let wrong = with_secret_of(&text, other.expose());
        self.expect("wrong secret", &wrong, Err(DenyReason::WrongSecret));
        self.expect("unknown id", other.expose(), Err(DenyReason::UnknownKey))
            .known = false;
        let unknown = with_wrong_character(other.expose(), 0);
        self.expect("unknown id, mistyped", &unknown, mistyped)
            .known = false;
    }

    fn make_ended(&mut self) {
        let (record, key) = issue(plain(), self.peppers);
        let revoked = record.revoked(&self.context).expect("not revoked yet");
        let text = self.keep((revoked, key));
        self.expect("revoked", &text, Err(DenyReason::Revoked));

        let (record, key) = issue(plain(), self.peppers);
        let disabled = record.disabled(&self.context).expect("not revoked");
        let text = self.keep((disabled, key));
        self.expect("disabled", &text, Err(DenyReason::Disabled));

        let text = self.keep(issue(plain().with_expiry(Expiry::At(NOW)), self.peppers));
        self.expect("expired", &text, Err(DenyReason::Expired));

        let later = plain().with_not_before(NOW.plus_seconds(1));
        let text = self.keep(issue(later, self.peppers));
        self.expect("not yet valid", &text, Err(DenyReason::NotYetValid));
    }

    fn make_refused(&mut self) {
        let text = self.keep(issue(plain(), self.peppers));
        let wrong = Err(DenyReason::WrongNamespace);
        self.expect("wrong namespace", &text, wrong).namespace = "other";

        let read = Scopes::only([scope("read")]).expect("one scope");
        let text = self.keep(issue(plain().with_scopes(read), self.peppers));
        self.expect("missing scope", &text, Err(DenyReason::MissingScope))
            .scopes = vec![scope("write")];
    }

    fn make_rotated(&mut self) {
        let (text, previous) = self.rotate(NOW);
        self.expect("rotated", &text, Ok(()));
        self.expect("rotated, previous secret", &previous, Ok(()));
        let (_, other) = issue(plain(), self.peppers);
        let wrong = with_secret_of(&text, other.expose());
        let refused = Err(DenyReason::WrongSecret);
        self.expect("rotated, wrong secret", &wrong, refused);

        let (_, previous) = self.rotate(BEFORE);
        let refused = Err(DenyReason::Replaced);
        self.expect("rotated, grace over", &previous, refused);
    }

    /// A key that was rotated, with a grace until one second past `end`: its text, and the one
    /// that was replaced.
    fn rotate(&mut self, end: Timestamp) -> (String, String) {
        let grace = Duration::from_secs(end.seconds_since(BEFORE) + 1);
        let rotation = Rotation::new().with_grace(grace);
        let (record, previous) = issue(plain(), self.peppers);
        let rotated = record
            .rotated(
                &rotation,
                &self.context,
                &Policy::default(),
                &format(),
                self.peppers,
                &SystemRandom,
            )
            .expect("a live key");
        (self.keep(rotated), previous.expose().to_owned())
    }

    fn make_legacy(&mut self) {
        let policy = LegacyPolicy::until(NOW.plus_seconds(1));
        self.items.push(Item::LegacyPolicy(None, Some(policy)));
        let text = legacy_text(1, 'a');
        self.keep_legacy(&text, false);
        self.expect("valid", &text, Ok(()));
        let wrong = Err(DenyReason::WrongSecret);
        let first = with_other_character(&text, text.len() - 64, "xyz");
        self.expect("first character wrong", &first, wrong);
        let last = with_other_character(&text, text.len() - 1, "xyz");
        self.expect("last character wrong", &last, wrong);
        self.expect("wrong secret", &legacy_text(1, 'b'), wrong);
        let unknown = Err(DenyReason::UnknownKey);
        self.expect("unknown id", &legacy_text(2, 'a'), unknown)
            .known = false;
        let text = legacy_text(3, 'a');
        self.keep_legacy(&text, true);
        self.expect("blocked", &text, Err(DenyReason::Disabled));
    }

    fn keep_legacy(&mut self, text: &str, blocked: bool) {
        let presented = PresentedLegacy::parse(text.as_bytes()).expect("a legacy credential");
        self.items.push(Item::Legacy(LegacyRecord {
            id: presented.id(),
            tenant: tenant(),
            subject: UserId::new("subject").expect("a subject"),
            digest: KeyDigest::of_legacy(&presented, self.peppers),
            blocked,
            imported_at: BEFORE,
            imported_by: Actor::system(),
            revoked: None,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        }));
    }

    fn keep(&mut self, (record, key): (KeyRecord, IssuedKey)) -> String {
        self.items.push(Item::Key(record));
        key.expose().to_owned()
    }

    fn expect(
        &mut self,
        name: &'static str,
        text: &str,
        verdict: Result<(), DenyReason>,
    ) -> &mut Situation {
        self.situations.push(Situation {
            name,
            text: text.to_owned(),
            verdict,
            known: true,
            namespace: NAMESPACE,
            scopes: Vec::new(),
        });
        let last = self.situations.len() - 1;
        &mut self.situations[last]
    }
}

fn scope(name: &str) -> Scope {
    Scope::new(name).expect("a scope")
}

/// A legacy credential that nobody has.
fn legacy_text(id: u8, letter: char) -> String {
    let id = LegacyId::from_bytes([id; 16]);
    format!("{id}:{}", letter.to_string().repeat(64))
}
