//! What records look like from outside: their own types, since the records may change and the API may not.

use schemars::JsonSchema;
use serde::Serialize;
use tinyops_fleet::cost::Newest;
use tinyops_store::alert::Alert;
use tinyops_store::audit::Entry;
use tinyops_store::capsule::Capsule;
use tinyops_store::dataset::Dataset;
use tinyops_store::device::Device;
use tinyops_store::lineage::Edge;
use tinyops_store::model::Model;
use tinyops_store::presence::Presence;
use tinyops_store::rollout::{Member, Rollout};
use tinyops_store::run::Run;
use tinyops_store::step::{Port, Step};
use tinyops_store::trigger::Trigger;
use tinyops_store::{DeviceId, Digest, Json, ModelId, Timestamp};

use crate::app::AtWork;
use crate::retrain::{cause_of, reason_of};
use crate::text::Text;

/// A device, and what it last told.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeviceView {
    /// 16 hex digits.
    pub device: Text<DeviceId>,
    pub board: String,
    pub cohort: String,
    pub tags: Vec<String>,
    /// `active` or `revoked`.
    pub state: &'static str,
    /// Unix milliseconds.
    pub enrolled_at_ms: i64,
    /// The capsule that its newest report carries: 8 hex digits.
    pub model: Option<Text<ModelId>>,
    /// Unix milliseconds.
    pub last_seen_at_ms: Option<i64>,
    pub report_count: i64,
    pub report_bytes: i64,
    pub missing_count: i64,
    pub malformed_count: i64,
}

impl DeviceView {
    pub(super) fn new(device: Device, presence: Option<&Presence>) -> DeviceView {
        DeviceView {
            device: Text(device.id),
            board: device.board,
            cohort: device.cohort,
            tags: device.tags,
            state: device.state.word(),
            enrolled_at_ms: device.enrolled_at.0,
            model: presence.and_then(|p| p.model).map(Text),
            last_seen_at_ms: presence.and_then(|p| p.last_seen).map(|at| at.0),
            report_count: presence.map_or(0, |p| p.report_count),
            report_bytes: presence.map_or(0, |p| p.byte_count),
            missing_count: presence.map_or(0, |p| p.missing_count),
            malformed_count: presence.map_or(0, |p| p.malformed_count),
        }
    }
}

/// A device, and what scoring costs it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeviceDetailView {
    #[serde(flatten)]
    pub device: DeviceView,
    /// As its newest report says that tells of it; none if its driver measures nothing.
    pub cost: Option<CostView>,
    /// Whether a head of its own, solved from its labels, answered the windows of its newest summary.
    pub answers_by_own_head: bool,
    /// Since when it takes part in no round, its sums being withdrawn, in Unix milliseconds; null: it does.
    pub sums_withdrawn_at_ms: Option<i64>,
}

/// What scoring cost a device over a report period.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CostView {
    /// With which model.
    pub model: Text<ModelId>,
    /// When it was told, in Unix milliseconds.
    pub at_ms: i64,
    /// Mean time from a window to its answer, in microseconds.
    pub latency_mean_us: f32,
    /// The longest.
    pub latency_max_us: f32,
    /// Most memory that was in use at once, as a share of what the device has.
    pub ram_share: Option<f32>,
}

impl From<Newest> for CostView {
    fn from(newest: Newest) -> CostView {
        CostView {
            model: Text(newest.model),
            at_ms: newest.at.0,
            latency_mean_us: newest.cost.mean_us,
            latency_max_us: newest.cost.max_us,
            ram_share: newest.cost.ram_share,
        }
    }
}

/// One version of a model.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelView {
    pub name: String,
    pub version: u32,
    pub project: String,
    /// The encoded model: 64 hex digits.
    pub digest: Text<Digest>,
    pub run: Option<i64>,
    /// The version that it was made from, as a re-solved head is.
    pub parent: Option<u32>,
    /// `candidate`, `canary`, `production`, `archived` or `rejected`.
    pub stage: &'static str,
    /// Figures by name.
    pub metrics: Json,
    pub created_at_ms: i64,
}

impl From<Model> for ModelView {
    fn from(model: Model) -> ModelView {
        ModelView {
            name: model.name,
            version: model.version,
            project: model.project,
            digest: Text(model.digest),
            run: model.run.map(|run| run.0),
            parent: model.parent,
            stage: model.stage.word(),
            metrics: model.metrics,
            created_at_ms: model.created_at.0,
        }
    }
}

/// A version, signed for one board.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CapsuleView {
    /// What reports carry: 8 hex digits.
    pub model_id: Text<ModelId>,
    pub board: String,
    /// Download it from `/api/v1/capsules/{digest}`.
    pub digest: Text<Digest>,
    pub bytes: u32,
    pub sequence: u32,
    /// Labels and the estimated fit.
    pub detail: Json,
    pub created_at_ms: i64,
}

