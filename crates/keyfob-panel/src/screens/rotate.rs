//! Rotating a secret, with a grace period in which both work.

use askama::Template;
use axum::{
    extract::Path,
    http::{Method, StatusCode},
};
use serde_json::{Map, json};

use crate::{
    client::{Refused, segment},
    form::{Fault, Fields, Form, Query},
    screens::{
        create::{Preset, presets, shown_at_the_form, utc},
        key,
        secret::{Secret, Why},
    },
    shell::{Section, Shell},
    time::{Html, Moment, exactly},
    visit::{Answer, Visit, page, page_with},
    wire::{Key, KeyWithSecret, OneKey, ShownPolicy},
};

/// A choice of a grace period.
struct Grace {
    value: &'static str,
    label: &'static str,
    explains: &'static str,
    refused: Option<String>,
    ends: Option<Html>,
}

#[derive(Template)]
#[template(path = "rotate.html")]
struct Screen {
    shell: Shell,
    key: Key,
    graces: Vec<Grace>,
    grace: String,
    until: String,
    latest: String,
    presets: Vec<Preset>,
    life: String,
    reason: String,
    secrets: Option<key::Secrets>,
    fault: Fault,
    now: Moment,
}

const GRACES: [(&str, &str, &str); 4] = [
    ("0", "Now", "The old secret stops at once. After a leak."),
    (
        "900",
        "15 minutes",
        "For one program that you restart yourself.",
    ),
    ("3600", "1 hour", "For a deployment."),
    ("86400", "24 hours", "For several people or programs."),
];

async fn screen(visit: &Visit, key: Key, fields: &Fields, fault: Fault) -> Result<Screen, Refused> {
    let path = format!(
        "/v2/functions/namespaces/{}/policy",
        segment(&key.namespace)
    );
    let policy = visit.api.get::<ShownPolicy>(&path).await?.policy;
    let most = policy.max_grace_seconds;
    let graces = GRACES.map(|(value, label, explains)| {
        let seconds: u64 = value.parse().unwrap_or_default();
        let end = visit.now.plus(i64::try_from(seconds).unwrap_or_default());
        Grace {
            value,
            label,
            explains,
            refused: (seconds > most).then(|| format!("longer than {}", exactly(most))),
            ends: (seconds > 0).then(|| end.at()),
        }
    });
    let grace = match fields.get("grace") {
        "" => {
            let usual = graces.iter().find(|grace| grace.value == "3600");
            let allowed = usual.is_some_and(|grace| grace.refused.is_none());
            if allowed { "3600" } else { "0" }
        }
        grace => grace,
    };
    let longest = i64::try_from(most).unwrap_or(i64::MAX / 4);
    Ok(Screen {
        shell: Shell::of(visit, &format!("Rotate {}", key.name), Section::Keys),
        grace: grace.to_owned(),
        graces: graces.into(),
        until: fields.owned("until"),
        latest: visit.now.plus(longest).input(),
        presets: presets(&policy, visit.now),
        life: match fields.get("life") {
            "" => "keep".to_owned(),
            life => life.to_owned(),
        },
        reason: fields.owned("reason"),
        secrets: key::secrets(visit, &key).await?,
        fault,
        now: visit.now,
        key,
    })
}

pub(crate) async fn show(
    visit: Visit,
    Path((namespace, id)): Path<(String, String)>,
    Query(fields): Query,
) -> Answer {
    let key = key::read(&visit, &namespace, &id).await?;
    let mut screen = screen(&visit, key, &fields, Fault::default()).await?;
    screen.life = offered(&screen.presets, &screen.life).to_owned();
    Ok(page(&screen))
}

/// The choice that an address asks for, or the longest one that the policy allows if it does not allow that.
fn offered<'a>(presets: &'a [Preset], life: &'a str) -> &'a str {
    if life == "keep" || !presets.iter().any(|preset| preset.value == life) {
        return "keep";
    }
    let mut allowed = presets.iter().filter(|preset| preset.refused.is_none());
    if allowed.any(|preset| preset.value == life) {
        return life;
    }
    let shorter = presets.iter().filter(|preset| preset.value != "never");
    let longest = shorter.rev().find(|preset| preset.refused.is_none());
    longest.map_or("keep", |preset| preset.value)
}

pub(crate) async fn submit(
    visit: Visit,
    Path((namespace, id)): Path<(String, String)>,
    Form(fields): Form,
) -> Answer {
    let body = match body(&fields, visit.now) {
        Ok(body) => body,
        Err(fault) => {
            let key = key::read(&visit, &namespace, &id).await?;
            let screen = screen(&visit, key, &fields, fault).await?;
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &screen));
        }
    };
    let path = format!("{}/rotate", key::path(&namespace, &id));
    let tag = format!("\"{}\"", fields.get("revision"));
    let rotated = visit
        .api
        .send_with::<OneKey<KeyWithSecret>>(Method::POST, &path, &body, &[("if-match", &tag)])
        .await;
    match rotated {
        Ok(OneKey { access_key }) => Ok(Secret::page(&visit, access_key, Why::Rotated)),
        Err(refused) if shown_at_the_form(refused.status) => {
            let key = key::read(&visit, &namespace, &id).await?;
            let fault = match refused.status {
                StatusCode::PRECONDITION_FAILED => Fault::new(
                    "",
                    "The key was rotated or changed meanwhile, so nothing was done. If you sent this form twice, its first answer had the secret: rotate again for a new one.",
                ),
                _ => Fault::of(&refused.message, &FIELDS),
            };
            let screen = screen(&visit, key, &fields, fault).await?;
            Ok(page_with(refused.status, &screen))
        }
        Err(refused) => Err(refused.into()),
    }
}

const FIELDS: [(&str, &str); 5] = [
    ("grace_seconds", "grace"),
    ("grace", "grace"),
    ("expires_in", "life"),
    ("expires_at", "life"),
    ("reason", "reason"),
];

/// The body of the call.
fn body(fields: &Fields, now: Moment) -> Result<Map<String, serde_json::Value>, Fault> {
    let mut body = Map::new();
    let grace = if fields.get("grace") == "until" {
        let until = utc(fields.get("until")).parse().map(Moment);
        let until = until.map_err(|_| Fault::new("until", "Enter a date and a time."))?;
        let seconds = until.unix().saturating_sub(now.unix());
        u64::try_from(seconds).map_err(|_| Fault::new("until", "This time has passed."))?
    } else {
        let seconds = fields.get("grace").parse();
        seconds.map_err(|_| Fault::new("grace", "Choose how long the old secret works."))?
    };
    if grace > 0 {
        body.insert("grace_seconds".to_owned(), json!(grace));
    }
    match fields.get("life") {
        "" | "keep" => {}
        life => {
            body.insert("expires_in".to_owned(), json!(life));
        }
    }
    if !fields.get("reason").is_empty() {
        body.insert("reason".to_owned(), json!(fields.get("reason")));
    }
    Ok(body)
}
