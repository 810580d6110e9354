//! Repeating a creation: `Idempotency-Key`.
//!
//! A client whose answer got lost sends its request again. It must not leave two keys, and since
//! the secret of the first is kept nowhere, it cannot be told again. So a key that was made under
//! an `Idempotency-Key` bears two labels of our own: a digest of who asked where under which
//! `Idempotency-Key`, and a digest of what was asked. A repetition finds the key by the first, and
//! if it is young and was never used, gives it a new secret.

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, request::Parts},
};
use keyfob::{
    Context, IssuedKey, KeyInfo, KeyStore, NewKey, Scopes, Tenant,
    key::CredentialId,
    manage::{self, KeyUpdate, Labels, Rotation, Status},
    name::{LabelName, LabelValue, Reason},
    store::{Conflict, KeyQuery, Revision},
};
use ring::digest::{SHA256, digest};

use crate::{
    admission::Admitted,
    control_plane::Plane,
    key::{precondition::IfMatch, single_flight::Digest},
    refusal::Refusal,
    request_id::hex,
};

/// What the labels that Keyfob keeps for itself begin with: nobody sees or sets them.
const RESERVED: &str = "keyfob/";
const ASKED_UNDER: &str = "keyfob/asked-under";
const ASKED_FOR: &str = "keyfob/asked-for";

/// Whether a label is one that Keyfob keeps for itself.
pub(crate) fn is_reserved(name: &LabelName) -> bool {
    name.as_str().starts_with(RESERVED)
}

/// Those labels of a key that Keyfob keeps for itself, and these.
pub(crate) fn with_reserved(labels: Labels, of: &Labels) -> Result<Labels, Refusal> {
    let reserved = of.iter().filter(|(name, _)| is_reserved(name));
    Ok(reserved
        .into_iter()
        .try_fold(labels, |labels, (name, value)| {
            labels.with(name.clone(), value.clone())
        })?)
}

/// The header field `Idempotency-Key`, if there is one.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        const FAULT: &str = "Idempotency-Key: not 1 to 255 visible ASCII characters, once";
        let mut fields = parts.headers.get_all(HEADER).iter();
        let Some(field) = fields.next() else {
            return Ok(Self(None));
        };
        let fits = |text: &&str| (1..=255).contains(&text.len());
        match (field.to_str().ok().filter(fits), fields.next()) {
            (Some(text), None) => Ok(Self(Some(text.to_owned()))),
            _ => Err(Refusal::bad_request(FAULT)),
        }
    }
}

/// Which creation it is.
pub(crate) struct Creation {
    under: Digest,
    asked: Digest,
}

impl Creation {
    /// The creation that a caller asks for in a namespace under an `Idempotency-Key`.
    ///
    /// The caller is the person or service: they may repeat it with another of their keys. Who is
    /// neither is told from others by the credential, and cannot repeat anything without one.
    pub(crate) fn new(
        asked: &Admitted,
        tenant: &Tenant,
        key: &str,
        body: &[u8],
    ) -> Result<Self, Refusal> {
        const NOBODY: &str = "Idempotency-Key: not for callers who cannot be told apart";
        let caller = &asked.caller;
        let who = match (&caller.actor.owner, &caller.actor.credential) {
            (Some(owner), _) => owner.to_string(),
            (None, Some(credential)) => credential.to_string(),
            (None, None) => return Err(Refusal::bad_request(NOBODY)),
        };
        Ok(Self {
            under: digest_of(&[
                caller.team.as_str(),
                &who,
                tenant.team.as_str(),
                tenant.namespace.as_str(),
                key,
            ]),
            asked: sha256(body),
        })
    }

    fn label(&self) -> Result<(LabelName, LabelValue), Refusal> {
        Ok((
            LabelName::new(ASKED_UNDER)?,
            LabelValue::new(&hex(&self.under))?,
        ))
    }

    fn mark(&self, labels: Labels) -> Result<Labels, Refusal> {
        let (name, under) = self.label()?;
        let asked = LabelValue::new(&hex(&self.asked))?;
        let labels = labels.with(name, under)?;
        Ok(labels.with(LabelName::new(ASKED_FOR)?, asked)?)
    }

    fn asked_for(&self, info: &KeyInfo) -> bool {
        let asked = info.labels.value(ASKED_FOR);
        asked.is_some_and(|asked| asked.as_str() == hex(&self.asked))
    }
}

