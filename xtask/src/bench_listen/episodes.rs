//! `cargo xtask bench listen episodes`: drift on real recordings, from the first report that tells of it to a repaired
//! fleet, against doing nothing and against moving all raw data.
//!
//! Devices are virtual; what they run is not: sketches, dithered reports, moments, sums and own heads are those of the
//! device's crates, the detector, the diagnosis and the clipped sum those of the server, heads and models those of the
//! pipeline. A report is of a day's 288 windows, drawn from a device's own recordings again and again, since none is as
//! long as a month. Bytes are held against those of the windows of the days from the drift to the repair, and told
//! beside as a share of the recordings themselves, each reading once.
//!
//! Three go about each drift: the ladder of `ladder.rs`, which tries level after level, and what the product does by
//! itself, `product.rs`, as it comes and where features may be moved.

use tinyops_fleet::detector::{
    DriftPolicy, Judgement, Layout, Memory, Point, Pool, Signal, stands,
};
use tinyops_fleet::diagnosis::{Advice, Symptoms, diagnose, is_answer};
use tinyops_model::Model;
use tinyops_sketch::{Observation, Sketch, Summary};
use tinyops_train::{TrainSpec, Windows};
use tinyops_wire::Frame;
use tinyops_wire::summary::{FRAME_BYTES_MAX, Format, Header, SummaryFrame};

use super::ladder::{self, Seen, State};
use super::product;
use super::sets;
use super::tales;
use crate::chance::Chance;
use crate::figure::Row;

/// Share of what a central retrain recovers that must come back, and the share of its bytes that may be spent.
const RECOVERED_MIN: f64 = 0.85;
const BYTES_MAX: f64 = 0.01;
/// Reports before the drift: the baseline's, and some that must raise no alarm.
const CALM_REPORTS: u32 = 24;
/// Reports after it, at most.
const REPORTS_MAX: u32 = 30;
/// Devices that must have alarmed by themselves, unless the cohort does.
const ALARMED_SHARE_MIN: f64 = 0.1;
/// Seeds of the training; figures are sums over them.
const SEEDS: [u64; 2] = [1, 2];
/// Windows that a report stands for: one in five minutes of a day.
const WINDOWS_A_REPORT: usize = 288;
/// Bytes around a frame on LoRaWAN (`docs/formats/lorawan.md`).
pub(super) const ENVELOPE: usize = 7;
/// How far features are moved back to training.
pub(super) const BLEND: f32 = 0.5;

/// A story on real recordings.
pub(super) struct Tale {
    pub(super) spec: TrainSpec,
    pub(super) classes: Vec<String>,
    /// Windows for training, for validation, and none.
    pub(super) factory: [Windows; 3],
    /// The world before, by device.
    pub(super) calm: Vec<Windows>,
    /// What follows, one drift after another.
    pub(super) drifts: Vec<Drift>,
    /// Bytes of a reading of all channels.
    pub(super) reading_bytes: usize,
    /// What the project's gate asks of a model on the factory's windows.
    pub(super) threshold: f64,
}

/// One drift.
pub(super) struct Drift {
    pub(super) name: String,
    /// What devices can learn from, by device.
    pub(super) learn: Vec<Windows>,
    /// What they are judged by.
    pub(super) test: Vec<Windows>,
    /// Bytes of the recordings that the windows to learn from were cut from, each reading once.
    pub(super) recorded_bytes: usize,
}

/// A drift that was seen.
pub(super) struct Case<'a> {
    pub(super) name: &'a str,
    pub(super) tale: &'a Tale,
    pub(super) drift: &'a Drift,
    /// What the fleet runs.
    pub(super) state: &'a State,
    pub(super) advice: Advice,
    /// What fired, and the server that heard it.
    pub(super) fired: &'a [Signal],
    pub(super) server: &'a Server,
    /// Accuracy before the drift.
    pub(super) before: f64,
    /// Reports until it was seen.
    seen: u32,
    /// Bytes of one report of all devices, and of the windows that it stands for.
    report_bytes: usize,
    day_bytes: usize,
}

