//! Reports under masks: gathered per cohort, added up, unmasked as a sum with the helper's answer, and judged. Those
//! under noise of the devices' own are gathered with them, and go on in `local.rs`.
//!
//! A report waits in the store until a sum that it is in is known; a helper that does not answer delays, and loses
//! nothing. No sum is asked for of fewer devices than the policy says, and the helper has a floor of its own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tinyops_sketch::Baseline;
use tinyops_store::drift::Scope;
use tinyops_store::privacy::{self, MaskedReport, MaskedSum, Paid, Veil, Waiting};
use tinyops_store::{DeviceId, Digest, ModelId, Timestamp, Tx, presence};
use tinyops_wire::Frame;
use tinyops_wire::frame::Features;
use tinyops_wire::mask::{Purpose, TASK_BYTES, Task};
use tinyops_wire::masked::{Report, SPREAD_WEIGHT, report_len};

use crate::again::retry_ms;
use crate::cohort_mean::MeanOfMany;
use crate::enrol::note;
use crate::fleet::lock;
use crate::helper::{DEVICES_MIN, Denied, Helper, SumRequest};
use crate::watch::Observation;
use crate::{Event, Fleet, FleetError};

/// How reports under masks, or under noise of the devices' own, are made and added up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyPolicy {
    /// How devices tell what they see; what they say otherwise is turned away, whoever set them so.
    pub mode: Mode,
    /// Fewest devices of a sum; the helper has a floor of its own.
    pub device_count_min: u32,
    /// Euclidean length that a report's weighted deviations are cut down to: about that of the median report.
    pub clip: f32,
    /// Euclidean length that a device's labelled statistics are cut down to in a round: about that of the median
    /// device, of which each labelled window makes up 2 to 16, by the size of the embeddings.
    pub update_clip: f32,
    /// Standard deviation of the noise, in units of the longest report or update; 0 for none. The helper adds it to a
    /// sum, and in [`Mode::Local`] each device to its own report.
    pub noise: f64,
    /// How long after its first report a sum is closed, unless a device comes a second time before.
    pub window_ms: i64,
    /// How long reports wait for enough devices before they are dropped.
    pub wait_ms: i64,
    /// How long a task is taken for known by a device that does not report by it.
    pub told_ms: i64,
    /// A budget's period, as the devices count it.
    pub period_ms: i64,
}

impl Default for PrivacyPolicy {
    fn default() -> PrivacyPolicy {
        const DAY_MS: i64 = 24 * 3_600_000;
        PrivacyPolicy {
            mode: Mode::Any,
            device_count_min: DEVICES_MIN as u32,
            clip: 0.58,
            update_clip: 32.0,
            noise: 20.0,
            window_ms: DAY_MS,
            wait_ms: 7 * DAY_MS,
            told_ms: 2 * DAY_MS,
            period_ms: 30 * DAY_MS,
        }
    }
}

/// How devices tell what they see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// However each is set to.
    #[default]
    Any,
    /// Under masks alone: what a device says of itself in the clear is turned away.
    Masked,
    /// Under noise of their own alone, where there is no helper: what is said in the clear is turned away.
    Local,
}

impl Mode {
    /// Whether reports under masks, or under noise, are taken.
    fn takes(self, veil: Veil) -> bool {
        match self {
            Mode::Any => true,
            Mode::Masked => veil == Veil::Masks,
            Mode::Local => veil == Veil::Noise,
        }
    }
}

/// The ring that a report of nine channels and four classes fits 43 bytes with.
const RING_BITS_MIN: u8 = 13;

/// Least length of a report in steps: coarser ones drown in rounding.
const NORM_MIN: u16 = 15;

/// Devices that the narrowest ring is made for; others have a power of two as many.
const SUM_DEVICES: u32 = 100;

/// How long a task is taken for that of its model before the devices that run it are counted again.
const TASK_HOLDS_MS: i64 = 10 * 60_000;

/// Tells the sum of masks. What is behind it must not be the server itself: see `docs/privacy.md`.
pub trait SumHelper: fmt::Debug + Send + Sync {
    /// The sum of the masks of the reports, less noise.
    fn sum<'a>(&'a self, request: &'a SumRequest) -> Answer<'a>;
}

/// What a helper answers, later.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<u32>, NoSum>> + Send + 'a>>;

