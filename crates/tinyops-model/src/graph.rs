//! The network as the compiler sees it: tensors and the ops between them.

use std::fmt;

use tinyops_nn::record::{BinaryFunction, Element};

pub use crate::check::GraphError;

/// Which tensor of its graph: an index into [`Graph::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub u32);

impl fmt::Display for TensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// A network: ops in the order of execution, over tensors in `[batch, height, width, channels]`.
///
/// A one-dimensional signal has height 1, a vector has height and width 1; the batch is 1.
/// [`Graph::check`] tells everything that is wrong with a graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Activations and constants.
    pub tensors: Vec<Tensor>,
    /// Each op reads tensors that are constants, inputs, or results of ops before it.
    pub ops: Vec<Op>,
    /// The tensors that the caller fills.
    pub inputs: Vec<TensorId>,
    /// The tensors that the caller reads.
    pub outputs: Vec<TensorId>,
    /// The input of the last dense layer, kept for learning on the device.
    pub embedding: Option<TensorId>,
    /// What a run leaves for the next.
    pub states: Vec<State>,
}

/// A value that lives between runs; before the first it is the zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What the last run left, an activation that nothing makes.
    pub before: TensorId,
    /// What this run leaves; `None` where the op that reads the state changes it in place.
    pub after: Option<TensorId>,
}

/// One value of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// For people; need not be unique.
    pub name: String,
    /// Activations `[1, height, width, channels]`; filters as told at [`OpKind`].
    pub shape: [u16; 4],
    /// What the numbers mean; `None` for tensors of real numbers.
    pub quantization: Option<Quantization>,
    /// The numbers of a constant; `None` for an activation.
    pub data: Option<Data>,
}

/// `real = scale * (q - zero_point)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// One scale, or one for each output channel of a filter or bias.
    pub scales: Vec<f32>,
    /// The quantized value of 0; 0 for filters, biases and int16.
    pub zero_point: i8,
    /// What the values of an activation are; a constant tells by its numbers, and has int8 here
    /// unless it is an int16 operand.
    pub element: Element,
}

impl Quantization {
    /// One scale for the whole tensor.
    #[must_use]
    pub fn per_tensor(scale: f32, zero_point: i8) -> Quantization {
        Quantization {
            scales: vec![scale],
            zero_point,
            element: Element::Int8,
        }
    }

    /// One scale for a whole tensor of int16, zero point 0.
    #[must_use]
    pub fn int16(scale: f32) -> Quantization {
        Quantization {
            element: Element::Int16,
            ..Quantization::per_tensor(scale, 0)
        }
    }

    /// One scale for each output channel, zero point 0.
    #[must_use]
    pub fn per_channel(scales: Vec<f32>) -> Quantization {
        Quantization {
            scales,
            zero_point: 0,
            element: Element::Int8,
        }
    }

    /// The scale of the whole tensor (the first, where there are several).
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.scales.first().copied().unwrap_or(0.0)
    }
}

/// The numbers of a constant, in order of memory.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Quantized filters, and operands of int8.
    Int8(Vec<i8>),
    /// Quantized operands of int16.
    Int16(Vec<i16>),
    /// Quantized biases, which make the sums of int16 networks 32 bits wide.
    Int32(Vec<i32>),
    /// Quantized biases of int16 networks.
    Int64(Vec<i64>),
    /// Filters and biases before quantization.
    Float32(Vec<f32>),
}

impl Data {
    /// How many numbers.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Data::Int8(values) => values.len(),
            Data::Int16(values) => values.len(),
            Data::Int32(values) => values.len(),
            Data::Int64(values) => values.len(),
            Data::Float32(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the numbers have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Data::Int8(values) => values.len(),
            Data::Int16(values) => 2 * values.len(),
            Data::Int32(values) => 4 * values.len(),
            Data::Int64(values) => 8 * values.len(),
            Data::Float32(values) => 4 * values.len(),
        }
    }
}

