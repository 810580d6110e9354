//! What a find is worth: asked of the store, if there is one.

use keyfob::{
    Access, CredentialId, DenyReason, KeyFormat, KeyId, PresentedKey, Principal, Reason, Tenant,
    Timestamp, Verifier,
    legacy::{LegacyId, PresentedLegacy},
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{desk::Desk, failure::Failure, owner, verifying::verifier};

use super::{
    FindView,
    finder::{Find, Kind},
};

/// Judges finds.
pub(super) struct Judge {
    format: KeyFormat,
    store: Option<(Verifier, Timestamp)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It works now, and whoever read the file can use it.
    Live,
    /// It does not work.
    Dead,
    /// No store was asked, or only the secret is known.
    Unknown,
}

/// What is known of a find.
pub(super) struct Judgement {
    pub(super) id: Option<String>,
    pub(super) state: State,
    pub(super) reason: Option<&'static str>,
    pub(super) owner: Option<String>,
    pub(super) tenant: Option<Tenant>,
}

impl Judge {
    pub(super) fn offline(format: KeyFormat) -> Self {
        Self {
            format,
            store: None,
        }
    }

    pub(super) async fn over(desk: &Desk) -> Result<Self, Failure> {
        Ok(Self {
            format: *desk.format(),
            store: Some((verifier(desk).await?, desk.now)),
        })
    }

    /// Judges a find; `ids` stand in the same file, and one of them may belong to a lone secret.
    pub(super) fn judge(&self, find: &Find, ids: &[KeyId]) -> Judgement {
        if find.kind == Kind::Secret {
            return self.judge_secret(find, ids);
        }
        let id = PresentedLegacy::parse(&find.text)
            .map(|legacy| CredentialId::Legacy(legacy.id()))
            .or_else(|_| {
                let key = PresentedKey::parse(&self.format, &find.text);
                key.map(|key| CredentialId::Key(key.id()))
            });
        let id = id.ok().map(|id| self.format.credential_id(id));
        self.ask(&find.text, id)
    }

    /// A secret works with its identifier only, which may stand beside it.
    fn judge_secret(&self, find: &Find, ids: &[KeyId]) -> Judgement {
        let pairs = ids.iter().map(|id| {
            let id = self.format.key_id(*id);
            let mut text = Zeroizing::new(Vec::with_capacity(self.format.credential_len()));
            for part in [id.as_bytes(), b":", &find.text] {
                text.extend_from_slice(part);
            }
            self.ask(&text, Some(id))
        });
        let matching = |judgement: &Judgement| {
            let reason = judgement.reason;
            let other = [
                DenyReason::UnknownKey.as_str(),
                DenyReason::WrongSecret.as_str(),
            ];
            judgement.state != State::Unknown
                && reason.is_none_or(|reason| !other.contains(&reason))
        };
        pairs.into_iter().find(matching).unwrap_or(Judgement {
            id: None,
            state: State::Unknown,
            reason: None,
            owner: None,
            tenant: None,
        })
    }

    fn ask(&self, text: &[u8], id: Option<String>) -> Judgement {
        let unknown = Judgement {
            id,
            state: State::Unknown,
            reason: None,
            owner: None,
            tenant: None,
        };
        let Some((verifier, now)) = &self.store else {
            return unknown;
        };
        match verifier.verify_text(text, &Access::to_own_namespace(), *now) {
            Ok(principal) => Judgement {
                state: State::Live,
                owner: holder(&principal),
                tenant: Some(Tenant::new(
                    principal.team().clone(),
                    principal.namespace().clone(),
                )),
                ..unknown
            },
            Err(denied) => match denied.reason() {
                reason @ (DenyReason::NotReady | DenyReason::PepperMissing) => Judgement {
                    reason: Some(reason.as_str()),
                    ..unknown
                },
                reason => Judgement {
                    state: State::Dead,
                    reason: Some(reason.as_str()),
                    ..unknown
                },
            },
        }
    }
}

fn holder(principal: &Principal<'_>) -> Option<String> {
    let owner = principal.owner().map(owner::text);
    owner.or_else(|| {
        principal
            .legacy_subject()
            .map(|subject| format!("subject:{subject}"))
    })
}

/// Revokes what is live.
pub(super) async fn revoke(
    desk: &Desk,
    reason: &Reason,
    finds: &mut [FindView],
) -> Result<(), Failure> {
    let context = desk.context(Some(reason));
    for find in finds.iter_mut().filter(|find| find.state == State::Live) {
        let (Some(id), Some(team), Some(namespace)) = (&find.id, &find.team, &find.namespace)
        else {
            continue;
        };
        let tenant = Tenant::new(team.parse()?, namespace.parse()?);
        match LegacyId::parse(id.as_bytes()) {
            Ok(legacy) => {
                desk.keyring
                    .revoke_legacy(&context, &tenant, legacy)
                    .await?;
            }
            Err(_) => {
                desk.keyring
                    .revoke(&context, &tenant, desk.key_id(id)?)
                    .await?;
            }
        }
        find.revoked = true;
    }
    Ok(())
}
