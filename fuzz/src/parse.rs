//! The target `parse`.

use keyfob::{
    gateway::Credential,
    key::{KeyError, KeyFormat, KeyPart, PresentedKey},
    legacy::{LegacyId, PresentedLegacy},
};

use super::spec;

/// Parses arbitrary bytes as every text form, with several prefixes.
///
/// # Panics
///
/// If an invalid text is accepted, if a valid one is refused, if the value that was parsed has
/// another text, or if an error's position is outside the text.
pub fn parse(data: &[u8]) {
    for prefix in ["dof", "a", "dof0", "abcdefghijklmnop"] {
        let format = KeyFormat::new(prefix).expect("a valid prefix");
        one_text(&format, data);
        halves(&format, data);
        if let Ok(text) = std::str::from_utf8(data) {
            key_id_and_secret(&format, text);
        }
    }
    legacy(data);
    if let Ok(text) = std::str::from_utf8(data) {
        prefix(text);
    }
}

fn one_text(format: &KeyFormat, data: &[u8]) {
    let id = spec::key(format.prefix(), data);
    match PresentedKey::parse(format, data) {
        Ok(key) => {
            assert_eq!(Some(spec::hex(&key.id().to_bytes()).as_bytes()), id);
            assert_eq!(
                format.key_id(key.id()).as_bytes(),
                &data[..data.len() - 41 - format.prefix().len()]
            );
            assert_eq!(data.len(), format.credential_len());
        }
        Err(error) => {
            assert!(id.is_none(), "a valid text was refused: {error}");
            in_bounds(error, data);
            assert_eq!(
                error.part() == KeyPart::Length,
                data.len() != format.credential_len()
            );
        }
    }
    match Credential::parse(format, data) {
        Ok(Credential::Key(_)) => assert!(id.is_some()),
        Ok(Credential::Legacy(_)) => assert!(id.is_none() && spec::is_legacy(data)),
        Ok(_) => unreachable!("there are two kinds"),
        Err(error) => {
            assert!(id.is_none() && !spec::is_legacy(data));
            assert_eq!(Some(error), PresentedKey::parse(format, data).err());
        }
    }
}

/// Splitting the text at any colon and parsing the halves gives the same result as the whole text.
fn halves(format: &KeyFormat, data: &[u8]) {
    let whole = PresentedKey::parse(format, data);
    let mut accepted = 0;
    for (at, _) in data
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b':')
        .take(8)
    {
        let (id, secret) = (&data[..at], &data[at + 1..]);
        match PresentedKey::from_pair(format, id, secret) {
            Ok(key) => {
                assert_eq!(whole.as_ref().map(PresentedKey::id), Ok(key.id()));
                accepted += 1;
            }
            Err(error) => {
                let length = match error.part() {
                    KeyPart::Prefix | KeyPart::Id => id.len(),
                    _ => secret.len(),
                };
                assert!(error.position() <= length, "{error} in {length} bytes");
            }
        }
    }
    assert_eq!(accepted, usize::from(whole.is_ok()));
}

fn key_id_and_secret(format: &KeyFormat, text: &str) {
    match format.parse_key_id(text) {
        Ok(id) => assert_eq!(format.key_id(id), text),
        Err(error) => {
            in_bounds(error, text.as_bytes());
            let digits = text
                .strip_prefix(format.prefix())
                .and_then(|rest| rest.strip_prefix("_v1_"));
            assert!(!digits.is_some_and(|digits| spec::is_id(digits.as_bytes())));
        }
    }
    let characters = text
        .strip_prefix(format.prefix())
        .and_then(|rest| rest.strip_prefix("_sk_"));
    assert_eq!(
        format.is_well_formed_secret(text),
        characters.is_some_and(|c| spec::is_checked(format.prefix(), c.as_bytes()))
    );
}

fn legacy(data: &[u8]) {
    match PresentedLegacy::parse(data) {
        Ok(credential) => {
            assert!(spec::is_legacy(data));
            let uuid = credential.id().to_string();
            assert!(uuid.as_bytes().eq_ignore_ascii_case(&data[..36]));
            assert_eq!(LegacyId::parse(uuid.as_bytes()), Ok(credential.id()));
        }
        Err(error) => {
            assert!(!spec::is_legacy(data));
            assert!(error.position() <= data.len());
        }
    }
    match LegacyId::parse(data) {
        Ok(_) => assert!(spec::is_uuid(data)),
        Err(error) => assert!(error.position() <= data.len() && !spec::is_uuid(data)),
    }
}

fn prefix(text: &str) {
    let bytes = text.as_bytes();
    let good = (1..=16).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let format = KeyFormat::new(text);
    assert_eq!(format.is_ok(), good);
    if let Ok(format) = format {
        assert_eq!(format.prefix(), text);
    }
}

fn in_bounds(error: KeyError, text: &[u8]) {
    assert!(
        error.position() <= text.len(),
        "{error} in {} bytes",
        text.len()
    );
}
