//! Secure sums: bytes, exactness, what a budget comes to, and how soon a fleet's move is seen through the noise.

use tinyops_fleet::budget::{DELTA, epsilon};
use tinyops_fleet::detector::{DriftPolicy, HORIZON, Layout};
use tinyops_fleet::masked::PrivacyPolicy;
use tinyops_fleet::sum_watch::SumWatch;
use tinyops_sketch::Summary;
use tinyops_wire::frame::Flags;
use tinyops_wire::mask::{HelperKey, Purpose, Task};
use tinyops_wire::masked::{NoisedReport, quantize, report_bytes, report_values};
use tinyops_wire::noise::NoiseKey;
use tinyops_wire::{DeviceId, DeviceKey, Frame, ModelId};

use super::Row;
use super::delays::{First, delay_row, rate_row};
use super::simulation::{CHANNELS, CLASSES, Change, Device, baseline};
use crate::chance::Chance;

/// Numbers of a report.
const VALUES: usize = 2 * CHANNELS + CLASSES;

/// Reports that a device takes its own normal from, as `tinyops-device` does.
const NORMAL_REPORTS: u32 = 14;
/// Devices of each kind, that fleets are drawn from.
const DEVICES: u64 = 2_000;
/// Fleets of each change, and stable ones.
const FLEETS: usize = 200;
const STABLE_FLEETS: usize = 2_000;

/// How so many devices report, at the policy's own clip and the narrowest ring for them.
fn task(device_count: usize, noise: f64) -> Result<Task, String> {
    let task = Task {
        purpose: Purpose::Monitoring,
        number: 1,
        model: ModelId(1),
        ring_bits: if device_count <= 100 { 13 } else { 16 },
        norm_max: 1,
        clip: PrivacyPolicy::default().clip,
        noise_tenths: (10.0 * noise) as u16,
    };
    let task = task.with_finest_norm(device_count as u32);
    task.ok_or_else(|| "the ring is too narrow".to_owned())
}

/// What a report under masks takes, and that its sum is exact.
pub(super) fn sums() -> Result<Vec<Row>, String> {
    let task = task(100, 20.0)?;
    let bytes = report_bytes(CHANNELS, CLASSES, task.ring_bits) as u64;
    let expansion = f64::from(task.ring_bits) / 6.0;
    let mut chance = Chance(1);
    let helper = HelperKey([1; 32]);
    let (mut sum, mut masks, mut plain) = ([0_u32; VALUES], [0_u32; VALUES], [0_i64; VALUES]);
    for device in 0..100 {
        let values: Vec<f64> = (0..VALUES).map(|_| 0.2 * chance.normal()).collect();
        let own = helper.mask_key(DeviceId(device)).masks(&task, 7);
        let values = quantize(&task, values.into_iter()).ok_or("too coarse")?;
        for (index, (value, mask)) in values.zip(own).enumerate() {
            sum[index] = sum[index].wrapping_add((value as u32).wrapping_add(mask));
            masks[index] = masks[index].wrapping_add(mask);
            plain[index] += i64::from(value);
        }
    }
    let wrong = (0..VALUES)
        .filter(|&index| task.signed(sum[index].wrapping_sub(masks[index])) != plain[index])
        .count() as u64;
    Ok(vec![
        Row::at_most(
            "masked report, 9 channels and 4 classes, N = 100, bytes",
            Some(43),
            bytes,
            "Prio3SumVec 16 × 8: 2,992".to_owned(),
        ),
        Row {
            name: "its numbers over the same in 6 bits in the clear",
            goal: "≤ 2.2 ×".to_owned(),
            own: format!("{expansion:.2} ×"),
            peer: "Hyb-Agg 12 ×".to_owned(),
            holds: expansion <= 2.2,
        },
        Row::at_most(
            "sums of 100 devices that are not exact",
            Some(0),
            wrong,
            String::new(),
        ),
    ])
}

/// ε of the ledger beside what accountants say: `private-monitoring.md`, goal 14.
pub(super) fn budgets() -> Result<Vec<Row>, String> {
    let cases = [
        ("ε of 1 report, z = 5", 5.0, 1.0, 0.90, 0.0),
        ("ε of 30 reports, z = 5", 5.0, 30.0, 5.79, 5.42),
        ("ε of 365 reports, z = 5", 5.0, 365.0, 26.2, 0.0),
        ("ε of 30 reports, z = 20", 20.0, 30.0, 1.26, 1.17),
    ];
    let row = |(name, noise, reports, renyi, pld): (&'static str, f64, f64, f64, f64)| {
        let own = epsilon(reports / (2.0 * noise * noise), DELTA);
        Row {
            name,
            goal: format!("{pld:.2} to {:.2}", 1.2 * renyi),
            own: format!("{own:.3}"),
            peer: format!("dp-accounting: RDP {renyi}"),
            holds: own <= 1.2 * renyi && own >= pld,
        }
    };
    Ok(cases.into_iter().map(row).collect())
}

