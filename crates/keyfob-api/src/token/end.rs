//! Ending a credential by its text.

use keyfob::{
    Access, Actor, Context, DenyReason, KeyStore, Tenant, Timestamp, key::CredentialId, manage,
};

use crate::{control_plane::Plane, refusal::Refusal};

/// What a text turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A credential of ours with its secret, current or replaced.
    Credential(CredentialId),
    /// Nothing that ever opened anything, as far as can be told.
    Nothing,
}

/// Who has a credential ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Its holder. A legacy credential has many, and is not ended by one of them.
    Holder,
    /// The actor of the context, who was told its text.
    Reporter,
}

impl<S: KeyStore> Plane<S> {
    /// Revokes the credential whose whole text this is, if it works or could work again.
    ///
    /// The text proves itself: its secret must be right.
    pub(crate) async fn end(
        &self,
        text: &[u8],
        mut context: Context,
        by: By,
    ) -> Result<Found, Refusal> {
        let mut judged = self.decide(text, context.now)?;
        if matches!(judged, Judged::Unknown) {
            // Another process may have made it, or given it this secret, a moment ago.
            self.keyring.catch_up().await?;
            judged = self.decide(text, context.now)?;
        }
        let (actor, credential, tenant) = match judged {
            Judged::Works(actor, credential, tenant) => (actor, credential, Some(tenant)),
            // It is off, or has not begun: its secret was right all the same.
            Judged::Waits(credential) => {
                let actor = Actor::system().with_credential(credential);
                (actor, credential, self.keyring.tenant_of(credential).await?)
            }
            Judged::Over(credential) => return Ok(Found::Credential(credential)),
            Judged::Unknown | Judged::Garbage => return Ok(Found::Nothing),
        };
        if by == By::Holder {
            context.actor = actor;
        }
        let Some(tenant) = tenant else {
            return Ok(Found::Credential(credential));
        };
        let ended = match credential {
            CredentialId::Key(id) => self.keyring.revoke(&context, &tenant, id).await.map(drop),
            CredentialId::Legacy(id) if by == By::Reporter => {
                self.keyring.revoke_legacy(&context, &tenant, id).await
            }
            _ => Ok(()),
        };
        match ended {
            // It was deleted in the meantime.
            Ok(()) | Err(manage::Error::NotFound) => Ok(Found::Credential(credential)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the index of this process knows the credential whose text this is.
    pub(crate) fn knows(&self, text: &[u8], now: Timestamp) -> Result<bool, Refusal> {
        let judged = self.decide(text, now)?;
        Ok(!matches!(judged, Judged::Unknown | Judged::Garbage))
    }

    /// What the verifier says, without holding on to what it borrows.
    fn decide(&self, text: &[u8], now: Timestamp) -> Result<Judged, Refusal> {
        let access = Access::to_own_namespace();
        let denied = match self.verifier.verify_text(text, &access, now) {
            Ok(principal) => {
                let namespace = principal.namespace().clone();
                let tenant = Tenant::new(principal.team().clone(), namespace);
                let actor = principal.to_actor();
                return Ok(Judged::Works(actor, principal.credential(), tenant));
            }
            Err(denied) => denied,
        };
        Ok(match (denied.credential(), denied.reason()) {
            _ if denied.status() == 503 => return Err(Refusal::UNAVAILABLE),
            (None, DenyReason::UnknownKey | DenyReason::WrongSecret) => Judged::Unknown,
            (None, _) => Judged::Garbage,
            (
                Some(credential),
                DenyReason::Disabled | DenyReason::NotYetValid | DenyReason::LegacyOff,
            ) => Judged::Waits(credential),
            (Some(credential), _) => Judged::Over(credential),
        })
    }
}

enum Judged {
    Works(Actor, CredentialId, Tenant),
    Waits(CredentialId),
    Over(CredentialId),
    /// It could be one of ours.
    Unknown,
    /// It is none, whoever looks.
    Garbage,
}
