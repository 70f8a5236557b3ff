//! The handle that everything here works through, its policy, its errors, and what it has to tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tinyops_sketch::Baseline;
use tinyops_store::alert::{Alert, AlertId};
use tinyops_store::ddi::ActionId;
use tinyops_store::repair::{Repair, RepairId};
use tinyops_store::rollout::{Rollout, RolloutId};
use tinyops_store::round::{Round, RoundId};
use tinyops_store::trigger::Trigger;
use tinyops_store::{Artifacts, Db, DeviceId, Digest, ModelId, StoreError, Timestamp};
use tinyops_wire::enrolment::TokenId;

use crate::annotate::Unasked;
use crate::ddi::DdiPolicy;
use crate::delta::Deltas;
use crate::detector::DriftPolicy;
use crate::enrolment::{EnrolmentPolicy, Rates, Unenrolled};
use crate::keys::Keyring;
use crate::label::Unlabelled;
use crate::ladder::RepairPolicy;
use crate::masked::{CountedTask, PrivacyPolicy, Silence, SumHelper};
use crate::owed::{OwedPolicy, Told, keep_costly};
use crate::plan::{Plan, PlanError};
use crate::rollout::Arranged;
use crate::round::RoundPolicy;
use crate::selector::SelectorError;
use crate::window::WindowError;

/// Baselines and capsules kept in memory at most.
pub(crate) const CACHED_MAX: usize = 64;

/// One fleet: its records, its artifacts, its policy. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    /// The records.
    pub db: Db,
    /// The artifacts.
    pub artifacts: Artifacts,
    /// How it judges.
    pub policy: Arc<Policy>,
    /// Its keys; without them it cannot direct devices that ask for a statement. Shared by all clones.
    pub(crate) keys: Arc<RwLock<Option<Arc<Keyring>>>>,
    /// Deltas between capsules, if it can make any.
    pub(crate) deltas: Option<Deltas>,
    /// Capsules being fetched, so that a thousand devices read one from the disk once.
    pub(crate) capsules: Arc<Mutex<HashMap<Digest, Arc<[u8]>>>>,
    /// Baselines of the models that report.
    pub(crate) baselines: Arc<Mutex<HashMap<ModelId, Arc<Baseline>>>>,
    /// What each device was told lately, so that it is not told again at every turn.
    pub(crate) told: Arc<Mutex<HashMap<DeviceId, Told>>>,
    /// How often a capsule has come to harm on its way into a device's flash.
    pub(crate) damaged: Arc<Mutex<HashMap<(DeviceId, ModelId), u8>>>,
    /// The devices as they were when rollouts last took them in.
    pub(crate) arranged: Arc<Mutex<Option<Arranged>>>,
    /// How often enrolment was tried of late.
    pub(crate) rates: Arc<Rates>,
    /// Who tells sums of masks; without it masked reports wait.
    pub(crate) helper: Option<Arc<dyn SumHelper>>,
    /// Since when that does not answer.
    pub(crate) helper_silence: Arc<Mutex<Option<Silence>>>,
    /// How the devices of each model report under masks, and when they were counted for it.
    pub(crate) tasks: Arc<Mutex<HashMap<ModelId, CountedTask>>>,
    /// When what takes reading many records was last looked at for a repair, and the revision of its record then.
    pub(crate) looked: Arc<Mutex<HashMap<RepairId, (Timestamp, i64)>>>,
}

/// How a fleet is judged. Every default is meant to work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// When a stream has drifted.
    pub drift: DriftPolicy,
    /// How a new model goes out, unless a rollout brings its own plan.
    pub rollout: Plan,
    /// When and how statistics are gathered.
    pub round: RoundPolicy,
    /// How far the loop goes by itself about a drift, and what that may cost.
    pub repair: RepairPolicy,
    /// How devices are told what they are owed.
    pub owed: OwedPolicy,
    /// How those that poll the hawkBit DDI are.
    pub ddi: DdiPolicy,
    /// How often enrolment may be tried.
    pub enrolment: EnrolmentPolicy,
    /// How reports under masks are made and added up.
    pub privacy: PrivacyPolicy,
    /// Whether devices with room for it are asked to answer by heads of their own, where their labels lead to one that is
    /// no worse than the installed one.
    pub own_heads: bool,
}