/// A fleet that is watched by its sums alone, and what it must be seen by.
struct Watched {
    name: &'static str,
    change: Change,
    devices: usize,
    noise: f64,
    /// Devices that move.
    moved: usize,
    /// Days that half of the fleets may take.
    days: u32,
}

/// The goals of `private-monitoring.md`, goal 15.
const WATCHED: [Watched; 10] = {
    const fn of(
        name: &'static str,
        change: Change,
        (devices, noise): (usize, f64),
        moved: usize,
        days: u32,
    ) -> Watched {
        Watched {
            name,
            change,
            devices,
            noise,
            moved,
            days,
        }
    }
    const MEAN: Change = Change::Mean(0.5);
    const SPREAD: Change = Change::Variance(1.5);
    const LARGE: (usize, f64) = (1_000, 20.0);
    const SMALL: (usize, f64) = (100, 20.0);
    [
        of("days, N = 1,000, z = 20, all: mean", MEAN, LARGE, 1_000, 1),
        of("… variance", SPREAD, LARGE, 1_000, 1),
        of("… classes", Change::Prior, LARGE, 1_000, 1),
        of("… a tenth: mean", MEAN, LARGE, 100, 3),
        of("… variance", SPREAD, LARGE, 100, 6),
        of("… classes", Change::Prior, LARGE, 100, 5),
        of("days, N = 100, z = 20, all: mean", MEAN, SMALL, 100, 3),
        of("… variance", SPREAD, SMALL, 100, 7),
        of("… classes", Change::Prior, SMALL, 100, 3),
        of(
            "days, N = 100, no noise, all: mean",
            MEAN,
            (100, 0.0),
            100,
            1,
        ),
    ]
};

/// What a device says under masks, day by day: how far it is from its own normal, weighted.
type Trace = Vec<[f64; VALUES]>;

/// How soon a fleet's move is seen in sums alone, and how often where there is none.
pub(super) fn delays() -> Result<Vec<Row>, String> {
    let policy = DriftPolicy::default();
    let stable = traces(41, Change::Nothing, &policy);
    let mut chance = Chance(15);
    let mut rows = Vec::new();
    for (name, devices) in [
        (
            "stable fleets of 1,000 that alarm in 30 days, z = 20",
            1_000,
        ),
        ("stable fleets of 100 that alarm in 30 days, z = 20", 100),
    ] {
        let task = task(devices, 20.0)?;
        let found: Vec<_> = (0..STABLE_FLEETS)
            .map(|_| {
                let fleet = drawn(&stable, devices, &mut chance);
                watch(&fleet, &task, task.noise_sd(), &policy, &mut chance)
            })
            .collect();
        rows.push(rate_row(name, &found));
    }
    for (seed, change) in [
        (42, Change::Mean(0.5)),
        (43, Change::Variance(1.5)),
        (44, Change::Prior),
    ] {
        let shifted = traces(seed, change, &policy);
        for watched in WATCHED.iter().filter(|watched| watched.change == change) {
            let task = task(watched.devices, watched.noise)?;
            let found: Vec<_> = (0..FLEETS)
                .map(|_| {
                    let mut fleet = drawn(&shifted, watched.moved, &mut chance);
                    let still = watched.devices - watched.moved;
                    fleet.extend(drawn(&stable, still, &mut chance));
                    watch(&fleet, &task, task.noise_sd(), &policy, &mut chance)
                })
                .collect();
            rows.push(delay_row(watched.name, watched.days, 0.0, &found));
        }
    }
    Ok(rows)
}

/// A fleet without a helper, each of whose devices adds noise of its own.
struct Alone {
    name: &'static str,
    change: Change,
    devices: usize,
    noise: f64,
    /// One in so many moves.
    one_in: usize,
    /// Days that half of the fleets may take: as many as 100 devices at z = 20 with a helper, where the noise of the mean
    /// is as much. Elsewhere it is more, there is no goal, and what is found is told.
    days: Option<u32>,
}

