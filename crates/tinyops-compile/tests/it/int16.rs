//! Networks over int16 against slow arithmetic written from `docs/arithmetic.md`, each tensor with
//! memory of its own.

use proptest::prelude::*;
use proptest::sample::Index;
use tinyops_compile::{
    Compiled, Golden, compile, compile_graph, compile_graph_with, model_of, payload, replay,
};
use tinyops_model::graph::Data;
use tinyops_model::{Activation, Conv, Graph, Op, OpKind, Pool, Quantization, Tensor, TensorId};
use tinyops_nn::lookup::int16::{softmax_multiplier, softmax_tables};
use tinyops_nn::record::Element;
use tinyops_nn::{Multiplier, Plan};

use crate::graphs::{len, options, touched_bytes};
use crate::networks::{Random, network, tall};

/// A network over int8 as one over int16: 256 steps for one, biases of 64 bits or of 32.
fn widened(mut graph: Graph, seed: u64) -> Graph {
    graph.embedding = None;
    for tensor in &mut graph.tensors {
        match &mut tensor.data {
            None => {
                let scale = tensor
                    .quantization
                    .as_ref()
                    .map_or(1.0, Quantization::scale);
                tensor.quantization = Some(Quantization::int16(scale / 256.0));
            }
            Some(Data::Int32(biases)) if !seed.is_multiple_of(3) => {
                let wide = biases.iter().map(|&bias| i64::from(bias) * 3001);
                tensor.data = Some(Data::Int64(wide.collect()));
            }
            Some(_) => {}
        }
    }
    for op in &graph.ops {
        if matches!(op.kind, OpKind::Softmax { .. }) {
            let made = &mut graph.tensors[op.output.0 as usize];
            made.quantization = Some(Quantization::int16(1.0 / 32_768.0));
        }
    }
    graph
}

fn scale(tensor: &Tensor) -> f64 {
    f64::from(tensor.quantization.as_ref().expect("quantized").scale())
}

/// To the nearest multiple of `2^bits`, halves upwards.
fn halves_up(value: i128, bits: u32) -> i128 {
    (2 * value + (1 << bits)).div_euclid(2 << bits)
}

/// Two roundings, 31 bits of the factor.
fn rescale(value: i64, factor: Multiplier) -> i64 {
    let shifted = value << factor.shift.max(0);
    let high = halves_up(i128::from(shifted) * i128::from(factor.value), 31) as i64;
    let right = i32::from(-factor.shift).max(0) as u32;
    let half = if right == 0 { 0 } else { 1 << (right - 1) };
    high.signum() * ((high.abs() + half) >> right)
}

/// One rounding, 15 bits of the factor.
fn rescale_wide(sum: i64, factor: Multiplier) -> i64 {
    let upper = halves_up(i128::from(factor.value), 16).min(0x7FFF);
    halves_up(
        i128::from(sum) * upper,
        (15 - i32::from(factor.shift)) as u32,
    ) as i64
}

fn clamped(value: i64, activation: Activation, output: &Tensor) -> i16 {
    let six = (6.0 / scale(output) as f32).round().min(32_767.0) as i64;
    let [least, greatest] = match activation {
        Activation::None => [-32_768, 32_767],
        Activation::Relu => [0, 32_767],
        Activation::Relu6 => [0, six],
    };
    value.clamp(least, greatest) as i16
}

/// The values of every activation.
fn reference(graph: &Graph, input: &[i16]) -> Vec<Vec<i16>> {
    let mut values = vec![Vec::new(); graph.tensors.len()];
    values[graph.inputs[0].0 as usize] = input.to_vec();
    for op in &graph.ops {
        let reads = &values[op.inputs[0].0 as usize];
        let made = match op.kind {
            OpKind::Conv2d(conv) => windows(graph, op, &conv, reads, false),
            OpKind::DepthwiseConv2d(conv) => windows(graph, op, &conv, reads, true),
            OpKind::Dense(activation) => dense(graph, op, activation, reads),
            OpKind::MaxPool2d(pool) => pooled(graph, op, &pool, reads, true),
            OpKind::AveragePool2d(pool) => pooled(graph, op, &pool, reads, false),
            OpKind::Add(activation) => {
                let second = &values[op.inputs[1].0 as usize];
                sum(graph, op, activation, [reads, second])
            }
            OpKind::Activate(activation) => rescaled(graph, op, activation, reads),
            OpKind::Reshape => reads.clone(),
            OpKind::Pad(_) => padded(graph, op, reads),
            OpKind::Softmax { beta } => softmax(graph, op, beta, reads),
            other => panic!("the networks have no {}", other.name()),
        };
        values[op.output.0 as usize] = made;
    }
    values
}

