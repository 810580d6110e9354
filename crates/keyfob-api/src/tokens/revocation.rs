//! Revoking a credential by its text.

use keyfob::{
    Access, Actor, Context, Denied, DenyReason, Tenant, Timestamp,
    key::CredentialId,
    manage::{Authority, Error},
    name::TeamId,
};

use crate::{authority::Call, caller_context::CallerContext, refusal::Refusal, state::AppState};

/// Who has a credential revoked.
#[derive(Clone, Copy)]
pub(crate) enum By<'a> {
    /// Somebody who presented it, and whom nothing else identifies: its owner, or a finder. A legacy
    /// credential is shared, and one of its holders cannot revoke it.
    Holder,
    /// The actor of the context, who was told its text.
    Reporter(&'a CallerContext),
}

impl By<'_> {
    /// Whether the audit trail of the team names the actor of the context: a name of another team would be taken
    /// for one of this team.
    fn is_named_in(self, team: &TeamId) -> bool {
        match self {
            Self::Holder => false,
            Self::Reporter(caller) => caller.reaches(team),
        }
    }

    /// Whether it may revoke a credential that others share.
    fn revokes_shared(self, team: &TeamId) -> bool {
        match self {
            Self::Holder => false,
            Self::Reporter(caller) => {
                caller.reaches(team) && caller.require(Call::SetLegacy).is_ok()
            }
        }
    }
}

/// A credential whose text was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) credential: CredentialId,
    /// Whether it never works again.
    pub(crate) revoked: bool,
    /// Whether the call revoked it: the audit trail has the reason.
    pub(crate) recorded: bool,
    /// Whether its text has a secret that was replaced and does not work again: the key was not changed.
    pub(crate) replaced: bool,
}

impl AppState {
    /// Revokes the credential whose whole text this is, if it works or could work again. Returns the
    /// credential if the text is one of ours with its secret, current or replaced.
    ///
    /// The text is the authority: its secret must be right, and nothing else is checked. The actor is
    /// recorded. The call does not count as a use of the credential.
    pub(crate) async fn revoke_presented(
        &self,
        text: &[u8],
        context: Context,
        by: By<'_>,
    ) -> Result<Option<Found>, Refusal> {
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
        let (credential, tenant) = match verdict {
            Verdict::Works(credential, tenant) => (credential, tenant),
            // It does not work now, but its secret was right: it could work again, also an expired key
            // if the policy that ended it is set back.
            Verdict::Refused(denied, credential) => {
                let Some((_, tenant)) = self.keyring.revocable(&denied, context.now).await? else {
                    let replaced = denied.reason() == DenyReason::Replaced;
                    return Ok(Some(Found {
                        credential,
                        revoked: !replaced,
                        recorded: false,
                        replaced,
                    }));
                };
                (credential, tenant)
            }
            Verdict::Unknown | Verdict::Garbage => return Ok(None),
        };
        if !by.is_named_in(&tenant.team) {
            // The secret shows which credential was used, and not that its owner used it.
            context.actor = Actor::system().with_credential(credential);
        }
        let revoked = match credential {
            CredentialId::Key(id) => self
                .keyring
                .revoke(&context, &tenant, id, None)
                .await
                .map(drop),
            CredentialId::Legacy(id) if by.revokes_shared(&tenant.team) => {
                self.keyring.revoke_legacy(&context, &tenant, id).await
            }
            _ => {
                return Ok(Some(Found {
                    credential,
                    revoked: false,
                    recorded: false,
                    replaced: false,
                }));
            }
        };
        match revoked {
            Ok(()) => Ok(Some(Found {
                credential,
                revoked: true,
                recorded: true,
                replaced: false,
            })),
            // It was deleted in the meantime.
            Err(Error::NotFound) => Ok(Some(Found {
                credential,
                revoked: true,
                recorded: false,
                replaced: false,
            })),
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
                return Ok(Verdict::Works(principal.credential(), tenant));
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
    Works(CredentialId, Tenant),
    /// Its secret is right, and it is refused.
    Refused(Denied, CredentialId),
    /// It has the shape of a credential, and is not in the index.
    Unknown,
    /// It has not the shape of a credential.
    Garbage,
}
