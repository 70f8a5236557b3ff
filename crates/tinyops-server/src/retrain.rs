//! Runs that no drift asks for: how a person asks for one, and what makes the server ask by itself.

use serde_json::json;
use tinyops_pipeline::{
    RunError, Schedule, Shelf, Since, Workshop, count_fresh, mark_of_sources, since_model,
};
use tinyops_store::repair::RepairId;
use tinyops_store::trigger::{self, NewTrigger, Trigger};
use tinyops_store::{Digest, Json, StoreError, Timestamp, audit, schedule};
use tracing::warn;

use crate::civil::Moment;

/// Longest key of a wish, bytes.
const KEY_BYTES_MAX: usize = 128;
/// Longest reason of a wish, bytes.
const REASON_BYTES_MAX: usize = 1024;

/// Someone's wish for a run.
#[derive(Clone, Copy, Debug)]
pub struct RunWish<'a> {
    /// Who.
    pub actor: &'a str,
    /// Why, for the records.
    pub reason: &'a str,
    /// Names the wish: whoever asks again under it, as after an answer that was lost, asks for nothing new.
    pub key: Option<&'a str>,
}

/// Why nobody can ask for a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WishError {
    /// There is nothing to train on.
    #[error("the project's sources hold no recordings")]
    NoData,
    /// The project's sources cannot be listed.
    #[error(transparent)]
    Sources(RunError),
    /// The key or the reason is too long, or the key is empty.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, a reason {REASON_BYTES_MAX} at most")]
    Length,
    /// The key names a wish for another reason.
    #[error("the key `{0}` names another wish")]
    KeyUsed(String),
    /// Records could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks for a run; who asks under a key that is known gets the trigger of then.
///
/// # Errors
/// [`WishError`].
pub async fn ask_for_run(workshop: &Workshop, wish: RunWish<'_>) -> Result<Trigger, WishError> {
    let is_key = |key: &str| (1..=KEY_BYTES_MAX).contains(&key.len());
    if wish.reason.len() > REASON_BYTES_MAX || !wish.key.is_none_or(is_key) {
        return Err(WishError::Length);
    }
    let (root, spec) = (workshop.root.clone(), workshop.project.data.clone());
    let listed = tokio::task::spawn_blocking(move || Shelf::list(&root, &spec));
    let listed = listed.await.unwrap_or(Err(RunError::NoSource));
    if listed.map_err(WishError::Sources)?.is_empty() {
        return Err(WishError::NoData);
    }
    let detail = json!({ "cause": "asked", "asked_by": wish.actor, "reason": wish.reason });
    let new = new_trigger(workshop, detail);
    let now = (workshop.now)();
    let tx = workshop.db.begin_audited("ask for a run").await?;
    let (asked, is_new) = match wish.key {
        Some(key) => {
            let once = format!("asked:{}:{key}", workshop.project.project.name);
            trigger::add_once(&tx, &new, &once, now).await?
        }
        None => (trigger::add(&tx, &new, now).await?, true),
    };
    if is_new {
        let subject = asked.id.to_string();
        audit::add(&tx, now, wish.actor, "run.ask", &subject, &asked.detail).await?;
        tx.commit().await?;
    } else if asked.detail["reason"] != wish.reason {
        let key = wish.key.unwrap_or_default().to_owned();
        return Err(WishError::KeyUsed(key));
    }
    Ok(asked)
}

/// Who is named in the records for what the server asks of itself.
const ACTOR: &str = "loop";

