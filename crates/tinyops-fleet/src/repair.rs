//! Repairs as the fleet carries them out: what is known goes to [`crate::ladder`], what it decides to the store.
//!
//! An alert that calls for a repair begins one, if it is of a cohort or of enough devices, at most one for each model
//! family at a time. Each turn tells it what is new; what it asks for is done in the transaction that keeps its next
//! state, so that a server that is stopped between two steps goes on with the next.

mod end;
mod sight;

use std::collections::BTreeMap;

use serde_json::json;
use tinyops_store::alert::Alert;
use tinyops_store::drift::Scope;
use tinyops_store::repair::{self, Repair, RepairId};
use tinyops_store::rollout::RolloutId;
use tinyops_store::round::Round;
use tinyops_store::trigger::NewTrigger;
use tinyops_store::{
    DeviceId, ModelId, Timestamp, Tx, alert, capsule, model, outcome, presence, round, trigger,
};
use tinyops_wire::sealing::AnnotatorKey;

use crate::annotate::{AnnotationWish, Unasked, Whom};
use crate::diagnosis::Advice;
use crate::enrol::note;
use crate::fleet::lock;
use crate::ladder::{self, Action, End, Ladder, Offer};
use crate::rollout::revert_in;
use crate::watch::members_of;
use crate::{Event, Fleet, FleetError};

/// Who is named in the records for what a repair does.
const ACTOR: &str = "repair";

/// How long what takes reading many records is not looked at again, milliseconds.
const LOOK_AGAIN_MS: i64 = 10_000;

/// Repairs of before that are looked through for when a capsule may be tried again.
const BEFORE_MS: i64 = 90 * 24 * 3_600_000;

/// A repair as it is read.
///
/// # Errors
/// [`FleetError::Repair`] for a record that this version cannot read.
pub fn details(repair: &Repair) -> Result<Ladder, FleetError> {
    serde_json::from_value(repair.state.clone()).map_err(|error| FleetError::Repair {
        id: repair.id,
        problem: format!("its record cannot be read: {error}"),
    })
}

/// Alerts of one model, by what they call for.
struct Calling {
    /// Those that sums, or what is cheaper, may answer.
    statistics: Vec<Alert>,
    /// Whether one advises to train.
    wants_training: bool,
}

impl Calling {
    fn of(alerts: Vec<Alert>) -> Calling {
        let advice = |alert: &Alert| Advice::of_word(&alert.advice);
        let wants_training = alerts
            .iter()
            .any(|alert| advice(alert) == Some(Advice::Retrain));
        let mut statistics = alerts;
        statistics.retain(|alert| advice(alert).is_some_and(Advice::calls_for_statistics));
        Calling {
            statistics,
            wants_training,
        }
    }
}

/// Whether alerts are of a cohort, or of as large a share of a model's devices as begins a repair.
fn are_enough(alerts: &[&Alert], running: &[(DeviceId, String)], share_min: f64) -> bool {
    let is_device = |alert: &&&Alert| matches!(alert.scope, Scope::Device(_));
    let devices = alerts.iter().filter(is_device).count();
    let share = devices as f64 / running.len().max(1) as f64;
    devices < alerts.len() || devices > 0 && share >= share_min
}

/// Whether an alert of this scope is about a device of a cohort.
pub(crate) fn concerns(scope: &Scope, (device, cohort): &(DeviceId, String)) -> bool {
    match scope {
        Scope::Device(alarmed) => device == alarmed,
        Scope::Cohort(_) => members_of(scope) == Some(cohort.as_str()),
    }
}

/// Who has drifted, in words, and the cohort, if one alone has.
fn whose(alerts: &[&Alert], running: usize) -> (String, Option<String>) {
    let of_cohorts: Vec<&str> = alerts
        .iter()
        .filter_map(|alert| members_of(&alert.scope))
        .collect();
    match of_cohorts.first() {
        Some(cohort) => {
            let is_alone = of_cohorts.iter().all(|other| other == cohort);
            let why = format!("cohort {cohort} has drifted");
            (why, is_alone.then(|| (*cohort).to_owned()))
        }
        None => (
            format!("{} of {running} devices have drifted", alerts.len()),
            None,
        ),
    }
}

impl Fleet {
    /// Carries on what is being repaired, and begins repairs that standing alerts call for.
    pub(crate) async fn turn_repairs(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let mut events = Vec::new();
        let open = repair::open(&self.db).await?;
        for repair in &open {
            match self.turn_repair(repair.id, now).await {
                Ok(more) => events.extend(more),
                Err(FleetError::Store(error)) if error.is_conflict() => {}
                Err(FleetError::Repair { id, problem }) => {
                    tracing::error!(repair = %id, problem, "a repair cannot go on");
                }
                Err(error) => return Err(error),
            }
        }
        if self.policy.round.open_on_alert {
            events.extend(self.begin_repairs(&open, now).await?);
        }
        Ok(events)
    }

