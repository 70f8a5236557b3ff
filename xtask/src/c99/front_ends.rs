//! Front ends from a seed: settings, sound ones and changed ones, and the features of windows by `tinyops-dsp`.

use crate::c99::records::{Kind, Record};
use crate::chance::Chance;
use tinyops_dsp::{
    Analysis, Bands, Bank, Block, Filter, FilterKind, Flatten, Framing, FrontEnd, FrontEndError,
    Image, Level, MaxHold, Mfcc, Mfe, Normalize, Raw, Spectral, Taper, Timeline,
};
use tinyops_wire::section::ScalerSection;

/// What a window may be, so that records stay small.
const READINGS_MAX: usize = 6_000;
/// What is lent to a front end that was changed.
const WORDS_MAX: usize = 1 << 16;

/// So many front ends, each with a window of each sort; and as many settings changed at random.
///
/// # Errors
/// When a block was never among them: then nothing is said of it.
pub(crate) fn records(count: usize) -> Result<Vec<Record>, String> {
    let mut chance = Chance(11);
    let mut records = Vec::new();
    let mut seen = Vec::new();
    while records.len() < 2 * count {
        let front_end = drawn(&mut chance);
        let mut settings = [0; 64];
        let Ok(len) = front_end.encode(&mut settings) else {
            continue;
        };
        seen.push(sort_of(&front_end.block));
        let settings = settings[..len].to_vec();
        let mut changed = settings.clone();
        for _ in 0..=chance.below(2) {
            change(&mut changed, &mut chance);
        }
        let index = records.len() / 2;
        records.push(record(format!("front end {index}"), settings, &mut chance));
        records.push(record(
            format!("changed front end {index}"),
            changed,
            &mut chance,
        ));
    }
    match SORTS.iter().find(|sort| !seen.contains(sort)) {
        None => Ok(records),
        Some(sort) => Err(format!("no front end with the block {sort:?} was drawn")),
    }
}

fn change(settings: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(settings.len());
    match chance.below(5) {
        0 => settings.truncate(at.max(1)),
        1 => settings.push(0),
        2 => settings[at] ^= 1 << chance.below(8),
        3 => settings[at] = [0, 1, 2, 127, 128, 255][chance.below(6)],
        _ => settings[at] = chance.below(16) as u8,
    }
}

/// What reading says of some settings and, where it says yes, windows with their features.
fn record(name: String, settings: Vec<u8>, chance: &mut Chance) -> Record {
    let read = FrontEnd::decode(&settings).and_then(|(front_end, used)| {
        // A capsule's section holds nothing else.
        let is_all = used == settings.len();
        is_all.then_some(front_end).ok_or(FrontEndError::Truncated)
    });
    let cases = match &read {
        Ok(front_end) if is_small(front_end) => windows(front_end, chance),
        _ => Vec::new(),
    };
    let verdict = read.map_or_else(|error| status(&error), |_| 0);
    Record::of_bytes(name, Kind::FrontEnd, settings, Vec::new(), verdict).with_cases(cases)
}

