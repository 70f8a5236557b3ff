//! The background tasks that turn both loops.
//!
//! | task | wakes | does |
//! |---|---|---|
//! | `operate` | every tick, and when asked | one turn of the fleet; sends what connected devices are owed |
//! | `make` | every tick, and when a trigger is made | takes a trigger, runs the pipeline, signs the result, starts its rollout |

use std::sync::Arc;
use std::time::Duration;

use tinyops_fleet::FleetError;
use tinyops_fleet::plan::Metric;
use tinyops_fleet::plan::Shadow;
use tinyops_fleet::rollout::Wish;
use tinyops_pipeline::tracking::own;
use tinyops_pipeline::{
    Job, Progress, Reporter, RetrainRollout, RunError, Trigger as Cause, Verdict, is_free, is_left,
    job_for,
};
use tinyops_store::model::Stage;
use tinyops_store::repair::RepairId;
use tinyops_store::run::{self, RunId, RunState};
use tinyops_store::trigger::{self, Trigger, TriggerState};
use tinyops_store::{
    Digest, Json, ModelId, StoreError, Timestamp, Tx, audit, capsule, model, rollout, step,
};
use tracing::{error, info, warn};

use crate::app::{App, AtWork};
use crate::event::Event;
use crate::gate::tell;
use crate::release::{ReleaseError, release};
use crate::retrain::{
    Look, TRIES_MAX, again_at, ask_by_data, ask_by_schedule, cause_of, is_repair,
};
use crate::stop::Stop;

/// Who is named in the records for what the loops do.
const ACTOR: &str = "loop";

/// Turns the operating loop until asked to stop.
pub(crate) async fn operate(app: App, tick: Duration, mut stop: Stop) {
    let wake = app.inner().wake.clone();
    loop {
        tokio::select! {
            () = stop.asked() => return,
            () = tokio::time::sleep(tick) => {}
            () = wake.notified() => {}
        }
        if let Err(cause) = turn(&app).await {
            error!(%cause, source = source(&cause), "a turn of the fleet could not be finished");
        }
    }
}

async fn turn(app: &App) -> Result<(), FleetError> {
    app.settle().await?;
    let inner = app.inner();
    let events = inner.fleet.turn(app.now()).await?;
    tell(&inner.events, events.into_iter().map(Event::Fleet));
    let connected = inner.sessions.devices();
    for (device, messages) in inner.fleet.owed_many(&connected, app.now()).await? {
        for message in messages {
            if !inner.sessions.send(device, &message) {
                inner.metrics.downlinks_dropped.inc();
            }
        }
    }
    Ok(())
}

/// How long a trigger whose run is not at work may stand open, milliseconds: who took it may be about to start the run, or
/// to send out what came of it.
const CLOSING_MS: i64 = 60_000;

/// How long a trigger waits that another run of the project is in the way of, milliseconds: only a try tells whether a run
/// elsewhere has ended, and each leaves records.
const IN_THE_WAY_MS: i64 = 60_000;

/// Answers triggers with pipeline runs until asked to stop.
pub(crate) async fn make(app: App, tick: Duration, mut stop: Stop) {
    let (db, artifacts) = (app.db(), &app.workshop().artifacts);
    if let Err(cause) = own::catch_up(db, artifacts).await {
        error!(%cause, "runs of before could not be told to trackers of experiments");
    }
    let mut look = Look::default();
    loop {
        tokio::select! {
            () = stop.asked() => return,
            () = tokio::time::sleep(tick) => {}
        }
        let turned = tokio::select! {
            // A run is abandoned at shutdown: the store has its steps, and the next one continues from them.
            () = stop.asked() => return,
            turned = turn_pipeline(&app, &mut look) => turned,
        };
        match turned {
            // Another server was faster.
            Err(cause) if cause.is_conflict() => {}
            Err(cause) => error!(%cause, "a trigger could not be answered"),
            Ok(()) => {}
        }
    }
}

/// What the pipeline's loop does at one tick.
pub(crate) async fn turn_pipeline(app: &App, look: &mut Look) -> Result<(), StoreError> {
    ask_by_schedule(app.workshop()).await?;
    ask_by_data(app.workshop(), look, awaits_labels(app).await?).await?;
    own::settle(app.db(), &app.workshop().project.project.name, app.now()).await?;
    take_up(app).await?;
    answer_next(app).await
}

/// The repair of the project's model that awaits newly labelled recordings, and how many.
async fn awaits_labels(app: &App) -> Result<Option<(RepairId, u32)>, StoreError> {
    let name = &app.workshop().project.project.name;
    match app.fleet().awaits_labels(name).await {
        Ok(awaited) => Ok(awaited),
        Err(FleetError::Store(error)) => Err(error),
        Err(cause) => {
            warn!(%cause, "whether a repair awaits labels cannot be told");
            Ok(None)
        }
    }
}

