//! The detector against the world it is made for: stable devices stay quiet, shifted ones are found in days.
//!
//! 288 windows a day, correlated (a first-order process with 0.5), devices with offsets of their own (0.2) and
//! days that differ (0.1): the null model of the measurements in `docs/monitoring.md`. Every report goes
//! through the real frame of 51 bytes.

use tinyops_fleet::detector::{DriftPolicy, HORIZON, Layout, Memory, Point, Pool};
use tinyops_sketch::{Baseline, ChannelBaseline, Observation, Sketch, Source, Summary};
use tinyops_wire::Frame;
use tinyops_wire::summary::{Format, Header, SummaryFrame};

use crate::world::Noise;

const CHANNELS: usize = 9;
const CLASSES: usize = 4;
const WINDOWS: usize = 288;

/// Of a cohort before any report.
const NOTHING: Layout = Layout {
    channel_count: 0,
    has_shares: false,
    class_count: 0,
    is_restandardized: false,
    has_own_head: false,
};

/// What changes on one channel, and in the classes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Nothing,
    Mean(f64),
    Variance(f64),
    Prior,
    Bimodal,
}

struct Device {
    id: u64,
    noise: Noise,
    offsets: [f64; CHANNELS],
    states: [f64; CHANNELS],
    day: u32,
    memory: Memory,
}

fn baseline() -> Baseline {
    let mut channels = Vec::new();
    for index in 0..CHANNELS as u16 {
        let source = if index == 8 {
            Source::Output
        } else {
            Source::Feature(index)
        };
        let mut channel = ChannelBaseline::new(source, 0.0, 1.0);
        channel.edges = [-1.150, -0.674, -0.319, 0.0, 0.319, 0.674, 1.150];
        channels.push(channel);
    }
    Baseline::new(10_000, &channels, &[0.4, 0.3, 0.2, 0.1]).unwrap()
}

impl Device {
    fn new(id: u64) -> Device {
        let mut noise = Noise(id.wrapping_mul(0x1234_5678_9abc_def1) | 1);
        let offsets = std::array::from_fn(|_| 0.2 * noise.next());
        Device {
            id,
            noise,
            offsets,
            states: [0.0; CHANNELS],
            day: 0,
            memory: Memory::new(),
        }
    }

    /// One day's report, through the frame.
    fn report(&mut self, baseline: &Baseline, change: Change) -> Point {
        self.day += 1;
        let mut sketch = Sketch::new();
        let days: [f64; CHANNELS] = std::array::from_fn(|_| 0.1 * self.noise.next());
        let priors = if change == Change::Prior {
            [0.2, 0.5, 0.2, 0.1]
        } else {
            [0.4, 0.3, 0.2, 0.1]
        };
        for _ in 0..WINDOWS {
            let mut features = [0.0_f32; 8];
            let mut output = 0.0;
            for channel in 0..CHANNELS {
                let state = 0.5 * self.states[channel] + 0.75_f64.sqrt() * self.noise.next();
                self.states[channel] = state;
                let state = match (channel, change) {
                    (0, Change::Mean(shift)) => state + shift,
                    (0, Change::Variance(factor)) => state * factor.sqrt(),
                    // Two narrow bumps with the same mean and variance.
                    (0, Change::Bimodal) => 0.9_f64.copysign(state) + 0.436 * self.noise.next(),
                    _ => state,
                };
                let value = (state + self.offsets[channel] + days[channel]) as f32;
                match channel {
                    8 => output = value,
                    _ => features[channel] = value,
                }
            }
            let mut draw = self.noise.uniform();
            let class = priors.iter().position(|share| {
                draw -= share;
                draw < 0.0
            });
            let window = Observation::of(baseline, &features).with_output(baseline, output);
            sketch.push(baseline, &window, Some(class.unwrap_or(CLASSES - 1) as u8));
        }
        let dither = (self.id, self.day);
        let mut bytes = [0; 64];
        let summary = Summary::of(&sketch, baseline);
        let len = SummaryFrame::encode(
            Format::M6H8,
            Header::default(),
            &summary,
            dither,
            &mut bytes,
        )
        .unwrap();
        assert_eq!(len, 51);
        let Frame::Summary(frame) = Frame::decode(&bytes[..len]).unwrap() else {
            panic!()
        };
        Point::of(&frame.decode(CHANNELS, CLASSES, dither).unwrap())
    }
}

