//! The audit trail: who did what, whether the chain is intact, and its export.

use askama::Template;
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream::try_unfold;
use keyfob::audit::Action;
use serde_json::Value;

use crate::{
    client::query,
    form::{Fields, Query, sentence},
    shell::{Notice, Section, Shell},
    time::{Moment, grouped},
    visit::{Answer, Visit, page},
    wire::{Event, Events, Verification, bare},
};

#[derive(Template)]
#[template(path = "audit.html")]
struct Screen {
    shell: Shell,
    fields: Fields,
    events: Vec<Event>,
    next: Option<String>,
    export: String,
    actions: [&'static str; Action::ALL.len()],
    operates: bool,
    names: crate::names::Names,
}

impl Screen {
    #[expect(clippy::unused_self, reason = "called by the template")]
    fn who(&self, event: &Event) -> String {
        match (&event.actor.owner, &event.actor.credential) {
            (Some(owner), _) => bare(owner).to_owned(),
            (None, Some(_)) => "somebody with the credential".to_owned(),
            (None, None) => "the program".to_owned(),
        }
    }

    #[expect(clippy::unused_self, reason = "called by the template")]
    fn words(&self, action: &str) -> String {
        sentence(&action.replace('_', " "))
            .trim_end_matches('.')
            .to_owned()
    }
}

/// The filters of the page, as those of the control plane.
fn filters(fields: &Fields) -> Vec<(&'static str, String)> {
    vec![
        ("actor", fields.owned("actor")),
        ("action", fields.owned("action")),
        ("key", fields.owned("key")),
        ("namespace", fields.owned("namespace")),
        ("since", midnight(fields.get("since"), 0)),
        // The first moment that is not shown: that after the day's last second.
        ("until", midnight(fields.get("until"), 1)),
    ]
}

/// The beginning of a day, or of one after it; empty if there is no day, or none after it.
fn midnight(day: &str, after: i64) -> String {
    if day.len() != 10 {
        return String::new();
    }
    let start = format!("{day}T00:00:00Z");
    match start.parse() {
        Ok(start) => {
            let at = Moment(start).plus(after * 86_400);
            // The last day that can be written has none after it.
            if at.iso().parse() == Ok(at.0) {
                at.iso()
            } else {
                String::new()
            }
        }
        // The control plane says what is wrong.
        Err(_) => start,
    }
}

fn path(
    visit: &Visit,
    filters: &[(&'static str, String)],
    rest: &[(&'static str, &str)],
) -> String {
    let filters = filters.iter().map(|(name, value)| (*name, value.as_str()));
    let rest = query(filters.chain(rest.iter().copied()));
    visit.team_path(&format!("/audit{rest}"))
}

pub(crate) async fn show(visit: Visit, Query(fields): Query) -> Answer {
    let rest = [
        ("order", "newest_first"),
        ("limit", "50"),
        ("cursor", fields.get("cursor")),
    ];
    let events: Events = visit
        .api
        .get(&path(&visit, &filters(&fields), &rest))
        .await?;
    let kept = ["actor", "action", "key", "namespace", "since", "until"];
    let kept = kept.map(|name| (name, fields.get(name)));
    let next = events.next_cursor.map(|cursor| {
        let fields = kept.into_iter().chain([("cursor", cursor.as_str())]);
        format!("/audit{}", query(fields))
    });
    Ok(page(&Screen {
        shell: Shell::of(&visit, "Audit", Section::Audit),
        events: events.events,
        next,
        export: format!("/audit/export{}", query(kept)),
        actions: Action::ALL.map(Action::as_str),
        operates: visit.can.operate,
        names: crate::names::Names::read(&visit).await?,
        fields,
    }))
}

/// Verifies the whole chain: for operators, since it is that of all teams.
pub(crate) async fn verify(visit: Visit) -> Answer {
    let verified: Verification = visit.api.get("/v1/audit/verification").await?;
    let notice = if verified.intact {
        let records = grouped(verified.records.unwrap_or_default());
        let head = verified.head.unwrap_or_default();
        Notice::done("The audit trail is intact")
            .line(format!("Every event follows from the one before, and {records} records are as their events say."))
            .line(format!("Head: {head}. Keep it outside of the store, to prove later that nothing was cut off."))
    } else {
        let at = verified.broken_at.map(|at| format!(" at revision {at}"));
        Notice::failed(format!(
            "The audit trail is broken{}",
            at.unwrap_or_default()
        ))
        .line(sentence(&verified.fault.unwrap_or_default()))
    };
    Ok(visit.done("/audit", notice))
}

/// All events that the filters select, oldest first, one JSON object a line. The store is read page
/// by page as the reader takes them.
pub(crate) async fn export(visit: Visit, Query(fields): Query) -> Answer {
    let filters = filters(&fields);
    let first = read(&visit, &filters, "").await?;
    let name = format!(
        "attachment; filename=\"audit-{}.jsonl\"",
        visit.now.iso().get(..10).unwrap_or("trail")
    );
    let state = (Some(first), visit, filters);
    let body = Body::from_stream(try_unfold(state, |(page, visit, filters)| async move {
        let Some((lines, next)) = page else {
            return Ok::<_, std::io::Error>(None);
        };
        let page = match next {
            Some(cursor) => {
                let page = read(&visit, &filters, &cursor).await;
                // The connection is broken off, so that nobody takes the export for whole.
                Some(page.map_err(|refused| std::io::Error::other(refused.message))?)
            }
            None => None,
        };
        Ok(Some((lines, (page, visit, filters))))
    }));
    let mut response: Response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/jsonl"),
    );
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// A page of events as lines, and where the next one begins.
async fn read(
    visit: &Visit,
    filters: &[(&'static str, String)],
    cursor: &str,
) -> Result<(Bytes, Option<String>), crate::client::Refused> {
    let rest = [("limit", "500"), ("cursor", cursor)];
    let page: Value = visit.api.get(&path(visit, filters, &rest)).await?;
    let events = page.get("events").and_then(Value::as_array);
    let lines = events
        .into_iter()
        .flatten()
        .map(|event| format!("{event}\n"));
    let next = page.get("next_cursor").and_then(Value::as_str);
    Ok((
        Bytes::from(lines.collect::<String>()),
        next.map(ToOwned::to_owned),
    ))
}
