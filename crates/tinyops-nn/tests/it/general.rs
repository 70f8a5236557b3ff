//! The ops whose places are numbers, against slow and obvious loops.

use proptest::prelude::*;
use tinyops_nn::record::{BinaryFunction, COPY_TABLE, FLAG_FILL, OpCode, ReduceFunction};
use tinyops_nn::{Multiplier, dequantize, lookup, quantize};

use crate::plans::{Activation, OneOp};

fn tensor(shape: [u16; 3]) -> Activation {
    Activation {
        shape,
        scale: 0.1,
        zero_point: 5,
    }
}

/// Distinct enough values for one that lands elsewhere to be seen.
fn values(count: usize) -> Vec<i8> {
    (0..count)
        .map(|index| (index * 37 + index / 256) as i8)
        .collect()
}

fn pair(multiplier: Multiplier) -> [i32; 2] {
    [multiplier.value, i32::from(multiplier.shift)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_copy_moves_each_value_to_its_place(
        counts in (1u16..5, 1u16..5, 1u16..7), order in Just([0usize, 1, 2]).prop_shuffle(),
        reversed: [bool; 3], tables: [bool; 3], fill: bool,
    ) {
        // The output is the input with its axes in another order, some backwards, in a frame of one.
        let input = [counts.0, counts.1, counts.2];
        let output = order.map(|axis| input[axis]);
        let frame = output.map(|len| len + 2);
        let row_major = |shape: [u16; 3]| [i32::from(shape[1] * shape[2]), i32::from(shape[2]), 1];
        let (reads, writes) = (row_major(input), row_major(frame));
        let mut numbers = vec![0, writes.iter().sum()];
        let mut places = Vec::new();
        for axis in 0..3 {
            let (len, step) = (i32::from(output[axis]), reads[order[axis]]);
            let back = reversed[axis];
            if tables[axis] {
                numbers.extend([len, writes[axis], COPY_TABLE]);
                places.extend((0..len).map(|at| step * if back { len - 1 - at } else { at }));
            } else {
                numbers[0] += if back { step * (len - 1) } else { 0 };
                numbers.extend([len, writes[axis], if back { -step } else { step }]);
            }
        }
        numbers.extend(places);
        let mut one = OneOp::new(OpCode::Copy, &[tensor(input)], tensor(frame)).with_numbers(&numbers);
        one.record.flags = if fill { FLAG_FILL } else { 0 };
        one.record.clamp = [-77, 0];
        let values = values(one.inputs[0].len());
        let actual = one.run(&values);
        let around = if fill { -77 } else { 0x5A };
        for y in 0..frame[0] {
            for x in 0..frame[1] {
                for c in 0..frame[2] {
                    let at = [y, x, c];
                    let index = usize::from((y * frame[1] + x) * frame[2] + c);
                    let inside = (0..3).all(|axis| (1..=output[axis]).contains(&at[axis]));
                    let expected = if inside {
                        let mut from = [0u16; 3];
                        for axis in 0..3 {
                            let place = at[axis] - 1;
                            from[order[axis]] = if reversed[axis] { output[axis] - 1 - place } else { place };
                        }
                        values[usize::from((from[0] * input[1] + from[1]) * input[2] + from[2])]
                    } else {
                        around
                    };
                    prop_assert_eq!(actual[index], expected);
                }
            }
        }
    }

    #[test]
    fn functions_of_two_values_are_within_one_of_the_real_ones(
        shape in (1u16..4, 1u16..4, 1u16..6), repeated: [bool; 3], constant: bool, which in 0i32..8,
        scales in (0.02f32..0.2, 0.02f32..0.2), zero_points: (i8, i8, i8),
    ) {
        let shape: [u16; 3] = shape.into();
        let function = BinaryFunction::from_number(which).expect("known");
        let is_choice = matches!(function, BinaryFunction::Maximum | BinaryFunction::Minimum);
        let scales = if is_choice { (scales.0, scales.0) } else { scales };
        let zero_points = if is_choice { (zero_points.0, zero_points.0, zero_points.0) } else { zero_points };
        let small = core::array::from_fn(|axis| if repeated[axis] { 1 } else { shape[axis] });
        let first = Activation { shape, scale: scales.0, zero_point: zero_points.0 };
        let second = Activation { shape: small, scale: scales.1, zero_point: zero_points.1 };
        let output = Activation { shape, scale: if is_choice { scales.0 } else { 0.3 }, zero_point: zero_points.2 };
        let [one, two, out] = [scales.0, scales.1, output.scale].map(f64::from);
        let multipliers = match function {
            BinaryFunction::Multiply => [one * two / out; 3],
            BinaryFunction::Prelu => [one / out, one * two / out, 0.0],
            BinaryFunction::SquaredDifference => {
                let twice = 2.0 * one.max(two);
                [one / twice, two / twice, twice * twice / f64::from(1 << 14) / out]
            }
            _ => {
                let twice = 2.0 * one.max(two);
                [one / twice, two / twice, twice / f64::from(1 << 20) / out]
            }
        };
        let strides = |shape: [u16; 3], repeated: [bool; 3]| {
            let all = [i32::from(shape[1] * shape[2]), i32::from(shape[2]), 1];
            core::array::from_fn::<i32, 3, _>(|axis| if repeated[axis] { 0 } else { all[axis] })
        };
        let mut numbers = vec![which, i32::from(first.zero_point), i32::from(second.zero_point)];
        numbers.extend(multipliers.into_iter().flat_map(|real| pair(Multiplier::from_real(real))));
        numbers.extend(strides(shape, [false; 3]));
        numbers.extend(strides(small, repeated));
        let (a, b) = (values(first.len()), values(second.len() + 3).split_off(3));
        let one = if constant {
            let bytes: Vec<u8> = b.iter().map(|&value| value as u8).collect();
            OneOp::new(OpCode::Binary, &[first], output).with_table(&bytes)
        } else {
            OneOp::new(OpCode::Binary, &[first, second], output)
        };
        let one = one.with_numbers(&numbers);
        let all: Vec<i8> = if constant { a.clone() } else { a.iter().chain(&b).copied().collect() };
        for (index, actual) in one.run(&all).into_iter().enumerate() {
            let [_, width, channels] = shape.map(usize::from);
            let at = [index / channels / width, index / channels % width, index % channels];
            let place = (0..3).fold(0, |place, axis| {
                place * usize::from(small[axis]) + if repeated[axis] { 0 } else { at[axis] }
            });
            let real = |value: i8, of: &Activation| f64::from(dequantize(value, of.scale, of.zero_point));
            let (x, y) = (real(a[index], &first), real(b[place], &second));
            let result = match function {
                BinaryFunction::Add => x + y,
                BinaryFunction::Subtract => x - y,
                BinaryFunction::SubtractFrom => y - x,
                BinaryFunction::Multiply => x * y,
                BinaryFunction::Maximum => x.max(y),
                BinaryFunction::Minimum => x.min(y),
                BinaryFunction::SquaredDifference => (x - y) * (x - y),
                BinaryFunction::Prelu => if x >= 0.0 { x } else { x * y },
            };
            let expected = (result / f64::from(output.scale) + f64::from(output.zero_point)).clamp(-128.0, 127.0);
            prop_assert!((f64::from(actual) - expected).abs() <= 1.0, "{:?} {} for {}", function, actual, expected);
        }
    }

    #[test]
    fn reductions_go_over_their_axes(shape in (1u16..5, 1u16..5, 1u16..5), gone: [bool; 3], which in 0i32..3) {
        let shape: [u16; 3] = shape.into();
        let function = ReduceFunction::from_number(which).expect("known");
        let kept = core::array::from_fn(|axis| if gone[axis] { 1 } else { shape[axis] });
        let count = (0..3).map(|axis| if gone[axis] { i32::from(shape[axis]) } else { 1 }).product::<i32>();
        let steps = [i32::from(shape[1] * shape[2]), i32::from(shape[2]), 1];
        let mean = Multiplier::from_real(1.0 / f64::from(count));
        let mut numbers = vec![which, -5 * count];
        numbers.extend(pair(mean));
        for goes in [false, true] {
            for axis in 0..3 {
                let here = gone[axis] == goes;
                numbers.extend([if here { i32::from(shape[axis]) } else { 1 }, steps[axis]]);
            }
        }
        let one = OneOp::new(OpCode::Reduce, &[tensor(shape)], tensor(kept)).with_numbers(&numbers);
        let values = values(one.inputs[0].len());
        let [_, width, channels] = shape.map(usize::from);
        for (index, actual) in one.run(&values).into_iter().enumerate() {
            let [_, kept_width, kept_channels] = kept.map(usize::from);
            let place = [index / kept_channels / kept_width, index / kept_channels % kept_width, index % kept_channels];
            let group: Vec<i8> = values.iter().enumerate().filter(|(at, _)| {
                let at = [at / channels / width, at / channels % width, at % channels];
                (0..3).all(|axis| gone[axis] || at[axis] == place[axis])
            }).map(|(_, &value)| value).collect();
            let expected = match function {
                ReduceFunction::Maximum => f64::from(*group.iter().max().expect("one")),
                ReduceFunction::Minimum => f64::from(*group.iter().min().expect("one")),
                ReduceFunction::Sum => group.iter().map(|&value| f64::from(value)).sum::<f64>() / f64::from(count),
            };
            // Two roundings after each other.
            prop_assert!((f64::from(actual) - expected).abs() <= 0.76, "{} for {}", actual, expected);
        }
    }

    #[test]
    fn pictures_are_interpolated(input in (1u16..6, 1u16..6), output in (1u16..9, 1u16..9), middle: bool) {
        let (input, output) = ([input.0, input.1], [output.0, output.1]);
        let step = |axis: usize| (1024 * i32::from(input[axis]) + i32::from(output[axis]) / 2) / i32::from(output[axis]);
        let one = OneOp::new(OpCode::ResizeBilinear, &[tensor([input[0], input[1], 2])], tensor([output[0], output[1], 2]))
            .with_numbers(&[step(0), step(1), i32::from(middle)]);
        let values = values(one.inputs[0].len());
        let place = |axis: usize, at: usize| {
            let scale = f64::from(step(axis)) / 1024.0;
            let place = at as f64 * scale + if middle { ((step(axis) / 2 - 512) as f64) / 1024.0 } else { 0.0 };
            let last = f64::from(input[axis] - 1);
            (place.floor().clamp(0.0, last), place.ceil().clamp(0.0, last), place)
        };
        for (index, actual) in one.run(&values).into_iter().enumerate() {
            let columns = usize::from(output[1]);
            let (top, bottom, y) = place(0, index / 2 / columns);
            let (left, right, x) = place(1, index / 2 % columns);
            let value = |row: f64, column: f64| {
                f64::from(values[(row as usize * usize::from(input[1]) + column as usize) * 2 + index % 2])
            };
            let (down, across) = (y - top, x - left);
            let expected = value(top, left) * (1.0 - down) * (1.0 - across) + value(bottom, left) * down * (1.0 - across)
                + value(top, right) * (1.0 - down) * across + value(bottom, right) * down * across;
            // A place outside leads to weights of less than nothing: the byte then wraps as the reference's does.
            let difference = (f64::from(actual) - expected).rem_euclid(256.0);
            prop_assert!(difference <= 0.51 || difference >= 255.49, "{} for {}", actual, expected);
        }
    }

    #[test]
    fn tables_of_one_value_are_close_to_the_real_functions(scale in 0.005f32..0.1, zero_point: i8, alpha in -1.5f32..1.5) {
        let tanh = lookup::tanh(scale, zero_point);
        let leaky = lookup::leaky_relu((scale, zero_point), (0.06, 7), alpha);
        let swish = lookup::hard_swish((scale, zero_point), (0.06, 7)).expect("coarse enough");
        for q in i8::MIN..=i8::MAX {
            let x = dequantize(q, scale, zero_point);
            let entry = |table: &lookup::Table| i32::from(table[(i32::from(q) + 128) as usize] as i8);
            let near = |actual: i32, real: f32, out: (f32, i8)| (actual - i32::from(quantize(real, out.0, out.1))).abs() <= 1;
            prop_assert!(near(entry(&tanh), x.tanh(), (1.0 / 128.0, 0)), "tanh of {}", x);
            prop_assert!(near(entry(&leaky), if x > 0.0 { x } else { alpha * x }, (0.06, 7)), "leaky of {}", x);
            prop_assert!(near(entry(&swish), x * (x + 3.0).clamp(0.0, 6.0) / 6.0, (0.06, 7)), "swish of {}", x);
        }
    }
}