/// Something that a person or a page may want to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A device or a cohort has drifted, or a sensor is at fault.
    AlertRaised(Alert),
    /// What stood as an alert calls for more than it did.
    AlertEscalated(Alert),
    /// The time for which an alert was muted is over, and it still stands.
    AlertUnmuted(Alert),
    /// Devices are asked for their statistics.
    RoundOpened(Round),
    /// The statistics are summed.
    RoundClosed {
        /// The round; it names the sum and how many devices are in it.
        round: Round,
        /// Labelled windows in the sum; under masks, as many as its devices have at least.
        window_count: i64,
        /// Bytes that the devices sent for it.
        bytes: i64,
    },
    /// The sum of a closed round was made anew: devices that were late have joined it.
    RoundJoined(Round),
    /// Too few answered.
    RoundAbandoned(Round),
    /// A sum of reports under masks, or under noise, is known and judged.
    SumJudged {
        /// Of which cohort.
        cohort: String,
        /// Of how many devices.
        device_count: u32,
        /// How far the cohort is from its own past: 1 is the alarm threshold; 0 while that is being learnt.
        score: f64,
    },
    /// Reports under masks or noise were dropped: too few devices sent any.
    SumDropped {
        /// Of which cohort.
        cohort: String,
        /// How many devices.
        device_count: u32,
        /// How many a sum takes.
        device_count_min: u32,
    },
    /// A repair is over; its record says how.
    RepairEnded(Repair),
    /// A pipeline run is asked for.
    Triggered(Trigger),
    /// A rollout has begun.
    RolloutStarted {
        /// The rollout.
        rollout: Rollout,
        /// Devices that try it first.
        canary_count: usize,
    },
    /// The devices of a wave are well: the next wave gets it.
    WaveDone(Rollout),
    /// Every device that could be reached has it.
    RolloutDone(Rollout),
    /// It made things worse and goes back; the rollout's reason says which metric, and how much.
    RolloutHalted(Rollout),
}

