//! A shift shows in the number that is made for it, and in no other.

use tinyops_sketch::{Drift, Observation, Sketch, Summary};

use crate::properties::baseline;

#[test]
fn training_data_has_not_drifted_from_itself() {
    let drift = drift_of(|x| x, |index| index % 3);
    assert!(drift.psi_max() < 0.01, "{drift:?}");
    assert!(drift.mean_max() < 1e-3 && drift.channels()[0].ln_sd.abs() < 1e-3);
}

#[test]
fn a_shifted_mean_shows_as_its_size() {
    let drift = drift_of(|x| x + 4.61, |index| index % 3);
    assert!((drift.channels()[0].mean - 1.0).abs() < 0.01, "{drift:?}");
    assert!(drift.channels()[0].ln_sd.abs() < 0.01);
    assert!(drift.channels()[1].mean.abs() < 0.01);
    assert!(drift.channels()[0].psi > 0.25);
}

#[test]
fn a_doubled_spread_shows_as_its_logarithm() {
    let drift = drift_of(|x| 2.0 * x, |index| index % 3);
    assert!(
        (drift.channels()[0].ln_sd - core::f32::consts::LN_2).abs() < 0.01,
        "{drift:?}"
    );
    assert!(drift.channels()[0].mean.abs() < 0.01);
}

#[test]
fn a_class_that_vanishes_shows_in_the_classes() {
    let drift = drift_of(|x| x, |index| index % 2);
    assert!(drift.class_psi > 0.5, "{drift:?}");
    assert!(drift.channels()[0].psi < 0.01);
}

#[test]
fn merged_summaries_weigh_by_their_windows() {
    let baseline = baseline();
    let mut all = Summary::of(&sketch(|x| x, |_| 0, 256), &baseline);
    all.merge(&Summary::of(&sketch(|x| x + 4.61, |_| 1, 768), &baseline));
    assert_eq!(all.count, 1024.0);
    assert!((all.channels()[0].mean - 0.75).abs() < 0.01);
    assert!((all.class_shares()[1] - 0.75).abs() < 1e-6);
}

fn drift_of(first: impl Fn(f32) -> f32, class: impl Fn(u16) -> u16) -> Drift {
    let baseline = baseline();
    Summary::of(&sketch(first, class, 256), &baseline).drift_from(&Summary::of_baseline(&baseline))
}

fn sketch(first: impl Fn(f32) -> f32, class: impl Fn(u16) -> u16, windows: u16) -> Sketch {
    let baseline = baseline();
    let mut sketch = Sketch::new();
    for index in 0..windows {
        let x = f32::from(index % 16);
        let features = [first(x - 7.5), 100.0 + 10.0 * x];
        let window = Observation::of(&baseline, &features).with_output(&baseline, x / 16.0);
        sketch.push(&baseline, &window, Some(class(index) as u8));
    }
    sketch
}
