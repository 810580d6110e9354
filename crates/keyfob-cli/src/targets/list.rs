//! `keyfob members list`, `services list` and `teams list`

use clap::Args;
use keyfob::store::{KeyQuery, Target, TargetQuery};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    terminal::{TableView, Tone},
};

/// The size of a list.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// The maximum number of names to show
    #[arg(long, default_value_t = 500)]
    limit: usize,

    /// Continue after this name of an earlier list
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    items: Vec<Item>,
    /// The name to continue after.
    next: Option<String>,
}

#[derive(Serialize)]
struct Item {
    /// As it is written on the command line, `user:alice`.
    name: String,
    removed: bool,
}

impl List {
    /// Lists what a query selects.
    pub(super) async fn run(
        self,
        cx: &CommandContext,
        mut query: TargetQuery,
    ) -> Result<(), Failure> {
        if let Some(after) = &self.after {
            query = query.after_name(after)?;
        }
        let mut items: Vec<Item> = Vec::new();
        let more = loop {
            let rest = self.limit.saturating_sub(items.len());
            query.limit = rest.clamp(1, KeyQuery::LIMIT_MAX);
            let page = cx.keyring.targets(&query).await?;
            if let Some(last) = page.items.last() {
                query = query.after(&last.target);
            }
            items.extend(page.items.iter().map(|record| Item {
                name: name(&record.target),
                removed: record.removed,
            }));
            if !page.more || items.len() >= self.limit {
                break page.more;
            }
        };
        let next = items.last().filter(|_| more);
        let next = next.map(|last| last.name.clone());
        let listed = Listed { items, next };
        cx.terminal.answer(&listed, |listed| {
            let mut table = TableView::new(["NAME", "STATUS"], "none");
            for item in &listed.items {
                let status = if item.removed {
                    ("removed".to_owned(), Tone::Bad)
                } else {
                    ("open".to_owned(), Tone::Good)
                };
                table.row([(item.name.clone(), Tone::Plain), status]);
            }
            table
        })?;
        if let Some(next) = &listed.next {
            cx.terminal.hint(format_args!(
                "there are more: continue with `--after {next}`"
            ));
        }
        Ok(())
    }
}

/// The name of a target as it is written on the command line.
pub(super) fn name(target: &Target) -> String {
    match target {
        Target::Team(team) => team.to_string(),
        Target::Namespace(tenant) => tenant.namespace.to_string(),
        Target::Owner(_, owner) => owner.to_string(),
    }
}