/// Sum and channel to result: bias, factor, clamp.
fn finished<'g>(
    graph: &'g Graph,
    op: &'g Op,
    activation: Activation,
) -> impl Fn(i64, usize) -> i16 {
    let [input, filter, bias] = [0, 1, 2].map(|which| graph.tensor(op.inputs[which]));
    let output = graph.tensor(op.output);
    let scales = &filter.quantization.as_ref().expect("quantized").scales;
    move |sum, channel| {
        let product = if matches!(op.kind, OpKind::Dense(_)) && scales.len() == 1 {
            f64::from(scale(input) as f32 * scales[0])
        } else {
            scale(input) * f64::from(scales[channel % scales.len()])
        };
        let factor = Multiplier::from_real(product / scale(output));
        let value = match bias.data.as_ref().expect("a constant") {
            Data::Int64(biases) => rescale_wide(sum + biases[channel], factor),
            Data::Int32(biases) => {
                let sum = (sum + i64::from(biases[channel])) as i32;
                rescale(i64::from(sum), factor)
            }
            _ => panic!("no bias"),
        };
        clamped(value, activation, output)
    }
}

fn weights(graph: &Graph, op: &Op) -> Vec<i64> {
    match &graph.tensor(op.inputs[1]).data {
        Some(Data::Int8(weights)) => weights.iter().map(|&weight| i64::from(weight)).collect(),
        _ => panic!("no filter"),
    }
}

/// Every place of the output: index, row, column, channel.
fn places(output: &Tensor) -> impl Iterator<Item = (usize, [i64; 2], usize)> {
    let [_, height, width, channels] = output.shape.map(usize::from);
    (0..height * width * channels).map(move |index| {
        let pixel = index / channels;
        let at = [pixel / width, pixel % width].map(|place| place as i64);
        (index, at, index % channels)
    })
}

/// Taps of a window that lie inside: index of the tap, index of the pixel.
fn inside(
    input: &Tensor,
    at: [i64; 2],
    kernel: [u16; 2],
    conv: &Conv,
) -> impl Iterator<Item = (usize, usize)> {
    let [_, height, width, _] = input.shape.map(i64::from);
    let kernel = kernel.map(i64::from);
    let start = [0, 1].map(|axis| {
        let extent = (kernel[axis] - 1) * i64::from(conv.dilation[axis]) + 1;
        let len = input.shape[axis + 1];
        let (before, _) = conv
            .padding
            .around(axis, len, extent as u32, conv.stride[axis]);
        at[axis] * i64::from(conv.stride[axis]) - i64::from(before)
    });
    let dilation = conv.dilation.map(i64::from);
    (0..kernel[0] * kernel[1]).filter_map(move |tap| {
        let y = start[0] + tap / kernel[1] * dilation[0];
        let x = start[1] + tap % kernel[1] * dilation[1];
        let is_inside = (0..height).contains(&y) && (0..width).contains(&x);
        is_inside.then_some((tap as usize, (y * width + x) as usize))
    })
}

fn windows(graph: &Graph, op: &Op, conv: &Conv, reads: &[i16], is_depthwise: bool) -> Vec<i16> {
    let [input, filter] = [0, 1].map(|which| graph.tensor(op.inputs[which]));
    let output = graph.tensor(op.output);
    let finish = finished(graph, op, conv.activation);
    let weights = weights(graph, op);
    let kernel = [filter.shape[1], filter.shape[2]];
    let [inputs, outputs] = [input, output].map(|tensor| usize::from(tensor.shape[3]));
    let taps = usize::from(kernel[0]) * usize::from(kernel[1]);
    let value = |(_, at, channel): (usize, [i64; 2], usize)| {
        let mut sum = 0;
        for (tap, pixel) in inside(input, at, kernel, conv) {
            if is_depthwise {
                let value = reads[pixel * inputs + channel / (outputs / inputs)];
                sum += i64::from(value) * weights[tap * outputs + channel];
                continue;
            }
            for c in 0..inputs {
                let weight = weights[(channel * taps + tap) * inputs + c];
                sum += i64::from(reads[pixel * inputs + c]) * weight;
            }
        }
        finish(sum, channel)
    };
    places(output).map(value).collect()
}