/// So many sections SCALER, half of them changed, with what becomes of features.
///
/// # Errors
/// When a section cannot be written.
pub(crate) fn scalers(count: usize) -> Result<Vec<Record>, String> {
    let mut chance = Chance(17);
    (0..count)
        .map(|index| {
            let groups = chance.below(7);
            let number = |chance: &mut Chance| of(&[0.0, 1.0, -3.5, 1e-30, 3e38], chance);
            let numbers = |chance: &mut Chance| -> Vec<f32> {
                (0..groups)
                    .map(|_| number(chance) + chance.normal() as f32)
                    .collect()
            };
            let (means, inv_sds) = (numbers(&mut chance), numbers(&mut chance));
            let mut section = vec![0; ScalerSection::encoded_len(groups)];
            ScalerSection::encode(&means, &inv_sds, &mut section)
                .map_err(|error| error.to_string())?;
            if chance.below(2) == 0 {
                change(&mut section, &mut chance);
            }
            let mut features: Vec<f32> = (0..chance.below(4) * groups.max(1) + chance.below(2))
                .map(|_| number(&mut chance) + chance.normal() as f32)
                .collect();
            let put = |behind: &mut Vec<u8>, features: &[f32]| {
                behind.extend(features.iter().flat_map(|x| x.to_le_bytes()));
            };
            let mut behind = (features.len() as u32).to_le_bytes().to_vec();
            put(&mut behind, &features);
            // A model whose features are no whole groups is refused where it is loaded; in C there is one call.
            let scaler = ScalerSection::decode(&section).ok();
            let fits = |groups: usize| groups == 0 || features.len().is_multiple_of(groups);
            let scaler = scaler.filter(|scaler| fits(scaler.groups()));
            if let Some(scaler) = &scaler {
                scaler.apply(&mut features);
                put(&mut behind, &features);
            }
            let verdict = u32::from(scaler.is_some());
            let name = format!("scaler {index}");
            Ok(Record::of_bytes(
                name,
                Kind::Scaler,
                section,
                behind,
                verdict,
            ))
        })
        .collect()
}

fn is_small(front_end: &FrontEnd) -> bool {
    front_end.reading_count() <= READINGS_MAX
        && front_end.scratch_len() <= WORDS_MAX
        && front_end.feature_count() <= WORDS_MAX
}

/// The number of a reason in `c/include/tinyops_front_end.h`.
fn status(error: &FrontEndError) -> u32 {
    match error {
        FrontEndError::Setting(_) => 1,
        FrontEndError::Truncated => 2,
        FrontEndError::Version(_) => 3,
        FrontEndError::Tag(_) => 4,
        FrontEndError::WindowLength { .. } => 5,
        FrontEndError::FeatureLength { .. } => 6,
        FrontEndError::ScratchLength { .. } => 7,
        FrontEndError::NotFinite { .. } => 8,
        // A reason that the C runtime has no number for: it cannot be equal.
        _ => 255,
    }
}

/// Two windows, with what comes out of each.
fn windows(front_end: &FrontEnd, chance: &mut Chance) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    (0..2)
        .map(|_| {
            let window = window(front_end.reading_count(), chance);
            let mut features = vec![0.0; front_end.feature_count()];
            let mut scratch = vec![0.0; front_end.scratch_len()];
            let made = front_end.extract(&window, &mut features, &mut scratch);
            let status = made.map_or_else(|error| status(&error), |()| 0);
            let input = [&status.to_le_bytes()[..], &bytes(&window)].concat();
            let output = if status == 0 {
                bytes(&features)
            } else {
                Vec::new()
            };
            (input, output)
        })
        .collect()
}

/// Noise, tones, steps, silence and what breaks arithmetic.
fn window(len: usize, chance: &mut Chance) -> Vec<f32> {
    let level = [1.0, 1e-3, 300.0, 32_768.0, 1e-30, 1e14, 9.81][chance.below(7)];
    let offset = [0.0, 0.0, 1.0, -9.81, 1e6][chance.below(5)];
    let turn = chance.uniform();
    let sort = chance.below(8);
    let mut window: Vec<f32> = (0..len)
        .map(|t| {
            let x = match sort {
                0 => 0.0,
                1 => 1.0,
                2 => f64::from(t.is_multiple_of(17)),
                3 => (turn * t as f64).sin(),
                4 => (turn * t as f64).sin() + 0.01 * chance.normal(),
                5 => ((t * 10 / len.max(1)) % 2) as f64,
                _ => chance.normal(),
            };
            (x * level + offset) as f32
        })
        .collect();
    if chance.below(20) == 0 {
        let at = chance.below(len);
        window[at] = [f32::NAN, f32::INFINITY, -2e15, -0.0][chance.below(4)];
    }
    window
}

/// One of some values.
fn of<T: Copy>(values: &[T], chance: &mut Chance) -> T {
    values[chance.below(values.len())]
}

