//! `POST …/keys`

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json as Answer,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use keyfob::{Expiry, IssuedKey, KeyInfo, KeyStore, NewKey, Scopes, Tenant, name::KeyName};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    authority::Call,
    body::{Json, optional_object},
    control_keys::is_control,
    control_plane::Plane,
    key::{
        AccessKey, OwnerView,
        asked::{parse_expiry, parse_labels},
        precondition::etag,
        repeat::{Creation, IdempotencyKey},
        scopes::{parse_scopes, refuse_escalation},
    },
    moment::Moment,
    refusal::Refusal,
};

/// Makes an access key
///
/// The answer is the only one that ever holds the secret.
///
/// To be safe against lost answers, send an `Idempotency-Key`: the same request under the same
/// key, repeated within ten minutes, gives the key that the first one made a new secret, unless it
/// was used already, and never leaves two. Without it, a repetition is a new request: it is
/// refused with 409, as the name is taken, if the first one made its key.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/keys",
    operation_id = "create_key",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("Idempotency-Key" = Option<String>, Header, description = "Under which the request can be repeated."),
    ),
    request_body = CreateKey,
    responses(
        (status = 201, description = "The key, with its secret.", body = CreatedKey),
        (status = 409, description = "The name is taken, the owner has as many keys as allowed, the owner or namespace was removed, or the Idempotency-Key was used for something else."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
    IdempotencyKey(repeat): IdempotencyKey,
    Json(body): Json<CreateKey>,
) -> Result<Response, Refusal> {
    asked.may(Call::CreateKey)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let new = body.parse(&asked, tenant)?;
    let (key, info) = match &repeat {
        Some(repeat) => {
            let body = serde_json::to_vec(&body).map_err(|_| Refusal::SERVER_ERROR)?;
            let creation = Creation::new(&asked, &new.tenant, repeat, &body)?;
            plane.create_once(&asked, new, &creation).await?
        }
        None => plane.keyring.create(&asked.context(), new).await?,
    };
    plane
        .answer_secret(&asked, StatusCode::CREATED, key, &info)
        .await
}

impl<S: KeyStore> Plane<S> {
    /// The answer that shows a new secret.
    pub(crate) async fn answer_secret(
        &self,
        asked: &Admitted,
        status: StatusCode,
        key: IssuedKey,
        info: &KeyInfo,
    ) -> Result<Response, Refusal> {
        let view = self.view(info, asked.now()).await?;
        let tag = [(header::ETAG, etag(view.revision()))];
        let access_key = AccessKeyWithSecret {
            key: view,
            secret: key,
        };
        let body = CreatedKey { access_key };
        Ok((status, tag, Answer(body)).into_response())
    }
}

/// What to make.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    /// The key's name: no two live keys of a namespace have the same, unless the policy allows it.
    #[schema(min_length = 1, max_length = 100, examples("laptop"))]
    name: String,
    /// How long it works: a whole number of hours or days, `1h` or more. Left out: for ever.
    #[schema(pattern = "^(0|[1-9][0-9]*)[hd]$", examples("90d"))]
    expires_in: Option<String>,
    /// The first moment at which it no longer works, in place of `expires_in`.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The first moment at which it works. Left out: at once.
    #[schema(format = DateTime)]
    not_before: Option<String>,
    /// Whose key it is. Left out: the caller's. For somebody else or for a service it takes
    /// `team:admin`.
    #[serde(default, deserialize_with = "optional_object")]
    owner: Option<OwnerView>,
    /// What it may be used for. Left out: everything; a control key must say.
    #[schema(max_items = 64)]
    scopes: Option<Vec<String>>,
    /// Free labels, at most 30.
    labels: Option<BTreeMap<String, String>>,
}

impl CreateKey {
    fn parse(&self, asked: &Admitted, tenant: Tenant) -> Result<NewKey, Refusal> {
        let name = KeyName::new(&self.name)?;
        let caller = asked.caller.actor.owner.as_ref();
        let owner = match (&self.owner, caller) {
            (Some(owner), _) => owner.parse()?,
            (None, Some(caller)) => caller.clone(),
            (None, None) => return Err(Refusal::bad_request("owner: missing")),
        };
        let scopes = match &self.scopes {
            Some(names) => parse_scopes(names)?,
            None => Scopes::All,
        };
        if is_control(&tenant) {
            asked.may(Call::CreateControlKey)?;
        }
        asked.may_to(Call::CreateKey, &owner)?;
        refuse_escalation(asked, &tenant, &scopes)?;
        let labels = self.labels.as_ref().map(parse_labels).transpose()?;
        let expiry = parse_expiry(self.expires_in.as_deref(), self.expires_at.as_deref())?;
        let new = NewKey::new(tenant, owner, name)
            .with_scopes(scopes)
            .with_labels(labels.unwrap_or_default())
            .with_expiry(expiry.unwrap_or(Expiry::Never));
        Ok(match &self.not_before {
            Some(text) => new.with_not_before(
                Moment::parse(text).ok_or(Refusal::bad_request("not_before: not RFC 3339"))?,
            ),
            None => new,
        })
    }
}

/// An access key with its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    access_key: AccessKeyWithSecret,
}

/// An access key, and its secret.
#[derive(Serialize, ToSchema)]
struct AccessKeyWithSecret {
    #[serde(flatten)]
    key: AccessKey,
    /// The secret alone, the password in HTTP Basic. The credential is `id:secret`.
    #[serde(serialize_with = "expose")]
    #[schema(value_type = String)]
    secret: IssuedKey,
}

/// Writes the secret straight into the answer: there is no copy of it to forget.
fn expose<S: Serializer>(key: &IssuedKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose_secret())
}
