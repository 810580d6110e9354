//! Access keys.

mod forms;
mod labels;
mod list;
mod precondition;
mod read;
mod repeat;
mod rights;
mod search;
mod view;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use keyfob::{
    key::CredentialId,
    manage::{Authority, Rotation},
};

pub(crate) use list::KeyParts;
pub(crate) use search::{__path_list_team, list_team};
pub(crate) use view::AccessKey;

use crate::{
    authority::{Call, Relation, decide},
    body::{JsonBody, OptionalJson, Query},
    caller_context::CallerContext,
    control_keys::is_control,
    keys::{
        forms::{CreateKey, ListKeys, RotateKey, UpdateKey},
        precondition::IfMatch,
        read::{KeyPath, ReadKey},
        repeat::{Creation, IdempotencyKey},
        rights::{refuse_growth, refuse_takeover},
        view::{CreatedKey, KeyList, ShownKey},
    },
    refusal::Refusal,
    state::AppState,
    stream,
    usage::parse_window,
    wire::{Done, ReasonBody},
};

/// Lists access keys
///
/// Without parameters it is the whole list of keys that are not revoked, written while it is read: if the
/// store fails meanwhile, the connection is broken off. The published interface knows no revoked keys, so
/// its clients would show one as if it worked; disabled and expired keys are in the list, since both can be
/// told from their fields. Callers with `team:read` see everybody's keys, others their own.
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}/keys",
    operation_id = "list_keys",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ListKeys,
    ),
    responses((status = 200, description = "The keys.", body = KeyList)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
    Query(filter): Query<ListKeys>,
) -> Result<Response, Refusal> {
    caller.require(Call::ListKeys)?;
    let tenant = state.tenant(&caller, &namespace).await?;
    let mut query = filter.parse(&tenant)?;
    if decide(Call::ListKeys, caller.rights, Relation::Team).is_err() {
        let own = caller.actor.owner.clone();
        if own.is_none() || query.owner.as_ref().is_some_and(|owner| !caller.is(owner)) {
            return Ok(Json(KeyList::default()).into_response());
        }
        query.owner = own;
    }
    let (one_page, now) = (filter.wants_a_page(), caller.now());
    let usage = parse_window(filter.usage.as_deref(), now)?;
    let keys = KeyParts::new(state, query, one_page, now);
    stream::answer(keys.with_usage(usage)).await
}

/// Creates an access key
///
/// The answer is the only one that ever holds the secret. A control key takes `team:admin`.
///
/// To be safe against lost answers, send an `Idempotency-Key`: the same request with the same
/// `Idempotency-Key`, repeated within ten minutes, gives the key that the first one created a new
/// secret, unless the key was used already, and never leaves two keys. Without it, a repetition is a
/// new request: it is refused with 409, as the name is taken, if the first one created its key.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/keys",
    operation_id = "create_key",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("Idempotency-Key" = Option<String>, Header, description = "Identifies the request when it is repeated."),
    ),
    request_body = CreateKey,
    responses(
        (status = 201, description = "The key, with its secret.", body = CreatedKey),
        (status = 409, description = "The name is taken, the owner has as many keys as allowed, the owner or namespace was removed, or the Idempotency-Key was used for another request."),
    ),
)]
pub(crate) async fn create(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(namespace): Path<String>,
    IdempotencyKey(repeat): IdempotencyKey,
    JsonBody(body): JsonBody<CreateKey>,
) -> Result<Response, Refusal> {
    caller.require(Call::CreateKey)?;
    let tenant = state.tenant(&caller, &namespace).await?;
    let new = body.parse(&caller, tenant)?;
    let policy = state.keyring.policy(Some(&new.tenant)).await?;
    let created = match &repeat {
        Some(repeat) => {
            let creation = Creation::new(&caller, &new.tenant, repeat, &body)?;
            let unique_names = policy.unique_names;
            state
                .create_once(&caller, new, &creation, unique_names)
                .await?
        }
        None => state.keyring.create(&caller.context(), new).await?,
    };
    // Nobody has used a new key.
    let read = ReadKey {
        policy,
        usage: None,
    };
    Ok(read.answer_secret(&state, StatusCode::CREATED, created, caller.now()))
}

