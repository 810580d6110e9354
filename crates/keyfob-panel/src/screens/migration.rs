//! The way from shared credentials to personal keys: who still uses them, until when they work.

mod before;

use std::{borrow::Borrow, collections::BTreeMap};

use askama::Template;
use axum::{
    extract::Path,
    http::{Method, StatusCode},
};
use serde_json::json;

use crate::{
    chart::{Columns, Day, Timeline},
    client::{Refused, query, segment},
    form::{Fault, Fields, Form, Query},
    names::Names,
    screens::{
        create::utc,
        migration::before::{Before, changes},
    },
    shell::{Notice, Section, Shell},
    time::{Html, Moment, count, grouped},
    visit::{Answer, Failure, Visit, page, page_with},
    wire::{
        Brownout, CutOff, Event, LegacyPolicy, LegacyReport, LegacyUse, ShownLegacyPolicy, Use,
    },
};

/// A namespace that has shared credentials.
struct Row {
    use_: LegacyUse,
    timeline: Timeline,
    /// The policy that the cut-off can be undone from; none if there is nothing to undo.
    undo: Option<String>,
}

impl Row {
    fn segment(&self) -> String {
        segment(&self.use_.namespace)
    }

    /// How many of its credentials are neither revoked nor blocked.
    fn living(&self) -> u64 {
        let living = self.use_.credentials.iter();
        living.filter(|one| !one.revoked && !one.blocked).count() as u64
    }

    /// Whether people call it otherwise than by its name.
    fn has_title(&self) -> bool {
        self.use_.title != self.use_.namespace
    }

    fn state(&self, now: impl Borrow<Moment>) -> (&'static str, &'static str) {
        let now = *now.borrow();
        match self.sunset() {
            _ if self.living() == 0 => ("off", "All revoked"),
            None => ("off", "Cut off"),
            Some(at) if at <= now => ("off", "Sunset passed"),
            Some(_) if self.in_brownout(now) => ("warn", "Brownout now"),
            Some(_) if self.used_lately(now) => ("bad", "Still in use"),
            Some(_) => ("good", "Silent"),
        }
    }

    fn sunset(&self) -> Option<Moment> {
        self.use_.policy.sunset()
    }

    fn accepts(&self, now: impl Borrow<Moment>) -> bool {
        let now = *now.borrow();
        self.living() > 0 && self.sunset().is_some_and(|at| at > now)
    }

    fn in_brownout(&self, now: Moment) -> bool {
        let mut periods = self.use_.policy.brownouts.iter().filter_map(period);
        periods.any(|(start, end)| start <= now && now < end)
    }

    fn used_lately(&self, now: impl Borrow<Moment>) -> bool {
        let now = *now.borrow();
        self.use_
            .last_used_at
            .is_some_and(|at| at >= now.plus(-14 * 86_400))
    }

    fn last_used(&self, now: impl Borrow<Moment>) -> Html {
        let now = *now.borrow();
        match self.use_.last_used_at {
            Some(at) => at.from(now),
            None => Html("never".to_owned()),
        }
    }

    fn accepted(&self) -> String {
        grouped(self.use_.accepted)
    }

    fn calls_accepted(&self) -> String {
        count(self.use_.accepted, "call")
    }

    fn refused(&self) -> String {
        grouped(self.use_.refused)
    }
}

fn period(brownout: &Brownout) -> Option<(Moment, Moment)> {
    let start = brownout.start.parse().ok()?;
    Some((Moment(start), Moment(brownout.end.parse().ok()?)))
}

#[derive(Template)]
#[template(path = "migration.html")]
struct Screen {
    shell: Shell,
    rows: Vec<Row>,
    plot: Option<Columns>,
    /// Whether all of the team's are on this page.
    whole: bool,
    /// Where the next page is.
    next: Option<String>,
    now: Moment,
    manages: bool,
}

impl Screen {
    fn in_use(&self) -> usize {
        let rows = self.rows.iter();
        rows.filter(|row| row.accepts(self.now) && row.used_lately(self.now))
            .count()
    }

