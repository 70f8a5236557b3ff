//! What is to be seen of a repair: what the records say of the phase that it is in.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tinyops_store::alert::Alert;
use tinyops_store::annotation::{self, AnnotationState};
use tinyops_store::capsule::Capsule;
use tinyops_store::drift::Scope;
use tinyops_store::repair::{self, Repair};
use tinyops_store::rollout::{Rollout, RolloutState};
use tinyops_store::round::{RoundId, RoundState};
use tinyops_store::run::RunId;
use tinyops_store::trigger::{Trigger, TriggerId, TriggerState};
use tinyops_store::{
    DeviceId, Json, ModelId, Read, Timestamp, alert, capsule, drift, hello, outcome, presence,
    rollout, round, step, trigger,
};
use tinyops_wire::frame::Features;

use super::{Calling, LOOK_AGAIN_MS, are_enough, details};
use crate::detector::Memory;
use crate::episode::Judged;
use crate::fleet::lock;
use crate::label::classes_of;
use crate::ladder::{
    BUDGET_MS, Event, Ladder, Offer, Orders, Phase, Rung, Shipped, Standing, masked_round_bytes,
    order_bytes, round_bytes,
};
use crate::masked::Mode;
use crate::masked_round::NO_RING;
use crate::restandardize::Outcome;
use crate::rollout::sentence;
use crate::{Fleet, FleetError};

/// Newest triggers that are looked through for those of a repair.
const TRIGGERS: u32 = 1000;

/// Width of an embedding that a capsule of before says nothing of.
const WIDTH_UNSAID: usize = 64;
/// Readings of a window that a capsule of before says nothing of: a second of sound.
const READINGS_UNSAID: usize = 16_000;

/// What a capsule says of the sizes that a device's answers have: classes, width of the embedding, readings of a window.
fn sizes(capsule: &Capsule) -> (usize, usize, usize) {
    let number = |name: &str| {
        let number = capsule.detail.get(name).and_then(Json::as_u64);
        number
            .filter(|number| *number > 0)
            .map(|number| number as usize)
    };
    (
        classes_of(&capsule.detail).len(),
        number("embedding_width").unwrap_or(WIDTH_UNSAID),
        number("window_readings").unwrap_or(READINGS_UNSAID),
    )
}

impl Fleet {
    /// What is new to a repair; `None` where there is nothing to tell it.
    pub(super) async fn sight(
        &self,
        known: &Repair,
        ladder: &Ladder,
        now: Timestamp,
    ) -> Result<Option<Event>, FleetError> {
        let db = &self.db;
        Ok(match &ladder.phase {
            Phase::Over { .. } | Phase::Beginning { .. } => None,
            Phase::Choosing { .. } if self.is_looked_at(known, false, now) => None,
            Phase::Choosing { .. } => {
                let (offers, trains_at_once) =
                    self.offers(&known.name, known.model, ladder, now).await?;
                Some(Event::Look {
                    standing: self.standing(known, ladder, now).await?,
                    offers,
                    other_bytes: self.other_bytes(known, now).await?,
                    trains_at_once,
                })
            }
            Phase::OnDevices { rung } => {
                let is_late = now.0 - ladder.since_ms >= self.policy.repair.own_heads_ms;
                match rung {
                    Rung::OwnHeads if self.is_looked_at(known, is_late, now) => None,
                    Rung::OwnHeads => {
                        let outcome = self.own_heads(known.model, is_late).await?;
                        Some(Event::OnDevices(outcome))
                    }
                    _ => Some(Event::OnDevices(self.moved(known.model, now).await?)),
                }
            }
            Phase::Gathering { round } => self.round_over(RoundId(*round)).await?,
            Phase::Running { trigger, .. } => {
                let found = trigger::get(db, TriggerId(*trigger)).await?;
                match found {
                    Some(asked) => self.run_over(known, &asked).await?,
                    None => None,
                }
            }
            Phase::Shipping { version, .. } => {
                Some(Event::Shipped(self.shipped(known, *version).await?))
            }
            Phase::Judging {
                version, rollout, ..
            } => {
                let is_late = now.0 - ladder.since_ms >= self.policy.repair.verdict_within_ms;
                match self.is_looked_at(known, is_late, now) {
                    true => None,
                    false => self.labels(known, ladder, *version, *rollout, now).await?,
                }
            }
            Phase::Labelling { orders, .. } => {
                let is_late = now.0 - ladder.since_ms >= self.policy.repair.labelled_within_ms;
                match self.is_looked_at(known, is_late, now) {
                    true => None,
                    false => Some(Event::Orders(self.ordered(known, *orders, now).await?)),
                }
            }
        })
    }

