//! What requests say about keys.

use std::{collections::BTreeMap, time::Duration};

use keyfob::{
    Expiry, KeyInfo, NewKey, Owner, Scopes, Tenant,
    manage::{KeyUpdate, Rotation},
    name::{KeyName, LabelName, LabelValue, Scope},
    store::{KeyQuery, StatusFilter},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    authority::Call,
    caller::Rights,
    caller_context::CallerContext,
    control_keys::is_control,
    keys::{
        labels::{parse_labels, with_reserved},
        rights::{refuse_escalation, refuse_growth, refuse_takeover},
        view::EVERY_SCOPE,
    },
    refusal::Refusal,
    wire::{parse_cursor, parse_limit, parse_moment, parse_order},
};

/// The key to create.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    /// The key's name: unique among the owner's live keys in the namespace, unless the policy allows
    /// otherwise.
    #[schema(min_length = 1, max_length = 100, examples("laptop"))]
    name: String,
    /// How long it works: a whole number of hours or days, `1h` or more. Left out: it never expires.
    #[schema(pattern = "^(0|[1-9][0-9]*)[hd]$", examples("90d"))]
    expires_in: Option<String>,
    /// The first moment at which it no longer works, in place of `expires_in`.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The first moment at which it works. Left out: it works at once.
    #[schema(format = DateTime)]
    not_before: Option<String>,
    /// Its owner, as `user:NAME` or `service:NAME`. Left out: the caller. Another owner takes
    /// `team:admin`.
    #[schema(examples("user:alice"))]
    owner: Option<String>,
    /// What it may be used for. Left out: everything; a control key must name its scopes.
    #[schema(max_items = 64)]
    scopes: Option<Vec<String>>,
    /// Free labels, at most 30.
    labels: Option<BTreeMap<String, String>>,
}

impl CreateKey {
    pub(crate) fn parse(&self, caller: &CallerContext, tenant: Tenant) -> Result<NewKey, Refusal> {
        let name = KeyName::new(&self.name)?;
        let owner = match (&self.owner, &caller.actor.owner) {
            (Some(owner), _) => owner.parse::<Owner>()?,
            (None, Some(caller)) => caller.clone(),
            (None, None) => return Err(Refusal::bad_request("owner: missing")),
        };
        let scopes = match &self.scopes {
            Some(names) => parse_scopes(names)?,
            None => Scopes::All,
        };
        if is_control(&tenant) {
            caller.require(Call::CreateControlKey)?;
        }
        caller.require_for(Call::CreateKey, &owner)?;
        refuse_escalation(caller, &tenant, &scopes)?;
        let labels = self.labels.as_ref().map(parse_labels).transpose()?;
        let expiry = parse_expiry(self.expires_in.as_deref(), self.expires_at.as_deref())?;
        let new = NewKey::new(tenant, owner, name)
            .with_scopes(scopes)
            .with_labels(labels.unwrap_or_default())
            .with_expiry(expiry.unwrap_or(Expiry::Never));
        Ok(match &self.not_before {
            Some(text) => new.with_not_before(parse_moment("not_before", text)?),
            None => new,
        })
    }
}

/// What to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateKey {
    /// A new name.
    #[schema(min_length = 1, max_length = 100, examples("desktop"))]
    name: Option<String>,
    /// New labels, at most 30, in place of all the old ones.
    labels: Option<BTreeMap<String, String>>,
    /// New scopes in place of all the old ones.
    #[schema(max_items = 64)]
    scopes: Option<Vec<String>>,
    /// An earlier expiry. A later one takes a rotation.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

impl UpdateKey {
    pub(crate) fn parse(
        &self,
        caller: &CallerContext,
        info: &KeyInfo,
    ) -> Result<KeyUpdate, Refusal> {
        let mut update = KeyUpdate::new();
        if let Some(name) = &self.name {
            update = update.with_name(KeyName::new(name)?);
        }
        if let Some(labels) = &self.labels {
            let labels = with_reserved(parse_labels(labels)?, &info.labels)?;
            update = update.with_labels(labels);
        }
        if let Some(end) = &self.expires_at {
            update = update.with_expires_at(parse_moment("expires_at", end)?);
        }
        if let Some(names) = &self.scopes {
            let scopes = parse_scopes(names)?;
            refuse_takeover(caller, &info.tenant, &info.scopes)?;
            refuse_escalation(caller, &info.tenant, &scopes)?;
            let grows = !Rights::of(&scopes).within(Rights::of(&info.scopes));
            refuse_growth(caller, &info.tenant, grows)?;
            update = update.with_scopes(scopes);
        }
        if update == KeyUpdate::new() {
            return Err(Refusal::bad_request(
                "body: needs name, labels, scopes or expires_at",
            ));
        }
        Ok(update)
    }
}

