//! Slices of answers that are written down here, so that every figure can be checked by hand.

use proptest::prelude::*;

use super::*;
use crate::evaluation::Scores;
use crate::{Asked, Costs, Predictions};

const LABELS: [&str; 3] = ["calm", "worn", "loose"];

/// One window: what it is, what is said of it, and the recording.
type Window = (u16, usize, usize);

/// Windows of recordings that are `(group, metadata "load")`.
fn predictions(windows: &[Window], recordings: &[(&str, &str)]) -> Predictions {
    let share = |said: usize| (0..3).map(move |class| if class == said { 0.8 } else { 0.1 });
    Predictions {
        labels: LABELS.map(String::from).to_vec(),
        threshold: 0.5,
        targets: windows
            .iter()
            .map(|window| Target::Class(window.0))
            .collect(),
        origins: windows
            .iter()
            .enumerate()
            .map(|(row, window)| Origin {
                recording: window.2 as u32,
                start: row as u32,
            })
            .collect(),
        recordings: recordings
            .iter()
            .enumerate()
            .map(|(number, (group, load))| Recording {
                name: format!("{number}.csv"),
                group: (*group).to_owned(),
                metadata: [("load".to_owned(), (*load).to_owned())].into(),
            })
            .collect(),
        scores: Scores {
            width: 3,
            values: windows.iter().flat_map(|window| share(window.1)).collect(),
        },
    }
}

fn costs() -> Costs {
    Costs {
        normal: vec!["calm".to_owned()],
        ..Costs::default()
    }
}

fn judged(of: &Predictions, metric: Metric, keys: &[&str], min: usize) -> crate::Evaluation {
    let slices: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let asked = Asked {
        metric,
        slices: &slices,
        slice_windows_min: min,
    };
    of.evaluate(&costs(), asked)
}

#[track_caller]
fn check_figures(evaluation: &crate::Evaluation, expected: &[(&str, &str, f32)]) {
    let found: Vec<(&str, &str, f32)> = evaluation
        .slices
        .iter()
        .map(|slice| {
            let figure = slice.metric.unwrap_or(f32::NAN);
            let rounded = (figure * 1e4).round() / 1e4;
            (slice.value.as_str(), slice.figure.as_str(), rounded)
        })
        .collect();
    assert_eq!(found, expected);
}

/// Of `a` all four right; of `b`, eight windows, both of `worn` are called `calm`.
fn two_groups() -> Predictions {
    let of_a = [(0, 0, 0), (0, 0, 0), (1, 1, 0), (2, 2, 0)];
    let of_b = [
        (0, 0, 1),
        (0, 0, 1),
        (0, 0, 1),
        (0, 0, 1),
        (1, 0, 1),
        (1, 0, 1),
        (2, 2, 1),
        (2, 2, 1),
    ];
    predictions(&[&of_a[..], &of_b].concat(), &[("a", "1"), ("b", "2")])
}

#[test]
fn a_slice_has_the_metric_of_the_project() {
    let both = two_groups();
    let by_accuracy = judged(&both, Metric::Accuracy, &["group"], 1);
    check_figures(
        &by_accuracy,
        &[("a", "accuracy", 1.0), ("b", "accuracy", 0.75)],
    );
    let by_f1 = judged(&both, Metric::MacroF1, &["group"], 1);
    // Of `b`: calm 8/10, worn 0, loose 1.
    check_figures(&by_f1, &[("a", "macro_f1", 1.0), ("b", "macro_f1", 0.6)]);
    // Of all: calm 12/14, worn 2/4, loose 1.
    let whole = (12.0 / 14.0 + 0.5 + 1.0) / 3.0;
    for slice in &by_f1.slices {
        assert!((slice.whole.unwrap() - whole).abs() < 1e-6, "{slice:?}");
    }
    assert!((by_f1.macro_f1.unwrap() - whole).abs() < 1e-6);
    // The alarm score of the two missed ones is as low as that of the calm ones.
    let by_area = judged(&both, Metric::Auc, &["group"], 1);
    check_figures(&by_area, &[("a", "auc", 1.0), ("b", "auc", 0.75)]);
}

#[test]
fn a_group_of_one_class_is_judged_by_that_class() {
    let one = predictions(&[(0, 0, 0), (0, 0, 0), (0, 1, 0), (0, 0, 0)], &[("a", "1")]);
    let by_f1 = judged(&one, Metric::MacroF1, &["group"], 1);
    check_figures(&by_f1, &[("a", "macro_f1", 0.8571)]);
}

