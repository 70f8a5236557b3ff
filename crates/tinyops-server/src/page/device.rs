//! Devices: who they are, what they run, when they were last heard.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use tinyops_fleet::budget::{class_word, epsilon_of_micro};
use tinyops_fleet::cost::Newest;
use tinyops_fleet::own_head::is_of_own_head;
use tinyops_store::device::{self, Device, DevicePage};
use tinyops_store::drift::{self, DriftState, Scope};
use tinyops_store::presence::{self, Presence};
use tinyops_store::privacy::{self, Paid};
use tinyops_store::report::{self, Report};
use tinyops_store::rollout::{self, Member};
use tinyops_store::withdrawal::{self, Withdrawal};
use tinyops_store::{DeviceId, Timestamp, audit};
use tinyops_wire::frame::Frame;

use super::part::{self, Names};
use super::{Page, PageError, Place};
use crate::app::App;
use crate::chart::{Tone, number};
use crate::civil::Moment;
use crate::text::Text;

/// Devices on one page.
const PAGE_COUNT: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// The last device of the page before.
    after: Option<i64>,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(After { after }): Query<After>,
) -> Result<Response, PageError> {
    let db = app.db();
    let devices = device::list(db, after.map(DevicePage), PAGE_COUNT).await?;
    let names = Names::load(db).await?;
    let presences: HashMap<DeviceId, Presence> = presence::list(db, 100_000)
        .await?
        .into_iter()
        .map(|presence| (presence.device, presence))
        .collect();
    let detectors: HashMap<Scope, DriftState> = drift::list(db, 100_000)
        .await?
        .into_iter()
        .map(|state| (state.scope.clone(), state))
        .collect();
    let next = (devices.len() == PAGE_COUNT as usize)
        .then(|| devices.last().map(DevicePage::after))
        .flatten();
    let now = app.now();
    let row = |device: &Device| {
        let presence = presences.get(&device.id);
        let detector = detectors.get(&Scope::Device(device.id));
        html! {
            tr {
                td { a href=(format!("/devices/{}", device.id)) { code { (device.id) } } }
                td { (device.board) }
                td { (device.cohort) }
                td { (names.link(presence.and_then(|p| p.model))) }
                td { (heard(presence, now)) }
                td.num { (presence.map_or(0, |p| p.report_count)) }
                td.num { (presence.map_or(0, |p| p.missing_count)) }
                td.num { (presence.map_or(0, |p| p.malformed_count)) }
                td.num { (score(detector)) }
                td { (part::device_state(device.state)) }
            }
        }
    };
    let body = html! {
        section.card {
            @if devices.is_empty() {
                (part::empty(html! { "No device is registered. " code { "tinyops device run" } " starts a virtual one, " code { "POST /api/v1/devices" } " enrols a real one." }))
            } @else {
                div.tablewrap { table {
                    thead { tr { th { "device" } th { "board" } th { "cohort" } th { "model" } th { "last heard" } th.num { "reports" } th.num { "missing" } th.num { "malformed" } th.num { "drift / threshold" } th { "state" } } }
                    @for device in &devices { (row(device)) }
                } }
            }
            @if let Some(next) = next { p { a href=(format!("/devices?after={next}")) { "next " (PAGE_COUNT) } } }
        }
    };
    Ok(Page {
        place: Place::Devices,
        title: "Devices".to_owned(),
        lead: html! { "Each has its own key. What it sends is a summary of what its sensors saw, never the readings." },
        body,
    }
    .framed(&app))
}

fn heard(presence: Option<&Presence>, now: Timestamp) -> Markup {
    html! {
        @match presence.and_then(|presence| presence.last_seen) {
            Some(at) => (part::ago(at, now)),
            None => span.muted { "never" },
        }
    }
}

fn score(detector: Option<&DriftState>) -> Markup {
    html! {
        @match detector {
            Some(detector) => span.bad[detector.alarmed] { (number(detector.score)) },
            None => span.muted { "–" },
        }
    }
}

pub(super) async fn show(
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
) -> Result<Response, PageError> {
    let db = app.db();
    let device = device::get(db, id)
        .await?
        .ok_or_else(|| PageError::Missing(format!("Device {id}")))?;
    let names = Names::load(db).await?;
    let presence = presence::get(db, id).await?;
    let detector = drift::get(db, &Scope::Device(id)).await?;
    let members = rollout::of_device(db, id).await?;
    let reports = report::of_device(db, id, 20).await?;
    let audit = audit::about(db, &id.to_string(), 20).await?;
    let paid = privacy::paid(db, id).await?;
    let withdrawn = withdrawal::get(db, id).await?;
    let now = app.now();
    let body = html! {
        div.tiles {
            (part::tile(None, "Runs", names.link(presence.as_ref().and_then(|p| p.model)), html! { "as its last report says" }, None))
            (part::tile(None, "Last heard", heard(presence.as_ref(), now), html! { @if app.is_connected(id) { "connected now" } @else { "not connected" } }, None))
            (part::tile(None, "Drift / threshold", score(detector.as_ref()), html! { "1 raises an alarm" }, detector.as_ref().filter(|d| d.alarmed).map(|_| Tone::Bad)))
            (part::tile(None, "Sent", html! { (part::bytes(presence.as_ref().map_or(0, |p| p.byte_count))) }, html! { (presence.as_ref().map_or(0, |p| p.report_count)) " reports" }, None))
        }
        div.grid {
            (part::card("w5", "Facts", None, facts(&device, presence.as_ref(), &reports, &paid, withdrawn.as_ref())))
            (part::card("w7", "Rollouts", None, deliveries(&members, &names, now)))
            (part::card("w7", "Last reports", None, reports_table(&reports, &names, now)))
            (part::card("w5", "What was done to it", None, html! {
                @if audit.is_empty() { (part::empty(html! { "Nothing since it was enrolled." })) }
                ol.story { @for entry in &audit { li { (part::ago(entry.at, now)) span { (entry.action) span.muted { " by " (entry.actor) } } } } }
            }))
        }
    };
    Ok(Page {
        place: Place::Devices,
        title: format!("Device {id}"),
        lead: html! { (device.board) " in cohort " strong { (device.cohort) } " " (part::device_state(device.state)) },
        body,
    }
    .framed(&app))
}

