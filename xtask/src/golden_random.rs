//! Holds the kernels of emulated machines against those of this one, on networks from a seed: `cargo xtask golden random`.
//!
//! A network has one to three ops of the kinds that have kernels of their own, of sizes that fill vectors and of sizes
//! that do not; some of its layers lie over their inputs. What this machine's portable kernels make is the reference.
//! What goes into two memory regions of 8 and 7 tenths of its arena runs over these too, which are memories apart.

use tinyops_compile::compile_graph;
use tinyops_emulate::{Bench, EmulateError, RunFile};
use tinyops_model::graph::{
    Activation, Conv, Data, Graph, Op, OpKind, Padding, Pool, Quantization, Tensor, TensorId,
};
use tinyops_nn::Plan;

use crate::chance::Chance;
use crate::golden_tflite::{self, Tally, on_all};

/// Cases of each network.
const CASES: usize = 2;
/// The most values of an activation.
const VALUES_MAX: usize = 12_000;

/// Checks `count` networks from `seed` on, one seed for each.
///
/// # Errors
/// When the emulator gives no answer, or a plan is refused.
pub(crate) fn check(
    benches: &[Bench],
    seed: u64,
    count: u64,
    tally: &mut Tally,
) -> Result<(), String> {
    for seed in seed..seed + count {
        let Drawn {
            graph,
            plan,
            spread,
            cases,
        } = drawn(seed)?;
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", name(seed, &graph));
        for (plan, over) in [(Some(plan), ""), (spread, " over two regions")] {
            let Some(plan) = plan else { continue };
            let run = RunFile {
                plan: &plan,
                cases: &cases,
                is_stream: false,
            };
            let answers = on_all(benches, |bench| bench.run(&run));
            for (bench, measured) in benches.iter().zip(answers) {
                let core = bench.machine().core;
                let measured = match measured {
                    Err(EmulateError::TooSmall { .. }) => continue,
                    measured => measured.map_err(|error| at(&error))?,
                };
                tally.checked += CASES;
                let wrong: u32 = measured.wrong.iter().sum();
                if wrong > 0 {
                    let shapes: Vec<_> = graph.tensors.iter().map(|tensor| tensor.shape).collect();
                    let line = format!("{wrong} values differ on {core}{over}; shapes {shapes:?}");
                    tally.differences.push(at(&line));
                }
            }
        }
    }
    Ok(())
}

