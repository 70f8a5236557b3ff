//! Lineage: a graph from recordings to devices, drawn column by column, for whatever is asked about.

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::{Page, PageError, Place, part};
use crate::app::App;
use crate::lineage::{LineageGraph, NodeKind, lineage};

/// Things of one kind that are drawn; of more the rest is counted.
const DRAWN_MAX: usize = 14;
const COLUMN: usize = 210;
const ROW: usize = 44;
const BOX_WIDTH: usize = 160;
const BOX_HEIGHT: usize = 34;
/// Letters of a name that fit a box.
const NAME_MAX: usize = 22;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    of: String,
}

pub(super) async fn show(
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let of = asked.of.trim();
    let graph = match of {
        "" => None,
        of => Some(lineage(app.db(), &app.workshop().artifacts, of).await?),
    };
    let body = html! {
        section.card {
            form method="get" action="/lineage" {
                input type="search" name="of" value=(of) placeholder="a recording, a group, a digest, fan@3, a device" size="48" aria-label="What to follow";
                " " button type="submit" { "Follow" }
            }
        }
        @match &graph {
            None => {}
            Some(graph) if graph.nodes.is_empty() => {
                (part::empty(html! { "Nothing here is called " code { (of) } "." }))
            }
            Some(graph) => {
                div.grid {
                    (part::card("", "From recordings to devices", None, drawn(graph)))
                    (part::card("", "All of it", None, table(graph)))
                }
            }
        }
    };
    Ok(Page {
        place: Place::Models,
        title: "Lineage".to_owned(),
        lead: html! { "Which recordings a device's model learned from, and which devices carry what was learned from a recording." },
        body,
    }
    .framed(&app))
}

/// The places of the nodes that are drawn, by their number in the graph; of a kind with too many, the last place stands
/// for the others.
fn places(graph: &LineageGraph) -> Vec<Option<(usize, usize)>> {
    let mut rows = [0; NodeKind::ALL.len()];
    let place = |kind: NodeKind, rows: &mut [usize; NodeKind::ALL.len()]| {
        let column = NodeKind::ALL.iter().position(|known| *known == kind)?;
        let row = rows[column];
        rows[column] += 1;
        (row < DRAWN_MAX).then_some((column, row))
    };
    graph
        .nodes
        .iter()
        .map(|node| place(node.kind, &mut rows))
        .collect()
}

fn drawn(graph: &LineageGraph) -> Markup {
    let places = places(graph);
    let counts = NodeKind::ALL.map(|kind| graph.count(kind));
    let deepest = counts.iter().copied().max().unwrap_or(0).min(DRAWN_MAX + 1);
    let (width, height) = (COLUMN * NodeKind::ALL.len(), 34 + ROW * deepest);
    let left = |column: usize| column * COLUMN + 4;
    let top = |row: usize| 30 + row * ROW;
    // Those that are not drawn have the place below the others.
    let at = |index: usize| {
        let column = NodeKind::ALL
            .iter()
            .position(|kind| *kind == graph.nodes[index].kind)
            .unwrap_or(0);
        places[index].unwrap_or((column, DRAWN_MAX))
    };
    let mut lines: Vec<_> = graph
        .edges
        .iter()
        .map(|edge| (at(edge.from), at(edge.to)))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    html! {
        div.tablewrap {
            svg viewBox=(format!("0 0 {width} {height}")) width=(width) height=(height) role="img" aria-label="lineage" {
                @for (column, kind) in NodeKind::ALL.iter().enumerate() {
                    text x=(left(column)) y="16" fill="currentColor" font-size="12" opacity="0.7" {
                        (counts[column]) " " (kind.word()) @if counts[column] != 1 { "s" }
                    }
                }
                @for ((from_column, from_row), (to_column, to_row)) in &lines {
                    @let (x1, y1) = (left(*from_column) + BOX_WIDTH, top(*from_row) + BOX_HEIGHT / 2);
                    @let (x2, y2) = (left(*to_column), top(*to_row) + BOX_HEIGHT / 2);
                    @let middle = (x1 + x2) / 2;
                    path d=(format!("M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}")) fill="none" stroke="currentColor" opacity="0.35" {}
                }
                @for (node, place) in graph.nodes.iter().zip(&places) {
                    @if let Some((column, row)) = place {
                        @let (x, y) = (left(*column), top(*row));
                        a href=(format!("/lineage?of={}", form_urlencoded::byte_serialize(node.id.as_bytes()).collect::<String>())) {
                            rect x=(x) y=(y) width=(BOX_WIDTH) height=(BOX_HEIGHT) rx="6" fill="none" stroke="currentColor" { title { (node.id) ": " (node.detail) } }
                            text x=(x + 8) y=(y + 15) fill="currentColor" font-size="12" { (cut(&node.name)) }
                            text x=(x + 8) y=(y + 28) fill="currentColor" font-size="10" opacity="0.7" { (cut(&node.detail)) }
                        }
                    }
                }
                @for (column, count) in counts.iter().enumerate() {
                    @if *count > DRAWN_MAX {
                        text x=(left(column) + 8) y=(top(DRAWN_MAX) + 15) fill="currentColor" font-size="12" opacity="0.7" { "and " (count - DRAWN_MAX) " more" }
                    }
                }
            }
        }
    }
}

/// The end of a name tells more of a path than its beginning.
fn cut(name: &str) -> String {
    let count = name.chars().count();
    match count > NAME_MAX {
        true => format!(
            "…{}",
            name.chars().skip(count - NAME_MAX + 1).collect::<String>()
        ),
        false => name.to_owned(),
    }
}

fn table(graph: &LineageGraph) -> Markup {
    html! {
        div.tablewrap { table {
            thead { tr { th { "what" } th { "name" } th { "about it" } } }
            @for node in &graph.nodes {
                tr {
                    td { (node.kind.word()) }
                    td { (link(node.kind, &node.id, &node.name)) }
                    td { (node.detail) }
                }
            }
        } }
    }
}

fn link(kind: NodeKind, id: &str, name: &str) -> Markup {
    match kind {
        NodeKind::Device => html! { a href=(format!("/devices/{id}")) { (name) } },
        NodeKind::Model => match id
            .split_once('@')
            .map(|(name, version)| (name, version.parse()))
        {
            Some((model, Ok(version))) => part::model_link(model, version),
            _ => html! { (name) },
        },
        NodeKind::Recording | NodeKind::Dataset | NodeKind::Capsule => html! { code { (name) } },
    }
}
