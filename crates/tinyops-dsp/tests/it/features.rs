//! What the blocks compute, against formulas written out a second time.

use tinyops_dsp::{
    Analysis, Bands, Bank, Block, Filter, FilterKind, Framing, FrontEnd, Image, Level, MaxHold,
    Mfcc, Mfe, Normalize, Spectral, Taper, Timeline,
};

const NO_FILTER: Filter = Filter {
    kind: FilterKind::None,
    cutoff_hz: 0.0,
    order: 2,
};

fn features_of(end: &FrontEnd, window: &[f32]) -> Vec<f32> {
    let mut features = vec![0.0; end.feature_count()];
    let mut scratch = vec![0.0; end.scratch_len()];
    end.extract(window, &mut features, &mut scratch)
        .expect("the settings are in range");
    features
}

#[track_caller]
fn check_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error <= tolerance * expected.abs().max(1.0),
            "{index}: {found}, expected {expected}"
        );
    }
}

/// Two tones and a trend, in g.
fn vibration(len: usize) -> Vec<f32> {
    let value = |t: usize| {
        let t = t as f64 / 200.0;
        1.0 + 0.3 * (t * 60.0).sin() + 0.1 * (t * 400.0 + 1.0).cos() + 0.02 * t
    };
    (0..len).map(|t| value(t) as f32).collect()
}

/// `|X|²` by the definition.
fn power(frame: &[f64], fft_len: usize) -> Vec<f64> {
    let bin = |k: usize| {
        let (mut re, mut im) = (0.0, 0.0);
        for (t, x) in frame.iter().enumerate() {
            let angle = std::f64::consts::TAU * (k * t % fft_len) as f64 / fft_len as f64;
            re += x * angle.cos();
            im -= x * angle.sin();
        }
        re * re + im * im
    };
    (0..=fft_len / 2).map(bin).collect()
}

fn bands(band_count: u8) -> Bands {
    Bands {
        fft_len: 0,
        band_count,
        low_hz: 0.0,
        high_hz: 0.0,
        log_floor: 1e-9,
        shape: false,
        percentiles: false,
        magnitude: false,
        cross: false,
    }
}

fn with_bands(channel_count: u16, window_len: u32, bands: Bands) -> FrontEnd {
    let block = Block::Spectral(Spectral {
        scale: 1.0,
        filter: NO_FILTER,
        analysis: Analysis::Bands(bands),
    });
    FrontEnd {
        rate_hz: 200.0,
        channel_count,
        window_len,
        block,
    }
}

#[test]
fn bands_follow_their_formula() {
    // 190 is the length of a fan recording; it is padded to 256.
    let signal = vibration(190);
    let (n, fft_len) = (190.0, 256);
    let x: Vec<f64> = signal.iter().map(|x| f64::from(*x)).collect();
    let mean = x.iter().sum::<f64>() / n;
    let moment = |p: i32| x.iter().map(|x| (x - mean).powi(p)).sum::<f64>() / n;
    let rms = moment(2).sqrt();
    let difference = x
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .sum::<f64>()
        / (n - 1.0);
    let weight = |t: usize| 0.5 - 0.5 * (std::f64::consts::TAU * t as f64 / n).cos();
    let frame: Vec<f64> = x
        .iter()
        .enumerate()
        .map(|(t, x)| (x - mean) * weight(t))
        .collect();
    let energy: f64 = (0..190).map(|t| weight(t).powi(2)).sum();
    let power: Vec<f64> = power(&frame, fft_len).iter().map(|p| p / energy).collect();
    let mut expected = vec![
        mean,
        rms,
        moment(3) / rms.powi(3),
        moment(4) / rms.powi(4) - 3.0,
        difference,
    ];
    // Geometric edges from bin 1 to bin 128, cut down to whole bins.
    for (start, stop) in [(1, 3), (3, 11), (11, 38), (38, 129)] {
        let mean = power[start..stop].iter().sum::<f64>() / (stop - start) as f64;
        expected.push((mean + 1e-9).log10());
    }
    let largest = (1..power.len())
        .max_by(|&a, &b| power[a].total_cmp(&power[b]))
        .unwrap();
    expected.push(largest as f64 * 200.0 / fft_len as f64);
    check_close(
        &features_of(&with_bands(1, 190, bands(4)), &signal),
        &expected,
        1e-4,
    );
}

