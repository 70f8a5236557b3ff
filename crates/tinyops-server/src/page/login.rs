//! Who is looking: the guard in front of the pages, and the form that takes a token for a cookie.

use axum::Form;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tinyops_fleet::FleetError;
use tinyops_fleet::access::{Refused, Right};
use tinyops_store::{Digest, audit};
use tracing::warn;

use super::{Page, PageError, Place, part};
use crate::access::{Denied, Origin, Who, by_token, identify, origin};
use crate::app::App;
use crate::login::{cookie_of, form_word, set_cookie};

/// Lets those see the pages who may; sends the others to the login.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    match identify(&app, request.method(), request.headers()).await {
        Ok(Some(who)) if who.may(Right::Read) => next.run(request).await,
        Ok(Some(who)) => may_not(&who, "see the pages").into_response(),
        Err(Denied::Store(cause)) => PageError::Store(cause).into_response(),
        Ok(None) | Err(_) => {
            let path = request.uri().path_and_query();
            let path = path.map_or("/", |path| path.as_str());
            Redirect::to(&format!("/login?next={}", escaped(path))).into_response()
        }
    }
}

pub(super) fn may_not(who: &Who, what: &str) -> PageError {
    PageError::Denied(format!("`{}` ({}) may not {what}", who.name(), who.role()))
}

/// Where to go after the login.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Onward {
    #[serde(default)]
    next: String,
}

pub(super) async fn show(
    State(app): State<App>,
    Query(Onward { next }): Query<Onward>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    match identify(&app, &Method::GET, &headers).await {
        Ok(Some(who)) => Ok(known(&app, &who, &headers)),
        Err(Denied::Store(cause)) => Err(PageError::Store(cause)),
        Ok(None) | Err(_) => Ok(form(&app, &next, None)),
    }
}

/// What the form brings.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    token: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn enter(
    State(app): State<App>,
    headers: HeaderMap,
    Form(Shown { token, next }): Form<Shown>,
) -> Result<Response, PageError> {
    if origin(&headers) == Origin::Foreign {
        return Err(PageError::Denied(
            "A page of another site may not log in".to_owned(),
        ));
    }
    let digest = Digest::of(token.trim().as_bytes());
    let who = match by_token(&app, &digest).await {
        Ok(who) => who,
        Err(Denied::Store(cause)) => return Err(PageError::Store(cause)),
        Err(denied) => {
            let why = match denied {
                Denied::Token(Refused::Revoked) => "This token is revoked.",
                Denied::Token(Refused::Expired) => "This token's time is over.",
                _ => "This token was not made here.",
            };
            warn!(why, "a login was refused");
            let mut response = form(&app, &next, Some(why));
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(response);
        }
    };
    if !who.may(Right::Read) {
        return Err(may_not(&who, "see the pages"));
    }
    note(&app, &who, "session.open").await?;
    let session = app.inner().logins.open(digest, app.now());
    let next = if is_own_path(&next) {
        next
    } else {
        "/".to_owned()
    };
    Ok(with_cookie(&app, Some(&session), Redirect::to(&next)))
}

/// What the form to sign out brings.
#[derive(Debug, Deserialize)]
pub(super) struct Leaving {
    word: String,
}

pub(super) async fn leave(
    State(app): State<App>,
    headers: HeaderMap,
    Form(Leaving { word }): Form<Leaving>,
) -> Result<Response, PageError> {
    let Some(session) = cookie_of(&headers) else {
        return Ok(Redirect::to("/login").into_response());
    };
    let is_own = Digest::of(word.as_bytes()) == Digest::of(form_word(&session).as_bytes());
    if !is_own || origin(&headers) == Origin::Foreign {
        return Err(PageError::Denied(
            "A page of another site may not sign out".to_owned(),
        ));
    }
    if let Some(token) = app.inner().logins.token_of(&session, app.now()) {
        if let Ok(who) = by_token(&app, &token).await {
            note(&app, &who, "session.close").await?;
        }
        app.inner().logins.close(&session);
    }
    Ok(with_cookie(&app, None, Redirect::to("/login")))
}

async fn note(app: &App, who: &Who, action: &str) -> Result<(), FleetError> {
    let tx = app.db().begin_audited(action_name(action)).await?;
    let detail = serde_json::json!({ "role": who.role() });
    audit::add(&tx, app.now(), &who.name(), action, "pages", &detail).await?;
    Ok(tx.commit().await?)
}

fn action_name(action: &str) -> &'static str {
    match action {
        "session.open" => "open a session",
        _ => "close a session",
    }
}

fn with_cookie(app: &App, session: Option<&str>, to: impl IntoResponse) -> Response {
    let mut response = to.into_response();
    let cookie = set_cookie(session, app.inner().door.is_tls);
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn form(app: &App, next: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        section.card {
            @if let Some(wrong) = wrong { p { (part::pill("refused", crate::chart::Tone::Bad)) " " (wrong) } }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                label for="token" { "Token " }
                input type="password" id="token" name="token" autocomplete="current-password" size="48" required autofocus;
                " "
                button type="submit" { "Sign in" }
            }
        }
    };
    framed(
        app,
        "Sign in",
        html! { "Show a token once; " code { "tinyops tokens make NAME --role viewer" } " makes one." },
        body,
    )
}

fn known(app: &App, who: &Who, headers: &HeaderMap) -> Response {
    let body = html! {
        section.card {
            dl.facts {
                dt { "name" } dd { (who.name()) }
                dt { "role" } dd { (who.role()) }
            }
            @if let Some(session) = cookie_of(headers) {
                form method="post" action="/logout" {
                    input type="hidden" name="word" value=(form_word(&session));
                    button type="submit" { "Sign out" }
                }
            }
        }
    };
    framed(
        app,
        "You",
        html! { "What the audit log calls you, and what you may do." },
        body,
    )
}

fn framed(app: &App, title: &str, lead: Markup, body: Markup) -> Response {
    Page {
        place: Place::Login,
        title: title.to_owned(),
        lead,
        body,
    }
    .framed(app)
}

/// Whether a text is a path of this server, and not an address elsewhere.
fn is_own_path(text: &str) -> bool {
    text.starts_with('/')
        && !text.starts_with("//")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// A path as the value of a query (RFC 3986, section 2.1).
fn escaped(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_follow_a_login() {
        for path in ["/", "/devices?after=1", "/rollouts/3"] {
            assert!(is_own_path(path), "{path}");
        }
        for path in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nb",
        ] {
            assert!(!is_own_path(path), "{path:?}");
        }
        assert_eq!(escaped("/a?b=c&d"), "/a%3Fb%3Dc%26d");
    }
}
