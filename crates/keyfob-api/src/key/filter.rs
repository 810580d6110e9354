//! Which keys to list, as a query says it.

use keyfob::{
    Tenant,
    name::{KeyName, LabelName, LabelValue},
    store::{Cursor, KeyQuery, StatusFilter},
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{key::asked::parse_owner, refusal::Refusal};

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
    /// Only those that were decided to be so: `active`, `disabled` or `revoked`. A key that is
    /// past its end counts as what it was.
    status: Option<String>,
    /// At most so many, 1 to 1000; without it, and without `cursor`, all of them.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<String>,
    /// Those behind this place: the `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

impl ListKeys {
    pub(crate) fn parse(&self, tenant: &Tenant) -> Result<KeyQuery, Refusal> {
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        Ok(KeyQuery {
            owner: text(&self.owner).as_deref().map(parse_owner).transpose()?,
            name: text(&self.name).as_deref().map(KeyName::new).transpose()?,
            label: text(&self.label).as_deref().map(parse_label).transpose()?,
            status: text(&self.status)
                .as_deref()
                .map(parse_status)
                .transpose()?,
            after: parse_cursor(self.cursor.as_deref())?,
            limit: match &self.limit {
                Some(limit) => parse_limit(limit)?,
                None => KeyQuery::LIMIT_MAX,
            },
            ..KeyQuery::namespace(tenant)
        })
    }
}

fn parse_label(text: &str) -> Result<(LabelName, LabelValue), Refusal> {
    let (name, value) = text
        .split_once(':')
        .ok_or(Refusal::bad_request("label: not NAME:VALUE"))?;
    Ok((LabelName::new(name)?, LabelValue::new(value)?))
}

fn parse_status(text: &str) -> Result<StatusFilter, Refusal> {
    match text {
        "active" => Ok(StatusFilter::Active),
        "disabled" => Ok(StatusFilter::Disabled),
        "revoked" => Ok(StatusFilter::Revoked),
        _ => Err(Refusal::bad_request(
            "status: not active, disabled or revoked",
        )),
    }
}

/// Reads a place in a list.
pub(crate) fn parse_cursor(text: Option<&str>) -> Result<Option<Cursor>, Refusal> {
    Ok(text.map(str::parse).transpose()?)
}

/// Reads how many items to give at most.
pub(crate) fn parse_limit(text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=KeyQuery::LIMIT_MAX).contains(limit))
        .ok_or(Refusal::bad_request("limit: not a number from 1 to 1000"))
}
