//! Drift: how far each cohort has moved from what training saw, and in which channels.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};
use tinyops_fleet::outcome::{Accuracy, cost_spans};
use tinyops_fleet::watch::{ChannelView, CohortView, cohort_of};
use tinyops_pipeline::worth::Prices;
use tinyops_store::drift::{self, DriftPoint, DriftState, Scope};
use tinyops_store::outcome::Cell;
use tinyops_store::{ModelId, Timestamp, device, rollout};

use super::alert;
use super::episode;
use super::figure::Events;
use super::hand::Hand;
use super::part::{self, Names};
use super::repair;
use super::{Page, PageError, Place};
use crate::app::App;
use crate::chart::{Bar, Bars, Histogram, LineChart, Series, Tone, XAxis, number};

/// Moments of a cohort's history on the chart at most.
const POINTS_MAX: u32 = 500;
/// Lines of that chart at most, the newest first.
const LINES_MAX: usize = 6;
/// How far labels are looked back at: what models got right once says little of how they do now.
const LABELS_MS: i64 = 30 * 24 * 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const HOUR_MS: i64 = 3_600_000;
/// Cohorts drawn in full.
const COHORTS_MAX: usize = 4;

pub(super) async fn show(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let db = app.db();
    let now = app.now();
    let hand = Hand::of(&app, &headers).await?;
    let accuracy = app.fleet().accuracy(now.plus_ms(-LABELS_MS)).await?;
    let names = Names::load(db).await?;
    let mut histories = Vec::new();
    for state in drift::of_cohorts(db).await?.into_iter().take(LINES_MAX) {
        let cohort = cohort_of(&state.scope).unwrap_or_default();
        let name = format!("{cohort} with {}", names.text(state.model));
        let points = drift::history(db, &state.scope, Timestamp(i64::MIN), POINTS_MAX).await?;
        histories.push((name, points));
    }
    let mut views = Vec::new();
    for (cohort, _) in device::cohorts(db).await?.into_iter().take(COHORTS_MAX) {
        views.extend(app.fleet().cohort_view(&cohort).await?);
    }
    let alerts = tinyops_store::alert::list(db, 50).await?;
    let rollouts = rollout::list(db, 20).await?;
    let detectors = drift::list(db, 200).await?;
    let events = Events {
        alerts: &alerts,
        rollouts: &rollouts,
    };
    let since = now.plus_ms(-LABELS_MS);
    let (mut cells, labels) = app.fleet().judged(since, DAY_MS).await?;
    let days = |cell: &Cell| cell.begin.0 / DAY_MS;
    let is_short = match (cells.first(), cells.last()) {
        (Some(first), Some(last)) => days(last) - days(first) < 2,
        _ => false,
    };
    if is_short {
        // Two days would be two points: hours show more.
        cells = app.fleet().judged(since, HOUR_MS).await?.0;
    }
    let mut models: Vec<ModelId> = cells.iter().map(|cell| cell.model).collect();
    models.extend(accuracy.iter().map(|found| found.model));
    let prices = Prices::of(db, &models, Some(&app.workshop().project)).await?;
    let spans = cost_spans(&cells, &labels, &|model, is, said| {
        prices.price(model, is, said)
    });
    let body = html! {
        div.grid {
            (part::chart_card("w8", over_time(&histories, &events)))
            (part::card("w4", "Farthest from their own past", None, farthest(&detectors, now)))
            (part::card("", "Repairs", None, repair::table(&app, &names, now).await?))
            (part::card("", "Episodes", None, episode::table(&app, &names, now).await?))
            (part::card("", "Alerts", None, alert::table(&alerts, &names, hand.as_ref(), now)))
            (part::card("", "What labels of 30 days say", None, labelled(&accuracy, &names, &prices)))
            (part::chart_card("w8", super::worth::over_time(&spans, &names, if is_short { "hour" } else { "day" })))
            @for view in &views { (cohort(view, &names)) }
        }
    };
    Ok(Page {
        place: Place::Drift,
        title: "Drift".to_owned(),
        lead: html! {
            "How far the summaries that devices send have moved from their baseline. At a score of 1 an alarm is raised: "
            "a stable device gets there by chance in " (part::percent(app.fleet().policy.drift.false_alarm_share))
            " of all stretches of 30 reports."
        },
        body,
    }
    .framed(&app))
}

fn over_time(histories: &[(String, Vec<DriftPoint>)], events: &Events<'_>) -> Markup {
    let line = |(index, (name, points)): (usize, &(String, Vec<DriftPoint>))| Series {
        name: name.clone(),
        points: points
            .iter()
            .map(|point| (point.at.0 as f64, point.score))
            .collect(),
        tone: Tone::Series(index),
        dashed: false,
    };
    let ends = histories.iter().filter_map(|(_, points)| points.last());
    let until = ends.map(|point| point.at.0).max().unwrap_or(0) as f64;
    LineChart {
        title: "Drift by cohort",
        note: Some("distance of the merged summaries from their baseline, in thresholds"),
        x: XAxis::Time,
        y: "score",
        y_range: None,
        series: histories.iter().enumerate().map(line).collect(),
        markers: events.markers(),
        spans: events.spans(until),
        threshold: Some((1.0, "alarm at")),
        width: 830.0,
        height: 290.0,
        empty: "No cohort is judged yet: devices must report often enough to know their own normal. \
                `tinyops device run` with a recording reports faster than real devices do.",
    }
    .draw()
}