const ALONE: [Alone; 11] = {
    const fn of(
        name: &'static str,
        change: Change,
        (devices, noise): (usize, f64),
        one_in: usize,
        days: Option<u32>,
    ) -> Alone {
        Alone {
            name,
            change,
            devices,
            noise,
            one_in,
            days,
        }
    }
    const MEAN: Change = Change::Mean(0.5);
    const SPREAD: Change = Change::Variance(1.5);
    const CLASSES: Change = Change::Prior;
    const LARGE: (usize, f64) = (10_000, 20.0);
    const FREE: (usize, f64) = (1_000, 5.0);
    const SMALL: (usize, f64) = (1_000, 20.0);
    [
        of(
            "own noise, 10,000, z = 20, all: mean",
            MEAN,
            LARGE,
            1,
            Some(3),
        ),
        of(
            "own noise, 10,000, z = 20, all: variance",
            SPREAD,
            LARGE,
            1,
            Some(7),
        ),
        of(
            "own noise, 10,000, z = 20, all: classes",
            CLASSES,
            LARGE,
            1,
            Some(3),
        ),
        of(
            "own noise, 10,000, z = 20, a tenth: mean",
            MEAN,
            LARGE,
            10,
            None,
        ),
        of(
            "own noise, 10,000, z = 20, a tenth: classes",
            CLASSES,
            LARGE,
            10,
            None,
        ),
        of("own noise, 1,000, z = 5, all: mean", MEAN, FREE, 1, Some(3)),
        of(
            "own noise, 1,000, z = 5, all: variance",
            SPREAD,
            FREE,
            1,
            Some(7),
        ),
        of(
            "own noise, 1,000, z = 5, all: classes",
            CLASSES,
            FREE,
            1,
            Some(3),
        ),
        of("own noise, 1,000, z = 20, all: mean", MEAN, SMALL, 1, None),
        of(
            "own noise, 1,000, z = 20, all: variance",
            SPREAD,
            SMALL,
            1,
            None,
        ),
        of(
            "own noise, 1,000, z = 20, all: classes",
            CLASSES,
            SMALL,
            1,
            None,
        ),
    ]
};

/// How soon a fleet's move is seen where each device adds noise of its own, and how often where there is none.
pub(super) fn local() -> Result<Vec<Row>, String> {
    let policy = DriftPolicy::default();
    let stable = traces(41, Change::Nothing, &policy);
    let mut chance = Chance(16);
    let mut rows = vec![noise_of_devices()?];
    for (name, devices, noise) in [
        ("own noise, stable fleets of 10,000, z = 20", 10_000, 20.0),
        ("own noise, stable fleets of 1,000, z = 5", 1_000, 5.0),
        ("own noise, stable fleets of 1,000, z = 20", 1_000, 20.0),
    ] {
        let found: Result<Vec<_>, String> = (0..STABLE_FLEETS)
            .map(|_| watch_alone(&stable, &stable, (devices, noise, 1), &policy, &mut chance))
            .collect();
        rows.push(rate_row(name, &found?));
    }
    for (seed, change) in [
        (42, Change::Mean(0.5)),
        (43, Change::Variance(1.5)),
        (44, Change::Prior),
    ] {
        let shifted = traces(seed, change, &policy);
        for alone in ALONE.iter().filter(|alone| alone.change == change) {
            let of = (alone.devices, alone.noise, alone.one_in);
            let found: Result<Vec<_>, String> = (0..FLEETS)
                .map(|_| watch_alone(&shifted, &stable, of, &policy, &mut chance))
                .collect();
            let row = delay_row(alone.name, alone.days.unwrap_or(HORIZON), 0.0, &found?);
            rows.push(match alone.days {
                Some(_) => row,
                None => Row {
                    goal: "–".to_owned(),
                    holds: true,
                    ..row
                },
            });
        }
    }
    Ok(rows)
}

/// Noise of a thousand devices' own reports, as they draw it and the server reads it out of their frames, over what the
/// task says: fleets are told by that law, since to draw all of their noise one by one would take hours.
fn noise_of_devices() -> Result<Row, String> {
    const REPORTS: u32 = 1_000;
    const WITHIN: f64 = 0.02;
    let task = Task {
        ring_bits: 13,
        ..task(1, 20.0)?
    };
    let mut chance = Chance(5);
    let mut squares = 0.0;
    for sequence in 0..REPORTS {
        let secret = std::array::from_fn(|_| chance.next() as u8);
        let key = NoiseKey::new(secret, &DeviceKey([0; 32])).ok_or("no key")?;
        let values: Vec<f64> = (0..VALUES).map(|_| 0.1 * chance.normal()).collect();
        let told: Vec<i32> = quantize(&task, values.into_iter())
            .ok_or("too coarse")?
            .collect();
        let noise = key.noise(&task, sequence, told.iter().copied());
        let mut frame = [0; 64];
        let told_values = told.iter().copied();
        let written = NoisedReport::encode(
            &task,
            Flags::default(),
            told_values,
            noise.ok_or("too much noise")?,
            &mut frame,
        );
        let written = written.map_err(|error| error.to_string())?;
        let Frame::NoisedReport(heard) =
            Frame::decode(&frame[..written]).map_err(|error| error.to_string())?
        else {
            return Err("a report came back as another frame".to_owned());
        };
        let heard = heard.values(VALUES).ok_or("another number of values")?;
        for (heard, told) in heard.zip(told) {
            squares += ((task.signed(heard) - i64::from(told)) as f64).powi(2);
        }
    }
    let sd = (squares / f64::from(REPORTS) / VALUES as f64).sqrt() / task.noise_sd();
    Ok(Row {
        name: "noise of 1,000 devices' reports over what is said",
        goal: format!("1 ± {WITHIN}"),
        own: format!("{sd:.3}"),
        peer: String::new(),
        holds: (sd - 1.0).abs() <= WITHIN,
    })
}

