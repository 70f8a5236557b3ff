//! Mean and deviation of features over the training windows.

use tinyops_model::OwnedScaler;

use crate::Features;
use crate::anomaly::quantile;
use crate::spec::ScalerSpec;

/// Deviations below this share of the largest feature value seen are taken for a constant feature.
const CONSTANT: f64 = 1e-6;

/// Measures the training windows and their changed copies.
pub(crate) fn measure(spec: ScalerSpec, features: &Features, members: &[usize]) -> OwnedScaler {
    let width = features.width();
    let columns = usize::from(features.shape.width) * usize::from(features.shape.channels);
    let is_plane = features.shape.height > 1;
    let groups = match spec {
        ScalerSpec::Off => {
            return OwnedScaler {
                mean: vec![0.0],
                inv_std: vec![1.0],
            };
        }
        ScalerSpec::Whole => 1,
        ScalerSpec::Column => columns,
        ScalerSpec::Feature => width,
        ScalerSpec::Robust => return robust(features, members),
        // A raw window has its channels innermost, and a place in time means nothing by itself.
        ScalerSpec::Auto if is_raw(features) => usize::from(features.shape.channels),
        ScalerSpec::Auto if is_plane => columns,
        ScalerSpec::Auto => width,
    };
    let mut sums = vec![[0.0f64; 2]; groups];
    let mut largest = vec![0.0f64; groups];
    let rows =
        || (0..features.copies).flat_map(|copy| members.iter().map(move |&index| (copy, index)));
    let mut count = 0.0;
    for (copy, index) in rows() {
        for part in features.row(copy, index).chunks_exact(groups) {
            count += 1.0;
            for ((sum, largest), x) in sums.iter_mut().zip(&mut largest).zip(part) {
                sum[0] += f64::from(*x);
                *largest = largest.max(f64::from(x.abs()));
            }
        }
    }
    let count = f64::max(count, 1.0);
    let means: Vec<f64> = sums.iter().map(|sum| sum[0] / count).collect();
    for (copy, index) in rows() {
        for part in features.row(copy, index).chunks_exact(groups) {
            for ((sum, mean), x) in sums.iter_mut().zip(&means).zip(part) {
                sum[1] += (f64::from(*x) - mean) * (f64::from(*x) - mean);
            }
        }
    }
    let inv_std = sums.iter().zip(&largest).map(|(sum, largest)| {
        let deviation = (sum[1] / count).sqrt();
        // What never moved in training would otherwise shout at its first breath on a device.
        if deviation > CONSTANT * largest && deviation > 0.0 {
            (1.0 / deviation) as f32
        } else {
            0.0
        }
    });
    let inv_std = inv_std
        .map(|x| if x.is_finite() { x } else { 0.0 })
        .collect();
    OwnedScaler {
        mean: means.iter().map(|&mean| mean as f32).collect(),
        inv_std,
    }
}

/// Least spread of the quartiles that is believed, as a share of the deviation.
const NARROW: f32 = 0.1;

/// Median and quartiles of each feature, the quartiles as the deviation that a Gaussian of theirs has.
fn robust(features: &Features, members: &[usize]) -> OwnedScaler {
    let plain = measure(ScalerSpec::Feature, features, members);
    let mut scaler = OwnedScaler::default();
    let mut column = Vec::new();
    for (feature, &inv_std) in plain.inv_std.iter().enumerate() {
        column.clear();
        column.extend(members.iter().map(|&index| features.row(0, index)[feature]));
        column.sort_by(f32::total_cmp);
        let at = |share| quantile(&column, share);
        // Quartiles of a Gaussian are 1.349 deviations apart.
        let spread = (at(0.75) - at(0.25)) / 1.349;
        let deviation = if inv_std > 0.0 { 1.0 / inv_std } else { 0.0 };
        scaler.mean.push(at(0.5));
        scaler.inv_std.push(if deviation > 0.0 {
            1.0 / spread.clamp(NARROW * deviation, deviation)
        } else {
            0.0
        });
    }
    scaler
}

fn is_raw(features: &Features) -> bool {
    matches!(features.front_end.block, tinyops_dsp::Block::Raw(_))
}
