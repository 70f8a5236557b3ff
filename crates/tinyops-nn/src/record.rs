//! The byte layout of a plan's tables, for the one who writes them and the one who reads them.
//!
//! ```text
//! header     32 bytes
//! regions    more_regions × 4 bytes
//! tensors    tensor_count × 20 bytes
//! ops        op_count × 40 bytes
//! (padding to a multiple of 16)
//! constants  constants_bytes: weights, biases, multipliers, tables
//! ```
//! Every number is little-endian. Reserved bytes are 0, and a reader refuses others, so that a
//! later version can give them a meaning. `docs/formats/plan.md` tells what each field means.

/// The first four bytes of a plan.
pub const MAGIC: [u8; 4] = *b"TPLN";
/// The version that this crate reads and writes.
pub const VERSION: u16 = 2;
/// The bytes of the header.
pub const HEADER_BYTES: usize = 32;
/// The bytes that say where a further region begins.
pub const REGION_BYTES: usize = 4;
/// The most memory regions of a plan; a build without the feature `regions` knows one.
pub const REGIONS_MAX: usize = if cfg!(feature = "regions") { 4 } else { 1 };
/// Each region begins in the arena at a multiple of this.
pub const REGION_ALIGN: u32 = 16;
/// The bytes of one tensor record.
pub const TENSOR_BYTES: usize = 20;
/// Where a tensor record says what the values are.
pub(crate) const ELEMENT_AT: usize = 18;
/// The bytes of one op record.
pub const OP_BYTES: usize = 40;
/// The constants begin at a multiple of this, and so does each weight array within them.
pub const CONSTANTS_ALIGN: usize = 16;
/// A tensor index that names no tensor.
pub const NONE: u16 = u16::MAX;
/// Header flag: the input tensor still holds the input after a run.
pub const FLAG_INPUT_KEPT: u16 = 1;
/// Op flag: one multiplier serves all output channels.
pub const FLAG_ONE_MULTIPLIER: u8 = 1;
/// Op flag: a copy fills its output with the least result first.
pub const FLAG_FILL: u8 = 2;
/// The step of a copy's axis in the input that says: the places are in a table.
pub const COPY_TABLE: i32 = i32::MIN;
/// Op flag: the channels have seven bytes each, see `docs/formats/plan.md`.
pub const FLAG_PACKED: u8 = 4;
/// Op flag: rows are made from the last to the first.
pub const FLAG_BACKWARD: u8 = 8;
/// Op flag of a convolution over int16: the biases have 64 bits.
pub const FLAG_WIDE_BIAS: u8 = 16;
/// Op flag of a convolution over int16: sums have 32 bits and are rescaled like those of int8.
pub const FLAG_NARROW_SUM: u8 = 32;
/// Op flag of a convolution and of the `ADD` after it: they run as one, the sum of some pixels as
/// soon as the convolution has made them.
pub const FLAG_SUM: u8 = 64;

/// The header of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`FLAG_INPUT_KEPT`] or 0.
    pub flags: u16,
    /// Bytes of the arena that a run needs.
    pub arena_bytes: u32,
    /// Bytes of the constants at the end.
    pub constants_bytes: u32,
    /// How many memory regions there are after the first; each says where it begins in the arena.
    pub more_regions: u8,
    /// How many tensor records follow the regions.
    pub tensor_count: u16,
    /// How many op records follow the tensors.
    pub op_count: u16,
    /// The index of the input tensor.
    pub input: u16,
    /// How many tensors after it are inputs too.
    pub more_inputs: u8,
    /// The index of the output tensor.
    pub output: u16,
    /// How many tensors after it are outputs too.
    pub more_outputs: u8,
    /// The index of the embedding tensor, or [`NONE`].
    pub embedding: u16,
}

impl Header {
    /// Whether there are regions after the first, which a build that knows but one refuses.
    pub(crate) fn has_more_regions(&self) -> bool {
        REGIONS_MAX > 1 && self.more_regions > 0
    }

    /// Where the tensor records begin.
    #[must_use]
    pub fn tensors_offset(&self) -> usize {
        let more = if self.has_more_regions() {
            usize::from(self.more_regions)
        } else {
            0
        };
        HEADER_BYTES + more * REGION_BYTES
    }

    /// Where the constants begin in a plan of these counts.
    #[must_use]
    pub fn constants_offset(&self) -> usize {
        let tables = self.tensors_offset()
            + usize::from(self.tensor_count) * TENSOR_BYTES
            + usize::from(self.op_count) * OP_BYTES;
        tables.next_multiple_of(CONSTANTS_ALIGN)
    }

