//! Which namespaces to list, as a query says it.

use serde::Deserialize;
use utoipa::IntoParams;

/// Which namespaces to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListNamespaces {
    /// Only those of this team.
    pub(crate) team: Option<String>,
}
