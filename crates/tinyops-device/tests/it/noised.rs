//! What leaves a device that reports under noise of its own, and what it refuses to say.

use tinyops_device::{Budgets, Config, Event, Local, Privacy};
use tinyops_wire::downlink::{Command, Label, MaskedRequest, StatisticsRequest};
use tinyops_wire::frame::{Features, Flags, Frame};
use tinyops_wire::mask::{Purpose, Task};
use tinyops_wire::masked::{Content, NoisedReport};
use tinyops_wire::noise::NoiseKey;
use tinyops_wire::{DeviceKey, Downlink};

use crate::fixture::{Bench, Recipe, Report, blank_flash};
use crate::masked::{last_alarm, learn, period, reporting_periods, task_of};

/// Three channels and three classes.
const VALUES: usize = 9;
const DAY_MS: u64 = 24 * 3_600_000;

fn noise_key(number: u8) -> NoiseKey {
    let secret = core::array::from_fn(|index| number.wrapping_mul(37) ^ index as u8);
    NoiseKey::new(secret, &DeviceKey([0xaa; 32])).expect("a secret of its own")
}

fn local_config(number: u8, noise_tenths_min: u16) -> Config {
    Config {
        privacy: Privacy::Local(Local {
            key: noise_key(number),
            noise_tenths_min,
            budgets: Budgets::default(),
        }),
        ..reporting_periods()
    }
}

fn task(noise_tenths: u16) -> Task {
    task_of(1, noise_tenths)
}

fn bench(number: u8, noise_tenths_min: u16) -> Bench {
    let flash = blank_flash(Recipe::default().capsule());
    Bench::new(local_config(number, noise_tenths_min), flash)
}

fn noised(report: &Report) -> Option<NoisedReport<'_>> {
    match Frame::decode(&report.body) {
        Ok(Frame::NoisedReport(noised)) => Some(noised),
        _ => None,
    }
}

fn values(task: &Task, report: &Report) -> Vec<i64> {
    let told = noised(report).expect("a noised report");
    let told = told.values(VALUES).expect("its shape");
    told.map(|value| task.signed(value)).collect()
}

/// Thirty periods a device, so that none spends more than its budget.
fn told_by(devices: core::ops::Range<u8>, task: &Task, shift: f32) -> Vec<Vec<i64>> {
    let mut told = Vec::new();
    for number in devices {
        let mut bench = bench(number, 200);
        learn(&mut bench);
        bench.send(&Downlink::Task(*task));
        for _ in 0..30 {
            period(&mut bench, shift);
            told.push(values(task, bench.reports.last().expect("a report")));
        }
    }
    told
}

#[test]
fn the_noise_of_reports_is_as_loud_as_the_task_says_and_its_mean_is_what_is_measured() {
    let task = task(200);
    let told = told_by(0..12, &task, 0.0);
    let count = (told.len() * VALUES) as f64;
    let all = || told.iter().flatten().map(|value| *value as f64);
    let sd = task.noise_sd();
    assert_eq!(sd, 20.0 * f64::from(task.norm_max));
    // The devices are as they were: what is told is noise alone, of all numbers.
    let (mean, variance) = (
        all().sum::<f64>() / count,
        all().map(|value| value * value).sum::<f64>() / count,
    );
    assert!(mean.abs() < 4.0 * sd / count.sqrt(), "{mean}");
    let error = (2.0 / count).sqrt();
    assert!(
        (variance / (sd * sd) - 1.0).abs() < 4.0 * error,
        "{variance}"
    );
    for index in 0..VALUES {
        let of_one = told.iter().map(|values| (values[index] as f64).powi(2));
        let share = of_one.sum::<f64>() / told.len() as f64 / (sd * sd);
        let error = (2.0 / told.len() as f64).sqrt();
        assert!((share - 1.0).abs() < 4.0 * error, "{index}: {share}");
    }
    // Far from its normal, each tells as much as a report may, under the same noise: only the mean of many shows it.
    let moved = told_by(0..12, &task, 40.0);
    let mean_of = |told: &[Vec<i64>], index: usize| {
        told.iter().map(|values| values[index] as f64).sum::<f64>() / told.len() as f64
    };
    let shifts: f64 = (0..VALUES)
        .map(|index| (mean_of(&moved, index) - mean_of(&told, index)).powi(2))
        .sum();
    let error = sd * (2.0 * VALUES as f64 / told.len() as f64).sqrt();
    assert!(
        shifts.sqrt() < f64::from(task.norm_max) + 2.0 * error,
        "no report is longer than the task allows"
    );
}

#[test]
fn no_two_reports_have_the_same_noise_not_even_across_resets() {
    let mut bench = bench(1, 0);
    let task = task(200);
    learn(&mut bench);
    for _ in 0..5 {
        bench.send(&Downlink::Task(task));
        for _ in 0..3 {
            period(&mut bench, 0.0);
        }
        // The epoch of a device begins anew at a boot; the numbers of its envelopes do not.
        bench.boot();
    }
    let told: Vec<Vec<i64>> = bench
        .reports
        .iter()
        .filter(|report| noised(report).is_some())
        .map(|report| values(&task, report))
        .collect();
    assert_eq!(told.len(), 15);
    for (index, one) in told.iter().enumerate() {
        for other in &told[..index] {
            // Of noise some 660 wide, two numbers are alike once in two thousand.
            let alike = one.iter().zip(other).filter(|(a, b)| a == b).count();
            assert!(alike <= 1, "{one:?} {other:?}");
        }
    }
}