/// How a fleet was repaired.
pub(super) struct Repaired {
    pub(super) state: State,
    /// Bytes up of all devices, beside their reports.
    pub(super) bytes: usize,
    /// Reports that it took.
    pub(super) reports: u32,
    pub(super) how: String,
}

/// A way to go about a drift; `None` where it does nothing.
type Repair = fn(&Case<'_>) -> Result<Option<Repaired>, String>;

const WAYS: [Repair; 3] = [ladder::climb, product::as_it_comes, product::moving];
/// Where sums are told under masks; the first is what it is held against.
const UNDER_MASKS: [Repair; 2] = [product::as_it_comes, product::under_masks];

/// What the monitor saw of a drift.
struct Alarmed {
    /// Alarms of devices or of the cohort before the drift.
    false_alarms: usize,
    /// Reports until it was seen.
    reports: Option<u32>,
    advice: Option<Advice>,
    /// Bytes of one report.
    report_bytes: usize,
    /// What fired.
    fired: Vec<Signal>,
    server: Server,
}

/// Figures of one tale, sums over its drifts.
#[derive(Default)]
struct Totals {
    drifts: usize,
    devices: usize,
    before: f64,
    nothing: f64,
    ours: f64,
    central: f64,
    /// Bytes up, of all devices.
    bytes: usize,
    /// Of all raw windows of the days from the drift to the repair.
    raw_bytes: usize,
    /// Of the recordings that the days were drawn from.
    recorded_bytes: usize,
    seen: u32,
    repaired: u32,
    false_alarms: usize,
    how: Vec<String>,
}

impl Case<'_> {
    /// Whether so many bytes beside the reports, after so many reports, are within the budget.
    pub(super) fn fits(&self, bytes: usize, reports: u32) -> bool {
        let days = (self.seen + reports) as usize;
        (bytes + self.report_bytes * days) as f64 <= BYTES_MAX * (self.day_bytes * days) as f64
    }
}

impl Totals {
    fn mean(&self, sum: f64) -> f64 {
        sum / self.drifts as f64
    }

    fn recovered(&self) -> f64 {
        (self.ours - self.nothing) / (self.central - self.nothing).max(1e-9)
    }

    fn share(&self) -> f64 {
        self.bytes as f64 / self.raw_bytes.max(1) as f64
    }

    fn recovered_row(&self, name: &'static str) -> Row {
        Row {
            name,
            goal: format!("≥ {RECOVERED_MIN} recovered"),
            own: format!(
                "{:.2}: before {:.3}, drifted {:.3}, repaired {:.3}",
                self.recovered(),
                self.mean(self.before),
                self.mean(self.nothing),
                self.mean(self.ours)
            ),
            peer: format!("all raw data, trained again {:.3}", self.mean(self.central)),
            holds: self.recovered() >= RECOVERED_MIN,
        }
    }

    fn bytes_row(&self, name: &'static str) -> Row {
        let of_recordings = self.bytes as f64 / self.recorded_bytes.max(1) as f64;
        let each = |bytes: usize| bytes / self.devices / self.drifts;
        Row {
            name,
            goal: format!("≤ {} % of the raw bytes", 100.0 * BYTES_MAX),
            own: format!(
                "{:.2} %, {} B; of the recordings {:.1} %",
                100.0 * self.share(),
                each(self.bytes),
                100.0 * of_recordings
            ),
            peer: format!("{} B", each(self.raw_bytes)),
            holds: self.share() <= BYTES_MAX,
        }
    }

    fn reports_row(&self, name: &'static str) -> Row {
        let per = |count: u32| f64::from(count) / self.drifts as f64;
        Row {
            name,
            goal: "–".to_owned(),
            own: format!(
                "{:.1} to see it, {:.1} to repair it; {}",
                per(self.seen),
                per(self.repaired),
                self.how.join(", ")
            ),
            peer: format!(
                "{} false alarms in {CALM_REPORTS} reports before",
                self.false_alarms
            ),
            holds: true,
        }
    }
}