fn flag(chance: &mut Chance) -> bool {
    chance.below(2) == 1
}

/// The blocks there are. A new one is drawn once it has a place here, and [`sort_of`] does not compile without.
const SORTS: [Sort; 6] = [
    Sort::Raw,
    Sort::Flatten,
    Sort::Spectral,
    Sort::Mfe,
    Sort::Mfcc,
    Sort::Image,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Raw,
    Flatten,
    Spectral,
    Mfe,
    Mfcc,
    Image,
}

fn sort_of(block: &Block) -> Sort {
    match block {
        Block::Raw(_) => Sort::Raw,
        Block::Flatten(_) => Sort::Flatten,
        Block::Spectral(_) => Sort::Spectral,
        Block::Mfe(_) => Sort::Mfe,
        Block::Mfcc(_) => Sort::Mfcc,
        Block::Image(_) => Sort::Image,
    }
}

fn drawn(chance: &mut Chance) -> FrontEnd {
    let rates = [50.0, 62.5, 100.0, 200.0, 999.9, 8000.0, 16_000.0, 0.01];
    let rate_hz = of(&rates, chance);
    let scale = of(&[1.0, 1.0, 0.5, 1.0 / 32_768.0, -2.0], chance);
    // Those with spectra have most to go wrong.
    let sort = match chance.below(3) {
        0 => of(&[Sort::Spectral, Sort::Mfe, Sort::Mfcc], chance),
        _ => of(&SORTS, chance),
    };
    let motion = |chance: &mut Chance, block| FrontEnd {
        rate_hz,
        channel_count: 1 + chance.below(7) as u16,
        window_len: of(&[8, 9, 31, 64, 128, 190, 500, 700], chance),
        block,
    };
    let sound = |chance: &mut Chance, block| FrontEnd {
        rate_hz,
        channel_count: 1 + chance.below(2) as u16,
        window_len: 16 + chance.below(2_500) as u32,
        block,
    };
    match sort {
        Sort::Raw => motion(chance, Block::Raw(Raw { scale })),
        Sort::Flatten => {
            let flatten = Flatten {
                scale,
                average: flag(chance),
                minimum: flag(chance),
                maximum: flag(chance),
                rms: flag(chance),
                deviation: flag(chance),
                skewness: flag(chance),
                kurtosis: flag(chance),
            };
            FrontEnd {
                rate_hz: of(&[0.0, rate_hz], chance),
                ..motion(chance, Block::Flatten(flatten))
            }
        }
        Sort::Spectral => {
            let spectral = spectral(scale, rate_hz, chance);
            motion(chance, Block::Spectral(spectral))
        }
        Sort::Mfe => {
            let mfe = mfe(rate_hz, chance);
            sound(chance, Block::Mfe(mfe))
        }
        Sort::Mfcc => {
            let mfcc = mfcc(rate_hz, chance);
            sound(chance, Block::Mfcc(mfcc))
        }
        Sort::Image => image(chance),
    }
}

fn spectral(scale: f32, rate_hz: f32, chance: &mut Chance) -> Spectral {
    let share = of(&[0.0, 0.0, 0.02, 0.1, 0.3], chance);
    let filter = Filter {
        kind: of(
            &[FilterKind::None, FilterKind::Low, FilterKind::High],
            chance,
        ),
        cutoff_hz: rate_hz * of(&[0.01, 0.1, 0.25, 0.4, 0.499_99, 1e-9, 0.6], chance),
        order: of(&[2, 4, 6, 8, 8, 3], chance),
    };
    let analysis = if chance.below(3) == 0 {
        Analysis::MaxHold(MaxHold {
            fft_len: of(&[4, 16, 64, 256, 4096], chance),
            log: flag(chance),
            overlap: flag(chance),
        })
    } else {
        Analysis::Bands(Bands {
            fft_len: of(&[0, 0, 16, 64, 256, 1024], chance),
            band_count: of(&[0, 1, 2, 3, 8, 16], chance),
            low_hz: rate_hz * share,
            high_hz: rate_hz * of(&[0.0, 0.45, 0.5], chance),
            log_floor: of(&[1e-9, 1e-6, 1e-3, 1e-40], chance),
            shape: flag(chance),
            percentiles: flag(chance),
            magnitude: flag(chance),
            cross: flag(chance),
        })
    };
    Spectral {
        scale,
        filter,
        analysis,
    }
}

