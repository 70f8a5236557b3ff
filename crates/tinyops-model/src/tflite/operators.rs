//! The operators of TensorFlow Lite, and what of them is read.

/// An operator of the TensorFlow Lite schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its name in the schema.
    pub name: &'static str,
    /// What is read of it, for int8 activations of a batch of one; `None` where nothing is.
    pub accepted: Option<&'static str>,
}

/// All operators, in the order of their codes.
#[must_use]
pub fn operators() -> &'static [Operator] {
    &OPERATORS
}

const fn none(name: &'static str) -> Operator {
    Operator {
        name,
        accepted: None,
    }
}

const fn some(name: &'static str, accepted: &'static str) -> Operator {
    Operator {
        name,
        accepted: Some(accepted),
    }
}

/// Whether anything is read of an operator.
pub(super) fn is_read(name: &str) -> bool {
    let operator = OPERATORS.iter().find(|operator| operator.name == name);
    operator.is_some_and(|operator| operator.accepted.is_some())
}

/// Why an operator is not read, and what would be instead.
pub(super) fn instead(name: &str) -> String {
    let way = match name {
        "DEQUANTIZE" => {
            "makes real numbers in the middle of the network; convert with full integer quantization, so that they stand at its ends alone"
        }
        "DIV" | "FLOOR_DIV" | "FLOOR_MOD" => {
            "divides, which has no int8 arithmetic here; multiply by the reciprocal, a constant or made by RSQRT"
        }
        "CAST" | "SHAPE" | "RANGE" | "FILL" | "BROADCAST_ARGS" | "REDUCE_PROD" => {
            "is read where it computes shapes of shapes that are known; give the input a fixed shape"
        }
        "WHILE" | "IF" | "CALL" => {
            "runs another graph; unroll recurrent layers (`unroll=True` in Keras), or use LSTM layers, which convert to UNIDIRECTIONAL_SEQUENCE_LSTM"
        }
        "LSTM"
        | "UNIDIRECTIONAL_SEQUENCE_RNN"
        | "BIDIRECTIONAL_SEQUENCE_LSTM"
        | "BIDIRECTIONAL_SEQUENCE_RNN"
        | "RNN" => "is not read in this form; UNIDIRECTIONAL_SEQUENCE_LSTM and unrolled layers are",
        "LESS" | "LESS_EQUAL" | "GREATER" | "GREATER_EQUAL" | "EQUAL" | "NOT_EQUAL"
        | "LOGICAL_AND" | "LOGICAL_OR" | "LOGICAL_NOT" | "SELECT" | "SELECT_V2" | "WHERE" => {
            "works with truth values, which have no int8 form here; MAXIMUM, MINIMUM and RELU express most choices"
        }
        "SIN" | "COS" | "SQRT" | "SQUARE" | "NEG" | "POW" | "ROUND" | "FLOOR" | "CEIL" | "SIGN" => {
            "has no int8 form that TFLM or LiteRT runs; MUL, SUB and RSQRT have one"
        }
        "L2_POOL_2D" => "has no int8 form; MUL and AVERAGE_POOL_2D have one",
        "ADD_N" => "is not read; a chain of ADD is",
        "TOPK_V2" | "NON_MAX_SUPPRESSION_V4" | "NON_MAX_SUPPRESSION_V5" => {
            "sorts, which belongs after the network; end the network at the scores"
        }
        "EMBEDDING_LOOKUP" | "GATHER_ND" | "ONE_HOT" | "HASHTABLE_LOOKUP" => {
            "looks values up by numbers that the network gets; do it before the network"
        }
        "CONV_3D" | "CONV_3D_TRANSPOSE" => "has three dimensions; CONV_2D is read",
        _ if name.starts_with("CUSTOM") => {
            "is no operator of TensorFlow Lite; build the layer of those that `tinyops ops` lists, or convert without custom operators"
        }
        _ => "has no int8 kernel; `tinyops ops` lists the operators that have one",
    };
    way.to_owned()
}