impl From<Capsule> for CapsuleView {
    fn from(capsule: Capsule) -> CapsuleView {
        CapsuleView {
            model_id: Text(capsule.id),
            board: capsule.board,
            digest: Text(capsule.digest),
            bytes: capsule.bytes,
            sequence: capsule.sequence,
            detail: capsule.detail,
            created_at_ms: capsule.created_at.0,
        }
    }
}

/// One execution of a pipeline.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunView {
    pub run: i64,
    pub project: String,
    /// `train`, `tune` or `resolve-head`.
    pub kind: String,
    /// What it answers; null where a person ran it.
    pub trigger: Option<i64>,
    /// What made that trigger, as in the list of triggers.
    pub cause: Option<String>,
    /// Why, in words.
    pub why: Option<String>,
    pub settings: Text<Digest>,
    /// The version of TinyOps that ran it.
    pub code: String,
    pub seed: u64,
    /// `waiting`, `running`, `done`, `refused`, `failed` or `interrupted`.
    pub state: &'static str,
    pub detail: Json,
    pub started_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    /// Process, machine and folder.
    pub owner: Option<String>,
}

impl RunView {
    pub(super) fn at(now: Timestamp, run: Run, trigger: Option<&Trigger>) -> RunView {
        let state = run.state_at(now).word();
        RunView {
            cause: trigger.map(|trigger| cause_of(trigger).to_owned()),
            why: trigger.map(reason_of),
            run: run.id.0,
            project: run.project,
            kind: run.kind,
            trigger: run.trigger.map(|trigger| trigger.0),
            settings: Text(run.settings),
            code: run.code,
            seed: run.seed,
            state,
            detail: run.detail,
            started_at_ms: run.started_at.0,
            ended_at_ms: run.ended_at.map(|at| at.0),
            owner: run.owner,
        }
    }
}

/// An artifact by its name in a step.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PortView {
    pub name: String,
    pub digest: Text<Digest>,
}

/// One node of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StepView {
    pub name: String,
    /// `waiting`, `running`, `done`, `cached`, `failed` or `skipped`.
    pub state: &'static str,
    pub seconds: f64,
    pub inputs: Vec<PortView>,
    pub outputs: Vec<PortView>,
    pub detail: Json,
}

impl From<Step> for StepView {
    fn from(step: Step) -> StepView {
        let ports = |ports: Vec<Port>| {
            let view = |port: Port| PortView {
                name: port.name,
                digest: Text(port.digest),
            };
            ports.into_iter().map(view).collect()
        };
        StepView {
            name: step.name,
            state: step.state.word(),
            seconds: step.seconds,
            inputs: ports(step.inputs),
            outputs: ports(step.outputs),
            detail: step.detail,
        }
    }
}

/// A run with its steps.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunDetailView {
    #[serde(flatten)]
    pub run: RunView,
    pub steps: Vec<StepView>,
}

/// One version of a project's data.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DatasetView {
    pub digest: Text<Digest>,
    pub project: String,
    pub sample_count: i64,
    pub detail: Json,
    pub created_at_ms: i64,
}

impl From<Dataset> for DatasetView {
    fn from(dataset: Dataset) -> DatasetView {
        DatasetView {
            digest: Text(dataset.digest),
            project: dataset.project,
            sample_count: dataset.sample_count,
            detail: dataset.detail,
            created_at_ms: dataset.created_at.0,
        }
    }
}

/// A rollout.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RolloutView {
    pub rollout: i64,
    pub model: String,
    pub version: u32,
    /// The version to go back to.
    pub previous: Option<u32>,
    /// The devices that it is for; empty is every device with a fitting board.
    pub selector: String,
    pub priority: i64,
    /// `running`, `paused`, `done` or `halted`.
    pub state: &'static str,
    /// Strategy, pace, windows, and what halts it.
    pub plan: Json,
    /// Wave (from 0), share, findings by metric, and how the evidence went.
    pub progress: Json,
    /// Why it stands there: of a halt the metric, the effect, its interval and the evidence.
    pub reason: Json,
    /// The reason in a sentence.
    pub sentence: String,
    pub created_at_ms: i64,
    pub changed_at_ms: i64,
}

impl From<Rollout> for RolloutView {
    fn from(rollout: Rollout) -> RolloutView {
        let sentence = tinyops_fleet::rollout::sentence(&rollout);
        RolloutView {
            rollout: rollout.id.0,
            model: rollout.model,
            version: rollout.version,
            previous: rollout.previous,
            sentence,
            selector: rollout.selector,
            priority: rollout.priority,
            state: rollout.state.word(),
            plan: rollout.plan,
            progress: rollout.progress,
            reason: rollout.reason,
            created_at_ms: rollout.created_at.0,
            changed_at_ms: rollout.changed_at.0,
        }
    }
}

/// One device of a rollout.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MemberView {
    pub device: Text<DeviceId>,
    /// `control`, `shadowing` (it scores windows with it and does not install it), `fetching`, `held` (it has it and
    /// waits), `offered`, `taken`, `confirmed`, `failed`, `reverted`, `silent`, `recalled` or `left`.
    pub delivery: &'static str,
    pub target: Option<Text<ModelId>>,
    pub changed_at_ms: i64,
    pub detail: Json,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> MemberView {
        MemberView {
            device: Text(member.device),
            delivery: member.delivery.word(),
            target: member.target.map(Text),
            changed_at_ms: member.changed_at.0,
            detail: member.detail,
        }
    }
}

