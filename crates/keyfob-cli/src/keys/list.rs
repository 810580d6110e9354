//! `keyfob keys list`

use clap::{Args, ValueEnum};
use keyfob::{
    Owner, Tenant,
    manage::EffectiveStatus,
    name::{KeyName, LabelName, LabelValue},
    store::{Cursor, KeyQuery, StatusFilter, Target},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    key_view::{KeyView, views},
    owner,
};

use super::create::parse_label;

/// List keys, oldest first
#[derive(Args, Debug)]
pub(crate) struct List {
    /// List the keys of all the team's namespaces
    #[arg(long)]
    all_namespaces: bool,

    /// Only keys of this owner
    #[arg(long, value_name = "WHO", value_parser = owner::parse)]
    owner: Option<Owner>,

    /// Only keys with this name
    #[arg(long)]
    name: Option<KeyName>,

    /// Only keys with this label, `name=value`
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label)]
    label: Option<(LabelName, LabelValue)>,

    /// Only keys with this status
    #[arg(long)]
    status: Option<Wanted>,

    /// The approximate maximum number of keys to show
    #[arg(long, default_value_t = 500)]
    limit: usize,

    /// Continue after this cursor of an earlier list
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

/// The status of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    Active,
    NotYetValid,
    Disabled,
    Expired,
    Revoked,
}

impl Wanted {
    fn fits(self, standing: EffectiveStatus) -> bool {
        match self {
            Self::Active => standing == EffectiveStatus::Active,
            Self::NotYetValid => standing == EffectiveStatus::NotYetValid,
            Self::Disabled => standing == EffectiveStatus::Disabled,
            Self::Expired => standing == EffectiveStatus::Expired,
            Self::Revoked => standing == EffectiveStatus::Revoked,
        }
    }

    /// The part that the store can filter by; the rest depends on policy and time.
    fn filter(self) -> Option<StatusFilter> {
        match self {
            Self::Active | Self::NotYetValid => Some(StatusFilter::Active),
            Self::Disabled => Some(StatusFilter::Disabled),
            Self::Revoked => Some(StatusFilter::Revoked),
            Self::Expired => None,
        }
    }
}

#[derive(Serialize)]
struct Listed {
    keys: Vec<KeyView>,
    next: Option<String>,
}

impl List {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let namespace = cx.any_namespace().filter(|_| !self.all_namespaces);
        let team = cx.team()?.clone();
        let known = match (&namespace, &self.owner) {
            (_, Some(owner)) => Target::Owner(team.clone(), owner.clone()),
            (Some(namespace), None) => {
                Target::Namespace(Tenant::new(team.clone(), namespace.clone()))
            }
            (None, None) => Target::Team(team.clone()),
        };
        cx.known(&known).await?;
        let mut query = KeyQuery {
            namespace,
            owner: self.owner,
            name: self.name,
            label: self.label,
            status: self.status.and_then(Wanted::filter),
            after: self.after,
            limit: self.limit.clamp(1, KeyQuery::LIMIT_MAX),
            ..KeyQuery::team(team)
        };
        let mut keys = Vec::new();
        let next = loop {
            let page = cx.keyring.list(&query).await?;
            let mut found = views(cx, &page.items).await?;
            if let Some(wanted) = self.status {
                found.retain(|key| wanted.fits(key.status));
            }
            keys.extend(found);
            query.after = page.next;
            if page.next.is_none() || keys.len() >= self.limit {
                break page.next;
            }
        };
        let next = next.map(|next| next.to_string());
        let listed = Listed { keys, next };
        cx.terminal
            .answer(&listed, |listed| KeyView::table(&listed.keys))?;
        if let Some(next) = &listed.next {
            cx.terminal.hint(format_args!(
                "there are more: continue with `--after {next}`"
            ));
        }
        Ok(())
    }
}
