//! A person or a service: their keys, and their leaving the team.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::Path, http::StatusCode, response::Response};
use serde_json::json;

use crate::{
    client::{Refused, query, segment},
    form::{Fault, Fields, Form},
    names::Names,
    shell::{Notice, Section, Shell},
    time::{Moment, count},
    visit::{Answer, Failure, Visit, page, page_with},
    wire::{Done, Key, Keys, Revoked, bare},
};

/// Somebody's path in the control plane.
fn member_path(visit: &Visit, owner: &str, rest: &str) -> Result<String, Failure> {
    let (kind, name) = owner.split_once(':').ok_or_else(Failure::not_found)?;
    let kind = match kind {
        "user" => "members",
        "service" => "services",
        _ => return Err(Failure::not_found()),
    };
    Ok(visit.team_path(&format!("/{kind}/{}{rest}", segment(name))))
}

/// The address of somebody's page.
pub(crate) fn page_of(owner: &str) -> String {
    format!("/people/{}", segment(owner))
}

#[derive(Template)]
#[template(path = "person.html")]
struct Person {
    shell: Shell,
    owner: String,
    keys: Vec<Key>,
    /// Whether there are more keys that are not revoked than are shown.
    more: bool,
    /// Whether there are more revoked ones.
    more_revoked: bool,
    manages: bool,
    now: Moment,
}

impl Person {
    fn name(&self) -> &str {
        bare(&self.owner)
    }

    fn address(&self) -> String {
        page_of(&self.owner)
    }

    fn living(&self) -> u64 {
        self.keys.iter().filter(|key| key.is_living()).count() as u64
    }
}

pub(crate) async fn person(visit: Visit, Path(owner): Path<String>) -> Answer {
    let read = async |status, limit| {
        let rest = query([
            ("owner", owner.as_str()),
            ("status", status),
            ("order", "newest_first"),
            ("limit", limit),
        ]);
        let path = visit.team_path(&format!("/keys{rest}"));
        visit.api.get::<Keys>(&path).await
    };
    let unrevoked = read("unrevoked", "200").await?;
    let revoked = read("revoked", "50").await?;
    let mut keys = unrevoked.access_keys;
    keys.sort_by_key(|key| !key.is_living());
    keys.extend(revoked.access_keys);
    Names::read(&visit).await?.name(&mut keys);
    Ok(page(&Person {
        shell: Shell::of(&visit, bare(&owner), Section::Team),
        keys,
        more: unrevoked.next_cursor.is_some(),
        more_revoked: revoked.next_cursor.is_some(),
        manages: visit.can.manage_team,
        now: visit.now,
        owner,
    }))
}

/// How many keys of a namespace, or of an owner, stop.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) keys: u64,
    /// Of them, those that were used in the last 7 days.
    pub(crate) used: u64,
}

/// Counts keys by a part of them, by its name.
pub(crate) fn parts(keys: &[Key], now: Moment, name: impl Fn(&Key) -> &str) -> Vec<Part> {
    let mut parts: BTreeMap<&str, Part> = BTreeMap::new();
    for key in keys {
        let name = name(key);
        let part = parts.entry(name).or_insert_with(|| Part {
            name: name.to_owned(),
            keys: 0,
            used: 0,
        });
        part.keys += 1;
        part.used += u64::from(key.used_within(now, 7 * 86_400));
    }
    parts.into_values().collect()
}

#[derive(Template)]
#[template(path = "leave.html")]
struct Leave {
    shell: Shell,
    owner: String,
    keys: Vec<Key>,
    /// Whether there are more keys than are shown.
    more: bool,
    parts: Vec<Part>,
    for_others: Vec<Key>,
    /// Whether there are more of these than are shown.
    more_for_others: bool,
    typed: String,
    reason: String,
    fault: Fault,
    is_self: bool,
    now: Moment,
}

impl Leave {
    fn name(&self) -> &str {
        bare(&self.owner)
    }

    fn address(&self) -> String {
        page_of(&self.owner)
    }

    fn used(&self) -> u64 {
        self.parts.iter().map(|part| part.used).sum()
    }

    fn summary(&self) -> String {
        let more = if self.more { "more than " } else { "" };
        format!("{more}{}", count(self.keys.len() as u64, "key"))
    }
}

