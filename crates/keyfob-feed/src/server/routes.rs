//! The routes of the feed.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Bytes, to_bytes},
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::upgrade::OnUpgrade;
use metrics::counter;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use crate::{filter::Filter, line::SignedLine, position::Position, snapshot::ObjectName};

use super::{
    authorize::{Authorize, ReplicaRight},
    hub::{Hub, system_clock},
    metrics as names, object,
    refusal::Refusal,
    report::{Origin, Report},
    stream::Stream,
    upgrade,
};

#[derive(Clone)]
struct App {
    hub: Hub,
    authorize: Arc<dyn Authorize>,
}

pub(crate) fn router(hub: Hub, authorize: Arc<dyn Authorize>) -> Router {
    Router::new()
        .route("/v1/feed", get(feed))
        .route("/v1/feed/frame", get(frame))
        .route("/v1/feed/snapshot", get(snapshot))
        .route("/v1/feed/snapshots/{object}", get(snapshot_object))
        .route("/v1/feed/signers", get(signers))
        .route("/v1/feed/report", post(report))
        .with_state(App { hub, authorize })
}

impl App {
    fn right(&self, headers: &HeaderMap) -> Result<ReplicaRight, Refusal> {
        let right = self.authorize.authorize(headers, keyfob::now());
        right.map_err(Refusal::Unauthorized)
    }

    /// The right of a request, its query, and the part of the feed that it asks for.
    fn asked(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<(ReplicaRight, Query, Filter), Refusal> {
        let right = self.right(headers)?;
        let query = Query::parse(query)?;
        let filter = query.filter(&right)?;
        Ok((right, query, filter))
    }

    /// The right of who made a report: of the sender, or of the replica for which it says that it hands it
    /// on. It may say so of credentials and parts within its own right.
    fn origin(
        &self,
        sender: &ReplicaRight,
        origin: Option<Origin>,
    ) -> Result<ReplicaRight, Refusal> {
        let Some(Origin { credential, reads }) = origin else {
            return Ok(sender.clone());
        };
        let filter = Query::parse(Some(&reads))?.filter(sender);
        match filter {
            Ok(filter) if self.hub.may_report(sender.filter(), credential) => {
                Ok(sender.of_origin(credential, filter))
            }
            _ => {
                tracing::warn!("a relay handed on a report of a credential beyond its own right");
                Ok(sender.clone())
            }
        }
    }
}

async fn feed(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    upgrade: Option<Extension<OnUpgrade>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (right, query, filter) = app.asked(&headers, query.as_deref())?;
    let position = query.after()?;
    let stream = Stream::begin(app.hub, filter.clone(), right, position).await;
    let stream = stream.map_err(|refusal| refusal.for_filter(&filter))?;
    match upgrade.filter(|_| upgrade::is_offered(&headers)) {
        Some(Extension(upgrade)) => Ok(upgrade::answer(stream, upgrade)),
        None => Ok(lines(stream.into_body())),
    }
}

async fn frame(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (_, query, filter) = app.asked(&headers, query.as_deref())?;
    let frame = app.hub.source.frame(&filter, query.after()?).await;
    let frame = frame.map_err(|refusal| refusal.for_filter(&filter))?;
    Ok(lines(frame.to_sent()))
}

async fn snapshot(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (right, _, filter) = app.asked(&headers, query.as_deref())?;
    let manifest = Arc::clone(&app.hub.source)
        .manifest(&filter, &right)
        .await?;
    Ok(lines(manifest.to_sent()))
}

/// Who knows the name of an object has read its manifest, or was told of it by somebody who may. So
/// a cache that knows nothing of keys can stand in front of objects.
async fn snapshot_object(
    State(app): State<App>,
    Path(object): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = object
        .strip_suffix(".ndjson.zst")
        .and_then(ObjectName::parse);
    let name = name.ok_or(Refusal::NotFound)?;
    let object = Arc::clone(&app.hub.source).object(name).await?;
    Ok(object::answer(name, &object, &headers))
}

async fn signers(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refusal> {
    app.right(&headers)?;
    let documents = app.hub.source.signers().await?;
    let documents = documents.iter().map(SignedLine::to_sent);
    Ok(lines(documents.collect::<Vec<_>>().concat()))
}

/// The credential is judged by the head, so that nothing is read of strangers.
async fn report(State(app): State<App>, request: Request) -> Result<StatusCode, Refusal> {
    let sender = app.right(request.headers())?;
    let body = body(request).await?;
    let mut report = Report::parse(&body).map_err(Refusal::Invalid)?;
    counter!(names::REPORTS).increment(1);
    let right = app.origin(&sender, report.origin.take())?;
    app.hub.fleet().keep(&report, &right, system_clock()());
    let before = report.usage.len();
    report
        .usage
        .retain(|usage| app.hub.may_report(sender.filter(), usage.credential));
    let dropped = before - report.usage.len();
    if dropped > 0 {
        tracing::warn!(
            dropped,
            "a replica reported usage of keys that it may not read"
        );
    }
    report.origin = right.credential().map(|credential| Origin {
        credential,
        reads: right.filter().to_query(),
    });
    // What was parsed from JSON is JSON.
    let body = serde_json::to_vec(&report).unwrap_or_default().into();
    // A relay hands on the body, and its upstream does the same.
    report.source = right.source(report.source);
    app.hub.source.report(&report, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the body of a request, within the limits on its length and time.
async fn body(request: Request) -> Result<Bytes, Refusal> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > Report::BYTES_MAX as u64) {
        return Err(Refusal::TooLong);
    }
    match timeout(
        BODY_WITHIN,
        to_bytes(request.into_body(), Report::BYTES_MAX),
    )
    .await
    {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Refusal::Invalid(
            "the body is incomplete or too long".into(),
        )),
        Err(_) => Err(Refusal::TooSlow),
    }
}

/// An answer of signed lines.
fn lines(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/x-ndjson");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The decoded parameters of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|p| !p.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8().ok()?;
            Some((name.to_owned(), value.into_owned()))
        });
        let pairs = pairs.collect::<Option<_>>().map(Self);
        pairs.ok_or_else(|| Refusal::Invalid("the query is not UTF-8".into()))
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The filter that is asked for, else what the credential may read.
    fn filter(&self, right: &ReplicaRight) -> Result<Filter, Refusal> {
        let asked = Filter::from_query(self.pairs())
            .map_err(|error| Refusal::Invalid(error.to_string()))?;
        let filter = asked.unwrap_or_else(|| right.filter().clone());
        if right.filter().covers(&filter) {
            Ok(filter)
        } else {
            Err(Refusal::Beyond)
        }
    }

    fn after(&self) -> Result<Position, Refusal> {
        let after = self.pairs().find(|(name, _)| *name == "after");
        let (_, after) = after
            .ok_or_else(|| Refusal::Invalid("after: must be the position of the reader".into()))?;
        after
            .parse()
            .map_err(|error| Refusal::Invalid(format!("after: {error}")))
    }
}

/// How long the body of a report may take.
const BODY_WITHIN: Duration = Duration::from_secs(20);
