//! Labels that are likely wrong: what a recording looks like, what it is called, what the project's own model says, and
//! the forms by which a person decides.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tinyops_pipeline::labelling::{
    self, Decided, Decision, Issue, IssueList, LabellingError, Said, Standing,
};
use tinyops_pipeline::{Workshop, one_recording};
use tinyops_store::Timestamp;
use tokio::sync::Semaphore;
use tracing::warn;

use super::hand::{self, Hand};
use super::part;
use super::{Page, PageError, Place};
use crate::app::{App, Look};
use crate::chart::{Tone, Wave, number};

/// Issues of a page.
const PAGE: usize = 20;
/// Decisions that are shown, the newest first.
const DECIDED_MAX: usize = 50;
/// Models that are trained where the page asks for a new look, as `tinyops data label issues` does.
const FOLDS: usize = 5;
/// Characters of a reason at most.
const WHY_MAX: usize = 500;
/// Recordings that are read for their pictures at once.
static PICTURES: Semaphore = Semaphore::const_new(2);

/// Which part of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    offset: usize,
}

async fn standing(app: &App) -> Result<Option<Standing>, PageError> {
    let root = app.workshop().root.clone();
    on_disk(move || labelling::standing(&root)).await
}

async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, LabellingError> + Send + 'static,
) -> Result<T, PageError> {
    let done = tokio::task::spawn_blocking(act).await;
    let done = done.map_err(|cause| {
        warn!(%cause, "work on labels broke off");
        PageError::Broken("Labels cannot be read or written just now".to_owned())
    })?;
    done.map_err(|error| match error {
        LabellingError::NoIssue { number, .. } => PageError::Missing(format!("Issue {number}")),
        LabellingError::History(why) => {
            PageError::Broken(format!("The history of labels cannot be read: {why}"))
        }
        LabellingError::Decided { number, who } => {
            PageError::Refused(format!("{who} has decided issue {number} already"))
        }
        LabellingError::Undone => PageError::Refused("That does not hold any more".to_owned()),
        LabellingError::NoList | LabellingError::OtherList => {
            PageError::Refused("The list is another one by now".to_owned())
        }
        error => {
            let cause: &dyn std::error::Error = &error;
            warn!(error = cause, "labels cannot be read or written");
            PageError::Broken("Labels cannot be read or written just now".to_owned())
        }
    })
}

pub(super) async fn show(
    State(app): State<App>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let hand = Hand::of(&app, &headers).await?;
    let standing = standing(&app).await?;
    let body = match &standing {
        None => html! {
            section.card {
                (part::empty(html! {
                    "Nobody has looked yet. " code { "tinyops data label issues" } " looks, and so does the button."
                }))
                (look_again(&app, hand.as_ref()))
            }
        },
        Some(standing) => listed(&app, standing, hand.as_ref(), asked.offset),
    };
    Ok(Page {
        place: Place::Labels,
        title: "Doubted labels".to_owned(),
        lead: html! {
            "What a recording is called, and the project's own model, trained without it, does not believe. Look, and decide: "
            "who, when and why go into " code { "labels.tsv" } "."
        },
        body,
    }
    .framed(&app))
}

fn listed(app: &App, standing: &Standing, hand: Option<&Hand>, offset: usize) -> Markup {
    let Standing {
        list,
        open,
        decided,
    } = standing;
    let first = match offset < open.len() {
        true => offset,
        // The last of a page was decided.
        false => open.len().saturating_sub(1) / PAGE * PAGE,
    };
    let shown = open.iter().skip(first).take(PAGE);
    let kept = decided.iter().filter(|decided| decided.is_kept).count();
    html! {
        div.tiles {
            (part::tile(None, "To look at", html! { (open.len()) }, html! { "of " (list.issues.len()) " doubted" },
                (!open.is_empty()).then_some(Tone::Warn)))
            (part::tile(None, "Changed", html! { (decided.len() - kept) }, html! { "another label now" }, None))
            (part::tile(None, "Kept", html! { (kept) }, html! { "right, and not asked again" }, None))
            (part::tile(None, "Looked", part::ago(Timestamp(list.at_ms), app.now()),
                html! { (number(list.windows as f64)) " windows, " (list.folds) " models" }, None))
        }
        div.grid {
            section.card {
                div.head { h2 { "To look at" } (look_again(app, hand)) }
                @if open.is_empty() {
                    (part::empty(html! {
                        @if list.issues.is_empty() { "No label is likely wrong." } @else { "All of them are decided. The next run trains with that." }
                    }))
                }
                @for issue in shown { (doubt(list, issue, hand, first)) }
                (pages(open.len(), first))
            }
            @if !decided.is_empty() { (part::card("", "Decided", None, table(list, decided, hand, first))) }
        }
    }
}

