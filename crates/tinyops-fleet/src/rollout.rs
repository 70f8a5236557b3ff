//! Rollouts as the fleet carries them out: what happened goes to [`crate::engine`], what it decides to the store.

mod arrange;
mod case;
mod follow;

use serde_json::json;
use tinyops_store::model::Stage;
use tinyops_store::rollout::{NewRollout, Rollout, RolloutId, RolloutState};
use tinyops_store::{Json, Timestamp, Tx, device, model, rollout};

use self::arrange::{arrange, give_devices};
use self::case::{Case, put_stage};
pub(crate) use self::follow::Setbacks;
use crate::engine::{self, Action, Progress, State};
use crate::enrol::note;
use crate::fleet::lock;
use crate::plan::{Plan, PlanError};
use crate::selector::Selector;
use crate::{Event, Fleet, FleetError};

/// A rollout that someone wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish<'a> {
    /// The model.
    pub model: &'a str,
    /// Its version; there are capsules of it.
    pub version: u32,
    /// The devices, as [`crate::selector`] writes it; empty is every device with a fitting board.
    pub selector: &'a str,
    /// Of several open rollouts, a device belongs to the one of the highest priority, of those the oldest.
    pub priority: i64,
    /// The plan; `None` is the fleet's.
    pub plan: Option<Plan>,
}

impl<'a> Wish<'a> {
    /// A version to every device that fits, by the fleet's plan.
    pub fn of(model: &'a str, version: u32) -> Wish<'a> {
        Wish {
            model,
            version,
            selector: "",
            priority: 0,
            plan: None,
        }
    }
}

/// A rollout's plan and how far it is, as records keep them.
///
/// # Errors
/// [`FleetError::Plan`] for a record that this version cannot read.
pub fn details(rollout: &Rollout) -> Result<(Plan, Progress), FleetError> {
    let progress = serde_json::from_value(rollout.progress.clone()).map_err(|error| {
        FleetError::Plan(PlanError(format!("its progress cannot be read: {error}")))
    })?;
    Ok((plan_of(rollout)?, progress))
}

/// Why a rollout stands where it stands, in a sentence; empty where there is nothing to say.
pub fn sentence(rollout: &Rollout) -> String {
    let text = |name: &str| {
        rollout.reason[name]
            .as_str()
            .filter(|text| !text.is_empty())
    };
    match (text("sentence"), text("why"), text("by")) {
        (Some(sentence), ..) => match text("metric") {
            Some(metric) => format!("{metric}: {sentence}"),
            None => sentence.to_owned(),
        },
        (None, Some(why), Some(by)) => format!("{by}: {why}"),
        (None, Some(why), None) => why.to_owned(),
        (None, None, Some(by)) => format!("by {by}"),
        (None, None, None) => String::new(),
    }
}

/// Rollouts of the past that show how often installing fails.
const PAST_ROLLOUTS: u32 = 20;

/// What the device table looked like, and which rollouts were open, when devices were last given to rollouts.
pub(crate) type Arranged = ((i64, i64), Vec<RolloutId>);

impl Fleet {
    /// Begins a rollout: takes its devices in and offers the model to the first.
    ///
    /// # Errors
    /// [`FleetError::Selector`], [`FleetError::Plan`]; [`FleetError::NoCapsule`] if no device could take it;
    /// [`FleetError::Underway`] if those that could belong to another rollout.
    pub async fn start_rollout(
        &self,
        wish: &Wish<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<(Rollout, Vec<Event>), FleetError> {
        Selector::parse(wish.selector)?;
        let plan = wish
            .plan
            .clone()
            .unwrap_or_else(|| self.policy.rollout.clone());
        plan.check()?;
        let tx = self.db.begin_audited("start a rollout").await?;
        let previous = model::in_stage(&tx, wish.model, Stage::Production).await?;
        let past = rollout::past_installs(&tx, PAST_ROLLOUTS).await?;
        let new = NewRollout {
            model: wish.model.to_owned(),
            version: wish.version,
            previous: previous
                .map(|model| model.version)
                .filter(|version| *version != wish.version),
            selector: wish.selector.trim().to_owned(),
            priority: wish.priority,
            plan: json!(plan),
            progress: Json::Null,
        };
        let mut rollout = rollout::add(&tx, &new, now).await?;
        let share = plan.usual_failures(past);
        rollout.progress = json!(State::new(plan, salt_of(rollout.id), share, now).progress);
        rollout::put(&tx, &mut rollout).await?;
        let mut open = rollout::open(&tx).await?;
        let taken = arrange(&tx, &open).await?;
        let position = open.iter().position(|other| other.id == rollout.id);
        let Some(position) = position else {
            return Err(FleetError::NoRollout(rollout.id));
        };
        let joined = taken.joined.get(&rollout.id).map_or(0, Vec::len);
        if joined == 0 {
            return Err(match taken.elsewhere.get(&rollout.id) {
                Some(owner) => FleetError::Underway(*owner),
                None => FleetError::NoCapsule {
                    model: wish.model.to_owned(),
                    version: wish.version,
                },
            });
        }
        let mut events = Vec::new();
        for (index, other) in open.iter_mut().enumerate() {
            if index != position {
                events.extend(give_devices(&tx, other, &taken, now).await?);
            }
        }
        let mut case = Case::read(&tx, &open[position]).await?;
        case.take(&taken, now);
        let is_everyone = case.state.plan.strategy.wave_count() == 1;
        case.step(engine::Event::Tick, now);
        let offered = case
            .actions
            .iter()
            .filter(|action| {
                matches!(
                    action,
                    Action::Offer { .. } | Action::Fetch { .. } | Action::Shadow { .. }
                )
            })
            .count();
        let stage = match is_everyone {
            true => Stage::Production,
            false => Stage::Canary,
        };
        events.extend(case.keep(&tx, now).await?);
        let rollout = rollout::get(&tx, rollout.id)
            .await?
            .ok_or(FleetError::NoRollout(rollout.id))?;
        put_stage(&tx, &rollout.model, Some(rollout.version), stage).await?;
        let detail = json!({ "model": rollout.model, "version": rollout.version, "devices": joined,
                             "selector": rollout.selector, "plan": rollout.plan });
        note(&tx, now, actor, "rollout.start", rollout.id, &detail).await?;
        tx.commit().await?;
        lock(&self.arranged).take();
        events.insert(
            0,
            Event::RolloutStarted {
                rollout: rollout.clone(),
                canary_count: offered,
            },
        );
        Ok((rollout, events))
    }

    /// Holds a rollout: nobody new is offered anything.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`].
    pub async fn pause_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let event = engine::Event::Pause {
            by: actor.to_owned(),
            why: why.to_owned(),
        };
        self.command(id, event, actor, "rollout.pause", now).await
    }

