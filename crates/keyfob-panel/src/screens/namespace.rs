//! Removing a namespace: what stops first, then its name typed.

use askama::Template;
use axum::{extract::Path, http::StatusCode};
use serde_json::{Value, json};

use crate::{
    client::{query, segment},
    form::{Fault, Fields, Form, sentence},
    names::Names,
    screens::leave::{Part, parts},
    shell::{Notice, Section, Shell},
    time::count,
    visit::{Answer, Failure, Visit, page, page_with},
    wire::{Key, Keys, LegacyReport, Revoked},
};

#[derive(Template)]
#[template(path = "namespace_remove.html")]
struct Confirm {
    shell: Shell,
    namespace: String,
    title: String,
    /// The keys that stop, by owner.
    parts: Vec<Part>,
    /// Whether there are more keys than were counted.
    more: bool,
    /// How many shared credentials stop; none if the user may not see it.
    shared: Option<u64>,
    /// Whether others' keys are counted too.
    sees_all: bool,
    can_restore: bool,
    reason: String,
    typed: String,
    fault: Fault,
}

impl Confirm {
    fn segment(&self) -> String {
        segment(&self.namespace)
    }

    fn keys(&self) -> u64 {
        self.parts.iter().map(|part| part.keys).sum()
    }

    fn used(&self) -> u64 {
        self.parts.iter().map(|part| part.used).sum()
    }
}

async fn confirmation(
    visit: &Visit,
    namespace: String,
    fields: &Fields,
    fault: Fault,
) -> Result<Confirm, Failure> {
    let known = crate::screens::keys::all_namespaces(visit, &namespace).await?;
    let names = Names::of(&known);
    let mut known = known.iter().filter(|known| known.namespace == namespace);
    let removable = known.any(|known| !known.removed && !known.is_control());
    if !removable {
        return Err(Failure::not_found());
    }
    let title = names.title(&namespace);
    let rest = query([("namespace", namespace.as_str()), ("limit", "1000")]);
    let keys: Keys = visit
        .api
        .get(&visit.team_path(&format!("/keys{rest}")))
        .await?;
    let mut living = keys.access_keys;
    living.retain(Key::is_living);
    let shared = if visit.can.see_team {
        let rest = query([("namespace", namespace.as_str())]);
        let path = visit.team_path(&format!("/legacy{rest}"));
        let report: LegacyReport = visit.api.get(&path).await?;
        let all = report.namespaces.iter().flat_map(|use_| &use_.credentials);
        Some(all.filter(|one| !one.revoked && !one.blocked).count() as u64)
    } else {
        None
    };
    Ok(Confirm {
        shell: Shell::of(visit, &format!("Remove {title}"), Section::Team),
        parts: parts(&living, visit.now, |key| key.owner.as_str()),
        more: keys.next_cursor.is_some(),
        shared,
        sees_all: visit.can.see_team,
        can_restore: visit.can.manage_team,
        reason: fields.owned("reason"),
        typed: fields.owned("typed"),
        namespace,
        title,
        fault,
    })
}

pub(crate) async fn confirm(visit: Visit, Path(namespace): Path<String>) -> Answer {
    let none = (Fields::default(), Fault::default());
    let confirm = confirmation(&visit, namespace, &none.0, none.1).await?;
    Ok(page(&confirm))
}

pub(crate) async fn remove(
    visit: Visit,
    Path(namespace): Path<String>,
    Form(fields): Form,
) -> Answer {
    let mut confirm = confirmation(&visit, namespace, &fields, Fault::default()).await?;
    if ![&confirm.title, &confirm.namespace].contains(&&confirm.typed) {
        confirm.fault = Fault::new("typed", format!("Type exactly: {}", confirm.title));
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &confirm));
    }
    let body = match confirm.reason.as_str() {
        "" => json!({}),
        reason => json!({ "reason": reason }),
    };
    let path = format!("/v2/functions/namespaces/{}/remove", confirm.segment());
    let revoked: Revoked = match visit.api.post(&path, &body).await {
        Ok(revoked) => revoked,
        Err(refused) if refused.status == StatusCode::BAD_REQUEST => {
            confirm.fault = Fault::of(&refused.message, &[("reason", "reason")]);
            return Ok(page_with(refused.status, &confirm));
        }
        Err(refused) => return Err(refused.into()),
    };
    let ended = match (revoked.keys_revoked, revoked.legacy_revoked) {
        (Some(keys), Some(legacy)) => format!(
            "Revoked for good: {} and {}.",
            count(keys, "key"),
            count(legacy, "shared credential")
        ),
        _ => "All of its keys and shared credentials are revoked; they could not be counted."
            .to_owned(),
    };
    let notice = Notice::done(format!("The namespace {} is removed", confirm.title))
        .line(ended)
        .line("Other namespaces are unaffected.");
    let notice = if visit.can.manage_team {
        notice
            .line("Undo makes it usable again, with new keys.")
            .undo(
                "Restore the namespace",
                format!("/namespaces/{}/restore", confirm.segment()),
            )
    } else {
        notice.line("An administrator of the team can restore it, and then it can have new keys.")
    };
    Ok(visit.done("/team", notice))
}

pub(crate) async fn restore(visit: Visit, Path(namespace): Path<String>) -> Answer {
    let path = format!("/v2/functions/namespaces/{}/restore", segment(&namespace));
    let notice = match visit.api.post::<Value>(&path, &json!({})).await {
        Ok(_) => Notice::done("The namespace is there again")
            .line("New keys can be created in it. Those that were revoked stay revoked."),
        Err(refused) if refused.status == StatusCode::CONFLICT => {
            Notice::failed("Nothing was restored").line(sentence(&refused.message))
        }
        Err(refused) => return Err(refused.into()),
    };
    Ok(visit.done("/team", notice))
}
