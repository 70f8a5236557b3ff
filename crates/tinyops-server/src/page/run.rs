//! Runs: what the pipeline did, step by step, and how good its result is.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use tinyops_store::run::{self, Run, RunId, RunState};
use tinyops_store::step::{self, Step};
use tinyops_store::trigger::{self, Trigger, TriggerId, TriggerState};
use tinyops_store::{Json, StoreError, Timestamp};

use super::part::{self, float};
use super::{Page, PageError, Place};
use crate::app::App;
use crate::chart::{Bar, Bars, Confusion, LineChart, Series, Tone, XAxis, number};
use crate::civil::{self, Moment};
use crate::retrain::{cause_of, next_by_schedule, reason_of};
use crate::text::Text;

pub(super) async fn list(State(app): State<App>) -> Result<Response, PageError> {
    let runs = Runs::read(&app, 100).await?;
    let newest = trigger::list(app.db(), 100).await?;
    let unanswered = newest.into_iter().filter(|trigger| match trigger.state {
        TriggerState::Waiting | TriggerState::Taken => true,
        TriggerState::Failed => trigger.run.is_none(),
        TriggerState::Done => false,
    });
    let unanswered: Vec<Trigger> = unanswered.collect();
    Ok(Page {
        place: Place::Runs,
        title: "Runs".to_owned(),
        lead: html! {
            "Every execution of the pipeline, and why it ran: a person, a request, the calendar, new recordings, or a drift that the fleet reported."
            @if let Some(next) = next_by_schedule(app.workshop()) {
                " By the calendar again at " (Moment::of_ms(next.0).full()) " UTC."
            }
        },
        body: html! {
            @if !unanswered.is_empty() {
                (part::card("", "Asked for", None, asked_table(&app, &unanswered)))
            }
            section.card { (table(&runs, app.now())) }
        },
    }
    .framed(&app))
}

/// Runs, with what they answer.
pub(super) struct Runs {
    runs: Vec<Run>,
    triggers: BTreeMap<TriggerId, Trigger>,
}

impl Runs {
    /// The newest ones.
    pub(super) async fn read(app: &App, limit: u32) -> Result<Runs, StoreError> {
        let runs = run::list(app.db(), limit).await?;
        let triggers = trigger::of_runs(app.db(), &runs).await?;
        Ok(Runs { runs, triggers })
    }
}

/// What waits for a run, is at work, or led to none.
fn asked_table(app: &App, triggers: &[Trigger]) -> Markup {
    let now = app.now();
    html! {
        div.tablewrap { table {
            thead { tr { th { "trigger" } th { "pipeline" } th { "state" } th { "since" } th { "because of" } th { "how it goes" } } }
            @for trigger in triggers {
                tr {
                    td { a href=(format!("/episodes/{}", trigger.id)) { "#" (trigger.id) } }
                    td { (trigger.kind) }
                    td { (trigger.state) @if trigger.tries > 1 { ", try " (trigger.tries) } }
                    td { (part::ago(trigger.created_at, now)) }
                    td.wide { (because(trigger)) }
                    td.wide { (how_it_goes(app, trigger)) }
                }
            }
        } }
    }
}

fn how_it_goes(app: &App, trigger: &Trigger) -> Markup {
    let failed = trigger.detail.get("failed").and_then(Json::as_str);
    html! {
        @if let Some(at) = app.inner().at_work.of(trigger.id) {
            (at.step) @if at.total > 0 { " " (at.done) " of " (at.total) } " " span.muted { (at.note) }
        } @else if let Some(why) = failed {
            span.bad { (why) }
            @if trigger.state == TriggerState::Waiting { " (again at " (Moment::of_ms(trigger.not_before.0).full()) " UTC)" }
        }
    }
}

/// What made a trigger, and why.
fn because(trigger: &Trigger) -> Markup {
    let (cause, why) = (cause_of(trigger), reason_of(trigger));
    html! { a href=(format!("/episodes/{}", trigger.id)) { (cause) } @if !why.is_empty() { ": " (why) } }
}

pub(super) fn table(of: &Runs, now: Timestamp) -> Markup {
    if of.runs.is_empty() {
        return part::empty(
            html! { "No run yet. " code { "tinyops run" } " in a project folder starts the first." },
        );
    }
    html! {
        div.tablewrap { table {
            thead { tr { th { "run" } th { "pipeline" } th { "state" } th.num { "accuracy" } th { "started" } th.num { "took" } th { "because of" } } }
            @for run in &of.runs {
                tr {
                    td { a href=(format!("/runs/{}", run.id)) { "#" (run.id) } }
                    td { (run.kind) }
                    td { (part::run_state(run.state_at(now))) }
                    td.num { (run_metric(run).map_or("–".to_owned(), part::percent)) }
                    td { (part::ago(run.started_at, now)) }
                    td.num { (run.ended_at.map_or("–".to_owned(), |end| civil::duration(end.ms_since(run.started_at)))) }
                    td.wide { (of_run(run, &of.triggers)) }
                }
            }
        } }
    }
}

