//! Watching devices and cohorts: judging what they report, alerts as people handle them, views for pages.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;
use tinyops_sketch::{Baseline, Source};
use tinyops_store::alert::{AlertKind, NewAlert};
use tinyops_store::drift::{DriftPoint, DriftState, Scope};
use tinyops_store::{DeviceId, Json, ModelId, Timestamp, Tx, alert, capsule, drift, model};
use tinyops_wire::Frame;
use tinyops_wire::frame::Flags;
use tinyops_wire::masked::{MaskedReport, NoisedReport};
use tinyops_wire::summary::Format;

use crate::confidence::{Interval, Withheld, expect_of};
use crate::detector::{Judgement, Layout, Memory, Point, Pool, Signal, stands};
use crate::diagnosis::{Advice, Symptoms, diagnose, is_answer};
use crate::{Event, Fleet, FleetError, alerts};

/// An authentic frame that came in order.
#[derive(Clone, Debug)]
pub(crate) struct Observation<'a> {
    pub(crate) device: DeviceId,
    pub(crate) cohort: Arc<str>,
    pub(crate) dither_seed: u64,
    pub(crate) model: ModelId,
    pub(crate) sequence: u32,
    pub(crate) byte_count: usize,
    pub(crate) frame: Frame<'a>,
}

/// One monitored channel of a cohort next to its baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelView {
    /// `feature 3`, `embedding` or `output`.
    pub name: String,
    /// How far it is from its baseline: 1 is the alarm threshold.
    pub score: f64,
    /// Mean deviation from training, in its standard deviations.
    pub mean: f64,
    /// Logarithm of the spread over training's.
    pub ln_sd: f64,
    /// Share of each bin in training.
    pub baseline: [f32; 8],
    /// Share of each bin now; training's for reports without histograms.
    pub live: [f32; 8],
}

/// A cohort as it is now, by the model that most of its devices run.
#[derive(Clone, Debug, PartialEq)]
pub struct CohortView {
    /// Which cohort.
    pub cohort: String,
    /// Which model.
    pub model: ModelId,
    /// Devices whose baseline is known and that are judged.
    pub watched_count: usize,
    /// Devices with an alarm.
    pub alarmed_count: usize,
    /// Devices that answer by a head of their own: what they say is not the model's alone.
    pub own_head_count: usize,
    /// How far it is from its baseline: 1 is the alarm threshold.
    pub score: f64,
    /// Between what the share of right answers lies, as far as confidences can tell; or why nothing is told.
    pub expected: Result<Interval, Withheld>,
    /// Its channels.
    pub channels: Vec<ChannelView>,
    /// Share of each class in training.
    pub class_prior: Vec<f32>,
    /// Share of each class now.
    pub class_shares: Vec<f32>,
}

/// Repairs of the head in a row after which training anew is advised.
pub(crate) const HEAD_REPAIRS_MAX: usize = 3;

