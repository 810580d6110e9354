//! Revoking one key or several: what will stop first, then the name typed.

use askama::Template;
use axum::http::StatusCode;
use serde_json::json;

use crate::{
    client::query,
    form::{Fault, Fields, Form, Query, sentence},
    screens::key,
    shell::{Notice, Section, Shell},
    time::{Moment, count},
    visit::{Answer, Failure, Visit, page, page_with},
    wire::{Key, Keys, OneKey},
};

#[derive(Template)]
#[template(path = "revoke.html")]
struct Screen {
    shell: Shell,
    keys: Vec<Key>,
    /// The selected keys that are left for afterwards, as the form names them.
    later: Vec<String>,
    /// What must be typed.
    word: String,
    typed: String,
    reason: String,
    fault: Fault,
    ends_session: bool,
    now: Moment,
}

impl Screen {
    fn used_lately(&self) -> u64 {
        let used = self
            .keys
            .iter()
            .filter(|key| key.used_within(self.now, WEEK));
        used.count() as u64
    }

    fn title(&self) -> String {
        match self.keys.as_slice() {
            [key] => format!("Revoke {}?", key.name),
            keys => format!("Revoke {}?", count(keys.len() as u64, "key")),
        }
    }
}

const WEEK: i64 = 7 * 86_400;
/// How many keys are revoked at a time. Each takes a request of the caller's quota.
const MOST: usize = 50;

/// The selected keys, each as `namespace/id`.
struct Selection {
    keys: Vec<String>,
    later: Vec<String>,
}

impl Selection {
    fn of(visit: &Visit, fields: &Fields) -> Self {
        let mut keys: Vec<String> = Vec::new();
        for name in fields.all("key").into_iter().chain(fields.all("later")) {
            if !keys.contains(&name) {
                keys.push(name);
            }
        }
        // The key of this session last: nothing could be revoked after it.
        keys.sort_by_key(|name| id(name) == visit.credential);
        let first = fields.all("key").len().min(MOST).min(keys.len());
        let later = keys.split_off(first);
        Self { keys, later }
    }
}

fn id(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(_, id)| id)
}

fn path(name: &str) -> Result<String, Failure> {
    let (namespace, id) = name.rsplit_once('/').ok_or_else(Failure::not_found)?;
    Ok(key::path(namespace, id))
}

pub(crate) async fn show(visit: Visit, Query(fields): Query) -> Answer {
    let screen = screen(&visit, &fields, Fault::default()).await?;
    Ok(page(&screen))
}

async fn screen(visit: &Visit, fields: &Fields, fault: Fault) -> Result<Screen, Failure> {
    let selection = Selection::of(visit, fields);
    let mut keys = read(visit, &selection.keys).await?;
    crate::names::Names::read(visit).await?.name(&mut keys);
    let word = match keys.as_slice() {
        [key] => key.name.clone(),
        keys => words(keys.len()),
    };
    Ok(Screen {
        shell: Shell::of(visit, "Revoke keys", Section::Keys),
        ends_session: keys.iter().any(|key| key.id == visit.credential),
        keys,
        later: selection.later,
        word,
        typed: fields.owned("typed"),
        reason: fields.owned("reason"),
        fault,
        now: visit.now,
    })
}

/// Those of the keys that are there and not revoked, in this order.
async fn read(visit: &Visit, names: &[String]) -> Result<Vec<Key>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if names.iter().any(|name| id(name).is_empty()) {
        return Err(Failure::not_found());
    }
    let ids = names.iter().map(|name| ("id", id(name)));
    let rest = query(ids.chain([("limit", "1000")]));
    let path = visit.team_path(&format!("/keys{rest}"));
    let mut keys = visit.api.get::<Keys>(&path).await?.access_keys;
    let place = |key: &Key| names.iter().position(|name| id(name) == key.id);
    keys.sort_by_key(place);
    Ok(keys)
}

/// What must be typed to revoke several keys.
fn words(keys: usize) -> String {
    format!("revoke {keys}")
}

/// What was done, if keys are left.
#[derive(Template)]
#[template(path = "revoke_rest.html")]
struct Rest {
    shell: Shell,
    title: String,
    /// Whether the caller's quota has ended.
    limited: bool,
    failures: Vec<String>,
    left: Vec<String>,
    reason: String,
}

pub(crate) async fn submit(visit: Visit, Form(fields): Form) -> Answer {
    let Selection { keys, later } = Selection::of(&visit, &fields);
    // Several keys are not read again.
    if keys.len() < 2 || fields.get("typed") != words(keys.len()) {
        let mut screen = screen(&visit, &fields, Fault::default()).await?;
        if screen.keys.is_empty() {
            return Ok(page(&screen));
        }
        if screen.typed != screen.word {
            let message = format!("Type exactly: {}", screen.word);
            screen.fault = Fault::new("typed", message);
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &screen));
        }
    }
    let reason = fields.owned("reason");
    let body = if reason.is_empty() {
        json!({})
    } else {
        json!({ "reason": reason })
    };
    let keys: Vec<_> = keys
        .into_iter()
        .map(|name| path(&name).map(|path| (name, path)))
        .collect::<Result<_, _>>()?;
    let (mut revoked, mut failures) = (Vec::new(), Vec::new());
    let (mut left, mut limited) = (Vec::new(), false);
    for (name, path) in keys {
        if limited {
            left.push(name);
            continue;
        }
        let path = format!("{path}/revoke");
        match visit.api.post::<OneKey>(&path, &body).await {
            Ok(one) => revoked.push(one.access_key.name),
            Err(refused) if refused.status == StatusCode::TOO_MANY_REQUESTS => {
                limited = true;
                left.push(name);
            }
            // The reason is that of all.
            Err(refused) if refused.status == StatusCode::BAD_REQUEST && revoked.is_empty() => {
                let fault = Fault::of(&refused.message, &[("reason", "reason")]);
                let screen = screen(&visit, &fields, fault).await?;
                return Ok(page_with(refused.status, &screen));
            }
            Err(refused) => {
                failures.push(format!("{}: {}", id(&name), sentence(&refused.message)));
            }
        }
    }
    left.extend(later);
    if left.is_empty() {
        return Ok(visit.done("/keys", notice(&revoked, failures)));
    }
    let rest = Rest {
        shell: Shell::of(&visit, "Revoke keys", Section::Keys),
        title: format!(
            "{} revoked, {} left",
            count(revoked.len() as u64, "key"),
            left.len()
        ),
        limited,
        failures,
        left,
        reason,
    };
    let status = if limited {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        StatusCode::OK
    };
    Ok(page_with(status, &rest))
}

/// Says what was revoked, if nothing is left.
fn notice(revoked: &[String], failures: Vec<String>) -> Notice {
    let done = count(revoked.len() as u64, "key");
    let mut notice = match (revoked, failures.is_empty()) {
        ([name], true) => Notice::done(format!("{name} is revoked")),
        (_, true) => Notice::done(format!("{done} revoked")),
        ([], false) => Notice::failed("Nothing was revoked"),
        (_, false) => Notice::failed(format!("{done} revoked, {} not", failures.len())),
    };
    if !revoked.is_empty() {
        notice = notice
            .line("Calls with a revoked key are refused from now on, and it never works again. All other keys work as before.")
            .line("There is no undo: create a new key for those who still need one.");
    }
    for failure in failures {
        notice = notice.line(failure);
    }
    notice
}
