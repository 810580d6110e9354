//! Every call, with its route and its part of the document.

use std::sync::Arc;

use keyfob::KeyStore;
use utoipa_axum::router::OpenApiRouter;

use crate::{control_plane::Plane, operation::call};

/// The calls for which one must be let in.
///
/// `/v2/functions/…` is the published interface and what extends its resources; `/v1/…` is
/// Keyfob's own.
pub(crate) fn admitted<S: KeyStore + 'static>() -> OpenApiRouter<Arc<Plane<S>>> {
    OpenApiRouter::new()
        .routes(call!(S, namespace::list))
        .routes(call!(S, namespace::create))
        .routes(call!(S, namespace::show))
        .routes(call!(S, namespace::delete))
        .routes(call!(S, namespace::remove))
        .routes(call!(S, namespace::restore))
        .routes(call!(S, key::create))
        .routes(call!(S, key::list))
        .routes(call!(S, key::show))
        .routes(call!(S, key::update))
        .routes(call!(S, key::delete))
        .routes(call!(S, key::disable))
        .routes(call!(S, key::enable))
        .routes(call!(S, key::rotate))
        .routes(call!(S, key::revoke))
        .routes(call!(S, policy::of_namespace::show))
        .routes(call!(S, policy::of_namespace::set))
        .routes(call!(S, policy::of_namespace::unset))
        .routes(call!(S, legacy::of_namespace::show))
        .routes(call!(S, legacy::of_namespace::set))
        .routes(call!(S, legacy::of_namespace::unset))
        .routes(call!(S, legacy::of_namespace::cut_off))
        .routes(call!(S, legacy::revoke))
        .routes(call!(S, team::member::keys))
        .routes(call!(S, team::member::remove))
        .routes(call!(S, team::member::restore))
        .routes(call!(S, team::service::keys))
        .routes(call!(S, team::service::remove))
        .routes(call!(S, team::service::restore))
        .routes(call!(S, team::revoke_all))
        .routes(call!(S, team::whole::remove))
        .routes(call!(S, team::whole::restore))
        .routes(call!(S, audit::of_team))
        .routes(call!(S, legacy::report_of_team))
        .routes(call!(S, audit::list))
        .routes(call!(S, audit::verify))
        .routes(call!(S, legacy::report))
        .routes(call!(S, policy::of_all::show))
        .routes(call!(S, policy::of_all::set))
        .routes(call!(S, policy::of_all::unset))
        .routes(call!(S, legacy::of_all::show))
        .routes(call!(S, legacy::of_all::set))
        .routes(call!(S, legacy::of_all::unset))
        .routes(call!(S, whoami))
        .routes(call!(S, token::introspect))
        .routes(call!(S, token::leaks))
}

/// The calls that anybody may make.
pub(crate) fn public<S: KeyStore + 'static>() -> OpenApiRouter<Arc<Plane<S>>> {
    OpenApiRouter::new().routes(call!(S, token::revoke))
}