impl Fleet {
    /// Judges the summaries of a batch; raises alerts and keeps the detectors' memories.
    pub(crate) async fn judge(
        &self,
        tx: &Tx,
        observations: &[Observation<'_>],
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let mut desk = Desk::read(self, tx, observations).await?;
        let mut events = Vec::new();
        for observation in observations {
            let Some(baseline) = desk.baselines.get(&observation.model).cloned() else {
                continue;
            };
            let wishes = match observation.frame {
                Frame::Summary(frame) => {
                    let shape = (baseline.channels().len(), baseline.class_prior().len());
                    let dither = (observation.dither_seed, observation.sequence);
                    let Ok(summary) = frame.decode(shape.0, shape.1, dither) else {
                        tracing::debug!(device = %observation.device, "summary of another shape than its model's");
                        continue;
                    };
                    let flags = frame.header.flags;
                    let not_finite = flags.has(Flags::NOT_FINITE);
                    let point = Point::of(&summary).under(flags);
                    desk.judge(observation, &point, not_finite, &baseline, self, now)
                }
                Frame::Alarm(alarm) => {
                    let not_finite = alarm.flags.has(Flags::NOT_FINITE);
                    // One that comes in a report's place is of all readings of its time, and else of those so far.
                    match not_finite || alarm.flags.privacy_class() > 0 {
                        true => desk.hear_not_finite(observation, not_finite, self),
                        false => Vec::new(),
                    }
                }
                Frame::MaskedReport(MaskedReport { flags, .. })
                | Frame::NoisedReport(NoisedReport { flags, .. }) => {
                    let not_finite = flags.has(Flags::NOT_FINITE);
                    desk.hear_not_finite(observation, not_finite, self)
                }
                _ => Vec::new(),
            };
            for wish in wishes {
                events.extend(
                    self.raise(tx, wish, observation.model, &baseline, now)
                        .await?,
                );
            }
        }
        desk.write(tx, now).await?;
        Ok(events)
    }

    /// Raises an alert; one that stands is changed where more is called for than it said, so that a first, slight
    /// sign does not hide what follows it.
    async fn raise(
        &self,
        tx: &Tx,
        wish: Wish,
        model: ModelId,
        baseline: &Baseline,
        now: Timestamp,
    ) -> Result<Option<Event>, FleetError> {
        let Wish {
            scope,
            mut symptoms,
            score,
            begins,
        } = wish;
        symptoms.repaired_before = self.head_repairs(tx, model).await? >= HEAD_REPAIRS_MAX;
        let advice = diagnose(&symptoms, baseline);
        let mut detail = json!({ "score": round3(score) });
        for signal in &symptoms.fired {
            detail[name_of(*signal, baseline)] = json!(true);
        }
        if symptoms.not_finite {
            detail["reading not finite"] = json!(true);
        }
        let new = NewAlert {
            scope,
            model,
            kind: AlertKind::Drift,
            advice: advice.word().to_owned(),
            detail,
        };
        let (event, action) =
            match alert::standing_of(tx, &new.scope, model, AlertKind::Drift).await? {
                Some(mut alert) if Advice::of_word(&alert.advice) < Some(advice) => {
                    alert.advice = new.advice;
                    alert.detail = new.detail;
                    alert.changed_at = now;
                    alert::put(tx, &mut alert).await?;
                    (Event::AlertEscalated(alert), "alert.escalate")
                }
                None if begins => match alert::raise(tx, &new, now).await? {
                    Some(alert) => (Event::AlertRaised(alert), "alert.raise"),
                    None => return Ok(None),
                },
                _ => return Ok(None),
            };
        if let Event::AlertRaised(alert) | Event::AlertEscalated(alert) = &event {
            alerts::tell(tx, action, alert, now).await?;
        }
        Ok(Some(event))
    }

    /// Raises what a sum of masked reports calls for.
    pub(crate) async fn raise_of_sum(
        &self,
        tx: &Tx,
        scope: Scope,
        (judgement, ln_sds): (&Judgement, Vec<f32>),
        begins: bool,
        (model, baseline): (ModelId, &Baseline),
        now: Timestamp,
    ) -> Result<Option<Event>, FleetError> {
        let wish = Wish {
            scope,
            symptoms: symptoms_of(judgement, ln_sds),
            score: judgement.score,
            begins,
        };
        self.raise(tx, wish, model, baseline, now).await
    }

    /// How many times in a row the model's head was solved anew since it was trained.
    pub(crate) async fn head_repairs(&self, tx: &Tx, id: ModelId) -> Result<usize, FleetError> {
        let Some(capsule) = capsule::get(tx, id).await? else {
            return Ok(0);
        };
        let mut version = capsule.version;
        for repairs in 0..HEAD_REPAIRS_MAX {
            match model::get(tx, &capsule.model, version)
                .await?
                .and_then(|model| model.parent)
            {
                Some(parent) => version = parent,
                None => return Ok(repairs),
            }
        }
        Ok(HEAD_REPAIRS_MAX)
    }

    /// The baseline that a model's capsule carries; `None` for a model that is not ours.
    pub(crate) async fn baseline(
        &self,
        on: &impl tinyops_store::Read,
        model: ModelId,
    ) -> Result<Option<Arc<Baseline>>, FleetError> {
        if let Some(baseline) = self.cached_baseline(model) {
            return Ok(Some(baseline));
        }
        let Some(capsule) = capsule::get(on, model).await? else {
            return Ok(None);
        };
        let Ok(baseline) = Baseline::decode(&capsule.baseline) else {
            return Ok(None);
        };
        Ok(Some(self.cache_baseline(model, baseline)))
    }

    /// A cohort next to the baseline of the model that most of its devices run; `None` before any report.
    pub async fn cohort_view(&self, cohort: &str) -> Result<Option<CohortView>, FleetError> {
        let mut found: Option<(DriftState, Pool, Vec<DriftState>)> = None;
        let mut memories: Vec<Memory> = Vec::new();
        let mut most = None;
        for state in drift::of_cohorts(&self.db).await? {
            let scopes = [cohort_scope, other_format_scope].map(|scope| scope(cohort, state.model));
            if !scopes.contains(&state.scope) {
                continue;
            }
            let Some(pool) = Pool::decode(&state.state) else {
                continue;
            };
            let devices = drift::in_cohort(&self.db, cohort, state.model).await?;
            let of_devices: Vec<Memory> = devices
                .iter()
                .filter_map(|device| Memory::decode(&device.state))
                .collect();
            let is_its = |memory: &&Memory| memory.layout() == Some(pool.layout);
            let count = (devices.len(), of_devices.iter().filter(is_its).count());
            if most.is_none_or(|most| most < count) {
                most = Some(count);
                memories = of_devices;
                found = Some((state, pool, devices));
            }
        }
        let Some((state, pool, devices)) = found else {
            return Ok(None);
        };
        let Some(baseline) = self.baseline(&self.db, state.model).await? else {
            return Ok(None);
        };
        let is_watching = |memory: &&Memory| matches!(memory, Memory::Watching(_));
        let scores = drift::history(&self.db, &state.scope, Timestamp(i64::MIN), 1).await?;
        let scores = scores
            .last()
            .map(|point| point.detail.clone())
            .unwrap_or_default();
        let own_head_count = memories.iter().filter(|m| m.has_own_head()).count();
        let channels = channel_views(&baseline, &pool, &scores);
        let expected = match own_head_count {
            0 => {
                let calm = self.policy.drift.calm_score;
                expect_of(&baseline, &pool, &memories, &channels, calm)
            }
            _ => Err(Withheld::OwnHeads),
        };
        Ok(Some(CohortView {
            cohort: cohort.to_owned(),
            model: state.model,
            watched_count: memories.iter().filter(is_watching).count(),
            alarmed_count: devices.iter().filter(|device| device.alarmed).count(),
            own_head_count,
            score: state.score,
            expected,
            channels,
            class_prior: baseline.class_prior().to_vec(),
            class_shares: class_shares(&pool),
        }))
    }
}

/// The memories that a batch touches.
struct Desk {
    baselines: HashMap<ModelId, Arc<Baseline>>,
    memories: HashMap<(DeviceId, ModelId), Record<Memory>>,
    /// By the name of the cohort.
    pools: HashMap<(Arc<str>, ModelId), Pools>,
    points: Vec<DriftPoint>,
    /// Devices without a memory of this model: what stands of other models is over.
    newcomers: Vec<(Scope, ModelId)>,
}

struct Record<T> {
    memory: T,
    score: f64,
    alarmed: bool,
    touched: bool,
}

/// The noise of one cohort, by the numbers that its devices report: with histograms, and over narrower links without.
/// What is known of the one says nothing of the other, so that each has a pool of its own.
struct Pools {
    /// Of the layout that the cohort learnt first.
    first: Record<Pool>,
    other: Record<Pool>,
}

/// Makes the scope of a cohort and a model.
type ScopeOf = fn(&str, ModelId) -> Scope;

/// Something to raise an alert for.
struct Wish {
    scope: Scope,
    symptoms: Symptoms,
    score: f64,
    /// The alarm did not stand before: what a person resolved is not raised again while it lasts.
    begins: bool,
}

impl Desk {
    async fn read(
        fleet: &Fleet,
        tx: &Tx,
        observations: &[Observation<'_>],
    ) -> Result<Desk, FleetError> {
        let heard = |o: &&Observation<'_>| {
            matches!(
                o.frame,
                Frame::Summary(_)
                    | Frame::Alarm(_)
                    | Frame::MaskedReport(_)
                    | Frame::NoisedReport(_)
            )
        };
        let mut desk = Desk {
            baselines: HashMap::new(),
            memories: HashMap::new(),
            pools: HashMap::new(),
            points: Vec::new(),
            newcomers: Vec::new(),
        };
        let mut strangers = HashSet::new();
        let (mut devices, mut cohorts) = (HashSet::new(), HashSet::new());
        let mut layouts: HashMap<(Arc<str>, ModelId), HashSet<Layout>> = HashMap::new();
        for observation in observations.iter().filter(heard) {
            let model = observation.model;
            if strangers.contains(&model) {
                continue;
            }
            if let Entry::Vacant(place) = desk.baselines.entry(model) {
                let Some(baseline) = fleet.baseline(tx, model).await? else {
                    strangers.insert(model);
                    continue;
                };
                place.insert(baseline);
            }
            devices.insert((observation.device, model));
            let cohort = (observation.cohort.clone(), model);
            if let (Frame::Summary(frame), Some(baseline)) =
                (observation.frame, desk.baselines.get(&model))
            {
                let layout = Layout {
                    channel_count: baseline.channels().len() as u8,
                    has_shares: frame.format == Format::M6H8,
                    class_count: baseline.class_prior().len() as u8,
                    is_restandardized: false,
                    has_own_head: false,
                };
                layouts.entry(cohort.clone()).or_default().insert(layout);
            }
            cohorts.insert(cohort);
        }
        let mut devices: Vec<(DeviceId, ModelId)> = devices.into_iter().collect();
        devices.sort_unstable();
        let cohorts: Vec<(Arc<str>, ModelId)> = cohorts.into_iter().collect();
        let of_device = |(device, model): &(DeviceId, ModelId)| (Scope::Device(*device), *model);
        let of_cohort =
            |(cohort, model): &(Arc<str>, ModelId)| (cohort_scope(cohort, *model), *model);
        let of_devices = devices.iter().map(of_device);
        let of_cohorts = cohorts.iter().map(of_cohort);
        let wanted: Vec<_> = of_devices.chain(of_cohorts).collect();
        let mut states = drift::get_many(tx, &wanted).await?.into_iter();
        for ((device, model), state) in devices.into_iter().zip(states.by_ref()) {
            let is_new = state.is_none();
            let mut record = Record::of(state, Memory::decode, Memory::new);
            if is_new {
                // It has one from now on, whether its reports are judged or only added up.
                record.touched = true;
                desk.newcomers.push((Scope::Device(device), model));
            }
            desk.memories.insert((device, model), record);
        }
        let nothing = Layout {
            channel_count: 0,
            has_shares: false,
            class_count: 0,
            is_restandardized: false,
            has_own_head: false,
        };
        let record = |state| Record::of(state, Pool::decode, || Pool::new(nothing));
        // Most cohorts have one format, so that the pool of the other is read only where a report is of it.
        let mut others = Vec::new();
        for (cohort, first) in cohorts.into_iter().zip(states) {
            let first = record(first);
            let known = first.memory.layout;
            let told = layouts.get(&cohort);
            if !known.is_empty() && told.into_iter().flatten().any(|layout| *layout != known) {
                others.push(cohort.clone());
            }
            let other = record(None);
            desk.pools.insert(cohort, Pools { first, other });
        }
        let of_other =
            |(cohort, model): &(Arc<str>, ModelId)| (other_format_scope(cohort, *model), *model);
        let wanted: Vec<_> = others.iter().map(of_other).collect();
        if !wanted.is_empty() {
            let states = drift::get_many(tx, &wanted).await?;
            for (cohort, state) in others.iter().zip(states) {
                if let Some(pools) = desk.pools.get_mut(cohort) {
                    pools.other = record(state);
                }
            }
        }
        Ok(desk)
    }