fn of_run(run: &Run, triggers: &BTreeMap<TriggerId, Trigger>) -> Markup {
    html! {
        @match run.trigger.and_then(|id| triggers.get(&id)) {
            Some(trigger) => (because(trigger)),
            None => span.muted { "a person" },
        }
    }
}

fn run_metric(run: &Run) -> Option<f64> {
    run.detail
        .get("metrics")
        .and_then(|metrics| float(metrics, "accuracy"))
}

pub(super) async fn show(
    State(app): State<App>,
    Path(Text(id)): Path<Text<RunId>>,
) -> Result<Response, PageError> {
    let db = app.db();
    let run = run::get(db, id)
        .await?
        .ok_or_else(|| PageError::Missing(format!("Run {id}")))?;
    let steps = step::of_run(db, id).await?;
    let triggers = trigger::of_runs(db, std::slice::from_ref(&run)).await?;
    let why = of_run(&run, &triggers);
    let detail = |name: &str| {
        steps
            .iter()
            .find(|step| step.name == name)
            .map(|step| &step.detail)
    };
    let evaluation = part::output(&app, &steps, "evaluate", "evaluation").await?;
    let body = html! {
        div.grid {
            (part::card("w7", "Steps", None, steps_table(&steps)))
            (part::card("w5", "Facts", None, facts(&run, why, app.now())))
            @if let Some(gates) = run.detail.get("gates").and_then(Json::as_array) {
                (part::card("", "Gates", None, gates_table(gates)))
            }
            @if let Some(evaluation) = &evaluation { (judgement(evaluation)) }
            @if let Some(losses) = detail("train").and_then(|d| d.get("losses")).and_then(Json::as_array) {
                (part::chart_card("w7", loss_curve(losses)))
            }
        }
    };
    Ok(Page {
        place: Place::Runs,
        title: format!("Run {id}"),
        lead: html! { (run.kind) " of project " strong { (run.project) } " " (part::run_state(run.state_at(app.now()))) },
        body,
    }
    .framed(&app))
}

fn facts(run: &Run, why: Markup, now: Timestamp) -> Markup {
    let unended = match run.state_at(now) {
        RunState::Interrupted => {
            "interrupted: its process ended in the middle; the next run goes on from the steps that are done"
        }
        _ => "not over yet",
    };
    html! {
        dl.facts {
            dt { "started" } dd { (Moment::of_ms(run.started_at.0).full()) " UTC" }
            dt { "took" } dd { (run.ended_at.map_or(unended.to_owned(), |end| civil::duration(end.ms_since(run.started_at)))) }
            dt { "because of" } dd { (why) }
            @if let Some(owner) = &run.owner { dt { "by" } dd { (owner) } }
            dt { "code" } dd { code { (run.code) } }
            dt { "seed" } dd { code { (run.seed) } }
            dt { "settings" } dd { (part::digest(&run.settings)) }
            @if let Some(error) = run.detail.get("error").and_then(Json::as_str) {
                dt { "error" } dd.bad { (error) }
            }
        }
    }
}

fn steps_table(steps: &[Step]) -> Markup {
    if steps.is_empty() {
        return part::empty(html! { "No step has begun." });
    }
    html! {
        div.tablewrap { table {
            thead { tr { th { "step" } th { "state" } th.num { "took" } th { "result" } th { "made" } } }
            @for step in steps {
                tr {
                    td { strong { (step.name) } }
                    td { (part::step_state(step.state)) }
                    td.num { (civil::duration((step.seconds * 1000.0) as i64)) }
                    td.wide { (step.detail.get("summary").and_then(Json::as_str).unwrap_or("")) }
                    td { @for port in &step.outputs { div { span.muted { (port.name) " " } (part::digest(&port.digest)) } } }
                }
            }
        } }
    }
}

fn gates_table(gates: &[Json]) -> Markup {
    let text = |gate: &Json, name: &str| {
        let text = gate.get(name).and_then(Json::as_str);
        text.unwrap_or_default().to_owned()
    };
    html! {
        table {
            thead { tr { th { "gate" } th { "passed" } th { "figures" } } }
            @for gate in gates {
                tr {
                    td { (text(gate, "gate")) " " (text(gate, "slice")) (text(gate, "board")) }
                    td { @match text(gate, "verdict").as_str() {
                        "pass" => (part::pill("yes", Tone::Good)),
                        "fail" => (part::pill("no", Tone::Bad)),
                        _ => (part::pill("not asked", Tone::Quiet)),
                    } }
                    td.muted { (text(gate, "why")) }
                }
            }
        }
    }
}

