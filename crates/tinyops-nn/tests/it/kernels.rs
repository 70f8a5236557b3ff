//! Each kernel against the reference, over random shapes, paddings, strides and values.

use proptest::prelude::*;
use tinyops_nn::record::{FLAG_BACKWARD, OpCode};
use tinyops_nn::{Multiplier, dequantize, lookup};

use crate::plans::{Activation, OneOp};
use crate::reference;

/// Geometry of a windowed op whose window always touches its input.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    input: [u16; 3],
    output: [u16; 2],
    kernel: [u16; 2],
    stride: [u8; 2],
    dilation: [u8; 2],
    pad: [u16; 2],
}

fn geometry(channels_max: u16) -> impl Strategy<Value = Geometry> {
    let axis = || {
        (1u16..9, 1u16..5, 1u8..4, 1u8..4).prop_flat_map(|(input, kernel, stride, dilation)| {
            let reach = (kernel - 1) * u16::from(dilation) + 1;
            // Padding of less than the reach on either side keeps a tap inside, were it not for dilation.
            (0..reach.min(4), 0..reach.min(4)).prop_map(move |(before, after)| {
                let len = input + before + after;
                let output = len.saturating_sub(reach) / u16::from(stride) + 1;
                (input, kernel, stride, dilation, before, output)
            })
        })
    };
    (axis(), axis(), 1..=channels_max).prop_map(|(rows, columns, channels)| Geometry {
        input: [rows.0, columns.0, channels],
        output: [rows.5, columns.5],
        kernel: [rows.1, columns.1],
        stride: [rows.2, columns.2],
        dilation: [rows.3, columns.3],
        pad: [rows.4, columns.4],
    })
}

fn activation(shape: [u16; 3], zero_point: i8) -> Activation {
    Activation {
        shape,
        scale: 0.1,
        zero_point,
    }
}

/// Numbers from a seed: proptest's own vectors of thousands of bytes are slow to make and to shrink.
fn bytes(seed: u64, count: usize) -> Vec<i8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 56) as u8 as i8
    };
    (0..count).map(|_| next()).collect()
}

fn biases(seed: u64, count: usize) -> Vec<i32> {
    bytes(seed ^ 1, count)
        .iter()
        .map(|&byte| i32::from(byte) * 50)
        .collect()
}

fn multipliers(seed: u64, count: usize) -> Vec<Multiplier> {
    // Far apart, or so close that a plan packs them.
    let (step, least) = if seed.is_multiple_of(2) {
        (0.0004, 0.0001)
    } else {
        (0.0004, 0.01)
    };
    let value = |byte: i8| Multiplier::from_real(f64::from(byte).abs().mul_add(step, least));
    bytes(seed ^ 2, count).into_iter().map(value).collect()
}

fn clamp() -> impl Strategy<Value = [i8; 2]> {
    (any::<i8>(), any::<i8>()).prop_map(|(a, b)| [a.min(b), a.max(b)])
}

/// Folds the input's zero point into the biases, as a plan has them.
fn folded(biases: &[i32], sums: impl Iterator<Item = i32>, zero_point: i8) -> Vec<i32> {
    biases
        .iter()
        .zip(sums)
        .map(|(bias, sum)| bias - sum * i32::from(zero_point))
        .collect()
}