/// A rollout with its devices.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RolloutDetailView {
    #[serde(flatten)]
    pub rollout: RolloutView,
    pub devices: Vec<MemberView>,
}

/// An alert.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AlertView {
    /// Its number.
    pub alert: i64,
    /// A device's 16 digits, or `cohort:NAME@MODEL-ID`.
    pub scope: String,
    /// The model id that was running.
    pub model: Text<ModelId>,
    /// `drift` or `concept-drift`.
    pub kind: &'static str,
    /// `recalibrate`, `re-standardise`, `head-update`, `retrain` or `sensor-fault`.
    pub advice: String,
    /// What was found.
    pub detail: Json,
    /// `open`, `acknowledged` or `resolved`.
    pub state: &'static str,
    /// Who changed it last.
    pub actor: String,
    /// Why, in the words of whoever changed it last.
    pub reason: String,
    /// Until when it is muted; none: it is not.
    pub muted_until_ms: Option<i64>,
    /// When it was raised.
    pub opened_at_ms: i64,
    /// When it was last changed.
    pub changed_at_ms: i64,
}

impl From<Alert> for AlertView {
    fn from(alert: Alert) -> AlertView {
        AlertView {
            alert: alert.id.0,
            scope: alert.scope.key(),
            model: Text(alert.model),
            kind: alert.kind.word(),
            advice: alert.advice,
            detail: alert.detail,
            state: alert.state.word(),
            actor: alert.actor,
            reason: alert.reason,
            muted_until_ms: alert.muted_until.map(|until| until.0),
            opened_at_ms: alert.opened_at.0,
            changed_at_ms: alert.changed_at.0,
        }
    }
}

/// A wish for a pipeline run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TriggerView {
    /// Its number.
    pub trigger: i64,
    /// `train` or `resolve-head`.
    pub kind: String,
    /// `asked`, `schedule`, `data`, or `repair` where the fleet asks.
    pub cause: String,
    /// Why, in words; empty where nothing was said.
    pub why: String,
    /// The model that it is about.
    pub model: String,
    /// Digest of what the run needs.
    pub payload: Option<Text<Digest>>,
    /// What else is known; `failed` says why it led to nothing so far.
    pub detail: Json,
    /// `waiting`, `taken`, `done` or `failed`.
    pub state: &'static str,
    /// The run that answers it, once that has begun.
    pub run: Option<i64>,
    /// How often it was taken.
    pub tries: u32,
    /// When it was made.
    pub created_at_ms: i64,
    /// A waiting one is not taken before this; 0 is at once.
    pub not_before_ms: i64,
    /// How far its run is, where this server does it.
    pub at_work: Option<AtWorkView>,
}

/// How far a run is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AtWorkView {
    /// The step.
    pub step: &'static str,
    /// Units of it that are done.
    pub done: u64,
    /// Units in all; 0 when unknown.
    pub total: u64,
    /// Such as `epoch 12, loss 0.031`.
    pub note: String,
}

impl TriggerView {
    pub(super) fn at_work(trigger: Trigger, at: Option<AtWork>) -> TriggerView {
        let at_work = at.map(|at| AtWorkView {
            step: at.step.word(),
            done: at.done,
            total: at.total,
            note: at.note,
        });
        TriggerView {
            at_work,
            ..trigger.into()
        }
    }
}

impl From<Trigger> for TriggerView {
    fn from(trigger: Trigger) -> TriggerView {
        TriggerView {
            trigger: trigger.id.0,
            cause: cause_of(&trigger).to_owned(),
            why: reason_of(&trigger),
            kind: trigger.kind,
            model: trigger.model,
            payload: trigger.payload.map(Text),
            detail: trigger.detail,
            state: trigger.state.word(),
            run: trigger.run.map(|run| run.0),
            tries: trigger.tries,
            created_at_ms: trigger.created_at.0,
            not_before_ms: trigger.not_before.0,
            at_work: None,
        }
    }
}

/// `to` was made from `from`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EdgeView {
    pub from: Text<Digest>,
    pub to: Text<Digest>,
    /// The step that did it, or the relation.
    pub kind: String,
    pub run: Option<i64>,
}

impl From<Edge> for EdgeView {
    fn from(edge: Edge) -> EdgeView {
        EdgeView {
            from: Text(edge.from),
            to: Text(edge.to),
            kind: edge.kind,
            run: edge.run.map(|run| run.0),
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuditView {
    pub entry: i64,
    pub at_ms: i64,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: Json,
    /// Covers the entry and all before it; none in entries of before there was a chain.
    pub digest: Option<Text<Digest>>,
}

impl From<Entry> for AuditView {
    fn from(entry: Entry) -> AuditView {
        AuditView {
            entry: entry.id,
            at_ms: entry.at.0,
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
            digest: entry.digest.map(Text),
        }
    }
}
