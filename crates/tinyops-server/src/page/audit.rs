//! The audit log: who changed what.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use tinyops_store::audit::{self, Entry};
use tinyops_store::{Json, Timestamp};

use super::{Page, PageError, Place, part};
use crate::app::App;

/// Entries shown; the command line exports them all.
const ROWS_MAX: u32 = 200;

pub(super) async fn show(State(app): State<App>) -> Result<Response, PageError> {
    let entries = audit::list(app.db(), ROWS_MAX).await?;
    let head = entries
        .first()
        .and_then(|entry| Some((entry.id, entry.digest?)));
    let body = html! {
        section.card {
            @if entries.is_empty() {
                (part::empty(html! { "Nothing was changed yet." }))
            } @else {
                (table(&entries, app.now()))
            }
        }
        @if let Some((id, digest)) = head {
            p.muted { "The last entry is " code { (id) ":" (digest) } ". Noted down elsewhere, it lets "
                code { "tinyops audit verify --known" } " find a log that was cut or written anew." }
        }
    };
    Ok(Page {
        place: Place::Audit,
        title: "Audit".to_owned(),
        lead: html! { "Who changed what, newest first. Entries cannot be changed or removed, and each covers all before it." },
        body,
    }
    .framed(&app))
}

fn table(entries: &[Entry], now: Timestamp) -> Markup {
    html! {
        div.tablewrap { table {
            thead { tr { th.num { "entry" } th { "when" } th { "who" } th { "did" } th { "to" } th { "with" } } }
            @for entry in entries {
                tr {
                    td.num { (entry.id) }
                    td { (part::ago(entry.at, now)) }
                    td { (entry.actor) }
                    td { code { (entry.action) } }
                    td { (entry.subject) }
                    td.wide.muted { (said(&entry.detail)) }
                }
            }
        } }
    }
}

/// The figures of an entry on one line.
fn said(detail: &Json) -> String {
    let fields = detail.as_object().into_iter().flatten();
    let words = fields
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let name = name.replace('_', " ");
            match value.as_str() {
                Some(text) => format!("{name} {text}"),
                None => format!("{name} {value}"),
            }
        });
    words.collect::<Vec<_>>().join(", ")
}
