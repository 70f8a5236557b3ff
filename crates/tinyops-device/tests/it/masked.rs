//! What leaves a device under masks, what it pays for it, and what it refuses to say.

use tinyops_device::{Budgets, Config, Event, Masked, Privacy, Reporting};
use tinyops_nn::statistics::{ClassStatistics, cell_count};
use tinyops_wire::downlink::{Command, Label, MaskedRequest, Restandardize, StatisticsRequest};
use tinyops_wire::frame::{Alarm, Flags, Frame};
use tinyops_wire::mask::{HelperKey, Purpose, Task};
use tinyops_wire::masked::{Content, MaskedReport, quantize, update_value};
use tinyops_wire::summary::Format;
use tinyops_wire::{DeviceId, Downlink};

use crate::fixture::{Bench, CLASSES, Recipe, Report, WINDOW, blank_flash, config, model_of};

const HELPER: HelperKey = HelperKey([9; 32]);
/// Three channels and three classes.
const VALUES: usize = 9;
const DAY_MS: u64 = 24 * 3_600_000;

fn masked_config(device: u64, noise_tenths_min: u16) -> Config {
    Config {
        privacy: Privacy::Masked(Masked {
            key: HELPER.mask_key(DeviceId(device)),
            noise_tenths_min,
            budgets: Budgets::default(),
        }),
        ..reporting_periods()
    }
}

/// A device that reports as often as [`period`] ends.
pub(crate) fn reporting_periods() -> Config {
    Config {
        reporting: Reporting {
            every_windows: 8,
            every_ms: 0,
            format: Format::M6H8,
        },
        ..config()
    }
}

/// What a fleet of so many devices is asked for.
pub(crate) fn task_of(device_count: u32, noise_tenths: u16) -> Task {
    Task {
        purpose: Purpose::Monitoring,
        number: 77,
        model: model_of(&Recipe::default().capsule()),
        ring_bits: 13,
        norm_max: 1,
        clip: 0.53,
        noise_tenths,
    }
    .with_finest_norm(device_count)
    .expect("it fits")
}

fn task(noise_tenths: u16) -> Task {
    task_of(100, noise_tenths)
}

fn bench(device: u64, noise_tenths_min: u16) -> Bench {
    let flash = blank_flash(Recipe::default().capsule());
    Bench::new(masked_config(device, noise_tenths_min), flash)
}

/// One report period: its windows scatter, and lie `shift` further on the first channel.
pub(crate) fn period(bench: &mut Bench, shift: f32) {
    for index in 0..8_u8 {
        let x = f32::from(index % 4) / 4.0;
        bench.window([x + shift, 1.0 - x, 0.5, 0.25]);
    }
}

pub(crate) fn learn(bench: &mut Bench) {
    for _ in 0..14 {
        period(bench, 0.0);
    }
}

fn masked(report: &Report) -> Option<MaskedReport<'_>> {
    match Frame::decode(&report.body) {
        Ok(Frame::MaskedReport(masked)) => Some(masked),
        _ => None,
    }
}

pub(crate) fn last_alarm(bench: &Bench) -> Alarm {
    match Frame::decode(&bench.reports.last().expect("a report").body) {
        Ok(Frame::Alarm(alarm)) => alarm,
        other => panic!("{other:?}"),
    }
}

/// The integers under a report's masks, which whoever has the device's key can read.
fn unmasked(device: u64, task: &Task, report: &Report) -> Vec<i64> {
    let masks = HELPER
        .mask_key(DeviceId(device))
        .masks(task, report.sequence);
    let values = masked(report)
        .expect("a masked report")
        .values(VALUES)
        .expect("its shape");
    values
        .zip(masks)
        .map(|(value, mask)| task.signed(value.wrapping_sub(mask)))
        .collect()
}

#[test]
fn a_device_learns_its_own_normal_and_then_tells_how_far_it_is_from_it() {
    let mut bench = bench(1, 0);
    let task = task(0);
    bench.send(&Downlink::Task(task));
    for report in 0..14 {
        period(&mut bench, 0.0);
        let heartbeat = last_alarm(&bench);
        assert_eq!(heartbeat.moved, None, "report {report}");
        assert_eq!(heartbeat.flags.privacy_class(), 3);
    }
    // What it has learnt survives a reset; the task does not, and the server tells it again.
    bench.boot();
    period(&mut bench, 0.0);
    assert_eq!(last_alarm(&bench).moved, None);
    bench.send(&Downlink::Task(task));
    period(&mut bench, 0.0);
    let report = bench.reports.last().expect("a report");
    assert_eq!(report.body.len(), 7 + (9 * 13_usize).div_ceil(8));
    assert_eq!(masked(report).expect("masked").task, 77);
    assert!(
        unmasked(1, &task, report)
            .iter()
            .all(|value| value.abs() <= 1)
    );
    period(&mut bench, 0.5);
    let report = bench.reports.last().expect("a report");
    let values = unmasked(1, &task, report);
    assert!(values[0] > 5, "{values:?}");
    let length: i64 = values.iter().map(|value| value * value).sum();
    assert!(length <= i64::from(task.norm_max).pow(2), "{values:?}");
}

