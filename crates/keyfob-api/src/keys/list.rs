//! Lists of keys, written page by page.

use std::{collections::HashMap, sync::Arc};

use keyfob::{
    KeyInfo, Timestamp,
    manage::{EffectiveStatus, Policy},
    name::NamespaceId,
    store::KeyQuery,
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

    /// Writes this before the list: `{` and fields, each with a comma.
    pub(crate) fn after(self, head: String) -> Self {
        Self { head, ..self }
    }

    async fn write(&mut self, keys: &[KeyInfo], out: &mut Text) -> Result<(), Refusal> {
        let usage = self.state.usage_of(keys).await?;
        let mut policies: HashMap<&NamespaceId, Policy> = HashMap::new();
        for info in keys {
            let namespace = &info.tenant.namespace;
            if !policies.contains_key(namespace) {
                let policy = self.state.keyring.policy(Some(&info.tenant)).await?;
                policies.insert(namespace, policy);
            }
            let policy = &policies[namespace];
            let status = info.effective_status(self.now, policy);
            let is_over = matches!(status, EffectiveStatus::Revoked | EffectiveStatus::Expired);
            if self.living_only && is_over {
                continue;
            }
            let format = self.state.format();
            let usage = usage.get(&info.id);
            out.item(&AccessKey::new(info, format, policy, usage, self.now))?;
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
        let page = self.state.keyring.list(&self.query).await?;
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
