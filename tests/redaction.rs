//! Nothing printed contains a secret or a digest, and nothing serialised contains a secret.

use std::{fmt::Debug, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    Access, Actor, Context, KeyInfo, KeyStore, Keyring, MemoryStore, NewKey, Owner, Tenant,
    Timestamp,
    authorization::{self, HeaderBuffer},
    block_on,
    gateway::Credential,
    key::{KeyDigest, KeyFormat, PepperId, Peppers, PresentedKey},
    legacy::{self, PresentedLegacy},
    manage::Rotation,
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{AuditQuery, KeyQuery, LegacyQuery},
};

const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
const PEPPER: &[u8] = b"a pepper of thirty-two bytes, ok";
const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// Collects printed and serialised values, and searches them for forbidden texts.
struct Scan {
    /// Texts that must not occur anywhere.
    secrets: Vec<String>,
    /// Texts that must not occur in printed values; stores do keep digests.
    digests: Vec<String>,
    looked_at: usize,
}

impl Scan {
    fn add(&mut self, secret: &str) {
        let encoded = STANDARD.encode(secret);
        let hex = format!("{:02x?}", secret.as_bytes()).replace(['[', ']', ',', ' '], "");
        let bytes = format!("{:?}", secret.as_bytes()).replace(['[', ']'], "");
        self.secrets
            .extend([secret.to_owned(), encoded, hex, bytes]);
    }

    fn add_digest(&mut self, digest: &KeyDigest) {
        let text = digest.to_text();
        let digits = &text[text.len() - 64..];
        self.digests.push(digits.to_owned());
        for lane in digits.as_bytes().chunks(16) {
            let lane = u64::from_str_radix(std::str::from_utf8(lane).unwrap(), 16).unwrap();
            self.digests.push(lane.to_string());
        }
    }

    fn printed(&mut self, value: &impl Debug) {
        let (plain, pretty) = (format!("{value:?}"), format!("{value:#?}"));
        for text in [plain, pretty] {
            self.text(&text);
            for digest in &self.digests {
                assert!(!text.contains(digest.as_str()), "a digest is printed");
            }
        }
    }

    fn stored(&mut self, value: &impl serde::Serialize) {
        let text = serde_json::to_string(value).unwrap();
        self.text(&text);
    }

    fn text(&mut self, text: &str) {
        self.looked_at += 1;
        for secret in &self.secrets {
            assert!(
                !text.contains(secret.as_str()),
                "a secret is printed or serialised"
            );
        }
    }
}

fn dof() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

#[test]
fn the_scan_finds_secrets_and_digests() {
    let mut scan = Scan {
        secrets: Vec::new(),
        digests: Vec::new(),
        looked_at: 0,
    };
    scan.add("hunter2hunter2");
    let leaks = |value: &dyn Debug| {
        let text = format!("{value:?}");
        scan.secrets
            .iter()
            .any(|secret| text.contains(secret.as_str()))
    };
    assert!(leaks(&"hunter2hunter2"));
    assert!(leaks(&b"hunter2hunter2".to_vec()));
    assert!(leaks(&STANDARD.encode("hunter2hunter2")));
    assert!(!leaks(&"nothing here"));
}