fn dense(graph: &Graph, op: &Op, activation: Activation, reads: &[i16]) -> Vec<i16> {
    let finish = finished(graph, op, activation);
    let weights = weights(graph, op);
    let rows = weights.chunks(reads.len()).enumerate();
    rows.map(|(channel, row)| {
        let products = reads
            .iter()
            .zip(row)
            .map(|(&value, weight)| i64::from(value) * weight);
        finish(products.sum(), channel)
    })
    .collect()
}

fn pooled(graph: &Graph, op: &Op, pool: &Pool, reads: &[i16], is_max: bool) -> Vec<i16> {
    let (input, output) = (graph.tensor(op.inputs[0]), graph.tensor(op.output));
    let channels = usize::from(input.shape[3]);
    let conv = Conv {
        stride: pool.stride,
        dilation: [1, 1],
        padding: pool.padding,
        activation: pool.activation,
    };
    let value = |(_, at, channel): (usize, [i64; 2], usize)| {
        let pixels = inside(input, at, pool.window, &conv);
        let values: Vec<i64> = pixels
            .map(|(_, pixel)| i64::from(reads[pixel * channels + channel]))
            .collect();
        let (sum, count) = (values.iter().sum::<i64>(), values.len() as i64);
        let result = if is_max {
            *values.iter().max().expect("a window touches the input")
        } else {
            sum.signum() * ((2 * sum.abs() + count) / (2 * count))
        };
        clamped(result, pool.activation, output)
    };
    places(output).map(value).collect()
}

fn sum(graph: &Graph, op: &Op, activation: Activation, values: [&[i16]; 2]) -> Vec<i16> {
    let [a, b] = [0, 1].map(|which| scale(graph.tensor(op.inputs[which])));
    let output = graph.tensor(op.output);
    let twice = 2.0 * a.max(b);
    let factors = [a / twice, b / twice, twice / 32_768.0 / scale(output)];
    let [one, two, three] = factors.map(Multiplier::from_real);
    let pairs = values[0].iter().zip(values[1]);
    pairs
        .map(|(&a, &b)| {
            let [a, b] =
                [(a, one), (b, two)].map(|(v, factor)| rescale(i64::from(v) << 15, factor));
            clamped(rescale(a + b, three), activation, output)
        })
        .collect()
}

fn rescaled(graph: &Graph, op: &Op, activation: Activation, reads: &[i16]) -> Vec<i16> {
    let (input, output) = (graph.tensor(op.inputs[0]), graph.tensor(op.output));
    let factor = match activation {
        Activation::None => scale(input) / scale(output),
        _ => f64::from(scale(input) as f32 / scale(output) as f32),
    };
    let factor = Multiplier::from_real(factor);
    let value = |&value: &i16| clamped(rescale(i64::from(value), factor), activation, output);
    reads.iter().map(value).collect()
}

fn padded(graph: &Graph, op: &Op, reads: &[i16]) -> Vec<i16> {
    let (input, output) = (graph.tensor(op.inputs[0]), graph.tensor(op.output));
    let OpKind::Pad(padding) = op.kind else {
        panic!("no padding")
    };
    let [top, left] = [0, 1].map(|axis| i64::from(padding.around(axis, 1, 1, 1).0));
    let [_, height, width, channels] = input.shape.map(i64::from);
    let value = |(_, [y, x], channel): (usize, [i64; 2], usize)| {
        let (y, x) = (y - top, x - left);
        let is_inside = (0..height).contains(&y) && (0..width).contains(&x);
        let index = (y * width + x) * channels + channel as i64;
        if is_inside { reads[index as usize] } else { 0 }
    };
    places(output).map(value).collect()
}

/// The tables are held to the real functions where they are made, and to TFLM's by golden vectors.
fn softmax(graph: &Graph, op: &Op, beta: f32, reads: &[i16]) -> Vec<i16> {
    let factor = softmax_multiplier(scale(graph.tensor(op.inputs[0])) as f32, beta);
    let channels = usize::from(graph.tensor(op.output).shape[3]);
    let [exponentials, reciprocals] = softmax_tables();
    let between = |table: &[i16], at: i64| {
        let from_least = at.clamp(-32_768, 32_767) + 32_768;
        let [here, next] = [0, 1].map(|more| i64::from(table[(from_least / 128) as usize + more]));
        here + halves_up(i128::from((next - here) * (from_least % 128)), 7) as i64
    };
    let rows = reads.chunks(channels);
    rows.flat_map(|row| {
        let greatest = i64::from(*row.iter().max().expect("a row has values"));
        let terms: Vec<i64> = row
            .iter()
            .map(|&value| {
                let difference = rescale(i64::from(value) - greatest, factor);
                between(&exponentials, difference + 32_767)
            })
            .collect();
        // The sum is a number in 1…2, and so many bits.
        let sum: i64 = terms.iter().sum();
        let bits = 63 - sum.leading_zeros();
        let fraction = halves_up(i128::from(sum) << 30 >> bits, 14) as i64 - 98_304;
        let reciprocal = between(&reciprocals, fraction);
        terms
            .into_iter()
            .map(|term| halves_up(i128::from(term * reciprocal), bits).clamp(0, 32_767) as i16)
            .collect::<Vec<_>>()
    })
    .collect()
}

