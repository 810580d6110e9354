//! Properties of parsing and printing, for any input.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    Access, Context, IssuedKey, KeyId, Keyring, MemoryStore, NewKey, Owner, Tenant, Timestamp, Ttl,
    Verifier,
    authorization::{self, HeaderBuffer},
    block_on,
    gateway::Credential,
    key::{KeyFormat, PresentedKey, SystemRandom},
    legacy::{LegacyId, LegacyPolicy, PresentedLegacy},
    name::{KeyName, LabelValue, NamespaceId, Reason, Scope, TeamId, UserId},
};
use proptest::{prelude::*, strategy::ValueTree};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// A verifier with one key, and the key.
static FIXTURE: LazyLock<(Verifier, IssuedKey)> = LazyLock::new(|| {
    let keyring = block_on(Keyring::open(MemoryStore::new(), "dof")).unwrap();
    let tenant = Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-a").unwrap(),
    );
    let owner = Owner::User(UserId::new("alice").unwrap());
    let new = NewKey::new(tenant, owner, KeyName::new("laptop").unwrap());
    let created = block_on(keyring.create(&Context::system(NOW), new)).unwrap();
    (keyring.verifier(), created.secret)
});

fn prefix() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,15}"
}

fn accepted(header: &[u8]) -> bool {
    FIXTURE
        .0
        .verify_header(header, &Access::to("fn-a"), NOW)
        .is_ok()
}

fn basic(text: &[u8]) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(text)).into_bytes()
}

