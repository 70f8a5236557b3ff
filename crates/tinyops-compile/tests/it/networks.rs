//! Random networks of every op, and a model around a small one.

use tinyops_dsp::{Block, FrontEnd, Raw};
use tinyops_model::build::Weights;
use tinyops_model::{
    Activation, Body, Conv, Decision, Graph, GraphBuilder, Model, OwnedScaler, Padding, Pool,
    Quantization, Task, TensorId,
};
use tinyops_sketch::{Baseline, ChannelBaseline, Source};

/// Random numbers of one seed, so that a failure is a number.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) fn int8s(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.below(256) as u8 as i8).collect()
    }

    pub(crate) fn scale(&mut self) -> f32 {
        0.005 + self.below(1000) as f32 * 1e-4
    }

    pub(crate) fn activation(&mut self) -> Activation {
        [Activation::None, Activation::Relu, Activation::Relu6][self.below(3) as usize]
    }

    pub(crate) fn quantization(&mut self) -> Option<Quantization> {
        let zero_point = self.int8s(1)[0];
        Some(Quantization::per_tensor(self.scale(), zero_point))
    }

    fn padding(&mut self) -> Padding {
        let mut places = || self.below(3) as u16;
        let explicit = Padding::Explicit {
            top: places(),
            bottom: places(),
            left: places(),
            right: places(),
        };
        [Padding::Same, Padding::Valid, explicit][self.below(3) as usize]
    }
}

/// A network of some ops over a small image, with a kept embedding or without.
pub(crate) fn network(seed: u64) -> Graph {
    let random = &mut Random::new(seed);
    let shape = [
        1,
        3 + random.below(5) as u16,
        3 + random.below(5) as u16,
        1 + random.below(5) as u16,
    ];
    let quantization = random.quantization();
    network_from(random, shape, quantization)
}

/// A network of some ops over what has this shape.
pub(crate) fn network_from(
    random: &mut Random,
    shape: [u16; 4],
    quantization: Option<Quantization>,
) -> Graph {
    let mut builder = GraphBuilder::new();
    let mut tensor = builder.input(shape, quantization);
    let mut made = vec![tensor];
    for _ in 0..1 + random.below(7) {
        tensor = next(&mut builder, random, tensor, &made);
        made.push(tensor);
    }
    if random.below(2) == 0 {
        builder.embedding(made[random.below(made.len() as u64) as usize]);
    }
    if random.below(2) == 0 {
        let outputs = 1 + random.below(6) as u16;
        let weights = weights(&builder, random, tensor, Kind::Dense, [0, 0], outputs);
        let quantization = random.quantization();
        tensor = builder.dense(tensor, weights, Activation::None, quantization);
    }
    if random.below(2) == 0 {
        tensor = builder.softmax(tensor);
    }
    builder.finish(&[tensor])
}

/// A network of convolutions that something of the same shape is added to: what they read, what was
/// made before, what is read again later, in either order.
pub(crate) fn residual(seed: u64) -> Graph {
    let random = &mut Random::new(seed);
    let mut builder = GraphBuilder::new();
    let shape = [
        1,
        1 + random.below(7) as u16,
        1 + random.below(7) as u16,
        1 + random.below(9) as u16,
    ];
    let quantization = random.quantization();
    let mut tensor = builder.input(shape, quantization);
    let mut made = vec![tensor];
    for _ in 0..1 + random.below(3) {
        let window = [1, 2].map(|axis| 1 + random.below(u64::from(shape[axis].min(3))) as u16);
        let mut conv = Conv::same(random.activation());
        for _ in 0..1 + random.below(2) {
            let weights = weights(&builder, random, tensor, Kind::Conv, window, shape[3]);
            let quantization = random.quantization();
            tensor = builder.conv2d(tensor, weights, conv, quantization);
            conv.activation = random.activation();
            if random.below(3) == 0 {
                made.push(tensor);
            }
        }
        let other = made[random.below(made.len() as u64) as usize];
        let operands = match random.below(2) {
            0 => [tensor, other],
            _ => [other, tensor],
        };
        let quantization = random.quantization();
        let activation = random.activation();
        tensor = builder.add(operands[0], operands[1], activation, quantization.clone());
        if random.below(3) == 0 {
            tensor = builder.activate(tensor, random.activation(), quantization);
        }
        made.push(tensor);
    }
    if random.below(4) == 0 {
        builder.embedding(made[random.below(made.len() as u64) as usize]);
    }
    builder.finish(&[tensor])
}

