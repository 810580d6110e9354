//! Names that the store does not know, and the names that were probably meant.

use keyfob::{
    Owner, Tenant,
    manage::Error,
    store::{Conflict, KeyQuery, NamespaceQuery, Target, TargetQuery},
};

use crate::{command_context::CommandContext, failure::Failure, targets::list};

impl CommandContext {
    /// Refuses a target of which the store knows nothing.
    pub(crate) async fn known(&self, target: &Target) -> Result<(), Failure> {
        let query = TargetQuery::one(target.clone());
        if self.keyring.targets(&query).await?.items.is_empty() {
            let error = Error::Conflict(Conflict::UnknownTarget(target.clone()));
            return Err(self.explain(error).await);
        }
        Ok(())
    }

    /// The namespace that the command is about, which must exist.
    pub(crate) async fn known_tenant(&self) -> Result<Tenant, Failure> {
        let tenant = self.tenant()?;
        self.known(&Target::Namespace(tenant.clone())).await?;
        Ok(tenant)
    }

    /// The failure for an error. For an unknown target, it has similar names.
    pub(crate) async fn explain(&self, error: Error) -> Failure {
        let Error::Conflict(Conflict::UnknownTarget(target)) = error else {
            return error.into();
        };
        let failure = Failure::not_found(text(&target));
        // A failure to read the store again must not hide the first one.
        let similar = match self.names_like(&target).await {
            Ok(names) => names.into_iter().max_by(|(a, _), (b, _)| a.total_cmp(b)),
            Err(_) => None,
        };
        failure.hint(match similar {
            Some((_, name)) => format!("did you mean `{name}`? {}", next_step(&target)),
            None => next_step(&target).to_owned(),
        })
    }

    /// The names of the same kind that are similar, with their similarity.
    async fn names_like(&self, target: &Target) -> Result<Vec<(f64, String)>, Failure> {
        let wanted = list::name(target);
        let names: Vec<String> = match target {
            Target::Namespace(tenant) => {
                let query = NamespaceQuery::team(tenant.team.clone()).limit(KeyQuery::LIMIT_MAX);
                let page = self.keyring.namespaces(&query).await?;
                let names = page.items.iter();
                names
                    .map(|record| record.tenant.namespace.to_string())
                    .collect()
            }
            Target::Team(_) => self.names(TargetQuery::teams()).await?,
            Target::Owner(team, owner) => {
                let mut names = self.names(TargetQuery::members(team.clone())).await?;
                names.extend(self.names(TargetQuery::services(team.clone())).await?);
                // `service:alice` may stand for `user:alice`.
                let same = names
                    .iter()
                    .find(|name| name.ends_with(&format!(":{}", owner.as_str())));
                if let Some(same) = same {
                    return Ok(vec![(1.0, same.clone())]);
                }
                names
            }
        };
        let like = names.into_iter().map(|name| {
            let (a, b) = (name.to_lowercase(), wanted.to_lowercase());
            (
                strsim::jaro_winkler(&a, &b).min(strsim::normalized_damerau_levenshtein(&a, &b)),
                name,
            )
        });
        Ok(like
            .filter(|(similarity, _)| *similarity >= SIMILAR)
            .collect())
    }

    /// The first names of a list.
    async fn names(&self, query: TargetQuery) -> Result<Vec<String>, Failure> {
        let page = self
            .keyring
            .targets(&query.limit(KeyQuery::LIMIT_MAX))
            .await?;
        Ok(page
            .items
            .iter()
            .map(|record| list::name(&record.target))
            .collect())
    }
}

const SIMILAR: f64 = 0.7;

fn text(target: &Target) -> String {
    let team = target.team();
    match target {
        Target::Team(_) => format!("no such team: {team}"),
        Target::Namespace(tenant) => {
            format!("no such namespace in team {team}: {}", tenant.namespace)
        }
        Target::Owner(_, owner @ Owner::User(_)) => {
            format!("no such person in team {team}: {owner}")
        }
        Target::Owner(_, owner @ Owner::Service(_)) => {
            format!("no such service in team {team}: {owner}")
        }
    }
}

fn next_step(target: &Target) -> &'static str {
    match target {
        Target::Team(_) => "`keyfob teams list` shows the teams",
        Target::Namespace(_) => {
            "`keyfob namespaces list` shows the namespaces; `keyfob namespaces create` makes a new one"
        }
        Target::Owner(_, Owner::User(_)) => {
            "`keyfob members list` shows the people of the team; `members remove --in-advance` blocks one who has no key yet"
        }
        Target::Owner(_, Owner::Service(_)) => {
            "`keyfob services list` shows the services of the team; `services remove --in-advance` blocks one that has no key yet"
        }
    }
}
