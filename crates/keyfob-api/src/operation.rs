//! A call as a route and as a part of the `OpenAPI` document, from one place.

use axum::routing::MethodRouter;
use utoipa::{__dev::SchemaReferences, Path, openapi::path::Paths};
use utoipa_axum::router::UtoipaMethodRouter;

/// The route of a handler and its part of the document. `call!(S, key::create)` stands for
/// `key::create::handle::<S>` and what `#[utoipa::path]` made of it.
macro_rules! call {
    ($store:ident, $($part:ident)::+) => {
        $crate::operation::documented::<$crate::$($part)::+::__path_handle, _>(|methods, router| {
            router.on(methods, $crate::$($part)::+::handle::<$store>)
        })
    };
}
pub(crate) use call;

use axum::routing::MethodFilter;
use utoipa_axum::PathItemExt;

pub(crate) fn documented<P, S>(
    route: impl Fn(MethodFilter, MethodRouter<S>) -> MethodRouter<S>,
) -> UtoipaMethodRouter<S>
where
    P: Path + SchemaReferences,
    S: Clone + Send + Sync + 'static,
{
    let mut schemas = Vec::new();
    P::schemas(&mut schemas);
    let methods = P::methods();
    let router = methods.iter().fold(MethodRouter::new(), |router, method| {
        route(method.to_method_filter(), router)
    });
    let mut paths = Paths::new();
    paths.add_path_operation(P::path(), methods, P::operation());
    (schemas, paths, router)
}
