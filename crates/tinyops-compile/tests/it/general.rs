//! Random networks of the ops whose places are numbers, between convolutions that have dead channels: what the
//! rewrites do around them changes no bit.

use proptest::prelude::*;
use tinyops_compile::{CompileError, Options, compile_graph_with, rewrite};
use tinyops_model::graph::{Data, Product, Reduction, Unary};
use tinyops_model::{Graph, Op, OpKind, Quantization, Tensor, TensorId};
use tinyops_nn::record::BinaryFunction;

use crate::graphs::{len, op_by_op, options, run};
use crate::networks::{Random, network_from};

/// A graph that grows at its output.
struct Growing {
    graph: Graph,
    at: TensorId,
}

impl Growing {
    fn tensor(&self) -> &Tensor {
        self.graph.tensor(self.at)
    }

    fn constant(
        &mut self,
        shape: [u16; 4],
        quantization: Option<Quantization>,
        data: Data,
    ) -> TensorId {
        self.put(Tensor {
            name: "constant".to_owned(),
            shape,
            quantization,
            data: Some(data),
        })
    }

    fn put(&mut self, tensor: Tensor) -> TensorId {
        self.graph.tensors.push(tensor);
        TensorId(self.graph.tensors.len() as u32 - 1)
    }

    fn op(
        &mut self,
        kind: OpKind,
        inputs: Vec<TensorId>,
        shape: [u16; 4],
        quantization: Option<Quantization>,
    ) {
        let number = self.graph.ops.len();
        let output = self.put(Tensor {
            name: format!("{} {number}", kind.name()),
            shape,
            quantization,
            data: None,
        });
        self.graph.ops.push(Op {
            kind,
            inputs,
            output,
        });
        self.at = output;
    }

    /// Appends a network that takes what this one makes.
    fn append(&mut self, other: Graph) {
        let shift = self.graph.tensors.len() as u32;
        let (input, at) = (other.inputs[0], self.at);
        let moved = |id: TensorId| {
            if id == input {
                at
            } else {
                TensorId(id.0 + shift)
            }
        };
        self.graph.tensors.extend(other.tensors);
        self.graph.ops.extend(other.ops.into_iter().map(|op| Op {
            kind: op.kind,
            inputs: op.inputs.into_iter().map(moved).collect(),
            output: moved(op.output),
        }));
        self.at = moved(other.outputs[0]);
    }

    fn finish(mut self) -> Graph {
        self.graph.outputs = vec![self.at];
        self.graph
    }
}

/// Some ops of a builder's network, general ones, and ops of a network again.
fn mixed(seed: u64) -> Graph {
    let random = &mut Random::new(seed);
    let shape = [(); 3].map(|()| 2 + random.below(4) as u16);
    let shape = [1, shape[0], shape[1], shape[2]];
    let quantization = random.quantization();
    let graph = network_from(random, shape, quantization);
    let at = graph.outputs[0];
    let mut growing = Growing { graph, at };
    for _ in 0..1 + random.below(3) {
        for _ in 0..1 + random.below(2) {
            grow(&mut growing, random);
        }
        let tensor = growing.tensor();
        let elements: u64 = tensor.shape.iter().map(|&dim| u64::from(dim)).product();
        if elements > 600 || tensor.shape[0] != 1 {
            break;
        }
        let (shape, quantization) = (tensor.shape, tensor.quantization.clone());
        growing.append(network_from(random, shape, quantization));
    }
    growing.finish()
}

