//! Revoking a credential by its text.

use keyfob::{
    Access, Actor, Context, Denied, DenyReason, Tenant, Timestamp,
    key::CredentialId,
    manage::{Authority, Error},
};

use crate::{refusal::Refusal, state::AppState};

/// Who has a credential revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Its holder. A legacy credential is shared, and one of its holders cannot revoke it.
    Holder,
    /// The actor of the context, who was told its text.
    Reporter,
}

impl AppState {
    /// Revokes the credential whose whole text this is, if it works or could work again. Returns the
    /// credential if the text is one of ours with its secret, current or replaced.
    ///
    /// The text is the authority: its secret must be right, and nothing else is checked. The actor is
    /// recorded.
    pub(crate) async fn revoke_presented(
        &self,
        text: &[u8],
        context: Context,
        by: By,
    ) -> Result<Option<CredentialId>, Refusal> {
        let mut context = context.with_authority(Authority::System);
        let mut verdict = self.examine(text, context.now)?;
        if matches!(verdict, Verdict::Unknown) {
            // Another process may have created or rotated it a moment ago.
            self.keyring
                .sync(context.now)
                .await
                .map_err(Error::NotSynced)?;
            verdict = self.examine(text, context.now)?;
        }
        let (actor, credential, tenant) = match verdict {
            Verdict::Works(actor, credential, tenant) => (actor, credential, tenant),
            // It does not work now, but its secret was right: it could work again, also an expired key
            // if the policy that ended it is set back.
            Verdict::Refused(denied, credential) => {
                let Some((_, tenant)) = self.keyring.revocable(&denied, context.now).await? else {
                    return Ok(Some(credential));
                };
                let actor = Actor::system().with_credential(credential);
                (actor, credential, tenant)
            }
            Verdict::Unknown | Verdict::Garbage => return Ok(None),
        };
        if by == By::Holder {
            context.actor = actor;
        }
        let revoked = match credential {
            CredentialId::Key(id) => self
                .keyring
                .revoke(&context, &tenant, id, None)
                .await
                .map(drop),
            CredentialId::Legacy(id) if by == By::Reporter => {
                self.keyring.revoke_legacy(&context, &tenant, id).await
            }
            _ => Ok(()),
        };
        match revoked {
            // It was deleted in the meantime.
            Ok(()) | Err(Error::NotFound) => Ok(Some(credential)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the index of this process knows the credential whose text this is.
    pub(crate) fn knows(&self, text: &[u8], now: Timestamp) -> Result<bool, Refusal> {
        let verdict = self.examine(text, now)?;
        Ok(!matches!(verdict, Verdict::Unknown | Verdict::Garbage))
    }

    /// What the verifier says, without a borrow of the index.
    fn examine(&self, text: &[u8], now: Timestamp) -> Result<Verdict, Refusal> {
        let access = Access::to_own_namespace();
        let denied = match self.verifier.verify_text(text, &access, now) {
            Ok(principal) => {
                let namespace = principal.namespace().clone();
                let tenant = Tenant::new(principal.team().clone(), namespace);
                let actor = principal.to_actor();
                return Ok(Verdict::Works(actor, principal.credential(), tenant));
            }
            Err(denied) => denied,
        };
        Ok(match (denied.credential(), denied.reason()) {
            _ if denied.status() == 503 => return Err(Refusal::UNAVAILABLE),
            (None, DenyReason::UnknownKey | DenyReason::WrongSecret) => Verdict::Unknown,
            (None, _) => Verdict::Garbage,
            (Some(credential), _) => Verdict::Refused(denied, credential),
        })
    }
}

enum Verdict {
    Works(Actor, CredentialId, Tenant),
    /// Its secret is right, and it is refused.
    Refused(Denied, CredentialId),
    /// It has the shape of a credential, and is not in the index.
    Unknown,
    /// It has not the shape of a credential.
    Garbage,
}
