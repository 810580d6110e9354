//! Which events to list, as a query says it.

use keyfob::{
    key::{CredentialId, KeyFormat},
    legacy::LegacyId,
    name::NamespaceId,
    store::AuditQuery,
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    key::{parse_cursor, parse_limit, parse_owner},
    moment::Moment,
    refusal::Refusal,
};

/// Which events to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListAudit {
    /// Only those in this namespace.
    namespace: Option<String>,
    /// Only those about this credential: a key's identifier, or a legacy credential's UUID.
    key: Option<String>,
    /// Only what this person or service did: `user:NAME` or `service:NAME`.
    #[param(example = "user:alice")]
    actor: Option<String>,
    /// Only what was done at this moment or later.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only what was done before this moment.
    #[param(format = DateTime)]
    until: Option<String>,
    /// At most so many, 1 to 1000; 100 if left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Those behind this place: the `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ListAudit {
    pub(crate) fn parse(&self, format: &KeyFormat, all: AuditQuery) -> Result<AuditQuery, Refusal> {
        let namespace = self.namespace.as_deref().map(NamespaceId::new);
        let credential = self.key.as_deref().map(|key| parse_credential(format, key));
        let actor = self.actor.as_deref().map(parse_owner);
        let moment = |text: &Option<String>, fault| match text {
            Some(text) => match Moment::parse(text) {
                Some(moment) => Ok(Some(moment)),
                None => Err(Refusal::bad_request(fault)),
            },
            None => Ok(None),
        };
        Ok(AuditQuery {
            namespace: namespace.transpose()?,
            credential: credential.transpose()?,
            actor: actor.transpose()?,
            since: moment(&self.since, "since: not RFC 3339")?,
            until: moment(&self.until, "until: not RFC 3339")?,
            after: parse_cursor(self.cursor.as_deref())?,
            limit: match &self.limit {
                Some(limit) => parse_limit(limit)?,
                None => all.limit,
            },
            ..all
        })
    }
}

fn parse_credential(format: &KeyFormat, text: &str) -> Result<CredentialId, Refusal> {
    if let Ok(id) = format.parse_key_id(text) {
        return Ok(CredentialId::Key(id));
    }
    match LegacyId::parse(text.as_bytes()) {
        Ok(id) => Ok(CredentialId::Legacy(id)),
        Err(_) => Err(Refusal::bad_request(
            "key: not the identifier of a key or of a legacy credential",
        )),
    }
}