    /// The bytes of the header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = Cursor {
            bytes: &mut bytes,
            at: 0,
        };
        out.put(&MAGIC);
        out.put(&VERSION.to_le_bytes());
        out.put(&self.flags.to_le_bytes());
        out.put(&self.arena_bytes.to_le_bytes());
        out.put(&self.constants_bytes.to_le_bytes());
        for index in [
            self.tensor_count,
            self.op_count,
            self.input,
            self.output,
            self.embedding,
        ] {
            out.put(&index.to_le_bytes());
        }
        out.put(&[self.more_inputs, self.more_outputs, self.more_regions]);
        bytes
    }

    /// Reads a header; `None` if the magic, the version or a reserved byte is another, or it has
    /// more than [`REGIONS_MAX`] regions.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        // To a build that knows one region, their count is a reserved byte.
        let (more_regions, reserved) = if REGIONS_MAX > 1 {
            (bytes[28], &bytes[29..])
        } else {
            (0, &bytes[28..])
        };
        let well_formed = bytes[..4] == MAGIC
            && read_u16(bytes, 4) == VERSION
            && usize::from(more_regions) < REGIONS_MAX
            && reserved.iter().all(|&byte| byte == 0);
        well_formed.then(|| Header {
            flags: read_u16(bytes, 6),
            arena_bytes: read_u32(bytes, 8),
            constants_bytes: read_u32(bytes, 12),
            tensor_count: read_u16(bytes, 16),
            op_count: read_u16(bytes, 18),
            input: read_u16(bytes, 20),
            more_inputs: bytes[26],
            output: read_u16(bytes, 22),
            more_outputs: bytes[27],
            more_regions,
            embedding: read_u16(bytes, 24),
        })
    }
}

/// What the values of a tensor are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Element {
    /// One byte, two's complement.
    #[default]
    Int8 = 0,
    /// Two bytes, two's complement, little-endian; the zero point is 0.
    Int16 = 1,
}

impl Element {
    /// The bytes of one value.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> usize {
        // A build without int16 refuses such tensors, and knows only bytes.
        if cfg!(feature = "int16") && matches!(self, Element::Int16) {
            2
        } else {
            1
        }
    }

    /// The least and the greatest value.
    #[must_use]
    pub const fn range(self) -> [i32; 2] {
        match self {
            Element::Int8 => [-128, 127],
            Element::Int16 => [-32_768, 32_767],
        }
    }

    fn from_byte(byte: u8) -> Option<Element> {
        match byte {
            0 => Some(Element::Int8),
            1 if cfg!(feature = "int16") => Some(Element::Int16),
            _ => None,
        }
    }
}

/// One activation tensor: where it lies in the arena and what its bytes mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorRecord {
    /// The first byte in the arena.
    pub offset: u32,
    /// `[1, height, width, channels]`.
    pub shape: [u16; 4],
    /// `real = scale * (q - zero_point)`.
    pub scale: f32,
    /// The quantized value of 0.
    pub zero_point: i8,
    /// The memory region that its bytes lie in.
    pub region: u8,
    /// What the values are.
    pub element: Element,
    /// Whether the bytes are kept between runs, and begin as the zero point.
    pub is_state: bool,
}

impl TensorRecord {
    /// The bytes of the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; TENSOR_BYTES] {
        let mut bytes = [0; TENSOR_BYTES];
        let mut out = Cursor {
            bytes: &mut bytes,
            at: 0,
        };
        out.put(&self.offset.to_le_bytes());
        for dim in self.shape {
            out.put(&dim.to_le_bytes());
        }
        out.put(&self.scale.to_le_bytes());
        out.put(&self.zero_point.to_le_bytes());
        out.put(&[self.region, self.element as u8, u8::from(self.is_state)]);
        bytes
    }

    /// Reads a record; `None` if its element is unknown or a reserved byte is set.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; TENSOR_BYTES]) -> Option<TensorRecord> {
        let element = Element::from_byte(bytes[ELEMENT_AT])?;
        (bytes[19] <= 1).then(|| TensorRecord {
            is_state: bytes[19] == 1,
            offset: read_u32(bytes, 0),
            shape: core::array::from_fn(|axis| read_u16(bytes, 4 + 2 * axis)),
            scale: f32::from_bits(read_u32(bytes, 12)),
            zero_point: bytes[16] as i8,
            region: bytes[17],
            element,
        })
    }

    /// How many values the tensor holds.
    #[must_use]
    pub fn element_count(&self) -> u64 {
        // Two 16-bit factors cannot overflow 32 bits, nor two of those products 64.
        let [batch, height, width, channels] = self.shape.map(u32::from);
        u64::from(batch * height) * u64::from(width * channels)
    }
}

