//! Labels that come late, and the sums that they leave behind.

use tinyops_device::{Action, Event};
use tinyops_nn::statistics::{ClassStatistics, cell_count};
use tinyops_wire::Downlink;
use tinyops_wire::downlink::{Command, Label, StatisticsRequest};
use tinyops_wire::frame::Frame;
use tinyops_wire::statistics::value_count;

use crate::fixture::{Bench, CLASSES, Recipe, WINDOW, blank_flash, config, downlink};

#[test]
fn a_label_judges_the_newest_windows_once() {
    let mut bench = bench();
    for window in [
        [2.0, 0.0, 0.0, 0.0],
        [0.0, 2.0, 0.0, 0.0],
        [0.0, 2.0, 0.0, 0.0],
    ] {
        bench.window(window);
    }
    bench.run(Event::Label(Label {
        class: 1,
        windows_back: 2,
    }));
    bench.run(Event::Label(Label {
        class: 1,
        windows_back: 2,
    }));
    bench.run(Event::Label(Label {
        class: 1,
        windows_back: 2,
    }));
    bench.run(Event::Label(Label {
        class: 9,
        windows_back: 2,
    }));
    assert_eq!(outcomes(&bench), [(1, vec![0, 2, 0]), (1, vec![1, 0, 0])]);
}

#[test]
fn statistics_are_the_exact_sums_of_the_labelled_embeddings() {
    let mut bench = bench();
    let mut expected = vec![0_i64; cell_count(CLASSES, WINDOW)];
    let mut sums = ClassStatistics::new(CLASSES, WINDOW, &mut expected[..]).expect("cells");
    for index in 0..20_u8 {
        let window = [f32::from(index) / 8.0, f32::from(index % 3), 0.5, 0.0];
        bench.window(window);
        let embedding = window.map(|x| (x * 16.0).round() as i8 as u8);
        sums.add(usize::from(index % 3), &embedding, 0)
            .expect("a class");
        bench.run(Event::Label(Label {
            class: index % 3,
            windows_back: 1,
        }));
    }
    let request = StatisticsRequest {
        round: 6,
        frame_bytes: 40,
        forget: true,
    };
    bench.send(&Downlink::StatisticsRequest(request));
    assert_eq!(statistics(&bench), (20, expected));
    bench.reports.clear();
    bench.send(&Downlink::StatisticsRequest(request));
    assert_eq!(statistics(&bench).0, 0, "told and forgotten");
}

#[test]
fn fewer_than_eight_labelled_windows_are_not_told() {
    let mut bench = bench();
    for labelled in 1..9 {
        bench.window([1.0, 0.0, 0.0, 0.0]);
        bench.run(Event::Label(Label {
            class: 0,
            windows_back: 1,
        }));
        bench.reports.clear();
        let request = StatisticsRequest {
            round: labelled,
            frame_bytes: 100,
            forget: false,
        };
        bench.send(&Downlink::StatisticsRequest(request));
        let (window_count, sums) = statistics(&bench);
        assert_eq!(window_count, labelled);
        assert_eq!(
            sums.iter().any(|&sum| sum != 0),
            labelled >= 8,
            "{labelled} windows"
        );
    }
}

#[test]
fn a_device_forgets_on_command() {
    let mut bench = bench();
    for _ in 0..10 {
        bench.window([1.0, 0.0, 0.0, 0.0]);
    }
    bench.run(Event::Label(Label {
        class: 0,
        windows_back: 5,
    }));
    bench.send(&Downlink::Command(Command::Forget));
    bench.run(Event::Label(Label {
        class: 0,
        windows_back: 5,
    }));
    assert_eq!(outcomes(&bench).len(), 1, "the ring is empty too");
    let request = StatisticsRequest {
        round: 1,
        frame_bytes: 100,
        forget: false,
    };
    bench.send(&Downlink::StatisticsRequest(request));
    assert_eq!(statistics(&bench).0, 0);
}

#[test]
fn what_is_forgotten_in_the_middle_of_an_answer_ends_it() {
    let mut bench = bench();
    for _ in 0..12 {
        bench.window([1.0, 0.5, 0.25, 0.75]);
    }
    let label = |class, windows_back| {
        Event::Label(Label {
            class,
            windows_back,
        })
    };
    bench.run(label(0, 10));
    let request = StatisticsRequest {
        round: 1,
        frame_bytes: 24,
        forget: false,
    };
    bench.downlink_sequence += 1;
    let asked = downlink(
        &Downlink::StatisticsRequest(request),
        bench.downlink_sequence,
    );
    let first = bench.agent.step(0, Event::Downlink(&asked));
    assert!(matches!(first, Action::Send(_)), "{first:?}");
    // A label comes meanwhile, and waits; the answer has more parts than these two.
    let second = bench.agent.step(0, label(1, 2));
    assert!(matches!(second, Action::Send(_)), "{second:?}");
    let mut other = bench.agent.clone();
    let third = other.step(0, Event::Tick);
    assert!(matches!(third, Action::Send(_)), "{third:?}");
    bench.reports.clear();
    bench.send(&Downlink::Command(Command::Forget));
    assert_eq!(bench.reports, [], "no part of sums that are gone");
    for _ in 0..4 {
        bench.window([1.0, 0.5, 0.25, 0.75]);
    }
    assert_eq!(outcomes(&bench), [], "those windows are not what it was of");
    // What comes now has nothing to wait for.
    bench.run(label(2, 3));
    assert_eq!(outcomes(&bench), [(2, vec![3, 0, 0])]);
}

#[test]
fn a_label_that_comes_while_sums_are_told_is_judged_behind_them() {
    let mut bench = bench();
    for _ in 0..12 {
        bench.window([1.0, 0.5, 0.25, 0.75]);
    }
    let label = |windows_back| {
        Event::Label(Label {
            class: 0,
            windows_back,
        })
    };
    bench.run(label(10));
    bench.downlink_sequence += 1;
    let request = Downlink::StatisticsRequest(StatisticsRequest {
        round: 1,
        frame_bytes: 24,
        forget: false,
    });
    let asked = downlink(&request, bench.downlink_sequence);
    bench.agent.step(0, Event::Downlink(&asked));
    bench.run(label(2));
    assert_eq!(statistics(&bench).0, 10, "the parts are of one state");
    assert_eq!(
        outcomes(&bench),
        [(0, vec![10, 0, 0]), (0, vec![2, 0, 0])],
        "and the label has not been lost"
    );
    bench.reports.clear();
    bench.send(&request);
    assert_eq!(statistics(&bench).0, 12);
}

fn bench() -> Bench {
    Bench::new(config(), blank_flash(Recipe::default().capsule()))
}

fn outcomes(bench: &Bench) -> Vec<(u8, Vec<u16>)> {
    let outcomes = bench
        .reports
        .iter()
        .filter_map(|report| match Frame::decode(&report.body) {
            Ok(Frame::Outcome(outcome)) => Some((outcome.class, outcome.counts().collect())),
            _ => None,
        });
    outcomes.collect()
}

/// Windows and sums of the parts received.
fn statistics(bench: &Bench) -> (u16, Vec<i64>) {
    let mut sums = vec![0; value_count(CLASSES, WINDOW)];
    let mut windows = 0;
    for report in &bench.reports {
        if let Ok(Frame::Statistics(part)) = Frame::decode(&report.body) {
            windows = part.shape.window_count;
            part.values()
                .for_each(|(index, value)| sums[index] += value);
        }
    }
    (windows, sums)
}
