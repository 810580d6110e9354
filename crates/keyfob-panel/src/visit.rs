//! A request of somebody who is signed in.

use std::{sync::Arc, time::Instant};

use askama::Template;
use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
};

use crate::{
    client::{Client, Refused, query, segment},
    form::{Fields, Form, sentence},
    frame::Nonce,
    panel::{BODY_MAX, Shared},
    secret_text::without_secrets,
    session::{Id, has_cookie, set_cookie},
    shell::{Can, Notice, Section, Shell},
    time::{Html as Markup, Moment},
    wire::Caller,
};

/// Somebody who is signed in, and the calls on their behalf.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) api: Client,
    pub(crate) session: Id,
    pub(crate) nonce: String,
    /// The person or service, with its kind.
    pub(crate) owner: String,
    /// The identifier of the credential.
    pub(crate) credential: String,
    /// The team of the credential.
    pub(crate) home: String,
    /// The team that is worked in.
    pub(crate) team: String,
    pub(crate) can: Can,
    /// The keys of the session, if it has several.
    pub(crate) accounts: Vec<Account>,
    /// Whether htmx asks, for a part of a page.
    pub(crate) by_script: bool,
    /// The host that the browser sent the request to.
    pub(crate) host: String,
    /// When the credential expires.
    pub(crate) expires_at: Option<Moment>,
    pub(crate) now: Moment,
}

/// One of the keys of a session.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) key: String,
    pub(crate) team: String,
    pub(crate) owner: String,
    pub(crate) is_current: bool,
}

/// What a screen answers.
pub(crate) type Answer = Result<Response, Failure>;

/// Why a screen cannot answer.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Refused);

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

