//! The authorizer: it tells proxies whether a call may pass.

use std::{
    fs,
    sync::{Arc, OnceLock},
};

use axum::{body::Bytes, http::Response};
use keyfob::{Principal, key::KeyFormat};
use keyfob_gateway::{Authorizer, IdentitySigner, Throttle, http::Front};
use keyfob_listen::Head;
use keyfob_replica::Replica;
use zeroize::Zeroizing;

use crate::{failure::Failure, settings::AuthSettings};

/// Is told of accepted calls, with the value of their `Authorization` field.
pub(crate) type OnAccepted = Box<dyn Fn(&Principal<'_>, &[u8]) + Send + Sync>;

/// The authorizer, as the settings have it.
pub(crate) fn authorizer(
    settings: &AuthSettings,
    replica: &Replica,
    format: KeyFormat,
    signer: Option<IdentitySigner>,
    on_accepted: Option<OnAccepted>,
) -> Authorizer {
    let pauses = replica.pauses();
    let builder = Authorizer::builder(replica.verifier(), format)
        .rules(settings.rules.clone())
        .refusal(settings.refusal)
        .challenges(settings.challenges.clone())
        .show_reason(settings.reason)
        .max_age(settings.max_age.unwrap_or_default())
        .throttle(settings.refused_per_minute.map(Throttle::per_minute))
        .signer(signer)
        .pauses(move || pauses.current());
    let builder = match on_accepted {
        Some(told) => builder.on_accepted(told),
        None => builder,
    };
    builder.build()
}

/// Its front over HTTP.
pub(crate) fn front(settings: &AuthSettings, authorizer: Authorizer) -> Front {
    Front::new(authorizer, settings.request)
        .with_peers(settings.peers.clone())
        .with_namespace_field(settings.namespace_header.clone())
}

/// A front that is known once the keys were read.
#[derive(Clone, Default)]
pub(crate) struct Later(Arc<OnceLock<Front>>);

impl Later {
    /// Answers by this front from now on.
    pub(crate) fn set(&self, front: Front) {
        let _ = self.0.set(front);
    }

    /// None if the router must answer: there is no front yet, the request is not for it, or it has to wait.
    pub(crate) fn answer(&self, head: &Head<'_>) -> Option<Response<Bytes>> {
        let front = self.0.get().filter(|front| front.is_current())?;
        front.answer(head)
    }
}

/// The signer of identities, if the settings have keys for it. It is read before the server starts, so
/// that a file that cannot be used stops it.
pub(crate) fn signer(settings: &AuthSettings) -> Result<Option<IdentitySigner>, Failure> {
    let Some(path) = &settings.identity_keys else {
        return Ok(None);
    };
    let pem = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let signer = IdentitySigner::from_pem(&Zeroizing::new(pem)).map_err(|error| {
        Failure::usage(format!("auth.identity_keys: {} {error}", path.display()))
            .hint("`openssl genpkey -algorithm ed25519` makes a key")
    })?;
    Ok(Some(
        signer
            .with_issuer(settings.identity_issuer.clone())
            .with_audience(settings.identity_audience.clone()),
    ))
}