fn grow(growing: &mut Growing, random: &mut Random) {
    let at = growing.at;
    let tensor = growing.tensor().clone();
    let [_, height, width, channels] = tensor.shape;
    let (shape, same) = (tensor.shape, tensor.quantization.clone());
    let pixels = u32::from(height) * u32::from(width);
    match random.below(10) {
        0 => {
            let alpha = random.below(100) as f32 * 0.01;
            let kinds = [
                Unary::Tanh,
                Unary::LeakyRelu { alpha },
                Unary::HardSwish,
                Unary::Abs,
                Unary::Elu,
                Unary::Exp,
                Unary::Gelu {
                    approximate: alpha > 0.5,
                },
                Unary::Clip {
                    least: -1,
                    greatest: 1,
                },
            ];
            let unary = kinds[random.below(kinds.len() as u64) as usize];
            let made = match unary {
                Unary::Tanh => Some(Quantization::per_tensor(1.0 / 128.0, 0)),
                _ => random.quantization(),
            };
            growing.op(OpKind::Unary(unary), vec![at], shape, made);
        }
        1 => {
            let function = function(random);
            let keeps = matches!(function, BinaryFunction::Maximum | BinaryFunction::Minimum);
            let place = |random: &mut Random, len: u16| if random.below(2) == 0 { 1 } else { len };
            let second = [
                1,
                place(random, height),
                place(random, width),
                place(random, channels),
            ];
            let count = second.iter().map(|&dim| usize::from(dim)).product();
            let (of_second, made) = if keeps {
                (same.clone(), same)
            } else {
                (random.quantization(), random.quantization())
            };
            let values = Data::Int8(random.int8s(count));
            let mut second = growing.constant(second, of_second.clone(), values);
            if random.below(3) == 0 {
                // The same values, made by an op.
                let whole = growing.graph.tensor(second).shape;
                growing.op(OpKind::Constant, vec![second], whole, of_second);
                second = growing.at;
            }
            let activation = random.activation();
            growing.op(
                OpKind::Binary {
                    function,
                    activation,
                },
                vec![at, second],
                shape,
                made,
            );
        }
        2 => {
            // With what another op made, or with itself.
            let of_shape = |op: &&Op| growing.graph.tensor(op.output).shape == shape;
            let alike: Vec<TensorId> = growing
                .graph
                .ops
                .iter()
                .filter(of_shape)
                .map(|op| op.output)
                .collect();
            let other = alike
                .get(random.below(1 + alike.len() as u64) as usize)
                .copied()
                .unwrap_or(at);
            let function = BinaryFunction::Multiply;
            let (activation, made) = (random.activation(), random.quantization());
            growing.op(
                OpKind::Binary {
                    function,
                    activation,
                },
                vec![at, other],
                shape,
                made,
            );
        }
        3 => {
            let (outer, made) = match random.below(3) {
                0 => (1, [1, 2 * height, width, channels]),
                1 => (u32::from(height), [1, height, 2 * width, channels]),
                _ => (pixels, [1, height, width, 2 * channels]),
            };
            growing.op(OpKind::Concat { outer }, vec![at, at], made, same);
        }
        4 => {
            let mut places: Vec<i32> = Vec::new();
            let steps = [width * channels, channels, 1];
            let mut made = [1; 4];
            for (axis, (len, step)) in [height, width, channels].into_iter().zip(steps).enumerate()
            {
                let mut of_axis: Vec<i32> = (0..i32::from(len))
                    .map(|place| place * i32::from(step))
                    .collect();
                match random.below(4) {
                    0 => of_axis.reverse(),
                    1 if len > 1 => of_axis.truncate(usize::from(len) - 1),
                    2 => of_axis.insert(0, -1),
                    _ => {}
                }
                made[axis + 1] = of_axis.len() as u16;
                places.extend(of_axis);
            }
            let fill = random.int8s(1)[0];
            let shape = [1, 1, 1, places.len() as u16];
            let places = growing.constant(
                shape,
                Some(Quantization::per_tensor(1.0, 0)),
                Data::Int32(places),
            );
            growing.op(
                OpKind::Rearrange { fill: fill.into() },
                vec![at, places],
                made,
                same,
            );
        }
        5 => {
            let functions = [
                Reduction::Mean,
                Reduction::Sum,
                Reduction::Maximum,
                Reduction::Minimum,
            ];
            let function = functions[random.below(4) as usize];
            let axes = [0; 3].map(|_: u64| random.below(2) == 0);
            let kept = |axis: usize, len: u16| if axes[axis] { 1 } else { len };
            let made = [1, kept(0, height), kept(1, width), kept(2, channels)];
            let keeps = matches!(function, Reduction::Maximum | Reduction::Minimum);
            let quantization = if keeps { same } else { random.quantization() };
            growing.op(
                OpKind::Reduce { function, axes },
                vec![at],
                made,
                quantization,
            );
        }
        6 => {
            let made = [
                1,
                1 + random.below(7) as u16,
                1 + random.below(7) as u16,
                channels,
            ];
            let half_pixel = random.below(2) == 0;
            let align_corners = !half_pixel && random.below(2) == 0;
            let kind = OpKind::ResizeBilinear {
                align_corners,
                half_pixel,
            };
            growing.op(kind, vec![at], made, same);
        }
        7 => {
            let columns = 1 + random.below(5) as u16;
            let values = random.int8s(usize::from(columns * channels));
            let quantization = random.quantization();
            let second =
                growing.constant([1, 1, columns, channels], quantization, Data::Int8(values));
            let product = Product {
                counts: [1, 1, pixels as u16, columns, channels],
                first: [0, 0, u32::from(channels), 1],
                second: [0, 0, u32::from(channels), 1],
            };
            let (shape, made) = ([1, height, width, columns], random.quantization());
            growing.op(OpKind::Product(product), vec![at, second], shape, made);
        }
        8 => {
            let lens = [pixels, u32::from(channels), 1];
            let made = Some(Quantization::per_tensor(1.0, -128));
            let greatest = random.below(2) == 0;
            growing.op(
                OpKind::Extreme { greatest, lens },
                vec![at],
                [1, height, width, 1],
                made,
            );
        }
        _ => {
            let outputs = 1 + random.below(5) as u16;
            let mut values = random.int8s(usize::from(outputs * channels));
            if random.below(2) == 0 {
                values.iter_mut().step_by(2).for_each(|value| *value = 0);
            }
            let scale = Some(Quantization::per_tensor(random.scale() * 0.1, 0));
            let filter = growing.constant([outputs, 1, 1, channels], scale, Data::Int8(values));
            let (activation, made) = (random.activation(), random.quantization());
            let shape = [1, height, width, outputs];
            growing.op(OpKind::DenseRows(activation), vec![at, filter], shape, made);
        }
    }
}

