//! `keyfob namespaces …`

use clap::Subcommand;
use keyfob::{
    Tenant,
    manage::NewNamespace,
    name::{NamespaceId, NamespaceLabel, Region},
    store::{NamespaceQuery, Target},
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    store::Absent,
    targets::{Removal, Restoral, remove, restore, say_done},
    terminal::{TableView, Tone},
};

/// Manage the namespaces of the team.
#[derive(Debug, Subcommand)]
pub(crate) enum Namespaces {
    /// Create a namespace in the team
    Create {
        #[command(flatten)]
        new: Restoral<NamespaceId>,

        /// What people call it; clients also find it by that [default: its name]
        #[arg(long)]
        label: Option<NamespaceLabel>,

        /// Where it runs, as one of the server's regions
        #[arg(long)]
        region: Option<Region>,
    },
    /// List the namespaces of the team, or of all teams if none is set
    List {
        /// List the namespaces of all teams
        #[arg(long)]
        all_teams: bool,
    },
    /// Remove a namespace: revoke all its keys and legacy credentials, and block new ones
    Remove(Removal<NamespaceId>),
    /// Allow new keys in a namespace again; revoked keys stay revoked
    Restore(Restoral<NamespaceId>),
}

#[derive(Serialize)]
struct Listed {
    namespaces: Vec<NamespaceView>,
}

#[derive(Serialize)]
struct NamespaceView {
    namespace: String,
    team: String,
    label: Option<NamespaceLabel>,
    region: Option<Region>,
    created_at: String,
    removed: bool,
}

impl Namespaces {
    pub(crate) fn absent(&self) -> Absent {
        match self {
            Self::Create { .. } => Absent::Create,
            _ => Absent::Refuse,
        }
    }

    pub(crate) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let tenant = |name| -> Result<_, Failure> { Ok(Tenant::new(cx.team()?.clone(), name)) };
        match self {
            Self::Create { new, label, region } => {
                let tenant = tenant(new.name)?;
                let context = cx.context(new.reason.as_ref());
                let target = Target::Namespace(tenant.clone());
                let mut namespace = NewNamespace::new(tenant);
                (namespace.label, namespace.region) = (label, region);
                cx.keyring.create_namespace(&context, namespace).await?;
                say_done(cx, &target, "created")
            }
            Self::List { all_teams } => list(cx, all_teams).await,
            Self::Remove(removal) => {
                let target = Target::Namespace(tenant(removal.name)?);
                remove(cx, target, removal.how).await
            }
            Self::Restore(restoral) => {
                let tenant = tenant(restoral.name)?;
                restore(cx, Target::Namespace(tenant), restoral.reason).await
            }
        }
    }
}

async fn list(cx: &CommandContext, all_teams: bool) -> Result<(), Failure> {
    let query = NamespaceQuery {
        team: cx.any_team(all_teams),
        ..NamespaceQuery::every_team()
    };
    let mut namespaces = Vec::new();
    let mut records = cx.keyring.walk(query);
    while let Some(record) = records.next().await? {
        namespaces.push(NamespaceView {
            namespace: record.tenant.namespace.to_string(),
            team: record.tenant.team.to_string(),
            label: record.label,
            region: record.region,
            created_at: record.created_at.to_string(),
            removed: record.removed,
        });
    }
    cx.terminal.answer(&Listed { namespaces }, |listed| {
        let mut table = TableView::new(["NAMESPACE", "TEAM", "CREATED", "STATUS"], "no namespaces");
        for namespace in &listed.namespaces {
            let status = if namespace.removed {
                ("removed".to_owned(), Tone::Bad)
            } else {
                ("open".to_owned(), Tone::Good)
            };
            table.row([
                (namespace.namespace.clone(), Tone::Plain),
                (namespace.team.clone(), Tone::Plain),
                (namespace.created_at.clone(), Tone::Plain),
                status,
            ]);
        }
        table
    })
}