    fn silent(&self) -> usize {
        let rows = self.rows.iter();
        rows.filter(|row| row.accepts(self.now) && !row.used_lately(self.now))
            .count()
    }

    fn over(&self) -> usize {
        self.rows
            .iter()
            .filter(|row| !row.accepts(self.now))
            .count()
    }

    fn share(&self) -> usize {
        (self.over() * 100)
            .checked_div(self.rows.len())
            .unwrap_or(100)
    }
}

/// How many calls of the team came with shared credentials, and how many with keys, on each day.
async fn burn_down(visit: &Visit) -> Result<Columns, Failure> {
    let used: Use = visit.api.get(&visit.team_path("/usage")).await?;
    let days = used.buckets.into_iter().map(|bucket| Day {
        at: bucket.start,
        accepted: bucket.keys.accepted,
        refused: bucket.legacy.accepted,
    });
    Ok(Columns {
        title: "Calls by day, with keys and with shared credentials".to_owned(),
        first: "with keys",
        second: "with shared credentials",
        days: days.collect(),
    })
}

/// The namespaces with shared credentials on a page, or only this one, and where the next page
/// begins.
async fn report(
    visit: &Visit,
    namespace: &str,
    cursor: &str,
) -> Result<(Vec<Row>, Option<String>), Failure> {
    let rest = query([
        ("namespace", namespace),
        ("limit", if namespace.is_empty() { PAGE } else { "1000" }),
        ("cursor", cursor),
    ]);
    let path = visit.team_path(&format!("/legacy{rest}"));
    let mut report: LegacyReport = visit.api.get(&path).await?;
    let names = Names::read(visit).await?;
    for use_ in &mut report.namespaces {
        use_.title = names.title(&use_.namespace);
    }
    let rows = report.namespaces.into_iter().map(|use_| Row {
        timeline: Timeline::new(
            visit.now,
            use_.policy.sunset(),
            use_.policy.brownouts.iter().filter_map(period).collect(),
        ),
        undo: None,
        use_,
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| {
        let accepts = row.accepts(visit.now);
        (
            !accepts,
            !row.used_lately(visit.now),
            std::cmp::Reverse(row.use_.last_used_at),
        )
    });
    Ok((rows, report.next_cursor))
}

/// How many shared credentials are on a page.
const PAGE: &str = "200";

async fn row(visit: &Visit, namespace: &str) -> Result<Row, Failure> {
    let (rows, _) = report(visit, namespace, "").await?;
    let row = rows.into_iter().find(|row| row.use_.namespace == namespace);
    row.ok_or_else(Failure::not_found)
}

pub(crate) async fn show(visit: Visit, Query(fields): Query) -> Answer {
    let cursor = fields.get("cursor");
    let (mut rows, next) = report(&visit, "", cursor).await?;
    offer_undos(&visit, &mut rows).await?;
    let plot = if rows.is_empty() {
        None
    } else {
        Some(burn_down(&visit).await?)
    };
    Ok(page(&Screen {
        shell: Shell::of(&visit, "Migration", Section::Migration),
        plot,
        whole: next.is_none() && cursor.is_empty(),
        next: next.map(|next| format!("/migration{}", query([("cursor", next.as_str())]))),
        rows,
        now: visit.now,
        manages: visit.can.manage_team,
    }))
}

/// Offers to undo the cut-offs, from whichever session they were made: the audit trail has the policy before.
async fn offer_undos(visit: &Visit, rows: &mut [Row]) -> Result<(), Failure> {
    if !visit.can.manage_team || !rows.iter().any(|row| row.use_.policy.is_cut_off()) {
        return Ok(());
    }
    let mut last: BTreeMap<String, Event> = BTreeMap::new();
    for event in changes(visit, "", "1000").await? {
        if let Some(namespace) = event.namespace.clone() {
            // The newest is first.
            last.entry(namespace).or_insert(event);
        }
    }
    for row in rows.iter_mut().filter(|row| row.use_.policy.is_cut_off()) {
        let before = last.get(&row.use_.namespace);
        let before = before.map(|event| Before::of(event, &row.use_.policy));
        if before.is_some_and(|before| before.accepts(visit.now)) {
            row.undo = Some(row.use_.policy.text());
        }
    }
    Ok(())
}

/// A brownout as it was typed.
struct Typed {
    start: String,
    end: String,
}

#[derive(Template)]
#[template(path = "migration_edit.html")]
struct Edit {
    shell: Shell,
    row: Row,
    /// The policy that the form began with.
    was: String,
    sunset: String,
    brownouts: Vec<Typed>,
    fault: Fault,
    now: Moment,
}

fn edit_of(visit: &Visit, row: Row, fields: Option<&Fields>, fault: Fault) -> Edit {
    let (sunset, mut brownouts) = if let Some(fields) = fields {
        (fields.owned("sunset"), typed(fields))
    } else {
        let policy = &row.use_.policy;
        let brownouts = policy.brownouts.iter().map(|brownout| Typed {
            start: input(&brownout.start),
            end: input(&brownout.end),
        });
        let sunset = policy.sunset.as_deref().map(input);
        (sunset.unwrap_or_default(), brownouts.collect())
    };
    // Room for three more.
    brownouts.extend((0..3).map(|_| Typed {
        start: String::new(),
        end: String::new(),
    }));
    Edit {
        shell: Shell::of(
            visit,
            &format!("Sunset of {}", row.use_.title),
            Section::Migration,
        ),
        was: row.use_.policy.text(),
        row,
        sunset,
        brownouts,
        fault,
        now: visit.now,
    }
}

/// A moment of the control plane as the value of an input of the type `datetime-local`.
fn input(text: &str) -> String {
    let text = text.trim_end_matches('Z');
    text.strip_suffix(":00")
        .filter(|short| short.len() == 16)
        .unwrap_or(text)
        .to_owned()
}

fn typed(fields: &Fields) -> Vec<Typed> {
    let (starts, ends) = (fields.all("start"), fields.all("end"));
    let pairs = starts.into_iter().zip(ends);
    let pairs = pairs.filter(|(start, end)| !start.is_empty() || !end.is_empty());
    pairs.map(|(start, end)| Typed { start, end }).collect()
}

pub(crate) async fn edit(visit: Visit, Path(namespace): Path<String>) -> Answer {
    let row = row(&visit, &namespace).await?;
    Ok(page(&edit_of(&visit, row, None, Fault::default())))
}

pub(crate) async fn submit(
    visit: Visit,
    Path(namespace): Path<String>,
    Form(fields): Form,
) -> Answer {
    let sunset = fields.get("sunset");
    let before = shown(&visit, &namespace).await?;
    if before.text() != fields.get("was") {
        let now = match before.sunset {
            Some(sunset) => format!(
                "sunset {sunset}, {}",
                count(before.brownouts.len() as u64, "brownout")
            ),
            None => "cut off".to_owned(),
        };
        let fault = Fault::new(
            "",
            format!(
                "Somebody else has changed this meanwhile. It is now: {now}. To overwrite that, set the sunset once more."
            ),
        );
        let row = row(&visit, &namespace).await?;
        let edit = edit_of(&visit, row, Some(&fields), fault);
        return Ok(page_with(StatusCode::CONFLICT, &edit));
    }
    let fault = if sunset.is_empty() {
        Fault::new(
            "sunset",
            "Enter a date and a time. To refuse the credentials from now on, cut off instead.",
        )
    } else {
        let brownouts = typed(&fields).into_iter().map(|typed| Brownout {
            start: utc(&typed.start),
            end: utc(&typed.end),
        });
        let policy = LegacyPolicy {
            sunset: Some(utc(sunset)),
            brownouts: brownouts.collect(),
        };
        if policy.sunset().is_some_and(|at| at <= visit.now) {
            Fault::new(
                "sunset",
                "This time has passed. To stop them now, use the cut-off: it shows first what stops.",
            )
        } else if stops_at_once(&before, &policy, visit.now) {
            Fault::new(
                "brownouts",
                "A brownout begins in the past. To stop them now, use the cut-off: it shows first what stops.",
            )
        } else {
            match put(&visit, &namespace, &policy).await {
                Ok(set) => return set_notice(&visit, &namespace, &before, &set.policy).await,
                Err(refused) if refused.status == StatusCode::BAD_REQUEST => Fault::of(
                    &refused.message,
                    &[
                        ("sunset", "sunset"),
                        ("brownouts", "brownouts"),
                        ("start", "brownouts"),
                        ("end", "brownouts"),
                    ],
                ),
                Err(refused) => return Err(refused.into()),
            }
        }
    };
    let row = row(&visit, &namespace).await?;
    let edit = edit_of(&visit, row, Some(&fields), fault);
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &edit))
}