fn function(random: &mut Random) -> BinaryFunction {
    use BinaryFunction::*;
    let all = [
        Add,
        Subtract,
        SubtractFrom,
        Multiply,
        Maximum,
        Minimum,
        Prelu,
        SquaredDifference,
    ];
    all[random.below(all.len() as u64) as usize]
}

/// What the plans as written and as shipped make of one input; `None` for scales that no kernel bridges.
fn check(graph: &Graph, shipped: &Options, seed: u64) -> Option<()> {
    let input = Random::new(seed).int8s(len(graph, graph.inputs[0]));
    let expected = op_by_op(graph, &input)?;
    let expected = &expected[graph.outputs[0].0 as usize];
    let as_written = Options {
        as_written: true,
        ..*shipped
    };
    for (what, options) in [("written", &as_written), ("shipped", shipped)] {
        let compiled = match compile_graph_with(graph, options) {
            Ok(compiled) => compiled,
            Err(CompileError::Scales { .. }) => return None,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        let (_, output) = run(&compiled.program, &input);
        assert_eq!(&output, expected, "seed {seed}, as {what}");
    }
    Some(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn rewrites_around_general_ops_change_nothing(seed: u64, keep_input: bool) {
        let graph = mixed(seed);
        prop_assume!(graph.check().is_ok());
        prop_assume!(check(&graph, &options(keep_input, false), seed).is_some());
    }
}

#[test]
fn most_mixed_networks_hold_together_and_every_general_op_is_among_them() {
    let mut kinds = std::collections::BTreeMap::new();
    let mut rewritten = 0;
    let mut sound = 0;
    for seed in 0..400 {
        let graph = mixed(seed);
        if graph.check().is_err() {
            continue;
        }
        sound += 1;
        rewritten += usize::from(!rewrite(&graph).rewrites.is_empty());
        for op in &graph.ops {
            *kinds.entry(op.kind.name()).or_insert(0) += 1;
        }
    }
    assert!(sound > 240, "{sound} of 400");
    assert!(rewritten > 100, "{rewritten} of {sound}");
    for kind in [
        "TANH",
        "LEAKY_RELU",
        "HARD_SWISH",
        "ABS",
        "ELU",
        "EXP",
        "GELU",
        "MUL",
        "SUB",
        "MAXIMUM",
        "PRELU",
        "SQUARED_DIFFERENCE",
        "CONSTANT",
        "CONCATENATION",
        "GATHER",
        "MEAN",
        "SUM",
        "REDUCE_MAX",
        "RESIZE_BILINEAR",
        "BATCH_MATMUL",
        "ARG_MAX",
        "FULLY_CONNECTED",
    ] {
        assert!(
            kinds.get(kind).copied().unwrap_or(0) > 3,
            "{kind} of {kinds:?}"
        );
    }
}