#[test]
fn what_is_normal_is_learnt_of_moved_features_alone() {
    let mut bench = bench(1, 0);
    let task = task(0);
    let told = |bench: &Bench| bench.reports.iter().filter(|r| masked(r).is_some()).count();
    let is_near = |bench: &Bench| {
        let report = bench.reports.last().expect("a report");
        let values = unmasked(1, &task, report);
        assert!(values.iter().all(|value| value.abs() <= 1), "{values:?}");
    };
    bench.send(&Downlink::Task(task));
    // It learns for longer than what is normal takes to be known.
    bench.send(&Downlink::Restandardize(Restandardize {
        sixteenths: 16,
        windows: 15 * 8,
    }));
    for _ in 0..15 + 14 {
        period(&mut bench, 1.0);
    }
    assert_eq!(told(&bench), 0);
    period(&mut bench, 1.0);
    is_near(&bench);
    // After a reset it learns anew, and what it says meanwhile would be of features that are not moved.
    bench.boot();
    bench.send(&Downlink::Task(task));
    for _ in 0..15 {
        period(&mut bench, 1.0);
    }
    assert_eq!(told(&bench), 1);
    period(&mut bench, 1.0);
    assert_eq!(told(&bench), 2);
    is_near(&bench);
}

#[test]
fn only_the_sum_of_many_devices_can_be_read() {
    let task = task(0);
    let (mut sum, mut masks, mut plain) = ([0_u32; VALUES], [0_u32; VALUES], [0_i64; VALUES]);
    for device in 0..25 {
        let mut bench = bench(device, 0);
        bench.send(&Downlink::Task(task));
        learn(&mut bench);
        period(&mut bench, if device % 2 == 0 { 0.25 } else { 0.0625 });
        let report = bench.reports.last().expect("a report");
        let told = masked(report)
            .expect("masked")
            .values(VALUES)
            .expect("its shape");
        let own = HELPER
            .mask_key(DeviceId(device))
            .masks(&task, report.sequence);
        for (index, (value, mask)) in told.zip(own).enumerate() {
            sum[index] = sum[index].wrapping_add(value);
            masks[index] = masks[index].wrapping_add(mask);
        }
        for (total, value) in plain.iter_mut().zip(unmasked(device, &task, report)) {
            *total += value;
        }
    }
    let read: Vec<i64> = sum
        .iter()
        .zip(masks)
        .map(|(sum, mask)| task.signed(sum.wrapping_sub(mask)))
        .collect();
    assert_eq!(read, plain, "the sum is exact");
    assert!(read[0] > 0);
}

#[test]
fn no_two_reports_have_the_same_masks() {
    let mut bench = bench(1, 0);
    let task = task(0);
    learn(&mut bench);
    for _ in 0..3 {
        bench.send(&Downlink::Task(task));
        period(&mut bench, 0.0);
        period(&mut bench, 0.0);
        // The epoch of a device begins anew at a boot; the numbers of its envelopes do not.
        bench.boot();
    }
    let mut bits: Vec<&[u8]> = bench
        .reports
        .iter()
        .filter(|report| masked(report).is_some())
        .map(|report| &report.body[7..])
        .collect();
    assert_eq!(bits.len(), 6);
    bits.sort_unstable();
    bits.dedup();
    assert_eq!(bits.len(), 6);
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
        told += usize::from(masked(bench.reports.last().expect("a report")).is_some());
    }
    assert_eq!(told, 30);
    assert_eq!(bench.agent.spent(Purpose::Monitoring), 37_500);
    assert_eq!(last_alarm(&bench).flags.privacy_class(), 1, "spent");
    bench.now_ms += 30 * DAY_MS;
    period(&mut bench, 0.0);
    assert!(
        masked(bench.reports.last().expect("a report")).is_some(),
        "a new period"
    );
    assert_eq!(bench.agent.spent(Purpose::Monitoring), 1_250);
}