#[test]
fn a_device_that_forgets_how_far_it_has_counted_does_not_tell_what_has_changed() {
    // The same device, its flash wiped in between: the same numbers of envelopes, other windows.
    let task = task(200);
    let told = |shift: f32| {
        let mut bench = bench(1, 0);
        learn(&mut bench);
        bench.send(&Downlink::Task(task));
        period(&mut bench, shift);
        let report = bench.reports.last().expect("a report");
        (report.sequence, values(&task, report))
    };
    let (before, after) = (told(0.0), told(0.5));
    assert_eq!(before.0, after.0);
    // With the noise of before, the two would differ by the shift alone: no more than twice the length of a report.
    let differ = before.1.iter().zip(&after.1);
    let squares: i64 = differ.map(|(a, b)| (a - b).pow(2)).sum();
    assert!((squares as f64).sqrt() > 4.0 * f64::from(task.norm_max));
    assert_eq!(before, told(0.0), "and what says the same says no more");
}

#[test]
fn a_spent_budget_ends_what_is_told_until_the_period_is_over() {
    let task = task(200);
    assert_eq!(task.cost(), 1_250);
    let mut bench = bench(1, 200);
    learn(&mut bench);
    let mut told = 0;
    for report in 0..40 {
        if report % 7 == 0 {
            // A reset forgets the task and no spending.
            bench.boot();
            bench.send(&Downlink::Task(task));
        }
        bench.now_ms += DAY_MS / 2;
        period(&mut bench, 0.0);
        told += usize::from(noised(bench.reports.last().expect("a report")).is_some());
    }
    assert_eq!(told, 30);
    assert_eq!(bench.agent.spent(Purpose::Monitoring), 37_500);
    assert_eq!(last_alarm(&bench).flags.privacy_class(), 1, "spent");
    bench.now_ms += 30 * DAY_MS;
    period(&mut bench, 0.0);
    assert_eq!(bench.agent.spent(Purpose::Monitoring), 1_250);
    assert!(noised(bench.reports.last().expect("a report")).is_some());
}

#[test]
fn a_task_with_less_noise_than_is_wanted_or_none_is_refused() {
    for (least, offered, takes) in [
        (200, 199, false),
        (200, 200, true),
        (0, 0, false),
        (0, 1, true),
    ] {
        let mut bench = bench(1, least);
        learn(&mut bench);
        bench.send(&Downlink::Task(task(offered)));
        let refused = u64::from(!takes);
        assert_eq!(bench.agent.counters().refused, refused, "{least} {offered}");
        period(&mut bench, 0.0);
        let last = bench.reports.last().expect("a report");
        // A tenth of a report's length takes more than a month's budget.
        assert_eq!(
            noised(last).is_some(),
            takes && offered == 200,
            "{least} {offered}"
        );
    }
    // Noise that cannot be drawn.
    let mut bench = bench(1, 0);
    bench.send(&Downlink::Task(Task {
        noise_tenths: u16::MAX,
        norm_max: u16::MAX,
        ring_bits: 32,
        ..task(200)
    }));
    assert_eq!(bench.agent.counters().refused, 1);
}

#[test]
fn nothing_else_of_one_device_is_told() {
    let mut bench = bench(1, 0);
    let Ok(Frame::Hello(hello)) = Frame::decode(&bench.reports[0].body) else {
        panic!("{:?}", bench.reports);
    };
    let features = hello.trust.expect("a device of today").features;
    assert!(features.has(Features::NOISES));
    assert_eq!(features.0 & (Features::MASKS.0 | Features::SHADOWS.0), 0);
    learn(&mut bench);
    bench.send(&Downlink::Task(task(200)));
    bench.reports.clear();
    for _ in 0..10 {
        // Far from anything: in plain mode the output's sum of deviations would alarm.
        period(&mut bench, 40.0);
        bench.run(Event::Label(Label {
            class: 1,
            windows_back: 8,
        }));
    }
    bench.send(&Downlink::StatisticsRequest(StatisticsRequest {
        round: 1,
        frame_bytes: 100,
        forget: false,
    }));
    bench.send(&Downlink::MaskedRequest(MaskedRequest {
        task: Task {
            purpose: Purpose::Update,
            ring_bits: 18,
            norm_max: 900,
            ..task(200)
        },
        content: Content::Prototypes,
        frame_bytes: 100,
        forget: false,
    }));
    bench.send(&Downlink::Command(Command::ReportNow));
    assert!(bench.reports.len() >= 10);
    for report in &bench.reports {
        match Frame::decode(&report.body) {
            Ok(Frame::NoisedReport(report)) => assert!(!report.flags.has(Flags::MOVED)),
            Ok(Frame::Alarm(alarm)) => {
                assert_eq!(alarm.moved, None);
                assert_eq!(alarm.flags.0 & !Flags::PRIVACY_MASK, 0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        bench.agent.counters().refused,
        2,
        "statistics, in the clear and under masks"
    );
    assert_eq!(bench.agent.spent(Purpose::Update), 0);
}
