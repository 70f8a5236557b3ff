//! Repairs: what the loop does about a drift, from the cheapest to the dearest, step by step.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use tinyops_fleet::FleetError;
use tinyops_fleet::ladder::{Ladder, Step};
use tinyops_fleet::repair::details;
use tinyops_store::Timestamp;
use tinyops_store::repair::{self, Repair, RepairId};

use super::part::{self, Names};
use super::{Page, PageError, Place};
use crate::api::{UNREADABLE, unreadable};
use crate::app::App;
use crate::civil::{self, Moment};
use crate::text::Text;

/// Repairs in the table.
const ROWS_MAX: u32 = 10;

pub(super) async fn show(
    State(app): State<App>,
    Path(Text(id)): Path<Text<RepairId>>,
) -> Result<Response, PageError> {
    let repair = repair::get(app.db(), id).await?;
    let repair = repair.ok_or_else(|| PageError::Missing(format!("Repair {id}")))?;
    let names = Names::load(app.db()).await?;
    let ladder = match details(&repair) {
        Ok(ladder) => ladder,
        Err(error) => return Ok(foreign(&app, &names, &repair, &error)),
    };
    let bytes = html! { (ladder.device_bytes) " B" };
    let budget = app.fleet().policy.repair.device_bytes_max;
    let body = html! {
        div.tiles {
            (part::tile(None, "Drifted", names.link(Some(repair.model)), html! { "what the devices ran" }, None))
            (part::tile(None, "It is", html! { (state(&ladder)) }, html! { (ladder.state_words()) }, None))
            (part::tile(None, "Asked", share(ladder.target), html! { "share of windows that it is to be right about" }, None))
            (part::tile(None, "Sent", bytes, html! { "by a device, of at most " (budget) " in 30 days" }, None))
        }
        div.grid {
            (part::card("w8", "What happened", None, story(&ladder.steps, repair.opened_at)))
            (part::card("w4", "Kept", None, kept(&repair, &ladder)))
        }
    };
    Ok(Page {
        place: Place::Drift,
        title: format!("Repair {id}"),
        lead: html! { (ladder.why) ", " (part::ago(repair.opened_at, app.now())) "." },
        body,
    }
    .framed(&app))
}

/// One whose record cannot be read: what is known of it, and how it is ended.
fn foreign(app: &App, names: &Names, repair: &Repair, error: &FleetError) -> Response {
    let id = repair.id;
    let body = html! {
        div.tiles {
            (part::tile(None, "Drifted", names.link(Some(repair.model)), html! { "what the devices ran" }, None))
            (part::tile(None, "It is", html! { (UNREADABLE) }, html! { (unreadable(repair, error)) }, None))
        }
        @if repair.is_open {
            p { code { "tinyops repairs end " (id) " --why …" } " ends it; what it has sent out stays." }
        }
    };
    Page {
        place: Place::Drift,
        title: format!("Repair {id}"),
        lead: html! { "Its record cannot be read, " (part::ago(repair.opened_at, app.now())) "." },
        body,
    }
    .framed(app)
}

/// The newest repairs, each a line.
pub(super) async fn table(app: &App, names: &Names, now: Timestamp) -> Result<Markup, PageError> {
    let repairs = repair::list(app.db(), ROWS_MAX).await?;
    if repairs.is_empty() {
        return Ok(part::empty(
            html! { "No alert has called for a repair that the project allows." },
        ));
    }
    let rows = repairs.iter().map(|repair| (repair, details(repair)));
    Ok(html! {
        div.tablewrap { table {
            thead { tr {
                th { "repair" } th { "drifted" } th { "because" } th { "level" } th { "it is" } th.num { "bytes a device" } th { "began" }
            } }
            @for (repair, ladder) in rows {
                tr {
                    td { a href=(format!("/repairs/{}", repair.id)) { "#" (repair.id) } }
                    td { (names.link(Some(repair.model))) }
                    @match ladder {
                        Ok(ladder) => {
                            td { (ladder.why) }
                            td { @match ladder.rung() { Some(rung) => { (rung.level()) ", " (rung.words()) } None => { "–" } } }
                            td { (state(&ladder)) }
                            td.num { (ladder.device_bytes) }
                        }
                        Err(error) => {
                            td { (error) }
                            td { "–" }
                            td { (UNREADABLE) }
                            td.num { "–" }
                        }
                    }
                    td { (part::ago(repair.opened_at, now)) }
                }
            }
        } }
    })
}

fn state(ladder: &Ladder) -> &'static str {
    ladder.end().map_or("open", |end| end.word())
}

fn share(of: Option<f64>) -> Markup {
    match of {
        Some(share) => html! { (part::percent(share)) },
        None => html! { "–" },
    }
}

fn kept(repair: &Repair, ladder: &Ladder) -> Markup {
    html! {
        dl.facts {
            @for (rung, version) in &ladder.kept {
                dt { "level " (rung.level()) } dd { (part::model_link(&repair.name, *version)) }
            }
            @if ladder.kept.is_empty() { dt { "version" } dd { "none" } }
            dt { "right about" } dd { (share(ladder.best)) }
        }
    }
}

/// The steps, with the time since it began.
fn story(steps: &[Step], began: Timestamp) -> Markup {
    html! {
        ol.story {
            @for step in steps {
                li {
                    time title=(Moment::of_ms(step.at_ms).full()) { "+" (civil::duration(step.at_ms - began.0)) }
                    span { @if let Some(rung) = step.rung { "level " (rung.level()) ": " } (step.what) }
                }
            }
        }
    }
}