    fn judge(
        &mut self,
        observation: &Observation<'_>,
        point: &Point,
        not_finite: bool,
        baseline: &Baseline,
        fleet: &Fleet,
        now: Timestamp,
    ) -> Vec<Wish> {
        let policy = &fleet.policy.drift;
        let (device, model) = (observation.device, observation.model);
        let (Some(pools), Some(record)) = (
            self.pools.get_mut(&(observation.cohort.clone(), model)),
            self.memories.get_mut(&(device, model)),
        ) else {
            return Vec::new();
        };
        let (pool, pool_scope) = pools.of(point.layout);
        let mut wishes = Vec::new();
        if point.window_count < policy.window_count_min as f32 {
            return wishes;
        }
        if let Some(judgement) = pool.memory.close_before(device.0, policy) {
            let was = pool.settle(judgement.score, false, policy.calm_score);
            self.points.push(DriftPoint {
                scope: pool_scope(&observation.cohort, model),
                model,
                at: now,
                score: judgement.score,
                detail: history_of(&judgement, baseline),
            });
            if judgement.score >= 1.0 {
                wishes.push(Wish {
                    scope: cohort_scope(&observation.cohort, model),
                    symptoms: symptoms_of(&judgement, pool.memory.last_ln_sds()),
                    score: judgement.score,
                    begins: !was,
                });
            }
        }
        record.touched = true;
        pool.touched = true;
        let judgement = record
            .memory
            .push(device.0, point, &mut pool.memory, policy);
        let is_answer = |signal| is_answer(signal, baseline);
        let since_moved = record.memory.since_moved(&pool.memory, policy, is_answer);
        let found = judgement.as_ref().or(since_moved.as_ref());
        let score = found.map_or(record.score, |found| found.score);
        let was = record.settle(score, not_finite, policy.calm_score);
        if judgement.is_none() {
            // A score of before, or of features that the server asked to move, may let an alarm fall; none begins by it.
            record.alarmed &= was || not_finite;
        }
        let drifted = judgement.filter(|judgement| judgement.score >= 1.0);
        if drifted.is_some() || not_finite {
            let mut symptoms = match &drifted {
                Some(judgement) => symptoms_of(judgement, ln_sds(point)),
                None => Symptoms::default(),
            };
            symptoms.not_finite = not_finite;
            wishes.push(Wish {
                scope: Scope::Device(device),
                symptoms,
                score,
                begins: !was,
            });
        }
        wishes
    }