#[test]
fn a_class_is_judged_by_what_is_found_of_it() {
    for metric in [Metric::Accuracy, Metric::MacroF1] {
        let by_class = judged(&two_groups(), metric, &["class"], 1);
        let found = [
            ("loose", "recall", 1.0),
            ("worn", "recall", 0.3333),
            ("calm", "recall", 1.0),
        ];
        check_figures(&by_class, &found);
        assert!((by_class.slices[0].whole.unwrap() - 7.0 / 9.0).abs() < 1e-6);
        assert_eq!(by_class.fairness, []);
        let combined = judged(&two_groups(), metric, &["group*class"], 1);
        let worn = combined.slices.iter().find(|slice| slice.value == "b*worn");
        let worn = worn.unwrap();
        assert_eq!((worn.figure.as_str(), worn.metric), ("recall", Some(0.0)));
    }
    // By area a fault stands against all that is calm, and what is calm against nothing.
    let by_area = judged(&two_groups(), Metric::Auc, &["class"], 1);
    assert_eq!(by_area.slices[0].metric, Some(1.0));
    assert_eq!(by_area.slices[1].metric, Some((0.5 * 2.0 + 1.0) / 3.0));
    assert_eq!(
        (by_area.slices[2].metric, by_area.slices[2].windows),
        (None, 6)
    );
}

#[test]
fn a_recording_that_nobody_put_into_a_group_is_no_slice_of_its_own() {
    let windows = [(0, 0, 0), (0, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4)];
    let groups = ["0.csv", "1.csv", "hall", "hall", "4.csv"].map(|group| (group, "1"));
    let mut of = predictions(&windows, &groups);
    of.recordings[1].name = "1.csv#left@test".to_owned();
    of.recordings[4].name = "field/4.csv".to_owned();
    let by_group = judged(&of, Metric::Accuracy, &["group"], 1);
    let mut slices: Vec<(&str, usize)> = by_group
        .slices
        .iter()
        .map(|slice| (slice.value.as_str(), slice.windows))
        .collect();
    slices.sort_unstable();
    assert_eq!(slices, [("hall", 2), (UNKNOWN, 3)]);
}

#[test]
fn keys_combine_and_numbers_are_cut_at_quartiles() {
    let combined = judged(
        &two_groups(),
        Metric::Accuracy,
        &["group*load", "machine"],
        1,
    );
    let values: Vec<&str> = combined
        .slices
        .iter()
        .map(|slice| slice.value.as_str())
        .collect();
    assert_eq!(values, ["a*1", "b*2", UNKNOWN]);
    let loads: Vec<String> = (0..12).map(|load| format!("{}", load * 10)).collect();
    let recordings: Vec<(&str, &str)> = loads.iter().map(|load| ("a", load.as_str())).collect();
    let windows: Vec<Window> = (0..12).map(|at| (0, 0, at)).collect();
    let many = predictions(&windows, &recordings);
    let by_load = judged(&many, Metric::Accuracy, &["load"], 1);
    let mut parts: Vec<(&str, usize)> = by_load
        .slices
        .iter()
        .map(|slice| (slice.value.as_str(), slice.windows))
        .collect();
    parts.sort_unstable();
    assert_eq!(
        parts,
        [
            ("20 to 50", 3),
            ("50 to 80", 3),
            ("above 80", 3),
            ("to 20", 3)
        ]
    );
}

/// `right` of `count` windows of a class are found, each a recording of its own, in a group.
fn rated(
    group: &'static str,
    class: u16,
    right: usize,
    count: usize,
) -> Vec<(Window, &'static str)> {
    let said = |at: usize| if at < right { usize::from(class) } else { 2 };
    (0..count).map(|at| ((class, said(at), 0), group)).collect()
}

