//! What a gateway asks.

use std::{fmt, net::IpAddr};

use keyfob::name::Scope;

/// A question of a gateway: may this request pass?
///
/// Every front fills it in from its protocol. Nothing in it is trusted but that the gateway sent it.
///
/// # Examples
///
/// ```
/// use keyfob_gateway::Question;
///
/// let fields: [&[u8]; 1] = [b"Basic ..."]; // all `Authorization` fields of the request
/// let question = Question::of_request(b"/api/v1/namespaces/orders/actions/x?blocking=true", &fields)
///     .with_method(b"POST")
///     .with_host(b"api.example");
/// # let _ = question;
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct Question<'a> {
    pub(crate) asked: Asked<'a>,
    pub(crate) passed_on: Option<&'a [u8]>,
    pub(crate) authorization: &'a [&'a [u8]],
    pub(crate) method: Option<&'a [u8]>,
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) scopes: &'a [Scope],
    pub(crate) client: Option<IpAddr>,
    pub(crate) request_id: Option<&'a [u8]>,
    pub(crate) traceparent: Option<&'a [u8]>,
}

/// What names the namespace.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// The request target, judged by the rules.
    Target(&'a [u8]),
    /// The gateway itself.
    Namespace(&'a [u8]),
}

impl<'a> Question<'a> {
    /// Asks about a request by its target, exactly as the client sent it: in origin or absolute
    /// form, with its query. The [rules](crate::Rules) say which namespace it is for.
    ///
    /// `authorization` has the values of all `Authorization` fields. Two are enough: more than one
    /// is refused.
    pub fn of_request(target: &'a [u8], authorization: &'a [&'a [u8]]) -> Self {
        Self::new(Asked::Target(target), authorization)
    }

    /// Asks about a request for a namespace that the gateway itself names; `_` is the one of the
    /// credential. The rules are not used.
    ///
    /// # Security
    ///
    /// The gateway's configuration must name it, and not a part of the request: the backend may read
    /// the request otherwise. Where the request names it, use [`Question::of_request`].
    pub fn of_namespace(namespace: &'a [u8], authorization: &'a [&'a [u8]]) -> Self {
        Self::new(Asked::Namespace(namespace), authorization)
    }

    fn new(asked: Asked<'a>, authorization: &'a [&'a [u8]]) -> Self {
        Self {
            asked,
            passed_on: None,
            authorization,
            method: None,
            host: None,
            scopes: &[],
            client: None,
            request_id: None,
            traceparent: None,
        }
    }

    /// With the target that the gateway passes on, if it [names](Question::of_namespace) the namespace: a
    /// target that a backend could read in another way than the gateway is refused.
    pub fn with_target(self, target: &'a [u8]) -> Self {
        let passed_on = Some(target);
        Self { passed_on, ..self }
    }

    /// With the method of the request.
    pub fn with_method(self, method: &'a [u8]) -> Self {
        let method = Some(method);
        Self { method, ..self }
    }

    /// With the host that the request is for: its `Host` field, or `:authority`.
    pub fn with_host(self, host: &'a [u8]) -> Self {
        let host = Some(host);
        Self { host, ..self }
    }

    /// With scopes that the key must have in addition to those of the rule.
    pub fn with_scopes(self, scopes: &'a [Scope]) -> Self {
        Self { scopes, ..self }
    }

    /// With the address of the client, for the throttle and the log.
    pub fn with_client(self, client: impl Into<Option<IpAddr>>) -> Self {
        let client = client.into();
        Self { client, ..self }
    }

    /// With the identifier of the request, for the log.
    pub fn with_request_id(self, request_id: impl Into<Option<&'a [u8]>>) -> Self {
        let request_id = request_id.into();
        Self { request_id, ..self }
    }

    /// With the `traceparent` field of the request (W3C Trace Context), for the log.
    pub fn with_traceparent(self, traceparent: impl Into<Option<&'a [u8]>>) -> Self {
        let traceparent = traceparent.into();
        Self {
            traceparent,
            ..self
        }
    }

    /// The trace that the request belongs to: 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> Option<&'a str> {
        let text = std::str::from_utf8(self.traceparent?).ok()?;
        let mut parts = text.split('-');
        let (version, id) = (parts.next()?, parts.next()?);
        let is_hex = |text: &str| {
            let mut bytes = text.bytes();
            bytes.all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = id.len() == 32 && is_hex(id) && id.bytes().any(|byte| byte != b'0');
        (version.len() == 2 && is_hex(version) && version != "ff" && is_id).then_some(id)
    }
}

/// Shows neither the credential nor what the client wrote.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("authorization", &self.authorization.len())
            .field("scopes", &self.scopes)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_that_of_the_specification() {
        let id = |text: &'static str| {
            Question::of_namespace(b"", &[])
                .with_traceparent(text.as_bytes())
                .trace_id()
        };
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(id(valid), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6-00f067aa0ba902b7-01",
        ] {
            assert_eq!(id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_question_does_not_show_the_credential() {
        let fields: [&[u8]; 1] = [b"Bearer confidential"];
        let question = Question::of_request(b"/confidential", &fields);
        assert!(!format!("{question:?}").contains("confidential"));
    }
}
