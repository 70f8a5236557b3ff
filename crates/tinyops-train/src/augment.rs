//! Changed copies of raw windows: what a device may see that the recordings lack.

use crate::rng::Rng;
use crate::spec::AugmentSpec;

/// Writes a changed copy of `window` (`[reading, channel]`) to `out`.
pub(crate) fn change(
    spec: &AugmentSpec,
    channels: usize,
    window: &[f32],
    out: &mut Vec<f32>,
    rng: &mut Rng,
) {
    // Every change draws its chance, used or not, so that one setting does not shift the others' draws.
    let speed = 1.0 + rng.within(spec.speed);
    let shift = rng.within(spec.shift);
    let scale = 1.0 + rng.within(spec.scale);
    let rotation = Rotation::random(spec.rotate_degrees, rng);
    let noise = rng.uniform() * spec.noise;
    out.clear();
    out.extend_from_slice(window);
    if speed != 1.0 {
        stretch(channels, window, speed, out);
    }
    if shift != 0.0 {
        let len = out.len() / channels.max(1);
        let places = (shift * len as f32) as isize;
        out.rotate_right(places.rem_euclid(len.max(1) as isize) as usize * channels);
    }
    if spec.rotate_degrees > 0.0 {
        for reading in out.chunks_exact_mut(channels) {
            reading
                .chunks_exact_mut(3)
                .for_each(|axes| rotation.apply(axes));
        }
    }
    out.iter_mut().for_each(|x| *x *= scale);
    if spec.noise > 0.0 {
        for channel in 0..channels {
            let deviation = noise * deviation(out.iter().skip(channel).step_by(channels));
            out.iter_mut()
                .skip(channel)
                .step_by(channels)
                .for_each(|x| *x += deviation * rng.normal());
        }
    }
}

/// Plays the window faster (above 1) or slower around its middle; past its ends it is silent.
///
/// A slower copy loses what no longer fits. Linear interpolation: what it takes from the highest
/// frequencies is part of the change.
fn stretch(channels: usize, window: &[f32], speed: f32, out: &mut [f32]) {
    let len = window.len() / channels;
    let middle = (len as f32 - 1.0) / 2.0;
    for (index, reading) in out.chunks_exact_mut(channels).enumerate() {
        let at = middle + (index as f32 - middle) * speed;
        let from = at.floor();
        let share = at - from;
        for (channel, x) in reading.iter_mut().enumerate() {
            let read = |place: f32| {
                if place >= 0.0 && (place as usize) < len {
                    window[place as usize * channels + channel]
                } else {
                    0.0
                }
            };
            *x = read(from) * (1.0 - share) + read(from + 1.0) * share;
        }
    }
}

fn deviation<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> f32 {
    let count = values.clone().count().max(1) as f32;
    let mean = values.clone().sum::<f32>() / count;
    (values.map(|x| (x - mean) * (x - mean)).sum::<f32>() / count).sqrt()
}

/// A rotation matrix, row by row.
struct Rotation([[f32; 3]; 3]);

impl Rotation {
    /// About a random axis by a random angle up to `degrees` (Rodrigues' formula).
    fn random(degrees: f32, rng: &mut Rng) -> Self {
        let mut axis = [rng.normal(), rng.normal(), rng.normal()];
        let length = axis.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
        axis.iter_mut().for_each(|x| *x /= length);
        let angle = rng.within(degrees).to_radians();
        let (sin, cos) = (libm::sinf(angle), libm::cosf(angle));
        let [x, y, z] = axis;
        let rest = 1.0 - cos;
        Self([
            [
                cos + x * x * rest,
                x * y * rest - z * sin,
                x * z * rest + y * sin,
            ],
            [
                y * x * rest + z * sin,
                cos + y * y * rest,
                y * z * rest - x * sin,
            ],
            [
                z * x * rest - y * sin,
                z * y * rest + x * sin,
                cos + z * z * rest,
            ],
        ])
    }

    fn apply(&self, axes: &mut [f32]) {
        let old = [axes[0], axes[1], axes[2]];
        for (new, row) in axes.iter_mut().zip(&self.0) {
            *new = row.iter().zip(&old).map(|(a, b)| a * b).sum();
        }
    }
}

/// Hides up to `frames` rows and up to `columns` columns of one plane of standardised features
/// (0 is the mean of training).
///
/// # Source
/// D. Park et al., 2019, "SpecAugment".
pub(crate) fn mask(
    spec: &AugmentSpec,
    height: usize,
    row_len: usize,
    columns: usize,
    plane: &mut [f32],
    rng: &mut Rng,
) {
    let span = |most: u32, len: usize, rng: &mut Rng| {
        let hidden = rng.below(most as usize + 1).min(len.saturating_sub(1));
        let start = rng.below(len - hidden + 1);
        start..start + hidden
    };
    if height > 1 && row_len > 0 {
        let rows = span(spec.mask_frames, height, rng);
        plane[rows.start * row_len..rows.end * row_len].fill(0.0);
    }
    if columns > 1 {
        let depth = row_len / columns;
        let hidden = span(spec.mask_columns, columns, rng);
        for row in plane.chunks_exact_mut(row_len) {
            row[hidden.start * depth..hidden.end * depth].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(spec: &AugmentSpec, window: &[f32], channels: usize) -> Vec<f32> {
        let mut out = Vec::new();
        change(spec, channels, window, &mut out, &mut Rng::new(9, 9));
        out
    }

    #[test]
    fn no_setting_no_change() {
        let window: Vec<f32> = (0..30).map(|i| i as f32).collect();
        assert_eq!(changed(&AugmentSpec::default(), &window, 3), window);
    }

    #[test]
    fn a_rotation_keeps_every_length() {
        let window = [0.3, -1.0, 2.0, 1.0, 1.0, 1.0];
        let spec = AugmentSpec {
            rotate_degrees: 180.0,
            ..AugmentSpec::default()
        };
        let turned = changed(&spec, &window, 3);
        assert_ne!(turned, window);
        for (a, b) in turned.chunks(3).zip(window.chunks(3)) {
            let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((norm(a) - norm(b)).abs() < 1e-5);
        }
    }

    #[test]
    fn a_shift_keeps_readings_together() {
        let window: Vec<f32> = (0..20).map(|i| i as f32).collect();
        let spec = AugmentSpec {
            shift: 1.0,
            ..AugmentSpec::default()
        };
        let shifted = changed(&spec, &window, 2);
        assert!(
            shifted
                .chunks(2)
                .all(|pair| pair[1] == pair[0] + 1.0 && pair[0] % 2.0 == 0.0)
        );
    }

    #[test]
    fn speed_moves_a_tone() {
        let crossings = |x: &[f32]| {
            x.windows(2)
                .filter(|w| (w[0] < 0.0) != (w[1] < 0.0))
                .count()
        };
        let window: Vec<f32> = (0..400).map(|i| (i as f32 * 0.3 + 0.1).sin()).collect();
        let mut out = window.clone();
        stretch(1, &window, 0.5, &mut out);
        let (slow, before) = (crossings(&out), crossings(&window));
        assert!(slow.abs_diff(before / 2) <= 1, "{slow} {before}");
    }
}
