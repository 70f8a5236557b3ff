//! Who calls: told by a token, by a device's password, by a browser's session, or by being on this machine.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use tinyops_fleet::FleetError;
use tinyops_fleet::access::{Refused, Right, may};
use tinyops_store::access::Role;
use tinyops_store::{DeviceId, Digest};

use crate::app::App;
use crate::login;

/// What HTTP asks of those who come without a token.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Door {
    /// Whoever calls straight from this machine needs none.
    pub is_open_here: bool,
    /// The digest of the admin token file's token.
    pub admin: Option<Digest>,
    /// The server speaks TLS, so cookies are for TLS only.
    pub is_tls: bool,
}

/// A caller who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Someone on this machine.
    Local,
    /// Whoever has the admin token file.
    Admin,
    /// The holder of an access token.
    Token { name: String, role: Role },
    /// A device that showed its password.
    Device(DeviceId),
}

impl Who {
    /// What the audit log calls the caller.
    pub(crate) fn name(&self) -> String {
        match self {
            Who::Local => "local".to_owned(),
            Who::Admin => "admin".to_owned(),
            Who::Token { name, .. } => name.clone(),
            Who::Device(id) => format!("device {id}"),
        }
    }

    /// The role, as people say it.
    pub(crate) fn role(&self) -> &'static str {
        match self {
            Who::Local | Who::Admin => Role::Admin.word(),
            Who::Token { role, .. } => role.word(),
            Who::Device(_) => "device",
        }
    }

    pub(crate) fn may(&self, right: Right) -> bool {
        match self {
            Who::Local | Who::Admin => may(Role::Admin, right),
            Who::Token { role, .. } => may(*role, right),
            Who::Device(_) => false,
        }
    }
}

/// Why a caller is not who it says.
#[derive(Debug)]
pub(crate) enum Denied {
    /// What was shown as a token opens nothing.
    Token(Refused),
    /// What was shown as a device's id and password is not one's.
    Device,
    /// A page of another site made the browser call.
    Foreign,
    /// The store could not be asked.
    Store(FleetError),
}

impl From<FleetError> for Denied {
    fn from(cause: FleetError) -> Denied {
        Denied::Store(cause)
    }
}

/// Who calls; nobody where nothing was shown and the caller is elsewhere.
pub(crate) async fn identify(
    app: &App,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Who>, Denied> {
    let is_change = !method.is_safe();
    if let Some(Shown { text: shown, by }) = shown(headers) {
        // A browser that was once told a password shows it by itself.
        if by == Scheme::Basic && is_change && origin(headers) == Origin::Foreign {
            return Err(Denied::Foreign);
        }
        return match shown.split_once('.') {
            Some((id, password)) => by_password(app, id, password).await.map(Some),
            None => by_token(app, &Digest::of(shown.as_bytes())).await.map(Some),
        };
    }
    if let Some(session) = login::cookie_of(headers)
        && let Some(token) = app.inner().logins.token_of(&session, app.now())
    {
        if is_change && origin(headers) != Origin::Own {
            return Err(Denied::Foreign);
        }
        match by_token(app, &token).await {
            Ok(who) => return Ok(Some(who)),
            Err(Denied::Token(_)) => {} // The session ends with its token.
            Err(denied) => return Err(denied),
        }
    }
    if app.inner().door.is_open_here && is_straight(headers) {
        // A program sends no origin; a browser does, whichever page made it call.
        if is_change && origin(headers) == Origin::Foreign {
            return Err(Denied::Foreign);
        }
        return Ok(Some(Who::Local));
    }
    Ok(None)
}

/// The holder of the token with this digest. Digests are compared, so that the time taken says nothing of the token.
pub(crate) async fn by_token(app: &App, digest: &Digest) -> Result<Who, Denied> {
    if app.inner().door.admin.as_ref() == Some(digest) {
        return Ok(Who::Admin);
    }
    let token = app.fleet().access_token(digest, app.now()).await?;
    let token = token.map_err(Denied::Token)?;
    Ok(Who::Token {
        name: token.name,
        role: token.role,
    })
}

async fn by_password(app: &App, id: &str, password: &str) -> Result<Who, Denied> {
    let id: DeviceId = id.parse().map_err(|_| Denied::Device)?;
    match app.fleet().admit(id, password).await? {
        true => Ok(Who::Device(id)),
        false => Err(Denied::Device),
    }
}

/// How a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bearer,
    /// As the password of a user who may be anyone.
    Basic,
}