fn facts(
    device: &Device,
    presence: Option<&Presence>,
    reports: &[Report<'_>],
    paid: &[Paid],
    withdrawn: Option<&Withdrawal>,
) -> Markup {
    let newest = Newest::of(device, reports);
    html! {
        dl.facts {
            dt { "enrolled" } dd { (Moment::of_ms(device.enrolled_at.0).full()) " UTC" }
            dt { "tags" } dd { @if device.tags.is_empty() { span.muted { "none" } } (device.tags.join(", ")) }
            @if is_of_own_head(reports) {
                dt { "answers by" } dd { "a head of its own, solved from its labels" }
            }
            @if let Some(said) = withdrawn {
                dt { "takes part in rounds" }
                dd { "no: withdrawn by " (said.actor) " on " (Moment::of_ms(said.at.0).full()) " UTC" }
            }
            @if let Some(Newest { cost, .. }) = newest {
                dt { "a window takes" } dd { (part::time(cost.mean_us)) ", at most " (part::time(cost.max_us)) }
                dt { "memory at most" } dd { @match cost.ram_share { Some(share) => (part::percent(share.into())), None => span.muted { "not measured" } } }
            }
            @for paid in paid {
                dt { "privacy, " (paid.purpose) }
                dd {
                    "ε " (format!("{:.2}", epsilon_of_micro(paid.micro_rho)))
                    " spent since " (Moment::of_ms(paid.period_from.0).full()) " UTC; left: " (class_word(paid.budget_class))
                }
            }
            @if let Some(presence) = presence {
                dt { "last sequence number" } dd { (presence.last_seq.map_or("–".to_owned(), |seq| seq.to_string())) }
                dt { "missing reports" } dd { (presence.missing_count) }
                dt { "repeated reports" } dd { (presence.duplicate_count) }
                dt { "malformed reports" } dd { (presence.malformed_count) }
            }
        }
    }
}

fn deliveries(members: &[Member], names: &Names, now: Timestamp) -> Markup {
    if members.is_empty() {
        return part::empty(html! { "In no rollout yet." });
    }
    html! {
        table {
            thead { tr { th { "rollout" } th { "should run" } th { "state" } th { "since" } } }
            @for member in members {
                tr {
                    td { a href=(format!("/rollouts/{}", member.rollout)) { "#" (member.rollout) } }
                    td { (names.link(member.target)) }
                    td { (part::pill(part::delivery_name(member.delivery), part::delivery_tone(member.delivery))) }
                    td { (part::ago(member.changed_at, now)) }
                }
            }
        }
    }
}

/// What a frame tells, in a word.
fn kind(frame: &[u8]) -> &'static str {
    match Frame::decode(frame) {
        Ok(Frame::Summary(_)) => "summary",
        Ok(Frame::MaskedReport(_)) => "masked report",
        Ok(Frame::MaskedPart(_)) => "masked statistics",
        Ok(Frame::NoisedReport(_)) => "noised report",
        Ok(Frame::Alarm(_)) => "alarm",
        Ok(Frame::Statistics(_)) => "statistics",
        Ok(Frame::Outcome(_)) => "outcome",
        Ok(Frame::Shadow(_)) => "shadow",
        Ok(Frame::Update(_)) => "update",
        Ok(Frame::BlockRequest(_)) => "request",
        Ok(Frame::Hello(_)) => "boot",
        Ok(Frame::Keys(_)) => "key set",
        _ => "unknown",
    }
}

fn reports_table(reports: &[Report<'_>], names: &Names, now: Timestamp) -> Markup {
    if reports.is_empty() {
        return part::empty(
            html! { "Nothing heard yet. It reports to " code { "t/{device}/up" } " over MQTT or " code { "POST /api/v1/reports" } "." },
        );
    }
    html! {
        table {
            thead { tr { th.num { "sequence" } th { "received" } th { "model" } th.num { "bytes" } th { "what" } th { "frame" } } }
            @for report in reports {
                tr {
                    td.num { (report.seq) }
                    td { (part::ago(report.received_at, now)) }
                    td { (names.link(Some(report.model))) }
                    td.num { (report.frame.len()) }
                    td { (kind(&report.frame)) }
                    td { code { @for byte in report.frame.iter().take(12) { (format!("{byte:02x}")) } @if report.frame.len() > 12 { "…" } } }
                }
            }
        }
    }
}