/// A network whose largest tensor lies between two window ops over a tall image.
pub(crate) fn tall(seed: u64) -> Graph {
    let random = &mut Random::new(seed);
    let mut builder = GraphBuilder::new();
    let shape = [
        1,
        8 + random.below(9) as u16,
        2 + random.below(4) as u16,
        1 + random.below(4) as u16,
    ];
    let quantization = random.quantization();
    let mut tensor = builder.input(shape, quantization);
    for _ in 0..1 + random.below(2) {
        for kind in [Kind::Conv, Kind::Depthwise] {
            let [_, height, width, channels] = builder.shape(tensor);
            let window = [
                1 + random.below(u64::from(height.min(3))) as u16,
                1 + random.below(u64::from(width.min(3))) as u16,
            ];
            let conv = Conv {
                stride: [1 + random.below(2) as u8, 1],
                dilation: [1, 1],
                padding: random.padding(),
                activation: random.activation(),
            };
            let quantization = random.quantization();
            tensor = if kind == Kind::Conv {
                let outputs = channels + 3 + random.below(6) as u16;
                let weights = weights(&builder, random, tensor, kind, window, outputs);
                let conv = Conv {
                    stride: [1, 1],
                    ..conv
                };
                builder.conv2d(tensor, weights, conv, quantization)
            } else {
                let weights = weights(&builder, random, tensor, kind, window, channels);
                builder.depthwise_conv2d(tensor, weights, conv, quantization)
            };
        }
    }
    if random.below(2) == 0 {
        tensor = builder.softmax(tensor);
    }
    builder.finish(&[tensor])
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Conv,
    Depthwise,
    Dense,
}

fn next(
    builder: &mut GraphBuilder,
    random: &mut Random,
    tensor: TensorId,
    made: &[TensorId],
) -> TensorId {
    let [_, height, width, channels] = builder.shape(tensor);
    let window = [
        1 + random.below(u64::from(height.min(3))) as u16,
        1 + random.below(u64::from(width.min(3))) as u16,
    ];
    let conv = Conv {
        stride: [1 + random.below(2) as u8, 1 + random.below(2) as u8],
        dilation: [1, 1],
        padding: random.padding(),
        activation: random.activation(),
    };
    let pool = Pool {
        window,
        stride: conv.stride,
        padding: if random.below(2) == 0 {
            Padding::Same
        } else {
            Padding::Valid
        },
        activation: conv.activation,
    };
    match random.below(11) {
        0..=2 => {
            let outputs = 1 + random.below(6) as u16;
            let weights = weights(builder, random, tensor, Kind::Conv, window, outputs);
            let quantization = random.quantization();
            builder.conv2d(tensor, weights, conv, quantization)
        }
        3..=4 => {
            let outputs = channels * (1 + random.below(2) as u16);
            let weights = weights(builder, random, tensor, Kind::Depthwise, window, outputs);
            let quantization = random.quantization();
            builder.depthwise_conv2d(tensor, weights, conv, quantization)
        }
        5 => builder.max_pool2d(tensor, pool),
        6 => builder.average_pool2d(tensor, pool),
        7 => {
            let alike = made
                .iter()
                .copied()
                .filter(|&other| builder.shape(other) == builder.shape(tensor));
            let alike: Vec<_> = alike.collect();
            let other = alike[random.below(alike.len() as u64) as usize];
            let quantization = random.quantization();
            builder.add(tensor, other, conv.activation, quantization)
        }
        8 => {
            let quantization = if random.below(2) == 0 {
                builder.quantization(tensor)
            } else {
                random.quantization()
            };
            builder.activate(tensor, conv.activation, quantization)
        }
        9 => builder.reshape(tensor, [1, width, height, channels]),
        _ => {
            let padding = Padding::Explicit {
                top: 1,
                bottom: 0,
                left: 0,
                right: 1,
            };
            builder.pad(tensor, padding)
        }
    }
}