/// One step of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// What it reads, in the order told at [`OpKind`].
    pub inputs: Vec<TensorId>,
    /// What it makes.
    pub output: TensorId,
}

/// What an op does, and with which constants.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum OpKind {
    /// Inputs: activation, filter `[out, height, width, in]`, bias `[1, 1, 1, out]` (may be absent).
    Conv2d(Conv),
    /// Inputs: activation, filter `[1, height, width, out]` with `out = in × multiplier`, bias (may be absent).
    DepthwiseConv2d(Conv),
    /// Inputs: activation (flattened), filter `[out, 1, 1, in]`, bias (may be absent).
    Dense(Activation),
    /// The greatest value of each window.
    MaxPool2d(Pool),
    /// The average of each window; padding does not count.
    AveragePool2d(Pool),
    /// The mean over height and width.
    Mean,
    /// The sum of two activations of one shape.
    Add(Activation),
    /// `exp(beta · x) / Σ exp(beta · x)` over the channels.
    Softmax {
        /// The factor of the exponent, 1 in nearly every network.
        beta: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Logistic,
    /// An activation that stands alone; also a change of scale.
    Activate(Activation),
    /// The same values under another shape.
    Reshape,
    /// Zeros around height and width.
    Pad(Padding),
    /// A function of two values. Inputs: activation, then activation or constant, repeated along
    /// the axes where it has one place.
    Binary {
        /// Which function.
        function: BinaryFunction,
        /// What follows.
        activation: Activation,
    },
    /// A function of one value.
    Unary(Unary),
    /// Activations after each other: in each of `outer` parts, the part of the first, of the
    /// second, and so on.
    Concat {
        /// How many places the axes before the joined one have together.
        outer: u32,
    },
    /// Values at other places. Inputs: activation, then places `[1, 1, 1, height + width + channels]`
    /// as int32: the value at `[y, x, c]` is that at the sum of the places of `y`, of `x` and of
    /// `c`, in order of memory; where one of them is below 0, it is `fill`.
    Rearrange {
        /// What stands where nothing comes from, quantized.
        fill: i16,
    },
    /// One value for many.
    Reduce {
        /// Which value.
        function: Reduction,
        /// Which of height, width and channels go.
        axes: [bool; 3],
    },
    /// A picture made larger or smaller by bilinear interpolation.
    ResizeBilinear {
        /// The corners of input and output are one.
        align_corners: bool,
        /// The place of a pixel is its middle.
        half_pixel: bool,
    },
    /// A constant as an activation. Inputs: int8 constant of the same count of values.
    Constant,
    /// Each row of channels divided by its length.
    Normalize,
    /// A filter over features and time. Inputs: activation, filter `[filters, 1, 1, values]`,
    /// weights of time, state, bias (may be absent). The state belongs to the op, which moves it by
    /// one step: `filters × memory` values of one byte, or of two in twice as many bytes.
    Svdf(Svdf),
    /// Long short-term memory over a sequence. Inputs: activation `[1, 1, steps, values]`, state,
    /// then for the input, forget, cell and output gate a filter `[units, 1, 1, values]`, a filter
    /// `[units, 1, 1, units]` and a bias. The state belongs to the op: a cell of two bytes for each
    /// unit, then each unit's last output less its zero point.
    Lstm(Lstm),
    /// A function of one value. Inputs: activation, then the result for each value from -128 on, a
    /// constant `[1, 1, 1, 256]` of int8.
    Table,
    /// A product of matrices. Inputs: activation, then activation or constant.
    Product(Product),
    /// The place of the greatest or the least value along an axis: the quantized place has scale 1
    /// and zero point -128, and of equal values the first counts.
    Extreme {
        /// The greatest, or the least.
        greatest: bool,
        /// How many places the axes before have together, the axis, and those after.
        lens: [u32; 3],
    },
    /// A dense layer over each row of values on its own. Inputs: activation of rows after each
    /// other, filter `[out, 1, 1, in]`, bias (may be absent).
    DenseRows(Activation),
}