fn bearer(text: &str) -> Vec<u8> {
    format!("Bearer {text}").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_issued_key_parses(prefix in prefix()) {
        let format = KeyFormat::new(&prefix).unwrap();
        let key = IssuedKey::generate(&format, &SystemRandom).unwrap();
        prop_assert_eq!(key.expose().len(), format.credential_len());
        let presented = PresentedKey::parse(&format, key.expose().as_bytes()).unwrap();
        prop_assert_eq!(presented.id(), key.id());
        let (id, secret) = key.expose().split_once(':').unwrap();
        prop_assert_eq!(format.parse_key_id(id), Ok(key.id()));
        prop_assert_eq!(format.key_id(key.id()), id);
        prop_assert!(format.is_well_formed_secret(secret));
        prop_assert!(PresentedKey::from_pair(&format, id.as_bytes(), secret.as_bytes()).is_ok());
    }

    #[test]
    fn a_key_does_not_parse_under_another_prefix(ours in prefix(), theirs in prefix()) {
        prop_assume!(ours != theirs);
        let (ours, theirs) = (KeyFormat::new(&ours).unwrap(), KeyFormat::new(&theirs).unwrap());
        let key = IssuedKey::generate(&ours, &SystemRandom).unwrap();
        prop_assert!(PresentedKey::parse(&theirs, key.expose().as_bytes()).is_err());
        prop_assert!(!theirs.is_well_formed_secret(key.expose_secret()));
    }

    #[test]
    fn the_published_pattern_matches_issued_keys(prefix in prefix()) {
        // The patterns are simple enough to serve as proptest strategies: what a pattern generates
        // has the right format, except for the checksum.
        let format = KeyFormat::new(&prefix).unwrap();
        let mut runner = proptest::test_runner::TestRunner::default();
        let pattern = format.credential_pattern();
        let made = proptest::string::string_regex(&pattern).unwrap().new_tree(&mut runner);
        let made = made.unwrap().current();
        prop_assert!(PresentedKey::parse(&format, made.as_bytes()).is_ok());
        prop_assert!(!format.is_well_formed_secret(made.split_once(':').unwrap().1));
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let format = KeyFormat::new("dof").unwrap();
        let _ = Credential::parse(&format, &bytes);
        let _ = authorization::parse(&format, &bytes, &mut HeaderBuffer::new());
        prop_assert!(!accepted(&bytes));
        prop_assert!(!accepted(&[b"Basic ", &bytes[..]].concat()));
        prop_assert!(!accepted(&[b"Bearer ", &bytes[..]].concat()));
        prop_assert!(!accepted(&basic(&bytes)));
    }

    #[test]
    fn inserted_unicode_characters_make_a_key_invalid(text in "\\PC{1,4}", at in any::<prop::sample::Index>()) {
        let key = FIXTURE.1.expose();
        let place = at.index(key.len());
        for dressed in [
            format!("{}{text}{}", &key[..place], &key[place..]),
            format!("{}{text}{}", &key[..place], key.get(place + 1..).unwrap_or("")),
        ] {
            // One or more spaces follow the scheme (RFC 9110, section 11.4): those before the key are not part of it.
            prop_assume!(dressed.trim_start_matches(' ') != key);
            prop_assert!(!accepted(&bearer(&dressed)));
            prop_assert!(!accepted(&basic(dressed.as_bytes())));
        }
    }

    #[test]
    fn a_valid_checksum_alone_is_not_accepted(random in any::<[u8; 23]>()) {
        // A secret with a valid checksum, for an existing key, with another random part.
        let format = KeyFormat::new("dof").unwrap();
        let mut crc = crc32fast::Hasher::new();
        crc.update(b"dof_sk_");
        crc.update(&random);
        let bytes = [&random[..], &crc.finalize().to_be_bytes()].concat();
        let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let secret = format!("dof_sk_{secret}");
        prop_assert!(format.is_well_formed_secret(&secret));
        let id = format.key_id(FIXTURE.1.id());
        let text = [&id, ":", &secret].concat();
        prop_assert!(!accepted(&bearer(&text)));
    }

    #[test]
    fn an_id_has_exactly_one_text_form(bytes in any::<[u8; 16]>()) {
        let id = KeyId::from_bytes(bytes);
        prop_assert_eq!(id.to_bytes(), bytes);
        let text = id.to_string();
        prop_assert_eq!(KeyId::from_hex(text.as_bytes()), Ok(id));
        if text != text.to_uppercase() {
            prop_assert!(KeyId::from_hex(text.to_uppercase().as_bytes()).is_err());
        }
        let legacy = LegacyId::from_bytes(bytes);
        prop_assert_eq!(LegacyId::parse(legacy.to_string().as_bytes()), Ok(legacy));
    }

    #[test]
    fn a_ttl_round_trips_through_its_text(amount in any::<u64>(), unit in "[hd]") {
        let text = format!("{amount}{unit}");
        let seconds = u128::from(amount) * if unit == "h" { 3_600 } else { 86_400 };
        match text.parse::<Ttl>() {
            Ok(ttl) => {
                prop_assert_eq!(u128::from(ttl.as_seconds()), seconds);
                prop_assert_eq!(ttl.to_string().parse(), Ok(ttl));
            }
            Err(_) => prop_assert!(seconds < 3_600 || seconds > u128::from(Ttl::MAX.as_seconds())),
        }
    }

    #[test]
    fn no_text_makes_the_ttl_parser_panic(text in "\\PC*") {
        let _ = text.parse::<Ttl>();
    }

    #[test]
    fn timestamp_arithmetic_saturates(seconds in any::<i64>(), more in any::<u64>()) {
        let moment = Timestamp::from_unix(seconds);
        let later = moment.plus_seconds(more);
        prop_assert!(later >= moment && later <= Timestamp::MAX);
        prop_assert!(later.seconds_since(moment) <= more);
        prop_assert_eq!(Timestamp::from(moment.to_datetime()), moment);
    }

    #[test]
    fn a_name_is_accepted_unchanged_or_refused(text in "\\PC{0,140}|[\\x00-\\x7f]{0,140}") {
        macro_rules! check {
            ($($name:ident),*) => {$(
                if let Ok(name) = $name::new(&text) {
                    prop_assert_eq!(name.as_str(), &text);
                    let json = serde_json::to_string(&name).unwrap();
                    prop_assert_eq!(serde_json::from_str::<$name>(&json).unwrap(), name);
                    prop_assert!(!text.is_empty() && !text.chars().any(char::is_control));
                }
            )*};
        }
        check!(TeamId, NamespaceId, UserId, KeyName, LabelValue, Scope, Reason);
    }

    #[test]
    fn any_changed_byte_makes_a_legacy_credential_invalid_or_different(key in "[A-Za-z0-9]{64}", id in any::<[u8; 16]>(), at in 0..101usize, byte in any::<u8>()) {
        let text = format!("{}:{key}", LegacyId::from_bytes(id));
        let presented = PresentedLegacy::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(presented.id(), LegacyId::from_bytes(id));
        let mut changed = text.clone().into_bytes();
        changed[at] = byte;
        if let Ok(other) = PresentedLegacy::parse(&changed) {
            let fits = match at {
                36 => byte == b':',
                8 | 13 | 18 | 23 => byte == b'-',
                0..36 => byte.is_ascii_hexdigit(),
                _ => byte.is_ascii_alphanumeric(),
            };
            prop_assert!(fits);
            let same_id = at >= 36 || byte.eq_ignore_ascii_case(&text.as_bytes()[at]);
            prop_assert_eq!(other.id() == presented.id(), same_id);
        }
    }

    #[test]
    fn a_legacy_policy_accepts_before_the_sunset_and_outside_brownouts(sunset in 0..100i64, spans in prop::collection::vec((0..100i64, 1..20i64), 0..5)) {
        let at = Timestamp::from_unix;
        let policy = spans.iter().fold(LegacyPolicy::until(at(sunset)), |policy, (start, length)| {
            policy.with_brownout(at(*start), at(start + length)).unwrap()
        });
        for now in 0..120 {
            let in_brownout = spans.iter().any(|(start, length)| (*start..start + length).contains(&now));
            prop_assert_eq!(policy.accepts(at(now)), now < sunset && !in_brownout);
        }
        let json = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<LegacyPolicy>(&json).unwrap(), policy);
    }
}
