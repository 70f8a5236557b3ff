//! Costs of answers that are written down here, so that every figure can be checked by hand.

use proptest::prelude::*;

use super::*;
use crate::evaluation::Scores;
use crate::spec::Price;
use crate::{Origin, Recording};

const LABELS: [&str; 3] = ["calm", "worn", "loose"];

/// Windows with their class and shares, each of a recording of its own.
fn predictions(windows: &[(u16, [f32; 3])]) -> Predictions {
    Predictions {
        labels: LABELS.map(String::from).to_vec(),
        threshold: 0.5,
        targets: windows
            .iter()
            .map(|window| Target::Class(window.0))
            .collect(),
        origins: (0..windows.len() as u32)
            .map(|recording| Origin {
                recording,
                start: 0,
            })
            .collect(),
        recordings: (0..windows.len())
            .map(|number| Recording {
                name: format!("{number}.csv"),
                ..Recording::default()
            })
            .collect(),
        scores: Scores {
            width: 3,
            values: windows.iter().flat_map(|window| window.1).collect(),
        },
    }
}

fn costs(normal: &[&str], prices: &[(&str, &str, f32)]) -> Costs {
    Costs {
        normal: normal.iter().map(|label| (*label).to_owned()).collect(),
        false_alarm: 2.0,
        miss: 10.0,
        fault_share: 0.25,
        cost: prices
            .iter()
            .map(|&(is, said, cost)| Price {
                is: is.to_owned(),
                said: said.to_owned(),
                cost,
            })
            .collect(),
        ..Costs::default()
    }
}

#[test]
fn prices_by_kind_and_by_name() {
    let by_kind = costs(&["calm", "off"], &[]);
    let of = |costs: &Costs, is, said| costs.price(is, said);
    for (is, said, expected) in [
        ("calm", "calm", 0.0),
        ("calm", "off", 0.0),
        ("calm", "worn", 2.0),
        ("worn", "calm", 10.0),
        ("worn", "loose", 10.0),
        ("worn", ALARM, 0.0),
        ("worn", NO_ALARM, 10.0),
        ("calm", ALARM, 2.0),
        ("calm", NO_ALARM, 0.0),
    ] {
        assert_eq!(of(&by_kind, is, said), expected, "{is} {said}");
    }
    let by_name = costs(&["calm"], &[("worn", "loose", 3.0), ("worn", "worn", 1.0)]);
    assert_eq!(of(&by_name, "worn", "loose"), 3.0);
    assert_eq!(of(&by_name, "worn", "worn"), 1.0);
    assert_eq!(of(&by_name, "loose", "worn"), 10.0);
    // Where nothing is normal, every wrong answer is a miss.
    let nothing_normal = costs(&[], &[]);
    assert_eq!(of(&nothing_normal, "calm", "worn"), 10.0);
}

#[test]
fn windows_count_as_often_as_faults_are_to_be_expected() {
    // One of two calm windows alarms, one of four worn ones is missed.
    let sure = |class: usize| std::array::from_fn(|at| if at == class { 0.9 } else { 0.05 });
    let of = predictions(&[
        (0, sure(0)),
        (0, sure(1)),
        (1, sure(1)),
        (1, sure(1)),
        (1, sure(1)),
        (1, sure(0)),
    ]);
    let costs = costs(&["calm"], &[]);
    let expected = of.expected_cost(&costs).unwrap();
    // 0.75 · 1/2 · 2 + 0.25 · 1/4 · 10
    assert!((expected.cost - 1.375).abs() < 1e-9, "{expected:?}");
    let curve = of.cost_curve(&costs).unwrap();
    assert_eq!(
        (curve.own.false_alarm_rate, curve.own.miss_rate),
        (0.5, 0.25)
    );
    assert!((curve.own.expected.cost - 1.375).abs() < 1e-9);
    // Never an alarm: 0.25 · 10; always: 0.75 · 2, which is the cheapest constant.
    let ends = [&curve.points[0], &curve.points[curve.points.len() - 1]];
    assert_eq!(ends.map(|point| point.false_alarm_rate), [1.0, 0.0]);
    assert!((ends[0].expected.cost - 1.5).abs() < 1e-9);
    assert!((ends[1].expected.cost - 2.5).abs() < 1e-9);
    let worth = of.worth_of_none(&costs).unwrap();
    assert_eq!(worth.answer, "worn");
    assert!((worth.worth.gain.cost - 0.125).abs() < 1e-9, "{worth:?}");
}

#[test]
fn shares_and_prices_together_choose_the_cheapest_answer() {
    // A quarter of a chance that it is worn, which would cost ten: to say so is cheaper, and right for one of two.
    let doubtful = [0.75, 0.25, 0.0];
    let of = predictions(&[(0, doubtful), (1, doubtful)]);
    let costs = costs(&[], &[("calm", "worn", 2.0)]);
    assert!((of.expected_cost(&costs).unwrap().cost - 5.0).abs() < 1e-9);
    assert!((of.cost_by_shares(&costs).unwrap().cost - 1.0).abs() < 1e-9);
    assert_eq!(of.cost_curve(&costs), None);
}

