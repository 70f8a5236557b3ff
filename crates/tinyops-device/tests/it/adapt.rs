//! Features moved back to training on command.

use tinyops_device::{Action, Event, Reporting};
use tinyops_wire::Downlink;
use tinyops_wire::downlink::{Command, Label, Restandardize, StatisticsRequest};
use tinyops_wire::frame::{Features, Flags, Frame};
use tinyops_wire::summary::Format;

use crate::fixture::{Bench, Buffers, Recipe, blank_flash, config, downlink, model_of};

/// Readings of the second feature lie so much too high here.
const OFFSET: f32 = 1.2;
const LEARNT: u16 = 8;

fn bench(memory: Buffers) -> Bench {
    let mut config = config();
    config.reporting = Reporting {
        every_windows: 4,
        every_ms: 0,
        format: Format::M6H8,
    };
    Bench::with_memory(config, blank_flash(Recipe::numbered(3).capsule()), memory)
}

fn ask(bench: &mut Bench, sixteenths: u8) {
    bench.send(&order(sixteenths));
}

fn order(sixteenths: u8) -> Downlink<'static> {
    Downlink::Restandardize(Restandardize {
        sixteenths,
        windows: LEARNT,
    })
}

/// Windows of the first and the second class in turn, as this device sees them; answers what the model says of them.
fn windows(bench: &mut Bench, count: usize) -> Vec<u8> {
    let before = bench.predictions.len();
    for index in 0..count {
        let first = f32::from(u8::from(index % 2 == 0));
        bench.window([first, 1.0 - first + OFFSET, 0.0, 0.0]);
    }
    let said = bench.answers();
    let classes = said[before..].iter().map(|answer| answer.class());
    classes.map(|class| class.expect("a class")).collect()
}

fn flags(bench: &Bench) -> Vec<bool> {
    let told = bench
        .reports
        .iter()
        .filter_map(|report| match Frame::decode(&report.body) {
            Ok(Frame::Summary(frame)) => Some(frame.header.flags.has(Flags::RESTANDARDIZED)),
            _ => None,
        });
    told.collect()
}

#[test]
fn what_was_moved_comes_back() {
    let mut bench = bench(Buffers::default());
    assert_eq!(
        windows(&mut bench, 4),
        [1; 4],
        "the offset hides the first class"
    );
    ask(&mut bench, 16);
    let mut said = windows(&mut bench, 6);
    // Told again, it does not begin again.
    ask(&mut bench, 16);
    said.extend(windows(&mut bench, 6));
    assert_eq!(said[..7], [1; 7], "nothing is moved while it learns");
    assert_eq!(said[8..], [0, 1, 0, 1]);
    // The report that was due when it began has been forgotten; the next one says so.
    assert_eq!(flags(&bench), [false, false, true]);
    // A sixteenth of the way is not enough here.
    ask(&mut bench, 1);
    assert_eq!(windows(&mut bench, 12)[8..], [1; 4]);
    ask(&mut bench, 0);
    assert_eq!(windows(&mut bench, 4), [1; 4]);
    assert_eq!(flags(&bench).last(), Some(&false));
    assert_eq!(bench.agent.counters().refused, 0);
}

#[test]
fn it_holds_over_a_reset_and_ends_with_another_scaler() {
    let mut bench = bench(Buffers::default());
    ask(&mut bench, 16);
    windows(&mut bench, 8);
    bench.boot();
    // What was learnt is gone, the order is not: it learns anew.
    let said = windows(&mut bench, 12);
    assert_eq!((&said[..7], &said[8..]), (&[1; 7][..], &[0, 1, 0, 1][..]));
    // A new head on the same scaler leaves it in force.
    bench.install(&Recipe::numbered(4).capsule());
    assert_eq!(windows(&mut bench, 12)[8..], [0, 1, 0, 1]);
    ask(&mut bench, 0);
    bench.boot();
    assert_eq!(windows(&mut bench, 12), [1; 12], "taken back for good");
}

