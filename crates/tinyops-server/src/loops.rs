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
use tinyops_fleet::rollout::Wish;
use tinyops_pipeline::{
    Job, Progress, Reporter, RunError, Trigger as Cause, Workshop, is_free, job_for,
};
use tinyops_store::model::Stage;
use tinyops_store::run::RunId;
use tinyops_store::trigger::{self, Trigger, TriggerState};
use tinyops_store::{Digest, Json, ModelId, StoreError, Tx, audit, capsule, model};
use tracing::{debug, error, warn};

use crate::app::App;
use crate::event::Event;
use crate::gate::tell;
use crate::release::{ReleaseError, release};
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

/// Answers triggers with pipeline runs until asked to stop.
pub(crate) async fn make(app: App, workshop: Workshop, tick: Duration, mut stop: Stop) {
    if let Err(cause) = take_up(&app).await {
        error!(%cause, "triggers of an earlier process could not be taken up");
    }
    loop {
        tokio::select! {
            () = stop.asked() => return,
            () = tokio::time::sleep(tick) => {}
        }
        let taken = tokio::select! {
            // A run is abandoned at shutdown: the store has its steps, and the next one continues from them.
            () = stop.asked() => return,
            taken = answer_next(&app, &workshop) => taken,
        };
        if let Err(cause) = taken {
            error!(%cause, "a trigger could not be answered");
        }
    }
}

/// Lets triggers wait again that a process took and did not live to answer.
async fn take_up(app: &App) -> Result<(), StoreError> {
    let open = trigger::open(app.db()).await?;
    let tx = app.db().begin_audited("take up triggers").await?;
    for mut left in open {
        if left.state == TriggerState::Taken {
            left.state = TriggerState::Waiting;
            left.changed_at = app.now();
            trigger::put(&tx, &mut left).await?;
            note(&tx, app, "run.wait", &left).await?;
        }
    }
    tx.commit().await
}

/// Takes the oldest waiting trigger, if there is one, and answers it.
async fn answer_next(app: &App, workshop: &Workshop) -> Result<(), StoreError> {
    let db = app.db();
    let tx = db.begin_audited("take a trigger").await?;
    let Some(mut taken) = trigger::take(&tx, app.now()).await? else {
        return Ok(());
    };
    if !is_free(&workshop.root) {
        // A person runs the pipeline. The transaction is dropped: the trigger waits for its turn.
        return Ok(());
    }
    note(&tx, app, "run.take", &taken).await?;
    tx.commit().await?;
    let events = &app.inner().events;
    tell(events, [Event::RunStarted { trigger: taken.id }]);
    app.inner().metrics.runs.inc();
    let answer = answer(app, workshop, &taken).await;
    app.inner().metrics.runs.dec();
    let (run, version, why) = match answer {
        Ok((run, version, why)) => (Some(run), version, why),
        Err(cause) if is_busy(&*cause) => return wait_again(app, taken).await,
        Err(cause) => (None, None, Some(chain(&*cause))),
    };
    taken.run = run.or(taken.run);
    taken.state = match version {
        Some(_) => TriggerState::Done,
        None => TriggerState::Failed,
    };
    taken.changed_at = app.now();
    if let (Json::Object(detail), Some(why)) = (&mut taken.detail, &why) {
        detail.insert("failed".to_owned(), Json::String(why.clone()));
    }
    let tx = db.begin_audited("close a trigger").await?;
    trigger::put(&tx, &mut taken).await?;
    let action = match taken.state {
        TriggerState::Done => "run.done",
        _ => "run.fail",
    };
    note(&tx, app, action, &taken).await?;
    tx.commit().await?;
    let trigger = taken.id;
    tell(
        events,
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

/// Whether the pipeline met a run in another folder, or one that began at the same moment.
fn is_busy(cause: &(dyn std::error::Error + 'static)) -> bool {
    matches!(
        cause.downcast_ref(),
        Some(RunError::AtWork(_) | RunError::FolderBusy { .. })
    )
}

async fn wait_again(app: &App, mut taken: Trigger) -> Result<(), StoreError> {
    taken.state = TriggerState::Waiting;
    taken.changed_at = app.now();
    let tx = app.db().begin_audited("put a trigger back").await?;
    trigger::put(&tx, &mut taken).await?;
    note(&tx, app, "run.wait", &taken).await?;
    tx.commit().await
}

/// Enters into the audit log what becomes of a trigger.
async fn note(tx: &Tx, app: &App, action: &str, about: &Trigger) -> Result<(), StoreError> {
    let detail = serde_json::json!({
        "kind": about.kind, "run": about.run.map(|run| run.0), "failed": about.detail.get("failed"),
    });
    let subject = about.id.to_string();
    audit::add(tx, app.now(), ACTOR, action, &subject, &detail).await
}

type Answer = (RunId, Option<u32>, Option<String>);

/// Runs the pipeline, and sends out what passed every gate.
async fn answer(
    app: &App,
    workshop: &Workshop,
    taken: &Trigger,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let cause = cause(app, taken, &workshop.project.project.name).await?;
    let is_repair = matches!(cause, Cause::RoundClosed { .. });
    let job = job_for(&cause, &workshop.project)?;
    let outcome = tokio::spawn(run(workshop.clone(), job, taken.clone())).await??;
    let run = RunId(outcome.run);
    let Some(version) = outcome.version else {
        return Ok((run, None, Some("a gate said no".to_owned())));
    };
    match send_out(app, &workshop.project.project.name, version, is_repair).await {
        Ok(()) => Ok((run, Some(version), None)),
        // The model is good and registered; that it did not go out is for a person to see.
        Err(cause) => {
            warn!(
                version,
                cause = chain(&cause),
                "the new version did not go out"
            );
            Ok((run, Some(version), Some(chain(&cause))))
        }
    }
}

async fn run(
    workshop: Workshop,
    job: Job,
    taken: Trigger,
) -> Result<tinyops_pipeline::Outcome, RunError> {
    let report: Reporter = Arc::new(|progress: Progress| debug!(?progress, "pipeline"));
    tinyops_pipeline::run(&workshop, &job, Some(taken.id), &report).await
}

/// Signs a version and starts its rollout with the fleet's plan. A repair is meant to predict other classes than the
/// model that has drifted, so that it does does not halt it.
async fn send_out(
    app: &App,
    name: &str,
    version: u32,
    is_repair: bool,
) -> Result<(), ReleaseError> {
    let inner = app.inner();
    let keys = inner.fleet.keys().ok_or(FleetError::NoReleaseKey)?;
    release(&inner.fleet, &keys, name, version, app.now()).await?;
    let mut plan = inner.fleet.policy.rollout.clone();
    if is_repair {
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

/// Why a trigger's words make no sense.
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