async fn leave(
    visit: &Visit,
    owner: String,
    fields: &Fields,
    fault: Fault,
) -> Result<Leave, Failure> {
    let path = member_path(visit, &owner, "/keys?limit=1000")?;
    let mut keys: Keys = visit.api.get(&path).await?;
    let rest = query([("created_for_others_by", owner.as_str()), ("limit", "100")]);
    let others = visit.team_path(&format!("/keys{rest}"));
    let others: Keys = visit.api.get(&others).await?;
    let more_for_others = others.next_cursor.is_some();
    let mut for_others = others.access_keys;
    for_others.retain(Key::is_living);
    Names::read(visit).await?.name(&mut keys.access_keys);
    Ok(Leave {
        shell: Shell::of(visit, &format!("{} leaves", bare(&owner)), Section::Team),
        parts: parts(&keys.access_keys, visit.now, Key::opens),
        keys: keys.access_keys,
        more: keys.next_cursor.is_some(),
        for_others,
        more_for_others,
        typed: fields.owned("typed"),
        reason: fields.owned("reason"),
        fault,
        is_self: visit.is(&owner),
        now: visit.now,
        owner,
    })
}

pub(crate) async fn show(visit: Visit, Path(owner): Path<String>) -> Answer {
    let leave = leave(&visit, owner, &Fields::default(), Fault::default()).await?;
    Ok(page(&leave))
}

pub(crate) async fn submit(visit: Visit, Path(owner): Path<String>, Form(fields): Form) -> Answer {
    if fields.get("typed") != bare(&owner) {
        let fault = Fault::new("typed", format!("Type exactly: {}", bare(&owner)));
        let leave = leave(&visit, owner, &fields, fault).await?;
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &leave));
    }
    let body = match fields.get("reason") {
        "" => json!({}),
        reason => json!({ "reason": reason }),
    };
    let path = member_path(&visit, &owner, "/remove")?;
    match visit.api.post::<Revoked>(&path, &body).await {
        Ok(revoked) => Ok(removed(&visit, &owner, &revoked)),
        Err(refused) if refused.status == StatusCode::BAD_REQUEST => {
            let fault = Fault::of(&refused.message, &[("reason", "reason")]);
            let leave = leave(&visit, owner, &fields, fault).await?;
            Ok(page_with(refused.status, &leave))
        }
        Err(refused) => Err(refused.into()),
    }
}

/// Says what a removal ended, and what it did not.
fn removed(visit: &Visit, owner: &str, revoked: &Revoked) -> Response {
    let name = bare(owner);
    let ended = match revoked.keys_revoked {
        Some(1) => "1 key was revoked, at once and for good.".to_owned(),
        Some(keys) => format!("{} were revoked, at once and for good.", count(keys, "key")),
        None => "All keys were revoked; they could not be counted.".to_owned(),
    };
    let mut notice = Notice::done(format!("{name} has left {}", visit.team)).line(ended);
    match revoked.keys_created_for_others {
        Some(0) | None => {}
        Some(1) => {
            notice = notice.line(format!(
                "1 key that {name} created for somebody else still works."
            ));
        }
        Some(keys) => {
            let keys = count(keys, "key");
            notice = notice.line(format!("{keys} that {name} created for others still work."));
        }
    }
    let notice = notice
        .line(format!(
            "Nobody else is affected. No key can be created for {name} until they are restored."
        ))
        .line("Undo lets them have new keys again. The revoked ones stay revoked.")
        .undo(
            &format!("Restore {name}"),
            format!("{}/restore", page_of(owner)),
        );
    if visit.is(owner) {
        // The session ended with its key.
        return visit.done("/session?why=ended", notice);
    }
    visit.done(&page_of(owner), notice)
}

pub(crate) async fn restore(visit: Visit, Path(owner): Path<String>) -> Answer {
    let path = member_path(&visit, &owner, "/restore")?;
    let done: Result<Done, Refused> = visit.api.post(&path, &json!({})).await;
    let name = bare(&owner);
    let notice = match done {
        Ok(Done {}) => Notice::done(format!("{name} is back in {}", visit.team))
            .line("New keys can be created. Those that were revoked stay revoked."),
        Err(refused) if refused.status == StatusCode::CONFLICT => {
            Notice::failed(format!("{name} was not removed"))
        }
        Err(refused) => return Err(refused.into()),
    };
    Ok(visit.done(&page_of(&owner), notice))
}