fn pages(count: usize, first: usize) -> Markup {
    let last = (first + PAGE).min(count);
    let link = |offset: usize| format!("/labels?offset={offset}");
    html! {
        @if count > PAGE {
            p.muted {
                (first + 1) " to " (last) " of " (count) " "
                @if first > 0 { a href=(link(first.saturating_sub(PAGE))) { "back" } " " }
                @if last < count { a href=(link(last)) { "on" } }
            }
        }
    }
}

/// One label, what it looks like, and what may be said of it.
fn doubt(list: &IssueList, issue: &Issue, hand: Option<&Hand>, offset: usize) -> Markup {
    let number = issue.issue;
    let picture = format!("/labels/{number}/picture?at={}", list.at_ms);
    html! {
        article.doubt id=(format!("issue-{number}")) {
            a href=(picture) {
                img src=(picture) loading="lazy" width="640" height="200" alt=(format!("Readings of {}", issue.recording));
            }
            div {
                div.title { span.muted { "#" (number) } " " strong { (issue.recording) } }
                div.muted {
                    (meant(issue)) ", " (issue.windows) @if issue.windows == 1 { " window says so" } @else { " windows say so" }
                }
                div.is {
                    (part::pill(&issue.label, Tone::Quiet)) " is its label, "
                    (part::pill(&issue.likely, Tone::Warn)) " is likely"
                }
                (credible(issue.score))
                @if let Some(hand) = hand {
                    (form(list, number, hand, offset, html! {
                        input type="text" name="why" maxlength=(WHY_MAX) placeholder="why" aria-label=(format!("Why, for issue {number}"));
                        div.buttons {
                            button.main type="submit" name="say" value="accept" { "It is " (issue.likely) }
                            button type="submit" name="say" value="reject" { (issue.label) " is right" }
                        }
                    }))
                }
            }
        }
    }
}

/// A bar from 0, for a label that cannot be, to 1.
fn credible(score: f64) -> Markup {
    let share = (100.0 * score).clamp(1.0, 100.0);
    html! {
        div.credible title="The normalized margin: 0 for a label that cannot be, 1 for one that is sure" {
            span.track { span style=(format!("width:{share:.0}%")) {} }
            span.muted { "credible " (format!("{score:.2}")) }
        }
    }
}

fn meant(issue: &Issue) -> String {
    match issue.is_whole {
        true => "all of it".to_owned(),
        false => format!("readings {} to {}", issue.readings[0], issue.readings[1]),
    }
}

fn form(list: &IssueList, number: usize, hand: &Hand, offset: usize, inside: Markup) -> Markup {
    html! {
        form.say method="post" action=(format!("/labels/{number}")) {
            (hand.field())
            input type="hidden" name="at" value=(list.at_ms);
            input type="hidden" name="offset" value=(offset);
            (inside)
        }
    }
}

fn table(list: &IssueList, decided: &[Decided], hand: Option<&Hand>, offset: usize) -> Markup {
    html! {
        div.tablewrap { table {
            thead { tr {
                th { "issue" } th { "recording" } th { "was" } th { "is" } th { "who" } th { "when (UTC)" } th { "why" }
                @if hand.is_some() { th {} }
            } }
            @for of in decided.iter().take(DECIDED_MAX) {
                tr {
                    td { "#" (of.issue.issue) }
                    td { (of.issue.recording) @if !of.issue.is_whole { div.muted { (meant(&of.issue)) } } }
                    td { (of.issue.label) }
                    td { (is_now(of)) }
                    td { (of.who) }
                    td { (of.at.get(..19).unwrap_or(&of.at).replace('T', " ")) }
                    td.wide { (of.why) }
                    @if let Some(hand) = hand {
                        td { (form(list, of.issue.issue, hand, offset, html! {
                            input type="hidden" name="entry" value=(of.entry);
                            button type="submit" name="say" value="undo" { "Take back" }
                        })) }
                    }
                }
            }
        } }
    }
}

fn is_now(of: &Decided) -> Markup {
    match (of.is_kept, of.label.as_str()) {
        (true, label) => html! { (part::pill(label, Tone::Quiet)) " " span.muted { "right" } },
        (_, "") => part::pill("none", Tone::Good),
        (_, label) => part::pill(label, Tone::Good),
    }
}

/// How a look goes, and the button that begins one.
fn look_again(app: &App, hand: Option<&Hand>) -> Markup {
    let look = app.inner().looks.now();
    html! {
        div.look {
            @match &look {
                Look::Going { done, all } => span.muted { "looking: " (done) " of " (all) " models" },
                Look::Failed(why) => span.bad { (why) },
                Look::None => {},
            }
            @if let (Some(hand), false) = (hand, matches!(look, Look::Going { .. })) {
                form.say method="post" action="/labels" { (hand.field()) button type="submit" { "Look again" } }
            }
        }
    }
}