/// What an op does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    /// `CONV_2D`, and `FULLY_CONNECTED` as a convolution of one pixel.
    Conv2d = 1,
    /// `DEPTHWISE_CONV_2D`; the multiplier is output channels by input channels.
    DepthwiseConv2d = 2,
    /// `MAX_POOL_2D`.
    MaxPool2d = 3,
    /// `AVERAGE_POOL_2D`; padding does not count.
    AveragePool2d = 4,
    /// `MEAN` over height and width.
    Mean = 5,
    /// `ADD` of two tensors of one shape.
    Add = 6,
    /// `SOFTMAX` over the channels.
    Softmax = 7,
    /// A table of 256 bytes: `LOGISTIC`, `RELU`, `QUANTIZE` and other functions of one value.
    Lookup = 8,
    /// `PAD` of height and width with the zero point.
    Pad = 9,
    /// Values from some places to others: `CONCATENATION`, `SLICE`, `TRANSPOSE` and their like.
    Copy = 10,
    /// A function of two values, see [`BinaryFunction`]; the second may be a constant.
    Binary = 11,
    /// One value for many, see [`ReduceFunction`].
    Reduce = 12,
    /// `RESIZE_BILINEAR`.
    ResizeBilinear = 13,
    /// Bytes of the constants as a tensor.
    Constant = 20,
    /// `BATCH_MATMUL`; the second operand may be a constant.
    Product = 21,
    /// `ARG_MAX`, `ARG_MIN`: the place along an axis, less 128.
    Extreme = 22,
    /// `L2_NORMALIZATION` over the channels.
    Normalize = 23,
    /// `SVDF`: the second input is its state, which it changes.
    Svdf = 24,
    /// `UNIDIRECTIONAL_SEQUENCE_LSTM`: the second input is its state, which it changes.
    Lstm = 25,
}

impl OpCode {
    /// Whether the op changes its second input, a state.
    #[must_use]
    pub fn has_state(self) -> bool {
        cfg!(feature = "general-ops") && matches!(self, OpCode::Svdf | OpCode::Lstm)
    }

    /// Whether this build of the crate runs the op: all with the feature `general-ops`.
    #[must_use]
    pub fn is_built(self) -> bool {
        cfg!(feature = "general-ops")
            || matches!(
                self,
                OpCode::Conv2d
                    | OpCode::DepthwiseConv2d
                    | OpCode::AveragePool2d
                    | OpCode::Add
                    | OpCode::Softmax
            )
    }
}

/// What a [`OpCode::Binary`] computes, its first number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BinaryFunction {
    /// `first + second`.
    Add = 0,
    /// `first - second`.
    Subtract = 1,
    /// `second - first`.
    SubtractFrom = 2,
    /// `first · second`.
    Multiply = 3,
    /// The greater.
    Maximum = 4,
    /// The lesser.
    Minimum = 5,
    /// `first` where it is positive, else `first · second`.
    Prelu = 6,
    /// `(first - second)²`.
    SquaredDifference = 7,
}

impl BinaryFunction {
    /// The function of a number; `None` for an unknown one.
    #[must_use]
    pub fn from_number(number: i32) -> Option<BinaryFunction> {
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
        all.into_iter().find(|&function| function as i32 == number)
    }
}

/// What a [`OpCode::Reduce`] computes, its first number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReduceFunction {
    /// The rescaled sum, which a mean is too.
    Sum = 0,
    /// The greatest.
    Maximum = 1,
    /// The least.
    Minimum = 2,
}

impl ReduceFunction {
    /// The function of a number; `None` for an unknown one.
    #[must_use]
    pub fn from_number(number: i32) -> Option<ReduceFunction> {
        use ReduceFunction::*;
        let all = [Sum, Maximum, Minimum];
        all.into_iter().find(|&function| function as i32 == number)
    }
}

impl OpCode {
    fn from_byte(byte: u8) -> Option<OpCode> {
        use OpCode::*;
        [
            Conv2d,
            DepthwiseConv2d,
            MaxPool2d,
            AveragePool2d,
            Mean,
            Add,
            Softmax,
            Lookup,
            Pad,
            Copy,
            Binary,
            Reduce,
            ResizeBilinear,
            Constant,
            Product,
            Extreme,
            Normalize,
            Svdf,
            Lstm,
        ]
        .into_iter()
        .find(|&code| code as u8 == byte)
    }
}

