//! Models: versions, figures, boards they fit, and where they came from.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use tinyops_pipeline::promotion::{self, Standing};
use tinyops_pipeline::tracking::family::{Member, family};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::lineage::{self, Edge};
use tinyops_store::model::{self, Model};
use tinyops_store::tracking::registry::{self, AliasChange};
use tinyops_store::{Digest, Json, presence, step};

use super::part::{self, float};
use super::{Page, PageError, Place};
use crate::app::App;
use crate::chart::{Tone, number};
use crate::civil::Moment;

pub(super) async fn list(State(app): State<App>) -> Result<Response, PageError> {
    let models = model::list(app.db()).await?;
    let now = app.now();
    let body = html! {
        section.card {
            @if models.is_empty() {
                (part::empty(html! { "No model is registered. " code { "tinyops run" } " makes one, if it passes its gates." }))
            } @else {
                div.tablewrap { table {
                    thead { tr { th { "model" } th { "stage" } th.num { "accuracy (int8)" } th.num { "float" } th.num { "macro F1" } th { "made by" } th { "made from" } th { "registered" } } }
                    @for model in &models {
                        tr {
                            td { strong { (part::model_link(&model.name, model.version)) } }
                            td { (part::stage(model.stage)) }
                            td.num { (metric(model, "accuracy")) }
                            td.num { (metric(model, "float_accuracy")) }
                            td.num { (metric(model, "macro_f1")) }
                            td { @match model.run { Some(run) => a href=(format!("/runs/{run}")) { "run " (run) }, None => span.muted { "import" } } }
                            td { @match model.parent { Some(parent) => (part::model_link(&model.name, parent)), None => span.muted { "recordings" } } }
                            td { (part::ago(model.created_at, now)) }
                        }
                    }
                } }
            }
        }
    };
    Ok(Page {
        place: Place::Models,
        title: "Models".to_owned(),
        lead: html! { "Every version that passed its gates, newest first. A version is one file named by its digest; a capsule is that version signed for one board." },
        body,
    }
    .framed(&app))
}

fn metric(model: &Model, name: &str) -> String {
    float(&model.metrics, name).map_or("–".to_owned(), |value| format!("{value:.4}"))
}

pub(super) async fn show(
    State(app): State<App>,
    Path((name, version)): Path<(String, u32)>,
) -> Result<Response, PageError> {
    let db = app.db();
    let model = model::get(db, &name, version)
        .await?
        .ok_or_else(|| PageError::Missing(format!("Model {name}@{version}")))?;
    let capsules: Vec<Capsule> = capsule::of_model(db, &name)
        .await?
        .into_iter()
        .filter(|capsule| capsule.version == version)
        .collect();
    let on_devices = presence::by_model(db).await?;
    let device_count = |capsule: &Capsule| {
        let carried = on_devices.iter().find(|(id, _)| *id == Some(capsule.id));
        carried.map_or(0, |(_, count)| *count)
    };
    let edges = lineage::ancestors(db, &model.digest).await?;
    let steps = match model.run {
        Some(run) => step::of_run(db, run).await?,
        None => Vec::new(),
    };
    let detail = |name: &str| {
        steps
            .iter()
            .find(|step| step.name == name)
            .map(|step| &step.detail)
    };
    let standing = promotion::standing(db, &model).await?;
    let family = family(db, &model.digest).await?;
    let changes = registry::alias_history(db, &name).await?;
    let evaluation = part::output(&app, &steps, "evaluate", "evaluation").await?;
    let boards = detail("compile")
        .and_then(|d| d.get("boards"))
        .and_then(Json::as_array);
    let worth = super::worth::cards(&app, &model).await?;
    let body = html! {
        div.grid {
            (part::card("w5", "Facts", None, facts(&model)))
            (part::card("w7", "Promotion", None, promotion_card(&standing, &changes)))
            @if !family.is_empty() { (part::card("", "Variants", None, family_table(&family))) }
            (part::card("w7", "Capsules", None, capsules_table(&capsules, device_count)))
            @if let Some(evaluation) = &evaluation { (super::run::judgement(evaluation)) }
            (worth)
            @if let Some(boards) = boards { (part::card("", "Fit on boards", None, fit_table(boards))) }
            (part::card("w5", "Figures", None, figures(&model)))
            (part::card("w7", "Lineage", Some((&format!("/lineage?of={name}@{version}"), "to devices")), lineage_table(&model.digest, &edges)))
        }
    };
    Ok(Page {
        place: Place::Models,
        title: format!("{name}@{version}"),
        lead: html! { (part::stage(model.stage)) " in project " strong { (model.project) } },
        body,
    }
    .framed(&app))
}

fn facts(model: &Model) -> Markup {
    html! {
        dl.facts {
            dt { "digest" } dd { (part::digest(&model.digest)) }
            dt { "registered" } dd { (Moment::of_ms(model.created_at.0).full()) " UTC" }
            dt { "made by" } dd { @match model.run { Some(run) => a href=(format!("/runs/{run}")) { "run " (run) }, None => "import" } }
            dt { "made from" } dd { @match model.parent {
                Some(parent) => { (part::model_link(&model.name, parent)) ", a new head from fleet statistics" }
                None => "recordings",
            } }
        }
    }
}

