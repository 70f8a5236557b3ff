//! Secure sums: bytes, exactness, what a budget comes to, and how soon a fleet's move is seen through the noise.

use tinyops_fleet::budget::{DELTA, epsilon};
use tinyops_fleet::detector::{DriftPolicy, HORIZON, Layout};
use tinyops_fleet::masked::PrivacyPolicy;
use tinyops_fleet::sum_watch::SumWatch;
use tinyops_sketch::Summary;
use tinyops_wire::mask::{HelperKey, Purpose, Task};
use tinyops_wire::masked::{quantize, report_bytes, report_values};
use tinyops_wire::{DeviceId, ModelId};

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
                watch(
                    &drawn(&stable, devices, &mut chance),
                    &task,
                    &policy,
                    &mut chance,
                )
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
                    watch(&fleet, &task, &policy, &mut chance)
                })
                .collect();
            rows.push(delay_row(watched.name, watched.days, 0.0, &found));
        }
    }
    Ok(rows)
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

/// The first alarm of a fleet that the server knows by noisy sums alone, days from 1.
fn watch(
    fleet: &[&Trace],
    task: &Task,
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
    let variance = (task.noise_sd().powi(2) + rounding) / (scale * scale);
    let mut watch = SumWatch::new(layout);
    for day in 0..policy.baseline_reports + HORIZON {
        let mut sums = [0_i64; VALUES];
        for trace in fleet {
            let own = quantize(task, trace[day as usize].iter().copied())?;
            let parts = sums.iter_mut().zip(own);
            parts.for_each(|(sum, own)| *sum += i64::from(own));
        }
        // The helper's law is the discrete Gaussian; hundreds of steps wide, it is a rounded normal.
        let noisy = sums.map(|sum| sum + (task.noise_sd() * chance.normal()).round() as i64);
        let mean = noisy.map(|sum| sum as f64 / scale);
        let judgement = watch.push(layout, &mean, variance, policy);
        let monitored = (day + 1).saturating_sub(policy.baseline_reports);
        if let Some(first) = judgement.and_then(|judgement| First::of(monitored, &judgement)) {
            return Some(first);
        }
    }
    None
}