    /// Lets a held rollout go on.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`].
    pub async fn resume_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let event = engine::Event::Resume {
            by: actor.to_owned(),
        };
        self.command(id, event, actor, "rollout.resume", now).await
    }

    /// Lets devices install what they have fetched, of a rollout whose plan waits for a person.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`]; [`FleetError::NothingWaits`] if its devices wait for
    /// nobody, or wait no more.
    pub async fn install_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let event = engine::Event::Install {
            by: actor.to_owned(),
        };
        self.command(id, event, actor, "rollout.install", now).await
    }

    /// Takes every device of a rollout back to what it ran before, even if the rollout is done.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`] if it was taken back already.
    pub async fn revert_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let event = engine::Event::Revert {
            by: actor.to_owned(),
            why: why.to_owned(),
        };
        self.command(id, event, actor, "rollout.revert", now).await
    }

    /// Takes the fleet back from a model's newest version that any device was offered: every rollout of that
    /// version that is not halted is taken back, and the version before is in production again.
    ///
    /// # Errors
    /// [`FleetError::NothingToTakeBack`].
    pub async fn take_back(
        &self,
        model: &str,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Vec<Rollout>, FleetError> {
        let standing: Vec<Rollout> = rollout::of_model(&self.db, model)
            .await?
            .into_iter()
            .filter(|rollout| rollout.state != RolloutState::Halted)
            .collect();
        let Some(version) = standing.iter().map(|rollout| rollout.version).max() else {
            return Err(FleetError::NothingToTakeBack(model.to_owned()));
        };
        let mut taken_back = Vec::new();
        for rollout in standing.iter().filter(|rollout| rollout.version == version) {
            taken_back.push(self.revert_rollout(rollout.id, actor, why, now).await?);
        }
        Ok(taken_back)
    }

    async fn command(
        &self,
        id: RolloutId,
        event: engine::Event,
        actor: &str,
        action: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let tx = self.db.begin_audited("change a rollout").await?;
        let rollout = command_in(&tx, id, event, (actor, action), now).await?;
        tx.commit().await?;
        Ok(rollout)
    }

    pub(crate) async fn turn_rollouts(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let mut events = Vec::new();
        match self.arrange_devices(now).await {
            Ok(new) => events.extend(new),
            Err(FleetError::Store(error)) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
        for open in rollout::open(&self.db).await? {
            if open.state == RolloutState::Paused {
                continue;
            }
            match self.turn_rollout(open.id, now).await {
                Ok(new) => events.extend(new),
                // Another turn, or an ingest, was there first; the next turn sees what it did.
                Err(FleetError::Store(error)) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    /// Gives devices that are new, or have changed, to the rollouts that they match.
    async fn arrange_devices(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let open: Vec<RolloutId> = rollout::open(&self.db)
            .await?
            .into_iter()
            .map(|rollout| rollout.id)
            .collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let seen = (device::fingerprint(&self.db).await?, open);
        if lock(&self.arranged).as_ref() == Some(&seen) {
            return Ok(Vec::new());
        }
        let tx = self.db.begin("give devices to rollouts").await?;
        let mut open = rollout::open(&tx).await?;
        let taken = arrange(&tx, &open).await?;
        let mut events = Vec::new();
        for rollout in &mut open {
            events.extend(give_devices(&tx, rollout, &taken, now).await?);
        }
        tx.commit().await?;
        *lock(&self.arranged) = Some(seen);
        Ok(events)
    }

    async fn turn_rollout(&self, id: RolloutId, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let tx = self.db.begin_audited("judge a rollout").await?;
        let Some(rollout) = rollout::get(&tx, id).await? else {
            return Ok(Vec::new());
        };
        let mut case = Case::read(&tx, &rollout).await?;
        case.step(engine::Event::Tick, now);
        let events = case.keep(&tx, now).await?;
        tx.commit().await?;
        Ok(events)
    }
}

/// Takes a rollout back in a transaction of its caller's, as [`Fleet::revert_rollout`] does.
pub(crate) async fn revert_in(
    tx: &Tx,
    id: RolloutId,
    actor: &str,
    why: &str,
    now: Timestamp,
) -> Result<Rollout, FleetError> {
    let event = engine::Event::Revert {
        by: actor.to_owned(),
        why: why.to_owned(),
    };
    command_in(tx, id, event, (actor, "rollout.revert"), now).await
}

async fn command_in(
    tx: &Tx,
    id: RolloutId,
    event: engine::Event,
    (actor, action): (&str, &str),
    now: Timestamp,
) -> Result<Rollout, FleetError> {
    let rollout = rollout::get(tx, id)
        .await?
        .ok_or(FleetError::NoRollout(id))?;
    let state = rollout.state;
    let mut case = Case::read(tx, &rollout).await?;
    if state == RolloutState::Done {
        case.find_its_devices(tx, now).await?;
    }
    let is_open = matches!(state, RolloutState::Running | RolloutState::Paused);
    if matches!(event, engine::Event::Install { .. }) && is_open && !case.state.is_unreleased() {
        return Err(FleetError::NothingWaits(id));
    }
    case.step(event, now);
    if case.actions.contains(&Action::Refuse) {
        return Err(FleetError::WrongState { id, state });
    }
    case.keep(tx, now).await?;
    let rollout = rollout::get(tx, id)
        .await?
        .ok_or(FleetError::NoRollout(id))?;
    note(tx, now, actor, action, id, &rollout.reason).await?;
    Ok(rollout)
}

fn plan_of(rollout: &Rollout) -> Result<Plan, FleetError> {
    Ok(Plan::of_record(&rollout.plan)?)
}

fn salt_of(id: RolloutId) -> u64 {
    id.0 as u64
}
