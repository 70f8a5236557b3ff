//! Another rate for a recording, without folding what the new rate cannot hold back into it.

use crate::sample::Label;

/// Zero crossings of the kernel on each side, at the lower of the two rates: the stop band begins 1.2 times above the
/// pass band and lies 70 dB below it.
const CROSSINGS: f64 = 32.0;

/// Where the pass band ends, as a share of the lower rate's half.
const PASS: f64 = 0.92;

/// Resamples interleaved readings of `width` channels.
///
/// `out[n] = Σ_k x[k] h(n·from/to − k) / Σ_k h(n·from/to − k)`, with `h` a sinc at 0.92 of the lower Nyquist frequency
/// under a Blackman window. Readings beyond the ends count as absent, so that a constant stays constant.
///
/// # Units
/// `from_hz` and `to_hz` in any common unit, above 0.
pub(crate) fn resample(readings: &[f32], width: usize, from_hz: f64, to_hz: f64) -> Vec<f32> {
    let len = readings.len() / width.max(1);
    if len == 0 {
        return Vec::new();
    }
    let step = from_hz / to_hz;
    let cutoff = PASS * (1.0 / step).min(1.0);
    let reach = CROSSINGS / cutoff;
    let out_len = resampled_len(len, from_hz, to_hz);
    let mut out = Vec::with_capacity(out_len * width);
    let mut taps: Vec<f64> = Vec::new();
    let mut taps_phase = f64::NAN;
    let mut sums = vec![0.0; width];
    for index in 0..out_len {
        let place = index as f64 * step;
        let whole = libm::floor(place);
        let phase = place - whole;
        let radius = libm::ceil(reach) as usize;
        // With a whole factor every reading has the same taps.
        if phase != taps_phase {
            taps.clear();
            taps.extend((0..=2 * radius).map(|tap| {
                let distance = tap as f64 - radius as f64 - phase;
                kernel(distance, cutoff, reach)
            }));
            taps_phase = phase;
        }
        sums.fill(0.0);
        let mut weight = 0.0;
        let whole = whole as usize;
        let first = whole.saturating_sub(radius);
        let last = (whole + radius).min(len - 1);
        for reading in first..=last {
            let tap = taps[reading + radius - whole];
            weight += tap;
            let frame = &readings[reading * width..(reading + 1) * width];
            for (sum, &value) in sums.iter_mut().zip(frame) {
                *sum += tap * f64::from(value);
            }
        }
        out.extend(sums.iter().map(|sum| (sum / weight) as f32));
    }
    out
}

fn kernel(distance: f64, cutoff: f64, reach: f64) -> f64 {
    use std::f64::consts::PI;
    if distance.abs() >= reach {
        return 0.0;
    }
    let angle = PI * distance * cutoff;
    let sinc = if angle == 0.0 {
        1.0
    } else {
        libm::sin(angle) / angle
    };
    let turn = PI * distance / reach;
    let blackman = 0.42 + 0.5 * libm::cos(turn) + 0.08 * libm::cos(2.0 * turn);
    sinc * blackman
}

fn resampled_len(len: usize, from_hz: f64, to_hz: f64) -> usize {
    libm::floor((len - 1) as f64 * to_hz / from_hz) as usize + 1
}

/// The label of the resampled recording: spans are scaled, values are those of the nearest reading.
pub(crate) fn resample_label(label: Label, len: usize, from_hz: f64, to_hz: f64) -> Label {
    if len == 0 {
        return label;
    }
    let out_len = resampled_len(len, from_hz, to_hz);
    let scaled = |index: usize| (libm::ceil(index as f64 * to_hz / from_hz) as usize).min(out_len);
    match label {
        Label::Segments(mut segments) => {
            for segment in &mut segments {
                segment.range = scaled(segment.range.start)..scaled(segment.range.end);
            }
            segments.retain(|segment| !segment.range.is_empty());
            Label::Segments(segments)
        }
        Label::Values(values) => {
            let nearest = |index: usize| libm::round(index as f64 * from_hz / to_hz) as usize;
            let value = |index| values[nearest(index).min(values.len() - 1)];
            Label::Values(if values.is_empty() {
                Vec::new()
            } else {
                (0..out_len).map(value).collect()
            })
        }
        label => label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Segment;

    fn sine(len: usize, rate_hz: f64, hz: f64) -> Vec<f32> {
        let angle = |i: usize| 2.0 * std::f64::consts::PI * hz * i as f64 / rate_hz;
        (0..len).map(|i| angle(i).sin() as f32).collect()
    }

    /// The loudest difference away from the ends.
    fn difference(left: &[f32], right: &[f32]) -> f32 {
        let middle = left.len() / 4..left.len() * 3 / 4;
        let pairs = left[middle.clone()].iter().zip(&right[middle]);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn what_the_new_rate_can_hold_stays() {
        for (from, to) in [
            (48_000.0, 12_000.0),
            (104.0, 62.5),
            (50.0, 100.0),
            (100.0, 100.0),
        ] {
            let hz = 0.3 * f64::min(from, to);
            let out = resample(&sine(2000, from, hz), 1, from, to);
            let expected = sine(out.len(), to, hz);
            assert!(
                difference(&out, &expected) < 1e-3,
                "{from} -> {to}: {}",
                difference(&out, &expected)
            );
        }
    }

    #[test]
    fn what_it_cannot_hold_is_gone() {
        // 10 kHz would come back as 2 kHz at 12 kHz.
        let out = resample(&sine(8000, 48_000.0, 10_000.0), 1, 48_000.0, 12_000.0);
        let loudest = difference(&out, &vec![0.0; out.len()]);
        assert!(loudest < 1e-3, "{loudest}");
    }

    #[test]
    fn channels_stay_apart_and_constants_constant() {
        let readings: Vec<f32> = (0..200).flat_map(|_| [1.0, -2.0]).collect();
        let out = resample(&readings, 2, 100.0, 40.0);
        assert_eq!(out.len(), 2 * 80);
        for frame in out.chunks(2) {
            assert!((frame[0] - 1.0).abs() < 1e-6 && (frame[1] + 2.0).abs() < 1e-6);
        }
    }

    #[test]
    fn labels_follow() {
        let segment = |range, class: &str| Segment {
            range,
            class: class.into(),
        };
        let label = Label::Segments(vec![segment(0..8, "a"), segment(8..12, "b")]);
        assert_eq!(
            resample_label(label, 12, 4.0, 1.0),
            Label::Segments(vec![segment(0..2, "a"), segment(2..3, "b")])
        );
        let values = Label::Values(vec![0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(
            resample_label(values, 5, 2.0, 1.0),
            Label::Values(vec![0.0, 2.0, 4.0])
        );
    }
}