    async fn begin_repairs(
        &self,
        open: &[Repair],
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let mut by_model: BTreeMap<ModelId, Vec<Alert>> = BTreeMap::new();
        for alert in alert::standing(&self.db).await? {
            if !alert.is_muted(now) {
                by_model.entry(alert.model).or_default().push(alert);
            }
        }
        if by_model.is_empty() {
            return Ok(Vec::new());
        }
        let rounds = round::open(&self.db).await?;
        let mut begun: Vec<String> = open.iter().map(|repair| repair.name.clone()).collect();
        let mut events = Vec::new();
        for (model, alerts) in by_model {
            let Some(capsule) = capsule::get(&self.db, model).await? else {
                continue;
            };
            if begun.contains(&capsule.model) {
                continue;
            }
            let begins = self.to_begin(&capsule.model, model, alerts, &rounds, now);
            if let Some((ladder, id)) = begins.await? {
                begun.push(capsule.model.clone());
                events.extend(self.begin_repair(&capsule.model, id, ladder, now).await?);
            }
        }
        Ok(events)
    }

    /// The repair that alerts of a model call for, if they do, and anything can be tried.
    async fn to_begin(
        &self,
        name: &str,
        model: ModelId,
        alerts: Vec<Alert>,
        rounds: &[Round],
        now: Timestamp,
    ) -> Result<Option<(Ladder, ModelId)>, FleetError> {
        let running = presence::running(&self.db, model).await?;
        if running.is_empty() {
            return Ok(None);
        }
        let since = alerts.iter().map(|alert| alert.opened_at).min();
        let mut calling = Calling::of(alerts);
        // Whether or not a repair begins: what features that were moved have answered is over.
        let of_devices = calling.statistics.iter().collect();
        self.left_by_moving(of_devices, &running, now).await?;
        let standing = alert::standing(&self.db).await?;
        let stands = |alert: &Alert| standing.iter().any(|other| other.id == alert.id);
        calling.statistics.retain(stands);
        let concerned: Vec<&Alert> = calling.statistics.iter().collect();
        let share_min = self.policy.round.alarmed_share_min;
        let has_round = rounds.iter().any(|round| round.model == model);
        let is_enough = are_enough(&concerned, &running, share_min)
            && !has_round
            && !self.had_round_lately(model, now).await?;
        let wants_training = !is_enough && calling.wants_training;
        if !(is_enough || wants_training) || self.was_tried(name, model, now).await? {
            return Ok(None);
        }
        let (why, cohort) = match wants_training {
            true => ("a new head did not repair it".to_owned(), None),
            false => whose(&concerned, running.len()),
        };
        let target = self.target(name, model, since.unwrap_or(now)).await?;
        let ladder = Ladder::begin(why, cohort, wants_training, target, now.0);
        let offers = self.offers(name, model, &ladder, now).await?;
        let from = usize::from(wants_training) * 3;
        let is_any = offers.0[from..]
            .iter()
            .any(|offer| matches!(offer, Offer::Open(_)));
        Ok(is_any.then_some((ladder, model)))
    }

    async fn begin_repair(
        &self,
        name: &str,
        model: ModelId,
        ladder: Ladder,
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let tx = self.db.begin_audited("begin a repair").await?;
        // Another server may have been faster.
        if repair::open(&tx)
            .await?
            .iter()
            .any(|open| open.name == name)
        {
            return Ok(Vec::new());
        }
        let begun = repair::add(&tx, name, model, &json!(ladder), now).await?;
        let detail = json!({ "model": model.to_string(), "why": ladder.why });
        note(&tx, now, ACTOR, "repair.begin", begun.id, &detail).await?;
        tx.commit().await?;
        self.turn_repair(begun.id, now).await
    }