fn weights(
    builder: &GraphBuilder,
    random: &mut Random,
    input: TensorId,
    kind: Kind,
    window: [u16; 2],
    outputs: u16,
) -> Weights {
    let [_, height, width, channels] = builder.shape(input);
    let shape = match kind {
        Kind::Conv => [outputs, window[0], window[1], channels],
        Kind::Depthwise => [1, window[0], window[1], outputs],
        Kind::Dense => [outputs, 1, 1, height * width * channels],
    };
    let count = shape.iter().map(|&dim| usize::from(dim)).product();
    let scales = if random.below(3) == 0 {
        1
    } else {
        usize::from(outputs)
    };
    let scales = (0..scales).map(|_| random.scale() * 0.1).collect();
    let mut bias: Vec<i32> = random
        .int8s(usize::from(outputs))
        .iter()
        .map(|&bias| i32::from(bias) * 20)
        .collect();
    let mut filter = random.int8s(count);
    if random.below(2) == 0 {
        kill_channels(random, kind, &mut filter, &mut bias);
    }
    Weights::int8(shape, filter, scales, bias, 0.02)
}

/// Makes some outputs the same whatever the input, and some taps worth nothing.
fn kill_channels(random: &mut Random, kind: Kind, filter: &mut [i8], bias: &mut [i32]) {
    let outputs = bias.len();
    let row_len = filter.len() / outputs;
    let of_output = |output: usize| -> Vec<usize> {
        match kind {
            Kind::Depthwise => (0..row_len).map(|tap| tap * outputs + output).collect(),
            Kind::Conv | Kind::Dense => (output * row_len..(output + 1) * row_len).collect(),
        }
    };
    for (output, bias) in bias.iter_mut().enumerate() {
        match random.below(6) {
            0 => of_output(output).into_iter().for_each(|at| filter[at] = 0),
            1 => *bias = -(1 << 20),
            2 => *bias = 1 << 20,
            _ => {}
        }
    }
    if kind != Kind::Depthwise && random.below(2) == 0 {
        let period = 1 + random.below(row_len as u64) as usize;
        let zeroed = (0..filter.len()).filter(|at| (at % row_len).is_multiple_of(period));
        zeroed.for_each(|at| filter[at] = 0);
    }
}

/// A classifier of two classes over four readings of two channels.
pub(crate) fn model(body: Body, task: Task) -> Model {
    let channel = ChannelBaseline::new(Source::Output, 0.9, 0.1);
    let baseline = Baseline::new(100, &[channel], &[0.5, 0.5]).expect("sound");
    Model {
        name: "fan".to_owned(),
        task,
        front_end: FrontEnd {
            rate_hz: 100.0,
            channel_count: 2,
            window_len: 4,
            block: Block::Raw(Raw { scale: 0.5 }),
        },
        scaler: OwnedScaler {
            mean: vec![0.5, -0.5],
            inv_std: vec![2.0, 1.0],
        },
        body,
        labels: vec!["idle".to_owned(), "worn".to_owned()],
        decision: Decision {
            threshold: 0.5,
            min_confidence: 0.6,
        },
        baseline,
        embedding: Vec::new(),
    }
}

/// Features to hidden values to two classes.
pub(crate) fn classifier() -> Graph {
    let random = &mut Random::new(7);
    let mut builder = GraphBuilder::new();
    let input = builder.input([1, 1, 4, 2], Some(Quantization::per_tensor(0.05, -1)));
    let hidden = weights(&builder, random, input, Kind::Dense, [0, 0], 6);
    let hidden = builder.dense(
        input,
        hidden,
        Activation::Relu,
        Some(Quantization::per_tensor(0.1, -128)),
    );
    builder.embedding(hidden);
    let logits = weights(&builder, random, hidden, Kind::Dense, [0, 0], 2);
    let logits = builder.dense(
        hidden,
        logits,
        Activation::None,
        Some(Quantization::per_tensor(0.2, 5)),
    );
    let output = builder.softmax(logits);
    builder.finish(&[output])
}

/// Features to fewer values and back.
pub(crate) fn autoencoder() -> Graph {
    let random = &mut Random::new(8);
    let mut builder = GraphBuilder::new();
    let quantization = Some(Quantization::per_tensor(0.05, -1));
    let input = builder.input([1, 1, 4, 2], quantization.clone());
    let code = weights(&builder, random, input, Kind::Dense, [0, 0], 3);
    let code = builder.dense(
        input,
        code,
        Activation::Relu,
        Some(Quantization::per_tensor(0.1, -128)),
    );
    let output = weights(&builder, random, code, Kind::Dense, [0, 0], 8);
    let output = builder.dense(code, output, Activation::None, quantization);
    builder.finish(&[output])
}
