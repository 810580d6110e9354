//! Every call, with its route and its part of the document.

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    audit, fleet, keys, legacy, namespaces, policies, state::AppState, teams, tokens, usage, whoami,
};

/// The calls that need an authenticated caller.
///
/// `/v2/functions/…` is the published interface with its extensions; `/v1/…` is Keyfob's own.
pub(crate) fn admitted() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(namespaces::list, namespaces::create))
        .routes(routes!(namespaces::show, namespaces::delete))
        .routes(routes!(namespaces::remove))
        .routes(routes!(namespaces::restore))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::show, keys::update, keys::delete))
        .routes(routes!(keys::disable))
        .routes(routes!(keys::enable))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(policies::show, policies::set, policies::unset))
        .routes(routes!(legacy::show, legacy::set, legacy::unset))
        .routes(routes!(legacy::cut_off))
        .routes(routes!(legacy::revoke))
        .routes(routes!(teams::list_teams))
        .routes(routes!(teams::list_namespaces))
        .routes(routes!(keys::list_team))
        .routes(routes!(teams::list_members))
        .routes(routes!(teams::preview_member))
        .routes(routes!(teams::remove_member))
        .routes(routes!(teams::restore_member))
        .routes(routes!(teams::revoke_all))
        .routes(routes!(teams::remove))
        .routes(routes!(teams::restore))
        .routes(routes!(audit::list_team))
        .routes(routes!(legacy::report_team))
        .routes(routes!(usage::show))
        .routes(routes!(fleet::show))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(legacy::report))
        .routes(routes!(
            policies::show_default,
            policies::set_default,
            policies::unset_default
        ))
        .routes(routes!(
            legacy::show_default,
            legacy::set_default,
            legacy::unset_default
        ))
        .routes(routes!(whoami::show))
        .routes(routes!(tokens::introspect))
        .routes(routes!(tokens::report_leaks))
}

/// The calls that need no authentication.
pub(crate) fn public() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new().routes(routes!(tokens::revoke))
}