/// The first alarm of a fleet of so many devices, of which one in so many moves. Of a fleet larger than there are traces
/// each stands for as many devices, whose noise is their own.
fn watch_alone(
    shifted: &[Trace],
    stable: &[Trace],
    (devices, noise, one_in): (usize, f64, usize),
    policy: &DriftPolicy,
    chance: &mut Chance,
) -> Result<Option<First>, String> {
    let task = Task {
        ring_bits: 13,
        ..task(1, noise)?
    };
    let count = devices.min(stable.len());
    let mut fleet = drawn(shifted, count / one_in, chance);
    fleet.extend(drawn(stable, count - count / one_in, chance));
    let share = count as f64 / devices as f64;
    let noise_sd = share * (devices as f64).sqrt() * task.noise_sd();
    Ok(watch(&fleet, &task, noise_sd, policy, chance))
}

/// Devices of the simulated world whose reports are those of the real sketch: their own normal, which nobody is told,
/// the sums that the server learns from, and then [`HORIZON`] days with the change.
fn traces(seed: u64, change: Change, policy: &DriftPolicy) -> Vec<Trace> {
    let baseline = baseline();
    let calm = NORMAL_REPORTS + policy.baseline_reports;
    let trace = |index: u64| {
        let mut device = Device::new(seed * 1_000_000 + index);
        let mut report = |change: Change| -> [f64; VALUES] {
            let summary = Summary::of(&device.count(&baseline, change), &baseline);
            let mut values = report_values(&summary).map(f64::from);
            std::array::from_fn(|_| values.next().unwrap_or(0.0))
        };
        let mut normal = [0.0; VALUES];
        for _ in 0..NORMAL_REPORTS {
            let told = report(Change::Nothing);
            let parts = normal.iter_mut().zip(told);
            parts.for_each(|(normal, told)| *normal += told / f64::from(NORMAL_REPORTS));
        }
        (NORMAL_REPORTS..calm + HORIZON)
            .map(|day| {
                let change = if day < calm { Change::Nothing } else { change };
                let told = report(change);
                std::array::from_fn(|at| told[at] - normal[at])
            })
            .collect()
    };
    (0..DEVICES).map(trace).collect()
}

/// So many of the devices, each once.
fn drawn<'a>(traces: &'a [Trace], count: usize, chance: &mut Chance) -> Vec<&'a Trace> {
    let mut all: Vec<&Trace> = traces.iter().collect();
    chance.shuffle(&mut all);
    all.truncate(count);
    all
}

/// The first alarm of a fleet that the server knows by sums with so much noise alone, days from 1.
fn watch(
    fleet: &[&Trace],
    task: &Task,
    noise_sd: f64,
    policy: &DriftPolicy,
    chance: &mut Chance,
) -> Option<First> {
    let layout = Layout {
        channel_count: CHANNELS as u8,
        has_shares: false,
        class_count: CLASSES as u8,
        is_restandardized: false,
        has_own_head: false,
    };
    let scale = task.steps_per_unit(VALUES)? * fleet.len() as f64;
    let rounding = fleet.len() as f64 / 12.0;
    let variance = (noise_sd.powi(2) + rounding) / (scale * scale);
    let mut watch = SumWatch::new(layout);
    for day in 0..policy.baseline_reports + HORIZON {
        let mut sums = [0_i64; VALUES];
        for trace in fleet {
            let own = quantize(task, trace[day as usize].iter().copied())?;
            let parts = sums.iter_mut().zip(own);
            parts.for_each(|(sum, own)| *sum += i64::from(own));
        }
        // The law is the discrete Gaussian; hundreds of steps wide, it is a rounded normal, and so are sums of it.
        let noisy = sums.map(|sum| sum + (noise_sd * chance.normal()).round() as i64);
        let mean = noisy.map(|sum| sum as f64 / scale);
        let judgement = watch.push(layout, &mean, variance, policy);
        let monitored = (day + 1).saturating_sub(policy.baseline_reports);
        if let Some(first) = judgement.and_then(|judgement| First::of(monitored, &judgement)) {
            return Some(first);
        }
    }
    None
}