    /// Whether what takes reading many records was looked at a moment ago. What is late is looked at.
    fn is_looked_at(&self, known: &Repair, is_late: bool, now: Timestamp) -> bool {
        let mut looked = lock(&self.looked);
        let before = looked.get(&known.id).copied();
        let lately = before.is_some_and(|(at, revision)| {
            revision == known.revision && (0..LOOK_AGAIN_MS).contains(&now.ms_since(at))
        });
        if lately && !is_late {
            return true;
        }
        looked.insert(known.id, (now, known.revision));
        false
    }

    /// The capsules that the devices run which a repair is about.
    pub(super) async fn current(
        &self,
        on: &impl Read,
        known: &Repair,
        ladder: &Ladder,
    ) -> Result<Vec<ModelId>, FleetError> {
        match ladder.kept.last() {
            Some((_, version)) => Ok(capsules(on, &known.name, *version).await?),
            None => Ok(vec![known.model]),
        }
    }

    async fn standing(
        &self,
        known: &Repair,
        ladder: &Ladder,
        now: Timestamp,
    ) -> Result<Standing, FleetError> {
        let current = self.current(&self.db, known, ladder).await?;
        let alerts = alert::standing(&self.db).await?;
        let mut of_it = alerts.iter().filter(|alert| current.contains(&alert.model));
        let calls = |alert: &&Alert| {
            use crate::diagnosis::Advice;
            let advice = Advice::of_word(&alert.advice);
            advice.is_some_and(|advice| advice.calls_for_statistics() || advice == Advice::Retrain)
        };
        let of_it: Vec<&Alert> = of_it.by_ref().filter(calls).collect();
        Ok(match of_it.iter().all(|alert| alert.is_muted(now)) {
            _ if of_it.is_empty() => Standing::Over,
            true => Standing::Muted,
            false => Standing::Stands,
        })
    }

    /// What repairs of the same family have cost a device in the time of the budget, but for this one.
    async fn other_bytes(&self, known: &Repair, now: Timestamp) -> Result<u64, FleetError> {
        let since = now.plus_ms(-BUDGET_MS);
        let others = repair::since(&self.db, &known.name, since).await?;
        // One that cannot be read holds up no other.
        let of = |other: &Repair| details(other).ok().map(|ladder| ladder.device_bytes);
        let others = others.iter().filter(|other| other.id != known.id);
        Ok(others.filter_map(of).sum())
    }

