//! Settings: their ranges, their bytes, and that no settings in range can do harm.

use proptest::prelude::*;
use tinyops_dsp::{
    Analysis, Bands, Bank, Block, Filter, FilterKind, Flatten, Framing, FrontEnd, FrontEndError,
    Image, Level, MaxHold, Mfcc, Mfe, Normalize, Raw, Spectral, Taper, Timeline,
};

fn framing() -> impl Strategy<Value = Framing> {
    let taper = prop_oneof![
        Just(Taper::Rectangular),
        Just(Taper::Hann),
        Just(Taper::Hamming)
    ];
    (4_u32..9, 1_u16..400, 1_u16..300, taper, 0.0_f32..1.1).prop_map(
        |(log, frame_len, stride, taper, pre_emphasis)| Framing {
            scale: 1.0,
            frame_len: frame_len.min(1 << log),
            stride,
            fft_len: 1 << log,
            taper,
            pre_emphasis,
        },
    )
}

fn bank() -> impl Strategy<Value = Bank> {
    (0_u16..70, 0.0_f32..60.0, 0.0_f32..60.0).prop_map(|(filter_count, low_hz, high_hz)| Bank {
        filter_count,
        low_hz,
        high_hz,
    })
}

fn normalize() -> impl Strategy<Value = Normalize> {
    prop_oneof![
        Just(Normalize::None),
        Just(Normalize::Mean),
        Just(Normalize::MeanVariance),
        (0_u16..40).prop_map(|len| Normalize::Sliding { len }),
    ]
}

fn timeline() -> impl Strategy<Value = Timeline> {
    prop_oneof![
        Just(Timeline::Frames),
        Just(Timeline::Moments),
        (0_u16..20, 0.0_f32..60.0)
            .prop_map(|(count, trim_db)| Timeline::Stretches { count, trim_db }),
    ]
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![
        (0.0_f32..1.0).prop_map(|floor| Level::Natural { floor }),
        (0.0_f32..90.0).prop_map(|range_db| Level::Decibel { range_db }),
        (-90.0_f32..20.0).prop_map(|noise_floor_db| Level::Quantized { noise_floor_db }),
    ]
}

fn spectral() -> impl Strategy<Value = Spectral> {
    let kind = prop_oneof![
        Just(FilterKind::None),
        Just(FilterKind::Low),
        Just(FilterKind::High)
    ];
    let filter = (kind, 0.0_f32..60.0, 0_u8..5).prop_map(|(kind, cutoff_hz, half)| Filter {
        kind,
        cutoff_hz,
        order: 2 * half,
    });
    let fft_len = prop_oneof![Just(0_u16), (2_u32..9).prop_map(|log| 1 << log), 0_u16..600];
    let hold =
        (fft_len.clone(), any::<bool>(), any::<bool>()).prop_map(|(fft_len, log, overlap)| {
            Analysis::MaxHold(MaxHold {
                fft_len,
                log,
                overlap,
            })
        });
    let bands = (
        fft_len,
        0_u8..20,
        0.0_f32..60.0,
        0.0_f32..60.0,
        any::<[bool; 6]>(),
    )
        .prop_map(
            |(
                fft_len,
                band_count,
                low_hz,
                high_hz,
                [shape, percentiles, magnitude, cross, low, high],
            )| {
                Analysis::Bands(Bands {
                    fft_len,
                    band_count,
                    low_hz: if low { low_hz } else { 0.0 },
                    high_hz: if high { high_hz } else { 0.0 },
                    log_floor: 1e-6,
                    shape,
                    percentiles,
                    magnitude,
                    cross,
                })
            },
        );
    (filter, prop_oneof![hold, bands]).prop_map(|(filter, analysis)| Spectral {
        scale: 0.5,
        filter,
        analysis,
    })
}

fn block() -> impl Strategy<Value = Block> {
    let flatten = any::<[bool; 7]>().prop_map(|chosen| {
        let [
            average,
            minimum,
            maximum,
            rms,
            deviation,
            skewness,
            kurtosis,
        ] = chosen;
        Flatten {
            scale: 2.0,
            average,
            minimum,
            maximum,
            rms,
            deviation,
            skewness,
            kurtosis,
        }
    });
    let mfe = (framing(), bank(), level(), normalize(), timeline()).prop_map(
        |(framing, bank, level, normalize, timeline)| Mfe {
            framing,
            bank,
            level,
            normalize,
            timeline,
        },
    );
    let mfcc = (
        framing(),
        bank(),
        0_u16..20,
        0_u16..30,
        any::<[bool; 2]>(),
        normalize(),
        timeline(),
    )
        .prop_map(
            |(framing, bank, coefficient_count, lifter, [energy, delta], normalize, timeline)| {
                Mfcc {
                    framing,
                    bank,
                    coefficient_count,
                    energy,
                    log_floor: 1e-8,
                    lifter,
                    delta,
                    normalize,
                    timeline,
                }
            },
        );
    let image = (1_u16..20, 1_u16..20, 0_u16..20, 0_u16..20, any::<bool>()).prop_map(
        |(source_height, source_width, height, width, grey)| Image {
            source_height,
            source_width,
            height,
            width,
            grey,
            offset: -128.0,
            scale: 0.01,
        },
    );
    prop_oneof![
        (-2.0_f32..2.0).prop_map(|scale| Block::Raw(Raw { scale })),
        flatten.prop_map(Block::Flatten),
        spectral().prop_map(Block::Spectral),
        mfe.prop_map(Block::Mfe),
        mfcc.prop_map(Block::Mfcc),
        image.prop_map(Block::Image),
    ]
}

