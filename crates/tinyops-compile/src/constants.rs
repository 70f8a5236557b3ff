//! The constants of a plan: filters, biases, multipliers, tables.

use tinyops_model::graph::{Data, Graph, Op, OpKind, Tensor};
use tinyops_nn::Multiplier;
use tinyops_nn::layout::{STEP_MAX, UNPACKED_MAX, pack_channel};
use tinyops_nn::record::{CONSTANTS_ALIGN, FLAG_ONE_MULTIPLIER, FLAG_PACKED};

/// The constants section as it grows.
#[derive(Default)]
pub(crate) struct Constants {
    pub(crate) bytes: Vec<u8>,
}

impl Constants {
    /// Adds an array that kernels read in wide steps.
    pub(crate) fn put_array(&mut self, array: &[u8]) -> u32 {
        self.put(array, CONSTANTS_ALIGN)
    }

    /// Adds 32-bit numbers, such as those of an op.
    pub(crate) fn put_numbers(&mut self, numbers: &[i32]) -> u32 {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        self.put(&bytes, 4)
    }

    /// Adds bytes that begin with 32-bit numbers.
    pub(crate) fn put_block(&mut self, bytes: &[u8]) -> u32 {
        self.put(bytes, 4)
    }

    /// Adds biases, multipliers and shifts, in the fewest bytes that hold them.
    pub(crate) fn put_channels(&mut self, channels: &Channels) -> u32 {
        if let Some(packed) = channels.packed() {
            let (words, biases): (Vec<_>, Vec<_>) = packed.into_iter().unzip();
            let bytes = [words.concat(), biases.concat()].concat();
            return self.put(&bytes, 4);
        }
        let values = channels.multipliers.iter().map(|m| m.value);
        let words = channels.biases.iter().copied().chain(values);
        let mut bytes: Vec<u8> = words.flat_map(i32::to_le_bytes).collect();
        bytes.extend(channels.multipliers.iter().map(|m| m.shift as u8));
        self.put(&bytes, 4)
    }

    fn put(&mut self, part: &[u8], align: usize) -> u32 {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(align), 0);
        let offset = self.bytes.len();
        self.bytes.extend(part);
        // `compile` refuses a model whose constants pass 2^32 bytes before it writes any.
        offset as u32
    }
}

/// Bias, multiplier and shift of each output channel.
pub(crate) struct Channels {
    pub(crate) biases: Vec<i32>,
    /// One for each channel, or one for all.
    pub(crate) multipliers: Vec<Multiplier>,
}

impl Channels {
    /// The channels of a convolution or dense layer, with the input's zero point folded into the bias:
    /// `b' = b - zp_in · Σ w`, exact modulo 2^32 as the sum itself is.
    pub(crate) fn of(graph: &Graph, op: &Op, weight_sums: &[i32]) -> Channels {
        let bias = op.inputs.get(2).map(|&bias| graph.tensor(bias));
        let (_, zero_point) = quantization(graph.tensor(op.inputs[0]));
        let biases = weight_sums.iter().enumerate().map(|(channel, &sum)| {
            let bias = match bias.and_then(|bias| bias.data.as_ref()) {
                Some(Data::Int32(biases)) => biases[channel],
                _ => 0,
            };
            bias.wrapping_sub(sum.wrapping_mul(i32::from(zero_point)))
        });
        let mut biases: Vec<i32> = biases.collect();
        let mut multipliers = multipliers(graph, op);
        let one = multipliers.len() == 1;
        // A factor of 0 makes any sum 0. The kernels want a fraction of a half or more: the least
        // factor there is does the same to every sum below 2^30, which no sum without a bias passes.
        for (channel, multiplier) in multipliers.iter_mut().enumerate() {
            if multiplier.value == 0 {
                *multiplier = Multiplier {
                    value: 1 << 30,
                    shift: -31,
                };
                let silent = if one {
                    0..biases.len()
                } else {
                    channel..channel + 1
                };
                biases[silent].fill(0);
            }
        }
        Channels {
            biases,
            multipliers,
        }
    }

    /// How the plan's op tells of them: its flags, and the greatest shift of packed channels.
    pub(crate) fn flags_and_shift(&self) -> (u8, i8) {
        if self.multipliers.len() == 1 {
            return (FLAG_ONE_MULTIPLIER, 0);
        }
        match self.packed() {
            Some(_) => (FLAG_PACKED, self.shift_max()),
            None => (0, 0),
        }
    }

    /// All channels packed, if each goes into seven bytes and they are few enough to be worth it.
    fn packed(&self) -> Option<Vec<([u8; 4], [u8; 3])>> {
        if self.multipliers.len() == 1 || self.biases.len() > UNPACKED_MAX {
            return None;
        }
        let channels = self.biases.iter().zip(&self.multipliers);
        channels
            .map(|(&bias, &multiplier)| pack_channel(bias, multiplier, self.shift_max()))
            .collect()
    }