    /// What can be tried of a model, by rung; whether the last trains on what there is.
    pub(super) async fn offers(
        &self,
        name: &str,
        model: ModelId,
        ladder: &Ladder,
        now: Timestamp,
    ) -> Result<([Offer; 4], bool), FleetError> {
        let running = presence::running(&self.db, model).await?;
        let closed = |why: &str| Offer::Closed(why.to_owned());
        let able = async |features: Features| {
            let able: HashSet<DeviceId> = hello::having(&self.db, features.0)
                .await?
                .into_iter()
                .collect();
            let count = running
                .iter()
                .filter(|(device, _)| able.contains(device))
                .count();
            Ok::<usize, FleetError>(count)
        };
        let is_asked = self.policy.round.restandardizes().is_some();
        let restandardize = match is_asked {
            false => closed("the project does not ask for it (`restandardize` under `[repair]`)"),
            true if !self.can_move(model, now).await? => {
                closed("neither place nor spread of an input is part of what stands")
            }
            true if able(Features::RESTANDARDIZES).await? == 0 => closed("no device can"),
            true => Offer::Open(0),
        };
        let own_heads = match (self.policy.own_heads, self.policy.privacy.mode) {
            (false, _) => {
                closed("the project does not ask for it (`personal_head` under `[repair]`)")
            }
            (true, Mode::Masked | Mode::Local) => {
                closed("no report tells of it where devices tell nothing of themselves")
            }
            (true, Mode::Any) if able(Features::OWN_HEAD).await? == 0 => {
                closed("no device has room for it")
            }
            (true, Mode::Any) => Offer::Open(0),
        };
        let capsule = capsule::get(&self.db, model).await?;
        let (class_count, width, _) = capsule.as_ref().map_or((0, WIDTH_UNSAID, 0), sizes);
        let frame_bytes = self.policy.round.frame_bytes;
        let round = match self.policy.privacy.mode {
            Mode::Local => Offer::Closed(FleetError::NoStatistics.to_string()),
            _ if !self.may_open_masked(model, running.len()).await? => closed(
                "too few devices run the model for a sum under masks, or nobody is there to open it",
            ),
            _ if self.is_round_near(model, now).await? => Offer::Later,
            Mode::Any => Offer::Open(round_bytes(class_count, width, frame_bytes)),
            Mode::Masked => {
                // The number of the round says nothing of its ring.
                let (privacy, count) = (&self.policy.privacy, running.len() as u32);
                match privacy.update_task(model, RoundId(0), count) {
                    Some(task) => {
                        let bits = task.ring_bits;
                        Offer::Open(masked_round_bytes(class_count, width, frame_bytes, bits))
                    }
                    None => closed(NO_RING),
                }
            }
        };
        let (windows, trains_at_once) = match self.policy.repair.annotator {
            Some(_) => (self.order_offer(name, model, ladder, now).await?, false),
            None if ladder.wants_training && !self.was_trained(model).await? => {
                (Offer::Open(0), true)
            }
            None if ladder.wants_training => (closed("training was asked for before"), false),
            None => (
                closed("nobody is named who may see windows (`annotator` under `[repair]`)"),
                false,
            ),
        };
        Ok(([restandardize, own_heads, round, windows], trains_at_once))
    }

    async fn can_move(&self, model: ModelId, now: Timestamp) -> Result<bool, FleetError> {
        let Some(baseline) = self.baseline(&self.db, model).await? else {
            return Ok(false);
        };
        let alerts = alert::standing(&self.db).await?;
        Ok(alerts.iter().any(|alert| {
            alert.model == model
                && !alert.is_muted(now)
                && crate::restandardize::helps(alert, &baseline)
        }))
    }

    async fn is_round_near(&self, model: ModelId, now: Timestamp) -> Result<bool, FleetError> {
        let open = round::open(&self.db).await?;
        Ok(open.iter().any(|round| round.model == model)
            || self.had_round_lately(model, now).await?)
    }

    async fn order_offer(
        &self,
        name: &str,
        model: ModelId,
        ladder: &Ladder,
        now: Timestamp,
    ) -> Result<Offer, FleetError> {
        let current = match ladder.kept.last() {
            Some((_, version)) => capsules(&self.db, name, *version).await?,
            None => vec![model],
        };
        let is_waited_for = now.0 - ladder.since_ms < self.policy.repair.order_ms;
        if ladder.has_shipped && is_waited_for && !self.are_back(name, &current).await? {
            return Ok(Offer::Later);
        }
        let mut most = None;
        for id in current {
            let running = presence::running(&self.db, id).await?;
            let is_meant =
                |cohort: &String| ladder.cohort.as_ref().is_none_or(|only| only == cohort);
            if !running.iter().any(|(_, cohort)| is_meant(cohort)) {
                continue;
            }
            let capsule = capsule::get(&self.db, id).await?;
            let (_, width, readings) = capsule
                .as_ref()
                .map_or((0, WIDTH_UNSAID, READINGS_UNSAID), sizes);
            let bytes = order_bytes(self.policy.repair.windows, width, readings);
            most = most.max(Some(bytes));
        }
        Ok(match most {
            Some(bytes) => Offer::Open(bytes),
            None => Offer::Closed("no device that is concerned runs the model".to_owned()),
        })
    }