struct Outcome {
    /// Day of each device's first alarm after its baseline, from 1.
    devices: Vec<Option<u32>>,
    /// Day of the cohort's first alarm.
    cohort: Option<u32>,
}

/// Fourteen reference days, then the change on the first `shifted` devices for `days`.
fn simulate(seed: u64, device_count: u64, shifted: usize, days: u32, change: Change) -> Outcome {
    let (baseline, policy) = (baseline(), DriftPolicy::default());
    let mut devices: Vec<Device> = (0..device_count)
        .map(|id| Device::new(seed * 1_000_000 + id))
        .collect();
    let mut pool = Pool::new(NOTHING);
    let mut outcome = Outcome {
        devices: vec![None; devices.len()],
        cohort: None,
    };
    for day in 1..=policy.baseline_reports + days {
        let monitored = day.saturating_sub(policy.baseline_reports);
        for (index, device) in devices.iter_mut().enumerate() {
            let change = if monitored > 0 && index < shifted {
                change
            } else {
                Change::Nothing
            };
            let point = device.report(&baseline, change);
            // The window that closes now is yesterday's.
            if let Some(judgement) = pool.close_before(device.id, &policy)
                && judgement.score >= 1.0
            {
                outcome.cohort.get_or_insert(monitored - 1);
            }
            let judgement = device.memory.push(device.id, &point, &mut pool, &policy);
            if judgement.is_some_and(|judgement| judgement.score >= 1.0) {
                outcome.devices[index].get_or_insert(monitored);
            }
        }
    }
    outcome
}

/// Half of the devices alarm by this day; `None` if they do not.
fn median_day(outcome: &Outcome) -> Option<u32> {
    let mut found: Vec<u32> = outcome
        .devices
        .iter()
        .map(|day| day.unwrap_or(u32::MAX))
        .collect();
    found.sort_unstable();
    Some(found[found.len() / 2]).filter(|day| *day < u32::MAX)
}

#[test]
fn stable_devices_alarm_at_the_design_rate() {
    // Four cohorts of 50; the full count of 600 devices and the delays are measured by `cargo xtask bench listen`.
    let mut alarmed = 0;
    let mut cohorts = 0;
    for seed in 1..=4 {
        let outcome = simulate(seed, 50, 0, HORIZON, Change::Nothing);
        alarmed += outcome.devices.iter().flatten().count();
        cohorts += usize::from(outcome.cohort.is_some());
    }
    assert!(
        alarmed <= 4,
        "{alarmed} of 200 stable devices alarmed within {HORIZON} days"
    );
    assert_eq!(cohorts, 0, "of 4 stable cohorts");
}

#[track_caller]
fn check_delay(change: Change, median_max: u32) {
    let outcome = simulate(11, 24, 24, median_max + 4, change);
    let median = median_day(&outcome);
    assert!(
        median.is_some_and(|day| day <= median_max),
        "{change:?}: median {median:?}, at most {median_max}"
    );
    assert!(
        outcome.cohort.is_some_and(|day| day <= 2),
        "{change:?}: cohort {:?}",
        outcome.cohort
    );
}

#[test]
fn one_shifted_device_is_found_in_days() {
    check_delay(Change::Mean(0.5), 4);
    check_delay(Change::Variance(1.5), 4);
    check_delay(Change::Prior, 2);
    check_delay(Change::Bimodal, 5);
}