fn run(compiled: &Compiled, input: &[i16]) -> Vec<i16> {
    let plan = Plan::load(&compiled.program).expect("what the compiler writes loads");
    let mut arena = vec![0xA5; plan.arena_bytes()];
    let bytes: Vec<u8> = input.iter().flat_map(|value| value.to_le_bytes()).collect();
    arena[plan.input().range()].copy_from_slice(&bytes);
    plan.run(&mut arena)
        .expect("the arena is as large as asked");
    let output = plan.output();
    assert_eq!(output.element, Element::Int16);
    let values = output.values(&arena[output.range()]);
    values.map(|value| value as i16).collect()
}

fn int16s(random: &mut Random, count: usize) -> Vec<i16> {
    (0..count)
        .map(|_| random.below(1 << 16) as u16 as i16)
        .collect()
}

/// Sound networks of a seed, or none.
fn sound(seed: u64, in_bands: bool) -> Option<Graph> {
    let graph = widened(if in_bands { tall(seed) } else { network(seed) }, seed);
    graph.check().ok().map(|()| graph)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn networks_over_int16_give_what_the_arithmetic_says(seed: u64, keep_input: bool, in_bands: bool) {
        let Some(graph) = sound(seed, in_bands) else { return Ok(()) };
        let compiled = compile_graph_with(&graph, &options(keep_input, in_bands));
        let compiled = compiled.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let input = int16s(&mut Random::new(seed ^ 0xA5), len(&graph, graph.inputs[0]));
        let expected = reference(&graph, &input);
        prop_assert_eq!(run(&compiled, &input), &expected[graph.outputs[0].0 as usize][..]);
    }

    #[test]
    fn a_run_touches_the_whole_arena_and_nothing_more(seed: u64) {
        let Some(graph) = sound(seed, false) else { return Ok(()) };
        let compiled = compile_graph(&graph, false).expect("compiles");
        prop_assert_eq!(touched_bytes(&compiled.program), compiled.arena_bytes);
    }
}

#[test]
fn most_random_networks_hold_together_and_fill_their_arena() {
    let sound: Vec<_> = (0..200)
        .filter_map(|seed| sound(seed, seed % 2 == 0))
        .collect();
    assert!(sound.len() > 100, "{} of 200", sound.len());
    let has = |kind: fn(&OpKind) -> bool| {
        sound
            .iter()
            .any(|graph| graph.ops.iter().any(|op| kind(&op.kind)))
    };
    assert!(has(|kind| matches!(kind, OpKind::Softmax { .. })));
    assert!(has(|kind| matches!(
        kind,
        OpKind::Activate(Activation::Relu6)
    )));
}

/// The networks of the golden vectors as plans.
fn plans() -> &'static [Vec<u8>] {
    static ALL: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        let networks = crate::hostile::networks("tflite-int16");
        let compiled = networks.iter().map(|bytes| {
            let graph = tinyops_model::tflite::import(bytes).expect("is read");
            compile_graph(&graph, false).expect("compiles").program
        });
        compiled.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn mutated_plans_over_int16_never_leave_their_memory(
        which: Index, reach in prop_oneof![Just(80usize), Just(400), Just(usize::MAX)],
        changes in prop::collection::vec((any::<Index>(), prop_oneof![
            any::<u32>(), 0u32..64, Just(u32::MAX), Just(0x8000_0000), Just(0x7FFF_FFFF), Just(0xFFFF),
        ], 1usize..5), 1..5),
    ) {
        let mut bytes = which.get(plans()).clone();
        let reach = reach.min(bytes.len());
        for (index, value, width) in changes {
            let at = index.index(reach);
            for (place, byte) in bytes[at..].iter_mut().zip(value.to_le_bytes()).take(width) {
                *place = byte;
            }
        }
        if let Ok(plan) = Plan::load(&bytes)
            && plan.arena_bytes() <= 1 << 16
        {
            let mut arena = vec![0x80; plan.arena_bytes()];
            plan.run(&mut arena).expect("the arena is as large as asked");
        }
    }
}