/// Why a helper gave no sum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSum {
    /// It does not answer: it is asked again.
    #[error("the helper does not answer: {0}")]
    Down(String),
    /// It never will: what it says.
    #[error("the helper refuses: {0}")]
    Denied(String),
}

/// Why there are no masks of reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoMasks {
    /// There never will be: what the helper says.
    Denied(String),
    /// Not now; why, unless that is so since the last time that someone asked.
    Later(Option<String>),
}

/// What becomes of reports that wait together.
enum Fate {
    /// More may come.
    Waits,
    /// Those of this task are added up.
    Summed(Task),
    /// There will not be enough.
    Dropped,
}

/// The task of a model, by the devices that ran it at a moment; none for a model that is not ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CountedTask {
    task: Option<Task>,
    at: Timestamp,
}

/// How long the helper has not answered, and until when it is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    attempts: u32,
    until: Timestamp,
}

impl Silence {
    /// Notes one more attempt in vain.
    fn goes_on(silence: &mut Option<Silence>, now: Timestamp) {
        let attempts = silence.map_or(0, |silence| silence.attempts) + 1;
        let until = now.plus_ms(retry_ms(attempts));
        *silence = Some(Silence { attempts, until });
    }
}

/// A report under masks or noise, whichever.
struct Hidden {
    veil: Veil,
    task: u16,
    ring_bits: u8,
    privacy_class: u8,
    /// As they came, in the ring: u32 each, least byte first.
    numbers: Vec<u8>,
}

impl Hidden {
    /// The report of a frame that has so many numbers; `None` for others.
    fn of(frame: &Frame<'_>, count: usize) -> Option<Hidden> {
        fn read<const KIND: u8>(
            veil: Veil,
            report: &Report<'_, KIND>,
            count: usize,
        ) -> Option<Hidden> {
            Some(Hidden {
                veil,
                task: report.task,
                ring_bits: report.ring_bits,
                privacy_class: report.flags.privacy_class(),
                numbers: report.values(count)?.flat_map(u32::to_le_bytes).collect(),
            })
        }
        match frame {
            Frame::MaskedReport(report) => read(Veil::Masks, report, count),
            Frame::NoisedReport(report) => read(Veil::Noise, report, count),
            _ => None,
        }
    }
}

/// A helper in the same process, for tests and demonstrations: nothing is kept from whoever runs both.
impl SumHelper for Helper {
    fn sum<'a>(&'a self, request: &'a SumRequest) -> Answer<'a> {
        let answer = Helper::sum(self, request).map_err(|denied| match denied {
            Denied::Log(_) => NoSum::Down(denied.to_string()),
            _ => NoSum::Denied(denied.to_string()),
        });
        Box::pin(std::future::ready(answer))
    }
}

/// Whether a frame says in the clear what one device has seen.
pub(crate) fn is_clear(frame: &Frame<'_>) -> bool {
    match frame {
        Frame::Summary(_) | Frame::Outcome(_) | Frame::Statistics(_) | Frame::Shadow(_) => true,
        Frame::Alarm(alarm) => alarm.moved.is_some(),
        _ => false,
    }
}

impl PrivacyPolicy {
    /// Whether a frame says something of one device in the clear that this fleet does not take.
    pub(crate) fn forbids(&self, frame: &Frame<'_>) -> bool {
        self.mode != Mode::Any && is_clear(frame)
    }

    /// Fewest devices of a sum: what the helper has as its floor is never gone below.
    pub(crate) fn least(&self) -> u32 {
        self.device_count_min.max(DEVICES_MIN as u32)
    }

    /// The helper's noise as a task tells it.
    pub(crate) fn noise_tenths(&self) -> u16 {
        (self.noise * 10.0).round().clamp(0.0, f64::from(u16::MAX)) as u16
    }

    /// How devices of a model report when so many of them may be in one sum.
    pub(crate) fn task(&self, model: ModelId, device_count: u32) -> Option<Task> {
        let task = (RING_BITS_MIN..=*tinyops_wire::mask::RING_BITS.end())
            .filter_map(|ring_bits| {
                Task {
                    purpose: Purpose::Monitoring,
                    number: 0,
                    model,
                    ring_bits,
                    norm_max: 1,
                    clip: self.clip,
                    noise_tenths: self.noise_tenths(),
                }
                .with_finest_norm(device_count)
            })
            .find(|task| task.norm_max >= NORM_MIN)?;
        // Named by what it is, so that two of a model are never mixed up.
        let [low, high, ..] = Digest::of(&task.encode()).0;
        Some(Task {
            number: u16::from_le_bytes([low, high]),
            ..task
        })
    }