/// Everything the evaluation of the exact int8 artifact says, next to the float model.
pub(super) fn judgement(detail: &Json) -> Markup {
    let int8 = detail.get("int8").unwrap_or(&Json::Null);
    let float_model = detail.get("float").unwrap_or(&Json::Null);
    let labels: Vec<String> = strings(int8.get("classes"));
    let counts: Vec<Vec<u64>> = int8
        .get("confusion")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .map(|row| {
            row.as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_u64)
                .collect()
        })
        .collect();
    let confusion = Confusion {
        title: "Confusion of classes",
        note: Some("int8 on the test split, counts of windows"),
        labels: &labels,
        counts: &counts,
        empty: "This model has no classes; see its figures.",
    };
    let roc = points(int8.get("roc"), "points");
    html! {
        (part::card("w5", "Float and int8", None, side_by_side(int8, float_model)))
        @if !labels.is_empty() { (part::chart_card("w7", confusion.draw())) }
        @if !labels.is_empty() { (part::chart_card("w5", recalls(int8))) }
        @if roc.len() > 1 { (part::chart_card("w7", roc_curve(roc))) }
        (super::slices::cards(int8))
    }
}

fn strings(list: Option<&Json>) -> Vec<String> {
    let list = list.and_then(Json::as_array).into_iter().flatten();
    list.filter_map(Json::as_str).map(str::to_owned).collect()
}

fn side_by_side(int8: &Json, float_model: &Json) -> Markup {
    const FIGURES: [(&str, &str); 6] = [
        ("accuracy", "accuracy"),
        ("macro_f1", "macro F1"),
        ("rmse", "RMSE"),
        ("mean_absolute_error", "mean absolute error"),
        ("/roc/auc", "anomaly AUC"),
        ("/operation/expected_cost", "expected cost per window"),
    ];
    let read = |from: &Json, name: &str| match name.starts_with('/') {
        true => from.pointer(name).and_then(Json::as_f64),
        false => float(from, name),
    };
    let text = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
    html! {
        table {
            thead { tr { th { "figure" } th.num { "int8" } th.num { "float" } th.num { "loss" } } }
            @for (name, shown) in FIGURES {
                @let (quantized, exact) = (read(int8, name), read(float_model, name));
                @if quantized.is_some() {
                    tr {
                        td { (shown) }
                        td.num { strong { (text(quantized)) } }
                        td.num { (text(exact)) }
                        td.num.muted { (text(exact.zip(quantized).map(|(exact, quantized)| exact - quantized))) }
                    }
                }
            }
            tr { td { "windows judged" } td.num { (number(float(int8, "windows").unwrap_or(f64::NAN))) } td {} td {} }
        }
    }
}

fn recalls(int8: &Json) -> Markup {
    let classes = int8
        .get("per_class")
        .and_then(Json::as_array)
        .into_iter()
        .flatten();
    Bars {
        title: "F1 by class",
        note: Some("harmonic mean of precision and recall, int8"),
        unit: "F1",
        bars: classes
            .map(|class| Bar {
                name: class
                    .get("label")
                    .and_then(Json::as_str)
                    .unwrap_or("?")
                    .to_owned(),
                value: float(class, "f1").unwrap_or(f64::NAN),
                tone: Tone::Series(0),
            })
            .collect(),
        full: Some(1.0),
        threshold: None,
        empty: "No class was judged.",
    }
    .draw()
}

/// The points of a curve, as pairs or as objects with `false_alarm_rate` and `hit_rate`.
fn points(curve: Option<&Json>, name: &str) -> Vec<(f64, f64)> {
    let points = curve
        .and_then(|curve| curve.get(name))
        .and_then(Json::as_array);
    let pair = |point: &Json| match point.as_array() {
        Some(pair) => Some((pair.first()?.as_f64()?, pair.get(1)?.as_f64()?)),
        None => Some((float(point, "false_alarm_rate")?, float(point, "hit_rate")?)),
    };
    points.into_iter().flatten().filter_map(pair).collect()
}

fn roc_curve(points: Vec<(f64, f64)>) -> Markup {
    LineChart {
        title: "Alarms found against false alarms",
        note: Some("ROC of the int8 score; up and left is better"),
        x: XAxis::Number("share of normal windows that alarm"),
        y: "share of faulty windows found",
        y_range: Some((0.0, 1.0)),
        series: vec![
            Series {
                name: "model".to_owned(),
                points,
                tone: Tone::Series(0),
                dashed: false,
            },
            Series {
                name: "guessing".to_owned(),
                points: vec![(0.0, 0.0), (1.0, 1.0)],
                tone: Tone::Quiet,
                dashed: true,
            },
        ],
        markers: Vec::new(),
        spans: Vec::new(),
        threshold: None,
        width: 620.0,
        height: 280.0,
        empty: "No curve: the test split has windows of one kind only.",
    }
    .draw()
}

fn loss_curve(losses: &[Json]) -> Markup {
    let losses = losses.iter().filter_map(Json::as_f64).enumerate();
    LineChart {
        title: "Loss by epoch",
        note: Some("of the training split"),
        x: XAxis::Number("epoch"),
        y: "loss",
        y_range: None,
        series: vec![Series {
            name: "training".to_owned(),
            points: losses
                .map(|(index, loss)| (index as f64 + 1.0, loss))
                .collect(),
            tone: Tone::Series(0),
            dashed: false,
        }],
        markers: Vec::new(),
        spans: Vec::new(),
        threshold: None,
        width: 560.0,
        height: 240.0,
        empty: "This kind of model is solved in one pass: there are no epochs.",
    }
    .draw()
}
