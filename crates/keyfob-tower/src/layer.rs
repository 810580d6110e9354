use std::{fmt, sync::Arc};

use keyfob::name::{NameError, Scope};
use tower_layer::Layer;

use crate::{guard::Guard, namespace::Source, service::Guarded};

/// A [`Layer`] that lets requests through to a namespace; made by the methods of [`Guard`].
///
/// A request passes one guard: the credential is removed on the way in, so a second guard would
/// refuse it. Give each route, or each router, the one layer with all that it requires.
#[derive(Clone)]
#[must_use = "a guard protects the services that it is a layer of"]
pub struct GuardLayer(Arc<Rules>);

/// What a protected service asks for.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) guard: Guard,
    pub(crate) source: Source,
    pub(crate) accepts_underscore: bool,
    pub(crate) scopes: Vec<Scope>,
}

impl GuardLayer {
    pub(crate) fn new(guard: Guard, source: Source) -> Self {
        Self(Arc::new(Rules {
            guard,
            source,
            accepts_underscore: false,
            scopes: Vec::new(),
        }))
    }

    /// Lets only keys through that have all of these scopes, in addition to those of earlier
    /// calls. Without a call, every key of the namespace passes, also one that has no scope.
    ///
    /// # Panics
    ///
    /// If a text is not a scope. Texts from a configuration file are better parsed by
    /// [`Scope::new`] first, whose results are taken as well.
    #[track_caller]
    pub fn requiring<T>(mut self, scopes: impl IntoIterator<Item = T>) -> Self
    where
        T: TryInto<Scope, Error: Into<NameError>>,
    {
        let rules = Arc::make_mut(&mut self.0);
        for scope in scopes {
            match scope.try_into() {
                Ok(scope) => rules.scopes.push(scope),
                Err(error) => panic!("{}", error.into()),
            }
        }
        self
    }

    /// Takes `_` in the place of the namespace as the namespace that the credential opens, as
    /// `OpenWhisk` does. Without a call, `_` is refused with 400.
    ///
    /// The handler then must act in the namespace of the [`Caller`](crate::Caller), not in the
    /// one of the path.
    pub fn accepting_underscore(mut self) -> Self {
        Arc::make_mut(&mut self.0).accepts_underscore = true;
        self
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    // A router that has no state yet applies its layers for each request.
    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded::new(inner, Arc::clone(&self.0))
    }
}

impl fmt::Debug for GuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuardLayer").field(&self.0).finish()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("guard", &self.guard)
            .field("source", &self.source)
            .field("accepts_underscore", &self.accepts_underscore)
            .field("scopes", &self.scopes)
            .finish()
    }
}