/// Indexed by `BuiltinOperator`.
pub(super) const OPERATORS: [Operator; 210] = [
    some(
        "ADD",
        "both activations or one constant, any broadcast; fused RELU, RELU6",
    ),
    some(
        "AVERAGE_POOL_2D",
        "SAME or VALID, any stride; fused RELU, RELU6",
    ),
    some("CONCATENATION", "activations of one scale"),
    some(
        "CONV_2D",
        "constant int8 or int4 filter, any stride, dilation and groups, one scale or one per channel; fused RELU, RELU6",
    ),
    some(
        "DEPTHWISE_CONV_2D",
        "constant int8 or int4 filter, any multiplier, stride and dilation; fused RELU, RELU6",
    ),
    some("DEPTH_TO_SPACE", "all of it"),
    some(
        "DEQUANTIZE",
        "at the end of a network, where it is left out",
    ),
    none("EMBEDDING_LOOKUP"),
    none("FLOOR"),
    some(
        "FULLY_CONNECTED",
        "constant int8 or int4 weights, one scale or one per channel; fused RELU, RELU6",
    ),
    none("HASHTABLE_LOOKUP"),
    some(
        "L2_NORMALIZATION",
        "over the last axis; output scale 1/128, zero point 0",
    ),
    none("L2_POOL_2D"),
    none("LOCAL_RESPONSE_NORMALIZATION"),
    some("LOGISTIC", "output scale 1/256, zero point -128"),
    none("LSH_PROJECTION"),
    none("LSTM"),
    some(
        "MAX_POOL_2D",
        "SAME or VALID, any stride; fused RELU, RELU6",
    ),
    some(
        "MUL",
        "both activations or one constant, any broadcast; fused RELU, RELU6",
    ),
    some("RELU", "all of it"),
    some("RELU_N1_TO_1", "all of it"),
    some("RELU6", "all of it"),
    some("RESHAPE", "all of it"),
    some("RESIZE_BILINEAR", "all of it"),
    none("RNN"),
    some(
        "SOFTMAX",
        "over the last axis; output scale 1/256, zero point -128",
    ),
    some("SPACE_TO_DEPTH", "all of it"),
    some("SVDF", "int8 or int16 state, kept between runs; batch 1"),
    some("TANH", "output scale 1/128, zero point 0"),
    none("CONCAT_EMBEDDINGS"),
    none("SKIP_GRAM"),
    none("CALL"),
    none("CUSTOM"),
    none("EMBEDDING_LOOKUP_SPARSE"),
    some("PAD", "constant paddings"),
    none("UNIDIRECTIONAL_SEQUENCE_RNN"),
    some("GATHER", "constant indices"),
    some("BATCH_TO_SPACE_ND", "constant blocks and crops"),
    some(
        "SPACE_TO_BATCH_ND",
        "constant blocks and paddings; around a convolution they become its dilation",
    ),
    some("TRANSPOSE", "constant order"),
    some("MEAN", "constant axes"),
    some(
        "SUB",
        "both activations or one constant, any broadcast; fused RELU, RELU6",
    ),
    none("DIV"),
    some("SQUEEZE", "all of it"),
    some(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "the layer of Keras: no peepholes, projection, normalization; int16 cells, kept between runs; batch 1",
    ),
    some(
        "STRIDED_SLICE",
        "constant begin, end and strides; no ellipsis, no new axis",
    ),
    none("BIDIRECTIONAL_SEQUENCE_RNN"),
    some("EXP", "all of it"),
    none("TOPK_V2"),
    some("SPLIT", "all of it"),
    none("LOG_SOFTMAX"),
    none("DELEGATE"),
    none("BIDIRECTIONAL_SEQUENCE_LSTM"),
    some("CAST", "of whole numbers that are known"),
    some("PRELU", "constant slopes, any broadcast"),
    some(
        "MAXIMUM",
        "both activations or one constant, of one scale; any broadcast",
    ),
    some(
        "ARG_MAX",
        "along one constant axis of up to 256 places; as the last operator",
    ),
    some(
        "MINIMUM",
        "both activations or one constant, of one scale; any broadcast",
    ),
    none("LESS"),
    none("NEG"),
    some("PADV2", "constant paddings and value"),
    none("GREATER"),
    none("GREATER_EQUAL"),
    none("LESS_EQUAL"),
    none("SELECT"),
    some("SLICE", "constant begin and size"),
    none("SIN"),
    some(
        "TRANSPOSE_CONV",
        "constant int8 filter, any stride; fused RELU, RELU6",
    ),
    none("SPARSE_TO_DENSE"),
    some("TILE", "constant multiples"),
    some("EXPAND_DIMS", "all of it"),
    none("EQUAL"),
    none("NOT_EQUAL"),
    some("LOG", "all of it"),
    some("SUM", "constant axes"),
    none("SQRT"),
    some(
        "RSQRT",
        "of values that are not negative; 0 and less give the greatest",
    ),
    some("SHAPE", "of known shapes: computed while the file is read"),
    none("POW"),
    some(
        "ARG_MIN",
        "along one constant axis of up to 256 places; as the last operator",
    ),
    none("FAKE_QUANT"),
    some("REDUCE_PROD", "of known shapes"),
    some("REDUCE_MAX", "constant axes"),
    some("PACK", "activations of one scale"),
    none("LOGICAL_OR"),
    none("ONE_HOT"),
    none("LOGICAL_AND"),
    none("LOGICAL_NOT"),
    some("UNPACK", "all of it"),
    some("REDUCE_MIN", "constant axes"),
    none("FLOOR_DIV"),
    none("REDUCE_ANY"),
    none("SQUARE"),
    some("ZEROS_LIKE", "all of it"),
    some("FILL", "of numbers that are known: zeros and shapes"),
    none("FLOOR_MOD"),
    none("RANGE"),
    some("RESIZE_NEAREST_NEIGHBOR", "all of it"),
    some("LEAKY_RELU", "all of it"),
    some(
        "SQUARED_DIFFERENCE",
        "both activations or one constant, any broadcast",
    ),
    some("MIRROR_PAD", "constant paddings"),
    some("ABS", "all of it"),
    some("SPLIT_V", "all of it"),
    none("UNIQUE"),
    none("CEIL"),
    some("REVERSE_V2", "constant axes"),
    none("ADD_N"),
    none("GATHER_ND"),
    none("COS"),
    none("WHERE"),
    none("RANK"),
    some("ELU", "all of it"),
    none("REVERSE_SEQUENCE"),
    none("MATRIX_DIAG"),
    some(
        "QUANTIZE",
        "int8 to int8; from and to float32 or uint8 at the ends of a network",
    ),
    none("MATRIX_SET_DIAG"),
    none("ROUND"),
    some("HARD_SWISH", "all of it"),
    none("IF"),
    none("WHILE"),
    none("NON_MAX_SUPPRESSION_V4"),
    none("NON_MAX_SUPPRESSION_V5"),
    none("SCATTER_ND"),
    none("SELECT_V2"),
    none("DENSIFY"),
    none("SEGMENT_SUM"),
    some(
        "BATCH_MATMUL",
        "activations or a constant, up to two batch dimensions, each broadcast; adj_x, adj_y",
    ),
    none("PLACEHOLDER_FOR_GREATER_OP_CODES"),
    none("CUMSUM"),
    some("CALL_ONCE", "a graph that assigns zero points to variables"),
    some("BROADCAST_TO", "all of it"),
    none("RFFT2D"),
    none("CONV_3D"),
    none("IMAG"),
    none("REAL"),
    none("COMPLEX_ABS"),
    none("HASHTABLE"),
    none("HASHTABLE_FIND"),
    none("HASHTABLE_IMPORT"),
    none("HASHTABLE_SIZE"),
    none("REDUCE_ALL"),
    none("CONV_3D_TRANSPOSE"),
    some("VAR_HANDLE", "variables of int8, kept between runs"),
    some("READ_VARIABLE", "variables of int8, kept between runs"),
    some("ASSIGN_VARIABLE", "variables of int8, kept between runs"),
    some("BROADCAST_ARGS", "of known shapes"),
    none("RANDOM_STANDARD_NORMAL"),
    none("BUCKETIZE"),
    none("RANDOM_UNIFORM"),
    none("MULTINOMIAL"),
    some("GELU", "all of it"),
    none("DYNAMIC_UPDATE_SLICE"),
    some("RELU_0_TO_1", "all of it"),
    none("UNSORTED_SEGMENT_PROD"),
    none("UNSORTED_SEGMENT_MAX"),
    none("UNSORTED_SEGMENT_SUM"),
    none("ATAN2"),
    none("UNSORTED_SEGMENT_MIN"),
    none("SIGN"),
    none("BITCAST"),
    none("BITWISE_XOR"),
    none("RIGHT_SHIFT"),
    none("STABLEHLO_LOGISTIC"),
    none("STABLEHLO_ADD"),
    none("STABLEHLO_DIVIDE"),
    none("STABLEHLO_MULTIPLY"),
    none("STABLEHLO_MAXIMUM"),
    none("STABLEHLO_RESHAPE"),
    none("STABLEHLO_CLAMP"),
    none("STABLEHLO_CONCATENATE"),
    none("STABLEHLO_BROADCAST_IN_DIM"),
    none("STABLEHLO_CONVOLUTION"),
    none("STABLEHLO_SLICE"),
    none("STABLEHLO_CUSTOM_CALL"),
    none("STABLEHLO_REDUCE"),
    none("STABLEHLO_ABS"),
    none("STABLEHLO_AND"),
    none("STABLEHLO_COSINE"),
    none("STABLEHLO_EXPONENTIAL"),
    none("STABLEHLO_FLOOR"),
    none("STABLEHLO_LOG"),
    none("STABLEHLO_MINIMUM"),
    none("STABLEHLO_NEGATE"),
    none("STABLEHLO_OR"),
    none("STABLEHLO_POWER"),
    none("STABLEHLO_REMAINDER"),
    none("STABLEHLO_RSQRT"),
    none("STABLEHLO_SELECT"),
    none("STABLEHLO_SUBTRACT"),
    none("STABLEHLO_TANH"),
    none("STABLEHLO_SCATTER"),
    none("STABLEHLO_COMPARE"),
    none("STABLEHLO_CONVERT"),
    none("STABLEHLO_DYNAMIC_SLICE"),
    none("STABLEHLO_DYNAMIC_UPDATE_SLICE"),
    none("STABLEHLO_PAD"),
    none("STABLEHLO_IOTA"),
    none("STABLEHLO_DOT_GENERAL"),
    none("STABLEHLO_REDUCE_WINDOW"),
    none("STABLEHLO_SORT"),
    none("STABLEHLO_WHILE"),
    none("STABLEHLO_GATHER"),
    none("STABLEHLO_TRANSPOSE"),
    none("DILATE"),
    none("STABLEHLO_RNG_BIT_GENERATOR"),
    none("REDUCE_WINDOW"),
    none("STABLEHLO_COMPOSITE"),
    none("STABLEHLO_SHIFT_LEFT"),
    none("STABLEHLO_CBRT"),
    none("STABLEHLO_CASE"),
];