/// Lets triggers of the project wait again that a process took and did not live to answer, and ends those whose run has ended.
async fn take_up(app: &App) -> Result<(), StoreError> {
    let workshop = app.workshop();
    for left in trigger::open(app.db()).await? {
        let is_ours = left.model.is_empty() || left.model == workshop.project.project.name;
        if !is_ours || left.state != TriggerState::Taken {
            continue;
        }
        let run = match left.run {
            Some(id) => run::get(app.db(), id).await?,
            None => None,
        };
        let since = run.as_ref().and_then(|run| run.ended_at);
        // That a server was stopped in the middle is no failure, if it is not one time after the other.
        let stops = left.tries.saturating_sub(1);
        let is_overdue = app.now().ms_since(since.unwrap_or(left.changed_at)) >= CLOSING_MS;
        match run {
            Some(run) if run.ended_at.is_none() => {
                if !is_left(&workshop.root, &run, app.now()) {
                    continue;
                }
                let why = "its process ended in the middle".to_owned();
                again_or_never(app, left, stops, why).await?;
            }
            Some(run) if is_overdue && run.state != RunState::Interrupted => {
                let answer = match version_of(app, run.id).await? {
                    Some(version) => Ok(sent(app, &left, run.id, version).await),
                    None => Ok((run.id, None, Some(ending(&run)))),
                };
                close(app, left, answer).await?;
            }
            Some(_) | None if is_overdue => {
                let why = "its process ended before the run was told of".to_owned();
                again_or_never(app, left, stops, why).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The version that a run has registered, or found there already.
async fn version_of(app: &App, run: RunId) -> Result<Option<u32>, StoreError> {
    let steps = step::of_run(app.db(), run).await?;
    let version = steps
        .iter()
        .find_map(|step| step.detail["version"].as_u64());
    Ok(version.and_then(|version| u32::try_from(version).ok()))
}

/// How a run ended that has registered nothing.
fn ending(run: &run::Run) -> String {
    match run.state {
        RunState::Refused => {
            let gates = run.detail["gates"].as_array().into_iter().flatten();
            let refusing = gates.filter(|gate| gate["passed"] == false);
            let text = |gate: &Json, name: &str| gate[name].as_str().unwrap_or_default().to_owned();
            gates_said_no(refusing.map(|gate| (text(gate, "gate"), text(gate, "why"))))
        }
        state => {
            let error = run.detail["error"].as_str();
            error.unwrap_or(state.word()).to_owned()
        }
    }
}

/// Which gates refuse a model, and why.
fn gates_said_no(refusing: impl Iterator<Item = (String, String)>) -> String {
    let said: Vec<String> = refusing
        .map(|(gate, why)| format!("{gate}: {why}"))
        .collect();
    format!("a gate said no: {}", said.join("; "))
}

/// Takes the project's oldest waiting trigger, if there is one, and answers it.
async fn answer_next(app: &App) -> Result<(), StoreError> {
    let db = app.db();
    let tx = db.begin_audited("take a trigger").await?;
    let project = &app.workshop().project.project.name;
    let Some(taken) = trigger::take(&tx, project, app.now()).await? else {
        return Ok(());
    };
    if !is_free(&app.workshop().root) {
        // A person runs the pipeline. The transaction is dropped: the trigger waits for its turn.
        return Ok(());
    }
    note(&tx, app, "run.take", &taken).await?;
    tx.commit().await?;
    let inner = app.inner();
    tell(&inner.events, [Event::RunStarted { trigger: taken.id }]);
    inner.metrics.runs.inc();
    let answer = answer(app, &taken).await;
    inner.metrics.runs.dec();
    inner.at_work.end(taken.id);
    // The run has written its number into it.
    let Some(taken) = trigger::get(db, taken.id).await? else {
        return Ok(());
    };
    let tries = taken.tries;
    match answer {
        Err(cause) => match cause.downcast_ref() {
            // Whoever took it up answers it.
            Some(RunError::TriggerTaken { .. } | RunError::TakenOver { .. }) => Ok(()),
            Some(RunError::AtWork(_) | RunError::FolderBusy { .. }) => wait_again(app, taken).await,
            Some(error) if error.may_pass() => {
                again_or_never(app, taken, tries, chain(&*cause)).await
            }
            _ => close(app, taken, Err(chain(&*cause))).await,
        },
        Ok(answer) => close(app, taken, Ok(answer)).await,
    }
}

/// Ends a trigger: with the run and the version that it led to, or with why it led to none.
async fn close(
    app: &App,
    mut taken: Trigger,
    answer: Result<Answer, String>,
) -> Result<(), StoreError> {
    let (run, version, why) = match answer {
        Ok((run, version, why)) => (Some(run), version, why),
        Err(why) => (taken.run, None, Some(why)),
    };
    taken.run = run;
    taken.state = match version {
        Some(_) => TriggerState::Done,
        None => TriggerState::Failed,
    };
    taken.changed_at = app.now();
    said(&mut taken, why.as_deref());
    let tx = app.db().begin_audited("close a trigger").await?;
    trigger::put(&tx, &mut taken).await?;
    let action = match taken.state {
        TriggerState::Done => "run.done",
        _ => "run.fail",
    };
    note(&tx, app, action, &taken).await?;
    tx.commit().await?;
    let trigger = taken.id;
    tell(
        &app.inner().events,
        [Event::RunEnded {
            trigger,
            run,
            version,
            why,
        }],
    );
    app.inner().wake.notify_one();
    Ok(())
}

/// Keeps with a trigger why it led to nothing so far.
fn said(trigger: &mut Trigger, why: Option<&str>) {
    if let Json::Object(detail) = &mut trigger.detail {
        match why {
            Some(why) => detail.insert("failed".to_owned(), why.into()),
            None => detail.remove("failed"),
        };
    }
}

/// Puts a trigger back that somebody else's run was in the way of.
async fn wait_again(app: &App, mut taken: Trigger) -> Result<(), StoreError> {
    taken.tries = taken.tries.saturating_sub(1);
    let at = app.now().plus_ms(IN_THE_WAY_MS);
    put_back(app, taken, at).await
}

/// Lets a trigger wait for another try, a while longer with each failure, or ends it where it was tried often enough.
async fn again_or_never(
    app: &App,
    mut taken: Trigger,
    failures: u32,
    why: String,
) -> Result<(), StoreError> {
    if taken.tries >= TRIES_MAX {
        let why = format!("{why}; given up after {TRIES_MAX} tries");
        return close(app, taken, Err(why)).await;
    }
    warn!(trigger = %taken.id, why, "the trigger is tried again");
    said(&mut taken, Some(&why));
    let at = again_at(failures, app.now());
    put_back(app, taken, at).await
}

async fn put_back(app: &App, mut taken: Trigger, at: Timestamp) -> Result<(), StoreError> {
    taken.state = TriggerState::Waiting;
    taken.not_before = at;
    taken.changed_at = app.now();
    let tx = app.db().begin_audited("put a trigger back").await?;
    trigger::put(&tx, &mut taken).await?;
    note(&tx, app, "run.wait", &taken).await?;
    tx.commit().await
}

/// Enters into the audit log what becomes of a trigger.
async fn note(tx: &Tx, app: &App, action: &str, about: &Trigger) -> Result<(), StoreError> {
    let detail = serde_json::json!({
        "kind": about.kind, "cause": cause_of(about), "run": about.run.map(|run| run.0),
        "failed": about.detail.get("failed"),
    });
    let subject = about.id.to_string();
    audit::add(tx, app.now(), ACTOR, action, &subject, &detail).await
}

type Answer = (RunId, Option<u32>, Option<String>);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the pipeline, and sends out what passed every gate.
async fn answer(app: &App, taken: &Trigger) -> Result<Answer, Failure> {
    let workshop = app.workshop();
    let cause = cause(app, taken, &workshop.project.project.name).await;
    let cause = cause.map_err(|cause| match cause {
        // So that a store that was away for a moment is told from words that make no sense.
        CauseError::Store(error) => Failure::from(RunError::Store(error)),
        cause => cause.into(),
    })?;
    let job = job_for(&cause, &workshop.project)?;
    let outcome = tokio::spawn(run(app.clone(), job, taken.clone())).await??;
    let run = RunId(outcome.run);
    let Some(version) = outcome.version else {
        let refusing = outcome
            .gates
            .iter()
            .filter(|gate| gate.verdict == Verdict::Fail);
        let why = gates_said_no(refusing.map(|gate| (gate.name.to_string(), gate.reason.clone())));
        return Ok((run, None, Some(why)));
    };
    Ok(sent(app, taken, run, version).await)
}

async fn run(app: App, job: Job, taken: Trigger) -> Result<tinyops_pipeline::Outcome, RunError> {
    let id = taken.id;
    let work = app.clone();
    let report: Reporter = Arc::new(move |progress: Progress| match progress {
        Progress::Begin(step) => work.inner().at_work.tell(id, AtWork::of(step)),
        Progress::At {
            step,
            done,
            total,
            note,
        } => work.inner().at_work.tell(
            id,
            AtWork {
                done,
                total,
                note,
                ..AtWork::of(step)
            },
        ),
        Progress::Resumes { interrupted } => {
            info!(run = %interrupted.id, "goes on from a run that was interrupted");
        }
        Progress::End(_) => {}
    });
    tinyops_pipeline::run(app.workshop(), &job, Some(taken), &report).await
}

/// Sends out a version that passed every gate, where the project or a drift wants that.
async fn sent(app: &App, taken: &Trigger, run: RunId, version: u32) -> Answer {
    match send_out(app, taken, version).await {
        Ok(()) => (run, Some(version), None),
        // The model is good and registered; that it did not go out is for a person to see.
        Err(cause) => {
            let why = chain(&cause);
            warn!(version, cause = why, "the new version did not go out");
            (run, Some(version), Some(why))
        }
    }
}

/// Signs a version and starts its rollout. A repair goes out by the fleet's plan, anything else as the project says. A
/// repair is meant to predict other classes than the model that has drifted, so that it does does not halt it.
async fn send_out(app: &App, taken: &Trigger, version: u32) -> Result<(), ReleaseError> {
    let inner = app.inner();
    let project = &app.workshop().project;
    let name = &project.project.name;
    let mut plan = inner.fleet.policy.rollout.clone();
    match project.retrain.rollout {
        _ if is_repair(taken) => {}
        RetrainRollout::None => return Ok(()),
        RetrainRollout::Canary => plan.shadow = None,
        RetrainRollout::Shadow => {
            plan.shadow.get_or_insert(Shadow::default());
        }
    }
    let before = rollout::of_model(app.db(), name).await?;
    if before.iter().any(|before| before.version == version) {
        // The same recordings make the same version: what was taken back stays so.
        return Ok(());
    }
    let keys = inner.fleet.keys().ok_or(FleetError::NoReleaseKey)?;
    release(&inner.fleet, &keys, name, version, app.now()).await?;
    if is_repair(taken) {
        plan.halt_on
            .retain(|metric| !matches!(metric, Metric::Labels | Metric::Agreement));
    }
    let wish = Wish {
        plan: Some(plan),
        ..Wish::of(name, version)
    };
    let (_, events) = inner.fleet.start_rollout(&wish, ACTOR, app.now()).await?;
    tell(&inner.events, events.into_iter().map(Event::Fleet));
    Ok(())
}

/// Why it cannot be told what a trigger asks for.
#[derive(Debug, thiserror::Error)]
enum CauseError {
    #[error("trigger kind `{0}` is unknown")]
    Kind(String),
    #[error("the trigger names no statistics")]
    NoStatistics,
    #[error("the trigger names no known model")]
    NoModel,
    #[error("the store could not be read")]
    Store(#[from] StoreError),
}

/// What the pipeline has to know of a trigger.
async fn cause(app: &App, taken: &Trigger, project: &str) -> Result<Cause, CauseError> {
    match taken.kind.as_str() {
        "train" => {
            let production = model::in_stage(app.db(), project, Stage::Production).await?;
            Ok(Cause::Asked {
                production: production.map(|model| model.digest),
            })
        }
        "resolve-head" => {
            let statistics = taken.payload.ok_or(CauseError::NoStatistics)?;
            let number = |name: &str| taken.detail.get(name).and_then(Json::as_u64).unwrap_or(0);
            Ok(Cause::RoundClosed {
                model: counted_model(app, taken).await?,
                statistics,
                devices: u32::try_from(number("device_count")).unwrap_or(u32::MAX),
                labels: number("window_count"),
            })
        }
        other => Err(CauseError::Kind(other.to_owned())),
    }
}

/// The model whose embeddings were counted, by the four bytes that its capsule carries.
async fn counted_model(app: &App, taken: &Trigger) -> Result<Digest, CauseError> {
    let id = taken.detail.get("model_id").and_then(Json::as_str);
    let id: ModelId = id
        .and_then(|text| text.parse().ok())
        .ok_or(CauseError::NoModel)?;
    let capsule = capsule::get(app.db(), id)
        .await?
        .ok_or(CauseError::NoModel)?;
    let model = model::get(app.db(), &capsule.model, capsule.version).await?;
    Ok(model.ok_or(CauseError::NoModel)?.digest)
}

fn source(error: &dyn std::error::Error) -> Option<String> {
    error.source().map(chain)
}

/// An error and what caused it, on one line.
fn chain(error: &(dyn std::error::Error + '_)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
