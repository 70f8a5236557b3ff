//! Small pieces that several pages are made of.

use std::collections::HashMap;

use maud::{Markup, html};
use tinyops_fleet::label::classes_of;
use tinyops_store::alert::{Alert, AlertState};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::device::DeviceState;
use tinyops_store::model::{self, Model, Stage};
use tinyops_store::rollout::{Delivery, RolloutState};
use tinyops_store::run::RunState;
use tinyops_store::step::{Step, StepState};
use tinyops_store::{Db, Digest, Json, ModelId, StoreError, Timestamp};

use crate::app::App;
use crate::chart::Tone;
use crate::civil::{self, Moment};

/// A figure with its name, and a second line.
pub(super) fn tile(
    href: Option<&str>,
    name: &str,
    figure: Markup,
    sub: Markup,
    tone: Option<Tone>,
) -> Markup {
    let class = match tone {
        Some(Tone::Good) => "tile good",
        Some(Tone::Warn) => "tile warn",
        Some(Tone::Bad) => "tile bad",
        _ => "tile",
    };
    let inside = html! {
        div.name { (name) }
        div.figure { (figure) }
        div.sub { (sub) }
    };
    match href {
        Some(href) => html! { a class=(class) href=(href) { (inside) } },
        None => html! { div class=(class) { (inside) } },
    }
}

/// A frame with a heading, a link to more, and a body.
pub(super) fn card(class: &str, title: &str, more: Option<(&str, &str)>, body: Markup) -> Markup {
    html! {
        section class=(format!("card {class}")) {
            div.head {
                h2 { (title) }
                @if let Some((href, text)) = more { a href=(href) { (text) } }
            }
            (body)
        }
    }
}

/// A frame around a chart, which has its own heading.
pub(super) fn chart_card(class: &str, chart: Markup) -> Markup {
    html! { section class=(format!("card {class}")) { (chart) } }
}

/// What stands where a table will be.
pub(super) fn empty(hint: Markup) -> Markup {
    html! { p.empty { (hint) } }
}

pub(super) fn pill(text: &str, tone: Tone) -> Markup {
    html! { span.pill style=(format!("--p:{}", tone.color())) { (text) } }
}

pub(super) fn run_state(state: RunState) -> Markup {
    let tone = match state {
        RunState::Done => Tone::Good,
        RunState::Waiting | RunState::Running => Tone::Series(0),
        RunState::Refused | RunState::Interrupted => Tone::Warn,
        RunState::Failed => Tone::Bad,
    };
    pill(state.word(), tone)
}

pub(super) fn step_state(state: StepState) -> Markup {
    let tone = match state {
        StepState::Done => Tone::Good,
        StepState::Running => Tone::Series(0),
        StepState::Failed => Tone::Bad,
        StepState::Cached | StepState::Waiting | StepState::Skipped => Tone::Quiet,
    };
    pill(state.word(), tone)
}

pub(super) fn stage(stage: Stage) -> Markup {
    let tone = match stage {
        Stage::Production => Tone::Good,
        Stage::Canary => Tone::Series(0),
        Stage::Candidate | Stage::Archived => Tone::Quiet,
        Stage::Rejected => Tone::Bad,
    };
    pill(stage.word(), tone)
}

pub(super) fn alert_state(state: AlertState) -> Markup {
    let tone = match state {
        AlertState::Open => Tone::Bad,
        AlertState::Acknowledged => Tone::Warn,
        AlertState::Resolved => Tone::Good,
    };
    pill(state.word(), tone)
}

/// The state of an alert, and until when it is muted.
pub(super) fn alert_standing(alert: &Alert, now: Timestamp) -> Markup {
    match alert.muted_until {
        Some(until) if alert.is_muted(now) => {
            let left = civil::duration(until.ms_since(now));
            pill(&format!("muted for {left}"), Tone::Quiet)
        }
        _ => alert_state(alert.state),
    }
}

pub(super) fn rollout_state(state: RolloutState) -> Markup {
    let tone = match state {
        RolloutState::Running => Tone::Series(0),
        RolloutState::Paused => Tone::Warn,
        RolloutState::Done => Tone::Good,
        RolloutState::Halted => Tone::Bad,
    };
    pill(state.word(), tone)
}

/// Whether a rollout may still change.
pub(super) fn is_open(state: RolloutState) -> bool {
    matches!(state, RolloutState::Running | RolloutState::Paused)
}