#[test]
fn further_features_are_what_they_say() {
    let all = Bands {
        shape: true,
        percentiles: true,
        magnitude: true,
        cross: true,
        ..bands(0)
    };
    let end = with_bands(3, 200, all);
    // A tone of 10 Hz at 200 Hz, its double, and its mirror.
    let tone = |t: usize| (std::f32::consts::TAU * 10.0 * t as f32 / 200.0).sin();
    let window: Vec<f32> = (0..200)
        .flat_map(|t| [tone(t), 2.0 * tone(t), 1.0 - tone(t)])
        .collect();
    let features = features_of(&end, &window);
    let row_len = 6 + 7 + 5;
    assert_eq!(features.len(), 4 * row_len + 3);
    let [
        _,
        rms,
        skew,
        kurtosis,
        _,
        peak_hz,
        low,
        high,
        crossings,
        lag_1,
        peak,
        centroid_hz,
        entropy,
        q5,
        _,
        q50,
        _,
        q95,
    ] = features[..row_len].try_into().unwrap();
    check_close(&[rms, low, high], &[0.5_f64.sqrt(), -1.0, 1.0], 1e-4);
    check_close(&[skew, kurtosis], &[0.0, -1.5], 1e-3);
    // Ten of 200 readings are -1, the next -0.951: place 9.95 lies between them.
    check_close(&[q5, q50, q95], &[-0.9535, 0.0, 0.9535], 1e-3);
    // Bins are 200 / 256 Hz apart; 10 s⁻¹ cross zero twenty times.
    check_close(&[peak_hz, centroid_hz], &[10.16, 10.0], 0.02);
    check_close(&[crossings], &[20.0], 0.06);
    // The sum loses `lag` of its 200 terms.
    check_close(
        &[lag_1, peak],
        &[(std::f64::consts::TAU / 20.0).cos(), 0.9],
        0.01,
    );
    assert!(entropy < 0.4, "{entropy}");
    let norm = &features[3 * row_len..4 * row_len];
    assert!(norm[6] >= 0.0, "a norm is never negative: {norm:?}");
    check_close(&features[4 * row_len..], &[1.0, -1.0, -1.0], 1e-4);
}

#[test]
fn white_noise_has_the_same_bands_at_any_length() {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    for len in [100, 500, 9000] {
        let signal: Vec<f32> = (0..len).map(|_| noise() * 3.0_f32.sqrt()).collect();
        let features = features_of(&with_bands(1, len, bands(1)), &signal);
        assert!(features[5].abs() < 0.15, "{len}: log power {}", features[5]);
    }
}

#[test]
fn max_hold_follows_its_formula() {
    let signal = vibration(40);
    let hold = MaxHold {
        fft_len: 16,
        log: true,
        overlap: true,
    };
    let block = Block::Spectral(Spectral {
        scale: 2.0,
        filter: NO_FILTER,
        analysis: Analysis::MaxHold(hold),
    });
    let end = FrontEnd {
        rate_hz: 200.0,
        channel_count: 1,
        window_len: 40,
        block,
    };
    let x: Vec<f64> = signal.iter().map(|x| 2.0 * f64::from(*x)).collect();
    let mean = x.iter().sum::<f64>() / 40.0;
    let centred: Vec<f64> = x.iter().map(|x| x - mean).collect();
    let mut held = [0.0_f64; 9];
    for start in (0..=40).step_by(8) {
        let frame = &centred[start..40.min(start + 16)];
        for (held, power) in held.iter_mut().zip(power(frame, 16)) {
            *held = held.max(power / 16.0);
        }
    }
    let features = features_of(&end, &signal);
    let expected: Vec<f64> = held[1..].iter().map(|p| p.log10()).collect();
    check_close(&features[5..], &expected, 1e-4);
    let rms = (centred.iter().map(|x| x * x).sum::<f64>() / 40.0).sqrt();
    check_close(&features[..1], &[rms], 1e-5);
}

#[test]
fn a_filter_takes_its_bins_along() {
    let end = |kind| {
        let filter = Filter {
            kind,
            cutoff_hz: 25.0,
            order: 4,
        };
        let hold = MaxHold {
            fft_len: 16,
            log: false,
            overlap: true,
        };
        let block = Block::Spectral(Spectral {
            scale: 1.0,
            filter,
            analysis: Analysis::MaxHold(hold),
        });
        FrontEnd {
            rate_hz: 200.0,
            channel_count: 1,
            window_len: 40,
            block,
        }
    };
    // Bins are 12.5 Hz apart.
    assert_eq!(end(FilterKind::None).feature_count(), 5 + 8);
    assert_eq!(end(FilterKind::Low).feature_count(), 5 + 2);
    assert_eq!(end(FilterKind::High).feature_count(), 5 + 7);
}