    /// Whether a repair of this capsule has ended so lately that it is not tried again.
    async fn was_tried(
        &self,
        name: &str,
        model: ModelId,
        now: Timestamp,
    ) -> Result<bool, FleetError> {
        let since = now.plus_ms(-BEFORE_MS);
        let before = repair::since(&self.db, name, since).await?;
        let Some(last) = before.first() else {
            return Ok(false);
        };
        if now.ms_since(last.changed_at) >= self.policy.repair.again_after_ms {
            return Ok(false);
        }
        let ladder = match details(last) {
            Ok(ladder) => ladder,
            // Nobody knows how it went, and nothing else of the fleet waits for that.
            Err(error) => {
                tracing::error!(repair = %last.id, %error, "a repair of before cannot be read");
                return Ok(true);
            }
        };
        Ok(match ladder.end() {
            Some(End::Unrepaired | End::Stopped) => true,
            // What still runs the capsule of before has not been there since.
            Some(End::Repaired | End::Unjudged) => model == last.model && !ladder.kept.is_empty(),
            Some(End::AlertsOver) | None => false,
        })
    }

    /// What a repair is to reach, and what says so.
    async fn target(
        &self,
        name: &str,
        model: ModelId,
        since: Timestamp,
    ) -> Result<Option<(f64, String)>, FleetError> {
        let all = outcome::judged(&self.db, model, Timestamp(i64::MIN)).await?;
        let later = outcome::judged(&self.db, model, since).await?;
        let (right, judged) = (all.0 - later.0, all.1 - later.1);
        if judged >= self.policy.repair.verdict_windows_min.max(1) {
            let from = format!("as {judged} windows before the first alert, by their labels");
            return Ok(Some((right as f64 / judged as f64, from)));
        }
        let Some(capsule) = capsule::get(&self.db, model).await? else {
            return Ok(None);
        };
        let row = model::get(&self.db, name, capsule.version).await?;
        let accuracy = row.and_then(|row| row.metrics["accuracy"].as_f64());
        Ok(accuracy.map(|share| {
            (
                share,
                "as its test windows when it was registered".to_owned(),
            )
        }))
    }

    /// Tells a repair what is new, and does what it asks for, until nothing is.
    async fn turn_repair(&self, id: RepairId, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let mut events = Vec::new();
        loop {
            let Some(known) = repair::get(&self.db, id).await? else {
                return Ok(events);
            };
            let ladder = details(&known)?;
            let Some(seen) = self.sight(&known, &ladder, now).await? else {
                return Ok(events);
            };
            let step = self.step_repair(known, ladder, seen, ACTOR, now);
            let (more, goes_on) = step.await?;
            events.extend(more);
            if !goes_on {
                return Ok(events);
            }
        }
    }

    /// One step, with all that it leads to at once; whether there may be another.
    async fn step_repair(
        &self,
        mut known: Repair,
        before: Ladder,
        seen: ladder::Event,
        actor: &str,
        now: Timestamp,
    ) -> Result<(Vec<Event>, bool), FleetError> {
        let policy = &self.policy.repair;
        let (mut ladder, mut actions) = before.clone().step(seen, policy, now.0);
        if ladder == before {
            return Ok((Vec::new(), false));
        }
        let tx = self.db.begin_audited("carry on a repair").await?;
        let mut events = Vec::new();
        while !actions.is_empty() {
            let mut next = Vec::new();
            for action in actions {
                let said = self
                    .do_action(&tx, &known, &mut ladder, (action, actor), &mut events, now)
                    .await?;
                if let Some(said) = said {
                    let more;
                    (ladder, more) = ladder.step(said, policy, now.0);
                    next.extend(more);
                }
            }
            actions = next;
        }
        for step in &ladder.steps[before.steps.len()..] {
            let detail = json!({ "level": step.rung.map(ladder::Rung::level), "what": step.what });
            note(&tx, now, actor, "repair.step", known.id, &detail).await?;
        }
        known.is_open = ladder.end().is_none();
        known.state = json!(ladder);
        known.changed_at = now;
        repair::put(&tx, &mut known).await?;
        tx.commit().await?;
        let goes_on = known.is_open;
        if !goes_on {
            lock(&self.looked).remove(&known.id);
            events.push(Event::RepairEnded(known));
        }
        Ok((events, goes_on))
    }