impl<S: KeyStore> Plane<S> {
    /// Makes a key, or gives a new secret to the one that the same request made before.
    pub(crate) async fn create_once(
        &self,
        asked: &Admitted,
        new: NewKey,
        creation: &Creation,
    ) -> Result<(IssuedKey, KeyInfo), Refusal> {
        let context = asked.context();
        let tenant = new.tenant.clone();
        let _turn = self.creations.turn(creation.under).await;
        if let Some(info) = self.created(&tenant, creation).await? {
            return self
                .create_again(&context, &info, &new.scopes, creation)
                .await;
        }
        let scopes = new.scopes.clone();
        let labels = creation.mark(new.labels.clone())?;
        match self.keyring.create(&context, new.with_labels(labels)).await {
            Ok((key, info)) => match self.created(&tenant, creation).await? {
                // Where names are not unique, another process may have made one at the same time.
                // The first one stays, whoever looks.
                Some(first) if first.id != info.id => {
                    let reason = Reason::new("made twice by one request")?;
                    let context = context.clone().with_reason(reason);
                    self.keyring.delete(&context, &tenant, info.id).await?;
                    self.create_again(&context, &first, &scopes, creation).await
                }
                _ => Ok((key, info)),
            },
            // Another process may have been faster with the same request.
            Err(manage::Error::Conflict(Conflict::NameTaken)) => {
                match self.created(&tenant, creation).await? {
                    Some(info) => self.create_again(&context, &info, &scopes, creation).await,
                    None => Err(manage::Error::Conflict(Conflict::NameTaken).into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The key that the same creation made before.
    async fn created(
        &self,
        tenant: &Tenant,
        creation: &Creation,
    ) -> Result<Option<KeyInfo>, Refusal> {
        let query = KeyQuery {
            label: Some(creation.label()?),
            limit: 1,
            ..KeyQuery::namespace(tenant)
        };
        Ok(self.keyring.list(&query).await?.items.pop())
    }

    /// Takes the marks of its creation from a key that is about to be rotated on purpose, so that
    /// no late repetition of the creation takes the new secret away. Gives the revision that the
    /// rotation must then find.
    pub(crate) async fn forget_creation(
        &self,
        context: &Context,
        info: &KeyInfo,
        if_match: IfMatch,
    ) -> Result<Option<Revision>, Refusal> {
        let age = context.now.seconds_since(info.created_at);
        if age > self.gate.limits.repeat.as_secs() || info.labels.value(ASKED_UNDER).is_none() {
            return Ok(if_match.0);
        }
        let expected = if_match.0.unwrap_or(info.revision);
        let kept = info.labels.iter().filter(|(name, _)| !is_reserved(name));
        let labels = kept
            .into_iter()
            .try_fold(Labels::new(), |labels, (name, value)| {
                labels.with(name.clone(), value.clone())
            })?;
        let update = KeyUpdate {
            labels: Some(labels),
            ..KeyUpdate::default()
        };
        let update = self
            .keyring
            .update(context, &info.tenant, info.id, update, Some(expected));
        let updated = update.await.map_err(|error| if_match.decide(error))?;
        Ok(Some(updated.revision))
    }

    async fn create_again(
        &self,
        context: &Context,
        info: &KeyInfo,
        scopes: &Scopes,
        creation: &Creation,
    ) -> Result<(IssuedKey, KeyInfo), Refusal> {
        let refused = |why| {
            let id = self.format().key_id(info.id);
            Refusal::conflict(format!("Idempotency-Key: {why}: {id}"))
        };
        if !creation.asked_for(info) {
            return Err(refused(
                "used before for another request, which made the key",
            ));
        }
        let usage = self.keyring.usage(&[CredentialId::Key(info.id)]).await?;
        let age = context.now.seconds_since(info.created_at);
        if age > self.gate.limits.repeat.as_secs()
            || !usage.is_empty()
            || info.status != Status::Active
            || info.previous_until.is_some()
            || info.updated_at != info.issued_at
            || info.scopes != *scopes
        {
            return Err(refused(
                "the key is made, and its secret cannot be told again",
            ));
        }
        let rotation = Rotation::default();
        let revision = Some(info.revision);
        let rotated = self
            .keyring
            .rotate(context, &info.tenant, info.id, rotation, revision)
            .await;
        rotated.map_err(Into::into)
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut value = Digest::default();
    value.copy_from_slice(digest(&SHA256, bytes).as_ref());
    value
}

/// A digest of texts, each with its length in front.
fn digest_of(texts: &[&str]) -> Digest {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&text.len().to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    sha256(&bytes)
}
