//! Keys: the user's own, or everybody's.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect},
};

use crate::{
    client::query,
    form::{Fields, Query},
    shell::{Section, Shell},
    time::{Moment, count},
    visit::{Answer, Managed, Visit, page},
    wire::{Key, Keys, Namespace, Namespaces},
};

/// The first page: the keys, or what an operator does first.
pub(crate) async fn home(visit: Visit) -> Answer {
    let to = if visit.can.operate && visit.team == visit.home {
        "/team"
    } else {
        "/keys"
    };
    Ok(Redirect::to(to).into_response())
}

#[derive(Template)]
#[template(path = "keys.html")]
#[expect(clippy::struct_excessive_bools, reason = "what a page offers")]
struct Screen {
    shell: Shell,
    fields: Fields,
    whose: &'static str,
    keys: Vec<Key>,
    namespaces: Vec<Namespace>,
    /// Whether the team has more namespaces: then one is typed.
    more_namespaces: bool,
    /// Whether the list goes on, and where.
    next: Option<String>,
    searched: bool,
    now: Moment,
    /// Whether own keys can be told from everybody's.
    chooses: bool,
    managed: Managed,
    can_manage_own: bool,
}

impl Screen {
    fn summary(&self) -> String {
        let keys = count(self.keys.len() as u64, "key");
        match (&self.next, self.searched) {
            (None, true) => format!("{keys} found"),
            (None, false) => keys,
            (Some(_), true) => format!("{keys} found so far, there may be more"),
            (Some(_), false) => format!("{keys} on this page, there are more"),
        }
    }

    fn shows_use(&self) -> bool {
        self.keys.iter().any(|key| key.usage.is_some())
    }

    fn label_of(&self, namespace: &str) -> String {
        let found = self
            .namespaces
            .iter()
            .find(|known| known.namespace == namespace);
        found.map_or_else(|| namespace.to_owned(), Namespace::title)
    }

    fn manages(&self, key: &Key) -> bool {
        self.managed.includes(&key.owner)
    }
}

pub(crate) async fn show(visit: Visit, Query(fields): Query) -> Answer {
    // An operator has no keys in others' teams.
    let everybody = visit.can.see_team && (!visit.is_home() || fields.get("whose") == "everybody");
    let status = match fields.get("status") {
        "" => "unrevoked",
        status => status,
    };
    let owner = match (everybody, fields.get("owner")) {
        (true, owner) => owner,
        (false, _) => visit.owner.as_str(),
    };
    let path = visit.team_path(&format!(
        "/keys{}",
        query([
            ("owner", owner),
            ("namespace", fields.get("namespace")),
            ("containing", fields.get("q")),
            ("status", status),
            ("usage", "7d"),
            ("order", "newest_first"),
            ("limit", PAGE),
            ("cursor", fields.get("cursor")),
        ])
    ));
    let keys: Keys = visit.api.get(&path).await?;
    let (namespaces, more_namespaces) = first_namespaces(&visit).await?;
    let whose = if everybody { "everybody" } else { "mine" };
    let next = keys.next_cursor.map(|cursor| {
        let rest = query([
            ("whose", whose),
            ("q", fields.get("q")),
            ("namespace", fields.get("namespace")),
            ("owner", fields.get("owner")),
            ("status", fields.get("status")),
            ("cursor", cursor.as_str()),
        ]);
        format!("/keys{rest}")
    });
    let searched = !fields.get("q").is_empty()
        || !fields.get("namespace").is_empty()
        || !fields.get("status").is_empty();
    Ok(page(&Screen {
        shell: Shell::of(&visit, "Keys", Section::Keys),
        whose,
        keys: keys.access_keys,
        namespaces,
        more_namespaces,
        next,
        searched,
        now: visit.now,
        chooses: visit.can.see_team && visit.is_home(),
        managed: visit.managed(),
        can_manage_own: visit.can.manage_own,
        fields,
    }))
}

/// The first namespaces of the team that were not removed, and whether it has more.
async fn first_namespaces(visit: &Visit) -> Result<(Vec<Namespace>, bool), crate::client::Refused> {
    let path = visit.team_path(&format!("/namespaces{}", query([("limit", NAMESPACES)])));
    let list: Namespaces = visit.api.get(&path).await?;
    let mut first = list.namespaces;
    first.retain(|namespace| !namespace.removed);
    Ok((first, list.next_cursor.is_some()))
}

/// The namespaces of [`all_namespaces`] that were not removed.
pub(crate) async fn namespaces(
    visit: &Visit,
    named: &str,
) -> Result<Vec<Namespace>, crate::client::Refused> {
    let mut all = all_namespaces(visit, named).await?;
    all.retain(|namespace| !namespace.removed);
    Ok(all)
}

/// The first namespaces of the team, ten thousand at most, also those that were removed, and in any case the
/// one of this name.
pub(crate) async fn all_namespaces(
    visit: &Visit,
    named: &str,
) -> Result<Vec<Namespace>, crate::client::Refused> {
    let (mut all, mut next) = (Vec::new(), Some(String::new()));
    for _ in 0..NAMESPACE_PAGES {
        let Some(cursor) = next else { break };
        let list = page_of_namespaces(visit, &cursor).await?;
        all.extend(list.namespaces);
        next = list.next_cursor;
    }
    let is_there = all.iter().any(|known| known.namespace == named);
    if next.is_some() && !named.is_empty() && !is_there {
        let path = visit.team_path(&format!("/namespaces{}", query([("namespace", named)])));
        match visit.api.get::<Namespaces>(&path).await {
            Ok(found) => all.extend(found.namespaces),
            // No namespace has such a name.
            Err(refused) if refused.status == StatusCode::BAD_REQUEST => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(all)
}

/// A thousand namespaces of the team, also those that were removed.
pub(crate) async fn page_of_namespaces(
    visit: &Visit,
    cursor: &str,
) -> Result<Namespaces, crate::client::Refused> {
    let rest = query([("limit", "1000"), ("cursor", cursor)]);
    let path = visit.team_path(&format!("/namespaces{rest}"));
    visit.api.get(&path).await
}

/// How many pages of namespaces are read for a page of the panel.
const NAMESPACE_PAGES: usize = 10;
const PAGE: &str = "50";
/// How many namespaces are offered to choose from.
const NAMESPACES: &str = "200";