/// A network from a seed.
pub(crate) struct Drawn {
    graph: Graph,
    /// Its plan, and another over two memory regions where it goes into them.
    pub(crate) plan: Vec<u8>,
    pub(crate) spread: Option<Vec<u8>>,
    /// Inputs, and what the portable kernels make of them.
    pub(crate) cases: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The network of a seed.
///
/// # Errors
/// When its plan is refused.
pub(crate) fn drawn(seed: u64) -> Result<Drawn, String> {
    let mut random = Random(Chance(seed));
    let graph = network(&mut random);
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", name(seed, &graph));
    let compiled = compile_graph(&graph, false).map_err(|error| at(&error))?;
    let plan = Plan::load(&compiled.program).map_err(|error| at(&error))?;
    let mut arena = vec![0; plan.arena_bytes()];
    let mut cases = Vec::new();
    for _ in 0..CASES {
        let input: Vec<u8> = random.bytes(plan.input().len);
        arena[plan.input().range()].copy_from_slice(&input);
        plan.run(&mut arena).map_err(|error| at(&error))?;
        cases.push((input, arena[plan.output().range()].to_vec()));
    }
    let spread = golden_tflite::split(&graph, &compiled).map(|spread| spread.program);
    Ok(Drawn {
        graph,
        plan: compiled.program,
        spread,
        cases,
    })
}

fn name(seed: u64, graph: &Graph) -> String {
    let kinds: Vec<&str> = graph.ops.iter().map(|op| op.kind.name()).collect();
    format!("seed {seed}, {kinds:?}")
}

/// One to three ops after each other.
fn network(random: &mut Random) -> Graph {
    let mut graph = Graph::default();
    let shape = loop {
        let side = |random: &mut Random| random.among(&[1, 2, 3, 5, 8, 13, 24, 40, 70]);
        let shape = [1, side(random), side(random), channels(random)];
        if values(shape) <= VALUES_MAX {
            break shape;
        }
    };
    let mut last = activation(&mut graph, shape, random);
    graph.inputs = vec![last];
    for _ in 0..random.among(&[1, 1, 2, 3]) {
        last = grow(&mut graph, last, random);
    }
    graph.outputs = vec![last];
    graph
}

/// Adds an op that reads `input`; answers with its output.
fn grow(graph: &mut Graph, input: TensorId, random: &mut Random) -> TensorId {
    let shape = graph.tensors[input.0 as usize].shape;
    let follows = *random.pick(&[
        Activation::None,
        Activation::None,
        Activation::Relu,
        Activation::Relu6,
    ]);
    match random.among(&[0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 5, 5]) {
        kind @ 0..=1 => loop {
            let is_depthwise = kind == 1;
            let kernel = [0, 1].map(|_| random.among(&[1, 1, 2, 3, 3, 4, 5, 11]));
            let conv = Conv {
                stride: [0, 1].map(|_| random.among(&[1, 1, 1, 2, 3]) as u8),
                dilation: [0, 1].map(|_| random.among(&[1, 1, 1, 1, 2]) as u8),
                padding: padding(random),
                activation: follows,
            };
            let outputs = match is_depthwise {
                true => shape[3] * random.among(&[1, 1, 1, 1, 1, 2]),
                false => channels(random),
            };
            let made = [0, 1].map(|axis| {
                let (kernel, dilation) = (kernel[axis], conv.dilation[axis]);
                conv.padding
                    .output_len(axis, shape[axis + 1], kernel, dilation, conv.stride[axis])
            });
            let made = [1, made[0] as u16, made[1] as u16, outputs];
            let filter = match is_depthwise {
                true => [1, kernel[0], kernel[1], outputs],
                false => [outputs, kernel[0], kernel[1], shape[3]],
            };
            if !(1..=VALUES_MAX).contains(&values(made)) || values(filter) > 40_000 {
                continue;
            }
            let taps = values(filter) / usize::from(outputs);
            let op = match is_depthwise {
                true => OpKind::DepthwiseConv2d(conv),
                false => OpKind::Conv2d(conv),
            };
            return weighted(graph, op, input, filter, (made, taps), random);
        },
        2 => {
            let inputs = values(shape).min(65_535) as u16;
            let outputs = channels(random);
            let (filter, made) = ([outputs, 1, 1, inputs], [1, 1, 1, outputs]);
            let op = OpKind::Dense(follows);
            weighted(graph, op, input, filter, (made, values(shape)), random)
        }
        kind @ 3..=4 => {
            let window = [1, 2].map(|axis| random.among(&[1, 2, 3, shape[axis]]).min(shape[axis]));
            let pool = Pool {
                window,
                stride: [0, 1].map(|_| random.among(&[1, 1, 2, 3]) as u8),
                padding: *random.pick(&[Padding::Same, Padding::Valid]),
                activation: follows,
            };
            let made = [0, 1].map(|axis| {
                let stride = pool.stride[axis];
                pool.padding
                    .output_len(axis, shape[axis + 1], window[axis], 1, stride)
                    as u16
            });
            let quantization = graph.tensors[input.0 as usize].quantization.clone();
            let output = activation(graph, [1, made[0], made[1], shape[3]], random);
            graph.tensors[output.0 as usize].quantization = quantization;
            let op = if kind == 3 {
                OpKind::MaxPool2d(pool)
            } else {
                OpKind::AveragePool2d(pool)
            };
            put(graph, op, vec![input], output)
        }
        _ => {
            // The sum with what one or two convolutions make of the same input, which may be read
            // again after it.
            let mut made = input;
            for _ in 0..random.among(&[1, 2]) {
                let side = random.among(&[1, 1, 3]);
                let filter = [shape[3], side, side, shape[3]];
                let side = if values(filter) > 40_000 { 1 } else { side };
                let filter = [shape[3], side, side, shape[3]];
                let clamp = *random.pick(&[Activation::None, Activation::None, follows]);
                let conv = OpKind::Conv2d(Conv::same(clamp));
                let taps = usize::from(side * side * shape[3]);
                made = weighted(graph, conv, made, filter, (shape, taps), random);
            }
            let mut operands = vec![input, made];
            if random.among(&[0, 1]) == 1 {
                operands.reverse();
            }
            let output = activation(graph, shape, random);
            let sum = put(graph, OpKind::Add(follows), operands, output);
            if random.among(&[0, 0, 1]) == 0 {
                return sum;
            }
            let output = activation(graph, shape, random);
            put(
                graph,
                OpKind::Add(Activation::None),
                vec![sum, input],
                output,
            )
        }
    }
}

/// An op with filter and bias.
fn weighted(
    graph: &mut Graph,
    kind: OpKind,
    input: TensorId,
    filter: [u16; 4],
    (made, taps): ([u16; 4], usize),
    random: &mut Random,
) -> TensorId {
    let output = activation(graph, made, random);
    let scale = |id: TensorId| {
        graph.tensors[id.0 as usize]
            .quantization
            .as_ref()
            .map_or(1.0, Quantization::scale)
    };
    // So that results fill the range, a little too far; at times so that factors are above 1/2.
    let rough = random.among(&[1, 1, 1, 1, 1, 60]);
    let wanted = scale(output) / (scale(input) * (taps as f32).sqrt() * 30.0) * f32::from(rough);
    let each = random.among(&[0, 1]) == 1 && !matches!(kind, OpKind::Dense(_));
    let outputs = usize::from(made[3]);
    let scales: Vec<f32> = (0..if each { outputs } else { 1 })
        .map(|_| wanted * (0.2 + f32::from(random.among(&[0, 1, 2, 5, 9])) / 4.0))
        .collect();
    let count = values(filter);
    let weights = random
        .bytes(count)
        .into_iter()
        .map(|byte| (byte as i8).max(-127))
        .collect();
    let biases = (0..outputs)
        .map(|_| i32::from(random.next() as i16) / 4)
        .collect();
    let bias_scales = scales
        .iter()
        .map(|scale_of| scale_of * scale(input))
        .collect();
    let quantization = Quantization::per_channel(scales);
    let filter = constant(graph, filter, quantization, Data::Int8(weights));
    let bias = [1, 1, 1, made[3]];
    let bias = constant(
        graph,
        bias,
        Quantization::per_channel(bias_scales),
        Data::Int32(biases),
    );
    put(graph, kind, vec![input, filter, bias], output)
}

fn put(graph: &mut Graph, kind: OpKind, inputs: Vec<TensorId>, output: TensorId) -> TensorId {
    graph.ops.push(Op {
        kind,
        inputs,
        output,
    });
    output
}

fn activation(graph: &mut Graph, shape: [u16; 4], random: &mut Random) -> TensorId {
    let scale = f32::from(random.among(&[1, 3, 8])) / 40.0;
    let zero_point = random.next() as i8 / 2;
    let quantization = Quantization::per_tensor(scale, zero_point);
    push(graph, shape, quantization, None)
}

fn constant(
    graph: &mut Graph,
    shape: [u16; 4],
    quantization: Quantization,
    data: Data,
) -> TensorId {
    push(graph, shape, quantization, Some(data))
}

fn push(
    graph: &mut Graph,
    shape: [u16; 4],
    quantization: Quantization,
    data: Option<Data>,
) -> TensorId {
    let id = TensorId(graph.tensors.len() as u32);
    graph.tensors.push(Tensor {
        name: id.to_string(),
        shape,
        quantization: Some(quantization),
        data,
    });
    id
}

fn padding(random: &mut Random) -> Padding {
    let [top, bottom, left, right] = [0; 4].map(|_: u16| random.among(&[0, 1, 2, 6]));
    let explicit = Padding::Explicit {
        top,
        bottom,
        left,
        right,
    };
    *random.pick(&[Padding::Same, Padding::Same, Padding::Valid, explicit])
}

/// Counts around four, eight, sixteen, and above what a table of a kernel holds.
fn channels(random: &mut Random) -> u16 {
    random.among(&[
        1, 2, 3, 4, 4, 5, 7, 8, 8, 12, 16, 16, 17, 20, 32, 60, 64, 128, 132, 260,
    ])
}

fn values(shape: [u16; 4]) -> usize {
    shape.into_iter().map(usize::from).product()
}

/// What networks are drawn by.
struct Random(Chance);

impl Random {
    fn next(&mut self) -> u64 {
        self.0.next()
    }

    fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[(self.next() % choices.len() as u64) as usize]
    }

    fn among(&mut self, choices: &[u16]) -> u16 {
        *self.pick(choices)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_compile_and_vary() {
        let mut outputs = Vec::new();
        for seed in 0..200 {
            let mut random = Random(Chance(seed));
            let graph = network(&mut random);
            let compiled =
                compile_graph(&graph, false).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let plan = Plan::load(&compiled.program)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let mut arena = vec![0; plan.arena_bytes()];
            arena[plan.input().range()].copy_from_slice(&random.bytes(plan.input().len));
            plan.run(&mut arena).unwrap();
            let output = &arena[plan.output().range()];
            outputs.push(output.iter().any(|value| *value != output[0]));
        }
        // A network whose every output is the same could hide what differs.
        let vary = outputs.iter().filter(|&&varies| varies).count();
        assert!(vary > 170, "{vary} of 200 vary");
    }
}
