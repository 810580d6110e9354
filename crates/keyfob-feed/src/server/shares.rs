//! How many different filters the readers of a credential use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::filter::Filter;

use super::{authorize::ReplicaRight, refusal::Refusal};

/// The filters of open streams, by credential. The lines of each filter in use are made for all of its readers,
/// and the number of filters is bounded, so none may use all of them. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Shares(Arc<Mutex<ByCredential>>);

type ByCredential = HashMap<Arc<[u8]>, HashMap<Filter, usize>>;

/// A stream of a credential, until it is dropped.
pub(crate) struct Share {
    shares: Shares,
    reporter: Arc<[u8]>,
    filter: Filter,
}

impl Shares {
    /// Counts a stream of a filter for a credential.
    pub(crate) fn open(&self, right: &ReplicaRight, filter: &Filter) -> Result<Share, Refusal> {
        let most = match right.filter() {
            Filter::All => FILTERS_OF_ALL,
            Filter::Team(_) | Filter::Namespaces(_) => FILTERS_OF_PART,
        };
        let reporter = right.reporter();
        let mut shares = self.lock();
        let own = shares.entry(Arc::clone(reporter)).or_default();
        if own.len() >= most && !own.contains_key(filter) {
            return Err(Refusal::TooManyFilters);
        }
        *own.entry(filter.clone()).or_default() += 1;
        Ok(Share {
            shares: self.clone(),
            reporter: Arc::clone(reporter),
            filter: filter.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, ByCredential> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.shares.lock();
        let Some(own) = shares.get_mut(&self.reporter) else {
            return;
        };
        if let Some(streams) = own.get_mut(&self.filter) {
            *streams = streams.saturating_sub(1);
            if *streams == 0 {
                own.remove(&self.filter);
            }
        }
        if own.is_empty() {
            shares.remove(&self.reporter);
        }
    }
}

/// How many filters a credential may use that reads everything: half of the default of
/// [`Limits::filters`](crate::Limits::filters).
const FILTERS_OF_ALL: usize = 500;
/// How many filters a credential may use that reads a part.
const FILTERS_OF_PART: usize = 32;

#[cfg(test)]
mod tests {
    use keyfob::{Tenant, name::TeamId};

    use super::*;

    #[test]
    fn a_credential_uses_a_part_of_the_filters_until_it_closes_some() {
        let shares = Shares::default();
        let part = |number: usize| {
            let tenant = Tenant::parse("acme", &format!("n{number}")).unwrap();
            Filter::namespaces([tenant]).unwrap()
        };
        let team = Filter::Team(TeamId::new("acme").unwrap());
        let right = |name: &[u8]| ReplicaRight::new(team.clone(), |_| true).of_reporter(name);
        let one = right(b"one");
        let open = |number| shares.open(&one, &part(number));
        let mut streams: Vec<Share> = (0..FILTERS_OF_PART).map(|n| open(n).unwrap()).collect();
        assert!(matches!(open(99), Err(Refusal::TooManyFilters)));
        let again = open(0).unwrap();
        let other = shares.open(&right(b"other"), &part(99));
        assert!(other.is_ok());
        drop(again);
        assert!(open(99).is_err(), "the filter has another stream");
        streams.remove(0);
        assert!(open(99).is_ok());
        drop((streams, other));
        assert!(shares.lock().is_empty());
    }
}
