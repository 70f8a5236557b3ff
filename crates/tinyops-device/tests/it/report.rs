//! What leaves the device, and when.

use tinyops_device::{Action, Event, Measured, Reporting};
use tinyops_sketch::{Direction, Summary};
use tinyops_wire::Downlink;
use tinyops_wire::cost::Cost;
use tinyops_wire::downlink::Command;
use tinyops_wire::frame::{Features, Flags, Frame, Hello, Trust};
use tinyops_wire::summary::{Format, SummaryFrame};

use crate::fixture::{BOARD, Bench, Recipe, Report, blank_flash, config, key, model_of};

#[test]
fn a_boot_says_what_the_device_is() {
    let capsule = Recipe::numbered(3).capsule();
    let bench = Bench::new(config(), blank_flash(capsule.clone()));
    let Ok(Frame::Hello(hello)) = Frame::decode(&bench.reports[0].body) else {
        panic!("a hello");
    };
    let expected = Hello {
        boot_count: 1,
        sequence: 3,
        arena_bytes: 64,
        slot_bytes: 4096 + 512 - 192,
        board: BOARD,
        trust: Some(Trust {
            key_set: 1,
            features: Features::STATEMENTS
                .with(Features::DELTAS)
                .with(Features::HOLDS)
                .with(Features::SHADOWS)
                .with(Features::RESTANDARDIZES),
        }),
    };
    assert_eq!(hello, expected);
    assert_eq!(bench.reports[0].model, model_of(&capsule));
}

#[test]
fn a_report_follows_every_so_many_windows() {
    let mut bench = reporting(Reporting {
        every_windows: 8,
        every_ms: 0,
        format: Format::M6H8,
    });
    for index in 0..20_u8 {
        let x = f32::from(index % 8) / 8.0;
        bench.window([x, 1.0 - x, 0.0, 0.0]);
    }
    let summaries = summaries(&bench);
    assert_eq!(summaries.len(), 2);
    let (report, summary) = &summaries[0];
    assert_eq!(report.body.len(), Format::M6H8.frame_len(3, 3));
    assert!((summary.count - 8.0).abs() < 1.0, "{}", summary.count);
    assert!(summary.channels()[0].mean.abs() < 0.1, "{summary:?}");
    assert!(summary.class_shares()[2] < 0.05, "{summary:?}");
}

#[test]
fn a_report_says_what_its_windows_cost_if_the_driver_measures_it() {
    let mut bench = reporting(Reporting {
        every_windows: 4,
        every_ms: 0,
        format: Format::M8,
    });
    let costs = |bench: &Bench| -> Vec<Option<Cost>> {
        let told = bench.reports.iter().filter_map(|report| {
            let Ok(Frame::Summary(frame)) = Frame::decode(&report.body) else {
                return None;
            };
            Some(frame.cost((key().dither_seed(), report.sequence)))
        });
        told.collect()
    };
    let window = |bench: &mut Bench, measured: Option<Measured>| {
        // As a driver does it: what a window cost is told before anything else is asked for.
        let Action::Predict(_) = bench.agent.step(0, Event::Window(&[1.0, 0.0, 0.0, 0.0])) else {
            panic!("a prediction");
        };
        bench.run(measured.map_or(Event::Tick, Event::Measured));
    };
    for _ in 0..4 {
        window(&mut bench, None);
    }
    let measured = |micros, ram_bytes| Measured {
        micros,
        ram_bytes,
        ram_total_bytes: 4096,
    };
    for (micros, ram_bytes) in [(1000, 1000), (1200, 2048), (3000, 1500), (800, 0)] {
        window(&mut bench, Some(measured(micros, ram_bytes)));
    }
    // The next period begins anew, but for memory.
    for _ in 0..4 {
        window(&mut bench, Some(measured(900, 100)));
    }
    let costs = costs(&bench);
    assert_eq!(costs.len(), 3);
    assert_eq!(costs[0], None, "nothing was measured");
    for (cost, mean_us, max_us) in [(costs[1], 1500.0, 3000.0), (costs[2], 900.0, 900.0)] {
        let cost = cost.expect("it was measured");
        assert!((cost.mean_us / mean_us - 1.0).abs() < 0.07, "{cost:?}");
        assert!((cost.max_us / max_us - 1.0).abs() < 0.07, "{cost:?}");
        let share = cost.ram_share.expect("it was measured");
        assert!((share / 0.5 - 1.0).abs() < 0.025, "{cost:?}");
    }
}