/// How to rotate.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateKey {
    /// For how many seconds the old secret goes on working, within the policy. Left out: it stops
    /// working at once.
    #[schema(examples(3600))]
    grace_seconds: Option<u64>,
    /// How long the new secret works, from now on. Left out: the key's expiry stays.
    #[schema(pattern = "^(0|[1-9][0-9]*)[hd]$", examples("90d"))]
    expires_in: Option<String>,
    /// The first moment at which the new secret no longer works, in place of `expires_in`.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The reason, for the audit trail.
    #[schema(min_length = 1, max_length = 500)]
    pub(crate) reason: Option<String>,
}

impl RotateKey {
    pub(crate) fn parse(&self) -> Result<Rotation, Refusal> {
        let rotation =
            Rotation::new().with_grace(Duration::from_secs(self.grace_seconds.unwrap_or(0)));
        let expiry = parse_expiry(self.expires_in.as_deref(), self.expires_at.as_deref())?;
        Ok(match expiry {
            Some(expiry) => rotation.with_expiry(expiry),
            None => rotation,
        })
    }
}

/// Which keys to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListKeys {
    /// Only this owner's: `user:NAME` or `service:NAME`.
    #[param(example = "user:alice")]
    owner: Option<String>,
    /// Only those of this name.
    name: Option<String>,
    /// Only those with this label: `NAME:VALUE`.
    #[param(example = "environment:production")]
    label: Option<String>,
    /// Only those with this stored status: `active`, `disabled`, `revoked`, `unrevoked` (the first two)
    /// or `all`. Left out: `unrevoked`. Expiry does not change it.
    status: Option<String>,
    /// `oldest_first` or `newest_first`, by the time of creation. Left out: `oldest_first`.
    #[param(example = "newest_first")]
    order: Option<String>,
    /// The size of a page, 1 to 1000; without it, and without `cursor`, the whole list.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Where the page begins: the `next_cursor` of the page before.
    cursor: Option<String>,
    /// Adds to each key its use in the last `24h`, by hour, or in the last `7d` or `30d`, by day.
    #[param(example = "7d")]
    pub(crate) usage: Option<String>,
}

impl ListKeys {
    pub(crate) fn parse(&self, tenant: &Tenant) -> Result<KeyQuery, Refusal> {
        fn given(field: Option<&String>) -> Option<&str> {
            field.map(String::as_str).filter(|text| !text.is_empty())
        }
        let owner = given(self.owner.as_ref()).map(str::parse);
        let name = given(self.name.as_ref()).map(KeyName::new);
        let label = given(self.label.as_ref()).map(parse_label);
        let status = match given(self.status.as_ref()) {
            None => Some(StatusFilter::Unrevoked),
            Some("all") => None,
            Some(status) => Some(status.parse().map_err(|_| {
                Refusal::bad_request("status: must be active, disabled, revoked, unrevoked or all")
            })?),
        };
        Ok(KeyQuery {
            owner: owner.transpose()?,
            name: name.transpose()?,
            label: label.transpose()?,
            status,
            order: parse_order(self.order.as_deref())?,
            after: parse_cursor(self.cursor.as_deref())?,
            limit: parse_limit(self.limit.as_deref(), KeyQuery::LIMIT_MAX)?,
            ..KeyQuery::namespace(tenant)
        })
    }

    /// Whether to answer with one page, or with the whole list.
    pub(crate) fn wants_a_page(&self) -> bool {
        self.limit.is_some() || self.cursor.is_some()
    }
}

pub(super) fn parse_label(text: &str) -> Result<(LabelName, LabelValue), Refusal> {
    let (name, value) = text
        .split_once(':')
        .ok_or(Refusal::bad_request("label: not NAME:VALUE"))?;
    Ok((LabelName::new(name)?, LabelValue::new(value)?))
}

fn parse_scopes(names: &[String]) -> Result<Scopes, Refusal> {
    match names {
        [only] if only == EVERY_SCOPE => Ok(Scopes::All),
        names if names.iter().any(|name| name == EVERY_SCOPE) => Err(Refusal::bad_request(
            "scopes: * means every scope, and must be the only one",
        )),
        names => {
            let scopes = names.iter().map(|name| Scope::new(name));
            Ok(Scopes::only(scopes.collect::<Result<Vec<_>, _>>()?)?)
        }
    }
}

/// Reads the expiry of a key: how long it works, or until when.
fn parse_expiry(
    expires_in: Option<&str>,
    expires_at: Option<&str>,
) -> Result<Option<Expiry>, Refusal> {
    match (expires_in, expires_at) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(Expiry::In(text.parse()?))),
        (None, Some(text)) => Ok(Some(Expiry::At(parse_moment("expires_at", text)?))),
        (Some(_), Some(_)) => Err(Refusal::bad_request(
            "expires_at: not together with expires_in",
        )),
    }
}
