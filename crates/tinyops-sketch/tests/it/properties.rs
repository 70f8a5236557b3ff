//! Invariants of sketches, baselines and dither.

use proptest::prelude::*;
use tinyops_sketch::{
    Baseline, BaselineBuilder, BaselineError, Calibration, ChannelBaseline, Dither, Observation,
    Quantizer, Sketch, Source, Summary, memory_len,
};

pub(crate) fn baseline() -> Baseline {
    let sources = [Source::Feature(0), Source::Feature(1), Source::Output];
    let mut memory = vec![0.0; memory_len(256, sources.len())];
    let mut builder = BaselineBuilder::new(&sources, 3, &mut memory).expect("few channels");
    for index in 0..256_u16 {
        let x = f32::from(index % 16);
        let features = [x - 7.5, 100.0 + 10.0 * x];
        builder
            .push(&features, x / 16.0, 0.0, Some((index % 3) as u8))
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

/// What watches embeddings, with how often answers were right.
fn watching_embeddings() -> Baseline {
    let channels = [
        ChannelBaseline::new(Source::Feature(3), 1.0, 2.0),
        ChannelBaseline::new(Source::Embedding, 5.0, 0.5),
        ChannelBaseline::new(Source::Output, 0.9, 0.1),
    ];
    let calibration = Calibration {
        windows: [1, 2, 3, 4, 5, 6, 7, 8],
        right: [0, 1, 2, 3, 4, 5, 6, 8],
        embedding_mean: 0.5,
        embedding_sd: 1.25,
    };
    let baseline = Baseline::new(640, &channels, &[0.5, 0.5]).expect("sound");
    baseline
        .with_calibration(Some(calibration))
        .expect("counts that windows can have")
}

#[test]
fn baselines_are_as_frozen() {
    let mut actual = String::new();
    let plain = watching_embeddings().with_calibration(None).expect("none");
    for (name, baseline) in [
        ("1", baseline()),
        ("2 embedding", plain),
        ("2 embedding calibration", watching_embeddings()),
    ] {
        actual += &format!("baseline {name} ");
        for byte in encoded(&baseline) {
            actual += &format!("{byte:02x}");
        }
        actual.push('\n');
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/golden/wire/baselines.txt");
    if std::env::var_os("TINYOPS_BLESS").is_some() {
        std::fs::write(&path, &actual).expect("a file");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file is in the repository");
    assert_eq!(actual, expected, "{}", path.display());
}

#[test]
fn a_baseline_is_of_the_first_version_that_holds_it() {
    let with = watching_embeddings();
    let bytes = encoded(&with);
    assert_eq!(Baseline::decode(&bytes), Ok(with.clone()));
    assert_eq!((bytes[0], bytes[3]), (2, 1));
    let without = with.with_calibration(None).expect("none is sound");
    assert_eq!(encoded(&without)[..4], [2, 3, 2, 0]);
    assert_eq!(encoded(&baseline())[0], 1);
    // In version 1 the index of the distance is that of a feature, which nothing has.
    let mut old = encoded(&without);
    old[0] = 1;
    assert_eq!(Baseline::decode(&old), Err(BaselineError::Number));
    for (at, byte) in [(0, 3), (3, 2)] {
        let mut later = bytes.clone();
        later[at] = byte;
        assert_eq!(Baseline::decode(&later), Err(BaselineError::Version));
    }
    for len in 0..bytes.len() {
        assert!(Baseline::decode(&bytes[..len]).is_err(), "{len}");
    }
}

#[test]
fn what_no_windows_calibrate_is_refused() {
    let baseline = watching_embeddings();
    let sound = *baseline.calibration().expect("it has one");
    let none = Calibration::default();
    let more_right = Calibration {
        right: [2; 8],
        ..sound
    };
    let nan = Calibration {
        embedding_mean: f32::NAN,
        ..sound
    };
    let negative = Calibration {
        embedding_sd: -1.0,
        ..sound
    };
    for calibration in [none, more_right, nan, negative] {
        let refused = baseline.clone().with_calibration(Some(calibration));
        assert_eq!(refused, Err(BaselineError::Number), "{calibration:?}");
    }
}

#[test]
fn a_distance_that_is_not_told_counts_as_far_off() {
    let baseline = watching_embeddings();
    let told = Observation::of(&baseline, &[0.0; 4]).with_embedding(&baseline, 5.0);
    assert_eq!(told.value(1), 5.0);
    let mut sketch = Sketch::new();
    sketch.push(&baseline, &told, None);
    assert_eq!((sketch.channels[1].bins[7], sketch.channels[1].sum), (1, 0));
    sketch.push(&baseline, &Observation::of(&baseline, &[0.0; 4]), None);
    assert_eq!(sketch.channels[1].sum, 32_768);
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
