//! Sessions of browsers: a cookie with a random number stands for a token that was shown once.
//!
//! They live in memory: a restart ends them all, and a session opens no more than its token does now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, header};
use tinyops_fleet::enrol::Entropy;
use tinyops_store::{Digest, Timestamp};

use crate::text::hex;

/// The cookie's name.
pub(crate) const COOKIE: &str = "tinyops_session";
/// How long a session lasts.
const LASTS_S: i64 = 12 * 3600;
/// Sessions at once; the one that ends first gives way.
const SESSIONS_MAX: usize = 1024;

/// The sessions that are open, by the digests of their numbers.
#[derive(Default)]
pub(crate) struct Logins(Mutex<HashMap<Digest, Login>>);

#[derive(Clone, Copy)]
struct Login {
    token: Digest,
    until: Timestamp,
}

impl Logins {
    /// Opens a session for a token; what is returned goes into the cookie.
    pub(crate) fn open(&self, token: Digest, now: Timestamp) -> String {
        let number = Entropy::from_system().0;
        let session = hex(&number);
        let mut logins = self.lock();
        logins.retain(|_, login| login.until > now);
        if logins.len() >= SESSIONS_MAX
            && let Some(first) = logins.iter().min_by_key(|(_, login)| login.until)
        {
            let first = *first.0;
            logins.remove(&first);
        }
        let until = now.plus_ms(LASTS_S * 1000);
        logins.insert(Digest::of(session.as_bytes()), Login { token, until });
        session
    }

    /// The token that a session stands for, while it lasts.
    pub(crate) fn token_of(&self, session: &str, now: Timestamp) -> Option<Digest> {
        let login = *self.lock().get(&Digest::of(session.as_bytes()))?;
        (login.until > now).then_some(login.token)
    }

    pub(crate) fn close(&self, session: &str) {
        self.lock().remove(&Digest::of(session.as_bytes()));
    }

    /// A poisoned lock guards nothing half-changed here: every critical section is one look-up or insertion.
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Login>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word that forms of a session carry: it follows from the cookie, which other sites cannot read.
pub(crate) fn form_word(session: &str) -> String {
    Digest::of(format!("tinyops form {session}").as_bytes()).to_string()
}

/// The session that a browser shows.
pub(crate) fn cookie_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == COOKIE).then(|| value.to_owned())
        })
}

/// What `Set-Cookie` says to begin a session; without one, to end it.
pub(crate) fn set_cookie(session: Option<&str>, is_tls: bool) -> String {
    let secure = if is_tls { "; Secure" } else { "" };
    let (value, lasts_s) = session.map_or(("", 0), |session| (session, LASTS_S));
    format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts_s}{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_itself_and_when_it_is_closed() {
        let logins = Logins::default();
        let (token, now) = (Digest::of(b"token"), Timestamp(1_000));
        let (one, two) = (logins.open(token, now), logins.open(token, now));
        assert_ne!(one, two);
        assert_eq!(logins.token_of(&one, now), Some(token));
        logins.close(&one);
        assert_eq!(logins.token_of(&one, now), None);
        assert_eq!(
            logins.token_of(&two, now.plus_ms(LASTS_S * 1000 - 1)),
            Some(token)
        );
        assert_eq!(logins.token_of(&two, now.plus_ms(LASTS_S * 1000)), None);
    }

    #[test]
    fn sessions_are_bounded() {
        let logins = Logins::default();
        let first = logins.open(Digest::of(b"token"), Timestamp(0));
        for at in 1..=SESSIONS_MAX as i64 {
            logins.open(Digest::of(b"token"), Timestamp(at));
        }
        assert_eq!(logins.lock().len(), SESSIONS_MAX);
        assert_eq!(logins.token_of(&first, Timestamp(2_000)), None);
    }
}
