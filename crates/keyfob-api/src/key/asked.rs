//! What bodies ask of keys: owners, labels, reasons.

use std::collections::BTreeMap;

use keyfob::{
    Expiry, Owner,
    manage::Labels,
    name::{LabelName, LabelValue, ServiceId, UserId},
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    key::{
        repeat::is_reserved,
        view::{OwnerKind, OwnerView},
    },
    moment::Moment,
    refusal::Refusal,
};

impl OwnerView {
    pub(crate) fn parse(&self) -> Result<Owner, Refusal> {
        Ok(match self.kind {
            OwnerKind::User => Owner::User(UserId::new(&self.id)?),
            OwnerKind::Service => Owner::Service(ServiceId::new(&self.id)?),
        })
    }
}

/// Reads an owner as a query names it: `user:alice`, `service:deploy-bot`.
pub(crate) fn parse_owner(text: &str) -> Result<Owner, Refusal> {
    match text.split_once(':') {
        Some(("user", id)) => Ok(Owner::User(UserId::new(id)?)),
        Some(("service", id)) => Ok(Owner::Service(ServiceId::new(id)?)),
        _ => Err(Refusal::bad_request("owner: not user:NAME or service:NAME")),
    }
}

/// Reads labels; those that Keyfob keeps for itself cannot be set.
pub(crate) fn parse_labels(labels: &BTreeMap<String, String>) -> Result<Labels, Refusal> {
    labels
        .iter()
        .try_fold(Labels::new(), |labels, (name, value)| {
            let name = LabelName::new(name)?;
            if is_reserved(&name) {
                return Err(Refusal::bad_request(
                    "labels: names that begin with keyfob/ are reserved",
                ));
            }
            Ok(labels.with(name, LabelValue::new(value)?)?)
        })
}

/// Reads the end of a key: how long it works, or until when.
pub(crate) fn parse_expiry(
    expires_in: Option<&str>,
    expires_at: Option<&str>,
) -> Result<Option<Expiry>, Refusal> {
    match (expires_in, expires_at) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(Expiry::In(text.parse()?))),
        (None, Some(text)) => match Moment::parse(text) {
            Some(end) => Ok(Some(Expiry::At(end))),
            None => Err(Refusal::bad_request("expires_at: not RFC 3339")),
        },
        (Some(_), Some(_)) => Err(Refusal::bad_request(
            "expires_at: not together with expires_in",
        )),
    }
}

/// Why something is done.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Because {
    /// Why, for the audit trail.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 500)]
    pub(crate) reason: Option<String>,
}