/// What a filter over features and time is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Svdf {
    /// Filters that one output sums.
    pub rank: u16,
    /// Steps of time that each filter remembers.
    pub memory: u16,
    /// Whether weights of time and state have two bytes a value.
    pub is_wide: bool,
    /// What the numbers of the state mean: `real = scale * (q - zero_point)`.
    pub state_scale: f32,
}

/// What the numbers of a layer of long short-term memory mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lstm {
    /// `real = 2^cell_exponent * q` of a cell.
    pub cell_exponent: i8,
    /// The most that a cell holds, as a real number; 0 for no limit.
    pub cell_clip: f32,
}

/// Which values of two operands a product of matrices multiplies.
///
/// The result is `[outer, inner, rows, columns]` in order of memory; each of its values is a sum
/// over `terms`. Steps count values in order of memory; 0 repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Outer, inner, rows, columns, terms.
    pub counts: [u16; 5],
    /// Steps of the first operand along outer, inner, rows, terms.
    pub first: [u32; 4],
    /// Steps of the second operand along outer, inner, columns, terms.
    pub second: [u32; 4],
}

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Unary {
    /// The hyperbolic tangent.
    Tanh,
    /// `max(x, 0) + alpha · min(x, 0)`.
    LeakyRelu {
        /// The slope below 0.
        alpha: f32,
    },
    /// `x · min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `|x|`.
    Abs,
    /// `1 / √x`.
    Rsqrt,
    /// `x` from 0 on, `exp(x) - 1` below.
    Elu,
    /// `exp(x)`.
    Exp,
    /// The natural logarithm.
    Log,
    /// `x` times the normal distribution at `x`.
    Gelu {
        /// By the hyperbolic tangent of a polynomial instead of the error function.
        approximate: bool,
    },
    /// `min(max(x, least), greatest)`.
    Clip {
        /// The least real value that stays.
        least: i8,
        /// The greatest real value that stays.
        greatest: i8,
    },
}

/// One value for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// The greatest.
    Maximum,
    /// The least.
    Minimum,
}

impl OpKind {
    /// The operator's name in the TensorFlow Lite schema.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            OpKind::Conv2d(_) => "CONV_2D",
            OpKind::DepthwiseConv2d(_) => "DEPTHWISE_CONV_2D",
            OpKind::Dense(_) => "FULLY_CONNECTED",
            OpKind::MaxPool2d(_) => "MAX_POOL_2D",
            OpKind::AveragePool2d(_) => "AVERAGE_POOL_2D",
            OpKind::Mean => "MEAN",
            OpKind::Add(_) => "ADD",
            OpKind::Softmax { .. } => "SOFTMAX",
            OpKind::Logistic => "LOGISTIC",
            OpKind::Activate(Activation::None) => "QUANTIZE",
            OpKind::Activate(Activation::Relu) => "RELU",
            OpKind::Activate(Activation::Relu6) => "RELU6",
            OpKind::Reshape => "RESHAPE",
            OpKind::Pad(_) => "PAD",
            OpKind::Binary { function, .. } => match function {
                BinaryFunction::Add => "ADD",
                BinaryFunction::Subtract | BinaryFunction::SubtractFrom => "SUB",
                BinaryFunction::Multiply => "MUL",
                BinaryFunction::Maximum => "MAXIMUM",
                BinaryFunction::Minimum => "MINIMUM",
                BinaryFunction::Prelu => "PRELU",
                BinaryFunction::SquaredDifference => "SQUARED_DIFFERENCE",
            },
            OpKind::Unary(Unary::Tanh) => "TANH",
            OpKind::Unary(Unary::LeakyRelu { .. }) => "LEAKY_RELU",
            OpKind::Unary(Unary::HardSwish) => "HARD_SWISH",
            OpKind::Unary(Unary::Abs) => "ABS",
            OpKind::Unary(Unary::Rsqrt) => "RSQRT",
            OpKind::Unary(Unary::Elu) => "ELU",
            OpKind::Unary(Unary::Exp) => "EXP",
            OpKind::Unary(Unary::Log) => "LOG",
            OpKind::Unary(Unary::Gelu { .. }) => "GELU",
            OpKind::Unary(Unary::Clip { least: 0, .. }) => "RELU_0_TO_1",
            OpKind::Unary(Unary::Clip { .. }) => "RELU_N1_TO_1",
            OpKind::Constant => "CONSTANT",
            OpKind::Table => "TABLE",
            OpKind::Normalize => "L2_NORMALIZATION",
            OpKind::Svdf(_) => "SVDF",
            OpKind::Lstm(_) => "UNIDIRECTIONAL_SEQUENCE_LSTM",
            OpKind::Product(_) => "BATCH_MATMUL",
            OpKind::Extreme { greatest: true, .. } => "ARG_MAX",
            OpKind::Extreme { .. } => "ARG_MIN",
            OpKind::Concat { .. } => "CONCATENATION",
            OpKind::Rearrange { .. } => "GATHER",
            OpKind::Reduce { function, .. } => match function {
                Reduction::Mean => "MEAN",
                Reduction::Sum => "SUM",
                Reduction::Maximum => "REDUCE_MAX",
                Reduction::Minimum => "REDUCE_MIN",
            },
            OpKind::ResizeBilinear { .. } => "RESIZE_BILINEAR",
            OpKind::DenseRows(_) => "FULLY_CONNECTED",
        }
    }
}