/// A network of the golden vectors.
fn golden_network(name: &str) -> Graph {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join(format!("../../testdata/golden/tflite-int16/{name}.tflite"));
    let bytes = std::fs::read(path).expect("is in the repository");
    tinyops_model::tflite::import(&bytes).expect("is read")
}

#[test]
fn a_network_over_int16_goes_into_a_capsule_and_proves_itself() {
    for (name, features) in [
        ("network", 120),
        ("network_int8_ends", 120),
        ("converter", 120),
    ] {
        let model = model_of(name, golden_network(name)).expect("has one input and one output");
        let decoded = tinyops_model::Model::decode(&model.encode()).expect("reads back");
        assert_eq!(decoded, model);
        let compiled = compile(&model).expect("compiles");
        let plan = Plan::load(&compiled.program).expect("loads");
        let readings: Vec<f32> = (0..features).map(|at| (at as f32 * 0.7).sin()).collect();
        let mut arena = vec![0; plan.arena_bytes()];
        plan.set_input(&readings, &mut arena)
            .expect("as large as asked");
        let input = arena[plan.input().range()].to_vec();
        plan.run(&mut arena).expect("as large as asked");
        let mut output = arena[plan.output().range()].to_vec();
        let real: f32 = plan
            .output()
            .values(&output)
            .map(|q| plan.output().real(q))
            .sum();
        assert!((real - 1.0).abs() < 0.05, "{name}: shares come to {real}");
        for spoiled in [0, 1] {
            output[0] ^= spoiled;
            let vectors = [
                Golden::Tensor {
                    input: input.clone(),
                    output: output.clone(),
                },
                Golden::Window {
                    readings: readings.clone(),
                    output: output.clone(),
                },
            ];
            let bytes = payload(&model, &compiled, &vectors).expect("is written");
            let replayed = replay(&bytes).expect("runs");
            let differing = replayed.differing.len();
            assert_eq!(
                (replayed.cases, differing),
                (2, 2 * usize::from(spoiled)),
                "{name}"
            );
        }
    }
}

/// A plan of one convolution over int16, and where its tensor records begin.
fn convolution() -> (Vec<u8>, usize) {
    let graph = (0..).find_map(|seed| {
        let graph = sound(seed, false)?;
        matches!(
            graph.ops[..],
            [Op {
                kind: OpKind::Conv2d(_),
                ..
            }]
        )
        .then_some(graph)
    });
    let graph = graph.expect("some seed has it");
    (compile_graph(&graph, false).expect("compiles").program, 32)
}

#[track_caller]
fn check_refused(at: usize, value: &[u8]) {
    let (mut bytes, tensors) = convolution();
    assert!(Plan::load(&bytes).is_ok());
    bytes[tensors + at..][..value.len()].copy_from_slice(value);
    assert!(Plan::load(&bytes).is_err(), "{value:?} at {at}");
}

#[test]
fn tensors_over_int16_are_aligned_inside_the_arena_and_of_zero_point_0() {
    check_refused(0, &1u32.to_le_bytes());
    check_refused(16, &[3]);
    check_refused(18, &[2]);
    check_refused(19, &[2]);
    // One of two: a convolution leads from int16 to int16.
    check_refused(18, &[0]);
    // The last tensor ends with the arena; two bytes on it does not.
    let (mut bytes, _) = convolution();
    let plan = Plan::load(&bytes).expect("sound");
    let arena_bytes = plan.arena_bytes() as u32;
    bytes[8..12].copy_from_slice(&(arena_bytes - 1).to_le_bytes());
    assert!(Plan::load(&bytes).is_err());
}

#[test]
fn a_graph_tells_what_int16_does_not_have() {
    let sound = sound(1, false).or_else(|| sound(3, false)).expect("sound");
    let faults = |change: fn(&mut Graph)| {
        let mut graph = sound.clone();
        change(&mut graph);
        graph.check().is_err()
    };
    assert!(!faults(|_| {}));
    assert!(faults(
        |graph| graph.embedding = Some(TensorId(graph.inputs[0].0))
    ));
    assert!(faults(|graph| {
        let input = graph.inputs[0].0 as usize;
        let quantization = graph.tensors[input]
            .quantization
            .as_mut()
            .expect("quantized");
        quantization.zero_point = 1;
    }));
    assert!(faults(|graph| {
        let input = graph.inputs[0].0 as usize;
        let quantization = graph.tensors[input]
            .quantization
            .as_mut()
            .expect("quantized");
        quantization.element = Element::Int8;
    }));
}
