//! `cargo xtask bench listen episodes`: drift on real recordings, from the first report that tells of it to a repaired
//! fleet, against doing nothing and against moving all raw data.
//!
//! Devices are virtual; what they run is not: sketches, dithered reports, moments, sums and own heads are those of the
//! device's crates, the detector, the diagnosis and the clipped sum those of the server, heads and models those of the
//! pipeline. A report is of a day's 288 windows, drawn from a device's own recordings again and again, since none is as
//! long as a month. Bytes are held against those of the windows of the days from the drift to the repair, and told
//! beside as a share of the recordings themselves, each reading once.

use tinyops_fleet::detector::{DriftPolicy, Judgement, Layout, Memory, Point, Pool, Signal};
use tinyops_fleet::diagnosis::{Advice, Symptoms, diagnose};
use tinyops_model::Model;
use tinyops_sketch::{Observation, Sketch, Summary};
use tinyops_train::{TrainSpec, Windows};
use tinyops_wire::Frame;
use tinyops_wire::summary::{FRAME_BYTES_MAX, Format, Header, SummaryFrame};

use super::ladder::{GAIN_MIN, Ladder, Seen, State, Tried};
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

/// What the monitor saw of a drift.
struct Alarmed {
    /// Alarms of devices or of the cohort before the drift.
    false_alarms: usize,
    /// Reports until it was seen.
    reports: Option<u32>,
    advice: Option<Advice>,
    /// Bytes of one report.
    report_bytes: usize,
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

/// The rows of one tale by the names that `tales` gives them.
pub(super) fn rows(names: [&'static str; 3], tell: tales::Tell) -> Result<Vec<Row>, String> {
    let mut totals = Totals::default();
    for seed in SEEDS {
        run_tale(names[0], &tell(seed)?, &mut totals)?;
    }
    let mean = |sum: f64| sum / totals.drifts as f64;
    let gained = totals.ours - totals.nothing;
    let recovered = gained / (totals.central - totals.nothing).max(1e-9);
    let share = totals.bytes as f64 / totals.raw_bytes.max(1) as f64;
    let of_recordings = totals.bytes as f64 / totals.recorded_bytes.max(1) as f64;
    let per = |count: u32| f64::from(count) / totals.drifts as f64;
    Ok(vec![
        Row {
            name: names[0],
            goal: format!("≥ {RECOVERED_MIN} recovered"),
            own: format!(
                "{recovered:.2}: before {:.3}, drifted {:.3}, repaired {:.3}",
                mean(totals.before),
                mean(totals.nothing),
                mean(totals.ours)
            ),
            peer: format!("all raw data, trained again {:.3}", mean(totals.central)),
            holds: recovered >= RECOVERED_MIN,
        },
        Row {
            name: names[1],
            goal: format!("≤ {} % of the raw bytes", 100.0 * BYTES_MAX),
            own: format!(
                "{:.2} %, {} B; of the recordings {:.1} %",
                100.0 * share,
                totals.bytes / totals.devices / totals.drifts,
                100.0 * of_recordings
            ),
            peer: format!("{} B", totals.raw_bytes / totals.devices / totals.drifts),
            holds: share <= BYTES_MAX,
        },
        Row {
            name: names[2],
            goal: "–".to_owned(),
            own: format!(
                "{:.1} to see it, {:.1} to repair it; {}",
                per(totals.seen),
                per(totals.repaired),
                totals.how.join(", ")
            ),
            peer: format!(
                "{} false alarms in {CALM_REPORTS} reports before",
                totals.false_alarms
            ),
            holds: true,
        },
    ])
}

fn run_tale(name: &str, tale: &Tale, totals: &mut Totals) -> Result<(), String> {
    let (model, _) = sets::trained(&tale.spec, &tale.classes, &tale.factory)?;
    let devices = tale.calm.len();
    let untouched = State::new(model, &tale.factory[0], devices);
    let mut state = untouched.clone();
    let mut calm: &[Windows] = &tale.calm;
    let mut moved: Vec<Windows> = vec![tale.factory[0].clone()];
    totals.drifts += tale.drifts.len();
    totals.devices = devices;
    for drift in &tale.drifts {
        totals.before += state.accuracy(calm)?;
        totals.nothing += untouched.accuracy(&drift.test)?;
        let alarmed = watch(&state, calm, &drift.learn)?;
        totals.false_alarms += alarmed.false_alarms;
        let day_bytes: usize = drift.learn.iter().map(|own| tale.day_bytes(own)).sum();
        let report_bytes = alarmed.report_bytes * devices;
        let tried = match alarmed.reports {
            Some(_) => Ladder::climb(tale, &state, drift)?.tried,
            None => Vec::new(),
        };
        let seen = alarmed.reports.unwrap_or(REPORTS_MAX);
        let chosen = choose(&tried, day_bytes, report_bytes, seen);
        for (index, way) in tried.iter().enumerate() {
            eprintln!(
                "{name}, {}: {} {:.3} on test, {:.3} on labels, {} bytes up{}",
                drift.name,
                way.name,
                way.state.accuracy(&drift.test)?,
                way.verdict,
                way.bytes / devices,
                if Some(index) == chosen { ", taken" } else { "" }
            );
        }
        let advice = alarmed.advice.map_or("no advice", Advice::word);
        let (mut days, mut how) = (seen, "not seen".to_owned());
        if let Some(way) = chosen.and_then(|index| tried.into_iter().nth(index)) {
            days += way.reports;
            how = format!("{} ({advice})", way.name);
            totals.bytes += way.bytes;
            totals.repaired += way.reports;
            state = way.state;
        }
        totals.how.push(how);
        totals.seen += seen;
        totals.bytes += report_bytes * days as usize;
        totals.raw_bytes += day_bytes * days as usize;
        totals.recorded_bytes += drift.recorded_bytes;
        totals.ours += state.accuracy(&drift.test)?;
        moved.push(joined(&drift.learn));
        let central = central(tale, &moved)?;
        let test = sets::features(&central, &joined(&drift.test))?;
        totals.central += sets::accuracy(&central, &test)?;
        calm = &drift.test;
    }
    Ok(())
}

/// The cheapest way within the budget whose verdict is as good as the best one's; where none is, the cheapest of all.
fn choose(tried: &[Tried], day_bytes: usize, report_bytes: usize, seen: u32) -> Option<usize> {
    let days = |way: &Tried| (seen + way.reports) as usize;
    let cost = |way: &Tried| way.bytes + report_bytes * days(way);
    let fits = |way: &Tried| cost(way) as f64 <= BYTES_MAX * (day_bytes * days(way)) as f64;
    let within: Vec<usize> = (0..tried.len()).filter(|&at| fits(&tried[at])).collect();
    let best = within
        .iter()
        .map(|&at| tried[at].verdict)
        .fold(0.0, f64::max);
    let good = within
        .iter()
        .copied()
        .filter(|&at| tried[at].verdict >= best - GAIN_MIN);
    good.min_by_key(|&at| cost(&tried[at]))
        .or_else(|| (0..tried.len()).min_by_key(|&at| cost(&tried[at])))
}

impl Tale {
    /// Bytes of windows as they are, without the zeros behind a short one.
    pub(super) fn raw_bytes(&self, windows: &Windows) -> usize {
        let channels = usize::from(windows.channel_count);
        let each = (0..windows.count()).map(|index| {
            let window = windows.window(index);
            let silent = window.iter().rev().take_while(|reading| **reading == 0.0);
            (window.len() - silent.count()).div_ceil(channels)
        });
        each.sum::<usize>() * self.reading_bytes
    }

    /// Bytes of a day of such windows.
    fn day_bytes(&self, windows: &Windows) -> usize {
        self.raw_bytes(windows) * WINDOWS_A_REPORT / windows.count().max(1)
    }
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

/// Reports until the fleet's server knows of the drift.
fn watch(state: &State, calm: &[Windows], drifted: &[Windows]) -> Result<Alarmed, String> {
    let policy = DriftPolicy::default();
    let baseline = &state.model.baseline;
    let see = |windows: &[Windows]| -> Result<Vec<Seen>, String> {
        let each = windows.iter().enumerate();
        each.map(|(device, windows)| state.see(device, windows))
            .collect()
    };
    let worlds = [see(calm)?, see(drifted)?];
    let devices = drifted.len();
    let mut memories = vec![Memory::new(); devices];
    let mut pool: Option<Pool> = None;
    let mut chance = Chance(0x5eed);
    let mut alarmed = Alarmed {
        false_alarms: 0,
        reports: None,
        advice: None,
        report_bytes: 0,
    };
    for report in 0..CALM_REPORTS + REPORTS_MAX {
        let is_drifted = report >= CALM_REPORTS;
        let mut fired: Vec<Signal> = Vec::new();
        let mut cohort: Option<Judgement> = None;
        let mut alone = 0;
        for (device, memory) in memories.iter_mut().enumerate() {
            let seen = &worlds[usize::from(is_drifted)][device];
            let mut sketch = Sketch::new();
            for _ in 0..WINDOWS_A_REPORT {
                let index = chance.below(seen.classes.len());
                let observation = Observation::of(baseline, seen.features.row(0, index))
                    .with_output(baseline, seen.confidences[index]);
                sketch.push(baseline, &observation, Some(seen.classes[index] as u8));
            }
            let summary = Summary::of(&sketch, baseline);
            let (received, bytes) = sent(&summary, &state.model, device, report)?;
            alarmed.report_bytes = bytes + ENVELOPE;
            let point = Point::of(&received);
            let pool = pool.get_or_insert_with(|| Pool::new(Layout::of(&received)));
            // The cohort's window closes when a device comes a second time: it is of the reports before.
            cohort = pool.close_before(device as u64, &policy).or(cohort);
            let judgement = memory.push(device as u64, &point, pool, &policy);
            if let Some(judgement) = judgement.filter(|judgement| judgement.score >= 1.0) {
                alone += 1;
                fired.extend(judgement.fired());
            }
        }
        let cohort = cohort.filter(|judgement| judgement.score >= 1.0);
        if !is_drifted {
            alarmed.false_alarms += alone + usize::from(cohort.is_some());
        } else if cohort.is_some() || alone as f64 >= ALARMED_SHARE_MIN * devices as f64 {
            fired.extend(cohort.iter().flat_map(Judgement::fired));
            let symptoms = Symptoms {
                ln_sds: pool.as_ref().map(Pool::last_ln_sds).unwrap_or_default(),
                fired,
                ..Symptoms::default()
            };
            alarmed.reports = Some(report - CALM_REPORTS + 1);
            alarmed.advice = Some(diagnose(&symptoms, baseline));
            break;
        }
    }
    Ok(alarmed)
}

/// A summary through its frame and back.
fn sent(
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