/// Whether a brownout of a new policy has begun, and lasts longer than those of the policy before that have.
fn stops_at_once(before: &LegacyPolicy, new: &LegacyPolicy, now: Moment) -> bool {
    let ends = |policy: &LegacyPolicy| {
        let periods = policy.brownouts.iter().filter_map(period);
        let current = periods.filter(|(start, end)| *start <= now && now < *end);
        current.map(|(_, end)| end).max()
    };
    ends(new) > ends(before)
}

/// Says what the sunset means, and offers the policy before.
async fn set_notice(
    visit: &Visit,
    namespace: &str,
    before: &LegacyPolicy,
    set: &LegacyPolicy,
) -> Answer {
    let title = Names::read(visit).await?.title(namespace);
    let periods = set.brownouts.iter().filter_map(period);
    let mut current = periods.filter(|(start, end)| *start <= visit.now && visit.now < *end);
    let line = match (current.next(), set.sunset()) {
        (Some((_, end)), _) => format!(
            "Shared credentials are refused now: a brownout lasts until {} UTC.",
            end.minute()
        ),
        (None, Some(at)) => format!(
            "Shared credentials work until {} UTC, except in brownouts.",
            at.minute()
        ),
        (None, None) => "Shared credentials are refused.".to_owned(),
    };
    let notice = Notice::done(format!("The sunset of {title} is set"))
        .line(line)
        .line("You can change it at any time.");
    let address = format!("/migration/{}", segment(namespace));
    let notice = if before.text() == set.text() {
        notice
    } else if before.sunset().is_some_and(|at| at > visit.now) {
        notice
            .undo("Undo", format!("{address}/undo"))
            .with("was", set.text())
    } else {
        notice.undo_on("Cut off again…", format!("{address}/cut-off"))
    };
    Ok(visit.done("/migration", notice))
}