    /// Whether all devices of a model family run one of these capsules, or one of their versions: those of a version that
    /// was taken back need a while.
    async fn are_back(&self, name: &str, current: &[ModelId]) -> Result<bool, FleetError> {
        let mut others = capsule::of_model(&self.db, name).await?;
        let is_current = |capsule: &&Capsule| current.contains(&capsule.id);
        let versions: HashSet<u32> = (others.iter().filter(is_current))
            .map(|capsule| capsule.version)
            .collect();
        others.retain(|capsule| !versions.contains(&capsule.version));
        let running = presence::by_model(&self.db).await?;
        let runs = |capsule: &Capsule| running.iter().any(|(model, _)| *model == Some(capsule.id));
        Ok(!others.iter().any(runs))
    }

    /// Whether training was asked for because heads did not repair this capsule.
    async fn was_trained(&self, model: ModelId) -> Result<bool, FleetError> {
        let id = model.to_string();
        let asked = |trigger: &Trigger| trigger.kind == "train" && trigger.detail["model_id"] == id;
        Ok(trigger::list(&self.db, TRIGGERS).await?.iter().any(asked))
    }

    /// What moving features has come to, for the fleet.
    async fn moved(&self, model: ModelId, now: Timestamp) -> Result<Outcome, FleetError> {
        let running = presence::running(&self.db, model).await?;
        let standing = async || -> Result<Vec<Alert>, FleetError> {
            let mut alerts = alert::standing(&self.db).await?;
            alerts.retain(|alert| alert.model == model && !alert.is_muted(now));
            Ok(Calling::of(alerts).statistics)
        };
        let before = standing().await?;
        let left = self
            .left_by_moving(before.iter().collect(), &running, now)
            .await?;
        let share_min = self.policy.round.alarmed_share_min;
        if are_enough(&left, &running, share_min) {
            return Ok(Outcome::Stands);
        }
        let waits = standing().await?.len() > left.len();
        Ok(if waits { Outcome::Waits } else { Outcome::Fell })
    }

    /// What heads of devices' own have come to, for the fleet: the devices that the newest reports say answer by one, and
    /// alarm no more.
    async fn own_heads(&self, model: ModelId, is_late: bool) -> Result<Outcome, FleetError> {
        let running = presence::running(&self.db, model).await?;
        let helped = self.helped(&self.db, model, &running).await?;
        let left = running
            .iter()
            .filter(|(device, _)| !helped.contains(device))
            .count();
        let share = left as f64 / running.len().max(1) as f64;
        Ok(if share < self.policy.round.alarmed_share_min {
            Outcome::Fell
        } else if is_late {
            Outcome::Stands
        } else {
            Outcome::Waits
        })
    }

    /// The devices of which the newest report says that they answer by a head of their own, and that do not alarm.
    pub(super) async fn helped(
        &self,
        on: &impl Read,
        model: ModelId,
        running: &[(DeviceId, String)],
    ) -> Result<HashSet<DeviceId>, FleetError> {
        let cohorts: HashSet<&str> = running.iter().map(|(_, cohort)| cohort.as_str()).collect();
        let mut helped = HashSet::new();
        for cohort in cohorts {
            for state in drift::in_cohort(on, cohort, model).await? {
                let (Scope::Device(device), Some(memory)) =
                    (state.scope, Memory::decode(&state.state))
                else {
                    continue;
                };
                let alarms = state.alarmed || state.score >= 1.0;
                if memory.has_own_head() && !alarms {
                    helped.insert(device);
                }
            }
        }
        Ok(helped)
    }

    async fn round_over(&self, id: RoundId) -> Result<Option<Event>, FleetError> {
        let Some(round) = round::get(&self.db, id).await? else {
            return Ok(None);
        };
        let bytes = round.detail["bytes"].as_u64().unwrap_or(0);
        let device_bytes = bytes / u64::from(round.device_count.max(1));
        let devices = round.device_count;
        Ok(match round.state {
            RoundState::Clearing | RoundState::Gathering | RoundState::Opening => None,
            RoundState::Abandoned => Some(Event::RoundOver {
                trigger: None,
                device_bytes,
                what: match round.detail["abandoned"].as_str() {
                    Some(why) => format!("round {id} is abandoned: {why}"),
                    None => format!(
                        "round {id} is abandoned: {devices} devices told enough of the {} that it takes",
                        round.device_count_min
                    ),
                },
            }),
            RoundState::Closed => {
                let triggers = trigger::list(&self.db, TRIGGERS).await?;
                let made = triggers.iter().find(|made| made.detail["round"] == id.0);
                Some(Event::RoundOver {
                    trigger: made.map(|made| made.id.0),
                    device_bytes,
                    what: format!(
                        "{devices} devices told sums in round {id}, about {device_bytes} bytes each"
                    ),
                })
            }
        })
    }

