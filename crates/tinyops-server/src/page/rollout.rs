//! Rollouts: who should run what, and how far that is.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use tinyops_fleet::engine::{Finding, Progress, Tally};
use tinyops_fleet::plan::{Install, Metric, Plan, Shadow};
use tinyops_fleet::refusal;
use tinyops_fleet::rollout::{details, sentence};
use tinyops_store::rollout::{self, Member, Rollout, RolloutId};
use tinyops_store::{Db, StoreError, Timestamp};

use super::part;
use super::{Page, PageError, Place};
use crate::app::App;
use crate::chart::{LineChart, Part, Parts, Series, Tone, XAxis};
use crate::civil::{self, Moment};
use crate::text::Text;

pub(super) async fn list(State(app): State<App>) -> Result<Response, PageError> {
    let rollouts = rollout::list(app.db(), 100).await?;
    let now = app.now();
    let mut rows = Vec::new();
    for rollout in &rollouts {
        rows.push(row(rollout, progress(app.db(), rollout.id).await?, now));
    }
    let body = html! {
        section.card {
            @if rollouts.is_empty() {
                (part::empty(html! { "No rollout yet. " code { "tinyops rollout start MODEL@VERSION" } " offers a model to a few devices, and to more while they are well." }))
            } @else {
                div.tablewrap { table {
                    thead { tr { th { "rollout" } th { "model" } th { "for" } th { "strategy" } th { "state" } th { "devices" } th { "began" } th.num { "took" } } }
                    @for row in rows { (row) }
                } }
            }
        }
    };
    Ok(Page {
        place: Place::Rollouts,
        title: "Rollouts".to_owned(),
        lead: html! { "A new version goes to some devices first, wave by wave. It goes on by itself while they are as well as the rest, and back when they are not." },
        body,
    }
    .framed(&app))
}

fn row(rollout: &Rollout, progress: Markup, now: Timestamp) -> Markup {
    let end = match part::is_open(rollout.state) {
        true => now,
        false => rollout.changed_at,
    };
    html! {
        tr {
            td { a href=(format!("/rollouts/{}", rollout.id)) { "#" (rollout.id) } }
            td { (part::model_link(&rollout.model, rollout.version)) }
            td { (audience(rollout)) }
            td { (strategy(rollout)) }
            td { (part::rollout_state(rollout.state)) }
            td.wide { (progress) }
            td { (part::ago(rollout.created_at, now)) }
            td.num { (civil::duration(end.ms_since(rollout.created_at))) }
        }
    }
}

/// The devices that a rollout is for.
pub(super) fn audience(rollout: &Rollout) -> Markup {
    html! {
        @if rollout.selector.is_empty() { "every device with a fitting board" } @else { code { (rollout.selector) } }
    }
}

/// A rollout's strategy and wave: `staged, wave 2 of 3`.
fn strategy(rollout: &Rollout) -> String {
    match details(rollout) {
        Ok((plan, progress)) => {
            let (name, waves) = (plan.strategy.word(), plan.strategy.wave_count());
            let is_shadowing = plan.shadow.is_some() && !progress.is_shadowed;
            match waves {
                _ if is_shadowing && part::is_open(rollout.state) => format!("shadow, then {name}"),
                _ if is_shadowing => "shadow".to_owned(),
                1 => "everyone at once".to_owned(),
                _ => format!("{name}, wave {} of {waves}", (progress.wave + 1).min(waves)),
            }
        }
        Err(_) => "of another version".to_owned(),
    }
}

/// The devices of a rollout by how far they are.
pub(super) async fn progress(db: &Db, id: RolloutId) -> Result<Markup, StoreError> {
    let parts = rollout::tally(db, id)
        .await?
        .into_iter()
        .map(|(delivery, count)| Part {
            name: part::delivery_name(delivery),
            count: u64::try_from(count).unwrap_or(0),
            tone: part::delivery_tone(delivery),
        })
        .collect();
    Ok(Parts { parts }.draw())
}