/// What a form brings that asks for a new look.
#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    word: String,
}

/// Begins a look, unless one goes on.
pub(super) async fn look(
    State(app): State<App>,
    headers: HeaderMap,
    Form(wish): Form<Wish>,
) -> Result<Response, PageError> {
    hand::of_form(&app, &headers, &wish.word, "look for wrong labels").await?;
    if app.inner().looks.begin(FOLDS) {
        tokio::spawn(async move {
            let told = app.clone();
            let tell = move |done, all| told.inner().looks.tell(done, all);
            let found = labelling::look(app.workshop(), FOLDS, tell).await;
            app.inner()
                .looks
                .end(found.err().map(|error| error.to_string()));
        });
    }
    Ok(Redirect::to("/labels").into_response())
}

/// What a form brings that decides.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    word: String,
    say: String,
    /// Of which list the number is.
    at: i64,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    why: String,
    /// The entry that is taken back.
    #[serde(default)]
    entry: String,
}

/// Adds what a form says to the history, and goes back to the list.
pub(super) async fn say(
    State(app): State<App>,
    Path(number): Path<usize>,
    headers: HeaderMap,
    Form(told): Form<Told>,
) -> Result<Response, PageError> {
    let who = hand::of_form(&app, &headers, &told.word, "change labels").await?;
    let refused = |why: &str| Err(PageError::Refused(why.to_owned()));
    if told.why.chars().count() > WHY_MAX {
        return refused("A reason has at most 500 characters");
    }
    let decision = match told.say.as_str() {
        "accept" => Some(Decision::Accept),
        "reject" => Some(Decision::Reject),
        "undo" => None,
        _ => return refused("An issue can be accepted, rejected or taken back"),
    };
    let (root, at, who) = (app.workshop().root.clone(), app.now(), who.name());
    let Told {
        at: list_ms,
        why,
        entry,
        offset,
        ..
    } = told;
    // The entry of the audit log first, and the transaction ends last: it tells of nothing that was not said.
    let tx = app.db().begin_audited("decide on a label").await?;
    let actor = who.clone();
    let told = on_disk(move || {
        let said = Said {
            who: &who,
            why: why.trim(),
            at,
        };
        match decision {
            Some(decision) => labelling::decide(&root, list_ms, &[number], decision, &said),
            None => labelling::take_back(&root, list_ms, number, &entry, &said),
        }
    })
    .await?;
    labelling::note(&tx, at, &actor, &told).await?;
    tx.commit().await?;
    Ok(Redirect::to(&format!("/labels?offset={offset}")).into_response())
}

/// Of which list the number of an issue is.
#[derive(Debug, Deserialize)]
pub(super) struct OfList {
    at: i64,
}

/// What the recording of an issue looks like.
pub(super) async fn picture(
    State(app): State<App>,
    Path(number): Path<usize>,
    Query(OfList { at }): Query<OfList>,
) -> Result<Response, PageError> {
    let missing = || PageError::Missing(format!("The picture of issue {number}"));
    let root = app.workshop().root.clone();
    // After a new look the number stands for another recording.
    let issue = match on_disk(move || labelling::issue(&root, at, number)).await {
        Err(PageError::Refused(_)) => return Err(missing()),
        issue => issue?,
    };
    let workshop = app.workshop().clone();
    let turn = PICTURES.acquire().await;
    // The turn goes along: drawing goes on where nobody waits for it any more.
    let drawing = move || {
        let _turn = turn;
        drawn(&workshop, &issue)
    };
    let drawn = tokio::task::spawn_blocking(drawing).await;
    let svg = drawn.ok().flatten().ok_or_else(missing)?;
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "private, max-age=600"),
    ];
    Ok((headers, svg).into_response())
}

fn drawn(workshop: &Workshop, issue: &Issue) -> Option<String> {
    let data = &workshop.project.data;
    let found = one_recording(&workshop.root, data, &issue.file, &issue.recording);
    let sample = found.ok()??;
    let channels = sample.channels.iter();
    let wave = Wave {
        channels: channels
            .map(|channel| (channel.name.as_str(), channel.unit.as_str()))
            .collect(),
        readings: &sample.readings,
        rate_hz: sample.rate_hz.into(),
        marked: (!issue.is_whole).then(|| issue.readings[0]..issue.readings[1]),
        image: sample
            .image
            .map(|size| (size.height.into(), size.width.into())),
    };
    Some(wave.draw())
}