    async fn run_over(&self, known: &Repair, asked: &Trigger) -> Result<Option<Event>, FleetError> {
        let failed = asked.detail["failed"].as_str();
        Ok(match asked.state {
            TriggerState::Waiting | TriggerState::Taken => None,
            TriggerState::Failed => Some(Event::RunOver {
                version: None,
                what: failed.unwrap_or("the run has failed").to_owned(),
            }),
            TriggerState::Done => {
                let version = match asked.run {
                    Some(run) => version_of(&self.db, run).await?,
                    None => None,
                };
                let drifted = capsule::get(&self.db, known.model).await?;
                let is_same = drifted.map(|capsule| capsule.version) == version;
                Some(match version {
                    Some(version) if !is_same => Event::RunOver {
                        version: Some(version),
                        what: format!(
                            "every gate is passed: {}@{version} is registered",
                            known.name
                        ),
                    },
                    Some(version) => Event::RunOver {
                        version: None,
                        what: format!("the run made version {version} again, which has drifted"),
                    },
                    None => Event::RunOver {
                        version: None,
                        what: "the run made no version".to_owned(),
                    },
                })
            }
        })
    }

    async fn newest_trigger(&self, known: &Repair) -> Result<Option<Trigger>, FleetError> {
        let triggers = trigger::list(&self.db, TRIGGERS).await?;
        let mut of_it = triggers.into_iter();
        Ok(of_it.find(|made| made.detail["repair"] == known.id.0))
    }

    async fn shipped(&self, known: &Repair, version: u32) -> Result<Shipped, FleetError> {
        let rollouts = rollout::of_model(&self.db, &known.name).await?;
        let of_it = rollouts
            .into_iter()
            .filter(|rollout| rollout.version == version);
        let newest: Option<Rollout> = of_it.max_by_key(|rollout| rollout.id);
        Ok(match newest {
            None => {
                let asked = self.newest_trigger(known).await?;
                let asked = asked.as_ref();
                let failed = asked.and_then(|asked| asked.detail["failed"].as_str());
                Shipped::NotYet(
                    failed
                        .unwrap_or("nobody has started a rollout of it")
                        .to_owned(),
                )
            }
            Some(rollout) => match rollout.state {
                RolloutState::Running | RolloutState::Paused => Shipped::Open,
                RolloutState::Done => Shipped::Done(rollout.id.0),
                RolloutState::Halted => Shipped::Halted(sentence(&rollout)),
            },
        })
    }

    async fn labels(
        &self,
        known: &Repair,
        ladder: &Ladder,
        version: u32,
        rollout: i64,
        now: Timestamp,
    ) -> Result<Option<Event>, FleetError> {
        let Some(rollout) = rollout::get(&self.db, rollout::RolloutId(rollout)).await? else {
            return Ok(None);
        };
        if rollout.state == RolloutState::Halted {
            // A person has taken it back since.
            return Ok(Some(Event::Shipped(Shipped::Halted(sentence(&rollout)))));
        }
        let mut after = Judged::default();
        let shipped = capsules(&self.db, &known.name, version).await?;
        for model in &shipped {
            let judged = outcome::judged(&self.db, *model, rollout.created_at).await?;
            after = after.and(judged);
        }
        let mut meanwhile = Judged::default();
        for model in self.current(&self.db, known, ladder).await? {
            let judged = outcome::judged(&self.db, model, known.opened_at).await?;
            meanwhile = meanwhile.and(judged);
        }
        let alerts = alert::standing(&self.db).await?;
        let stands = |alert: &&Alert| shipped.contains(&alert.model) && !alert.is_muted(now);
        Ok(Some(Event::Labels {
            after,
            meanwhile,
            alerts: alerts.iter().filter(stands).count() as u32,
            expected: self.expected(&shipped).await?,
        }))
    }