impl Failure {
    /// There is no such page for this user.
    pub(crate) fn not_found() -> Self {
        Self(Refused {
            status: StatusCode::NOT_FOUND,
            message: "there is nothing here that you may see".to_owned(),
            request_id: String::new(),
        })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        // `require` writes the page.
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Visit {
    /// The path of the team in the control plane.
    pub(crate) fn team_path(&self, rest: &str) -> String {
        format!("/v1/teams/{}{rest}", segment(&self.team))
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.shared.sessions.notices(self.session)
    }

    /// When the key of the session expires, if that is within a week, and where it can be renewed.
    pub(crate) fn ends_soon(&self) -> Option<(Markup, String)> {
        let at = self.expires_at?;
        let renew = if self.can.manage_own && self.is_home() {
            let namespace = segment(&format!("control:{}", self.home));
            let id = segment(&self.credential);
            format!("/keys/{namespace}/{id}/rotate?life=90d")
        } else {
            String::new()
        };
        (at < self.now.plus(7 * 86_400)).then(|| (at.from(self.now), renew))
    }

    /// Goes on to another page, which shows this.
    pub(crate) fn done(&self, to: &str, notice: Notice) -> Response {
        self.shared.sessions.notify(self.session, notice);
        Redirect::to(to).into_response()
    }

    /// Whether the team that is worked in is the user's own. In another one, somebody else may have
    /// the same name.
    pub(crate) fn is_home(&self) -> bool {
        self.team == self.home
    }

    /// Whether this is the user.
    pub(crate) fn is(&self, owner: &str) -> bool {
        self.is_home() && self.owner == owner
    }

    /// Whose keys the user may change.
    pub(crate) fn managed(&self) -> Managed {
        Managed {
            all: self.can.manage_team,
            own: (self.can.manage_own && self.is_home()).then(|| self.owner.clone()),
        }
    }

    /// Whether the user may change a key of this owner.
    pub(crate) fn manages(&self, owner: &str) -> bool {
        self.managed().includes(owner)
    }
}

/// Whose keys a user may change.
pub(crate) struct Managed {
    all: bool,
    own: Option<String>,
}

impl Managed {
    /// Whether the user may change a key of this owner.
    pub(crate) fn includes(&self, owner: &str) -> bool {
        self.all || self.own.as_deref() == Some(owner)
    }

    /// Whether there is anybody whose keys the user may change.
    pub(crate) fn is_some(&self) -> bool {
        self.all || self.own.is_some()
    }
}

/// Writes a page.
pub(crate) fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// Writes a page with this status.
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // Every route with this extractor is behind `require`, which sets it.
        let visit = parts.extensions.get().cloned();
        visit.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Lets those pass who are signed in, with a credential that the control plane accepts now.
pub(crate) async fn require(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let place = Place::of(&request);
    let nonce = request
        .extensions()
        .get::<Nonce>()
        .cloned()
        .unwrap_or_default();
    let opened = shared.sessions.open(request.headers(), Instant::now());
    if let Some(clean) = clean_address(&request) {
        if let Some(opened) = &opened {
            let notice = Notice::failed("The secret of a key was in the address")
                .line("It was left out. The browser’s history has it, and the logs of proxies may: rotate the key.");
            shared.sessions.notify(opened.id, notice);
        }
        return place.go(&clean);
    }
    let Some(opened) = opened else {
        let why = if has_cookie(request.headers()) {
            "idle"
        } else {
            ""
        };
        return unsigned(request, &place, &nonce.0, why).await;
    };
    let from = crate::frame::origin(&request);
    let mut accounts = Vec::new();
    let (mut current, mut left) = (None, 0_usize);
    // Every key of the session must work now: one that does not is taken out of it.
    for (at, login) in opened.logins.into_iter().enumerate() {
        let is_current = at == opened.current;
        let api = shared.api.with(login.credential, from.clone());
        match api.get::<Caller>("/v1/caller").await {
            Ok(caller) => {
                left += 1;
                accounts.push(Account {
                    key: login.key,
                    team: caller.team.clone(),
                    owner: caller.actor.owner.clone().unwrap_or_default(),
                    is_current,
                });
                if is_current {
                    current = Some((api, caller));
                }
            }
            Err(refused) if is_signed_out(&refused) => {
                shared.sessions.drop_login(opened.id, &login.key);
                let notice = Notice::failed(format!(
                    "You are no longer signed in to the team {}",
                    login.team
                ))
                .line("Its key was revoked, has expired, or was disabled.");
                shared.sessions.notify(opened.id, notice);
            }
            Err(refused) if is_current => return outside(&refused, &nonce.0, place.by_script),
            Err(_) => left += 1,
        }
    }
    let Some((api, caller)) = current else {
        return if left == 0 {
            unsigned(request, &place, &nonce.0, "ended").await
        } else {
            place.start()
        };
    };
    let can = can(&caller);
    let team = opened.team.filter(|_| can.operate);
    let visit = Visit {
        now: Moment((shared.clock)()),
        api,
        session: opened.id,
        nonce: nonce.0,
        owner: caller.actor.owner.unwrap_or_default(),
        credential: caller.actor.credential.unwrap_or_default(),
        team: team.unwrap_or_else(|| caller.team.clone()),
        home: caller.team,
        can,
        accounts,
        by_script: place.by_script,
        host: place.host.clone(),
        expires_at: caller.expires_at,
        shared,
    };
    answer(request, next, visit, &place).await
}

/// What the screen of a request answers to somebody who is signed in.
async fn answer(request: Request, next: Next, visit: Visit, place: &Place) -> Response {
    let mut request = match of_this_team(request, &visit).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    request.extensions_mut().insert(visit.clone());
    let mut response = next.run(request).await;
    let Some(Failure(refused)) = response.extensions_mut().remove() else {
        return response;
    };
    if refused.status == StatusCode::UNAUTHORIZED {
        // The key stopped working meanwhile.
        visit
            .shared
            .sessions
            .drop_login(visit.session, &visit.credential);
        return if visit.accounts.len() > 1 {
            place.start()
        } else {
            place.sign_in("ended")
        };
    }
    let shell = Shell::of(&visit, heading(refused.status), Section::None);
    page_with(refused.status, &Problem::new(shell, &refused))
}

fn is_signed_out(refused: &Refused) -> bool {
    matches!(
        refused.status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    )
}

fn can(caller: &Caller) -> Can {
    let has = |right: &str| caller.rights.iter().any(|held| held == right);
    Can {
        manage_own: has("function:admin"),
        create_namespaces: has("function:create"),
        delete_namespaces: has("function:delete"),
        see_team: has("team:read"),
        manage_team: has("team:admin"),
        operate: has("operator"),
    }
}

/// The address of a page without the secrets in its query, if it has any.
fn clean_address(request: &Request) -> Option<String> {
    if request.method() != Method::GET {
        return None;
    }
    let given: Vec<(String, String)> = serde_urlencoded::from_str(request.uri().query()?).ok()?;
    let clean = given
        .iter()
        .map(|(_, value)| without_secrets(value))
        .collect::<Vec<_>>();
    if clean.iter().all(Option::is_none) {
        return None;
    }
    let kept = given
        .iter()
        .zip(&clean)
        .map(|((name, value), clean)| (name.as_str(), clean.as_ref().unwrap_or(value).as_str()));
    Some(format!("{}{}", request.uri().path(), query(kept)))
}

/// Answers somebody who is not signed in, and why the session ended if there was one.
async fn unsigned(request: Request, place: &Place, nonce: &str, why: &str) -> Response {
    if why.is_empty() && place.crosses {
        let again = Again {
            shell: Shell::outside("Keyfob", nonce, false),
            to: place.path.clone(),
        };
        return page(&again);
    }
    if request.method() != Method::POST || place.by_script {
        return place.sign_in(why);
    }
    let action = request.uri().path().to_owned();
    let form = <Form as axum::extract::FromRequest<()>>::from_request(request, &()).await;
    let Ok(Form(fields)) = form else {
        return place.sign_in(why);
    };
    let interrupted = Interrupted {
        shell: Shell::outside("Not sent: sign in first", nonce, false),
        why: match ended(why) {
            "" => "You are not signed in.".to_owned(),
            why => why.to_owned(),
        },
        team: None,
        secret: SECRET_FIELDS.iter().any(|name| fields.has(name)),
        fields,
        action,
    };
    let mut response = page_with(StatusCode::UNAUTHORIZED, &interrupted);
    forget(response.headers_mut());
    response
}

/// Has a browser ask for the same page again, from a page of this site: a link on another site is followed
/// without the cookie.
#[derive(Template)]
#[template(path = "again.html")]
struct Again {
    shell: Shell,
    to: String,
}

/// Lets a form pass if it was begun in the team that is worked in now: the team is of the session, and may
/// have changed since, in another tab or with a new session.
async fn of_this_team(request: Request, visit: &Visit) -> Result<Request, Response> {
    if request.method() != Method::POST {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, BODY_MAX).await;
    let bytes = bytes.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE.into_response())?;
    // A malformed form is refused by the screen.
    let fields = Fields::of(&bytes).unwrap_or_default();
    let team = fields.owned("worked_in");
    if team.is_empty() || team == visit.team {
        return Ok(Request::from_parts(parts, Body::from(bytes)));
    }
    let interrupted = Interrupted {
        shell: Shell::outside(
            "Not sent: this form is of another team",
            &visit.nonce,
            false,
        ),
        why: format!(
            "You began this form in the team {team}, and you work in the team {} now.",
            visit.team
        ),
        team: Some(team),
        secret: SECRET_FIELDS.iter().any(|name| fields.has(name)),
        fields,
        action: parts.uri.path().to_owned(),
    };
    Err(page_with(StatusCode::CONFLICT, &interrupted))
}

/// Keeps what was typed in a form that was sent after the session had ended, or while another team is
/// worked in.
#[derive(Template)]
#[template(path = "interrupted.html")]
struct Interrupted {
    shell: Shell,
    why: String,
    /// The team to go to, if it is another one.
    team: Option<String>,
    action: String,
    fields: Fields,
    /// Whether something was typed that no page repeats.
    secret: bool,
}

impl Interrupted {
    /// Without what confirms a preview: a screen that asks for it shows the preview again.
    fn kept(&self) -> Vec<(&str, &str)> {
        let fields = self.fields.iter();
        fields
            .filter(|(name, _)| !SECRET_FIELDS.contains(name) && !CONFIRMING_FIELDS.contains(name))
            .collect()
    }
}

/// The fields of forms that take the text of a credential.
const SECRET_FIELDS: [&str; 2] = ["credential", "token"];

/// The fields of forms that confirm what a preview showed.
const CONFIRMING_FIELDS: [&str; 2] = ["typed", "previewed"];

/// Why a session ended, in sentences.
pub(crate) fn ended(why: &str) -> &'static str {
    match why {
        "ended" => {
            "Your session has ended: its key was revoked, has expired, or was disabled. Nobody can use the session any more."
        }
        "idle" => {
            "Your session has ended: it was idle for too long, had lasted as long as one may, or the server restarted."
        }
        "out" => "You are signed out.",
        "cookie" => {
            "The key is right, but your browser did not keep the session. It needs HTTPS, or the address http://localhost or http://127.0.0.1 on this machine."
        }
        _ => "",
    }
}