    /// What a device says itself, outside of a report that is judged: a reading that is no number raises an alert at
    /// once, and the alarm falls with a report of readings that are.
    ///
    /// That the output or embeddings moved does not. The device's sum of deviations takes windows for independent and normal;
    /// a machine that stays in one condition for hours gives neither, and the sum crosses its threshold on stable
    /// devices too. Its flag is in the next report, which is judged like any other, within the stated chance of
    /// a false alarm.
    fn hear_not_finite(
        &mut self,
        observation: &Observation<'_>,
        not_finite: bool,
        fleet: &Fleet,
    ) -> Vec<Wish> {
        let Some(record) = self
            .memories
            .get_mut(&(observation.device, observation.model))
        else {
            return Vec::new();
        };
        let was = record.settle(record.score, not_finite, fleet.policy.drift.calm_score);
        record.alarmed &= was || not_finite;
        record.touched |= was != record.alarmed;
        if !not_finite {
            return Vec::new();
        }
        let symptoms = Symptoms {
            not_finite,
            ..Symptoms::default()
        };
        vec![Wish {
            scope: Scope::Device(observation.device),
            symptoms,
            score: record.score,
            begins: !was,
        }]
    }

    async fn write(self, tx: &Tx, now: Timestamp) -> Result<(), FleetError> {
        if !self.newcomers.is_empty() {
            drift::forget_others(tx, &self.newcomers).await?;
            for resolved in alert::resolve_others(tx, &self.newcomers, "fleet", now).await? {
                alerts::tell(tx, "alert.resolve", &resolved, now).await?;
            }
        }
        let mut states = Vec::new();
        for ((device, model), record) in self.memories {
            states.extend(record.state(Scope::Device(device), model, now, Memory::encode));
        }
        for ((cohort, model), pools) in self.pools {
            let (first, other) = (
                cohort_scope(&cohort, model),
                other_format_scope(&cohort, model),
            );
            states.extend(pools.first.state(first, model, now, Pool::encode));
            states.extend(pools.other.state(other, model, now, Pool::encode));
        }
        drift::put_many(tx, &states).await?;
        drift::add_points(tx, &self.points).await?;
        Ok(())
    }
}

impl Pools {
    /// The pool of reports of a layout, and the scope that it is kept and drawn under.
    fn of(&mut self, layout: Layout) -> (&mut Record<Pool>, ScopeOf) {
        let first = self.first.memory.layout;
        match first.is_empty() || first == layout.as_numbers() {
            true => (&mut self.first, cohort_scope),
            false => (&mut self.other, other_format_scope),
        }
    }
}

impl<T> Record<T> {
    /// What is remembered, or a beginning.
    fn of(
        state: Option<DriftState>,
        decode: impl Fn(&[u8]) -> Option<T>,
        begin: impl Fn() -> T,
    ) -> Record<T> {
        let (score, alarmed) = state
            .as_ref()
            .map_or((0.0, false), |state| (state.score, state.alarmed));
        let memory = state.and_then(|state| decode(&state.state));
        Record {
            memory: memory.unwrap_or_else(begin),
            score,
            alarmed,
            touched: false,
        }
    }

