//! `keyfob audit list`

use clap::Args;
use keyfob::{
    Owner,
    key::CredentialId,
    legacy::LegacyId,
    store::{AuditQuery, Cursor, KeyQuery, Order},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    moment::{self, Moment},
    owner,
    terminal::{TableView, Tone},
};

use super::{follow, view::EventView};

/// List audit events, newest first: of the team, or of all teams if none is set
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command")]
pub(crate) struct List {
    /// Events of all teams
    #[arg(long)]
    all_teams: bool,

    /// Only events of the namespace; events about people and teams have none
    #[arg(long, conflicts_with = "all_teams")]
    in_namespace: bool,

    /// Only events about this key or legacy credential
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Only events caused by this person or service
    #[arg(long, value_name = "WHO", value_parser = owner::parse)]
    by: Option<Owner>,

    /// Only events since this time: `7d`, or a date
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    since: Option<Moment>,

    /// Only events before this time
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    until: Option<Moment>,

    /// List the oldest events first
    #[arg(long)]
    oldest_first: bool,

    /// Show new events as they come, after the last ones, until it is stopped: one line each, or
    /// one JSON object each
    #[arg(long, conflicts_with_all = ["oldest_first", "until", "after"])]
    follow: bool,

    /// The maximum number of events to show
    #[arg(long, default_value_t = 200)]
    limit: usize,

    /// Continue after this cursor of an earlier list
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

#[derive(Serialize)]
struct Listed {
    events: Vec<EventView>,
    next: Option<String>,
}

impl List {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let credential = match &self.key {
            Some(text) => Some(match LegacyId::parse(text.as_bytes()) {
                Ok(legacy) => CredentialId::Legacy(legacy),
                Err(_) => CredentialId::Key(cx.key_id(text)?),
            }),
            None => None,
        };
        let mut query = AuditQuery {
            team: cx.any_team(self.all_teams),
            namespace: self
                .in_namespace
                .then(|| cx.tenant())
                .transpose()?
                .map(|tenant| tenant.namespace),
            credential,
            actor: self.by,
            since: self.since.map(|since| since.ago(cx.now)),
            until: self.until.map(|until| until.ago(cx.now)),
            order: if self.oldest_first {
                Order::OldestFirst
            } else {
                Order::NewestFirst
            },
            after: self.after,
            ..AuditQuery::every_team()
        };
        if self.follow {
            return follow::run(cx, query, self.limit).await;
        }
        let mut events = Vec::new();
        let next = loop {
            let left = self.limit.saturating_sub(events.len());
            query.limit = left.clamp(1, KeyQuery::LIMIT_MAX);
            let page = cx.keyring.audit(&query).await?;
            let format = cx.format();
            events.extend(page.items.iter().map(|event| EventView::new(event, format)));
            query.after = page.next;
            if page.next.is_none() || events.len() >= self.limit {
                break page.next;
            }
        };
        let next = next.map(|next| next.to_string());
        let listed = Listed { events, next };
        cx.terminal.answer(&listed, Listed::table)?;
        if let Some(next) = &listed.next {
            cx.terminal.hint(format_args!(
                "there are more: continue with `--after {next}`{}",
                if self.oldest_first {
                    " --oldest-first"
                } else {
                    ""
                }
            ));
        }
        Ok(())
    }
}

impl Listed {
    fn table(&self) -> TableView {
        let headings = [
            "REVISION",
            "AT",
            "BY",
            "ACTION",
            "TEAM",
            "NAMESPACE",
            "OWNER",
            "CREDENTIAL",
            "REASON",
            "CHANGES",
        ];
        let mut table = TableView::new(headings, "no events");
        for event in &self.events {
            let plain = |text: &str| (text.to_owned(), Tone::Plain);
            let or_dash = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
            table.row([
                plain(&event.revision.to_string()),
                plain(&event.at),
                plain(&event.actor),
                plain(event.action),
                or_dash(&event.team),
                or_dash(&event.namespace),
                or_dash(&event.owner),
                or_dash(&event.credential),
                or_dash(&event.reason),
                plain(&event.replaced()),
            ]);
        }
        table
    }
}