#[test]
fn a_report_goes_out_by_time_though_nothing_happened() {
    let mut bench = reporting(Reporting {
        every_windows: 0,
        every_ms: 60_000,
        format: Format::M8,
    });
    for now_ms in (0..=600_000).step_by(10_000) {
        bench.now_ms = now_ms;
        bench.run(Event::Tick);
    }
    let summaries = summaries(&bench);
    assert_eq!(summaries.len(), 10);
    assert_eq!(summaries[9].1.count, 0.0);
    let mut blank = config();
    blank.reporting = Reporting {
        every_windows: 0,
        every_ms: 60_000,
        format: Format::M8,
    };
    let mut blank = Bench::new(blank, blank_flash(Vec::new()));
    blank.now_ms = 60_000;
    blank.run(Event::Tick);
    assert_eq!(
        blank.reports[1].body,
        [0x11, 0, 0x7f],
        "a heartbeat of three bytes"
    );
}

#[test]
fn the_server_can_ask_for_a_report_and_set_its_pace() {
    let mut bench = reporting(Reporting {
        every_windows: 0,
        every_ms: 0,
        format: Format::M4,
    });
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert_eq!(summaries(&bench).len(), 0);
    bench.send(&Downlink::Command(Command::ReportNow));
    assert_eq!(summaries(&bench).len(), 1);
    bench.send(&Downlink::ReportEvery { windows: 2 });
    for _ in 0..4 {
        bench.window([1.0, 0.0, 0.0, 0.0]);
    }
    assert_eq!(summaries(&bench).len(), 3);
}

#[test]
fn an_output_that_moves_raises_one_alarm_before_the_report() {
    let mut bench = reporting(Reporting {
        every_windows: 300,
        every_ms: 0,
        format: Format::M6H8,
    });
    // Far from the training data, but the device's own normal.
    for index in 0..200_u8 {
        bench.window([1.5 + f32::from(index % 4) / 16.0, 0.0, 0.0, 0.0]);
    }
    assert_eq!(bench.reports.len(), 1, "a hello and no alarm");
    for _ in 0..100 {
        bench.window([0.8, 0.0, 0.0, 0.0]);
    }
    assert_eq!(bench.reports.len(), 3, "{:?}", bench.reports);
    let Ok(Frame::Alarm(alarm)) = Frame::decode(&bench.reports[1].body) else {
        panic!("an alarm");
    };
    assert_eq!(alarm.moved, Some((2, Direction::Down)));
    let Ok(Frame::Summary(summary)) = Frame::decode(&bench.reports[2].body) else {
        panic!("a summary");
    };
    assert!(summary.header.flags.has(Flags::MOVED));
}

#[test]
fn sequence_numbers_rise_across_boots_and_none_comes_twice() {
    let mut bench = reporting(Reporting {
        every_windows: 1,
        every_ms: 0,
        format: Format::M4,
    });
    for _ in 0..4 {
        for _ in 0..300 {
            bench.window([1.0, 0.0, 0.0, 0.0]);
        }
        bench.boot();
    }
    let sequences: Vec<u32> = bench.reports.iter().map(|report| report.sequence).collect();
    assert!(sequences.len() > 1200 && sequences.is_sorted_by(|a, b| a < b));
}

fn reporting(reporting: Reporting) -> Bench {
    let mut config = config();
    config.reporting = reporting;
    Bench::new(config, blank_flash(Recipe::default().capsule()))
}

fn summaries(bench: &Bench) -> Vec<(Report, Summary)> {
    let decode = |report: &Report| match Frame::decode(&report.body) {
        Ok(Frame::Summary(frame)) => Some((report.clone(), decode(&frame, report.sequence))),
        _ => None,
    };
    bench.reports.iter().filter_map(decode).collect()
}

fn decode(frame: &SummaryFrame<'_>, sequence: u32) -> Summary {
    frame
        .decode(3, 3, (key().dither_seed(), sequence))
        .expect("the shape of the baseline")
}
