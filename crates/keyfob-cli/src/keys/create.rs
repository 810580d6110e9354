//! `keyfob keys create`

use clap::Args;
use keyfob::{
    Expiry, NewKey, Owner, Scopes,
    manage::Labels,
    name::{KeyName, LabelName, LabelValue, Reason, Scope},
    store::Target,
};

use crate::{
    command_context::CommandContext,
    failure::Failure,
    key_view::KeyReads,
    moment::{self, Moment},
    owner,
};

use super::secret;

/// Create a key, and show its credential once
///
/// Only the credential is written to the standard output, everything else to the standard error:
/// `KEY=$(keyfob keys create laptop)` puts it in a variable.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The name of the key
    name: KeyName,

    /// The owner: `alice` or `service:deploy-bot` [default: the actor, see --as]
    #[arg(long, value_name = "WHO", value_parser = owner::parse)]
    owner: Option<Owner>,

    /// The expiry: `90d`, `2027-01-31`, `2027-01-31T08:00:00Z` or `never`
    #[arg(long, value_name = "WHEN", value_parser = moment::parse_expiry, default_value = "never")]
    expires: Expiry,

    /// Scopes of the key, separated by commas; can be repeated [default: all scopes]
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<Scope>,

    /// A label, `name=value`; can be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    labels: Vec<(LabelName, LabelValue)>,

    /// The time from which the key is valid
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    not_before: Option<Moment>,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

impl Create {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let tenant = cx.tenant()?;
        let owner = self.owner.or_else(|| cx.actor().owner.clone()).ok_or_else(|| {
            Failure::usage("no owner given").hint("give `--owner alice` or `--owner service:deploy-bot`, or set the actor with `--as`")
        })?;
        let mut new = NewKey::new(tenant, owner, self.name)
            .with_expiry(self.expires)
            .with_labels(labels(self.labels)?);
        if !self.scopes.is_empty() {
            new = new.with_scopes(Scopes::only(self.scopes)?);
        }
        if let Some(start) = self.not_before {
            new = new.with_not_before(start.ahead(cx.now));
        }
        let reads = KeyReads::read(cx, [&new.tenant], []).await?;
        cx.known(&Target::Namespace(new.tenant.clone())).await?;
        let context = cx.context(self.reason.as_ref());
        let created = cx.keyring.create(&context, new).await?;
        secret::show(cx, created, &reads, "created")
    }
}

pub(super) fn parse_label(text: &str) -> Result<(LabelName, LabelValue), LabelError> {
    let (name, value) = text.split_once('=').ok_or(LabelError::NoValue)?;
    Ok((LabelName::new(name)?, LabelValue::new(value)?))
}

pub(super) fn labels(given: Vec<(LabelName, LabelValue)>) -> Result<Labels, Failure> {
    let mut labels = Labels::new();
    for (name, value) in given {
        labels = labels.with(name, value)?;
    }
    Ok(labels)
}

/// A text is not a label.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum LabelError {
    #[error("must be name=value")]
    NoValue,
    #[error(transparent)]
    Name(#[from] keyfob::name::NameError),
}
