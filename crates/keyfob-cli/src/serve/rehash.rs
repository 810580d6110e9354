//! Moving digests to the current pepper, as keys are used.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header::AUTHORIZATION},
    middleware::Next,
    response::Response,
};
use keyfob::{
    Access, Context, Keyring, Principal, Tenant, Verifier,
    authorization::{self, HeaderBuffer},
    gateway::Credential,
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// Passes keys whose digest is under an old pepper to a task, which replaces the digest.
#[derive(Clone)]
pub(super) struct Rehasher(mpsc::Sender<Job>);

struct Job {
    tenant: Tenant,
    /// The header value with the credential.
    header: Zeroizing<Vec<u8>>,
}

impl Rehasher {
    /// Starts the task; none if no pepper is current, so that no digest loses its pepper.
    pub(super) fn start(keyring: Arc<Keyring>, has_current: bool) -> Option<Self> {
        if !has_current {
            return None;
        }
        let (sender, mut jobs) = mpsc::channel::<Job>(WAITING);
        tokio::spawn(async move {
            while let Some(job) = jobs.recv().await {
                rehash(&keyring, &job).await;
            }
        });
        Some(Self(sender))
    }

    /// Passes on the key of an accepted call, if its digest is under an old pepper. If many are
    /// waiting, a later call passes it on.
    pub(super) fn offer(&self, principal: &Principal<'_>, header: &[u8]) {
        if !principal.needs_rehash() {
            return;
        }
        let Ok(place) = self.0.try_reserve() else {
            return;
        };
        place.send(Job {
            tenant: Tenant::new(principal.team().clone(), principal.namespace().clone()),
            header: Zeroizing::new(header.to_vec()),
        });
    }
}

/// Passes on the keys of calls to the control plane, which authenticates them itself.
pub(super) async fn of_control_plane(
    State((rehasher, verifier)): State<(Rehasher, Verifier)>,
    request: Request,
    next: Next,
) -> Response {
    let fields = request.headers().get_all(AUTHORIZATION).iter();
    let fields = fields.map(HeaderValue::as_bytes);
    let access = Access::to_own_namespace();
    let header = request.headers().get(AUTHORIZATION);
    if let (Some(header), Ok(principal)) = (
        header,
        verifier.verify_headers(fields, &access, keyfob::now()),
    ) {
        rehasher.offer(&principal, header.as_bytes());
    }
    next.run(request).await
}

async fn rehash(keyring: &Keyring, job: &Job) {
    let mut buffer = HeaderBuffer::new();
    let parsed = authorization::parse(keyring.format(), &job.header, &mut buffer);
    let Ok(Credential::Key(key)) = parsed else {
        return;
    };
    let context = Context::system(keyfob::now());
    match keyring.rehash(&context, &job.tenant, &key).await {
        Ok(_) => tracing::debug!("moved a digest to the current pepper"),
        // It stays under the old pepper, and works.
        Err(error) => tracing::warn!(%error, "a digest could not be moved to the current pepper"),
    }
}

/// How many keys may wait.
const WAITING: usize = 64;
