//! The target `round_trip`.

use std::sync::Arc;

use keyfob::{
    Access, Actor, Context, IssuedKey, KeyId, KeyStore, MemoryStore, Owner, Scopes, Tenant,
    Timestamp, Verifier,
    audit::{Action, AuditEntry},
    block_on,
    gateway::Index,
    key::{KeyDigest, KeyFormat, PepperId, Peppers, PresentedKey, Random, RandomError},
    manage::{Authority, Labels, Status},
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{Change, Commit, Limits, Revision},
};

use super::spec;

/// Creates a credential from the input: prefix, identifier, secret, pepper, and a change of the
/// text.
///
/// # Panics
///
/// If the text differs from the format's specification, if it is refused, if it is accepted after a
/// change, or if a digest cannot be read back from its stored text.
pub fn round_trip(data: &[u8]) {
    let mut input = Input(data);
    let format = format(&mut input);
    let id = KeyId::from_bytes(input.take());
    let random: [u8; 23] = input.take();
    let [pepper, change] = input.take();

    let characters = spec::secret(format.prefix(), &random);
    let text = format!("{}:{}_sk_{characters}", format.key_id(id), format.prefix());
    issue(&format, id, &random, &text);
    let presented =
        PresentedKey::parse(&format, text.as_bytes()).expect("text in the documented format");
    assert_eq!(presented.id(), id);
    assert!(format.is_well_formed_secret(&text[text.len() - 40 - format.prefix().len()..]));

    let (peppers, stored) = stored(id, &characters, pepper);
    let digest = KeyDigest::from_text(&stored).expect("a digest in the stored format");
    assert_eq!(digest.to_text(), stored);
    assert!(digest.matches(&presented, &peppers));
    one_digest_text(&stored, change, &presented, &peppers);

    let verifier = verifier(&format, id, digest, peppers.clone());
    let access = Access::to("one");
    let now = Timestamp::from_unix(NOW);
    let principal = verifier
        .verify_text(text.as_bytes(), &access, now)
        .expect("the right key");
    assert_eq!(principal.key_id(), Some(id));
    for changed in changes(text.as_bytes(), change, input.0) {
        let denied = verifier
            .verify_text(&changed, &access, now)
            .expect_err("a changed text");
        assert_eq!((denied.status(), denied.credential()), (401, None));
        if let Ok(presented) = PresentedKey::parse(&format, &changed) {
            // The digest does not store the identifier, but was computed over it.
            assert!(!digest.matches(&presented, &peppers));
        }
    }
}

/// Checks that the generator writes the same text from the same random bytes.
fn issue(format: &KeyFormat, id: KeyId, random: &[u8; 23], text: &str) {
    struct Fixed<'a>(&'a [u8]);

    impl Random for Fixed<'_> {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
            bytes.copy_from_slice(self.0);
            Ok(())
        }
    }

    let source = Fixed(random);
    let stuck = random.iter().all(|byte| *byte == random[0]);
    match IssuedKey::with_id(format, id, &source) {
        Ok(key) => {
            assert_eq!(key.expose(), text);
            assert!(text.ends_with(key.expose_secret()));
            assert!(!format!("{key:?}").contains(&text[text.len() - 36..]));
        }
        Err(_) => assert!(stuck),
    }
}

/// One to sixteen characters, the first a letter.
fn format(input: &mut Input<'_>) -> KeyFormat {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let [length] = input.take();
    let prefix: String = (0..=length % 16)
        .map(|at| {
            let [byte] = input.take();
            char::from(ALPHABET[usize::from(byte) % if at == 0 { 26 } else { 36 }])
        })
        .collect();
    KeyFormat::new(&prefix).expect("a valid prefix")
}

/// The digest as a store keeps it, computed without the library; with a pepper unless that is zero.
fn stored(id: KeyId, characters: &str, pepper: u8) -> (Peppers, String) {
    let bytes = [b"kf1", &id.to_bytes()[..], characters.as_bytes()].concat();
    let Some(number) = PepperId::new(pepper) else {
        return (Peppers::none(), spec::digest(&[&bytes]));
    };
    let secret = [pepper; 32];
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
    let digits = spec::hex(ring::hmac::sign(&key, &bytes).as_ref());
    let peppers = Peppers::none()
        .with_current(number, &secret)
        .expect("32 bytes");
    (peppers, format!("hmac-sha256:{pepper}:{digits}"))
}

/// Checks that a changed text of a digest is invalid, or is the digest of another secret.
fn one_digest_text(stored: &str, change: u8, key: &PresentedKey<'_>, peppers: &Peppers) {
    for at in 0..stored.len() {
        for change in [change.max(1), 1] {
            let mut changed = stored.as_bytes().to_vec();
            changed[at] ^= change;
            let changed = String::from_utf8_lossy(&changed);
            if let Ok(digest) = KeyDigest::from_text(&changed) {
                assert_eq!(digest.to_text(), changed);
                assert!(!digest.matches(key, peppers), "changed at {at}");
            }
        }
    }
}

/// Returns every text with one byte changed by `change`, removed or inserted, every prefix of the
/// text, and the fuzzer's own text.
fn changes<'a>(text: &'a [u8], change: u8, own: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
    let changed = (0..text.len()).map(move |at| {
        let mut changed = text.to_vec();
        changed[at] ^= change.max(1);
        changed
    });
    let shortened = (0..text.len()).map(|at| [&text[..at], &text[at + 1..]].concat());
    let cut = (0..text.len()).map(|at| text[..at].to_vec());
    let grown = (0..=text.len()).map(move |at| [&text[..at], &[change], &text[at..]].concat());
    let own = (own != text).then(|| own.to_vec());
    changed.chain(shortened).chain(cut).chain(grown).chain(own)
}

/// Returns a verifier over a store with this one key.
fn verifier(format: &KeyFormat, id: KeyId, digest: KeyDigest, peppers: Peppers) -> Verifier {
    let team = TeamId::new("acme").expect("a name");
    let namespace = NamespaceId::new("one").expect("a name");
    let now = Timestamp::from_unix(NOW);
    let record = keyfob::store::KeyRecord {
        id,
        tenant: Tenant::new(team, namespace),
        owner: Owner::User(UserId::new("ann").expect("a name")),
        name: KeyName::new("laptop").expect("a name"),
        labels: Labels::new(),
        scopes: Scopes::All,
        digest,
        previous: None,
        created_at: now,
        created_by: Actor::system(),
        updated_at: now,
        issued_at: now,
        not_before: None,
        expires_at: None,
        status: Status::Active,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    };
    let store = MemoryStore::new();
    let limits = Limits::default();
    let commit = Commit {
        change: Change::CreateKey { record, limits },
        authority: Authority::System,
        event: AuditEntry::new(Action::KeyCreated, &Context::new(Actor::system(), now)),
    };
    block_on(store.commit(&commit)).expect("an empty store takes a key");
    let index = Arc::new(Index::new(*format, peppers));
    block_on(index.follow(&store, now)).expect("one entry fits");
    index.verifier(None)
}

const NOW: i64 = 1_800_000_000;

/// The input, read from the front; zeros after its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut bytes = [0; N];
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }
}