    /// Takes a new score, and whether a reading was no number; answers whether the alarm stood before. It falls again
    /// only well below the threshold, whatever raised it.
    fn settle(&mut self, score: f64, not_finite: bool, calm: f64) -> bool {
        let was = self.alarmed;
        self.score = score;
        self.alarmed = not_finite || stands(score, was, calm);
        was
    }

    fn state(
        self,
        scope: Scope,
        model: ModelId,
        now: Timestamp,
        encode: impl Fn(&T) -> Vec<u8>,
    ) -> Option<DriftState> {
        let state = |record: Record<T>| DriftState {
            scope,
            model,
            state: encode(&record.memory),
            score: record.score,
            alarmed: record.alarmed,
            updated_at: now,
        };
        self.touched.then(|| state(self))
    }
}

/// A cohort is judged for each model that its devices run.
pub(crate) fn cohort_scope(cohort: &str, model: ModelId) -> Scope {
    Scope::Cohort(format!("{cohort}@{model}"))
}

/// What marks the detector of reports of another layout.
const OTHER_FORMAT: &str = " (other format)";

/// Where the detector of a cohort's reports is kept that are not of the layout which the cohort learnt first; what it
/// finds is an alert of the cohort.
fn other_format_scope(cohort: &str, model: ModelId) -> Scope {
    Scope::Cohort(format!("{cohort}{OTHER_FORMAT}@{model}"))
}

/// The cohort whose devices a scope of a cohort is about, whatever the layout of their reports.
pub(crate) fn members_of(scope: &Scope) -> Option<&str> {
    let name = cohort_of(scope)?;
    Some(name.strip_suffix(OTHER_FORMAT).unwrap_or(name))
}

/// The cohort of a scope that `cohort_scope` made.
pub fn cohort_of(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::Cohort(name) => name.rsplit_once('@').map(|(cohort, _)| cohort),
        Scope::Device(_) => None,
    }
}

