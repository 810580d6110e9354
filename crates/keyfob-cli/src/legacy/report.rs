//! `keyfob legacy report`

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use keyfob::{
    Tenant,
    legacy::{LegacyPolicy, LegacyUse},
    store::{LegacyQuery, Target},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    moment::{self, Moment},
    terminal::{TableView, Tone},
};

use super::{days::NamespaceDays, policy::PolicyView};

/// List the legacy credentials and their use
///
/// Those of the namespace if one is set, else of the team if one is set, else of all teams.
#[derive(Args, Debug)]
pub(crate) struct Report {
    /// List the namespaces of all teams
    #[arg(long)]
    all_teams: bool,

    /// List all namespaces of the team
    #[arg(long)]
    all_namespaces: bool,

    /// Only those used since this time: `30d`, or a date
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    used_since: Option<Moment>,

    /// Show the use of legacy credentials and keys of each namespace on each of the last days
    ///
    /// Days are those of UTC, today included. The table leaves out days without a use.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=400))]
    days: Option<u16>,
}

#[derive(Serialize)]
struct Reported {
    credentials: Vec<LegacyView>,
    still_used: usize,
    /// The use of their namespaces by day.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<Vec<NamespaceDays>>,
}

#[derive(Serialize)]
struct LegacyView {
    id: String,
    team: String,
    namespace: String,
    subject: String,
    imported_at: String,
    blocked: bool,
    revoked: bool,
    last_used_at: Option<String>,
    uses: u64,
    /// Uses that were refused although the secret was right: in a brownout, after the sunset.
    refused: u64,
    policy: PolicyView,
}

impl Report {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        if let (Some(team), false) = (cx.any_team(self.all_teams), self.all_teams) {
            let target = match cx.any_namespace() {
                Some(namespace) => Target::Namespace(Tenant::new(team, namespace)),
                None => Target::Team(team),
            };
            cx.known(&target).await?;
        }
        let since = self.used_since.map(|since| since.ago(cx.now));
        let query = LegacyQuery {
            team: cx.any_team(self.all_teams),
            namespace: cx
                .any_namespace()
                .filter(|_| !self.all_teams && !self.all_namespaces),
            ..LegacyQuery::every_team()
        };
        let mut policies: BTreeMap<_, LegacyPolicy> = BTreeMap::new();
        let mut credentials = Vec::new();
        let mut tenants = BTreeSet::new();
        let mut all = cx.keyring.walk(query);
        while let Some(credential) = all.next().await? {
            let last_used = credential.usage.as_ref().and_then(|usage| usage.last_used);
            if since.is_some_and(|since| last_used.is_none_or(|used| used < since)) {
                continue;
            }
            let tenant = &credential.record.tenant;
            if !policies.contains_key(tenant) {
                let policy = cx.keyring.legacy_policy(Some(tenant)).await?;
                policies.insert(tenant.clone(), policy);
            }
            tenants.insert(tenant.clone());
            let policy = policies.get(tenant).cloned().unwrap_or_default();
            let policy = PolicyView::new(&policy, cx.now);
            credentials.push(LegacyView::new(&credential, policy));
        }
        let used = credentials.iter().filter(|one| one.last_used_at.is_some());
        let still_used = used.count();
        let namespaces = match self.days {
            Some(days) => Some(NamespaceDays::read(cx, tenants, days).await?),
            None => None,
        };
        let reported = Reported {
            credentials,
            still_used,
            namespaces,
        };
        cx.terminal.answer(&reported, Reported::table)?;
        let total = reported.credentials.len();
        cx.terminal.note(format_args!(
            "{still_used} of {total} were used since their import"
        ));
        Ok(())
    }
}

impl LegacyView {
    fn new(credential: &LegacyUse, policy: PolicyView) -> Self {
        let LegacyUse { record, usage, .. } = credential;
        let last_used = usage.as_ref().and_then(|usage| usage.last_used);
        Self {
            id: record.id.to_string(),
            team: record.tenant.team.to_string(),
            namespace: record.tenant.namespace.to_string(),
            subject: record.subject.to_string(),
            imported_at: record.imported_at.to_string(),
            blocked: record.blocked,
            revoked: record.revoked.is_some(),
            last_used_at: last_used.map(|used| used.to_string()),
            uses: usage.as_ref().map_or(0, |usage| usage.accepted),
            refused: usage.as_ref().map_or(0, |usage| usage.refused),
            policy,
        }
    }

    fn effective_status(&self) -> (String, Tone) {
        let (text, tone) = match (self.revoked, self.blocked, self.policy.accepted_now) {
            (true, ..) => ("revoked", Tone::Bad),
            (_, true, _) => ("blocked", Tone::Bad),
            (.., true) => ("accepted", Tone::Good),
            (.., false) => ("not accepted", Tone::Warning),
        };
        (text.to_owned(), tone)
    }
}

impl Reported {
    fn table(&self) -> TableView {
        if let Some(namespaces) = &self.namespaces {
            return NamespaceDays::table(namespaces);
        }
        let headings = [
            "NAMESPACE",
            "TEAM",
            "SUBJECT",
            "CREDENTIAL",
            "LAST USED",
            "USES",
            "REFUSED",
            "STATUS",
            "UNTIL",
        ];
        let mut table = TableView::new(headings, "no legacy credentials");
        for one in &self.credentials {
            let plain = |text: &str| (text.to_owned(), Tone::Plain);
            table.row([
                plain(&one.namespace),
                plain(&one.team),
                plain(&one.subject),
                plain(&one.id),
                plain(one.last_used_at.as_deref().unwrap_or("never")),
                plain(&one.uses.to_string()),
                plain(&one.refused.to_string()),
                one.effective_status(),
                plain(one.policy.sunset.as_deref().unwrap_or("-")),
            ]);
        }
        table
    }
}
