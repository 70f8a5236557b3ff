//! Slow, obvious implementations, written from the specification and not from the kernels.

use tinyops_nn::Multiplier;
use tinyops_nn::record::OpRecord;

use crate::plans::Activation;

/// `value / 2^31 * 2^shift` in two roundings: the high product to the nearest, halves upwards;
/// then the right shift to the nearest, halves away from zero.
pub(crate) fn rescale(accumulator: i64, multiplier: Multiplier) -> i64 {
    let left = i64::from(multiplier.shift.max(0));
    let right = i64::from((-multiplier.shift).max(0));
    let shifted = accumulator << left;
    assert!(
        i32::try_from(shifted).is_ok(),
        "the test keeps sums small enough to shift"
    );
    let product = i128::from(shifted) * i128::from(multiplier.value);
    let high = (2 * product + (1i128 << 31)).div_euclid(1i128 << 32) as i64;
    let half = if right == 0 { 0 } else { 1i64 << (right - 1) };
    high.signum() * ((high.abs() + half) >> right)
}

/// The value at a place, or `None` in the padding.
fn at(input: &Activation, values: &[i8], y: i64, x: i64, channel: usize) -> Option<i64> {
    let [height, width, channels] = input.shape.map(i64::from);
    let inside = (0..height).contains(&y) && (0..width).contains(&x);
    inside.then(|| i64::from(values[((y * width + x) * channels) as usize + channel]))
}

/// Every tap of a window: its index and its place in the input.
fn taps(op: &OpRecord, y: usize, x: usize) -> impl Iterator<Item = (usize, i64, i64)> {
    let op = *op;
    let start =
        |axis: usize, at: usize| at as i64 * i64::from(op.stride[axis]) - i64::from(op.pad[axis]);
    let (top, left) = (start(0, y), start(1, x));
    let [height, width] = op.kernel.map(usize::from);
    let step = move |axis: usize, tap: usize| tap as i64 * i64::from(op.dilation[axis]);
    (0..height * width)
        .map(move |tap| (tap, top + step(0, tap / width), left + step(1, tap % width)))
}

/// Every place of an output.
fn places(output: &Activation) -> impl Iterator<Item = (usize, usize, usize)> {
    let [height, width, channels] = output.shape.map(usize::from);
    (0..height * width * channels)
        .map(move |i| (i / channels / width, i / channels % width, i % channels))
}

fn finish(op: &OpRecord, output: &Activation, value: i64) -> i8 {
    let value = value + i64::from(output.zero_point);
    value.clamp(i64::from(op.clamp[0]), i64::from(op.clamp[1])) as i8
}

/// A convolution with a filter `[out][height][width][in]` and biases without folded zero point.
pub(crate) fn conv2d(
    op: &OpRecord,
    (input, output): (&Activation, &Activation),
    values: &[i8],
    filter: &[i8],
    biases: &[i32],
    multipliers: &[Multiplier],
) -> Vec<i8> {
    let channels = usize::from(input.shape[2]);
    let taps_count = usize::from(op.kernel[0]) * usize::from(op.kernel[1]);
    let value = |(y, x, o): (usize, usize, usize)| {
        let mut sum = i64::from(biases[o]);
        for (tap, in_y, in_x) in taps(op, y, x) {
            for c in 0..channels {
                let weight = i64::from(filter[(o * taps_count + tap) * channels + c]);
                if let Some(value) = at(input, values, in_y, in_x, c) {
                    sum += (value - i64::from(input.zero_point)) * weight;
                }
            }
        }
        finish(op, output, rescale(sum, multipliers[o % multipliers.len()]))
    };
    places(output).map(value).collect()
}

/// A depthwise convolution with a filter `[height][width][out]`.
pub(crate) fn depthwise_conv2d(
    op: &OpRecord,
    (input, output): (&Activation, &Activation),
    values: &[i8],
    filter: &[i8],
    biases: &[i32],
    multipliers: &[Multiplier],
) -> Vec<i8> {
    let outputs = usize::from(output.shape[2]);
    let per_input = outputs / usize::from(input.shape[2]);
    let value = |(y, x, o): (usize, usize, usize)| {
        let mut sum = i64::from(biases[o]);
        for (tap, in_y, in_x) in taps(op, y, x) {
            if let Some(value) = at(input, values, in_y, in_x, o / per_input) {
                sum += (value - i64::from(input.zero_point)) * i64::from(filter[tap * outputs + o]);
            }
        }
        finish(op, output, rescale(sum, multipliers[o % multipliers.len()]))
    };
    places(output).map(value).collect()
}

/// Average or greatest value of the part of each window that lies inside.
pub(crate) fn pool(
    op: &OpRecord,
    (input, output): (&Activation, &Activation),
    values: &[i8],
    average: bool,
) -> Vec<i8> {
    let value = |(y, x, c): (usize, usize, usize)| {
        let inside: Vec<i64> = taps(op, y, x)
            .filter_map(|(_, in_y, in_x)| at(input, values, in_y, in_x, c))
            .collect();
        let count = inside.len() as i64;
        let sum: i64 = inside.iter().sum();
        let result = if average {
            // To the nearest, halves away from zero.
            sum.signum() * ((2 * sum.abs() + count) / (2 * count))
        } else {
            *inside.iter().max().expect("the window touches the input")
        };
        result.clamp(i64::from(op.clamp[0]), i64::from(op.clamp[1])) as i8
    };
    places(output).map(value).collect()
}
