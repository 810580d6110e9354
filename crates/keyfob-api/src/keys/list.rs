//! Lists of keys, written page by page.

use std::{collections::HashMap, sync::Arc};

use keyfob::{
    KeyInfo, Timestamp,
    manage::{EffectiveStatus, Policy, UsageRange},
    name::NamespaceId,
    store::{Cursor, KeyQuery, Page},
};

use crate::{
    keys::view::AccessKey,
    refusal::Refusal,
    state::AppState,
    stream::{PAGE, Parts, Text},
};

/// The keys that a query selects, as `{"access_keys": […], "count": …, "next_cursor": …}`.
pub(crate) struct KeyParts {
    state: Arc<AppState>,
    query: KeyQuery,
    now: Timestamp,
    /// The fields before the list.
    head: String,
    /// Whether one page is asked for, and not all.
    one_page: bool,
    /// Whether keys that can never work again are left out.
    living_only: bool,
    /// The range of the use that each key is shown with.
    usage: Option<UsageRange>,
    policies: HashMap<NamespaceId, Policy>,
    count: usize,
    begun: bool,
}

impl KeyParts {
    /// All keys, or one page.
    pub(crate) fn new(
        state: Arc<AppState>,
        query: KeyQuery,
        one_page: bool,
        now: Timestamp,
    ) -> Self {
        let limit = if one_page { query.limit } else { PAGE };
        let now = state.latest(now);
        Self {
            state,
            query: KeyQuery { limit, ..query },
            now,
            head: String::from("{"),
            one_page,
            living_only: false,
            usage: None,
            policies: HashMap::new(),
            count: 0,
            begun: false,
        }
    }

    /// Leaves out what is revoked or expired.
    pub(crate) fn living_only(self) -> Self {
        Self {
            living_only: true,
            ..self
        }
    }

    /// Shows each key with its use in this range.
    pub(crate) fn with_usage(self, usage: Option<UsageRange>) -> Self {
        Self { usage, ..self }
    }

    /// Writes this before the list: `{` and fields, each with a comma.
    pub(crate) fn after(self, head: String) -> Self {
        Self { head, ..self }
    }

    /// How many pages of the store are read for one page of keys that are not over.
    const PAGES: usize = 10;

    /// A page of keys that are not over. After many that are over it may have fewer than were asked
    /// for, and a cursor.
    async fn living(&mut self) -> Result<Page<KeyInfo>, Refusal> {
        let wanted = self.query.limit;
        let mut living: Vec<KeyInfo> = Vec::new();
        for _ in 0..Self::PAGES {
            let page = self.state.keyring.list(&self.query).await?;
            let policies = &mut self.policies;
            self.state.add_policies(&page.items, policies).await?;
            for info in page.items {
                if self.is_over(&info) {
                    continue;
                }
                if living.len() == wanted {
                    let last = living.last().map(|last| last.created_revision);
                    return Ok(Page {
                        items: living,
                        next: last.map(Cursor::after),
                    });
                }
                living.push(info);
            }
            self.query.after = page.next;
            if page.next.is_none() || living.len() == wanted {
                break;
            }
        }
        Ok(Page {
            items: living,
            next: self.query.after,
        })
    }

    /// Whether a key can never work again, under the policy that was read.
    fn is_over(&self, info: &KeyInfo) -> bool {
        let policy = &self.policies[&info.tenant.namespace];
        let status = info.effective_status(self.now, policy);
        matches!(status, EffectiveStatus::Revoked | EffectiveStatus::Expired)
    }

    async fn write(&mut self, keys: &[KeyInfo], out: &mut Text) -> Result<(), Refusal> {
        let usage = self.state.usage_of(keys).await?;
        let ids = keys.iter().map(|info| info.id);
        let series = self.state.series_of(ids, self.usage.as_ref()).await?;
        let mut series = series.into_iter();
        let policies = &mut self.policies;
        self.state.add_policies(keys, policies).await?;
        for info in keys {
            let sparkline = series.next();
            if self.living_only && self.is_over(info) {
                continue;
            }
            let policy = &self.policies[&info.tenant.namespace];
            let format = self.state.format();
            let usage = usage.get(&info.id);
            let key = AccessKey::new(info, format, policy, usage, self.now);
            out.item(&key.with_usage(sparkline))?;
            self.count += 1;
        }
        Ok(())
    }
}

impl Parts for KeyParts {
    async fn next(&mut self, out: &mut Text) -> Result<bool, Refusal> {
        if !std::mem::replace(&mut self.begun, true) {
            out.raw(&self.head);
            out.raw("\"access_keys\":");
            out.begin();
        }
        let page = if self.one_page && self.living_only {
            self.living().await?
        } else {
            self.state.keyring.list(&self.query).await?
        };
        self.write(&page.items, out).await?;
        if let (Some(next), false) = (page.next, self.one_page) {
            self.query.after = Some(next);
            return Ok(true);
        }
        out.raw("],\"count\":");
        out.value(&self.count)?;
        out.raw(",\"next_cursor\":");
        out.value(&page.next.map(|next| next.to_string()))?;
        out.raw("}");
        Ok(false)
    }
}