fn symptoms_of(judgement: &Judgement, ln_sds: Vec<f32>) -> Symptoms {
    let mut fired: Vec<Signal> = judgement.fired().collect();
    if fired.is_empty() {
        // Enough of its devices alarm without any signal of the whole; the strongest one names it.
        fired.extend(judgement.signals.first().map(|(signal, _)| *signal));
    }
    Symptoms {
        fired,
        ln_sds,
        ..Symptoms::default()
    }
}

fn ln_sds(point: &Point) -> Vec<f32> {
    (0..point.layout.channel_count)
        .map(|channel| point.values[point.layout.channel(channel) + 1])
        .collect()
}

/// `{"mean of feature 3": 0.42, …}`, and the devices in the window.
pub(crate) fn history_of(judgement: &Judgement, baseline: &Baseline) -> Json {
    let mut detail =
        json!({ "crowd": round3(judgement.crowd_score), "devices": judgement.member_count });
    for (signal, score) in &judgement.signals {
        detail[name_of(*signal, baseline)] = json!(round3(*score));
    }
    detail
}

/// What a signal is called on pages and in alerts.
pub fn name_of(signal: Signal, baseline: &Baseline) -> String {
    match signal {
        Signal::Mean(channel) => format!("mean of {}", channel_name(channel, baseline)),
        Signal::Spread(channel) => format!("spread of {}", channel_name(channel, baseline)),
        Signal::Shape(channel) => format!("shape of {}", channel_name(channel, baseline)),
        Signal::Classes => "classes".to_owned(),
    }
}

