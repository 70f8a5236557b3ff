//! Secure sums: bytes, exactness, what a budget comes to, and how soon a fleet's move is seen through the noise.

use tinyops_fleet::budget::{DELTA, epsilon};
use tinyops_fleet::detector::{DriftPolicy, Layout};
use tinyops_fleet::sum_watch::SumWatch;
use tinyops_wire::mask::{HelperKey, Purpose, Task};
use tinyops_wire::masked::{CLASS_WEIGHT, SPREAD_WEIGHT, quantize, report_bytes};
use tinyops_wire::{DeviceId, ModelId};

use super::Row;

/// Nine channels and four classes.
const CHANNELS: usize = 9;
const CLASSES: usize = 4;
const VALUES: usize = 2 * CHANNELS + CLASSES;

/// Fleets of each kind; the median of their delays is told.
const FLEETS: u64 = 60;
/// Days that a fleet is watched after its baseline.
const DAYS: u32 = 30;

fn task(device_count: u32, noise_tenths: u16, ring_bits: u8) -> Task {
    Task {
        purpose: Purpose::Monitoring,
        number: 1,
        model: ModelId(1),
        ring_bits,
        norm_max: 1,
        clip: 0.58,
        noise_tenths,
    }
    .with_finest_norm(device_count)
    .expect("it fits")
}

