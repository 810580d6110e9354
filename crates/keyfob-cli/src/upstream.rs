//! Reading the feed of another process, for gateways and relays.

use std::sync::Arc;

use keyfob::key::KeyFormat;
use keyfob_feed::{Refused, Trust};
use keyfob_replica::{FeedError, HttpSource, HttpSourceBuilder, Upstream};

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    process,
    settings::UpstreamSettings,
};

/// The settings of a source, without its filter. The authority lists it by the name of the settings, else by
/// the host's, else by the command's.
pub(crate) fn source(
    settings: &UpstreamSettings,
    command: &str,
) -> Result<HttpSourceBuilder, Failure> {
    let trust = trust(settings)?;
    let needs_credential =
        !settings.urls.iter().all(Upstream::is_folder) || settings.urls.is_empty();
    if settings.credential_file.is_none() && needs_credential {
        return Err(Failure::usage("credential_file: a key with the scope `replica` is needed").hint(
            "an operator makes one: `keyfob keys create gateway --owner service:gateway --scope replica --team operators --namespace control:operators`",
        ));
    }
    if settings.urls.is_empty() {
        return Err(Failure::usage("upstream: the URL of a feed is needed")
            .hint("it is that of `keyfob serve --feed-listen`, or of a `keyfob relay`"));
    }
    let name = settings.name.clone();
    let name =
        name.or_else(|| process::host_name().filter(|name| HttpSourceBuilder::is_name(name)));
    let mut builder = HttpSource::builder(trust)
        .name(name.as_deref().unwrap_or(command))
        .reported_bound(settings.stale_after);
    if let Some(credential) = &settings.credential_file {
        builder = builder.key_file(credential);
    }
    for upstream in &settings.urls {
        builder = builder.upstream(upstream.clone());
    }
    if let Some(file) = &settings.ca {
        builder = builder.root_certificates(file);
    }
    if let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) {
        builder = builder.client_certificate(certificate, key);
    }
    Ok(builder)
}

/// The signers that the settings name.
pub(crate) fn trust(settings: &UpstreamSettings) -> Result<Trust, Failure> {
    Trust::pinned(settings.signers.iter().copied()).map_err(|_| {
        Failure::usage("signers: the public keys of the authority are needed")
            .hint("`keyfob feed show FILE` prints them, on a machine of the authority")
    })
}

pub(crate) fn built(builder: HttpSourceBuilder) -> Result<Arc<HttpSource>, Failure> {
    let source = builder.build();
    source
        .map(Arc::new)
        .map_err(|error| Failure::usage(with_sources(&error)))
}

/// The format of the keys of a feed: of the given prefix, or as the feed states it.
pub(crate) async fn key_format(
    source: &HttpSource,
    prefix: Option<KeyFormat>,
) -> Result<KeyFormat, Failure> {
    if let Some(format) = prefix {
        return Ok(format);
    }
    let format = source.key_format().await;
    format.map_err(|error| {
        let failure = Failure::new(Exit::Store, with_sources(&error));
        match error {
            FeedError::Refused(Refused::OtherFilter) => {
                failure.hint("the key reads a part of the feed only: name the part with `only`")
            }
            _ => failure,
        }
    })
}
