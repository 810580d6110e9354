//! A policy for keys as bodies have it.

use keyfob::{Tenant, Ttl, manage::Policy, name::NamespaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    refusal::Refusal,
    request_id::{hex, random_bytes},
};

/// A namespace that does not exist, whose policies are the defaults.
pub(crate) fn nowhere(asked: &Admitted) -> Result<Tenant, Refusal> {
    let bytes = random_bytes().ok_or(Refusal::UNAVAILABLE)?;
    let namespace = NamespaceId::new(&format!("nowhere-{}", hex(&bytes)))?;
    Ok(Tenant::new(asked.caller.team.clone(), namespace))
}

/// What keys may be made.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
pub(crate) struct PolicyView {
    /// The shortest life of a secret.
    #[schema(examples("1h"))]
    min_expires_in: String,
    /// The longest life of a secret; null for no limit.
    #[schema(required, examples("90d"))]
    max_expires_in: Option<String>,
    /// Whether a key must have an end.
    expiry_required: bool,
    /// How many live keys one owner may have in the namespace; null for no limit.
    #[schema(required)]
    keys_per_owner: Option<u32>,
    /// Whether the name of a live key is unique in its namespace.
    unique_names: bool,
    /// The longest grace of a rotation, in seconds.
    max_grace_seconds: u64,
}

impl From<&Policy> for PolicyView {
    fn from(policy: &Policy) -> Self {
        Self {
            min_expires_in: policy.min_ttl.to_string(),
            max_expires_in: policy.max_ttl.map(|ttl| ttl.to_string()),
            expiry_required: policy.expiry_required,
            keys_per_owner: policy.keys_per_owner,
            unique_names: policy.unique_names,
            max_grace_seconds: policy.max_grace_seconds,
        }
    }
}

/// What keys may be made, as a whole: what is left out is as it is without a policy.
///
/// A lowered longest life ends keys that exist too.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPolicy {
    /// The shortest life of a secret, `1h` or more.
    #[schema(pattern = "^(0|[1-9][0-9]*)[hd]$", examples("1h"))]
    min_expires_in: Option<String>,
    /// The longest life of a secret.
    #[schema(pattern = "^(0|[1-9][0-9]*)[hd]$", examples("90d"))]
    max_expires_in: Option<String>,
    /// Whether a key must have an end.
    expiry_required: Option<bool>,
    /// How many live keys one owner may have in the namespace.
    #[schema(format = Int64, maximum = 4_294_967_295_u32)]
    keys_per_owner: Option<u32>,
    /// Whether the name of a live key is unique in its namespace.
    unique_names: Option<bool>,
    /// The longest grace of a rotation, in seconds: ten years at most.
    #[schema(maximum = 315_360_000)]
    max_grace_seconds: Option<u64>,
}

impl SetPolicy {
    pub(crate) fn parse(&self) -> Result<Policy, Refusal> {
        let none = Policy::default();
        let min_ttl = match &self.min_expires_in {
            Some(text) => parse("min_expires_in", text)?,
            None => none.min_ttl,
        };
        let max_ttl = match &self.max_expires_in {
            Some(text) => Some(parse("max_expires_in", text)?),
            None => None,
        };
        if max_ttl.is_some_and(|max| max < min_ttl) {
            return Err(Refusal::bad_request(
                "max_expires_in: shorter than min_expires_in",
            ));
        }
        if self.max_grace_seconds > Some(GRACE_MAX) {
            return Err(Refusal::bad_request(
                "max_grace_seconds: longer than ten years",
            ));
        }
        Ok(Policy {
            min_ttl,
            max_ttl,
            expiry_required: self.expiry_required.unwrap_or(none.expiry_required),
            keys_per_owner: self.keys_per_owner,
            unique_names: self.unique_names.unwrap_or(none.unique_names),
            max_grace_seconds: self.max_grace_seconds.unwrap_or(none.max_grace_seconds),
        })
    }
}

/// Ten years, in seconds.
const GRACE_MAX: u64 = 315_360_000;

fn parse(field: &str, text: &str) -> Result<Ttl, Refusal> {
    text.parse().map_err(|_| {
        Refusal::bad_request(format!(
            "{field}: not a whole number of hours or days, 1h or more"
        ))
    })
}

/// A policy for keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownPolicy {
    pub(crate) policy: PolicyView,
}
