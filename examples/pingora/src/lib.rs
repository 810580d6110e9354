//! A proxy of Pingora that lets requests with a Keyfob key through to one backend.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use keyfob_gateway::{Answer, Authorizer, Question, field};
use pingora_core::{Result, upstreams::peer::HttpPeer};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session};

/// A proxy with one backend.
pub struct KeyfobProxy {
    authorizer: Authorizer,
    backend: SocketAddr,
}

impl KeyfobProxy {
    /// Lets requests through to this backend that the authorizer accepts.
    pub fn new(authorizer: Authorizer, backend: SocketAddr) -> Self {
        Self {
            authorizer,
            backend,
        }
    }

    /// Decides about the request as it was received.
    fn decide(&self, session: &Session) -> Answer {
        let request = session.req_header();
        let fields: Vec<&[u8]> = values(request, "authorization").collect();
        let client = session.client_addr().and_then(|it| it.as_inet());
        let question = Question::of_request(request.raw_path(), &fields)
            .with_method(request.method.as_str().as_bytes())
            .with_client(client.map(SocketAddr::ip))
            .with_request_id(values(request, "x-request-id").next())
            .with_traceparent(values(request, "traceparent").next());
        let question = match values(request, "host").next() {
            Some(host) => question.with_host(host),
            None => question,
        };
        self.authorizer.decide(&question, keyfob::now())
    }
}

#[async_trait]
impl ProxyHttp for KeyfobProxy {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn request_filter(&self, session: &mut Session, _: &mut ()) -> Result<bool> {
        let answer = self.decide(session);
        if answer.is_accepted() {
            identify(session.req_header_mut(), &answer)?;
            return Ok(false);
        }
        refuse(session, &answer).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.backend, false, String::new())))
    }
}

fn values<'a>(request: &'a RequestHeader, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let values = request.headers.get_all(name).iter();
    values.map(|value| value.as_bytes())
}

/// Gives the request the identity of the answer, in the place of the credential and of what the client
/// wrote.
fn identify(request: &mut RequestHeader, answer: &Answer) -> Result<()> {
    let names = request.headers.keys().map(|name| name.as_str().to_owned());
    let names: Vec<String> = names.collect();
    for name in names {
        if is_own(&name) || name == "authorization" {
            request.remove_header(name.as_str());
        }
    }
    // A field that is named in `Connection` is not passed on.
    let options = values(request, "connection").filter_map(|value| std::str::from_utf8(value).ok());
    let options = options.flat_map(|value| value.split(',')).map(str::trim);
    let options: Vec<String> = options
        .filter(|name| !is_own(name) && !name.eq_ignore_ascii_case("upgrade"))
        .map(str::to_owned)
        .collect();
    request.remove_header("connection");
    // Any other protocol would be a tunnel to the backend for further requests. A client may name several.
    let is_websocket =
        values(request, "upgrade").any(|name| name.eq_ignore_ascii_case(b"websocket"));
    request.remove_header("upgrade");
    let options = if is_websocket {
        request.insert_header("upgrade", "websocket")?;
        vec!["upgrade".to_owned()]
    } else {
        options
    };
    if !options.is_empty() {
        request.insert_header("connection", options.join(", "))?;
    }
    for (name, value) in answer.fields() {
        if field::IDENTITY.contains(&name) && !value.is_empty() {
            request.insert_header(name, &*value)?;
        }
    }
    Ok(())
}

/// Whether a field is one of Keyfob's. Some programs read `_` and `-` alike.
fn is_own(name: &str) -> bool {
    let name = name.replace('_', "-").to_ascii_lowercase();
    name.starts_with("x-keyfob-")
}

/// Answers a request that may not pass.
async fn refuse(session: &mut Session, answer: &Answer) -> Result<()> {
    let body = answer.body().map(|body| body.text.as_bytes().to_vec());
    let body = body.map(Bytes::from).unwrap_or_default();
    let mut response = ResponseHeader::build(answer.status(), None)?;
    for (name, value) in answer.fields() {
        // The reason is for logs only.
        if name != field::REASON {
            response.append_header(name, &*value)?;
        }
    }
    if let Some(body) = answer.body() {
        response.insert_header("content-type", body.content_type)?;
    }
    response.insert_header("content-length", body.len().to_string())?;
    // The body of the request is not read, so the connection cannot be used again.
    session.set_keepalive(None);
    session
        .write_response_header(Box::new(response), false)
        .await?;
    session.write_response_body(Some(body), true).await
}