#[test]
fn a_shifted_tenth_shows_in_the_cohort() {
    let outcome = simulate(21, 60, 6, 10, Change::Mean(0.5));
    assert!(
        outcome.cohort.is_some_and(|day| day <= 6),
        "{:?}",
        outcome.cohort
    );
    let stable = outcome.devices[6..].iter().flatten().count();
    assert!(stable <= 1, "{stable} stable devices alarmed");
}

#[test]
fn a_lone_device_is_judged_with_its_own_noise() {
    let mut alarmed = 0;
    for seed in 100..130 {
        alarmed += simulate(seed, 1, 0, HORIZON, Change::Nothing)
            .devices
            .iter()
            .flatten()
            .count();
    }
    assert!(alarmed <= 2, "{alarmed} of 30 stable lone devices alarmed");
    let found = (200..206)
        .filter(|seed| simulate(*seed, 1, 1, 7, Change::Mean(1.0)).devices[0].is_some())
        .count();
    assert_eq!(
        found, 6,
        "a shift of one standard deviation shows within a week"
    );
}

#[test]
fn features_that_were_moved_back_begin_a_new_baseline_and_leave_the_cohort_its_noise() {
    let (baseline, policy) = (baseline(), DriftPolicy::default());
    let mut device = Device::new(5);
    let mut pool: Option<Pool> = None;
    let mut judged = |is_moved: bool| {
        let point = device
            .report(&baseline, Change::Nothing)
            .restandardized(is_moved);
        let pool = pool.get_or_insert_with(|| Pool::new(point.layout));
        let judgement = device.memory.push(device.id, &point, pool, &policy);
        (judgement.is_some(), pool.freedom)
    };
    let reports = policy.baseline_reports;
    let learnt: Vec<bool> = (0..reports + 2).map(|_| judged(false).0).collect();
    assert_eq!(learnt.iter().filter(|is_judged| **is_judged).count(), 2);
    let before = judged(false).1;
    let moved: Vec<(bool, f64)> = (0..reports + 1).map(|_| judged(true)).collect();
    assert!(
        moved[..reports as usize]
            .iter()
            .all(|(is_judged, _)| !is_judged)
    );
    assert!(moved[reports as usize].0);
    assert!(
        moved[reports as usize].1 > before,
        "what is known of the noise adds up"
    );
    assert!(!judged(false).0, "and so does going back");
}

/// A cohort whose noise is not known in a device's numbers says nothing of it: the device learns with the cohort.
#[test]
fn a_device_whose_cohort_is_of_another_layout_by_now_begins_anew() {
    let (baseline, policy) = (baseline(), DriftPolicy::default());
    let (mut device, mut pool) = (Device::new(5), Pool::new(NOTHING));
    let mut is_judged = |pool: &mut Pool| {
        let point = device.report(&baseline, Change::Nothing);
        let judgement = device.memory.push(device.id, &point, pool, &policy);
        judgement.is_some()
    };
    let learn_anew = [false; 14].into_iter().chain([true]);
    assert!(learn_anew.clone().eq((0..15).map(|_| is_judged(&mut pool))));

    // Another device of the cohort reports without histograms, for a narrower link.
    let (mut narrow, mut memory) = (Device::new(6), Memory::new());
    for _ in 0..policy.baseline_reports {
        let mut point = narrow.report(&baseline, Change::Nothing);
        let layout = point.layout;
        point.layout.has_shares = false;
        let moments = (0..layout.channel_count).flat_map(|channel| {
            let first = layout.channel(channel);
            first..first + 2
        });
        let kept = moments.chain(layout.classes()..layout.len());
        point.values = kept.map(|index| point.values[index]).collect();
        memory.push(narrow.id, &point, &mut pool, &policy);
    }
    assert!(!pool.layout.has_shares);
    assert!(learn_anew.clone().eq((0..15).map(|_| is_judged(&mut pool))));

    // The device is moved to a cohort of which nothing is known.
    let mut pool = Pool::new(NOTHING);
    assert!(learn_anew.eq((0..15).map(|_| is_judged(&mut pool))));
}