pub(super) async fn show(
    State(app): State<App>,
    Path(Text(id)): Path<Text<RolloutId>>,
) -> Result<Response, PageError> {
    let db = app.db();
    let rollout = rollout::get(db, id)
        .await?
        .ok_or_else(|| PageError::Missing(format!("Rollout {id}")))?;
    let members = rollout::members(db, id).await?;
    let tally = progress(db, id).await?;
    let why = sentence(&rollout);
    let evidence = match details(&rollout) {
        Ok((plan, progress)) => html! {
            (part::card("w7", "Evidence", None, evidence(&progress)))
            (part::card("w5", "Plan", None, plan_facts(&plan, &progress)))
            @if let (Some(shadow), Some(tally)) = (&plan.shadow, &progress.shadow) {
                (part::card("", "Beside the model that runs", None, beside(shadow, tally, &progress.shadow_findings)))
            }
            (part::card("", "What the devices show", None, findings(&progress.findings)))
        },
        // A record of a later version: it is shown as far as it is understood.
        Err(error) => part::card("", "Plan", None, part::empty(html! { (error) })),
    };
    let body = html! {
        div.grid {
            (part::card("w7", "Progress", None, html! {
                (tally)
                @if !why.is_empty() { p { (part::rollout_state(rollout.state)) " because " (why) } }
            }))
            (part::card("w5", "Facts", None, facts(&rollout)))
            (evidence)
            (part::card("", "Devices", None, members_table(&members, app.now())))
        }
    };
    Ok(Page {
        place: Place::Rollouts,
        title: format!("Rollout {id}"),
        lead: html! { (part::model_link(&rollout.model, rollout.version)) " to " (audience(&rollout)) " " (part::rollout_state(rollout.state)) },
        body,
    }
    .framed(&app))
}

fn facts(rollout: &Rollout) -> Markup {
    html! {
        dl.facts {
            dt { "strategy" } dd { (strategy(rollout)) }
            dt { "began" } dd { (Moment::of_ms(rollout.created_at.0).full()) " UTC" }
            dt { "last change" } dd { (Moment::of_ms(rollout.changed_at.0).full()) " UTC" }
            dt { "goes back to" } dd { @match rollout.previous { Some(previous) => (part::model_link(&rollout.model, previous)), None => span.muted { "the factory model" } } }
            @if rollout.priority != 0 { dt { "priority" } dd { (rollout.priority) } }
        }
    }
}

/// The evidence of each metric over the devices that have answered, in units of what halts.
fn evidence(progress: &Progress) -> Markup {
    let mut series: Vec<Series> = Vec::new();
    for look in &progress.looks {
        for (metric, ratio) in &look.evidence {
            let known = series.iter().position(|line| line.name == *metric);
            let index = known.unwrap_or_else(|| {
                series.push(Series {
                    name: metric.clone(),
                    points: Vec::new(),
                    tone: Tone::Series(series.len()),
                    dashed: false,
                });
                series.len() - 1
            });
            let height = ratio.max(LEAST_RATIO).log10();
            series[index]
                .points
                .push((f64::from(look.answered), height));
        }
    }
    LineChart {
        title: "Evidence that the candidate is worse",
        note: Some(
            "e-value over the one that halts, as a power of ten; it may be read at any time",
        ),
        x: XAxis::Number("devices that answered"),
        y: "log10 of evidence / limit",
        y_range: Some((-4.0, 0.5)),
        series,
        markers: Vec::new(),
        spans: Vec::new(),
        threshold: Some((0.0, "halts at")),
        width: 640.0,
        height: 260.0,
        empty: "Nothing yet: it appears when the first devices have answered.",
    }
    .draw()
}

/// Smaller ratios say no more.
const LEAST_RATIO: f64 = 1e-4;

fn findings(findings: &[Finding]) -> Markup {
    if findings.is_empty() {
        return part::empty(html! { "No device has answered yet." });
    }
    html! {
        div.tablewrap { table {
            thead { tr { th { "metric" } th.num { "effect" } th { "interval" } th.num { "evidence" } th.num { "halts at" } th { "in words" } } }
            @for finding in findings {
                tr {
                    td { (finding.metric) }
                    td.num { (format!("{:+.3}", finding.effect)) }
                    td { (format!("{:+.3} to {:+.3}", finding.interval.0, finding.interval.1)) }
                    td.num { (format!("{:.3}", finding.e_value)) }
                    td.num { (format!("{:.0}", finding.limit)) }
                    td.wide { (finding.sentence) }
                }
            }
        } }
    }
}