pub(super) fn delivery_tone(delivery: Delivery) -> Tone {
    match delivery {
        Delivery::Confirmed => Tone::Good,
        Delivery::Offered | Delivery::Taken => Tone::Series(0),
        Delivery::Fetching | Delivery::Held => Tone::Series(1),
        Delivery::Shadowing => Tone::Series(2),
        Delivery::Control | Delivery::Left => Tone::Quiet,
        Delivery::Recalled | Delivery::Silent => Tone::Warn,
        Delivery::Failed | Delivery::Reverted => Tone::Bad,
    }
}

/// How far a device of a rollout is, in words.
pub(super) fn delivery_name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Shadowing => "scoring beside",
        Delivery::Fetching => "downloading, to wait",
        Delivery::Held => "downloaded, waiting",
        delivery => delivery.word(),
    }
}

pub(super) fn device_state(state: DeviceState) -> Markup {
    match state {
        DeviceState::Active => pill("active", Tone::Good),
        DeviceState::Revoked => pill("revoked", Tone::Bad),
    }
}

/// How long ago, with the moment as a tooltip.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time title=(Moment::of_ms(at.0).full()) { (civil::ago(now.ms_since(at))) } }
}

/// The start of a digest, with the whole of it as a tooltip.
pub(super) fn digest(digest: &Digest) -> Markup {
    let text = digest.to_string();
    html! { code title=(text) { (text[..12]) } }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}\u{202f}%", 100.0 * share)
}

/// Microseconds in the unit a person would use.
pub(super) fn time(micros: f32) -> String {
    match micros {
        ..1e3 => format!("{micros:.0}\u{202f}µs"),
        ..1e6 => format!("{:.1}\u{202f}ms", micros / 1e3),
        _ => format!("{:.1}\u{202f}s", micros / 1e6),
    }
}

/// Bytes in the unit a person would use.
pub(super) fn bytes(count: i64) -> String {
    match count {
        ..=9_999 => format!("{count}\u{202f}B"),
        10_000..=9_999_999 => format!("{:.1}\u{202f}kB", count as f64 / 1e3),
        _ => format!("{:.1}\u{202f}MB", count as f64 / 1e6),
    }
}

/// The parsed JSON artifact that a step put out under a name; none if there is none.
pub(super) async fn output(
    app: &App,
    steps: &[Step],
    step: &str,
    name: &str,
) -> Result<Option<Json>, StoreError> {
    let outputs = steps.iter().filter(|row| row.name == step);
    let port = outputs
        .flat_map(|row| &row.outputs)
        .find(|port| port.name == name);
    let Some(port) = port else {
        return Ok(None);
    };
    let bytes = app.fleet().artifacts.get(&port.digest).await?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// A number of a record's details, if it is there.
pub(super) fn float(detail: &Json, name: &str) -> Option<f64> {
    detail.get(name).and_then(Json::as_f64)
}

/// What the four bytes in reports stand for.
pub(super) struct Names {
    capsules: HashMap<ModelId, Capsule>,
    pub models: Vec<Model>,
}

impl Names {
    pub(super) async fn load(db: &Db) -> Result<Names, StoreError> {
        let models = model::list(db).await?;
        let mut capsules = HashMap::new();
        let mut families: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        families.dedup();
        for family in families {
            for capsule in capsule::of_model(db, family).await? {
                capsules.insert(capsule.id, capsule);
            }
        }
        Ok(Names { capsules, models })
    }

    pub(super) fn capsule(&self, id: ModelId) -> Option<&Capsule> {
        self.capsules.get(&id)
    }

    /// `fan@3` where the capsule is known, else the bytes.
    pub(super) fn text(&self, id: ModelId) -> String {
        match self.capsule(id) {
            Some(capsule) => format!("{}@{}", capsule.model, capsule.version),
            None => id.to_string(),
        }
    }

    /// The name, linked to its page.
    pub(super) fn link(&self, id: Option<ModelId>) -> Markup {
        // A device that has no model yet reports 0.
        let id = id.filter(|id| id.0 != 0);
        match id.map(|id| (id, self.capsule(id))) {
            Some((_, Some(capsule))) => model_link(&capsule.model, capsule.version),
            Some((id, None)) => html! { code { (id) } },
            None => html! { span.muted { "none yet" } },
        }
    }

    /// The classes of a capsule, as its details tell.
    pub(super) fn labels(&self, id: ModelId) -> Vec<String> {
        self.capsule(id)
            .map_or_else(Vec::new, |capsule| classes_of(&capsule.detail))
    }
}

pub(super) fn model_link(name: &str, version: u32) -> Markup {
    html! { a href=(format!("/models/{name}/{version}")) { (name) "@" (version) } }
}