#[test]
fn shares_of_a_balanced_split_are_weighed_by_what_is_to_be_expected() {
    // Half of the split is worn, a hundredth of what devices see: 0.3 of a chance is not worth an alarm.
    let doubtful = [0.7, 0.3, 0.0];
    let of = predictions(&[(0, doubtful), (1, doubtful)]);
    let rare = Costs {
        fault_share: 0.01,
        ..costs(&["calm"], &[])
    };
    assert!((of.cost_by_shares(&rare).unwrap().cost - 0.1).abs() < 1e-6);
    let often = Costs {
        fault_share: 0.5,
        ..rare
    };
    assert!((of.cost_by_shares(&often).unwrap().cost - 1.0).abs() < 1e-6);
}

#[test]
fn a_score_without_classes_alarms_or_does_not() {
    let of = Predictions {
        scores: Scores {
            width: 1,
            values: vec![0.1, 0.7, 0.9, 0.4],
        },
        ..predictions(&[(0, [0.0; 3]), (0, [0.0; 3]), (1, [0.0; 3]), (2, [0.0; 3])])
    };
    let costs = costs(&["calm"], &[("loose", NO_ALARM, 100.0)]);
    // 0.75 · 1/2 · 2 + 0.25 · 1/2 · 100
    assert!((of.expected_cost(&costs).unwrap().cost - 13.25).abs() < 1e-9);
    assert_eq!(of.cost_by_shares(&costs), None);
    let curve = of.cost_curve(&costs).unwrap();
    assert!(
        curve.cheapest.threshold < 0.4 && curve.cheapest.threshold > 0.1,
        "{curve:?}"
    );
    assert_eq!(of.worth_of_none(&costs).unwrap().answer, ALARM);
}

fn windows() -> impl Strategy<Value = Vec<(u16, [f32; 3])>> {
    let share = prop::array::uniform3(0.01f32..1.0);
    let window = (0u16..3, share).prop_map(|(class, raw)| {
        let sum: f32 = raw.iter().sum();
        (class, raw.map(|share| share / sum))
    });
    prop::collection::vec(window, 2..60)
}

fn prices() -> impl Strategy<Value = Costs> {
    let price = (0usize..3, 0usize..3, 0.0f32..50.0);
    let kinds = prop::sample::select(vec![vec![], vec!["calm"], vec!["calm", "loose"]]);
    let named = prop::collection::vec(price, 0..4);
    (0.0f32..20.0, 0.0f32..20.0, 0.0f32..1.0, named, kinds).prop_map(
        |(false_alarm, miss, fault_share, named, kinds)| Costs {
            false_alarm,
            miss,
            fault_share,
            ..costs(
                &kinds,
                &named
                    .iter()
                    .map(|&(is, said, cost)| (LABELS[is], LABELS[said], cost))
                    .collect::<Vec<_>>(),
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn costs_are_never_negative_and_no_threshold_is_cheaper(windows in windows(), costs in prices()) {
        let of = predictions(&windows);
        let expected = of.expected_cost(&costs).unwrap();
        prop_assert!(expected.cost >= 0.0, "{:?}", expected);
        if let Some(curve) = of.cost_curve(&costs) {
            prop_assert!(curve.points.len() <= POINTS_MAX);
            prop_assert!(curve.points.windows(2).all(|pair| pair[0].threshold < pair[1].threshold));
            prop_assert_eq!(curve.points[0].miss_rate, 0.0);
            prop_assert_eq!(curve.points[curve.points.len() - 1].false_alarm_rate, 0.0);
            for point in &curve.points {
                prop_assert!(point.expected.cost >= 0.0);
                prop_assert!(curve.cheapest.expected.cost <= point.expected.cost + 1e-9);
            }
            // Of three classes a device gives the likeliest, which no threshold need be as good as.
            prop_assert!((curve.own.expected.cost - expected.cost).abs() < 1e-9);
        }
    }

    #[test]
    fn a_model_is_worth_nothing_against_itself(windows in windows(), costs in prices()) {
        let of = predictions(&windows);
        let worth = of.worth_of(&of, &costs).unwrap();
        prop_assert_eq!(worth.windows, windows.len());
        prop_assert_eq!(worth.gain.cost, 0.0);
        if let Some(interval) = worth.gain.interval {
            prop_assert_eq!((interval.low, interval.high), (0.0, 0.0));
        }
        prop_assert_eq!(worth.model, worth.other);
    }

    #[test]
    fn what_one_version_gains_the_other_loses(
        windows in windows(),
        seed in 0usize..1000,
        costs in prices(),
    ) {
        let now = predictions(&windows);
        let mut before = now.clone();
        before.scores.values.rotate_left(3 * (seed % windows.len()));
        let forth = now.worth_of(&before, &costs).unwrap();
        let back = before.worth_of(&now, &costs).unwrap();
        prop_assert!((forth.gain.cost + back.gain.cost).abs() < 1e-9);
        prop_assert!((forth.gain.cost - (forth.other.cost - forth.model.cost)).abs() < 1e-9);
    }
}