#[test]
fn what_cannot_be_written_is_not_told() {
    let task = task(200);
    let mut bench = bench(1, 200);
    learn(&mut bench);
    bench.send(&Downlink::Task(task));
    period(&mut bench, 0.0);
    assert_eq!(bench.agent.spent(Purpose::Monitoring), 1_250);
    // The power goes at every point of the write that pays for the next report: it was not sent, or it is paid for.
    let before = bench.agent.clone();
    for operation in 0..40_u64 {
        let mut agent = before.clone();
        let at = agent.flash_mut().operations() + operation;
        agent.flash_mut().cut_power_at(at, operation % 3);
        let sent = bench.reports.len();
        bench.agent = agent;
        period(&mut bench, 0.0);
        let told = bench.reports[sent..]
            .iter()
            .filter(|report| masked(report).is_some())
            .count();
        bench.agent.flash_mut().restore_power();
        bench.boot();
        let paid = bench.agent.spent(Purpose::Monitoring);
        assert!(
            paid >= 1_250 + 1_250 * told as u32 && paid <= 2_500,
            "operation {operation}: told {told}, paid {paid}"
        );
    }
}

#[test]
fn less_noise_than_the_device_takes_part_under_is_refused() {
    let mut bench = bench(1, 200);
    learn(&mut bench);
    bench.send(&Downlink::Task(task(199)));
    period(&mut bench, 0.0);
    assert_eq!(last_alarm(&bench).moved, None);
    assert_eq!(bench.agent.counters().refused, 1);
    let other = Task {
        model: tinyops_wire::ModelId(5),
        ..task(200)
    };
    bench.send(&Downlink::Task(other));
    period(&mut bench, 0.0);
    assert_eq!(last_alarm(&bench).moved, None, "a task of another model");
    bench.send(&Downlink::Task(task(200)));
    period(&mut bench, 0.0);
    assert!(masked(bench.reports.last().expect("a report")).is_some());
}

#[test]
fn what_cannot_be_told_is_refused_before_it_is_paid_for() {
    let mut bench = bench(1, 200);
    learn(&mut bench);
    bench.run(Event::Label(Label {
        class: 1,
        windows_back: 8,
    }));
    // Rounding nine numbers may move them by three halves of a step.
    bench.send(&Downlink::Task(Task {
        norm_max: 1,
        ..task(200)
    }));
    period(&mut bench, 0.0);
    assert_eq!(last_alarm(&bench).moved, None, "a heartbeat");
    assert_eq!(bench.agent.counters().refused, 1);
    assert_eq!(bench.agent.spent(Purpose::Monitoring), 0);
    let update = |norm_max: u16, frame_bytes: u16| {
        Downlink::MaskedRequest(MaskedRequest {
            task: Task {
                purpose: Purpose::Update,
                norm_max,
                ..task(200)
            },
            content: Content::Gram,
            frame_bytes,
            forget: false,
        })
    };
    bench.reports.clear();
    // Twenty-five numbers, and frames without room for one.
    for request in [update(2, 100), update(18, 19), update(18, 0)] {
        bench.send(&request);
    }
    assert_eq!(bench.agent.counters().refused, 4);
    assert_eq!(bench.agent.spent(Purpose::Update), 0);
    assert_eq!(bench.reports, []);
    bench.send(&update(18, 20));
    assert_eq!(bench.reports.len(), 25);
    assert_eq!(bench.agent.spent(Purpose::Update), task(200).cost());
}

#[test]
fn a_budget_of_nothing_tells_nothing() {
    let mut config = masked_config(1, 0);
    let Privacy::Masked(masked) = &mut config.privacy else {
        panic!("masked");
    };
    masked.budgets = Budgets {
        monitoring: 0,
        ..Budgets::default()
    };
    let mut bench = Bench::new(config, blank_flash(Recipe::default().capsule()));
    learn(&mut bench);
    bench.send(&Downlink::Task(task(0)));
    assert_eq!(task(0).cost(), 0);
    period(&mut bench, 0.0);
    assert_eq!(last_alarm(&bench).flags.privacy_class(), 1, "spent");
}

