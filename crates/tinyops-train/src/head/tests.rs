//! Heads against Gaussians whose best answer is known.

use super::*;
use crate::rng::Rng;

/// Two classes in two values, the second far noisier than the first, which alone tells them apart.
fn sums(shift: f64, count: usize) -> Statistics {
    let mut rng = Rng::new(5, count as u64);
    let mut statistics = Statistics::new(2, 2, vec![0; cell_count(2, 2)]).unwrap();
    for index in 0..count {
        let class = index % 2;
        let place = [
            20.0 * class as f32 + shift as f32 + 3.0 * rng.normal(),
            60.0 + 30.0 * rng.normal(),
        ];
        let bytes = place.map(|x| x.round().clamp(-128.0, 127.0) as i8 as u8);
        statistics.add(class, &bytes, 0).unwrap();
    }
    statistics
}

#[test]
fn every_solver_separates_what_can_be() {
    let sums = Sums::of(&sums(0.0, 2000));
    for head in [sums.lda(), sums.ridge()] {
        let accuracy = sums.expected_accuracy(&head.unwrap());
        assert!(accuracy > 0.99, "{accuracy}");
    }
    let means = sums.expected_accuracy(&sums.class_means().unwrap());
    assert!(means > 0.95, "{means}");
}

#[test]
fn tempered_margins_are_log_odds() {
    let sums = Sums::of(&sums(0.0, 2000));
    let mut head = sums.ridge().unwrap();
    sums.temper(&mut head);
    sums.margins(&head, |_, _, margin, variance| {
        assert!(
            (2.0 * margin / variance - 1.0).abs() < 0.1,
            "{margin} {variance}"
        );
    });
    let [low, high] = sums.logit_range(&head);
    assert!(low < 0.0 && high > 0.0 && low.is_finite() && high.is_finite());
}

#[test]
fn a_class_that_was_never_seen_has_no_head() {
    let mut lone = Statistics::new(2, 2, vec![0; cell_count(2, 2)]).unwrap();
    lone.add(0, &[1, 2], 0).unwrap();
    assert!(Sums::of(&lone).lda().is_none());
    assert!(
        Sums::of(&lone)
            .mixed(&Sums::of(&sums(0.0, 100)), 1.0)
            .lda()
            .is_some()
    );
}

#[test]
fn statistics_survive_their_bytes() {
    let statistics = sums(4.0, 50);
    assert_eq!(decode(&encode(&statistics)).unwrap(), statistics);
    let mut bytes = encode(&statistics);
    bytes.pop();
    assert!(decode(&bytes).is_err());
    assert!(decode(b"TOSTATS1").is_err());
}
