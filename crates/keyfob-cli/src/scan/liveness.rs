//! Whether a find is live, according to the store.

use keyfob::{
    Access, Denied, DenyReason, KeyId, Principal, Tenant, Timestamp, Verifier,
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

/// Checks finds against a store, if there is one.
pub(super) struct LivenessCheck {
    format: KeyFormat,
    store: Option<(Verifier, Timestamp)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It works now: everybody who read the file can use it.
    Live,
    /// It does not work.
    Dead,
    /// No store was used, or only the secret is known.
    Unknown,
}

/// The result for a find.
pub(super) struct Liveness {
    pub(super) id: Option<String>,
    pub(super) state: State,
    pub(super) reason: Option<&'static str>,
    pub(super) owner: Option<String>,
    pub(super) tenant: Option<Tenant>,
    /// The refusal of a credential whose secret is right: it may work again.
    pub(super) refused: Option<Denied>,
}

impl LivenessCheck {
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

    /// Checks a find; `ids` are in the same file, and one of them may belong to a single secret.
    pub(super) fn check(&self, find: &Find, ids: &[KeyId]) -> Liveness {
        if find.kind == Kind::Secret {
            return self.check_secret(find, ids);
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

    /// A secret only works with its id, which may be in the same file.
    fn check_secret(&self, find: &Find, ids: &[KeyId]) -> Liveness {
        let pairs = ids.iter().map(|id| {
            let id = self.format.key_id(*id);
            let mut text = Zeroizing::new(Vec::with_capacity(self.format.credential_len()));
            for part in [id.as_bytes(), b":", &find.text] {
                text.extend_from_slice(part);
            }
            self.ask(&text, Some(id))
        });
        let matching = |liveness: &Liveness| {
            let reason = liveness.reason;
            let other = [
                DenyReason::UnknownKey.as_str(),
                DenyReason::WrongSecret.as_str(),
            ];
            liveness.state != State::Unknown && reason.is_none_or(|reason| !other.contains(&reason))
        };
        pairs.into_iter().find(matching).unwrap_or(Liveness {
            id: None,
            state: State::Unknown,
            reason: None,
            owner: None,
            tenant: None,
            refused: None,
        })
    }

    fn ask(&self, text: &[u8], id: Option<String>) -> Liveness {
        let unknown = Liveness {
            id,
            state: State::Unknown,
            reason: None,
            owner: None,
            tenant: None,
            refused: None,
        };
        let Some((verifier, now)) = &self.store else {
            return unknown;
        };
        match verifier.verify_text(text, &Access::to_own_namespace(), *now) {
            Ok(principal) => Liveness {
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
                    Liveness {
                        reason: Some(reason.as_str()),
                        ..unknown
                    }
                }
                reason => Liveness {
                    state: State::Dead,
                    reason: Some(reason.as_str()),
                    refused: denied.credential().is_some().then_some(denied),
                    ..unknown
                },
            },
        }
    }
}

fn holder(principal: &Principal<'_>) -> Option<String> {
    let owner = principal.owner().map(ToString::to_string);
    owner.or_else(|| {
        principal
            .legacy_subject()
            .map(|subject| format!("subject:{subject}"))
    })
}

/// Revokes the live finds, and those that could work again.
pub(super) async fn revoke(
    cx: &CommandContext,
    reason: &Reason,
    finds: &mut [FindView],
) -> Result<(), Failure> {
    let context = cx.context(Some(reason));
    for find in finds {
        let tenant = match (find.state, &find.refused, &find.team, &find.namespace) {
            (State::Live, _, Some(team), Some(namespace)) => {
                Some(Tenant::new(team.parse()?, namespace.parse()?))
            }
            (_, Some(denied), ..) => {
                let revocable = cx.keyring.revocable(denied, cx.now).await?;
                revocable.map(|(_, tenant)| tenant)
            }
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
            cx.keyring
                .revoke(&context, &tenant, id, None)
                .await
                .map(drop)
        };
        match revoked {
            // It was deleted in the meantime; revoke the others.
            Ok(()) | Err(manage::Error::NotFound) => find.revoked = true,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