/// The rows of one tale by the names that `tales` gives them: of the ladder, then of the product alone,
/// as it comes and where it may move features.
pub(super) fn rows(names: [&'static str; 9], tell: tales::Tell) -> Result<Vec<Row>, String> {
    let totals = followed(names[0], tell, &WAYS)?;
    let rows = names
        .chunks_exact(3)
        .zip(&totals)
        .flat_map(|(names, totals)| {
            [
                totals.recovered_row(names[0]),
                totals.bytes_row(names[1]),
                totals.reports_row(names[2]),
            ]
        });
    Ok(rows.collect())
}

/// The rows of one tale by the names that `tales` gives them, of sums under masks.
pub(super) fn masked_rows(names: [&'static str; 3], tell: tales::Tell) -> Result<Vec<Row>, String> {
    let [clear, masked] = &followed(names[0], tell, &UNDER_MASKS)?[..] else {
        return Err("another number of ways".to_owned());
    };
    let mut rows = vec![
        masked.recovered_row(names[0]),
        masked.bytes_row(names[1]),
        masked.reports_row(names[2]),
    ];
    let told = format!("; in the clear {:.3}", clear.mean(clear.ours));
    rows[0].peer.push_str(&told);
    Ok(rows)
}

/// What the ways of one tale come to, over all seeds.
fn followed(name: &str, tell: tales::Tell, ways: &[Repair]) -> Result<Vec<Totals>, String> {
    let mut totals: Vec<Totals> = ways.iter().map(|_| Totals::default()).collect();
    for seed in SEEDS {
        run_tale(name, &tell(seed)?, ways, &mut totals)?;
    }
    Ok(totals)
}

/// One fleet goes through the tale for each way.
fn run_tale(name: &str, tale: &Tale, ways: &[Repair], totals: &mut [Totals]) -> Result<(), String> {
    let (model, _) = sets::trained(&tale.spec, &tale.classes, &tale.factory)?;
    let untouched = State::new(model, &tale.factory[0], tale.calm.len());
    let mut states = vec![untouched.clone(); ways.len()];
    let mut calm: &[Windows] = &tale.calm;
    let mut moved: Vec<Windows> = vec![tale.factory[0].clone()];
    for drift in &tale.drifts {
        moved.push(joined(&drift.learn));
        let central = central(tale, &moved)?;
        let test = sets::features(&central, &joined(&drift.test))?;
        let central = sets::accuracy(&central, &test)?;
        let nothing = untouched.accuracy(&drift.test)?;
        for ((state, totals), repair) in states.iter_mut().zip(&mut *totals).zip(ways) {
            totals.drifts += 1;
            totals.devices = tale.calm.len();
            totals.nothing += nothing;
            totals.central += central;
            totals.recorded_bytes += drift.recorded_bytes;
            totals.follow(name, tale, (calm, drift), state, *repair)?;
            totals.ours += state.accuracy(&drift.test)?;
        }
        calm = &drift.test;
    }
    Ok(())
}

impl Totals {
    /// A fleet meets a drift, and what it is repaired by.
    fn follow(
        &mut self,
        name: &str,
        tale: &Tale,
        (calm, drift): (&[Windows], &Drift),
        state: &mut State,
        repair: Repair,
    ) -> Result<(), String> {
        let before = state.accuracy(calm)?;
        let alarmed = watch(state, calm, &drift.learn)?;
        self.before += before;
        self.false_alarms += alarmed.false_alarms;
        let seen = alarmed.reports.unwrap_or(REPORTS_MAX);
        self.seen += seen;
        let report_bytes = alarmed.report_bytes * tale.calm.len();
        let day_bytes: usize = drift.learn.iter().map(|own| tale.day_bytes(own)).sum();
        let mut days = seen;
        let how = match alarmed.advice {
            None => "not seen".to_owned(),
            Some(advice) => {
                let repaired = repair(&Case {
                    name,
                    tale,
                    drift,
                    state,
                    advice,
                    fired: &alarmed.fired,
                    server: &alarmed.server,
                    before,
                    seen,
                    report_bytes,
                    day_bytes,
                })?;
                let how = repaired
                    .as_ref()
                    .map_or("nothing", |repaired| &repaired.how);
                let how = format!("{how} ({})", advice.word());
                if let Some(repaired) = repaired {
                    days += repaired.reports;
                    self.bytes += repaired.bytes;
                    self.repaired += repaired.reports;
                    *state = repaired.state;
                }
                how
            }
        };
        self.how.push(how);
        self.bytes += report_bytes * days as usize;
        self.raw_bytes += day_bytes * days as usize;
        Ok(())
    }
}

impl Tale {
    /// Bytes of windows as they are, without the zeros behind a short one.
    pub(super) fn raw_bytes(&self, windows: &Windows) -> usize {
        readings(windows) * self.reading_bytes
    }

    /// Bytes of a day of such windows.
    fn day_bytes(&self, windows: &Windows) -> usize {
        self.raw_bytes(windows) * WINDOWS_A_REPORT / windows.count().max(1)
    }
}

/// Readings of all channels in windows, without the zeros behind a short one.
pub(super) fn readings(windows: &Windows) -> usize {
    let channels = usize::from(windows.channel_count);
    let each = (0..windows.count()).map(|index| {
        let window = windows.window(index);
        let silent = window.iter().rev().take_while(|reading| **reading == 0.0);
        (window.len() - silent.count()).div_ceil(channels)
    });
    each.sum()
}

/// All windows of all devices.
pub(super) fn joined(parts: &[Windows]) -> Windows {
    let mut all = parts[0].clone();
    for part in &parts[1..] {
        let after = all.recordings.len() as u32;
        all.recordings.extend(part.recordings.iter().cloned());
        for index in 0..part.count() {
            let mut origin = part.origins[index];
            origin.recording += after;
            all.push(part.window(index), part.targets[index], origin);
        }
    }
    all
}

/// A model trained again on the factory's windows and all that devices have had labels of since.
fn central(tale: &Tale, moved: &[Windows]) -> Result<Model, String> {
    let [_, validation, test] = &tale.factory;
    let all = [joined(moved), validation.clone(), test.clone()];
    Ok(sets::trained(&tale.spec, &tale.classes, &all)?.0)
}

/// The fleet's server, as far as it judges reports.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) memories: Vec<Memory>,
    pub(super) pool: Option<Pool>,
    /// Devices whose alarm stands, as the server keeps it.
    pub(super) alarmed: Vec<bool>,
    chance: Chance,
    report: u32,
}

/// What the server makes of one report of every device.
#[derive(Default)]
pub(super) struct Heard {
    /// Devices that alarm by themselves.
    alone: usize,
    /// The cohort's window that closed, of the reports before, where it alarms.
    pub(super) cohort: Option<Judgement>,
    /// Signals that fired, of devices and of the cohort.
    fired: Vec<Signal>,
    /// Bytes of one report.
    bytes: usize,
}

impl Server {
    fn new(devices: usize) -> Server {
        Server {
            memories: vec![Memory::new(); devices],
            pool: None,
            alarmed: vec![false; devices],
            chance: Chance(0x5eed),
            report: 0,
        }
    }

    /// Takes one report of every device, of windows drawn from what it has seen.
    pub(super) fn hear(&mut self, state: &State, seen: &[Seen]) -> Result<Heard, String> {
        let policy = DriftPolicy::default();
        let baseline = &state.model.baseline;
        let mut heard = Heard::default();
        for (device, memory) in self.memories.iter_mut().enumerate() {
            let seen = &seen[device];
            let mut sketch = Sketch::new();
            for _ in 0..WINDOWS_A_REPORT {
                let index = self.chance.below(seen.classes.len());
                let mut observation = Observation::of(baseline, seen.features.row(0, index))
                    .with_output(baseline, seen.confidences[index]);
                if let Some(distances) = &seen.distances {
                    observation = observation.with_embedding(baseline, distances[index]);
                }
                sketch.push(baseline, &observation, Some(seen.classes[index] as u8));
            }
            let summary = Summary::of(&sketch, baseline);
            let (received, bytes) = sent(&summary, &state.model, device, self.report)?;
            heard.bytes = bytes + ENVELOPE;
            let point = Point::of(&received).restandardized(state.is_moved(device));
            let pool = self
                .pool
                .get_or_insert_with(|| Pool::new(Layout::of(&received)));
            // The cohort's window closes when a device comes a second time: it is of the reports before.
            heard.cohort = pool.close_before(device as u64, &policy).or(heard.cohort);
            let judgement = memory.push(device as u64, &point, pool, &policy);
            let is_answer = |signal| is_answer(signal, baseline);
            let since_moved = memory.since_moved(pool, &policy, is_answer);
            if let Some(found) = judgement.as_ref().or(since_moved.as_ref()) {
                let alarmed = &mut self.alarmed[device];
                *alarmed = stands(found.score, *alarmed, policy.calm_score);
            }
            if let Some(judgement) = judgement.filter(|judgement| judgement.score >= 1.0) {
                heard.alone += 1;
                heard.fired.extend(judgement.fired());
            }
        }
        self.report += 1;
        heard.cohort = heard.cohort.filter(|judgement| judgement.score >= 1.0);
        heard
            .fired
            .extend(heard.cohort.iter().flat_map(Judgement::fired));
        Ok(heard)
    }
}

/// Reports until the fleet's server knows of the drift.
fn watch(state: &State, calm: &[Windows], drifted: &[Windows]) -> Result<Alarmed, String> {
    let worlds = [state.see_all(calm)?, state.see_all(drifted)?];
    let devices = drifted.len();
    let mut server = Server::new(devices);
    let mut false_alarms = 0;
    for report in 0..CALM_REPORTS + REPORTS_MAX {
        let is_drifted = report >= CALM_REPORTS;
        let heard = server.hear(state, &worlds[usize::from(is_drifted)])?;
        let (cohort, alone) = (heard.cohort.is_some(), heard.alone);
        let is_seen = is_drifted && (cohort || alone as f64 >= ALARMED_SHARE_MIN * devices as f64);
        if !is_drifted {
            false_alarms += alone + usize::from(cohort);
        }
        if is_seen || report + 1 == CALM_REPORTS + REPORTS_MAX {
            let pool = server.pool.as_ref();
            let symptoms = Symptoms {
                ln_sds: pool.map(Pool::last_ln_sds).unwrap_or_default(),
                fired: heard.fired,
                ..Symptoms::default()
            };
            return Ok(Alarmed {
                false_alarms,
                reports: is_seen.then_some(report - CALM_REPORTS + 1),
                advice: is_seen.then(|| diagnose(&symptoms, &state.model.baseline)),
                report_bytes: heard.bytes,
                fired: symptoms.fired,
                server,
            });
        }
    }
    Err("no report was heard".to_owned())
}

/// A summary through its frame and back.
pub(super) fn sent(
    summary: &Summary,
    model: &Model,
    device: usize,
    report: u32,
) -> Result<(Summary, usize), String> {
    let told = |error: tinyops_wire::frame::FrameError| error.to_string();
    let mut out = [0; FRAME_BYTES_MAX];
    let dither = (device as u64 + 1, report);
    let header = Header::default();
    let bytes = SummaryFrame::encode(Format::M6H8, header, summary, dither, &mut out);
    let bytes = bytes.map_err(told)?;
    let Frame::Summary(frame) = Frame::decode(&out[..bytes]).map_err(told)? else {
        return Err("a summary came back as another frame".to_owned());
    };
    let (channels, classes) = (
        model.baseline.channels().len(),
        model.baseline.class_prior().len(),
    );
    Ok((
        frame.decode(channels, classes, dither).map_err(told)?,
        bytes,
    ))
}