#[test]
fn under_masks_nothing_of_one_device_is_told() {
    let mut bench = bench(1, 0);
    learn(&mut bench);
    bench.send(&Downlink::Task(task(0)));
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
    bench.send(&Downlink::Command(Command::ReportNow));
    assert!(bench.reports.len() >= 10);
    for report in &bench.reports {
        match Frame::decode(&report.body) {
            Ok(Frame::MaskedReport(report)) => assert!(!report.flags.has(Flags::MOVED)),
            Ok(Frame::Alarm(alarm)) => {
                assert_eq!(alarm.moved, None);
                assert_eq!(alarm.flags.0 & !Flags::PRIVACY_MASK, 0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.agent.counters().refused, 1, "plain statistics");
}

#[test]
fn fewer_than_eight_windows_say_nothing() {
    let mut bench = bench(1, 0);
    learn(&mut bench);
    bench.send(&Downlink::Task(task(0)));
    for _ in 0..7 {
        bench.window([0.0, 1.0, 0.5, 0.25]);
        bench.send(&Downlink::Command(Command::ReportNow));
        assert_eq!(last_alarm(&bench).moved, None);
    }
    bench.window([0.0, 1.0, 0.5, 0.25]);
    assert!(
        masked(bench.reports.last().expect("a report")).is_some(),
        "the eighth"
    );
}

#[test]
fn a_period_of_fewer_windows_than_may_be_told_lasts_until_there_are_enough() {
    let mut config = masked_config(1, 0);
    config.reporting.every_windows = 2;
    let mut bench = Bench::new(config, blank_flash(Recipe::default().capsule()));
    let before = bench.reports.len();
    for count in 1..=24 {
        bench.window([0.0, 1.0, 0.5, 0.25]);
        assert_eq!(bench.reports.len() - before, count / 8, "{count} windows");
    }
}

#[test]
fn an_update_under_masks_is_the_sum_of_the_clipped_statistics() {
    let request = |content: Content, windows: u32| MaskedRequest {
        task: Task {
            purpose: Purpose::Update,
            ring_bits: 18,
            clip: 8.0,
            ..task(0)
        }
        .with_finest_norm(100)
        .map(|task| Task {
            number: windows as u16,
            ..task
        })
        .expect("it fits"),
        content,
        frame_bytes: 40,
        forget: false,
    };
    for content in [Content::Prototypes, Content::Gram] {
        let mut bench = bench(3, 0);
        let mut cells = vec![0_i64; cell_count(CLASSES, WINDOW)];
        for labelled in 1..=12_u8 {
            let window = [f32::from(labelled) / 8.0, f32::from(labelled % 3), 0.5, 0.0];
            bench.window(window);
            let embedding = window.map(|x| (x * 16.0).round() as i8 as u8);
            let mut sums = ClassStatistics::new(CLASSES, WINDOW, &mut cells[..]).expect("cells");
            sums.add(usize::from(labelled % 3), &embedding, 0)
                .expect("a class");
            bench.run(Event::Label(Label {
                class: labelled % 3,
                windows_back: 1,
            }));
            bench.reports.clear();
            let refused = bench.agent.counters().refused;
            bench.send(&Downlink::MaskedRequest(request(content, labelled.into())));
            if labelled < 8 {
                assert!(bench.reports.is_empty(), "{labelled} windows are told");
                assert_eq!(bench.agent.counters().refused, refused + 1);
            }
        }
        let request = request(content, 12);
        let len = content.len(CLASSES, WINDOW);
        let mut values = vec![0_u32; len];
        let mut sequence = 0;
        assert!(bench.reports.len() > 1, "it takes several parts");
        for report in &bench.reports {
            assert!(report.body.len() <= 40);
            let Ok(Frame::MaskedPart(part)) = Frame::decode(&report.body) else {
                panic!("a part");
            };
            assert_eq!((part.head.len(), part.head.content), (len, content));
            sequence = part.head.sequence;
            for (index, value) in part.values() {
                values[index] = value;
            }
        }
        let expected = cells[..len]
            .iter()
            .enumerate()
            .map(|(index, &cell)| update_value(index, cell, CLASSES, WINDOW));
        let expected: Vec<i64> = quantize(&request.task, expected)
            .expect("fine enough")
            .map(i64::from)
            .collect();
        let masks = HELPER.mask_key(DeviceId(3)).masks(&request.task, sequence);
        let read: Vec<i64> = values
            .iter()
            .zip(masks)
            .map(|(value, mask)| request.task.signed(value.wrapping_sub(mask)))
            .collect();
        assert_eq!(read, expected);
        assert!(read.iter().any(|value| *value != 0));
        let length: i64 = read.iter().map(|value| value * value).sum();
        assert!(length <= i64::from(request.task.norm_max).pow(2));
    }
}