/// What keeps it from production, who spoke for it, and where aliases of the name pointed.
fn promotion_card(standing: &Standing, changes: &[AliasChange]) -> Markup {
    html! {
        @match standing.reasons.as_slice() {
            [] => p { "Nothing keeps it back." },
            reasons => ul { @for reason in reasons { li { (reason) } } },
        }
        @for approval in &standing.approvals {
            p { strong { (approval.actor) } " (" (approval.role) "), " (Moment::of_ms(approval.at.0).full()) ": " (approval.why) }
        }
        @if !changes.is_empty() {
            div.tablewrap { table {
                thead { tr { th { "alias" } th { "points at" } th { "since (UTC)" } th { "by" } } }
                @for change in changes.iter().rev().take(10) {
                    tr {
                        td { (change.alias) }
                        td { @match change.version { Some(version) => { "@" (version) } None => span.muted { "nothing" } } }
                        td { (Moment::of_ms(change.at.0).full()) }
                        td { (change.actor) }
                    }
                }
            } }
        }
    }
}

/// Float, int8 and the boards, each with how near it answers to the one before and what it takes.
fn family_table(family: &[Member]) -> Markup {
    let figure = |member: &Member, key: &str| {
        let value = member.figures.get(key);
        value.map_or("–".to_owned(), |value| number(*value))
    };
    html! {
        div.tablewrap { table {
            thead { tr {
                th { "variant" } th { "digest" } th.num { "accuracy" } th.num { "parity: same class" } th.num { "largest error" }
                th.num { "arena B" } th.num { "flash B" } th.num { "ms" } th.num { "mJ" } th.num { "instructions" }
            } }
            @for member in family {
                tr {
                    td { (member.variant) @if let Some(board) = &member.board { " " strong { (board) } } }
                    td { code { (member.digest.get(..12).unwrap_or_default()) } }
                    td.num { (figure(member, "accuracy")) }
                    td.num { (figure(member, "parity/agreement")) }
                    td.num { (figure(member, "parity/max_error")) }
                    td.num { (figure(member, "arena_bytes")) }
                    td.num { (figure(member, "flash_bytes")) }
                    td.num { (figure(member, "latency_ms")) }
                    td.num { (figure(member, "energy_mj")) }
                    td.num { (figure(member, "instructions")) }
                }
            }
        } }
    }
}

fn figures(model: &Model) -> Markup {
    let figures = model.metrics.as_object().into_iter().flatten();
    html! {
        table {
            @for (name, value) in figures {
                @if let Some(value) = value.as_f64() {
                    tr { td { (name.replace('_', " ")) } td.num { (number(value)) } }
                }
            }
        }
    }
}

fn capsules_table(capsules: &[Capsule], device_count: impl Fn(&Capsule) -> i64) -> Markup {
    if capsules.is_empty() {
        return part::empty(html! { "Not signed for any board yet: a rollout signs it." });
    }
    html! {
        div.tablewrap { table {
            thead { tr { th { "board" } th { "id in reports" } th.num { "size" } th.num { "sequence" } th.num { "devices" } th { "signed" } } }
            @for capsule in capsules {
                tr {
                    td { (capsule.board) }
                    td { code { (capsule.id) } }
                    td.num { (part::bytes(capsule.bytes.into())) }
                    td.num { (capsule.sequence) }
                    td.num { (device_count(capsule)) }
                    td { (Moment::of_ms(capsule.created_at.0).full()) }
                }
            }
        } }
    }
}

fn fit_table(boards: &[Json]) -> Markup {
    let kb = |board: &Json, name: &str| {
        float(board, name).map_or("–".to_owned(), |v| format!("{:.1}", v / 1024.0))
    };
    html! {
        div.tablewrap { table {
            thead { tr { th { "board" } th { "fits" } th.num { "flash, KiB of free" } th.num { "RAM, KiB of free" } th.num { "latency, ms" } th.num { "energy, mJ" } th { "" } } }
            @for board in boards {
                tr {
                    td { (board.get("board").and_then(Json::as_str).unwrap_or("?")) }
                    td { @match board.get("fits").and_then(Json::as_bool) {
                        Some(true) => (part::pill("yes", Tone::Good)),
                        _ => (part::pill("no", Tone::Bad)),
                    } }
                    td.num { (kb(board, "flash_bytes")) span.muted { " / " (kb(board, "flash_free_bytes")) } }
                    td.num { (kb(board, "ram_bytes")) span.muted { " / " (kb(board, "ram_free_bytes")) } }
                    td.num { (band(board, "latency_ms")) }
                    td.num { (band(board, "energy_mj")) }
                    td.muted { @for reason in board.get("reasons").and_then(Json::as_array).into_iter().flatten() { div { (reason.as_str().unwrap_or("")) } } }
                }
            }
        } }
    }
}

/// The typical value of an estimate, and its band.
fn band(board: &Json, name: &str) -> Markup {
    let ends = board[format!("{name}_band")].as_array();
    let ends: Vec<f64> = ends
        .into_iter()
        .flatten()
        .filter_map(Json::as_f64)
        .collect();
    html! {
        @match (board[name].as_f64(), &ends[..]) {
            (Some(typical), [low, high]) => { (number(typical)) span.muted { " (" (number(*low)) "–" (number(*high)) ")" } }
            (Some(typical), _) => (number(typical)),
            (None, _) => "–",
        }
    }
}

fn lineage_table(digest: &Digest, edges: &[Edge]) -> Markup {
    if edges.is_empty() {
        return part::empty(
            html! { "Nothing is known of where this version came from: it was imported." },
        );
    }
    html! {
        p.flow {
            "Every version leads back to the rows it learned from. As text: "
            code { "GET /api/v1/lineage/" (digest.to_string()[..12]) "…" }
        }
        div.tablewrap { table {
            thead { tr { th { "made" } th { "as" } th { "from" } th { "run" } } }
            @for edge in edges {
                tr {
                    td { (part::digest(&edge.to)) }
                    td { (edge.kind) }
                    td { (part::digest(&edge.from)) }
                    td { @if let Some(run) = edge.run { a href=(format!("/runs/{run}")) { "run " (run) } } }
                }
            }
        } }
    }
}