fn speech(window_len: u32, level: Level, timeline: Timeline) -> FrontEnd {
    let framing = Framing {
        scale: 1.0 / 32_768.0,
        frame_len: 160,
        stride: 80,
        fft_len: 256,
        taper: Taper::Hann,
        pre_emphasis: 0.97,
    };
    let bank = Bank {
        filter_count: 20,
        low_hz: 100.0,
        high_hz: 0.0,
    };
    let block = Block::Mfe(Mfe {
        framing,
        bank,
        level,
        normalize: Normalize::None,
        timeline,
    });
    FrontEnd {
        rate_hz: 8000.0,
        channel_count: 1,
        window_len,
        block,
    }
}

#[test]
fn the_loudest_level_is_one_and_never_wraps() {
    let level = Level::Quantized {
        noise_floor_db: -52.0,
    };
    let end = speech(800, level, Timeline::Frames);
    let loud: Vec<f32> = (0..800)
        .map(|t| if t / 2 % 2 == 0 { 32_767.0 } else { -32_768.0 })
        .collect();
    let features = features_of(&end, &loud);
    let shape = end.shape();
    assert_eq!((shape.height, shape.width, shape.channels), (9, 20, 1));
    assert_eq!(
        features.iter().copied().fold(0.0, f32::max),
        1.0,
        "{features:?}"
    );
    assert_eq!(features_of(&end, &[0.0; 800]), vec![0.0; 180]);
}

#[test]
fn the_first_reading_is_taken_as_held() {
    // A constant has no high frequencies, not even at the edge of the window.
    let level = Level::Decibel { range_db: 200.0 };
    let mut end = speech(800, level, Timeline::Frames);
    if let Block::Mfe(mfe) = &mut end.block {
        mfe.framing.pre_emphasis = 1.0;
    }
    assert_eq!(features_of(&end, &[20_000.0; 800]), vec![-100.0; 180]);
}

#[test]
fn stretches_do_not_mind_where_and_how_slowly_a_word_is_said() {
    let timeline = Timeline::Stretches {
        count: 2,
        trim_db: 30.0,
    };
    let end = speech(8000, Level::Natural { floor: 1e-6 }, timeline);
    let word = |start: usize, len: usize| -> Vec<f32> {
        let sample = |t: usize| {
            let hz = if t < start + len / 2 { 500.0 } else { 2000.0 };
            (std::f32::consts::TAU * hz * t as f32 / 8000.0).sin() * 8000.0
        };
        (0..8000)
            .map(|t| {
                if (start..start + len).contains(&t) {
                    sample(t)
                } else {
                    0.0
                }
            })
            .collect()
    };
    let reference = features_of(&end, &word(0, 8000));
    for (start, len) in [(1600, 4000), (4000, 3200)] {
        for (a, b) in reference.iter().zip(features_of(&end, &word(start, len))) {
            assert!((a - b).abs() < 1.5, "{start}: {a} {b}");
        }
    }
    let contrast: f32 = (0..20)
        .map(|k| (reference[k] - reference[20 + k]).abs())
        .fold(0.0, f32::max);
    assert!(contrast > 6.0, "the halves differ: {contrast}");
}

#[test]
fn cepstra_can_be_normalised_and_sloped() {
    let Block::Mfe(Mfe { framing, bank, .. }) =
        speech(4000, Level::Natural { floor: 1.0 }, Timeline::Frames).block
    else {
        unreachable!("speech is an MFE block")
    };
    let mfcc = Mfcc {
        framing,
        bank,
        coefficient_count: 13,
        energy: true,
        log_floor: 1e-8,
        lifter: 22,
        delta: true,
        normalize: Normalize::MeanVariance,
        timeline: Timeline::Moments,
    };
    let end = FrontEnd {
        rate_hz: 8000.0,
        channel_count: 1,
        window_len: 4000,
        block: Block::Mfcc(mfcc),
    };
    let chirp: Vec<f32> = (0..4000)
        .map(|t| ((t * t) as f32 * 2e-4).sin() * (t as f32 + 500.0))
        .collect();
    let features = features_of(&end, &chirp);
    assert_eq!(features.len(), 2 * 26);
    check_close(&features[..13], &[0.0; 13], 1e-4);
    check_close(&features[26..39], &[1.0; 13], 1e-3);
    // The chirp grows louder: the energy rises.
    assert!(features[13] > 0.02, "{features:?}");
}