/// One op: its tensors, its geometry and where its constants lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpRecord {
    /// What the op does.
    pub code: OpCode,
    /// [`FLAG_ONE_MULTIPLIER`] or [`FLAG_PACKED`], [`FLAG_FILL`], [`FLAG_BACKWARD`], [`FLAG_SUM`].
    pub flags: u8,
    /// Tensor indexes; [`NONE`] for a second input that the op does not have.
    pub inputs: [u16; 2],
    /// The tensor index of the result.
    pub output: u16,
    /// The fused activation: least and greatest quantized result.
    pub clamp: [i8; 2],
    /// The greatest shift of packed channels, 0 for others.
    pub shift: i8,
    /// Where the op's scratch bytes begin in the arena, see [`OpRecord::scratch_bytes`].
    pub scratch_offset: u32,
    /// Window or filter `[height, width]`.
    pub kernel: [u16; 2],
    /// Steps `[height, width]` between windows.
    pub stride: [u8; 2],
    /// Steps `[height, width]` between the taps of a filter.
    pub dilation: [u8; 2],
    /// Padding before the first row and column; what follows the last is implied by the shapes.
    pub pad: [u16; 2],
    /// Where the filter (or the table) begins in the constants.
    pub weights_offset: u32,
    /// Where biases, multipliers and shifts (or the op's own numbers) begin in the constants.
    pub channels_offset: u32,
}

impl OpRecord {
    /// An op over these tensors with windows of one pixel, and without constants.
    #[must_use]
    pub fn new(code: OpCode, inputs: [u16; 2], output: u16) -> OpRecord {
        OpRecord {
            code,
            flags: 0,
            inputs,
            output,
            clamp: [i8::MIN, i8::MAX],
            shift: 0,
            scratch_offset: 0,
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
            weights_offset: 0,
            channels_offset: 0,
        }
    }

    /// The bytes of the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; OP_BYTES] {
        let mut bytes = [0; OP_BYTES];
        let mut out = Cursor {
            bytes: &mut bytes,
            at: 0,
        };
        out.put(&[self.code as u8, self.flags]);
        for index in [self.inputs[0], self.inputs[1], self.output] {
            out.put(&index.to_le_bytes());
        }
        out.put(&[
            self.clamp[0] as u8,
            self.clamp[1] as u8,
            self.shift as u8,
            0,
        ]);
        out.put(&self.scratch_offset.to_le_bytes());
        out.put(&self.kernel[0].to_le_bytes());
        out.put(&self.kernel[1].to_le_bytes());
        out.put(&self.stride);
        out.put(&self.dilation);
        out.put(&self.pad[0].to_le_bytes());
        out.put(&self.pad[1].to_le_bytes());
        out.put(&self.weights_offset.to_le_bytes());
        out.put(&self.channels_offset.to_le_bytes());
        bytes
    }

    /// Reads a record; `None` if the code is unknown or a reserved byte is set.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; OP_BYTES]) -> Option<OpRecord> {
        if bytes[11] != 0 || bytes[36..] != [0; 4] {
            return None;
        }
        Some(OpRecord {
            code: OpCode::from_byte(bytes[0])?,
            flags: bytes[1],
            inputs: [read_u16(bytes, 2), read_u16(bytes, 4)],
            output: read_u16(bytes, 6),
            clamp: [bytes[8] as i8, bytes[9] as i8],
            shift: bytes[10] as i8,
            scratch_offset: read_u32(bytes, 12),
            kernel: [read_u16(bytes, 16), read_u16(bytes, 18)],
            stride: [bytes[20], bytes[21]],
            dilation: [bytes[22], bytes[23]],
            pad: [read_u16(bytes, 24), read_u16(bytes, 26)],
            weights_offset: read_u32(bytes, 28),
            channels_offset: read_u32(bytes, 32),
        })
    }
}

struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn put(&mut self, part: &[u8]) {
        self.bytes[self.at..self.at + part.len()].copy_from_slice(part);
        self.at += part.len();
    }
}

/// The number at a place of some bytes, 0 beyond their end.
#[inline]
fn read_u16(bytes: &[u8], at: usize) -> u16 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// As [`read_u16`].
#[inline]
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[inline]
pub(crate) fn read_i32(bytes: &[u8], at: usize) -> i32 {
    read_u32(bytes, at) as i32
}