/// What the candidate said on the windows that the model that runs has answered.
fn beside(plan: &Shadow, tally: &Tally, ended: &[Finding]) -> Markup {
    let [both, only_active, only_candidate, neither] = tally.pairs;
    let judged = both + only_active + only_candidate + neither;
    let signed = |share: f64| format!("{:+.1}\u{202f}points", 100.0 * share);
    html! {
        p {
            (tally.can) " of " (tally.devices) " devices can score with two models"
            @if tally.can < tally.devices { "; the others wait for their wave" }
            ". " (tally.done) " of " (tally.told) " have scored " (plan.windows) " windows each"
            @if tally.failed > 0 { ", " (tally.failed) " could not take it or let it go" }
            ". None has installed it meanwhile."
        }
        dl.facts {
            dt { "windows of both" } dd { (tally.windows) @if tally.unscored > 0 { ", " (tally.unscored) " that it could not score" } }
            dt { "the two agree on" } dd { @match tally.agreement { Some(share) => (part::percent(share)), None => span.muted { "nothing yet" } } }
            @if let Some((active, candidate)) = tally.accuracy {
                dt { "right, of " (judged) " labelled" } dd { "candidate " (part::percent(candidate)) ", the model that runs " (part::percent(active)) }
                dt { "both, neither right" } dd { (both) ", " (neither) }
                dt { "only one right" } dd { "candidate " (only_candidate) ", the model that runs " (only_active) }
            }
            @if let Some((gain, (low, high))) = tally.gain {
                dt { "gain of a device" } dd { (signed(gain)) " (from " (signed(low)) " to " (signed(high)) ")" }
            }
            @if let Some(micros) = tally.micros { dt { "a window takes it" } dd { (part::time(micros as f32)) } }
            @if let Some(ram) = tally.ram { dt { "memory in use at most" } dd { (part::percent(ram)) } }
        }
        @if !ended.is_empty() { (findings(ended)) }
    }
}

/// When devices install what they are offered.
fn install(plan: &Plan, progress: &Progress) -> &'static str {
    match plan.install {
        Install::AtOnce => "when they have fetched it",
        Install::Window => "in a window; they fetch it before",
        Install::Later if progress.is_released => "now: it was said that they may",
        Install::Later => "when `tinyops rollout install` says so; they fetch it before",
    }
}

fn plan_facts(plan: &Plan, progress: &Progress) -> Markup {
    let waves = (0..plan.strategy.wave_count())
        .map(|wave| format!("{:.0} %", plan.strategy.share(wave) * 100.0));
    let metrics: Vec<&str> = plan
        .halt_on
        .iter()
        .map(|metric: &Metric| metric.word())
        .collect();
    html! {
        dl.facts {
            @if let Some(shadow) = &plan.shadow {
                dt { "first, in shadow" } dd { (shadow.windows) " windows on " (format!("{:.0} %", shadow.share * 100.0)) " of the devices that can" }
            }
            dt { "waves" } dd { (waves.collect::<Vec<_>>().join(", ")) }
            @if plan.in_flight_max > 0 { dt { "in flight at most" } dd { (plan.in_flight_max) } }
            dt { "well after" } dd { (plan.reports) " reports" }
            dt { "silent after" } dd { (civil::duration(plan.silent_after_ms)) }
            dt { "chance of halting a good model" } dd { (format!("{} %", plan.alpha * 100.0)) }
            dt { "halts on" } dd { (metrics.join(", ")) }
            dt { "usual failures" } dd { (format!("{} %", plan.failure_share * 100.0)) }
            dt { "devices install" } dd { (install(plan, progress)) }
            dt { "windows" } dd {
                @if plan.windows.windows.is_empty() { "always" }
                @for window in &plan.windows.windows { (window) " " }
            }
        }
    }
}

fn members_table(members: &[Member], now: Timestamp) -> Markup {
    /// Rows on the page; a larger rollout is read through the API.
    const ROWS_MAX: usize = 500;
    if members.is_empty() {
        return part::empty(
            html! { "No device is in it: none has a board that this model was compiled for." },
        );
    }
    html! {
        div.tablewrap { table {
            thead { tr { th { "device" } th { "state" } th { "should run" } th { "since" } th { "said" } } }
            @for member in members.iter().take(ROWS_MAX) {
                tr {
                    td { a href=(format!("/devices/{}", member.device)) { code { (member.device) } } }
                    td { (part::pill(part::delivery_name(member.delivery), part::delivery_tone(member.delivery))) }
                    td { @match member.target { Some(target) => code { (target) }, None => span.muted { "what it has" } } }
                    td { (part::ago(member.changed_at, now)) }
                    td.muted { (said(member)) }
                }
            }
        } }
        @if members.len() > ROWS_MAX { p.muted { (members.len() - ROWS_MAX) " more devices are in it." } }
    }
}

/// What a device said when it did not install.
fn said(member: &Member) -> String {
    match (
        member.detail["reason"].as_str(),
        member.detail["number"].as_u64(),
    ) {
        (Some(reason), number) => refusal::told(reason, number.unwrap_or(0)),
        _ => String::new(),
    }
}
