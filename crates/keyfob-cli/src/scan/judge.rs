//! What a find is worth: asked of the store, if there is one.

use keyfob::{
    Access, DenyReason, KeyId, Principal, Tenant, Timestamp, Verifier,
    key::{CredentialId, KeyFormat, PresentedKey},
    legacy::{LegacyId, PresentedLegacy},
    manage,
    name::Reason,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{command_context::CommandContext, failure::Failure};

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
    /// The credential, if it is right and does not work only for now.
    pub(super) waits: Option<CredentialId>,
}

impl Judge {
    pub(super) fn offline(format: KeyFormat) -> Self {
        Self {
            format,
            store: None,
        }
    }

    pub(super) async fn over(cx: &CommandContext) -> Result<Self, Failure> {
        Ok(Self {
            format: *cx.format(),
            store: Some((cx.verifier().await?, cx.now)),
        })
    }

    /// Judges a find; `ids` stand in the same file, and one of them may belong to a lone secret.
    pub(super) fn decide(&self, find: &Find, ids: &[KeyId]) -> Judgement {
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
            waits: None,
        })
    }

    fn ask(&self, text: &[u8], id: Option<String>) -> Judgement {
        let unknown = Judgement {
            id,
            state: State::Unknown,
            reason: None,
            owner: None,
            tenant: None,
            waits: None,
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
                reason @ (DenyReason::NotReady | DenyReason::Stale | DenyReason::PepperMissing) => {
                    Judgement {
                        reason: Some(reason.as_str()),
                        ..unknown
                    }
                }
                reason => Judgement {
                    state: State::Dead,
                    reason: Some(reason.as_str()),
                    waits: denied.credential().filter(|_| can_come_back(reason)),
                    ..unknown
                },
            },
        }
    }
}

/// Whether a credential that is refused for this reason may work again.
fn can_come_back(reason: DenyReason) -> bool {
    matches!(
        reason,
        DenyReason::Disabled | DenyReason::NotYetValid | DenyReason::LegacyOff
    )
}

fn holder(principal: &Principal<'_>) -> Option<String> {
    let owner = principal.owner().map(ToString::to_string);
    owner.or_else(|| {
        principal
            .legacy_subject()
            .map(|subject| format!("subject:{subject}"))
    })
}

/// Revokes what is live.
pub(super) async fn revoke(
    cx: &CommandContext,
    reason: &Reason,
    finds: &mut [FindView],
) -> Result<(), Failure> {
    let context = cx.context(Some(reason));
    for find in finds {
        let tenant = match (find.state, find.waits, &find.team, &find.namespace) {
            (State::Live, _, Some(team), Some(namespace)) => {
                Some(Tenant::new(team.parse()?, namespace.parse()?))
            }
            (_, Some(credential), ..) => cx.keyring.tenant_of(credential).await?,
            _ => None,
        };
        let (Some(id), Some(tenant)) = (&find.id, tenant) else {
            continue;
        };
        let revoked = if let Ok(legacy) = LegacyId::parse(id.as_bytes()) {
            let keyring = &cx.keyring;
            keyring.revoke_legacy(&context, &tenant, legacy).await
        } else {
            let id = cx.key_id(id)?;
            cx.keyring.revoke(&context, &tenant, id).await.map(drop)
        };
        match revoked {
            // It was deleted in the meantime, and the others are still to be ended.
            Ok(()) | Err(manage::Error::NotFound) => find.revoked = true,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
