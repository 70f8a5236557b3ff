//! How soon a shift is found, by one device and by a fleet, at how many false alarms.

use std::collections::BTreeMap;

use super::Row;
use super::simulation::{Change, Device, Noise, baseline};
use tinyops_fleet::detector::{
    DriftPolicy, HORIZON, Judgement, Layout, Memory, Point, Pool, Signal,
};
use tinyops_train::interval::Interval;

/// Devices of a cohort in which single devices are judged.
const COHORT: usize = 50;
/// Stable devices in all.
const STABLE: usize = 6_000;
/// Devices of each shift.
const SHIFTED: usize = 400;
/// Devices of a fleet.
const FLEET: usize = 100;
/// Fleets of each shift, and stable ones.
const FLEETS: usize = 200;
const STABLE_FLEETS: usize = 1_000;

/// A shift, and what must find it.
struct Shift {
    change: Change,
    /// On one device; on all of a fleet; on a tenth of one.
    names: [&'static str; 3],
    /// Days of the first and the last of them; the second takes one.
    days: [u32; 2],
}

const SHIFTS: [Shift; 4] = [
    Shift {
        change: Change::Mean(0.5),
        names: [
            "one device, mean + 0.5 σ",
            "all of 100, mean + 0.5 σ",
            "10 of 100, mean + 0.5 σ",
        ],
        days: [4, 3],
    },
    Shift {
        change: Change::Variance(1.5),
        names: [
            "one device, variance × 1.5",
            "all of 100, variance × 1.5",
            "10 of 100, variance × 1.5",
        ],
        days: [3, 3],
    },
    Shift {
        change: Change::Prior,
        names: [
            "one device, class prior, PSI 0.23",
            "all of 100, class prior, PSI 0.23",
            "10 of 100, class prior, PSI 0.23",
        ],
        days: [2, 2],
    },
    Shift {
        change: Change::Bimodal,
        names: [
            "one device, two bumps",
            "all of 100, two bumps",
            "10 of 100, two bumps",
        ],
        days: [5, 6],
    },
];

/// What a device sends, day by day.
type Trace = Vec<Point>;

/// Delays of single devices, and how many stable ones alarm.
pub(super) fn devices() -> Result<Vec<Row>, String> {
    let policy = DriftPolicy::default();
    let bytes = Device::new(0).report(&baseline(), Change::Nothing).1;
    let mut rows = vec![Row::at_most(
        "daily report, 9 channels + 4 classes, bytes",
        Some(51),
        bytes as u64,
        "whylogs 37,241 (10 features)".to_owned(),
    )];
    for (seed, shift) in (1..).zip(&SHIFTS) {
        let traces = traces(seed, SHIFTED, &policy, shift.change);
        let found = judged_in_cohorts(&traces, &policy);
        rows.push(delay_row(shift.names[0], shift.days[0], 0.99, &found));
    }
    let stable = traces(9, STABLE, &policy, Change::Nothing);
    let found = judged_in_cohorts(&stable, &policy);
    rows.push(rate_row("stable devices that alarm in 30 days", &found));
    // One device alone in its cohort has nobody to pool its noise with.
    let lone: Vec<_> = stable
        .iter()
        .take(STABLE / 3)
        .map(|trace| watch(&[trace], &policy).devices[0])
        .collect();
    rows.push(rate_row("stable devices alone in their cohort", &lone));
    Ok(rows)
}

/// Delays of fleets, and how many stable ones alarm.
pub(super) fn fleets() -> Result<Vec<Row>, String> {
    let policy = DriftPolicy::default();
    let stable = traces(21, 20 * FLEET, &policy, Change::Nothing);
    let mut noise = Noise::new(77);
    let mut rows = Vec::new();
    for (seed, shift) in (31..).zip(&SHIFTS) {
        let shifted = traces(seed, SHIFTED, &policy, shift.change);
        let tenth = (FLEET / 10, shift.names[2], shift.days[1]);
        for (part, name, days) in [(FLEET, shift.names[1], 1), tenth] {
            let found = |_| {
                let moved = drawn(&shifted, part, &mut noise);
                let still = drawn(&stable, FLEET - part, &mut noise);
                let fleet: Vec<&Trace> = moved.into_iter().chain(still).collect();
                watch(&fleet, &policy).cohort
            };
            let found: Vec<_> = (0..FLEETS).map(found).collect();
            rows.push(delay_row(name, days, 0.0, &found));
        }
    }
    let found: Vec<_> = (0..STABLE_FLEETS)
        .map(|_| watch(&drawn(&stable, FLEET, &mut noise), &policy).cohort)
        .collect();
    rows.push(rate_row(
        "stable fleets of 100 that alarm in 30 days",
        &found,
    ));
    Ok(rows)
}

/// A trace of each of `count` devices: their baseline, and then [`HORIZON`] days with the change.
fn traces(seed: u64, count: usize, policy: &DriftPolicy, change: Change) -> Vec<Trace> {
    let baseline = baseline();
    let trace = |index: usize| {
        let mut device = Device::new(seed * 1_000_000 + index as u64);
        (0..policy.baseline_reports + HORIZON)
            .map(|day| {
                let change = match day < policy.baseline_reports {
                    true => Change::Nothing,
                    false => change,
                };
                Point::of(&device.report(&baseline, change).0)
            })
            .collect()
    };
    (0..count).map(trace).collect()
}

/// So many of the traces, drawn without putting back.
fn drawn<'a>(traces: &'a [Trace], count: usize, noise: &mut Noise) -> Vec<&'a Trace> {
    let mut order: Vec<usize> = (0..traces.len()).collect();
    for place in 0..count {
        let left = order.len() - place;
        order.swap(place, place + noise.below(left));
    }
    order[..count].iter().map(|&index| &traces[index]).collect()
}

