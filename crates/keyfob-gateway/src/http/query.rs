use axum::http::HeaderName;
use keyfob::name::Scope;
use keyfob_listen::Head;
use percent_encoding::percent_decode_str;

use super::source::{Fault, RequestSource};

/// The scopes that a question asks for: `?scope=` and `X-Keyfob-Scope`, each a list of names with spaces
/// between (RFC 6749, section 3.3), once or more.
///
/// What nobody reads is refused: with a misspelt name, every key would pass. What a client may have
/// written is not the proxy's fault, and its answer is 400: a client cannot provoke a 503.
pub(super) fn scopes(head: &Head<'_>, source: RequestSource) -> Result<Vec<Scope>, Fault> {
    let mut scopes = Vec::new();
    // The query of an appended target is the client's, and that below a name may be.
    let (query, of_proxy) = match source {
        RequestSource::Appended => (None, false),
        RequestSource::Named => (head.uri.query(), !has_path_below(head)),
        _ => (head.uri.query(), true),
    };
    for parameter in query.into_iter().flat_map(|query| query.split('&')) {
        match parameter.split_once('=') {
            Some(("scope", value)) => {
                let value = value.replace('+', " ");
                let value = percent_decode_str(&value).decode_utf8();
                let value = value.ok().and_then(|value| read(&value, &mut scopes));
                let fault = if of_proxy { INVALID } else { Fault::Ambiguous };
                value.ok_or(fault)?;
            }
            None if parameter.is_empty() => {}
            _ if of_proxy => return Err(Fault::OfProxy("unknown_parameter")),
            _ => {}
        }
    }
    for value in head.headers.get_all(&SCOPE) {
        let value = value.to_str().ok();
        let value = value.and_then(|value| read(value, &mut scopes));
        // A proxy that asks for no scope may pass on the client's field.
        value.ok_or(Fault::Ambiguous)?;
    }
    Ok(scopes)
}

/// Whether the path has more than `/auth/{namespace}`: the client's may have been appended.
fn has_path_below(head: &Head<'_>) -> bool {
    let mut segments = head.uri.path().splitn(4, '/');
    segments.nth(3).is_some_and(|below| !below.is_empty())
}

/// Adds the scopes of a list; none if it has a text that is no scope.
fn read(list: &str, scopes: &mut Vec<Scope>) -> Option<()> {
    for name in list.split_ascii_whitespace() {
        scopes.push(Scope::new(name).ok()?);
    }
    Some(())
}

const INVALID: Fault = Fault::OfProxy("invalid_scope");
const SCOPE: HeaderName = HeaderName::from_static("x-keyfob-scope");