/// Front ends of which most are in range.
fn front_end() -> impl Strategy<Value = FrontEnd> {
    (100.0_f32..130.0, 1_u16..8, 1_u32..700, block()).prop_map(
        |(rate_hz, channel_count, len, block)| {
            let window_len = match &block {
                Block::Image(image) => {
                    u32::from(image.source_height) * u32::from(image.source_width)
                }
                _ => len,
            };
            FrontEnd {
                rate_hz,
                channel_count,
                window_len,
                block,
            }
        },
    )
}

/// Readings that are smooth, constant or wild.
fn reading(kind: u8, index: usize) -> f32 {
    let noise = (index.wrapping_mul(2_654_435_761) >> 7) as u16;
    match kind {
        0 => 0.0,
        1 => 9.81,
        2 => (index as f32 * 0.05).sin(),
        3 => f32::from(noise) - 32_768.0,
        4 => {
            if noise.is_multiple_of(17) {
                1e15
            } else {
                -1e15
            }
        }
        _ => f32::from(noise) * 1e-20,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn settings_in_range_give_finite_features(end in front_end(), kind in 0_u8..6) {
        if end.check().is_err() {
            return Ok(());
        }
        let window: Vec<f32> = (0..end.reading_count()).map(|index| reading(kind, index)).collect();
        let mut features = vec![f32::NAN; end.feature_count()];
        let mut scratch = vec![f32::NAN; end.scratch_len()];
        match end.extract(&window, &mut features, &mut scratch) {
            Err(FrontEndError::NotFinite { .. }) => prop_assert_eq!(kind, 4, "only the scale of 2 goes beyond the limit"),
            answer => {
                prop_assert_eq!(answer, Ok(()));
                prop_assert!(features.iter().all(|x| x.is_finite()), "{:?}", features);
            }
        }
    }

    #[test]
    fn bytes_come_back_as_they_went(end in front_end()) {
        let mut bytes = [0; 64];
        let len = end.encode(&mut bytes).unwrap();
        match end.check() {
            Ok(()) => prop_assert_eq!(FrontEnd::decode(&bytes[..len]), Ok((end, len))),
            Err(error) => prop_assert_eq!(FrontEnd::decode(&bytes[..len]), Err(error)),
        }
        for cut in 0..len {
            prop_assert_eq!(end.encode(&mut vec![0; cut]), Err(FrontEndError::Truncated));
            prop_assert_eq!(FrontEnd::decode(&bytes[..cut]), Err(FrontEndError::Truncated));
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_or_themselves(
        end in front_end(),
        changes in prop::collection::vec((0_usize..64, any::<u8>()), 0..6),
    ) {
        let mut bytes = [0; 64];
        end.encode(&mut bytes).unwrap();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        check_hostile(&bytes);
    }

    #[test]
    fn random_bytes_are_an_error_or_themselves(mut bytes in any::<[u8; 64]>(), tag in 0_u8..7) {
        bytes[0] = 1;
        bytes[11] = tag;
        check_hostile(&bytes);
    }
}

fn check_hostile(bytes: &[u8]) {
    if let Ok((end, len)) = FrontEnd::decode(bytes) {
        let mut again = [0; 64];
        assert_eq!(end.encode(&mut again), Ok(len));
        assert_eq!(again[..len], bytes[..len]);
        // Whatever decodes can be asked for its extents.
        let (features, scratch) = (end.feature_count(), end.scratch_len());
        assert!(features > 0 && scratch < 1 << 28, "{end:?}");
    }
}

#[test]
fn other_versions_and_blocks_are_refused() {
    let end = FrontEnd {
        rate_hz: 50.0,
        channel_count: 3,
        window_len: 128,
        block: Block::Raw(Raw { scale: 1.0 }),
    };
    let mut bytes = [0; 64];
    let len = end.encode(&mut bytes).unwrap();
    // Frozen: a device in the field reads these very bytes.
    assert_eq!(
        bytes[..len],
        [1, 0, 0, 0x48, 0x42, 3, 0, 128, 0, 0, 0, 0, 0, 0, 0x80, 0x3f]
    );
    bytes[0] = 2;
    assert_eq!(FrontEnd::decode(&bytes), Err(FrontEndError::Version(2)));
    (bytes[0], bytes[11]) = (1, 9);
    assert_eq!(FrontEnd::decode(&bytes), Err(FrontEndError::Tag(9)));
}

#[test]
fn slices_of_the_wrong_length_are_refused() {
    let end = FrontEnd {
        rate_hz: 50.0,
        channel_count: 2,
        window_len: 3,
        block: Block::Raw(Raw { scale: 1.0 }),
    };
    let extract =
        |window: &[f32], count: usize| end.extract(window, &mut vec![0.0; count], &mut []);
    assert_eq!(extract(&[0.0; 6], 6), Ok(()));
    assert_eq!(
        extract(&[0.0; 5], 6),
        Err(FrontEndError::WindowLength {
            expected: 6,
            found: 5
        })
    );
    assert_eq!(
        extract(&[0.0; 6], 7),
        Err(FrontEndError::FeatureLength {
            expected: 6,
            found: 7
        })
    );
    let mut window = [0.0; 6];
    window[4] = f32::NAN;
    assert_eq!(
        extract(&window, 6),
        Err(FrontEndError::NotFinite { index: 4 })
    );
}