fn farthest(detectors: &[DriftState], now: Timestamp) -> Markup {
    let devices: Vec<&DriftState> = detectors
        .iter()
        .filter(|state| matches!(state.scope, Scope::Device(_)))
        .take(10)
        .collect();
    if devices.is_empty() {
        return part::empty(html! { "No device has reported enough to be judged." });
    }
    html! {
        table {
            thead { tr { th { "device" } th.num { "score" } th { "last report" } } }
            @for state in devices {
                tr {
                    td { (super::overview::scope(&state.scope)) }
                    td.num { strong.bad[state.alarmed] { (number(state.score)) } }
                    td { (part::ago(state.updated_at, now)) }
                }
            }
        }
    }
}

/// What labels say of each cohort, at the prices of its model's project.
fn labelled(accuracy: &[Accuracy], names: &Names, prices: &Prices) -> Markup {
    if accuracy.is_empty() {
        return part::empty(
            html! { "No label has come back in 30 days: nothing says how right the models are." },
        );
    }
    let has_costs = prices.are_set();
    html! {
        div.tablewrap { table {
            thead { tr {
                th { "cohort" } th { "model" } th.num { "judged" } th.num { "accuracy" }
                @if has_costs { th.num { "cost" } th.num { "cost of 1,000" } }
            } }
            @for found in accuracy {
                @let cost = found.cost(&names.labels(found.model), &|model, is, said| prices.price(model, is, said));
                tr {
                    td { (found.cohort) }
                    td { (names.link(Some(found.model))) }
                    td.num { (found.judged) }
                    td.num { @if let Some(share) = found.share() { (part::percent(share)) } }
                    @if has_costs {
                        td.num { (number(cost)) }
                        td.num { strong { (number(1000.0 * cost / found.judged.max(1) as f64)) } }
                    }
                }
            }
        } }
        @if !has_costs {
            p.muted style="margin:6px 0 0" { "Set " code { "[train.costs]" } " (normal, false_alarm, miss) in tinyops.toml to see what errors cost." }
        }
    }
}

fn cohort(view: &CohortView, names: &Names) -> Markup {
    let title = format!("{} with {}: channels", view.cohort, names.text(view.model));
    let bars = Bars {
        title: &title,
        note: Some("which of the watched channels moved"),
        unit: "score, 1 = alarm",
        bars: view
            .channels
            .iter()
            .map(|channel| Bar {
                name: channel.name.clone(),
                value: channel.score,
                tone: if channel.score > 1.0 {
                    Tone::Bad
                } else {
                    Tone::Series(0)
                },
            })
            .collect(),
        full: None,
        threshold: Some((1.0, "alarm at")),
        empty: "This cohort sends no summaries yet.",
    };
    let mut channels: Vec<&ChannelView> = view.channels.iter().collect();
    channels.sort_by(|a, b| b.score.total_cmp(&a.score));
    html! {
        (part::chart_card("w6", html! {
            (bars.draw())
            p.muted style="margin:6px 0 0" {
                (view.alarmed_count) " of " (view.watched_count) " judged devices alarm."
                @if view.own_head_count > 0 {
                    " " (view.own_head_count) " answer by heads of their own."
                }
            }
            p.muted style="margin:6px 0 0" { (expected(view)) }
        }))
        (part::card("w6", &format!("{}: what moved most", view.cohort), None, html! {
            div.grid {
                @for channel in channels.into_iter().take(2) {
                    div.w6 { (histogram(channel)) }
                }
            }
        }))
    }
}

/// What confidences let expect, in a sentence.
fn expected(view: &CohortView) -> String {
    match view.expected {
        Ok(interval) => format!(
            "By confidence, {} to {} of the answers should be right. Nobody has looked: labels tell.",
            part::percent(interval.low),
            part::percent(interval.high)
        ),
        Err(withheld) => format!(
            "How many answers should be right is withheld: {}.",
            withheld.reason()
        ),
    }
}

fn histogram(channel: &ChannelView) -> Markup {
    let shares = |shares: &[f32; 8]| shares.iter().map(|share| f64::from(*share)).collect();
    let note = format!(
        "mean {} σ, spread × {}",
        signed(channel.mean),
        number(channel.ln_sd.exp())
    );
    Histogram {
        title: &channel.name,
        note: Some(&note),
        x: "bins at the octiles of training",
        edges: Vec::new(),
        baseline: shares(&channel.baseline),
        live: shares(&channel.live),
        empty: "No summary yet.",
    }
    .draw()
}

fn signed(value: f64) -> String {
    match value < 0.0 {
        true => number(value).replace('-', "−"),
        false => format!("+{}", number(value)),
    }
}