/// Where a request wanted to go.
struct Place {
    path: String,
    host: String,
    by_script: bool,
    /// Whether a link on another site led here.
    crosses: bool,
}

impl Place {
    fn of(request: &Request) -> Self {
        let text = |name: HeaderName| {
            let value = request.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let by_script = request.headers().contains_key(HX_REQUEST);
        let path = request.uri().path_and_query();
        let path = match (request.method(), path) {
            // A part of a page is not gone back to, but the page that it is of.
            (&Method::GET, _) if by_script => path_of(text(HX_CURRENT_URL)),
            (&Method::GET, Some(path)) => path.as_str(),
            _ => "",
        };
        let (site, mode) = (text(SEC_FETCH_SITE), text(SEC_FETCH_MODE));
        Self {
            path: local(path).to_owned(),
            host: text(header::HOST).to_owned(),
            by_script,
            crosses: site == "cross-site" && mode == "navigate" && !local(path).is_empty(),
        }
    }

    /// Goes to the page for signing in, and from there back.
    fn sign_in(&self, why: &str) -> Response {
        let next = if self.path == "/" {
            ""
        } else {
            self.path.as_str()
        };
        let to = format!("/session{}", query([("why", why), ("next", next)]));
        let mut response = self.go(&to);
        if !why.is_empty() {
            forget(response.headers_mut());
        }
        response
    }

    /// Goes to the first page, with another key of the session.
    fn start(&self) -> Response {
        self.go("/")
    }

    fn go(&self, to: &str) -> Response {
        if !self.by_script {
            return Redirect::to(to).into_response();
        }
        let mut response = StatusCode::OK.into_response();
        if let Ok(to) = HeaderValue::from_str(to) {
            response.headers_mut().insert(HX_REDIRECT, to);
        }
        response
    }
}

/// Has the browser forget the session.
pub(crate) fn forget(headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&set_cookie("")) {
        headers.insert(header::SET_COOKIE, value);
    }
}

