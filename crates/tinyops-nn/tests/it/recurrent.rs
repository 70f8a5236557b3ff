//! Ops that remember something between runs, and what they forget, against slow and obvious loops.

use proptest::prelude::*;
use tinyops_nn::record::OpCode;
use tinyops_nn::{Multiplier, Plan, lookup};

use crate::plans::{Activation, OneOp};

fn tensor(shape: [u16; 3], scale: f32, zero_point: i8) -> Activation {
    Activation {
        shape,
        scale,
        zero_point,
    }
}

/// Numbers that look random, the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self, most: i32) -> i32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as i32 % (2 * most + 1) - most
    }

    fn many(&mut self, count: usize, most: i32) -> Vec<i32> {
        (0..count).map(|_| self.next(most)).collect()
    }
}

fn pair(multiplier: Multiplier) -> [i32; 2] {
    [multiplier.value, i32::from(multiplier.shift)]
}

fn bytes(values: &[i32]) -> Vec<u8> {
    values.iter().map(|&value| value as u8).collect()
}

/// A plan over an arena of its own.
struct Stream<'p> {
    plan: Plan<'p>,
    arena: Vec<u8>,
}

impl<'p> Stream<'p> {
    fn new(program: &'p [u8]) -> Stream<'p> {
        let plan = Plan::load(program).expect("the test writes sound plans");
        let mut arena = vec![0x5A; plan.arena_bytes()];
        plan.reset(&mut arena)
            .expect("the arena is as large as asked");
        Stream { plan, arena }
    }

    fn run(&mut self, input: &[i32]) -> Vec<i32> {
        self.arena[self.plan.input().range()].copy_from_slice(&bytes(input));
        self.plan
            .run(&mut self.arena)
            .expect("the arena is as large as asked");
        let output = self.arena[self.plan.output().range()].iter();
        output.map(|&byte| i32::from(byte as i8)).collect()
    }

    fn state(&self) -> &[u8] {
        let state = self.plan.states().next().expect("one");
        &self.arena[state.range()]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_filter_remembers_as_many_steps_as_it_has(
        sizes in (1usize..4, 1usize..4, 1usize..5, 1usize..6), wide: bool,
        zero_points: (i8, i8), state_zero in -20i32..20, seed: u64,
    ) {
        let (units, rank, memory, values) = sizes;
        let filters = units * rank;
        let mut random = Random(seed);
        let features = random.many(filters * values, 127);
        let state_zero = if wide { 0 } else { state_zero };
        let (value_bytes, most) = if wide { (2, 2000) } else { (1, 127) };
        let time = random.many(filters * memory, most);
        let biases = random.many(units, 5000);
        let of_features = Multiplier::from_real(if wide { 0.3 } else { 0.004 });
        let of_time = Multiplier::from_real(if wide { 3e-6 } else { 0.003 });
        let mut table = bytes(&features);
        table.resize(table.len().next_multiple_of(2), 0);
        table.extend(time.iter().flat_map(|weight| weight.to_le_bytes()[..value_bytes].to_vec()));
        let zero = i32::from(zero_points.0);
        let mut numbers = [filters, memory, rank, value_bytes].map(|number| number as i32).to_vec();
        numbers.push(state_zero);
        numbers.extend([of_features, of_time].into_iter().flat_map(pair));
        numbers.extend(features.chunks(values).map(|row| -zero * row.iter().sum::<i32>()));
        numbers.extend(&biases);
        let input = tensor([1, 1, values as u16], 0.1, zero_points.0);
        let state = tensor([1, filters as u16, (memory * value_bytes) as u16], 0.1, state_zero as i8);
        let output = tensor([1, 1, units as u16], 0.1, zero_points.1);
        let program = OneOp::new(OpCode::Svdf, &[input, state], output)
            .with_numbers(&numbers).with_table(&table).bytes();
        let mut stream = Stream::new(&program);
        // Each filter's history, the newest last; what was before the first run is 0.
        let mut history = vec![vec![0i32; memory]; filters];
        let [least, greatest] = if wide { [-32_768, 32_767] } else { [-128, 127] };
        for _ in 0..2 * memory {
            let x = random.many(values, 127);
            for (filter, row) in history.iter_mut().zip(features.chunks(values)) {
                let sum = row.iter().zip(&x).map(|(weight, x)| weight * (x - zero)).sum();
                let newest = of_features.apply(sum).clamp(least, greatest) + state_zero;
                // A state of one byte wraps, as the reference's does.
                let newest = if wide { newest } else { i32::from(newest as i8) };
                filter.remove(0);
                filter.push(newest - state_zero);
            }
            let actual = stream.run(&x);
            for unit in 0..units {
                let mut sum = biases[unit];
                for filter in unit * rank..(unit + 1) * rank {
                    for step in 0..memory {
                        sum += time[filter * memory + step] * history[filter][step];
                    }
                }
                let expected = (of_time.apply(sum) + i32::from(zero_points.1)).clamp(-128, 127);
                prop_assert_eq!(actual[unit], expected);
            }
        }
    }

    #[test]
    fn long_short_term_memory_is_close_to_the_real_one(
        sizes in (1usize..5, 1usize..4, 1usize..5), zero_points: (i8, i8), seed: u64,
    ) {
        let (steps, values, units) = sizes;
        const CELL: f64 = 1.0 / 4096.0;
        const OUT: f64 = 1.0 / 128.0;
        let (x_scale, w_scale) = (0.01, 0.01);
        let mut random = Random(seed);
        let gates: Vec<[Vec<i32>; 3]> = (0..4).map(|_| {
            [random.many(units * values, 127), random.many(units * units, 127), random.many(units, 3000)]
        }).collect();
        let mut table: Vec<u8> = lookup::int16::sigmoid_table().iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let (x_zero, out_zero) = (i32::from(zero_points.0), i32::from(zero_points.1));
        let mut numbers = vec![units as i32, values as i32, out_zero, 0, 3, 0];
        for _ in 0..4 {
            numbers.extend(pair(Multiplier::from_real(x_scale * w_scale * 4096.0)));
            numbers.extend(pair(Multiplier::from_real(OUT * w_scale * 4096.0)));
        }
        let made = 1.0 / 32_768.0;
        for real in [made, made * made / CELL, made * made / OUT] {
            numbers.extend(pair(Multiplier::from_real(real)));
        }
        for [of_input, of_memory, biases] in &gates {
            table.extend(bytes(of_input));
            table.extend(bytes(of_memory));
            let folded = of_input.chunks(values).zip(biases);
            numbers.extend(folded.map(|(row, bias)| bias - x_zero * row.iter().sum::<i32>()));
            numbers.extend(of_memory.chunks(units).map(|row| -out_zero * row.iter().sum::<i32>()));
        }
        let input = tensor([1, steps as u16, values as u16], 0.01, zero_points.0);
        let state = tensor([1, 1, 3 * units as u16], 1.0, 0);
        let output = tensor([1, steps as u16, units as u16], 1.0 / 128.0, zero_points.1);
        let program = OneOp::new(OpCode::Lstm, &[input, state], output)
            .with_numbers(&numbers).with_table(&table).bytes();
        let mut stream = Stream::new(&program);
        let mut cells = vec![0.0f64; units];
        let mut last = vec![0.0f64; units];
        for _ in 0..3 {
            let x = random.many(steps * values, 127);
            let actual = stream.run(&x);
            for (x, actual) in x.chunks(values).zip(actual.chunks(units)) {
                let sums = |gate: usize, unit: usize| {
                    let [of_input, of_memory, biases] = &gates[gate];
                    let mut sum = f64::from(biases[unit]) * x_scale * w_scale;
                    for (weight, &x) in of_input[unit * values..].iter().zip(x) {
                        sum += f64::from(*weight) * w_scale * f64::from(x - x_zero) * x_scale;
                    }
                    for (weight, h) in of_memory[unit * units..].iter().zip(&last) {
                        sum += f64::from(*weight) * w_scale * h;
                    }
                    sum.clamp(-8.0, 8.0)
                };
                let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
                let made: Vec<f64> = (0..units).map(|unit| {
                    let kept = logistic(sums(1, unit)) * cells[unit];
                    cells[unit] = (kept + logistic(sums(0, unit)) * sums(2, unit).tanh()).clamp(-8.0, 8.0);
                    logistic(sums(3, unit)) * cells[unit].tanh()
                }).collect();
                for (&actual, made) in actual.iter().zip(made) {
                    let expected = (made / OUT + f64::from(out_zero)).clamp(-128.0, 127.0);
                    prop_assert!((f64::from(actual) - expected).abs() < 2.0, "{} for {}", actual, expected);
                }
                // The next step goes on from what was made, rounded as it was.
                last = actual.iter().map(|&q| f64::from(q - out_zero) * OUT).collect();
            }
            // So do the cells.
            for (cell, held) in cells.iter_mut().zip(stream.state().as_chunks::<2>().0) {
                let held = f64::from(i16::from_le_bytes(*held)) * CELL;
                prop_assert!((*cell - held).abs() < 0.02, "{} for {}", held, cell);
                *cell = held;
            }
        }
    }

    #[test]
    fn rows_have_length_1(rows in 1u16..4, channels in 1u16..20, zero_point: i8, seed: u64) {
        let input = tensor([1, rows, channels], 0.1, zero_point);
        let one = OneOp::new(OpCode::Normalize, &[input], tensor([1, rows, channels], 1.0 / 128.0, 0))
            .with_numbers(&[i32::from(zero_point)]);
        let values: Vec<i8> = Random(seed).many(input.len(), 127).into_iter().map(|value| value as i8).collect();
        let actual = one.run(&values);
        for (row, actual) in values.chunks(channels.into()).zip(actual.chunks(channels.into())) {
            let real = |q: i8| f64::from(q) - f64::from(zero_point);
            let length = row.iter().map(|&q| real(q) * real(q)).sum::<f64>().sqrt().max(1.0);
            for (&q, &actual) in row.iter().zip(actual) {
                let expected = (128.0 * real(q) / length).clamp(-128.0, 127.0);
                prop_assert!((f64::from(actual) - expected).abs() < 0.6, "{} for {}", actual, expected);
            }
        }
    }
}

#[test]
fn a_reset_forgets() {
    let numbers = [1, 2, 1, 1, 0, 1 << 30, 1, 1 << 30, 1, 0, 0];
    let input = tensor([1, 1, 1], 1.0, 0);
    let program = OneOp::new(OpCode::Svdf, &[input, tensor([1, 1, 2], 1.0, 0)], input)
        .with_numbers(&numbers)
        .with_table(&[1, 0, 1, 1])
        .bytes();
    let mut stream = Stream::new(&program);
    assert_eq!(stream.run(&[5]), [5]);
    assert_eq!(stream.run(&[7]), [12]);
    assert_eq!(stream.run(&[0]), [7]);
    let plan = stream.plan;
    plan.reset(&mut stream.arena).expect("large enough");
    assert_eq!(stream.run(&[1]), [1]);
    assert!(plan.reset(&mut []).is_err());
}