#[test]
fn an_order_is_written_once_and_never_goes_back() {
    let mut bench = bench(Buffers::default());
    ask(&mut bench, 16);
    let asked = downlink(&order(16), bench.downlink_sequence);
    let written = bench.agent.flash_mut().operations();
    // The server owes it as long as an alert stands, and cannot know that it has been heard.
    for _ in 0..20 {
        ask(&mut bench, 16);
    }
    assert_eq!(bench.agent.flash_mut().operations(), written);
    ask(&mut bench, 0);
    assert!(bench.agent.flash_mut().operations() > written);
    bench.boot();
    bench.run(Event::Downlink(&asked));
    assert_eq!(bench.agent.counters().replayed, 1, "an old order");
    assert_eq!(windows(&mut bench, 12), [1; 12], "and nothing is moved");
}

#[test]
fn an_order_for_another_scaler_can_be_taken_back() {
    let mut bench = bench(Buffers::default());
    ask(&mut bench, 16);
    bench.install(
        &Recipe {
            fourth_mean: 1.0,
            ..Recipe::numbered(4)
        }
        .capsule(),
    );
    assert_eq!(windows(&mut bench, 12), [1; 12], "it was for another");
    ask(&mut bench, 0);
    bench.send(&Downlink::Command(Command::Revert));
    assert_eq!(
        bench.agent.model(),
        Some(model_of(&Recipe::numbered(3).capsule()))
    );
    assert_eq!(windows(&mut bench, 12), [1; 12], "taken back for good");
}

#[test]
fn sums_of_other_features_are_forgotten() {
    let mut bench = bench(Buffers::default());
    windows(&mut bench, 16);
    let label = Downlink::Label(Label {
        class: 1,
        windows_back: 16,
    });
    bench.send(&label);
    ask(&mut bench, 16);
    windows(&mut bench, 8);
    bench.send(&Downlink::StatisticsRequest(StatisticsRequest {
        round: 1,
        frame_bytes: 100,
        forget: false,
    }));
    assert_eq!(bench.windows_told(), Some(0));
}

#[test]
fn an_answer_ends_when_the_first_window_is_moved() {
    let mut bench = bench(Buffers::default());
    windows(&mut bench, 16);
    bench.run(Event::Label(Label {
        class: 1,
        windows_back: 16,
    }));
    ask(&mut bench, 16);
    windows(&mut bench, 7);
    let request = Downlink::StatisticsRequest(StatisticsRequest {
        round: 1,
        frame_bytes: 24,
        forget: false,
    });
    let asked = downlink(&request, bench.downlink_sequence + 1);
    let first = bench.agent.step(0, Event::Downlink(&asked));
    assert!(matches!(first, Action::Send(_)), "{first:?}");
    let mut other = bench.agent.clone();
    let second = other.step(0, Event::Tick);
    assert!(matches!(second, Action::Send(_)), "{second:?}");
    let told = bench.reports.len();
    windows(&mut bench, 1);
    assert_eq!(bench.reports.len(), told, "no part of sums that are gone");
}

#[test]
fn a_device_without_room_says_so_and_refuses() {
    let mut bench = bench(Buffers {
        moments: Vec::new(),
        ..Buffers::default()
    });
    let Ok(Frame::Hello(hello)) = Frame::decode(&bench.reports[0].body) else {
        panic!("a hello");
    };
    assert!(
        !hello
            .trust
            .expect("features")
            .features
            .has(Features::RESTANDARDIZES)
    );
    ask(&mut bench, 8);
    assert_eq!(bench.agent.counters().refused, 1);
    bench.send(&Downlink::Restandardize(Restandardize {
        sixteenths: 8,
        windows: 0,
    }));
    assert_eq!(bench.agent.counters().refused, 2, "nothing to learn from");
    assert_eq!(windows(&mut bench, 12), [1; 12]);
    let asked = downlink(&order(8), bench.downlink_sequence);
    bench.boot();
    bench.run(Event::Downlink(&asked));
    assert_eq!(bench.agent.counters().replayed, 1, "refused for good");
}
