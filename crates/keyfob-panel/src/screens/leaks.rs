//! A credential that was found where it does not belong.

use askama::Template;
use axum::http::StatusCode;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    client::query,
    form::{Fault, Form, Query},
    names::Names,
    shell::{Notice, Section, Shell},
    time::Moment,
    visit::{Answer, Failure, Visit, page, page_with},
    wire::{Event, Events, Introspection, LeakOutcome, bare},
};

#[derive(Template)]
#[template(path = "leaks.html")]
struct Screen {
    shell: Shell,
    found: Vec<Event>,
    /// Where older ones are.
    next: Option<String>,
    url: String,
    fault: Fault,
    checks: bool,
    sees_team: bool,
    now: Moment,
}

impl Screen {
    #[expect(clippy::unused_self, reason = "called by the template")]
    fn whose(&self, event: &Event) -> String {
        event.owner.as_deref().map_or("nobody", bare).to_owned()
    }
}

async fn screen(visit: &Visit, cursor: &str, url: String, fault: Fault) -> Result<Screen, Failure> {
    let (mut found, mut next) = (Vec::new(), None);
    if visit.can.see_team {
        let rest = query([
            ("leaks_only", "true"),
            ("order", "newest_first"),
            ("limit", "100"),
            ("cursor", cursor),
        ]);
        let path = visit.team_path(&format!("/audit{rest}"));
        let page: Events = visit.api.get(&path).await?;
        found = page.events;
        next = page
            .next_cursor
            .map(|cursor| format!("/leaks{}", query([("cursor", cursor.as_str())])));
    }
    Ok(Screen {
        shell: Shell::of(visit, "Leaks", Section::Leaks),
        found,
        next,
        url,
        fault,
        checks: visit.can.see_team,
        sees_team: visit.can.see_team,
        now: visit.now,
    })
}

pub(crate) async fn show(visit: Visit, Query(fields): Query) -> Answer {
    let (cursor, url) = (fields.get("cursor"), String::new());
    Ok(page(&screen(&visit, cursor, url, Fault::default()).await?))
}

pub(crate) async fn submit(visit: Visit, Form(fields): Form) -> Answer {
    // It goes into no answer.
    let token = Zeroizing::new(fields.owned("token"));
    let url = fields.owned("url");
    if token.is_empty() {
        let fault = Fault::new("token", "Paste the text that was found.");
        let screen = screen(&visit, "", url, fault).await?;
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &screen));
    }
    let notice = match fields.get("step") {
        "check" => check(&visit, &token).await?,
        _ => report(&visit, &token, &url).await?,
    };
    Ok(visit.done("/leaks", notice))
}

async fn check(visit: &Visit, token: &str) -> Result<Notice, Failure> {
    let body = json!({ "token": token });
    let found: Introspection = visit.api.post("/v1/introspect", &body).await?;
    if !found.active {
        return Ok(Notice::done(
            "This is not a credential of your team that works",
        ));
    }
    let id = found.client_id.unwrap_or_default();
    let title = Names::read(visit)
        .await?
        .title(&found.aud.unwrap_or_default());
    let whose = match found.sub.as_deref().map(bare) {
        Some(owner) => format!("{id} of {owner}, for the namespace {title}."),
        None => format!("{id}, a shared credential, for the namespace {title}."),
    };
    Ok(Notice::failed("This credential works")
        .line(whose)
        .line("Nothing was changed, and this check is no use of it. Paste it again and revoke it."))
}

async fn report(visit: &Visit, token: &str, url: &str) -> Result<Notice, Failure> {
    let body = if url.is_empty() {
        json!([{ "token": token }])
    } else {
        json!([{ "token": token, "url": url }])
    };
    let outcomes: Vec<LeakOutcome> = visit.api.post("/v1/leaks", &body).await?;
    let outcome = outcomes.into_iter().next();
    let Some((outcome, credential)) = outcome.and_then(|outcome| {
        let credential = outcome.credential.clone()?;
        Some((outcome, credential))
    }) else {
        return Ok(Notice::failed("This is not a credential of this service")
            .line("Its secret fits no key here. Nothing was changed."));
    };
    if outcome.secret_replaced {
        return Ok(Notice::done("This secret was replaced before")
            .line(format!("It does not work again. {credential} has a newer secret, which was not found: nothing was changed, and the audit trail has no entry.")));
    }
    if !outcome.revoked {
        return Ok(Notice::failed("This is a shared credential, and it still works")
            .line(format!("{credential} is used by everybody who has it. An administrator of its team can revoke it.")));
    }
    let mut notice =
        Notice::done("The credential is revoked").line(format!("{credential} never works again."));
    if outcome.recorded {
        notice = notice.line("The audit trail says that it was found in the open.");
    } else {
        notice = notice.line("It was revoked before: the audit trail has no new entry.");
    }
    let notice = notice.line("Tell its owner, and look in the audit trail for what it did.");
    Ok(if url.is_empty() || outcome.url_recorded {
        notice
    } else {
        notice.line("The address cannot be kept in the audit trail: it could hold a secret, is too long, or the credential was revoked before.")
    })
}
