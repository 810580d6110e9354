//! Keys that expire soon, and keys that nobody uses.

use askama::Template;

use crate::{
    chart::Calendar,
    client::query,
    form::{Fields, Query},
    shell::{Section, Shell},
    time::{Moment, count},
    visit::{Answer, Managed, Visit, page},
    wire::{Key, Keys},
};

#[derive(Template)]
#[template(path = "expiring.html")]
#[expect(clippy::struct_excessive_bools, reason = "what a page offers")]
struct Screen {
    shell: Shell,
    expiring: Vec<Key>,
    /// How many keys were found that expire soon, in words.
    expire: String,
    /// Whether more were found than are listed.
    more_shown: bool,
    /// Whether there may be more than were found.
    more_expiring: bool,
    idle: Vec<Key>,
    /// Where further keys are looked through.
    more_idle: Option<String>,
    calendar: Calendar,
    days: String,
    everybody: bool,
    /// Whether own keys can be told from everybody's.
    chooses: bool,
    now: Moment,
    managed: Managed,
}

impl Screen {
    fn manages(&self, key: &Key) -> bool {
        self.managed.includes(&key.owner)
    }
}

const WEEKS: i64 = 6;
const IDLE: [&str; 3] = ["30", "90", "180"];

pub(crate) async fn show(visit: Visit, Query(fields): Query) -> Answer {
    // An operator has no keys in others' teams.
    let everybody = visit.can.see_team && (!visit.is_home() || fields.get("whose") != "mine");
    let owner = if everybody { "" } else { visit.owner.as_str() };
    let before = visit.now.plus(WEEKS * 7 * 86_400).iso();
    let expiring = read(&visit, owner, ["expires_before", &before], "1000", "").await?;
    let days = days(&fields);
    let idle = days.parse::<i64>().unwrap_or(90);
    let since = visit.now.plus(-idle * 86_400).iso();
    let cursor = fields.get("idle");
    let mut idle = read(&visit, owner, ["unused_since", &since], "100", cursor).await?;
    let mut keys = expiring.access_keys;
    let names = crate::names::Names::read(&visit).await?;
    names.name(keys.iter_mut().chain(&mut idle.access_keys));
    keys.sort_by_key(|key| key.expires_at);
    let ends: Vec<_> = keys.iter().filter_map(|key| key.expires_at).collect();
    let expire = count(keys.len() as u64, "key");
    let more_shown = keys.len() > SHOWN;
    keys.truncate(SHOWN);
    let whose = if everybody { "everybody" } else { "mine" };
    let more_idle = idle.next_cursor.map(|cursor| {
        let rest = [("whose", whose), ("days", days), ("idle", cursor.as_str())];
        format!("/expiring{}", query(rest))
    });
    Ok(page(&Screen {
        shell: Shell::of(&visit, "Expiring and idle keys", Section::Expiring),
        calendar: Calendar::new(visit.now, WEEKS, &ends),
        expiring: keys,
        expire,
        more_shown,
        more_expiring: expiring.next_cursor.is_some(),
        idle: idle.access_keys,
        more_idle,
        days: days.to_owned(),
        everybody,
        chooses: visit.can.see_team && visit.is_home(),
        now: visit.now,
        managed: visit.managed(),
    }))
}

/// How many of the keys that expire soon are listed.
const SHOWN: usize = 100;

fn days(fields: &Fields) -> &'static str {
    let chosen = IDLE.into_iter().find(|days| *days == fields.get("days"));
    chosen.unwrap_or("90")
}

async fn read(
    visit: &Visit,
    owner: &str,
    [name, value]: [&str; 2],
    limit: &str,
    cursor: &str,
) -> Result<Keys, crate::client::Refused> {
    let rest = query([
        ("owner", owner),
        (name, value),
        ("limit", limit),
        ("cursor", cursor),
    ]);
    let path = visit.team_path(&format!("/keys{rest}"));
    visit.api.get(&path).await
}
