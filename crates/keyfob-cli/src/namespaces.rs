//! `keyfob namespaces …`

use clap::Subcommand;
use keyfob::{
    Tenant,
    name::NamespaceId,
    store::{NamespaceQuery, Target},
};
use serde::Serialize;

use crate::{
    desk::Desk,
    failure::Failure,
    store::Absent,
    targets::{Removal, Restoral, remove, say_cut},
    terminal::{Sheet, Tone},
};

/// Namespaces of the team.
#[derive(Debug, Subcommand)]
pub(crate) enum Namespaces {
    /// Bind a namespace to the team; the first key in it does the same
    Create(Restoral<NamespaceId>),
    /// List namespaces, of all teams if none is set
    List {
        /// Of all teams
        #[arg(long)]
        all_teams: bool,
    },
    /// Remove a namespace: all its keys and legacy credentials end at once
    Remove(Removal<NamespaceId>),
    /// Let keys be made in a namespace again; what ended stays so
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
    created_at: String,
    removed: bool,
}

impl Namespaces {
    pub(crate) fn absent(&self) -> Absent {
        match self {
            Self::Create(_) => Absent::Create,
            _ => Absent::Refuse,
        }
    }

    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let tenant = |name| -> Result<_, Failure> { Ok(Tenant::new(desk.team()?.clone(), name)) };
        match self {
            Self::Create(new) => {
                let tenant = tenant(new.name)?;
                let context = desk.context(new.reason.as_ref());
                let target = Target::Namespace(tenant.clone());
                desk.keyring.create_namespace(&context, tenant).await?;
                say_cut(desk, &target, "created")
            }
            Self::List { all_teams } => list(desk, all_teams).await,
            Self::Remove(removal) => {
                let target = Target::Namespace(tenant(removal.name)?);
                remove(desk, target, removal.dry_run, removal.reason).await
            }
            Self::Restore(restoral) => {
                let tenant = tenant(restoral.name)?;
                let context = desk.context(restoral.reason.as_ref());
                desk.keyring.restore_namespace(&context, &tenant).await?;
                say_cut(desk, &Target::Namespace(tenant), "restored")
            }
        }
    }
}

async fn list(desk: &Desk, all_teams: bool) -> Result<(), Failure> {
    let mut query = NamespaceQuery {
        team: desk.any_team(all_teams),
        ..NamespaceQuery::every_team()
    };
    let mut namespaces = Vec::new();
    loop {
        let page = desk.keyring.namespaces(&query).await?;
        namespaces.extend(page.items.iter().map(|record| NamespaceView {
            namespace: record.tenant.namespace.to_string(),
            team: record.tenant.team.to_string(),
            created_at: record.created_at.to_string(),
            removed: record.removed,
        }));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    desk.terminal.answer(&Listed { namespaces }, |listed| {
        let mut sheet = Sheet::new(["NAMESPACE", "TEAM", "CREATED", "STATUS"], "no namespaces");
        for namespace in &listed.namespaces {
            let status = if namespace.removed {
                ("removed".to_owned(), Tone::Bad)
            } else {
                ("open".to_owned(), Tone::Good)
            };
            sheet.row([
                (namespace.namespace.clone(), Tone::Plain),
                (namespace.team.clone(), Tone::Plain),
                (namespace.created_at.clone(), Tone::Plain),
                status,
            ]);
        }
        sheet
    })
}
