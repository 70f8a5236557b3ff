//! Products of matrices, places of extremes and tables of real functions, against slow and obvious
//! loops.

use proptest::prelude::*;
use tinyops_nn::record::OpCode;
use tinyops_nn::{Multiplier, dequantize, lookup, quantize};

use crate::plans::{Activation, OneOp};

fn tensor(shape: [u16; 3], scale: f32, zero_point: i8) -> Activation {
    Activation {
        shape,
        scale,
        zero_point,
    }
}

/// Numbers that look random, the same every time.
fn values(count: usize, seed: u64) -> Vec<i8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as i8
    };
    (0..count).map(|_| next()).collect()
}

/// `round(a · value / 2^31 · 2^shift)`, first halves upwards and then away from zero.
fn rescale(sum: i64, multiplier: Multiplier) -> i64 {
    let shifted = sum << multiplier.shift.max(0);
    let high = (shifted * i64::from(multiplier.value) + (1 << 30)) >> 31;
    let down = (-i32::from(multiplier.shift)).max(0) as u32;
    let half = if down == 0 { 0 } else { 1i64 << (down - 1) };
    if high >= 0 {
        (high + half) >> down
    } else {
        -((-high + half) >> down)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_product_sums_rows_by_columns(
        counts in (1usize..3, 1usize..3, 1usize..4, 1usize..4, 1usize..9), turned: [bool; 2],
        repeated: [[bool; 2]; 2], constant: bool, zero_points: (i8, i8, i8), seed: u64,
    ) {
        let (outer, inner, rows, columns, terms) = counts;
        let lens = |operand: usize, along: usize| {
            let [o, i] = [outer, inner];
            let o = if repeated[operand][0] { 1 } else { o };
            let i = if repeated[operand][1] { 1 } else { i };
            [o, i, along * terms]
        };
        let steps = |operand: usize, along: usize| {
            let [_, i, matrix] = lens(operand, along);
            let place = if turned[operand] { [1, along] } else { [terms, 1] };
            let outer = if repeated[operand][0] { 0 } else { i * matrix };
            let inner = if repeated[operand][1] { 0 } else { matrix };
            [outer, inner, place[0], place[1]]
        };
        let operand = |index: usize, along: usize, zero_point: i8| {
            tensor(lens(index, along).map(|len| len as u16), 0.1, zero_point)
        };
        let (first, second) = (operand(0, rows, zero_points.0), operand(1, columns, zero_points.1));
        let output = tensor([(outer * inner) as u16, rows as u16, columns as u16], 0.3, zero_points.2);
        let multiplier = Multiplier::from_real(0.1 * 0.1 / 0.3);
        let mut numbers = vec![
            i32::from(zero_points.0), i32::from(zero_points.1), multiplier.value, i32::from(multiplier.shift),
        ];
        let all = [outer, inner, rows, columns, terms];
        let (a_steps, b_steps) = (steps(0, rows), steps(1, columns));
        numbers.extend(all.iter().chain(&a_steps).chain(&b_steps).map(|&number| number as i32));
        let (a, b) = (values(first.len(), seed), values(second.len(), !seed));
        let actual = if constant {
            let bytes: Vec<u8> = b.iter().map(|&value| value as u8).collect();
            OneOp::new(OpCode::Product, &[first], output).with_table(&bytes).with_numbers(&numbers).run(&a)
        } else {
            let both: Vec<i8> = a.iter().chain(&b).copied().collect();
            OneOp::new(OpCode::Product, &[first, second], output).with_numbers(&numbers).run(&both)
        };
        let mut results = actual.into_iter();
        for o in 0..outer {
            for i in 0..inner {
                for row in 0..rows {
                    for column in 0..columns {
                        let at = |steps: [usize; 4], along: usize, term: usize| {
                            o * steps[0] + i * steps[1] + along * steps[2] + term * steps[3]
                        };
                        let sum: i64 = (0..terms).map(|term| {
                            let x = i64::from(a[at(a_steps, row, term)]) - i64::from(zero_points.0);
                            x * (i64::from(b[at(b_steps, column, term)]) - i64::from(zero_points.1))
                        }).sum();
                        let expected = (rescale(sum, multiplier) + i64::from(zero_points.2)).clamp(-128, 127);
                        prop_assert_eq!(results.next().map(i64::from), Some(expected));
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_extreme_has_the_place(lens in (1usize..5, 1usize..9, 1usize..5), least: bool, seed: u64) {
        let (before, places, after) = lens;
        let input = tensor([before as u16, places as u16, after as u16], 0.1, 3);
        let output = tensor([1, before as u16, after as u16], 1.0, -128);
        let numbers = [usize::from(least), before, places * after, after, 1, places, after].map(|number| number as i32);
        // Few different values, so that there are equal ones.
        let values: Vec<i8> = values(input.len(), seed).into_iter().map(|value| value % 3).collect();
        let one = OneOp::new(OpCode::Extreme, &[input], output).with_numbers(&numbers);
        for (index, actual) in one.run(&values).into_iter().enumerate() {
            let (outer, inner) = (index / after, index % after);
            let all = (0..places).map(|place| values[(outer * places + place) * after + inner]);
            let extreme = if least { all.clone().min() } else { all.clone().max() };
            let place = all.clone().position(|value| Some(value) == extreme).expect("one");
            prop_assert_eq!(i32::from(actual) + 128, place as i32);
        }
    }

    #[test]
    fn tables_of_real_functions_are_close_to_them(scale in 0.005f32..0.1, zero_point: i8) {
        let (input, output) = ((scale, zero_point), (0.06f32, 7i8));
        let tables = [
            lookup::abs(input, output), lookup::elu(input, output), lookup::exp(input, output),
            lookup::log(input, output), lookup::gelu(input, output, false),
            lookup::gelu(input, output, true), lookup::rsqrt(input, output),
        ];
        for q in i8::MIN..=i8::MAX {
            let x = f64::from(dequantize(q, scale, zero_point));
            let gelu = 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()));
            let real = [
                x.abs(), if x < 0.0 { x.exp_m1() } else { x }, x.exp(),
                if x > 0.0 { x.ln() } else { f64::MIN }, gelu, gelu,
                if x > 0.0 { 1.0 / x.sqrt() } else { f64::MAX },
            ];
            for (number, (table, real)) in tables.iter().zip(real).enumerate() {
                let actual = i32::from(table[(i32::from(q) + 128) as usize] as i8);
                let expected = i32::from(quantize(real as f32, output.0, output.1));
                prop_assert!((actual - expected).abs() <= 1, "function {} of {}", number, x);
            }
        }
    }
}
