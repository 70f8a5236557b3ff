//! Field numbers and codes of the TensorFlow Lite schema, version 3.

/// Bytes 4 to 7 of a file.
pub(super) const IDENTIFIER: [u8; 4] = *b"TFL3";
/// The version of the schema.
pub(super) const VERSION: u32 = 3;

/// Fields of `Model`.
pub(super) mod model {
    pub(in crate::tflite) const VERSION: usize = 0;
    pub(in crate::tflite) const OPERATOR_CODES: usize = 1;
    pub(in crate::tflite) const SUBGRAPHS: usize = 2;
    pub(in crate::tflite) const BUFFERS: usize = 4;
}

/// Fields of `OperatorCode`.
pub(super) mod operator_code {
    pub(in crate::tflite) const OLD_CODE: usize = 0;
    pub(in crate::tflite) const CUSTOM_CODE: usize = 1;
    pub(in crate::tflite) const CODE: usize = 3;
}

/// Fields of `SubGraph`.
pub(super) mod subgraph {
    pub(in crate::tflite) const TENSORS: usize = 0;
    pub(in crate::tflite) const INPUTS: usize = 1;
    pub(in crate::tflite) const OUTPUTS: usize = 2;
    pub(in crate::tflite) const OPERATORS: usize = 3;
}

/// Fields of `Tensor`.
pub(super) mod tensor {
    pub(in crate::tflite) const SHAPE: usize = 0;
    pub(in crate::tflite) const TYPE: usize = 1;
    pub(in crate::tflite) const BUFFER: usize = 2;
    pub(in crate::tflite) const NAME: usize = 3;
    pub(in crate::tflite) const QUANTIZATION: usize = 4;
    pub(in crate::tflite) const IS_VARIABLE: usize = 5;
    pub(in crate::tflite) const SPARSITY: usize = 6;
}

/// Fields of `QuantizationParameters`.
pub(super) mod quantization {
    pub(in crate::tflite) const SCALE: usize = 2;
    pub(in crate::tflite) const ZERO_POINT: usize = 3;
    pub(in crate::tflite) const DIMENSION: usize = 6;
}

/// Fields of `Operator`.
pub(super) mod operator {
    pub(in crate::tflite) const CODE_INDEX: usize = 0;
    pub(in crate::tflite) const INPUTS: usize = 1;
    pub(in crate::tflite) const OUTPUTS: usize = 2;
    pub(in crate::tflite) const OPTIONS: usize = 4;
}

/// Field of `Buffer`.
pub(super) const BUFFER_DATA: usize = 0;

/// Names of `TensorType`, by code.
pub(super) const TYPES: [&str; 18] = [
    "float32",
    "float16",
    "int32",
    "uint8",
    "int64",
    "string",
    "bool",
    "int16",
    "complex64",
    "int8",
    "float64",
    "complex128",
    "uint64",
    "resource",
    "variant",
    "uint32",
    "uint16",
    "int4",
];
pub(super) const INT32: i8 = 2;
pub(super) const INT8: i8 = 9;

/// Names of `BuiltinOperator`, by code.
pub(super) const OPERATORS: [&str; 127] = [
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "EMBEDDING_LOOKUP",
    "FLOOR",
    "FULLY_CONNECTED",
    "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION",
    "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION",
    "LOGISTIC",
    "LSH_PROJECTION",
    "LSTM",
    "MAX_POOL_2D",
    "MUL",
    "RELU",
    "RELU_N1_TO_1",
    "RELU6",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RNN",
    "SOFTMAX",
    "SPACE_TO_DEPTH",
    "SVDF",
    "TANH",
    "CONCAT_EMBEDDINGS",
    "SKIP_GRAM",
    "CALL",
    "CUSTOM",
    "EMBEDDING_LOOKUP_SPARSE",
    "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "GATHER",
    "BATCH_TO_SPACE_ND",
    "SPACE_TO_BATCH_ND",
    "TRANSPOSE",
    "MEAN",
    "SUB",
    "DIV",
    "SQUEEZE",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "STRIDED_SLICE",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "EXP",
    "TOPK_V2",
    "SPLIT",
    "LOG_SOFTMAX",
    "DELEGATE",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "CAST",
    "PRELU",
    "MAXIMUM",
    "ARG_MAX",
    "MINIMUM",
    "LESS",
    "NEG",
    "PADV2",
    "GREATER",
    "GREATER_EQUAL",
    "LESS_EQUAL",
    "SELECT",
    "SLICE",
    "SIN",
    "TRANSPOSE_CONV",
    "SPARSE_TO_DENSE",
    "TILE",
    "EXPAND_DIMS",
    "EQUAL",
    "NOT_EQUAL",
    "LOG",
    "SUM",
    "SQRT",
    "RSQRT",
    "SHAPE",
    "POW",
    "ARG_MIN",
    "FAKE_QUANT",
    "REDUCE_PROD",
    "REDUCE_MAX",
    "PACK",
    "LOGICAL_OR",
    "ONE_HOT",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "UNPACK",
    "REDUCE_MIN",
    "FLOOR_DIV",
    "REDUCE_ANY",
    "SQUARE",
    "ZEROS_LIKE",
    "FILL",
    "FLOOR_MOD",
    "RANGE",
    "RESIZE_NEAREST_NEIGHBOR",
    "LEAKY_RELU",
    "SQUARED_DIFFERENCE",
    "MIRROR_PAD",
    "ABS",
    "SPLIT_V",
    "UNIQUE",
    "CEIL",
    "REVERSE_V2",
    "ADD_N",
    "GATHER_ND",
    "COS",
    "WHERE",
    "RANK",
    "ELU",
    "REVERSE_SEQUENCE",
    "MATRIX_DIAG",
    "QUANTIZE",
    "MATRIX_SET_DIAG",
    "ROUND",
    "HARD_SWISH",
    "IF",
    "WHILE",
    "NON_MAX_SUPPRESSION_V4",
    "NON_MAX_SUPPRESSION_V5",
    "SCATTER_ND",
    "SELECT_V2",
    "DENSIFY",
    "SEGMENT_SUM",
    "BATCH_MATMUL",
];