fn place(one: &mut OneOp, geometry: &Geometry, clamp: [i8; 2]) {
    one.record.kernel = geometry.kernel;
    one.record.stride = geometry.stride;
    one.record.dilation = geometry.dilation;
    one.record.pad = geometry.pad;
    one.record.clamp = clamp;
    if one.record.keeps_to_rows() && geometry.kernel[0].is_multiple_of(2) {
        one.record.flags |= FLAG_BACKWARD;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn conv2d_is_the_reference(
        geometry in geometry(9), outputs in 1u16..11, seed: u64, zero_points: (i8, i8), clamp in clamp(), per_channel: bool,
    ) {
        let input = activation(geometry.input, zero_points.0);
        let output = activation([geometry.output[0], geometry.output[1], outputs], zero_points.1);
        let outputs = usize::from(outputs);
        let taps = usize::from(geometry.kernel[0] * geometry.kernel[1] * geometry.input[2]);
        let values = bytes(seed, input.len());
        let filter = bytes(seed ^ 3, outputs * taps);
        let biases = biases(seed, outputs);
        let multipliers = multipliers(seed, if per_channel { outputs } else { 1 });
        let sums = filter.chunks(taps).map(|row| row.iter().map(|&w| i32::from(w)).sum());
        let mut one = OneOp::new(OpCode::Conv2d, &[input], output)
            .with_filter(&filter, &folded(&biases, sums, input.zero_point), &multipliers);
        place(&mut one, &geometry, clamp);
        let expected = reference::conv2d(&one.record, (&input, &output), &values, &filter, &biases, &multipliers);
        prop_assert_eq!(one.run(&values), expected);
    }

    #[test]
    fn depthwise_conv2d_is_the_reference(
        geometry in geometry(40), multiplier in 1u16..4, seed: u64, zero_points: (i8, i8), clamp in clamp(), per_channel: bool,
    ) {
        let input = activation(geometry.input, zero_points.0);
        let outputs = geometry.input[2] * multiplier;
        let output = activation([geometry.output[0], geometry.output[1], outputs], zero_points.1);
        let outputs = usize::from(outputs);
        let taps = usize::from(geometry.kernel[0] * geometry.kernel[1]);
        let values = bytes(seed, input.len());
        let filter = bytes(seed ^ 3, outputs * taps);
        let biases = biases(seed, outputs);
        let multipliers = multipliers(seed, if per_channel { outputs } else { 1 });
        let sums = (0..outputs).map(|o| filter.iter().skip(o).step_by(outputs).map(|&w| i32::from(w)).sum());
        let mut one = OneOp::new(OpCode::DepthwiseConv2d, &[input], output)
            .with_filter(&filter, &folded(&biases, sums, input.zero_point), &multipliers);
        place(&mut one, &geometry, clamp);
        let expected = reference::depthwise_conv2d(&one.record, (&input, &output), &values, &filter, &biases, &multipliers);
        prop_assert_eq!(one.run(&values), expected);
    }

    #[test]
    fn pools_are_the_reference(geometry in geometry(20), seed: u64, zero_point: i8, clamp in clamp(), average: bool) {
        let geometry = Geometry { dilation: [1, 1], ..geometry };
        let fits = |axis: usize| {
            let last = (geometry.output[axis] - 1) * u16::from(geometry.stride[axis]);
            geometry.pad[axis] < geometry.kernel[axis] && last < geometry.input[axis] + geometry.pad[axis]
        };
        prop_assume!(fits(0) && fits(1));
        let input = activation(geometry.input, zero_point);
        let output = activation([geometry.output[0], geometry.output[1], geometry.input[2]], zero_point);
        let values = bytes(seed, input.len());
        let code = if average { OpCode::AveragePool2d } else { OpCode::MaxPool2d };
        let mut one = OneOp::new(code, &[input], output);
        place(&mut one, &geometry, clamp);
        let expected = reference::pool(&one.record, (&input, &output), &values, average);
        prop_assert_eq!(one.run(&values), expected);
    }

    #[test]
    fn mean_is_within_one_of_the_real_mean(
        shape in (1u16..9, 1u16..9, 1u16..20), seed: u64, zero_points: (i8, i8), scales in (0.01f32..1.0, 0.01f32..1.0),
    ) {
        let input = Activation { shape: shape.into(), scale: scales.0, zero_point: zero_points.0 };
        let output = Activation { shape: [1, 1, shape.2], scale: scales.1, zero_point: zero_points.1 };
        let count = i32::from(shape.0 * shape.1);
        let multiplier = Multiplier::from_real(f64::from(scales.0) / f64::from(scales.1) / f64::from(count));
        let bias = -count * i32::from(zero_points.0);
        let values = bytes(seed, input.len());
        let one = OneOp::new(OpCode::Mean, &[input], output)
            .with_numbers(&[bias, multiplier.value, i32::from(multiplier.shift)]);
        let channels = usize::from(shape.2);
        for (channel, actual) in one.run(&values).into_iter().enumerate() {
            let real = |&value: &i8| f64::from(dequantize(value, input.scale, input.zero_point));
            let mean = values.iter().skip(channel).step_by(channels).map(real).sum::<f64>() / f64::from(count);
            let expected = (mean / f64::from(scales.1) + f64::from(zero_points.1)).clamp(-128.0, 127.0);
            prop_assert!((f64::from(actual) - expected).abs() <= 1.0, "{} for {}", actual, expected);
        }
    }

    #[test]
    fn add_is_within_one_of_the_real_sum(
        seed: u64, zero_points: (i8, i8, i8), scales in (0.01f32..1.0, 0.01f32..1.0, 0.01f32..1.0),
    ) {
        let shape = [3, 2, 7];
        let first = Activation { shape, scale: scales.0, zero_point: zero_points.0 };
        let second = Activation { shape, scale: scales.1, zero_point: zero_points.1 };
        let output = Activation { shape, scale: scales.2, zero_point: zero_points.2 };
        let twice = 2.0 * f64::from(scales.0.max(scales.1));
        let factors = [f64::from(scales.0) / twice, f64::from(scales.1) / twice, twice / f64::from(1 << 20) / f64::from(scales.2)];
        let numbers: Vec<i32> = factors.iter().map(|&factor| Multiplier::from_real(factor))
            .flat_map(|multiplier| [multiplier.value, i32::from(multiplier.shift)]).collect();
        let values = bytes(seed, 2 * first.len());
        let one = OneOp::new(OpCode::Add, &[first, second], output).with_numbers(&numbers);
        let real = |value: i8, tensor: &Activation| f64::from(dequantize(value, tensor.scale, tensor.zero_point));
        for (index, actual) in one.run(&values).into_iter().enumerate() {
            let sum = real(values[index], &first) + real(values[first.len() + index], &second);
            let expected = (sum / f64::from(output.scale) + f64::from(output.zero_point)).clamp(-128.0, 127.0);
            prop_assert!((f64::from(actual) - expected).abs() <= 1.0, "{} for {}", actual, expected);
        }
    }

    #[test]
    fn softmax_is_within_one_of_the_real_one(seed: u64, rows in 1u16..4, channels in 1u16..20, scale in 0.01f32..0.5) {
        let input = Activation { shape: [1, rows, channels], scale, zero_point: 3 };
        let output = Activation { shape: input.shape, scale: 1.0 / 256.0, zero_point: -128 };
        let (multiplier, least) = lookup::softmax_numbers(scale, 1.0);
        let values = bytes(seed, input.len());
        let one = OneOp::new(OpCode::Softmax, &[input], output)
            .with_numbers(&[multiplier.value, i32::from(multiplier.shift), least]);
        let actual = one.run(&values);
        let channels = usize::from(channels);
        for (values, actual) in values.chunks(channels).zip(actual.chunks(channels)) {
            let exponentials: Vec<f64> = values.iter().map(|&value| (f64::from(value) * f64::from(scale)).exp()).collect();
            let sum: f64 = exponentials.iter().sum();
            for (exponential, &actual) in exponentials.iter().zip(actual) {
                let expected = (exponential / sum * 256.0 - 128.0).min(127.0);
                prop_assert!((f64::from(actual) - expected).abs() <= 1.0, "{} for {}", actual, expected);
            }
        }
    }

    #[test]
    fn pad_surrounds_with_the_zero_point(shape in (1u16..5, 1u16..5, 1u16..4), pads in (0u16..4, 0u16..4, 0u16..4, 0u16..4), seed: u64) {
        let input = activation(shape.into(), 9);
        let output = activation([shape.0 + pads.0 + pads.1, shape.1 + pads.2 + pads.3, shape.2], 9);
        let values = bytes(seed, input.len());
        let mut one = OneOp::new(OpCode::Pad, &[input], output);
        one.record.pad = [pads.0, pads.2];
        let [_, width, channels] = output.shape.map(usize::from);
        for (index, actual) in one.run(&values).into_iter().enumerate() {
            let y = (index / channels / width).checked_sub(pads.0.into()).filter(|&y| y < usize::from(shape.0));
            let x = (index / channels % width).checked_sub(pads.2.into()).filter(|&x| x < usize::from(shape.1));
            let inside = y.zip(x).map(|(y, x)| values[(y * usize::from(shape.1) + x) * channels + index % channels]);
            prop_assert_eq!(actual, inside.unwrap_or(9));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// As many outputs and pixels as make every tile of the host's kernels, whole and cut short.
    #[test]
    fn wide_convolutions_are_the_reference(
        geometry in geometry(70), size in (1u16..30, 1u16..30), outputs in 1u16..150, seed: u64, zero_points: (i8, i8), dense: bool,
    ) {
        let mut geometry = geometry;
        geometry.output = [size.0, size.1];
        if dense {
            geometry = Geometry { input: [1, 1, geometry.input[2]], output: [1, 1], kernel: [1, 1], pad: [0, 0], ..geometry };
        }
        let input = activation(geometry.input, zero_points.0);
        let output = activation([geometry.output[0], geometry.output[1], outputs], zero_points.1);
        let outputs = usize::from(outputs);
        let taps = usize::from(geometry.kernel[0] * geometry.kernel[1] * geometry.input[2]);
        let values = bytes(seed, input.len());
        let filter = bytes(seed ^ 3, outputs * taps);
        let biases = biases(seed, outputs);
        // Factors from far below 1 to above it.
        let factor = 2f64.powi(-((seed % 18) as i32)) * 2.0;
        let multipliers: Vec<Multiplier> = (0..outputs)
            .map(|output| Multiplier::from_real(factor * (1.0 + output as f64 / 200.0)))
            .collect();
        let sums = filter.chunks(taps).map(|row| row.iter().map(|&w| i32::from(w)).sum());
        let mut one = OneOp::new(OpCode::Conv2d, &[input], output)
            .with_filter(&filter, &folded(&biases, sums, input.zero_point), &multipliers);
        place(&mut one, &geometry, [-128, 127]);
        let expected = reference::conv2d(&one.record, (&input, &output), &values, &filter, &biases, &multipliers);
        prop_assert_eq!(one.run(&values), expected);
    }
}

/// The op gives the same result wherever `overlap_lead` (or `overlap_lag`, from the last row to
/// the first) lets its output lie, and loading refuses one byte more, unless that byte is not in
/// the input.
fn check_overlap(one: &OneOp, values: &[i8], less: i64) -> Result<(), TestCaseError> {
    let [input, output] = [&one.inputs[0], &one.output].map(|tensor| {
        let [height, width, channels] = tensor.shape;
        [1, height, width, channels]
    });
    let apart = one.inputs[0].len() as i64;
    let expected = one.run(values);
    if one.record.flags & FLAG_BACKWARD != 0 {
        let lag = one.record.overlap_lag(input, output).expect("may overlap");
        let below = -(one.output.len() as i64);
        let ahead = (lag.max(below + 1) + less).min(apart - 1);
        if ahead >= lag {
            prop_assert_eq!(one.run_overlapping(values, ahead), Some(expected));
        }
        let beyond = (lag - 1).min(apart - 1);
        if beyond > below {
            prop_assert_eq!(one.run_overlapping(values, beyond), None);
        }
        return Ok(());
    }
    let lead = one.record.overlap_lead(input, output).expect("may overlap");
    let trailing = (lead.min(apart - 1) - less).max(1 - one.output.len() as i64);
    if trailing <= lead {
        prop_assert_eq!(one.run_overlapping(values, trailing), Some(expected));
    }
    let beyond = lead.saturating_add(1).max(1 - one.output.len() as i64);
    if beyond < apart {
        prop_assert_eq!(one.run_overlapping(values, beyond), None);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn conv2d_may_write_over_what_no_later_pixel_reads(
        geometry in geometry(9), outputs in 1u16..11, seed: u64, less in 0i64..4,
    ) {
        let input = activation(geometry.input, -3);
        let output = activation([geometry.output[0], geometry.output[1], outputs], 5);
        let taps = usize::from(geometry.kernel[0] * geometry.kernel[1] * geometry.input[2]);
        let filter = bytes(seed ^ 3, usize::from(outputs) * taps);
        let mut one = OneOp::new(OpCode::Conv2d, &[input], output)
            .with_filter(&filter, &biases(seed, usize::from(outputs)), &multipliers(seed, 1));
        place(&mut one, &geometry, [-128, 127]);
        prop_assume!(one.record.scratch_bytes([1, 1, 1, input.shape[2]], [1, output.shape[0], output.shape[1], 1]) > 0);
        check_overlap(&one, &bytes(seed, input.len()), less)?;
    }

    #[test]
    fn depthwise_and_pools_may_write_over_rows_that_no_later_row_reads(
        geometry in geometry(20), code in prop::sample::select(vec![OpCode::DepthwiseConv2d, OpCode::MaxPool2d, OpCode::AveragePool2d]),
        seed: u64, less in 0i64..4,
    ) {
        let input = activation(geometry.input, -3);
        let output = activation([geometry.output[0], geometry.output[1], geometry.input[2]], -3);
        let mut one = OneOp::new(code, &[input], output);
        if code == OpCode::DepthwiseConv2d {
            let channels = usize::from(input.shape[2]);
            let filter = bytes(seed ^ 3, channels * usize::from(geometry.kernel[0] * geometry.kernel[1]));
            one = one.with_filter(&filter, &biases(seed, channels), &multipliers(seed, channels));
        }
        place(&mut one, &geometry, [-128, 127]);
        check_overlap(&one, &bytes(seed, input.len()), less)?;
    }
}

#[test]
fn logistic_is_within_one_of_the_real_one() {
    for scale in [0.001f32, 0.02, 0.0625, 0.3, 1.0] {
        for zero_point in [-128i8, -5, 0, 127] {
            let table = lookup::logistic(scale, zero_point);
            for q in i8::MIN..=i8::MAX {
                let actual = f64::from(table[usize::from(q as u8 ^ 0x80)] as i8);
                let real = f64::from(dequantize(q, scale, zero_point));
                let expected = (256.0 / (1.0 + (-real).exp()) - 128.0).min(127.0);
                assert!(
                    (actual - expected).abs() <= 1.0,
                    "{actual} for {expected} at {q}, scale {scale}"
                );
            }
        }
    }
}

#[test]
fn lookup_goes_through_its_table() {
    let tensor = activation([1, 16, 16], 0);
    let table: Vec<u8> = (0..=255).map(|index: u8| index.wrapping_mul(7)).collect();
    let values: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    let one = OneOp::new(OpCode::Lookup, &[tensor], tensor).with_table(&table);
    let expected: Vec<i8> = table.iter().map(|&byte| byte as i8).collect();
    assert_eq!(one.run(&values), expected);
}
