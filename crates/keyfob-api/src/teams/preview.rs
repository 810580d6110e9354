//! What stops working when a person or service is removed.

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use keyfob::{
    Owner,
    name::TeamId,
    store::{KeyQuery, StatusFilter},
};

use crate::{
    keys::AccessKey,
    refusal::Refusal,
    wire::{parse_cursor, parse_limit},
};

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PreviewPage {
    /// The size of a page, 1 to 1000. Without it and without a cursor, all are listed.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Where the page begins: the `next_cursor` of the page before.
    cursor: Option<String>,
    /// Adds to each key its use in the last `24h`, by hour, or in the last `7d` or `30d`, by day.
    #[param(example = "7d")]
    pub(super) usage: Option<String>,
}

impl PreviewPage {
    /// The query for the keys of an owner in a team.
    pub(super) fn query(&self, team: TeamId, owner: Owner) -> Result<KeyQuery, Refusal> {
        let all = KeyQuery::team(team);
        Ok(KeyQuery {
            owner: Some(owner),
            status: Some(StatusFilter::Unrevoked),
            after: parse_cursor(self.cursor.as_deref())?,
            limit: parse_limit(self.limit.as_deref(), all.limit)?,
            ..all
        })
    }

    pub(super) fn wants_a_page(&self) -> bool {
        self.limit.is_some() || self.cursor.is_some()
    }
}

/// What will stop working when a person or service is removed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form of a list that is written page by page")]
pub(crate) struct Preview {
    /// Whose keys they are, as `user:NAME` or `service:NAME`.
    #[schema(value_type = String, examples("user:alice"))]
    owner: Owner,
    /// The keys that are active, not yet valid or disabled, in the order of their creation.
    access_keys: Vec<AccessKey>,
    /// How many there are in this answer.
    count: usize,
    /// Where the next page begins; null if there is none.
    #[schema(required)]
    next_cursor: Option<String>,
}
