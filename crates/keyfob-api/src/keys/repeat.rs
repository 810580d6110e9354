//! Repeated creations: `Idempotency-Key`.
//!
//! A client whose answer got lost sends its request again. That must not leave two keys, and the
//! secret of the first cannot be told again, since it is not stored. So a key that was created with
//! an `Idempotency-Key` has two reserved labels: a digest of the caller, the namespace and the
//! `Idempotency-Key`, and a digest of the body. A repetition finds the key by the first digest and,
//! if the key is young and was never used, gives it a new secret.

use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{HeaderName, request::Parts},
};
use keyfob::{
    Context, KeyInfo, NewKey, Scopes, Tenant, Timestamp,
    key::CredentialId,
    manage::{CreatedKey, Error, Labels, Rotation, Status},
    name::{LabelName, LabelValue, Reason},
    store::{Conflict, KeyQuery},
};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::{
    caller_context::CallerContext, keys::labels::without_reserved, refusal::Refusal,
    single_flight::Digest, state::AppState,
};

const ASKED_UNDER: &str = "keyfob/asked-under";
const ASKED_FOR: &str = "keyfob/asked-for";

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

/// Identifies a creation.
pub(crate) struct Creation {
    under: Digest,
    body: Digest,
}

impl Creation {
    /// The creation that a caller asks for in a namespace with an `Idempotency-Key`.
    ///
    /// The caller is the person or service, which may repeat it with another of its keys. A caller
    /// that is neither is identified by its credential, and cannot repeat anything without one.
    pub(crate) fn new(
        caller: &CallerContext,
        tenant: &Tenant,
        key: &str,
        body: &impl Serialize,
    ) -> Result<Self, Refusal> {
        let who = match (&caller.actor.owner, &caller.actor.credential) {
            (Some(owner), _) => owner.to_string(),
            (None, Some(credential)) => credential.to_string(),
            (None, None) => {
                return Err(Refusal::bad_request(
                    "Idempotency-Key: not for callers without a name or a credential",
                ));
            }
        };
        let body = serde_json::to_vec(body).map_err(|_| Refusal::SERVER_ERROR)?;
        Ok(Self {
            under: digest_of(&[
                caller.team.as_str(),
                &who,
                tenant.team.as_str(),
                tenant.namespace.as_str(),
                key,
            ]),
            body: sha256(&body),
        })
    }

    fn label(&self) -> Result<(LabelName, LabelValue), Refusal> {
        Ok((LabelName::new(ASKED_UNDER)?, label_value(&self.under)?))
    }

    fn mark(&self, labels: Labels) -> Result<Labels, Refusal> {
        let (name, under) = self.label()?;
        let labels = labels.with(name, under)?;
        Ok(labels.with(LabelName::new(ASKED_FOR)?, label_value(&self.body)?)?)
    }

    fn has_the_body_of(&self, info: &KeyInfo) -> Result<bool, Refusal> {
        Ok(info.labels.value(ASKED_FOR) == Some(&label_value(&self.body)?))
    }
}

impl AppState {
    /// Creates a key, or gives a new secret to the key that the same request created before.
    pub(crate) async fn create_once(
        &self,
        caller: &CallerContext,
        new: NewKey,
        creation: &Creation,
        unique_names: bool,
    ) -> Result<CreatedKey, Refusal> {
        let _turn = self.creations.turn(creation.under).await;
        // After the wait for the turn.
        let context = caller.context();
        let (tenant, scopes) = (new.tenant.clone(), new.scopes.clone());
        if let Some(info) = self.created(&tenant, creation).await? {
            return self.create_again(&context, &info, &scopes, creation).await;
        }
        let labels = creation.mark(new.labels.clone())?;
        match self.keyring.create(&context, new.with_labels(labels)).await {
            Ok(created) if unique_names => Ok(created),
            // Another process may have created one for the same request at the same time.
            Ok(created) => self
                .keep_the_first(&context, created, &scopes, creation)
                .await
                .map_err(Refusal::of_a_part),
            // Another process was faster, perhaps with the same request.
            Err(Error::Conflict(Conflict::NameTaken)) => {
                match self.created(&tenant, creation).await? {
                    Some(info) => self.create_again(&context, &info, &scopes, creation).await,
                    None => Err(Error::Conflict(Conflict::NameTaken).into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Of several keys that one request created in several processes, the first stays: every process
    /// sees the same one first.
    async fn keep_the_first(
        &self,
        context: &Context,
        created: CreatedKey,
        scopes: &Scopes,
        creation: &Creation,
    ) -> Result<CreatedKey, Refusal> {
        let tenant = &created.info.tenant;
        match self.created(tenant, creation).await? {
            Some(first) if first.id != created.info.id => {
                let reason = Reason::new("created twice by one request")?;
                let context = context.clone().with_reason(reason);
                let id = created.info.id;
                self.keyring.delete(&context, tenant, id, None).await?;
                self.create_again(&context, &first, scopes, creation).await
            }
            _ => Ok(created),
        }
    }

    /// The key that the same creation created before.
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

    async fn create_again(
        &self,
        context: &Context,
        info: &KeyInfo,
        scopes: &Scopes,
        creation: &Creation,
    ) -> Result<CreatedKey, Refusal> {
        let refused = |why| {
            let id = self.format().key_id(info.id);
            Refusal::conflict(format!("Idempotency-Key: {why}: {id}"))
        };
        if !creation.has_the_body_of(info)? {
            return Err(refused(
                "used before for another request, which created the key",
            ));
        }
        let usage = self.keyring.usage(&[CredentialId::Key(info.id)]).await?;
        let age = context.now.seconds_since(info.created_at);
        if age > self.limits.config.repeat.as_secs()
            || !usage.is_empty()
            || info.status != Status::Active
            || info.previous_until.is_some()
            || info.updated_at != info.issued_at
            || info.scopes != *scopes
        {
            return Err(refused(
                "the key is created, and its secret cannot be told again",
            ));
        }
        let (rotation, expected) = (Rotation::new(), Some(info.revision));
        let rotated = self
            .keyring
            .rotate(context, &info.tenant, info.id, rotation, expected)
            .await;
        Ok(rotated?)
    }

    /// Removes the marks of its creation from a key that is rotated on purpose, in the commit of the
    /// rotation, so that no late repetition of the creation replaces the new secret.
    pub(crate) fn without_creation(
        &self,
        info: &KeyInfo,
        rotation: Rotation,
        now: Timestamp,
    ) -> Result<Rotation, Refusal> {
        let age = now.seconds_since(info.created_at);
        if age > self.limits.config.repeat.as_secs() || info.labels.value(ASKED_UNDER).is_none() {
            return Ok(rotation);
        }
        Ok(rotation.with_labels(without_reserved(&info.labels)?))
    }
}

fn label_value(digest: &Digest) -> Result<LabelValue, Refusal> {
    let hex = format!("{:x}", Bytes::copy_from_slice(digest));
    Ok(LabelValue::new(&hex)?)
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut value = Digest::default();
    value.copy_from_slice(digest(&SHA256, bytes).as_ref());
    value
}

/// The digest of a list of texts, each preceded by its length.
fn digest_of(texts: &[&str]) -> Digest {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&text.len().to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    sha256(&bytes)
}
