//! A team: its people, services and namespaces; for operators, the teams.

use askama::Template;
use axum::http::StatusCode;
use serde_json::json;

use crate::{
    client::{query, segment},
    form::{Fault, Fields, Form, Query},
    shell::{Notice, Section, Shell},
    time::Moment,
    visit::{Account, Answer, Failure, Visit, page, page_with},
    wire::{Member, Members, Namespace, Namespaces, NewNamespace, Team, Teams},
};

#[derive(Template)]
#[template(path = "team.html")]
#[expect(clippy::struct_excessive_bools, reason = "what a page offers")]
struct Screen {
    shell: Shell,
    team: String,
    teams: Vec<Team>,
    accounts: Vec<Account>,
    /// Whether this is the operators' own team and there is no other: the first start.
    first: bool,
    home: String,
    members: Vec<Member>,
    services: Vec<Member>,
    more_members: Option<String>,
    more_services: Option<String>,
    namespaces: Vec<Namespace>,
    more_namespaces: Option<String>,
    fields: Fields,
    fault: Fault,
    sees_team: bool,
    manages: bool,
    operates: bool,
    creates: bool,
    deletes: bool,
    now: Moment,
}

impl Screen {
    /// The control namespace of the team, as a value of a query.
    fn control_segment(&self) -> String {
        segment(&format!("control:{}", self.team))
    }

    fn is_home(&self) -> bool {
        self.team == self.home && self.operates
    }
}

async fn screen(visit: &Visit, fields: Fields, fault: Fault) -> Result<Screen, Failure> {
    let teams = if visit.can.operate {
        visit.api.get::<Teams>("/v1/teams?limit=1000").await?.teams
    } else {
        Vec::new()
    };
    let (mut members, mut services) = (None, None);
    if visit.can.see_team {
        let rest = query([("limit", "100"), ("cursor", fields.get("members"))]);
        let path = visit.team_path(&format!("/members{rest}"));
        members = Some(visit.api.get::<Members>(&path).await?);
        let rest = query([("limit", "100"), ("cursor", fields.get("services"))]);
        let path = visit.team_path(&format!("/services{rest}"));
        services = Some(visit.api.get::<Members>(&path).await?);
    }
    let rest = query([("limit", "100"), ("cursor", fields.get("namespaces"))]);
    let path = visit.team_path(&format!("/namespaces{rest}"));
    let namespaces: Namespaces = visit.api.get(&path).await?;
    let split = |list: Option<Members>| {
        list.map_or((Vec::new(), None), |list| (list.members, list.next_cursor))
    };
    let (members, more_members) = split(members);
    let (services, more_services) = split(services);
    let next =
        |name: &'static str, cursor: String| format!("/team{}", query([(name, cursor.as_str())]));
    Ok(Screen {
        shell: Shell::of(visit, &format!("Team {}", visit.team), Section::Team),
        team: visit.team.clone(),
        first: visit.can.operate && teams.iter().all(|team| team.team == visit.home),
        home: visit.home.clone(),
        teams,
        accounts: visit.accounts.clone(),
        members,
        services,
        more_members: more_members.map(|cursor| next("members", cursor)),
        more_services: more_services.map(|cursor| next("services", cursor)),
        more_namespaces: namespaces
            .next_cursor
            .map(|cursor| next("namespaces", cursor)),
        namespaces: namespaces.namespaces,
        fields,
        fault,
        sees_team: visit.can.see_team,
        manages: visit.can.manage_team,
        operates: visit.can.operate,
        creates: visit.can.create_namespaces,
        deletes: visit.can.delete_namespaces,
        now: visit.now,
    })
}

pub(crate) async fn show(visit: Visit, Query(fields): Query) -> Answer {
    Ok(page(&screen(&visit, fields, Fault::default()).await?))
}

/// Has an operator work in another team.
pub(crate) async fn switch(visit: Visit, Form(fields): Form) -> Answer {
    if !visit.can.operate {
        return Err(Failure::not_found());
    }
    let team = fields.owned("team");
    let notice = Notice::done(format!("You work in the team {team} now"));
    visit.shared.sessions.switch(visit.session, Some(team));
    Ok(visit.done("/team", notice))
}

pub(crate) async fn create_namespace(visit: Visit, Form(fields): Form) -> Answer {
    let (label, team) = (fields.owned("label"), fields.owned("team"));
    let other = !team.is_empty() && team != visit.team;
    if label.is_empty() {
        let fault = Fault::new("label", "Enter what people call it.");
        let screen = screen(&visit, fields, fault).await?;
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &screen));
    }
    let team = if team.is_empty() {
        visit.team.clone()
    } else {
        team
    };
    let body = json!({ "label": label, "team": team });
    match visit
        .api
        .post::<NewNamespace>("/v2/functions/namespaces", &body)
        .await
    {
        Ok(NewNamespace { namespace }) => {
            if other && visit.can.operate {
                visit
                    .shared
                    .sessions
                    .switch(visit.session, Some(team.clone()));
            }
            let to = query([("namespace", namespace.namespace.as_str())]);
            let notice = Notice::done(format!("The namespace {label} is there"))
                .line("Keys can be created in it at once: here is the form for the first one.");
            Ok(visit.done(&format!("/keys/new{to}"), notice))
        }
        Err(refused) if matches!(refused.status.as_u16(), 400 | 404 | 409) => {
            let fault = match refused.status {
                StatusCode::NOT_FOUND => Fault::new("team", "This is not a name for a team."),
                _ => Fault::of(&refused.message, &[("label", "label"), ("team", "team")]),
            };
            let screen = screen(&visit, fields, fault).await?;
            Ok(page_with(refused.status, &screen))
        }
        Err(refused) => Err(refused.into()),
    }
}
