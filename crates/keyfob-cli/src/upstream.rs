//! Reading the feed of another process, for gateways and relays.

use std::sync::Arc;

use keyfob_feed::{Filter, Trust};
use keyfob_replica::HttpSource;

use crate::{
    failure::{Failure, with_sources},
    settings::UpstreamSettings,
};

/// The source that the settings describe.
pub(crate) fn source(settings: UpstreamSettings, name: &str) -> Result<Arc<HttpSource>, Failure> {
    let trust = Trust::pinned(settings.signers).map_err(|_| {
        Failure::usage("signers: the public keys of the authority are needed")
            .hint("`keyfob feed show FILE` prints them, on a machine of the authority")
    })?;
    let credential = settings.credential_file.ok_or_else(|| {
        Failure::usage("credential_file: a key with the scope `replica` is needed").hint(
            "an operator makes one: `keyfob keys create gateway --owner service:gateway --scope replica --team operators --namespace control:operators`",
        )
    })?;
    if settings.urls.is_empty() {
        return Err(Failure::usage("upstream: the URL of a feed is needed")
            .hint("it is that of `keyfob serve --feed-listen`, or of a `keyfob relay`"));
    }
    let mut builder = HttpSource::builder(trust)
        .key_file(credential)
        .name(name)
        .filter(settings.only.unwrap_or(Filter::All));
    for upstream in settings.urls {
        builder = builder.upstream(upstream);
    }
    if let Some(folder) = settings.state {
        builder = builder.saved_in(folder);
    }
    if let Some(file) = settings.ca {
        builder = builder.root_certificates(file);
    }
    if let (Some(certificate), Some(key)) = (settings.certificate, settings.key) {
        builder = builder.client_certificate(certificate, key);
    }
    let source = builder.build();
    source
        .map(Arc::new)
        .map_err(|error| Failure::usage(with_sources(&error)))
}