/// Asks for a run if the project's schedule says that one is due: of moments that were missed, for the last alone, and not
/// while another run is asked for.
///
/// # Errors
/// [`StoreError`]; a conflict if another server was faster.
pub(crate) async fn ask_by_schedule(workshop: &Workshop) -> Result<(), StoreError> {
    let Some((expression, schedule)) = schedule_of(workshop) else {
        return Ok(());
    };
    let (db, now) = (&workshop.db, (workshop.now)());
    let project = &workshop.project.project.name;
    let known = schedule::get(db, project).await?;
    let (mut standing, due) = match known {
        Some(standing) if standing.expression == *expression => {
            let Some(due) = schedule.last(standing.answered_to, now) else {
                return Ok(());
            };
            if is_asked_for(workshop).await? {
                return Ok(());
            }
            (standing, Some(due))
        }
        // A new schedule is for what is to come.
        other => {
            let standing = schedule::Schedule {
                project: project.clone(),
                expression: expression.to_owned(),
                answered_to: now,
                revision: other.map_or(0, |other| other.revision),
            };
            (standing, None)
        }
    };
    let tx = db.begin_audited("answer a schedule").await?;
    standing.answered_to = due.unwrap_or(now);
    schedule::put(&tx, &mut standing).await?;
    match due {
        Some(due) => {
            let moment = Moment::of_ms(due.0).full();
            let why = format!("due at {moment} UTC by `{expression}`");
            let detail = json!({ "cause": "schedule", "why": why, "due_ms": due.0 });
            let new = new_trigger(workshop, detail);
            let once = format!("schedule:{project}:{}", due.0);
            let (asked, is_new) = trigger::add_once(&tx, &new, &once, now).await?;
            if is_new {
                let subject = asked.id.to_string();
                audit::add(&tx, now, ACTOR, "run.ask", &subject, &asked.detail).await?;
            }
        }
        None => {
            let detail = json!({ "schedule": expression });
            audit::add(&tx, now, ACTOR, "run.schedule", project, &detail).await?;
        }
    }
    tx.commit().await
}

/// How long files must stay as they are before they are read, milliseconds: somebody may be copying them.
const SETTLED_MS: i64 = 60_000;

/// What was last seen of the project's sources.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The files, and since when they are so.
    seen: Option<(Digest, Timestamp)>,
    looked_at: Option<Timestamp>,
    /// What was counted last, and how many were wanted: too few, or what a run was asked for by before.
    counted: Option<(Digest, Since, u64)>,
    /// What was wrong with the sources.
    problem: Option<String>,
}

/// Asks for a run if so many recordings as the project says are newly labelled: since the model in production, and since
/// such a run was last asked for. A repair that awaits labels (`repair`: its number, and how many) asks by the same count.
///
/// # Errors
/// [`StoreError`]; a conflict if another server was faster.
pub(crate) async fn ask_by_data(
    workshop: &Workshop,
    look: &mut Look,
    repair: Option<(RepairId, u32)>,
) -> Result<(), StoreError> {
    let by_project = workshop.project.retrain.new_labelled;
    let by_repair = repair.map(|(_, labelled)| labelled);
    let Some(wanted) = by_project.into_iter().chain(by_repair).min() else {
        return Ok(());
    };
    let now = (workshop.now)();
    let is_early = |at: Timestamp| (0..SETTLED_MS).contains(&now.ms_since(at));
    if look.looked_at.is_some_and(is_early) {
        return Ok(());
    }
    look.looked_at = Some(now);
    let repair = repair.map(|(id, _)| id);
    match look_at_data(workshop, look, wanted.into(), repair).await {
        Ok(()) => look.problem = None,
        Err(RunError::Store(error)) => return Err(error),
        Err(error) => {
            let problem = error.to_string();
            if look.problem.as_ref() != Some(&problem) {
                warn!(problem, "whether recordings are new cannot be told");
                look.problem = Some(problem);
            }
        }
    }
    Ok(())
}