fn framing(chance: &mut Chance) -> Framing {
    let fft_len = of(&[16, 64, 128, 256, 512], chance);
    Framing {
        scale: of(&[1.0, 1.0 / 32_768.0], chance),
        frame_len: of(&[fft_len, fft_len, fft_len / 2 + 1, 10], chance),
        stride: of(&[fft_len / 2, fft_len, 37, 160], chance),
        fft_len,
        taper: of(&[Taper::Rectangular, Taper::Hann, Taper::Hamming], chance),
        pre_emphasis: of(&[0.0, 0.97, -1.0], chance),
    }
}

fn bank(rate_hz: f32, chance: &mut Chance) -> Bank {
    Bank {
        filter_count: of(&[1, 2, 13, 20, 32, 40, 128], chance),
        low_hz: rate_hz * of(&[0.0, 0.01, 0.1], chance),
        high_hz: rate_hz * of(&[0.0, 0.3, 0.5], chance),
    }
}

fn normalize(chance: &mut Chance) -> Normalize {
    let len = of(&[1, 3, 101], chance);
    of(
        &[
            Normalize::None,
            Normalize::Mean,
            Normalize::MeanVariance,
            Normalize::Sliding { len },
        ],
        chance,
    )
}

fn timeline(chance: &mut Chance) -> Timeline {
    let count = of(&[1, 4, 16, 50], chance);
    let trim_db = of(&[0.0, 10.0, 5.0, 20.0, 30.0, 3.3, 1e-40, 3e9], chance);
    of(
        &[
            Timeline::Frames,
            Timeline::Moments,
            Timeline::Stretches { count, trim_db },
        ],
        chance,
    )
}

fn mfe(rate_hz: f32, chance: &mut Chance) -> Mfe {
    let number = of(&[1e-10, 1.0, 80.0, 11.9], chance);
    Mfe {
        framing: framing(chance),
        bank: bank(rate_hz, chance),
        level: of(
            &[
                Level::Natural { floor: number },
                Level::Decibel { range_db: number },
                Level::Quantized {
                    noise_floor_db: -number,
                },
            ],
            chance,
        ),
        normalize: normalize(chance),
        timeline: timeline(chance),
    }
}

fn mfcc(rate_hz: f32, chance: &mut Chance) -> Mfcc {
    let bank = bank(rate_hz, chance);
    Mfcc {
        framing: framing(chance),
        bank,
        coefficient_count: of(&[1, 13, bank.filter_count, bank.filter_count], chance),
        energy: flag(chance),
        delta: flag(chance),
        log_floor: of(&[1e-8, 1e-3, 1.0], chance),
        lifter: of(&[0, 1, 7, 22], chance),
        normalize: normalize(chance),
        timeline: timeline(chance),
    }
}

fn image(chance: &mut Chance) -> FrontEnd {
    let (source_height, source_width) = (1 + chance.below(40) as u16, 1 + chance.below(40) as u16);
    FrontEnd {
        rate_hz: 0.0,
        channel_count: of(&[1, 3], chance),
        window_len: u32::from(source_height) * u32::from(source_width),
        block: Block::Image(Image {
            source_height,
            source_width,
            height: 1 + chance.below(usize::from(source_height)) as u16,
            width: 1 + chance.below(usize::from(source_width)) as u16,
            grey: flag(chance),
            offset: of(&[0.0, -128.0], chance),
            scale: of(&[1.0, 1.0 / 255.0], chance),
        }),
    }
}