/// A path of the panel: an address of another host is none.
pub(crate) fn local(path: &str) -> &str {
    let mut characters = path.chars();
    let is_path = characters.next() == Some('/')
        && !matches!(characters.next(), Some('/' | '\\'))
        && path.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if is_path { path } else { "" }
}

/// The path of an address, with its query.
fn path_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..));
    let path = path.unwrap_or_default();
    path.split_once('#').map_or(path, |(path, _)| path)
}

pub(crate) const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_CURRENT_URL: HeaderName = HeaderName::from_static("hx-current-url");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// A page about a failure.
#[derive(Template)]
#[template(path = "problem.html")]
struct Problem {
    shell: Shell,
    message: String,
    request_id: String,
}

impl Problem {
    fn new(shell: Shell, refused: &Refused) -> Self {
        Self {
            shell,
            message: match refused.status {
                StatusCode::TOO_MANY_REQUESTS => {
                    "You have made as many requests as you may in a minute. Wait a minute, and try again."
                        .to_owned()
                }
                _ => sentence(&refused.message),
            },
            request_id: refused.request_id.clone(),
        }
    }
}

/// A page about a failure, for nobody.
pub(crate) fn outside(refused: &Refused, nonce: &str, by_script: bool) -> Response {
    let shell = Shell::outside(heading(refused.status), nonce, by_script);
    page_with(refused.status, &Problem::new(shell, refused))
}

fn heading(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 => "You may not do this",
        404 => "Not found",
        409 => "This is not possible now",
        413 => "This form is too long",
        429 => "Too many requests",
        503 => "Not available now",
        400..500 => "This cannot be done",
        _ => "The server failed",
    }
}