async fn look_at_data(
    workshop: &Workshop,
    look: &mut Look,
    wanted: u64,
    repair: Option<RepairId>,
) -> Result<(), RunError> {
    let (db, now) = (&workshop.db, (workshop.now)());
    let mark = mark_of_sources(workshop).await?;
    match look.seen {
        Some((seen, since)) if seen == mark && now.ms_since(since) >= SETTLED_MS => {}
        Some((seen, _)) if seen == mark => return Ok(()),
        _ => {
            look.seen = Some((mark, now));
            return Ok(());
        }
    }
    if is_asked_for(workshop).await? {
        return Ok(());
    }
    let mut since = since_model(workshop).await?;
    since.datasets.extend(last_asked_by_data(workshop).await?);
    let counted = (mark, since, wanted);
    if look.counted.as_ref() == Some(&counted) {
        return Ok(());
    }
    let fresh = count_fresh(workshop, &counted.1).await?;
    if fresh.count < wanted {
        look.counted = Some(counted);
        return Ok(());
    }
    let project = &workshop.project.project.name;
    let since = counted.1.version.as_ref();
    let why = format!(
        "{} recordings are newly labelled{}",
        fresh.count,
        since.map_or_else(String::new, |version| format!(" since {version}"))
    );
    let detail = json!({
        "cause": "data", "why": why, "dataset": fresh.dataset.to_string(), "count": fresh.count,
        "repair": repair.map(|id| id.0),
    });
    let new = new_trigger(workshop, detail);
    let once = format!("data:{project}:{}", fresh.dataset);
    let tx = db.begin_audited("ask for a run by new data").await?;
    let (asked, is_new) = trigger::add_once(&tx, &new, &once, now).await?;
    if is_new {
        let subject = asked.id.to_string();
        audit::add(&tx, now, ACTOR, "run.ask", &subject, &asked.detail).await?;
        tx.commit().await?;
    } else {
        look.counted = Some(counted);
    }
    Ok(())
}

/// What the sources held when recordings last set a run off, whatever became of that.
async fn last_asked_by_data(workshop: &Workshop) -> Result<Option<Digest>, StoreError> {
    let project = &workshop.project.project.name;
    let triggers = trigger::list(&workshop.db, 1000).await?;
    let last = triggers
        .iter()
        .find(|one| one.model == *project && cause_of(one) == "data");
    Ok(last.and_then(|one| one.detail["dataset"].as_str()?.parse().ok()))
}

/// The schedule of the project, which was checked when it was read.
fn schedule_of(workshop: &Workshop) -> Option<(&str, Schedule)> {
    let expression = workshop.project.retrain.schedule.as_deref()?;
    Some((expression, Schedule::parse(expression).ok()?))
}

/// When the schedule asks next.
pub(crate) fn next_by_schedule(workshop: &Workshop) -> Option<Timestamp> {
    schedule_of(workshop)?.1.next((workshop.now)())
}

/// Whether a training is asked for, or at work.
async fn is_asked_for(workshop: &Workshop) -> Result<bool, StoreError> {
    let project = &workshop.project.project.name;
    let open = trigger::open(&workshop.db).await?;
    Ok(open
        .iter()
        .any(|open| open.kind == "train" && open.model == *project))
}

fn new_trigger(workshop: &Workshop, detail: Json) -> NewTrigger {
    NewTrigger {
        kind: "train".to_owned(),
        model: workshop.project.project.name.clone(),
        payload: None,
        detail,
    }
}

/// What made a trigger: `asked`, `schedule`, `data`, or `repair` for what the fleet asks for.
pub(crate) fn cause_of(trigger: &Trigger) -> &str {
    let asked = trigger.detail.get("asked_by").map(|_| "asked");
    let cause = trigger.detail.get("cause").and_then(Json::as_str);
    cause.or(asked).unwrap_or("repair")
}

/// Whether what comes of it goes out as a repair of a drift does, whatever the project says of other runs.
pub(crate) fn is_repair(trigger: &Trigger) -> bool {
    cause_of(trigger) == "repair" || trigger.detail["repair"].is_i64()
}

/// Why it was made, in words; empty where nothing was said.
pub(crate) fn reason_of(trigger: &Trigger) -> String {
    let said = |name: &str| trigger.detail.get(name).and_then(Json::as_str);
    let why = said("reason").or(said("why")).unwrap_or_default();
    match said("asked_by") {
        Some(who) if why.is_empty() => format!("asked for by {who}"),
        Some(who) => format!("{why} ({who})"),
        None => why.to_owned(),
    }
}

/// How often a trigger is taken before it has failed.
pub(crate) const TRIES_MAX: u32 = 5;

/// When a trigger that has failed so often is tried again: at once, after 1, 4, 16, 64 minutes.
pub(crate) fn again_at(failures: u32, now: Timestamp) -> Timestamp {
    match failures.min(TRIES_MAX - 1) {
        0 => now,
        failures => now.plus_ms(60_000 << (2 * failures - 2)),
    }
}