/// What a report under masks takes, and that its sum is exact.
pub(super) fn sums() -> Result<Vec<Row>, String> {
    let task = task(100, 200, 13);
    let bytes = report_bytes(CHANNELS, CLASSES, task.ring_bits) as u64;
    let expansion = f64::from(task.ring_bits) / 6.0;
    let mut noise = Noise(1);
    let helper = HelperKey([1; 32]);
    let (mut sum, mut masks, mut plain) = ([0_u32; VALUES], [0_u32; VALUES], [0_i64; VALUES]);
    for device in 0..100 {
        let values: Vec<f64> = (0..VALUES).map(|_| 0.2 * noise.normal()).collect();
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

/// What of a fleet moves.
#[derive(Clone, Copy)]
enum Move {
    Nothing,
    Mean,
    Spread,
    Classes,
}

/// How soon a fleet's move is seen in sums alone: goal 15.
pub(super) fn delays() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (name, move_, devices, noise, share, goal) in [
        (
            "false alarms in 30 days, N = 1,000, z = 20, %",
            Move::Nothing,
            1_000,
            20.0,
            0.0,
            0,
        ),
        (
            "days until seen, N = 1,000, z = 20, all: mean",
            Move::Mean,
            1_000,
            20.0,
            1.0,
            1,
        ),
        ("… variance", Move::Spread, 1_000, 20.0, 1.0, 1),
        ("… classes", Move::Classes, 1_000, 20.0, 1.0, 1),
        ("… a tenth: mean", Move::Mean, 1_000, 20.0, 0.1, 3),
        ("… variance", Move::Spread, 1_000, 20.0, 0.1, 6),
        ("… classes", Move::Classes, 1_000, 20.0, 0.1, 5),
        (
            "days until seen, N = 100, z = 20, all: mean",
            Move::Mean,
            100,
            20.0,
            1.0,
            3,
        ),
        ("… variance", Move::Spread, 100, 20.0, 1.0, 7),
        ("… classes", Move::Classes, 100, 20.0, 1.0, 3),
        (
            "days until seen, N = 100, no noise, all: mean",
            Move::Mean,
            100,
            0.0,
            1.0,
            1,
        ),
    ] {
        let mut delays: Vec<u32> = (0..FLEETS)
            .map(|seed| delay(seed, move_, devices, noise, share))
            .collect();
        delays.sort_unstable();
        let seen = delays.iter().filter(|delay| **delay <= DAYS).count() as f64 / FLEETS as f64;
        let median = delays[delays.len() / 2];
        rows.push(if matches!(move_, Move::Nothing) {
            Row {
                name,
                goal: "≤ 1".to_owned(),
                own: format!("{:.1} of {FLEETS} fleets", 100.0 * seen),
                peer: String::new(),
                holds: seen <= 1.0 / FLEETS as f64,
            }
        } else {
            Row {
                name,
                goal: format!("≤ {goal}"),
                own: match median {
                    0..=DAYS => format!("{median}, {:.0} % within {DAYS}", 100.0 * seen),
                    _ => format!("> {DAYS}, {:.0} % within", 100.0 * seen),
                },
                peer: String::new(),
                holds: median <= goal,
            }
        });
    }
    Ok(rows)
}

/// Days from the move to the alarm; above [`DAYS`] if there is none.
///
/// A fleet's mean report as the server sees it: the mean over devices of deviations that are clipped and rounded as on a
/// device, and the helper's noise. Days scatter as in the anchors: 288 windows of an AR(1) stream (ρ = 0.5), and 0.1 of a
/// standard deviation from day to day.
fn delay(seed: u64, move_: Move, devices: u32, noise: f64, share: f64) -> u32 {
    let ring_bits = if devices <= 100 { 13 } else { 16 };
    let task = task(devices, (10.0 * noise) as u16, ring_bits);
    let steps = task.steps_per_unit(VALUES).expect("fine enough");
    let scale = steps * f64::from(devices);
    let layout = Layout {
        channel_count: CHANNELS as u8,
        has_shares: false,
        class_count: CLASSES as u8,
        is_restandardized: false,
    };
    let policy = DriftPolicy::default();
    let mut watch = SumWatch::new(layout);
    let mut random = Noise(seed * 7_919 + 13);
    // 288 windows of ρ = 0.5 are worth a third as many; logarithms of spreads scatter as √(1 / 2n), roots of shares as
    // √(1 / 4n).
    let windows = 288.0_f64 / 3.0;
    let (mean_sd, spread_sd, class_sd) = (
        (1.0 / windows + 0.01).sqrt(),
        (0.5 / windows).sqrt(),
        (0.25 / windows).sqrt(),
    );
    // Roots of (0.4, 0.3, 0.2, 0.1) less roots of what has a stability index of 0.23 from it.
    let classes = [-0.13, -0.02, 0.06, 0.18];
    let moved = (share * f64::from(devices)).round() as u32;
    for day in 0..policy.baseline_reports + DAYS {
        let has_moved = day >= policy.baseline_reports;
        let mut sums = [0_i64; VALUES];
        for device in 0..devices {
            let is_moved = has_moved && device < moved;
            let value = |index: usize, random: &mut Noise| {
                let (sd, shift) = match (index, move_) {
                    (0, Move::Mean) => (mean_sd, 0.5),
                    (1, Move::Spread) => (spread_sd, 1.5_f64.ln() / 2.0),
                    (18.., Move::Classes) => (class_sd, classes[index - 18]),
                    (18.., _) => (class_sd, 0.0),
                    _ => (
                        if index.is_multiple_of(2) {
                            mean_sd
                        } else {
                            spread_sd
                        },
                        0.0,
                    ),
                };
                let weight = match index {
                    18.. => CLASS_WEIGHT,
                    _ if index.is_multiple_of(2) => 1.0,
                    _ => SPREAD_WEIGHT,
                };
                f64::from(weight) * (sd * random.normal() + if is_moved { shift } else { 0.0 })
            };
            let values: Vec<f64> = (0..VALUES).map(|index| value(index, &mut random)).collect();
            let quantized = quantize(&task, values.into_iter()).expect("fine enough");
            for (sum, value) in sums.iter_mut().zip(quantized) {
                *sum += i64::from(value);
            }
        }
        let mean: Vec<f64> = sums
            .iter()
            .map(|sum| (*sum as f64 + task.noise_sd() * random.normal()) / scale)
            .collect();
        let rounding = f64::from(devices) / 12.0;
        let variance = (task.noise_sd().powi(2) + rounding) / (scale * scale);
        let judgement = watch.push(layout, &mean, variance, &policy);
        if judgement.is_some_and(|judgement| judgement.score >= 1.0) && has_moved {
            return day - policy.baseline_reports + 1;
        }
    }
    DAYS + 1
}

/// Reproducible noise.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        // Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators".
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Near enough to a normal: twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}