fn policy_path(namespace: &str) -> String {
    format!(
        "/v2/functions/namespaces/{}/legacy-policy",
        segment(namespace)
    )
}

/// The policy that applies now.
async fn shown(visit: &Visit, namespace: &str) -> Result<LegacyPolicy, Refused> {
    let shown: ShownLegacyPolicy = visit.api.get(&policy_path(namespace)).await?;
    Ok(shown.policy)
}

async fn put(
    visit: &Visit,
    namespace: &str,
    policy: &impl serde::Serialize,
) -> Result<ShownLegacyPolicy, Refused> {
    visit
        .api
        .send(Method::PUT, &policy_path(namespace), policy)
        .await
}

#[derive(Template)]
#[template(path = "cut_off.html")]
struct Confirm {
    shell: Shell,
    row: Row,
    typed: String,
    reason: String,
    fault: Fault,
    now: Moment,
}

impl Confirm {
    fn new(visit: &Visit, row: Row, fields: &Fields, fault: Fault) -> Self {
        Self {
            shell: Shell::of(
                visit,
                &format!("Cut off {}", row.use_.title),
                Section::Migration,
            ),
            typed: fields.owned("typed"),
            reason: fields.owned("reason"),
            row,
            fault,
            now: visit.now,
        }
    }
}