/// How a filter moves over its input. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Steps between outputs.
    pub stride: [u8; 2],
    /// Steps between the taps of the filter.
    pub dilation: [u8; 2],
    /// What lies around the input.
    pub padding: Padding,
    /// What follows the sum.
    pub activation: Activation,
}

impl Conv {
    /// Stride 1, no dilation, as large an output as the input.
    #[must_use]
    pub fn same(activation: Activation) -> Conv {
        Conv {
            stride: [1, 1],
            dilation: [1, 1],
            padding: Padding::Same,
            activation,
        }
    }

    /// Stride 1, no dilation, no padding.
    #[must_use]
    pub fn valid(activation: Activation) -> Conv {
        Conv {
            padding: Padding::Valid,
            ..Conv::same(activation)
        }
    }
}

/// How a pooling window moves over its input. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The size of the window.
    pub window: [u16; 2],
    /// Steps between windows.
    pub stride: [u8; 2],
    /// What lies around the input.
    pub padding: Padding,
    /// What follows.
    pub activation: Activation,
}

/// What lies around the input of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Zeros so that the output has `ceil(input / stride)` places, the odd one after the last.
    Same,
    /// Nothing.
    Valid,
    /// So many zeros.
    Explicit {
        /// Rows before the first.
        top: u16,
        /// Rows after the last.
        bottom: u16,
        /// Columns before the first.
        left: u16,
        /// Columns after the last.
        right: u16,
    },
}

impl Padding {
    /// Places before and after the input along one axis (0 height, 1 width).
    ///
    /// `extent` is the reach of the dilated filter, `(kernel - 1) · dilation + 1`.
    #[must_use]
    pub fn around(&self, axis: usize, input: u16, extent: u32, stride: u8) -> (u32, u32) {
        match *self {
            Padding::Valid => (0, 0),
            Padding::Same => {
                let stride = u32::from(stride.max(1));
                let reach = (u32::from(input).div_ceil(stride).max(1) - 1) * stride + extent;
                let total = reach.saturating_sub(u32::from(input));
                (total / 2, total - total / 2)
            }
            Padding::Explicit { top, bottom, .. } if axis == 0 => {
                (u32::from(top), u32::from(bottom))
            }
            Padding::Explicit { left, right, .. } => (u32::from(left), u32::from(right)),
        }
    }