    fn shift_max(&self) -> i8 {
        let shifts = self.multipliers.iter().map(|multiplier| multiplier.shift);
        // With the least greatest shift that a plan may have, the least shift is still one.
        shifts.max().unwrap_or(0).max(STEP_MAX - 31)
    }

    /// The multiplier of one output channel.
    pub(crate) fn multiplier(&self, channel: usize) -> Multiplier {
        if self.multipliers.len() == 1 {
            self.multipliers[0]
        } else {
            self.multipliers[channel]
        }
    }
}

/// The factors of a convolution or dense layer: one for all output channels, or one for each.
pub(crate) fn multipliers(graph: &Graph, op: &Op) -> Vec<Multiplier> {
    let [(input_scale, _), (output_scale, _)] =
        [op.inputs[0], op.output].map(|id| quantization(graph.tensor(id)));
    let filter = graph.tensor(op.inputs[1]);
    let is_dense = matches!(op.kind, OpKind::Dense(_) | OpKind::DenseRows(_));
    let scales = filter.quantization.as_ref().map_or(&[][..], |q| &q.scales);
    let multiplier = |filter_scale: f32| {
        // The order of roundings is TensorFlow Lite's: a dense layer with one scale multiplies
        // the two scales in single precision, everything else in double.
        let product = if is_dense && scales.len() == 1 {
            f64::from(input_scale * filter_scale)
        } else {
            f64::from(input_scale) * f64::from(filter_scale)
        };
        Multiplier::from_real(product / f64::from(output_scale))
    };
    if scales.iter().all(|&scale| scale == scales[0]) {
        vec![multiplier(scales[0])]
    } else {
        scales.iter().map(|&s| multiplier(s)).collect()
    }
}

/// Scale and zero point of an activation.
pub(crate) fn quantization(tensor: &Tensor) -> (f32, i8) {
    tensor
        .quantization
        .as_ref()
        .map_or((1.0, 0), |q| (q.scale(), q.zero_point))
}

/// The int8 numbers of a filter.
pub(crate) fn filter_values(filter: &Tensor) -> &[i8] {
    match &filter.data {
        Some(Data::Int8(values)) => values,
        _ => &[],
    }
}

/// The bytes of an int8 or int16 constant.
pub(crate) fn operand_bytes(operand: &Tensor) -> Vec<u8> {
    match &operand.data {
        Some(Data::Int16(values)) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        _ => filter_values(operand).iter().map(|&v| v as u8).collect(),
    }
}

/// Multiplier, shift and bias of a mean over `count` values.
///
/// # Source
/// TFLM, `reference_ops::QuantizedMeanOrSum`: the division by the count goes into the multiplier.
pub(crate) fn mean_numbers(input: (f32, i8), output: (f32, i8), count: u32) -> [i32; 3] {
    let multiplier = Multiplier::from_real(f64::from(input.0) / f64::from(output.0));
    let shift = (63 - u64::from(count).leading_zeros()) as i32;
    let shift = shift.min(32).min(31 + i32::from(multiplier.shift));
    let value = ((i64::from(multiplier.value) << shift) / i64::from(count)) as i32;
    let bias = i64::from(count) * -i64::from(input.1);
    [bias as i32, value, i32::from(multiplier.shift) - shift]
}

/// Multiplier and shift of first input, second input and output of a sum; `None` if a scale
/// differs so much that the specification's arithmetic has no answer.
///
/// # Source
/// TensorFlow Lite, `add.cc`: both inputs come to twice the greater scale, 20 bits up.
pub(crate) fn add_numbers(first: f32, second: f32, output: f32) -> Option<[i32; 6]> {
    let twice = 2.0 * f64::from(first.max(second));
    let factors = [
        f64::from(first) / twice,
        f64::from(second) / twice,
        twice / (f64::from(1u32 << 20) * f64::from(output)),
    ];
    let mut numbers = [0; 6];
    for (pair, factor) in numbers.chunks_exact_mut(2).zip(factors) {
        let multiplier = Multiplier::from_real(factor);
        if factor >= 1.0 || multiplier.shift > 0 {
            return None;
        }
        pair.copy_from_slice(&[multiplier.value, i32::from(multiplier.shift)]);
    }
    Some(numbers)
}

/// Whether the kernel of sums takes these numbers: its factors are below a half, or a half of an
/// operand. Others are for a function of two values.
pub(crate) fn suits_sum(numbers: &[i32; 6]) -> bool {
    let [first, second, result] = [0, 2, 4].map(|at| (numbers[at], numbers[at + 1]));
    let is_less = |(value, shift): (i32, i32)| value >= 1 << 30 && (-31..=-1).contains(&shift);
    let is_half = |pair: (i32, i32)| pair == (1 << 30, 0);
    [first, second]
        .iter()
        .all(|&pair| is_less(pair) || is_half(pair))
        && is_less(result)
}