pub(crate) async fn confirm(visit: Visit, Path(namespace): Path<String>) -> Answer {
    let row = row(&visit, &namespace).await?;
    let confirm = Confirm::new(&visit, row, &Fields::default(), Fault::default());
    Ok(page(&confirm))
}

pub(crate) async fn cut_off(
    visit: Visit,
    Path(namespace): Path<String>,
    Form(fields): Form,
) -> Answer {
    let names = Names::read(&visit).await?;
    let title = names.title(&namespace);
    if !names.is(fields.get("typed"), &namespace) {
        let row = row(&visit, &namespace).await?;
        let fault = Fault::new("typed", format!("Type exactly: {title}"));
        let confirm = Confirm::new(&visit, row, &fields, fault);
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &confirm));
    }
    let body = match fields.get("reason") {
        "" => json!({}),
        reason => json!({ "reason": reason }),
    };
    let path = format!("{}/cut-off", policy_path(&namespace));
    let cut: CutOff = match visit.api.post(&path, &body).await {
        Ok(cut) => cut,
        Err(refused) if refused.status == StatusCode::BAD_REQUEST => {
            let row = row(&visit, &namespace).await?;
            let fault = Fault::of(&refused.message, &[("reason", "reason")]);
            let confirm = Confirm::new(&visit, row, &fields, fault);
            return Ok(page_with(refused.status, &confirm));
        }
        Err(refused) => return Err(refused.into()),
    };
    let credentials = match cut.credentials {
        1 => "1 shared credential is refused from now on.".to_owned(),
        number => format!(
            "{} are refused from now on.",
            count(number, "shared credential")
        ),
    };
    let notice = Notice::done(format!("{title} is cut off"))
        .line(credentials)
        .line("Personal keys work as before. Nothing was deleted: undo accepts the shared credentials again, with the same sunset as before.")
        .undo("Undo the cut-off", format!("/migration/{}/undo", segment(&namespace)))
        .with("was", LegacyPolicy::default().text());
    Ok(visit.done("/migration", notice))
}

/// Sets the policy again that applied before the last change, as the audit trail has it.
pub(crate) async fn undo(
    visit: Visit,
    Path(namespace): Path<String>,
    Form(fields): Form,
) -> Answer {
    let title = Names::read(&visit).await?.title(&namespace);
    let refuse = |line: &str| -> Answer {
        let notice = Notice::failed(format!("The policy of {title} was not undone")).line(line);
        Ok(visit.done("/migration", notice))
    };
    let now = shown(&visit, &namespace).await?;
    if now.text() != fields.get("was") {
        return refuse(
            "It was changed since: undoing would overwrite that change. Set the sunset again if it must be another one.",
        );
    }
    let last = changes(&visit, &namespace, "1").await?;
    let before = last.first().map(|event| Before::of(event, &now));
    match before.filter(|before| before.accepts(visit.now)) {
        Some(Before::Own(policy)) => put(&visit, &namespace, &policy).await.map(drop)?,
        Some(Before::Inherited) => visit.api.delete(&policy_path(&namespace)).await?,
        Some(Before::Unknown) | None => {
            return refuse(
                "The policy before does not accept them any more either. Set another sunset, or cut off.",
            );
        }
    }
    let now = shown(&visit, &namespace).await?;
    let until = match now.sunset() {
        Some(at) => format!("They work until {} UTC.", at.minute()),
        None => "They are still refused: the policy before refused them too.".to_owned(),
    };
    let title = if fields.get("was") == LegacyPolicy::default().text() {
        format!("The cut-off of {title} is undone")
    } else {
        format!("The sunset of {title} is as it was before")
    };
    let notice = Notice::done(title)
        .line("Shared credentials are as before.")
        .line(until);
    Ok(visit.done("/migration", notice))
}