/// Shows an access key
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}",
    operation_id = "show_key",
    tag = "Access keys",
    params(KeyPath),
    responses((status = 200, description = "The key.", body = ShownKey)),
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<KeyPath>,
) -> Result<Response, Refusal> {
    let info = state.key(&caller, Call::ShowKey, path).await?;
    let read = state.read_for_answer(&info).await?;
    Ok(read.answer(&state, &info, caller.now()))
}

/// Changes an access key
///
/// What is left out stays. With `If-Match`, the key is changed only if its `ETag` is still that one.
#[utoipa::path(
    put,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}",
    operation_id = "update_key",
    tag = "Access keys",
    params(
        KeyPath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the key must have."),
    ),
    request_body = UpdateKey,
    responses(
        (status = 200, description = "The key as it is now.", body = ShownKey),
        (status = 409, description = "The name is taken, or the key is revoked."),
        (status = 412, description = "The key has another `ETag`."),
    ),
)]
pub(crate) async fn update(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<KeyPath>,
    if_match: IfMatch,
    JsonBody(body): JsonBody<UpdateKey>,
) -> Result<Response, Refusal> {
    let info = state.key(&caller, Call::UpdateKey, path).await?;
    let update = body.parse(&caller, &info)?;
    // The new labels were made from those that were read: a concurrent change must not be undone.
    let read_at = update.labels.is_some().then_some(info.revision);
    let expected = if_match.0.or(read_at);
    let read = state.read_for_answer(&info).await?;
    let context = caller.context();
    let updated = state
        .keyring
        .update(&context, &info.tenant, info.id, update, expected)
        .await
        .map_err(|error| if_match.explain(error))?;
    Ok(read.answer(&state, &updated, context.now))
}

/// Deletes an access key
///
/// It stops working at once, and only the audit trail remembers it. To keep its record, revoke it.
#[utoipa::path(
    delete,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}",
    operation_id = "delete_key",
    tag = "Access keys",
    params(
        KeyPath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the key must have."),
    ),
    responses(
        (status = 200, description = "It is deleted.", body = Done),
        (status = 412, description = "The key has another `ETag`."),
    ),
)]
pub(crate) async fn delete(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<KeyPath>,
    if_match: IfMatch,
) -> Result<Json<Done>, Refusal> {
    let info = state.key(&caller, Call::DeleteKey, path).await?;
    let context = caller.context();
    let keyring = &state.keyring;
    let deleted = keyring.delete(&context, &info.tenant, info.id, if_match.0);
    deleted.await.map_err(|error| if_match.explain(error))?;
    Ok(Json(Done {}))
}

/// Disables an access key
///
/// It does not work until it is enabled. A key that is disabled stays so.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/disable",
    operation_id = "disable_key",
    tag = "Access keys",
    params(
        KeyPath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the key must have."),
    ),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is disabled.", body = ShownKey),
        (status = 409, description = "The key is revoked."),
        (status = 412, description = "The key has another `ETag`."),
    ),
)]
pub(crate) async fn disable(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<KeyPath>,
    if_match: IfMatch,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Response, Refusal> {
    set_status(&state, &caller, Call::DisableKey, path, if_match, &why).await
}

/// Enables an access key
///
/// A key that is enabled stays so.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/enable",
    operation_id = "enable_key",
    tag = "Access keys",
    params(
        KeyPath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the key must have."),
    ),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is enabled.", body = ShownKey),
        (status = 409, description = "The key is revoked."),
        (status = 412, description = "The key has another `ETag`."),
    ),
)]
pub(crate) async fn enable(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<KeyPath>,
    if_match: IfMatch,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Response, Refusal> {
    set_status(&state, &caller, Call::EnableKey, path, if_match, &why).await
}

/// Revokes an access key
///
/// It never works again. Lists show it with `status=revoked` or `status=all`. A key that is revoked stays as it is.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/revoke",
    operation_id = "revoke_key",
    tag = "Access keys",
    params(
        KeyPath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the key must have."),
    ),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is revoked.", body = ShownKey),
        (status = 412, description = "The key has another `ETag`."),
    ),
)]
pub(crate) async fn revoke(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<KeyPath>,
    if_match: IfMatch,
    OptionalJson(why): OptionalJson<ReasonBody>,
) -> Result<Response, Refusal> {
    set_status(&state, &caller, Call::RevokeKey, path, if_match, &why).await
}

