//! `keyfob policy …`

use clap::{Args, Subcommand};
use keyfob::{Tenant, Ttl, manage::Policy, name::Reason};
use serde::Serialize;

use crate::{
    command_context::CommandContext, failure::Failure, moment, store::Absent, terminal::TableView,
};

/// Manage the policy for keys: of the namespace, or the default.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the policy of the namespace, or the default
    Show(Where),
    Set(Box<Set>),
    /// Remove the policy of the namespace, so that the default applies
    Clear(Clear),
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Where {
    /// The default policy, for namespaces without one
    #[arg(long)]
    default: bool,
}

/// Set a policy; options that are not given keep their value
///
/// A lower maximum TTL also expires existing keys.
#[derive(Args, Debug)]
pub(crate) struct Set {
    #[command(flatten)]
    place: Where,

    /// The minimum TTL of a key, at least one hour
    #[arg(long, value_name = "TIME", value_parser = moment::parse_ttl)]
    min_ttl: Option<Ttl>,

    /// The maximum TTL of a key, or `none`
    #[arg(long, value_name = "TIME", value_parser = parse_max_ttl)]
    max_ttl: Option<Limit<Ttl>>,

    /// Whether a key must have an expiry
    #[arg(long, value_name = "BOOL")]
    expiry_required: Option<bool>,

    /// The maximum number of keys of one owner in one namespace, or `none`
    #[arg(long, value_name = "NUMBER", value_parser = parse_keys_per_owner)]
    keys_per_owner: Option<Limit<u32>>,

    /// Whether the names of one owner's keys are unique in a namespace
    #[arg(long, value_name = "BOOL")]
    unique_names: Option<bool>,

    /// The maximum grace period of a rotation
    #[arg(long, value_name = "TIME", value_parser = moment::parse_span)]
    max_grace: Option<std::time::Duration>,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

#[derive(Args, Debug)]
pub(crate) struct Clear {
    #[command(flatten)]
    place: Where,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug)]
struct Limit<T>(Option<T>);

#[derive(Serialize)]
struct PolicyView {
    /// The namespace; none for the default.
    namespace: Option<String>,
    min_ttl: String,
    max_ttl: Option<String>,
    expiry_required: bool,
    keys_per_owner: Option<u32>,
    unique_names: bool,
    max_grace: String,
}

impl PolicyCommand {
    pub(crate) fn absent(&self) -> Absent {
        match self {
            Self::Set(_) => Absent::Create,
            Self::Show(_) | Self::Clear(_) => Absent::Refuse,
        }
    }

    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        match self {
            Self::Show(place) => show(cx, place.tenant(cx).await?.as_ref()).await,
            Self::Set(set) => set.run(cx).await,
            Self::Clear(clear) => {
                let tenant = clear.place.tenant(cx).await?;
                let context = cx.context(clear.reason.as_ref());
                // Before the change: after it, nothing may fail.
                let inherited = match &tenant {
                    Some(_) => cx.keyring.policy(None).await?,
                    None => Policy::default(),
                };
                cx.keyring
                    .set_policy(&context, tenant.as_ref(), None)
                    .await?;
                tell(cx, tenant.as_ref(), &inherited)
            }
        }
    }
}

impl Where {
    /// The namespace, which must exist; none for the default.
    async fn tenant(self, cx: &CommandContext) -> Result<Option<Tenant>, Failure> {
        if self.default {
            return Ok(None);
        }
        cx.known_tenant().await.map(Some)
    }
}

impl Set {
    async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let tenant = self.place.tenant(cx).await?;
        let old = cx.keyring.policy(tenant.as_ref()).await?;
        let policy = Policy {
            min_ttl: self.min_ttl.unwrap_or(old.min_ttl),
            max_ttl: self.max_ttl.map_or(old.max_ttl, |limit| limit.0),
            expiry_required: self.expiry_required.unwrap_or(old.expiry_required),
            keys_per_owner: self
                .keys_per_owner
                .map_or(old.keys_per_owner, |limit| limit.0),
            unique_names: self.unique_names.unwrap_or(old.unique_names),
            max_grace: self.max_grace.unwrap_or(old.max_grace),
        };
        if policy.max_ttl.is_some_and(|max| max < policy.min_ttl) {
            return Err(Failure::usage("max-ttl: must be at least min-ttl"));
        }
        let context = cx.context(self.reason.as_ref());
        cx.keyring
            .set_policy(&context, tenant.as_ref(), Some(policy.clone()))
            .await?;
        tell(cx, tenant.as_ref(), &policy)
    }
}

async fn show(cx: &CommandContext, tenant: Option<&Tenant>) -> Result<(), Failure> {
    tell(cx, tenant, &cx.keyring.policy(tenant).await?)
}

/// Writes a policy that is in force.
fn tell(cx: &CommandContext, tenant: Option<&Tenant>, policy: &Policy) -> Result<(), Failure> {
    let view = PolicyView {
        namespace: tenant.map(|tenant| tenant.namespace.to_string()),
        min_ttl: policy.min_ttl.to_string(),
        max_ttl: policy.max_ttl.map(|ttl| ttl.to_string()),
        expiry_required: policy.expiry_required,
        keys_per_owner: policy.keys_per_owner,
        unique_names: policy.unique_names,
        max_grace: humantime::format_duration(policy.max_grace).to_string(),
    };
    cx.terminal.answer(&view, |view| {
        let yes_or_no = |yes| if yes { "yes" } else { "no" };
        let none = || "none".to_owned();
        let mut table = TableView::pairs();
        table
            .pair(
                "policy of",
                view.namespace
                    .as_deref()
                    .unwrap_or("namespaces without their own"),
            )
            .pair("minimum TTL", &view.min_ttl)
            .pair("maximum TTL", view.max_ttl.clone().unwrap_or_else(none))
            .pair("expiry required", yes_or_no(view.expiry_required))
            .pair(
                "keys per owner",
                view.keys_per_owner
                    .map_or_else(none, |most| most.to_string()),
            )
            .pair("unique names", yes_or_no(view.unique_names))
            .pair("maximum grace", &view.max_grace);
        table
    })
}

fn parse_max_ttl(text: &str) -> Result<Limit<Ttl>, moment::ExpiryError> {
    match text {
        "none" => Ok(Limit(None)),
        text => moment::parse_ttl(text).map(Some).map(Limit),
    }
}

fn parse_keys_per_owner(text: &str) -> Result<Limit<u32>, std::num::ParseIntError> {
    match text {
        "none" => Ok(Limit(None)),
        text => text.parse().map(Some).map(Limit),
    }
}