#[test]
fn no_value_prints_or_serialises_a_secret() {
    let peppers = Peppers::none()
        .with_current(PepperId::new(1).unwrap(), PEPPER)
        .unwrap();
    let store = Arc::new(MemoryStore::new());
    let ring = Keyring::builder(Arc::clone(&store), dof()).peppers(peppers.clone());
    let ring = block_on(ring.open(NOW)).unwrap();
    let (index, verifier) = (ring.index(), ring.unbounded_verifier());
    let alice = UserId::new("alice").unwrap();
    let context = Context::new(Actor::user(alice.clone()), NOW);
    let tenant = Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-a").unwrap(),
    );
    let new = NewKey::new(
        tenant.clone(),
        Owner::User(alice),
        KeyName::new("laptop").unwrap(),
    );

    let mut scan = Scan {
        secrets: Vec::new(),
        digests: Vec::new(),
        looked_at: 0,
    };
    scan.add(std::str::from_utf8(PEPPER).unwrap());
    let created = block_on(ring.create(&context, new.clone())).unwrap();
    let created_debug = format!("{created:?} {created:#?}");
    let (old, info) = created.into_parts();
    let rotation = Rotation::new().with_grace(Duration::from_secs(60));
    let rotated = ring.rotate(&context, &tenant, old.id(), rotation, None);
    let key = block_on(rotated).unwrap().secret;
    for key in [&old, &key] {
        scan.add(key.expose_secret());
        scan.add(&key.expose_secret()["dof_sk_".len()..]);
    }
    let (uuid, legacy_key) = GUEST.split_once(':').unwrap();
    scan.add(legacy_key);
    let line = format!(
        r#"{{"subject":"guest","namespaces":[{{"name":"fn-a","uuid":"{uuid}","key":"{legacy_key}"}}]}}"#
    );
    let import = legacy::read_subjects(&line, &context, &peppers, |_| Some(tenant.team.clone()));
    for record in &import.records {
        scan.add_digest(&record.digest);
        block_on(ring.import_legacy(&context, record.clone())).unwrap();
    }
    let record = block_on(store.key(&tenant, key.id())).unwrap().unwrap();
    scan.add_digest(&record.digest);
    scan.add_digest(&record.previous.as_ref().unwrap().digest);

    // Values that hold or held a secret.
    scan.text(&created_debug);
    scan.printed(&key);
    scan.printed(&key.bearer());
    scan.printed(&PresentedKey::parse(&dof(), key.expose().as_bytes()).unwrap());
    scan.printed(&PresentedLegacy::parse(GUEST.as_bytes()).unwrap());
    scan.printed(&Credential::parse(&dof(), key.expose().as_bytes()).unwrap());
    let mut buffer = HeaderBuffer::new();
    let header = format!("Basic {}", STANDARD.encode(key.expose()));
    authorization::parse(&dof(), header.as_bytes(), &mut buffer).unwrap();
    scan.printed(&buffer);
    scan.printed(&peppers);
    scan.printed(&new);
    scan.printed(&record.digest);
    scan.printed(&import);

    // Values that decide and store.
    scan.printed(&ring);
    scan.printed(&store);
    scan.printed(&verifier);
    scan.printed(index);
    let access = Access::to("fn-a");
    scan.printed(
        &verifier
            .verify_header(header.as_bytes(), &access, NOW)
            .unwrap(),
    );
    scan.printed(
        &verifier
            .verify_header(b"Basic x", &access, NOW)
            .unwrap_err(),
    );

    // Values that are returned.
    let changes = block_on(store.changes(keyfob::store::Revision::ZERO, 100)).unwrap();
    let events = block_on(ring.audit(&AuditQuery::every_team())).unwrap();
    let keys = block_on(ring.list(&KeyQuery::team(tenant.team.clone()))).unwrap();
    let report = block_on(ring.legacy_report(&LegacyQuery::every_team())).unwrap();
    scan.printed(&record);
    scan.printed(&info);
    scan.printed(&changes);
    scan.printed(&events);
    scan.printed(&keys);
    scan.printed(&report);
    scan.stored(&record);
    scan.stored(&info);
    scan.stored(&changes);
    scan.stored(&events.items);
    scan.stored(&keys.items);
    assert_eq!(scan.looked_at, 50);
}

#[test]
fn the_public_view_of_a_key_has_no_digest() {
    let record: keyfob::store::KeyRecord = serde_json::from_str(RECORD).unwrap();
    let digits = &record.digest.to_text()["sha256:".len()..];
    assert!(serde_json::to_string(&record).unwrap().contains(digits));
    let info = serde_json::to_string(&KeyInfo::from(&record)).unwrap();
    assert!(!info.contains(digits) && !info.contains("digest"));
}

const RECORD: &str = r#"{
    "id": "d79e8aeb42e5476893c7d4c59a166264",
    "tenant": {"team": "acme", "namespace": "fn-a"},
    "owner": "user:alice", "name": "laptop", "labels": {}, "scopes": "all",
    "digest": "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "previous": null, "created_at": 1800000000,
    "created_by": {"owner": "user:alice", "credential": null},
    "updated_at": 1800000000, "issued_at": 1800000000, "not_before": null, "expires_at": null,
    "status": "active", "created_revision": 1, "revision": 1
}"#;

#[test]
fn errors_do_not_repeat_their_input() {
    let hostile = "hunter2\u{7}hunter2";
    let mut texts = vec![
        KeyName::new(hostile).unwrap_err().to_string(),
        NamespaceId::new("hunter2/hunter2").unwrap_err().to_string(),
        KeyFormat::new("hunter2_hunter2").unwrap_err().to_string(),
        "hunter2".parse::<keyfob::Ttl>().unwrap_err().to_string(),
        KeyDigest::from_text("hunter2").unwrap_err().to_string(),
        dof().parse_key_id("hunter2").unwrap_err().to_string(),
        "hunter2"
            .parse::<keyfob::store::Cursor>()
            .unwrap_err()
            .to_string(),
        PresentedLegacy::parse(b"hunter2").unwrap_err().to_string(),
    ];
    for json in [
        RECORD.replace("laptop", "hunter2\\u0007"),
        RECORD.replace("sha256:", "hunter2:"),
        RECORD.replace("d79e8aeb", "hunter2!"),
    ] {
        let error = serde_json::from_str::<keyfob::store::KeyRecord>(&json).unwrap_err();
        texts.push(error.to_string());
    }
    let context = Context::new(Actor::system(), NOW);
    for line in [
        r#"{"subject":"s","namespaces":[{"name":"n","uuid":"hunter2","key":"hunter2"}]}"#,
        r#"{"subject":"s","namespaces":[{"name":"n","uuid":7,"key":"hunter2"}]}"#,
        r#"{"subject":"s","namespaces":"hunter2"}"#,
        r#""hunter2""#,
    ] {
        let import =
            legacy::read_subjects(line, &context, &Peppers::none(), |_| TeamId::new("t").ok());
        assert_eq!(
            (import.records.len(), import.problems.len()),
            (0, 1),
            "{line}"
        );
        texts.push(import.problems[0].to_string());
        texts.push(format!("{:?}", import.problems[0]));
    }
    for text in texts {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