    /// The task of a model that so many devices run.
    fn task_for(&self, model: ModelId, running: u32) -> Option<Task> {
        self.task(model, sizes().find(|size| *size >= running)?)
    }

    /// The tasks that devices of a model may report by, under masks or under noise.
    fn tasks_of(&self, model: ModelId, veil: Veil) -> Vec<Task> {
        match veil {
            _ if !self.mode.takes(veil) => Vec::new(),
            Veil::Masks => sizes().filter_map(|size| self.task(model, size)).collect(),
            Veil::Noise => self.local_task(model).into_iter().collect(),
        }
    }
}

/// Numbers of devices that rings are made for.
pub(crate) fn sizes() -> impl Iterator<Item = u32> {
    (0..14).map(|power| SUM_DEVICES << power)
}

impl Fleet {
    /// Keeps the reports of a batch that are under masks or noise until they are added up, and mirrors what they cost
    /// their devices.
    pub(crate) async fn gather(
        &self,
        tx: &Tx,
        observations: &[Observation<'_>],
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let policy = &self.policy.privacy;
        let (mut reports, mut told, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
        let mut spending: BTreeMap<DeviceId, (u32, u8)> = BTreeMap::new();
        let mut tasks: HashMap<(ModelId, Veil), Vec<Task>> = HashMap::new();
        for observation in observations {
            let device = observation.device;
            match observation.frame {
                Frame::Hello(_) => forgotten.push(device),
                Frame::Alarm(alarm) if alarm.flags.privacy_class() > 0 => {
                    spending.entry(device).or_default().1 = alarm.flags.privacy_class();
                }
                frame @ (Frame::MaskedReport(_) | Frame::NoisedReport(_)) => {
                    let Some(baseline) = self.baseline(tx, observation.model).await? else {
                        continue;
                    };
                    let Some(report) = Hidden::of(&frame, value_count(&baseline)) else {
                        tracing::debug!(%device, "report of another shape than its model's");
                        continue;
                    };
                    let veil = report.veil;
                    let tasks = tasks
                        .entry((observation.model, veil))
                        .or_insert_with(|| policy.tasks_of(observation.model, veil));
                    let is_its = |task: &&Task| {
                        task.number == report.task && task.ring_bits == report.ring_bits
                    };
                    let Some(task) = tasks.iter().find(is_its) else {
                        tracing::debug!(%device, %veil, "report by another task than its model's");
                        continue;
                    };
                    reports.push(MaskedReport {
                        device,
                        veil,
                        seq: observation.sequence,
                        cohort: observation.cohort.to_string(),
                        model: observation.model,
                        task: task.encode().to_vec(),
                        numbers: report.numbers,
                        received_at: now,
                    });
                    told.push((device, u32::from(task.number)));
                    let spent = spending.entry(device).or_default();
                    *spent = (spent.0 + task.cost(), report.privacy_class);
                }
                _ => {}
            }
        }
        privacy::forget_told(tx, &forgotten).await?;
        privacy::add_many(tx, &reports).await?;
        privacy::put_told(tx, &told, now).await?;
        self.mirror(tx, &spending, Purpose::Monitoring, now).await
    }

    /// Adds to what devices have paid for a purpose.
    pub(crate) async fn mirror(
        &self,
        tx: &Tx,
        spending: &BTreeMap<DeviceId, (u32, u8)>,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        if spending.is_empty() {
            return Ok(());
        }
        let devices: Vec<DeviceId> = spending.keys().copied().collect();
        let before = privacy::paid_many(tx, &devices, purpose.as_str()).await?;
        let mut paid = Vec::with_capacity(devices.len());
        for ((device, (cost, class)), before) in spending.iter().zip(before) {
            let is_over =
                |paid: &Paid| now.ms_since(paid.period_from) >= self.policy.privacy.period_ms;
            let before = before.filter(|paid| !is_over(paid));
            let (micro_rho, period_from) =
                before.map_or((0, now), |paid| (paid.micro_rho, paid.period_from));
            paid.push(Paid {
                device: *device,
                purpose: purpose.as_str().to_owned(),
                micro_rho: micro_rho + i64::from(*cost),
                period_from,
                budget_class: u32::from(*class),
                changed_at: now,
            });
        }
        Ok(privacy::put_paid(tx, &paid).await?)
    }

    /// The tasks that devices are to be told: those that report under masks, or noise, and are not known to have theirs.
    /// One device's, or all.
    pub(crate) async fn tasks_owed(
        &self,
        of: Option<DeviceId>,
        now: Timestamp,
    ) -> Result<Vec<(DeviceId, [u8; TASK_BYTES])>, FleetError> {
        let policy = &self.policy.privacy;
        let mut owed = Vec::new();
        let either = Features::MASKS.with(Features::NOISES);
        for masking in privacy::masking(&self.db, either.0, of).await? {
            let veil = match Features(masking.features as u16).has(Features::MASKS) {
                true => Veil::Masks,
                false => Veil::Noise,
            };
            let task = match veil {
                _ if !policy.mode.takes(veil) => None,
                Veil::Masks => self.task_of(masking.model, now).await?,
                Veil::Noise => {
                    let is_ours = self.baseline(&self.db, masking.model).await?.is_some();
                    policy.local_task(masking.model).filter(|_| is_ours)
                }
            };
            let Some(task) = task else {
                continue;
            };
            let is_known = masking.told.is_some_and(|(number, at)| {
                number == u32::from(task.number) && now.ms_since(at) < policy.told_ms
            });
            if !is_known {
                owed.push((masking.device, task.encode()));
            }
        }
        Ok(owed)
    }

    /// The task of a model, by how many devices ran it when they were last counted.
    async fn task_of(&self, model: ModelId, now: Timestamp) -> Result<Option<Task>, FleetError> {
        let known = lock(&self.tasks).get(&model).copied();
        if let Some(known) = known
            && (0..TASK_HOLDS_MS).contains(&now.ms_since(known.at))
        {
            return Ok(known.task);
        }
        let task = match self.baseline(&self.db, model).await? {
            Some(_) => {
                let running = presence::running(&self.db, model).await?.len();
                self.policy.privacy.task_for(model, running as u32)
            }
            None => None,
        };
        lock(&self.tasks).insert(model, CountedTask { task, at: now });
        Ok(task)
    }

    /// Closes what is due, asks the helper for the sums that are open, and judges those that it tells.
    pub(crate) async fn turn_masked(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let mut events = Vec::new();
        for waiting in privacy::waiting(&self.db).await? {
            match self.close_masked(&waiting, now).await {
                Ok(told) => events.extend(told),
                Err(FleetError::Store(error)) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        let open = privacy::open_sums(&self.db).await?;
        for sum in &open {
            match self.ask(sum, now).await {
                Ok(Ok(told)) => events.extend(told),
                Ok(Err(why)) => {
                    // One that does not answer for this sum does not answer for the next either.
                    if let Some(why) = why {
                        self.note_wait(&open, &why).await?;
                    }
                    break;
                }
                Err(FleetError::Store(error)) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    /// What becomes of reports that wait together.
    fn fate(&self, waiting: &Waiting, now: Timestamp) -> Fate {
        let policy = &self.policy.privacy;
        let least = policy.least();
        let age_ms = now.ms_since(waiting.oldest);
        let is_due = waiting.report_count > waiting.device_count || age_ms >= policy.window_ms;
        // Reports under noise are not added up in the ring.
        let is_held = |task: &Task| waiting.veil == Veil::Noise || task.holds(least);
        let task = read_task(&waiting.task).filter(is_held);
        match task {
            Some(task) if waiting.device_count >= least => match is_due {
                true => Fate::Summed(task),
                false => Fate::Waits,
            },
            _ if age_ms >= policy.wait_ms => Fate::Dropped,
            _ => Fate::Waits,
        }
    }

    /// Puts the oldest report of each device into a sum, once there are enough and none is to be waited for. One of
    /// reports under noise is judged at once.
    async fn close_masked(&self, seen: &Waiting, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        if matches!(self.fate(seen, now), Fate::Waits) {
            return Ok(Vec::new());
        }
        let tx = self.db.begin_audited("close masked reports").await?;
        // What was seen may be closed by another process by now.
        let waiting = privacy::waiting(&tx).await?;
        let is_seen = |waiting: &Waiting| {
            (&waiting.cohort, waiting.model, &waiting.task, waiting.veil)
                == (&seen.cohort, seen.model, &seen.task, seen.veil)
        };
        let Some(waiting) = waiting.into_iter().find(is_seen) else {
            return Ok(Vec::new());
        };
        let least = self.policy.privacy.least();
        match self.fate(&waiting, now) {
            Fate::Waits => Ok(Vec::new()),
            Fate::Summed(task) => {
                let mut reports = privacy::oldest_of_each(&tx, &waiting).await?;
                if waiting.veil == Veil::Noise {
                    let told = self.judge_noised(&tx, &waiting, &task, &reports, now);
                    let told = told.await?;
                    tx.commit().await?;
                    return Ok(told);
                }
                while !task.holds(reports.len() as u32) {
                    // Later ones are in the next sum.
                    reports.pop();
                }
                if reports.len() >= least as usize {
                    privacy::begin_sum(&tx, &waiting, &reports, now).await?;
                    tx.commit().await?;
                }
                Ok(Vec::new())
            }
            Fate::Dropped => {
                let dropped = privacy::forget_waiting(&tx, &waiting).await?;
                let why = match waiting.device_count {
                    found if found < least => {
                        format!("{found} devices reported, and a sum takes {least}")
                    }
                    _ => format!("no sum by their task holds the {least} devices that one takes"),
                };
                let detail = json!({
                    "why": why,
                    "reports": dropped, "model_id": waiting.model.to_string(),
                });
                note(&tx, now, "fleet", "sum.drop", &waiting.cohort, &detail).await?;
                tx.commit().await?;
                Ok(vec![Event::SumDropped {
                    cohort: waiting.cohort,
                    device_count: waiting.device_count,
                    device_count_min: least,
                }])
            }
        }
    }

    /// The helper, where there is one and it is not left alone for now.
    pub(crate) fn helper_to_ask(&self, now: Timestamp) -> Result<&dyn SumHelper, NoMasks> {
        let Some(helper) = self.helper.as_deref() else {
            let why = "no helper is configured".to_owned();
            return Err(NoMasks::Later(Some(why)));
        };
        match *lock(&self.helper_silence) {
            Some(silence) if now < silence.until => Err(NoMasks::Later(None)),
            _ => Ok(helper),
        }
    }

    /// The sum of the masks of reports, as many as asked for; notes whether the helper has said anything.
    pub(crate) async fn ask_for_masks(
        &self,
        request: &SumRequest,
        now: Timestamp,
    ) -> Result<Vec<u32>, NoMasks> {
        let answer = match self.helper_to_ask(now)?.sum(request).await {
            Ok(masks) if masks.len() == request.value_count => Ok(masks),
            Ok(masks) => Err(NoSum::Down(format!(
                "it gave {} numbers for {}",
                masks.len(),
                request.value_count
            ))),
            Err(why) => Err(why),
        };
        let mut silence = lock(&self.helper_silence);
        answer
            .map_err(|why| match why {
                NoSum::Down(_) => {
                    Silence::goes_on(&mut silence, now);
                    NoMasks::Later(Some(why.to_string()))
                }
                NoSum::Denied(said) => {
                    *silence = None;
                    NoMasks::Denied(said)
                }
            })
            .inspect(|_| *silence = None)
    }

    /// Asks for one sum, and judges it or drops it; the inner error says why that has to wait, where it is news.
    async fn ask(
        &self,
        sum: &MaskedSum,
        now: Timestamp,
    ) -> Result<Result<Vec<Event>, Option<String>>, FleetError> {
        if let Err(NoMasks::Later(why)) = self.helper_to_ask(now) {
            return Ok(Err(why));
        }
        let reports = privacy::of_sum(&self.db, sum.id).await?;
        let baseline = self.baseline(&self.db, sum.model).await?;
        let (Some(task), Some(baseline)) = (read_task(&sum.task), baseline) else {
            self.drop_sum(sum, "its task or its model is not known", now)
                .await?;
            return Ok(Ok(Vec::new()));
        };
        let value_count = value_count(&baseline);
        let request = SumRequest {
            task,
            value_count,
            reports: reports
                .iter()
                .map(|report| (report.device, report.seq))
                .collect(),
        };
        let masks = match self.ask_for_masks(&request, now).await {
            Ok(masks) => masks,
            Err(NoMasks::Denied(why)) => {
                self.drop_sum(sum, &why, now).await?;
                return Ok(Ok(Vec::new()));
            }
            Err(NoMasks::Later(why)) => return Ok(Err(why)),
        };
        let told = self.judge_sum(sum, &task, &reports, &masks, &baseline, now);
        Ok(Ok(told.await?))
    }

    /// Notes why sums have no answer yet, where that is not known of them.
    async fn note_wait(&self, sums: &[MaskedSum], problem: &str) -> Result<(), FleetError> {
        let news: Vec<&MaskedSum> = sums.iter().filter(|sum| sum.problem != problem).collect();
        if news.is_empty() {
            return Ok(());
        }
        tracing::warn!(sums = news.len(), %problem, "masked sums wait");
        let tx = self.db.begin("note why sums wait").await?;
        for sum in news {
            privacy::put_problem(&tx, sum.id, problem).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn drop_sum(&self, sum: &MaskedSum, why: &str, now: Timestamp) -> Result<(), FleetError> {
        tracing::warn!(cohort = sum.cohort, why, "a masked sum is dropped");
        let tx = self.db.begin_audited("drop a masked sum").await?;
        privacy::end_sum(&tx, sum.id).await?;
        let detail =
            json!({ "why": why, "devices": sum.device_count, "model_id": sum.model.to_string() });
        note(&tx, now, "fleet", "sum.drop", &sum.cohort, &detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes the masks from the sum, and holds the cohort's mean deviation against its own past.
    async fn judge_sum(
        &self,
        sum: &MaskedSum,
        task: &Task,
        reports: &[MaskedReport],
        masks: &[u32],
        baseline: &Baseline,
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let Some(values) = unmasked_mean(task, reports, masks) else {
            self.drop_sum(sum, "its task is too coarse for its numbers", now)
                .await?;
            return Ok(Vec::new());
        };
        let tx = self.db.begin_audited("judge a masked sum").await?;
        if !privacy::end_sum(&tx, sum.id).await? {
            // Another process has judged it.
            return Ok(Vec::new());
        }
        let mean = MeanOfMany {
            ln_sds: spreads(&values, baseline.channels().len()),
            noise_variance: noise_variance(task, values.len(), reports.len()),
            values,
            device_count: reports.len() as u32,
        };
        let memory = Scope::Cohort(format!("{} (sums)@{}", sum.cohort, sum.model));
        let of = (sum.cohort.as_str(), sum.model);
        let events = self.judge_mean(&tx, of, memory, &mean, baseline, now);
        let events = events.await?;
        tx.commit().await?;
        Ok(events)
    }
}

/// Notes that a device was told its task.
pub(crate) async fn mark_told(
    tx: &Tx,
    device: DeviceId,
    task: &[u8; TASK_BYTES],
    now: Timestamp,
) -> Result<(), FleetError> {
    let Some(task) = Task::decode(task) else {
        return Ok(());
    };
    Ok(privacy::put_told(tx, &[(device, task.number.into())], now).await?)
}

/// The mean over devices of what their reports say, from the sum alone.
fn unmasked_mean(task: &Task, reports: &[MaskedReport], masks: &[u32]) -> Option<Vec<f64>> {
    let mut sums = vec![0_u32; masks.len()];
    for report in reports {
        let (numbers, _) = report.numbers.as_chunks();
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum.wrapping_add(u32::from_le_bytes(*number));
        }
    }
    let scale = task.steps_per_unit(masks.len())? * reports.len().max(1) as f64;
    let value = |(sum, mask): (&u32, &u32)| task.signed(sum.wrapping_sub(*mask)) as f64 / scale;
    Some(sums.iter().zip(masks).map(value).collect())
}

/// Logarithms of the spreads, by channel.
fn spreads(mean: &[f64], channel_count: usize) -> Vec<f32> {
    let spreads = mean.iter().skip(1).step_by(2).take(channel_count);
    spreads.map(|value| *value as f32 / SPREAD_WEIGHT).collect()
}

/// Variance of each number of a mean that is known: the helper's noise, and what rounding on the devices does.
fn noise_variance(task: &Task, value_count: usize, device_count: usize) -> f64 {
    let scale = task.steps_per_unit(value_count).unwrap_or(1.0) * device_count.max(1) as f64;
    (task.noise_sd().powi(2) + device_count as f64 / 12.0) / (scale * scale)
}

pub(crate) fn value_count(baseline: &Baseline) -> usize {
    report_len(baseline.channels().len(), baseline.class_prior().len())
}

fn read_task(bytes: &[u8]) -> Option<Task> {
    Task::decode(bytes.try_into().ok()?)
}
