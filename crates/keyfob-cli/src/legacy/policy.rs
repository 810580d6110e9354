//! `keyfob legacy sunset`, `brownout`, `cut-off` and `restore`

use std::time::Duration;

use clap::Args;
use keyfob::{Tenant, Timestamp, legacy::LegacyPolicy, name::Reason};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    exit::Exit,
    failure::Failure,
    moment::{self, Moment},
    terminal::TableView,
};

/// The policy to change.
#[derive(Args, Debug)]
struct Whose {
    /// The default policy, for namespaces without one
    #[arg(long)]
    default: bool,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

/// Accept the namespace's legacy credentials until a time
#[derive(Args, Debug)]
pub(crate) struct Sunset {
    /// `2027-01-31T08:00:00Z`, `2027-01-31` or `90d`
    #[arg(value_parser = moment::parse)]
    when: Moment,

    #[command(flatten)]
    whose: Whose,
}

/// Refuse legacy credentials for a limited time, to find out who still uses them
#[derive(Args, Debug)]
pub(crate) struct Brownout {
    /// The start [default: now]
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    start: Option<Moment>,

    /// The duration
    #[arg(long = "for", value_name = "TIME", value_parser = moment::parse_span)]
    length: Duration,

    #[command(flatten)]
    whose: Whose,
}

/// Stop accepting the namespace's legacy credentials; `legacy restore` undoes it
#[derive(Args, Debug)]
pub(crate) struct CutOff {
    #[command(flatten)]
    whose: Whose,
}

/// Accept the namespace's legacy credentials again after a cut-off
#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// `2027-01-31T08:00:00Z`, `2027-01-31` or `30d`
    #[arg(long, value_name = "WHEN", value_parser = moment::parse, required_unless_present = "inherit")]
    until: Option<Moment>,

    /// Follow the default policy again
    #[arg(long, conflicts_with_all = ["until", "default"])]
    inherit: bool,

    #[command(flatten)]
    whose: Whose,
}

/// A policy in the output.
#[derive(Debug, Serialize)]
pub(super) struct PolicyView {
    pub(super) accepted_now: bool,
    pub(super) sunset: Option<String>,
    brownouts: Vec<BrownoutView>,
}

#[derive(Debug, Serialize)]
struct BrownoutView {
    start: String,
    end: String,
}

impl PolicyView {
    pub(super) fn new(policy: &LegacyPolicy, now: Timestamp) -> Self {
        let brownouts = match policy {
            LegacyPolicy::Until { brownouts, .. } => &brownouts[..],
            _ => &[],
        };
        Self {
            accepted_now: policy.accepts(now),
            sunset: policy.sunset().map(|sunset| sunset.to_string()),
            brownouts: brownouts
                .iter()
                .map(|brownout| BrownoutView {
                    start: brownout.start.to_string(),
                    end: brownout.end.to_string(),
                })
                .collect(),
        }
    }
}

impl Sunset {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let sunset = self.when.ahead(cx.now);
        let mut policy = LegacyPolicy::until(sunset);
        if let LegacyPolicy::Until { brownouts, .. } = self.whose.policy(cx).await? {
            for brownout in brownouts.iter().filter(|brownout| cx.now < brownout.end) {
                policy = policy.with_brownout(brownout.start, brownout.end)?;
            }
        }
        self.whose.set(cx, Some(policy)).await
    }
}

impl Brownout {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let start = self.start.map_or(cx.now, |start| start.ahead(cx.now));
        let end = start.plus_seconds(self.length.as_secs());
        let LegacyPolicy::Until { sunset, brownouts } = self.whose.policy(cx).await? else {
            return Err(Failure::new(
                Exit::Conflict,
                "legacy credentials are not accepted in this namespace",
            ));
        };
        // Past brownouts have no effect, and their number is limited.
        let mut policy = LegacyPolicy::until(sunset);
        for brownout in brownouts.iter().filter(|brownout| cx.now < brownout.end) {
            policy = policy.with_brownout(brownout.start, brownout.end)?;
        }
        let policy = policy.with_brownout(start, end)?;
        self.whose.set(cx, Some(policy)).await
    }
}

impl CutOff {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let before = self.whose.policy(cx).await?;
        let of_all = cx.keyring.legacy_policy(None).await?;
        self.whose.set(cx, Some(LegacyPolicy::Off)).await?;
        if let LegacyPolicy::Until { sunset, brownouts } = &before {
            let default = if self.whose.default {
                " --default".to_owned()
            } else {
                // The hint may be used in another environment.
                let tenant = cx.tenant()?;
                format!(" --team {} --namespace {}", tenant.team, tenant.namespace)
            };
            let commands = if before == of_all && !self.whose.default {
                vec![format!("`keyfob legacy restore --inherit{default}`")]
            } else {
                let until = format!("`keyfob legacy restore --until {sunset}{default}`");
                let ahead = brownouts.iter().filter(|brownout| cx.now < brownout.end);
                let again = ahead.map(|brownout| {
                    let (start, length) =
                        (brownout.start, brownout.end.seconds_since(brownout.start));
                    format!("`keyfob legacy brownout --start {start} --for {length}s{default}`")
                });
                std::iter::once(until).chain(again).collect()
            };
            cx.terminal
                .hint(format_args!("to undo it: {}", commands.join(", then ")));
        }
        Ok(())
    }
}

impl Restore {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        if self.whose.policy(cx).await? != LegacyPolicy::Off {
            return Err(
                Failure::new(Exit::Conflict, "legacy credentials are not cut off")
                    .hint("use `keyfob legacy sunset WHEN` to change the sunset"),
            );
        }
        let until = self.until.map(|until| until.ahead(cx.now));
        self.whose.set(cx, until.map(LegacyPolicy::until)).await
    }
}

impl Whose {
    /// The namespace, which must exist; none for the default.
    async fn tenant(&self, cx: &CommandContext) -> Result<Option<Tenant>, Failure> {
        if self.default {
            return Ok(None);
        }
        cx.known_tenant().await.map(Some)
    }

    /// The policy in force.
    async fn policy(&self, cx: &CommandContext) -> Result<LegacyPolicy, Failure> {
        let tenant = self.tenant(cx).await?;
        Ok(cx.keyring.legacy_policy(tenant.as_ref()).await?)
    }

    /// Sets or removes the policy, and writes the policy in force.
    async fn set(&self, cx: &CommandContext, policy: Option<LegacyPolicy>) -> Result<(), Failure> {
        let tenant = self.tenant(cx).await?;
        let context = cx.context(self.reason.as_ref());
        // Before the change: after it, nothing may fail.
        let in_force = match (&policy, &tenant) {
            (Some(policy), _) => policy.clone(),
            (None, Some(_)) => cx.keyring.legacy_policy(None).await?,
            (None, None) => LegacyPolicy::default(),
        };
        cx.keyring
            .set_legacy_policy(&context, tenant.as_ref(), policy)
            .await?;
        let view = PolicyView::new(&in_force, cx.now);
        cx.terminal.answer(&view, |view| {
            let mut table = TableView::pairs();
            table
                .pair("accepted now", if view.accepted_now { "yes" } else { "no" })
                .pair(
                    "accepted until",
                    view.sunset.as_deref().unwrap_or("not accepted"),
                );
            for brownout in &view.brownouts {
                table.pair(
                    "brownout",
                    format!("{} to {}", brownout.start, brownout.end),
                );
            }
            table
        })
    }
}