/// What is shown as a token.
#[derive(Debug)]
struct Shown {
    text: String,
    by: Scheme,
}

/// Where those that send recordings show a token; no page of another site can make a browser say it.
const API_KEY: header::HeaderName = header::HeaderName::from_static("x-api-key");

fn shown(headers: &HeaderMap) -> Option<Shown> {
    let Some(shown) = headers.get(header::AUTHORIZATION) else {
        let key = headers.get(API_KEY)?;
        return Some(Shown {
            text: key.to_str().unwrap_or_default().trim().to_owned(),
            by: Scheme::Bearer,
        });
    };
    let shown = shown.to_str().ok()?;
    if let Some(token) = shown.strip_prefix("Bearer ") {
        return Some(Shown {
            text: token.trim().to_owned(),
            by: Scheme::Bearer,
        });
    }
    let packed = shown.strip_prefix("Basic ")?.trim();
    let unpacked = base64::engine::general_purpose::STANDARD.decode(packed);
    let text = String::from_utf8(unpacked.ok()?).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(Shown {
        text: password.to_owned(),
        by: Scheme::Basic,
    })
}

/// Where the page is that made a browser call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A page of this server.
    Own,
    /// A page of another site, or one that does not say.
    Foreign,
    /// No browser, as far as one can see.
    Untold,
}

pub(crate) fn origin(headers: &HeaderMap) -> Origin {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site"))
        && site != "same-origin"
        && site != "none"
    {
        return Origin::Foreign;
    }
    let Some(origin) = text(header::ORIGIN) else {
        return Origin::Untold;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    match authority.is_some() && authority == text(header::HOST) {
        true => Origin::Own,
        false => Origin::Foreign,
    }
}

/// Whether a call comes straight from this machine, and was meant for it: neither by way of a proxy that listens
/// elsewhere, nor for a name that somebody's DNS says is this machine.
fn is_straight(headers: &HeaderMap) -> bool {
    let is_forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
        .iter()
        .any(|name| headers.contains_key(*name));
    let is_here = match headers.get(header::HOST).map(|host| host.to_str()) {
        None => true, // HTTP/1.0; no browser speaks it.
        Some(Ok(host)) => is_loopback(host),
        Some(Err(_)) => false,
    };
    is_here && !is_forwarded
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            let name = header::HeaderName::from_static(name);
            (name, header::HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_calls_straight_from_this_machine_are_local() {
        for host in ["127.0.0.1:8420", "localhost", "LOCALHOST:1", "[::1]:8420"] {
            assert!(is_straight(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "evil.example",
            "192.168.0.7:8420",
            "127.0.0.1.evil.example",
            "[fe80::1]",
        ] {
            assert!(!is_straight(&headers(&[("host", host)])), "{host}");
        }
        for name in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
            let forwarded = headers(&[("host", "localhost"), (name, "10.0.0.9")]);
            assert!(!is_straight(&forwarded), "{name}");
        }
    }

    #[test]
    fn origins() {
        let of = |pairs: &[_]| origin(&headers(pairs));
        let host = ("host", "tinyops.lan:8420");
        assert_eq!(of(&[host]), Origin::Untold);
        assert_eq!(
            of(&[host, ("origin", "https://tinyops.lan:8420")]),
            Origin::Own
        );
        assert_eq!(
            of(&[host, ("origin", "https://tinyops.lan")]),
            Origin::Foreign
        );
        assert_eq!(of(&[host, ("origin", "null")]), Origin::Foreign);
        assert_eq!(
            of(&[host, ("sec-fetch-site", "cross-site")]),
            Origin::Foreign
        );
        let both = [
            host,
            ("origin", "https://tinyops.lan:8420"),
            ("sec-fetch-site", "same-site"),
        ];
        assert_eq!(of(&both), Origin::Foreign);
    }
}