/// Gives an access key a new secret
///
/// The answer is the only one that holds it. The old secret works for the grace period, at most until
/// its own expiry; without a grace period it stops working at once.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/rotate",
    operation_id = "rotate_key",
    tag = "Access keys",
    params(
        KeyPath,
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the key must have."),
    ),
    request_body = Option<RotateKey>,
    responses(
        (status = 200, description = "The key, with its new secret.", body = CreatedKey),
        (status = 409, description = "The key is revoked or expired, or another rotation came first."),
        (status = 412, description = "The key has another `ETag`."),
    ),
)]
pub(crate) async fn rotate(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(path): Path<KeyPath>,
    if_match: IfMatch,
    OptionalJson(body): OptionalJson<RotateKey>,
) -> Result<Response, Refusal> {
    let info = state.key(&caller, Call::RotateKey, path).await?;
    refuse_takeover(&caller, &info.tenant, &info.scopes)?;
    let rotation: Rotation = body.parse()?;
    refuse_growth(&caller, &info.tenant, rotation.renew.is_some())?;
    let answer = state.read_for_answer(&info).await?;
    let context = caller.context_for(body.reason.as_deref())?;
    let rotation = state.without_creation(&info, rotation, context.now)?;
    // The caller's rights were compared with those of a control key as it was read, and the new
    // labels were made from those that were read.
    let read = is_control(&info.tenant) || rotation.labels.is_some();
    let expected = if_match.0.or(read.then_some(info.revision));
    let rotated = state
        .keyring
        .rotate(&context, &info.tenant, info.id, rotation, expected)
        .await
        .map_err(|error| if_match.explain(error))?;
    Ok(answer.answer_secret(&state, StatusCode::OK, rotated, context.now))
}

/// Disables, enables or revokes a key, as the call says.
async fn set_status(
    state: &AppState,
    caller: &CallerContext,
    call: Call,
    path: KeyPath,
    if_match: IfMatch,
    why: &ReasonBody,
) -> Result<Response, Refusal> {
    let info = state.key(caller, call, path).await?;
    if call == Call::EnableKey {
        refuse_takeover(caller, &info.tenant, &info.scopes)?;
    }
    let read = state.read_for_answer(&info).await?;
    let context = caller.context_for(why.reason.as_deref())?;
    let (keyring, tenant, id) = (&state.keyring, &info.tenant, info.id);
    let (expected, now) = (if_match.0, context.now);
    let changed = match call {
        Call::DisableKey => keyring.disable(&context, tenant, id, expected).await,
        // The caller's rights were compared with those of a control key as it was read.
        Call::EnableKey => {
            let read_at = is_control(tenant).then_some(info.revision);
            let expected = expected.or(read_at);
            keyring.enable(&context, tenant, id, expected).await
        }
        // A caller who shows a credential may revoke it, also one that no longer works.
        _ if caller.actor.credential == Some(CredentialId::Key(id)) => {
            let context = context.with_authority(Authority::System);
            keyring.revoke(&context, tenant, id, expected).await
        }
        _ => keyring.revoke(&context, tenant, id, expected).await,
    };
    let changed = changed.map_err(|error| if_match.explain(error))?;
    Ok(read.answer(state, &changed, now))
}