#[test]
fn pictures_shrink_by_averaging() {
    let image = |grey, height, width| Image {
        source_height: 2,
        source_width: 4,
        height,
        width,
        grey,
        offset: -1.0,
        scale: 0.5,
    };
    let end = |channel_count, image| FrontEnd {
        rate_hz: 1.0,
        channel_count,
        window_len: 8,
        block: Block::Image(image),
    };
    let grey = [1.0, 3.0, 5.0, 7.0, 1.0, 3.0, 5.0, 7.0];
    assert_eq!(features_of(&end(1, image(false, 1, 2)), &grey), [0.5, 2.5]);
    assert_eq!(
        features_of(&end(1, image(false, 2, 4)), &grey),
        [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0]
    );
    let red: Vec<f32> = grey.iter().flat_map(|&x| [x, 0.0, 0.0]).collect();
    check_close(
        &features_of(&end(3, image(true, 1, 1)), &red),
        &[(4.0 * 0.299 - 1.0) / 2.0],
        1e-6,
    );
    assert_eq!(
        features_of(&end(3, image(false, 1, 1)), &red),
        [1.5, -0.5, -0.5]
    );
}

/// The bits of the features of a fixed window, folded.
#[track_caller]
fn check_bits(block: Block, channel_count: u16, window_len: u32, rate_hz: f32, expected: u32) {
    let end = FrontEnd {
        rate_hz,
        channel_count,
        window_len,
        block,
    };
    let window: Vec<f32> = (0..end.reading_count())
        .map(|i| libm::sinf(i as f32 * 0.37) + (i * 7919 % 1000) as f32 * 1e-3)
        .collect();
    let fold = |hash: u32, x: &f32| hash.rotate_left(5) ^ x.to_bits();
    let found = features_of(&end, &window).iter().fold(0, fold);
    assert_eq!(
        found, expected,
        "{found:08x}: other bits need another version of the settings"
    );
}

/// What a board computes, frozen: these numbers were seen on an emulated Cortex-M4F (QEMU `mps2-an386`) and on x86-64.
#[test]
fn features_keep_their_bits() {
    let plain = Bands {
        log_floor: 1e-9,
        ..bands(8)
    };
    let all = Bands {
        shape: true,
        percentiles: true,
        magnitude: true,
        cross: true,
        ..plain
    };
    let spectral = |filter, bands| {
        Block::Spectral(Spectral {
            scale: 1.0,
            filter,
            analysis: Analysis::Bands(bands),
        })
    };
    let low = Filter {
        kind: FilterKind::Low,
        cutoff_hz: 20.0,
        order: 4,
    };
    check_bits(spectral(NO_FILTER, plain), 3, 190, 200.0, 0xfbf1_ac19);
    check_bits(spectral(NO_FILTER, plain), 3, 128, 200.0, 0x769e_2020);
    check_bits(spectral(low, plain), 3, 128, 200.0, 0x6588_af7a);
    check_bits(spectral(NO_FILTER, all), 9, 128, 50.0, 0xa863_8db1);
    check_bits(spectral(NO_FILTER, all), 1, 1024, 12_000.0, 0x53b1_2762);
    let framing = Framing {
        scale: 1.0,
        frame_len: 256,
        stride: 128,
        fft_len: 256,
        taper: Taper::Hann,
        pre_emphasis: 0.97,
    };
    let bank = Bank {
        filter_count: 32,
        low_hz: 80.0,
        high_hz: 0.0,
    };
    let mfcc = Mfcc {
        framing,
        bank,
        coefficient_count: 13,
        energy: false,
        log_floor: 1e-8,
        lifter: 0,
        delta: true,
        normalize: Normalize::Mean,
        timeline: Timeline::Stretches {
            count: 16,
            trim_db: 30.0,
        },
    };
    check_bits(Block::Mfcc(mfcc), 1, 8000, 8000.0, 0x3f8a_d0b4);
    let level = Level::Decibel { range_db: 80.0 };
    let mfe = Mfe {
        framing,
        bank,
        level,
        normalize: Normalize::Mean,
        timeline: Timeline::Frames,
    };
    check_bits(Block::Mfe(mfe), 1, 8000, 8000.0, 0x7406_5096);
}
