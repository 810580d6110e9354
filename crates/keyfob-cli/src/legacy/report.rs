//! `keyfob legacy report`

use std::collections::BTreeMap;

use clap::Args;
use keyfob::{
    legacy::{LegacyPolicy, LegacyUse},
    store::LegacyQuery,
};
use serde::Serialize;

use crate::{
    desk::Desk,
    failure::Failure,
    moment::{self, Moment},
    terminal::{Sheet, Tone},
};

use super::policy::PolicyView;

/// Show the legacy credentials, and who still uses them
///
/// Of the namespace, of the team, or of all teams, by what is set.
#[derive(Args, Debug)]
pub(crate) struct Report {
    /// Of all teams
    #[arg(long)]
    all_teams: bool,

    /// Only those used since then: `30d`, or a date
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    used_since: Option<Moment>,
}

#[derive(Serialize)]
struct Reported {
    credentials: Vec<LegacyView>,
    still_used: usize,
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
    /// Uses that were refused although the secret was right: in a brownout, after the end.
    refused: u64,
    policy: PolicyView,
}

impl Report {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let since = self.used_since.map(|since| since.ago(desk.now));
        let mut query = LegacyQuery {
            team: desk.any_team(self.all_teams),
            namespace: desk.any_namespace().filter(|_| !self.all_teams),
            ..LegacyQuery::every_team()
        };
        let mut policies: BTreeMap<_, LegacyPolicy> = BTreeMap::new();
        let mut credentials = Vec::new();
        loop {
            let page = desk.keyring.legacy_report(&query).await?;
            for credential in &page.items {
                let last_used = credential.usage.as_ref().and_then(|usage| usage.last_used);
                if since.is_some_and(|since| last_used.is_none_or(|used| used < since)) {
                    continue;
                }
                let tenant = &credential.record.tenant;
                if !policies.contains_key(tenant) {
                    let policy = desk.keyring.legacy_policy(tenant).await?;
                    policies.insert(tenant.clone(), policy);
                }
                let policy = policies.get(tenant).cloned().unwrap_or_default();
                let policy = PolicyView::new(&policy, desk.now);
                credentials.push(LegacyView::new(credential, policy));
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let used = credentials.iter().filter(|one| one.last_used_at.is_some());
        let still_used = used.count();
        let reported = Reported {
            credentials,
            still_used,
        };
        desk.terminal.answer(&reported, Reported::sheet)?;
        let total = reported.credentials.len();
        desk.terminal.note(format_args!(
            "{still_used} of {total} were used since they were imported"
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
    fn sheet(&self) -> Sheet {
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
        let mut sheet = Sheet::new(headings, "no legacy credentials");
        for one in &self.credentials {
            let plain = |text: &str| (text.to_owned(), Tone::Plain);
            sheet.row([
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
        sheet
    }
}
