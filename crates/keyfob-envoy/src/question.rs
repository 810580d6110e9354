//! Reading a question of Envoy.

use std::net::IpAddr;

use keyfob::{Timestamp, name::Scope};
use keyfob_gateway::{Answer, Authorizer, Question};

use crate::message::{AttributeContext, CheckRequest, Entry, HttpRequest};

/// What Envoy asks about.
pub(crate) struct Asked<'a> {
    attributes: &'a AttributeContext,
    http: &'a HttpRequest,
    fields: Fields<'a>,
}

/// The configuration of Envoy is wrong, for this reason.
pub(crate) struct Misconfigured(&'static str);

impl<'a> Asked<'a> {
    pub(crate) fn read(request: &'a CheckRequest) -> Result<Self, Misconfigured> {
        let attributes = request.attributes.as_ref();
        let attributes = attributes.ok_or(Misconfigured("no_target"))?;
        // Without it, the filter is one of the network and not of HTTP.
        let http = attributes.request.as_ref().and_then(|it| it.http.as_ref());
        let http = http.ok_or(Misconfigured("no_target"))?;
        Ok(Self {
            attributes,
            http,
            fields: Fields::of(http),
        })
    }

    /// The header fields of the request.
    pub(crate) fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// Decides at the time `now`.
    pub(crate) fn decide(
        &self,
        authorizer: &Authorizer,
        now: Timestamp,
    ) -> Result<Answer, Misconfigured> {
        let extensions = Extensions::read(&self.attributes.context_extensions)?;
        let mut credentials: [&[u8]; 2] = [b"", b""];
        let mut count = 0;
        let values = self.fields.values("authorization");
        for (place, value) in credentials.iter_mut().zip(values) {
            *place = value;
            count += 1;
        }
        let credentials = credentials.get(..count).unwrap_or_default();
        let target = self.target()?;
        let question = match extensions.namespace {
            Some(name) => Question::of_namespace(name, credentials).with_target(target),
            None => Question::of_request(target, credentials),
        };
        let question = question
            .with_method(self.pseudo(":method", &self.http.method)?)
            .with_host(self.pseudo(":authority", &self.http.host)?)
            .with_client(self.client())
            .with_request_id(self.fields.values("x-request-id").next())
            .with_traceparent(self.fields.values("traceparent").next())
            .with_scopes(&extensions.scopes);
        Ok(authorizer.decide(&question, now))
    }

    /// The path with its query, as it is passed on to the backend.
    fn target(&self) -> Result<&'a [u8], Misconfigured> {
        let target = self.pseudo(":path", &self.http.path)?;
        if target.is_empty() {
            return Err(Misconfigured("no_target"));
        }
        // Envoy writes it in the place of bytes that are not UTF-8, but passes those on. No target is
        // the same as one that can be read in two ways.
        if !self.fields.are_raw() && target.contains(&b'!') {
            return Ok(b"");
        }
        Ok(target)
    }

    /// What Envoy passes on as a pseudo-header field: its bytes, if it sends them, else what it
    /// made a text of.
    fn pseudo(&self, name: &str, text: &'a [u8]) -> Result<&'a [u8], Misconfigured> {
        if !self.fields.are_raw() {
            return Ok(text);
        }
        let mut values = self.fields.values(name);
        match (values.next(), values.next()) {
            // Left out by `allowed_headers`.
            (None, _) => Err(Misconfigured("no_target")),
            (Some(value), None) => Ok(value),
            (Some(_), Some(_)) => Err(Misconfigured("two_targets")),
        }
    }

    /// The address of the client: of its connection, or what Envoy's settings for trusted proxies
    /// make of it.
    fn client(&self) -> Option<IpAddr> {
        let address = self.attributes.source.as_ref()?.address.as_ref()?;
        let address = address.socket_address.as_ref()?.address.parse();
        address.ok()
    }
}

impl Misconfigured {
    pub(crate) fn answer(&self, authorizer: &Authorizer) -> Answer {
        authorizer.refuse_gateway(self.0)
    }
}

/// The header fields of a request.
#[derive(Clone, Copy)]
pub(crate) enum Fields<'a> {
    /// As Envoy makes texts of them.
    Texts(&'a [Entry]),
    /// As they are.
    Raw(&'a crate::message::HeaderMap),
}

impl<'a> Fields<'a> {
    fn of(http: &'a HttpRequest) -> Self {
        match &http.header_map {
            Some(raw) if !raw.headers.is_empty() => Self::Raw(raw),
            _ => Self::Texts(&http.headers),
        }
    }

    fn are_raw(self) -> bool {
        matches!(self, Self::Raw(_))
    }

    pub(crate) fn names(self) -> impl Iterator<Item = &'a [u8]> {
        self.iter().map(|(name, _)| name)
    }

    /// The values of a field, whose name is in lower case.
    fn values(self, wanted: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_wanted =
            move |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(wanted.as_bytes());
        self.iter().filter(is_wanted).map(|(_, value)| value)
    }

    fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let (texts, raw) = match self {
            Self::Texts(entries) => (entries, &[][..]),
            Self::Raw(map) => (&[][..], &map.headers[..]),
        };
        let texts = texts.iter().map(|it| (&*it.key, &*it.value));
        let raw = raw.iter().map(|it| match &*it.raw_value {
            [] => (&*it.key, &*it.value),
            raw => (&*it.key, raw),
        });
        texts.chain(raw)
    }
}

/// What the operator wrote into `context_extensions`.
#[derive(Default)]
struct Extensions<'a> {
    namespace: Option<&'a [u8]>,
    scopes: Vec<Scope>,
}

impl<'a> Extensions<'a> {
    fn read(entries: &'a [Entry]) -> Result<Self, Misconfigured> {
        let mut read = Self::default();
        let mut has_scopes = false;
        for Entry { key, value } in entries {
            match &**key {
                NAMESPACE if read.namespace.is_none() => read.namespace = Some(value),
                SCOPES if !has_scopes => {
                    read.scopes = scopes(value).ok_or(Misconfigured("invalid_scope"))?;
                    has_scopes = true;
                }
                // Something that was meant to restrict calls must not be without effect.
                key if key.starts_with(OWN) => return Err(Misconfigured("unknown_extension")),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// Reads scopes that are separated by spaces.
fn scopes(text: &[u8]) -> Option<Vec<Scope>> {
    let text = str::from_utf8(text).ok()?;
    let scopes = text.split(' ').map(|name| Scope::new(name).ok());
    scopes.collect()
}

const OWN: &[u8] = b"keyfob";
const NAMESPACE: &[u8] = b"keyfob_namespace";
const SCOPES: &[u8] = b"keyfob_scopes";
