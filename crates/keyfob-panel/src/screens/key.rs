//! One key: what it is, its use, its history, and what can be done with it.

use std::borrow::Borrow;

use askama::Template;
use axum::{
    extract::Path,
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::json;

use crate::{
    chart::{Columns, Day},
    client::{Refused, query, segment},
    form::{Fault, Fields, Form},
    names::Names,
    screens::create::shown_at_the_form,
    shell::{Notice, Section, Shell},
    time::{Moment, count},
    visit::{Answer, Visit, page, page_with},
    wire::{Bucket, Event, Events, Key, OneKey, Use, bare},
};

/// The path of a key in the control plane.
pub(crate) fn path(namespace: &str, id: &str) -> String {
    format!(
        "/v2/functions/namespaces/{}/keys/{}",
        segment(namespace),
        segment(id)
    )
}

pub(crate) async fn read(visit: &Visit, namespace: &str, id: &str) -> Result<Key, Refused> {
    let mut one: OneKey = visit.api.get(&path(namespace, id)).await?;
    Names::read(visit).await?.name([&mut one.access_key]);
    Ok(one.access_key)
}

#[derive(Template)]
#[template(path = "key.html")]
struct Screen {
    shell: Shell,
    key: Key,
    events: Vec<Event>,
    name: String,
    fault: Fault,
    manages: bool,
    is_own_session: bool,
    plot: Option<Columns>,
    secrets: Option<Secrets>,
    now: Moment,
}

/// The use of both secrets of a key in the grace period after a rotation.
pub(crate) struct Secrets {
    old: SecretUse,
    new: SecretUse,
    /// From when the use of the new one is counted: the use of the old one before the rotation is in
    /// the same hour.
    counted_from: Moment,
}

/// The use of one secret.
#[derive(Clone, Copy, Default)]
pub(crate) struct SecretUse {
    calls: u64,
    /// The beginning of the last hour with a call.
    last: Option<Moment>,
}

impl Secrets {
    /// How long after its last call the old secret is called silent.
    const SILENT: i64 = 3 * HOUR;

    /// The use by hour of a key whose present secret was issued at this time.
    fn of(hours: &[Bucket], issued: Moment) -> Self {
        let counted_from = issued.plus(HOUR - issued.unix().rem_euclid(HOUR));
        let mut both = Self {
            old: SecretUse::default(),
            new: SecretUse::default(),
            counted_from,
        };
        for hour in hours {
            let old = hour.keys.accepted_previous;
            both.old.add(hour.start, old);
            if hour.start >= counted_from {
                let new = hour.keys.accepted.saturating_sub(old);
                both.new.add(hour.start, new);
            }
        }
        both
    }

    pub(crate) fn old_use(&self) -> String {
        match self.old.last {
            Some(last) => format!(
                "{} since the rotation, the last between {} and {} UTC",
                count(self.old.calls, "call"),
                last.minute(),
                last.plus(HOUR).clock()
            ),
            None => "no call since the rotation".to_owned(),
        }
    }

    pub(crate) fn new_use(&self) -> String {
        let from = self.counted_from.minute();
        match self.new.last {
            Some(_) => format!("{} since {from} UTC", count(self.new.calls, "call")),
            None => format!("no call counted yet: its calls are told apart from {from} UTC on"),
        }
    }

    /// Whether nothing seems to use the old secret any more.
    pub(crate) fn is_silent(&self, now: impl Borrow<Moment>) -> bool {
        let since = now.borrow().plus(-Self::SILENT);
        let rotated = self.counted_from.plus(-HOUR);
        match self.old.last {
            Some(last) => last.plus(HOUR) <= since,
            None => rotated <= since,
        }
    }
}

impl SecretUse {
    fn add(&mut self, hour: Moment, calls: u64) {
        if calls > 0 {
            self.calls += calls;
            self.last = Some(hour);
        }
    }
}

const HOUR: i64 = 3_600;

/// The use of both secrets, while both work.
pub(crate) async fn secrets(visit: &Visit, key: &Key) -> Result<Option<Secrets>, Refused> {
    if key.previous_secret_until.is_none() {
        return Ok(None);
    }
    // Use by hour is shown for 31 days.
    let longest = visit.now.plus(-30 * 86_400);
    let from = key.secret_issued_at.max(longest).iso();
    let rest = query([("key", key.id.as_str()), ("by", "hour"), ("from", &from)]);
    let path = visit.team_path(&format!("/usage{rest}"));
    let shown: Use = match visit.api.get(&path).await {
        Ok(shown) => shown,
        Err(refused) if refused.status == StatusCode::NOT_FOUND => return Ok(None),
        Err(refused) => return Err(refused),
    };
    Ok(Some(Secrets::of(&shown.buckets, key.secret_issued_at)))
}

impl Screen {
    fn creator(&self) -> &str {
        self.key
            .creator
            .owner
            .as_deref()
            .map_or("the program", bare)
    }
}

/// The use of the key on the last 30 days.
async fn plot(visit: &Visit, id: &str) -> Result<Option<Columns>, Refused> {
    let path = visit.team_path(&format!("/usage{}", query([("key", id)])));
    let shown = match visit.api.get::<Use>(&path).await {
        Ok(shown) => shown,
        Err(refused) if refused.status == StatusCode::NOT_FOUND => return Ok(None),
        Err(refused) => return Err(refused),
    };
    let days = shown.buckets.iter().map(|bucket| Day {
        at: bucket.start,
        accepted: bucket.keys.accepted,
        refused: bucket.keys.refused,
    });
    Ok(Some(Columns {
        title: "Calls by day".to_owned(),
        first: "accepted",
        second: "refused",
        days: days.collect(),
    }))
}

async fn screen(visit: &Visit, key: Key, fault: Fault) -> Result<Screen, Refused> {
    let events = if visit.can.see_team {
        let rest = query([
            ("key", key.id.as_str()),
            ("order", "newest_first"),
            ("limit", "20"),
        ]);
        let path = visit.team_path(&format!("/audit{rest}"));
        visit.api.get::<Events>(&path).await?.events
    } else {
        Vec::new()
    };
    Ok(Screen {
        shell: Shell::of(visit, &key.name, Section::Keys),
        events,
        name: key.name.clone(),
        fault,
        plot: plot(visit, &key.id).await?,
        secrets: secrets(visit, &key).await?,
        manages: visit.manages(&key.owner),
        is_own_session: visit.credential == key.id,
        now: visit.now,
        key,
    })
}

pub(crate) async fn show(visit: Visit, Path((namespace, id)): Path<(String, String)>) -> Answer {
    let key = read(&visit, &namespace, &id).await?;
    Ok(page(&screen(&visit, key, Fault::default()).await?))
}

/// Gives the key another name.
pub(crate) async fn update(
    visit: Visit,
    Path((namespace, id)): Path<(String, String)>,
    Form(fields): Form,
) -> Answer {
    let body = json!({ "name": fields.get("name") });
    let before = read(&visit, &namespace, &id).await?;
    let tag = format!("\"{}\"", fields.get("revision"));
    let updated = visit
        .api
        .send_with::<OneKey>(
            Method::PUT,
            &path(&namespace, &id),
            &body,
            &[("if-match", &tag)],
        )
        .await;
    match updated {
        Ok(OneKey { access_key: key }) => {
            let mut notice = Notice::done(format!("The key is now called {}", key.name))
                .line("It works as before.");
            if before.name != key.name {
                notice = notice
                    .undo(&format!("Call it {} again", before.name), key.path())
                    .with("name", before.name)
                    .with("revision", key.revision.to_string());
            }
            Ok(visit.done(&key.path(), notice))
        }
        Err(refused) if shown_at_the_form(refused.status) => {
            let key = read(&visit, &namespace, &id).await?;
            let fault = match refused.status {
                StatusCode::PRECONDITION_FAILED => Fault::new(
                    "name",
                    "Somebody else changed the key meanwhile. Check it below, and save again.",
                ),
                _ => Fault::new("name", Fault::of(&refused.message, &[("name", "")]).message),
            };
            let mut screen = screen(&visit, key, fault).await?;
            screen.name = fields.owned("name");
            Ok(page_with(refused.status, &screen))
        }
        Err(refused) => Err(refused.into()),
    }
}

pub(crate) async fn disable(
    visit: Visit,
    Path((namespace, id)): Path<(String, String)>,
    Form(fields): Form,
) -> Answer {
    set(&visit, &namespace, &id, "disable", &fields).await
}

pub(crate) async fn enable(
    visit: Visit,
    Path((namespace, id)): Path<(String, String)>,
    Form(fields): Form,
) -> Answer {
    set(&visit, &namespace, &id, "enable", &fields).await
}

async fn set(
    visit: &Visit,
    namespace: &str,
    id: &str,
    call: &str,
    fields: &Fields,
) -> Result<Response, crate::visit::Failure> {
    let reason = fields.get("reason");
    let body = if reason.is_empty() {
        json!({})
    } else {
        json!({ "reason": reason })
    };
    let path = format!("{}/{call}", path(namespace, id));
    let one: OneKey = visit.api.post(&path, &body).await?;
    let key = one.access_key;
    let notice = if call == "disable" {
        Notice::done(format!("{} is disabled", key.name))
            .line("Calls with it are refused from now on. Nothing else changed.")
            .undo("Enable it again", format!("{}/enable", key.path()))
    } else {
        Notice::done(format!("{} is enabled", key.name))
            .line("Calls with it are accepted again, until it expires.")
            .undo("Disable it again", format!("{}/disable", key.path()))
    };
    Ok(visit.done(&key.path(), notice))
}
