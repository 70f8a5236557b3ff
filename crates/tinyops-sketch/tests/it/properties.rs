//! Invariants of sketches, baselines and dither.

use proptest::prelude::*;
use tinyops_sketch::{
    Baseline, BaselineBuilder, BaselineError, ChannelBaseline, Dither, Observation, Quantizer,
    Sketch, Source, Summary, memory_len,
};

pub(crate) fn baseline() -> Baseline {
    let sources = [Source::Feature(0), Source::Feature(1), Source::Output];
    let mut memory = vec![0.0; memory_len(256, sources.len())];
    let mut builder = BaselineBuilder::new(&sources, 3, &mut memory).expect("few channels");
    for index in 0..256_u16 {
        let x = f32::from(index % 16);
        let features = [x - 7.5, 100.0 + 10.0 * x];
        builder
            .push(&features, x / 16.0, Some((index % 3) as u8))
            .expect("room");
    }
    builder.finish().expect("windows")
}

fn sketch_of(windows: &[(f32, f32, f32, u8)]) -> Sketch {
    let baseline = baseline();
    let mut sketch = Sketch::new();
    for &(first, second, output, class) in windows {
        let window = Observation::of(&baseline, &[first, second]).with_output(&baseline, output);
        sketch.push(&baseline, &window, Some(class));
    }
    sketch
}

fn merged(a: &Sketch, b: &Sketch) -> Sketch {
    let mut sum = a.clone();
    sum.merge(b);
    sum
}

fn windows() -> impl Strategy<Value = Vec<(f32, f32, f32, u8)>> {
    prop::collection::vec(
        (any::<f32>(), -50.0..300.0_f32, 0.0..1.0_f32, any::<u8>()),
        0..20,
    )
}

proptest! {
    #[test]
    fn merging_is_associative_and_commutative_and_counts_every_window(
        a in windows(), b in windows(), c in windows()
    ) {
        let all = [a.clone(), b.clone(), c.clone()].concat();
        let (a, b, c) = (sketch_of(&a), sketch_of(&b), sketch_of(&c));
        let left = merged(&merged(&a, &b), &c);
        prop_assert_eq!(&left, &merged(&a, &merged(&b, &c)));
        prop_assert_eq!(&left, &merged(&c, &merged(&b, &a)));
        prop_assert_eq!(&left, &sketch_of(&all));
        prop_assert_eq!(left.count as usize, all.len());
        for channel in &left.channels[..3] {
            prop_assert_eq!(channel.bins.iter().sum::<u32>() as usize, all.len());
        }
    }

    #[test]
    fn a_summary_is_finite_whatever_the_windows(windows in windows()) {
        let baseline = baseline();
        let drift = Summary::of(&sketch_of(&windows), &baseline)
            .drift_from(&Summary::of_baseline(&baseline));
        for channel in drift.channels() {
            prop_assert!(channel.mean.is_finite() && channel.ln_sd.is_finite());
            prop_assert!(channel.psi.is_finite() && channel.psi >= 0.0);
        }
        prop_assert!(drift.class_psi >= 0.0);
    }

    #[test]
    fn any_bytes_are_a_baseline_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
        let _ = Baseline::decode(&bytes);
    }

    #[test]
    fn a_changed_byte_never_makes_an_unsound_baseline(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = encoded(&baseline());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(changed) = Baseline::decode(&bytes) {
            prop_assert_eq!(encoded(&changed).len(), bytes.len());
            for channel in changed.channels() {
                prop_assert!(channel.sd > 0.0 && channel.inv_sd.is_finite());
            }
        }
    }

    #[test]
    fn dither_makes_the_mean_of_many_reports_right(value in 0.05..0.95_f32, seed: u64) {
        let quantizer = Quantizer { bits: 3, low: 0.0, high: 1.0 };
        let reports = 4000;
        let sum: f64 = (0..reports)
            .map(|sequence| {
                let code = quantizer.encode(value, &mut Dither::new(seed, sequence));
                // Unclamped, as a server would average: the clamp of `decode` matters at the ends only.
                f64::from(quantizer.decode(code, &mut Dither::new(seed, sequence)))
            })
            .sum();
        let mean = sum / f64::from(reports);
        // A step is 1/7; its uniform error has a standard deviation of 0.041, here 0.00065.
        prop_assert!((mean - f64::from(value)).abs() < 0.01, "{mean} for {value}");
    }

    #[test]
    fn a_code_comes_back_within_half_a_step(value in -2.0..2.0_f32, seed: u64, sequence: u32) {
        let quantizer = Quantizer { bits: 6, low: -2.0, high: 2.0 };
        let code = quantizer.encode(value, &mut Dither::new(seed, sequence));
        let back = quantizer.decode(code, &mut Dither::new(seed, sequence));
        prop_assert!(code < 64);
        prop_assert!((back - value).abs() <= 4.0 / 63.0 + 1e-6);
    }
}

fn encoded(baseline: &Baseline) -> Vec<u8> {
    let mut bytes = vec![0; baseline.encoded_len()];
    let written = baseline.encode(&mut bytes).expect("room");
    assert_eq!(written, bytes.len());
    bytes
}

#[test]
fn a_baseline_comes_back_from_its_bytes() {
    let baseline = baseline();
    assert_eq!(Baseline::decode(&encoded(&baseline)), Ok(baseline));
}

#[test]
fn a_baseline_has_the_octiles_of_its_windows() {
    let baseline = baseline();
    let channel = &baseline.channels()[0];
    assert!((channel.mean).abs() < 1e-6);
    assert!((channel.sd - 4.609_772).abs() < 1e-5);
    assert_eq!(channel.shares, [0.125; 8]);
    assert_eq!(baseline.window_count, 256);
    assert!((baseline.class_prior()[0] - 86.0 / 256.0).abs() < 1e-6);
    // Every block of 32 holds the same values: the noise is none.
    assert!(channel.noise.mean < 1e-6 && channel.noise.ln_sd < 1e-6);
}

#[test]
fn numbers_that_no_training_gives_are_refused() {
    let mut channel = ChannelBaseline::new(Source::Output, 0.0, 1.0);
    channel.edges[3] = -1.0;
    assert_eq!(
        Baseline::new(1, &[channel], &[]),
        Err(BaselineError::Number)
    );
    let sound = ChannelBaseline::new(Source::Output, 0.0, 1.0);
    assert_eq!(
        Baseline::new(1, &[sound], &[0.5, 0.6]),
        Err(BaselineError::Number)
    );
    assert_eq!(
        Baseline::new(1, &[sound; 10], &[]),
        Err(BaselineError::Channels)
    );
}