/// The day of each device's first alarm, judged in cohorts that share their noise.
fn judged_in_cohorts(traces: &[Trace], policy: &DriftPolicy) -> Vec<Option<First>> {
    traces
        .chunks(COHORT)
        .flat_map(|cohort| watch(&cohort.iter().collect::<Vec<_>>(), policy).devices)
        .collect()
}

/// The first alarm of a device or cohort.
#[derive(Clone, Copy)]
pub(super) struct First {
    /// Days after the baseline, from 1.
    day: u32,
    /// What alarmed most.
    signal: &'static str,
}

impl First {
    pub(super) fn of(day: u32, judgement: &Judgement) -> Option<First> {
        let signal = match judgement.signals.first()? {
            (_, score) if *score < 1.0 => "crowd",
            (Signal::Mean(_), _) => "mean",
            (Signal::Spread(_), _) => "spread",
            (Signal::Shape(_), _) => "shape",
            (Signal::Classes, _) => "classes",
        };
        (judgement.score >= 1.0).then_some(First { day, signal })
    }
}

struct Found {
    devices: Vec<Option<First>>,
    cohort: Option<First>,
}

fn watch(cohort: &[&Trace], policy: &DriftPolicy) -> Found {
    let mut pool = Pool::new(Layout {
        channel_count: 0,
        has_shares: false,
        class_count: 0,
        is_restandardized: false,
        has_own_head: false,
    });
    let mut memories = vec![Memory::new(); cohort.len()];
    let mut found = Found {
        devices: vec![None; cohort.len()],
        cohort: None,
    };
    let day_count = cohort.first().map_or(0, |trace| trace.len());
    for day in 0..=day_count {
        let monitored = (day + 1).saturating_sub(policy.baseline_reports as usize) as u32;
        for (index, (trace, memory)) in cohort.iter().zip(&mut memories).enumerate() {
            // The window that closes now is yesterday's.
            if let Some(judgement) = pool.close_before(index as u64, policy) {
                let first = First::of(monitored.saturating_sub(1), &judgement);
                found.cohort = found.cohort.or(first);
            }
            let Some(point) = trace.get(day) else {
                continue;
            };
            let judgement = memory.push(index as u64, point, &mut pool, policy);
            let first = judgement.and_then(|judgement| First::of(monitored, &judgement));
            found.devices[index] = found.devices[index].or(first);
        }
    }
    found
}

/// Half must be found within `goal` days, and `share_min` of all by day 7.
pub(super) fn delay_row(
    name: &'static str,
    goal: u32,
    share_min: f64,
    found: &[Option<First>],
) -> Row {
    let mut days: Vec<u32> = found
        .iter()
        .map(|first| first.map_or(u32::MAX, |first| first.day))
        .collect();
    days.sort_unstable();
    let median = days[days.len() / 2];
    let soon = days.iter().filter(|day| **day <= 7).count();
    let share = soon as f64 / days.len() as f64;
    let told = match median {
        u32::MAX => "not found".to_owned(),
        days => format!("{days} days"),
    };
    let and = match share_min > 0.0 {
        true => format!(", ≥ {:.0} % by day 7", 100.0 * share_min),
        false => String::new(),
    };
    Row {
        name,
        goal: format!("≤ {goal} days{and}"),
        own: format!("{told}, {:.1} % by day 7 of {}", 100.0 * share, days.len()),
        peer: String::new(),
        holds: median <= goal && share >= share_min,
    }
}

pub(super) fn rate_row(name: &'static str, found: &[Option<First>]) -> Row {
    let count = found.iter().flatten().count();
    let share = count as f64 / found.len() as f64;
    let within = Interval::wilson(share, found.len() as f64);
    Row {
        name,
        goal: "≤ 1 %".to_owned(),
        own: format!(
            "{:.2} % ({:.2}–{:.2}) of {}",
            100.0 * share,
            100.0 * within.low,
            100.0 * within.high,
            found.len()
        ),
        peer: by_signal(found),
        holds: share <= 0.01,
    }
}

/// How many alarms each kind of signal raised.
fn by_signal(found: &[Option<First>]) -> String {
    let mut counts = BTreeMap::new();
    for first in found.iter().flatten() {
        *counts.entry(first.signal).or_insert(0) += 1;
    }
    let told = counts
        .iter()
        .map(|(signal, count)| format!("{signal} {count}"));
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on<const N: usize>(days: [u32; N]) -> [Option<First>; N] {
        let signal = "mean";
        days.map(|day| Some(First { day, signal }))
    }

    #[test]
    fn a_shift_that_is_not_found_is_a_miss() {
        let row = delay_row("x", 2, 0.99, &on([1, 2, 2, 9]));
        assert!(!row.holds, "a quarter came after a week");
        assert!(delay_row("x", 2, 0.99, &on([1, 2])).holds);
        assert!(!delay_row("x", 2, 0.99, &[None, None, on([1])[0]]).holds);
        assert!(!rate_row("x", &[on([1])[0], None]).holds);
    }
}
