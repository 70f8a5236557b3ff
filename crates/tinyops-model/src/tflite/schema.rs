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
    pub(in crate::tflite) const DESCRIPTION: u16 = 3;
    pub(in crate::tflite) const BUFFERS: usize = 4;
}

/// Fields of `OperatorCode`.
pub(super) mod operator_code {
    pub(in crate::tflite) const OLD_CODE: usize = 0;
    pub(in crate::tflite) const CUSTOM_CODE: usize = 1;
    pub(in crate::tflite) const VERSION: u16 = 2;
    pub(in crate::tflite) const CODE: usize = 3;
}

/// Fields of `SubGraph`.
pub(super) mod subgraph {
    pub(in crate::tflite) const TENSORS: usize = 0;
    pub(in crate::tflite) const INPUTS: usize = 1;
    pub(in crate::tflite) const OUTPUTS: usize = 2;
    pub(in crate::tflite) const OPERATORS: usize = 3;
    pub(in crate::tflite) const NAME: u16 = 4;
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
    pub(in crate::tflite) const OPTIONS_KIND: u16 = 3;
    pub(in crate::tflite) const OPTIONS: usize = 4;
}

/// Field of `Buffer`.
pub(super) const BUFFER_DATA: usize = 0;

/// The same, for the one who writes.
pub(super) mod buffer {
    pub(in crate::tflite) const DATA: u16 = super::BUFFER_DATA as u16;
}

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
pub(super) const FLOAT32: i8 = 0;
pub(super) const INT32: i8 = 2;
pub(super) const UINT8: i8 = 3;
pub(super) const INT64: i8 = 4;
pub(super) const INT16: i8 = 7;
pub(super) const INT8: i8 = 9;
pub(super) const INT4: i8 = 17;
