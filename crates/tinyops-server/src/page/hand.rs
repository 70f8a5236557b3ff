//! Forms of our own pages: who may send them, and proof that they were.

use axum::http::{HeaderMap, Method};
use maud::{Markup, html};
use tinyops_fleet::access::Right;
use tinyops_store::Digest;

use super::{PageError, login};
use crate::access::{Denied, Origin, Who, identify, origin};
use crate::app::App;
use crate::login::{cookie_of, form_word};

/// Proof that a form comes from a page of ours, for those who may say something there.
pub(super) struct Hand {
    word: String,
}

impl Hand {
    /// The hand of whoever looks; none if they may only look.
    pub(super) async fn of(app: &App, headers: &HeaderMap) -> Result<Option<Hand>, PageError> {
        let who = match identify(app, &Method::GET, headers).await {
            Ok(who) => who,
            Err(Denied::Store(cause)) => return Err(PageError::Store(cause)),
            Err(_) => None,
        };
        let may = who.is_some_and(|who| who.may(Right::Operate));
        Ok(may.then(|| Hand {
            word: word_of(headers),
        }))
    }

    /// What every form has in it.
    pub(super) fn field(&self) -> Markup {
        html! { input type="hidden" name="word" value=(self.word); }
    }
}

/// What a form of this browser carries: of its session, where it has one. On a machine that asks nobody who they are
/// there is none, and the origin of the call is what counts.
fn word_of(headers: &HeaderMap) -> String {
    cookie_of(headers).map_or_else(String::new, |session| form_word(&session))
}

/// Who sent a form of ours; `what` is what it asks for.
pub(super) async fn of_form(
    app: &App,
    headers: &HeaderMap,
    word: &str,
    what: &str,
) -> Result<Who, PageError> {
    let foreign = || PageError::Denied(format!("A page of another site may not {what}"));
    let who = match identify(app, &Method::POST, headers).await {
        Ok(Some(who)) => who,
        Err(Denied::Store(cause)) => return Err(PageError::Store(cause)),
        Ok(None) | Err(_) => return Err(foreign()),
    };
    let is_own = Digest::of(word.as_bytes()) == Digest::of(word_of(headers).as_bytes());
    if !is_own || origin(headers) == Origin::Foreign {
        return Err(foreign());
    }
    match who.may(Right::Operate) {
        true => Ok(who),
        false => Err(login::may_not(&who, what)),
    }
}
