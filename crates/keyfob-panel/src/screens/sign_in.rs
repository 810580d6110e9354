//! Signing in and out.

use std::{sync::Arc, time::Instant};

use askama::Template;
use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use zeroize::Zeroizing;

use crate::{
    client::query,
    form::{Fields, Form, Query},
    frame::{self, Nonce},
    panel::Shared,
    session::{Login, set_cookie},
    shell::{Notice, Shell},
    visit::{Answer, Failure, Visit, ended, forget, local, page, page_with},
    wire::Caller,
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    shell: Shell,
    /// What ended the session before, if one ended.
    ended: &'static str,
    /// Whether signing in has failed for the reason that is told.
    fails: bool,
    fault: String,
    next: String,
    /// Whether the session goes on, with one more key.
    adds: bool,
}

impl SignIn {
    fn new(nonce: &str, fields: &Fields) -> Self {
        Self {
            shell: Shell::outside("Sign in", nonce, false),
            ended: ended(fields.get("why")),
            fails: false,
            fault: String::new(),
            next: local(fields.get("next")).to_owned(),
            adds: fields.has("add"),
        }
    }
}

pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(nonce): Extension<Nonce>,
    headers: HeaderMap,
    Query(fields): Query,
) -> Response {
    let again = fields.has("add") || !fields.get("why").is_empty();
    if !again && shared.sessions.open(&headers, Instant::now()).is_some() {
        let next = local(fields.get("next"));
        return Redirect::to(if next.is_empty() { "/" } else { next }).into_response();
    }
    let mut screen = SignIn::new(&nonce.0, &fields);
    if fields.has("kept") {
        // The session was begun a moment ago, and the browser did not send its cookie.
        screen.ended = ended("cookie");
        screen.fails = true;
    }
    page(&screen)
}

pub(crate) async fn submit(
    State(shared): State<Arc<Shared>>,
    Extension(nonce): Extension<Nonce>,
    request: Request,
) -> Response {
    let (from, headers) = (frame::origin(&request), request.headers().clone());
    let form = <Form as axum::extract::FromRequest<()>>::from_request(request, &()).await;
    let fields = match form {
        Ok(Form(fields)) => fields,
        Err(response) => return response,
    };
    let credential = Zeroizing::new(fields.owned("credential"));
    let mut screen = SignIn::new(&nonce.0, &fields);
    if credential.is_empty() {
        "Enter a control key.".clone_into(&mut screen.fault);
        return page_with(StatusCode::UNPROCESSABLE_ENTITY, &screen);
    }
    let api = shared.api.with(credential.clone(), from);
    let caller = match api.get::<Caller>("/v1/caller").await {
        Ok(caller) => caller,
        Err(refused) => {
            let fault = match refused.status.as_u16() {
                403 => {
                    "This key works, but it does not open the control plane. Ask an administrator of your team for a control key."
                }
                429 => {
                    "Too many requests with this key, or too many failed attempts from your network. Wait a minute, and try again."
                }
                503 => "The control plane is not available now. Try again in a moment.",
                _ => {
                    "This is not a valid control key. It may have expired or been revoked, or a part of it is missing."
                }
            };
            fault.clone_into(&mut screen.fault);
            return page_with(refused.status, &screen);
        }
    };
    let login = Login {
        credential,
        key: caller.actor.credential.unwrap_or_default(),
        team: caller.team,
    };
    let begun = if screen.adds {
        shared.sessions.add(&headers, login, Instant::now())
    } else {
        // A session that the browser had is not another one's way in.
        shared.sessions.end_of(&headers);
        shared.sessions.begin(login, Instant::now())
    };
    let Some(value) = begun else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    shared.sessions.watch();
    // The page for signing in again, which goes on if the browser kept the cookie and else says why not.
    let next = query([("next", local(fields.get("next")))]);
    let to = format!("/session?kept{}", next.replace('?', "&"));
    let mut response = Redirect::to(&to).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&set_cookie(&value)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Has the session work with another of its keys.
pub(crate) async fn choose(visit: Visit, Form(fields): Form) -> Answer {
    let chosen = visit
        .shared
        .sessions
        .choose(visit.session, fields.get("key"));
    let team = chosen.ok_or_else(Failure::not_found)?;
    Ok(visit.done(
        "/",
        Notice::done(format!("You work in the team {team} now")),
    ))
}

pub(crate) async fn end(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.sessions.end_of(&headers);
    let mut response = Redirect::to("/session?why=out").into_response();
    forget(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_on_this_host() {
        for good in ["/keys", "/keys?q=a%20b", "/"] {
            assert_eq!(local(good), good);
        }
        for bad in [
            "",
            "keys",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "/keys\r\nset-cookie: a=b",
            "javascript:alert(1)",
        ] {
            assert_eq!(local(bad), "", "{bad:?}");
        }
    }
}