/// Why something asked of the fleet was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The store could not.
    #[error("the fleet's records could not be used")]
    Store(#[from] StoreError),
    /// No such device.
    #[error("device `{0}` is not registered")]
    NoDevice(DeviceId),
    /// A device's windows cannot be labelled.
    #[error(transparent)]
    Label(#[from] Unlabelled),
    /// No round can gather anything.
    #[error(
        "under `[privacy] mode = \"local\"` devices tell no statistics, so that there is no round: a new head needs \
         `mode = \"masked\"` with a helper, or samples that are recorded and trained on anew"
    )]
    NoStatistics,
    /// No such round.
    #[error("round {0} does not exist")]
    NoRound(RoundId),
    /// There is nothing that a head could be solved from.
    #[error("round {0} has no sum to solve a head from")]
    NoSum(RoundId),
    /// It takes part in rounds.
    #[error("device `{0}` has not withdrawn its sums")]
    NotWithdrawn(DeviceId),
    /// No windows can be ordered, or had.
    #[error(transparent)]
    Annotation(#[from] Unasked),
    /// No such rollout.
    #[error("rollout {0} does not exist")]
    NoRollout(RolloutId),
    /// No such repair.
    #[error("repair {0} does not exist")]
    NoRepair(RepairId),
    /// It has ended.
    #[error("repair {0} is over already")]
    RepairOver(RepairId),
    /// A repair's record cannot be used.
    #[error("repair {id}: {problem}")]
    Repair {
        /// Which.
        id: RepairId,
        /// What is wrong with it.
        problem: String,
    },
    /// The alert is over.
    #[error("alert {0} is resolved already")]
    AlertOver(AlertId),
    /// A mute that is over before it begins.
    #[error("the mute would be over before it begins")]
    MuteEnds,
    /// A word on an alert without a reason, or with a book.
    #[error("say why in 1 to 500 characters")]
    Reason,
    /// No webhook has this name.
    #[error("no webhook is called `{0}`")]
    NoWebhook(String),
    /// The token of a receiver cannot be a line of a header.
    #[error("a token is letters, digits and signs without spaces")]
    WebhookToken,
    /// A receiver of lineage would take a test for a run.
    #[error("`{0}` is told of runs, and a test is none")]
    WebhookTest(String),
    /// Where a webhook should listen cannot be read.
    #[error("the webhook's URL: {0}")]
    WebhookUrl(&'static str),
    /// A device was not let in.
    #[error("the device was not enrolled: {0}")]
    Enrolment(Unenrolled),
    /// Nobody signs answers to devices.
    #[error("there is no director key here, and without it no device can be enrolled or directed")]
    NoDirectorKey,
    /// No class token has this id.
    #[error("no class token has the id `{0}`")]
    NoClassToken(TokenId),
    /// A class token for no device.
    #[error("a class token enrols at least one device")]
    Uses,
    /// No claim authority of this name counts.
    #[error("no claim authority called `{0}` is trusted")]
    NoAuthority(String),
    /// A serial is empty or too long.
    #[error("`{0}` is no serial: it has 1 to 40 bytes")]
    Serial(String),
    /// No access token has this name.
    #[error("no access token is called `{0}`")]
    NoToken(String),
    /// A token or claim was revoked before.
    #[error("`{0}` is revoked already")]
    TokenRevoked(String),
    /// A token or permission would end before it begins.
    #[error("it would be over before it is made")]
    TokenEnds,
    /// A name is empty, too long, or has characters that names do not have.
    #[error("`{0}` is no name: use up to 40 letters, digits, `-`, `_` or `.`")]
    Name(String),
    /// No capsule has this id.
    #[error("no capsule here has the model id `{0}`")]
    NoModel(ModelId),
    /// Nothing to roll out.
    #[error("no device here has a board that `{model}@{version}` is signed for")]
    NoCapsule {
        /// The model.
        model: String,
        /// The version.
        version: u32,
    },
    /// Every device that could take it belongs to another rollout of the same or a higher priority.
    #[error("the devices that could take it belong to rollout {0}, which is not finished")]
    Underway(RolloutId),
    /// The model has no rollout that could be taken back.
    #[error("no rollout of `{0}` is open or done, so there is nothing to take back")]
    NothingToTakeBack(String),
    /// It is no name of a controller.
    #[error("`{0}` is no controller id: use up to 128 letters, digits and `-_.:@~+`")]
    Controller(String),
    /// The device was never asked for this, or is not asked any more.
    #[error("action {0} does not exist for this controller")]
    NoAction(ActionId),
    /// The device has answered this before.
    #[error("action {0} is closed")]
    ActionClosed(ActionId),
    /// Its user has consented to all that comes before.
    #[error("all that comes is confirmed already")]
    AutoConfirmed,
    /// The device says that it runs something that is not known here.
    #[error("`{model}@{version}` has no capsule for {board}")]
    NoVersion {
        /// The model.
        model: String,
        /// The version, as the device writes it.
        version: String,
        /// The device's board.
        board: String,
    },
    /// The attributes of a device cannot be kept.
    #[error("the attributes: {0}")]
    Attributes(String),
    /// The selector cannot be read.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A maintenance window cannot be read.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The rollout is past the point where this can be done.
    #[error("rollout {id} is {state}")]
    WrongState {
        /// The rollout.
        id: RolloutId,
        /// Where it stands.
        state: tinyops_store::rollout::RolloutState,
    },
    /// The devices of the rollout do not wait to be told that they may install.
    #[error("the devices of rollout {0} do not wait for a word to install it")]
    NothingWaits(RolloutId),
    /// The payload or the manifest cannot be signed.
    #[error("the capsule cannot be made")]
    Capsule(#[from] tinyops_wire::capsule::CapsuleError),
    /// Releases are signed elsewhere.
    #[error("there is no release key here")]
    NoReleaseKey,
    /// A statement could not be made.
    #[error("the statement cannot be made")]
    Statement(#[from] tinyops_wire::statement::StatementError),
    /// A command that should sign did not.
    #[error("`{command}` did not sign: {problem}")]
    Signing {
        /// The command.
        command: String,
        /// What it did instead.
        problem: String,
    },
    /// Fewer root keys are here than it takes.
    #[error("the key set has {found} of the {needed} root signatures that it takes")]
    Signatures {
        /// How many have signed.
        found: u8,
        /// How many it takes.
        needed: u8,
    },
    /// A key set cannot be changed so.
    #[error("{0}")]
    KeySet(String),
    /// A key file could not be read or made.
    #[error("key file `{path}`: {problem}")]
    Key {
        /// Which file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Fleet {
    /// A fleet over these records and artifacts.
    pub fn new(db: Db, artifacts: Artifacts, policy: Policy) -> Fleet {
        Fleet {
            db,
            artifacts,
            policy: Arc::new(policy),
            keys: Arc::default(),
            deltas: None,
            capsules: Arc::default(),
            baselines: Arc::default(),
            told: Arc::default(),
            damaged: Arc::default(),
            arranged: Arc::default(),
            rates: Arc::default(),
            helper: None,
            tasks: Arc::default(),
            helper_silence: Arc::default(),
            looked: Arc::default(),
        }
    }

    /// The same fleet with a helper, so that it can read sums of masked reports, or without one.
    #[must_use]
    pub fn with_helper(self, helper: Option<Arc<dyn SumHelper>>) -> Fleet {
        Fleet {
            helper,
            helper_silence: Arc::default(),
            ..self
        }
    }

    /// The same fleet with keys, so that it can say what each device shall run.
    #[must_use]
    pub fn with_keys(self, keys: Keyring) -> Fleet {
        Fleet {
            keys: Arc::new(RwLock::new(Some(Arc::new(keys)))),
            ..self
        }
    }

    /// Its keys, as they are now.
    pub fn keys(&self) -> Option<Arc<Keyring>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// Takes up other keys, in all clones: devices are told of a newer key set at their next turn.
    pub fn renew_keys(&self, keys: Keyring) {
        let renewed = Some(Arc::new(keys));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        // What was offered under the keys of before may be void now.
        lock(&self.told).values_mut().for_each(keep_costly);
    }

    pub(crate) fn cached_baseline(&self, model: ModelId) -> Option<Arc<Baseline>> {
        lock(&self.baselines).get(&model).cloned()
    }

    pub(crate) fn cache_baseline(&self, model: ModelId, baseline: Baseline) -> Arc<Baseline> {
        let baseline = Arc::new(baseline);
        let mut baselines = lock(&self.baselines);
        if baselines.len() >= CACHED_MAX {
            baselines.clear();
        }
        baselines.insert(model, baseline.clone());
        baseline
    }

    /// One turn of the operating loop: rollouts are judged, repairs carried on, rounds opened and closed, triggers made.
    ///
    /// Call it at every tick; two at once do no harm, one of them finds the work done.
    ///
    /// # Errors
    /// [`FleetError::Store`]; what was decided before it is kept.
    pub async fn turn(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let mut events = self.turn_rollouts(now).await?;
        events.extend(self.turn_alerts(now).await?);
        events.extend(self.turn_repairs(now).await?);
        events.extend(self.turn_rounds(now).await?);
        events.extend(self.turn_masked(now).await?);
        Ok(events)
    }
}

/// A poisoned lock guards nothing half-changed here: every critical section is one look-up or insertion.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