    async fn do_action(
        &self,
        tx: &Tx,
        known: &Repair,
        ladder: &mut Ladder,
        (action, actor): (Action, &str),
        events: &mut Vec<Event>,
        now: Timestamp,
    ) -> Result<Option<ladder::Event>, FleetError> {
        Ok(match action {
            Action::OpenRound => {
                let detail = json!({ "why": ladder.why, "repair": known.id.0 });
                let model = known.model;
                let round = self.add_round(tx, model, None, detail, "fleet", now);
                let round = round.await?;
                let id = round.id.0;
                events.push(Event::RoundOpened(round));
                Some(ladder::Event::RoundOpened(id))
            }
            Action::OrderWindows => Some(self.order(tx, known, ladder, now).await?),
            Action::Train => {
                let capsule = capsule::get(tx, known.model).await?;
                let version = capsule.map(|capsule| capsule.version);
                let new = NewTrigger {
                    kind: "train".to_owned(),
                    model: known.name.clone(),
                    payload: None,
                    detail: json!({
                        "why": ladder.why, "model_id": known.model.to_string(), "version": version,
                        "repair": known.id.0,
                    }),
                };
                let asked = trigger::add(tx, &new, now).await?;
                note(tx, now, "fleet", "trigger.train", asked.id, &asked.detail).await?;
                let id = asked.id.0;
                events.push(Event::Triggered(asked));
                Some(ladder::Event::Asked(id))
            }
            Action::Revert { rollout, why } => {
                match revert_in(tx, RolloutId(rollout), ACTOR, &why, now).await {
                    // A person was faster.
                    Err(FleetError::WrongState { .. } | FleetError::NoRollout(_)) => {}
                    reverted => {
                        events.push(Event::RolloutHalted(reverted?));
                    }
                }
                None
            }
            Action::Tell(end) => {
                self.tell_end(tx, known, ladder, (end, actor), now).await?;
                None
            }
        })
    }

    /// Orders windows of the devices that run what the repair has come to.
    async fn order(
        &self,
        tx: &Tx,
        known: &Repair,
        ladder: &Ladder,
        now: Timestamp,
    ) -> Result<ladder::Event, FleetError> {
        let policy = &self.policy.repair;
        let Some(annotator) = policy.annotator else {
            return Ok(ladder::Event::NotOrdered("nobody is named".to_owned()));
        };
        let why = format!("repair {}: {}", known.id, ladder.why);
        let wish = AnnotationWish {
            annotator: AnnotatorKey(annotator),
            count: policy.windows,
            windows: policy.windows_of,
            within_ms: policy.order_ms,
            why: &why,
        };
        let mut orders = Vec::new();
        for model in self.current(tx, known, ladder).await? {
            let whom = Whom {
                device: None,
                model: Some(model),
                cohort: ladder.cohort.clone(),
            };
            match self.order_windows(tx, &whom, &wish, ACTOR, now).await {
                Ok(more) => orders.extend(more),
                Err(FleetError::Annotation(Unasked::Nobody)) => {}
                Err(error) => return Err(error),
            }
        }
        let ids = || orders.iter().map(|order| order.id.0);
        Ok(match (ids().min(), ids().max()) {
            (Some(first), Some(last)) => ladder::Event::Ordered {
                orders: (first, last),
                count: orders.len() as u32,
            },
            _ => ladder::Event::NotOrdered(Unasked::Nobody.to_string()),
        })
    }

    /// Ends a repair by a person's word; what it has sent out stays as it is. One whose record cannot be read is ended too,
    /// since no other of its model begins before it is: the record stays as it is, and the audit log has the reason.
    ///
    /// # Errors
    /// [`FleetError::NoRepair`], [`FleetError::RepairOver`]; [`FleetError::Reason`] without a reason.
    pub async fn stop_repair(
        &self,
        id: RepairId,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Repair, FleetError> {
        let why = why.trim();
        if why.is_empty() || why.chars().count() > crate::alerts::REASON_MAX {
            return Err(FleetError::Reason);
        }
        crate::again::again!({
            let known = repair::get(&self.db, id).await?;
            let known = known.ok_or(FleetError::NoRepair(id))?;
            if !known.is_open {
                return Err(FleetError::RepairOver(id));
            }
            let stop = ladder::Event::Stop {
                by: actor.to_owned(),
                why: why.to_owned(),
            };
            match details(&known) {
                Ok(ladder) => {
                    self.step_repair(known, ladder, stop, actor, now).await?;
                }
                Err(_) => self.stop_unreadable(known, (actor, why), now).await?,
            }
            let ended = repair::get(&self.db, id).await?;
            ended.ok_or(FleetError::NoRepair(id))
        })
    }

    async fn stop_unreadable(
        &self,
        mut known: Repair,
        (actor, why): (&str, &str),
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let tx = self.db.begin_audited("end a repair").await?;
        let step = json!({ "level": null, "what": format!("{actor} ends it: {why}") });
        note(&tx, now, actor, "repair.step", known.id, &step).await?;
        let end = json!({ "end": End::Stopped.word(), "kept": null, "device_bytes": null });
        note(&tx, now, actor, "repair.end", known.id, &end).await?;
        known.is_open = false;
        known.changed_at = now;
        repair::put(&tx, &mut known).await?;
        tx.commit().await?;
        lock(&self.looked).remove(&known.id);
        Ok(())
    }
}