    /// Between what confidences expect the share of right windows of some capsules, in the cohort where that is least;
    /// nothing where it is withheld of one, or most of its devices run another model.
    async fn expected(&self, capsules: &[ModelId]) -> Result<Option<(f64, f64)>, FleetError> {
        let mut cohorts = BTreeSet::new();
        for model in capsules {
            let running = presence::running(&self.db, *model).await?;
            cohorts.extend(running.into_iter().map(|(_, cohort)| cohort));
        }
        let mut least: Option<(f64, f64)> = None;
        for cohort in cohorts {
            let view = self.cohort_view(&cohort).await?;
            let view = view.filter(|view| capsules.contains(&view.model));
            let Some(Ok(told)) = view.map(|view| view.expected) else {
                return Ok(None);
            };
            least = Some(least.map_or((told.low, told.high), |(low, high)| {
                (low.min(told.low), high.min(told.high))
            }));
        }
        Ok(least)
    }

    async fn ordered(
        &self,
        known: &Repair,
        (first, last): (i64, i64),
        now: Timestamp,
    ) -> Result<Orders, FleetError> {
        let orders = annotation::between(&self.db, first, last).await?;
        let mut seen = Orders::default();
        let mut bytes = 0;
        let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
        for order in &orders {
            if Some(order.asked.annotator) != self.policy.repair.annotator {
                continue;
            }
            match order.state {
                // One that was told takes the time that its windows take.
                AnnotationState::Ready | AnnotationState::Collecting => seen.open += 1,
                AnnotationState::Asked if order.asked.expires_at > now => seen.open += 1,
                AnnotationState::Asked => *reasons.entry("not there in time").or_default() += 1,
                AnnotationState::Whole => {
                    seen.whole += 1;
                    seen.windows += order.chosen;
                    bytes += u64::from(order.bytes);
                }
                AnnotationState::Refused => *reasons.entry(&order.reason).or_default() += 1,
                AnnotationState::Withdrawn => *reasons.entry("withdrawn").or_default() += 1,
            }
        }
        seen.device_bytes = bytes / u64::from(seen.whole.max(1));
        let reasons = reasons.iter().map(|(why, count)| format!("{count} {why}"));
        seen.refused = reasons.collect::<Vec<_>>().join(", ");
        let asked = self.newest_trigger(known).await?;
        let asked = asked.filter(|asked| asked.kind == "train");
        seen.trigger = asked.map(|asked| asked.id.0);
        Ok(seen)
    }

    /// The repair of a model family that awaits newly labelled recordings, and how many.
    ///
    /// # Errors
    /// [`FleetError::Store`], [`FleetError::Repair`].
    pub async fn awaits_labels(
        &self,
        name: &str,
    ) -> Result<Option<(repair::RepairId, u32)>, FleetError> {
        for open in repair::open(&self.db).await? {
            // One that cannot be read waits for nothing.
            let is_waiting = |ladder: Ladder| matches!(ladder.phase, Phase::Labelling { .. });
            if open.name == name && details(&open).is_ok_and(is_waiting) {
                return Ok(Some((open.id, self.policy.repair.labelled_min.max(1))));
            }
        }
        Ok(None)
    }
}

/// The capsules of a version, on every board.
async fn capsules(
    on: &impl Read,
    name: &str,
    version: u32,
) -> Result<Vec<ModelId>, tinyops_store::StoreError> {
    let all = capsule::of_model(on, name).await?;
    let of_it = all.into_iter().filter(|capsule| capsule.version == version);
    Ok(of_it.map(|capsule| capsule.id).collect())
}

/// The version that a run has registered, or found there already.
async fn version_of(on: &impl Read, run: RunId) -> Result<Option<u32>, tinyops_store::StoreError> {
    let steps = step::of_run(on, run).await?;
    let version = steps
        .iter()
        .find_map(|step| step.detail["version"].as_u64());
    Ok(version.and_then(|version| u32::try_from(version).ok()))
}