fn of_rates(rates: &[Vec<(Window, &'static str)>]) -> Predictions {
    let all: Vec<_> = rates.iter().flatten().copied().collect();
    let windows: Vec<Window> = all
        .iter()
        .enumerate()
        .map(|(at, (window, _))| (window.0, window.1, at))
        .collect();
    let recordings: Vec<(&str, &str)> = all.iter().map(|(_, group)| (*group, "1")).collect();
    predictions(&windows, &recordings)
}

/// The difference of 56/70 and 48/80 is Newcombe's first example: 0.2, from 0.0524 to 0.3339.
#[test]
fn groups_that_lie_apart_are_named_with_their_gap() {
    let of = of_rates(&[
        rated("a", 1, 56, 70),
        rated("b", 1, 48, 80),
        rated("c", 1, 1, 3),
    ]);
    let evaluation = judged(&of, Metric::Accuracy, &["group"], 20);
    let [fairness] = &evaluation.fairness[..] else {
        panic!("one key, not {:?}", evaluation.fairness)
    };
    let check = |gap: &Gap, of: &str| {
        assert_eq!(
            (gap.of.as_str(), gap.best.as_str(), gap.worst.as_str()),
            (of, "a", "b")
        );
        let interval = gap.interval.unwrap();
        assert!((gap.gap - 0.2).abs() < 1e-6, "{gap:?}");
        assert!((interval.low - 0.0524).abs() < 1e-3, "{gap:?}");
        assert!((interval.high - 0.3339).abs() < 1e-3, "{gap:?}");
    };
    // The third group has too few windows to be the worst.
    check(fairness.metric.as_ref().unwrap(), "accuracy");
    check(&fairness.recalls[0], "worn");
    assert_eq!((fairness.recalls.len(), &fairness.false_alarms), (1, &None));
}

#[test]
fn false_alarms_of_groups_are_told_as_rates() {
    let of = of_rates(&[rated("a", 0, 30, 40), rated("b", 0, 38, 40)]);
    let evaluation = judged(&of, Metric::Accuracy, &["group"], 20);
    let gap = evaluation.fairness[0].false_alarms.as_ref().unwrap();
    assert_eq!((gap.best.as_str(), gap.worst.as_str()), ("b", "a"));
    assert!((gap.figures[0] - 0.05).abs() < 1e-6 && (gap.figures[1] - 0.25).abs() < 1e-6);
    assert!((gap.gap - 0.2).abs() < 1e-6, "{gap:?}");
}

#[test]
fn windows_of_one_recording_count_for_fewer() {
    let half = |recording_of: fn(usize) -> usize, right: fn(usize) -> bool| {
        let said = |at: usize| if right(at) { 1 } else { 2 };
        let windows: Vec<Window> = (0..200).map(|at| (1, said(at), recording_of(at))).collect();
        let of = predictions(&windows, &[("", "1"); 200]);
        judged(&of, Metric::Accuracy, &[], 1).interval.unwrap()
    };
    let width = |interval: Interval| interval.high - interval.low;
    let apart = half(|at| at, |at| at % 2 == 0);
    assert!((width(apart) - 0.137).abs() < 2e-3, "{apart:?}");
    // Ten recordings, each all right or all wrong, say no more than ten windows do.
    let alike = half(|at| at / 20, |at| at / 20 % 2 == 0);
    let ten = Interval::wilson(0.5, 10.0);
    assert!(
        (width(alike) - width(ten)).abs() < 1e-3,
        "{alike:?} {ten:?}"
    );
    // Ten recordings that are each half right say as much as 200 windows.
    let mixed = half(|at| at / 20, |at| at % 2 == 0);
    assert!((width(mixed) - width(apart)).abs() < 1e-3, "{mixed:?}");
}

#[test]
fn a_version_beside_another_is_judged_on_what_both_were_tested_on() {
    let before = of_rates(&[rated("a", 1, 60, 60), rated("b", 1, 55, 60)]);
    let mut now = of_rates(&[rated("a", 1, 40, 60), rated("b", 1, 55, 60)]);
    // What is a test of one alone does not count.
    now.origins[0].start = 7_777;
    let slices = ["group".to_owned()];
    let asked = Asked {
        slices: &slices,
        slice_windows_min: 20,
        ..Asked::default()
    };
    let changes = now.against(&before, &costs(), asked);
    let [a, b] = &changes[..] else {
        panic!("two groups, not {changes:?}")
    };
    assert_eq!((a.value.as_str(), a.windows), ("a", 59));
    assert!((a.loss - 20.0 / 59.0).abs() < 1e-6, "{a:?}");
    assert!(a.interval.unwrap().low > 0.15, "{a:?}");
    assert_eq!((b.windows, b.loss), (60, 0.0));
    assert_eq!(
        b.interval,
        Some(Interval {
            low: 0.0,
            high: 0.0
        })
    );
    // Another truth is another window.
    now.targets.fill(Target::Class(0));
    assert_eq!(now.against(&before, &costs(), asked), []);
}

#[test]
fn predictions_cut_short_are_refused() {
    let bytes = two_groups().encode();
    assert_eq!(Predictions::decode(&bytes).unwrap(), two_groups());
    for end in 0..bytes.len() {
        Predictions::decode(&bytes[..end]).unwrap_err();
    }
}

proptest! {
    #[test]
    fn an_interval_holds_its_figure(
        windows in prop::collection::vec((0u16..3, 0usize..3, 0usize..12), 1..200),
        metric in prop::sample::select(vec![Metric::Accuracy, Metric::MacroF1, Metric::Auc]),
    ) {
        let of = predictions(&windows, &[("a", "1"), ("b", "1"), ("c", "2"), ("d", "2"), ("e", "3"), ("f", "3"),
            ("a", "1"), ("b", "1"), ("c", "2"), ("d", "2"), ("e", "3"), ("f", "3")]);
        let evaluation = judged(&of, metric, &["group", "group*load"], 1);
        for gap in evaluation.fairness.iter().filter_map(|of| of.metric.as_ref()) {
            prop_assert!(gap.gap >= 0.0, "{:?}", gap);
        }
        for slice in &evaluation.slices {
            prop_assert!(slice.windows > 0 && slice.recordings > 0);
            if let (Some(figure), Some(interval)) = (slice.metric, slice.interval) {
                prop_assert!(interval.low <= interval.high, "{:?}", slice);
                prop_assert!((0.0..=1.0).contains(&figure), "{:?}", slice);
                if metric == Metric::Accuracy {
                    prop_assert!(interval.holds(figure.into()), "{:?}", slice);
                }
            }
        }
        // A slice that is everything is the whole.
        let everything = judged(&of, metric, &["machine"], 1);
        prop_assert_eq!(everything.slices[0].metric, everything.slices[0].whole);
    }
}