    /// How many places the output has along one axis; 0 if the filter does not fit.
    #[must_use]
    pub fn output_len(
        &self,
        axis: usize,
        input: u16,
        kernel: u16,
        dilation: u8,
        stride: u8,
    ) -> u32 {
        let extent = (u32::from(kernel).max(1) - 1) * u32::from(dilation) + 1;
        let (before, after) = self.around(axis, input, extent, stride);
        (u32::from(input) + before + after)
            .checked_sub(extent)
            .map_or(0, |slack| slack / u32::from(stride.max(1)) + 1)
    }
}

/// A fused activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// The value as it is.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// The least and greatest quantized value that the activation lets through.
    #[must_use]
    pub fn clamp(&self, scale: f32, zero_point: i8) -> [i8; 2] {
        let quantized = |real: f32| tinyops_nn::quantize(real, scale, zero_point);
        match self {
            Activation::None => [-128, 127],
            Activation::Relu => [quantized(0.0), 127],
            Activation::Relu6 => [quantized(0.0), quantized(6.0)],
        }
    }
}

impl Tensor {
    /// What the values of an activation are; int8 too for a tensor of real numbers.
    #[must_use]
    pub fn element(&self) -> Element {
        let quantization = self.quantization.as_ref();
        quantization.map_or(Element::Int8, |quantization| quantization.element)
    }
}

impl Graph {
    /// Whether a tensor has int16 values.
    #[must_use]
    pub fn has_int16(&self) -> bool {
        let mut tensors = self.tensors.iter();
        tensors.any(|tensor| tensor.element() == Element::Int16)
    }

    /// A tensor of the graph.
    ///
    /// # Panics
    /// If the graph has no such tensor; ask a graph that [`Graph::check`] has passed.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0 as usize]
    }

    /// Multiply-accumulate operations of one run.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.ops.iter().map(|op| self.op_macs(op)).sum()
    }

    /// Multiply-accumulate operations of one op; 0 for ops without filter.
    #[must_use]
    pub fn op_macs(&self, op: &Op) -> u64 {
        let Some(&filter) = op.inputs.get(1) else {
            return 0;
        };
        let [_, height, width, channels] = self.tensor(filter).shape.map(u64::from);
        let outputs: u64 = self
            .tensor(op.output)
            .shape
            .iter()
            .map(|&dim| u64::from(dim))
            .product();
        match op.kind {
            OpKind::Lstm(_) => {
                let inside: u64 = op.inputs[2..]
                    .iter()
                    .filter_map(|&input| self.tensor(input).data.as_ref())
                    .filter(|data| matches!(data, Data::Int8(_)))
                    .map(|data| data.len() as u64)
                    .sum();
                let units = u64::from(self.tensor(op.output).shape[3]);
                outputs / units.max(1) * inside
            }
            OpKind::Svdf(svdf) => {
                let filters = u64::from(self.tensor(filter).shape[0]);
                filters * (channels + u64::from(svdf.memory))
            }
            OpKind::Product(product) => outputs * u64::from(product.counts[4]),
            OpKind::Conv2d(_) | OpKind::Dense(_) | OpKind::DenseRows(_) => {
                outputs * height * width * channels
            }
            OpKind::DepthwiseConv2d(_) => outputs * height * width,
            _ => 0,
        }
    }

    /// Bytes of all constants.
    #[must_use]
    pub fn constant_bytes(&self) -> usize {
        self.tensors
            .iter()
            .filter_map(|tensor| tensor.data.as_ref())
            .map(Data::bytes)
            .sum()
    }

    /// Whether every activation has a scale and every constant is an integer.
    #[must_use]
    pub fn is_quantized(&self) -> bool {
        self.tensors.iter().all(|tensor| {
            tensor.quantization.is_some() && !matches!(tensor.data, Some(Data::Float32(_)))
        })
    }
}