fn channel_name(channel: u8, baseline: &Baseline) -> String {
    match baseline
        .channels()
        .get(usize::from(channel))
        .map(|channel| channel.source)
    {
        Some(Source::Feature(index)) => format!("feature {index}"),
        Some(Source::Embedding) => "embedding".to_owned(),
        _ => "output".to_owned(),
    }
}

fn channel_views(baseline: &Baseline, pool: &Pool, scores: &Json) -> Vec<ChannelView> {
    let views = (0_u8..).zip(baseline.channels()).map(|(index, channel)| {
        let signals = [
            Signal::Mean(index),
            Signal::Spread(index),
            Signal::Shape(index),
        ];
        let score_of = |signal: &Signal| scores[name_of(*signal, baseline)].as_f64().unwrap_or(0.0);
        let first = pool.layout.channel(index);
        let level = |offset: usize| pool.last_levels.get(first + offset).copied().unwrap_or(0.0);
        let known = index < pool.layout.channel_count
            && pool.layout.has_shares
            && !pool.last_levels.is_empty();
        let roots: [f32; 8] = std::array::from_fn(|bin| level(2 + bin));
        ChannelView {
            name: channel_name(index, baseline),
            score: signals.iter().map(score_of).fold(0.0, f64::max),
            mean: f64::from(level(0)),
            ln_sd: f64::from(level(1)),
            baseline: channel.shares,
            live: if known {
                shares_of(roots)
            } else {
                channel.shares
            },
        }
    });
    views.collect()
}

fn class_shares(pool: &Pool) -> Vec<f32> {
    let roots = pool
        .last_levels
        .get(pool.layout.classes()..)
        .unwrap_or_default();
    let sum: f32 = roots.iter().map(|root| root * root).sum();
    roots
        .iter()
        .map(|root| root * root / sum.max(f32::MIN_POSITIVE))
        .collect()
}

fn shares_of(roots: [f32; 8]) -> [f32; 8] {
    let sum: f32 = roots.iter().map(|root| root * root).sum();
    roots.map(|root| root * root / sum.max(f32::MIN_POSITIVE))
}

fn round3(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
